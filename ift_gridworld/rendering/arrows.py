"""A policy as arrows, and the difference of two policies as arrows in two colours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.rendering.scale import block_side, has_signs, is_small, sign_side
from ift_gridworld.rendering.shapes import ACTION_MARKS, closed_path, empty_path, squares_around
from ift_gridworld.rendering.theme import Theme

__all__ = ["ChangeArrows", "PolicyArrows"]

LEAST_PROBABILITY = 0.02  # arrows of a smaller probability are not drawn


class PolicyArrows:
    """A stochastic policy: from each tile one arrow a move, whose length and width grow with the probability.

    On small tiles only the likeliest move has an arrow, through the middle of the tile. Fine tiles share one arrow a block: the
    mean of their moves, which is short where they disagree. An action that is no move is a mark that grows with its
    probability: a disc for the first such action, a square for the second. All is one path, so that a frame costs one call to
    the renderer.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.
        moves: the (row, column) step of each action; (0, 0) for an action that is no move.
        states: which states get arrows.
        theme: colours.

    Attributes:
        artist: what was added to the Axes.
        small: whether a tile has one arrow only.
        side: side of a block that shares one arrow, in tiles; 1 where each tile has its own.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.mdp import TabularMDP
        >>> from ift_gridworld.rendering import THEMES, draw_lake, walkable
        >>> mdp, theme = TabularMDP.from_map(["SF", "HG"]), THEMES["light"]
        >>> ax = draw_lake(Figure((2, 2)).add_subplot(), mdp.grid, theme)
        >>> arrows = PolicyArrows(ax, mdp.grid, mdp.moves, walkable(mdp), theme)
        >>> arrows.update(np.full((4, 4), 0.25))
        >>> len(arrows.artist.get_path().vertices)  # two tiles, four moves, and the corners of an arrow
        64
    """

    def __init__(
        self, ax: Axes, grid: GridLayout, moves: Int[np.ndarray, "A 2"], states: Bool[np.ndarray, " S"], theme: Theme
    ) -> None:
        self.states, is_move = np.flatnonzero(states), np.abs(moves).sum(1) > 0
        self.moving, self.staying = np.flatnonzero(is_move), np.flatnonzero(~is_move)
        self.centre = grid.place[self.states, ::-1] + 0.5
        self.direction = moves[self.moving][:, ::-1].astype(float)  # x, y
        self.small, self.side = is_small(ax, grid), block_side(ax, grid)
        size = np.array([grid.width, grid.height])
        block = size / np.maximum(1, size // self.side)  # as many as there is room for, all alike
        position = np.floor(self.centre / block)
        block_centre = (position + 0.5) * block
        if has_signs(ax, grid):  # no arrows under the signs of start and goal
            sign = sign_side(ax, grid)
            visible = np.ones(len(self.states), bool)
            for corner in squares_around(grid, np.argwhere(np.isin(grid.tiles, ["S", "G"])), sign):
                visible &= (np.abs(block_centre - corner - sign / 2) >= (block + sign) / 2).any(1)
            self.states, self.centre = self.states[visible], self.centre[visible]
            position, block_centre = position[visible], block_centre[visible]
        if self.side > 1:
            _, first, self.block = np.unique(position @ [1, grid.width], return_index=True, return_inverse=True)
            self.centre = block_centre[first]
        self.artist = PathPatch(empty_path(), fc=theme.arrow, lw=0)
        if self.side > 1:  # a rim, for blocks that are mostly holes
            self.artist.set_path_effects([withStroke(linewidth=1.8, foreground=theme.ice)])
        ax.add_patch(self.artist)

    def update(self, policy: Float[np.ndarray, "S A"]) -> None:
        """Draw the arrows of this policy.

        Args:
            policy: pi(a|s), or any numbers from 0 to 1 by state and action.
        """
        if self.side > 1:
            self.artist.set_path(closed_path(self._arrows(*self.block_moves(policy))))
            return
        probability = policy[self.states]
        drawn = probability >= LEAST_PROBABILITY
        if self.small:
            drawn &= np.arange(policy.shape[-1]) == probability.argmax(-1)[:, None]
        tile, move = np.nonzero(drawn[:, self.moving])
        polygons = [self._arrows(self.centre[tile], self.direction[move], probability[tile, self.moving[move]])]
        for action, mark in zip(self.staying, ACTION_MARKS, strict=False):
            tile = np.flatnonzero(drawn[:, action])
            polygons.append(self.centre[tile, None] + probability[tile, action, None, None] * mark)
        paths = [closed_path(shapes) for shapes in polygons if len(shapes)]
        self.artist.set_path(Path.make_compound_path(*paths) if len(paths) > 1 else paths[0] if paths else empty_path())

    def block_moves(self, policy: Float[np.ndarray, "S A"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the mean move of each block: where its arrow stands [n, 2], its direction [n, 2] and its length [n].

        The length is 1 where all tiles of the block agree; blocks whose moves cancel are left out.
        """
        move = policy[np.ix_(self.states, self.moving)] @ self.direction
        tiles = np.bincount(self.block)
        mean = np.stack([np.bincount(self.block, move[:, axis]) / tiles for axis in (0, 1)], -1)
        length = np.linalg.norm(mean, axis=-1)
        drawn = length >= LEAST_PROBABILITY
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


class ChangeArrows:
    """The difference of two policies: `PolicyArrows` in one colour for what became likelier, in another for what became less
    likely, growing with the difference.

    Args:
        ax, grid, moves, states, theme: as for `PolicyArrows`.
    """

    def __init__(
        self, ax: Axes, grid: GridLayout, moves: Int[np.ndarray, "A 2"], states: Bool[np.ndarray, " S"], theme: Theme
    ) -> None:
        self.more, self.less = (PolicyArrows(ax, grid, moves, states, theme) for _ in range(2))
        self.more.artist.set_facecolor(theme.more)
        self.less.artist.set_facecolor(theme.less)

    @property
    def artists(self) -> tuple[PathPatch, PathPatch]:
        """Artists that were added to the Axes, from below."""
        return self.less.artist, self.more.artist

    def update(self, change: Float[np.ndarray, "S A"]) -> None:
        """Draw the arrows of this change, each entry from -1 to 1."""
        self.more.update(np.maximum(change, 0.0))
        self.less.update(np.maximum(-change, 0.0))
