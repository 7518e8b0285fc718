"""Log-probabilities, KL, entropy and masked reductions from logits: each numerically safe form, once.

Every function computes in float32 or better: half-precision inputs are raised to float32 first. All results are in nats.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = [
    "action_log_probs",
    "at_least_float32",
    "entropy",
    "kl_divergence",
    "log1mexp",
    "masked_fill_zero",
    "masked_mean",
    "masked_sum",
]


def at_least_float32(x: Tensor) -> Tensor:
    """Raise float16 and bfloat16 to float32; leave float32 and float64 alone.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def action_log_probs(logits: Float[Tensor, "*batch A"], actions: Int[Tensor, "*#batch"]) -> Float[Tensor, "*batch"]:
    """Return log π(a|s) of the given actions, in nats.

    Args:
        logits: of all actions.
        actions: the actions taken; of size 1 where `logits` has a seed dimension, they are shared.

    Example:
        >>> action_log_probs(torch.zeros(2, 4), torch.tensor([0, 3]))  # log(1/4)
        tensor([-1.3863, -1.3863])
    """
    table = torch.log_softmax(at_least_float32(logits), -1)
    return table.gather(-1, actions.expand(table.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def log1mexp(x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return log(1 - exp(x)) for x <= 0, without cancellation on either side of -log 2 (Mächler 2012).

    At x -> 0 the value tends to -inf; x is kept at or below minus the smallest normal number, so that value and gradient
    stay finite.

    Example:
        >>> log1mexp(torch.tensor([-1e-20, -100.0], dtype=torch.float64))  # log(1e-20), and -exp(-100)
        tensor([-4.6052e+01, -3.7201e-44], dtype=torch.float64)
    """
    x = at_least_float32(x)
    x = torch.minimum(x, x.new_tensor(-torch.finfo(x.dtype).tiny))
    near = x > -math.log(2.0)
    # Each branch gets a harmless argument where the other is taken: torch.where would pass on its NaN gradient.
    return torch.where(
        near, torch.log(-torch.expm1(torch.where(near, x, -1.0))), torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    )


def entropy(logits: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch"]:
    """Return H(π(.|s)) in nats.

    Example:
        >>> entropy(torch.zeros(4))  # log 4
        tensor(1.3863)
    """
    logp = torch.log_softmax(at_least_float32(logits), -1)
    return -_weighted(logp, logp).sum(-1)


def kl_divergence(p_logits: Float[Tensor, "*batch A"], q_logits: Float[Tensor, "*#batch A"]) -> Float[Tensor, "*batch"]:
    """Return KL(p || q) of two categorical distributions given by logits, in nats.

    Example:
        >>> kl_divergence(torch.tensor([0.0, -torch.inf]), torch.zeros(2))  # certain against a coin: log 2
        tensor(0.6931)
    """
    p, q = (torch.log_softmax(at_least_float32(x), -1) for x in (p_logits, q_logits))
    return _weighted(p, p - q).sum(-1)


def _weighted(logp: Float[Tensor, "*batch A"], x: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
    """Return p x, and 0 where p is 0 (an impossible action), whatever x is."""
    return logp.exp() * torch.where(logp > -torch.inf, x, 0.0)


def masked_fill_zero(x: Float[Tensor, "*#batch T"], mask: Bool[Tensor, "*#batch T"]) -> Float[Tensor, "*batch T"]:
    """Return x where the mask counts and exactly 0 elsewhere, -inf and NaN included, gradients too.

    Raises:
        ValueError: for a mask that is not boolean.

    Example:
        >>> masked_fill_zero(torch.tensor([1.0, torch.nan]), torch.tensor([True, False]))
        tensor([1., 0.])
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"mask has dtype {mask.dtype}; allowed: torch.bool")
    x = at_least_float32(x)
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


def masked_sum(x: Float[Tensor, "*#batch T"], mask: Bool[Tensor, "*#batch T"]) -> Float[Tensor, "*batch"]:
    """Sum over the counted steps.

    Example:
        >>> masked_sum(torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([True, True, False]))
        tensor(3.)
    """
    return masked_fill_zero(x, mask).sum(-1)


def masked_mean(x: Float[Tensor, "*#batch T"], mask: Bool[Tensor, "*#batch T"]) -> Float[Tensor, "*batch"]:
    """Mean over the counted steps; 0 for a row that counts none.

    Example:
        >>> masked_mean(torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([True, True, False]))
        tensor(1.5000)
    """
    return masked_sum(x, mask) / mask.sum(-1, dtype=torch.int32).clamp(min=1)  # three times as fast as torch's own 64 bits
