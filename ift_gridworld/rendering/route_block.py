"""Parts shared by a film and a still of small maps: the maps on the drawn route, large, the index of all starts, their key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import grid_of
from ift_gridworld.rendering.route_map import RouteMap, StartIndex, draw_mark, index_colours
from ift_gridworld.rendering.shapes import ACTION_MARKS, MARK_GLYPHS, closed_path, disc, line_style, rectangle
from ift_gridworld.rendering.small_maps import SmallMap, maps_on_path, small_maps, start_maps
from ift_gridworld.rendering.text import shorten, text_width
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.visit_scale import VisitScale

__all__ = ["WORDS", "RouteBlock", "RouteScene", "draw_key", "fitting"]

MAX_PARTS = 3  # maps of a route that are drawn
GAP, WORDS = 0.2, 0.24  # inches: between maps, for a line of words
CELL, TALL_CELL = 0.42, 0.62  # inches: least height of a cell of the index, and the greatest where there is room
PARTS_SHARE = 0.66  # of a block's width, for the maps where the index stands beside them
DrawSample = Callable[[Axes, float, float], object]  # of a key, at (x, y), in inches


@dataclass(frozen=True, eq=False)
class RouteScene:
    """Content shared by all blocks of a picture.

    Attributes:
        mdp: the environment, or one of several with the same states and layout.
        route, rejected: states of the path that is drawn, and of a rejected one; the latter may be empty.
        scale: of visits.
        route_name: what the route is, in words.
        measure: what the index is of, in words.
        norm: from the numbers of the index to [0, 1].
        digits: of these numbers, after the point.
    """

    mdp: TabularMDP
    route: Int[np.ndarray, " n"]
    rejected: Int[np.ndarray, " m"]
    scale: VisitScale
    route_name: str
    measure: str
    norm: Normalize
    digits: int

    @cached_property
    def maps(self) -> list[SmallMap]:
        return small_maps(grid_of(self.mdp))

    @cached_property
    def parts(self) -> list[SmallMap]:
        """The maps that the route leads through."""
        return maps_on_path(self.maps, self.route)[:MAX_PARTS]

    @cached_property
    def starts(self) -> list[SmallMap]:
        """The maps of the index."""
        return start_maps(self.mdp, self.maps)

    @property
    def index_rows(self) -> int:
        """Number of rows of the index."""
        return len({small.row for small in self.starts})

    def part_size(self, width: float) -> tuple[float, float]:
        """Return width and height of a part where all of them share a width, in inches."""
        wide = (width - (len(self.parts) - 1) * GAP) / len(self.parts)
        shape = max(small.grid.height / small.grid.width for small in self.parts)
        return wide, wide * shape

    def block_height(self, width: float, *, beside: bool) -> float:
        """Return the height of a block of that width, in inches."""
        index = 2 * WORDS + CELL * self.index_rows
        if beside:
            return max(WORDS + self.part_size(PARTS_SHARE * width)[1], index)
        return 2 * WORDS + self.part_size(width)[1] + index


class RouteBlock:
    """The maps on the route, and the index beside or below them.

    Args:
        film: the picture; all that is drawn moves in its frames.
        scene: what is drawn.
        mdp: the environment whose policies are drawn.
        left, top, width: place of the block, in inches.
        beside: whether the index stands beside the maps.
    """

    def __init__(
        self, film: Film, scene: RouteScene, mdp: TabularMDP, left: float, top: float, width: float, *, beside: bool
    ) -> None:
        theme, share = film.theme, PARTS_SHARE * width if beside else width
        wide, tall = scene.part_size(share)
        self.parts = []
        for i, small in enumerate(scene.parts):
            x, part_tall = left + i * (wide + GAP), wide * small.grid.height / small.grid.width
            words = f"{i + 1}. {small.heading}" if len(scene.parts) > 1 else small.heading
            film.add_text(x, top + 0.1, shorten(words, wide, 10), size=10, color=theme.ink)
            ax = film.add_axes(x, top + WORDS, wide, part_tall)
            self.parts.append(RouteMap(ax, mdp, small, scene.route, scene.rejected, scene.scale.norm, theme))
        if beside:
            left, width = left + share + 0.35, width - share - 0.35
        else:
            top += WORDS + tall + WORDS
        title = fitting(width, 9.5, f"{scene.measure} from the starts of each map", f"{scene.measure} by map of the start")
        film.add_text(left, top + 0.1, shorten(title, width, 9.5), size=9.5, color=theme.ink)
        self.words = film.add_number(left, top + WORDS + 0.08, size=8.5, colour=theme.ink)
        cell = min(TALL_CELL, (tall - WORDS) / scene.index_rows) if beside else CELL
        ax = film.add_axes(left, top + 2 * WORDS, width, max(cell, CELL) * scene.index_rows)
        framed = next((small for small in scene.starts if scene.route[0] in small.states), None)
        self.index = StartIndex(ax, scene.starts, framed, scene.norm, scene.digits, theme)
        film.animate(*(artist for part in self.parts for artist in part.artists), *self.index.artists)

    def update(
        self, policy: Float[np.ndarray, "S A"], visits: Float[np.ndarray, " S"], cells: Float[np.ndarray, " m"], words: str
    ) -> None:
        """Draw a policy, where it goes, one number a map of the index, and words above the index."""
        for part in self.parts:
            part.update(policy, visits)
        self.index.update(cells)
        self.words.update(words)


def fitting(width: float, size: float, *wordings: str, bold: bool = False) -> str:
    """Return the first of some wordings that is at most `width` inches wide; the last if none is.

    Args:
        width: in inches.
        size: size of the type, in points.
        wordings: the longest first.
        bold: whether the type is bold.
    """
    return next((words for words in wordings if text_width(words, size, bold=bold) <= width), wordings[-1])


def draw_key(film: Film, scene: RouteScene, left: float, top: float, width: float) -> None:
    """Draw what the marks mean, line by line, and at the right the scales of visits and of the index.

    Args:
        film: the picture.
        scene: what it shows.
        left, top, width: place, in inches; a line of samples is 0.28 high; there are two, and three with a rejected route.
    """
    theme = film.theme
    ax = film.add_axes(left, top, width, 0.95)
    ax.set(xlim=(0, width), ylim=(0.95, 0))
    ax.axis("off")
    x, y, room = 0.0, 0.04, width - 3.2
    for draw_sample, name in _samples(scene, theme):
        words = shorten(name, 2.4, 9)
        wide = 0.34 + text_width(words, 9)
        if x and x + wide > room:
            x, y = 0.0, y + 0.28
        draw_sample(ax, x, y)
        ax.text(x + 0.3, y + 0.1, words, size=9, color=theme.ink, va="center")
        x += wide + 0.2
    scene.scale.draw_key(film.add_axes(left + width - 1.2, top + 0.12, 1.15, 0.12), theme, 8.0)
    strip = film.add_axes(left + width - 2.8, top + 0.12, 1.15, 0.12)
    low, high = float(scene.norm.vmin or 0.0), float(scene.norm.vmax or 1.0)
    colours, extent = index_colours(theme), (low, high, 0.0, 1.0)
    strip.imshow(np.linspace(0, 1, 128)[None], cmap=colours, aspect="auto", extent=extent, origin="upper")
    strip.set(yticks=[], xlim=(low, high))
    strip.set_xticks([low, high], [f"{low:g}", f"{high:g}"])
    strip.tick_params(length=2, pad=1.5, labelsize=8.0, labelcolor=theme.ink, color=theme.muted)
    strip.set_title(scene.measure, size=8.0, color=theme.ink, loc="left", pad=2)
    for spine in strip.spines.values():
        spine.set(color=theme.muted, lw=0.5)


def _samples(scene: RouteScene, theme: Theme) -> list[tuple[DrawSample, str]]:
    """Return the entries of the key: how each sample is drawn, and the words beside it."""
    mdp, grid = scene.mdp, scene.parts[0].grid

    def square(colour: str, *, dashed: bool = False) -> DrawSample:
        path = rectangle(0.02, 0.02, 0.2, 0.16)
        return lambda ax, x, y: ax.add_patch(
            PathPatch(closed_path([x, y] + path[None]), fc="none", ec=colour, lw=1.8, ls=line_style(dashed))
        )

    def fill(shape: np.ndarray) -> DrawSample:
        return lambda ax, x, y: ax.add_patch(
            PathPatch(closed_path([x + 0.12, y + 0.1] + 0.22 * shape[None]), fc=theme.ink, lw=0)
        )

    def arrow(ax: Axes, x: float, y: float) -> None:
        sample = PolicyArrows(ax, GridLayout.of(["F"]), np.array([[0, 1]]), np.array([True]), theme)
        sample.centre, sample.direction = np.array([[x - 0.01, y + 0.1]]), np.array([[0.6, 0.0]])
        sample.update(np.array([[1.0]]))

    def ring(ax: Axes, x: float, y: float) -> None:
        ax.add_patch(PathPatch(closed_path(disc(x + 0.12, y + 0.1, 0.08)[None]), fc="none", ec=theme.shown, lw=1.6))

    def mark(kind: str) -> DrawSample:
        return lambda ax, x, y: draw_mark(ax, kind, np.array([[x + 0.02, y]]), 0.2, theme)

    staying = [name for name, move in zip(mdp.actions, mdp.moves, strict=True) if not move.any()]
    return [
        (arrow, "move, longer where likelier"),
        (square(theme.shown), scene.route_name),
        (ring, "its start"),
        *([(square(theme.rejected, dashed=True), "rejected route")] if len(scene.rejected) else []),
        *((fill(shape), name) for shape, name in zip(ACTION_MARKS, staying, strict=False)),
        *((mark(kind), kind) for kind in MARK_GLYPHS if kind in grid.marks),
        *([(fill(rectangle(-0.1, -0.45, 0.2, 0.9)), "wall")] if len(grid.walls) else []),
        (square(theme.ink), "map with the route's start"),
    ]
