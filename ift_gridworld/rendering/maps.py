"""Maps of a lake on a matplotlib Axes: tiles, glyphs, the policy as arrows. Nothing here shows or saves.

One tile is one unit; tile (row, column) spans [column, column + 1] x [row, row + 1], rows downwards. Each function adds its
artists to the Axes it is given and returns what changes from frame to frame, with an `update`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.theme import Theme

GAP = 0.04  # between tiles, on each side
HIDDEN = 0.02  # arrows of a smaller probability are not drawn
TINY = 0.08  # inches: smaller tiles lie close together
SMALL = 0.22  # inches: on a smaller tile there is room for one arrow, the likeliest move's


def walkable(mdp: TabularMDP) -> Bool[np.ndarray, " S"]:
    """The tiles of a grid that an episode can stand and go on from."""
    assert mdp.layout is not None
    return ~mdp.terminal & np.array([letter not in "HC" for row in mdp.layout for letter in row])


def tile_inches(ax: Axes, layout: tuple[str, ...]) -> float:
    """The side of a tile, as it will be drawn."""
    box = ax.get_window_extent()
    return min(box.width / len(layout[0]), box.height / len(layout)) / float(ax.get_figure(root=True).dpi)  # type: ignore[union-attr]


def is_small(ax: Axes, layout: tuple[str, ...]) -> bool:
    """Whether tiles are too small for details."""
    return bool(tile_inches(ax, layout) < SMALL)


def _tile(ax: Axes, layout: tuple[str, ...]) -> Float[np.ndarray, "4 2"]:
    """A tile within its unit square; where tiles are tiny, gaps would be all that is seen."""
    gap = GAP if tile_inches(ax, layout) > TINY else 0.0
    return _box(gap, gap, 1 - 2 * gap, 1 - 2 * gap)


def prepare_axes(ax: Axes, rows: int, columns: int) -> Axes:
    """Square tiles, rows downwards, no frame."""
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", anchor="NW")
    ax.axis("off")
    return ax


def draw_lake(ax: Axes, layout: tuple[str, ...], theme: Theme) -> Axes:
    """What never changes: ice, holes, and the gift."""
    prepare_axes(ax, len(layout), len(layout[0]))
    board = np.array([list(row) for row in layout])
    dark, gifts = np.isin(board, ["H", "C"]), board == "G"
    tile = _tile(ax, layout)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for where, shape, colour in (
        (~dark, tile, theme.ice),
        (dark, tile, theme.hole),
        (dark & (not is_small(ax, layout)), 0.5 + 0.3 * np.stack([np.cos(turn), np.sin(turn)], -1), theme.water),
        *((gifts, part, getattr(theme, colour)) for part, colour in GIFT),
    ):
        corners = np.argwhere(where)[:, ::-1]  # column, row
        if len(corners):
            ax.add_patch(PathPatch(closed(corners[:, None] + shape), fc=colour, lw=0))
    return ax


def _box(x: float, y: float, width: float, height: float) -> Float[np.ndarray, "4 2"]:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])


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


class Tiles:
    """Tiles coloured by a number a tile.

    Args:
        shown: [S], which tiles are coloured; the others stay as the lake has them.
    """

    def __init__(
        self, ax: Axes, layout: tuple[str, ...], shown: Bool[np.ndarray, " S"], cmap: Colormap, norm: Normalize
    ) -> None:
        width = len(layout[0])
        self.shown, self.cmap, self.norm = np.flatnonzero(shown), cmap, norm
        corner = np.stack([self.shown % width, self.shown // width], -1)[:, None]
        self.artist = ax.add_collection(PolyCollection(corner + _tile(ax, layout), linewidths=0, antialiaseds=False))

    def update(self, values: Float[np.ndarray, " S"]) -> None:
        self.artist.set_facecolor(self.cmap(self.norm(values[self.shown])))


class Arrows:
    """A stochastic policy as it is: from each tile an arrow for each move, its length and width growing with probability.
    On small tiles only the likeliest move has one, through the middle of the tile.

    All arrows are one path, so that a frame costs one call to the renderer.

    Args:
        moves: [A, 2], the (row, column) step of each action; (0, 0) is not drawn.
        where: [S], tiles that get arrows.
    """

    def __init__(
        self, ax: Axes, layout: tuple[str, ...], moves: Int[np.ndarray, "A 2"], where: Bool[np.ndarray, " S"], theme: Theme
    ) -> None:
        width = len(layout[0])
        self.tiles, self.moving = np.flatnonzero(where), np.flatnonzero(np.abs(moves).sum(1))
        self.centre = np.stack([self.tiles % width, self.tiles // width], -1) + 0.5
        self.along = moves[self.moving][:, ::-1].astype(float)  # x, y
        self.small = is_small(ax, layout)
        self.artist = PathPatch(Path(np.zeros((1, 2))), fc=theme.arrow, lw=0)
        ax.add_patch(self.artist)

    def update(self, policy: Float[np.ndarray, "S A"]) -> None:
        probability = policy[np.ix_(self.tiles, self.moving)]
        drawn = probability >= HIDDEN
        if self.small:
            drawn &= np.arange(len(self.moving)) == probability.argmax(-1)[:, None]
        p = probability[drawn]
        along = np.broadcast_to(self.along, (*probability.shape, 2))[drawn]
        centre = np.broadcast_to(self.centre[:, None], (*probability.shape, 2))[drawn]
        across = along[:, ::-1] * [-1, 1]
        tip, shaft, head = 0.06 + 0.38 * p, 0.014 + 0.024 * p, 0.035 + 0.075 * p
        start = np.full_like(p, 0.05)
        if self.small:
            tip, shaft, head = 0.1 + 0.3 * p, 0.025 + 0.035 * p, 0.08 + 0.14 * p
            start = -tip
        neck = tip - np.minimum(1.45 * head, 0.7 * tip)
        outline = [(start, -shaft), (neck, -shaft), (neck, -head), (tip, 0 * p), (neck, head), (neck, shaft), (start, shaft)]
        corners = np.stack([centre + x[:, None] * along + y[:, None] * across for x, y in outline], 1)
        self.artist.set_path(closed(corners))


class Changes:
    """How a policy differs from another: arrows for what is likelier now and for what is less likely, growing with the
    difference. The same arrows as `Arrows`, in two colours."""

    def __init__(
        self, ax: Axes, layout: tuple[str, ...], moves: Int[np.ndarray, "A 2"], where: Bool[np.ndarray, " S"], theme: Theme
    ) -> None:
        self.more, self.less = (Arrows(ax, layout, moves, where, theme) for _ in range(2))
        self.more.artist.set_facecolor(theme.more)
        self.less.artist.set_facecolor(theme.less)

    @property
    def artists(self) -> tuple[PathPatch, PathPatch]:
        return self.less.artist, self.more.artist

    def update(self, change: Float[np.ndarray, "S A"]) -> None:
        self.more.update(np.maximum(change, 0.0))
        self.less.update(np.maximum(-change, 0.0))


class Strip:
    """The state-action matrix T_theta(a|s) over the optimal one, T*: a column a tile, a row a move, darker for likelier.

    Args:
        where: [S], the tiles that get a column.
        optimal: T*.
    """

    def __init__(
        self, ax: Axes, where: Bool[np.ndarray, " S"], optimal: Float[np.ndarray, "S A"], theme: Theme, size: float = 9.0
    ) -> None:
        self.tiles = np.flatnonzero(where)
        columns, rows = len(self.tiles), optimal.shape[1]
        options: dict[str, Any] = {
            "cmap": theme.probabilities,
            "vmin": 0,
            "vmax": 1,
            "aspect": "auto",
            "interpolation": "nearest",
        }
        self.image = ax.imshow(np.zeros((rows, columns)), extent=(0, columns, rows, 0), **options)
        ax.imshow(optimal[self.tiles].T, extent=(0, columns, 2 * rows + 0.8, rows + 0.8), **options)
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
        self.image.set_data(policy[self.tiles].T)


class Outlines:
    """An inset outline around each of some tiles, as "shown by the human"; static."""

    def __init__(
        self,
        ax: Axes,
        layout: tuple[str, ...],
        tiles: Int[np.ndarray, " n"],
        colour: str,
        *,
        inset: float,
        dashed: bool = False,
        width: float = 1.8,
    ) -> None:
        wide, tiles = len(layout[0]), np.unique(tiles)
        turn = np.linspace(0, np.pi / 2, 5)
        arc = np.stack([np.cos(turn), np.sin(turn)], -1)
        quarters = [arc @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
        radius, half = 0.08, 0.5 - inset - 0.08
        box = np.concatenate([0.5 + radius * q + half * np.sign(q.sum(0)) for q in quarters])
        corners = np.stack([tiles % wide, tiles // wide], -1)
        style = (0, (2.2, 1.6)) if dashed else "-"
        width = min(width, 0.2 + 3.5 * tile_inches(ax, layout))
        self.artist = PathPatch(closed(corners[:, None] + box), fc="none", ec=colour, lw=width, ls=style)
        ax.add_patch(self.artist)


class Predictions:
    """IFT's mixed-in tiles: a diamond on each, its area growing with the tile's weight.

    A prediction that is one tile, and not the human's, is tied to the human's by a dotted line.
    """

    def __init__(self, ax: Axes, layout: tuple[str, ...], theme: Theme) -> None:
        self.width = len(layout[0])
        self.ties = PathPatch(Path(np.zeros((1, 2))), fc="none", ec=theme.predicted, lw=1.6, ls=(0, (1.2, 1.2)))
        edge = 0.0 if is_small(ax, layout) else 0.8  # wider than a small diamond
        self.marks = PathPatch(Path(np.zeros((1, 2))), fc=theme.predicted, ec=theme.background, lw=edge)
        ax.add_patch(self.ties)
        ax.add_patch(self.marks)

    def update(self, true: Int[np.ndarray, " n"], weight: Float[np.ndarray, "n S"]) -> None:
        """`true[i]` is the human's tile at a step, `weight[i]` how much of each tile is mixed in beside it."""
        most = weight.max(0, initial=0.0)
        tiles = np.flatnonzero(most > 0.01)
        diamond = 0.105 * np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
        self.marks.set_path(closed(self._spot(tiles)[:, None] + np.sqrt(most[tiles])[:, None, None] * diamond))
        predicted = weight.argmax(-1)
        apart = (weight.max(-1) > 0.99) & (predicted != true)
        lines = np.stack([self._spot(true[apart]), self._spot(predicted[apart])], 1).reshape(-1, 2)
        self.ties.set_path(Path(lines, np.tile([1, 2], int(apart.sum()))) if len(lines) else Path(np.zeros((1, 2))))

    def _spot(self, tiles: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        return np.stack([tiles % self.width + 0.2, tiles // self.width + 0.8], -1)


class Letter:
    """A letter in a tile's upper left corner, as a path: text would be laid out anew in every frame."""

    def __init__(self, ax: Axes, column: float, row: float, text: str, colour: str, size: float = 0.2) -> None:
        glyph = TextPath((0, 0), text, size=size)
        placed = Affine2D().scale(1, -1).translate(column + 0.17, row + 0.17 + 0.75 * size)
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
