"""On-policy methods: RLHF by PPO and by GRPO, which learn from rollouts of the policy itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Trajectories
from ift_gridworld.log_probs import entropy, masked_mean
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.options import GRPOOptions, MethodOptions, OnPolicyOptions, PPOOptions, RewardedOptions
from ift_gridworld.methods.source import DataSource
from ift_gridworld.policies.base import Policy

__all__ = ["GRPO", "PPO", "OnPolicy", "Rewarded", "Rollouts", "Valued"]


@dataclass(frozen=True, eq=False)
class Rollouts:
    """A batch of on-policy steps, [N, B, T], with what a method compares them with. Gradient reaches none of it.

    Attributes:
        steps: where each agent stood and what it did.
        logp: log-prob of each action under the policy that took it.
        advantage: how much better each action was than the average there, scaled.
    """

    steps: Trajectories
    logp: Float[Tensor, "N B T"]
    advantage: Float[Tensor, "N B T"]


@dataclass(frozen=True, eq=False)
class Valued(Rollouts):
    """Rollouts that a critic has judged: its values then, and the returns that it is to learn."""

    value: Float[Tensor, "N B T"]
    target: Float[Tensor, "N B T"]


BatchT = TypeVar("BatchT")
RolloutsT = TypeVar("RolloutsT", bound=Rollouts)


class Rewarded(Method[BatchT], Generic[BatchT]):
    """What methods whose own episodes are rewarded share: by the environment, or by a learned reward."""

    needs = "rollouts"
    draws = True
    options_type: ClassVar[type[MethodOptions]] = RewardedOptions

    def __init__(self, source: DataSource[Any], policy: Policy, options: MethodOptions | None = None) -> None:
        super().__init__(source, policy, options)
        # What `DataSource.learn_reward` gives; None where the environment itself rewards.
        self.learned_reward: Any = None
        if self.options.reward != "env":
            self.learned_reward = source.learn_reward(self.reference, self.options.pairs)

    def _returns(self, episodes: Trajectories) -> Float[Tensor, "N B"]:
        """The discounted sum of what each step of whole episodes pays."""
        return replace(episodes, reward=self._reward(episodes)).returns(self.source.discount)

    def _reward(self, steps: Trajectories) -> Float[Tensor, "N B T"]:
        """What each step pays: the environment's reward, or the learned one."""
        if self.learned_reward is None:
            return steps.reward.to(next(self.policy.parameters()).dtype)
        return self.source.reward(self.learned_reward, steps)


class OnPolicy(Rewarded[RolloutsT], Generic[RolloutsT]):
    """What methods that follow the policy gradient share: rollouts of the current policy, new ones every `epochs` updates."""

    assumed_prior = "ppo"
    steps = 600
    options_type: ClassVar[type[MethodOptions]] = OnPolicyOptions

    def __init__(self, source: DataSource[Any], policy: Policy, options: MethodOptions | None = None) -> None:
        super().__init__(source, policy, options)
        self.max_grad_norm = self.options.max_grad_norm
        self._rollouts: RolloutsT | None = None

    @property
    def renewal(self) -> int:
        """Number of updates on each batch of rollouts."""
        return getattr(self.options, "epochs", 1)

    def batch(self, step: int) -> RolloutsT:
        if self._rollouts is None or step % self.renewal == 0:
            self._rollouts = self._walk()
        return self._rollouts

    def _walk(self) -> RolloutsT:
        raise NotImplementedError


class PPO(OnPolicy[Valued]):
    """RLHF: walk, be rewarded, climb; a KL price holds the policy to the base."""

    title = "RLHF · PPO"
    trains_critic = True
    options_type = PPOOptions

    def __init__(self, source: DataSource[Any], policy: Policy, options: MethodOptions | None = None) -> None:
        super().__init__(source, policy, options)
        self.critic = source.critic(policy)
        self._steps = source.walker(policy, self.options.walkers, self.options.segment)

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return [*self.policy.parameters(), *self.critic.parameters()]

    @torch.no_grad()
    def _walk(self) -> Valued:
        options, discount, reference = self.options, self.source.discount, self.reference
        steps = self._steps()
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        reference_logp = reference.log_probs(steps.states, steps.actions, steps.mask)
        reward = self._reward(steps) - options.beta * losses.kl_estimate(logp, reference_logp, kind=options.kl_kind)
        value, following = self.source.values(self.critic, steps)
        # A time limit truncates: bootstrap from the next value, which is folded into the reward.
        reward = reward + discount * following * steps.truncated
        onward = discount * ~(steps.terminated | steps.truncated)
        advantage = losses.generalized_advantage_estimate(
            reward, torch.cat([value, following[..., -1:]], -1), onward, lam=options.lam
        )
        centred = advantage - _mean(advantage, steps.mask)[:, None, None]
        # The floor keeps a batch without any reward from being blown up to unit noise.
        counted = steps.mask.sum((1, 2))
        deviation = (_mean(centred**2, steps.mask) * counted / (counted - 1).clamp(min=1)).sqrt()
        scaled = centred / (deviation[:, None, None] + 1e-3)
        return Valued(steps, logp, scaled, value, advantage + value)

    def loss(self, batch: Valued) -> Float[Tensor, " N"]:
        options, steps = self.options, batch.steps
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        surrogate = losses.ppo_clip_loss(logp, batch.logp, batch.advantage, steps.mask, clip=options.clip)
        value = self.critic(steps.states)[..., 0]
        critic = losses.value_loss(value, batch.value, batch.target, steps.mask, clip=options.clip)
        spread = self.policy.per_state(steps.states, entropy, steps.mask)
        return _mean(surrogate + critic - options.entropy_bonus * spread, steps.mask)


def _mean(x: Float[Tensor, "N B T"], mask: Bool[Tensor, "#N B T"]) -> Float[Tensor, " N"]:
    """Over a seed's counted steps."""
    return masked_mean(x.flatten(1), mask.flatten(1))


class GRPO(OnPolicy[Rollouts]):
    """PPO without a critic: whole episodes from one start are compared with each other (Shao et al. 2024).

    As in the original, an episode's steps are averaged before episodes are, so a step of a long one counts less, and the
    price of KL is a term of the loss (k3), not of the reward: its gradient is that of KL(reference || policy), so where GRPO
    arrives is not the optimum of `planning.soft_value_iteration`.
    """

    title = "RLHF · GRPO"
    options_type = GRPOOptions

    @torch.no_grad()
    def _walk(self) -> Rollouts:
        steps, group = self.source.groups(self.policy, self.options.walkers, self.options.group)
        advantage = losses.group_relative_advantage(self._returns(steps).unflatten(-1, (-1, group))).flatten(1)
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        return Rollouts(steps, logp, advantage[..., None].expand_as(logp))

    def loss(self, batch: Rollouts) -> Float[Tensor, " N"]:
        steps = batch.steps
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        surrogate = losses.ppo_clip_loss(logp, batch.logp, batch.advantage, steps.mask, clip=self.options.clip)
        with torch.no_grad():
            reference_logp = self.reference.log_probs(steps.states, steps.actions, steps.mask)
        price = self.options.beta * losses.kl_estimate(logp, reference_logp, kind="k3")
        return masked_mean(surrogate + price, steps.mask).mean(-1)
