"""Test cases of losses, and the registry of losses that have cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ift_gridworld import losses

__all__ = ["LOSSES", "LossCase", "Options"]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "sft": losses.sft_loss,
    "dft": losses.dft_loss,
    "ift": losses.ift_loss,
    "generalized_jsd": losses.generalized_jsd_loss,
    "dpo": losses.dpo_loss,
    "ipo": losses.ipo_loss,
    "orpo": losses.orpo_loss,
    "simpo": losses.simpo_loss,
    "tdpo": losses.tdpo_loss,
    "chi_po": losses.chi_po_loss,
    "cal_dpo": losses.cal_dpo_loss,
    "cpo": losses.cpo_loss,
    **{kind: partial(losses.preference_loss, kind=kind) for kind in losses.PREFERENCE_KINDS if kind not in ("sigmoid", "ipo")},
    "kto": losses.kto_loss,
    "bradley_terry": losses.bradley_terry_loss,
    "ppo_clip": losses.ppo_clip_loss,
    "value": losses.value_loss,
    "gae": losses.generalized_advantage_estimate,
    "group_advantage": losses.group_relative_advantage,
    "leave_one_out": losses.leave_one_out_advantage,
    "group_policy": losses.group_policy_loss,
    "kl": losses.kl_estimate,
}

Options = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class LossCase:
    """Inputs of a loss, and the values and gradients that it must compute from them.

    Attributes:
        title: what the case is about, and whose numbers these are.
        inputs: in the loss's own order, float64 or boolean.
        options: by name.
        value: one per sequence, pair or step; or, where the original gives no more, their mean.
        gradients: of the mean value, for the inputs whose gradient is known.
        is_finite: the value is a convention (odds at certainty): it must be finite, nothing else is compared.
    """

    title: str
    inputs: dict[str, Tensor]
    options: Options
    value: Tensor
    gradients: dict[str, Tensor]
    is_finite: bool = False
