"""What a language model would do on every tile, asked by a prefix that leads there.

On the human's path the prefix is the human's own; to a tile off the path it is a shortest one. The model's probabilities of
the four moves and of the end can then be compared with T*(a|s), which breadth-first search knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.language.lakes import Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import END_ACTION, MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy, model_settings
from ift_gridworld.language.prompt_cache import logits_at

__all__ = ["Probes", "action_probabilities", "entropy_at_temperatures", "mean_entropy", "probe_probabilities"]


@dataclass(frozen=True, eq=False)
class Probes:
    """X prefixes that lead to tiles, and what is optimal there.

    Attributes:
        lake: index of each probe's lake.
        moves: moves that lead to the tile.
        tile: the tile.
        target: T* over the four moves and the end.
        on_path: whether the tile is on the human's path.
    """

    lake: Int[np.ndarray, " X"]
    moves: list[list[int]]
    tile: Int[np.ndarray, " X"]
    target: Float[np.ndarray, "X 5"]
    on_path: Bool[np.ndarray, " X"]

    @classmethod
    def of(cls, lakes: Lakes, paths: Int[np.ndarray, "M T"]) -> Probes:
        """Make one probe for each tile that a walk can stand on, the goal included.

        Args:
            lakes: the lakes.
            paths: the human's path to the goal on each.
        """
        lake: list[int] = []
        moves: list[list[int]] = []
        tile: list[int] = []
        on_path: list[bool] = []
        for index in range(len(lakes)):
            human = set(tiles_along(lakes[index : index + 1], paths[index : index + 1])[0].tolist())
            for destination, prefix in _prefixes(lakes, index, paths[index]).items():
                lake.append(index)
                moves.append(prefix)
                tile.append(destination)
                on_path.append(destination in human)
        tiles, lake_index = np.array(tile), np.array(lake)
        target = np.concatenate([lakes.optimal[lake_index, tiles], np.zeros((len(lake_index), 1))], 1)
        target[tiles == lakes.goal[lake_index], END_ACTION] = 1.0
        return cls(lake_index, moves, tiles, target, np.array(on_path))


def _prefixes(lakes: Lakes, index: int, path: Int[np.ndarray, " T"]) -> dict[int, list[int]]:
    """Return moves to each tile: the human's own on the path, elsewhere the first shortest path that is found."""
    tile = int(lakes.start[index])
    prefix: list[int] = []
    human = {tile: prefix}
    for move in path[path >= 0].tolist():
        tile, prefix = int(lakes.next_state[tile, move]), [*prefix, move]
        human.setdefault(tile, prefix)
    walkable = lakes.reachable[index]
    shortest: dict[int, list[int]] = {int(lakes.start[index]): []}
    queue = list(shortest)
    for tile in queue:
        for move in range(lakes.next_state.shape[1]):
            following = int(lakes.next_state[tile, move])
            if following not in shortest and walkable[following]:
                shortest[following] = [*shortest[tile], move]
                queue.append(following)
    return shortest | human


def action_probabilities(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    index: Int[np.ndarray, " X"],
    continuations: Sequence[Sequence[int]],
    actions: Int[np.ndarray, "X A"],
    *,
    rows: int = 256,
) -> Float[np.ndarray, "X A"]:
    """Return the model's probabilities of given tokens after prompts and what follows them.

    Args:
        policy: the model.
        prompts: token ids of prompts, each of which is read once.
        index: prompt of each question.
        continuations: token ids that follow it.
        actions: token ids whose probabilities are wanted.
        rows: largest number of rows in one forward pass.
    """
    result = np.zeros(actions.shape)
    for part, logits in logits_at(policy, prompts, index, continuations, rows=rows):
        result[part] = _chances(logits, actions[part])
    return result


def _chances(logits: Float[Tensor, "K V"], actions: Int[np.ndarray, "K A"]) -> Float[np.ndarray, "K A"]:
    """Return the probabilities of given tokens."""
    return np.take_along_axis(torch.softmax(logits.double(), -1).cpu().numpy(), actions, 1)


def probe_probabilities(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, probes: Probes
) -> Float[np.ndarray, "X 5"]:
    """Return the model's probabilities of the four moves and the end at each probe."""
    continuations, actions = _questions(tokenizer, probes)
    with model_settings(policy):
        return action_probabilities(policy, tokenizer.prompts(lakes), probes.lake, continuations, actions)


def _questions(tokenizer: MoveTokenizer, probes: Probes) -> tuple[list[list[int]], Int[np.ndarray, "X 5"]]:
    """Return the tokens of the moves that lead to each probe, and those of the four moves and the end there."""
    first, later = (np.array(ids) for ids in tokenizer.action_tokens)
    return [tokenizer.encode(moves) for moves in probes.moves], np.stack([later if moves else first for moves in probes.moves])


def mean_entropy(policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, probes: Probes) -> float:
    """Return the entropy of the model's next word in nats, mean over probes; all words but moves and the end count as one."""
    return _mean_entropy(probe_probabilities(policy, tokenizer, lakes, probes))


def entropy_at_temperatures(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, probes: Probes, *, rows: int = 256
) -> Callable[[float], float]:
    """Return `mean_entropy` as a function of the policy's temperature.

    The model runs once, at temperature 1, and its logits [X, V] stay in memory: a temperature only divides them.
    """
    continuations, actions = _questions(tokenizer, probes)
    with model_settings(policy):
        logits_of = logits_at(policy, tokenizer.prompts(lakes), probes.lake, continuations, rows=rows)
        parts = [(part, logits * policy.temperature) for part, logits in logits_of]

    def entropy(temperature: float) -> float:
        chance = np.zeros(actions.shape)
        with model_settings(policy):
            for part, logits in parts:
                chance[part] = _chances(logits / temperature, actions[part])
        return _mean_entropy(chance)

    return entropy


def _mean_entropy(chance: Float[np.ndarray, "X 5"]) -> float:
    """Return the mean entropy in nats of these words and one more, which stands for all others."""
    chance = np.concatenate([chance, np.clip(1 - chance.sum(1, keepdims=True), 0.0, 1.0)], 1)
    return float(-(chance * np.log(np.maximum(chance, 1e-300))).sum(1).mean())
