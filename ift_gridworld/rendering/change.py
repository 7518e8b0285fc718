"""Map of the change by training: a tile's colour shows how much, one bold arrow from which move to which."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch, Rectangle

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.rendering.keys import draw_strip
from ift_gridworld.rendering.scale import has_signs, is_fine, is_small, sign_side
from ift_gridworld.rendering.shapes import closed_path, empty_path, squares_around
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tiles import TileColours

__all__ = ["CHANGE_UNIT", "PolicyChange", "draw_change_key", "draw_change_sample", "total_variation"]

CHANGE_UNIT = "probability that moved"
LEAST_MOVE = 0.3  # length of a change of the mean move below which no arrow is drawn; a turn back is 2 long


def total_variation(change: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Return ½ Σ_a |π(a|s) - π₀(a|s)|: the share of a tile's probability that other moves have now.

    Args:
        change: π - π₀.

    Example:
        >>> total_variation(np.array([[0.5, -0.5, 0.0, 0.0]])).tolist()
        [0.5]
    """
    return 0.5 * np.abs(change).sum(-1)


class PolicyChange:
    """The difference of two policies on a map, readable on a tile of a quarter of a centimetre.

    A tile's colour is the total variation distance between the policies there, from 0 (the same moves) to 1 (nothing is left of
    the old ones). Over it stands one arrow, the change of the mean move Σ_a (π(a|s) - π₀(a|s)) · move(a): its tail points to
    where probability came from, its head to where it went, and it is the longer the more there was of it. Of a change that
    cancels (from left and right to up and down) and of a slight one the colour alone speaks, and on fine tiles of all.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.
        moves: the (row, column) step of each action; (0, 0) for an action that is no move.
        states: which states are drawn.
        theme: colours.

    Attributes:
        artists: what was added to the Axes, from below.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.mdp import TabularMDP
        >>> from ift_gridworld.rendering import THEMES, draw_lake, walkable
        >>> mdp, theme = TabularMDP.from_map(["SF", "HG"]), THEMES["light"]
        >>> ax = draw_lake(Figure((2, 2)).add_subplot(), mdp.grid, theme)
        >>> change = PolicyChange(ax, mdp.grid, mdp.moves, walkable(mdp), theme)
        >>> change.update(np.eye(4)[[2, 0, 0, 0]] - np.eye(4)[[0, 0, 0, 0]])  # on the first tile, from left to right
        >>> outline = change.arrows.get_path().vertices
        >>> bool(outline[:, 0].max() < 1), len(outline)  # one arrow, on that tile
        (True, 8)
    """

    def __init__(
        self, ax: Axes, grid: GridLayout, moves: Int[np.ndarray, "A 2"], states: Bool[np.ndarray, " S"], theme: Theme
    ) -> None:
        self.tiles = TileColours(ax, grid, states, theme.movements, Normalize(0, 1))
        self.states, self.moves = np.flatnonzero(states), moves[:, ::-1].astype(float)  # x, y
        self.centre = grid.place[self.states, ::-1] + 0.5
        self.width = 1.25 if is_small(ax, grid) else 1.0
        self.arrows = PathPatch(empty_path(), fc=theme.arrow, lw=0)
        ax.add_patch(self.arrows)
        if is_fine(ax, grid):
            self.states = self.states[:0]
        elif has_signs(ax, grid):  # no arrows under the signs of start and goal
            side = sign_side(ax, grid)
            for corner in squares_around(grid, np.argwhere(np.isin(grid.tiles, ["S", "G"])), side):
                visible = (np.abs(self.centre - corner - side / 2) >= (1 + side) / 2).any(1)
                self.states, self.centre = self.states[visible], self.centre[visible]

    @property
    def artists(self) -> tuple[Artist, Artist]:
        return self.tiles.artist, self.arrows

    def update(self, change: Float[np.ndarray, "S A"]) -> None:
        """Draw this change, each entry from -1 to 1."""
        self.tiles.update(total_variation(change))
        if not len(self.states):
            return
        move = change[self.states] @ self.moves
        length = np.hypot(*move.T)
        drawn = length >= LEAST_MOVE
        self.arrows.set_path(closed_path(self._arrows(self.centre[drawn], move[drawn], length[drawn])))

    def _arrows(
        self, centre: Float[np.ndarray, "n 2"], move: Float[np.ndarray, "n 2"], length: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 7 2"]:
        """Arrows through the middles of their tiles; one of length 2 nearly fills its tile."""
        along = move / length[:, None]
        across = along[:, ::-1] * [-1, 1]
        tip, shaft, head = 0.15 + 0.14 * length, self.width * (0.03 + 0.03 * length), self.width * (0.09 + 0.07 * length)
        neck = tip - np.minimum(1.35 * head, 1.5 * tip)
        outline = [(-tip, -shaft), (neck, -shaft), (neck, -head), (tip, 0 * tip), (neck, head), (neck, shaft), (-tip, shaft)]
        return np.stack([centre + x[:, None] * along + y[:, None] * across for x, y in outline], 1)


def draw_change_key(ax: Axes, theme: Theme, size: float) -> None:
    """Draw the colours of `PolicyChange` as a strip from 0 to 1.

    Args:
        ax: where to draw; the strip fills it.
        theme: colours.
        size: size of the type, in points.
    """
    draw_strip(ax, theme, theme.movements, ((0.0, "0"), (0.5, "0.5"), (1.0, "1")), CHANGE_UNIT, size)


def draw_change_sample(ax: Axes, theme: Theme) -> None:
    """Draw for a legend a tile on which probability has moved to the right.

    Args:
        ax: where to draw, in a box from (0, 0) to (1.6, 1), y downwards.
        theme: colours.
    """
    grid = GridLayout.of(["F"])
    change = PolicyChange(ax, grid, np.array([[0, -1], [0, 1]]), np.ones(1, bool), theme)
    change.tiles.artist.remove()
    ax.add_patch(Rectangle((0.3, 0), 1, 1, fc=theme.movements(0.75), lw=0))
    change.centre = np.array([[0.8, 0.5]])
    change.states, change.width = np.zeros(1, int), 1.25
    change.arrows.set_zorder(2)
    change.arrows.set_path(closed_path(change._arrows(change.centre, np.array([[1.6, 0.0]]), np.array([1.6]))))
