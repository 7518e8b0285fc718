"""A film of one way to fail: what fails, why and how often above, panels beside each other, a chart of what gives it away.

It draws what it is given (`Failure`): policies, shades of tiles and curves that were computed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ift_gridworld.rendering.arrows import ChangeArrows, PolicyArrows
from ift_gridworld.rendering.charts import style_axes, update_axis
from ift_gridworld.rendering.failure import Failure, Panel
from ift_gridworld.rendering.film import Box, Film
from ift_gridworld.rendering.maps import draw_lake, draw_starts, grid_of, walkable
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.pace import reading_seconds
from ift_gridworld.rendering.paths import draw_answers
from ift_gridworld.rendering.plane import Plane
from ift_gridworld.rendering.shapes import line_style
from ift_gridworld.rendering.text import shorten, text_width
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.rendering.visit_scale import VISITS_UNIT, VisitScale

__all__ = ["SHADES", "FailureFilm", "FailureKeyEntry"]

WIDTH, HEIGHT = 9.6, 5.4  # inches
MARGIN, RIGHT, GAP = 0.62, 0.25, 0.3  # inches: at the left, at the right; between panels
PANELS, TITLE, MAX_MAP = 1.14, 0.48, 1.86  # inches: where panels begin, their titles, the height of a map
CHART_TOP, CHART = 3.72, 0.82  # inches: from above; height
KEY_TOP, KEY_ROW = 5.0, 0.2  # inches: from above; height of a row
KEY_SIZE = 9.0  # points
STRIP_WIDTH = 1.35  # inches, of the key of the tiles' shades
SHADES = {"visits": VISITS_UNIT, "success": "success when dropped here", "": ""}
FIRST_SHARE = 0.4  # of the time to read the words that the first frame stands


@dataclass(frozen=True)
class FailureKeyEntry:
    """An entry of the key, and its place.

    Attributes:
        kind: how its sample is drawn.
        colour: an attribute of `Theme`.
        words: beside it.
        dashed: whether the sample is.
        left, row: inches from the left of the key, and its row.
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
        failure: what to show, on an environment with a map.
        theme: a name in THEMES.

    Raises:
        ValueError: if there is no map, or for an unknown theme.
    """

    def __init__(self, failure: Failure, theme: str = "light") -> None:
        self.failure, self.mdp = failure, failure.lake.mdp
        self.grid = grid_of(self.mdp)
        columns = len(failure.cases) + bool(failure.plane)
        self.pitch = (WIDTH - MARGIN - RIGHT + GAP) / columns
        self.column = self.pitch - GAP
        self.map_width = min(self.column, MAX_MAP * self.grid.width / self.grid.height)
        self.map_height = self.map_width * self.grid.height / self.grid.width
        shades = [panel.tiles for panel in failure.cases if panel.tiles is not None]
        self.scale = VisitScale.of(shades) if failure.shade == "visits" else VisitScale(1.0)
        super().__init__(theme, (WIDTH, HEIGHT))
        self._compose()

    def __len__(self) -> int:
        return len(self.failure.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        arrows = np.stack([panel.arrows for panel in self.failure.cases])
        return np.abs(np.diff(np.nan_to_num(arrows), axis=1)).mean((0, 2, 3))

    @property
    def words(self) -> str:
        """All words to be read: what fails, why, and how often."""
        return "\n".join((self.failure.title, self.failure.why, self.failure.often))

    @property
    def captions(self) -> list[str]:
        numbers = self._numbers(len(self) - 1)
        return [self.words] * (len(self) - 1) + [f"{self.words}\n{numbers}"]

    @property
    def pace(self) -> list[float]:
        """Seconds of each frame: the words can be read while it runs, a part of them before it starts."""
        usual = super().pace
        if len(usual) < 3:
            return usual
        needed, moving = reading_seconds(self.words), np.array(usual[1:-1])
        slower = max(1.0, (1 - FIRST_SHARE) * needed / moving.sum())
        return [max(usual[0], round(FIRST_SHARE * needed, 2)), *(slower * moving).round(2).tolist(), usual[-1]]

    @property
    def alt(self) -> str:
        failure = self.failure
        cases = " ".join(f"{panel.title}: {panel.notes[-1]}." for panel in failure.cases)
        cause = " ".join(f"{heading}: {text}" for heading, text in failure.cause)
        about = failure.about.replace(" · ", ", ")
        return f"{failure.title} ({about}). {failure.why} {failure.often} {cause} At the end: {cases}"

    @property
    def panel_boxes(self) -> list[Box]:
        """The part of the picture of each panel, and of the plane."""
        columns = len(self.failure.cases) + bool(self.failure.plane)
        bottom, height = 1 - (KEY_TOP - 0.12) / HEIGHT, (KEY_TOP - 0.12 - PANELS) / HEIGHT
        boxes = []
        for i in range(columns):
            left = MARGIN + i * self.pitch - (0.5 if i == 0 else 0.12)
            right = min(WIDTH, MARGIN + (i + 1) * self.pitch - 0.13)
            boxes.append((left / WIDTH, bottom, (right - left) / WIDTH, height))
        return boxes

    @property
    def key(self) -> list[FailureKeyEntry]:
        """Entries of the key, beside the shades of the tiles."""
        return _key_entries(self.failure)

    # ---- composition ----

    def _compose(self) -> None:
        theme, failure = self.theme, self.failure
        self.add_text(0.3, 0.36, failure.title, size=17, weight="bold", color=theme.ink)
        for top, words in ((0.68, failure.why), (0.91, failure.often)):
            self.add_text(0.3, top, shorten(words, WIDTH - 0.45, 11), size=11, color=theme.ink)
        self.step_text = self.add_number(WIDTH - RIGHT, 0.36, size=14, colour=theme.ink, align="right")
        self.panels = [_DrawnPanel(self, panel, MARGIN + i * self.pitch, first=i == 0) for i, panel in enumerate(failure.cases)]
        self.add_text(MARGIN, CHART_TOP - 0.14, failure.measure, size=9.5, color=theme.ink)
        self.plane: Plane | None = None
        if failure.plane:
            left = MARGIN + len(failure.cases) * self.pitch + 0.1
            self.add_text(left - 0.2, PANELS + 0.12, "The preference plane", size=11, weight="bold", color=theme.ink)
            words = "log-probabilities since the base, nats"
            self.add_text(left - 0.2, PANELS + 0.35, words, size=9.5, color=theme.ink)
            box = self.add_axes(left + 0.3, PANELS + TITLE + 0.02, self.column - 0.9, CHART_TOP + CHART - PANELS - TITLE - 0.02)
            self.plane = Plane(box, failure.plane, theme, size=9.0, is_small=True)
            self.animate(*self.plane.artists)
        self._draw_key()
        self.add_text(MARGIN, HEIGHT - 0.14, shorten(failure.about, WIDTH - 1, 9), size=9, color=theme.muted)

    def _draw_key(self) -> None:
        width = WIDTH - MARGIN - RIGHT
        ax = self.add_axes(MARGIN, KEY_TOP - KEY_ROW / 2, width, KEY_ROW)
        ax.set(xlim=(0, width), ylim=(KEY_ROW / 2, -KEY_ROW / 2))
        ax.axis("off")
        shade = SHADES[self.failure.shade]
        strip = STRIP_WIDTH + text_width(shade, KEY_SIZE) + 0.35 if shade else 0.0
        for entry in _arranged(_key_entries(self.failure), width - strip):
            colour, dashes = getattr(self.theme, entry.colour), line_style(entry.dashed)
            x, y = entry.left, entry.row * KEY_ROW
            if entry.kind == "line":
                ax.plot([x, x + 0.26], [y, y], color=colour, lw=2, ls=dashes, clip_on=False)
            else:
                style: dict[str, Any] = {"fc": colour, "lw": 0}
                if entry.kind == "box":
                    style = {"fc": "none", "ec": colour, "lw": 1.6, "ls": dashes}
                ax.add_patch(Rectangle((x + 0.05, y - 0.07), 0.16, 0.14, clip_on=False, **style))
            ax.text(x + 0.33, y, entry.words, size=KEY_SIZE, color=self.theme.ink, va="center")
        if shade:
            left = WIDTH - RIGHT - STRIP_WIDTH - 0.1
            ax.text(left - MARGIN - 0.1, 0, shade, size=KEY_SIZE, color=self.theme.ink, va="center", ha="right")
            box = self.add_axes(left, KEY_TOP - 0.06, STRIP_WIDTH, 0.1)
            self.scale.draw_key(box, self.theme, 8.0, title=False)

    # ---- frames ----

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.failure.steps[index]}")
        for panel in self.panels:
            panel.update(index)
        if self.plane is not None:
            self.plane.update(index)


class _DrawnPanel:
    """A panel on the figure: its title, its note, its map, and its chart."""

    def __init__(self, film: FailureFilm, panel: Panel, left: float, *, first: bool) -> None:
        theme = film.theme
        self.panel, beside = panel, 0.0
        self.colour = style_of(panel.method).colour(theme) if panel.method else theme.ink
        if panel.method:
            beside = 0.2
            mark = Line2D(
                [left + 0.07], [HEIGHT - PANELS - 0.12], marker=style_of(panel.method).marker, ms=7, color=self.colour
            )
            mark.set_transform(film.figure.dpi_scale_trans)
            film.figure.add_artist(mark)
        title = shorten(panel.title, film.column - beside, 11, bold=True)
        film.add_text(left + beside, PANELS + 0.12, title, size=11, weight="bold", color=theme.ink)
        self.note = film.add_number(left, PANELS + 0.35, size=9.5, colour=theme.ink)
        self._compose_map(film, film.add_axes(left, PANELS + TITLE, film.map_width, film.map_height))
        self.cursor: Line2D | None = None
        if panel.lines:
            self._compose_chart(film, film.add_axes(left, CHART_TOP, film.column, CHART), first=first)

    def _compose_map(self, film: FailureFilm, ax: Axes) -> None:
        theme, failure, grid, states = film.theme, film.failure, film.grid, walkable(film.mdp)
        draw_lake(ax, grid, theme)
        self.tiles, halo = None, theme.ice
        if self.panel.tiles is not None:
            norm = film.scale.norm if failure.shade == "visits" else Normalize(0, 1)
            self.tiles = TileColours(ax, grid, states, theme.visits, norm)
            film.animate(self.tiles.artist)
            halo = to_hex(theme.visits(norm(1.0)))  # episodes begin there
        film.animate(*draw_answers(ax, grid, theme, failure.shown[:, 0], failure.rejected[:, 0], width=1.4))
        film.animate(*draw_starts(ax, grid, theme, halo=halo))
        self.arrows: ChangeArrows | PolicyArrows
        if self.panel.signed:
            self.arrows = ChangeArrows(ax, grid, film.mdp.moves, states, theme)
            film.animate(*self.arrows.artists)
        else:
            self.arrows = PolicyArrows(ax, grid, film.mdp.moves, states, theme)
            film.animate(self.arrows.artist)

    def _compose_chart(self, film: FailureFilm, ax: Axes, *, first: bool) -> None:
        theme, failure = film.theme, film.failure
        style_axes(ax, theme)
        update_axis(ax, int(failure.steps[-1]), apart=0.2)
        _value_axis(ax, failure)
        if first:
            ax.set_xlabel("update (square-root scale)", size=9, color=theme.muted, labelpad=1, loc="left")
        else:
            ax.set_yticklabels([])
        if failure.level is not None:
            value, name = failure.level
            ax.axhline(value, color=theme.muted, lw=1, ls=(0, (4, 3)))
            if first:
                ax.text(0.5, value, name, transform=ax.get_yaxis_transform(), size=8.5, color=theme.muted, va="bottom")
        self.cursor = ax.axvline(0, color=theme.muted, lw=1)
        film.animate(self.cursor)
        self.steps, self.dots = failure.steps, []
        for line in self.panel.lines:
            colour = self._colour_of(line.colour, theme)
            ax.plot(self.steps, line.values, color=colour, lw=1.8, ls=line_style(line.dashed))
            if line.colour == "muted":  # a border, not something that moves
                continue
            dot = ax.plot([], [], "o", ms=5.5, color=colour, mec=theme.background, mew=1, clip_on=False)[0]
            film.animate(dot)
            self.dots.append((line, dot))

    def _colour_of(self, name: str, theme: Theme) -> str:
        return self.colour if name == "method" else str(getattr(theme, name))

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


def _key_entries(failure: Failure) -> list[FailureKeyEntry]:
    """Return the entries of the key, not placed yet; lines in a method's colour are shown in ink, as there may be several."""
    lines = {line.name: line for panel in failure.cases for line in panel.lines}
    entries = []
    for line in lines.values():
        colour = "ink" if line.colour == "method" else line.colour
        entries.append(FailureKeyEntry("line", colour, line.name, line.dashed))
    if len(failure.shown):
        entries.append(FailureKeyEntry("box", "shown", "the human's path" if not len(failure.rejected) else "chosen path"))
    if len(failure.rejected):
        entries.append(FailureKeyEntry("box", "rejected", "rejected path", dashed=True))
    if any(panel.signed for panel in failure.cases):
        entries += [FailureKeyEntry("fill", "more", failure.signs[0]), FailureKeyEntry("fill", "less", failure.signs[1])]
    return entries


def _arranged(entries: Sequence[FailureKeyEntry], room: float) -> list[FailureKeyEntry]:
    """The entries of the key in rows of so many inches."""
    arranged, left, row = [], 0.0, 0
    for entry in entries:
        width = 0.33 + text_width(entry.words, KEY_SIZE)
        if left > 0 and left + width > room:
            left, row = 0.0, row + 1
        arranged.append(replace(entry, left=left, row=row))
        left += width + 0.2
    return arranged
