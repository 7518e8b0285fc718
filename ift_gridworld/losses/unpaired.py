"""Learning from single answers, each labelled desirable or not: KTO.

No answer needs a partner. What a pair's partner does in DPO, a common reference point does here: how far the policy has moved
from its reference on the whole. An answer is judged by its log-ratio less that.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld.log_probs import at_least_float32
from ift_gridworld.losses._checks import check_not_negative, check_positive_and_finite, check_same_shape

__all__ = ["kto_loss"]


def kto_loss(
    logp: Float[Tensor, "*sequences"],
    reference: Float[Tensor, "*#sequences"],
    desirable: Bool[Tensor, "*#sequences"],
    kl: Float[Tensor, "*#sequences"],
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Float[Tensor, "*sequences"]:
    """Kahneman-Tversky optimisation: L = λ_d σ(-z) for a desirable answer, λ_u σ(z) for another, z = β (log π/π_ref - kl).

    The value of an answer is a sigmoid: convex for losses, concave for gains, so that hopeless and settled answers both hardly
    count. `kl` stands for KL(π || π_ref). The paper estimates it by the mean log-ratio of mismatched answers in a batch,
    clamped at 0 as here; where the KL divergence is known exactly, hand that in. No gradient flows through it.
    Source: Ethayarajh et al. 2024 (arXiv 2402.01306). Tested against numbers of TRL 1.16's trainer.

    Args:
        logp: summed log-probability of each answer under the policy, in nats.
        reference: the same under the frozen reference.
        desirable: True for answers to be made likelier, False for those to be made less likely.
        kl: reference point in nats: one number (no dimension) or one per answer. A negative one counts as 0.
        beta: how soon the value saturates, > 0.
        desirable_weight, undesirable_weight: λ_d and λ_u, >= 0, to make up for unequal numbers of the two.

    Returns:
        One value per answer, in [0, λ].

    Raises:
        ValueError: if shapes do not match, desirable is not boolean, or for a beta or weight that is not allowed.

    Example:
        >>> logp, desirable = torch.tensor([-3.0, -5.0]), torch.tensor([True, False])
        >>> kto_loss(logp, logp, desirable, torch.tensor(0.0))  # the policy is the reference: σ(0) each
        tensor([0.5000, 0.5000])
    """
    check_positive_and_finite("beta", beta)
    check_not_negative("desirable_weight", desirable_weight)
    check_not_negative("undesirable_weight", undesirable_weight)
    if desirable.dtype != torch.bool:
        raise ValueError(f"desirable has dtype {desirable.dtype}; allowed: torch.bool")
    check_same_shape(logp=logp, reference=reference, desirable=desirable, kl=kl)
    log_ratio = at_least_float32(logp) - at_least_float32(reference)
    z = beta * (log_ratio - at_least_float32(kl).detach().clamp(min=0))
    return torch.where(desirable, desirable_weight * torch.sigmoid(-z), undesirable_weight * torch.sigmoid(z))
