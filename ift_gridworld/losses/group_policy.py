"""GRPO and its relatives: one loss, and the four choices in which they differ.

Several answers are sampled to each prompt, and each is judged by its return against the others'; no critic is needed.

    method     advantage                           ratio      objective   average    arXiv
    GRPO       group_relative_advantage            token      clip        sequence   2402.03300
    Dr. GRPO   group_relative_advantage, no scale  token      clip        length     2503.20783
    DAPO       group_relative_advantage            token      clip        batch      2503.14476   clip=(0.2, 0.28)
    GSPO       group_relative_advantage            sequence   clip        sequence   2507.18071   clip=(3e-4, 4e-4)
    LUSPO      group_relative_advantage            sequence   clip        sum        2602.05261
    CISPO      group_relative_advantage            token      cispo       batch      2506.13585   clip[1] is the bound itself
    SAPO       group_relative_advantage            token      sapo        sequence   2511.20347
    RLOO       leave_one_out_advantage             token      clip        sum        2402.14740

"sequence" averaging makes a step of a long answer count less than one of a short answer. So a wrong answer costs less a step
the longer it is, which is Dr. GRPO's objection. All but RLOO's choice are tested against numbers of TRL 1.16's trainer.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld.choices import AVERAGES, OBJECTIVES, RATIO_LEVELS, Average, Objective, RatioLevel
from ift_gridworld.log_probs import at_least_float32, masked_fill_zero, masked_mean
from ift_gridworld.losses._checks import (
    check_choice,
    check_positive,
    check_positive_and_finite,
    check_same_shape,
    check_same_steps,
)

__all__ = ["AVERAGES", "OBJECTIVES", "RATIO_LEVELS", "Average", "Objective", "RatioLevel", "group_policy_loss"]


def group_policy_loss(
    logp: Float[Tensor, "*batch B T"],
    old_logp: Float[Tensor, "*#batch B T"],
    advantage: Float[Tensor, "*#batch B"],
    mask: Bool[Tensor, "*#batch B T"],
    *,
    clip: tuple[float, float] = (0.2, 0.2),
    objective: Objective = "clip",
    level: RatioLevel = "token",
    average: Average = "sequence",
    max_length: int | None = None,
) -> Float[Tensor, "*batch B"]:
    """Policy-gradient loss of whole answers, of GRPO and its relatives; the mean over B is the loss to be minimised.

    With ρ_t = π/π_old of step t ("token"), or exp of the mean log-ratio over the counted steps ("sequence"), a step's loss is

    - "clip": -min(ρ A, clamp(ρ, 1 - low, 1 + high) A), PPO's.
    - "cispo": -sg(min(ρ, high)) A log π: clipped steps still learn. The bound is `high` itself, not 1 + high, as in TRL.
    - "sapo": -(4/T) σ(T (ρ - 1)) A, T = 1 where A > 0, else 1.05: a soft gate; its slope is 1 at ρ = 1.

    Averages, over B sequences with N_b counted steps: "sequence" mean_b (Σ_t / N_b); "batch" Σ_bt / Σ_b N_b; "length"
    Σ_bt / (B max_length), which no answer's length changes; "sum" Σ_bt / B.

    Args:
        logp, old_logp: log-probabilities of the actions taken, in nats, under the policy and under the one that took them.
        advantage: one per sequence.
        mask: which steps count.
        clip: (low, high), each > 0; "cispo" reads high alone, "sapo" neither.
        objective, level, average: as above.
        max_length: greatest number of steps, > 0; "length" needs it, the others do not read it.

    Returns:
        One value per sequence, in units of the advantage; leading dimensions, such as seeds, are batches of their own.

    Raises:
        ValueError: if shapes do not match, the mask is not boolean, or for an option that is not allowed.

    Example:
        >>> logp, old_logp = torch.tensor([[1.5, 0.5]]).log(), torch.zeros(1, 2)
        >>> group_policy_loss(logp, old_logp, torch.ones(1), torch.tensor([[True, True]]))  # mean of -1.2, clipped, and -0.5
        tensor([-0.8500])
    """
    _check_options(clip, objective, level, average, max_length)
    check_same_steps(logp=logp, old_logp=old_logp, mask=mask)
    if logp.ndim < 2:
        raise ValueError(f"logp has shape {tuple(logp.shape)}; allowed: [..., B, T]")
    check_same_shape(advantage=advantage, **{"logp without steps": logp[..., 0]})
    advantage = at_least_float32(advantage).unsqueeze(-1)
    log_ratio = masked_fill_zero(at_least_float32(logp) - at_least_float32(old_logp), mask)
    if level == "sequence":
        log_ratio = masked_mean(log_ratio, mask).unsqueeze(-1)
    if objective == "cispo":
        bounded = log_ratio.clamp(max=math.log(clip[1])).exp().detach()
        loss = -bounded * advantage * masked_fill_zero(logp, mask)
    else:
        loss = _clip(log_ratio, advantage, *clip) if objective == "clip" else _sapo(log_ratio, advantage)
    loss = loss.expand(*loss.shape[:-1], mask.shape[-1])  # one value a sequence counts at each of its steps
    return _averaged(masked_fill_zero(loss, mask), mask, average, max_length)


def _check_options(clip: tuple[float, float], objective: str, level: str, average: str, max_length: int | None) -> None:
    check_choice("objective", objective, OBJECTIVES)
    check_choice("level", level, RATIO_LEVELS)
    check_choice("average", average, AVERAGES)
    check_positive("clip[0]", clip[0])
    check_positive("clip[1]", clip[1])
    if max_length is not None:
        check_positive_and_finite("max_length", max_length)
    elif average == "length":
        raise ValueError("max_length is None; average='length' needs the greatest number of steps")


def _clip(log_ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    """PPO's clipped surrogate. Clipped before it is exponentiated, as in `ppo_clip_loss`."""
    lowest = math.log(1 - low) if low < 1 else -math.inf
    bounded = torch.where(advantage >= 0, log_ratio.clamp(max=math.log1p(high)), log_ratio.clamp(min=lowest))
    return -bounded.exp() * advantage


def _sapo(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """SAPO's soft gate in the clip's place, closing sooner where A <= 0."""
    temperature = torch.where(advantage > 0, torch.ones_like(advantage), 1.05)
    # Beyond e^10 the gate is 1 and its slope 0, to the last bit; unbounded, the ratio overflows and the slope is NaN.
    ratio = log_ratio.clamp(max=10).exp()
    return -4 / temperature * torch.sigmoid(temperature * (ratio - 1)) * advantage


def _averaged(loss: Tensor, mask: Tensor, average: Average, max_length: int | None) -> Tensor:
    """One value per sequence whose mean over the batch is the average asked for."""
    total = loss.sum(-1)
    counted = mask.expand(loss.shape).sum(-1)
    if average == "sequence":
        return total / counted.clamp(min=1)
    if average == "batch":
        return total * loss.shape[-2] / counted.sum(-1, keepdim=True).clamp(min=1)
    return total / max_length if average == "length" and max_length else total
