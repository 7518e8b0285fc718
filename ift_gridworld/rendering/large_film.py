"""The film of a large lake: the whole map once, a window that moves down the demonstrated path, and how much of it survives.

All methods share the map and the window's place: where half of their episodes, taken together, have left the path. What
survives is exact (`planning.path_survival`), of the drawn policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.planning import path_survival
from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.corridor import corridor
from ift_gridworld.rendering.film_bases import RunsFilm
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.method_style import MethodStyle, styles_of
from ift_gridworld.rendering.scale import is_fine, tile_inches
from ift_gridworld.rendering.shapes import closed_path, line_style, rectangle
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates
from ift_gridworld.rendering.text import short_title, shorten, text_width
from ift_gridworld.rendering.tile_kinds import tile_words
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.rendering.visit_scale import VisitScale
from ift_gridworld.rendering.window import MapWindow, window_corners
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import drawn_together

__all__ = ["LargeLakeFilm", "is_large"]

LARGE = 58  # tiles along a side from which a tile is too small to be seen in the films of one small map
MAX_FRAMES = 24
FIRST_SECONDS, BETWEEN_SECONDS, LAST_SECONDS = 1.6, 0.16, 3.2  # that frames stand: each is another place of the map
CHANGED = 0.01  # total variation from the base above which a tile counts as changed
WIDTH, MARGIN, GAP = 10.0, 0.3, 0.3  # inches
MAP_SIDE, NAMES, TOP, KEY = 5.0, 1.25, 1.6, 0.62  # inches: of the map at most, of names, of maps, and below all for the key
CHART_HEIGHT, CHART_SPACE = 1.5, 2.35  # inches: of the chart alone, and with its words
FEW_TILES, LEAST_SQUARE = 1000, 0.02  # up to so many tiles are drawn as squares, if these have so many inches
WINDOW_TILE = 0.195  # inches: about the side of a tile in a window


def is_large(run: Run) -> bool:
    """Return whether a run is filmed along its demonstrated path: it has one map, too large for single tiles to be seen."""
    grid = run.mdp.grid
    return (
        run.mdp.layout is not None and grid is not None and max(grid.height, grid.width) > LARGE and len(run.demonstration) > 0
    )


@dataclass(frozen=True)
class _Layout:
    """Places of all parts, in inches from the upper left corner: (left, top, width, height) of each box."""

    size: tuple[float, float]
    map: tuple[float, float, float, float]
    windows: list[tuple[float, float, float, float]]
    chart: tuple[float, float, float, float]

    @classmethod
    def of(cls, grid: GridLayout, count: int) -> _Layout:
        """Arrange the map, a window a method and the chart: beside a square or tall map, below a wide one."""
        if grid.width > 1.7 * grid.height:
            scale = min((WIDTH - 2 * MARGIN) / grid.width, 4.2 / grid.height)
            map_box = (MARGIN, TOP - 0.1, scale * grid.width, scale * grid.height)
            below = map_box[1] + map_box[3] + 0.75
            columns = min(count, 2)
            rows = ceil(count / columns)
            height = max(CHART_HEIGHT, rows * 1.9 - 0.4)
            windows = _split((MARGIN, below, 5.2, height), count, columns)
            chart = (MARGIN + 5.2 + 0.75, below, WIDTH - 2 * MARGIN - 5.95, CHART_HEIGHT)
            return cls((WIDTH, below + height + KEY + 0.35), map_box, windows, chart)
        scale = min(MAP_SIDE / grid.width, MAP_SIDE / grid.height)
        map_box = (MARGIN, TOP, scale * grid.width, scale * grid.height)
        left = MARGIN + max(map_box[2], 2.2) + GAP
        room, columns = WIDTH - MARGIN - left, min(count, 2)
        rows, bottom = ceil(count / columns), TOP + MAP_SIDE
        if rows < 3:
            windows = _split((left, TOP, room, MAP_SIDE - CHART_SPACE), count, columns)
            chart = (left + 0.4, bottom - CHART_HEIGHT - 0.28, room - 0.4, CHART_HEIGHT)
        else:
            chart = (MARGIN + 0.4, bottom + CHART_SPACE - CHART_HEIGHT - 0.2, max(map_box[2], 2.2) - 0.4, CHART_HEIGHT)
            bottom += CHART_SPACE
            windows = _split((left, TOP, room, bottom - TOP), count, columns)
        return cls((WIDTH, bottom + KEY + 0.3), map_box, windows, chart)


def _split(box: tuple[float, float, float, float], count: int, columns: int) -> list[tuple[float, float, float, float]]:
    """Split a box into a grid of smaller ones, with room for two lines of words above all but the first row."""
    left, top, width, height = box
    rows, words = ceil(count / columns), TOP - NAMES + 0.2
    wide, tall = (width - (columns - 1) * 0.2) / columns, (height - (rows - 1) * words) / rows
    return [(left + (i % columns) * (wide + 0.2), top + (i // columns) * (tall + words), wide, tall) for i in range(count)]


class LargeLakeFilm(RunsFilm):
    """The film of one run or several on one large lake.

    Args:
        runs: runs on one lake, whose states are its tiles; the first has a demonstration, along which all are followed.
        theme: a name in THEMES.

    Raises:
        ValueError: if the runs are not of one lake, it has no map, or for an unknown theme.

    Example (writes two files)::

        LargeLakeFilm([Run.load("sft.json"), Run.load("ift.json")]).save("sft-ift.gif")
    """

    def __init__(self, runs: Sequence[Run], theme: str = "light") -> None:
        check_one_environment(runs, drawn=True)
        self.runs, self.mdp = drawn_together(runs), runs[0].mdp
        self.grid = grid_of(self.mdp)
        self.path, updates = self.runs[0].demonstration, shared_updates(self.runs)
        curves = [path_survival(self.mdp, run.snapshots, self.path) for run in self.runs]
        snapshots = latest_snapshots(self.runs, updates)
        survival = np.stack([curve[i] for curve, i in zip(curves, snapshots.T, strict=True)])  # methods, frames, steps
        chosen = _stages(survival)
        self.steps, self.snapshots, self.survival = updates[chosen], snapshots[chosen], survival[:, chosen]
        self.tiles = self._path_tiles()
        self.places = places_of(self.survival)
        self.goals = np.unique(self.mdp.next_state[self.mdp.success])  # an end is visited once, by who arrives
        self.styles = styles_of(dict.fromkeys(run.method for run in self.runs))
        self.layout = _Layout.of(self.grid, len(self.runs))
        super().__init__(theme, self.layout.size)
        self._compose()

    @property
    def pace(self) -> list[float]:
        """Seconds that each frame would stand if there were nothing to read."""
        return [FIRST_SECONDS, *[BETWEEN_SECONDS] * (len(self) - 2), LAST_SECONDS][: len(self)]

    @property
    def alt(self) -> str:
        first = self.runs[0]
        names = ", ".join(short_title(run.title) for run in self.runs)
        whole = "; ".join(
            f"{short_title(run.title)}: {survival[0, -1]:.3f} at update {self.steps[0]}, {survival[-1, -1]:.3f} at update "
            f"{self.steps[-1]}"
            for run, survival in zip(self.runs, self.survival, strict=True)
        )
        return (
            f"{names} on {first.place} ({first.about.replace(' · ', ', ')}): the whole map of {self.grid.height} by "
            f"{self.grid.width} tiles, coloured by the change since the base, with the outline of the demonstrated path; a "
            f"window a method, with arrows for the likeliest moves, at the step by which half of all episodes have left the "
            f"path; a chart of the probability of being still on it after each step. The whole path of {self.length} steps "
            f"is walked with probability: {whole}. {self._changed_words(len(self) - 1)}"
        )

    @property
    def length(self) -> int:
        """Number of steps of the path."""
        return self.survival.shape[-1] - 1

    def _path_tiles(self) -> Int[np.ndarray, "n 2"]:
        """The tile of the path after each step; the last is the goal, if it arrives."""
        states, action = self.path[:, 0], self.path[-1, 1]
        if self.mdp.success[states[-1], action].any():
            goal = self.mdp.next_state[states[-1], action][self.mdp.success[states[-1], action]][0]
            states = np.append(states, goal)
        return self.grid.place[states]

    # ---- composition ----

    def _compose(self) -> None:
        theme, first = self.theme, self.runs[0]
        short, _, long = first.title.partition(" · ")
        title, beside = (short, long) if len(self.runs) == 1 else ("How far along the demonstration?", "")
        self.add_text(MARGIN, 0.34, shorten(title, 6.0, 19, bold=True), size=19, weight="bold", color=theme.ink)
        left = MARGIN + min(6.0, text_width(title, 19, bold=True)) + 0.15
        if beside:
            self.add_text(left, 0.37, shorten(beside, 7.4 - left, 13), size=13, color=theme.muted)
        seed = f"drawn: seed {', '.join(str(number) for number in dict.fromkeys(run.drawn_seed for run in self.runs))}"
        self.add_text(MARGIN, 0.68, shorten(f"{first.about} · {seed}", 9.4, 9.5), size=9.5, color=theme.muted)
        self.step_text = self.add_number(WIDTH - MARGIN, 0.34, size=15, colour=theme.ink, align="right")
        self.changed_text = self.add_number(MARGIN, 0.95, size=10, colour=theme.ink)
        self._compose_map(self.add_axes(*self.layout.map))
        self.scale = VisitScale.of([run.visits[:, ~self.mdp.terminal] for run in self.runs])
        self._compose_windows()
        self._compose_chart(self.add_axes(*self.layout.chart))
        self._compose_key()

    def _compose_map(self, ax: Axes) -> None:
        theme, grid, (left, top, width, _) = self.theme, self.grid, self.layout.map
        words = "the whole map: what changed"
        self.add_text(left, top - 0.16, shorten(words, max(width, 2.2), 9.5), size=9.5, color=theme.ink)
        draw_lake(ax, grid, theme)
        self.shades = LinearSegmentedColormap.from_list("changed", [theme.ice, theme.more])
        furthest = np.max([self._moved(index) for index in range(len(self))], axis=0)
        most = float(furthest.max())
        self.most_change = next((end for end in (0.1, 0.2, 0.5) if most <= end), 1.0)
        norm = PowerNorm(0.5, 0, self.most_change, clip=True)
        self.changes = _tile_colours(ax, grid, walkable(self.mdp) & (furthest > 0), self.shades, norm)
        self.animate(self.changes.artist)
        for outline, colour, style in self._outlines(inset=0.0):
            self.animate(ax.add_patch(PathPatch(outline, fc="none", ec=colour, lw=0.9, ls=style)))
        self.animate(*draw_landmarks(ax, grid, theme), *draw_starts(ax, grid, theme))
        self.frames_on_map = [PathPatch(Path(np.zeros((1, 2))), fc="none", ec=colour, lw=width) for colour, width in (
            (theme.background, 3.6), (theme.ink, 1.6))]  # fmt: skip
        for frame in self.frames_on_map:
            self.animate(ax.add_patch(frame))

    def _outlines(self, inset: float) -> list[tuple[Path, str, object]]:
        """The demonstrated path, over the first rejected one, if a method was given one."""
        theme = self.theme
        outlines: list[tuple[Path, str, object]] = [(corridor(self.tiles, inset), theme.shown, "-")]
        rejected = next((run.rejected for run in self.runs if len(run.rejected)), None)
        if rejected is not None:
            tiles = self.grid.place[rejected[:, 0]]
            outlines.insert(0, (corridor(tiles, 2 * inset), theme.rejected, line_style(True)))
        return outlines

    def _compose_windows(self) -> None:
        theme, grid = self.theme, self.grid
        wide, tall = self.layout.windows[0][2:]
        self.size = min(grid.height, max(3, round(tall / WINDOW_TILE))), min(grid.width, max(3, round(wide / WINDOW_TILE)))
        self.corners = window_corners(self.grid, self.tiles[self.places], self.size)
        side = min(tall / self.size[0], wide / self.size[1])
        self.windows, self.numbers = [], []
        longest = "stays on the whole path 0.000 · arrives 0.000"
        self.stays = "stays on the whole path" if text_width(longest, 9, bold=True) < wide else "stays"
        for run, (left, top, *_) in zip(self.runs, self.layout.windows, strict=True):
            width, height = side * self.size[1], side * self.size[0]
            ax = self.add_axes(left, top, width, height)
            window = MapWindow(ax, self.mdp, self.size, self.scale.norm, self._outlines(inset=0.1), theme)
            self.animate(*window.artists)
            self.windows.append(window)
            frame = Rectangle((0, 0), 1, 1, transform=ax.transAxes, fc="none", ec=theme.ink, lw=1.6, clip_on=False)
            self.animate(ax.add_patch(frame))
            style = self.styles[run.method]
            self._draw_sample(left, top - 0.36, style)
            name = shorten(short_title(run.title), width - 0.4, 11, bold=True)
            self.add_text(left + 0.38, top - 0.36, name, size=11, weight="bold", color=theme.ink)
            self.numbers.append(self.add_number(left, top - 0.14, size=9, colour=theme.ink))

    def _draw_sample(self, left: float, top: float, style: MethodStyle) -> None:
        """A method's line and marker, as in the chart."""
        ax = self.add_axes(left, top - 0.08, 0.32, 0.16)
        ax.axis("off")
        colour = style.colour(self.theme)
        ax.plot([0, 1], [0, 0], color=colour, ls=style.dash, lw=1.8)
        ax.plot([0.5], [0], color=colour, marker=style.marker, ms=6, mec=self.theme.background, mew=0.8)
        ax.set(xlim=(0, 1), ylim=(-1, 1))

    def _compose_chart(self, ax: Axes) -> None:
        theme, count = self.theme, len(self.runs)
        style_axes(ax, theme)
        left, top, width, _ = self.layout.chart
        words = shorten("probability of being still on the path", width + 0.4, 9.5)
        self.add_text(left - 0.4, top - 0.2, words, size=9.5, color=theme.ink)
        ax.set(xlim=(0, self.length), ylim=(-0.03, 1.03))
        ax.set_yticks([0, 0.5, 1])
        ax.grid(axis="y", color=theme.faint, lw=0.8)
        ax.set_axisbelow(True)
        ax.set_xlabel("step of the path", size=9, color=theme.muted, labelpad=1)
        self.cursor = ax.axvline(0, color=theme.ink, lw=1.6, clip_on=False)
        self.animate(self.cursor)
        self.curves = []
        stride = max(1, self.length // 6)
        for i, run in enumerate(self.runs):
            style = self.styles[run.method]
            every = (round((i + 0.5) * stride / count), stride)  # markers of curves that are one stand beside each other
            (curve,) = ax.plot(np.arange(self.length + 1), self.survival[i, 0], color=style.colour(theme), lw=1.8)
            curve.set(linestyle=style.dash, marker=style.marker, markevery=every)
            curve.set(markersize=6, markeredgecolor=theme.background, markeredgewidth=0.8)
            self.animate(curve)
            self.curves.append(curve)

    def _compose_key(self) -> None:
        theme, size = self.theme, 9.0
        top = self.layout.size[1] - KEY + 0.05
        ax = self.add_axes(MARGIN, top, WIDTH - 2 * MARGIN, 0.34)
        ax.set(xlim=(0, WIDTH - 2 * MARGIN), ylim=(0.34, 0))
        ax.axis("off")
        x = 0.0
        has_rejected = any(len(run.rejected) for run in self.runs)
        for words, colour, style, fill in (
            ("demonstrated path", theme.shown, "-", "none"),
            *((("rejected path", theme.rejected, line_style(True), "none"),) if has_rejected else ()),
            ("windows" if len(self.runs) > 1 else "window", theme.ink, "-", "none"),
            *((kind.name, theme.rim, "-", theme.hole) for letter, kind in tile_words(self.mdp).items() if letter in "HC"),
        ):
            square = closed_path(rectangle(x + 0.02, 0.05, 0.2, 0.18)[None])
            ax.add_patch(PathPatch(square, fc=fill, ec=colour, ls=style, lw=1.6))
            ax.text(x + 0.3, 0.15, words, size=size, color=theme.ink, va="center")
            x += 0.3 + text_width(words, size) + 0.25
        words = "likeliest move"
        ax.annotate("", (x + 0.26, 0.15), (x, 0.15), arrowprops={"arrowstyle": "-|>", "color": theme.arrow, "lw": 1.6})
        ax.text(x + 0.32, 0.15, words, size=size, color=theme.ink, va="center")
        right = WIDTH - MARGIN - 1.15
        self.scale.draw_key(self.add_axes(right, top + 0.08, 1.1, 0.11), theme, 8.0)
        strip = self.add_axes(right - 1.6, top + 0.08, 1.1, 0.11)
        strip.imshow(np.linspace(0, 1, 128)[None], cmap=self.shades, aspect="auto", extent=(0, 1, 0, 1), origin="upper")
        strip.set(yticks=[], xlim=(0, 1))
        shares = np.array([0, 0.1, 0.5, 1])
        strip.set_xticks(np.sqrt(shares), [f"{share * self.most_change:g}" for share in shares])
        strip.tick_params(length=2, pad=1.5, labelsize=8.0, labelcolor=theme.ink, color=theme.muted)
        strip.set_title("change since base", size=8.0, color=theme.ink, loc="left", pad=2)
        for spine in strip.spines.values():
            spine.set(color=theme.muted, lw=0.5)

    # ---- frames ----

    def update(self, index: int) -> None:
        """Move everything to the stage `index`."""
        place, (rows, columns) = int(self.places[index]), self.size
        row, column = corner = self.corners[index]
        self.step_text.update(f"update {self.steps[index]} / {self.steps[-1]}")
        self.changed_text.update(self._changed_words(index))
        self.changes.update(self._moved(index))
        for frame in self.frames_on_map:
            frame.set_path(closed_path(rectangle(column, row, columns, rows)[None]))
        for i, (run, snapshot) in enumerate(zip(self.runs, self.snapshots[index], strict=True)):
            survival, visits = self.survival[i, index], run.visits[snapshot]
            self.windows[i].update(corner, run.snapshots[snapshot], visits)
            self.numbers[i].update(f"{self.stays} {survival[-1]:.3f} · arrives {visits[self.goals].sum():.3f}")
            self.curves[i].set_ydata(survival)
        self.cursor.set_xdata([place, place])

    def _moved(self, index: int) -> Float[np.ndarray, " S"]:
        """Total variation of T(a|s) from the base, the largest of all methods."""
        return np.max(
            [
                0.5 * np.abs(run.snapshots[i] - run.snapshots[0]).sum(-1)
                for run, i in zip(self.runs, self.snapshots[index], strict=True)
            ],
            axis=0,
        )

    def _changed_words(self, index: int) -> str:
        """Return words on the number of tiles of the path and beside it that have changed."""
        moved, open_tiles = self._moved(index) > CHANGED, ~self.mdp.terminal
        on_path = np.zeros(self.mdp.num_states, bool)
        on_path[self.path[:, 0]] = True
        beside = open_tiles & ~on_path
        return (
            f"The policy changed by more than {CHANGED:g} on {(moved & on_path).sum():,} of the path's "
            f"{on_path.sum():,} tiles, and on {(moved & beside).sum():,} of the {beside.sum():,} beside it."
        )


class _FewTiles:
    """`TileColours` for a few tiles of a fine map, as squares: an image of the whole map would take longer to draw."""

    def __init__(self, ax: Axes, grid: GridLayout, coloured: Bool[np.ndarray, " S"], cmap: Colormap, norm: Normalize) -> None:
        self.states, self.cmap, self.norm = np.flatnonzero(coloured), cmap, norm
        squares = grid.place[self.states, None, ::-1] + rectangle(0, 0, 1, 1)
        self.artist = PolyCollection(list(squares), linewidths=0, antialiaseds=False)
        ax.add_collection(self.artist)

    def update(self, values: Float[np.ndarray, " S"]) -> None:
        self.artist.set_facecolor(self.cmap(self.norm(values[self.states])))


def _tile_colours(
    ax: Axes, grid: GridLayout, coloured: Bool[np.ndarray, " S"], cmap: Colormap, norm: Normalize
) -> _FewTiles | TileColours:
    few = coloured.sum() < FEW_TILES and tile_inches(ax, grid) > LEAST_SQUARE
    return (_FewTiles if few and is_fine(ax, grid) else TileColours)(ax, grid, coloured, cmap, norm)


def places_of(survival: Float[np.ndarray, "M F n"]) -> Int[np.ndarray, " F"]:
    """Return the step of the path that the windows stand at in each frame: there half of all episodes have left it.

    That is the first step after which the mean over methods is below 1/2; the last step where it never is.

    Args:
        survival: of each method, frame and step.

    Example:
        >>> places_of(np.array([[[1.0, 0.4, 0.2], [1.0, 0.9, 0.8]]])).tolist()
        [1, 2]
    """
    left = survival.mean(0) < 0.5
    return np.where(left.any(-1), left.argmax(-1), survival.shape[-1] - 1)


def _stages(survival: Float[np.ndarray, "M F n"]) -> Int[np.ndarray, " K"]:
    """Choose frames between which the policies get about equally much further down the path."""
    frames = np.arange(survival.shape[1])
    moved = np.concatenate([[0.0], np.abs(np.diff(survival.mean((0, 2)))).cumsum()])
    position = 0.7 * moved / max(float(moved[-1]), 1e-12) + 0.3 * frames / max(len(frames) - 1, 1)
    nearest = np.abs(position / max(float(position[-1]), 1e-12) - np.linspace(0, 1, MAX_FRAMES)[:, None]).argmin(1)
    return frames if len(frames) <= MAX_FRAMES else np.unique([0, *nearest, len(frames) - 1])
