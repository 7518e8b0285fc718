"""What a method may ask of its data source: demonstrations and pairs, where predictions lead, and rollouts.

A method sees a policy through embed | logits and everything else through a `DataSource`, so that it does not know a lake from
a language. `LakeSource` is that of a lake; `language.source` has that of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.choices import Teacher
from ift_gridworld.data import Batch, Trajectories, Walkers, WalkTables, sample_episodes
from ift_gridworld.data.demonstrator import SUBOPTIMAL_NOISE
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.methods.reward_model import train_reward_model
from ift_gridworld.planning import occupancy, optimal_policy
from ift_gridworld.planning.chain import DENSE_STATES, visits_within
from ift_gridworld.policies.base import Policy
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.policies.residual import Successor, lake_successor, residual_embeddings

__all__ = ["DataSource", "Labelled", "LakeSource"]

PolicyT = TypeVar("PolicyT", bound=Policy)

# `LakeSource.own_kl` follows every member through every state for every step of an episode, up to so many numbers an update.
FOLLOWED = 2**26


@dataclass(frozen=True, eq=False)
class Labelled:
    """Steps with a teacher's probabilities of what to do there.

    Attributes:
        batch: the steps; the mask leaves out those where the teacher knows nothing to do.
        actions: K actions that the teacher may take at each step.
        chances: its probability of each.
    """

    batch: Batch
    actions: Int[Tensor, "#N #B #T K"]
    chances: Float[Tensor, "#N B T K"]


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

    def mismatched(self, batch: Batch) -> Batch:
        """Return the batch's prompts with each other's answers, each prompt with that of the row before."""
        raise NotImplementedError

    def own_kl(self, policy: PolicyT, reference: PolicyT) -> Float[Tensor, " N"] | None:
        """Return KL(policy || reference) over the policy's own episodes, in nats an episode; None where it is not known."""
        return None

    def uniform(self, *shape: int) -> Float[Tensor, "N *shape"]:
        """Draw numbers in [0, 1), each seed's from its own generator."""
        raise NotImplementedError

    def labelled_answers(self, policy: PolicyT, walkers: int, teacher: Teacher) -> Labelled:
        """Sample episodes of the policy and have a teacher say what to do at each step.

        Args:
            policy: whose episodes.
            walkers: number of episodes.
            teacher: who is asked.
        """
        raise NotImplementedError

    def labelled_demonstrations(self, step: int, teacher: Teacher) -> Labelled:
        """The demonstrations of this update, with a teacher's probabilities in place of the demonstrated actions."""
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

    def guided_groups(self, policy: PolicyT, number: int, walkers: int, group: int) -> tuple[Trajectories, Trajectories]:
        """Return some demonstrations, and a group of the policy's own whole episodes from the start of each, side by side.

        Args:
            policy: whose episodes.
            number: number of the batch of groups, from 0; each sees the next demonstrations.
            walkers: number of episodes, at most.
            group: number of episodes from one start.
        """
        raise NotImplementedError

    def succeeded(self, episodes: Trajectories) -> Bool[Tensor, "N B"]:
        """Whether each episode reached the goal, or was right."""
        raise NotImplementedError

    @property
    def longest(self) -> int:
        """Number of steps of the longest episode."""
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
    def environments(self) -> Sequence[TabularMDP]:
        """The lakes that members stand on, in equal parts and in order."""
        return self.lakes or [self.mdp]

    @property
    def discount(self) -> float:
        return self.mdp.discount

    def demonstration_batch(self, step: int) -> Trajectories:
        return self.demonstrations

    def pair_batch(self, step: int) -> tuple[Trajectories, Trajectories]:
        return self.chosen, self.rejected

    def successor(self, policy: PolicyT, options: IFTOptions) -> Successor:
        return lake_successor(
            self.environments,
            policy.embed,
            prediction=options.prediction,
            outcome=options.outcome,
            device=self.device,
        )

    def answers(self, policy: LakePolicy, to: Batch) -> Trajectories:
        return self._episodes(policy, to.states[..., 0].expand(len(self.generators), -1))

    def mismatched(self, batch: Batch) -> Batch:
        """Return the batch: all its rows answer the one prompt of a lake, and the mean over them is that over any order."""
        return batch

    def own_kl(self, policy: LakePolicy, reference: LakePolicy) -> Float[Tensor, " N"] | None:
        """Return the exact divergence, by occupancy: Σ_s d(s) KL(π(.|s) || π_ref(.|s)), d the undiscounted visits."""
        ours, base = policy.probabilities(), reference.probabilities()
        if ours.size * self.longest > FOLLOWED:
            return None
        sound = np.isfinite(ours).all((1, 2))  # others have diverged
        tables = np.where(sound[:, None, None], ours, 1 / self.mdp.num_actions)
        walked = self._walked(tables)
        with np.errstate(divide="ignore", invalid="ignore"):  # where nothing is done, or nobody stands, nothing is counted
            per_state = np.where(tables > 0, tables * np.log(tables / base), 0.0).sum(-1)
            divergence = np.where(walked > 0, walked * per_state, 0.0).sum(-1)
        return torch.as_tensor(np.where(sound, divergence, np.nan), device=self.device)

    def _walked(self, policies: Float[np.ndarray, "N S A"]) -> Float[np.ndarray, "N S"]:
        """Return how often each member steps from each state in an episode."""
        lakes = self.environments
        each = policies.reshape(len(lakes), -1, *policies.shape[1:])
        if self.mdp.num_states > DENSE_STATES:
            pairs = zip(lakes, each, strict=True)
            visits = [occupancy(lake, x, discount=1.0, horizon=_longest(lake) - 1) * ~lake.terminal for lake, x in pairs]
            return np.concatenate(visits)
        transition = np.einsum("lnsa,lsat->lnst", each, self._goes_on, optimize=True)
        start = np.stack([lake.start * ~lake.terminal for lake in lakes])[:, None]  # of all its members
        return visits_within(transition, start, self.longest).reshape(policies.shape[:-1])

    @cached_property
    def _goes_on(self) -> Float[np.ndarray, "L S A S"]:
        """Probability of each next state, where the episode goes on there."""
        return np.stack([lake.scatter(lake.probability * ~lake.terminated) for lake in self.environments])

    def uniform(self, *shape: int) -> Float[Tensor, "N *shape"]:
        return torch.stack([torch.rand(shape, generator=each, dtype=torch.float64) for each in self.generators]).to(self.device)

    def labelled_answers(self, policy: LakePolicy, walkers: int, teacher: Teacher) -> Labelled:
        return self._labelled(
            self._episodes(policy, Walkers(self._tables, self.generators, walkers, self.device).states), teacher
        )

    def labelled_demonstrations(self, step: int, teacher: Teacher) -> Labelled:
        return self._labelled(self.demonstrations, teacher)

    def _labelled(self, steps: Trajectories, teacher: Teacher) -> Labelled:
        table, members = self._optimal, len(steps.states)
        if teacher == "demonstrator":
            table = (1 - SUBOPTIMAL_NOISE) * table + SUBOPTIMAL_NOISE / self.mdp.num_actions
        lake = torch.arange(members, device=self.device) * len(table) // members
        actions = torch.arange(self.mdp.num_actions, device=self.device)[None, None, None]
        return Labelled(steps, actions, table[lake[:, None, None], steps.states])

    @cached_property
    def _optimal(self) -> Float[Tensor, "L S A"]:
        return torch.stack([torch.as_tensor(optimal_policy(lake), device=self.device) for lake in self.environments])

    def walker(self, policy: LakePolicy, walkers: int, segment: int) -> Callable[[], Trajectories]:
        walking = Walkers(self._tables, self.generators, walkers, self.device)
        return lambda: walking.walk(policy.distribution(), segment)

    def groups(self, policy: LakePolicy, walkers: int, group: int | None) -> tuple[Trajectories, int]:
        group = group or walkers
        starts = Walkers(self._tables, self.generators, walkers // group, self.device).states.repeat_interleave(group, -1)
        return self._episodes(policy, starts), group

    def guided_groups(self, policy: LakePolicy, number: int, walkers: int, group: int) -> tuple[Trajectories, Trajectories]:
        count = walkers // group
        rows = (number * count + torch.arange(count, device=self.device)) % self.demonstrations.states.shape[1]
        chosen = self.demonstrations[:, rows]
        starts = chosen.states[..., 0].expand(len(self.generators), -1).repeat_interleave(group, -1)
        return chosen, self._episodes(policy, starts)

    def succeeded(self, episodes: Trajectories) -> Bool[Tensor, "N B"]:
        each = len(episodes.states) // len(self.environments)
        parts = zip(self.environments, range(0, len(episodes.states), each), strict=True)
        return torch.cat([episodes[first : first + each].reached_goal(lake) for lake, first in parts]).any(-1)

    @property
    def longest(self) -> int:
        return _longest(self.mdp)

    def _episodes(self, policy: LakePolicy, starts: Tensor) -> Trajectories:
        return sample_episodes(
            self._tables, policy.distribution(), starts.shape[-1], self.generators, starts, device=self.device
        )

    @cached_property
    def _tables(self) -> WalkTables:
        return WalkTables.of(self.environments, self.device)

    def critic(self, policy: LakePolicy) -> LakePolicy:
        return policy.like(num_actions=1).initialise(self.generators, uniform=True).to(self.device)

    def values(self, critic: LakePolicy, steps: Trajectories) -> tuple[Float[Tensor, "N B T"], Float[Tensor, "N B T"]]:
        return critic(steps.states)[..., 0], critic(steps.next_states)[..., 0]

    def learn_reward(self, base: LakePolicy, pairs: int) -> Float[Tensor, "N S A"]:
        return train_reward_model(self.environments, base, self.generators, pairs=pairs, device=self.device)

    def reward(self, learned: Float[Tensor, "N S A"], steps: Trajectories) -> Float[Tensor, "N B T"]:
        index = steps.states * self.mdp.num_actions + steps.actions
        return learned.flatten(1).gather(1, index.flatten(1)).reshape(index.shape)


def _longest(mdp: TabularMDP) -> int:
    """Number of steps after which `sample_episodes` cuts an episode off."""
    return mdp.horizon or 10 * mdp.num_states
