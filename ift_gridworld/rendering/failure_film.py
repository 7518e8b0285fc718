"""A film of one way to fail: the cases beside each other, a chart of what gives it away below each, its cause in words.

It draws what it is given (`Failure`): policies, tiles' shades and curves that were computed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ift_gridworld.mdp import Origin
from ift_gridworld.rendering import maps
from ift_gridworld.rendering.film import Film, fitted, style, text_width, update_ticks

WIDTH, MOST = 8.9, 2.75  # inches: of the picture; of a map
MARGIN, RIGHT, HEAD, GAP = 0.6, 0.3, 0.95, 0.28  # at the left, at the right, above; between columns
TITLE, BETWEEN, CHART = 0.52, 0.42, 1.0  # above each map, below it; a chart
LEGEND, ROW, WORDS = 0.46, 0.24, 1.9  # from charts to legend; a row of it; the words below


@dataclass(frozen=True, eq=False)
class Line:
    """A curve of a case's chart.

    Attributes:
        name: what the legend calls it.
        values: one a frame; not drawn where it is NaN.
        colour: an attribute of `Theme`.
        dashed: or drawn through.
    """

    name: str
    values: Float[np.ndarray, " F"]
    colour: str
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """One column.

    Attributes:
        title: what is done here.
        notes: what it comes to, one a frame.
        arrows: probabilities of moves; with `signed`, changes. Not drawn where they are NaN.
        tiles: shades of the tiles, 0 to 1, or none.
        lines: of the chart below; none leaves it out.
        signed: whether arrows are changes, drawn in two colours.
    """

    title: str
    notes: Sequence[str]
    arrows: Float[np.ndarray, "F S A"]
    tiles: Float[np.ndarray, "F S"] | None = None
    lines: tuple[Line, ...] = ()
    signed: bool = False


@dataclass(frozen=True, eq=False)
class Failure:
    """What is shown.

    Attributes:
        name: of its files.
        title: in a few words.
        about: the lake, policy and base in a line.
        cause: why, with the numbers: paragraphs, each with a heading.
        lake: where.
        shown, rejected: (tile, action) steps of the human's path and of the rejected one (else empty).
        steps: update of each frame.
        cases: two to four.
        shade: what the tiles' shade says.
        measure: what the charts draw.
        scale: of the charts.
        limits: of the charts.
        level: a value that the charts mark, and its name.
        signs: what signed arrows of either colour say.
    """

    name: str
    title: str
    about: str
    cause: tuple[tuple[str, str], ...]
    lake: Origin
    shown: Int[np.ndarray, "T 2"]
    rejected: Int[np.ndarray, "R 2"]
    steps: Int[np.ndarray, " F"]
    cases: tuple[Case, ...]
    shade: str
    measure: str
    scale: Literal["linear", "log", "symlog"] = "linear"
    limits: tuple[float, float] = (0.0, 1.0)
    level: tuple[float, str] | None = None
    signs: tuple[str, str] = ("likelier than in the base", "less likely")


class FailureFilm(Film):
    """Args:
    failure: what to show.
    theme: a name in THEMES.
    """

    def __init__(self, failure: Failure, theme: str = "light") -> None:
        mdp = failure.lake.mdp
        assert mdp.grid is not None
        self.failure, self.mdp, self.grid = failure, mdp, mdp.grid
        count = len(failure.cases)
        self.pitch = min((WIDTH - MARGIN - RIGHT + GAP) / count, MOST + GAP)
        self.side = self.pitch - GAP
        self.tall = self.side * self.grid.height / self.grid.width
        self.legend = _placed(self._entries())
        self.legend_rows = 1 + max(row for *_, row in self.legend)
        self.below = HEAD + TITLE + self.tall + BETWEEN + CHART + LEGEND  # where the legend begins
        super().__init__(theme, (WIDTH, round(self.below + ROW * self.legend_rows + WORDS, 1)))
        self._compose()

    def __len__(self) -> int:
        return len(self.failure.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        arrows = np.stack([case.arrows for case in self.failure.cases])
        return np.abs(np.diff(np.nan_to_num(arrows), axis=1)).mean((0, 2, 3))

    @property
    def alt(self) -> str:
        told = self.failure
        cases = " ".join(f"{case.title}: {case.notes[-1]}." for case in told.cases)
        cause = " ".join(f"{heading}: {text}" for heading, text in told.cause)
        return f"{told.title}, on a frozen lake ({told.about.replace(' · ', ', ')}). {cause} At the end: {cases}"

    # ---- composition ----

    def _compose(self) -> None:
        theme, told = self.theme, self.failure
        self.words(MARGIN, 0.34, told.title, size=18, weight="bold", color=theme.ink)
        self.words(MARGIN, 0.68, told.about, size=9.5, color=theme.muted)
        self.step_text = self.number(WIDTH - RIGHT, 0.34, size=14, colour=theme.ink, align="right")
        self.moves(self.step_text.artist)
        self.columns = [_Column(self, case, MARGIN + i * self.pitch, first=i == 0) for i, case in enumerate(told.cases)]
        self.words(MARGIN, HEAD + TITLE + self.tall + BETWEEN - 0.13, f"{told.measure} · by update", size=9.5, color=theme.ink)
        self._draw_legend()
        top = self.below + ROW * self.legend_rows + 0.24
        wide = (WIDTH - MARGIN - RIGHT + GAP) / len(told.cause)
        for i, (heading, text) in enumerate(told.cause):
            left = MARGIN + i * wide
            self.words(left, top, heading, size=11, weight="bold", color=theme.ink)
            self.words(left, top + 0.17, fitted(text, wide - GAP, 9.5), size=9.5, color=theme.ink, linespacing=1.35, va="top")

    def _entries(self) -> list[tuple[str, str, str]]:
        """What the legend explains: how it is drawn, its colour, in words."""
        told = self.failure
        lines = {line.name: line for case in told.cases for line in case.lines}
        entries = [("line --" if line.dashed else "line", line.colour, line.name) for line in lines.values()]
        if len(told.shown):
            entries.append(("box", "shown", "the human's path"))
        if len(told.rejected):
            entries.append(("box --", "rejected", "the rejected path"))
        if any(case.tiles is not None for case in told.cases):
            entries.append(("fill", "visited", told.shade))
        if any(case.signed for case in told.cases):
            entries += [("fill", "more", told.signs[0]), ("fill", "less", told.signs[1])]
        return entries

    def _draw_legend(self) -> None:
        rows = self.legend_rows
        width = WIDTH - MARGIN - RIGHT
        ax = self.axes(MARGIN, self.below, width, ROW * rows)
        ax.set(xlim=(0, width / ROW), ylim=(rows, 0))
        ax.axis("off")
        for kind, name, words, x, row in self.legend:
            colour, dashes = getattr(self.theme, name), (0, (2.2, 1.6)) if kind.endswith("--") else "-"
            if kind.startswith("line"):
                ax.plot([x / ROW, x / ROW + 1.1], [row + 0.5] * 2, color=colour, lw=2, ls=dashes)
            else:
                box = (
                    {"fc": "none", "ec": colour, "lw": 1.6, "ls": dashes} if kind.startswith("box") else {"fc": colour, "lw": 0}
                )
                ax.add_patch(Rectangle((x / ROW + 0.2, row + 0.17), 0.7, 0.66, **box))
            ax.text(x / ROW + 1.4, row + 0.5, words, size=9, color=self.theme.ink, va="center")

    # ---- frames ----

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.failure.steps[index]}")
        for column in self.columns:
            column.update(index)


class _Column:
    """A case: its title, what it comes to, its map, and its chart."""

    def __init__(self, film: FailureFilm, case: Case, left: float, *, first: bool) -> None:
        theme, told, grid = film.theme, film.failure, film.grid
        self.case = case
        film.words(left + 0.03, HEAD + 0.12, case.title, size=11, weight="bold", color=theme.ink)
        self.note = film.number(left + 0.03, HEAD + 0.34, size=9.5, colour=theme.success)
        film.moves(self.note.artist)
        ax = film.axes(left, HEAD + TITLE, film.side, film.tall)
        maps.draw_lake(ax, grid, theme)
        walkable = maps.walkable(film.mdp)
        self.tiles = None
        if case.tiles is not None:
            self.tiles = maps.TileColours(ax, grid, walkable, theme.visits, Normalize(0, 1, clip=True))
            film.moves(self.tiles.artist)
        for steps, colour, inset, dashed in (
            (told.rejected, theme.rejected, 0.17, True),
            (told.shown, theme.shown, 0.08, False),
        ):
            film.moves(maps.Outlines(ax, grid, steps[:, 0], colour, inset=inset, dashed=dashed, width=1.4).artist)
        drawn = maps.Changes if case.signed else maps.Arrows
        self.arrows = drawn(ax, grid, film.mdp.moves, walkable, theme)
        film.moves(*(self.arrows.artists if isinstance(self.arrows, maps.Changes) else (self.arrows.artist,)))
        self.cursor: Line2D | None = None
        if case.lines:
            self._chart(film, film.axes(left, HEAD + TITLE + film.tall + BETWEEN, film.side, CHART), labels=first)

    def _chart(self, film: FailureFilm, ax: Axes, *, labels: bool) -> None:
        theme, told = film.theme, film.failure
        style(ax, theme)
        ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ax.set_xlim(0, told.steps[-1])
        ax.set_xticks(update_ticks(int(told.steps[-1]), apart=0.2))
        if told.scale == "linear":
            ax.yaxis.set_major_locator(MaxNLocator(3))
        else:
            ax.set_yscale(told.scale, **({"linthresh": 1.0} if told.scale == "symlog" else {}))
        ax.set_ylim(*told.limits)
        if told.scale == "symlog":
            ticks = [t for t in (-1000, -100, -10, -1, 0) if told.limits[0] <= t <= told.limits[1]]
            ax.set_yticks(ticks, [f"−{-t}" if t else "0" for t in ticks])
        ax.minorticks_off()
        if not labels:
            ax.set_yticklabels([])
        if told.level is not None:
            value, name = told.level
            ax.axhline(value, color=theme.muted, lw=1, ls=(0, (4, 3)))
            if labels:
                ax.text(told.steps[-1], value, name, size=8.5, color=theme.muted, ha="right", va="bottom")
        self.cursor = ax.axvline(0, color=theme.muted, lw=1)
        film.moves(self.cursor)
        self.steps, self.dots = told.steps, []
        for line in self.case.lines:
            colour = getattr(theme, line.colour)
            ax.plot(self.steps, line.values, color=colour, lw=1.8, ls=(0, (2.2, 1.6)) if line.dashed else "-")
            if line.colour == "muted":  # a border, not something that moves
                continue
            dot = ax.plot([], [], "o", ms=5.5, color=colour, mec=theme.background, mew=1, clip_on=False)[0]
            film.moves(dot)
            self.dots.append((line, dot))

    def update(self, index: int) -> None:
        self.note.update(self.case.notes[index])
        self.arrows.update(self.case.arrows[index])
        if self.tiles is not None:
            assert self.case.tiles is not None
            self.tiles.update(self.case.tiles[index])
        if self.cursor is not None:
            self.cursor.set_xdata([self.steps[index]] * 2)
            for line, dot in self.dots:
                dot.set_data([self.steps[index]], [line.values[index]])


def _placed(entries: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str, float, int]]:
    """Each entry of the legend with its place: inches from the left, and its row."""
    placed, x, row = [], 0.0, 0
    for kind, colour, words in entries:
        wide = 1.4 * ROW + text_width(words, 9)
        if x > 0 and x + wide > WIDTH - MARGIN - RIGHT:
            x, row = 0.0, row + 1
        placed.append((kind, colour, words, x, row))
        x += wide + 0.3
    return placed
