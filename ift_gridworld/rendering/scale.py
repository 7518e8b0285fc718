"""Size at which the tiles of a map are drawn, and the marks that fit on them. One tile is one unit of the Axes."""

from __future__ import annotations

from math import ceil

from matplotlib.axes import Axes

from ift_gridworld.envs.grid import GridLayout

__all__ = [
    "BADGE_SIDE",
    "BEAD_SIDE",
    "BLOCK_SIDE",
    "DIAMOND_RADIUS",
    "LETTER_TILE",
    "SIGN_SIDE",
    "SIGN_TILE",
    "SMALL_TILE",
    "TINY_TILE",
    "block_side",
    "has_signs",
    "is_fine",
    "is_fine_tile",
    "is_small",
    "rim_width",
    "sign_side",
    "tile_inches",
    "tiles_per_pixel",
]

# Sides of tiles, in inches.
TINY_TILE = 0.08  # smaller tiles lie close together
SMALL_TILE = 0.22  # a smaller tile has room for one arrow, that of the likeliest move
LETTER_TILE = 0.28  # on a smaller tile an S in the corner could not be read
SIGN_TILE = 0.12  # on a smaller tile start and goal would be lost, so they become signs larger than the tile
FINE_TILE, FINE_TILE_DOTS = 0.045, 6.2  # smaller tiles (in inches or in dots) are drawn as an image, and arrows for blocks

# Least sizes, in inches, of what is drawn on fine tiles: a block's pixel, a bead of a path, a block with one arrow, the signs
# of start and goal. The diamond of a prediction is measured from its middle to a corner. A badge holds a place's letter.
PIXEL_SIDE, BEAD_SIDE, BLOCK_SIDE, SIGN_SIDE, DIAMOND_RADIUS, BADGE_SIDE = 0.02, 0.028, 0.2, 0.17, 0.03, 0.055

SIGN_TILES = 2.4  # side, in tiles, that a sign may have where each tile has an arrow of its own, which the sign hides


def tile_inches(ax: Axes, grid: GridLayout) -> float:
    """Return the side of a tile as it will be drawn, in inches."""
    box = ax.get_window_extent()
    return float(min(box.width / grid.width, box.height / grid.height)) / float(ax.figure.dpi)


def is_small(ax: Axes, grid: GridLayout) -> bool:
    """Return whether tiles are too small for details."""
    return tile_inches(ax, grid) < SMALL_TILE


def is_fine(ax: Axes, grid: GridLayout) -> bool:
    """Return whether tiles are too small for single tiles to be seen."""
    return is_fine_tile(tile_inches(ax, grid), float(ax.figure.dpi))


def is_fine_tile(inches: float, dpi: float) -> bool:
    """Return whether tiles of that side are too small for single tiles to be seen.

    Args:
        inches: side of a tile.
        dpi: dots to an inch.
    """
    return inches < FINE_TILE or inches * dpi < FINE_TILE_DOTS


def rim_width(ax: Axes, grid: GridLayout) -> float:
    """Return the width of the line around a hole, in points; 0 where tiles lie close together."""
    inches = tile_inches(ax, grid)
    return min(1.0, 3.5 * inches) if inches > TINY_TILE else 0.0


def has_signs(ax: Axes, grid: GridLayout) -> bool:
    """Return whether start and goal are drawn as signs larger than a tile; several maps with headings leave no room."""
    return is_fine(ax, grid) or (tile_inches(ax, grid) < SIGN_TILE and not grid.headings)


def sign_side(ax: Axes, grid: GridLayout) -> float:
    """Return the side of the signs of start and goal, in tiles; at most the shorter side of the grid."""
    shorter = min(grid.width, grid.height)
    return min(SIGN_SIDE / tile_inches(ax, grid), shorter if is_fine(ax, grid) else min(SIGN_TILES, shorter))


def block_side(ax: Axes, grid: GridLayout) -> int:
    """Return the side, in tiles, of the blocks that get one arrow each; 1 where every tile has its own."""
    return ceil(BLOCK_SIDE / tile_inches(ax, grid)) if is_fine(ax, grid) else 1


def tiles_per_pixel(inches: float) -> int:
    """Return how many tiles lie along the side of one pixel of a block image.

    Args:
        inches: side of a tile.
    """
    return max(1, round(PIXEL_SIDE / inches))
