"""The loss core: how SFT, IFT, DPO and its relatives, reward models and PPO score a policy. Read it from top to bottom.

Conventions. `logp[..., t]` is the log-probability, in nats, that the policy gives the action which the data took at step t;
`mask[..., t]` (boolean) says which steps count; N is the number of counted steps of a row. Any leading dimensions: seeds,
sequences. Every loss is to be minimised and returns one value per sequence or pair, ready to be averaged; `ppo_clip_loss`
and `value_loss` return one value per step, zero where the mask is. Chosen and rejected log-probs are sums over a
trajectory's steps, unless an argument's name says mean.

Equation numbers are those of "Intuitive Fine-Tuning" (arXiv 2405.11870v3).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld.log_probs import at_least_float32, log1mexp, masked_fill_zero, masked_mean

Propagation = Literal["released", "algorithm1", "equation21", "none"]
Norm = Literal["L1", "L2", "softmax", "log"]
PROPAGATIONS: tuple[str, ...] = ("released", "algorithm1", "equation21", "none")
NORMS: tuple[str, ...] = ("L1", "L2", "softmax", "log")

# ---- imitation: SFT and IFT ----


def sft_loss(logp: Float[Tensor, "*batch T"], mask: Bool[Tensor, "*#batch T"]) -> Float[Tensor, "*batch"]:
    """Supervised fine-tuning (eq. 30): L = -(1/N) Σ_t log π(a*_t | s*_t).

    Every step is judged from the human's own state, as if the model had reached it with certainty.

    Returns:
        Nats per counted step; 0 for a row that counts none.
    """
    _same_steps(logp=logp, mask=mask)
    return -masked_mean(logp, mask)


def ift_loss(
    logp: Float[Tensor, "*batch T"],
    mask: Bool[Tensor, "*#batch T"],
    *,
    decay: float = 0.95,
    propagation: Propagation = "released",
    norm: Norm = "L1",
    detach_weights: bool = False,
) -> Float[Tensor, "*batch"]:
    """Intuitive Fine-Tuning's relation propagation: steps of one answer are weighed by each other's losses.

    `logp` is to come from the second pass, over the residual connection's mixed states (`residual.py`); with λ = 0 and
    propagation "none" the loss is SFT's to the last bit. With l_t = -log π(a*_t | s_t), over counted steps:

    - "released" (the authors' code): L = (1/N) Σ_t w_t l_t with `relation_weights` w, Σ w = N. A step answers for what
      follows it: where the loss is spread evenly, early steps weigh most. If gradient flows through w (as the authors
      intend), with u_t = Σ_{i≥t} γ^{i-t} l_i, U = Σ u, L1 and γ > 0:
      ∂L/∂l_k = (u_k + Σ_{t≤k} γ^{k-t}(l_t - L)) / U. It turns NEGATIVE for a late step that is learnt much better than the
      early ones: such a step is un-learnt.
    - "algorithm1" (the paper's listing): L = Σ_t w_t l_t with w_t = Σ_{i≥t} γ^{i-t} l_i. Quadratic in l, not scaled. Constant
      weights favour early steps; with gradient through them L is the same read backwards, and favours neither end.
    - "equation21" (eq. 21, 36): L = Σ_n Σ_{i≥n} γ^{i-n} l_i, summed, not averaged. LATE steps weigh most: with γ = 1 the
      i-th counted step (from 0) counts i + 1 times.
    - "none": `sft_loss`.

    Args:
        logp: log-probabilities of the data's actions.
        mask: which steps count.
        decay: γ in [0, 1], acting on the losses (the MDP's own discount is another thing).
        propagation: which of the three published definitions.
        norm: how the released form scales its weights.
        detach_weights: hold w constant in the backward pass ("released" and "algorithm1").
    """
    _same_steps(logp=logp, mask=mask)
    _one_of("propagation", propagation, PROPAGATIONS)
    logp = at_least_float32(logp)
    _one_of("norm", norm, NORMS)
    _in_unit_interval("decay", decay)
    if propagation == "none":
        return sft_loss(logp, mask)
    loss = -masked_fill_zero(logp, mask)
    if propagation == "equation21":
        return (_product(mask.to(loss.dtype), _decay_matrix(loss, decay)) * loss).sum(-1)
    if propagation == "algorithm1":
        weights = masked_fill_zero(_product(loss, _decay_matrix(loss, decay).T), mask)
        return ((weights.detach() if detach_weights else weights) * loss).sum(-1)
    weights = relation_weights(logp, mask, decay, norm)
    return masked_mean((weights.detach() if detach_weights else weights) * loss, mask)


def relation_weights(
    logp: Float[Tensor, "*batch T"], mask: Bool[Tensor, "*#batch T"], decay: float, norm: Norm = "L1"
) -> Float[Tensor, "*batch T"]:
    """The released code's weights: w_t = c_t + γ w_{t+1} with c = -logp / N, normalised, zero off the mask, Σ_t w_t = N.

    γ = 0 gives w = 1 (off the mask too), a special case of the authors' that is not the limit γ → 0 (there
    w_t → N l_t / Σ l). Where every counted loss is exactly 0 the scaling would be 0/0; the counted weights are 1.

    Args:
        logp: log-probabilities of the data's actions.
        mask: which steps count.
        decay: γ in [0, 1].
        norm: applied to w before zeroing and scaling: "L1" w itself, "L2" w², "softmax" softmax(w), "log" log(1 + w).
    """
    _same_steps(logp=logp, mask=mask)
    _in_unit_interval("decay", decay)
    _one_of("norm", norm, NORMS)
    logp = at_least_float32(logp)
    counted = mask.to(logp.dtype).expand(np.broadcast_shapes(logp.shape, mask.shape))
    if decay == 0:
        return torch.ones_like(counted)
    steps = counted.sum(-1, keepdim=True)
    share = -masked_fill_zero(logp, mask) / steps.clamp(min=1)
    weights = _product(share, _decay_matrix(share, decay).T)
    # A common factor cancels in the scaling; taken out first, it keeps tiny squares and large exponentials in range.
    if norm == "L2":
        largest = weights.amax(-1, keepdim=True).detach()
        weights = (weights / torch.where(largest > 0, largest, 1.0)) ** 2
    elif norm == "softmax":
        weights = torch.exp(weights - weights.amax(-1, keepdim=True))
    elif norm == "log":
        weights = torch.log1p(weights)
    weights = masked_fill_zero(weights, mask)
    total = weights.sum(-1, keepdim=True)
    nothing = total <= 0
    return torch.where(nothing, counted, weights * steps / torch.where(nothing, 1.0, total))


def _product(x: Float[Tensor, "*batch T"], matrix: Float[Tensor, "T T"]) -> Float[Tensor, "*batch T"]:
    """In the precision that the two have, even where autocast would take half of it away."""
    if not torch.amp.is_autocast_available(x.device.type):
        return x @ matrix
    with torch.autocast(x.device.type, enabled=False):
        return x @ matrix


def _decay_matrix(like: Tensor, decay: float) -> Float[Tensor, "T T"]:
    """D[t, i] = γ^{i-t} for i ≥ t, else 0: propagation as one matrix product instead of a loop over steps."""
    return _cached_decay_matrix(like.shape[-1], float(decay), like.dtype, like.device)


@lru_cache(maxsize=2)  # of T² numbers each
def _cached_decay_matrix(steps: int, decay: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a matrix first needed in inference must serve training later
        step = torch.arange(steps, dtype=dtype, device=device)
        distance = step[None, :] - step[:, None]
        powers = torch.pow(torch.tensor(decay, dtype=dtype, device=device), distance.clamp(min=0))
        return torch.where(distance >= 0, powers, 0.0)


# ---- preferences: DPO and its relatives ----


def dpo_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    reference_free: bool = False,
) -> Float[Tensor, "*pairs"]:
    """Direct preference optimisation: L = -(1-ε) log σ(β d) - ε log σ(-β d), d = (c - c_ref) - (r - r_ref).

    At π = π_ref it is log 2 with ∂L/∂c = -β/2. It asks for the difference alone: both log-probs may fall.

    Args:
        chosen, rejected: summed log-probs of the two trajectories under the policy.
        reference_chosen, reference_rejected: the same under the frozen reference.
        beta: price of one nat of KL, > 0.
        label_smoothing: ε, the share of labels taken to be wrong, in [0, 0.5).
        reference_free: take the reference to be indifferent (its log-ratio 0).
    """
    _positive("beta", beta)
    _finite("beta", beta)
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}; allowed: [0, 0.5)")
    margin = beta * _log_ratio(chosen, rejected, reference_chosen, reference_rejected, reference_free)
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)


def ipo_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    *,
    beta: float = 0.1,
    reference_free: bool = False,
) -> Float[Tensor, "*pairs"]:
    """Identity preference optimisation: L = (d - 1/(2β))², d as in `dpo_loss`; a target margin instead of an endless one.

    The original's log-probs are sums over steps. Handing in means instead changes the target margin by a factor of the
    length.
    """
    _positive("beta", beta)
    _finite("beta", beta)
    return (_log_ratio(chosen, rejected, reference_chosen, reference_rejected, reference_free) - 1 / (2 * beta)) ** 2


def _log_ratio(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, reference_free: bool
) -> Tensor:
    """d = (log π_c - log π_r) - (log ref_c - log ref_r)."""
    _same_shape(chosen=chosen, rejected=rejected, reference_chosen=reference_chosen, reference_rejected=reference_rejected)
    policy = at_least_float32(chosen) - at_least_float32(rejected)
    if reference_free:
        return policy
    return policy - (at_least_float32(reference_chosen) - at_least_float32(reference_rejected))


def orpo_loss(
    chosen_mean: Float[Tensor, "*pairs"], rejected_mean: Float[Tensor, "*pairs"], *, beta: float = 0.25
) -> Float[Tensor, "*pairs"]:
    """Odds-ratio preference optimisation: L = -c̄ - β log σ(log odds(c̄) - log odds(r̄)), odds(x̄) = e^x̄ / (1 - e^x̄).

    SFT on the chosen answer plus a push between the odds of the two; no reference. At equal likelihoods the odds term is
    log 2.

    Args:
        chosen_mean, rejected_mean: log-probs averaged over each trajectory's steps, <= 0.
        beta: weight of the odds term, > 0.
    """
    _positive("beta", beta)
    _finite("beta", beta)
    _same_shape(chosen_mean=chosen_mean, rejected_mean=rejected_mean)
    chosen_mean, rejected_mean = at_least_float32(chosen_mean), at_least_float32(rejected_mean)
    log_odds = (chosen_mean - rejected_mean) - (log1mexp(chosen_mean) - log1mexp(rejected_mean))
    return -chosen_mean - beta * F.logsigmoid(log_odds)


def simpo_loss(
    chosen_mean: Float[Tensor, "*pairs"], rejected_mean: Float[Tensor, "*pairs"], *, beta: float = 2.0, gamma: float = 1.6
) -> Float[Tensor, "*pairs"]:
    """Simple preference optimisation: L = -log σ(β (c̄ - r̄) - γ); no reference, length-averaged, with a target margin γ.

    Args:
        chosen_mean, rejected_mean: log-probs averaged over each trajectory's steps.
        beta: scale of the margin, > 0.
        gamma: margin to reach, after scaling (the paper's γ/β is 0.8).
    """
    _positive("beta", beta)
    _finite("beta", beta)
    _finite("gamma", gamma)
    _same_shape(chosen_mean=chosen_mean, rejected_mean=rejected_mean)
    return -F.logsigmoid(beta * (at_least_float32(chosen_mean) - at_least_float32(rejected_mean)) - gamma)


def tdpo_loss(
    chosen_margin: Float[Tensor, "*pairs"],
    rejected_margin: Float[Tensor, "*pairs"],
    chosen_kl: Float[Tensor, "*pairs"],
    rejected_kl: Float[Tensor, "*pairs"],
    *,
    beta: float = 0.1,
    alpha: float = 0.5,
    version: int = 2,
) -> Float[Tensor, "*pairs"]:
    """Token-level DPO: L = -log σ(β d), with the forward KL of each answer's states in the margin.

    Version 1: d = m_c - m_r - (kl_r - kl_c). Version 2: d = m_c - m_r - α (kl_r - stopgrad(kl_c)).

    Args:
        chosen_margin, rejected_margin: m = log π - log π_ref, summed over steps.
        chosen_kl, rejected_kl: Σ_t KL(π_ref(.|s_t) || π(.|s_t)) over each trajectory's states.
        beta: price of one nat of KL, > 0.
        alpha: weight of the KL difference in version 2.
        version: 1 or 2.
    """
    _positive("beta", beta)
    _finite("beta", beta)
    if version not in (1, 2):
        raise ValueError(f"version is {version}; allowed: 1, 2")
    _finite("alpha", alpha)
    _same_shape(chosen_margin=chosen_margin, rejected_margin=rejected_margin, chosen_kl=chosen_kl, rejected_kl=rejected_kl)
    margin = at_least_float32(chosen_margin) - at_least_float32(rejected_margin)
    if version == 1:
        penalty = at_least_float32(rejected_kl) - at_least_float32(chosen_kl)
    else:
        penalty = alpha * (at_least_float32(rejected_kl) - at_least_float32(chosen_kl).detach())
    return -F.logsigmoid(beta * (margin - penalty))


# ---- RLHF: a reward model, advantages, PPO ----


def bradley_terry_loss(
    chosen_return: Float[Tensor, "*pairs"], rejected_return: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Reward model (eq. 33): L = -log σ(R_c - R_r), R the modelled return of each trajectory."""
    _same_shape(chosen_return=chosen_return, rejected_return=rejected_return)
    return -F.logsigmoid(at_least_float32(chosen_return) - at_least_float32(rejected_return))


def generalized_advantage_estimate(
    reward: Float[Tensor, "*batch T"],
    value: Float[Tensor, "*batch T+1"],
    discount: Float[Tensor, "*batch T"],
    *,
    lam: float = 0.95,
) -> Float[Tensor, "*batch T"]:
    """GAE (Schulman et al. 2016): A_t = δ_t + γ_t λ A_{t+1}, δ_t = r_t + γ_t V_{t+1} - V_t.

    λ = 0 is the TD error, λ = 1 the Monte-Carlo return minus the value.

    Args:
        reward: r_t.
        value: V(s_t), one more than rewards: the last one stands for all that follows the segment.
        discount: γ_t, the MDP's discount where the episode goes on and 0 where it terminated. A time limit is no
            termination: there, bootstrap (fold γ V into the reward before setting γ_t to 0).
        lam: λ in [0, 1].
    """
    _in_unit_interval("lam", lam)
    _same_steps(reward=reward, discount=discount, **{"value but its last": value[..., :-1]})
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
    """GRPO's critic-free advantage (Shao et al. 2024): A_i = (R_i - mean R) / (std R + ε) over G answers to one prompt.

    Every step of answer i is given A_i; the rest is `ppo_clip_loss`. A group that agrees has nothing to say: A = 0. The
    standard deviation is the sample's (divided by G - 1), as in public trainers. Dividing by it makes a prompt on which
    answers hardly differ count as much as any other; scale=False leaves it out.

    Args:
        reward: the return R of each answer.
        scale: whether to divide by the standard deviation.
        epsilon: added to it, > 0, so that rounding noise is not blown up.

    Raises:
        ValueError: for a group of one, which has nothing to be compared with.
    """
    _positive("epsilon", epsilon)
    if reward.ndim == 0 or reward.shape[-1] < 2:
        raise ValueError(f"reward has shape {tuple(reward.shape)}; allowed: [..., G] with groups of G >= 2 answers")
    reward = at_least_float32(reward)
    # Exactly 0 where all agree: the mean of equal numbers may differ from them in its last bit.
    apart = reward - reward[..., :1]
    centred = apart - apart.mean(-1, keepdim=True)
    if not scale:
        return centred
    variance = (centred**2).sum(-1, keepdim=True) / (reward.shape[-1] - 1)
    agrees = variance <= 0  # the root has no slope there
    deviation = torch.where(agrees, 0.0, torch.where(agrees, 1.0, variance).sqrt())
    return centred / (deviation + epsilon)


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
    come from π_old: this cannot be checked here.

    Args:
        logp, old_logp: log-probs of the actions taken, under the policy and under the one that took them.
        advantage: how much better each action was than the policy's average there.
        mask: which steps count.
        clip: ε > 0.
    """
    _positive("clip", clip)
    _same_steps(logp=logp, old_logp=old_logp, advantage=advantage, mask=mask)
    log_ratio = masked_fill_zero(at_least_float32(logp) - at_least_float32(old_logp), mask)
    advantage = masked_fill_zero(advantage, mask)
    # The minimum is the clip from above where A >= 0, from below where A < 0. Clipped before it is exponentiated, a ratio that
    # no float holds does no harm where it is clipped away.
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
    """PPO's clipped value loss, per step: ½ max((V - G)², (V_old + clip(V - V_old, -ε, ε) - G)²); 0 off the mask."""
    _positive("clip", clip)
    _same_steps(value=value, old_value=old_value, target=target, mask=mask)
    value, old_value, target = (masked_fill_zero(x, mask) for x in (value, old_value, target))
    near = old_value + (value - old_value).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - target) ** 2, (near - target) ** 2)


def kl_estimate(
    logp: Float[Tensor, "*batch"], reference_logp: Float[Tensor, "*batch"], kind: Literal["k1", "k2", "k3"] = "k3"
) -> Float[Tensor, "*batch"]:
    """Estimates of KL(π || π_ref) from actions sampled by π (Schulman 2020), with x = log π_ref - log π.

    k1 = -x: unbiased, can be negative. k2 = x²/2: biased, low variance. k3 = eˣ - 1 - x: unbiased, never negative.

    That is their value, for a penalty in the reward. As a term of the loss, with the samples held fixed, their expected
    gradients are those of something else: k1's is 0, k2's is ∇KL(π || π_ref), k3's (GRPO's) is ∇KL(π_ref || π).
    """
    _one_of("kind", kind, ("k1", "k2", "k3"))
    _same_shape(logp=logp, reference_logp=reference_logp)
    x = at_least_float32(reference_logp) - at_least_float32(logp)
    if kind == "k1":
        return -x
    return x**2 / 2 if kind == "k2" else torch.expm1(x) - x


# ---- what has no meaning is refused ----


def _same_steps(**values: Tensor) -> None:
    """Refuse what differs in its last axis, the steps, or cannot be laid side by side."""
    _same_shape(**values)
    if len({value.shape[-1:] for value in values.values()}) > 1 or any(value.ndim == 0 for value in values.values()):
        raise ValueError(f"{_shapes(values)}: the steps (last axis) must match")


def _same_shape(**values: Tensor) -> None:
    """Refuse shapes that do not broadcast, and those that would grow by it: [B] beside [B, 1] is a mistake, not B² pairs."""
    shapes = [tuple(value.shape) for value in values.values()]
    try:
        fits = np.broadcast_shapes(*shapes) in shapes  # torch's own imports sympy first, a third of a second
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{_shapes(values)}: these shapes do not match")


def _shapes(values: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in values.items())


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} is {value}; allowed: > 0")


def _finite(name: str, value: float) -> None:
    if not abs(value) < math.inf:
        raise ValueError(f"{name} is {value}; allowed: a finite number")


def _in_unit_interval(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; allowed: [0, 1]")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
