"""A finite MDP as arrays: M = (S, A, T, r, rho0) of the paper, read from an environment or built from a map.

Everything exact in this project (values, occupancy, success) is computed from these arrays, so they must agree with
Gymnasium to the last entry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property, lru_cache
from numbers import Real
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld._lazy import resolve
from ift_gridworld.checks import check_probability, check_whole, unboxed
from ift_gridworld.envs.adapters import STEPS
from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.envs.maps import LAKES, START, Size, as_grid, parse_map, time_limit
from ift_gridworld.envs.registry import REGISTERED, RegisteredEnvironment, known_of, lake_rows, make_env
from ift_gridworld.envs.tables import (
    LAKE_ACTIONS,
    NARROW,
    Arrays,
    absorb,
    as_distribution,
    empty,
    keep_at_hand,
    lake_outcomes,
    merge,
    neighbourhoods,
    table_size,
)
from ift_gridworld.envs.wrappers import check_wrappers, time_limit_of
from ift_gridworld.escape import printable

__all__ = ["Origin", "TabularMDP"]

KINDS = (  # of arrays' entries, as numpy's letters and in words
    ("next_state", "iu", "whole numbers"),
    ("probability", "f", "floating-point numbers"),
    ("reward", "fiu", "numbers"),
    ("terminated", "b", "bool"),
    ("start", "f", "floating-point numbers"),
)
LARGEST_REWARD = 1e150
START_MEANING = "the probability of each of the S states to be the first, such as np.eye(S)[0]"


@dataclass(frozen=True)
class Origin:
    """Record of how an MDP was made, enough to make it again.

    Attributes:
        name: for tables and pictures.
        rows: the map; None for an environment that has its own table.
        env: then its Gymnasium id, or the name that it is registered by.
        is_slippery, success_rate: whether moves may slip, and how often one goes as intended (None if that is not known).
        discount, horizon: of the MDP.
        options: that `make_env` made the environment of.
    """

    name: str
    rows: tuple[str, ...] | None
    env: str | None
    is_slippery: bool
    success_rate: float | None
    discount: float
    horizon: int | None
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))  # a file's name, or a saved run's, may hold anything

    @property
    def can_be_made(self) -> bool:
        """True if the record is enough to make the MDP."""
        return self.rows is not None or self.env is not None

    @property
    def mdp(self) -> TabularMDP:
        """The MDP. The last two made are kept, so that runs on one lake share it and what was computed of it.

        Raises:
            ValueError: for an environment that is not registered here, or options that it does not take.
        """
        return _mdp_of(self, None if self.env is None else REGISTERED.get(self.env))


@lru_cache(maxsize=2)
def _mdp_of(origin: Origin, entry: RegisteredEnvironment | None) -> TabularMDP:
    if origin.rows is not None:
        rate = 1.0 if origin.success_rate is None else origin.success_rate
        mdp = TabularMDP.from_map(
            origin.rows, is_slippery=origin.is_slippery, success_rate=rate, discount=origin.discount, name=origin.name
        )
    elif origin.env is not None:
        try:
            env = make_env(origin.env, **origin.options)
        except ValueError as error:
            hint = "" if entry is not None else "; one of your own must be registered first (--plugin, or import the module)"
            raise ValueError(f"{error}{hint}") from error
        mdp = TabularMDP.from_env(env, discount=origin.discount)
    else:
        raise ValueError(f"the environment {origin.name!r} is known by name alone; allowed: one that says how it is made")
    mdp = mdp if mdp.horizon == origin.horizon else mdp.with_time_limit(origin.horizon)
    object.__setattr__(mdp, "origin", origin)
    return mdp


def _read(table: Any, start: Float[np.ndarray, " S"]) -> Arrays:
    """The arrays of a transition table, equal outcomes added up, final states made terminal."""
    states, actions = table_size(table, start)
    slots = max(len(table[s][a]) for s in range(states) for a in range(actions))
    next_state, probability, reward, terminated = empty(states, actions, slots)
    kinds: set[type] = set()
    for s in range(states):
        for a in range(actions):
            for k, (p, successor, r, ends) in enumerate(table[s][a]):
                kinds.add(type(p))
                next_state[s, a, k], probability[s, a, k], reward[s, a, k], terminated[s, a, k] = successor, p, r, ends
    _check_successors(next_state)
    precision = max((float(np.finfo(kind).eps) for kind in kinds if issubclass(kind, np.floating)), default=0.0)
    probability = as_distribution("probability", probability, precision)
    absorb(next_state, probability, reward, terminated, start)
    itself = np.arange(states, dtype=NARROW)[:, None, None]
    return merge(next_state, probability, reward, terminated, itself)


@dataclass(frozen=True, eq=False, repr=False)
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
        origin: how to make it again, for one that was read from an environment or built from a map; a changed copy has none.
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
    origin: Origin | None = field(default=None, init=False)

    def __post_init__(self, check: bool) -> None:
        for name in ("discount", "horizon"):
            object.__setattr__(self, name, unboxed(getattr(self, name)))
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
            object.__setattr__(self, name, array.astype(float, copy=False) if name == "reward" else array)
        shapes = {a.shape for a in (self.next_state, self.probability, self.reward, self.terminated)}
        if len(shapes) != 1 or self.next_state.ndim != 3 or not self.next_state.size:
            names = "next_state, probability, reward and terminated"
            raise ValueError(f"{names} have shapes {sorted(shapes)}; all must be [S, A, K], none empty")
        if self.start.shape != (self.num_states,):
            raise ValueError(f"start has shape {self.start.shape}; it must be ({self.num_states},)")
        if len(self.actions) not in (0, self.num_actions):
            raise ValueError(f"actions names {len(self.actions)}; there are {self.num_actions}")
        for places in (sum(map(len, self.layout or ())), 0 if self.custom_grid is None else len(self.custom_grid.place)):
            if places not in (0, self.num_states):
                raise ValueError(f"layout has a place for {places} states; there are {self.num_states}")
        if not self.actions:
            object.__setattr__(self, "actions", tuple(str(a) for a in range(self.num_actions)))
        if check:
            self._check_entries()

    def _check_entries(self) -> None:
        _check_successors(self.next_state)
        if not np.isfinite(self.reward).all():
            raise ValueError(f"reward holds {self.reward[~np.isfinite(self.reward)][0]}; allowed: finite numbers")
        if (largest := np.abs(self.reward).max()) > LARGEST_REWARD:
            raise ValueError(f"reward holds {largest:g} or its negative; allowed: up to {LARGEST_REWARD:g}, or sums overflow")
        for name in ("probability", "start"):
            object.__setattr__(self, name, as_distribution(name, getattr(self, name)))

    @property
    def num_states(self) -> int:
        return self.next_state.shape[0]

    @property
    def num_actions(self) -> int:
        return self.next_state.shape[1]

    @cached_property
    def is_deterministic(self) -> bool:
        """True if every action has one successor."""
        return self.probability.shape[-1] == 1

    @cached_property
    def is_path(self) -> bool:
        """True if a deterministic policy walks one path: deterministic dynamics, and one start."""
        return self.is_deterministic and int(np.count_nonzero(self.start)) == 1

    @cached_property
    def terminal(self) -> Bool[np.ndarray, " S"]:
        """States that an episode ends in: every action stays there and terminates."""
        stays = self.next_state == np.arange(self.num_states)[:, None, None]
        return np.all((stays & self.terminated) | (self.probability == 0), axis=(1, 2))

    @cached_property
    def success(self) -> Bool[np.ndarray, "S A K"]:
        """Outcomes that reach a goal: they terminate with the highest reward of any outcome outside terminal states.

        Rewards decide, not the map: where every end pays alike (a lake whose goal pays nothing, or whose holes
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
        """Place at which each state is drawn; None if unknown."""
        return self.custom_grid or (None if self.layout is None else GridLayout.of(self.layout))

    @classmethod
    def from_env(cls, env: gymnasium.Env, discount: float = 0.99, *, name: str | None = None) -> TabularMDP:
        """Read a toy-text environment's transition table exactly (FrozenLake, CliffWalking, Taxi, …).

        A state is made terminal if episodes end in it and no episode passes through it, whatever the table says of
        leaving it (CliffWalking's goal can be left there). The horizon is the least time limit of the environment's wrappers.

        Args:
            env: whose unwrapped form has a table ``P[state][action] -> [(probability, successor, reward, terminated)]``
                and ``initial_state_distrib``.
            discount: gamma of the return.
            name: for tables and pictures (default: that of the map or the environment).

        Raises:
            ValueError: for an environment without such a table, one that the table does not tell all of, or a wrapper that
                changes observations, rewards, actions or dynamics.
        """
        inner = getattr(env, "unwrapped", env)
        table = getattr(inner, "P", None)
        if table is None:
            raise ValueError(f"{inner} has no transition table P; allowed: toy-text environments such as FrozenLake, Taxi")
        distribution = getattr(inner, "initial_state_distrib", None)
        if distribution is None:
            raise ValueError(f"{inner} has no initial_state_distrib; allowed: {START_MEANING}")
        check_wrappers(env)
        if getattr(inner, "fickle_passenger", False):
            raise ValueError("fickle_passenger is True; allowed: False, for what such a passenger does is not in the table P")
        start = np.asarray(distribution)
        start = start if start.dtype.kind == "f" else start.astype(float)
        adapter, entry, options = known_of(env)
        spec, rows = env.spec, adapter.rows(inner)
        mdp = cls(*_read(table, start), start, discount, time_limit_of(env), rows, adapter.actions, adapter.grid(inner))
        if entry is None and spec is not None and spec.id in gymnasium.registry:
            lake = next((lake for lake, other in LAKES.items() if other == rows), spec.id)
            options = {**spec.kwargs, **({"is_slippery": not mdp.is_deterministic} if adapter.slips_by_default else {})}
            mdp._come_from(name or lake, spec.id, options)
        elif entry is not None:
            mdp._come_from(name or entry.name, entry.name, options)
        return mdp

    def _come_from(self, name: str, env: str, options: dict[str, Any]) -> None:
        """Note how `make_env` makes the environment again, if a file can hold that."""
        try:
            options = json.loads(json.dumps(options))  # as a file gives them back, rows of a map as a list
        except (TypeError, ValueError):
            return
        slippery = not self.is_deterministic
        object.__setattr__(self, "origin", Origin(name, None, env, slippery, None, self.discount, self.horizon, options))

    @classmethod
    def from_map(
        cls,
        rows: Sequence[str],
        *,
        is_slippery: bool = False,
        success_rate: float = 1 / 3,
        discount: float = 0.99,
        name: str | None = None,
    ) -> TabularMDP:
        """Build the arrays of a FrozenLake from its map, without a loop over states; equal to `from_env`'s.

        Args:
            rows: the map, of the letters S, F, H, G.
            is_slippery: whether a move may go to either side instead.
            success_rate: probability of the intended move on a slippery lake, in (0, 1].
            discount: gamma of the return.
            name: for tables and pictures (default: that of a map in `LAKES`, else its size).

        >>> TabularMDP.from_map(["SF", "FG"]).num_states
        4
        """
        rows = parse_map(rows)
        success_rate, discount = check_probability("success_rate", success_rate), unboxed(discount)
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
        mdp = cls(*arrays, discount, time_limit(rows), rows, LAKE_ACTIONS, check=False)
        size = f"{len(rows)}x{len(rows[0])}"
        name = name or next((key for key, other in LAKES.items() if other == rows), size)
        slips = bool(is_slippery) and success_rate < 1
        object.__setattr__(mdp, "origin", Origin(name, rows, None, slips, success_rate, discount, mdp.horizon))
        return mdp

    @classmethod
    def make(
        cls,
        name: str,
        *,
        size: Size | None = None,
        seed: int | None = None,
        is_slippery: bool = False,
        success_rate: float | None = None,
        discount: float = 0.99,
        label: str | None = None,
    ) -> TabularMDP:
        """Make the MDP of a named environment: a lake from its map, anything else from its transition table.

        Args:
            name, size, seed, is_slippery: as for `envs.make_env`.
            success_rate: probability of the intended move where it slips (1/3 on lakes, 0.8 for a taxi in the rain).
            discount: gamma of the return.
            label: its name in tables and pictures (default: the name, and the size if one is given).

        Raises:
            ValueError: in one line, for an unknown name or a value out of range.

        >>> TabularMDP.make("two-paths")
        TabularMDP(two-paths: 16 states, 4 actions, deterministic, discount 0.99, time limit 100)
        """
        if not isinstance(name, str):
            raise ValueError(f"the environment's name is {name!r}; allowed: a string such as '4x4'")
        rows = lake_rows(name, size=size, seed=seed)
        if size is not None and not label:
            label = f"{name} {'x'.join(str(int(n)) for n in (size if isinstance(size, Sequence) else (size,)))}"
        label = label or name
        if rows is not None:
            rate = 1 / 3 if success_rate is None else success_rate
            mdp = cls.from_map(rows, is_slippery=is_slippery, success_rate=rate, discount=discount, name=label)
            entry = REGISTERED.get(name)
            if entry is not None and entry.max_episode_steps is not None:
                return mdp.with_time_limit(entry.max_episode_steps)
            return mdp
        options: dict[str, Any] = {"is_slippery": is_slippery}
        if success_rate is not None:
            options["success_rate"] = success_rate
        mdp = cls.from_env(make_env(name, **options), discount=discount)
        mdp._come_from(label, name, options)
        return mdp

    def with_time_limit(self, horizon: int | None) -> TabularMDP:
        """Return the same MDP whose episodes are truncated after `horizon` steps; None for never."""
        other = replace(self, horizon=horizon, check=False)
        if self.origin is not None:
            object.__setattr__(other, "origin", replace(self.origin, horizon=horizon))
        return other

    def __repr__(self) -> str:
        dynamics = "deterministic" if self.is_deterministic else "slippery" if self.layout is not None else "stochastic"
        limit = "no time limit" if self.horizon is None else f"time limit {self.horizon}"
        sizes = f"{self.num_states} states, {self.num_actions} actions"
        return f"TabularMDP({self.where.name}: {sizes}, {dynamics}, discount {self.discount:g}, {limit})"

    def _repr_png_(self) -> bytes | None:
        """The map with its optimal policy, in a notebook; None where there is no map."""
        return None if self.grid is None else resolve("ift_gridworld.rendering.notebook:png_of_mdp")(self)

    @property
    def where(self) -> Origin:
        """Origin of the MDP; for one made of arrays, the part of its description that needs no arrays."""
        if self.origin is not None:
            return self.origin
        size = "" if self.layout is None else f" {len(self.layout)}x{len(self.layout[0])}"
        return Origin(f"custom{size}", None, None, not self.is_deterministic, None, self.discount, self.horizon)


def _check_successors(next_state: Int[np.ndarray, "S A K"]) -> None:
    states = len(next_state)
    if next_state.min() < 0 or next_state.max() >= states:
        state, action, slot = (int(i) for i in np.argwhere((next_state < 0) | (next_state >= states))[0])
        value = next_state[state, action, slot]
        raise ValueError(f"next_state holds {value}; allowed: 0…{states - 1}, the states (at state {state}, action {action})")
