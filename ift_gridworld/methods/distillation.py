"""Imitation with a teacher who can be asked about the policy's own episodes: DAgger and on-policy distillation.

The upper bound of imitation: what demonstrations cannot show, a teacher says where the policy goes. On lakes the teacher is
the optimal policy, or a demonstrator who acts at random half of the time; on texts about lakes likewise. Other texts have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch
from ift_gridworld.log_probs import masked_mean
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.options import DaggerOptions, DistillOptions, MethodOptions
from ift_gridworld.methods.source import DataSource, Labelled
from ift_gridworld.policies.base import Policy

__all__ = ["DAgger", "Distillation"]


class DAgger(Method["Batch | Labelled"]):
    """SFT on the demonstrations and on the policy's own episodes, whose every step a teacher labels.

    Dataset aggregation (Ross et al. 2011, arXiv 1011.0686). The first data are the demonstrations; every `every` updates the
    policy walks, and what the teacher would have done there is added to the data. Departs from the paper in that an update sees
    one round's data, all rounds in turn, that the policy goes on from where it is instead of being fitted anew, that it walks
    alone, never mixed with the teacher, and that a label is the teacher's whole distribution.
    """

    title = "DAgger · the teacher labels the policy's own episodes"
    needs = "demonstrations"
    keeps_reference = False
    draws = True
    asks_teacher = True
    assumed_prior = "ppo"  # asked where the policy stands
    options_type = DaggerOptions

    def __init__(self, source: DataSource[Any], policy: Policy, options: MethodOptions | None = None) -> None:
        super().__init__(source, policy, options)
        self.rounds: list[Labelled] = []

    @property
    def renewal(self) -> None:
        """Never: the data of all rounds stay."""

    def batch(self, step: int) -> Batch | Labelled:
        options: DaggerOptions = self.options
        if step and step % options.every == 0:
            self.rounds.append(self.source.labelled_answers(self.policy, options.walkers, options.teacher))
        turn = step % (len(self.rounds) + 1)
        return self.rounds[turn - 1] if turn else self.source.demonstration_batch(step)

    def loss(self, batch: Batch | Labelled) -> Float[Tensor, " N"]:
        if isinstance(batch, Batch):
            return losses.sft_loss(self.policy.log_probs(batch.states, batch.actions, batch.mask), batch.mask).mean(-1)
        table = torch.log_softmax(self.policy(batch.batch.states), -1)
        logp = table.gather(-1, batch.actions.expand(*table.shape[:-1], -1))
        # An action that the teacher never takes counts 0, also where the policy excludes it.
        agreement = torch.where(batch.chances > 0, batch.chances.to(logp.dtype) * logp, 0.0).sum(-1)
        return losses.sft_loss(agreement, batch.batch.mask).mean(-1)


@dataclass(frozen=True, eq=False)
class Lessons:
    """What an update of distillation learns from: the policy's own episodes, demonstrations, or both."""

    own: Labelled | None
    shown: Labelled | None

    @property
    def batch(self) -> Batch:
        """The steps that are learnt from most."""
        first = self.own or self.shown
        assert first is not None
        return first.batch


class Distillation(Method[Lessons]):
    """Make the policy's distribution the teacher's, at every step of the policy's own episodes.

    Generalised knowledge distillation (Agarwal et al. 2024, arXiv 2306.13649), with its Jensen-Shannon divergence and its share
    of the policy's own episodes. Departs from the paper in that the share weighs two terms of the loss, where the paper draws
    one of the two for each update: the same objective in expectation.
    """

    title = "Distill · on-policy distillation"
    needs = "demonstrations"
    keeps_reference = False
    draws = True
    asks_teacher = True
    assumed_prior = "ppo"
    options_type = DistillOptions

    def batch(self, step: int) -> Lessons:
        options: DistillOptions = self.options
        own = self.source.labelled_answers(self.policy, options.walkers, options.teacher) if options.on_policy else None
        shown = self.source.labelled_demonstrations(step, options.teacher) if options.on_policy < 1 else None
        return Lessons(own, shown)

    def loss(self, batch: Lessons) -> Float[Tensor, " N"]:
        share = self.options.on_policy
        parts = [weight * self._divergence(x) for weight, x in ((share, batch.own), (1 - share, batch.shown)) if x is not None]
        return torch.stack(parts).sum(0)

    def _divergence(self, lesson: Labelled) -> Float[Tensor, " N"]:
        """Divergence from the teacher, [N]; computed of steps that count, which are few where one episode is long."""
        table = self.policy(lesson.batch.states)
        mask = lesson.batch.mask.expand(table.shape[:-1])
        index, chances = (x.expand(*mask.shape, -1)[mask] for x in (lesson.actions, lesson.chances))
        logits = table[mask]
        teacher = torch.zeros_like(logits).scatter(-1, index, chances.to(logits.dtype)).log()
        counted = torch.ones(len(logits), 1, dtype=torch.bool, device=logits.device)
        steps = losses.generalized_jsd_loss(logits[:, None], teacher[:, None], counted, beta=self.options.divergence)
        return masked_mean(torch.zeros_like(table[..., 0]).masked_scatter(mask, steps), mask).mean(-1)
