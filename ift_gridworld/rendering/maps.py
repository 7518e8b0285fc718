"""Maps on a matplotlib Axes: tiles, glyphs, the policy as arrows. Nothing here shows or saves.

One tile is one unit; tile (row, column) of a `GridLayout` spans [column, column + 1] x [row, row + 1], rows downwards. Each
function adds its artists to the Axes it is given and returns what changes from frame to frame, with an `update`.

Where tiles are so fine that a reader could not tell them apart, blocks of them are drawn as one: their colours as a pixel of an
image, their arrows as one arrow of the mean move. What a frame costs then grows with the tiles no faster than reading them.
"""

from __future__ import annotations

from math import ceil
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, Normalize, to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from ift_gridworld.envs.grid import NOWHERE, GridLayout
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.theme import Theme

GAP = 0.04  # between tiles, on each side
HIDDEN = 0.02  # arrows of a smaller probability are not drawn
TINY = 0.08  # inches: smaller tiles lie close together
SMALL = 0.22  # inches: on a smaller tile there is room for one arrow, the likeliest move's
LETTERED = 0.28  # inches: on a smaller tile an S in the corner could not be read
SIGNED = 0.12  # inches: on a smaller tile S and the gift would be lost, so they are signs larger than it
FINE, FINE_DOTS = 0.045, 6.2  # inches, dots: smaller tiles are drawn as an image, and arrows for blocks of them
# What is drawn there has a least size, in inches: a block's colour, a bead of a path, a block's arrow, S and the gift. So has
# a diamond, from its middle to a corner.
PIXEL, BEAD, BLOCK, SIGN, DIAMOND = 0.02, 0.028, 0.2, 0.17, 0.03
MOST_COLUMNS = 1000  # of the strip; more are averaged


def walkable(mdp: TabularMDP) -> Bool[np.ndarray, " S"]:
    """The states that an episode can stand in and go on from, and that are drawn."""
    assert mdp.grid is not None
    return ~mdp.terminal & ~np.isin(mdp.grid.letters, ["H", "C", " "])


def tile_inches(ax: Axes, grid: GridLayout) -> float:
    """The side of a tile, as it will be drawn."""
    box = ax.get_window_extent()
    return min(box.width / grid.width, box.height / grid.height) / float(ax.get_figure(root=True).dpi)  # type: ignore[union-attr]


def is_small(ax: Axes, grid: GridLayout) -> bool:
    """Whether tiles are too small for details."""
    return bool(tile_inches(ax, grid) < SMALL)


def is_fine(ax: Axes, grid: GridLayout) -> bool:
    """Whether tiles are too small to be told apart."""
    inches = tile_inches(ax, grid)
    return bool(inches < FINE or inches * ax.get_figure(root=True).dpi < FINE_DOTS)  # type: ignore[union-attr]


def has_signs(ax: Axes, grid: GridLayout) -> bool:
    """Whether tiles are too small for what is to be found on them; small maps with headings have no room for signs."""
    return is_fine(ax, grid) or bool(tile_inches(ax, grid) < SIGNED and not grid.headings)


def sign_side(ax: Axes, grid: GridLayout) -> float:
    """Of S and the gift where they are signs, in tiles; few of them where each has its own arrow, which the sign hides, and no
    more than the grid has."""
    most = min(grid.width, grid.height)
    return min(SIGN / tile_inches(ax, grid), most if is_fine(ax, grid) else min(2.4, most))


def block_side(ax: Axes, grid: GridLayout) -> int:
    """TileColours along a side of the blocks that get one arrow, about; 1 where every tile has its own."""
    return ceil(BLOCK / tile_inches(ax, grid)) if is_fine(ax, grid) else 1


def hole_colour(ax: Axes, grid: GridLayout, theme: Theme) -> str:
    """Of a hole; paler where tiles are fine, or thousands of them would be all that is seen, and not the path between them.
    Where several share a pixel it is the ice beside them that makes them pale."""
    if not is_fine(ax, grid) or _tiles_of_a_pixel(tile_inches(ax, grid)) > 1:
        return theme.hole
    return to_hex(np.mean([to_rgb(theme.hole), to_rgb(theme.ice), to_rgb(theme.ice)], 0))


def _tiles_of_a_pixel(inches: float) -> int:
    """Along its side, of tiles that are so large."""
    return max(1, round(PIXEL / inches))


def _tile(ax: Axes, grid: GridLayout) -> Float[np.ndarray, "4 2"]:
    """A tile within its unit square; where tiles are tiny, gaps would be all that is seen."""
    gap = GAP if tile_inches(ax, grid) > TINY else 0.0
    return _box(gap, gap, 1 - 2 * gap, 1 - 2 * gap)


def prepare_axes(ax: Axes, rows: int, columns: int) -> Axes:
    """Square tiles, rows downwards, no frame."""
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", anchor="NW")
    ax.axis("off")
    return ax


def draw_lake(ax: Axes, grid: GridLayout, theme: Theme, hole: str | None = None) -> Axes:
    """What never changes and lies below all else: ice, holes (in `hole_colour` unless told otherwise), the gift, and the
    headings of small maps."""
    hole = hole or hole_colour(ax, grid, theme)
    prepare_axes(ax, grid.height, grid.width)
    dark, gifts = np.isin(grid.tiles, ["H", "C"]), grid.tiles == "G"
    ground = ~dark & (grid.tiles != " ")
    if is_fine(ax, grid):
        under, ice = (_Blocks(ax, grid.height, grid.width) for _ in range(2))
        ice.cover(np.argwhere(ground))
        for blocks, colour in ((under, hole), (ice, theme.ice)):
            blocks.colour(np.tile(to_rgba(colour), (*blocks.share.shape, 1)))
        return ax
    tile = _tile(ax, grid)
    for where, shape, colour in (
        (ground, tile, theme.ice),
        (dark, tile, hole),
        (dark & (not is_small(ax, grid)), _disc(0.5, 0.5, 0.3), theme.water),
        *((gifts, part, getattr(theme, colour)) for part, colour in GIFT),
    ):
        corners = np.argwhere(where)[:, ::-1]  # column, row
        if len(corners):
            ax.add_patch(PathPatch(closed(corners[:, None] + shape), fc=colour, lw=0))
    for row, column, text in grid.headings if tile_inches(ax, grid) > TINY else ():
        Letter(ax, column, row, text, theme.ink, 0.8)
    return ax


def landmarks(ax: Axes, grid: GridLayout, theme: Theme) -> list[Artist]:
    """What has to be found on a map whatever colours its tiles take: S and the gift where tiles are too small for them; walls,
    coloured places, who waits there and who wants to go there. None on a lake of larger tiles."""
    drawn: list[Artist] = []

    def add(polygons: Float[np.ndarray, "n k 2"], colour: str, **edge: Any) -> None:
        if len(polygons):
            drawn.append(ax.add_patch(PathPatch(closed(polygons), fc=colour, **{"lw": 0, **edge})))

    if has_signs(ax, grid):
        side = sign_side(ax, grid)
        for letter in "SG":
            at = _inside(grid, np.argwhere(grid.tiles == letter), side)[:, None]
            add(at + side * _box(0, 0, 1, 1), theme.ice, ec=theme.ink, lw=0.8)
            if letter == "G":
                for part, colour in GIFT:
                    add(at + side * part, getattr(theme, colour))
            elif len(at):
                sign = TextPath((0, 0), "S", size=side)
                vertices = np.asarray(sign.vertices)
                outline = (vertices - (vertices.min(0) + vertices.max(0)) / 2) * [1, -1] + side / 2
                path = Path(np.concatenate(outline + at), np.tile(sign.codes, len(at)))
                drawn.append(ax.add_patch(PathPatch(path, fc=theme.ink, lw=0)))
    for letter, colour in PLACES.items():
        places = np.argwhere(grid.tiles == letter)
        for kind, shapes in (("", FRAME), *MARKS.items()):
            where = grid.marks.get(kind, np.zeros((0, 2), int))
            at = places if not kind else where[grid.tiles[tuple(where.T)] == letter]
            for shape in shapes:
                add(at[:, None, ::-1] + shape, getattr(theme, colour), **({"ec": theme.ink, "lw": 0.4} if kind else {}))
    if len(grid.walls):
        width = 13 * tile_inches(ax, grid)
        walls = LineCollection(list(grid.walls[..., ::-1].astype(float)), colors=theme.ink, lw=width, capstyle="butt")
        drawn.append(ax.add_collection(walls))
    return drawn


def _box(x: float, y: float, width: float, height: float) -> Float[np.ndarray, "4 2"]:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])


def starts(ax: Axes, grid: GridLayout, theme: Theme) -> list[Artist]:
    """An S on each start tile, to be drawn before its arrows: in a corner, or on a small tile, where it would be lost, as large
    as the tile and as if cut out of the blue of its visits, for the arrow lies upon it. (Still smaller tiles have theirs from
    `landmarks`.)"""
    if has_signs(ax, grid):
        return []
    inches, places = tile_inches(ax, grid), grid.place[grid.letters == "S"]
    if inches < LETTERED:
        return [Letter(ax, x, y, "S", theme.background, 0.75, centred=True).artist for y, x in places]
    drawn: list[Artist] = [Letter(ax, x, y, "S", theme.ink, min(0.26, max(0.2, 0.1 / inches))).artist for y, x in places]
    for letter in drawn:  # a dashed outline may pass below it, on a tile that is visited in every episode
        letter.set_path_effects([withStroke(linewidth=3, foreground=theme.visited)])
    return drawn


def _inside(grid: GridLayout, tiles: Int[np.ndarray, "n 2"], side: float) -> Float[np.ndarray, "n 2"]:
    """Upper left corners, (x, y), of squares of that side around tiles, moved so that none sticks out of the grid."""
    room = np.maximum(np.array([grid.width, grid.height]) - side, 0)
    return np.clip(tiles[:, ::-1] + 0.5 - side / 2, 0, room)


def _disc(x: float, y: float, radius: float) -> Float[np.ndarray, "40 2"]:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.array([x, y]) + radius * np.stack([np.cos(turn), np.sin(turn)], -1)


PLACES = {"r": "red", "g": "green", "y": "yellow", "b": "blue"}  # letters of a grid, colours of a theme
FRAME = (_box(0, 0, 1, 0.13), _box(0, 0.87, 1, 0.13), _box(0, 0, 0.13, 1), _box(0.87, 0, 0.13, 1))
MARKS = {
    "passenger": (_disc(0.5, 0.27, 0.2), np.array([(0.14, 0.95), (0.28, 0.5), (0.72, 0.5), (0.86, 0.95)])),
    "destination": (_box(0.14, 0.05, 0.09, 0.92), np.array([(0.23, 0.05), (0.95, 0.33), (0.23, 0.61)])),
}
_LOOP = np.array([(0.5, 0.35), (0.53, 0.24), (0.6, 0.17), (0.68, 0.17), (0.72, 0.22), (0.68, 0.3)])  # half of the bow
GIFT = (
    (_LOOP, "gift"),
    (_LOOP * [-1, 1] + [1, 0], "gift"),
    (_LOOP * [0.55, 0.55] + [0.235, 0.135], "ribbon"),
    (_LOOP * [-0.55, 0.55] + [0.765, 0.135], "ribbon"),
    (_box(0.26, 0.46, 0.48, 0.34), "gift"),
    (_box(0.22, 0.34, 0.56, 0.14), "gift"),
    (_box(0.46, 0.34, 0.08, 0.46), "ribbon"),
    (_box(0.22, 0.475, 0.56, 0.02), "ice"),
)


class _Blocks:
    """An image under which a grid lies, a pixel for each square block of fine tiles.

    A block that is covered in part is drawn the fainter, by the root of the share: by the share itself a way that is one tile
    wide would vanish among holes.
    """

    def __init__(self, ax: Axes, height: int, width: int) -> None:
        inches = min(ax.get_window_extent().width / width, ax.get_window_extent().height / height)
        inches /= float(ax.get_figure(root=True).dpi)  # type: ignore[union-attr]
        self.side = _tiles_of_a_pixel(inches)
        rows, columns = ceil(height / self.side), ceil(width / self.side)
        self.grid = np.zeros((rows * self.side, columns * self.side))
        self.grid[:height, :width] = 1.0
        self.tiles_in = self._parts.sum((1, 3))  # those at the edges have fewer
        self.grid[:] = 0.0
        self.share = np.ones((rows, columns))  # all is drawn, until `cover` says otherwise
        extent = (0, columns * self.side, rows * self.side, 0)
        self.artist = AxesImage(ax, extent=extent, origin="upper", interpolation="nearest", zorder=1)  # as all else
        ax.add_image(self.artist)

    @property
    def _parts(self) -> Float[np.ndarray, "rows side columns side"]:
        height, width = self.grid.shape
        return self.grid.reshape(height // self.side, self.side, width // self.side, self.side)

    def cover(self, tiles: Int[np.ndarray, "n 2"]) -> None:
        """Say which tiles are drawn."""
        self.tiles = tuple(tiles.T)
        self.grid[self.tiles] = 1.0
        self.share = self._parts.sum((1, 3)) / self.tiles_in
        self.grid[self.tiles] = 0.0

    def extremes(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "rows columns"]:
        """Of each block the value that is furthest from 0, so that a thin path keeps its colour."""
        self.grid[self.tiles] = values
        high, low = self._parts.max((1, 3)), self._parts.min((1, 3))
        return np.where(high >= -low, high, low)

    def colour(self, colours: Float[np.ndarray, "rows columns 4"]) -> None:
        """Draw the blocks in these colours."""
        colours[..., 3] = np.sqrt(self.share)
        self.artist.set_data(colours)


class TileColours:
    """TileColours coloured by a number a tile; where they are fine, a block takes the one that is furthest from 0.

    Args:
        shown: [S], which states' tiles are coloured; the others stay as the grid has them.
    """

    def __init__(self, ax: Axes, grid: GridLayout, shown: Bool[np.ndarray, " S"], cmap: Colormap, norm: Normalize) -> None:
        self.shown, self.cmap, self.norm = np.flatnonzero(shown), cmap, norm
        self.artist: PolyCollection | AxesImage
        if is_fine(ax, grid):
            self.blocks = _Blocks(ax, grid.height, grid.width)
            self.blocks.cover(grid.place[self.shown])
            self.artist = self.blocks.artist
        else:
            corner = grid.place[self.shown, None, ::-1]
            self.artist = PolyCollection(corner + _tile(ax, grid), linewidths=0, antialiaseds=False)
            ax.add_collection(self.artist)

    def update(self, values: Float[np.ndarray, " S"]) -> None:
        if isinstance(self.artist, AxesImage):
            self.blocks.colour(self.cmap(self.norm(self.blocks.extremes(values[self.shown]))))
        else:
            self.artist.set_facecolor(self.cmap(self.norm(values[self.shown])))


class Arrows:
    """A stochastic policy as it is: from each tile an arrow for each move, its length and width growing with probability.
    On small tiles only the likeliest move has one, through the middle of the tile. Where tiles are fine, a block of them has
    one: the mean of their moves, which is short where they disagree.

    An action that is no move is a mark that grows with its probability: a disc for the first such action, a square for the
    second. All is one path, so that a frame costs one call to the renderer.

    Args:
        moves: [A, 2], the (row, column) step of each action; (0, 0) for one that is no move.
        where: [S], states that get arrows.
    """

    def __init__(
        self, ax: Axes, grid: GridLayout, moves: Int[np.ndarray, "A 2"], where: Bool[np.ndarray, " S"], theme: Theme
    ) -> None:
        self.states, moving = np.flatnonzero(where), np.abs(moves).sum(1) > 0
        self.moving, self.staying = np.flatnonzero(moving), np.flatnonzero(~moving)
        self.centre = grid.place[self.states, ::-1] + 0.5
        self.along = moves[self.moving][:, ::-1].astype(float)  # x, y
        self.small, self.side = is_small(ax, grid), block_side(ax, grid)
        size = np.array([grid.width, grid.height])
        block = size / np.maximum(1, size // self.side)  # as many as there is room for, all alike
        place = np.floor(self.centre / block)
        centre = (place + 0.5) * block
        if has_signs(ax, grid):  # none under S and the gift
            sign = sign_side(ax, grid)
            seen = np.ones(len(self.states), bool)
            for corner in _inside(grid, np.argwhere(np.isin(grid.tiles, ["S", "G"])), sign):
                seen &= (np.abs(centre - corner - sign / 2) >= (block + sign) / 2).any(1)
            self.states, self.centre, place, centre = self.states[seen], self.centre[seen], place[seen], centre[seen]
        if self.side > 1:
            _, first, self.block = np.unique(place @ [1, grid.width], return_index=True, return_inverse=True)
            self.centre = centre[first]
        self.artist = PathPatch(Path(np.zeros((1, 2))), fc=theme.arrow, lw=0)
        if self.side > 1:  # a rim, for blocks that are mostly holes
            self.artist.set_path_effects([withStroke(linewidth=1.8, foreground=theme.ice)])
        ax.add_patch(self.artist)

    def update(self, policy: Float[np.ndarray, "S A"]) -> None:
        if self.side > 1:
            self.artist.set_path(closed(self._arrows(*self._flow(policy))))
            return
        probability = policy[self.states]
        drawn = probability >= HIDDEN
        if self.small:
            drawn &= np.arange(policy.shape[-1]) == probability.argmax(-1)[:, None]
        tile, move = np.nonzero(drawn[:, self.moving])
        polygons = [self._arrows(self.centre[tile], self.along[move], probability[tile, self.moving[move]])]
        for action, shape in zip(self.staying, STANDING, strict=False):
            tile = np.flatnonzero(drawn[:, action])
            polygons.append(self.centre[tile, None] + probability[tile, action, None, None] * shape)
        parts = [closed(shapes) for shapes in polygons if len(shapes)]
        self.artist.set_path(Path.make_compound_path(*parts) if len(parts) > 1 else parts[0] if parts else closed(polygons[0]))

    def _flow(self, policy: Float[np.ndarray, "S A"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where each block's mean move starts, its direction, and its length: 1 where all tiles agree."""
        move = policy[np.ix_(self.states, self.moving)] @ self.along
        tiles = np.bincount(self.block)
        mean = np.stack([np.bincount(self.block, move[:, axis]) / tiles for axis in (0, 1)], -1)
        length = np.linalg.norm(mean, axis=-1)
        drawn = length >= HIDDEN
        return self.centre[drawn], mean[drawn] / length[drawn, None], length[drawn]

    def _arrows(
        self, centre: Float[np.ndarray, "n 2"], along: Float[np.ndarray, "n 2"], p: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 7 2"]:
        across = along[:, ::-1] * [-1, 1]
        tip, shaft, head = 0.06 + 0.38 * p, 0.014 + 0.024 * p, 0.035 + 0.075 * p
        start = np.full_like(p, 0.05)
        if self.small:
            tip, shaft, head = 0.1 + 0.3 * p, 0.025 + 0.035 * p, 0.08 + 0.14 * p
            start = -tip
        neck = tip - np.minimum(1.45 * head, 0.7 * tip)
        outline = [(start, -shaft), (neck, -shaft), (neck, -head), (tip, 0 * p), (neck, head), (neck, shaft), (start, shaft)]
        return np.stack([centre + self.side * (x[:, None] * along + y[:, None] * across) for x, y in outline], 1)


STANDING = (_disc(0, 0, 0.34), _box(-0.3, -0.3, 0.6, 0.6))  # at probability 1, for up to two actions that are no moves


class Changes:
    """How a policy differs from another: arrows for what is likelier now and for what is less likely, growing with the
    difference. The same arrows as `Arrows`, in two colours."""

    def __init__(
        self, ax: Axes, grid: GridLayout, moves: Int[np.ndarray, "A 2"], where: Bool[np.ndarray, " S"], theme: Theme
    ) -> None:
        self.more, self.less = (Arrows(ax, grid, moves, where, theme) for _ in range(2))
        self.more.artist.set_facecolor(theme.more)
        self.less.artist.set_facecolor(theme.less)

    @property
    def artists(self) -> tuple[PathPatch, PathPatch]:
        return self.less.artist, self.more.artist

    def update(self, change: Float[np.ndarray, "S A"]) -> None:
        self.more.update(np.maximum(change, 0.0))
        self.less.update(np.maximum(-change, 0.0))


class Strip:
    """The state-action matrix T_theta(a|s) over the optimal one, T*: a column a state, a row an action, darker for likelier.

    Args:
        where: [S], the states that get a column; of more than MOST_COLUMNS, neighbours share one, with their mean.
        optimal: T*.
    """

    def __init__(
        self, ax: Axes, where: Bool[np.ndarray, " S"], optimal: Float[np.ndarray, "S A"], theme: Theme, size: float = 9.0
    ) -> None:
        self.states = np.flatnonzero(where)
        self.first = np.unique(np.linspace(0, len(self.states), MOST_COLUMNS + 1)[:-1].astype(int))  # state of each column
        columns, rows = len(self.first), optimal.shape[1]
        options: dict[str, Any] = {
            "cmap": theme.probabilities,
            "vmin": 0,
            "vmax": 1,
            "aspect": "auto",
            "interpolation": "nearest",
        }
        self.image = ax.imshow(np.zeros((rows, columns)), extent=(0, columns, rows, 0), **options)
        ax.imshow(self._columns(optimal), extent=(0, columns, 2 * rows + 0.8, rows + 0.8), **options)
        ax.set(xlim=(0, columns), ylim=(2 * rows + 0.8, 0), xticks=[], yticks=[rows / 2, 1.5 * rows + 0.8])
        ax.set_yticklabels([r"$T_\theta$", "$T^*$"], size=size, color=theme.ink)
        ax.tick_params(length=0, pad=3)
        ax.patch.set_visible(False)
        self.artists: tuple[Artist, ...] = (self.image,)
        if columns <= 60:  # lines between the cells; more would hide them
            for top in (0, rows + 0.8):
                columns_apart = ax.vlines(range(1, columns), top, top + rows, color=theme.background, lw=1.2)
                rows_apart = ax.hlines(np.arange(1, rows) + top, 0, columns, color=theme.background, lw=0.6)
                self.artists += (columns_apart, rows_apart) if top == 0 else ()
        for spine in ax.spines.values():
            spine.set_visible(False)

    def update(self, policy: Float[np.ndarray, "S A"]) -> None:
        self.image.set_data(self._columns(policy))

    def _columns(self, policy: Float[np.ndarray, "S A"]) -> Float[np.ndarray, "A columns"]:
        return np.add.reduceat(policy[self.states].T, self.first, 1) / np.diff([*self.first, len(self.states)])


class Outlines:
    """An inset outline around each of some states' tiles, as "shown by the human"; static. Where tiles are fine, beads along
    the path, so that visits are seen between them; those of a dashed outline fall between the other's where paths are one.

    Args:
        states: in the path's order.
    """

    def __init__(
        self,
        ax: Axes,
        grid: GridLayout,
        states: Int[np.ndarray, " n"],
        colour: str,
        *,
        inset: float,
        dashed: bool = False,
        width: float = 1.8,
    ) -> None:
        states = states[grid.place[states, 0] != NOWHERE]
        corners = np.unique(grid.place[states], axis=0)[:, None, ::-1]
        inches = tile_inches(ax, grid)
        if is_fine(ax, grid):
            every, side = max(2, round(2 * BEAD / inches)), max(1.0, BEAD / inches)
            at = _inside(grid, grid.place[states[every // 2 if dashed else 0 :: every]], side)
            self.artist = PathPatch(closed(at[:, None] + side * _box(0, 0, 1, 1)), fc=colour, lw=0)
        else:
            turn = np.linspace(0, np.pi / 2, 5)
            arc = np.stack([np.cos(turn), np.sin(turn)], -1)
            quarters = [arc @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
            radius, half = 0.08, 0.5 - inset - 0.08
            box = np.concatenate([0.5 + radius * q + half * np.sign(q.sum(0)) for q in quarters])
            style = (0, (2.2, 1.6)) if dashed else "-"
            width = min(width, 0.2 + 3.5 * inches)
            self.artist = PathPatch(closed(corners + box), fc="none", ec=colour, lw=width, ls=style)
        ax.add_patch(self.artist)


def path_sample(
    ax: Axes, x: float, y: float, side: float, colour: str, *, dashed: bool, beads: bool, width: float = 1.8
) -> None:
    """What `Outlines` draws, for a legend: a square outline, or beads."""
    if beads:
        bead = side / 3
        middles = (0.5,) if dashed else (0.0, 1.0)
        at = np.array([[x + (side - bead) * share, y + (side - bead) / 2] for share in middles])
        ax.add_patch(PathPatch(closed(at[:, None] + bead * _box(0, 0, 1, 1)), fc=colour, lw=0))
    else:
        style = (0, (2.2, 1.6)) if dashed else "-"
        ax.add_patch(PathPatch(closed(_box(x, y, side, side)[None]), fc="none", ec=colour, lw=width, ls=style))


class Predictions:
    """IFT's mixed-in tiles: a diamond on each, its area growing with the tile's weight.

    A prediction that is one tile, and not the human's, is tied to the human's by a dotted line. On small tiles diamonds take a
    larger part of them; where S and the gift are larger than tiles there is no room for any.
    """

    def __init__(self, ax: Axes, grid: GridLayout, theme: Theme) -> None:
        self.place, self.half = grid.place, min(0.2, max(0.105, DIAMOND / tile_inches(ax, grid)))
        self.ties = PathPatch(Path(np.zeros((1, 2))), fc="none", ec=theme.predicted, lw=1.6, ls=(0, (1.2, 1.2)))
        edge = 0.0 if is_small(ax, grid) else 0.8  # wider than a small diamond
        self.marks = PathPatch(Path(np.zeros((1, 2))), fc=theme.predicted, ec=theme.background, lw=edge)
        ax.add_patch(self.ties)
        ax.add_patch(self.marks)

    def update(self, true: Int[np.ndarray, " n"], weight: Float[np.ndarray, "n S"]) -> None:
        """`true[i]` is the human's state at a step, `weight[i]` how much of each state is mixed in beside it."""
        most = weight.max(0, initial=0.0)
        states = np.flatnonzero(most > 0.01)
        diamond = self.half * np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
        self.marks.set_path(closed(self._spot(states)[:, None] + np.sqrt(most[states])[:, None, None] * diamond))
        predicted = weight.argmax(-1)
        apart = (weight.max(-1) > 0.99) & (predicted != true)
        lines = np.stack([self._spot(true[apart]), self._spot(predicted[apart])], 1).reshape(-1, 2)
        self.ties.set_path(Path(lines, np.tile([1, 2], int(apart.sum()))) if len(lines) else Path(np.zeros((1, 2))))

    def _spot(self, states: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        return self.place[states, ::-1] + [0.2, 0.8]


class Letter:
    """A letter in a tile's upper left corner, or its middle, as a path: text would be laid out anew in every frame."""

    def __init__(
        self, ax: Axes, column: float, row: float, text: str, colour: str, size: float = 0.2, *, centred: bool = False
    ) -> None:
        glyph = TextPath((0, 0), text, size=size)
        placed = Affine2D().scale(1, -1).translate(column + 0.17, row + 0.17 + 0.75 * size)
        if centred:
            box = glyph.get_extents()
            placed = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2).scale(1, -1)
            placed.translate(column + 0.5, row + 0.5)
        self.artist = PathPatch(placed.transform_path(glyph), fc=colour, lw=0)
        ax.add_patch(self.artist)


class Number:
    """Bold text that changes from frame to frame, drawn as a path of glyphs that are looked up: laying text out is slow.

    Args:
        x, y: in figure fractions; `y` is the middle of the digits.
        size: in points.
        align: "left" or "right".
    """

    FONT = FontProperties(weight="bold")
    UNIT = 100.0  # points at which glyphs are kept
    _glyphs: ClassVar[dict[str, tuple[np.ndarray, np.ndarray, float]]] = {}  # outline, codes, advance

    def __init__(self, figure: Figure, x: float, y: float, *, size: float, colour: str, align: str = "left") -> None:
        width, height = figure.get_size_inches()
        points = size / self.UNIT / 72
        place = Affine2D().translate(0, -0.364 * self.UNIT).scale(points).translate(x * width, y * height)
        self.align = align
        self.artist = PathPatch(Path(np.zeros((1, 2))), fc=colour, lw=0, transform=place + figure.dpi_scale_trans)
        figure.add_artist(self.artist)

    def update(self, text: str) -> None:
        glyphs, pen, parts = [], 0.0, []
        for letter in text:
            outline, codes, advance = self._glyph(letter)
            glyphs.append(codes)
            parts.append(outline + np.array([pen, 0.0]))
            pen += advance
        vertices = np.concatenate(parts) - [pen if self.align == "right" else 0.0, 0.0]
        self.artist.set_path(Path(vertices, np.concatenate(glyphs)))

    @classmethod
    def _glyph(cls, letter: str) -> tuple[np.ndarray, np.ndarray, float]:
        if letter not in cls._glyphs:
            apart, together = (cls._outline(text) for text in (f"|{letter}|", "||"))
            advance = float(np.ptp(apart[0][:, 0]) - np.ptp(together[0][:, 0]))
            cls._glyphs[letter] = (*cls._outline(letter), advance)
        return cls._glyphs[letter]

    @classmethod
    def _outline(cls, text: str) -> tuple[np.ndarray, np.ndarray]:
        if text.isspace():  # which TextPath cannot draw
            return np.zeros((0, 2)), np.zeros(0, Path.code_type)
        path = TextPath((0, 0), text, size=cls.UNIT, prop=cls.FONT)
        return np.asarray(path.vertices), np.asarray(path.codes)


def closed(polygons: Float[np.ndarray, "n k 2"]) -> Path:
    """Many polygons as one path."""
    if not len(polygons):
        return Path(np.zeros((1, 2)))
    count, corners, _ = polygons.shape
    vertices = np.concatenate([polygons, polygons[:, :1]], 1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, *[Path.LINETO] * (corners - 1), Path.CLOSEPOLY], count)
    return Path(vertices, codes)
