"""The registry of environments: names, Gymnasium ids and factories, made into Gymnasium environments.

`make_env` turns a name, a size, a map file, a Gymnasium id or a name given to `register_environment` into an environment,
`lake_rows` into its map. Importing `ift_gridworld` registers ``ift_gridworld/TwoPaths-v0``, ``…/Open-v0``, ``…/Bridge-v0`` and
``…/FrozenLake-v0`` with Gymnasium, each also as a vector environment.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

from ift_gridworld.checks import check_probability, check_whole, suggestion
from ift_gridworld.envs.adapters import Adapter, adapter_of
from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.envs.lake_env import OWN
from ift_gridworld.envs.maps import (
    LAKES,
    Rows,
    Size,
    as_shape,
    bridge,
    open_lake,
    parse_map,
    parse_size,
    random_map,
    read_map,
    time_limit,
    two_paths,
)
from ift_gridworld.envs.wrappers import time_limit_of

__all__ = [
    "MADE_BY",
    "REGISTERED",
    "SPECS",
    "RegisteredEnvironment",
    "known_of",
    "lake_rows",
    "make_env",
    "register_environment",
    "unregister_environment",
]

SPECS = {**OWN, "4x4": "FrozenLake-v1", "8x8": "FrozenLake8x8-v1"}  # what `LAKES` are registered as


@dataclass(frozen=True, eq=False)
class RegisteredEnvironment:
    """An environment known by a name.

    Attributes:
        name: of it.
        environment: the rows of a map, a Gymnasium id, or a function that makes an environment of its options.
        grid: where its states are drawn; or a function that gives that of an unwrapped environment; None where its tiles are
            its states, or nothing is drawn.
        actions: a name for each action.
        max_episode_steps: time limit; None for the environment's own.
    """

    name: str
    environment: Rows | str | Callable[..., gymnasium.Env]
    grid: GridLayout | Callable[[Any], GridLayout | None] | None = None
    actions: tuple[str, ...] = ()
    max_episode_steps: int | None = None


REGISTERED: dict[str, RegisteredEnvironment] = {}
MADE_BY = "_ift_gridworld_made_by"  # attribute of an unwrapped environment of a registered name: the entry, and its options


def register_environment(
    name: str,
    environment: Sequence[str] | str | Callable[..., gymnasium.Env],
    *,
    layout: Sequence[str] | GridLayout | Callable[[Any], GridLayout | None] | None = None,
    actions: Sequence[str] = (),
    max_episode_steps: int | None = None,
) -> None:
    """Make an environment known by a name to `make_env`, `TabularMDP.make`, the command line, pictures and saved runs.

    Args:
        name: that no other environment has.
        environment: the rows of a lake's map; a Gymnasium id; or a function of keyword options that returns a Gymnasium
            environment whose unwrapped form has a transition table ``P`` and ``initial_state_distrib``, as toy text has.
        layout: where states are drawn: rows of letters if its tiles are its states, a `GridLayout`, or a function of the
            unwrapped environment. Not needed for a map of letters, nor for what Gymnasium's toy text draws.
        actions: a name for each action, in order; left, down, right, up (or west, south, east, north) are drawn as arrows.
        max_episode_steps: steps after which an episode is truncated (default: the map's or the environment's own).

    Raises:
        ValueError: for a name that is taken, or an environment that is none of these.

    >>> register_environment("corner", ["SF", "FG"])
    >>> make_env("corner").unwrapped.desc.shape
    (2, 2)
    >>> unregister_environment("corner")
    """
    if not isinstance(name, str) or not name.strip() or re.fullmatch(r"\d+x\d+", name):
        raise ValueError(f"the name of an environment is {name!r}; allowed: a name such as my-lake, not a size")
    if name in REGISTERED or name in LAKES or name in gymnasium.registry or name == "random":
        raise ValueError(f"an environment named {name!r} is registered already; allowed: another name")
    if isinstance(environment, str):
        if environment not in gymnasium.registry:
            raise ValueError(f"environment is {environment!r}; allowed: rows of a map, a registered Gymnasium id, a function")
    elif not callable(environment):
        environment = parse_map(environment)
    if max_episode_steps is not None:
        max_episode_steps = check_whole("max_episode_steps", max_episode_steps, at_least=1)
    if layout is not None and not callable(layout) and not isinstance(layout, GridLayout):
        layout = GridLayout.of(layout)
    REGISTERED[name] = RegisteredEnvironment(name, environment, layout, tuple(actions), max_episode_steps)


def unregister_environment(name: str) -> None:
    """Forget a registered environment."""
    REGISTERED.pop(name, None)


def known_of(env: gymnasium.Env) -> tuple[Adapter, RegisteredEnvironment | None, dict[str, Any]]:
    """Return what is known of an environment beside its table: by its class, by its registered name, and its options there."""
    inner = getattr(env, "unwrapped", env)
    entry, options = getattr(inner, MADE_BY, (None, {}))
    adapter = adapter_of(type(inner))
    if entry is not None:
        grid = entry.grid
        give = adapter.grid if grid is None else grid if callable(grid) else lambda env: grid
        adapter = Adapter(entry.actions or adapter.actions, adapter.rows, give, adapter.option_names)
    return adapter, entry, options


def make_env(
    name: str,
    *,
    size: Size | None = None,
    is_slippery: bool = False,
    seed: int | None = None,
    frozen: float = 0.8,
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> gymnasium.Env:
    """Make a Gymnasium environment, time limit included, from a name, a file or a Gymnasium id.

    Args:
        name: a name in `LAKES` or given to `register_environment`; ``"random"`` or a size such as ``"6x9"`` for a random
            lake; the path of a text file with one row of the map a line; or any id that `gymnasium.make` knows
            (``"CliffWalking-v1"``, ``"Taxi-v4"``).
        size: n or (rows, columns), for ``"two-paths"`` (default 4), ``"open"``, ``"bridge"`` and ``"random"`` (default 8).
        is_slippery: whether moves slip, also for FrozenLake-v1, which slips by default in Gymnasium. Then a move goes as
            intended with `success_rate` (default 1/3), else to one of the two sides, with equal probability. For a taxi:
            whether it rains (0.8 by default, as Gymnasium has it).
        seed: of the random map. For a square it is the map that Gymnasium's `generate_random_map` draws from that seed.
        frozen: probability that a tile of a random map is frozen, in (0, 1].
        max_episode_steps: steps after which an episode is cut off (default: the map's `time_limit`, a Gymnasium id's own; 0
            for never).
        kwargs: passed on to the environment: `success_rate`, `reward_schedule`, `render_mode`, ….

    Raises:
        ValueError: in one line, for an unknown name, a map without a way from S to G, a value out of range.

    >>> env = make_env("4x4", is_slippery=True)
    >>> env.reset(seed=0)[0], env.spec.max_episode_steps
    (0, 100)
    """
    if "success_rate" in kwargs:
        kwargs["success_rate"] = check_probability("success_rate", kwargs["success_rate"])
    limit = max_episode_steps
    if limit is not None:
        limit = check_whole("max_episode_steps", limit, at_least=0) or -1  # as Gymnasium spells never
    rows = lake_rows(name, size=size, seed=seed, frozen=frozen)
    entry = REGISTERED.get(name)
    if limit is None and entry is not None:
        limit = entry.max_episode_steps
    if rows is not None and size is None and name in SPECS:
        return _make(SPECS[name], limit, is_slippery=is_slippery, **kwargs)
    if rows is not None:
        desc = [list(row) for row in rows]  # letter by letter, or a map of one column would lose its second dimension
        return _make("FrozenLake-v1", limit or time_limit(rows), desc=desc, is_slippery=is_slippery, **kwargs)
    if entry is not None and callable(entry.environment):
        options = {**kwargs, **({"is_slippery": True} if is_slippery else {})}
        env = _call(entry.name, entry.environment, options)
    else:
        options = {"is_slippery": is_slippery, **kwargs}
        env = _make_id(str(entry.environment) if entry is not None else name, limit, is_slippery, kwargs)
    env = _limited(env, limit, name)
    if entry is not None:
        object.__setattr__(env.unwrapped, MADE_BY, (entry, options))  # even where the environment is a frozen dataclass
    return env


def _make_id(name: str, limit: int | None, is_slippery: bool, kwargs: dict[str, Any]) -> gymnasium.Env:
    """Make an environment of a Gymnasium id, whose own names of our options are used."""
    spec = gymnasium.spec(name)
    creator = _creator(name)
    adapter = adapter_of(creator) if isinstance(creator, type) else Adapter()
    options = dict(kwargs)
    if is_slippery or (adapter.slips_by_default and "is_slippery" not in spec.kwargs):
        options["is_slippery"] = is_slippery
    return _make(name, limit, **{adapter.option_names.get(option, option): value for option, value in options.items()})


def _creator(name: str) -> Callable[..., Any]:
    """The class or function that makes the environment of a Gymnasium id."""
    entry_point = gymnasium.spec(name).entry_point
    if callable(entry_point):
        return entry_point
    try:
        creator: Callable[..., Any] = gymnasium.envs.registration.load_env_creator(str(entry_point))
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"environment {name!r} cannot be made here: {error}") from None
    return creator


def _call(name: str, make: Callable[..., gymnasium.Env], options: dict[str, Any]) -> gymnasium.Env:
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise ValueError(f"environment {name!r} does not take {', '.join(options)}: {error}") from None
    env = make(**options)
    if not isinstance(env, gymnasium.Env):
        raise ValueError(f"environment {name!r} made {env!r}; allowed: a gymnasium.Env")
    return env


def _limited(env: gymnasium.Env, limit: int | None, name: str) -> gymnasium.Env:
    """Return the environment with this time limit (-1 for never), which must not be longer than its own."""
    least = time_limit_of(env)
    if limit is None or limit == least:
        return env
    if least is not None and not 0 < limit < least:
        value, own = "never" if limit < 0 else limit, f"environment {name!r} ends episodes after {least} steps itself"
        raise ValueError(f"max_episode_steps is {value}, but {own}; allowed: up to {least}")
    return gymnasium.wrappers.TimeLimit(env, limit) if limit > 0 else env


def lake_rows(name: str, *, size: Size | None = None, seed: int | None = None, frozen: float = 0.8) -> Rows | None:
    """Return the map that `make_env` makes of the same arguments, or None for an environment that has its own table.

    What is computed from the map alone (`TabularMDP.from_map`) needs no environment, which takes a minute to make for a
    million tiles.

    Args:
        name, size, seed, frozen: as for `make_env`.

    Raises:
        ValueError: as `make_env`.

    >>> lake_rows("two-paths", size=3)
    ('SFF', 'FHG', 'FFF')
    """
    if name == "random" or (name not in LAKES and re.fullmatch(r"\d+x\d+", name)):
        shape = parse_size(name) if name != "random" else as_shape(8 if size is None else size)
        if name != "random" and size is not None and as_shape(size) != shape:
            raise ValueError(f"size {size} contradicts the map name {name!r}; give one of the two")
        return random_map(shape, frozen=frozen, seed=seed)
    if size is not None and name not in OWN:
        sized = ", ".join(map(repr, [*OWN, "random"]))
        raise ValueError(f"a size is given with map {name!r}; allowed: only {sized} take one")
    if size is not None:
        return {"two-paths": two_paths, "open": open_lake, "bridge": bridge}[name](size)
    if name in LAKES:
        return LAKES[name]
    if name in REGISTERED:
        environment = REGISTERED[name].environment
        return environment if isinstance(environment, tuple) else None
    if os.path.isfile(name):  # also of a name that is too long for a file
        return read_map(name)
    if name in gymnasium.registry:
        return None
    names = [*LAKES, *REGISTERED, "random"]
    near = _other_version(name) or suggestion(name, [*names, *gymnasium.registry])
    others = "NxM (for example 6x9), a map file that exists, or a Gymnasium id"
    raise ValueError(f"unknown map {name!r}; {near}allowed: {', '.join(names)}, {others}")


def _other_version(name: str) -> str:
    """Say which versions of a Gymnasium id there are, if it is only the version that is unknown."""
    stem, dash, version = name.rpartition("-v")
    versions = [env_id for env_id in gymnasium.registry if env_id.rpartition("-v")[0] == stem]
    if not (dash and version.isdigit() and versions):
        return ""
    return f"this version of Gymnasium ({gymnasium.__version__}) has {', '.join(versions)}; "


def _make(name: str, limit: int | None, **options: Any) -> gymnasium.Env:
    desc = options.get("desc")
    if desc is not None and any(isinstance(row, str) for row in desc):
        options["desc"] = [list(row) for row in parse_map(desc)]
    try:
        return gymnasium.make(name, max_episode_steps=limit, **options)
    except TypeError:
        parameters = inspect.signature(_creator(name)).parameters
        unknown = [option for option in options if option not in parameters] or options
        raise ValueError(f"environment {name!r} does not take {', '.join(unknown)}; allowed: {', '.join(parameters)}") from None
    except KeyError as error:  # a FrozenLake's map_name
        raise ValueError(f"environment {name!r} does not know {error}") from None
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"environment {name!r} cannot be made here: {error}") from None
