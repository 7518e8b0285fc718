"""Exact measures of a policy on a lake, no sampling, and intervals over seeds.

The state-action matrix T_theta(a|s) is the policy; the optimal one, T*(a|s), shares ties evenly. Distances are means of
squared differences over the entries of the rows counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import (
    episodes_within,
    evaluate_policy,
    occupancy,
    optimal_policy,
    optimal_success,
    optimal_values,
    success_probability,
)


@runtime_checkable
class Steps(Protocol):
    """A `trajectories.Batch` on the CPU, by shape alone: measuring needs no torch."""

    @property
    def states(self) -> Any: ...

    @property
    def actions(self) -> Any: ...

    @property
    def mask(self) -> Any: ...


STATES_AT_ONCE = 2**14  # whose successors are compared with one another

MEASURES: dict[str, str] = {
    "success": "probability of reaching the goal within the time limit",
    "return": "expected discounted return from the start, no time limit",
    "regret": "optimal return minus return",
    "distance": "mean squared distance of T(a|s) to T*, over non-terminal tiles",
    "distance_shown": "the same, over the tiles that the human's demonstrations visit",
    "distance_optimal": "the same, weighted by the optimal policy's expected visits",
    "distance_visited": "the same, weighted by the policy's own expected visits",
    "distance_next": "mean squared distance of T(s'|s) to T*, over non-terminal tiles",
    "distance_next_shown": "the same, over the tiles that the human's demonstrations visit",
    "distance_next_optimal": "the same, weighted by the optimal policy's expected visits",
    "distance_next_visited": "the same, weighted by the policy's own expected visits",
    "kl": "expected KL to the base policy over an episode, in nats (discounted where there is no time limit)",
    "tiles": "tiles visited at least once in ten episodes, on average",
    "chosen_logp": "log-likelihood of the preferred trajectory, in nats",
    "rejected_logp": "log-likelihood of the other trajectory, in nats",
}


def measure(
    mdp: TabularMDP,
    policy: Float[np.ndarray, "*batch S A"],
    *,
    base: Float[np.ndarray, "*#batch S A"] | None = None,
    shown: Float[np.ndarray, "*#batch S"] | None = None,
    chosen: Steps | None = None,
    rejected: Steps | None = None,
    only: Sequence[str] | None = None,
) -> dict[str, Float[np.ndarray, "*batch"]]:
    """All of `MEASURES` for policies of any leading dimensions.

    Args:
        mdp: the lake; its discount defines the optimum, its horizon the time limit of success and visits.
        policy: T_theta(a|s).
        base: what "kl" is measured from; left out without it.
        shown: weight of each tile in the human's demonstrations, such as `tiles_of` gives; distances over them are
            left out without it.
        chosen, rejected: trajectories [B, T] whose mean log-likelihood is measured; left out without them.
        only: names of those that are wanted (default: all); what is dear and not wanted is not computed.
    """
    policy = np.asarray(policy, float)
    wanted = set(MEASURES if only is None else only)
    target, walkable = optimal_policy(mdp), ~mdp.terminal
    result: dict[str, Any] = {}
    steps, visits, result["success"] = _episodes(mdp, policy)
    if wanted & {"return", "regret"}:
        result["return"] = evaluate_policy(mdp, policy) @ mdp.start
        result["regret"] = optimal_values(mdp)[0] @ mdp.start - result["return"]
    result["tiles"] = (visits[..., walkable] >= 0.1).sum(-1).astype(float)
    weights = {"": walkable, "_shown": shown, "_optimal": _episodes_of_the_best(mdp)[1], "_visited": visits}
    for what, squared_gap in (("", _gap), ("_next", _next_state_gap)):
        if not any(f"distance{what}{over}" in wanted for over in weights):
            continue
        squared = squared_gap(mdp, policy - target)
        for over, weight in weights.items():
            if weight is not None:
                weight = np.where(walkable, weight, 0.0)
                result[f"distance{what}{over}"] = (squared * weight).sum(-1) / weight.sum(-1)
    if base is not None and "kl" in wanted:
        result["kl"] = (steps * _kl(policy, np.asarray(base, float)))[..., walkable].sum(-1)
    for name, batch in (("chosen_logp", chosen), ("rejected_logp", rejected)):
        if batch is not None and name in wanted:
            result[name] = log_likelihood(policy, batch)
    return {name: result[name] for name in MEASURES if name in result and name in wanted}


def expected_visits(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """How often an episode is in each state; discounted where there is no time limit, or it might be for ever."""
    if mdp.horizon is None:
        return occupancy(mdp, policy)
    return occupancy(mdp, policy, discount=1.0, horizon=mdp.horizon)


def _episodes(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]
) -> tuple[Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch"]]:
    """Steps taken from each state, `expected_visits`, and success within the time limit, if there is one."""
    if mdp.horizon is None:
        visits = occupancy(mdp, policy)
        return visits, visits, np.asarray(success_probability(mdp, policy))
    # What is paid at each step is paid where one is taken: not in the state where the clock runs out.
    return episodes_within(mdp, policy, mdp.horizon)


def _episodes_of_the_best(mdp: TabularMDP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those of `optimal_policy`; every measure asks for them, so they are computed once for an MDP."""
    if mdp not in _walked_by_the_best:
        _walked_by_the_best[mdp] = _episodes(mdp, optimal_policy(mdp))
    return _walked_by_the_best[mdp]


_walked_by_the_best: WeakKeyDictionary[TabularMDP, tuple[np.ndarray, np.ndarray, np.ndarray]] = WeakKeyDictionary()


def reference_points(mdp: TabularMDP) -> dict[str, float]:
    """What the best policies reach: their return, and their success with and without the time limit."""
    return {
        "return": float(optimal_values(mdp)[0] @ mdp.start),
        "success": float(_episodes_of_the_best(mdp)[2]),
        "success_best_within_horizon": optimal_success(mdp, mdp.horizon),
    }


def tiles_of(mdp: TabularMDP, trajectories: Steps) -> Float[np.ndarray, "*batch S"]:
    """1 for each tile that the trajectories [..., B, T] step from, 0 elsewhere."""
    states, mask = np.asarray(trajectories.states), np.asarray(trajectories.mask)
    stood = np.zeros((*states.shape[:-2], mdp.num_states))
    *where, row, step = np.nonzero(mask)
    stood[*where, states[*where, row, step]] = 1.0
    return stood


def log_likelihood(policy: Float[np.ndarray, "*batch S A"], trajectories: Steps) -> Float[np.ndarray, "*batch"]:
    """Mean over trajectories [B, T] of sum_t log pi(a_t|s_t), in nats; a probability too small for a float counts as 1e-308."""
    states, actions, mask = (np.asarray(x) for x in (trajectories.states, trajectories.actions, trajectories.mask))
    smallest = np.finfo(float).tiny
    logp = np.where(mask, np.log(np.maximum(policy[..., states, actions], smallest)), 0.0)
    return logp.sum(-1).mean(-1)


def mean_interval(
    values: Float[np.ndarray, "*batch N"], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Mean over seeds and its percentile-bootstrap interval (mean, low, high); with one seed all three are equal.

    The same resamples serve every entry, so that a curve's band is smooth. (scipy's bootstrap does the same; importing it
    takes longer than a whole run here.)
    """
    values = np.asarray(values, float)
    seeds = values.shape[-1]
    mean = values.mean(-1)
    if seeds == 1:
        return mean, mean.copy(), mean.copy()
    picks = np.random.default_rng(seed).integers(0, seeds, (resamples, seeds))
    counts = np.stack([(picks == i).sum(1) for i in range(seeds)]) / seeds  # [N, resamples]
    means = values @ counts
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return mean, low, high


def even_change(steps: Int[np.ndarray, " M"], policies: Float[np.ndarray, "M N S A"], count: int) -> list[int]:
    """At most `count` of the snapshots, with the first and the last, between which about equally much changes.

    Three quarters of the way is the policies' own, mean |T_θ(a|s) - T_θ'(a|s)|; one quarter is the square root of time, so that
    standing still is seen too. A film of them neither leaps nor drags.
    """
    if len(steps) <= count:
        return list(range(len(steps)))
    moved = [np.abs(after - before).mean() for before, after in pairwise(policies)]  # by pairs: they may be large
    way = np.concatenate([[0.0], np.cumsum(moved)])
    clock = np.sqrt(steps / steps[-1])
    position = 0.75 * way / way[-1] + 0.25 * clock if way[-1] > 0 else clock
    nearest = np.abs(position - np.linspace(0, 1, count)[:, None]).argmin(1)
    return sorted({0, len(steps) - 1, *map(int, nearest)})


def _gap(mdp: TabularMDP, gap: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Mean over a of (T_theta(a|s) - T*(a|s))²."""
    return np.mean(gap**2, -1)


def _next_state_gap(mdp: TabularMDP, gap: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Mean over s' of (T_theta(s'|s) - T*(s'|s))², without a dense matrix: only a state's few successors differ."""
    total = np.zeros(gap.shape[:-1])
    for part in (slice(i, i + STATES_AT_ONCE) for i in range(0, mdp.num_states, STATES_AT_ONCE)):
        flow = gap[..., part, :, None] * mdp.probability[part]  # [..., S, A, K]
        flow, successor = flow.reshape(*flow.shape[:-2], -1), mdp.next_state[part].reshape(flow.shape[-3], -1)
        same = successor[:, :, None] == successor[:, None, :]  # slots of a state that lead to one place are added up
        merged = np.einsum("...sj,sjk->...sk", flow, same, optimize=True)
        total[..., part] = (merged**2 / same.sum(-1)).sum(-1)
    return total / mdp.num_states


def _kl(policy: Float[np.ndarray, "*batch S A"], base: Float[np.ndarray, "*#batch S A"]) -> Float[np.ndarray, "*batch S"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(policy > 0, policy * (np.log(policy) - np.log(base)), 0.0).sum(-1)
