"""Learning from the policy's own rollouts: advantages, PPO's clipped losses, and estimates of the KL divergence.

PPO's order: a critic and `generalized_advantage_estimate`, then `ppo_clip_loss` for the policy and `value_loss` for the
critic. GRPO needs no critic: `group_relative_advantage`, then `ppo_clip_loss`; its relatives weight and average steps in other
ways (`group_policy.py`). All may pay for leaving the reference by `kl_estimate`. Data must be on-policy: rollouts of the policy
that `old_logp` was recorded under. No loss can check this.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.choices import KL_KINDS, KLKind
from ift_gridworld.log_probs import at_least_float32, masked_fill_zero
from ift_gridworld.losses._checks import (
    check_choice,
    check_positive,
    check_same_shape,
    check_same_steps,
    check_unit_interval,
)

__all__ = [
    "KL_KINDS",
    "KLKind",
    "generalized_advantage_estimate",
    "group_relative_advantage",
    "kl_estimate",
    "leave_one_out_advantage",
    "ppo_clip_loss",
    "value_loss",
]

# ---- advantages ----


def generalized_advantage_estimate(
    reward: Float[Tensor, "*batch T"],
    value: Float[Tensor, "*batch T+1"],
    discount: Float[Tensor, "*batch T"],
    *,
    lam: float = 0.95,
) -> Float[Tensor, "*batch T"]:
    """Generalised advantage estimation: A_t = δ_t + γ_t λ A_{t+1}, δ_t = r_t + γ_t V_{t+1} - V_t.

    λ = 0 is the TD error, λ = 1 the Monte-Carlo return minus the value.
    Source: Schulman et al. 2016 (arXiv 1506.02438).

    Args:
        reward: r_t.
        value: V(s_t), one more than rewards: the last one stands for all that follows the segment.
        discount: γ_t, the MDP's discount where the episode goes on and 0 where it terminated. A time limit truncates and does
            not terminate: there, bootstrap (add γ V to the reward before setting γ_t to 0).
        lam: λ in [0, 1].

    Returns:
        One advantage per step, in units of reward. Gradient flows from it to all inputs; detach it for a policy loss.

    Raises:
        ValueError: if shapes do not match, or for a lam outside [0, 1].

    Example:
        >>> reward, discount = torch.tensor([0.0, 1.0]), torch.tensor([0.9, 0.0])
        >>> generalized_advantage_estimate(reward, torch.zeros(3), discount, lam=1.0)
        tensor([0.9000, 1.0000])
    """
    check_unit_interval("lam", lam)
    check_same_steps(reward=reward, discount=discount, **{"value but its last": value[..., :-1]})
    reward, value, discount = (at_least_float32(x) for x in (reward, value, discount))
    delta = reward + discount * value[..., 1:] - value[..., :-1]
    advantage = torch.empty_like(delta)
    following = delta.new_zeros(delta.shape[:-1])
    for t in reversed(range(delta.shape[-1])):
        following = delta[..., t] + discount[..., t] * lam * following
        advantage[..., t] = following
    return advantage


def group_relative_advantage(
    reward: Float[Tensor, "*groups G"], *, scale: bool = True, epsilon: float = 1e-4
) -> Float[Tensor, "*groups G"]:
    """GRPO's critic-free advantage: A_i = (R_i - mean R) / (std R + ε) over G answers to one prompt.

    Every step of answer i is given A_i; the rest is `ppo_clip_loss`. A group whose answers agree has A = 0. The standard
    deviation is the sample's (divided by G - 1), as in public trainers. Dividing by it makes a prompt on which answers hardly
    differ count as much as any other; scale=False omits it, as Dr. GRPO does (Liu et al. 2025, arXiv 2503.20783).
    Source: Shao et al. 2024 (arXiv 2402.03300).

    Args:
        reward: the return R of each answer.
        scale: whether to divide by the standard deviation.
        epsilon: added to it, > 0, so that rounding noise is not magnified.

    Returns:
        One advantage per answer, in standard deviations, or in units of reward if scale is False.

    Raises:
        ValueError: for a group of one, which has nothing to be compared with, or an epsilon that is not above 0.

    Example:
        >>> group_relative_advantage(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), scale=False)
        tensor([[ 0.5000, -0.5000, -0.5000,  0.5000]])
    """
    check_positive("epsilon", epsilon)
    centred = _less_mean(reward)
    if not scale:
        return centred
    variance = (centred**2).sum(-1, keepdim=True) / (reward.shape[-1] - 1)
    agrees = variance <= 0  # the root has no slope there
    deviation = torch.where(agrees, 0.0, torch.where(agrees, 1.0, variance).sqrt())
    return centred / (deviation + epsilon)


def leave_one_out_advantage(
    reward: Float[Tensor, "*groups G"], group: int | Int[Tensor, "*#groups G"] | None = None
) -> Float[Tensor, "*groups G"]:
    """RLOO's critic-free advantage: A_i = R_i - mean of the other answers' R, over G answers to one prompt.

    The baseline does not depend on the answer that it is subtracted for, so that the policy gradient is unbiased. A_i is
    G/(G-1) times the reward less the mean of all, which is what Dr. GRPO has: `group_relative_advantage` without scale.
    Source: Kool et al. 2019; for language Ahmadian et al. 2024 (arXiv 2402.14740, eq. 8).

    Args:
        reward: the return R of each answer.
        group: which answers of the last axis share a prompt: all of them (None), each run of so many (a number), or those
            with the same entry (integers, for groups of unequal size).

    Returns:
        One advantage per answer, in units of reward; a group whose answers agree has A = 0.

    Raises:
        ValueError: for a group of one, which has nothing to be compared with, or a size that does not divide the last axis.

    Example:
        >>> leave_one_out_advantage(torch.tensor([1.0, 0.0, 0.0, 1.0, 3.0]), torch.tensor([7, 7, 7, 4, 4]))
        tensor([ 1.0000, -0.5000, -0.5000, -2.0000,  2.0000])
    """
    if isinstance(group, Tensor):
        check_same_steps(reward=reward, group=group)
        reward = at_least_float32(reward)
        same = group[..., :, None] == group[..., None, :]
        others = same.sum(-1) - 1
        if (others < 1).any():
            raise ValueError(f"group {int(group[others < 1][0])} has 1 answer; allowed: >= 2")
        differences = masked_fill_zero(reward[..., :, None] - reward[..., None, :], same)
        return differences.sum(-1) / others
    if group is not None:
        answers = reward.shape[-1] if reward.ndim else 1
        if group < 2 or answers % group:
            raise ValueError(f"group is {group}; allowed: >= 2, a divisor of the last axis of reward {tuple(reward.shape)}")
        return leave_one_out_advantage(reward.unflatten(-1, (-1, group))).flatten(-2)
    return _less_mean(reward) * (reward.shape[-1] / (reward.shape[-1] - 1))


def _less_mean(reward: Float[Tensor, "*groups G"]) -> Float[Tensor, "*groups G"]:
    """R_i - mean R, exactly 0 where all agree."""
    if reward.ndim == 0 or reward.shape[-1] < 2:
        raise ValueError(f"reward has shape {tuple(reward.shape)}; allowed: [..., G] with groups of G >= 2 answers")
    reward = at_least_float32(reward)
    difference = reward - reward[..., :1]  # the mean of equal numbers may differ from them in its last bit
    return difference - difference.mean(-1, keepdim=True)


# ---- PPO ----


def ppo_clip_loss(
    logp: Float[Tensor, "*batch T"],
    old_logp: Float[Tensor, "*batch T"],
    advantage: Float[Tensor, "*batch T"],
    mask: Bool[Tensor, "*#batch T"],
    *,
    clip: float = 0.2,
) -> Float[Tensor, "*batch T"]:
    """PPO's clipped surrogate, per step: -min(ρ A, clip(ρ, 1-ε, 1+ε) A), ρ = π/π_old; 0 off the mask.

    At ρ = 1 its gradient is the policy gradient; it is 0 where a step has gone beyond the clip in its own favour. Data must
    come from π_old: this cannot be checked here. Source: Schulman et al. 2017 (arXiv 1707.06347), eq. 7.

    Args:
        logp, old_logp: log-probabilities of the actions taken, in nats, under the policy and under the one that took them.
        advantage: how much better each action was than the policy's average there.
        mask: which steps count.
        clip: ε > 0.

    Returns:
        One value per step, in units of the advantage.

    Raises:
        ValueError: if shapes do not match, the mask is not boolean, or clip is not above 0.

    Example:
        >>> logp, old_logp = torch.tensor([1.5, 0.5]).log(), torch.zeros(2)
        >>> ppo_clip_loss(logp, old_logp, torch.ones(2), torch.tensor([True, True]))  # ratios 1.5, clipped, and 0.5
        tensor([-1.2000, -0.5000])
    """
    check_positive("clip", clip)
    check_same_steps(logp=logp, old_logp=old_logp, advantage=advantage, mask=mask)
    log_ratio = masked_fill_zero(at_least_float32(logp) - at_least_float32(old_logp), mask)
    advantage = masked_fill_zero(advantage, mask)
    # The minimum clips from above where A >= 0, from below where A < 0. Clipped before it is exponentiated, a ratio that no
    # float holds does no harm where it is clipped away.
    low, high = (math.log(1 - clip) if clip < 1 else -math.inf), math.log1p(clip)
    ratio = torch.exp(torch.where(advantage >= 0, log_ratio.clamp(max=high), log_ratio.clamp(min=low)))
    return -(ratio * advantage)  # 0 off the mask, where the advantage is


def value_loss(
    value: Float[Tensor, "*batch T"],
    old_value: Float[Tensor, "*batch T"],
    target: Float[Tensor, "*batch T"],
    mask: Bool[Tensor, "*#batch T"],
    *,
    clip: float = 0.2,
) -> Float[Tensor, "*batch T"]:
    """PPO's clipped value loss, per step: ½ max((V - G)², (V_old + clip(V - V_old, -ε, ε) - G)²); 0 off the mask.

    Not in the paper; from its authors' code (openai/baselines, ppo2).

    Args:
        value, old_value: the critic's values now and when the rollout was made, in units of return.
        target: G, the returns to be predicted.
        mask: which steps count.
        clip: ε > 0.

    Returns:
        One value per step, in squared units of return.

    Raises:
        ValueError: if shapes do not match, the mask is not boolean, or clip is not above 0.

    Example:
        >>> one = torch.tensor([1.0])
        >>> value_loss(one, 0 * one, 3 * one, torch.tensor([True]))  # ½ max((1 - 3)², (0.2 - 3)²)
        tensor([3.9200])
    """
    check_positive("clip", clip)
    check_same_steps(value=value, old_value=old_value, target=target, mask=mask)
    value, old_value, target = (masked_fill_zero(x, mask) for x in (value, old_value, target))
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - target) ** 2, (clipped - target) ** 2)


# ---- distance from the reference ----


def kl_estimate(
    logp: Float[Tensor, "*batch"], reference_logp: Float[Tensor, "*batch"], kind: KLKind = "k3"
) -> Float[Tensor, "*batch"]:
    """Estimates of KL(π || π_ref) from actions sampled by π, with x = log π_ref - log π.

    k1 = -x: unbiased, can be negative. k2 = x²/2: biased, low variance. k3 = eˣ - 1 - x: unbiased, never negative.

    That is their value, for a penalty in the reward. As a term of the loss, with the samples held fixed, their expected
    gradients are those of something else: k1's is 0, k2's is ∇KL(π || π_ref), k3's (GRPO's) is ∇KL(π_ref || π).
    Source: Schulman 2020, "Approximating KL Divergence" (joschu.net/blog/kl-approx.html).

    Args:
        logp, reference_logp: log-probabilities of the sampled actions under the policy and the reference, in nats.
        kind: "k1", "k2" or "k3".

    Returns:
        One estimate per sample, in nats.

    Raises:
        ValueError: if shapes do not match, or for a kind that is not allowed.

    Example:
        >>> logp, reference_logp = torch.tensor([-1.0]), torch.tensor([-2.0])
        >>> [round(kl_estimate(logp, reference_logp, kind).item(), 4) for kind in KL_KINDS]
        [1.0, 0.5, 0.3679]
    """
    check_choice("kind", kind, KL_KINDS)
    check_same_shape(logp=logp, reference_logp=reference_logp)
    x = at_least_float32(reference_logp) - at_least_float32(logp)
    if kind == "k1":
        return -x
    return x**2 / 2 if kind == "k2" else torch.expm1(x) - x
