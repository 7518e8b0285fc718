"""Demonstrations and rollouts in one method: HPT switches between the two by how well the policy does, LUFFY puts a
demonstration into each group of rollouts. Both take their groups from the starts of demonstrations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Trajectories
from ift_gridworld.log_probs import entropy, masked_mean, masked_sum
from ift_gridworld.methods.on_policy import Rollouts
from ift_gridworld.methods.options import HPTOptions, LUFFYOptions, MixedOptions
from ift_gridworld.methods.policy_gradients import DrGRPO

__all__ = ["HPT", "LUFFY", "GuidedRollouts"]


@dataclass(frozen=True, eq=False)
class GuidedRollouts(Rollouts):
    """Rollouts in groups, with the demonstration that each group starts from.

    Attributes:
        shown: the demonstrations, one a group.
        weight: of each demonstration in the loss: its copies' advantage (LUFFY), or whether it is imitated (HPT).
    """

    shown: Trajectories
    weight: Float[Tensor, "N Q"]


class _Guided(DrGRPO):
    """Dr. GRPO on groups that start where demonstrations do."""

    options_type = MixedOptions
    _number = 0

    def batch(self, step: int) -> Rollouts:
        self._number = step // self.renewal
        return super().batch(step)

    @torch.no_grad()
    def _walk(self) -> GuidedRollouts:
        options: MixedOptions = self.options
        group = options.size - self.guides
        count = options.walkers // options.size
        shown, steps = self.source.guided_groups(self.policy, self._number, count * group, group)
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        own = self._returns(steps).unflatten(-1, (-1, group))
        advantage, weight = self.judge(own, self._returns(shown), self.source.succeeded(steps).unflatten(-1, (-1, group)))
        return GuidedRollouts(steps, logp, advantage.flatten(1)[..., None].expand_as(logp), shown, weight)

    @property
    def guides(self) -> int:
        """Number of a group's answers that are the demonstration."""
        return 0

    def judge(
        self, own: Float[Tensor, "N Q G"], shown: Float[Tensor, "#N Q"], succeeded: Bool[Tensor, "N Q G"]
    ) -> tuple[Float[Tensor, "N Q G"], Float[Tensor, "N Q"]]:
        """Return the advantage of each episode, and the weight of each demonstration, from the returns of both."""
        raise NotImplementedError

    def loss(self, batch: Rollouts) -> Float[Tensor, " N"]:
        assert isinstance(batch, GuidedRollouts)
        steps, mask = batch.steps, batch.steps.mask
        spread = masked_mean(self.policy.per_state(steps.states, entropy, mask).flatten(1), mask.flatten(1))
        own = (1 - self.guides / self.options.size) * super().loss(batch)
        return own + self.guided_loss(batch) - self.options.entropy_bonus * spread

    def guided_loss(self, batch: GuidedRollouts) -> Float[Tensor, " N"]:
        """The loss of the demonstrations."""
        raise NotImplementedError


class HPT(_Guided):
    """Imitate the demonstration where the policy fails from its start, follow the policy gradient where it succeeds.

    Hybrid post-training (Lv et al. 2025, arXiv 2509.04419): of each group of 8 episodes the share that succeeds is compared
    with a gate; up to it (by default: none succeeds) the loss is SFT's on the demonstration from that start, above it Dr.
    GRPO's. The entropy bonus of 0.001 is that of the authors' code. Departs from it in that the loss of imitation is averaged
    over each demonstration first, as SFT's is here, and in that the policy's own episodes are clipped, as Dr. GRPO's are: the
    released script leaves the clip out.
    """

    title = "HPT · hybrid post-training"
    options_type = HPTOptions

    def judge(
        self, own: Float[Tensor, "N Q G"], shown: Float[Tensor, "#N Q"], succeeded: Bool[Tensor, "N Q G"]
    ) -> tuple[Float[Tensor, "N Q G"], Float[Tensor, "N Q"]]:
        fails = succeeded.to(own.dtype).mean(-1) <= self.options.gate
        return self.advantage(own) * ~fails[..., None], fails.to(own.dtype)

    def guided_loss(self, batch: GuidedRollouts) -> Float[Tensor, " N"]:
        shown = batch.shown
        imitation = losses.sft_loss(self.policy.log_probs(shown.states, shown.actions, shown.mask), shown.mask)
        return self.options.imitation * (batch.weight * imitation).mean(-1)


class LUFFY(_Guided):
    """Put the demonstration into each group of episodes, as one more answer, and shape its gradient.

    Learning to reason under off-policy guidance (Yan et al. 2025, arXiv 2504.14945): advantages are Dr. GRPO's over the group
    of 8, one of them the demonstration, whose steps have the loss -A f(p), f(p) = p / (p + 0.1), which makes unlikely steps
    count more; no ratio and no clip there. The policy's own episodes are clipped, as in the paper's equation; the released
    script leaves that out. Without demonstrations in the group it is Dr. GRPO with an entropy bonus.
    """

    title = "LUFFY · demonstrations inside the group"
    options_type = LUFFYOptions

    @property
    def guides(self) -> int:
        return self.options.guides

    def judge(
        self, own: Float[Tensor, "N Q G"], shown: Float[Tensor, "#N Q"], succeeded: Bool[Tensor, "N Q G"]
    ) -> tuple[Float[Tensor, "N Q G"], Float[Tensor, "N Q"]]:
        guides = shown.expand(len(own), -1)[..., None].expand(-1, -1, self.guides)
        advantage = self.advantage(torch.cat([own, guides], -1))
        return advantage[..., : own.shape[-1]], advantage[..., own.shape[-1] :].sum(-1)

    def guided_loss(self, batch: GuidedRollouts) -> Float[Tensor, " N"]:
        shown = batch.shown
        chance = self.policy.log_probs(shown.states, shown.actions, shown.mask).exp()
        shaped = masked_sum(chance / (chance + self.options.shaping), shown.mask) / self.source.longest
        return -(batch.weight * shaped).mean(-1) / self.options.size
