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

__all__ = ["CategoricalRows", "Walkers", "generators", "lakes_alike", "sample_episodes"]

STEPS_AT_ONCE = 10_000  # random numbers are drawn for this many steps at a time: most long walks end early


class Walkers:
    """N x B walkers, stepping together; each of the N seeds draws from its own generator.

    Args:
        mdp: where they walk; its `horizon`, if any, truncates episodes. Or several MDPs of one size and horizon, in which equal
            parts of the seeds walk, in order.
        generators: one per seed, so that a seed's walk does not depend on the number of seeds.
        count: B, walkers per seed.
        device: where the tables live and the walking is done.
        starts: [N, B], the first states (default: drawn from the MDP's start distribution).

    Attributes:
        states: [N, B], where each walker is.
        elapsed: [N, B], steps taken in the current episode.

    Raises:
        ValueError: for what is not an MDP, or for MDPs that differ in size or horizon.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> always_right = torch.eye(4)[torch.tensor([[2, 2, 2]])]
        >>> Walkers(lake, generators(0, 1), count=1).walk(always_right, steps=3).states  # reset after the goal
        tensor([[[0, 1, 0]]])
    """

    def __init__(
        self,
        mdp: TabularMDP | Sequence[TabularMDP],
        generators: Sequence[torch.Generator],
        count: int,
        device: torch.device | str = "cpu",
        starts: Int[Tensor, "N B"] | None = None,
    ) -> None:
        lakes = lakes_alike(mdp)
        self.mdp, self.generators, self.count, self.device = lakes[0], list(generators), count, device
        self._next = _rows(lakes, "next_state", device).flatten().long()
        self._reward = _rows(lakes, "reward", device).flatten()
        self._terminated = _rows(lakes, "terminated", device).flatten()
        self._outcome = _rows(lakes, "probability", device)
        lake = torch.arange(len(lakes), device=device).repeat_interleave(len(self.generators) // len(lakes))
        # Each seed's first row in these tables, [N, 1], and its start distribution.
        self._first = (lake * self.mdp.num_states * self.mdp.num_actions)[:, None]
        start = _cumulative(torch.as_tensor(np.stack([each.start for each in lakes]), device=device))
        self._start = start[0] if len(lakes) == 1 else start[lake]
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
            outcome = self._first + self.states * actions + action
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


def lakes_alike(mdp: TabularMDP | Sequence[TabularMDP]) -> list[TabularMDP]:
    """Return an MDP, or several that differ in neither size nor horizon, as a list; raise a ValueError for anything else.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> lakes_alike(lake) == lakes_alike([lake])
        True
    """
    lakes = list(mdp) if isinstance(mdp, Sequence) else [mdp]
    for lake in lakes:
        check_mdp(lake)
    for what, values in (
        ("sizes (states, actions)", [(lake.num_states, lake.num_actions) for lake in lakes]),
        ("horizons", [lake.horizon for lake in lakes]),
    ):
        if len(set(values)) > 1:
            different = ", ".join(map(str, dict.fromkeys(values)))
            raise ValueError(f"the {what} of the lakes are {different}; allowed at once: lakes that share them")
    return lakes


def _rows(lakes: Sequence[TabularMDP], name: str, device: torch.device | str) -> Tensor:
    """Return a table of all lakes below each other, [L S A, K]; lakes with fewer outcomes have others of probability 0."""
    tables = [np.asarray(getattr(lake, name)).reshape(-1, lake.probability.shape[-1]) for lake in lakes]
    slots = max(table.shape[-1] for table in tables)
    padded = [np.pad(table, ((0, 0), (0, slots - table.shape[-1]))) for table in tables]
    return torch.as_tensor(np.concatenate(padded), device=device)


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
    mdp: TabularMDP | Sequence[TabularMDP],
    policy: Float[np.ndarray, "S A"] | Float[Tensor, "#N S A"],
    count: int,
    random: Sequence[torch.Generator],
    starts: Int[Tensor, "N B"] | None = None,
    device: torch.device | str = "cpu",
) -> Trajectories:
    """Sample whole episodes by a policy: one row per episode, ended by a terminal state or the time limit.

    Args:
        mdp: where they are walked; without a horizon, episodes are cut off after ten steps per state. Or several MDPs, as
            for `Walkers`.
        policy: action probabilities, one policy for all seeds or one per seed.
        count: B, episodes per seed.
        random: one generator per seed.
        starts: the first state of each (default: drawn). Two answers are comparable only if they answer the same prompt.
        device: where they are walked.

    Returns:
        [N, count, T], T the length of the longest.

    Raises:
        ValueError: for what is not an MDP, or for MDPs that differ in size or horizon.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> sample_episodes(lake, np.eye(4)[[2, 2, 2]], count=2, random=generators(0, 1)).actions
        tensor([[[2, 2],
                 [2, 2]]])
    """
    walkers = Walkers(mdp, random, count, device, starts)
    table = torch.as_tensor(policy)
    table = table[None] if table.ndim == 2 else table
    return walkers.walk(table, walkers.mdp.horizon or 10 * walkers.mdp.num_states, reset=False)
