"""Whether an answer crosses its lake, the exact reward that it earns, and what a teacher would do at each of its steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.choices import Teacher
from ift_gridworld.data.demonstrator import SUBOPTIMAL_NOISE
from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import END_ACTION, INVALID, MoveTokenizer

__all__ = ["RewardFunction", "TeacherFunction", "exact_reward", "exact_teacher", "outcome"]

# (rows of the data set [B], token ids of their answers [B, T]) -> reward of each answer, [B]
RewardFunction = Callable[[Int[np.ndarray, " B"], Int[np.ndarray, "B T"]], Float[np.ndarray, " B"]]

# (rows of the data set [B], token ids of their answers [B, T], who is asked) -> token ids of the K actions that the teacher
# may take at the first step and at later ones, [2, K], and its probability of each at each step, [B, T, K]; all 0 where the
# answer has gone where the teacher knows nothing to do
TeacherFunction = Callable[
    [Int[np.ndarray, " B"], Int[np.ndarray, "B T"], Teacher], tuple[Int[np.ndarray, "2 K"], Float[np.ndarray, "B T K"]]
]


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


def exact_teacher(lakes: Lakes, tokenizer: MoveTokenizer) -> TeacherFunction:
    """Return the teacher of a set of lakes: it moves nearer to the goal, all shortest ways alike, and ends on the goal.

    The sub-optimal demonstrator makes a random move half of the time before the goal. Neither knows what to do in a hole, after
    a word that is no move, or once the answer should have ended.
    """

    def teach(
        index: Int[np.ndarray, " B"], tokens: Int[np.ndarray, "B T"], teacher: Teacher
    ) -> tuple[Int[np.ndarray, "2 K"], Float[np.ndarray, "B T K"]]:
        moves, _ = tokenizer.decode(tokens)
        tiles = tiles_along(lakes[index], moves)[:, :-1]
        at_goal = tiles == lakes.goal[index, None]
        optimal = lakes.optimal[index[:, None], tiles]
        noise = SUBOPTIMAL_NOISE if teacher == "demonstrator" else 0.0
        knows = optimal.sum(-1, keepdims=True) > 0
        chances = np.concatenate([((1 - noise) * optimal + noise / END_ACTION) * knows, at_goal[..., None]], -1)
        goes_on = (moves >= 0) & knows[..., 0]  # after another word, the goal or a hole the answer should have been over
        before = np.concatenate([np.ones((len(moves), 1), bool), goes_on[:, :-1]], 1).cumprod(1)
        return np.array(tokenizer.action_tokens), chances * before[..., None]

    return teach
