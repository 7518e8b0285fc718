"""Soft-optimal values: the exact solution of RLHF, the reward minus the price of leaving a reference policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from ift_gridworld.checks import check_mdp, check_positive, check_whole
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.bellman import INFINITE_VALUES, backup, kept_among
from ift_gridworld.planning.chain import PolicyChain, check_policy
from ift_gridworld.planning.matrices import onward_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["soft_policy_iteration", "soft_value_iteration"]

TOLERANCE = 1e-13
# Share of the largest value: a round of Newton's method from so near squares it, which is below rounding.
NEWTON, MOST_ROUNDS = 1e-9, 100
OUTCOMES_AT_ONCE = 2**20  # outcomes of all prices that are solved for together


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


def soft_policy_iteration(
    mdp: TabularMDP,
    weights: Float[np.ndarray, "S A"],
    beta: Float[np.ndarray, " M"],
    *,
    reward: Float[np.ndarray, "S A"] | None = None,
    start: Float[np.ndarray, "M S"] | None = None,
) -> tuple[Float[np.ndarray, "M S"], Float[np.ndarray, "M S A"]]:
    """Solve what `soft_value_iteration` solves for many prices at once, by Newton's method on the soft Bellman equation.

    Each round evaluates π(a|s) ∝ w(a|s) exp(Q(s,a) / β) exactly, so that digits double from round to round, at discounts near 1
    as well. Values rise from round to round; they begin at those of the reference.

    Args:
        mdp: the problem; its `discount` is used.
        weights: w, the reference, whose rows need not sum to 1 (a policy cut down to some of its actions); rows of terminal
            states must.
        beta: prices of a nat of KL, each > 0. The KL is to w.
        reward: r(s, a) in place of the MDP's.
        start: values to begin with, near the solution; not used with discount 1, where they might begin a walk without end.

    Returns:
        V and π for each price.

    Raises:
        ValueError: for values that are infinite or do not converge.

    Example:
        >>> mdp, uniform = TabularMDP.from_map(("SFG",)), np.full((3, 4), 0.25)
        >>> value, _ = soft_policy_iteration(mdp, uniform, np.array([0.1, 1.0]))
        >>> [bool(np.allclose(value[i], soft_value_iteration(mdp, uniform, beta)[0])) for i, beta in enumerate((0.1, 1.0))]
        [True, True]
    """
    most = max(1, OUTCOMES_AT_ONCE // mdp.probability.size)
    reward, onward = mdp.expected_reward if reward is None else reward, onward_matrix(mdp)
    parts = []
    for i in range(0, len(beta), most):
        begin = None if start is None or mdp.discount == 1 else start[i : i + most]
        parts.append(_newton(mdp, weights, beta[i : i + most], reward, onward, begin))
    values, policies = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(policies)


def _newton(
    mdp: TabularMDP,
    weights: Float[np.ndarray, "S A"],
    beta: Float[np.ndarray, " M"],
    reward: Float[np.ndarray, "S A"],
    onward: csr_array,
    start: Float[np.ndarray, "M S"] | None,
) -> tuple[Float[np.ndarray, "M S"], Float[np.ndarray, "M S A"]]:
    total = weights.sum(-1)
    reference, possible = weights / total[:, None], weights > 0

    def backed_up(value: np.ndarray, price: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return T V, the policy that attains it, and its KL to the weights."""
        action_value = reward + mdp.discount * (onward @ value.T).T.reshape(-1, *reward.shape)
        top = np.where(possible, action_value, -np.inf).max(-1)
        gain = np.where(possible, (action_value - top[..., None]) / price[:, None, None], 0.0)
        share = (reference * np.expm1(gain)).sum(-1)
        # The first for a price so high that the argument is nearly 1, the second for a best action that is very unlikely.
        norm = np.where(share > -0.5, np.log1p(np.maximum(share, -0.5)), np.log((reference * np.exp(gain)).sum(-1)))
        log_ratio = gain - norm[..., None]
        policy = reference * np.exp(log_ratio)
        kl = (policy * log_ratio).sum(-1) - np.log(total)
        return np.where(mdp.terminal, 0.0, top + price[:, None] * (norm + np.log(total))), policy, kl

    def evaluated(policy: np.ndarray, kl: np.ndarray, price: np.ndarray) -> np.ndarray:
        paid = np.where(mdp.terminal, 0.0, (policy * reward).sum(-1) - price[:, None] * kl)
        return PolicyChain(mdp, policy).values(paid, mdp.discount)

    if start is None:
        policy = np.broadcast_to(reference, (len(beta), *reference.shape))
        value = evaluated(policy, np.broadcast_to(-np.log(total), policy.shape[:-1]), beta)
    else:
        value = start.copy()
    best, active = np.empty((len(beta), *reward.shape)), np.arange(len(beta))
    for _ in range(MOST_ROUNDS):
        new, policy, kl = backed_up(value[active], beta[active])
        residual = np.abs(new - value[active]).max(-1) / np.maximum(1e-300, np.abs(new).max(-1))
        best[active] = policy
        waiting = residual > NEWTON
        if not waiting.any():
            return value, best
        active = active[waiting]
        value[active] = evaluated(policy[waiting], kl[waiting], beta[active])
    if residual.max() > 1e3 * NEWTON:
        raise ValueError(f"soft values still change by {residual.max():.2g} of the largest after {MOST_ROUNDS} rounds")
    return value, best
