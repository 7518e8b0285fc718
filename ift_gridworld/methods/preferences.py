"""Preferences: methods that learn from pairs of answers, one chosen and one rejected: DPO and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch
from ift_gridworld.log_probs import kl_divergence, masked_mean, masked_sum
from ift_gridworld.methods.base import Method, Needs
from ift_gridworld.methods.options import DPOOptions, IPOOptions, MethodOptions, ORPOOptions, SimPOOptions, TDPOOptions
from ift_gridworld.policies.base import Policy

__all__ = ["DPO", "IPO", "ORPO", "TDPO", "OnlineDPO", "PairMethod", "PairSide", "Scored", "SimPO"]


@dataclass(frozen=True, eq=False)
class PairSide:
    """One side of the preference pairs, with what the frozen reference makes of it; no base where the method keeps none."""

    batch: Batch
    base: Policy | None

    @cached_property
    def reference(self) -> Float[Tensor, "N B"]:
        """log pi_ref of each trajectory, summed over its steps."""
        assert self.base is not None, "the method keeps no reference"
        with torch.no_grad():
            return masked_sum(self.base.log_probs(self.batch.states, self.batch.actions, self.batch.mask), self.batch.mask)

    @cached_property
    def reference_logits(self) -> Float[Tensor, "N B T A"]:
        assert self.base is not None, "the method keeps no reference"
        with torch.no_grad():
            return self.base(self.batch.states)


@dataclass(frozen=True, eq=False)
class Scored:
    """One side of the pairs under the policy: log-probs of its steps, and how they compare with the reference's."""

    answers: PairSide
    policy: Policy

    @cached_property
    def logp(self) -> Float[Tensor, "N B T"]:
        batch = self.answers.batch
        return self.policy.log_probs(batch.states, batch.actions, batch.mask)

    @cached_property
    def sum(self) -> Float[Tensor, "N B"]:
        return masked_sum(self.logp, self.answers.batch.mask)

    @cached_property
    def mean(self) -> Float[Tensor, "N B"]:
        return masked_mean(self.logp, self.answers.batch.mask)

    @property
    def reference(self) -> Float[Tensor, "N B"]:
        return self.answers.reference

    @property
    def margin(self) -> Float[Tensor, "N B"]:
        """log pi - log pi_ref of each trajectory."""
        return self.sum - self.reference

    @property
    def kl(self) -> Float[Tensor, "N B"]:
        """sum_t KL(reference || policy) over the trajectory's states."""
        logits = self.policy(self.answers.batch.states)
        return masked_sum(kl_divergence(self.answers.reference_logits, logits), self.answers.batch.mask)


class PairMethod(Method[tuple[PairSide, PairSide]]):
    """Learn from pairs: one answer the human prefers, one not."""

    needs: ClassVar[Needs] = "pairs"
    assumed_prior = "dpo"

    def batch(self, step: int) -> tuple[PairSide, PairSide]:
        chosen, rejected = self.source.pair_batch(step)
        if self._sides is None or self._sides[0].batch is not chosen:  # else reuse the cached reference log-probabilities
            self._sides = PairSide(chosen, self._reference), PairSide(rejected, self._reference)
        return self._sides

    _sides: tuple[PairSide, PairSide] | None = None

    def loss(self, batch: tuple[PairSide, PairSide]) -> Float[Tensor, " N"]:
        chosen, rejected = (Scored(side, self.policy) for side in batch)
        return self.pair_loss(chosen, rejected).mean(-1)

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        raise NotImplementedError


class DPO(PairMethod):
    """Make the preferred answer likelier relative to the other, against the frozen base."""

    title = "DPO · direct preference optimisation"
    options_type: ClassVar[type[MethodOptions]] = DPOOptions

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.dpo_loss(
            chosen.sum,
            rejected.sum,
            chosen.reference,
            rejected.reference,
            beta=self.options.beta,
            label_smoothing=self.options.label_smoothing,
        )


class OnlineDPO(DPO):
    """DPO whose rejected answer is drawn from the current policy at every update; the chosen one stays the human's.

    So it is closer to SPIN (Chen et al. 2024, arXiv 2401.01335), self-play against the human's answers, than to what is usually
    called online DPO, which draws both answers from the policy and has them judged (Guo et al. 2024, arXiv 2402.04792). SPIN
    renews its reference with its opponent, round by round; here the reference stays the base, and the opponent is the policy.
    """

    title = "DPO online · rejected answers from the policy itself"
    assumed_prior = "dpo_online"
    draws = True

    def batch(self, step: int) -> tuple[PairSide, PairSide]:
        chosen, _ = super().batch(step)
        return chosen, PairSide(self.source.answers(self.policy, chosen.batch), self.reference)


class IPO(PairMethod):
    """Like DPO, but towards a margin of 1 / (2 beta) instead of an endless one."""

    title = "IPO · identity preference optimisation"
    options_type = IPOOptions

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.ipo_loss(chosen.sum, rejected.sum, chosen.reference, rejected.reference, beta=self.options.beta)


class ORPO(PairMethod):
    """SFT on the preferred answer and a push between the odds of the two, without a reference."""

    title = "ORPO · odds-ratio preference optimisation"
    options_type = ORPOOptions
    keeps_reference = False

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.orpo_loss(chosen.mean, rejected.mean, beta=self.options.beta)


class SimPO(PairMethod):
    """A margin between the mean log-probs of the two answers, without a reference."""

    title = "SimPO · simple preference optimisation"
    options_type = SimPOOptions
    keeps_reference = False

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.simpo_loss(chosen.mean, rejected.mean, beta=self.options.beta, gamma=self.options.gamma)


class TDPO(PairMethod):
    """DPO with each answer's forward KL in the margin."""

    title = "TDPO · token-level DPO"
    options_type = TDPOOptions

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.tdpo_loss(
            chosen.margin,
            rejected.margin,
            chosen.kl,
            rejected.kl,
            beta=self.options.beta,
            alpha=self.options.alpha,
            version=self.options.version,
        )
