"""The metric that sums up policies on an MDP: success, or regret where success says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ift_gridworld.checks import check_mdp
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, success_probability

__all__ = ["can_miss_goal", "headline_metric"]

SAME = 0.01  # of the largest success: policies that differ by less count as equal


def headline_metric(mdp: TabularMDP, success: Sequence[float] = ()) -> str:
    """Return "success" if it tells policies apart, else "regret".

    Success says nothing where no episode can miss the goal (`can_miss_goal`): every policy that leaves no move out arrives.
    Nor does it where the uniform policy, the optimal one and those whose success is given all have the same, to 1 % of the
    largest, as with a time limit that is long enough for any walk.

    Args:
        mdp: its horizon is the time limit of success.
        success: that of further policies, such as bases, within the time limit. Where these differ nothing is computed.

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> headline_metric(TabularMDP.make("two-paths")), headline_metric(TabularMDP.make("CliffWalking-v1"))
        ('success', 'regret')
    """
    if not can_miss_goal(mdp):
        return "regret"
    known = list(success)
    if not _differ(known):
        uniform = np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions)
        known += np.ravel(success_probability(mdp, np.stack([uniform, optimal_policy(mdp)]), mdp.horizon)).tolist()
    return "success" if _differ(known) else "regret"


def can_miss_goal(mdp: TabularMDP) -> bool:
    """Return whether an episode can end without the goal: there is a time limit, or a terminal state that is no success.

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> lake = TabularMDP.from_map(["SF", "HG"]).with_time_limit(None)
        >>> can_miss_goal(lake), can_miss_goal(TabularMDP.from_map(["SF", "FG"]).with_time_limit(None))
        (True, False)
    """
    check_mdp(mdp)
    if mdp.horizon is not None:
        return True
    ends = mdp.terminated & (mdp.probability > 0) & ~mdp.terminal[:, None, None]
    return bool((ends & ~mdp.success).any())


def _differ(values: Sequence[float]) -> bool:
    known = [value for value in map(float, values) if np.isfinite(value)]
    return bool(known) and max(known) - min(known) > SAME * max(known)
