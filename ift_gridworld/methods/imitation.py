"""Imitation: methods that learn from demonstrations alone, SFT, IFT, and IFT's rivals with the same data.

DFT and ASFT weigh SFT's steps anew; scheduled sampling and NEFTune run the policy on other states than the demonstrated ones,
as IFT does. Those that ask a teacher about the policy's own episodes are in `distillation`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch
from ift_gridworld.log_probs import kl_divergence, masked_mean
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.options import (
    ASFTOptions,
    IFTOptions,
    MethodOptions,
    NEFTuneOptions,
    ScheduledOptions,
)
from ift_gridworld.methods.source import DataSource
from ift_gridworld.policies.base import Policy
from ift_gridworld.policies.lake import ONE_HOT_STATES
from ift_gridworld.policies.residual import Successor, Windows
from ift_gridworld.policies.sparse import SparseStates

__all__ = ["ASFT", "DFT", "IFT", "SFT", "NEFTune", "ScheduledSampling"]


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

    @cached_property
    def windows(self) -> Windows | None:
        """The batch's distinct windows, where a policy that remembers nothing meets the same batch again and running each once
        is less work than running every step."""
        if self.policy.remembers:
            return None
        shown = self.source.demonstration_batch(0)
        windows = Windows.of(shown.states, shown.mask)
        return windows if 2 * windows.states.shape[1] < shown.states[0].numel() else None


class IFT(SFT):
    """Imitate them from states mixed with the model's own predictions, early steps answering for later ones."""

    title = "IFT · intuitive fine-tuning"
    options_type = IFTOptions
    assumed_prior = "ift"

    @cached_property
    def successor(self) -> Successor:
        return self.source.successor(self.policy, self.options)

    def second_pass(self, batch: Batch) -> Float[Tensor, "N B T"]:
        """log π(a*|s) of every step, from the mixed states."""
        mixing = self.options.mixing
        if mixing == 0:  # the first pass is the only one: with propagation off, SFT to the last bit
            return self.policy.log_probs(batch.states, batch.actions, batch.mask)
        if self.windows is not None:
            return self.windows.log_probs(self.policy, batch.actions, self.successor, mixing=mixing)
        return self.source.residual_log_probs(self.policy, batch, self.successor, mixing)

    def sequence_losses(self, logp: Float[Tensor, "N B T"], mask: Bool[Tensor, "#N B T"]) -> Float[Tensor, "N B"]:
        """Return the loss of each sequence, given what the second pass says of its steps."""
        options: IFTOptions = self.options
        return losses.ift_loss(
            logp,
            mask,
            decay=options.decay,
            propagation=options.propagation,
            norm=options.norm,
            detach_weights=options.detach_weights,
        )

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        return self.sequence_losses(self.second_pass(batch), batch.mask).mean(-1)


class DFT(SFT):
    """Imitate the demonstrations, each step weighted by the probability that the policy gives it: SFT without its implicit 1/p.

    Dynamic fine-tuning (Wu et al. 2025, arXiv 2508.05629). Departs from TRL, which averages over all steps of a batch, in that
    each demonstration is averaged first, as in SFT here.
    """

    title = "DFT · dynamic fine-tuning"

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        return losses.dft_loss(self.policy.log_probs(batch.states, batch.actions, batch.mask), batch.mask).mean(-1)


class ASFT(DFT):
    """DFT with a price on leaving the base, paid on the demonstrations' states.

    Anchored supervised fine-tuning (Zhu et al. 2025, arXiv 2509.23753). The divergence is KL(base || policy), as in the
    authors' code, over all actions of each demonstrated state; the weight 0.05 is theirs.
    """

    title = "ASFT · anchored supervised fine-tuning"
    options_type = ASFTOptions
    keeps_reference = True

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        with torch.no_grad():
            base = self.reference(batch.states)
        price = masked_mean(kl_divergence(base, self.policy(batch.states)), batch.mask).mean(-1)
        return super().loss(batch) + self.options.kl_weight * price


class ScheduledSampling(SFT):
    """Imitate from states of which some are replaced by where the policy's own prediction leads: IFT's hard cousin.

    Scheduled sampling (Bengio et al. 2015, arXiv 1506.03099) in the two passes that transformers need (Mihaylova and Martins
    2019, arXiv 1906.07651): a first pass predicts from the true states, then each state is replaced or not by a coin. Departs
    from both in that predictions are the likeliest, not sampled, unless the option says so, and in that the probability rises
    in a straight line and stays. On slippery ice a prediction leads to the average over its outcomes, as IFT's does: the
    likeliest of equally likely ones is an arbitrary neighbour. As in IFT the next action taught is the human's, and no gradient
    reaches the first pass.
    """

    title = "Scheduled · scheduled sampling"
    options_type = ScheduledOptions
    assumed_prior = "ift"
    _step = 0

    def batch(self, step: int) -> Batch:
        self._step = step
        return super().batch(step)

    @property
    def probability(self) -> float:
        """Probability of a replacement at this update."""
        options: ScheduledOptions = self.options
        return options.probability * (min(1.0, self._step / options.rise) if options.rise else 1.0)

    @cached_property
    def _predicted(self) -> Successor:
        options: ScheduledOptions = self.options
        return self.source.successor(self.policy, IFTOptions(prediction=options.prediction, outcome=options.outcome))

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        if self.probability == 0:
            return super().loss(batch)
        if self.windows is None:
            logp = self.source.residual_log_probs(self.policy, batch, self._replacement, 1.0)
        else:
            logp = self._of_windows(batch, self.windows)
        return losses.sft_loss(logp, batch.mask).mean(-1)

    def _of_windows(self, batch: Batch, windows: Windows) -> Float[Tensor, "N B T"]:
        """Return log π(a*|s) of every step, from the true state or the predicted one, of which there are few."""
        predicted = windows.log_probs(self.policy, batch.actions, self._predicted, mixing=1.0)
        if self.probability == 1:
            return predicted
        true = self.policy.log_probs(batch.states, batch.actions, batch.mask)
        return torch.where(self._replaced(batch.states).roll(1, -1), predicted, true)  # the prediction of the step before

    def _replaced(self, states: Tensor) -> Bool[Tensor, "N B T"]:
        """Draw whether each step's prediction stands in for the state after it."""
        return self.source.uniform(*states.shape[1:]) < self.probability

    def _replacement(self, states: Tensor, logits: Tensor) -> Any:
        """Return what stands in for the state after each step: the prediction, or the true one."""
        predicted = self._predicted(states, logits)
        true = self.policy.embed(torch.cat([states[..., 1:], states[..., -1:]], -1))
        replaced = self._replaced(states)[..., None]
        if isinstance(true, SparseStates):
            return true.blend(predicted, replaced.to(true.weight))
        return torch.where(replaced, predicted, true)


class NEFTune(SFT):
    """Imitate from states with noise on their embeddings: the null model for IFT's mixing.

    Jain et al. 2023 (arXiv 2310.05914): noise alpha / sqrt(L d) times uniform numbers in [-1, 1] on an embedding of d numbers,
    in a sequence of L. On lakes the embedding is the one-hot vector of a tile. Departs from public code, where L is the padded
    length of a batch, in that each sequence has its own, so that padding changes nothing.
    """

    title = "NEFTune · noise on embeddings"
    options_type = NEFTuneOptions

    def __init__(self, source: DataSource[Any], policy: Policy, options: MethodOptions | None = None) -> None:
        super().__init__(source, policy, options)
        states: int = getattr(policy, "num_states", 0)
        if states > ONE_HOT_STATES:
            raise ValueError(f"the lake has {states} states, which are not embedded as vectors; NEFTune takes smaller lakes")

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        if self.options.noise == 0:
            return super().loss(batch)
        true = self.policy.embed(batch.states)
        count = torch.arange(1, batch.mask.shape[-1] + 1, device=batch.mask.device)
        length = (batch.mask * count).amax(-1).clamp(min=1)[..., None, None]  # of the whole sequence, a prompt included
        scale = self.options.noise / (length * true.shape[-1]).double().sqrt()
        noise = scale * (2 * self.source.uniform(*true.shape[1:]) - 1)
        noisy = true + noise.to(true.dtype)
        return losses.sft_loss(self.policy.log_probs_of(noisy, batch.actions, batch.mask), batch.mask).mean(-1)
