"""Kinds of tiles, read from the MDP: goals, holes that end the episode, cliffs that send the agent back.

A layout's letters say how somebody drew an environment, not how it works: an episode may go on from a tile called H, and a
cliff may end it or not. Pictures and words go by the layout that `drawn_grid` returns, whose letters follow from the MDP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.envs.grid import NOWHERE, GridLayout
from ift_gridworld.mdp import TabularMDP

__all__ = ["TileWords", "drawn_grid", "tile_words"]

GROUND = "SFrgyb"  # letters of tiles that an agent walks on


@dataclass(frozen=True)
class TileWords:
    """A kind of tile in words.

    Attributes:
        name: such as "hole".
        effect: what happens there, such as "ends the episode".
    """

    name: str
    effect: str


def drawn_grid(mdp: TabularMDP) -> GridLayout | None:
    """Return the layout of an MDP with the letters that follow from it; None where it has no layout.

    G is an end that is a success or pays, H any other end. C is a tile that no move leads to although one points there. S is a
    start, unless the layout has another letter for ground there. What is left is ground.

    Example:
        >>> drawn_grid(TabularMDP.make("CliffWalking-v1")).rows[-1]
        'SCCCCCCCCCCG'
    """
    if mdp not in _drawn_grids:
        _drawn_grids[mdp] = _with_letters(mdp)
    return _drawn_grids[mdp]


_drawn_grids: WeakKeyDictionary[TabularMDP, GridLayout | None] = WeakKeyDictionary()


def _with_letters(mdp: TabularMDP) -> GridLayout | None:
    grid = mdp.grid
    if grid is None or (mdp.origin is not None and mdp.origin.rows is not None):  # a lake that was built from its letters
        return grid
    kinds = {"G": _goals(mdp), "H": mdp.terminal & ~_goals(mdp), "C": _barred(mdp, grid)}
    drawn, starts = grid.place[:, 0] != NOWHERE, mdp.start > 0
    tiles, open_tiles = grid.tiles.copy(), drawn & ~np.logical_or.reduce(list(kinds.values()))
    for letter in "CHG":  # a tile of several states is what the last of these makes of it
        tiles[tuple(grid.place[drawn & kinds[letter]].T)] = letter
    for state in np.flatnonzero(open_tiles):
        place = tuple(grid.place[state])
        own = str(grid.tiles[place])
        tiles[place] = own if own in GROUND.replace("S", "") else "F"
    for state in np.flatnonzero(open_tiles & starts):
        place = tuple(grid.place[state])
        if grid.tiles[place] not in GROUND.replace("S", "") or starts.sum() == 1:
            tiles[place] = "S"
    rows = tuple("".join(row) for row in tiles)
    return grid if rows == grid.rows else replace(grid, rows=rows)


def _possible(mdp: TabularMDP) -> Bool[np.ndarray, "S A K"]:
    return (mdp.probability > 0) & ~mdp.terminal[:, None, None]


def _goals(mdp: TabularMDP) -> Bool[np.ndarray, " S"]:
    """States that an episode ends in with a success, or with a reward above 0."""
    goals = np.zeros(mdp.num_states, bool)
    goals[mdp.next_state[mdp.success | (_possible(mdp) & mdp.terminated & (mdp.reward > 0))]] = True
    return goals & mdp.terminal


def _barred(mdp: TabularMDP, grid: GridLayout) -> Bool[np.ndarray, " S"]:
    """States that nothing leads to, though a move from another tile points there."""
    barred = np.zeros(mdp.num_states, bool)
    barred[_pointed(mdp, grid)[2]] = True
    return barred


def _pointed(mdp: TabularMDP, grid: GridLayout) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return states, moves, and the states that nothing leads to, on whose tiles those moves point."""
    itself = np.arange(mdp.num_states)
    entered = np.zeros(mdp.num_states, bool)
    entered[mdp.next_state[_possible(mdp) & (mdp.next_state != itself[:, None, None])]] = True
    drawn = grid.place[:, 0] != NOWHERE
    unused = drawn & ~entered & ~mdp.terminal & (mdp.start == 0)
    standing = np.full((grid.height, grid.width), NOWHERE)  # the unused state of each tile
    standing[tuple(grid.place[unused].T)] = np.flatnonzero(unused)
    standing[tuple(grid.place[drawn & ~unused].T)] = NOWHERE
    state, action = np.nonzero((drawn & ~unused & ~mdp.terminal)[:, None] & mdp.moves.any(-1))
    target = grid.place[state] + mdp.moves[action]
    inside = ((target >= 0) & (target < (grid.height, grid.width))).all(-1)
    state, action, target = state[inside], action[inside], target[inside]
    hit = standing[tuple(target.T)]
    return state[hit != NOWHERE], action[hit != NOWHERE], hit[hit != NOWHERE]


# ---- in words ----


def tile_words(mdp: TabularMDP) -> dict[str, TileWords]:
    """Return what the tiles of each letter of `drawn_grid` are and do, for G, H and C as far as there are any.

    Example:
        >>> words = tile_words(TabularMDP.make("CliffWalking-v1"))
        >>> words["C"].name, words["C"].effect
        ('cliff', 'back to the start, reward −100')
    """
    grid = drawn_grid(mdp)
    words: dict[str, Callable[[], TileWords]] = {
        "G": lambda: TileWords("goal", _ending(mdp, _goals(mdp))),
        "H": lambda: TileWords("hole", _ending(mdp, mdp.terminal & ~_goals(mdp))),
        "C": lambda: _cliff_words(mdp),
    }
    return {} if grid is None else {letter: make() for letter, make in words.items() if (grid.tiles == letter).any()}


def _ending(mdp: TabularMDP, states: Bool[np.ndarray, " S"]) -> str:
    leads = _possible(mdp) & mdp.terminated & states[mdp.next_state]
    return f"ends the episode{_paying(mdp.reward[leads])}"


def _cliff_words(mdp: TabularMDP) -> TileWords:
    """Describe where an agent is sent that moves onto a tile that nothing leads to."""
    grid = drawn_grid(mdp)
    assert grid is not None
    state, action, target = _pointed(mdp, grid)
    successor, reward = mdp.next_state[state, action], mdp.reward[state, action]
    away = np.abs(grid.place[successor] - grid.place[target][:, None]).sum(-1)
    # Outcomes that no step explains: elsewhere than on the tile itself and on those that can be stepped to from there.
    near = np.abs(grid.place[successor] - grid.place[state][:, None]).sum(-1) <= 1
    sent = (mdp.probability[state, action] > 0) & (away > 0) & ~near
    if not sent.any():
        return TileWords("wall", "no way in")
    is_start = bool((mdp.start[successor[sent]] > 0).all())
    return TileWords("cliff", ("back to the start" if is_start else "sent elsewhere") + _paying(reward[sent]))


def _paying(reward: Float[np.ndarray, " n"]) -> str:
    """Return what that pays, in words that follow others; nothing where it pays nothing."""
    if not reward.any():
        return ""
    ends = [f"{x:g}".replace("-", "−") for x in dict.fromkeys((float(reward.min()), float(reward.max())))]
    return f", reward {' to '.join(ends)}"
