"""What a method may ask of its data source: demonstrations and pairs, where predictions lead, and rollouts.

A method sees a policy through embed | logits and everything else through a `DataSource`, so that it does not know a lake from
a language. `LakeSource` is that of a lake; `language.source` has that of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.data import Batch, Trajectories, Walkers, sample_episodes
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.methods.reward_model import train_reward_model
from ift_gridworld.policies.base import Policy
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.policies.residual import Successor, lake_successor, residual_embeddings

__all__ = ["DataSource", "LakeSource"]

PolicyT = TypeVar("PolicyT", bound=Policy)


class DataSource(Generic[PolicyT]):
    """What methods ask for. All tensors begin with the dimension of the seeds, N; what is sampled carries no gradient.

    Attributes:
        discount: gamma of the return.
    """

    @property
    def discount(self) -> float:
        raise NotImplementedError

    def demonstration_batch(self, step: int) -> Batch:
        """The demonstrations to learn from at this update."""
        raise NotImplementedError

    def pair_batch(self, step: int) -> tuple[Batch, Batch]:
        """The preference pairs (chosen, rejected) of this update; while they stay the same, the same objects."""
        raise NotImplementedError

    def successor(self, policy: PolicyT, options: IFTOptions) -> Successor:
        """Where the policy's predictions lead."""
        raise NotImplementedError

    def residual_log_probs(self, policy: PolicyT, batch: Batch, successor: Successor, mixing: float) -> Float[Tensor, "N B T"]:
        """log π(a*|s) of every step, from the residual connection's mixed states."""
        mixed = residual_embeddings(policy, batch.states, batch.mask, successor, mixing=mixing)
        return policy.log_probs_of(mixed, batch.actions, batch.mask)

    def answers(self, policy: PolicyT, to: Batch) -> Batch:
        """One answer of the policy to each prompt of a batch: an episode from the same start."""
        raise NotImplementedError

    def walker(self, policy: PolicyT, walkers: int, segment: int) -> Callable[[], Trajectories]:
        """Return a function that gives new steps of the policy, as it then is; each call may go on where the last one stopped.

        Args:
            policy: whose steps.
            walkers: number of episodes at once.
            segment: steps of each in one call.
        """
        raise NotImplementedError

    def groups(self, policy: PolicyT, walkers: int, group: int | None) -> tuple[Trajectories, int]:
        """Sample whole episodes of the policy; return them and the size of a group, which stand next to each other.

        Args:
            policy: whose episodes.
            walkers: number of episodes, at most.
            group: number of episodes with one start; None for the source's own default.
        """
        raise NotImplementedError

    def critic(self, policy: PolicyT) -> Any:
        """A function of states, of the policy's own kind, that is 0 everywhere and can be trained."""
        raise NotImplementedError

    def values(self, critic: Any, steps: Trajectories) -> tuple[Float[Tensor, "N B T"], Float[Tensor, "N B T"]]:
        """What the critic says of the state before each step, and of that after it."""
        raise NotImplementedError

    def learn_reward(self, base: PolicyT, pairs: int) -> Any:
        """Learn a reward from preferences, for `reward`."""
        raise NotImplementedError

    def reward(self, learned: Any, steps: Trajectories) -> Float[Tensor, "N B T"]:
        """What each step pays by a learned reward."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class LakeSource(DataSource[LakePolicy]):
    """Attributes:
    mdp: the lake.
    demonstrations: of the human, [1, B, T], shared by all seeds; or each member's own, [N, B, T].
    chosen, rejected: preference pairs, likewise.
    generators: one a seed.
    device: of the policy.
    lakes: where members stand on several lakes of one size, discount and horizon, in equal parts and in order: all of these.
    """

    mdp: TabularMDP
    demonstrations: Trajectories
    chosen: Trajectories
    rejected: Trajectories
    generators: Sequence[torch.Generator]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    lakes: Sequence[TabularMDP] = ()

    @property
    def discount(self) -> float:
        return self.mdp.discount

    def demonstration_batch(self, step: int) -> Trajectories:
        return self.demonstrations

    def pair_batch(self, step: int) -> tuple[Trajectories, Trajectories]:
        return self.chosen, self.rejected

    def successor(self, policy: PolicyT, options: IFTOptions) -> Successor:
        return lake_successor(
            self.lakes or self.mdp,
            policy.embed,
            prediction=options.prediction,
            outcome=options.outcome,
            device=self.device,
        )

    def answers(self, policy: LakePolicy, to: Batch) -> Trajectories:
        return self._episodes(policy, to.states[..., 0].expand(len(self.generators), -1))

    def walker(self, policy: LakePolicy, walkers: int, segment: int) -> Callable[[], Trajectories]:
        walking = Walkers(self.lakes or self.mdp, self.generators, walkers, self.device)
        return lambda: walking.walk(policy.distribution(), segment)

    def groups(self, policy: LakePolicy, walkers: int, group: int | None) -> tuple[Trajectories, int]:
        group = group or walkers
        starts = Walkers(self.lakes or self.mdp, self.generators, walkers // group).states.repeat_interleave(group, -1)
        return self._episodes(policy, starts), group

    def _episodes(self, policy: LakePolicy, starts: Tensor) -> Trajectories:
        lakes = self.lakes or self.mdp
        return sample_episodes(lakes, policy.distribution(), starts.shape[-1], self.generators, starts, device=self.device)

    def critic(self, policy: LakePolicy) -> LakePolicy:
        return policy.like(num_actions=1).initialise(self.generators, uniform=True).to(self.device)

    def values(self, critic: LakePolicy, steps: Trajectories) -> tuple[Float[Tensor, "N B T"], Float[Tensor, "N B T"]]:
        return critic(steps.states)[..., 0], critic(steps.next_states)[..., 0]

    def learn_reward(self, base: LakePolicy, pairs: int) -> Float[Tensor, "N S A"]:
        return train_reward_model(self.lakes or self.mdp, base, self.generators, pairs=pairs, device=self.device)

    def reward(self, learned: Float[Tensor, "N S A"], steps: Trajectories) -> Float[Tensor, "N B T"]:
        index = steps.states * self.mdp.num_actions + steps.actions
        return learned.flatten(1).gather(1, index.flatten(1)).reshape(index.shape)
