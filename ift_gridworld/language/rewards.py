"""Whether an answer crosses its lake, and the exact reward that it earns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import INVALID, MoveTokenizer

__all__ = ["RewardFunction", "exact_reward", "outcome"]

# (rows of the data set [B], token ids of their answers [B, T]) -> reward of each answer, [B]
RewardFunction = Callable[[Int[np.ndarray, " B"], Int[np.ndarray, "B T"]], Float[np.ndarray, " B"]]


def outcome(
    lakes: Lakes, moves: Int[np.ndarray, "M T"], ended: Bool[np.ndarray, " M"]
) -> tuple[Bool[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    """Judge one answer on each lake.

    An answer is right if it leads to the goal through no hole, has no word that is no move, and ends on the goal.

    >>> outcome(Lakes.of([("SFG", "FHF")]), np.array([[2, 2, -1]]), np.array([True]))
    (array([ True]), array([0]))

    Args:
        lakes: the lakes.
        moves: the moves, negative where there is none (`MoveTokenizer.decode`).
        ended: whether each answer has an end token.

    Returns:
        Whether each answer is right, and the number of moves it took beyond a shortest path (negative if it stopped early).
    """
    is_move = moves >= 0
    row = np.arange(len(lakes))
    letters = lakes.flat[row[:, None], tiles_along(lakes, moves)]
    arrived = letters[:, -1] == GOAL_CODE
    moved_on = ((letters[:, :-1] == GOAL_CODE) & is_move).any(1)  # it left the goal, or tried to
    drowned = (letters == HOLE_CODE).any(1)
    right = arrived & ended & ~moved_on & ~drowned & (moves != INVALID).all(1)
    return right, is_move.sum(1) - lakes.distance[row, lakes.start]


def exact_reward(lakes: Lakes, tokenizer: MoveTokenizer, *, detour: float = 0.9) -> RewardFunction:
    """Return the reward function of a set of lakes: 1 for a right answer, times `detour` for each move too many, else 0."""

    def reward(index: Int[np.ndarray, " B"], tokens: Int[np.ndarray, "B T"]) -> Float[np.ndarray, " B"]:
        right, extra_moves = outcome(lakes[index], *tokenizer.decode(tokens))
        return np.where(right, detour ** np.maximum(extra_moves, 0), 0.0)

    return reward
