"""Exact evaluation of a policy: its values, expected visits, success, and the distribution of its walk.

Policies are arrays [..., S, A] with any leading dimensions (seeds, snapshots); results have the same ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.checks import check_interval, check_mdp, check_whole
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.chain import PolicyChain, check_policy, walk

__all__ = [
    "episodes_within",
    "evaluate_policy",
    "goal_probability",
    "occupancy",
    "path_survival",
    "state_matrix",
    "success_from",
    "success_probability",
    "walk_distribution",
]

OUTCOMES_AT_ONCE = 2**20  # outcomes of all policies that are evaluated together: more do not fit in the processor's cache


def evaluate_policy(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Return V_π, the expected return from each state, by solving V = r_π + γ P_π V.

    Args:
        mdp: the problem; its `discount` is used, its horizon is not.
        policy: action probabilities.

    Returns:
        In units of reward.

    Raises:
        ValueError: for what is not an MDP or not a policy of it; with discount 1, for a policy that can walk for ever where
            walking on is not free. (Where it is free, walking for ever is worth 0.)

    Example:
        >>> always_right = np.eye(4)[[2, 2, 2]]
        >>> evaluate_policy(TabularMDP.from_map(("SFG",), discount=0.9), always_right)
        array([0.9, 1. , 0. ])
    """

    def measure(policy: np.ndarray) -> tuple[np.ndarray, ...]:
        reward = np.einsum("...sa,sa->...s", policy, mdp.expected_reward)
        return (PolicyChain(mdp, policy).values(reward, mdp.discount),)

    (value,) = _in_batches(mdp, policy, measure)
    return value


def occupancy(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], *, discount: float | None = None, horizon: int | None = None
) -> Float[np.ndarray, "*batch S"]:
    """Return expected visits d(s) = Σ_t discount^t P(s_t = s) from the start distribution; an end counts once, on entry.

    Args:
        mdp: the problem.
        policy: action probabilities.
        discount: `mdp.discount` by default; 1 counts plain visits.
        horizon: number of steps taken (so that horizon + 1 states are visited), or None for no limit.

    Returns:
        In (discounted) visits per episode.

    Raises:
        ValueError: for what is not an MDP or not a policy of it, a discount outside [0, 1], a horizon below 0, or infinite
            visits (discount 1, no horizon, a policy that can walk for ever).

    Example:
        >>> always_right = np.eye(4)[[2, 2, 2]]
        >>> occupancy(TabularMDP.from_map(("SFG",), discount=0.5), always_right)
        array([1.  , 0.5 , 0.25])
    """
    _check_horizon(horizon)
    if discount is not None:
        check_interval("discount", discount, 0, 1)

    def measure(policy: np.ndarray) -> tuple[np.ndarray, ...]:
        rate = mdp.discount if discount is None else discount
        chain = PolicyChain(mdp, policy)
        start = np.broadcast_to(mdp.start, policy.shape[:-1])
        if horizon is None:
            walking = chain.visits(start, rate)
            return (walking + rate * chain.ended(walking),)
        walking, now = walk(chain, start, horizon, rate)
        return (walking + now + rate * chain.ended(walking),)

    (visits,) = _in_batches(mdp, policy, measure)
    return visits


def walk_distribution(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], steps: int, start: Float[np.ndarray, " S"] | None = None
) -> Float[np.ndarray, "*batch {steps} S"]:
    """Return where an episode stands at each step: row t is P(s_t = s, not ended before), t = 0 … steps - 1.

    Episodes that have ended are missing, so that rows may sum to less than 1.

    Args:
        mdp: the problem.
        policy: action probabilities.
        steps: number of rows, at least 1.
        start: distribution of the first state (default: the MDP's).

    Raises:
        ValueError: for what is not an MDP or not a policy of it, or fewer than 1 step.

    Example:
        >>> always_right = np.eye(4)[[2, 2, 2]]
        >>> walk_distribution(TabularMDP.from_map(("SFG",)), always_right, steps=3)
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 0.]])
    """
    check_whole("steps", steps, at_least=1)
    if start is not None:
        check_mdp(mdp)
        start = np.asarray(start, float)
        if start.shape != (mdp.num_states,) or not np.all(start >= 0) or not np.isfinite(start).all():
            raise ValueError(
                f"start has shape {start.shape} or a number that is no probability; allowed: ({mdp.num_states},), >= 0"
            )

    def measure(policy: np.ndarray) -> tuple[np.ndarray, ...]:
        chain = PolicyChain(mdp, policy)
        now, rows = np.broadcast_to(mdp.start if start is None else start, policy.shape[:-1]), []
        for _ in range(steps):
            rows.append(now)
            now = chain.forward(now)
        return (np.stack(rows, -2),)

    (distribution,) = _in_batches(mdp, policy, measure)
    return distribution


def success_probability(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], horizon: int | None = None
) -> Float[np.ndarray, "*batch"] | float:
    """Return the probability of reaching a goal (`TabularMDP.success`) from the start distribution.

    Args:
        mdp: the problem; its own horizon is not used.
        policy: action probabilities.
        horizon: number of steps allowed, or None for no limit.

    Raises:
        ValueError: for what is not an MDP or not a policy of it, or a horizon below 0.

    Example:
        >>> lake, uniform = TabularMDP.from_map(("SFG",)), np.full((3, 4), 0.25)
        >>> float(success_probability(lake, uniform, horizon=2)), float(success_probability(lake, uniform))
        (0.0625, 1.0)
    """
    _check_horizon(horizon)

    def measure(policy: np.ndarray) -> tuple[np.ndarray, ...]:
        chain = PolicyChain(mdp, policy)
        if horizon is None:
            reached = chain.values(np.einsum("...sa,sa->...s", policy, goal_probability(mdp)), 1.0) @ mdp.start
        else:
            steps, _ = walk(chain, np.broadcast_to(mdp.start, policy.shape[:-1]), horizon, 1.0)
            reached = np.einsum("...s,...sa,sa->...", steps, policy, goal_probability(mdp))
        return (np.clip(reached, 0.0, 1.0),)

    (success,) = _in_batches(mdp, policy, measure)
    return success


def success_from(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], horizon: int | None = None
) -> Float[np.ndarray, "*batch S"]:
    """Return for each state the probability that an episode which starts there reaches a goal (`TabularMDP.success`).

    Args:
        mdp: the problem; its own horizon is not used.
        policy: action probabilities.
        horizon: number of steps allowed, or None for no limit.

    Raises:
        ValueError: for what is not an MDP or not a policy of it, or a horizon below 0.

    Example:
        >>> lake, uniform = TabularMDP.from_map(("SFG",)), np.full((3, 4), 0.25)
        >>> success_from(lake, uniform, horizon=2)
        array([0.0625, 0.375 , 0.    ])
    """
    _check_horizon(horizon)

    def measure(policy: np.ndarray) -> tuple[np.ndarray, ...]:
        chain, at_once = PolicyChain(mdp, policy), np.einsum("...sa,sa->...s", policy, goal_probability(mdp))
        if horizon is None:
            return (np.clip(chain.values(at_once, 1.0), 0.0, 1.0),)
        reached = np.zeros_like(at_once)
        for _ in range(horizon):
            reached = at_once + chain.backward(reached)
        return (np.clip(reached, 0.0, 1.0),)

    (success,) = _in_batches(mdp, policy, measure)
    return success


def path_survival(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], path: Int[np.ndarray, "n 2"]
) -> Float[np.ndarray, "*batch m"]:
    """Return the probability that an episode is still on a path after each of its steps, if it starts where the path does.

    Entry t is Π_{i < t} Σ_a π(a|s_i) P(s_{i+1}|s_i, a), so that entry 0 is 1. An episode that waits, or returns to the path
    later, has left it. Any action that leads to the path's next state stays on it.

    Args:
        mdp: the problem.
        policy: action probabilities.
        path: its (state, action) steps, at least one. If the last action can reach a goal, reaching one is the last step.

    Returns:
        One entry for each state of the path, and one for its goal.

    Raises:
        ValueError: for what is not an MDP or not a policy of it, or a path without steps.

    Example:
        >>> path_survival(TabularMDP.from_map(("SFG",)), np.full((3, 4), 0.25), np.array([[0, 2], [1, 2]]))
        array([1.    , 0.25  , 0.0625])
    """
    check_mdp(mdp)
    policy, path = check_policy(mdp, policy), np.asarray(path)
    if path.ndim != 2 or path.shape[-1] != 2 or not len(path):
        raise ValueError(f"path has shape {path.shape}; allowed: [n, 2], the state and action of each of n >= 1 steps")
    states, last = path[:, 0], tuple(path[-1])
    onwards = (mdp.next_state[states[:-1]] == states[1:, None, None]) & ~mdp.terminated[states[:-1]]
    stays = (mdp.probability[states[:-1]] * onwards).sum(-1)
    if goal_probability(mdp)[last] > 0:
        stays = np.concatenate([stays, goal_probability(mdp)[states[-1:]]])
    follows = np.einsum("...na,na->...n", policy[..., states[: len(stays)], :], stays)
    return np.concatenate([np.ones((*follows.shape[:-1], 1)), np.cumprod(follows, -1)], -1)


def episodes_within(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], horizon: int
) -> tuple[Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch"]]:
    """Summarise episodes that are truncated after `horizon` steps, in one pass.

    Args:
        mdp: the problem; its own horizon is not used.
        policy: action probabilities.
        horizon: number of steps allowed.

    Returns:
        The expected number of steps taken from each state, the expected visits of each state (`occupancy`, undiscounted), and
        the probability of reaching a goal (`success_probability`).

    Raises:
        ValueError: for what is not an MDP or not a policy of it, or a horizon below 0.

    Example:
        >>> steps, visits, success = episodes_within(TabularMDP.from_map(("SFG",)), np.eye(4)[[2, 2, 2]], horizon=1)
        >>> steps, visits, float(success)
        (array([1., 0., 0.]), array([1., 1., 0.]), 0.0)
    """
    check_whole("horizon", horizon, at_least=0)

    def measure(policy: np.ndarray) -> tuple[np.ndarray, ...]:
        chain = PolicyChain(mdp, policy)
        steps, now = walk(chain, np.broadcast_to(mdp.start, policy.shape[:-1]), horizon, 1.0)
        reached = np.einsum("...s,...sa,sa->...", steps, policy, goal_probability(mdp))
        return steps, steps + now + chain.ended(steps), np.asarray(np.clip(reached, 0.0, 1.0))

    steps, visits, success = _in_batches(mdp, policy, measure)
    return steps, visits, success


def state_matrix(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S S"]:
    """Return T(s'|s) = Σ_a P(s'|s,a) π(a|s), dense: for small MDPs (it has S² entries).

    Args:
        mdp: the MDP.
        policy: π(a|s), with any leading dimensions.

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> state_matrix(TabularMDP.from_map(("SG",)), np.full((2, 4), 0.25))
        array([[0.75, 0.25],
               [0.  , 1.  ]])
    """
    check_mdp(mdp)
    return np.einsum("...sa,sat->...st", np.asarray(policy, float), mdp.transition, optimize=True)


def goal_probability(mdp: TabularMDP) -> Float[np.ndarray, "S A"]:
    """Return the probability that an action reaches a goal at once.

    Example:
        >>> goal_probability(TabularMDP.from_map(("SG",)))[0]  # left, down, right, up
        array([0., 0., 1., 0.])
    """
    check_mdp(mdp)
    return np.sum(mdp.probability * mdp.success, -1)


def _check_horizon(horizon: int | None) -> None:
    if horizon is not None:
        check_whole("horizon", horizon, at_least=0)


def _in_batches(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], measure: Callable[[np.ndarray], tuple[np.ndarray, ...]]
) -> tuple[np.ndarray, ...]:
    """Apply `measure` to the policies, a few at a time (`OUTCOMES_AT_ONCE`), and put its results together."""
    check_mdp(mdp)
    policy = check_policy(mdp, policy)
    batch, size = policy.shape[:-2], max(1, OUTCOMES_AT_ONCE // mdp.probability.size)
    flat = policy.reshape(-1, *policy.shape[-2:])
    if len(flat) <= size:
        return measure(policy)
    parts = [measure(flat[i : i + size]) for i in range(0, len(flat), size)]
    return tuple(np.concatenate(part).reshape(*batch, *part[0].shape[1:]) for part in zip(*parts, strict=True))
