"""Vectorised rollouts: N seeds times B walkers step through the tables of an MDP at once, each seed by its own generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.data.trajectories import Trajectories
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.runtime import standard_settings

__all__ = ["CategoricalRows", "Walkers", "generators", "sample_episodes"]

STEPS_AT_ONCE = 10_000  # random numbers are drawn for this many steps at a time: most long walks end early


class Walkers:
    """N x B walkers in one MDP, stepping together; each of the N seeds draws from its own generator.

    Args:
        mdp: where they walk; its `horizon`, if any, truncates episodes.
        generators: one per seed, so that a seed's walk does not depend on the number of seeds.
        count: B, walkers per seed.
        device: where the tables live and the walking is done.
        starts: [N, B], the first states (default: drawn from the MDP's start distribution).

    Attributes:
        states: [N, B], where each walker is.
        elapsed: [N, B], steps taken in the current episode.

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> always_right = torch.eye(4)[torch.tensor([[2, 2, 2]])]
        >>> Walkers(lake, generators(0, 1), count=1).walk(always_right, steps=3).states  # reset after the goal
        tensor([[[0, 1, 0]]])
    """

    def __init__(
        self,
        mdp: TabularMDP,
        generators: Sequence[torch.Generator],
        count: int,
        device: torch.device | str = "cpu",
        starts: Int[Tensor, "N B"] | None = None,
    ) -> None:
        check_mdp(mdp)
        self.mdp, self.generators, self.count, self.device = mdp, list(generators), count, device
        self._next = torch.as_tensor(mdp.next_state.ravel(), device=device).long()
        self._reward = torch.as_tensor(mdp.reward.ravel(), device=device)
        self._terminated = torch.as_tensor(mdp.terminated.ravel(), device=device)
        self._outcome = torch.as_tensor(mdp.probability, device=device).flatten(0, 1)
        self._start = _cumulative(torch.as_tensor(mdp.start, device=device))
        self.states = self._starts(self._draws(1)[0, ..., 0]) if starts is None else starts.to(device)
        self.elapsed = torch.zeros_like(self.states)

    def walk(self, policy: Float[Tensor, "#N S A"], steps: int, *, reset: bool = True) -> Trajectories:
        """Walk on by a policy for `steps` steps.

        Args:
            policy: action probabilities.
            steps: T.
            reset: start a new episode after each end, so that every step counts. Otherwise one episode per row: the mask ends
                with it, and walking stops early when all have ended.

        Returns:
            [N, B, T'] with T' <= steps.
        """
        seeds, count, actions = len(self.generators), self.count, self.mdp.num_actions
        table = policy.to(self.device, torch.float64).flatten(0, 1)
        row = (torch.arange(len(policy), device=self.device) * self.mdp.num_states)[:, None]
        slots = self._outcome.shape[-1]
        choices, outcomes = (CategoricalRows(rows, draws=seeds * count * steps) for rows in (table, self._outcome))
        alive = torch.ones(seeds, count, dtype=torch.bool, device=self.device)
        record: list[tuple[Tensor, ...]] = []
        for t in range(steps):
            if t % STEPS_AT_ONCE == 0:
                draws = self._draws(min(STEPS_AT_ONCE, steps - t))
            draw = draws[t % STEPS_AT_ONCE]
            action = choices.pick(row + self.states, draw[..., 0])
            outcome = self.states * actions + action
            slot = outcomes.pick(outcome, draw[..., 1]) if slots > 1 else 0
            index = outcome * slots + slot
            following, terminated = self._next[index], self._terminated[index]
            self.elapsed = self.elapsed + 1
            truncated = (self.elapsed >= (self.mdp.horizon or torch.iinfo(torch.int64).max)) & ~terminated
            record.append((self.states, action, alive, following, self._reward[index], terminated, truncated))
            ended = terminated | truncated
            if reset:
                self.states = torch.where(ended, self._starts(draw[..., 2]), following)
                self.elapsed = torch.where(ended, 0, self.elapsed)
            else:
                alive = alive & ~ended
                self.states = following
                if not alive.any():
                    break
        return Trajectories(*(torch.stack(field, -1) for field in zip(*record, strict=True)))

    def _draws(self, steps: int) -> Float[Tensor, "T N B 3"]:
        shape = (steps, self.count, 3)
        draws = [torch.rand(shape, generator=g, dtype=torch.float64, device=g.device) for g in self.generators]
        return torch.stack(draws, 1).to(self.device)

    def _starts(self, draw: Float[Tensor, "N B"]) -> Int[Tensor, "N B"]:
        return torch.searchsorted(self._start, draw.contiguous(), right=True)


class CategoricalRows:
    """Rows of probabilities to draw from. Running sums are made of all rows beforehand where there are fewer rows than draws,
    otherwise of the rows that are drawn from.

    Args:
        rows: each sums to 1.
        draws: how many draws will be made.
    """

    def __init__(self, rows: Float[Tensor, "R K"], draws: int) -> None:
        self.is_cumulative = len(rows) <= draws
        self.rows = _cumulative(rows) if self.is_cumulative else rows

    def pick(self, index: Int[Tensor, "*batch"], draw: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
        """Return the entry of row `index` that a number in [0, 1) falls on."""
        row = self.rows[index]
        cumulative = row if self.is_cumulative else _cumulative(row)
        return (draw[..., None] >= cumulative).sum(-1)


def _cumulative(probability: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
    """Running sums, exactly 1 from the last possible entry on, so that no draw in [0, 1) falls beyond it."""
    total = probability.cumsum(-1)
    return total / total[..., -1:]


def generators(seed: int, count: int) -> list[torch.Generator]:
    """Return one generator for each of `count` seeds: seed, seed + 1, …

    Args:
        seed: of the first.
        count: number of generators.

    Example:
        >>> [generator.initial_seed() for generator in generators(7, 3)]
        [7, 8, 9]
    """
    first = check_whole("seed", seed, at_least=0)
    return [torch.Generator().manual_seed(first + i) for i in range(count)]


@standard_settings()
def sample_episodes(
    mdp: TabularMDP,
    policy: Float[np.ndarray, "S A"] | Float[Tensor, "#N S A"],
    count: int,
    random: Sequence[torch.Generator],
    starts: Int[Tensor, "N B"] | None = None,
    device: torch.device | str = "cpu",
) -> Trajectories:
    """Sample whole episodes by a policy: one row per episode, ended by a terminal state or the time limit.

    Args:
        mdp: where they are walked; without a horizon, episodes are cut off after ten steps per state.
        policy: action probabilities, one policy for all seeds or one per seed.
        count: B, episodes per seed.
        random: one generator per seed.
        starts: the first state of each (default: drawn). Two answers are comparable only if they answer the same prompt.
        device: where they are walked.

    Returns:
        [N, count, T], T the length of the longest.

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> sample_episodes(lake, np.eye(4)[[2, 2, 2]], count=2, random=generators(0, 1)).actions
        tensor([[[2, 2],
                 [2, 2]]])
    """
    check_mdp(mdp)
    table = torch.as_tensor(policy)
    table = table[None] if table.ndim == 2 else table
    walkers = Walkers(mdp, random, count, device, starts)
    return walkers.walk(table, mdp.horizon or 10 * mdp.num_states, reset=False)
