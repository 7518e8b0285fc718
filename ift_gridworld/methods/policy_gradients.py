"""GRPO's relatives: whole episodes of the policy, each judged by its return against the others from the same start.

One training step, that of `GroupGradient`; a class says how returns become advantages, whose ratio is bounded and how, and
over what steps are averaged (`losses.group_policy_loss` has the table). REINFORCE and RLOO use each batch of rollouts once, so
that their ratio is 1 and nothing is clipped, and price the KL divergence in the reward, as the paper of RLOO does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.choices import Average, Objective, RatioLevel
from ift_gridworld.data import Trajectories
from ift_gridworld.log_probs import masked_mean, masked_sum
from ift_gridworld.methods.on_policy import OnPolicy, Rollouts
from ift_gridworld.methods.options import (
    CISPOOptions,
    DAPOOptions,
    DrGRPOOptions,
    GroupOptions,
    GSPOOptions,
    MethodOptions,
    ReinforceOptions,
    RLOOOptions,
)

__all__ = ["CISPO", "DAPO", "GSPO", "REINFORCE", "RLOO", "SAPO", "DrGRPO", "GroupGradient"]


class GroupGradient(OnPolicy[Rollouts]):
    """Follow the policy gradient of whole episodes, without a critic.

    Attributes:
        objective, level, average: of `losses.group_policy_loss`.
        pays_in_reward: whether the price of KL is part of an episode's score; else it is GRPO's, a term of the loss.
    """

    objective: ClassVar[Objective] = "clip"
    level: ClassVar[RatioLevel] = "token"
    average: ClassVar[Average] = "sequence"
    pays_in_reward: ClassVar[bool] = False
    options_type: ClassVar[type[MethodOptions]] = GroupOptions

    @property
    def clip(self) -> tuple[float, float]:
        """Bounds of the ratio, from below and from above."""
        low = getattr(self.options, "clip", 0.2)
        return low, getattr(self.options, "clip_high", low)

    @torch.no_grad()
    def _walk(self) -> Rollouts:
        steps, group = self.source.groups(self.policy, self.options.walkers, getattr(self.options, "group", None))
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        advantage = self.advantage(self._score(steps, logp).unflatten(-1, (-1, group)))
        return self._counted(Rollouts(steps, logp, advantage.flatten(1)[..., None].expand_as(logp)), group)

    def _score(self, steps: Trajectories, logp: Float[Tensor, "N B T"]) -> Float[Tensor, "N B"]:
        """What each episode is judged by: its return."""
        return self._returns(steps)

    def advantage(self, score: Float[Tensor, "N groups G"]) -> Float[Tensor, "N groups G"]:
        """How much better each episode of a group was than the others."""
        return losses.group_relative_advantage(score)

    def _counted(self, rollouts: Rollouts, group: int) -> Rollouts:
        """Return the rollouts with the steps that count."""
        return rollouts

    def loss(self, batch: Rollouts) -> Float[Tensor, " N"]:
        steps = batch.steps
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        loss = losses.group_policy_loss(
            logp,
            batch.logp,
            batch.advantage[..., 0],
            steps.mask,
            clip=self.clip,
            objective=self.objective,
            level=self.level,
            average=self.average,
            max_length=self.source.longest,
        ).mean(-1)
        if self.pays_in_reward or self.options.beta == 0:
            return loss
        base = self.reference.log_probs(steps.states, steps.actions, steps.mask)
        return loss + self.options.beta * masked_mean(losses.kl_estimate(logp, base, kind="k3"), steps.mask).mean(-1)


class REINFORCE(GroupGradient):
    """Make every episode likelier by its return: the policy gradient without a baseline.

    Williams 1992; for language Ahmadian et al. 2024 (arXiv 2402.14740), whose price of KL in the reward this has. Departs from
    that paper in that there is no moving-average baseline, so that RLOO beside it shows what a baseline is worth.
    """

    title = "REINFORCE · policy gradient without baseline"
    average = "sum"
    pays_in_reward = True
    options_type = ReinforceOptions

    def _score(self, steps: Trajectories, logp: Float[Tensor, "N B T"]) -> Float[Tensor, "N B"]:
        base = self.reference.log_probs(steps.states, steps.actions, steps.mask)
        return self._returns(steps) - self.options.beta * masked_sum(logp - base, steps.mask)

    def advantage(self, score: Float[Tensor, "N groups G"]) -> Float[Tensor, "N groups G"]:
        return score


class RLOO(REINFORCE):
    """REINFORCE whose baseline is the mean return of the other episodes from the same start.

    Reinforce leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740). As published, but for the size of a group: there 2 or 4,
    here all episodes from one start.
    """

    title = "RLOO · REINFORCE, leave one out"
    options_type = RLOOOptions

    def advantage(self, score: Float[Tensor, "N groups G"]) -> Float[Tensor, "N groups G"]:
        return losses.leave_one_out_advantage(score)


class DrGRPO(GroupGradient):
    """GRPO without its two biases: no division by a group's standard deviation, nor by an episode's length.

    Dr. GRPO (Liu et al. 2025, arXiv 2503.20783). As published, without a price of KL; the constant that lengths are divided by
    is the longest episode's.
    """

    title = "Dr. GRPO · GRPO done right"
    average = "length"
    options_type: ClassVar[type[MethodOptions]] = DrGRPOOptions

    def advantage(self, score: Float[Tensor, "N groups G"]) -> Float[Tensor, "N groups G"]:
        return losses.group_relative_advantage(score, scale=False)


class DAPO(GroupGradient):
    """GRPO that averages over all steps of a batch alike, clips less from above, and leaves out groups that all agree.

    Yu et al. 2025 (arXiv 2503.14476). Departs from the paper in that a group whose episodes all return the same is left out but
    not sampled again, and in that episodes that are too long are cut by the time limit without a further penalty.
    """

    title = "DAPO · decoupled clip, dynamic sampling"
    average = "batch"
    options_type = DAPOOptions

    def _counted(self, rollouts: Rollouts, group: int) -> Rollouts:
        differs = (rollouts.advantage[..., 0].unflatten(-1, (-1, group)) != 0).any(-1).repeat_interleave(group, -1)
        return replace(rollouts, steps=replace(rollouts.steps, mask=rollouts.steps.mask & differs[..., None]))


class GSPO(GroupGradient):
    """GRPO with one ratio an episode, the mean one of its steps, closely clipped.

    Group sequence policy optimisation (Zheng et al. 2025, arXiv 2507.18071). As published, without a price of KL. The clip of
    a few ten-thousandths is the paper's, for the small steps of a large model's optimiser: here one update moves the ratio
    beyond it, and the other updates on the same rollouts change little.
    """

    title = "GSPO · group sequence policy optimisation"
    level = "sequence"
    options_type = GSPOOptions


class CISPO(GroupGradient):
    """REINFORCE on a group's rollouts, each step weighted by its ratio, which is bounded from above and held constant.

    MiniMax 2025 (arXiv 2506.13585). The paper gives no bound; 5 is what Khatri et al. 2025 (arXiv 2510.13786) recommend. As in
    the paper, no step is left out by clipping, steps are averaged over the batch, and there is no price of KL.
    """

    title = "CISPO · clipped importance weights"
    objective = "cispo"
    average = "batch"
    options_type = CISPOOptions

    @property
    def clip(self) -> tuple[float, float]:
        return 1.0, self.options.clip_high


class SAPO(GroupGradient):
    """GRPO with a soft gate in place of the clip, narrower for steps to be made less likely.

    Soft adaptive policy optimisation (Gao et al. 2025, arXiv 2511.20347). As published, with its temperatures 1 and 1.05.
    """

    title = "SAPO · soft adaptive policy optimisation"
    objective = "sapo"
