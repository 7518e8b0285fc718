"""A method of your own: SFT that weighs an answer's later steps less.

    python -m ift_gridworld lake --plugin examples/own_method.py --method sft,fading --halving 2 --render

A method says what it learns from and how a batch becomes a loss. It names its options in a dataclass, whose documentation is
what --help prints. Registered, it is in the tables, pictures, pages and saved runs like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import register_method
from ift_gridworld.data import Batch
from ift_gridworld.log_probs import masked_mean
from ift_gridworld.methods import SFT, MethodOptions


@dataclass(frozen=True)
class FadingOptions(MethodOptions):
    """Options of fading SFT."""

    halving: float = 3.0
    """Steps after which a step weighs half as much."""

    def __post_init__(self) -> None:
        if not self.halving > 0:
            raise ValueError(f"halving is {self.halving!r}; allowed: a number > 0")


@register_method("fading")
class Fading(SFT):
    """SFT whose t-th step has weight 2^(-t / halving): L = -(1/N) sum_t 2^(-t/h) log pi(a_t | s_t)."""

    title = "Fading SFT · later steps weigh less"
    options_type = FadingOptions

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        logp = self.policy.log_probs(batch.states, batch.actions, batch.mask)
        step = torch.arange(batch.mask.shape[-1], device=logp.device)
        weight = 2.0 ** (-step / self.options.halving)
        return masked_mean(-weight * logp, batch.mask).mean(-1)
