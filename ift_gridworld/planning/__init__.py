"""The oracle: optimal, soft-optimal and time-limited values, evaluation, occupancy and success, all exact."""

from ift_gridworld.planning.exact import (
    episodes_within,
    evaluate_policy,
    greedy,
    occupancy,
    optimal_policy,
    optimal_success,
    optimal_values,
    soft_value_iteration,
    solve,
    state_matrix,
    success_probability,
    time_limited_values,
    walk_distribution,
)
from ift_gridworld.planning.solvers import SOLVERS, value_iteration

__all__ = [
    "SOLVERS",
    "episodes_within",
    "evaluate_policy",
    "greedy",
    "occupancy",
    "optimal_policy",
    "optimal_success",
    "optimal_values",
    "soft_value_iteration",
    "solve",
    "state_matrix",
    "success_probability",
    "time_limited_values",
    "value_iteration",
    "walk_distribution",
]
