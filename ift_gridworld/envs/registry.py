"""Named lakes as Gymnasium environments. Only this module, `vector` and `sb3` import gymnasium.

A lake is a tuple of rows of letters: ``S`` start, ``F`` frozen, ``H`` hole, ``G`` gift (goal). `LAKES` names some of them,
`make_env` turns a name, a size, a map file or any registered Gymnasium id into an environment, `lake_rows` into its map, and
importing `ift_gridworld` registers ``ift_gridworld/TwoPaths-v0``, ``…/Open-v0``, ``…/Bridge-v0`` and ``…/FrozenLake-v0``, each
also as `vector` has it.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.toy_text.frozen_lake import MAPS, FrozenLakeEnv

from ift_gridworld.checks import check_probability, check_whole
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

OWN = {"two-paths": "ift_gridworld/TwoPaths-v0", "open": "ift_gridworld/Open-v0", "bridge": "ift_gridworld/Bridge-v0"}
SPECS = {**OWN, "4x4": "FrozenLake-v1", "8x8": "FrozenLake8x8-v1"}  # what `LAKES` are registered as
SLIP = {  # what an environment of Gymnasium's calls the two options of slippery ice, where it calls them otherwise
    "Taxi": {"is_slippery": "is_rainy", "success_rate": "rainy_probability"}
}


class LakeEnv(FrozenLakeEnv):
    """Gymnasium's `FrozenLakeEnv`, offering its pixel modes only where pygame, which draws them, is installed.

    Without this, `gymnasium.utils.env_checker.check_env` fails on any machine that lacks pygame.

    Args:
        map_name: a map of Gymnasium's where `options` have no ``desc``; None for a random one.
        success_rate: probability of the intended move on slippery ice, in (0, 1].
        max_episode_steps: ignored (`gymnasium.make` puts a clock around the environment; `register` says why it is here).
        options: Gymnasium's other ones.

    Raises:
        ValueError: for a `map_name`, ``desc`` or `success_rate` that there is not.
    """

    metadata = {  # noqa: RUF012 (Gymnasium declares it so)
        "render_modes": ["human", "ansi", "rgb_array"] if importlib.util.find_spec("pygame") else ["ansi"],
        "render_fps": 4,
    }

    def __init__(
        self,
        *,
        map_name: str = "4x4",
        success_rate: float = 1 / 3,
        max_episode_steps: int | None = None,
        **options: Any,
    ) -> None:
        if map_name not in (None, *MAPS):
            raise ValueError(f"map_name is {map_name!r}; allowed: {', '.join(MAPS)}, None")
        check_probability("success_rate", success_rate)
        if options.get("desc") is not None:  # letter by letter, or a map of one column would lose its second dimension
            options["desc"] = [list(row) for row in parse_map(options["desc"])]
        super().__init__(map_name=map_name, success_rate=success_rate, **options)


def register() -> None:
    """Register our lakes with Gymnasium; called once, when the package is imported.

    `gymnasium.make` knows one time limit an id, that of the map it is registered with, whatever map it is then given.
    `gymnasium.make_vec` leaves that to `vector.make_vector`, where the map's own holds.
    """
    for name, options, rows in (
        *((spec, {"desc": LAKES[lake], "is_slippery": False}, LAKES[lake]) for lake, spec in OWN.items()),
        ("ift_gridworld/FrozenLake-v0", {}, LAKES["4x4"]),
    ):
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point="ift_gridworld.envs.registry:LakeEnv",
                vector_entry_point="ift_gridworld.envs.vector:make_vector",
                # Else `make_vec` would put the id's limit here, and nobody could tell it from one that was asked for.
                kwargs={**options, "max_episode_steps": None},
                max_episode_steps=time_limit(rows),
            )


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
        name: a name in `LAKES`; ``"random"`` or a size such as ``"6x9"`` for a random lake; the path of a text file with one
            row of the map a line; or any id that `gymnasium.make` knows (``"CliffWalking-v1"``, ``"Taxi-v4"``).
        size: n or (rows, columns), for ``"two-paths"`` (default 4), ``"open"``, ``"bridge"`` and ``"random"`` (default 8).
        is_slippery: whether the ice is, FrozenLake-v1's as well, which Gymnasium's is unless told otherwise. Then a move goes
            as intended with `success_rate` (default 1/3), else to one of the two sides, with equal probability. For a taxi:
            whether it rains (0.8 by default, as Gymnasium has it).
        seed: of the random map. For a square it is the map that Gymnasium's `generate_random_map` draws from that seed.
        frozen: probability that a tile of a random map is frozen, in (0, 1].
        max_episode_steps: steps after which an episode is cut off (default: the map's `time_limit`, a Gymnasium id's own; 0
            for never).
        kwargs: passed on to the environment: `success_rate`, `reward_schedule`, `render_mode`, ….

    Raises:
        ValueError: in one line, for an unknown name, a map without a way from S to G, a value out of range.
    """
    check_probability("success_rate", kwargs.get("success_rate", 1.0))
    limit = max_episode_steps
    if limit is not None:
        limit = check_whole("max_episode_steps", limit, at_least=0) or -1  # as Gymnasium spells never
    rows = lake_rows(name, size=size, seed=seed, frozen=frozen)
    if rows is None:
        spec = gymnasium.spec(name)
        # Gymnasium's own lakes slip unless they are told not to.
        said = is_slippery or ("Lake" in spec.name and "is_slippery" not in spec.kwargs)
        options = {**kwargs, **({"is_slippery": is_slippery} if said else {})}
        spelled = SLIP.get(spec.name, {})
        return _make(name, limit, **{spelled.get(option, option): value for option, value in options.items()})
    if size is None and name in SPECS:
        return _make(SPECS[name], limit, is_slippery=is_slippery, **kwargs)
    desc = [list(row) for row in rows]  # letter by letter, or a map of one column would lose its second dimension
    return _make("FrozenLake-v1", limit or time_limit(rows), desc=desc, is_slippery=is_slippery, **kwargs)


def lake_rows(name: str, *, size: Size | None = None, seed: int | None = None, frozen: float = 0.8) -> Rows | None:
    """The map that `make_env` makes of the same arguments, or None for a Gymnasium id, which has its own.

    What is computed from the map alone (`TabularMDP.from_map`) needs no environment, which takes a minute to make for a
    million tiles.

    Raises:
        ValueError: as `make_env`.
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
    if Path(name).is_file():
        return read_map(name)
    if name in gymnasium.registry:
        return None
    known = ", ".join([*LAKES, "random", "NxM (for example 6x9)"])
    raise ValueError(f"unknown map {name!r}; allowed: {known}, a map file that exists, or a Gymnasium id")


def _make(name: str, limit: int | None, **options: Any) -> gymnasium.Env:
    try:
        return gymnasium.make(name, max_episode_steps=limit, **options)
    except TypeError:
        taken = inspect.signature(
            gymnasium.envs.registration.load_env_creator(str(gymnasium.spec(name).entry_point))
        ).parameters
        unknown = [option for option in options if option not in taken] or options
        raise ValueError(f"environment {name!r} does not take {', '.join(unknown)}; allowed: {', '.join(taken)}") from None
    except KeyError as error:  # a FrozenLake's map_name
        raise ValueError(f"environment {name!r} does not know {error}") from None
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"environment {name!r} cannot be made here: {error}") from None
