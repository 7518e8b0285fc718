"""A grid that is made of several small maps, such as a taxi's: one for each place of its passenger and each destination.

A `GridLayout` with headings is such a grid: below each heading, to its right, lies one small map. Which states an episode can
start in, and through which maps a path leads, follows from the MDP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.envs.grid import NOWHERE, GridLayout
from ift_gridworld.mdp import TabularMDP

__all__ = ["SmallMap", "likeliest_drive", "maps_on_path", "mean_over_starts", "small_maps", "start_maps"]


@dataclass(frozen=True, eq=False)
class SmallMap:
    """One of the small maps.

    Attributes:
        heading: what stands above it.
        row, column: its place among the maps.
        states: the states that are drawn on it.
        grid: its own layout, whose states are these, in order.
    """

    heading: str
    row: int
    column: int
    states: Int[np.ndarray, " n"]
    grid: GridLayout


def small_maps(grid: GridLayout | None) -> list[SmallMap]:
    """Return the small maps that a grid is made of; none if it is one map, or a state is drawn outside them.

    Args:
        grid: of any environment; None where nobody knows.

    Example:
        >>> rows, place = ("   ", "SFF", "   ", "FFG"), np.array([[1, 0], [1, 1], [1, 2], [3, 0], [3, 1], [3, 2]])
        >>> grid = GridLayout(rows, place, headings=((0, 0, "up"), (2, 0, "down")))
        >>> [(small.heading, small.states.tolist()) for small in small_maps(grid)]
        [('up', [0, 1, 2]), ('down', [3, 4, 5])]
        >>> small_maps(GridLayout.of(["SFG"]))
        []
    """
    if grid is None or not grid.headings:
        return []
    tops, lefts = (sorted({heading[axis] for heading in grid.headings}) for axis in (0, 1))
    maps = []
    for y, x, text in grid.headings:
        row, column = tops.index(y), lefts.index(x)
        ends = [*tops[1:], grid.height][row], [*lefts[1:], grid.width][column]
        filled = np.argwhere(grid.tiles[y + 1 : ends[0], x : ends[1]] != " ")
        if not len(filled):
            return []
        corner = np.array([y + 1, x])
        first, last = filled.min(0) + corner, filled.max(0) + corner + 1
        maps.append(_cut_out(grid, text, (row, column), first, last))
    drawn = int((grid.place[:, 0] != NOWHERE).sum())
    return maps if sum(len(each.states) for each in maps) == drawn else []


def _cut_out(
    grid: GridLayout, heading: str, index: tuple[int, int], first: Int[np.ndarray, " 2"], last: Int[np.ndarray, " 2"]
) -> SmallMap:
    """The map between two corners, (row, column): the first of its tiles, and one beyond the last."""

    def inside(tiles: Int[np.ndarray, "*n 2"], room: int) -> np.ndarray:
        return np.asarray(((tiles >= first) & (tiles < last + room)).all(-1))

    states = np.flatnonzero(inside(grid.place, 0))
    rows = tuple(row[first[1] : last[1]] for row in grid.rows[first[0] : last[0]])
    walls = grid.walls[inside(grid.walls, 1).all(-1)] - first
    marks = {kind: tiles[inside(tiles, 0)] - first for kind, tiles in grid.marks.items()}
    names = tuple(grid.names[state] for state in states) if grid.names else ()
    return SmallMap(heading, *index, states, GridLayout(rows, grid.place[states] - first, walls, marks, names=names))


def start_maps(mdp: TabularMDP, maps: Sequence[SmallMap]) -> list[SmallMap]:
    """Return the maps on which an episode can start."""
    return [each for each in maps if mdp.start[each.states].sum() > 0]


def mean_over_starts(
    mdp: TabularMDP, maps: Sequence[SmallMap], values: Float[np.ndarray, "*batch S"]
) -> Float[np.ndarray, "*batch m"]:
    """Return for each map the mean of values of states, over the states that an episode starts in there, by their probability.

    Args:
        mdp: gives the probability of each start.
        maps: that episodes can start on (`start_maps`).
        values: of every state.
    """
    starts = [mdp.start[each.states] for each in maps]
    return np.stack([values[..., each.states] @ (start / start.sum()) for each, start in zip(maps, starts, strict=True)], -1)


def maps_on_path(maps: Sequence[SmallMap], states: Int[np.ndarray, " n"]) -> list[SmallMap]:
    """Return the maps that a path leads through, in its order, each once."""
    drawn = [next((each for each in maps if state in each.states), None) for state in states]
    return [each for each in dict.fromkeys(drawn) if each is not None]


def likeliest_drive(mdp: TabularMDP, policy: Float[np.ndarray, "S A"], state: int) -> Int[np.ndarray, " n"]:
    """Return the states of the drive in which the likeliest action and outcome follow each other, until it ends or turns back.

    Args:
        mdp: the MDP.
        policy: pi(a|s).
        state: where it starts.

    Example:
        >>> likeliest_drive(TabularMDP.from_map(["SFG"]), np.eye(4)[[2, 2, 2]], 0).tolist()
        [0, 1]
    """
    states: list[int] = []
    while not mdp.terminal[state] and state not in states:
        states.append(state)
        action = int(policy[state].argmax())
        state = int(mdp.next_state[state, action, mdp.probability[state, action].argmax()])
    return np.array(states, int)
