"""DPO against the policy's own answers: SPIN, whose opponent is renewed round by round, and DPO online with two judged samples.

`preferences.OnlineDPO` is the third of the kind: the human's answer against one of the policy's at every update.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch, Trajectories
from ift_gridworld.methods.on_policy import Rewarded
from ift_gridworld.methods.options import JudgedDPOOptions, SPINOptions
from ift_gridworld.methods.preferences import DPO, PairSide, Scored

__all__ = ["SPIN", "JudgedDPO", "JudgedPairs"]


class SPIN(DPO):
    """DPO that prefers demonstrations to the answers of the policy as it was when the round began, which is the reference too.

    Self-play fine-tuning (Chen et al. 2024, arXiv 2401.01335). Needs demonstrations alone. Departs from the paper in that an
    opponent's answers are drawn anew at every update of its round, not once before it, and in that each round sees only its
    own answers, where the released code keeps those of the round before as well. Four rounds in 300 updates, as published.
    """

    title = "SPIN · self-play fine-tuning"
    needs = "demonstrations"
    assumed_prior = "dpo_online"
    draws = True
    options_type = SPINOptions

    @property
    def renewal(self) -> int:
        return self.options.every

    def batch(self, step: int) -> tuple[PairSide, PairSide]:
        if step and step % self.options.every == 0:
            self._reference, self._chosen = copy.deepcopy(self.policy).requires_grad_(False), None
        shown = self.source.demonstration_batch(step)
        if self._chosen is None or self._chosen.batch is not shown:  # else reuse the cached reference log-probabilities
            self._chosen = PairSide(shown, self.reference)
        return self._chosen, PairSide(self.source.answers(self.reference, shown), self.reference)

    _chosen: PairSide | None = None

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.dpo_loss(chosen.sum, rejected.sum, chosen.reference, rejected.reference, beta=self.options.beta)


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Pairs of the policy's own answers to the same prompts, judged.

    Attributes:
        steps: the answers, two to a prompt side by side.
        first: whether the first of each two returned more.
        differs: whether they returned different rewards; a tie is no preference.
    """

    steps: Trajectories
    first: Bool[Tensor, "N P"]
    differs: Bool[Tensor, "N P"]


class JudgedDPO(Rewarded[JudgedPairs]):
    """DPO on two answers of the policy to each prompt, of which the one that returns more is chosen.

    What is usually called online DPO (Guo et al. 2024, arXiv 2402.04792). Departs from the paper in the judge: there a language
    model, here the environment's return, or a learned reward's. Two answers of equal return are no pair and have no loss.
    """

    title = "DPO judged · two samples of the policy, judged"
    needs = "rollouts"
    assumed_prior = "dpo_online"
    draws = True
    options_type = JudgedDPOOptions

    @torch.no_grad()
    def batch(self, step: int) -> JudgedPairs:
        steps, group = self.source.groups(self.policy, self.options.walkers, 2)
        first, second = self._returns(steps).unflatten(-1, (-1, group)).unbind(-1)
        return JudgedPairs(steps, first > second, first != second)

    def loss(self, batch: JudgedPairs) -> Float[Tensor, " N"]:
        scored = Scored(PairSide(Batch(batch.steps.states, batch.steps.actions, batch.steps.mask), self.reference), self.policy)
        ours, base = (x.unflatten(-1, (-1, 2)) for x in (scored.sum, scored.reference))

        def side(x: Float[Tensor, "N P 2"], chosen: bool) -> Float[Tensor, "N P"]:
            return torch.where(batch.first == chosen, x[..., 0], x[..., 1])

        loss = losses.dpo_loss(
            side(ours, True), side(ours, False), side(base, True), side(base, False),
            beta=self.options.beta, label_smoothing=self.options.label_smoothing,
        )  # fmt: skip
        return (loss * batch.differs).sum(-1) / batch.differs.sum(-1).clamp(min=1)
