"""The outline of a path as a corridor: a line on either side of the tiles that follow each other, open where it goes on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from matplotlib.path import Path

from ift_gridworld.rendering.shapes import empty_path

__all__ = ["corridor"]

_SIDES = ((0, -1), (-1, 0), (0, 1), (1, 0))  # left, top, right, bottom: (row, column) steps, clockwise
_CORNERS = ((0, 1), (0, 0), (1, 0), (1, 1))  # (x, y) from which each side begins, clockwise


def corridor(tiles: Int[np.ndarray, "n 2"], inset: float = 0.0) -> Path:
    """Return the walls of a corridor through the tiles of a path, as one path of lines.

    Two tiles are open to each other only if one follows the other, so that a path which passes beside itself is two corridors.

    Args:
        tiles: (row, column) of each tile, in the path's order.
        inset: distance of a wall from the edge of the tiles, in tiles; at least 0.

    Example:
        >>> corridor(np.array([[0, 0], [0, 1]])).vertices.shape  # a wall at each end, two above and two below
        (12, 2)
    """
    links: dict[tuple[int, int], set[int]] = {(int(row), int(column)): set() for row, column in tiles}
    for one, other in zip(tiles[:-1].tolist(), tiles[1:].tolist(), strict=True):
        step = (other[0] - one[0], other[1] - one[1])
        if step in _SIDES:
            side = _SIDES.index(step)
            links[tuple(one)].add(side)
            links[tuple(other)].add((side + 2) % 4)
    walls = ((tile, wall) for tile, open_sides in links.items() for wall in _walls(open_sides, inset))
    lines = [np.array(tile[::-1]) + wall for tile, wall in walls]
    if not lines:
        return empty_path()
    codes = [code for line in lines for code in (Path.MOVETO, *[Path.LINETO] * (len(line) - 1))]
    return Path(np.concatenate(lines), codes)


def _walls(open_sides: set[int], inset: float) -> list[Float[np.ndarray, "n 2"]]:
    """The walls within a tile's unit square: along each closed side, and around each corner between two open ones."""
    walls = []
    for side in range(4):
        begin, end = np.array(_CORNERS[side], float), np.array(_CORNERS[(side + 1) % 4], float)
        along = end - begin
        inwards = np.array([-along[1], along[0]])
        before, after = (side - 1) % 4 in open_sides, (side + 1) % 4 in open_sides
        if side not in open_sides:
            ends = (begin + (0 if before else inset) * along, end - (0 if after else inset) * along)
            walls.append(np.stack(ends) + inset * inwards)
        elif before and inset:
            corner = begin + inset * (along + inwards)
            walls.append(np.stack([corner - inset * along, corner, corner - inset * inwards]))
    return walls
