"""What a language model would do on every tile, asked by a prefix that leads there.

On the human's path the prefix is the human's own; to a tile off the path it is a shortest one. The model's probabilities of
the four moves and of the end can then be compared with T*(a|s), which breadth-first search knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ift_gridworld.language.lakes import Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import END_ACTION, MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy, model_settings

__all__ = ["Probes", "action_probabilities", "mean_entropy", "probe_probabilities"]


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


@torch.no_grad()
def action_probabilities(
    policy: LanguagePolicy, prefixes: Sequence[Sequence[int]], actions: Int[np.ndarray, "X A"], *, rows: int = 256
) -> Float[np.ndarray, "X A"]:
    """Return the model's probabilities of given tokens after each prefix.

    Args:
        policy: the model.
        prefixes: token ids; prefixes of one length are run together.
        actions: token ids whose probabilities are wanted.
        rows: largest number of prefixes in one forward pass.
    """
    device = next(policy.parameters()).device
    result = np.zeros(actions.shape)
    lengths = np.array([len(prefix) for prefix in prefixes])
    for length in np.unique(lengths):
        index = np.flatnonzero(lengths == length)
        for part in np.array_split(index, -(-len(index) // rows)):
            ids = torch.tensor([prefixes[i] for i in part], device=device)[None]
            logits = policy.logits(None, torch.tensor([int(length) - 1], device=device), states=ids)[0, :, 0]
            chance = torch.softmax(logits.double(), -1).cpu().numpy()
            result[part] = np.take_along_axis(chance, actions[part], 1)
    return result


def probe_probabilities(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, probes: Probes
) -> Float[np.ndarray, "X 5"]:
    """Return the model's probabilities of the four moves and the end at each probe."""
    first, later = (np.array(ids) for ids in tokenizer.action_tokens)
    prompts = tokenizer.prompts(lakes)
    prefixes = [[*prompts[i], *tokenizer.encode(moves)] for i, moves in zip(probes.lake, probes.moves, strict=True)]
    actions = np.stack([later if moves else first for moves in probes.moves])
    with model_settings(policy):
        return action_probabilities(policy, prefixes, actions)


def mean_entropy(policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, probes: Probes) -> float:
    """Return the entropy of the model's next word in nats, mean over probes; all words but moves and the end count as one."""
    chance = probe_probabilities(policy, tokenizer, lakes, probes)
    chance = np.concatenate([chance, np.clip(1 - chance.sum(1, keepdims=True), 0.0, 1.0)], 1)
    return float(-(chance * np.log(np.maximum(chance, 1e-300))).sum(1).mean())
