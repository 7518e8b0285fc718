"""The methods: what data each needs and how a batch becomes a loss. Nothing else differs between them.

A method sees a policy through embed | logits and a `source.DataSource` that hands it data, so that it does not know a
lake from a language. Losses are returned per seed, [N]; their sum is minimised, so that seeds never mix.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch, Trajectories
from ift_gridworld.log_probs import entropy, kl_divergence, masked_mean, masked_sum
from ift_gridworld.methods.settings import Settings
from ift_gridworld.methods.source import DataSource
from ift_gridworld.policies.lake import Policy
from ift_gridworld.policies.residual import Successor, Windows


class Method:
    """A method in training. Subclasses give `batch` and `loss`.

    Args:
        source: data and dynamics.
        policy: trained in place; its copy at this moment is the frozen reference.
        settings: all knobs.
    """

    title: ClassVar[str]
    needs: ClassVar[Literal["demonstrations", "pairs", "rollouts"]]
    assumed_prior: ClassVar[str]  # where it takes the model to stand: a row of `estimation.TABLE`
    draws: ClassVar[bool] = False  # whether answers are drawn from the policy as it learns
    steps: ClassVar[int] = 300
    max_grad_norm: float | None = None

    def __init__(self, source: DataSource, policy: Policy, settings: Settings) -> None:
        self.source, self.policy, self.settings = source, policy, settings

    @classmethod
    def default_beta(cls, settings: Settings) -> float | None:
        """The method's own beta, where the caller names none; None for a method that has no such knob."""
        return None

    @cached_property
    def beta(self) -> float:
        beta = self.resolved_beta(self.settings)
        assert beta is not None
        return beta

    @classmethod
    def resolved_beta(cls, settings: Settings) -> float | None:
        """The caller's, or else the method's own."""
        return cls.default_beta(settings) if settings.beta is None else settings.beta

    @classmethod
    def resolved(cls, settings: Settings, policy: Policy) -> Settings:
        """Settings with the method's own defaults, and the policy's, where the caller names none."""
        return replace(
            settings,
            steps=settings.steps or cls.steps,
            learning_rate=settings.learning_rate or policy.learning_rate,
            beta=cls.resolved_beta(settings),
        )

    @cached_property
    def reference(self) -> Policy:
        """The base policy, frozen."""
        return copy.deepcopy(self.policy).requires_grad_(False)

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """What the optimiser moves; the first dimension of each is the seed."""
        return self.policy.parameters()

    def batch(self, step: int) -> Batch | tuple[PairSide, PairSide]:
        """The data of this update."""
        raise NotImplementedError

    def loss(self, batch: object) -> Float[Tensor, " N"]:
        """The loss of each seed."""
        raise NotImplementedError


class SFT(Method):
    """Imitate the demonstrations (eq. 30)."""

    title = "SFT · supervised fine-tuning"
    needs = "demonstrations"
    assumed_prior = "sft"

    def batch(self, step: int) -> Batch:
        return self.source.shown(step)

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:  # type: ignore[override]
        return losses.sft_loss(self.policy.log_probs(batch.states, batch.actions, batch.mask), batch.mask).mean(-1)


class IFT(SFT):
    """Imitate them from states mixed with the model's own predictions, early steps answering for later ones."""

    title = "IFT · intuitive fine-tuning"
    assumed_prior = "ift"

    @cached_property
    def successor(self) -> Successor:
        return self.source.successor(self.policy, self.settings)

    @cached_property
    def windows(self) -> Windows | None:
        """The batch's distinct windows, where a policy that remembers nothing meets the same batch again and running each once
        is less work than running every step."""
        if self.policy.remembers:
            return None
        shown = self.source.shown(0)
        windows = Windows.of(shown.states, shown.mask)
        return windows if 2 * windows.states.shape[1] < shown.states[0].numel() else None

    def second_pass(self, batch: Batch) -> Float[Tensor, "N B T"]:
        """log π(a*|s) of every step, from the mixed states."""
        mixing = self.settings.mixing
        if mixing == 0:  # the first pass is the only one: with propagation off, SFT to the last bit
            return self.policy.log_probs(batch.states, batch.actions, batch.mask)
        if self.windows is not None:
            return self.windows.log_probs(self.policy, batch.actions, self.successor, mixing=mixing)
        return self.source.residual_log_probs(self.policy, batch, self.successor, mixing)

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:  # type: ignore[override]
        s = self.settings
        return losses.ift_loss(
            self.second_pass(batch),
            batch.mask,
            decay=s.decay,
            propagation=s.propagation,
            norm=s.norm,
            detach_weights=s.detach_weights,
        ).mean(-1)


@dataclass(frozen=True, eq=False)
class PairSide:
    """One side of the preference pairs, with what the frozen reference makes of it."""

    batch: Batch
    base: Policy

    @cached_property
    def reference(self) -> Float[Tensor, "N B"]:
        """log pi_ref of each trajectory, summed over its steps."""
        with torch.no_grad():
            return masked_sum(self.base.log_probs(self.batch.states, self.batch.actions, self.batch.mask), self.batch.mask)

    @cached_property
    def reference_logits(self) -> Float[Tensor, "N B T A"]:
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


class PairMethod(Method):
    """Learn from pairs: one answer the human prefers, one not."""

    needs = "pairs"
    assumed_prior = "dpo"

    def batch(self, step: int) -> tuple[PairSide, PairSide]:
        chosen, rejected = self.source.compared(step)
        if self._asked is None or self._asked[0].batch is not chosen:  # else the reference has said what it says of them
            self._asked = PairSide(chosen, self.reference), PairSide(rejected, self.reference)
        return self._asked

    _asked: tuple[PairSide, PairSide] | None = None

    def loss(self, batch: tuple[PairSide, PairSide]) -> Float[Tensor, " N"]:  # type: ignore[override]
        chosen, rejected = (Scored(side, self.policy) for side in batch)
        return self.pair_loss(chosen, rejected).mean(-1)

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        raise NotImplementedError


class DPO(PairMethod):
    """Make the preferred answer likelier relative to the other, against the frozen base."""

    title = "DPO · direct preference optimisation"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        return 0.1

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.dpo_loss(
            chosen.sum,
            rejected.sum,
            chosen.reference,
            rejected.reference,
            beta=self.beta,
            label_smoothing=self.settings.label_smoothing,
        )


class OnlineDPO(DPO):
    """DPO whose rejected answer is drawn from the current policy at every update."""

    title = "DPO online · rejected answers from the policy itself"
    assumed_prior = "dpo_online"
    draws = True

    def batch(self, step: int) -> tuple[PairSide, PairSide]:
        chosen, _ = super().batch(step)
        return chosen, PairSide(self.source.answers(self.policy, chosen.batch), self.reference)


class IPO(PairMethod):
    """Like DPO, but towards a margin of 1 / (2 beta) instead of an endless one."""

    title = "IPO · identity preference optimisation"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        return 0.1

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.ipo_loss(chosen.sum, rejected.sum, chosen.reference, rejected.reference, beta=self.beta)


class ORPO(PairMethod):
    """SFT on the preferred answer and a push between the odds of the two, without a reference."""

    title = "ORPO · odds-ratio preference optimisation"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        return 0.25

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.orpo_loss(chosen.mean, rejected.mean, beta=self.beta)


class SimPO(PairMethod):
    """A margin between the mean log-probs of the two answers, without a reference."""

    title = "SimPO · simple preference optimisation"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        return 2.0

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.simpo_loss(chosen.mean, rejected.mean, beta=self.beta, gamma=self.settings.gamma)


class TDPO(PairMethod):
    """DPO with each answer's forward KL in the margin."""

    title = "TDPO · token-level DPO"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        return 0.1

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.tdpo_loss(
            chosen.margin,
            rejected.margin,
            chosen.kl,
            rejected.kl,
            beta=self.beta,
            alpha=self.settings.alpha,
            version=self.settings.version,
        )


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


class OnPolicy(Method):
    """What methods that walk themselves share: rollouts of the current policy, new ones every `epochs` updates."""

    needs = "rollouts"
    assumed_prior = "ppo"
    draws = True
    steps = 600

    def __init__(self, source: DataSource, policy: Policy, settings: Settings) -> None:
        super().__init__(source, policy, settings)
        self.max_grad_norm = settings.max_grad_norm
        self._rollouts: Rollouts | None = None
        # What `DataSource.learn_reward` gives; None where the environment itself rewards.
        self.learned_reward: Any = None if settings.reward == "env" else source.learn_reward(self.reference, settings)

    def batch(self, step: int) -> Rollouts:  # type: ignore[override]
        if self._rollouts is None or step % self.settings.epochs == 0:
            self._rollouts = self._walk()
        return self._rollouts

    def _walk(self) -> Rollouts:
        raise NotImplementedError

    def _reward(self, steps: Trajectories) -> Float[Tensor, "N B T"]:
        """What each step pays: the environment's reward, or the learned one."""
        if self.learned_reward is None:
            return steps.reward.to(next(self.policy.parameters()).dtype)
        return self.source.reward(self.learned_reward, steps)


class PPO(OnPolicy):
    """RLHF: walk, be rewarded, climb; a KL price holds the policy to the base."""

    title = "RLHF · PPO"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        """A learned reward is measured in nats (the log-odds of a preference), so a nat of KL costs one; and the price must
        be that high, or PPO finds where the reward model knows nothing and walks in circles there."""
        return 0.001 if settings.reward == "env" else 1.0

    def __init__(self, source: DataSource, policy: Policy, settings: Settings) -> None:
        super().__init__(source, policy, settings)
        self.critic = source.critic(policy)
        self._steps = source.walker(policy, settings)

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return [*self.policy.parameters(), *self.critic.parameters()]

    @torch.no_grad()
    def _walk(self) -> Valued:
        settings, discount = self.settings, self.source.discount
        reference = self.reference  # frozen before the first update
        steps = self._steps()
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        reference_logp = reference.log_probs(steps.states, steps.actions, steps.mask)
        reward = self._reward(steps) - self.beta * losses.kl_estimate(logp, reference_logp, kind=settings.kl_kind)
        value, following = self.source.values(self.critic, steps)
        # A clock that runs out is no end of the world: what would have followed is folded into the reward.
        reward = reward + discount * following * steps.truncated
        onward = discount * ~(steps.terminated | steps.truncated)
        advantage = losses.generalized_advantage_estimate(
            reward, torch.cat([value, following[..., -1:]], -1), onward, lam=settings.lam
        )
        centred = advantage - _mean(advantage, steps.mask)[:, None, None]
        # The floor keeps a batch without any reward from being blown up to unit noise.
        counted = steps.mask.sum((1, 2))
        deviation = (_mean(centred**2, steps.mask) * counted / (counted - 1).clamp(min=1)).sqrt()
        scaled = centred / (deviation[:, None, None] + 1e-3)
        return Valued(steps, logp, scaled, value, advantage + value)

    def loss(self, batch: Valued) -> Float[Tensor, " N"]:  # type: ignore[override]
        settings, steps = self.settings, batch.steps
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        surrogate = losses.ppo_clip_loss(logp, batch.logp, batch.advantage, steps.mask, clip=settings.clip)
        value = self.critic(steps.states)[..., 0]
        critic = losses.value_loss(value, batch.value, batch.target, steps.mask, clip=settings.clip)
        spread = self.policy.per_state(steps.states, entropy, steps.mask)
        return _mean(surrogate + critic - settings.entropy_bonus * spread, steps.mask)


def _mean(x: Float[Tensor, "N B T"], mask: Bool[Tensor, "#N B T"]) -> Float[Tensor, " N"]:
    """Over a seed's counted steps."""
    return masked_mean(x.flatten(1), mask.flatten(1))


class GRPO(OnPolicy):
    """PPO without a critic: whole episodes from one start are compared with each other (Shao et al. 2024).

    As in the original, an episode's steps are averaged before episodes are, so a step of a long one counts less, and the
    price of KL is a term of the loss (k3), not of the reward: its gradient is that of KL(reference || policy), so where GRPO
    arrives is not the optimum of `planning.soft_value_iteration`.
    """

    title = "RLHF · GRPO"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        return 0.04

    @torch.no_grad()
    def _walk(self) -> Rollouts:
        _ = self.reference  # frozen before the first update
        steps, group = self.source.groups(self.policy, self.settings)
        returns = replace(steps, reward=self._reward(steps)).returns(self.source.discount)
        advantage = losses.group_relative_advantage(returns.unflatten(-1, (-1, group))).flatten(1)
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        return Rollouts(steps, logp, advantage[..., None].expand_as(logp))

    def loss(self, batch: Rollouts) -> Float[Tensor, " N"]:  # type: ignore[override]
        steps = batch.steps
        logp = self.policy.log_probs(steps.states, steps.actions, steps.mask)
        surrogate = losses.ppo_clip_loss(logp, batch.logp, batch.advantage, steps.mask, clip=self.settings.clip)
        with torch.no_grad():
            reference_logp = self.reference.log_probs(steps.states, steps.actions, steps.mask)
        price = self.beta * losses.kl_estimate(logp, reference_logp, kind="k3")
        return masked_mean(surrogate + price, steps.mask).mean(-1)


METHODS: dict[str, type[Method]] = {
    "sft": SFT,
    "ppo": PPO,
    "dpo": DPO,
    "dpo_online": OnlineDPO,
    "ift": IFT,
    "orpo": ORPO,
    "ipo": IPO,
    "simpo": SimPO,
    "tdpo": TDPO,
    "grpo": GRPO,
}
