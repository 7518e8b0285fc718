"""Figures of a study, drawn from its saved tables: the paper's figure 3, the claims, phase diagrams, the ablation, the causes.

All are as wide as a page (6.9 inches), with type of 6.5 to 8 points. Blue supports a claim, orange speaks against it, pale
colours mean that neither is clear.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.film import file_metadata, write_words
from ift_gridworld.rendering.fonts import use_fonts
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.maps import draw_lake, grid_of, walkable
from ift_gridworld.rendering.paths import PathOutline
from ift_gridworld.rendering.text import TextStyle, plain_text, shorten
from ift_gridworld.rendering.theme import Theme, find_theme
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.storage import write_atomically

__all__ = ["SMALL", "TEXT", "TINY", "WIDTH", "Estimate", "Heatmap", "PolicyMap", "StudyFigure", "draw_policy", "ink_on"]

WIDTH = 6.9  # inches
TEXT, SMALL, TINY = 8.0, 7.0, 6.5  # points


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


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
        ValueError: for an unknown theme.
    """

    def __init__(self, height: float, theme: str) -> None:
        self.theme: Theme = find_theme(theme)
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), facecolor=self.theme.background)
        FigureCanvasAgg(self.figure)

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
        """Add small muted lines below `top`."""
        self.add_text(left, top, text, size=TINY, color=self.theme.muted, va="top", ha=ha, linespacing=1.35)

    def add_legend(self, ax: Axes, left: float, top: float, columns: int) -> None:
        """Explain the marks of an Axes in a row of its own; `top` is its middle."""
        handles, labels = ax.get_legend_handles_labels()
        self.figure.legend(
            handles, labels, loc="center left", bbox_to_anchor=(left / WIDTH, 1 - top / self.height), ncols=columns,
            fontsize=TINY, frameon=False, labelcolor=self.theme.ink, handlelength=1, columnspacing=1.4,
            borderaxespad=0, borderpad=0,
        )  # fmt: skip

    def style_axes(self, ax: Axes) -> None:
        """Give a chart the look of this figure."""
        style_axes(ax, self.theme)
        ax.tick_params(labelsize=TINY, length=2, pad=2)

    @isolated
    def save(self, path: Path, alt: str) -> list[Path]:
        """Write as PDF and PNG, and what the figure shows in words as NAME.png.txt.

        Args:
            path: where to write; its suffix is replaced.
            alt: the words.

        Returns:
            The paths of PDF and PNG.

        Raises:
            OSError: if a file cannot be written.
        """
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns that embedded fonts have no date
        written = []
        for kind, dpi in (("pdf", 300), ("png", 200)):
            out = io.BytesIO()
            use_fonts(self.figure)
            self.figure.savefig(out, format=kind, dpi=dpi, facecolor=self.theme.background, metadata=file_metadata(kind))
            written.append(write_atomically(path.with_suffix(f".{kind}"), out.getvalue()))
        write_words(path.with_suffix(".png"), alt)
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
        colours: Sequence[str] | None = None,
        hollow: Sequence[str] = (),
    ) -> Axes:
        """Draw values with intervals, one line a row, the series one under the other within it.

        Args:
            rows: their names.
            series: by name, one estimate a row; None where there is none.
            left, top, width, height: where, in inches.
            label: below the axis.
            title: above the chart.
            names: whether rows have their names.
            zero: whether a line marks zero.
            colours: one a series, repeated (default: four of the theme).
            hollow: names of the series whose marks are not filled.
        """
        ax, theme = self.add_axes(left, top, width, height), self.theme
        self.style_axes(ax)
        if zero:
            ax.axvline(0, color=theme.muted, lw=0.8, zorder=1)
        colours = colours or [theme.success, theme.distance, theme.shown, theme.muted]
        for k, (name, estimates) in enumerate(series.items()):
            shift = (k - (len(series) - 1) / 2) * min(0.2, 0.7 / len(series))
            colour = colours[k % len(colours)]
            face = theme.background if name in hollow else colour
            drawable = [(y, estimate) for y, estimate in enumerate(estimates) if estimate and np.isfinite(estimate.value)]
            for y, estimate in drawable:
                ax.plot([estimate.low, estimate.high], [y + shift] * 2, color=colour, lw=1.3, solid_capstyle="butt", zorder=2)
            values, heights = [estimate.value for _, estimate in drawable], [y + shift for y, _ in drawable]
            ax.plot(values, heights, "osD^vP"[k % 6], ms=3.2, mew=0.9, mec=colour, mfc=face, lw=0, zorder=3, label=name)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_yticks(range(len(rows)), [*map(plain_text, rows)] if names else [""] * len(rows))
        ax.tick_params(axis="y", length=0, labelcolor=theme.ink)
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color=theme.faint, lw=0.5, zorder=0)
        ax.set_xlabel(label, size=TINY, color=theme.muted, labelpad=1.5)
        ax.set_title(title, size=SMALL, color=theme.ink, loc="left", pad=3)
        return ax

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


def draw_policy(figure: StudyFigure, panel: PolicyMap, left: float, top: float, width: float) -> None:
    """Draw a small map: arrows are the policy, blue is how often an episode visits a tile.

    Args:
        figure: where to draw.
        panel: what to draw.
        left, top, width: of the map, in inches.

    Raises:
        ValueError: if the lake has no map.
    """
    mdp, theme = panel.mdp, figure.theme
    grid, states = grid_of(mdp), walkable(mdp)
    ax = figure.add_axes(left, top, width, width * grid.height / grid.width)
    draw_lake(ax, grid, theme)
    visits = expected_visits(mdp, panel.policy)
    TileColours(ax, grid, states, theme.visits, Normalize(0, 1, clip=True)).update(visits)
    PathOutline(ax, grid, np.asarray(panel.shown, int), theme.shown, inset=0.08, width=0.9)
    PolicyArrows(ax, grid, mdp.moves, states, theme).update(panel.policy)
    figure.add_text(left, top - 0.04, panel.title, size=SMALL)
