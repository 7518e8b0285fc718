"""Figures of a study, drawn from its saved tables: the paper's figure 3, the claims, phase diagrams, the ablation, the causes.

All are as wide as a page (6.9 in), type 6.5 to 8 points. Blue is for a claim, orange against it, pale where neither is clear.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering import maps
from ift_gridworld.rendering.film import dateless, style
from ift_gridworld.rendering.theme import THEMES, Theme
from ift_gridworld.storage import write_atomically

WIDTH = 6.9  # inches
TEXT, SMALL, TINY = 8.0, 7.0, 6.5  # points


@dataclass(frozen=True)
class Point:
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Grid:
    """A table of numbers to be drawn as coloured cells.

    Attributes:
        title: above it.
        rows, columns: their names.
        values: of each cell; NaN is left empty.
        marked: cells that get a dot: what they say is beyond doubt.
        row_label, column_label: what rows and columns are.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Float[np.ndarray, "R C"]
    marked: Bool[np.ndarray, "R C"] | None = None
    row_label: str = ""
    column_label: str = ""


class Page:
    """A figure whose parts are placed in inches from its upper left corner."""

    def __init__(self, height: float, theme: str) -> None:
        self.theme: Theme = THEMES[theme]
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), facecolor=self.theme.background)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        box = (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        return self.figure.add_axes(box)

    def words(self, left: float, top: float, text: str, size: float = TEXT, **options: object) -> None:
        options = {"color": self.theme.ink} | options
        self.figure.text(left / WIDTH, 1 - top / self.height, text, size=size, **options)  # type: ignore[arg-type]

    def heading(self, left: float, top: float, text: str) -> None:
        self.words(left, top, text, SMALL, weight="bold")

    def note(self, left: float, top: float, text: str, **options: object) -> None:
        self.words(left, top, text, TINY, color=self.theme.muted, va="top", linespacing=1.35, **options)

    def legend(self, ax: Axes, left: float, top: float, columns: int) -> None:
        """What the marks of an axes mean, in a row of its own."""
        handles, labels = ax.get_legend_handles_labels()
        self.figure.legend(
            handles, labels, loc="center left", bbox_to_anchor=(left / WIDTH, 1 - top / self.height), ncols=columns,
            fontsize=TINY, frameon=False, labelcolor=self.theme.ink, handlelength=1, columnspacing=1.4,
            borderaxespad=0, borderpad=0,
        )  # fmt: skip

    def plain(self, ax: Axes) -> None:
        """The look of a chart."""
        style(ax, self.theme)
        ax.tick_params(labelsize=TINY, length=2, pad=2)

    def save(self, path: Path, alt: str) -> list[Path]:
        """As PDF and PNG, and in words as NAME.png.txt."""
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it tells that embedded fonts have no date
        written = []
        for kind, dpi in (("pdf", 300), ("png", 200)):
            out = io.BytesIO()
            with rc_context({"pdf.fonttype": 42}):
                self.figure.savefig(out, format=kind, dpi=dpi, facecolor=self.theme.background, metadata=dateless(kind))
            written.append(write_atomically(path.with_suffix(f".{kind}"), out.getvalue()))
        write_atomically(path.with_suffix(".png.txt"), f"{alt}\n".encode())
        return written

    def cells(
        self,
        grid: Grid,
        left: float,
        top: float,
        width: float,
        height: float,
        *,
        limits: tuple[float, float],
        write: str = "",
        names: bool = True,
        against: bool = False,
    ) -> None:
        """Cells coloured from orange (limits[0]) over ice to blue (limits[1]), or, `against`, the other way round.

        `write` is a format for the number in each cell; `names` says whether rows have theirs.
        """
        ax, theme = self.axes(left, top, width, height), self.theme
        colours = theme.changes.reversed() if against else theme.changes
        scale = Normalize(*limits, clip=True)
        ax.imshow(np.ma.masked_invalid(grid.values), cmap=colours, norm=scale, aspect="auto", interpolation="nearest")
        ax.set_facecolor(theme.background)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.tick_params(length=0, labelsize=TINY, labelcolor=theme.ink, pad=2)
        ax.set_yticks(range(len(grid.rows)), grid.rows if names else [""] * len(grid.rows))
        ax.set_xticks(range(len(grid.columns)), grid.columns)
        ax.set_xticks(np.arange(len(grid.columns) + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(grid.rows) + 1) - 0.5, minor=True)
        ax.grid(which="minor", color=theme.background, lw=1.2)
        ax.tick_params(which="minor", length=0)
        ax.set_title(grid.title, size=SMALL, color=theme.ink, loc="left", pad=3)
        if grid.column_label:
            ax.set_xlabel(grid.column_label, size=TINY, color=theme.muted, labelpad=1.5)
        if grid.row_label and names:
            ax.set_ylabel(grid.row_label, size=TINY, color=theme.muted, labelpad=1.5)
        for (r, c), value in np.ndenumerate(grid.values):
            if np.isnan(value):
                continue
            ink = _on(colours(scale(value)), theme)
            if write:
                ax.text(c, r, format(value, write), size=TINY, color=ink, ha="center", va="center_baseline")
            if grid.marked is not None and grid.marked[r, c]:
                place = (c + 0.38, r - 0.32) if write else (c, r)
                ax.plot(*place, "o", ms=2.0, color=ink, mew=0)

    def forest(
        self,
        rows: Sequence[str],
        series: Mapping[str, Sequence[Point | None]],
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
        """Values with intervals, one line a row, the series one under the other within it (those in `hollow` not filled)."""
        ax, theme = self.axes(left, top, width, height), self.theme
        self.plain(ax)
        if zero:
            ax.axvline(0, color=theme.muted, lw=0.8, zorder=1)
        colours = colours or [theme.success, theme.distance, theme.shown, theme.muted]
        for k, (name, points) in enumerate(series.items()):
            shift = (k - (len(series) - 1) / 2) * min(0.2, 0.7 / len(series))
            colour = colours[k % len(colours)]
            face = theme.background if name in hollow else colour
            known = [(y, point) for y, point in enumerate(points) if point is not None and np.isfinite(point.value)]
            for y, point in known:
                ax.plot([point.low, point.high], [y + shift] * 2, color=colour, lw=1.3, solid_capstyle="butt", zorder=2)
            values, places = [point.value for _, point in known], [y + shift for y, _ in known]
            ax.plot(values, places, "osD^vP"[k % 6], ms=3.2, mew=0.9, mec=colour, mfc=face, lw=0, zorder=3, label=name)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_yticks(range(len(rows)), rows if names else [""] * len(rows))
        ax.tick_params(axis="y", length=0, labelcolor=theme.ink)
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color=theme.faint, lw=0.5, zorder=0)
        ax.set_xlabel(label, size=TINY, color=theme.muted, labelpad=1.5)
        ax.set_title(title, size=SMALL, color=theme.ink, loc="left", pad=3)
        return ax

    def key(self, left: float, top: float, low: str, high: str, *, against: bool = False) -> None:
        """The scale of coloured cells: a strip with words at its ends."""
        ax, theme = self.axes(left, top, 0.8, 0.09), self.theme
        colours = theme.changes.reversed() if against else theme.changes
        ax.imshow(np.linspace(0, 1, 128)[None], cmap=colours, aspect="auto")
        ax.axis("off")
        for x, text, side in ((left - 0.05, low, "right"), (left + 0.85, high, "left")):
            self.words(x, top + 0.045, text, TINY, ha=side, va="center", color=theme.muted)


def _on(colour: tuple[float, float, float, float], theme: Theme) -> str:
    """Ink that can be read on a colour: black or white, whichever stands out more (WCAG's relative luminance)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


@dataclass(frozen=True, eq=False)
class Aligned:
    """A policy to be drawn on its lake, with the tiles that the human showed."""

    title: str
    mdp: TabularMDP
    policy: Float[np.ndarray, "S A"]
    shown: Sequence[int] = ()


def draw_policy(page: Page, told: Aligned, left: float, top: float, width: float) -> None:
    """A small map: arrows are the policy, blue is how often an episode visits a tile."""
    assert told.mdp.grid is not None
    grid, theme, walkable = told.mdp.grid, page.theme, maps.walkable(told.mdp)
    ax = page.axes(left, top, width, width * grid.height / grid.width)
    maps.draw_lake(ax, grid, theme)
    visits = expected_visits(told.mdp, told.policy)
    maps.TileColours(ax, grid, walkable, theme.visits, Normalize(0, 1, clip=True)).update(visits)
    maps.Outlines(ax, grid, np.asarray(told.shown, int), theme.shown, inset=0.08, dashed=False, width=0.9)
    maps.Arrows(ax, grid, told.mdp.moves, walkable, theme).update(told.policy)
    page.words(left, top - 0.04, told.title, SMALL)
