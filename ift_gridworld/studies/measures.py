"""Measures that only a study takes, beside `evaluation.metrics.MEASURES`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ift_gridworld.data import Trajectories
from ift_gridworld.evaluation.estimation import estimate
from ift_gridworld.evaluation.metrics import log_likelihood, measure, tiles_of
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.planning import optimal_policy
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.policies.residual import greedy_action
from ift_gridworld.studies.data import SeedData, trim

__all__ = ["OWN_MEASURES", "estimation_errors", "measure_policies", "mixing_effects"]

OWN_MEASURES: dict[str, str] = {
    "unseen": "probability of moves that no answer takes, mean over the tiles of the preference pairs",
    "bias": "mean |T̂ - T| over steps: how far off the method takes the model's probability of the human's answer to be",
    "gap": "mean total variation between the preference that the method takes the model to have and the model's own",
    "base_bias": "bias on the base policy",
    "base_gap": "gap on the base policy",
    "missed": "share of IFT's predictions that lead to another tile than the human's, mean over checkpoints",
    "right": "of those, the share that is taught a best action of its own (holes left out)",
    "push": "first-order change in distance of the tiles that IFT mixes in and teaches the true tile's action",
}


def measure_policies(
    mdp: TabularMDP,
    policies: Float[np.ndarray, "M P N S A"],
    base: Float[np.ndarray, "N S A"],
    data: Sequence[SeedData],
    only: Sequence[str] | None = None,
) -> dict[str, Float[np.ndarray, "M P N"]]:
    """Return all measures of each seed's policies, or `only` some and the distance; NaN for a policy that has diverged."""
    sound = np.isfinite(policies).all((-2, -1))
    policies = np.where(sound[..., None, None], policies, 1 / mdp.num_actions)
    shown = np.stack([tiles_of(mdp, seed.demonstrations) for seed in data])
    result = measure(mdp, policies, base=base, shown=shown, only=None if only is None else ["distance", *only])
    for side in ("chosen", "rejected"):
        if only is None or f"{side}_logp" in only:
            each = [log_likelihood(policies[..., n, :, :], getattr(seed, side)) for n, seed in enumerate(data)]
            result[f"{side}_logp"] = np.stack(each, -1)
    if only is None or "unseen" in only:
        result["unseen"] = np.stack([_unseen(policies[..., n, :, :], seed) for n, seed in enumerate(data)], -1)
    return {name: np.where(sound, value, np.nan) for name, value in result.items()}


def _unseen(policies: Float[np.ndarray, "*batch S A"], data: SeedData) -> Float[np.ndarray, "*batch"]:
    """Return the probability of moves that neither side of the pairs takes, mean over the tiles of the pairs."""
    demonstrated = np.zeros(policies.shape[-2:], bool)
    for side in (data.chosen, data.rejected):
        demonstrated[side.states[side.mask].numpy(), side.actions[side.mask].numpy()] = True
    tiles = demonstrated.any(-1)
    return np.where(demonstrated, 0.0, policies)[..., tiles, :].sum(-1).mean(-1)


def estimation_errors(
    kind: type[Method[Any]], mdp: TabularMDP, policy: LakePolicy, data: Sequence[SeedData], changes: Mapping[str, Any]
) -> dict[str, Float[np.ndarray, " N"]]:
    """Return bias and gap of what a method takes each seed's policy to be, by that seed's first four answers."""
    residual = {n: changes[n] for n in ("mixing", "prediction", "outcome") if n in changes}
    errors: dict[str, list[float]] = {"bias": [], "gap": []}
    for n, seed in enumerate(data):
        shown = seed.chosen if kind.needs == "pairs" else seed.demonstrations
        answers, stale = (trim(batch[:4]) for batch in (shown, seed.rejected))
        if not all(torch.isfinite(p[n]).all() for p in policy.parameters()):
            values = {"bias": np.nan, "gap": np.nan}
        else:
            estimated = estimate(kind.assumed_prior, mdp, policy.members([n]), answers, stale=stale, **residual)
            bias, gap = np.abs(estimated.bias)[0][estimated.mask], estimated.gap[0][estimated.mask]
            values = {"bias": bias.mean(), "gap": np.nanmean(gap)}
        for name, value in values.items():
            errors[name].append(float(value))
    return {name: np.array(each) for name, each in errors.items()}


def mixing_effects(
    mdp: TabularMDP, policies: Float[np.ndarray, "M P N S A"], shown: Sequence[Trajectories]
) -> dict[str, Float[np.ndarray, "P N"]]:
    """Measure what IFT's mixing teaches the tiles that it mixes in, mean over the checkpoints.

    The prediction made on the human's tile leads, by the most likely action, to a tile; if it is not the human's next one, it
    is taught the human's next action all the same.

    Returns:
        missed: the share of predictions that lead elsewhere.
        right: of those, holes and the goal left out, the share for which the action is a best one there too (NaN where there is
            none).
        push: by how much the mean squared distance of the tile's row to T* changes, to first order, for a unit step of its
            logits along the gradient of the action's log-probability; 0 where nothing is missed; mean over predictions.

        All are NaN for a policy that has diverged at any checkpoint.
    """
    best, transition = optimal_policy(mdp), mdp.transition
    effects: dict[str, list[np.ndarray]] = {"missed": [], "right": [], "push": []}
    for n, batch in enumerate(shown):
        follows = (batch.mask[:, 1:] & batch.mask[:, :-1]).numpy()
        if not follows.any():  # answers of one step: nothing is predicted
            for name, value in (("missed", 0.0), ("right", np.nan), ("push", 0.0)):
                effects[name].append(np.full(policies.shape[1], value))
            continue
        steps = [x.numpy()[follows] for x in (batch.states[:, :-1], batch.states[:, 1:], batch.actions[:, 1:])]
        (here, following, action), weight = np.unique(np.stack(steps), axis=1, return_counts=True)
        share = weight / weight.sum()
        policy = policies[:, :, n]
        policy = np.where(np.isfinite(policy), policy, 1 / mdp.num_actions)
        with np.errstate(divide="ignore"):
            predicted = greedy_action(torch.as_tensor(np.log(policy[..., here, :])))
        reached = transition[here, predicted.numpy()]  # [M, P, K, S]
        elsewhere = np.where(np.arange(mdp.num_states) == following[:, None], 0.0, reached)
        walked = np.where(mdp.terminal, 0.0, elsewhere)
        rightly = np.einsum("mpks,ks,k->mp", walked, (best[:, action].T > 0).astype(float), share).sum(0)
        total = np.einsum("mpks,k->mp", walked, share).sum(0)
        changed = _change_of_distance(policy, best)[..., action]  # [M, P, S, K]
        effects["missed"].append(np.einsum("mpks,k->mp", elsewhere, share).mean(0))
        effects["right"].append(np.divide(rightly, total, out=np.full(total.shape, np.nan), where=total > 1e-12))
        effects["push"].append(np.einsum("mpks,mpsk,k->mp", walked, changed, share).mean(0))
    sound = np.isfinite(policies).all((0, -2, -1))
    return {name: np.where(sound, np.stack(values, -1), np.nan) for name, values in effects.items()}


def _change_of_distance(
    policy: Float[np.ndarray, "*batch S A"], best: Float[np.ndarray, "S A"]
) -> Float[np.ndarray, "*batch S A"]:
    """Return the derivative of each row's mean_b (π_b - T*_b)² along the gradient of log π_a in its logits, for each action a.

    The gradient g is e_a - π, and dπ_b = π_b (g_b - Σ_c π_c g_c).
    """
    along = np.eye(policy.shape[-1]) - policy[..., None, :]  # [..., S, a, b]
    moved = policy[..., None, :] * (along - (policy[..., None, :] * along).sum(-1, keepdims=True))
    return 2 * ((policy - best)[..., None, :] * moved).mean(-1)
