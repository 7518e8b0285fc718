"""The methods: what data each needs and how a batch becomes a loss. Nothing else differs between them.

A method sees a policy through embed | logits and a problem that hands it data, so that it does not know a lake from a
language. Losses are returned per seed, [N]; their sum is minimised, so that seeds never mix.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.log_probs import action_log_probs, entropy, kl_divergence, masked_mean, masked_sum
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.optimisers import OPTIMISERS, Adam
from ift_gridworld.planning import success_probability
from ift_gridworld.policies import Policy
from ift_gridworld.residual import OUTCOMES, PREDICTIONS, Successor, Windows, lake_successor, residual_embeddings
from ift_gridworld.trajectories import Batch, Trajectories, Walkers, sample_episodes

REWARDS = ("env", "preference")
KL_KINDS = ("k1", "k2", "k3")


@dataclass(frozen=True)
class Settings:
    """Every knob of every method. None means the method's own default. Defaults are the papers', where they give one."""

    steps: int | None = None
    """Gradient updates."""
    learning_rate: float | None = None
    """Of the optimiser, the same for every method: 0.01 for the network; 0.03 for the table, whose rows learn alone."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """What makes updates of gradients."""
    snapshots: int = 60
    """Policies kept along the way, so that about equally much changes from each to the next."""
    mixing: float = 0.2
    """IFT: lambda, the share of the model's own prediction in each state."""
    decay: float = 0.95
    """IFT: gamma of the relation propagation."""
    propagation: losses.Propagation = "released"
    """IFT: which published definition."""
    norm: losses.Norm = "L1"
    """IFT: how the released definition scales its weights."""
    detach_weights: bool = False
    """IFT: hold the weights constant in the backward pass."""
    prediction: Literal["greedy", "expected"] = "greedy"
    """IFT: mix in the best action's tile, or the average over actions."""
    outcome: Literal["expected", "likeliest"] = "expected"
    """IFT, on slippery ice: mix in the average over outcomes, or the likeliest tile."""
    beta: float | None = None
    """Price of KL (DPO, IPO, TDPO, PPO, GRPO), weight of the odds term (ORPO), scale of the margin (SimPO)."""
    label_smoothing: float = 0.0
    """DPO: share of labels taken to be wrong."""
    gamma: float = 1.6
    """SimPO: target margin."""
    alpha: float = 0.5
    """TDPO: weight of the KL difference."""
    version: int = 2
    """TDPO: 1 or 2."""
    reward: Literal["env", "preference"] = "env"
    """PPO, GRPO: the environment's reward, or a Bradley-Terry model's, trained on preference pairs."""
    pairs: int = 256
    """PPO, GRPO with a learned reward: pairs of the base policy's own episodes that are compared."""
    kl_kind: Literal["k1", "k2", "k3"] = "k1"
    """PPO: estimator of the per-step KL penalty."""
    clip: float = 0.2
    """PPO, GRPO: clip of the ratio (PPO: and of the value)."""
    lam: float = 0.95
    """PPO: lambda of the advantage estimate."""
    entropy_bonus: float = 0.001
    """PPO: weight of the entropy."""
    epochs: int = 4
    """PPO, GRPO: updates on each batch of rollouts."""
    walkers: int = 64
    """PPO, GRPO: agents that walk at once."""
    segment: int = 32
    """PPO: steps that each walks between two batches (GRPO's walk whole episodes)."""
    group: int | None = None
    """GRPO: agents that start on the same tile and are compared with each other (all of them if not given); as many whole
    groups walk as the number of walkers allows."""
    max_grad_norm: float = 0.5
    """PPO, GRPO: gradient norm, per seed, above which it is scaled down."""

    def __post_init__(self) -> None:
        unit = "a number in [0, 1]"
        for name in ("mixing", "decay", "lam"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) <= 1, unit)
        for name in ("clip", "max_grad_norm"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "a number > 0")
        for name in ("epochs", "walkers", "segment", "pairs"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "a whole number >= 1")
        if self.group is not None:
            sizes = f"a whole number from 2 to the number of walkers ({self.walkers})"
            _require("group", self.group, 2 <= self.group <= self.walkers, sizes)
        _require("snapshots", self.snapshots, self.snapshots >= 2, "a whole number >= 2")
        if self.steps is not None:
            _require("steps", self.steps, self.steps >= 1, "a whole number >= 1")
        for name in ("beta", "learning_rate"):
            value = getattr(self, name)
            _require(name, value, value is None or 0 < value < 1e30, "a number > 0 (and below 1e30)")
        _require("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 0.5, "a number in [0, 0.5)")
        _require("entropy_bonus", self.entropy_bonus, self.entropy_bonus >= 0, "a number >= 0")
        for name in ("gamma", "alpha"):
            _require(name, getattr(self, name), abs(getattr(self, name)) < float("inf"), "a finite number")
        _require("version", self.version, self.version in (1, 2), "1, 2")
        for name, allowed in (
            ("propagation", losses.PROPAGATIONS),
            ("norm", losses.NORMS),
            ("prediction", PREDICTIONS),
            ("outcome", OUTCOMES),
            ("reward", REWARDS),
            ("kl_kind", KL_KINDS),
            ("optimiser", tuple(OPTIMISERS)),
        ):
            _require(name, getattr(self, name), getattr(self, name) in allowed, ", ".join(allowed))


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:  # also when the value is NaN
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")


@dataclass(frozen=True, eq=False)
class Problem:
    """What a method may ask of a lake: its data, where predictions lead, and a place to walk.

    Attributes:
        mdp: the lake.
        demonstrations: of the human, [1, B, T], shared by all seeds; or each member's own, [N, B, T].
        chosen, rejected: preference pairs, likewise.
        generators: one a seed.
        device: of the policy.
        lakes: where members stand on several lakes of one size, in equal parts and in order: all of these. Methods that walk
            have one lake.
    """

    mdp: TabularMDP
    demonstrations: Trajectories
    chosen: Trajectories
    rejected: Trajectories
    generators: Sequence[torch.Generator]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    lakes: Sequence[TabularMDP] = ()


class Method:
    """A method in training. Subclasses give `batch` and `loss`.

    Args:
        problem: data and dynamics.
        policy: trained in place; its copy at this moment is the frozen reference.
        settings: all knobs.
    """

    title: ClassVar[str]
    needs: ClassVar[Literal["demonstrations", "pairs", "rollouts"]]
    supposes: ClassVar[str]  # where it takes the model to stand: a row of `estimation.TABLE`
    draws: ClassVar[bool] = False  # whether answers are drawn from the policy as it learns
    steps: ClassVar[int] = 300
    max_grad_norm: float | None = None

    def __init__(self, problem: Problem, policy: Policy, settings: Settings) -> None:
        self.problem, self.policy, self.settings = problem, policy, settings

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

    def batch(self, step: int) -> Batch | tuple[Answers, Answers]:
        """The data of this update."""
        raise NotImplementedError

    def loss(self, batch: object) -> Float[Tensor, " N"]:
        """The loss of each seed."""
        raise NotImplementedError


class SFT(Method):
    """Imitate the demonstrations (eq. 30)."""

    title = "SFT · supervised fine-tuning"
    needs = "demonstrations"
    supposes = "sft"

    def batch(self, step: int) -> Batch:
        return self.problem.demonstrations

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:  # type: ignore[override]
        return losses.sft_loss(self.policy.log_probs(batch.states, batch.actions), batch.mask).mean(-1)


class IFT(SFT):
    """Imitate them from states mixed with the model's own predictions, early steps answering for later ones."""

    title = "IFT · intuitive fine-tuning"
    supposes = "ift"

    @cached_property
    def successor(self) -> Successor:
        settings = self.settings
        return lake_successor(
            self.problem.lakes or self.problem.mdp,
            self.policy.embed,
            prediction=settings.prediction,
            outcome=settings.outcome,
            device=self.problem.device,
        )

    @cached_property
    def windows(self) -> Windows | None:
        """The batch's distinct windows, where running each once is less work than running every step."""
        shown = self.problem.demonstrations
        windows = Windows.of(shown.states, shown.mask)
        return windows if 2 * windows.states.shape[1] < shown.states[0].numel() else None

    def second_pass(self, batch: Batch) -> Float[Tensor, "N B T"]:
        """log π(a*|s) of every step, from the mixed states."""
        mixing = self.settings.mixing
        if mixing == 0:  # the first pass is the only one: with propagation off, SFT to the last bit
            return self.policy.log_probs(batch.states, batch.actions)
        if self.windows is not None:
            return self.windows.log_probs(self.policy, batch.actions, self.successor, mixing=mixing)
        mixed = residual_embeddings(self.policy, batch.states, batch.mask, self.successor, mixing=mixing)
        return action_log_probs(self.policy.logits(mixed), batch.actions)

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
class Answers:
    """One side of the preference pairs, with what the frozen reference makes of it."""

    batch: Batch
    base: Policy

    @cached_property
    def reference(self) -> Float[Tensor, "N B"]:
        """log pi_ref of each trajectory, summed over its steps."""
        with torch.no_grad():
            return masked_sum(self.base.log_probs(self.batch.states, self.batch.actions), self.batch.mask)

    @cached_property
    def reference_logits(self) -> Float[Tensor, "N B T A"]:
        with torch.no_grad():
            return self.base(self.batch.states)


@dataclass(frozen=True, eq=False)
class Scored:
    """One side of the pairs under the policy: log-probs of its steps, and how they compare with the reference's."""

    answers: Answers
    policy: Policy

    @cached_property
    def logp(self) -> Float[Tensor, "N B T"]:
        return self.policy.log_probs(self.answers.batch.states, self.answers.batch.actions)

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
    supposes = "dpo"

    @cached_property
    def _offline(self) -> tuple[Answers, Answers]:
        return Answers(self.problem.chosen, self.reference), Answers(self.problem.rejected, self.reference)

    def batch(self, step: int) -> tuple[Answers, Answers]:
        return self._offline

    def loss(self, batch: tuple[Answers, Answers]) -> Float[Tensor, " N"]:  # type: ignore[override]
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
    supposes = "dpo_online"
    draws = True

    def batch(self, step: int) -> tuple[Answers, Answers]:
        chosen, problem = self._offline[0], self.problem
        table = torch.as_tensor(self.policy.probabilities())
        starts = chosen.batch.states[..., 0].cpu().expand(len(problem.generators), -1)
        drawn = sample_episodes(problem.mdp, table, starts.shape[1], problem.generators, starts)
        return chosen, Answers(drawn.to(problem.device), self.reference)


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
    supposes = "ppo"
    draws = True
    steps = 600

    def __init__(self, problem: Problem, policy: Policy, settings: Settings) -> None:
        super().__init__(problem, policy, settings)
        self.max_grad_norm = settings.max_grad_norm
        self._rollouts: Rollouts | None = None
        # r(s, a) of the reward model; None where the environment itself rewards.
        self.learned_reward = None if settings.reward == "env" else train_reward_model(problem, self.reference, settings)

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
        index = steps.states * self.problem.mdp.num_actions + steps.actions
        return self.learned_reward.flatten(1).gather(1, index.flatten(1)).reshape(index.shape)


class PPO(OnPolicy):
    """RLHF: walk, be rewarded, climb; a KL price holds the policy to the base."""

    title = "RLHF · PPO"

    @classmethod
    def default_beta(cls, settings: Settings) -> float:
        """A learned reward is measured in nats (the log-odds of a preference), so a nat of KL costs one; and the price must
        be that high, or PPO finds where the reward model knows nothing and walks in circles there."""
        return 0.001 if settings.reward == "env" else 1.0

    def __init__(self, problem: Problem, policy: Policy, settings: Settings) -> None:
        super().__init__(problem, policy, settings)
        self.critic = policy.like(num_actions=1).initialise(problem.generators, uniform=True).to(problem.device)
        self._walkers = Walkers(problem.mdp, problem.generators, settings.walkers, problem.device)

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return [*self.policy.parameters(), *self.critic.parameters()]

    @torch.no_grad()
    def _walk(self) -> Valued:
        settings, discount = self.settings, self.problem.mdp.discount
        table = torch.as_tensor(self.policy.probabilities())
        reference = self.reference  # frozen before the first update
        steps = self._walkers.walk(table, settings.segment)
        logp = self.policy.log_probs(steps.states, steps.actions)
        reference_logp = reference.log_probs(steps.states, steps.actions)
        reward = self._reward(steps) - self.beta * losses.kl_estimate(logp, reference_logp, kind=settings.kl_kind)
        value, following = self.critic(steps.states)[..., 0], self.critic(steps.next_states)[..., 0]
        # A clock that runs out is no end of the world: what would have followed is folded into the reward.
        reward = reward + discount * following * steps.truncated
        onward = discount * ~(steps.terminated | steps.truncated)
        advantage = losses.generalized_advantage_estimate(
            reward, torch.cat([value, following[..., -1:]], -1), onward, lam=settings.lam
        )
        centred = advantage - advantage.mean((1, 2), keepdim=True)
        # The floor keeps a batch without any reward from being blown up to unit noise.
        scaled = centred / (advantage.std((1, 2), keepdim=True) + 1e-3)
        return Valued(steps, logp, scaled, value, advantage + value)

    def loss(self, batch: Valued) -> Float[Tensor, " N"]:  # type: ignore[override]
        settings, steps = self.settings, batch.steps
        logp = self.policy.log_probs(steps.states, steps.actions)
        surrogate = losses.ppo_clip_loss(logp, batch.logp, batch.advantage, steps.mask, clip=settings.clip)
        value = self.critic(steps.states)[..., 0]
        critic = losses.value_loss(value, batch.value, batch.target, steps.mask, clip=settings.clip)
        spread = self.policy.per_state(steps.states, entropy)
        return (surrogate + critic - settings.entropy_bonus * spread).mean((1, 2))


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
        settings, problem = self.settings, self.problem
        _ = self.reference  # frozen before the first update
        group = settings.group or settings.walkers
        starts = Walkers(problem.mdp, problem.generators, settings.walkers // group).states.repeat_interleave(group, -1)
        table = torch.as_tensor(self.policy.probabilities())
        steps = sample_episodes(problem.mdp, table, starts.shape[-1], problem.generators, starts).to(problem.device)
        returns = replace(steps, reward=self._reward(steps)).returns(problem.mdp.discount)
        advantage = losses.group_relative_advantage(returns.unflatten(-1, (-1, group))).flatten(1)
        logp = self.policy.log_probs(steps.states, steps.actions)
        return Rollouts(steps, logp, advantage[..., None].expand_as(logp))

    def loss(self, batch: Rollouts) -> Float[Tensor, " N"]:  # type: ignore[override]
        steps = batch.steps
        logp = self.policy.log_probs(steps.states, steps.actions)
        surrogate = losses.ppo_clip_loss(logp, batch.logp, batch.advantage, steps.mask, clip=self.settings.clip)
        with torch.no_grad():
            reference_logp = self.reference.log_probs(steps.states, steps.actions)
        price = self.beta * losses.kl_estimate(logp, reference_logp, kind="k3")
        return masked_mean(surrogate + price, steps.mask).mean(-1)


def train_reward_model(
    problem: Problem, base: Policy, settings: Settings, *, updates: int = 300, learning_rate: float = 0.05, l2: float = 1e-3
) -> Float[Tensor, "N S A"]:
    """A table r(s, a) a seed, fitted to preferences by Bradley-Terry (eq. 33): the reward of RLHF.

    The base policy walks pairs of episodes from the same start, the one of higher return is preferred, and the modelled
    return is the sum of r over the steps. A pair of equal returns says nothing and does not count.

    Raises:
        ValueError: if fewer pairs say something than there are tiles to walk on: a preference is one bit, and then some
            tile's reward would be a guess.
    """
    mdp, pairs = problem.mdp, settings.pairs
    needed = int((~mdp.terminal).sum())
    if mdp.layout is not None:
        needed = sum(letter in "SF" for row in mdp.layout for letter in row)
    first, second = compared_episodes(problem, base, pairs)
    one, two = first.returns(mdp.discount), second.returns(mdp.discount)
    informative = int((one != two).sum(-1).min())
    if informative < needed:
        hint = "" if success_probability(mdp, base.probabilities()[0], mdp.horizon) > 0.05 else " or a base that reaches G"
        raise ValueError(
            f"pairs is {pairs}, of which {informative} have different returns; a learned reward on this lake needs at "
            f"least {needed}, one for each tile to walk on: ask for more pairs{hint}"
        )
    # Visits of each (tile, action): the modelled return is linear in them.
    visits = [action_counts(side, mdp) for side in (first, second)]
    sign = torch.sign(one - two).float()
    difference = (visits[0] - visits[1]) * sign[..., None]  # chosen minus rejected, [N, P, S A]; 0 for a tie
    reward = torch.zeros(len(problem.generators), difference.shape[-1], device=problem.device, requires_grad=True)
    adam = Adam([reward], learning_rate)
    for _ in range(updates):
        margin = torch.einsum("npk,nk->np", difference, reward)
        loss = losses.bradley_terry_loss(margin, torch.zeros_like(margin)) * (sign != 0)
        (loss.sum() / pairs + l2 * (reward**2).sum()).backward()
        adam.step()
    return reward.detach().reshape(-1, mdp.num_states, mdp.num_actions)


def compared_episodes(problem: Problem, base: Policy, pairs: int) -> tuple[Trajectories, Trajectories]:
    """What a reward model learns from: pairs of the base policy's own episodes, each from the same start, [N, pairs, T]."""
    table = torch.as_tensor(base.probabilities())
    first = sample_episodes(problem.mdp, table, pairs, problem.generators)
    second = sample_episodes(problem.mdp, table, pairs, problem.generators, starts=first.states[..., 0])
    return first.to(problem.device), second.to(problem.device)


def action_counts(episodes: Trajectories, mdp: TabularMDP) -> Float[Tensor, "N B SA"]:
    """How often each episode took each action in each state."""
    index = episodes.states * mdp.num_actions + episodes.actions
    counts = torch.zeros(*index.shape[:2], mdp.num_states * mdp.num_actions, device=index.device)
    return counts.scatter_add_(-1, index, episodes.mask.float())


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
