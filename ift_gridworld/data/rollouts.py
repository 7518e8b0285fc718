"""Vectorised rollouts: N seeds times B walkers step through the tables of an MDP at once, each seed by its own generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.data.trajectories import Trajectories
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.runtime import standard_settings

__all__ = ["CategoricalRows", "WalkTables", "Walkers", "generators", "lakes_alike", "sample_episodes"]

STEPS_AT_ONCE = 10_000  # random numbers are drawn for this many steps at a time: most long walks end early


@dataclass(frozen=True, eq=False)
class WalkTables:
    """Tables of one or several MDPs below each other, which walkers step through; made once, they serve many walks.

    Attributes:
        lakes: L MDPs of one size and horizon.
        next_state, reward, terminated: of each outcome.
        outcome: probability of each, [L S A, K].
        start: running sums of the start distributions.
    """

    lakes: Sequence[TabularMDP]
    next_state: Int[Tensor, " LSAK"]
    reward: Float[Tensor, " LSAK"]
    terminated: Bool[Tensor, " LSAK"]
    outcome: Float[Tensor, "LSA K"]
    start: Float[Tensor, "L S"]

    @classmethod
    def of(cls, mdp: TabularMDP | Sequence[TabularMDP] | WalkTables, device: torch.device | str = "cpu") -> WalkTables:
        """Return the tables of MDPs, or those that are handed in; raise a ValueError as `lakes_alike` does."""
        if isinstance(mdp, WalkTables):
            return mdp
        lakes = lakes_alike(mdp)
        return cls(
            lakes,
            _rows(lakes, "next_state", device).flatten().long(),
            _rows(lakes, "reward", device).flatten(),
            _rows(lakes, "terminated", device).flatten(),
            _rows(lakes, "probability", device),
            _cumulative(torch.as_tensor(np.stack([each.start for each in lakes]), device=device)),
        )


class Walkers:
    """N x B walkers, stepping together; each of the N seeds draws from its own generator.

    Args:
        mdp: where they walk; its `horizon`, if any, truncates episodes. Or several MDPs of one size and horizon, in which equal
            parts of the seeds walk, in order; or the tables of either, on the same device.
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
        mdp: TabularMDP | Sequence[TabularMDP] | WalkTables,
        generators: Sequence[torch.Generator],
        count: int,
        device: torch.device | str = "cpu",
        starts: Int[Tensor, "N B"] | None = None,
    ) -> None:
        tables = WalkTables.of(mdp, device)
        self.mdp, self.generators, self.count, self.device = tables.lakes[0], list(generators), count, device
        self._next, self._reward, self._terminated = tables.next_state, tables.reward, tables.terminated
        self._outcome, number = tables.outcome, len(tables.lakes)
        lake = torch.arange(number, device=device).repeat_interleave(len(self.generators) // number)
        # Each seed's first row in these tables, [N, 1], and its start distribution.
        self._first = (lake * self.mdp.num_states * self.mdp.num_actions)[:, None]
        self._start = tables.start[0] if number == 1 else tables.start[lake]
        self.states = self._starts(self._draws(1)[:, 0, :, 0]) if starts is None else starts.to(device)
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
        slots, horizon = self._outcome.shape[-1], self.mdp.horizon
        choices, outcomes = (CategoricalRows(rows, draws=seeds * count * steps) for rows in (table, self._outcome))
        alive = torch.ones(seeds, count, dtype=torch.bool, device=self.device)
        out_of_time = ~alive
        record: list[tuple[Tensor, ...]] = []
        for t in range(steps):
            if t % STEPS_AT_ONCE == 0:
                draws = self._draws(min(STEPS_AT_ONCE, steps - t))
            draw = draws[:, t % STEPS_AT_ONCE]
            action = choices.pick(row + self.states, draw[..., 0])
            index = torch.add(self._first + action, self.states, alpha=actions)
            index = index * slots + outcomes.pick(index, draw[..., 1]) if slots > 1 else index
            following, ended = self._next[index], self._terminated[index]
            self.elapsed = self.elapsed + 1
            if horizon:
                out_of_time = self.elapsed >= horizon
                ended = ended | out_of_time
            record.append((self.states, action, alive, index, out_of_time))
            if reset:
                self.states = torch.where(ended, self._starts(draw[..., 2]), following)
                self.elapsed = torch.where(ended, 0, self.elapsed)
            else:
                alive = alive & ~ended
                self.states = following
                if not alive.any():
                    break
        # What the steps led to is looked up for all of them at once.
        states, taken, mask, index, out_of_time = (torch.stack(field, -1) for field in zip(*record, strict=True))
        terminated = self._terminated[index]
        return Trajectories(states, taken, mask, self._next[index], self._reward[index], terminated, out_of_time & ~terminated)

    def _draws(self, steps: int) -> Float[Tensor, "N T B 3"]:
        draws = torch.empty(len(self.generators), steps, self.count, 3, dtype=torch.float64)
        for each, generator in zip(draws, self.generators, strict=True):
            if generator.device == draws.device:
                torch.rand(each.shape, generator=generator, out=each)
            else:
                each.copy_(torch.rand(each.shape, generator=generator, dtype=torch.float64, device=generator.device))
        return draws.to(self.device)

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
    mdp: TabularMDP | Sequence[TabularMDP] | WalkTables,
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
