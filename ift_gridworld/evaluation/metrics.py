"""Exact measures of a policy on a lake, without sampling, and intervals over seeds.

The state-action matrix T_θ(a|s) is the policy; the optimal one, T*(a|s), shares ties evenly. Distances are means of squared
differences over the entries of the rows that count. `MEASURES` names all measures. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.checks import check_mdp
from ift_gridworld.evaluation.frontier import frontier_gap, kl_from_base
from ift_gridworld.evaluation.statistics import mean_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import (
    episodes_within,
    evaluate_policy,
    occupancy,
    optimal_policy,
    optimal_success,
    optimal_values,
    success_from,
    success_probability,
)

__all__ = [
    "MEASURES", "ON_REQUEST", "RANGES", "Steps", "affordable_metrics", "even_change", "expected_visits", "log_likelihood",
    "mean_interval", "measure", "metric_descriptions", "metric_interval", "reference_points", "register_metric", "tiles_of",
    "unregister_metric",
]  # fmt: skip


@runtime_checkable
class Steps(Protocol):
    """Anything shaped like a `data.Batch` on the CPU, so that measuring needs no torch."""

    @property
    def states(self) -> Any: ...

    @property
    def actions(self) -> Any: ...

    @property
    def mask(self) -> Any: ...


STATES_AT_ONCE = 2**14  # states whose successors are compared with one another at once

MEASURES: dict[str, str] = {
    "success": "probability of reaching the goal within the time limit",
    "success_any_tile": "the same, mean over all non-terminal tiles that an episode may start from",
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
    "kl_discounted": "the same, discounted as the return is, no time limit",
    "frontier_gap": "highest return of any policy at the same kl_discounted (`evaluation.frontier`) minus the return",
    "tiles": "tiles visited at least once in ten episodes, on average",
    "chosen_logp": "log-likelihood of the preferred trajectory, in nats",
    "rejected_logp": "log-likelihood of the other trajectory, in nats",
}

# Computed only if they are named: they take as long as all others together.
ON_REQUEST = ("success_any_tile", "kl_discounted", "frontier_gap")
SMALL = 1024  # states up to which training requests them

RANGES: dict[str, tuple[float, float]] = {  # of measures whose values cannot be any number
    "success": (0, 1), "success_any_tile": (0, 1), "distance": (0, 1), "regret": (0, np.inf), "kl": (0, np.inf),
    "kl_discounted": (0, np.inf), "frontier_gap": (0, np.inf), "tiles": (0, np.inf),
    "chosen_logp": (-np.inf, 0), "rejected_logp": (-np.inf, 0),
}  # fmt: skip

Metric = Callable[[TabularMDP, Float[np.ndarray, "*batch S A"]], Float[np.ndarray, "*batch"]]


@dataclass(frozen=True)
class _Registered:
    function: Metric
    description: str


_REGISTERED: dict[str, _Registered] = {}


def register_metric(name: str, function: Metric, description: str = "") -> None:
    """Register a metric of your own, which every run then measures, saves, prints and draws.

    Args:
        name: a Python identifier that no other metric has.
        function: of an MDP and policies T(a|s) of any leading dimensions, [..., S, A]; gives one number each, [...].
        description: what it is, in words.

    Raises:
        ValueError: for a name that is taken or no identifier, or what is no function.

    >>> register_metric("left", lambda mdp, policy: policy[..., 0].mean(-1), "mean probability of going left")
    >>> from ift_gridworld import TabularMDP
    >>> mdp = TabularMDP.make("two-paths")
    >>> float(measure(mdp, np.full((16, 4), 0.25))["left"])
    0.25
    >>> unregister_metric("left")
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"the name of a metric is {name!r}; allowed: an identifier such as my_metric")
    if name in MEASURES or name in _REGISTERED:
        raise ValueError(f"a metric named {name!r} is registered already; allowed: another name")
    if not callable(function):
        raise ValueError(f"metric {name!r} is {function!r}; allowed: a function of an MDP and a policy")
    _REGISTERED[name] = _Registered(function, description)


def unregister_metric(name: str) -> None:
    """Forget a registered metric.

    >>> register_metric("width", lambda mdp, policy: policy.max(-1).mean(-1))
    >>> unregister_metric("width")
    >>> "width" in metric_descriptions()
    False
    """
    _REGISTERED.pop(name, None)


def metric_descriptions() -> dict[str, str]:
    """Return what each metric is, built-in ones first.

    >>> metric_descriptions()["regret"]
    'optimal return minus return'
    """
    return MEASURES | {name: entry.description for name, entry in _REGISTERED.items()}


def affordable_metrics(mdp: TabularMDP) -> list[str]:
    """Return the metrics that a run is measured by: all, but those on request on more than `SMALL` states.

    Nor are the two that the reward-KL frontier needs where nothing is discounted, for a trained policy may walk for ever.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> "frontier_gap" in affordable_metrics(lake), "frontier_gap" in affordable_metrics(TabularMDP.make("64x64"))
        (True, False)
    """
    left_out = ON_REQUEST if mdp.num_states > SMALL else ON_REQUEST[1:] if mdp.discount == 1 else ()
    return [name for name in metric_descriptions() if name not in left_out]


def _custom(name: str, mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch"]:
    value = np.asarray(_REGISTERED[name].function(mdp, policy), float)
    if value.shape != policy.shape[:-2]:
        raise ValueError(f"metric {name!r} has shape {value.shape} for policies {policy.shape}; allowed: {policy.shape[:-2]}")
    return value


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
    """Measure policies: `MEASURES` but those `ON_REQUEST`, and all registered metrics.

    Args:
        mdp: the lake; its discount defines the optimum, its horizon the time limit of success and visits.
        policy: T_θ(a|s), with any leading dimensions.
        base: what "kl", "kl_discounted" and "frontier_gap" are measured from; without it they are omitted.
        shown: weight of each state in the human's demonstrations, such as `tiles_of` gives; without it distances over them
            are omitted.
        chosen, rejected: trajectories [B, T] whose mean log-likelihood is measured; without them it is omitted.
        only: names of the metrics to compute (default: all but those `ON_REQUEST`).

    Returns:
        One array per metric, in the units that `metric_descriptions` names.

    Raises:
        ValueError: for what is not an MDP, or not a policy of it.

    Example:
        >>> lake, uniform = TabularMDP.from_map(("SFG",)), np.full((3, 4), 0.25)
        >>> result = measure(lake, uniform, only=["distance"])
        >>> float(result["distance"])  # (3/4)² and three times (1/4)², averaged over four actions
        0.1875
    """
    check_mdp(mdp)
    policy = np.asarray(policy, float)
    wanted = set(metric_descriptions()) - set(ON_REQUEST) if only is None else set(only)
    result: dict[str, Any] = {}
    steps, visits, result["success"] = _episodes(mdp, policy)
    if "success_any_tile" in wanted:
        result["success_any_tile"] = success_from(mdp, policy, mdp.horizon)[..., ~mdp.terminal].mean(-1)
    if wanted & {"return", "regret", "frontier_gap"}:
        result["return"] = evaluate_policy(mdp, policy) @ mdp.start
        result["regret"] = optimal_values(mdp)[0] @ mdp.start - result["return"]
    walkable = ~mdp.terminal
    result["tiles"] = (visits[..., walkable] >= 0.1).sum(-1).astype(float)
    weights = {"": walkable, "_shown": shown, "_optimal": _optimal_episodes(mdp)[1], "_visited": visits}
    result |= _distances(mdp, policy, {over: weight for over, weight in weights.items() if weight is not None}, wanted)
    if base is not None and "kl" in wanted:
        result["kl"] = (steps * _kl(policy, np.asarray(base, float)))[..., walkable].sum(-1)
    if base is not None and wanted & {"kl_discounted", "frontier_gap"}:
        result["kl_discounted"] = kl_from_base(mdp, policy, base)
        if "frontier_gap" in wanted:
            result["frontier_gap"] = frontier_gap(mdp, base, result["kl_discounted"], result["return"])
    for name, batch in (("chosen_logp", chosen), ("rejected_logp", rejected)):
        if batch is not None and name in wanted:
            result[name] = log_likelihood(policy, batch)
    result |= {name: _custom(name, mdp, policy) for name in _REGISTERED if name in wanted}
    return {name: result[name] for name in metric_descriptions() if name in result and name in wanted}


def _distances(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], weights: dict[str, np.ndarray], wanted: set[str]
) -> dict[str, Float[np.ndarray, "*batch"]]:
    """Return distances to the optimal policy, of actions and of next states, averaged by each of the weights of states."""
    result: dict[str, Any] = {}
    target, walkable = optimal_policy(mdp), ~mdp.terminal
    for kind, squared_gap in (("", _gap), ("_next", _next_state_gap)):
        if not any(f"distance{kind}{over}" in wanted for over in weights):
            continue
        squared = squared_gap(mdp, policy - target)
        for over, weight in weights.items():
            weight = np.where(walkable, weight, 0.0)
            result[f"distance{kind}{over}"] = (squared * weight).sum(-1) / weight.sum(-1)
    return result


def expected_visits(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Return how often an episode visits each state, within the time limit; discounted where there is none.

    Args:
        mdp: the MDP; its horizon is the time limit.
        policy: T(a|s), with any leading dimensions.

    Raises:
        ValueError: for what is not an MDP, or not a policy of it.

    Example:
        >>> always_right = np.eye(4)[[2, 2, 2]]
        >>> expected_visits(TabularMDP.from_map(("SFG",)), always_right)  # the time limit is 100 steps
        array([1., 1., 1.])
    """
    check_mdp(mdp)
    if mdp.horizon is None:
        return occupancy(mdp, policy)
    return occupancy(mdp, policy, discount=1.0, horizon=mdp.horizon)


def _episodes(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]
) -> tuple[Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch"]]:
    """Return steps taken from each state, `expected_visits`, and success within the time limit, if there is one."""
    if mdp.horizon is None:
        visits = occupancy(mdp, policy)
        return visits, visits, np.asarray(success_probability(mdp, policy))
    # The price of a step is paid where a step is taken: not in the state where time runs out.
    return episodes_within(mdp, policy, mdp.horizon)


def _optimal_episodes(mdp: TabularMDP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the episodes of `optimal_policy`, computed once per MDP because every measurement needs them."""
    if mdp not in _optimal_episodes_of:
        _optimal_episodes_of[mdp] = _episodes(mdp, optimal_policy(mdp))
    return _optimal_episodes_of[mdp]


_optimal_episodes_of: WeakKeyDictionary[TabularMDP, tuple[np.ndarray, np.ndarray, np.ndarray]] = WeakKeyDictionary()


def reference_points(mdp: TabularMDP) -> dict[str, float]:
    """Return what the best policies reach.

    Returns:
        "return": of the optimal policy. "success": of the optimal policy, within the time limit. "success_best_within_horizon":
        of the policy that maximises it and knows the time left.

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> reference_points(TabularMDP.from_map(("SFG",), discount=0.5))
        {'return': 0.5, 'success': 1.0, 'success_best_within_horizon': 1.0}
    """
    check_mdp(mdp)
    return {
        "return": float(optimal_values(mdp)[0] @ mdp.start),
        "success": float(_optimal_episodes(mdp)[2]),
        "success_best_within_horizon": optimal_success(mdp, mdp.horizon),
    }


def tiles_of(mdp: TabularMDP, trajectories: Steps) -> Float[np.ndarray, "*batch S"]:
    """Return 1 for each state that the trajectories [..., B, T] step from, 0 elsewhere.

    Args:
        mdp: the MDP.
        trajectories: their states and mask are read.

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> from types import SimpleNamespace
        >>> steps = SimpleNamespace(states=[[0, 1, 0]], mask=[[True, True, False]])
        >>> tiles_of(TabularMDP.from_map(("SFG",)), steps)
        array([1., 1., 0.])
    """
    check_mdp(mdp)
    states, mask = np.asarray(trajectories.states), np.asarray(trajectories.mask)
    visited = np.zeros((*states.shape[:-2], mdp.num_states))
    *index, row, step = np.nonzero(mask)
    visited[*index, states[*index, row, step]] = 1.0
    return visited


def log_likelihood(policy: Float[np.ndarray, "*batch S A"], trajectories: Steps) -> Float[np.ndarray, "*batch"]:
    """Return the mean over trajectories [B, T] of Σ_t log π(a_t|s_t), in nats.

    A probability too small for a float counts as 1e-308.

    Args:
        policy: T(a|s), with any leading dimensions.
        trajectories: their states, actions and mask are read.

    Example:
        >>> from types import SimpleNamespace
        >>> steps = SimpleNamespace(states=[[0, 1]], actions=[[2, 2]], mask=[[True, True]])
        >>> float(log_likelihood(np.full((3, 4), 0.25), steps).round(4))  # 2 log(1/4)
        -2.7726
    """
    states, actions, mask = (np.asarray(x) for x in (trajectories.states, trajectories.actions, trajectories.mask))
    smallest = np.finfo(float).tiny
    logp = np.where(mask, np.log(np.maximum(policy[..., states, actions], smallest)), 0.0)
    return logp.sum(-1).mean(-1)


def metric_interval(
    name: str, values: Float[np.ndarray, "*batch N"]
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Return a metric's mean over seeds and its 95 % interval (mean, low, high), which ends where the metric's range does.

    Args:
        name: of the metric; one that is not in `RANGES` can have any value.
        values: one per seed, over the last axis.

    Example:
        >>> mean, low, high = metric_interval("success", np.array([0.9, 1.0]))
        >>> float(mean), float(low.round(2)), float(high)
        (0.95, 0.31, 1.0)
    """
    kind = "distance" if name.startswith("distance") else name
    return mean_interval(values, bounds=RANGES.get(kind, (-np.inf, np.inf)))


def even_change(steps: Int[np.ndarray, " M"], policies: Float[np.ndarray, "M N S A"], count: int) -> list[int]:
    """Choose at most `count` snapshots, the first and the last included, between which about equally much changes.

    Change is three quarters that of the policies, mean |T_θ(a|s) - T_θ'(a|s)|, and one quarter that of the square root of
    time, so that periods without change are represented too. A film of these snapshots moves evenly.

    Args:
        steps: number of updates before each snapshot, increasing.
        policies: the snapshots.
        count: the most to choose.

    Returns:
        Their indices, increasing.

    Example:
        >>> policies = np.full((5, 1, 1, 2), 0.5)
        >>> policies[3:] = [0.9, 0.1]  # nothing changes but between the third snapshot and the fourth
        >>> even_change(np.arange(5), policies, 3)
        [0, 2, 4]
    """
    if len(steps) <= count:
        return list(range(len(steps)))
    moved = [np.abs(after - before).mean() for before, after in pairwise(policies)]  # by pairs: they may be large
    distance = np.concatenate([[0.0], np.cumsum(moved)])
    time = np.sqrt(steps / steps[-1])
    position = 0.75 * distance / distance[-1] + 0.25 * time if distance[-1] > 0 else time
    nearest = np.abs(position - np.linspace(0, 1, count)[:, None]).argmin(1)
    return sorted({0, len(steps) - 1, *map(int, nearest)})


def _gap(mdp: TabularMDP, gap: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Mean over a of (T_θ(a|s) - T*(a|s))²."""
    return np.mean(gap**2, -1)


def _next_state_gap(mdp: TabularMDP, gap: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Mean over s' of (T_θ(s'|s) - T*(s'|s))², without a dense matrix: only a state's few successors differ."""
    total = np.zeros(gap.shape[:-1])
    for part in (slice(i, i + STATES_AT_ONCE) for i in range(0, mdp.num_states, STATES_AT_ONCE)):
        flow = gap[..., part, :, None] * mdp.probability[part]  # [..., S, A, K]
        flow, successor = flow.reshape(*flow.shape[:-2], -1), mdp.next_state[part].reshape(flow.shape[-3], -1)
        same = successor[:, :, None] == successor[:, None, :]  # slots of a state with one successor are added up
        merged = np.einsum("...sj,sjk->...sk", flow, same, optimize=True)
        total[..., part] = (merged**2 / same.sum(-1)).sum(-1)
    return total / mdp.num_states


def _kl(policy: Float[np.ndarray, "*batch S A"], base: Float[np.ndarray, "*#batch S A"]) -> Float[np.ndarray, "*batch S"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(policy > 0, policy * (np.log(policy) - np.log(base)), 0.0).sum(-1)
