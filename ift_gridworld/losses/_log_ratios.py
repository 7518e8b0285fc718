"""Log-ratios of policy and reference, of which losses over pairs with a reference are functions."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ift_gridworld.log_probs import at_least_float32
from ift_gridworld.losses._checks import check_same_shape

__all__ = ["LogRatios", "log_ratios"]


class LogRatios(NamedTuple):
    """Log-ratio of policy and reference of the chosen and the rejected answer, and the first less the second, in nats."""

    chosen: Float[Tensor, "*pairs"]
    rejected: Float[Tensor, "*pairs"]
    difference: Float[Tensor, "*pairs"]


def log_ratios(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
) -> LogRatios:
    """Return c - c_ref, r - r_ref and (c - r) - (c_ref - r_ref).

    In this order the difference keeps its digits where both answers are far from their reference. Each input is raised to
    float32 once, so that a half-precision gradient is rounded once.
    """
    check_same_shape(chosen=chosen, rejected=rejected, reference_chosen=reference_chosen, reference_rejected=reference_rejected)
    c, r = at_least_float32(chosen), at_least_float32(rejected)
    c_ref, r_ref = at_least_float32(reference_chosen), at_least_float32(reference_rejected)
    return LogRatios(c - c_ref, r - r_ref, (c - r) - (c_ref - r_ref))
