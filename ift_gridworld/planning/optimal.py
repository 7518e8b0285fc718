"""Optimal values and policies, within a time limit too, and the highest possible success."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.bellman import Solution, backup, check_tolerance, expected_next
from ift_gridworld.planning.evaluation import evaluate_policy, goal_probability
from ift_gridworld.planning.solvers import SOLVERS, best_actions
from ift_gridworld.planning.sweeps import best_success, success_rate

__all__ = [
    "greedy",
    "optimal_policy",
    "optimal_success",
    "optimal_values",
    "pick_solver",
    "solve",
    "time_limited_values",
]

# Numbers of states: up to SMALL, value iteration is as fast as anything; up to FACTORISED, factorising a policy's matrix is
# cheap, and up to FACTORISED_LAKE a lake's, which is nearly a band matrix.
SMALL, FACTORISED, FACTORISED_LAKE = 500, 5_000, 40_000
NEAR_ONE = 0.999  # larger discounts make sweeps slow, and their values less exact than a factorisation's
STEP_COUNTING_DISCOUNT = 0.999  # a discount at which a value tells how many steps away a goal is, up to 700,000
TIE = 1e-9  # share of a value: action values that differ less are equal
NEARLY = 0.9  # share of the largest loss: states that lose as much are those where losses begin


def solve(mdp: TabularMDP, *, solver: str | None = None, tolerance: float | None = None) -> Solution:
    """Compute optimal values: Q(s,a) = r(s,a) + γ Σ_s' P(s'|s,a) V(s'), V(s) = max_a Q(s,a), no value after termination.

    Args:
        mdp: the problem; its `discount` is used.
        solver: a name in `SOLVERS`; None picks by size and structure (`pick_solver`).
        tolerance: how far any value may be from the true one, in units of reward. None: sweeps go on until none changes a
            value by more than 1e-13 of it, which is as near as rounding allows up to discount 0.99 (1e-13 γ / (1 - γ) of the
            largest value, a few times that on lakes), so that a best action is known in every state, however far from the
            goal; on large slippery lakes that takes many times as long. With discount 1, where the change of a sweep bounds
            no error, a tolerance is ignored; values there are as exact as the steps of an optimal episode allow, each of
            which may cost a rounding.

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: for what is not an MDP, an unknown solver, one that cannot take the problem, a tolerance that is not above
            0, or values that do not converge within a million sweeps (an undiscounted problem without a proper policy, or one
            with a discount of almost 1 and another solver).

    Example:
        >>> value, action_value = solve(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))
        >>> value[:3], action_value[0]  # left, down, right, up
        (array([0.25, 0.5 , 1.  ]), array([0.125, 0.   , 0.25 , 0.125]))
    """
    check_mdp(mdp)
    if solver is not None and solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}; allowed: {', '.join(SOLVERS)}")
    check_tolerance(tolerance)
    if tolerance is not None:
        # Where no sweep changes more than c, values are within c γ / (1 - γ). Undiscounted, changes bound nothing.
        tolerance = tolerance * (1 - mdp.discount) / 4 if mdp.discount < 1 else None
    return SOLVERS[solver or pick_solver(mdp)](mdp, tolerance)


def pick_solver(mdp: TabularMDP) -> str:
    """Return the name of the solver that `solve` uses.

    Value iteration for small problems, sweeps over the grid for lakes, otherwise policy iteration (up to some thousand states)
    or modified policy iteration, and value iteration where nothing is discounted. At discounts above 0.999, where sweeps are
    many and less exact, policy iteration for all but deterministic lakes, very large problems, and undiscounted ones with
    rewards below 0.

    Example:
        >>> pick_solver(TabularMDP.from_map(("SFF", "HHG")))
        'value_iteration'
    """
    check_mdp(mdp)
    rate = success_rate(mdp) if mdp.num_states > SMALL else None
    factorised = FACTORISED if rate is None else FACTORISED_LAKE
    near_one = mdp.discount > NEAR_ONE and (mdp.discount < 1 or mdp.expected_reward.min() >= 0)
    if near_one and mdp.num_states <= factorised and rate != 1.0:  # on deterministic lakes one sweep settles a value
        return "policy_iteration"
    if mdp.num_states <= SMALL:
        return "value_iteration"
    if rate is not None:
        return "neighbour_sweeps"
    if mdp.discount == 1:
        return "value_iteration"
    return "policy_iteration" if mdp.num_states <= FACTORISED else "modified_policy_iteration"


def optimal_values(mdp: TabularMDP) -> Solution:
    """Return V [S] and Q [S, A] as `solve` computes them without a tolerance, once per MDP.

    Raises:
        ValueError: as `solve`.

    Example:
        >>> optimal_values(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))[0][:3]
        array([0.25, 0.5 , 1.  ])
    """
    check_mdp(mdp)
    if mdp not in _solved:
        _solved[mdp] = solve(mdp)
    value, action_value = _solved[mdp]
    return value.copy(), action_value.copy()


_solved: WeakKeyDictionary[TabularMDP, Solution] = WeakKeyDictionary()


def greedy(action_value: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S A"]:
    """Return the policy that takes a best action, ties (equal to nine digits) shared evenly.

    Example:
        >>> greedy(np.array([[0.0, 1.0, 1.0, 0.5]]))
        array([[0. , 0.5, 0.5, 0. ]])
    """
    best = action_value.max(-1, keepdims=True)
    # Relative, because values are small far from a goal; a value that cancels to nearly 0 is known no better than its terms.
    floor = 1e-14 * np.abs(action_value).max() if action_value.min() < 0 < action_value.max() else 0.0
    ties = action_value >= best - TIE * np.abs(best) - floor
    return ties / ties.sum(-1, keepdims=True)


def optimal_policy(mdp: TabularMDP) -> Float[np.ndarray, "S A"]:
    """Return T*(a|s), the optimal state-action matrix for `mdp.discount`.

    Ties are shared evenly; in terminal states, where no action matters, all are. With discount 1, where waiting is free, an
    action that only waits may be worse by so little that it counts as tied, and still cost the goal if it is taken for ever.
    Ties that cost more than nine digits of a value are broken. (In problems of more than 40,000 states that is not checked.)

    Raises:
        ValueError: as `solve`.

    Example:
        >>> optimal_policy(TabularMDP.from_map(("SF", "FG")))[0]  # left, down, right, up
        array([0. , 0.5, 0.5, 0. ])
    """
    value, action_value = optimal_values(mdp)
    policy = greedy(action_value)
    if mdp.discount == 1 and mdp.num_states <= FACTORISED_LAKE and mdp.expected_reward.min() >= 0:
        return _without_waiting(mdp, value, policy)
    return policy


def _without_waiting(
    mdp: TabularMDP, value: Float[np.ndarray, " S"], policy: Float[np.ndarray, "S A"]
) -> Float[np.ndarray, "S A"]:
    """Break ties until the policy is worth the optimal value to nine digits in every state, and leave the others.

    Where losses are largest they begin: an episode from elsewhere comes there with some probability only.
    """
    best: Float[np.ndarray, "S A"] | None = None
    while True:
        loss = value - evaluate_policy(mdp, policy)
        relative = np.divide(loss, value, out=np.zeros_like(loss), where=value > 0)
        if relative.max() <= TIE:
            return policy
        best = np.eye(mdp.num_actions)[best_actions(mdp)] if best is None else best
        shared = (relative > TIE) & np.any(policy != best, -1)
        if not shared.any():
            return policy
        policy = np.where((shared & (relative >= NEARLY * relative[shared].max()))[:, None], best, policy)


def time_limited_values(mdp: TabularMDP, horizon: int) -> Float[np.ndarray, "{horizon}+1 S"]:
    """Return optimal values under a time limit: row t is the best expected return with t steps left.

    Args:
        mdp: the problem; its `discount` is used, its own horizon is not.
        horizon: number of steps.

    Raises:
        ValueError: for what is not an MDP, or a horizon below 0.

    Example:
        >>> time_limited_values(TabularMDP.from_map(("SFG",), discount=0.5), 2)
        array([[0. , 0. , 0. ],
               [0. , 1. , 0. ],
               [0.5, 1. , 0. ]])
    """
    check_mdp(mdp)
    check_whole("horizon", horizon, at_least=0)
    values = np.zeros((horizon + 1, mdp.num_states))
    for t in range(1, horizon + 1):
        values[t] = backup(mdp, values[t - 1]).max(-1)
    return values


def optimal_success(mdp: TabularMDP, horizon: int | None = None) -> float:
    """Return the highest probability of reaching a goal by any policy, within `horizon` steps if given.

    With a horizon the best policy knows the time left; no stationary policy need attain the number.

    Args:
        mdp: the problem; neither its discount nor its own horizon is used.
        horizon: number of steps allowed, or None for no limit.

    Raises:
        ValueError: for what is not an MDP, a horizon below 0, or values that do not converge (`solve`).

    Example:
        >>> lake = TabularMDP.from_map(("SFG",), is_slippery=True, success_rate=0.5)
        >>> optimal_success(lake, horizon=2), optimal_success(lake)
        (0.25, 1.0)
    """
    check_mdp(mdp)
    if horizon is None:
        undiscounted = replace(mdp, reward=mdp.success.astype(float), discount=1.0)
        return min(1.0, float(solve(undiscounted)[0] @ mdp.start))
    check_whole("horizon", horizon, at_least=0)
    rate = success_rate(mdp) if mdp.num_states > SMALL else None
    if rate == 1.0:  # without slip a goal is reached for certain, if there are enough steps
        value = solve(replace(mdp, discount=STEP_COUNTING_DISCOUNT))[0][mdp.start > 0]
        steps = 1 + np.log(np.maximum(value, np.finfo(float).tiny)) / np.log(STEP_COUNTING_DISCOUNT)
        return float(mdp.start[mdp.start > 0] @ (steps < horizon + 0.5))
    if rate is not None:
        return best_success(mdp, rate, horizon)
    goal, reached = goal_probability(mdp), np.zeros(mdp.num_states)
    for _ in range(horizon):
        new = (goal + expected_next(mdp, reached)).max(-1)
        if np.abs(new - reached).max() <= 1e-16:
            break
        reached = new
    return float(reached @ mdp.start)
