"""What a method may ask of its data source: data, where predictions lead, and a place to walk.

A method sees a policy through embed | logits and everything else through a `DataSource`, so that it does not know a lake from a
language. `LakeSource` is that of a lake; `language.source` has that of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch, Trajectories, Walkers, sample_episodes
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.settings import Settings
from ift_gridworld.planning import success_probability
from ift_gridworld.policies.lake import Policy
from ift_gridworld.policies.residual import Successor, lake_successor, residual_embeddings
from ift_gridworld.training.optimisers import Adam


class DataSource:
    """What methods ask for. All tensors begin with the dimension of the seeds, N; what is sampled carries no gradient.

    Attributes:
        discount: of the return.
    """

    discount: float

    def shown(self, step: int) -> Batch:
        """The demonstrations to learn from at this update."""
        raise NotImplementedError

    def compared(self, step: int) -> tuple[Batch, Batch]:
        """The preference pairs (chosen, rejected) of this update; while they stay the same, the same objects."""
        raise NotImplementedError

    def successor(self, policy: Policy, settings: Settings) -> Successor:
        """Where the policy's predictions lead."""
        raise NotImplementedError

    def residual_log_probs(self, policy: Policy, batch: Batch, successor: Successor, mixing: float) -> Float[Tensor, "N B T"]:
        """log π(a*|s) of every step, from the residual connection's mixed states."""
        mixed = residual_embeddings(policy, batch.states, batch.mask, successor, mixing=mixing)
        return policy.log_probs_of(mixed, batch.actions, batch.mask)

    def answers(self, policy: Policy, to: Batch) -> Batch:
        """One answer of the policy to each prompt of a batch: an episode from the same start."""
        raise NotImplementedError

    def walker(self, policy: Policy, settings: Settings) -> Callable[[], Trajectories]:
        """Gives new steps of the policy, as it then is, whenever it is called; it may go on where it stood."""
        raise NotImplementedError

    def groups(self, policy: Policy, settings: Settings) -> tuple[Trajectories, int]:
        """Whole episodes of the policy, and how many stand next to each other that begin alike."""
        raise NotImplementedError

    def critic(self, policy: Policy) -> Policy:
        """A function of states, of the policy's own kind, that is 0 everywhere and can be trained."""
        raise NotImplementedError

    def values(self, critic: Policy, steps: Trajectories) -> tuple[Float[Tensor, "N B T"], Float[Tensor, "N B T"]]:
        """What the critic says of the state before each step, and of that after it."""
        raise NotImplementedError

    def learn_reward(self, base: Policy, settings: Settings) -> Any:
        """A reward from preferences, for `reward`."""
        raise NotImplementedError

    def reward(self, learned: Any, steps: Trajectories) -> Float[Tensor, "N B T"]:
        """What each step pays by a learned reward."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class LakeSource(DataSource):
    """Attributes:
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

    @property
    def discount(self) -> float:  # type: ignore[override]
        return self.mdp.discount

    def shown(self, step: int) -> Trajectories:
        return self.demonstrations

    def compared(self, step: int) -> tuple[Trajectories, Trajectories]:
        return self.chosen, self.rejected

    def successor(self, policy: Policy, settings: Settings) -> Successor:
        return lake_successor(
            self.lakes or self.mdp,
            policy.embed,
            prediction=settings.prediction,
            outcome=settings.outcome,
            device=self.device,
        )

    def answers(self, policy: Policy, to: Batch) -> Trajectories:
        return self._episodes(policy, to.states[..., 0].expand(len(self.generators), -1))

    def walker(self, policy: Policy, settings: Settings) -> Callable[[], Trajectories]:
        walkers = Walkers(self.mdp, self.generators, settings.walkers, self.device)
        return lambda: walkers.walk(policy.distribution(), settings.segment)

    def groups(self, policy: Policy, settings: Settings) -> tuple[Trajectories, int]:
        group = settings.group or settings.walkers
        starts = Walkers(self.mdp, self.generators, settings.walkers // group).states.repeat_interleave(group, -1)
        return self._episodes(policy, starts), group

    def _episodes(self, policy: Policy, starts: Tensor) -> Trajectories:
        return sample_episodes(self.mdp, policy.distribution(), starts.shape[-1], self.generators, starts, device=self.device)

    def critic(self, policy: Policy) -> Policy:
        return policy.like(num_actions=1).initialise(self.generators, uniform=True).to(self.device)

    def values(self, critic: Policy, steps: Trajectories) -> tuple[Float[Tensor, "N B T"], Float[Tensor, "N B T"]]:
        return critic(steps.states)[..., 0], critic(steps.next_states)[..., 0]

    def learn_reward(self, base: Policy, settings: Settings) -> Float[Tensor, "N S A"]:
        return train_reward_model(self, base, settings)

    def reward(self, learned: Float[Tensor, "N S A"], steps: Trajectories) -> Float[Tensor, "N B T"]:
        index = steps.states * self.mdp.num_actions + steps.actions
        return learned.flatten(1).gather(1, index.flatten(1)).reshape(index.shape)


# A reward model knows its episodes by how often each took each action on each tile; these counts may take so much memory.
COUNTS_BYTES = 4 * 2**30


def train_reward_model(
    source: LakeSource, base: Policy, settings: Settings, *, updates: int = 300, learning_rate: float = 0.05, l2: float = 1e-3
) -> Float[Tensor, "N S A"]:
    """A table r(s, a) a seed, fitted to preferences by Bradley-Terry (eq. 33): the reward of RLHF.

    The base policy walks pairs of episodes from the same start, the one of higher return is preferred, and the modelled
    return is the sum of r over the steps. A pair of equal returns says nothing and does not count.

    Raises:
        ValueError: if fewer pairs say something than there are tiles to walk on: a preference is one bit, and then some
            tile's reward would be a guess; or if counting what the pairs do would take more than `COUNTS_BYTES`.
    """
    mdp, pairs = source.mdp, settings.pairs
    taken = 4 * len(source.generators) * pairs * mdp.num_states * mdp.num_actions
    if taken > COUNTS_BYTES:
        raise ValueError(
            f"pairs is {pairs}, for each of {len(source.generators)} seeds: on {mdp.num_states} tiles a learned reward takes "
            f"{taken / 2**30:.1f} GiB; allowed: at most {COUNTS_BYTES / 2**30:.0f} GiB, on a smaller lake"
        )
    needed = int((~mdp.terminal).sum())
    if mdp.layout is not None:
        needed = sum(letter in "SF" for row in mdp.layout for letter in row)
    first, second = compared_episodes(source, base, pairs)
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
    reward = torch.zeros(len(source.generators), difference.shape[-1], device=source.device, requires_grad=True)
    adam = Adam([reward], learning_rate)
    for _ in range(updates):
        margin = torch.einsum("npk,nk->np", difference, reward)
        loss = losses.bradley_terry_loss(margin, torch.zeros_like(margin)) * (sign != 0)
        (loss.sum() / pairs + l2 * (reward**2).sum()).backward()
        adam.step()
    return reward.detach().reshape(-1, mdp.num_states, mdp.num_actions)


def compared_episodes(source: LakeSource, base: Policy, pairs: int) -> tuple[Trajectories, Trajectories]:
    """What a reward model learns from: pairs of the base policy's own episodes, each from the same start, [N, pairs, T]."""
    table, device = base.distribution(), source.device
    first = sample_episodes(source.mdp, table, pairs, source.generators, device=device)
    return first, sample_episodes(source.mdp, table, pairs, source.generators, first.states[..., 0], device)


def action_counts(episodes: Trajectories, mdp: TabularMDP) -> Float[Tensor, "N B SA"]:
    """How often each episode took each action in each state."""
    index = episodes.states * mdp.num_actions + episodes.actions
    counts = torch.zeros(*index.shape[:2], mdp.num_states * mdp.num_actions, device=index.device)
    return counts.scatter_add_(-1, index, episodes.mask.float())
