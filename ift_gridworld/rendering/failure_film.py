"""A film of one way to fail: panels beside each other, a chart of what gives the failure away below each, its cause in words.

It draws what it is given (`Failure`): policies, shades of tiles and curves that were computed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ift_gridworld.mdp import Origin
from ift_gridworld.rendering.arrows import ChangeArrows, PolicyArrows
from ift_gridworld.rendering.charts import style_axes, update_axis
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, grid_of, walkable
from ift_gridworld.rendering.paths import draw_answers
from ift_gridworld.rendering.shapes import line_style
from ift_gridworld.rendering.text import text_width, wrap_text
from ift_gridworld.rendering.tiles import TileColours

__all__ = ["ChartLine", "Failure", "FailureFilm", "Panel"]

WIDTH, MAX_MAP = 8.9, 2.75  # inches: of the picture; of a map
MARGIN, RIGHT, HEAD, GAP = 0.6, 0.3, 0.95, 0.28  # inches: at the left, at the right, above; between panels
TITLE, BETWEEN, CHART = 0.52, 0.42, 1.0  # inches: above each map, below it; a chart
LEGEND, LEGEND_ROW, CAUSE = 0.46, 0.24, 1.9  # inches: from charts to legend; a row of it; the words below


@dataclass(frozen=True, eq=False)
class ChartLine:
    """A curve of a panel's chart.

    Attributes:
        name: what the legend calls it.
        values: one a frame; not drawn where it is NaN.
        colour: an attribute of `Theme`.
        dashed: whether the line is dashed.
    """

    name: str
    values: Float[np.ndarray, " F"]
    colour: str
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of the film: a run, or one view of it.

    Attributes:
        title: what is done here.
        notes: its result, one a frame.
        arrows: probabilities of actions; with `signed`, changes of them. Not drawn where they are NaN.
        tiles: shades of the tiles, 0 to 1, or None.
        lines: of the chart below; without any there is no chart.
        signed: whether arrows are changes, drawn in two colours.
    """

    title: str
    notes: Sequence[str]
    arrows: Float[np.ndarray, "F S A"]
    tiles: Float[np.ndarray, "F S"] | None = None
    lines: tuple[ChartLine, ...] = ()
    signed: bool = False


@dataclass(frozen=True, eq=False)
class Failure:
    """What the film shows.

    Attributes:
        name: of its files.
        title: a few words.
        about: lake, policy and base in a line.
        cause: why it happens, with the numbers: paragraphs, each with a heading.
        lake: where it happens.
        shown, rejected: (state, action) steps of the human's path and of the rejected one (else empty).
        steps: update of each frame.
        cases: the panels, two to four.
        shade: what the shades of the tiles mean.
        measure: what the charts draw.
        scale: of the charts.
        limits: of the charts.
        level: a value that the charts mark, and its name.
        signs: what signed arrows of either colour mean.
    """

    name: str
    title: str
    about: str
    cause: tuple[tuple[str, str], ...]
    lake: Origin
    shown: Int[np.ndarray, "T 2"]
    rejected: Int[np.ndarray, "R 2"]
    steps: Int[np.ndarray, " F"]
    cases: tuple[Panel, ...]
    shade: str
    measure: str
    scale: Literal["linear", "log", "symlog"] = "linear"
    limits: tuple[float, float] = (0.0, 1.0)
    level: tuple[float, str] | None = None
    signs: tuple[str, str] = ("likelier than in the base", "less likely")


@dataclass(frozen=True)
class _LegendEntry:
    """What the legend explains, and its place.

    Attributes:
        kind: how its sample is drawn.
        colour: an attribute of `Theme`.
        words: beside it.
        dashed: whether the sample is.
        left, row: inches from the left of the legend, and its row.
    """

    kind: Literal["line", "box", "fill"]
    colour: str
    words: str
    dashed: bool = False
    left: float = 0.0
    row: int = 0


class FailureFilm(Film):
    """The film of a failure.

    Args:
        failure: what to show, on a lake with a map.
        theme: a name in THEMES.

    Raises:
        ValueError: if the lake has no map, or for an unknown theme.
    """

    def __init__(self, failure: Failure, theme: str = "light") -> None:
        self.failure, self.mdp = failure, failure.lake.mdp
        self.grid = grid_of(self.mdp)
        self.pitch = min((WIDTH - MARGIN - RIGHT + GAP) / len(failure.cases), MAX_MAP + GAP)
        self.map_width = self.pitch - GAP
        self.map_height = self.map_width * self.grid.height / self.grid.width
        self.legend = _arranged(_legend_entries(failure))
        self.legend_rows = 1 + max(entry.row for entry in self.legend)
        self.below = HEAD + TITLE + self.map_height + BETWEEN + CHART + LEGEND  # where the legend begins
        super().__init__(theme, (WIDTH, round(self.below + LEGEND_ROW * self.legend_rows + CAUSE, 1)))
        self._compose()

    def __len__(self) -> int:
        return len(self.failure.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        arrows = np.stack([panel.arrows for panel in self.failure.cases])
        return np.abs(np.diff(np.nan_to_num(arrows), axis=1)).mean((0, 2, 3))

    @property
    def alt(self) -> str:
        failure = self.failure
        cases = " ".join(f"{panel.title}: {panel.notes[-1]}." for panel in failure.cases)
        cause = " ".join(f"{heading}: {text}" for heading, text in failure.cause)
        return f"{failure.title}, on a frozen lake ({failure.about.replace(' · ', ', ')}). {cause} At the end: {cases}"

    # ---- composition ----

    def _compose(self) -> None:
        theme, failure = self.theme, self.failure
        self.add_text(MARGIN, 0.34, failure.title, size=18, weight="bold", color=theme.ink)
        self.add_text(MARGIN, 0.68, failure.about, size=9.5, color=theme.muted)
        self.step_text = self.add_number(WIDTH - RIGHT, 0.34, size=14, colour=theme.ink, align="right")
        self.panels = [_DrawnPanel(self, panel, MARGIN + i * self.pitch, first=i == 0) for i, panel in enumerate(failure.cases)]
        chart_top = HEAD + TITLE + self.map_height + BETWEEN
        self.add_text(MARGIN, chart_top - 0.13, f"{failure.measure} · by update", size=9.5, color=theme.ink)
        self._draw_legend()
        top = self.below + LEGEND_ROW * self.legend_rows + 0.24
        width = (WIDTH - MARGIN - RIGHT + GAP) / len(failure.cause)
        for i, (heading, text) in enumerate(failure.cause):
            left, lines = MARGIN + i * width, wrap_text(text, width - GAP, 9.5)
            self.add_text(left, top, heading, size=11, weight="bold", color=theme.ink)
            self.add_text(left, top + 0.17, lines, size=9.5, color=theme.ink, linespacing=1.35, va="top")

    def _draw_legend(self) -> None:
        rows, width = self.legend_rows, WIDTH - MARGIN - RIGHT
        ax = self.add_axes(MARGIN, self.below, width, LEGEND_ROW * rows)
        ax.set(xlim=(0, width / LEGEND_ROW), ylim=(rows, 0))
        ax.axis("off")
        for entry in self.legend:
            x, row, colour, dashes = (
                entry.left / LEGEND_ROW,
                entry.row,
                getattr(self.theme, entry.colour),
                line_style(entry.dashed),
            )
            if entry.kind == "line":
                ax.plot([x, x + 1.1], [row + 0.5] * 2, color=colour, lw=2, ls=dashes)
            else:
                style: dict[str, Any] = {"fc": colour, "lw": 0}
                if entry.kind == "box":
                    style = {"fc": "none", "ec": colour, "lw": 1.6, "ls": dashes}
                ax.add_patch(Rectangle((x + 0.2, row + 0.17), 0.7, 0.66, **style))
            ax.text(x + 1.4, row + 0.5, entry.words, size=9, color=self.theme.ink, va="center")

    # ---- frames ----

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.failure.steps[index]}")
        for panel in self.panels:
            panel.update(index)


class _DrawnPanel:
    """A panel on the figure: its title, its note, its map, and its chart."""

    def __init__(self, film: FailureFilm, panel: Panel, left: float, *, first: bool) -> None:
        theme = film.theme
        self.panel = panel
        film.add_text(left + 0.03, HEAD + 0.12, panel.title, size=11, weight="bold", color=theme.ink)
        self.note = film.add_number(left + 0.03, HEAD + 0.34, size=9.5, colour=theme.success)
        self._compose_map(film, film.add_axes(left, HEAD + TITLE, film.map_width, film.map_height))
        self.cursor: Line2D | None = None
        if panel.lines:
            ax = film.add_axes(left, HEAD + TITLE + film.map_height + BETWEEN, film.map_width, CHART)
            self._compose_chart(film, ax, labels=first)

    def _compose_map(self, film: FailureFilm, ax: Axes) -> None:
        theme, failure, grid, states = film.theme, film.failure, film.grid, walkable(film.mdp)
        draw_lake(ax, grid, theme)
        self.tiles = None
        if self.panel.tiles is not None:
            self.tiles = TileColours(ax, grid, states, theme.visits, Normalize(0, 1, clip=True))
            film.animate(self.tiles.artist)
        film.animate(*draw_answers(ax, grid, theme, failure.shown[:, 0], failure.rejected[:, 0], width=1.4))
        self.arrows: ChangeArrows | PolicyArrows
        if self.panel.signed:
            self.arrows = ChangeArrows(ax, grid, film.mdp.moves, states, theme)
            film.animate(*self.arrows.artists)
        else:
            self.arrows = PolicyArrows(ax, grid, film.mdp.moves, states, theme)
            film.animate(self.arrows.artist)

    def _compose_chart(self, film: FailureFilm, ax: Axes, *, labels: bool) -> None:
        theme, failure = film.theme, film.failure
        style_axes(ax, theme)
        update_axis(ax, int(failure.steps[-1]), apart=0.2)
        _value_axis(ax, failure)
        if not labels:
            ax.set_yticklabels([])
        if failure.level is not None:
            value, name = failure.level
            ax.axhline(value, color=theme.muted, lw=1, ls=(0, (4, 3)))
            if labels:
                ax.text(failure.steps[-1], value, name, size=8.5, color=theme.muted, ha="right", va="bottom")
        self.cursor = ax.axvline(0, color=theme.muted, lw=1)
        film.animate(self.cursor)
        self.steps, self.dots = failure.steps, []
        for line in self.panel.lines:
            colour = getattr(theme, line.colour)
            ax.plot(self.steps, line.values, color=colour, lw=1.8, ls=line_style(line.dashed))
            if line.colour == "muted":  # a border, not something that moves
                continue
            dot = ax.plot([], [], "o", ms=5.5, color=colour, mec=theme.background, mew=1, clip_on=False)[0]
            film.animate(dot)
            self.dots.append((line, dot))

    def update(self, index: int) -> None:
        self.note.update(self.panel.notes[index])
        self.arrows.update(self.panel.arrows[index])
        if self.tiles is not None:
            assert self.panel.tiles is not None
            self.tiles.update(self.panel.tiles[index])
        if self.cursor is not None:
            self.cursor.set_xdata([self.steps[index]] * 2)
            for line, dot in self.dots:
                dot.set_data([self.steps[index]], [line.values[index]])


def _value_axis(ax: Axes, failure: Failure) -> None:
    """Scale, limits and ticks of y."""
    if failure.scale == "linear":
        ax.yaxis.set_major_locator(MaxNLocator(3))
    else:
        ax.set_yscale(failure.scale, **({"linthresh": 1.0} if failure.scale == "symlog" else {}))
    ax.set_ylim(*failure.limits)
    if failure.scale == "symlog":
        ticks = [t for t in (-1000, -100, -10, -1, 0) if failure.limits[0] <= t <= failure.limits[1]]
        ax.set_yticks(ticks, [f"−{-t}" if t else "0" for t in ticks])
    ax.minorticks_off()


def _legend_entries(failure: Failure) -> list[_LegendEntry]:
    """What the legend explains, not placed yet."""
    lines = {line.name: line for panel in failure.cases for line in panel.lines}
    entries = [_LegendEntry("line", line.colour, line.name, line.dashed) for line in lines.values()]
    if len(failure.shown):
        entries.append(_LegendEntry("box", "shown", "the human's path"))
    if len(failure.rejected):
        entries.append(_LegendEntry("box", "rejected", "the rejected path", dashed=True))
    if any(panel.tiles is not None for panel in failure.cases):
        entries.append(_LegendEntry("fill", "visited", failure.shade))
    if any(panel.signed for panel in failure.cases):
        entries += [_LegendEntry("fill", "more", failure.signs[0]), _LegendEntry("fill", "less", failure.signs[1])]
    return entries


def _arranged(entries: Sequence[_LegendEntry]) -> list[_LegendEntry]:
    """The entries of the legend in rows, as wide as the picture."""
    arranged, left, row = [], 0.0, 0
    for entry in entries:
        width = 1.4 * LEGEND_ROW + text_width(entry.words, 9)
        if left > 0 and left + width > WIDTH - MARGIN - RIGHT:
            left, row = 0.0, row + 1
        arranged.append(replace(entry, left=left, row=row))
        left += width + 0.3
    return arranged
