"""Trajectories: demonstrations, preference pairs, vectorised rollouts through the tables of an MDP, and enumeration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import greedy, optimal_policy, optimal_values

Quality = Literal["optimal", "suboptimal"]
# On ice that slips, a sub-optimal demonstrator takes a uniformly random action this often, else an optimal one.
SUBOPTIMAL_NOISE = 0.5
# Numbers for so many steps are drawn at a time: long walks end early, or are too long to draw for at once.
BLOCK = 10_000


@dataclass(frozen=True, eq=False)
class Batch:
    """Steps to learn from: the state before each step and the action taken there; `mask` says which steps count."""

    states: Int[Tensor, "*batch T"]
    actions: Int[Tensor, "*batch T"]
    mask: Bool[Tensor, "*batch T"]

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool:
            raise ValueError(f"mask has dtype {self.mask.dtype}; allowed: torch.bool")
        shapes = {field.name: tuple(getattr(self, field.name).shape) for field in fields(self)}
        if len(set(shapes.values())) != 1:
            raise ValueError(f"the fields of a batch must have one shape; these have {shapes}")


@dataclass(frozen=True, eq=False)
class Trajectories(Batch):
    """A batch that also knows what the environment answered. `truncated` marks a cut by the clock, which is no end."""

    next_states: Int[Tensor, "*batch T"]
    reward: Float[Tensor, "*batch T"]
    terminated: Bool[Tensor, "*batch T"]
    truncated: Bool[Tensor, "*batch T"]

    def returns(self, discount: float) -> Float[Tensor, "*batch"]:
        """sum_t discount^t r_t over the counted steps of each row, one episode a row."""
        powers = discount ** torch.arange(self.reward.shape[-1], dtype=self.reward.dtype, device=self.reward.device)
        return (self.reward * self.mask * powers).sum(-1)

    def arrived(self, mdp: TabularMDP) -> Bool[Tensor, "*batch T"]:
        """Whether a counted step reached a goal (`TabularMDP.success`)."""
        best = mdp.reward[mdp.success].max(initial=-np.inf)
        return self.mask & self.terminated & (self.reward >= best)

    def to(self, device: torch.device | str) -> Trajectories:
        return Trajectories(*(getattr(self, field.name).to(device) for field in fields(self)))

    def __getitem__(self, index: object) -> Trajectories:
        return Trajectories(*(getattr(self, field.name)[index] for field in fields(self)))


class Walkers:
    """N x B agents that walk an MDP at once, through its tables; each of the N seeds draws from its own generator.

    Args:
        mdp: where they walk; its `horizon`, if any, cuts episodes.
        generators: one a seed, so that a seed's walk does not depend on how many others there are.
        count: B, agents a seed.
        device: where the tables live and the walking is done.
        starts: [N, B], where they start (default: drawn from the MDP's start distribution).
    """

    def __init__(
        self,
        mdp: TabularMDP,
        generators: Sequence[torch.Generator],
        count: int,
        device: torch.device | str = "cpu",
        starts: Int[Tensor, "N B"] | None = None,
    ) -> None:
        self.mdp, self.generators, self.count, self.device = mdp, list(generators), count, device
        self._next = torch.as_tensor(mdp.next_state.ravel(), device=device).long()
        self._reward = torch.as_tensor(mdp.reward.ravel(), device=device)
        self._terminated = torch.as_tensor(mdp.terminated.ravel(), device=device)
        self._outcome = torch.as_tensor(mdp.probability, device=device).flatten(0, 1)
        self._start = _cumulative(torch.as_tensor(mdp.start, device=device))
        self.states = self._starts(self._draws(1)[0, ..., 0]) if starts is None else starts.to(device)
        self.clock = torch.zeros_like(self.states)

    def walk(self, policy: Float[Tensor, "#N S A"], steps: int, *, reset: bool = True) -> Trajectories:
        """Walk on by a policy for `steps` steps.

        Args:
            policy: action probabilities.
            steps: T.
            reset: start a new episode after each end (then every step counts). Without, one episode a row: the mask ends
                with it, and walking stops early when all have ended.

        Returns:
            [N, B, T'] with T' <= steps.
        """
        seeds, count, actions = len(self.generators), self.count, self.mdp.num_actions
        table = policy.to(self.device, torch.float64).flatten(0, 1)
        row = (torch.arange(len(policy), device=self.device) * self.mdp.num_states)[:, None]
        slots = self._outcome.shape[-1]
        act, lead = (_Chances(rows, draws=seeds * count * steps) for rows in (table, self._outcome))
        alive = torch.ones(seeds, count, dtype=torch.bool, device=self.device)
        record: list[tuple[Tensor, ...]] = []
        for t in range(steps):
            if t % BLOCK == 0:
                draws = self._draws(min(BLOCK, steps - t))
            draw = draws[t % BLOCK]
            action = act.pick(row + self.states, draw[..., 0])
            outcome = self.states * actions + action
            slot = lead.pick(outcome, draw[..., 1]) if slots > 1 else 0
            index = outcome * slots + slot
            following, terminated = self._next[index], self._terminated[index]
            self.clock = self.clock + 1
            truncated = (self.clock >= (self.mdp.horizon or torch.iinfo(torch.int64).max)) & ~terminated
            record.append((self.states, action, alive, following, self._reward[index], terminated, truncated))
            ended = terminated | truncated
            if reset:
                self.states = torch.where(ended, self._starts(draw[..., 2]), following)
                self.clock = torch.where(ended, 0, self.clock)
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


class _Chances:
    """Rows of chances to draw from. Where there are fewer rows than draws, all are summed up beforehand; else those drawn from.

    Args:
        rows: each sums to 1.
        draws: how many will be made.
    """

    def __init__(self, rows: Float[Tensor, "R K"], draws: int) -> None:
        self.beforehand = len(rows) <= draws
        self.rows = _cumulative(rows) if self.beforehand else rows

    def pick(self, index: Int[Tensor, "*batch"], draw: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
        """The entry of row `index` that a number in [0, 1) falls on."""
        row = self.rows[index]
        cumulative = row if self.beforehand else _cumulative(row)
        return (draw[..., None] >= cumulative).sum(-1)


def _cumulative(probability: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
    """Running sums, exactly 1 from the last possible entry on, so that no draw in [0, 1) falls beyond it."""
    total = probability.cumsum(-1)
    return total / total[..., -1:]


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One generator for each of `count` seeds: seed, seed + 1, …"""
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def sample_episodes(
    mdp: TabularMDP,
    policy: Float[np.ndarray, "S A"] | Float[Tensor, "#N S A"],
    count: int,
    random: Sequence[torch.Generator],
    starts: Int[Tensor, "N B"] | None = None,
    device: torch.device | str = "cpu",
) -> Trajectories:
    """Whole episodes by a policy, [N, count, T]: one row an episode, ended by a terminal state or the time limit.

    `starts` says where each begins (default: drawn); two answers can be compared only if they answer the same prompt. They
    are walked on `device`.
    """
    table = torch.as_tensor(policy)
    table = table[None] if table.ndim == 2 else table
    walkers = Walkers(mdp, random, count, device, starts)
    return walkers.walk(table, mdp.horizon or 10 * mdp.num_states, reset=False)


def demonstrations(
    mdp: TabularMDP,
    count: int = 1,
    *,
    quality: Quality = "optimal",
    generator: torch.Generator | None = None,
    starts: Int[Tensor, " B"] | None = None,
) -> Trajectories:
    """Demonstrations, [count, T].

    Without slip and with one start these are paths, all alike: an optimal one (first of equal actions), or the best one
    that takes a wrong turn and never turns back (`detour`). Else they are episodes sampled from the optimal policy, or from
    one that acts at random half of the time.

    Args:
        mdp: the problem; optimal means for its discount.
        count: how many.
        quality: "optimal" or "suboptimal".
        generator: draws episodes (default: seeded with 0).
        starts: where the episodes begin, if they are drawn (default: the MDP's start distribution).
    """
    if count < 1:
        raise ValueError(f"{count} demonstrations; allowed: at least 1")
    if quality not in ("optimal", "suboptimal"):
        raise ValueError(f"quality is {quality!r}; allowed: optimal, suboptimal")
    if mdp.is_path:
        path = best_path(mdp) if quality == "optimal" else detour(mdp)
        return _follow(mdp, path, count)
    policy = optimal_policy(mdp)
    if quality == "suboptimal":
        policy = (1 - SUBOPTIMAL_NOISE) * policy + SUBOPTIMAL_NOISE / mdp.num_actions
    random = [generator or torch.Generator().manual_seed(0)]
    return sample_episodes(mdp, policy, count, random, None if starts is None else starts[None])[0]


def preference_pairs(
    mdp: TabularMDP, count: int = 1, *, generator: torch.Generator | None = None, needed: bool = True
) -> tuple[Trajectories, Trajectories]:
    """Pairs (chosen, rejected), each [count, T], of an optimal and a sub-optimal demonstration from the same start,
    labelled by their return.

    Where the sub-optimal one happens to return more it is the chosen one; pairs of equal return say nothing and are drawn
    again.

    Args:
        mdp: the problem.
        count: how many.
        generator: draws episodes (default: seeded with 0).
        needed: whether there must be so many. If not, and they cannot be had, there are fewer, or none.

    Raises:
        ValueError: if pairs are needed, and too few with different returns can be drawn.
    """
    if count < 1:
        raise ValueError(f"{count} preference pairs; allowed: at least 1")
    generator = generator or torch.Generator().manual_seed(0)
    if mdp.is_path:
        best = _follow(mdp, best_path(mdp), count)
        try:
            return best, _follow(mdp, detour(mdp), count)
        except ValueError:
            if needed:
                raise
            return best[:0], best[:0]
    kept: list[tuple[Trajectories, Trajectories]] = []
    found = 0
    for _ in range(20):
        first = demonstrations(mdp, count, generator=generator)
        second = demonstrations(mdp, count, quality="suboptimal", generator=generator, starts=first.states[:, 0])
        kept.append(label_pairs(first, second, mdp.discount))
        found += len(kept[-1][0].states)
        if found >= count:
            break
    if found >= count or not needed:
        return tuple(_concatenate(side)[:count] for side in zip(*kept, strict=True))  # type: ignore[return-value]
    way_out = (
        f"ask for at most {found}" if found else "allowed: ice on which episodes do arrive, so less slip or a smaller lake"
    )
    raise ValueError(
        f"only {found} of {count} preference pairs could be drawn: the others' episodes return the same; {way_out}"
    )


def label_pairs(first: Trajectories, second: Trajectories, discount: float) -> tuple[Trajectories, Trajectories]:
    """(chosen, rejected) of episodes [B, T] compared row by row by their return; rows that tie are left out."""
    one, two = first.returns(discount), second.returns(discount)
    first, second = _pad(first, second.states.shape[-1]), _pad(second, first.states.shape[-1])
    better, differ = (one > two)[:, None], one != two

    def pick(here: Trajectories, there: Trajectories) -> Trajectories:
        names = [f.name for f in fields(here)]
        return Trajectories(*(torch.where(better, getattr(here, n), getattr(there, n))[differ] for n in names))

    return pick(first, second), pick(second, first)


def enumerate_trajectories(
    mdp: TabularMDP, horizon: int | None = None, *, limit: int = 100_000
) -> tuple[Trajectories, Float[Tensor, " M"]]:
    """Every trajectory that some policy can walk, [M, T], so that what is true of a population can be summed, not sampled.

    Args:
        mdp: the problem.
        horizon: steps after which a trajectory is cut (default: the MDP's own).
        limit: refuse to list more than this many.

    Returns:
        The trajectories, and the share of each one's probability that is not the policy's, rho0(s_0) prod_t P(s_{t+1}|s_t,
        a_t): a policy walks trajectory m with probability chance[m] exp(sum_t log pi(a_t|s_t)).
    """
    horizon = mdp.horizon if horizon is None else horizon
    if horizon is None or horizon < 1:
        raise ValueError(f"horizon is {horizon}; allowed: a number of steps, at least 1")
    starts = np.flatnonzero(mdp.start)
    here, chance = starts, mdp.start[starts]
    history: list[np.ndarray] = []  # of each step so far, the fields of every trajectory that goes on, [6, M]
    done: list[np.ndarray] = []
    chances: list[np.ndarray] = []
    listed = 0
    for t in range(1, horizon + 1):
        possible = np.nonzero(mdp.probability[here] > 0)
        before, action, slot = possible
        outcome = (here[before], action, slot)
        following, ends = mdp.next_state[outcome], mdp.terminated[outcome]
        chance = chance[before] * mdp.probability[outcome]
        cut = ~ends & (t == horizon)
        if listed + len(before) > limit:
            raise ValueError(f"within {horizon} steps there are more than {limit} trajectories; allowed: a shorter horizon")
        step = np.array([here[before], action, following, mdp.reward[outcome], ends, cut])
        history = [*(past[:, before] for past in history), step]
        over = ends | cut
        done.append(np.stack([past[:, over] for past in history], -1))  # [6, M, t]
        chances.append(chance[over])
        listed += len(chances[-1])
        history, here, chance = [past[:, ~over] for past in history], following[~over], chance[~over]
        if not len(here):
            break
    parts = [_recorded(fields) for fields in done if fields.shape[1]]
    return _concatenate(parts), torch.as_tensor(np.concatenate(chances))


def _recorded(fields: Float[np.ndarray, "6 M T"]) -> Trajectories:
    states, actions, following, reward, terminated, truncated = (torch.as_tensor(field) for field in fields)
    whole = torch.ones_like(states, dtype=torch.bool)
    return Trajectories(states.long(), actions.long(), whole, following.long(), reward, terminated.bool(), truncated.bool())


def best_path(mdp: TabularMDP) -> list[int]:
    """The actions of the shortest optimal path of a deterministic MDP from its (first) start, the first of equal ones."""
    start = int(mdp.start.argmax())
    path = _shortest(mdp, start, np.arange(mdp.num_states) == start, optimal_policy(mdp) > 0)
    if path is None:
        raise ValueError("the optimal policy never reaches a goal, so there is no path to demonstrate")
    return path


def detour(mdp: TabularMDP) -> list[int]:
    """The actions of a sub-optimal path of a deterministic MDP: optimal to some state, one wrong turn, no turning back.

    From each state that optimal actions reach, each worse action is tried, with the shortest way to a goal that avoids all
    states walked so far; the path of highest return is kept, among equals the one that turns off first. Where no such path
    exists (a corridor) the first step is wasted and the optimal path follows.

    Those are tried first whose return would be highest if one could go on from the wrong turn as one likes; a path that
    returns so much ends the search.
    """
    action_value = optimal_values(mdp)[1]
    best = greedy(action_value) > 0
    start = int(mdp.start.argmax())
    ways = _Ways.of(mdp, best, start)
    edge, action = np.nonzero(~best[ways.state])
    turn = ways.state[edge], action
    # Ten digits: returns that are equal in truth differ in their last bits.
    bound = _rounded(mdp.discount ** ways.steps[edge] * action_value[turn])
    # A wrong turn into what may not be entered is none, whatever the rest of the way.
    entered = mdp.next_state[..., 0][turn]
    tried = mdp.success[..., 0][turn] | ~(mdp.terminated[..., 0][turn] | (entered == turn[0]) | (entered == ways.before[edge]))
    edge, action, bound = edge[tried], action[tried], bound[tried]
    order = np.lexsort((action, ways.state[edge], ways.before[edge], ways.steps[edge], -bound))
    found: tuple[float, int, list[int]] = (-np.inf, 0, [])  # return, minus the steps before the turn, actions
    seen = np.zeros(mdp.num_states, bool)
    for i in order:
        steps = int(ways.steps[edge[i]])
        if (bound[i], -steps) <= found[:2]:
            break
        states, way = ways.path(int(edge[i]))
        here = states[-1], int(action[i])
        path: list[int] | None = None
        if mdp.success[*here, 0]:
            path = []
        elif int(mdp.next_state[*here, 0]) not in states:
            seen[:], seen[states] = False, True
            path = _shortest(mdp, int(mdp.next_state[*here, 0]), seen)
        if path is not None:
            actions = [*way, here[1], *path]
            score = float(_rounded(_follow(mdp, actions, 1).returns(mdp.discount).numpy())[0])
            found = max(found, (score, -steps, actions), key=lambda candidate: candidate[:2])
    if found[2]:
        return found[2]
    wasted = np.flatnonzero(~best[start])
    if mdp.discount == 1 or not len(wasted):
        raise ValueError(
            f"with discount {mdp.discount:g} no way to the goal is worse than another here, so there is no sub-optimal one to "
            "demonstrate; allowed: a discount above 0 and below 1"
        )
    stays = [a for a in wasted if int(mdp.next_state[start, a, 0]) == start]
    if not stays:
        raise ValueError("this MDP has no sub-optimal path that reaches a goal")
    return [int(stays[0]), *best_path(mdp)]


def _rounded(values: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """To ten digits; each distinct number is rounded once."""
    distinct, place = np.unique(values, return_inverse=True)
    return np.array([float(f"{value:.9e}") for value in distinct])[place].reshape(values.shape)


@dataclass(frozen=True, eq=False)
class _Ways:
    """The optimal ways from the start of a deterministic MDP: each edge (state before, state) once, in the order in which a
    search breadth first, first actions first, comes upon them. There are two ways to one state where a wrong turn may lead
    back along one and not along the other; beyond it, the first is followed.

    Attributes:
        before, action, state: of each edge; the first is the start itself.
        steps: from the start to `state`.
        first: which edge a state was first entered by.
    """

    before: Int[np.ndarray, " E"]
    action: Int[np.ndarray, " E"]
    state: Int[np.ndarray, " E"]
    steps: Int[np.ndarray, " E"]
    first: Int[np.ndarray, " S"]

    @classmethod
    def of(cls, mdp: TabularMDP, best: Bool[np.ndarray, "S A"], start: int) -> _Ways:
        first = np.full(mdp.num_states, -1)
        goes_on = best & ~mdp.terminated[..., 0]
        goes_on[start] &= mdp.next_state[start, :, 0] != start
        level, found = (np.array([start]), np.array([-1]), np.array([start])), []
        known = 0
        while len(level[2]):
            found.append(level)
            entered = _first_of_each(level[2])
            entered = entered[first[level[2][entered]] < 0]
            first[level[2][entered]] = known + entered
            known += len(level[2])
            here = level[2][entered]
            following = mdp.next_state[here, :, 0]
            row, action = np.nonzero(goes_on[here])
            there = following[row, action]
            edges = _first_of_each(row * mdp.num_states + there)  # two actions may lead to one state
            level = here[row[edges]], action[edges], there[edges]
        steps = np.repeat(np.arange(len(found)), [len(state) for *_, state in found])
        before, action, state = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return cls(before, action, state, steps, first)

    def path(self, edge: int) -> tuple[list[int], list[int]]:
        """The states along the way, this edge last, and the actions between them."""
        states, actions = [int(self.state[edge])], []
        for _ in range(self.steps[edge]):
            states.append(int(self.before[edge]))
            actions.append(int(self.action[edge]))
            edge = int(self.first[states[-1]])
        return states[::-1], actions[::-1]


def _shortest(
    mdp: TabularMDP, state: int, seen: Bool[np.ndarray, " S"], allowed: Bool[np.ndarray, "S A"] | None = None
) -> list[int] | None:
    """The actions of the shortest way from a state to a goal, by `allowed` actions, that enters no state seen; or None.

    Breadth first, a level at a time, first come first served. What it sees is marked in `seen`.
    """
    seen[state] = True
    level, came = np.array([state]), list[tuple[np.ndarray, np.ndarray]]()
    while len(level):
        here, action = np.divmod(np.arange(level.size * mdp.num_actions), mdp.num_actions)
        if allowed is not None:
            possible = allowed[level].ravel()
            here, action = here[possible], action[possible]
        reached = mdp.success[level[here], action, 0]
        if reached.any():
            last = int(reached.argmax())
            place, actions = int(here[last]), [int(action[last])]
            for before, taken in reversed(came):
                actions.append(int(taken[place]))
                place = int(before[place])
            return actions[::-1]
        there = mdp.next_state[level[here], action, 0]
        new = np.flatnonzero(~(seen[there] | mdp.terminated[level[here], action, 0]))
        new = new[_first_of_each(there[new])]
        came.append((here[new], action[new]))
        level = there[new]
        seen[level] = True
    return None


def _first_of_each(values: Int[np.ndarray, " X"]) -> Int[np.ndarray, " F"]:
    """Where each distinct value stands first, in order."""
    return np.sort(np.unique(values, return_index=True)[1])


def _follow(mdp: TabularMDP, actions: Sequence[int], count: int) -> Trajectories:
    """A path of a deterministic MDP as `count` equal rows."""
    state, rows = int(mdp.start.argmax()), []
    for action in actions:
        following = int(mdp.next_state[state, action, 0])
        ends = bool(mdp.terminated[state, action, 0])
        rows.append((state, action, True, following, float(mdp.reward[state, action, 0]), ends, False))
        state = following
    columns = [torch.tensor(column).expand(count, -1) for column in zip(*rows, strict=True)]
    columns[4] = columns[4].double()
    return Trajectories(*columns)


def _pad(trajectories: Trajectories, steps: int) -> Trajectories:
    """Lengthen to at least `steps` steps; added ones do not count."""
    missing = steps - trajectories.states.shape[-1]
    if missing <= 0:
        return trajectories
    return Trajectories(*(torch.nn.functional.pad(getattr(trajectories, f.name), (0, missing)) for f in fields(trajectories)))


def _concatenate(parts: Sequence[Trajectories]) -> Trajectories:
    longest = max(part.states.shape[-1] for part in parts)
    padded = [_pad(part, longest) for part in parts]
    return Trajectories(*(torch.cat([getattr(part, f.name) for part in padded]) for f in fields(Trajectories)))


def stacked(batches: Sequence[Trajectories], each: int = 1) -> Trajectories:
    """Batches [B, T] of several lakes as one, [len(batches) * each, B, longest T], every one `each` times in a row."""
    steps = max(batch.states.shape[-1] for batch in batches)
    padded = [_pad(batch, steps) for batch in batches]
    return Trajectories(
        *(torch.stack([getattr(batch, f.name) for batch in padded]).repeat_interleave(each, 0) for f in fields(padded[0]))
    )


def path_of(batch: Batch) -> Int[np.ndarray, "T 2"]:
    """The (state, action) steps of the first row that count."""
    counted = batch.mask[0]
    return torch.stack([batch.states[0][counted], batch.actions[0][counted]], -1).numpy()
