"""A window on a large map: the few tiles around a place, large enough for one arrow each, moved from frame to frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.maps import grid_of, prepare_axes
from ift_gridworld.rendering.scale import tile_inches
from ift_gridworld.rendering.shapes import GOAL_GLYPH, closed_path, disc, empty_path
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tiles import tile_polygon

__all__ = ["MapWindow", "window_corners"]


def window_corners(grid: GridLayout, tiles: Int[np.ndarray, "F 2"], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the first (row, column) of a window on a map in each frame, so that the window contains the frame's tile.

    It has its first tile in its middle, and stands still until the tile comes near its edge, then has that one in its middle:
    a reader can look at what stands still. It never sticks out of the map.

    Args:
        grid: the layout of the map.
        tiles: (row, column) that has to be seen in each frame.
        size: number of rows and columns of the window, at most the map's.

    Example:
        >>> grid = GridLayout.of(["F" * 9] * 9)
        >>> window_corners(grid, np.array([[4, 0], [4, 1], [8, 8]]), (5, 5))
        [(2, 0), (2, 0), (4, 4)]
    """
    extent, room = np.array(size), np.array([grid.height, grid.width]) - size
    corners: list[tuple[int, int]] = []
    for tile in tiles:
        middle = np.clip(tile - extent // 2, 0, room)
        if corners:
            rim = extent // 6
            nearest = np.clip(np.clip(corners[-1], tile - extent + 1 + rim, tile - rim), 0, room)
            middle = nearest if (nearest == corners[-1]).all() else middle
        corners.append((int(middle[0]), int(middle[1])))
    return corners


class MapWindow:
    """Tiles, visits, the policy's arrows and the outlines of paths within a window that can be moved over the map.

    All windows have one number of tiles, so that a frame costs no more on a map of a million tiles.

    Args:
        ax: where to draw; it is prepared for the window.
        mdp: an environment whose states are the tiles of one map.
        size: number of rows and columns of the window.
        norm: from visits to [0, 1], where their colours are looked up.
        paths: outlines over the tiles, in units of the map's tiles, each with its colour and line style.
        theme: colours.

    Attributes:
        artists: what was added to the Axes, from below.
    """

    def __init__(
        self,
        ax: Axes,
        mdp: TabularMDP,
        size: tuple[int, int],
        norm: Normalize,
        paths: list[tuple[Path, str, object]],
        theme: Theme,
    ) -> None:
        self.grid, self.size, self.norm, self.theme = grid_of(mdp), size, norm, theme
        rows, columns = size
        prepare_axes(ax, rows, columns)
        local = GridLayout.of(["F" * columns] * rows)
        corners, inches = local.place[:, None, ::-1], tile_inches(ax, local)
        self.tiles = PolyCollection(corners + tile_polygon(ax, local), linewidths=0.6, antialiaseds=False)
        ax.add_collection(self.tiles)
        self.start = PathPatch(empty_path(), fc="none", ec=theme.ink, lw=7 * inches)
        self.goal = [PathPatch(empty_path(), fc=getattr(theme, colour), lw=0) for _, colour in GOAL_GLYPH]
        self.paths = []
        for path, colour, style in paths:
            patch = PathPatch(empty_path(), fc="none", ec=colour, lw=1.6, ls=style, capstyle="butt")
            self.paths.append((path, patch))
        for patch in (self.start, *self.goal, *(patch for _, patch in self.paths)):
            ax.add_patch(patch)
        self.arrows = PolicyArrows(ax, local, mdp.moves, np.ones(rows * columns, bool), theme)
        self.state = np.zeros((self.grid.height, self.grid.width), int)
        self.state[tuple(self.grid.place.T)] = np.arange(mdp.num_states)
        self.ends = mdp.terminal

    @property
    def artists(self) -> list[Artist]:
        return [self.tiles, self.start, *self.goal, *(patch for _, patch in self.paths), self.arrows.artist]

    def update(self, corner: tuple[int, int], policy: Float[np.ndarray, "S A"], visits: Float[np.ndarray, " S"]) -> None:
        """Move the window and draw a policy in it.

        Args:
            corner: first (row, column) of the window.
            policy: pi(a|s).
            visits: expected visits of each state in an episode.
        """
        (row, column), (rows, columns), theme = corner, self.size, self.theme
        states = self.state[row : row + rows, column : column + columns].ravel()
        letters = self.grid.tiles[row : row + rows, column : column + columns].ravel()
        holes, ends = np.isin(letters, ["H", "C"]), self.ends[states]
        colours = theme.visits(self.norm(np.where(ends, 0.0, visits[states])))
        colours[holes] = to_rgba(theme.hole)
        self.tiles.set_facecolor(colours)
        colours[holes] = to_rgba(theme.rim)
        self.tiles.set_edgecolor(colours.tolist())
        places = np.stack(np.divmod(np.arange(len(letters)), columns), -1)[:, None, ::-1]
        starts, goals = places[letters == "S"], places[letters == "G"]
        self.start.set_path(closed_path(starts + disc(0.5, 0.5, 0.44)))
        self.start.set_visible(len(starts) > 0)  # what is not there costs no time
        for patch, (shape, _) in zip(self.goal, GOAL_GLYPH, strict=True):
            patch.set_path(closed_path(goals + shape))
            patch.set_visible(len(goals) > 0)
        for path, patch in self.paths:
            patch.set_path(Path(np.asarray(path.vertices) - [column, row], path.codes))
        self.arrows.update(np.where((ends | holes)[:, None], 0.0, policy[states]))
