"""Reward over-optimisation, exactly: true against learned return over the KL from the base, on lakes small enough to list.

Every episode of a small deterministic lake is listed, so that best-of-n has an exact distribution for any n, and a policy an
exact expected return and KL. The reward is learned from few pairs of the base's own episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ift_gridworld.data import demonstrations, generators, preference_pairs
from ift_gridworld.data.enumeration import enumerate_trajectories
from ift_gridworld.envs.maps import random_map
from ift_gridworld.evaluation.best_of_n import FORMS, Fit, Form, best_of_n, best_of_n_kl, fit_gain
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.reward_model import action_counts, train_reward_model
from ift_gridworld.planning import evaluate_policy, value_iteration
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.lakes import train_lakes

__all__ = ["BEST_OF_N", "NUMBERS", "OPTIMISERS", "Episodes", "OverOptimisation", "measure_over_optimisation"]

LAKES, SIDE, FROZEN, LIMIT = 6, 4, 0.8, 8  # random lakes, tiles a side, share that is no hole, time limit
PAIRS, BETA, UPDATES = 64, 0.01, 400
BEST_OF_N = "best_of_n"
OPTIMISERS: dict[str, Form] = {BEST_OF_N: "best-of-n", "rloo": "reinforcement", "ppo": "reinforcement"}
NUMBERS = np.geomspace(1, 2**16, 33)  # of answers that best-of-n draws
CHECKPOINTS = tuple(sorted({0, *np.geomspace(1, UPDATES, 32).round().astype(int).tolist()}))


@dataclass(frozen=True, eq=False)
class OverOptimisation:
    """Points of every run: of best-of-n one for each of `NUMBERS`, of a trained policy one for each of `CHECKPOINTS`.

    Attributes:
        kl: by optimiser, from the base in nats, [lakes, seeds, points].
        gold, learned: by optimiser, the gain in true and in learned return over the base, as a share of what the best episode
            gains.
        unlimited: by trained method, the learned return, discounted and without the time limit, as a share of the highest.
    """

    kl: dict[str, Float[np.ndarray, "L N K"]]
    gold: dict[str, Float[np.ndarray, "L N K"]]
    learned: dict[str, Float[np.ndarray, "L N K"]]
    unlimited: dict[str, Float[np.ndarray, "L N K"]]

    def fit(self, optimiser: str, form: Form | None = None) -> Fit:
        """Fit a published form (default: the optimiser's own) to the gain in true return at all points of all runs."""
        return fit_gain(self.kl[optimiser].ravel(), self.gold[optimiser].ravel(), form or OPTIMISERS[optimiser])

    def errors(self, optimiser: str, form: Form) -> Float[np.ndarray, " R"]:
        """Return the error of a form that is fitted to each run alone."""
        runs = (values[optimiser].reshape(-1, values[optimiser].shape[-1]) for values in (self.kl, self.gold))
        return np.array([fit_gain(kl, gain, form).error for kl, gain in zip(*runs, strict=True)])

    def table(self) -> list[dict[str, float | str]]:
        """Return a row for each optimiser: its fit, the errors of both forms, and where its runs peak and end."""
        rows: list[dict[str, float | str]] = []
        for name, form in OPTIMISERS.items():
            fit, gold = self.fit(name), self.gold[name]
            other = next(x for x in FORMS if x != form)
            rows.append({
                "optimiser": name, "alpha": fit.alpha, "beta": fit.beta, "error": fit.error, "explained": fit.explained,
                "other_form_error": self.fit(name, other).error,
                "error_of_a_run": float(np.median(self.errors(name, form))),
                "kl": float(self.kl[name][..., -1].mean()), "highest_gain": float(gold.max(-1).mean()),
                "last_gain": float(gold[..., -1].mean()), "last_learned": float(self.learned[name][..., -1].mean()),
                "below_base": float((gold[..., -1] < 0).mean()),
            })  # fmt: skip
        return rows


@dataclass(frozen=True, eq=False)
class Episodes:
    """Every episode of a small deterministic lake.

    Attributes:
        counts: how often each takes each action in each state.
        gold: the true return of each.
    """

    counts: Float[np.ndarray, "M SA"]
    gold: Float[np.ndarray, " M"]

    @classmethod
    def of(cls, mdp: TabularMDP) -> Episodes:
        """List the episodes within the time limit of an MDP whose only chance is the policy's."""
        episodes, chance = enumerate_trajectories(mdp)
        assert bool((chance == 1).all())
        counts = action_counts(episodes[None], mdp)[0].double().numpy()
        return cls(counts, episodes.returns(mdp.discount).numpy())

    def log_chances(self, policies: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch M"]:
        """Return the log-probability of each episode under each policy."""
        rows = policies.astype(float) / policies.sum(-1, keepdims=True, dtype=float)
        return np.log(np.maximum(rows, np.finfo(float).tiny)).reshape(*rows.shape[:-2], -1) @ self.counts.T

    def scores(self, reward: Float[np.ndarray, "S A"]) -> Float[np.ndarray, " M"]:
        """Return the learned return of each episode, its sum of rewards, rounded: the order of a sum is no preference."""
        return np.round(self.counts @ reward.ravel(), 9)


def measure_over_optimisation(
    seeds: int, seed: int, report: Callable[[int, int], None], *, lakes: int = LAKES
) -> OverOptimisation:
    """Optimise a learned reward by best-of-n, RLOO and PPO on random lakes, and measure true return, learned return and KL.

    Args:
        seeds: number of bases, and learned rewards, on each lake.
        seed: the first of them.
        report: takes the number of parts done and of all parts.
        lakes: number of random lakes.
    """
    maps = [random_map(SIDE, frozen=FROZEN, seed=seed * lakes + i) for i in range(lakes)]
    mdps = [TabularMDP.from_map(rows).with_time_limit(LIMIT) for rows in maps]
    parts = len(OPTIMISERS) - 1 + lakes

    base = make_base("mixture", mdps, seeds=seeds, seed=seed)
    trained = {}
    for done, method in enumerate(name for name in OPTIMISERS if name != BEST_OF_N):
        report(done, parts)
        trained[method] = train_on_learned(method, mdps, base.members(range(base.population)), seed)
    rewards = learned_rewards(mdps, base, seed).reshape(lakes, seeds, mdps[0].num_states, mdps[0].num_actions)
    results: dict[str, list[np.ndarray]] = {name: [] for name in OPTIMISERS}
    unlimited: dict[str, list[np.ndarray]] = {name: [] for name in trained}
    for i, mdp in enumerate(mdps):
        report(parts - lakes + i, parts)
        episodes = Episodes.of(mdp)
        for n in range(seeds):
            policies = {method: policies[:, i, n] for method, policies in trained.items()}
            for name, points in measure_run(episodes, rewards[i, n], policies).items():
                results[name].append(points)
            for name, tables in policies.items():
                unlimited[name].append(unlimited_return(mdp, rewards[i, n], tables))
    shaped = {name: np.stack(runs).reshape(lakes, seeds, 3, -1) for name, runs in results.items()}
    kl, gold, learned = ({name: points[..., k, :] for name, points in shaped.items()} for k in range(3))
    every = {name: np.stack(values).reshape(lakes, seeds, -1) for name, values in unlimited.items()}
    return OverOptimisation(kl, gold, learned, every)


def train_on_learned(method: str, mdps: Sequence[TabularMDP], base: LakePolicy, seed: int) -> Float[np.ndarray, "K L N S A"]:
    """Train on a learned reward at a low price of KL; return the policies at `CHECKPOINTS`."""
    return train_lakes(
        method, mdps, base, keep=CHECKPOINTS, seed=seed, reward="preference", pairs=PAIRS, beta=BETA,
        demonstrations=[demonstrations(mdp) for mdp in mdps], preferences=[preference_pairs(mdp) for mdp in mdps],
    )  # fmt: skip


def learned_rewards(mdps: Sequence[TabularMDP], base: LakePolicy, seed: int) -> Float[np.ndarray, "M S A"]:
    """Return the rewards that `train_on_learned` learns: drawn as there, they are the same."""
    return train_reward_model(mdps, base, generators(seed, base.population), pairs=PAIRS).double().numpy()


def measure_run(
    episodes: Episodes, reward: Float[np.ndarray, "S A"], policies: dict[str, Float[np.ndarray, "K S A"]]
) -> dict[str, Float[np.ndarray, "3 K"]]:
    """Return KL, and the shares of the possible gain in true and in learned return, at every point of one base's runs.

    Args:
        episodes: all there are.
        reward: the learned one.
        policies: of each trained method at its checkpoints, the first of them the base.
    """
    score = episodes.scores(reward)
    logs = {name: episodes.log_chances(tables) for name, tables in policies.items()}
    start = next(iter(logs.values()))[0]
    chances = {name: np.exp(log) for name, log in logs.items()}
    base = np.exp(start)
    base /= base.sum()
    chances[BEST_OF_N] = np.stack([best_of_n(base, score, n) for n in NUMBERS])
    divergence = {name: (chances[name] * (log - start)).sum(-1) for name, log in logs.items()}
    divergence[BEST_OF_N] = np.array([best_of_n_kl(base, score, n) for n in NUMBERS])
    points = {}
    for name, kl in divergence.items():
        gains = [(chances[name] @ value - base @ value) / (value.max() - base @ value) for value in (episodes.gold, score)]
        points[name] = np.stack([kl.clip(min=0), *gains])
    return points


def unlimited_return(
    mdp: TabularMDP, reward: Float[np.ndarray, "S A"], policies: Float[np.ndarray, "K S A"]
) -> Float[np.ndarray, " K"]:
    """Return the learned return, discounted and without a time limit, as a share of the highest that a policy can have.

    This is what PPO climbs: it bootstraps where the time limit cuts an episode.
    """
    believed = replace(mdp, reward=np.broadcast_to(reward[..., None], mdp.reward.shape).copy())
    rows = policies.astype(float) / policies.sum(-1, keepdims=True, dtype=float)
    return evaluate_policy(believed, rows) @ mdp.start / float(value_iteration(believed)[0] @ mdp.start)
