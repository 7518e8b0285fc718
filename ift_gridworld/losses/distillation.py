"""Learning from a teacher's whole distribution rather than from the one action that it took: distillation.

A demonstration shows one action a state. A teacher that can be asked gives the probabilities of all of them, at any state; at
the states that the student itself visits, this is on-policy distillation (GKD).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld.log_probs import kl_divergence, masked_fill_zero, masked_mean
from ift_gridworld.losses._checks import check_same_shape, check_unit_interval

__all__ = ["generalized_jsd_loss"]


def generalized_jsd_loss(
    logits: Float[Tensor, "*batch T A"],
    teacher_logits: Float[Tensor, "*#batch T A"],
    mask: Bool[Tensor, "*#batch T"],
    *,
    beta: float = 0.5,
) -> Float[Tensor, "*batch"]:
    """Generalised Jensen-Shannon divergence of student and teacher: β KL(p_T || m) + (1-β) KL(p_S || m), m = β p_T + (1-β) p_S.

    β = ½ is the symmetric divergence, at most log 2. β = 0 is KL(p_T || p_S), which covers all that the teacher does, and
    β = 1 KL(p_S || p_T), which picks what the teacher surely does. These two are conventions, not limits: the divergence
    itself vanishes as β → 0 and as β → 1, as β times the one and (1-β) times the other.
    Source: Agarwal et al. 2024 (GKD, arXiv 2306.13649, eq. 1). Tested against numbers of TRL 1.16's trainer.

    Args:
        logits: the student's, of all actions, at each step; -inf for an impossible action.
        teacher_logits: the teacher's. Gradient flows to them too; detach them if the teacher learns as well.
        mask: which steps count.
        beta: β in [0, 1].

    Returns:
        Nats per counted step; 0 for a row that counts none. Infinite at β = 0 or 1 where one distribution excludes an action
        that the other takes.

    Raises:
        ValueError: if shapes do not match, the mask is not boolean, or for a beta outside [0, 1].

    Example:
        >>> logits, teacher_logits = torch.zeros(1, 2), torch.tensor([[0.0, -torch.inf]])  # a coin against certainty
        >>> [round(generalized_jsd_loss(logits, teacher_logits, torch.tensor([True]), beta=b).item(), 4) for b in (0, 0.5)]
        [0.6931, 0.2158]
    """
    check_unit_interval("beta", beta)
    check_same_shape(logits=logits, teacher_logits=teacher_logits, **{"mask, with actions": mask.unsqueeze(-1)})
    # Set to 0 before the softmax, whose gradient at a padded NaN would be NaN.
    counted = mask.unsqueeze(-1).expand(*mask.shape, logits.shape[-1])
    student, teacher = (masked_fill_zero(x, counted) for x in (logits, teacher_logits))
    if beta in (0, 1):
        return masked_mean(kl_divergence(teacher, student) if beta == 0 else kl_divergence(student, teacher), mask)
    lowest = torch.finfo(student.dtype).min  # stands for -inf, whose gradient in logaddexp is NaN
    log_s, log_t = (torch.log_softmax(x, -1).clamp(min=lowest) for x in (student, teacher))
    log_m = torch.logaddexp(log_s + math.log(1 - beta), log_t + math.log(beta))
    divergence = beta * log_t.exp() * (log_t - log_m) + (1 - beta) * log_s.exp() * (log_s - log_m)
    return masked_mean(divergence.sum(-1), mask)
