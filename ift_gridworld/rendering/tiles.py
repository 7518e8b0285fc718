"""Tiles coloured by numbers. Where tiles are too fine to be seen singly, a block of them is one pixel of an image."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize, to_hex, to_rgb
from matplotlib.image import AxesImage

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.rendering.scale import TINY_TILE, is_fine, tile_inches, tiles_per_pixel
from ift_gridworld.rendering.shapes import rectangle
from ift_gridworld.rendering.theme import Theme

__all__ = ["BlockImage", "TileColours", "hole_colour", "tile_polygon"]

TILE_GAP = 0.04  # on each side of a tile


def tile_polygon(ax: Axes, grid: GridLayout) -> Float[np.ndarray, "4 2"]:
    """Return a tile within its unit square; tiny tiles have no gaps, which would be all that is seen."""
    gap = TILE_GAP if tile_inches(ax, grid) > TINY_TILE else 0.0
    return rectangle(gap, gap, 1 - 2 * gap, 1 - 2 * gap)


def hole_colour(ax: Axes, grid: GridLayout, theme: Theme) -> str:
    """Return the colour of holes, which is paler on fine tiles, so that thousands of holes do not hide the path between them.

    Where several tiles share a pixel, the ice beside the holes makes it pale already.

    Args:
        ax: where the map is drawn.
        grid: the layout of the tiles.
        theme: colours.
    """
    if not is_fine(ax, grid) or tiles_per_pixel(tile_inches(ax, grid)) > 1:
        return theme.hole
    return to_hex(np.mean([to_rgb(theme.hole), to_rgb(theme.ice), to_rgb(theme.ice)], 0))


class BlockImage:
    """An image over a whole map, one pixel for each square block of fine tiles.

    A block that is covered in part is drawn fainter, by the root of the share that is covered: by the share itself a path one
    tile wide would vanish among holes.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.

    Attributes:
        artist: what was added to the Axes.
        share: part of each block that is covered, [rows, columns].
    """

    def __init__(self, ax: Axes, grid: GridLayout) -> None:
        self.side = tiles_per_pixel(tile_inches(ax, grid))
        rows, columns = ceil(grid.height / self.side), ceil(grid.width / self.side)
        self._values = np.zeros((rows * self.side, columns * self.side))
        self._values[: grid.height, : grid.width] = 1.0
        self._tiles_per_block = self._blocks.sum((1, 3))  # blocks at the edges have fewer
        self._values[:] = 0.0
        self.share = np.ones((rows, columns))  # everything is drawn until `cover` says otherwise
        extent = (0, columns * self.side, rows * self.side, 0)
        self.artist = AxesImage(ax, extent=extent, origin="upper", interpolation="nearest", zorder=1)  # as all patches
        ax.add_image(self.artist)

    @property
    def _blocks(self) -> Float[np.ndarray, "rows side columns side"]:
        height, width = self._values.shape
        return self._values.reshape(height // self.side, self.side, width // self.side, self.side)

    def cover(self, tiles: Int[np.ndarray, "n 2"]) -> None:
        """Set the tiles, (row, column) of each, that are drawn."""
        self._tiles = tuple(tiles.T)
        self._values[self._tiles] = 1.0
        self.share = self._blocks.sum((1, 3)) / self._tiles_per_block
        self._values[self._tiles] = 0.0

    def extremes(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "rows columns"]:
        """Return for each block the value of its tiles that is furthest from 0, so that a thin path keeps its colour."""
        self._values[self._tiles] = values
        high, low = self._blocks.max((1, 3)), self._blocks.min((1, 3))
        return np.where(high >= -low, high, low)

    def update(self, colours: Float[np.ndarray, "rows columns 4"]) -> None:
        """Draw the blocks in these colours (RGBA; the opacity is overwritten)."""
        colours[..., 3] = np.sqrt(self.share)
        self.artist.set_data(colours)


class TileColours:
    """Tiles coloured by one number each; a block of fine tiles takes the number that is furthest from 0.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.
        coloured: which states' tiles are coloured; the others stay as `draw_lake` left them.
        cmap: the colours.
        norm: from numbers to [0, 1], where the colours are looked up.

    Attributes:
        artist: what was added to the Axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.rendering import THEMES, draw_lake
        >>> grid, theme = GridLayout.of(["SF", "HG"]), THEMES["light"]
        >>> ax = draw_lake(Figure((2, 2)).add_subplot(), grid, theme)
        >>> visits = TileColours(ax, grid, np.array([True, True, False, False]), theme.visits, Normalize(0, 1))
        >>> visits.update(np.array([1.0, 0.5, 0.0, 0.0]))
        >>> len(visits.artist.get_facecolor())
        2
    """

    def __init__(self, ax: Axes, grid: GridLayout, coloured: Bool[np.ndarray, " S"], cmap: Colormap, norm: Normalize) -> None:
        self.states, self.norm = np.flatnonzero(coloured), norm
        self.colours = cmap(np.arange(cmap.N))  # calling a colour map takes longer than looking a colour up
        self.artist: PolyCollection | AxesImage
        if is_fine(ax, grid):
            self.blocks = BlockImage(ax, grid)
            self.blocks.cover(grid.place[self.states])
            self.artist = self.blocks.artist
        else:
            corners = grid.place[self.states, None, ::-1]
            self.artist = PolyCollection(corners + tile_polygon(ax, grid), linewidths=0, antialiaseds=False)
            ax.add_collection(self.artist)

    def update(self, values: Float[np.ndarray, " S"]) -> None:
        """Colour the tiles by these numbers."""
        if isinstance(self.artist, AxesImage):
            self.blocks.update(self._looked_up(self.blocks.extremes(values[self.states])))
        else:
            self.artist.set_facecolor(self._looked_up(values[self.states]))

    def _looked_up(self, values: Float[np.ndarray, "*n"]) -> Any:
        """Colours, RGBA; matplotlib's types know no arrays."""
        count = len(self.colours)
        return self.colours[np.clip(np.asarray(self.norm(values)) * count, 0, count - 1).astype(int)]
