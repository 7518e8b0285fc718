"""Imitation: methods that learn from demonstrations alone, SFT and IFT."""

from __future__ import annotations

from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.policies.residual import Successor, Windows

__all__ = ["IFT", "SFT"]


class SFT(Method[Batch]):
    """Imitate the demonstrations (eq. 30)."""

    title = "SFT · supervised fine-tuning"
    needs = "demonstrations"
    keeps_reference = False
    assumed_prior = "sft"

    def batch(self, step: int) -> Batch:
        return self.source.demonstration_batch(step)

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        return losses.sft_loss(self.policy.log_probs(batch.states, batch.actions, batch.mask), batch.mask).mean(-1)


class IFT(SFT):
    """Imitate them from states mixed with the model's own predictions, early steps answering for later ones."""

    title = "IFT · intuitive fine-tuning"
    options_type = IFTOptions
    assumed_prior = "ift"

    @cached_property
    def successor(self) -> Successor:
        return self.source.successor(self.policy, self.options)

    @cached_property
    def windows(self) -> Windows | None:
        """The batch's distinct windows, where a policy that remembers nothing meets the same batch again and running each once
        is less work than running every step."""
        if self.policy.remembers:
            return None
        shown = self.source.demonstration_batch(0)
        windows = Windows.of(shown.states, shown.mask)
        return windows if 2 * windows.states.shape[1] < shown.states[0].numel() else None

    def second_pass(self, batch: Batch) -> Float[Tensor, "N B T"]:
        """log π(a*|s) of every step, from the mixed states."""
        mixing = self.options.mixing
        if mixing == 0:  # the first pass is the only one: with propagation off, SFT to the last bit
            return self.policy.log_probs(batch.states, batch.actions, batch.mask)
        if self.windows is not None:
            return self.windows.log_probs(self.policy, batch.actions, self.successor, mixing=mixing)
        return self.source.residual_log_probs(self.policy, batch, self.successor, mixing)

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        options: IFTOptions = self.options
        return losses.ift_loss(
            self.second_pass(batch),
            batch.mask,
            decay=options.decay,
            propagation=options.propagation,
            norm=options.norm,
            detach_weights=options.detach_weights,
        ).mean(-1)
