"""The oracle: everything about an MDP and a policy that can be computed exactly, without sampling.

    optimal.py        optimal values and policies, within a time limit too; the highest possible success
    soft.py           the exact solution of RLHF: reward minus the price of leaving a reference policy
    evaluation.py     a policy's values, expected visits, success, and the distribution of its walk
    chain.py          the Markov chain of a policy, which evaluation.py computes on
    solvers.py        value iteration, policy iteration and relatives; `SOLVERS` names them
    sweeps.py         the fast solver for lakes, block by block over the grid
    bellman.py        one backup of Bellman's equation, and when sweeps have converged
    matrices.py       sparse transition matrices, and their factors

"Optimal" always depends on a discount or a horizon. Functions of the return use `mdp.discount`; functions of success are
undiscounted and take a horizon in steps. Policies are arrays [..., S, A] with any leading dimensions (seeds, snapshots);
results have the same ones.
"""

from ift_gridworld.planning.evaluation import (
    episodes_within,
    evaluate_policy,
    occupancy,
    path_survival,
    state_matrix,
    success_from,
    success_probability,
    walk_distribution,
)
from ift_gridworld.planning.optimal import (
    greedy,
    optimal_policy,
    optimal_success,
    optimal_values,
    solve,
    time_limited_values,
)
from ift_gridworld.planning.soft import soft_value_iteration
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
    "path_survival",
    "soft_value_iteration",
    "solve",
    "state_matrix",
    "success_from",
    "success_probability",
    "time_limited_values",
    "value_iteration",
    "walk_distribution",
]
