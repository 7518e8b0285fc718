"""Likelihood displacement, predicted: what is known of a pair before training against how far its chosen answer falls.

Pairs of walks on many random lakes, a network for each pair. All of them train as one population, for a fixed number of updates
and with every method's own default options, so that what is predicted is not what the options were chosen for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ift_gridworld.data import Trajectories, generators, label_pairs, sample_episodes, stacked
from ift_gridworld.envs.maps import random_map
from ift_gridworld.evaluation.metrics import log_likelihood
from ift_gridworld.evaluation.similarity import ches, rank_correlation, shared_states
from ift_gridworld.evaluation.statistics import mean_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy
from ift_gridworld.policies.lake import MLPPolicy
from ift_gridworld.studies.failures.displacement import pull
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.lakes import train_lakes

__all__ = ["LOSSES", "PREDICTORS", "Displacement", "measure_displacement"]

LOSSES = (
    "dpo", "ipo", "simpo", "orpo", "cpo", "dpop", "kto", "apo_zero", "bco", "nca", "cal_dpo", "chi_po", "tdpo", "robust",
    "hinge", "dpo_sft",
)  # fmt: skip
PREDICTORS = {
    "first order": "first-order change, −∇c·(∇c − ∇r)",
    "ches": "CHES",
    "normalised ches": "CHES, length-normalised",
    "shared": "share of states in common",
    "base": "base log-probability of the chosen",
    "length": "length of rejected less chosen",
    "chosen length": "length of chosen",
}
LAKES, SIDE, FROZEN, LIMIT = 125, 5, 0.8, 20  # random lakes, tiles a side, share that is no hole, longest walk
UPDATES = (5, 20, 100)
NOISE, COMPARED = 0.3, 32  # share of random moves in the walks that are compared; pairs of walks to find one that differs
TOGETHER = 250  # networks that train at once
Pair = tuple[Trajectories, Trajectories]


@dataclass(frozen=True, eq=False)
class Displacement:
    """What pairs were known to be, and what became of them.

    Attributes:
        predictors: by name, a number for each lake and pair; a larger one predicts that the chosen answer falls further.
        chosen, rejected: by method, the change of either answer's log-probability in nats, for each of `updates`, lake, pair.
        updates: numbers of updates, the last of them the last one made.
    """

    predictors: dict[str, Float[np.ndarray, "L N"]]
    chosen: dict[str, Float[np.ndarray, "K L N"]]
    rejected: dict[str, Float[np.ndarray, "K L N"]]
    updates: tuple[int, ...]

    def correlation(self, predictor: str, method: str, checkpoint: int = -1) -> tuple[float, float, float]:
        """Return the rank correlation of a predictor with how far the chosen answer falls, and its interval over lakes."""
        return rank_correlation(self.predictors[predictor], -self.chosen[method][checkpoint])

    def fallen(self, method: str, checkpoint: int = -1) -> tuple[float, float, float]:
        """Return the share of pairs whose chosen answer has become less likely, and its interval over lakes.

        Where it falls on no lake, or always, lakes do not vary; the interval then ends where as many lakes without an exception
        have a probability of 2.5 %.
        """
        shares = (self.chosen[method][checkpoint] < 0).mean(-1)
        mean, low, high = (float(x) for x in mean_interval(shares, bounds=(0, 1)))
        exceptions = 1 - 0.025 ** (1 / len(shares))
        if mean in (0, 1):
            low, high = (0.0, exceptions) if mean == 0 else (1 - exceptions, 1.0)
        return mean, low, high


def measure_displacement(
    seeds: int,
    seed: int,
    report: Callable[[int, int], None],
    *,
    lakes: int = LAKES,
    methods: Sequence[str] = LOSSES,
    updates: tuple[int, ...] = UPDATES,
) -> Displacement:
    """Train a network on each pair by each method, and compare what was known before with what became of its answers.

    Args:
        seeds: number of pairs, and networks, on each lake.
        seed: the first of them.
        report: takes the number of methods done and of all methods.
        lakes: number of random lakes.
        methods: their names.
        updates: after which answers are scored.
    """
    maps = [random_map(SIDE, frozen=FROZEN, seed=seed * lakes + i) for i in range(lakes)]
    mdps = [TabularMDP.from_map(rows).with_time_limit(LIMIT) for rows in maps]
    pairs = draw_pairs(mdps, seeds, seed)
    base = make_base("mixture", mdps, seeds=seeds, seed=seed)
    assert isinstance(base, MLPPolicy)
    sides = [[pair[i] for pair in pairs] for i in (0, 1)]
    predictors = predict(base, *map(stacked, sides))
    before = [answer_log_probs(base.probabilities(), side) for side in sides]
    changes: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = {}, {}
    for done, method in enumerate(methods):
        report(done, len(methods))
        policies = train_pairs(method, mdps, base, pairs, updates, seed)
        for change, side, start in zip(changes, sides, before, strict=True):
            ends = np.stack([answer_log_probs(policy, side) for policy in policies])
            change[method] = (ends - start).reshape(len(updates), lakes, seeds)
    shaped = {name: values.reshape(lakes, seeds) for name, values in predictors.items()}
    return Displacement(shaped, *changes, updates)


def train_pairs(
    method: str, mdps: Sequence[TabularMDP], base: MLPPolicy, pairs: Sequence[Pair], updates: tuple[int, ...], seed: int
) -> Float[np.ndarray, "K M S A"]:
    """Train each member of the base on its own pair; return all policies after each of `updates`.

    Args:
        method: its name.
        mdps: L lakes.
        base: M members, those of the first lake first.
        pairs: one for each member, in the same order; the chosen answer is the demonstration, too.
        updates: after which policies are kept.
        seed: of what is drawn while training.
    """
    seeds = base.population // len(mdps)
    each, parts = max(1, TOGETHER // seeds), []
    for first in range(0, len(mdps), each):
        lakes = mdps[first : first + each]
        members = range(first * seeds, (first + len(lakes)) * seeds)
        own = [pairs[i] for i in members]
        policies = train_lakes(
            method, lakes, base.members(members), keep=updates, demonstrations=[chosen for chosen, _ in own], preferences=own,
            seed=seed + members.start,
        )  # fmt: skip
        parts.append(policies.reshape(len(updates), len(members), *policies.shape[-2:]))
    return np.concatenate(parts, 1)


def draw_pairs(mdps: Sequence[TabularMDP], seeds: int, seed: int) -> list[Pair]:
    """Draw a pair of walks of a noisy optimal walker for each lake and seed: (chosen, rejected), the chosen returns more."""
    table = np.stack([(1 - NOISE) * optimal_policy(mdp) + NOISE / mdp.num_actions for mdp in mdps]).repeat(seeds, 0)
    random = generators(seed, len(table))
    one, two = (sample_episodes(mdps, torch.as_tensor(table), COMPARED, random) for _ in range(2))
    labelled = [label_pairs(one[i], two[i], mdps[0].discount) for i in range(len(table))]
    return [(chosen[:1], rejected[:1]) for chosen, rejected in labelled]


def predict(base: MLPPolicy, chosen: Trajectories, rejected: Trajectories) -> dict[str, Float[np.ndarray, " N"]]:
    """Return `PREDICTORS` of each member's own pair, [N, 1, T]; a larger one predicts a further fall."""
    sums, lengths, visits = [], [], []
    with torch.no_grad():
        for side in (chosen, rejected):
            hidden = base.hidden(side.states) * side.mask[..., None]
            sums.append(hidden.sum((1, 2)).double().numpy())
            lengths.append(side.mask.sum((1, 2)).double().numpy())
            tiles = torch.nn.functional.one_hot(side.states, base.num_states) * side.mask[..., None]
            visits.append(tiles.sum((1, 2)).numpy())
        logp = (base.log_probs(chosen.states, chosen.actions) * chosen.mask).sum((1, 2)).double().numpy()
    means = [total / length[:, None] for total, length in zip(sums, lengths, strict=True)]
    return {
        "first order": -pull(base, chosen, rejected),
        "ches": ches(*sums),
        "normalised ches": ches(*means),
        "shared": shared_states(*visits),
        "base": logp,
        "length": lengths[1] - lengths[0],
        "chosen length": lengths[0],
    }


def answer_log_probs(policies: Float[np.ndarray, "N S A"], answers: Sequence[Trajectories]) -> Float[np.ndarray, " N"]:
    """Return the log-probability of each member's own answer, in nats."""
    return np.array([log_likelihood(policy, answer) for policy, answer in zip(policies, answers, strict=True)])
