"""How near a language model is to the optimal policy: the lake's exact metrics, for a model that reads the lake as text."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.data import generators
from ift_gridworld.language.lakes import NO_MOVE, UNREACHABLE, Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import END_ACTION, MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy, eval_mode, model_settings
from ift_gridworld.language.probes import Probes, probe_probabilities
from ift_gridworld.language.rewards import outcome
from ift_gridworld.language.walks import repeat_lakes, sample_paths, slippery_success, step_probabilities

__all__ = ["METRICS", "measure", "optimal_mass"]

METRICS: dict[str, str] = {
    "greedy": "share of lakes on which the likeliest tokens lead to the goal and end there",
    "shortest": "share of lakes on which they do so by a shortest path",
    "sampled": "probability that a sampled answer leads to the goal and ends there",
    "slips": "the same for sampled moves of which a tenth slips sideways, until the goal or a hole is reached",
    "mass": "probability of optimal moves at each step of sampled answers, mean over steps",
    "distance": "mean squared difference between the probabilities of moves and end and T*, over tiles before the goal",
    "distance_on": "the same over the human's path",
    "distance_off": "the same over all other tiles",
    "end": "probability of the end token on the goal, after the human's path",
}


def measure(
    policy: LanguagePolicy,
    tokenizer: MoveTokenizer,
    lakes: Lakes,
    paths: Int[np.ndarray, "M T"],
    *,
    probes: Probes | None = None,
    samples: int = 4,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " M"]]:
    """Return all `METRICS` on each lake; NaN where a lake has no such tile.

    Args:
        policy: the model.
        tokenizer: the model's moves as tokens.
        lakes: held-out lakes.
        paths: the human's path on each.
        probes: `Probes.of` lakes and paths, if they have been made before.
        samples: number of answers sampled on each lake.
        limit: largest number of tokens of an answer (default: twice the longest shortest path, and two).
        seed: seed of the samples.

    Example::

        task = Task(maps=100, held_out=20)
        lakes, paths = task.lakes["held_out"], task.paths["held_out"]
        measure(policy, tokenizer, lakes, paths)["greedy"].mean()
    """
    probes = Probes.of(lakes, paths) if probes is None else probes
    limit = limit or 2 * int(lakes.distance[np.arange(len(lakes)), lakes.start].max()) + 2
    result: dict[str, np.ndarray] = {}
    with model_settings(policy), eval_mode(policy):
        chance = probe_probabilities(policy, tokenizer, lakes, probes)
        squared = ((chance - probes.target) ** 2).mean(1)
        goal = probes.tile == lakes.goal[probes.lake]
        for name, index in (
            ("distance", ~goal),
            ("distance_on", ~goal & probes.on_path),
            ("distance_off", ~goal & ~probes.on_path),
        ):
            result[name] = _group_mean(probes.lake[index], squared[index], len(lakes))
        result["end"] = _group_mean(probes.lake[goal], chance[goal, END_ACTION], len(lakes))

        moves, ended = sample_paths(policy, tokenizer, lakes, limit)
        right, extra_moves = outcome(lakes, moves, ended)
        result["greedy"], result["shortest"] = right.astype(float), (right & (extra_moves == 0)).astype(float)
        generator, repeated = generators(seed, 1)[0], repeat_lakes(lakes, samples)
        moves, ended = sample_paths(policy, tokenizer, repeated, limit, generator)
        sampled = {
            "sampled": outcome(repeated, moves, ended)[0],
            "mass": optimal_mass(policy, tokenizer, repeated, moves),
            "slips": slippery_success(policy, tokenizer, repeated, limit, generator),
        }
    result |= {name: values.reshape(samples, -1).mean(0) for name, values in sampled.items()}
    return {name: result[name] for name in METRICS}


def optimal_mass(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, moves: Int[np.ndarray, "M T"]
) -> Float[np.ndarray, " M"]:
    """Return the probability of optimal moves, mean over the steps of a walk until the goal, a hole or a word that is no move.

    Args:
        policy: the model.
        tokenizer: the model's moves as tokens.
        lakes: the lakes.
        moves: one walk on each (`walks.sample_paths`).
    """
    chance, exists = step_probabilities(policy, tokenizer, lakes, moves)
    tiles = tiles_along(lakes, np.maximum(moves, NO_MOVE))[:, :-1]
    row = np.arange(len(lakes))[:, None]
    # No path leads on from the goal, a hole or a tile that is cut off: what follows does not count.
    distance = lakes.distance[row, tiles]
    counts = exists & np.logical_and.accumulate((distance > 0) & (distance < UNREACHABLE), 1)
    mass = (chance[..., :END_ACTION] * (lakes.optimal[row, tiles] > 0)).sum(-1)
    return (mass * counts).sum(1) / counts.sum(1)


def _group_mean(group: Int[np.ndarray, " X"], values: Float[np.ndarray, " X"], groups: int) -> Float[np.ndarray, " G"]:
    """Return the mean of each group's values; NaN for an empty group."""
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, values, groups)
    return np.divide(total, count, out=np.full(groups, np.nan), where=count > 0)
