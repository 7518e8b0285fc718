"""What losses over pairs with a reference are functions of: log-ratios of policy and reference, and their difference."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ift_gridworld.log_probs import at_least_float32
from ift_gridworld.losses._checks import check_same_shape

__all__ = ["log_ratio_difference", "log_ratios"]


def log_ratio_difference(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    reference_free: bool = False,
) -> Float[Tensor, "*pairs"]:
    """Return d = (c - r) - (c_ref - r_ref), exact where answers of large log-probability differ little."""
    check_same_shape(chosen=chosen, rejected=rejected, reference_chosen=reference_chosen, reference_rejected=reference_rejected)
    policy = at_least_float32(chosen) - at_least_float32(rejected)
    if reference_free:
        return policy
    return policy - (at_least_float32(reference_chosen) - at_least_float32(reference_rejected))


def log_ratios(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
) -> tuple[Float[Tensor, "*pairs"], Float[Tensor, "*pairs"]]:
    """Return c - c_ref and r - r_ref."""
    check_same_shape(chosen=chosen, rejected=rejected, reference_chosen=reference_chosen, reference_rejected=reference_rejected)
    log_ratio_chosen = at_least_float32(chosen) - at_least_float32(reference_chosen)
    return log_ratio_chosen, at_least_float32(rejected) - at_least_float32(reference_rejected)
