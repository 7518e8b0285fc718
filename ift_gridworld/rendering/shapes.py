"""Polygons in units of a tile, and the glyphs made of them. A polygon is an array of its corners (x, y), y downwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.path import Path

from ift_gridworld.envs.grid import GridLayout

__all__ = [
    "ACTION_MARKS",
    "DIAMOND",
    "GOAL_GLYPH",
    "MARK_GLYPHS",
    "PLACE_COLOURS",
    "PLACE_FRAME",
    "closed_path",
    "disc",
    "empty_path",
    "line_style",
    "rectangle",
    "squares_around",
]


def rectangle(x: float, y: float, width: float, height: float) -> Float[np.ndarray, "4 2"]:
    """Return the corners of a rectangle.

    Args:
        x, y: its upper left corner.
        width, height: its size.

    Example:
        >>> rectangle(0, 0, 2, 1).tolist()
        [[0, 0], [2, 0], [2, 1], [0, 1]]
    """
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])


def disc(x: float, y: float, radius: float) -> Float[np.ndarray, "40 2"]:
    """Return a disc, as a polygon of 40 corners.

    Args:
        x, y: its middle.
        radius: its radius.
    """
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.array([x, y]) + radius * np.stack([np.cos(turn), np.sin(turn)], -1)


def closed_path(polygons: Float[np.ndarray, "n k 2"]) -> Path:
    """Return many polygons as one path, so that drawing them costs one call to the renderer.

    Example:
        >>> closed_path(np.stack([rectangle(0, 0, 1, 1), rectangle(3, 0, 1, 1)])).vertices.shape
        (10, 2)
    """
    if not len(polygons):
        return empty_path()
    count, corners, _ = polygons.shape
    vertices = np.concatenate([polygons, polygons[:, :1]], 1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, *[Path.LINETO] * (corners - 1), Path.CLOSEPOLY], count)
    return Path(vertices, codes)


def empty_path() -> Path:
    """Return a path that draws nothing, for an artist that has not been updated yet."""
    return Path(np.zeros((1, 2)))


def line_style(dashed: bool) -> Any:
    """Return matplotlib's line style of an outline or a curve: dashed or solid."""
    return (0, (2.2, 1.6)) if dashed else "-"


def squares_around(grid: GridLayout, tiles: Int[np.ndarray, "n 2"], side: float) -> Float[np.ndarray, "n 2"]:
    """Return the upper left corners (x, y) of squares around tiles, moved so that none sticks out of the grid.

    Args:
        grid: the layout that the squares stay within.
        tiles: (row, column) of each tile.
        side: side of a square, in tiles.

    Example:
        >>> squares_around(GridLayout.of(["FFF", "FFF", "FFF"]), np.array([[0, 0], [1, 1]]), 2.0).tolist()
        [[0.0, 0.0], [0.5, 0.5]]
    """
    room = np.maximum(np.array([grid.width, grid.height]) - side, 0)
    return np.clip(tiles[:, ::-1] + 0.5 - side / 2, 0, room)


DIAMOND = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])  # of radius 1, around the origin
# At probability 1, around the origin: marks of the first two actions that are no moves.
ACTION_MARKS = (disc(0, 0, 0.34), rectangle(-0.3, -0.3, 0.6, 0.6))
PLACE_COLOURS = {"r": "red", "g": "green", "y": "yellow", "b": "blue"}  # letters of a grid, attributes of a theme
PLACE_FRAME = (rectangle(0, 0, 1, 0.13), rectangle(0, 0.87, 1, 0.13), rectangle(0, 0, 0.13, 1), rectangle(0.87, 0, 0.13, 1))
MARK_GLYPHS = {  # a person; a flag on its pole
    "passenger": (disc(0.5, 0.27, 0.2), np.array([(0.14, 0.95), (0.28, 0.5), (0.72, 0.5), (0.86, 0.95)])),
    "destination": (rectangle(0.14, 0.05, 0.09, 0.92), np.array([(0.23, 0.05), (0.95, 0.33), (0.23, 0.61)])),
}
_LOOP = np.array([(0.5, 0.35), (0.53, 0.24), (0.6, 0.17), (0.68, 0.17), (0.72, 0.22), (0.68, 0.3)])  # half of the bow
GOAL_GLYPH = (  # a box with a bow: each part with its colour, an attribute of a theme
    (_LOOP, "goal"),
    (_LOOP * [-1, 1] + [1, 0], "goal"),
    (_LOOP * [0.55, 0.55] + [0.235, 0.135], "ribbon"),
    (_LOOP * [-0.55, 0.55] + [0.765, 0.135], "ribbon"),
    (rectangle(0.26, 0.46, 0.48, 0.34), "goal"),
    (rectangle(0.22, 0.34, 0.56, 0.14), "goal"),
    (rectangle(0.46, 0.34, 0.08, 0.46), "ribbon"),
    (rectangle(0.22, 0.475, 0.56, 0.02), "ice"),
)
