"""Figures of a study, drawn from its saved tables: the paper's figure 3, the claims, phase diagrams, the ablation, the causes.

All are as wide as a page (6.9 inches) and at most 9 inches high, with type of 6.5 to 8 points. Blue supports a claim, orange
speaks against it. What belongs to a method has the method's colour and marker; a hollow marker is an effect that is not clear.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.evaluation.statistics import is_clear
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.film import file_metadata, write_words
from ift_gridworld.rendering.fonts import use_fonts
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.paths import PathOutline
from ift_gridworld.rendering.text import TextStyle, legend_label, plain_text, shorten, wrap_text
from ift_gridworld.rendering.theme import Theme, find_theme
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.rendering.visit_scale import VisitScale
from ift_gridworld.storage import write_atomically

__all__ = [
    "HOLLOW",
    "MAX_HEIGHT",
    "SMALL",
    "TEXT",
    "TINY",
    "WIDTH",
    "Estimate",
    "Heatmap",
    "Mark",
    "PolicyMap",
    "StudyFigure",
    "draw_policies",
    "ink_on",
    "method_mark",
]

WIDTH, MAX_HEIGHT = 6.9, 9.0  # inches, of the text on a page
TEXT, SMALL, TINY = 8.0, 7.0, 6.5  # points
DPI = {"png": 200}  # dots an inch; of drawn parts in other files 300
HOLLOW = "hollow: not clear, the interval includes 0"


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value, low, high: the value and the ends of its interval.
        samples: number of values behind it; of one alone nothing is clear.
    """

    value: float
    low: float
    high: float
    samples: int = 2

    @property
    def is_clear(self) -> bool:
        """True if the interval excludes 0."""
        return self.samples > 1 and bool(is_clear(self.low, self.high))


@dataclass(frozen=True)
class Mark:
    """A marker of a chart.

    Attributes:
        colour, marker: as in matplotlib.
        filled: whether it is filled where it does not say whether an effect is clear.
    """

    colour: str
    marker: str = "o"
    filled: bool = True


def method_mark(method: str, theme: Theme, *, filled: bool = True) -> Mark:
    """Return the marker of a method.

    Args:
        method: its registered name.
        theme: colours.
        filled: as in `Mark`.

    Example:
        >>> method_mark("sft", find_theme("light")).marker
        'o'
    """
    style = style_of(method)
    return Mark(style.colour(theme), style.marker, filled)


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A table of numbers to be drawn as coloured cells.

    Attributes:
        title: above it.
        rows, columns: their names.
        values: one a cell; NaN is left empty.
        marked: cells that get a dot, because what they say is clear.
        row_label, column_label: what rows and columns are.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Float[np.ndarray, "R C"]
    marked: Bool[np.ndarray, "R C"] | None = None
    row_label: str = ""
    column_label: str = ""


@dataclass(frozen=True, eq=False)
class PolicyMap:
    """A policy to be drawn on its lake.

    Attributes:
        title: above it.
        mdp: the lake, which must have a map.
        policy: pi(a|s).
        shown: states that the human showed.
    """

    title: str
    mdp: TabularMDP
    policy: Float[np.ndarray, "S A"]
    shown: Sequence[int] = ()


class StudyFigure:
    """A figure as wide as a page, whose parts are placed in inches from its upper left corner.

    Args:
        height: in inches.
        theme: a name in THEMES.

    Attributes:
        figure: what is drawn.

    Raises:
        ValueError: for an unknown theme, or a height beyond `MAX_HEIGHT`.
    """

    def __init__(self, height: float, theme: str) -> None:
        if height > MAX_HEIGHT + 1e-9:
            raise ValueError(f"the figure is {height:.1f} inches high; allowed: up to {MAX_HEIGHT:g}, so draw fewer rows")
        self.theme: Theme = find_theme(theme)
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), facecolor=self.theme.background)
        FigureCanvasAgg(self.figure)

    def resize(self, height: float) -> None:
        """Give the figure another height, in inches, when all its parts are placed; they keep their places and sizes."""
        shift, before = height - self.height, self.height
        for ax in self.figure.axes:
            x, y, w, h = ax.get_position(original=True).bounds
            ax.set_position((x, (y * before + shift) / height, w, h * before / height))
        for text in self.figure.texts:
            text.set_y((text.get_position()[1] * before + shift) / height)
        self.height = height
        self.figure.set_size_inches(WIDTH, height)

    def add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add Axes at a place."""
        box = (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        return self.figure.add_axes(box)

    def add_text(self, left: float, top: float, text: str, **style: Unpack[TextStyle]) -> None:
        """Add text of `TEXT` points; `top` is its baseline unless `va` says otherwise."""
        style.setdefault("size", TEXT)
        style.setdefault("color", self.theme.ink)
        self.figure.text(left / WIDTH, 1 - top / self.height, text, **style)

    def add_heading(self, left: float, top: float, text: str) -> None:
        """Add a bold line above a part."""
        self.add_text(left, top, text, size=SMALL, weight="bold")

    def add_note(self, left: float, top: float, text: str, *, ha: str = "left") -> None:
        """Add small muted lines below `top`, which are broken where the page ends."""
        if ha == "left":
            text = wrap_text(text, 0.96 * (WIDTH - left - 0.1), TINY)  # as drawn, hinted, letters are a little wider
        self.add_text(left, top, text, size=TINY, color=self.theme.muted, va="top", ha=ha, linespacing=1.35)

    def add_legend(self, ax: Axes, left: float, top: float, columns: int) -> None:
        """Explain the marks of an Axes in a row of its own; `top` is its middle."""
        handles, labels = ax.get_legend_handles_labels()
        self.figure.legend(
            handles, labels, loc="center left", bbox_to_anchor=(left / WIDTH, 1 - top / self.height), ncols=columns,
            fontsize=TINY, frameon=False, labelcolor=self.theme.ink, handlelength=2.2, columnspacing=1.4,
            borderaxespad=0, borderpad=0,
        )  # fmt: skip

    def style_axes(self, ax: Axes) -> None:
        """Give a chart the look of this figure."""
        style_axes(ax, self.theme)
        ax.tick_params(labelsize=TINY, length=2, pad=2)

    @isolated
    def save(self, path: Path, alt: str, kinds: Sequence[str] = ("pdf", "png"), *, palette: int | None = None) -> list[Path]:
        """Write as PDF and PNG, and what the figure shows in words as NAME.png.txt.

        Args:
            path: where to write; its suffix is replaced.
            alt: the words.
            kinds: png, pdf or svg, of the files to write; the words stand beside the last.
            palette: number of colours of a PNG, up to 256, which makes it a few times smaller (default: all).

        Returns:
            The paths, in the order of `kinds`.

        Raises:
            OSError: if a file cannot be written.
        """
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns that embedded fonts have no date
        written = []
        for kind in kinds:
            out = io.BytesIO()
            use_fonts(self.figure)
            self.figure.savefig(
                out, format=kind, dpi=DPI.get(kind, 300), facecolor=self.theme.background, metadata=file_metadata(kind)
            )
            content = _few_colours(out, palette) if kind == "png" and palette else out.getvalue()
            written.append(write_atomically(path.with_suffix(f".{kind}"), content))
        write_words(written[-1], alt)
        return written

    def draw_heatmap(
        self,
        table: Heatmap,
        left: float,
        top: float,
        width: float,
        height: float,
        *,
        limits: tuple[float, float],
        number_format: str = "",
        names: bool = True,
        room: float = 9.0,
        reverse: bool = False,
    ) -> None:
        """Draw coloured cells, from orange (limits[0]) over ice to blue (limits[1]).

        Args:
            table: what to draw.
            left, top, width, height: where, in inches.
            limits: values at the ends of the colours; what lies beyond takes the end's.
            number_format: of the number in each cell, as in `format`; without one no numbers are written.
            names: whether rows have their names.
            room: for a row's name, in inches; a longer one is cut.
            reverse: whether blue is for low values.
        """
        ax, theme = self.add_axes(left, top, width, height), self.theme
        colours = theme.changes.reversed() if reverse else theme.changes
        scale = Normalize(*limits, clip=True)
        ax.imshow(np.ma.masked_invalid(table.values), cmap=colours, norm=scale, aspect="auto", interpolation="nearest")
        ax.set_facecolor(theme.background)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.tick_params(length=0, labelsize=TINY, labelcolor=theme.ink, pad=2)
        ax.set_yticks(
            range(len(table.rows)), [shorten(name, room, TINY) for name in table.rows] if names else [""] * len(table.rows)
        )
        ax.set_xticks(range(len(table.columns)), [*map(plain_text, table.columns)])
        ax.set_xticks(np.arange(len(table.columns) + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(table.rows) + 1) - 0.5, minor=True)
        ax.grid(which="minor", color=theme.background, lw=1.2)
        ax.tick_params(which="minor", length=0)
        ax.set_title(table.title, size=SMALL, color=theme.ink, loc="left", pad=3)
        if table.column_label:
            ax.set_xlabel(table.column_label, size=TINY, color=theme.muted, labelpad=1.5)
        if table.row_label and names:
            ax.set_ylabel(table.row_label, size=TINY, color=theme.muted, labelpad=1.5)
        for (r, c), value in np.ndenumerate(table.values):
            if np.isnan(value):
                continue
            ink = ink_on(colours(scale(value)))
            if number_format:
                ax.text(c, r, format(value, number_format), size=TINY, color=ink, ha="center", va="center_baseline")
            if table.marked is not None and table.marked[r, c]:
                position = (c + 0.38, r - 0.32) if number_format else (c, r)
                ax.plot(*position, "o", ms=2.0, color=ink, mew=0)

    def draw_forest(
        self,
        rows: Sequence[str],
        series: Mapping[str, Sequence[Estimate | None]],
        left: float,
        top: float,
        width: float,
        height: float,
        *,
        label: str,
        title: str = "",
        names: bool = True,
        zero: bool = True,
        marks: Mapping[str, Sequence[Mark]] | None = None,
    ) -> Axes:
        """Draw values with intervals, one line a row, the series one under the other within it.

        Args:
            rows: their names.
            series: by name, one estimate a row; None where there is none.
            left, top, width, height: where, in inches.
            label: below the axis.
            title: above the chart.
            names: whether rows have their names.
            zero: whether a line marks zero; values are then effects, and the marks of those that are not clear are hollow.
            marks: by series, one a row (default: discs in the colour of words). A series with one mark is in the legend.
        """
        ax, theme = self.add_axes(left, top, width, height), self.theme
        self.style_axes(ax)
        if zero:
            ax.axvline(0, color=theme.muted, lw=0.8, zorder=1)
        for k, (name, estimates) in enumerate(series.items()):
            shift = (k - (len(series) - 1) / 2) * min(0.2, 0.7 / len(series))
            own = marks[name] if marks is not None else [Mark(theme.ink)]
            if len(own) == 1:
                ax.plot([], [], own[0].marker, label=legend_label(plain_text(name)), **self._look(own[0], own[0].filled))
            for y, estimate in enumerate(estimates):
                if estimate is None or not np.isfinite(estimate.value):
                    continue
                mark = own[y % len(own)]
                ax.plot(
                    [estimate.low, estimate.high], [y + shift] * 2, color=mark.colour, lw=1.3, solid_capstyle="butt", zorder=2
                )
                filled = estimate.is_clear if zero else mark.filled
                ax.plot([estimate.value], [y + shift], mark.marker, zorder=3, **self._look(mark, filled))
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_yticks(range(len(rows)), [*map(plain_text, rows)] if names else [""] * len(rows))
        ax.tick_params(axis="y", length=0, labelcolor=theme.ink)
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color=theme.faint, lw=0.5, zorder=0)
        ax.set_xlabel(label, size=TINY, color=theme.muted, labelpad=1.5)
        ax.set_title(title, size=SMALL, color=theme.ink, loc="left", pad=3)
        return ax

    def _look(self, mark: Mark, filled: bool) -> dict[str, Any]:
        """Return how matplotlib draws a mark."""
        face = mark.colour if filled else self.theme.background
        size = 4.8 if mark.marker in "*XP" else 3.6  # whose inside is small
        return {"ms": size, "mew": 0.8, "mec": mark.colour, "mfc": face, "lw": 0}

    def draw_colour_key(self, left: float, top: float, low: str, high: str, *, reverse: bool = False) -> None:
        """Draw the scale of coloured cells: a strip with words at its ends.

        Args:
            left, top: where, in inches.
            low, high: the words.
            reverse: whether blue is for low values.
        """
        ax, theme = self.add_axes(left, top, 0.8, 0.09), self.theme
        colours = theme.changes.reversed() if reverse else theme.changes
        ax.imshow(np.linspace(0, 1, 128)[None], cmap=colours, aspect="auto")
        ax.axis("off")
        for x, text, side in ((left - 0.05, low, "right"), (left + 0.85, high, "left")):
            self.add_text(x, top + 0.045, text, size=TINY, ha=side, va="center", color=theme.muted)


def _few_colours(png: io.BytesIO, palette: int) -> bytes:
    """Return a PNG in its own best palette; thin lines of a rare colour keep it."""
    reduced, out = Image.open(png).convert("RGB"), io.BytesIO()
    reduced = reduced.quantize(palette, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(out, "png", optimize=True)
    return out.getvalue()


def ink_on(colour: tuple[float, float, float, float]) -> str:
    """Return the ink that can be read on a colour: black or white, whichever stands out more (WCAG's relative luminance).

    Args:
        colour: red, green, blue and opacity, each from 0 to 1.

    Example:
        >>> ink_on((1.0, 1.0, 1.0, 1.0))
        '#000000'
    """
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def draw_policies(
    figure: StudyFigure, panels: Sequence[PolicyMap], left: float, top: float, width: float, gap: float
) -> VisitScale:
    """Draw small maps in a row, on one scale of visits: arrows are the policy, blue is how often an episode visits a tile.

    Args:
        figure: where to draw.
        panels: what to draw.
        left, top: upper left corner of the first map, in inches.
        width: of each map, in inches.
        gap: between two maps, in inches.

    Returns:
        The scale, whose key says what the blue means.

    Raises:
        ValueError: if a lake has no map.
    """
    theme = figure.theme
    visits = [expected_visits(panel.mdp, panel.policy) for panel in panels]
    scale = VisitScale.of([visit[walkable(panel.mdp)] for panel, visit in zip(panels, visits, strict=True)])
    for i, (panel, visit) in enumerate(zip(panels, visits, strict=True)):
        mdp = panel.mdp
        grid, states = grid_of(mdp), walkable(mdp)
        place = left + i * (width + gap)
        ax = figure.add_axes(place, top, width, width * grid.height / grid.width)
        draw_lake(ax, grid, theme)
        TileColours(ax, grid, states, theme.visits, scale.norm).update(visit)
        PathOutline(ax, grid, np.asarray(panel.shown, int), theme.shown, inset=0.08, width=0.9)
        draw_starts(ax, grid, theme)
        PolicyArrows(ax, grid, mdp.moves, states, theme).update(panel.policy)
        draw_landmarks(ax, grid, theme)
        figure.add_text(place, top - 0.04, panel.title, size=SMALL)
    return scale
