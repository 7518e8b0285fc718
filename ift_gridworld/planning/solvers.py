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

from ift_gridworld.checks import check_mdp
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.bellman import INFINITE_VALUES, ROUNDING, Solution, backup, has_converged, not_converged
from ift_gridworld.planning.matrices import can_terminate, factorise, onward_matrix
from ift_gridworld.planning.sweeps import neighbour_sweeps

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SOLVERS", "modified_policy_iteration", "policy_iteration", "value_iteration"]

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
        ValueError: if the values do not converge (an undiscounted problem without a proper policy). Where one sweep
            proves that, the error comes after some thousand sweeps; otherwise (pay at every other step of a loop) after
            `max_sweeps`.

    Example:
        >>> value, action_value = value_iteration(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))
        >>> value[:3]  # the goal is three steps away, then two, then one
        array([0.25, 0.5 , 1.  ])
    """
    check_mdp(mdp)
    value = np.zeros(mdp.num_states)
    for sweep in range(1, max_sweeps + 1):
        new = backup(mdp, value).max(-1)
        done = has_converged(mdp, value, new, tolerance)
        if mdp.discount == 1 and sweep > 1_000 and sweep.bit_count() == 1 and _is_endless(mdp, value, new):
            raise ValueError(INFINITE_VALUES)
        change, value = np.abs(new - value).max(), new
        if done:
            return value, backup(mdp, value)
    raise not_converged(mdp, change, max_sweeps)


def _is_endless(mdp: TabularMDP, value: Float[np.ndarray, " S"], new: Float[np.ndarray, " S"]) -> bool:
    """Return whether an undiscounted sweep proves that all later ones change as much again.

    Among some states all values rose, and a best action of each leads only to them and ends nothing; or all fell, and that
    holds for every action.
    """
    gain, rounding = new - value, 1e-9 * np.abs(new).max()
    best = np.eye(mdp.num_actions, dtype=bool)[backup(mdp, value).argmax(-1)]
    for among, actions in ((gain > rounding, best), (gain < -rounding, np.ones_like(best))):
        while among.any():
            leaves = np.any((mdp.probability > 0) & (mdp.terminated | ~among[mdp.next_state]), -1)
            inside = among & ~np.any(leaves & actions, -1)
            if np.array_equal(inside, among):
                return True
            among = inside
    return False


def policy_iteration(mdp: TabularMDP, tolerance: float | None = None) -> Solution:
    """Solve V = r_π + γ P_π V by factorising, take the greedy policy of V, and repeat until no action is better.

    With discount 1 it needs rewards >= 0: there a policy that no other improves on is optimal (Puterman 1994, 7.2), though it
    may never end, which is worth 0.

    Args:
        mdp: the problem; its `discount` is used.
        tolerance: the largest improvement at which it stops, in units of reward (default: rounding).

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: with discount 1, for rewards below 0 or infinite values.

    Example:
        >>> policy_iteration(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))[0][:3]
        array([0.25, 0.5 , 1.  ])
    """
    check_mdp(mdp)
    if mdp.discount == 1 and mdp.expected_reward.min() < 0:
        raise ValueError(
            "solver 'policy_iteration' cannot take discount 1 with rewards below 0; allowed there: value_iteration"
        )
    onward, states = onward_matrix(mdp), np.arange(mdp.num_states)
    ends = np.any((mdp.probability > 0) & mdp.terminated, -1).ravel()

    def values_of(policy: Int[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
        rows = states * mdp.num_actions + policy
        transition, reward = onward[rows], mdp.expected_reward.ravel()[rows]
        discount = np.full(mdp.num_states, mdp.discount)
        if mdp.discount == 1:
            discount = can_terminate(transition, ends[rows]).astype(float)
            if np.any(reward[discount == 0] > 0):
                raise ValueError(INFINITE_VALUES)
        return factorise(transition, discount).solve(reward)

    if mdp.discount == 1:  # the optimal policy of a discount just below 1 does arrive, and is nearly the best
        policy = policy_iteration(replace(mdp, discount=NEAR_ONE))[1].argmax(-1)
    else:
        policy = backup(mdp, _initial_values(mdp, onward), onward).argmax(-1)
    while True:
        value = values_of(policy)
        action_value = backup(mdp, value, onward)
        best, top = action_value.argmax(-1), action_value.max(-1)
        # Two policies that differ by rounding must not alternate for ever.
        better = np.where(action_value[states, policy] >= top - ROUNDING * np.abs(top), policy, best)
        if np.array_equal(better, policy) or has_converged(mdp, value, top, tolerance):
            return top, action_value
        policy = better


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
