"""What the page says of tiles on which no episode goes on. It follows from terminations and rewards, never from the map."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.maps import grid_of, walkable

__all__ = ["tile_words"]


def tile_words(mdp: TabularMDP) -> tuple[list[str], Int[np.ndarray, " S"]]:
    """Return distinct sentences, and which of them is said of each state; the first is empty, for states that go on.

    Args:
        mdp: with a map.

    Example:
        >>> words, which = tile_words(TabularMDP.from_map(["SF", "HG"]))
        >>> [words[i] for i in which[2:]]
        ['The episode ends here, with reward 0.', 'The goal: the episode ends here, with reward 1.']
    """
    possible = (mdp.probability > 0) & ~mdp.terminal[:, None, None]
    words, which = [""], np.zeros(mdp.num_states, int)
    arriving = mdp.next_state.ravel()
    order = np.argsort(arriving, kind="stable")
    bounds = np.searchsorted(arriving[order], np.arange(mdp.num_states + 1))
    for state in np.flatnonzero(~walkable(mdp)):
        outcomes = order[bounds[state] : bounds[state + 1]]
        outcomes = outcomes[possible.ravel()[outcomes]]
        sentence = _entered(mdp, outcomes) if len(outcomes) else _avoided(mdp, int(state), possible)
        if sentence not in words:
            words.append(sentence)
        which[state] = words.index(sentence)
    return words, which


def _entered(mdp: TabularMDP, outcomes: Int[np.ndarray, " n"]) -> str:
    """Of a state that these outcomes (as indices of S A K) lead to."""
    ends, rewards = mdp.terminated.ravel()[outcomes], np.unique(mdp.reward.ravel()[outcomes])
    reward = f"reward {_number(rewards[0])}" if len(rewards) == 1 else f"reward {_number(rewards[0])} to {_number(rewards[-1])}"
    if ends.all():
        goal = "The goal: the" if mdp.success.ravel()[outcomes].all() else "The"
        return f"{goal} episode ends here, with {reward}."
    return f"A step onto it has {reward}, and the episode {'may end' if ends.any() else 'goes on'}."


def _avoided(mdp: TabularMDP, state: int, possible: Bool[np.ndarray, "S A K"]) -> str:
    """Of a state in which no episode ever is: what becomes of a step that is made towards its tile."""
    grid = grid_of(mdp)
    moves = np.abs(mdp.moves).sum(1) > 0
    towards = (grid.place[:, None] + mdp.moves == grid.place[state]).all(-1) & moves
    outcomes = np.argwhere(possible & towards[..., None])
    if not len(outcomes):
        return "No episode comes here."
    results = {
        (int(mdp.next_state[index]), float(mdp.reward[index]), bool(mdp.terminated[index])) for index in map(tuple, outcomes)
    }
    if len(results) > 1:
        return "No episode comes here."
    ((after, reward, ends),) = results
    ending = "ends the episode" if ends else f"leads to {grid.name(after)}, and the episode goes on"
    return f"A step onto it has reward {_number(reward)} and {ending}."


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")
