"""One of several small maps drawn large, with the route through it, and an index of all maps by what episodes reach there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.transforms import Affine2D

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.corridor import corridor
from ift_gridworld.rendering.maps import draw_lake, walkable
from ift_gridworld.rendering.scale import tile_inches
from ift_gridworld.rendering.shapes import MARK_GLYPHS, PLACE_COLOURS, PLACE_FRAME, closed_path, disc, line_style, rectangle
from ift_gridworld.rendering.small_maps import SmallMap
from ift_gridworld.rendering.text import Letter, Number, text_width
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tiles import TileColours

__all__ = ["RouteMap", "StartIndex", "draw_mark", "index_colours", "letter_colour"]

INSETS = (0.17, 0.26)  # of a route, and of a rejected one, from the tiles' edges, inside the frames of coloured places
MARK_SIDE = 0.42  # of a passenger's and a destination's sign, in tiles
HEADING_SIZE, NUMBER_SIZE = 8.0, 9.5  # points: in a cell of the index


def letter_colour(theme: Theme, ground: str) -> str:
    """Return the colour in which a letter stands out most on a coloured place: white, or the darkest of the theme."""

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722])) + 0.05

    light, dark = "#ffffff", min(theme.ink, theme.background, key=luminance)
    here = luminance(ground)
    return light if luminance(light) / here > here / luminance(dark) else dark


def index_colours(theme: Theme) -> Colormap:
    """Return the colours of the index: from untouched ice towards that of a goal, pale enough for words on them."""
    ice, goal = np.array(to_rgb(theme.ice)), np.array(to_rgb(theme.goal))
    return LinearSegmentedColormap.from_list("index", [theme.ice, (0.5 * ice + 0.5 * goal).tolist()])


def draw_mark(ax: Axes, kind: str, corners: Float[np.ndarray, "n 2"], side: float, theme: Theme) -> list[Artist]:
    """Draw the sign of a passenger or a destination.

    Args:
        ax: where to draw.
        kind: a name in a grid's `marks`.
        corners: upper left corner (x, y) of each sign.
        side: of a sign, in tiles.
        theme: colours.
    """
    shapes = [closed_path(corners[:, None] + side * shape) for shape in MARK_GLYPHS[kind]] if len(corners) else []
    rims = [PathPatch(shape, fc=theme.ice, ec=theme.ice, lw=1.4) for shape in shapes]
    return [ax.add_patch(patch) for patch in (*rims, *(PathPatch(shape, fc=theme.ink, lw=0) for shape in shapes))]


class RouteMap:
    """A small map drawn large: visits, coloured places with their letters, signs, walls, the route, and a policy's arrows.

    Args:
        ax: where to draw.
        mdp: the environment.
        small: the map.
        route, rejected: states of the demonstrated path and of a rejected one; those on other maps are left out.
        norm: from visits to [0, 1], where their colours are looked up.
        theme: colours.

    Attributes:
        artists: what was added to the Axes above the ground, from below.
    """

    def __init__(
        self,
        ax: Axes,
        mdp: TabularMDP,
        small: SmallMap,
        route: Int[np.ndarray, " n"],
        rejected: Int[np.ndarray, " m"],
        norm: Normalize,
        theme: Theme,
    ) -> None:
        self.states, grid = small.states, small.grid
        open_states = walkable(mdp)[self.states]
        draw_lake(ax, grid, theme)
        self.tiles = TileColours(ax, grid, open_states, theme.visits, norm)
        self.artists: list[Artist] = [self.tiles.artist]
        self._draw_frames(ax, small, theme)
        width = min(2.0, 6 * tile_inches(ax, grid))
        paths = ((rejected, theme.rejected, INSETS[1], True), (route, theme.shown, INSETS[0], False))
        for path, colour, inset, dashed in paths:
            here = grid.place[[int(np.flatnonzero(self.states == s)[0]) for s in path if s in self.states]]
            if len(here):
                outline = PathPatch(corridor(here, inset), fc="none", ec=colour, lw=width, ls=line_style(dashed))
                self.artists.append(ax.add_patch(outline))
        if len(route) and route[0] in self.states:
            begin = grid.place[np.flatnonzero(self.states == route[0])][:, ::-1]
            ring = PathPatch(closed_path(begin[:, None] + disc(0.5, 0.5, 0.27)), fc="none", ec=theme.shown, lw=0.8 * width)
            self.artists.append(ax.add_patch(ring))
        self.arrows = PolicyArrows(ax, grid, mdp.moves, open_states, theme)
        self.artists.append(self.arrows.artist)
        self._draw_places(ax, small, theme)  # last: letters and signs have to be read over a mark for picking up

    def _draw_frames(self, ax: Axes, small: SmallMap, theme: Theme) -> None:
        """Frames of coloured places."""
        for letter, colour in PLACE_COLOURS.items():
            corners = np.argwhere(small.grid.tiles == letter)[:, None, ::-1]
            for shape in PLACE_FRAME if len(corners) else ():
                frame = PathPatch(closed_path(corners + shape), fc=getattr(theme, colour), lw=0)
                self.artists.append(ax.add_patch(frame))

    def _draw_places(self, ax: Axes, small: SmallMap, theme: Theme) -> None:
        """Letters of coloured places, the signs on them, and walls."""
        grid, inches = small.grid, tile_inches(ax, small.grid)
        badge = min(0.6, max(0.36, 0.12 / inches))
        for letter, colour in PLACE_COLOURS.items():
            for row, column in np.argwhere(grid.tiles == letter):
                fill = getattr(theme, colour)
                ground = closed_path(rectangle(column, row, badge, badge)[None])
                self.artists.append(ax.add_patch(PathPatch(ground, fc=fill, lw=0)))
                sign = Letter(ax, column, row, letter.upper(), letter_colour(theme, fill), 0.85 * badge, centred=True).artist
                sign.set_path(sign.get_path().transformed(Affine2D().translate((badge - 1) / 2, (badge - 1) / 2)))
                self.artists.append(sign)
        for kind in MARK_GLYPHS:
            tiles = grid.marks.get(kind, np.zeros((0, 2), int))
            self.artists += draw_mark(ax, kind, tiles[:, ::-1] + (0.96 - MARK_SIDE), MARK_SIDE, theme)
        if len(grid.walls):
            walls = grid.walls[..., ::-1].astype(float)
            bars = np.stack([rectangle(x0 - 0.045, y0, 0.09, y1 - y0) if x0 == x1 else rectangle(x0, y0 - 0.045, x1 - x0, 0.09)
                             for (x0, y0), (x1, y1) in walls])  # fmt: skip
            self.artists.append(ax.add_patch(PathPatch(closed_path(bars), fc=theme.ink, lw=0)))

    def update(self, policy: Float[np.ndarray, "S A"], visits: Float[np.ndarray, " S"]) -> None:
        """Draw a policy and where it goes."""
        self.tiles.update(visits[self.states])
        self.arrows.update(policy[self.states])


class StartIndex:
    """A table of the maps on which episodes can start: each cell has its heading, a number, and a colour for it.

    Args:
        ax: where to draw; the table fills it.
        maps: the maps, which stand in the table as they do in the grid.
        framed: the one that has a frame.
        norm: from numbers to [0, 1], where their colours are looked up.
        digits: digits of a number after the point.
        theme: colours.

    Attributes:
        artists: what was added, from below.
    """

    def __init__(
        self, ax: Axes, maps: Sequence[SmallMap], framed: SmallMap | None, norm: Normalize, digits: int, theme: Theme
    ) -> None:
        figure, self.norm, self.digits, self.colours = ax.figure, norm, digits, index_colours(theme)
        assert isinstance(figure, Figure)
        rows, columns = sorted({each.row for each in maps}), sorted({each.column for each in maps})
        ax.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        ax.axis("off")
        corners = np.array([(columns.index(each.column), rows.index(each.row)) for each in maps], float)
        self.cells = PolyCollection(list(corners[:, None] + rectangle(0.02, 0.03, 0.96, 0.94)), linewidths=0)
        ax.add_collection(self.cells)
        self.artists: list[Artist] = [self.cells]
        self.numbers = []
        box, (width, height) = ax.get_position(), figure.get_size_inches()
        for small, (x, y) in zip(maps, corners, strict=True):
            at = box.x0 + box.width * (x + 0.5) / len(columns)
            top = box.y1 - box.height * (y + 0.5) / len(rows)
            words = Number(figure, at - text_width(small.heading, HEADING_SIZE, bold=True) / 2 / width, top + 0.085 / height,
                           size=HEADING_SIZE, colour=theme.ink)  # fmt: skip
            words.update(small.heading)
            longest = text_width(f"{0:.{digits}f}", NUMBER_SIZE, bold=True) / 2 / width
            number = Number(figure, at + longest, top - 0.085 / height, size=NUMBER_SIZE, colour=theme.ink, align="right")
            self.numbers.append(number)
            self.artists += [words.artist, number.artist]
        if framed is not None and framed in maps:
            cell = corners[list(maps).index(framed)] + rectangle(0.02, 0.03, 0.96, 0.94)
            frame = PathPatch(closed_path(cell[None]), fc="none", ec=theme.ink, lw=2.2, clip_on=False)
            self.artists.append(ax.add_patch(frame))

    def update(self, values: Float[np.ndarray, " m"]) -> None:
        """Show one number a map."""
        self.cells.set_facecolor(self.colours(self.norm(values)))
        for number, value in zip(self.numbers, values, strict=True):
            number.update(f"{value:.{self.digits}f}")
