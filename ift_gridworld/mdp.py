"""A finite MDP as arrays: M = (S, A, T, r, rho0) of the paper, read from an environment or built from a map.

Everything exact in this project (values, occupancy, success) is computed from these arrays, so they must agree with
Gymnasium to the last entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.checks import check_probability, check_whole
from ift_gridworld.envs.grid import GridLayout, taxi_layout
from ift_gridworld.envs.maps import START, as_grid, parse_map, time_limit
from ift_gridworld.envs.tables import (
    ACTIONS,
    LAKE_ACTIONS,
    NARROW,
    STEPS,
    absorb,
    empty,
    keep_at_hand,
    lake_outcomes,
    layout_of,
    merge,
    neighbourhoods,
)

if TYPE_CHECKING:
    import gymnasium

KINDS = (  # of arrays' entries, as numpy's letters and in words
    ("next_state", "iu", "whole numbers"),
    ("probability", "f", "floating-point numbers"),
    ("reward", "fiu", "numbers"),
    ("terminated", "b", "bool"),
    ("start", "f", "floating-point numbers"),
)
START_MEANING = "the probability of each of the S states to be the first, such as np.eye(S)[0]"


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """Arrays of a finite MDP. K is the largest number of distinct outcomes that any (state, action) has.

    Two outcomes of one (state, action) differ in successor, reward or termination; equal ones are added up. An unused slot
    stands last, has probability 0, reward 0 and its own state as successor. A terminal state is one that episodes end in:
    its row is a single outcome, itself, without reward.

    Attributes:
        next_state: successor of each outcome.
        probability: its probability; sums to 1 over the last axis.
        reward: its reward.
        terminated: whether it ends the episode (never because of a time limit).
        start: the distribution rho0 of the first state.
        discount: gamma of the return, in [0, 1].
        horizon: steps after which an episode is cut off, or None. A cut is not a termination.
        layout: the rows of the map for a grid whose tiles are the states, else None.
        actions: a name for each action, in the environment's order.
        custom_grid: where states are drawn that are no tiles of one map, or None.
        check: whether to look at every entry; False where they are known to be right, as those of `from_map` are.
    """

    next_state: Int[np.ndarray, "S A K"]
    probability: Float[np.ndarray, "S A K"]
    reward: Float[np.ndarray, "S A K"]
    terminated: Bool[np.ndarray, "S A K"]
    start: Float[np.ndarray, " S"]
    discount: float = 0.99
    horizon: int | None = None
    layout: tuple[str, ...] | None = None
    actions: tuple[str, ...] = ()
    custom_grid: GridLayout | None = None
    check: InitVar[bool] = True

    def __post_init__(self, check: bool) -> None:
        if not isinstance(self.discount, Real) or not 0 <= self.discount <= 1:
            raise ValueError(f"discount is {self.discount!r}; allowed: [0, 1]")
        if self.horizon is not None:
            check_whole("horizon", self.horizon, at_least=1)
        for name, kinds, allowed in KINDS:
            if getattr(self, name) is None:
                meaning = START_MEANING if name == "start" else f"an array [S, A, K] of {allowed}"
                raise ValueError(f"{name} is None; allowed: {meaning}")
            array = np.asarray(getattr(self, name))
            if array.dtype.kind not in kinds:
                raise ValueError(f"{name} is an array of {array.dtype}; allowed: {allowed}")
            object.__setattr__(self, name, array)
        shapes = {a.shape for a in (self.next_state, self.probability, self.reward, self.terminated)}
        if len(shapes) != 1 or self.next_state.ndim != 3 or not self.next_state.size:
            names = "next_state, probability, reward and terminated"
            raise ValueError(f"{names} have shapes {sorted(shapes)}; all must be [S, A, K], none empty")
        if self.start.shape != (self.num_states,):
            raise ValueError(f"start has shape {self.start.shape}; it must be ({self.num_states},)")
        if len(self.actions) not in (0, self.num_actions):
            raise ValueError(f"actions names {len(self.actions)}; there are {self.num_actions}")
        if not self.actions:
            object.__setattr__(self, "actions", tuple(str(a) for a in range(self.num_actions)))
        if check:
            self._check_entries()

    def _check_entries(self) -> None:
        _check_successors(self.next_state)
        if not np.isfinite(self.reward).all():
            raise ValueError(f"reward holds {self.reward[~np.isfinite(self.reward)][0]}; allowed: finite numbers")
        slots = self.probability.shape[-1]  # summed by a product: numpy is slow at many sums of few terms
        totals = {"probability": self.probability.reshape(-1, slots) @ np.ones(slots), "start": self.start.sum()}
        for name, total in totals.items():
            least = getattr(self, name).min()
            if not least >= 0:
                raise ValueError(f"{name} holds {least}; allowed: >= 0")
            low, high = np.min(total), np.max(total)
            if not (low >= 1 - 1e-9 and high <= 1 + 1e-9):
                raise ValueError(f"{name} sums to {low}…{high} over its last axis; it must be 1")

    @property
    def num_states(self) -> int:
        return self.next_state.shape[0]

    @property
    def num_actions(self) -> int:
        return self.next_state.shape[1]

    @cached_property
    def is_deterministic(self) -> bool:
        """Whether every action has one successor."""
        return self.probability.shape[-1] == 1

    @cached_property
    def is_path(self) -> bool:
        """Whether a deterministic policy walks one path: no chance in the dynamics, and one start."""
        return self.is_deterministic and int(np.count_nonzero(self.start)) == 1

    @cached_property
    def terminal(self) -> Bool[np.ndarray, " S"]:
        """States that an episode ends in: every action stays there and terminates."""
        stays = self.next_state == np.arange(self.num_states)[:, None, None]
        return np.all((stays & self.terminated) | (self.probability == 0), axis=(1, 2))

    @cached_property
    def success(self) -> Bool[np.ndarray, "S A K"]:
        """Outcomes that reach a goal: they terminate with the highest reward of any outcome outside terminal states.

        It is the rewards that tell, not the map: where every end pays alike (a lake whose gift pays nothing, or whose holes
        pay as much), every end is a goal; where a step that goes on pays most, or all states are terminal, nothing is.
        """
        possible = (self.probability > 0) & ~self.terminal[:, None, None]
        return possible & self.terminated & (self.reward == self.reward.max(initial=-np.inf, where=possible))

    @cached_property
    def expected_reward(self) -> Float[np.ndarray, "S A"]:
        """r(s, a) = sum_s' P(s'|s, a) r(s, a, s')."""
        return np.sum(self.probability * self.reward, -1)

    @cached_property
    def transition(self) -> Float[np.ndarray, "S A S"]:
        """P(s'|s, a), dense: for small MDPs (it has S² A entries)."""
        return self.scatter(self.probability)

    def scatter(self, weight: Float[np.ndarray, "S A K"]) -> Float[np.ndarray, "S A S"]:
        """Weights of outcomes as weights of successors, dense."""
        states, actions = self.num_states, self.num_actions
        dense = np.zeros((states * actions, states))
        rows = np.broadcast_to(np.arange(states * actions)[:, None], (states * actions, weight.shape[-1]))
        # Added, never assigned: one successor can stand in two slots that differ in reward.
        np.add.at(dense, (rows.ravel(), self.next_state.ravel()), weight.ravel())
        return dense.reshape(states, actions, states)

    @cached_property
    def moves(self) -> Int[np.ndarray, "A 2"]:
        """The (row, column) step that each action is meant to take; (0, 0) for one that is no move."""
        return np.array([STEPS.get(name, (0, 0)) for name in self.actions])

    @cached_property
    def grid(self) -> GridLayout | None:
        """Where each state is drawn; None where nobody knows."""
        return self.custom_grid or (None if self.layout is None else GridLayout.of(self.layout))

    @classmethod
    def from_env(cls, env: gymnasium.Env, discount: float = 0.99) -> TabularMDP:
        """Read a toy-text environment's transition table exactly (FrozenLake, CliffWalking, Taxi, …).

        A state is made terminal if episodes end in it and no episode passes through it, whatever the table says of
        leaving it (CliffWalking's goal can be left there). The time limit comes from the environment's spec.

        Args:
            env: whose unwrapped form has a table ``P[state][action] -> [(probability, successor, reward, terminated)]``
                and ``initial_state_distrib``.
            discount: gamma of the return.
        """
        inner = getattr(env, "unwrapped", env)
        table = getattr(inner, "P", None)
        if table is None:
            raise ValueError(f"{inner} has no transition table P; allowed: toy-text environments such as FrozenLake, Taxi")
        distribution = getattr(inner, "initial_state_distrib", None)
        if distribution is None:
            raise ValueError(f"{inner} has no initial_state_distrib; allowed: {START_MEANING}")
        if getattr(inner, "fickle_passenger", False):
            raise ValueError("fickle_passenger is True; allowed: False, for what such a passenger does is not in the table P")
        states, actions = len(table), len(table[0])
        slots = max(len(table[s][a]) for s in range(states) for a in range(actions))
        next_state, probability, reward, terminated = empty(states, actions, slots)
        for s in range(states):
            for a in range(actions):
                for k, (p, successor, r, ends) in enumerate(table[s][a]):
                    next_state[s, a, k], probability[s, a, k], reward[s, a, k], terminated[s, a, k] = successor, p, r, ends
        _check_successors(next_state)
        start = np.asarray(distribution, float)
        absorb(next_state, probability, reward, terminated, start)
        layout = layout_of(inner)
        kind = next((c.__name__ for c in type(inner).__mro__ if c.__name__ in ACTIONS), "")
        names, custom_grid = ACTIONS.get(kind, ()), taxi_layout(inner) if kind == "TaxiEnv" else None
        horizon = getattr(env.spec, "max_episode_steps", None) if env.spec is not None else None
        itself = np.arange(states, dtype=NARROW)[:, None, None]
        return cls(
            *merge(next_state, probability, reward, terminated, itself), start, discount, horizon, layout, names, custom_grid
        )

    @classmethod
    def from_map(
        cls, rows: Sequence[str], *, is_slippery: bool = False, success_rate: float = 1 / 3, discount: float = 0.99
    ) -> TabularMDP:
        """The arrays of a FrozenLake, built from its map without a loop over states; equal to `from_env`'s.

        Args:
            rows: the map, of the letters S, F, H, G.
            is_slippery: whether a move may go to either side instead.
            success_rate: probability of the intended move on slippery ice, in (0, 1].
            discount: gamma of the return.
        """
        rows = parse_map(rows)
        check_probability("success_rate", success_rate)
        grid = as_grid(rows)
        # What can follow depends on a tile and its four neighbours: the whole lake is looked up among what is worked out once.
        (way, *others), used = lake_outcomes(success_rate if is_slippery else 1.0)
        kind = neighbourhoods(grid)
        slots = int(used.take(kind).max())
        keep_at_hand(2 * kind.size * len(LAKE_ACTIONS) * slots * np.dtype(float).itemsize)
        offset = np.array([0, -1, grid.shape[1], 1, -grid.shape[1]], NARROW)[way]
        next_state, probability, reward, terminated = (each[..., :slots].take(kind, 0) for each in (offset, *others))
        next_state += np.arange(grid.size, dtype=NARROW)[:, None, None]
        starts = np.flatnonzero(grid == START)
        start = np.zeros(grid.size)
        start[starts] = 1 / len(starts)
        arrays = next_state, probability, reward, terminated, start
        return cls(*arrays, discount, time_limit(rows), rows, LAKE_ACTIONS, check=False)


def _check_successors(next_state: Int[np.ndarray, "S A K"]) -> None:
    states = len(next_state)
    if next_state.min() < 0 or next_state.max() >= states:
        state, action, slot = (int(i) for i in np.argwhere((next_state < 0) | (next_state >= states))[0])
        value = next_state[state, action, slot]
        raise ValueError(f"next_state holds {value}; allowed: 0…{states - 1}, the states (at state {state}, action {action})")
