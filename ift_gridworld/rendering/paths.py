"""Paths of the human's answers on a map, samples of them for a legend, and the predictions that IFT mixes in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from ift_gridworld.envs.grid import NOWHERE, GridLayout
from ift_gridworld.rendering.scale import BEAD_SIDE, DIAMOND_RADIUS, is_fine, is_small, tile_inches
from ift_gridworld.rendering.shapes import DIAMOND, closed_path, empty_path, line_style, rectangle, squares_around
from ift_gridworld.rendering.theme import Theme

__all__ = ["PathOutline", "Predictions", "draw_answers", "draw_path_sample"]

LEAST_WEIGHT = 0.01  # predictions of a smaller weight are not drawn


class PathOutline:
    """An inset outline around each tile of a path; it does not move.

    On fine tiles it is beads along the path, so that visits are seen between them. The beads of a dashed outline fall between
    those of a solid one where two paths are the same.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.
        states: states of the path, in its order; those that are not drawn on the map are left out.
        colour: any colour of matplotlib's.
        inset: distance from the tile's edge, in tiles.
        dashed: whether the outline is dashed.
        width: of the line, in points, at most.

    Attributes:
        artist: what was added to the Axes.
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
        inches = tile_inches(ax, grid)
        if is_fine(ax, grid):
            stride, side = max(2, round(2 * BEAD_SIDE / inches)), max(1.0, BEAD_SIDE / inches)
            corners = squares_around(grid, grid.place[states[stride // 2 if dashed else 0 :: stride]], side)
            self.artist = PathPatch(closed_path(corners[:, None] + side * rectangle(0, 0, 1, 1)), fc=colour, lw=0)
        else:
            corners = np.unique(grid.place[states], axis=0)[:, None, ::-1]
            outlines, width = closed_path(corners + _rounded_square(inset)), min(width, 0.2 + 3.5 * inches)
            self.artist = PathPatch(outlines, fc="none", ec=colour, lw=width, ls=line_style(dashed))
        ax.add_patch(self.artist)


def _rounded_square(inset: float, radius: float = 0.08) -> Float[np.ndarray, "20 2"]:
    """The outline within a tile's unit square, a quarter of a circle at each corner."""
    turn = np.linspace(0, np.pi / 2, 5)
    arc = np.stack([np.cos(turn), np.sin(turn)], -1)
    quarters = [arc @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    half = 0.5 - inset - radius
    return np.concatenate([0.5 + radius * q + half * np.sign(q.sum(0)) for q in quarters])


def draw_answers(
    ax: Axes,
    grid: GridLayout,
    theme: Theme,
    shown: Int[np.ndarray, " n"],
    rejected: Int[np.ndarray, " m"],
    *,
    insets: tuple[float, float] = (0.08, 0.17),
    width: float = 1.8,
) -> list[PathPatch]:
    """Outline the path that the human showed or chose, and dashed, further inside and below it, the one that was rejected.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.
        theme: colours.
        shown, rejected: states of either path, in its order; may be empty.
        insets: of either outline from the tile's edge, in tiles.
        width: of the lines, in points, at most.

    Returns:
        What was added to the Axes, from below.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.rendering.theme import THEMES
        >>> ax, grid = Figure().add_subplot(), GridLayout.of(["SF", "FG"])
        >>> len(draw_answers(ax, grid, THEMES["light"], np.array([0, 1]), np.array([0, 2])))
        2
    """
    paths = ((rejected, theme.rejected, insets[1], True), (shown, theme.shown, insets[0], False))
    return [
        PathOutline(ax, grid, states, colour, inset=inset, dashed=dashed, width=width).artist
        for states, colour, inset, dashed in paths
    ]


def draw_path_sample(
    ax: Axes, x: float, y: float, side: float, colour: str, *, dashed: bool, beads: bool, width: float = 1.8
) -> None:
    """Draw for a legend what `PathOutline` draws on a map: a square outline, or beads where tiles are fine.

    Args:
        ax: where to draw.
        x, y: upper left corner, in the Axes' units.
        side: of the square, in the Axes' units.
        colour: any colour of matplotlib's.
        dashed: whether the outline is dashed.
        beads: whether the map's tiles are fine.
        width: of the line, in points.
    """
    if beads:
        bead = side / 3
        middles = (0.5,) if dashed else (0.0, 1.0)
        corners = np.array([[x + (side - bead) * share, y + (side - bead) / 2] for share in middles])
        ax.add_patch(PathPatch(closed_path(corners[:, None] + bead * rectangle(0, 0, 1, 1)), fc=colour, lw=0))
    else:
        square = closed_path(rectangle(x, y, side, side)[None])
        ax.add_patch(PathPatch(square, fc="none", ec=colour, lw=width, ls=line_style(dashed)))


class Predictions:
    """The states that IFT's residual connection mixes in: a diamond on each tile, its area growing with the weight.

    A prediction that is a single tile other than the demonstration's is tied to the demonstration's by a dotted line. On small
    tiles diamonds take a larger part of the tile; where start and goal are signs there is no room for any.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.
        theme: colours.

    Attributes:
        ties, marks: what was added to the Axes, from below.
    """

    def __init__(self, ax: Axes, grid: GridLayout, theme: Theme) -> None:
        self.place, self.radius = grid.place, min(0.2, max(0.105, DIAMOND_RADIUS / tile_inches(ax, grid)))
        self.ties = PathPatch(empty_path(), fc="none", ec=theme.predicted, lw=1.6, ls=(0, (1.2, 1.2)))
        edge = 0.4 if is_small(ax, grid) else 0.8  # amber alone looks like a visited tile
        self.marks = PathPatch(empty_path(), fc=theme.predicted, ec=theme.predicted_edge, lw=edge)
        ax.add_patch(self.ties)
        ax.add_patch(self.marks)

    def update(self, true: Int[np.ndarray, " n"], weight: Float[np.ndarray, "n S"]) -> None:
        """Draw the predictions at some steps of a demonstration.

        Args:
            true: the demonstration's state at each step.
            weight: how much of each state is mixed in beside it, from 0 to 1.
        """
        largest = weight.max(0, initial=0.0)
        states = np.flatnonzero(largest > LEAST_WEIGHT)
        diamonds = self._centres(states)[:, None] + np.sqrt(largest[states])[:, None, None] * (self.radius * DIAMOND)
        self.marks.set_path(closed_path(diamonds))
        predicted = weight.argmax(-1)
        differs = (weight.max(-1) > 0.99) & (predicted != true)
        lines = np.stack([self._centres(true[differs]), self._centres(predicted[differs])], 1).reshape(-1, 2)
        self.ties.set_path(Path(lines, np.tile([1, 2], int(differs.sum()))) if len(lines) else empty_path())

    def _centres(self, states: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        return self.place[states, ::-1] + [0.2, 0.8]
