"""Soft-optimal values: the exact solution of RLHF, the reward minus the price of leaving a reference policy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from ift_gridworld.checks import check_mdp, check_positive, check_whole
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.bellman import INFINITE_VALUES, backup, kept_among
from ift_gridworld.planning.chain import check_policy

__all__ = ["soft_value_iteration"]

TOLERANCE = 1e-13


def soft_value_iteration(
    mdp: TabularMDP,
    reference: Float[np.ndarray, "S A"],
    beta: float,
    *,
    tolerance: float = TOLERANCE,
    max_sweeps: int = 1_000_000,
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S A"]]:
    """Maximise E[Σ_t γ^t (r_t - β KL(π || reference))] exactly.

    V(s) = β log Σ_a reference(a|s) exp(Q(s,a) / β), Q(s,a) = r(s,a) + γ Σ_s' P(s'|s,a) V(s'),
    π(a|s) = reference(a|s) exp((Q(s,a) - V(s)) / β). Source: Ziebart 2010; the closed form is DPO's eq. 4 (Rafailov et al.
    2023, arXiv 2305.18290), for a Markov decision process instead of one answer.

    Args:
        mdp: the problem; its `discount` is used.
        reference: policy that deviation is charged against; an action of probability 0 keeps probability 0.
        beta: β, the price of one nat of KL in units of reward, > 0.
        tolerance: stop when no value changes by more than this share of the largest one (of 1 if that is smaller).
        max_sweeps: sweeps before giving up.

    Returns:
        V [S], in units of reward, and π [S, A].

    Raises:
        ValueError: for a beta that is not above 0, a reference that is not a policy of this MDP, or values that do not
            converge.

    Example:
        >>> one_step = TabularMDP.from_map(("SG",), discount=0.0)
        >>> value, policy = soft_value_iteration(one_step, np.full((2, 4), 0.25), beta=0.1)
        >>> policy[0].round(3)  # right is the move to the goal
        array([0., 0., 1., 0.])
        >>> float(value[0].round(3))  # 1 - 0.1 log 4: one action of four costs log 4 nats
        0.861
    """
    check_mdp(mdp)
    check_positive("beta", beta)
    check_positive("tolerance", tolerance)
    check_whole("max_sweeps", max_sweeps, at_least=1)
    reference = check_policy(mdp, reference)
    reference, possible = reference / reference.sum(-1, keepdims=True), reference > 0
    value = earlier = np.zeros(mdp.num_states)
    for sweep in range(1, max_sweeps + 1):
        action_value = backup(mdp, value)
        top = np.where(possible, action_value, -np.inf).max(-1)
        gain = np.where(possible, (action_value - top[:, None]) / beta, 0.0)
        # log1p and expm1: for a large beta the logarithm's argument is nearly 1.
        new = top + beta * np.log1p((reference * np.expm1(gain)).sum(-1))
        new[mdp.terminal] = 0.0
        change = np.abs(new - value).max()
        value = new
        if mdp.discount == 1 and sweep.bit_count() == 1:  # sweeps 1, 2, 4, 8, …
            if sweep > 1_000 and _is_endless(mdp, earlier, value, possible):
                raise ValueError(INFINITE_VALUES)
            earlier = value
        if change <= tolerance * max(1.0, np.abs(value).max()):
            policy = reference * np.exp(gain)
            return value, policy / policy.sum(-1, keepdims=True)
    raise ValueError(f"soft values still change by {change:.2g} after {max_sweeps} sweeps with discount {mdp.discount}")


def _is_endless(
    mdp: TabularMDP, earlier: Float[np.ndarray, " S"], value: Float[np.ndarray, " S"], possible: Bool[np.ndarray, "S A"]
) -> bool:
    """Return whether undiscounted values provably change for ever: all of a set that no action leaves rose or fell."""

    def all_possible(inside: Bool[np.ndarray, "S A"], axis: int) -> Bool[np.ndarray, " S"]:
        return np.all(inside | ~possible, axis)

    rounding = 1e-9 * np.abs(value).max()
    moved = value > earlier + rounding, value < earlier - rounding
    return any(kept_among(mdp, among, all_possible)[0].any() for among in moved)
