"""Exact rewards of answers on their lakes, and what a teacher would do at each of their steps.

`reach_goal`, `shortest_path` and `optimal_mass` are reward functions of texts, with the signature of TRL's `GRPOTrainer`::

    GRPOTrainer(model, reward_funcs=[reach_goal, optimal_mass], train_dataset=lake_dataset()["train"])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.choices import Teacher
from ift_gridworld.data.demonstrator import SUBOPTIMAL_NOISE
from ift_gridworld.envs.maps import Rows
from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import END_ACTION, INVALID, MoveTokenizer
from ift_gridworld.language.text import Text, form_of, read_map_of, text_of

__all__ = [
    "RewardFunction", "TeacherFunction", "exact_reward", "exact_teacher", "optimal_mass", "outcome", "reach_goal",
    "shortest_path",
]  # fmt: skip

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


# ---- rewards of texts ----


def reach_goal(prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
    """Return 1 for each completion that leads to the goal and stops there, else 0.

    Nothing but moves may be written: the words that the prompt asks for, with white space between them.

    >>> reach_goal(["S F / H G :"] * 3, [" R D", " D R", " R"])
    [1.0, 0.0, 0.0]

    Args:
        prompts: texts or messages that end with a map (`text.read_map_of`).
        completions: an answer to each, a text or messages.
        columns: further columns of the data set, as TRL passes them. A column `lake`, maps such as ``"SF/HG"``, takes the
            place of the maps in the prompts.

    Raises:
        ValueError: if a prompt has no map, and there is no column `lake`.
    """
    return [float(_judged(*asked)[0]) for asked in _asked(prompts, completions, columns)]


def shortest_path(prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
    """Return 1 for each completion that leads to the goal by a shortest path and stops there, else 0.

    >>> shortest_path(["S F / F G :"] * 3, [" R D", " D R", " R L R D"])
    [1.0, 1.0, 0.0]

    Args:
        prompts, completions, columns: as for `reach_goal`.
    """
    return [float(right and extra == 0) for right, extra in (_judged(*a) for a in _asked(prompts, completions, columns))]


def optimal_mass(prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
    """Return the share of each completion's steps that are optimal, that is, lead nearer to the goal.

    Steps are counted up to the goal, a hole, or a word that is no move. That word is a step itself, and so is stopping short
    of the goal; neither is optimal. Steps after the goal do not count (`reach_goal` refuses them). It is the metric ``mass``
    of what was sampled, in place of probabilities.

    >>> optimal_mass(["S F / H G :"] * 4, [" R D", " L R D", " R", ""])
    [1.0, 0.6666666666666666, 0.5, 0.0]

    Args:
        prompts, completions, columns: as for `reach_goal`.
    """
    result = []
    for lake, moves in _asked(prompts, completions, columns):
        tile, steps, optimal = int(lake.start[0]), 0, 0
        for move in (*moves, None):
            if lake.flat[0, tile] in (GOAL_CODE, HOLE_CODE):
                break
            steps += 1
            if move is None or move < 0:
                break
            optimal += bool(lake.optimal[0, tile, move] > 0)
            tile = int(lake.next_state[tile, move])
        result.append(optimal / steps)
    return result


def _asked(prompts: Sequence[Text], completions: Sequence[Text], columns: dict[str, Any]) -> list[tuple[Lakes, list[int]]]:
    """Return the lake of each prompt, and the moves of each completion, `INVALID` for a word that is no move."""
    maps, result = columns.get("lake") or [None] * len(prompts), []
    for prompt, completion, rows in zip(prompts, completions, maps, strict=True):
        words = form_of(prompt).moves
        moves = [words.index(word) if word in words else INVALID for word in text_of(completion).split()]
        result.append((_lake(read_map_of(prompt) if rows is None else tuple(rows.split("/"))), moves))
    return result


@lru_cache(maxsize=1024)  # a group of answers has one lake
def _lake(rows: Rows) -> Lakes:
    return Lakes.of([rows])


def _judged(lake: Lakes, moves: list[int]) -> tuple[bool, int]:
    """Return whether a path is right, and how many moves it took too many (`outcome`)."""
    right, extra = outcome(lake, np.array([moves], int).reshape(1, -1), np.array([True]))
    return bool(right[0]), int(extra[0])
