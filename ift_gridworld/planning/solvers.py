"""Solvers of Bellman's optimality equation: which is fastest depends on a problem's size and structure.

All solve V(s) = max_a Q(s,a), Q(s,a) = r(s,a) + γ Σ_s' P(s'|s,a) V(s'), with no value after termination, and agree.
`optimal.solve` picks one.

- value iteration: sweeps over all states through the tables, for any problem and any discount;
- policy iteration: each policy's values by sparse factorisation, so that a discount near 1 costs no more than another;
- modified policy iteration: a few sweeps of the policy instead of its exact values (Puterman and Shin 1978);
- neighbour sweeps (`sweeps.py`): for lakes, where successors are neighbouring tiles. No tables, and work only where values
  still change.

Each takes the largest change of a sweep at which it stops: `tolerance`, absolute, or, where that is None, `ROUNDING` of each
value (of the largest one, where rewards have both signs), so small that best actions are distinguished wherever values are not
0. Values that change by no more than c are within c γ / (1 - γ) of the truth: 1e-11 of the largest value at discount 0.99, but
1e-9 at 0.9999. Policy iteration's values solve their equations; near discount 1 they are more exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.bellman import (
    INFINITE_VALUES,
    ROUNDING,
    Solution,
    backup,
    check_tolerance,
    has_converged,
    kept_among,
    magnitude,
    not_converged,
)
from ift_gridworld.planning.matrices import closed_classes, factorise, onward_matrix, solve_undiscounted
from ift_gridworld.planning.sweeps import neighbour_sweeps

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SOLVERS", "best_actions", "modified_policy_iteration", "policy_iteration", "value_iteration"]

MOST_POLICIES = 1_000
LARGEST_TIE = 1e-6  # share of a value: where better actions are not known even so far, policy iteration gives up
# Undiscounted, where a step is free and may be taken for ever, an action that is hardly better may be worth a lot.
NEAREST_TIE = 1e-15
NEAR_ONE = 0.999  # a discount whose optimal policy is nearly that of discount 1, and always finite


def value_iteration(mdp: TabularMDP, tolerance: float | None = None, *, max_sweeps: int = 1_000_000) -> Solution:
    """Repeat V <- max_a Q(s,a) everywhere, from V = 0.

    An undiscounted problem with rewards >= 0 so ends at its least solution.

    Args:
        mdp: the problem; its `discount` is used.
        tolerance: the largest change of a sweep at which it stops, in units of reward (default: rounding).
        max_sweeps: sweeps before giving up.

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: if the values do not converge (an undiscounted problem without a proper policy). Where values are
            infinite, the error comes after some thousand sweeps; where pay and cost take turns for ever, after `max_sweeps`.

    Example:
        >>> value, action_value = value_iteration(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))
        >>> value[:3]  # the goal is three steps away, then two, then one
        array([0.25, 0.5 , 1.  ])
    """
    check_mdp(mdp)
    check_tolerance(tolerance)
    check_whole("max_sweeps", max_sweeps, at_least=1)
    value = earlier = np.zeros(mdp.num_states)
    for sweep in range(1, max_sweeps + 1):
        new = backup(mdp, value).max(-1)
        done = has_converged(mdp, value, new, tolerance)
        if mdp.discount == 1 and sweep.bit_count() == 1:  # sweeps 1, 2, 4, 8, …
            if sweep > 1_000 and _is_endless(mdp, earlier, new, sweep // 2):
                raise ValueError(INFINITE_VALUES)
            earlier = new
        change, value = np.abs(new - value).max(), new
        if done:
            return value, backup(mdp, value)
    raise not_converged(mdp, change, max_sweeps)


def _is_endless(mdp: TabularMDP, earlier: Float[np.ndarray, " S"], value: Float[np.ndarray, " S"], sweeps: int) -> bool:
    """Return whether undiscounted sweeps provably change values for ever.

    Values fall for ever where all of some states fell within the last `sweeps`, and every action there leads only to them and
    ends nothing. They rise for ever where as many sweeps more raise each of some states again, by actions that lead only to
    them and end nothing.
    """
    rounding = 1e-9 * np.abs(value).max()
    among, _ = kept_among(mdp, value < earlier - rounding, np.all)
    if among.any():
        return True
    among, inside = kept_among(mdp, value > earlier + rounding, np.any)
    while among.any():
        again = value
        for _ in range(sweeps):
            again = np.where(among, np.where(inside, backup(mdp, again), -np.inf).max(-1), 0.0)
        risen = among & (again > value + rounding)
        if np.array_equal(risen, among):
            return True
        among, inside = kept_among(mdp, risen, np.any)
    return False


def policy_iteration(mdp: TabularMDP, tolerance: float | None = None, *, max_policies: int = MOST_POLICIES) -> Solution:
    """Solve V = r_π + γ P_π V by factorising, take the greedy policy of V, and repeat until no action is better.

    With discount 1 it needs rewards >= 0: there a policy that no other improves on is optimal (Puterman 1994, 7.2), though it
    may never end, which is worth 0.

    Args:
        mdp: the problem; its `discount` is used.
        tolerance: the largest improvement at which it stops, in units of reward (default: rounding).
        max_policies: policies evaluated before giving up.

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: with discount 1, for rewards below 0 or infinite values; or if the policies do not converge.

    Example:
        >>> policy_iteration(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))[0][:3]
        array([0.25, 0.5 , 1.  ])
    """
    check_mdp(mdp)
    check_tolerance(tolerance)
    check_whole("max_policies", max_policies, at_least=1)
    return _iterate(mdp, tolerance, max_policies)[1]


def best_actions(mdp: TabularMDP) -> Int[np.ndarray, " S"]:
    """Return one action for each state such that together they attain the optimal values, by `policy_iteration`.

    Raises:
        ValueError: as `policy_iteration`.

    Example:
        >>> best_actions(TabularMDP.from_map(("SFF", "HHG"), discount=1.0))[:3]  # right, right, down
        array([2, 2, 1])
    """
    return _iterate(mdp, None, MOST_POLICIES)[0]


def _iterate(mdp: TabularMDP, tolerance: float | None, max_policies: int) -> tuple[Int[np.ndarray, " S"], Solution]:
    """Return the last policy of policy iteration, and V [S] and Q [S, A]."""
    if mdp.discount == 1 and mdp.expected_reward.min() < 0:
        raise ValueError(
            "solver 'policy_iteration' cannot take discount 1 with rewards below 0; allowed there: value_iteration"
        )
    onward, states = onward_matrix(mdp), np.arange(mdp.num_states)
    if mdp.discount == 1:  # the optimal policy of a discount just below 1 does arrive, and is nearly the best
        policy = policy_iteration(replace(mdp, discount=NEAR_ONE))[1].argmax(-1)
    else:
        policy = backup(mdp, _initial_values(mdp, onward), onward).argmax(-1)
    value, tie = _values_of(mdp, policy, onward), ROUNDING if mdp.discount < 1 else NEAREST_TIE
    for _ in range(max_policies):
        action_value = backup(mdp, value, onward)
        best, top = action_value.argmax(-1), action_value.max(-1)
        gain, rounding = top - action_value[states, policy], tie * magnitude(mdp, top)
        better = gain > rounding
        if not better.any() or (tolerance is not None and gain.max() <= tolerance):
            return policy, (top, action_value)
        candidate = np.where(better, best, policy)
        new = _values_of(mdp, candidate, onward)
        # Actions that are better in truth lower no value. Where rounding decided, policies could alternate for ever.
        risen = (new - value) / np.maximum(magnitude(mdp, new), np.finfo(float).tiny)
        if np.all(new >= np.where(better, top, value) - rounding) and risen.sum() > 0:
            policy, value = candidate, new
        elif tie < LARGEST_TIE:
            tie *= 10
        else:
            break
    state = int((gain / np.maximum(rounding, np.finfo(float).tiny)).argmax())
    raise ValueError(
        f"policy iteration did not converge with discount {mdp.discount} within {max_policies} policies: an action in state "
        f"{state} is better by {gain[state]:.2g} than the last one's"
    )


def _values_of(mdp: TabularMDP, policy: Int[np.ndarray, " S"], onward: csr_array) -> Float[np.ndarray, " S"]:
    """The values of a deterministic policy; undiscounted, walking for ever is worth 0 where it is not rewarded."""
    rows = np.arange(mdp.num_states) * mdp.num_actions + policy
    transition, reward = onward[rows], mdp.expected_reward.ravel()[rows]
    if mdp.discount < 1:
        return factorise(transition, np.full(mdp.num_states, mdp.discount)).solve(reward)
    ends = np.sum(mdp.probability * mdp.terminated, -1).ravel()[rows]
    closed = closed_classes(transition, ends)
    if np.any(reward[closed] > 0):
        raise ValueError(INFINITE_VALUES)
    return solve_undiscounted(transition, ends, closed, reward)


def _initial_values(mdp: TabularMDP, onward: csr_array) -> Float[np.ndarray, " S"]:
    """Rough values in which every reward is visible from everywhere, to start policy iteration from."""
    value = np.zeros(mdp.num_states)
    for _ in range(int(mdp.num_states**0.5)):
        value = backup(mdp, value, onward).max(-1)
    if np.any((value == 0) & ~mdp.terminal):
        # A distant reward would come nearer by one step per iteration; the uniform policy's values know it at once.
        uniform = sum(onward[action :: mdp.num_actions] for action in range(mdp.num_actions)) / mdp.num_actions
        value = factorise(uniform, np.full(mdp.num_states, mdp.discount)).solve(mdp.expected_reward.mean(-1))
    return value


def modified_policy_iteration(
    mdp: TabularMDP, tolerance: float | None = None, sweeps: int = 20, *, max_sweeps: int = 1_000_000
) -> Solution:
    """Alternate one sweep over all actions with `sweeps` cheaper ones that follow the greedy policy.

    Source: Puterman and Shin 1978.

    Args:
        mdp: the problem; its `discount` is used.
        tolerance: the largest change of a sweep at which it stops, in units of reward (default: rounding).
        sweeps: of the greedy policy, between two over all actions.
        max_sweeps: sweeps of both kinds before giving up.

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: with discount 1, or if the values do not converge.

    Example:
        >>> modified_policy_iteration(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))[0][:3]
        array([0.25, 0.5 , 1.  ])
    """
    check_mdp(mdp)
    check_tolerance(tolerance)
    check_whole("sweeps", sweeps, at_least=0)
    check_whole("max_sweeps", max_sweeps, at_least=1)
    if mdp.discount == 1:
        raise ValueError(
            "solver 'modified_policy_iteration' cannot take discount 1, where a policy may be worth nothing certain; "
            "allowed there: value_iteration, neighbour_sweeps, policy_iteration if no reward is below 0"
        )
    onward, first = onward_matrix(mdp), np.arange(mdp.num_states) * mdp.num_actions
    value = np.zeros(mdp.num_states)
    for _ in range(0, max_sweeps, 1 + sweeps):
        action_value = backup(mdp, value, onward)
        new = action_value.max(-1)
        if has_converged(mdp, value, new, tolerance):
            return new, backup(mdp, new, onward)
        change = np.abs(new - value).max()
        rows = first + action_value.argmax(-1)
        transition, reward = mdp.discount * onward[rows], mdp.expected_reward.ravel()[rows]
        value = new
        for _ in range(sweeps):
            value = reward + transition @ value
    raise not_converged(mdp, change, max_sweeps)


SOLVERS: dict[str, Callable[[TabularMDP, float | None], Solution]] = {
    "value_iteration": value_iteration,
    "policy_iteration": policy_iteration,
    "modified_policy_iteration": modified_policy_iteration,
    "neighbour_sweeps": neighbour_sweeps,
}
"""Each solver by its name, a function of the MDP and the tolerance."""
