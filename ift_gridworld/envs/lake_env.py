"""Lakes as Gymnasium environments, and their ids. Importing `ift_gridworld` loads this module, so it stays light."""

from __future__ import annotations

import importlib.util
from typing import Any

import gymnasium
from gymnasium.envs.toy_text.frozen_lake import MAPS, FrozenLakeEnv

from ift_gridworld.checks import check_probability
from ift_gridworld.envs.lookup import LookUp
from ift_gridworld.envs.maps import LAKES, parse_map, time_limit

__all__ = ["OWN", "TEXT", "LakeEnv", "register"]

OWN = {"two-paths": "ift_gridworld/TwoPaths-v0", "open": "ift_gridworld/Open-v0", "bridge": "ift_gridworld/Bridge-v0"}
TABULAR = "ift_gridworld/Tabular-v0"
TEXT = "ift_gridworld/TextLake-v0"  # in words, one move a turn


class LakeEnv(LookUp, FrozenLakeEnv):
    """Gymnasium's `FrozenLakeEnv` with a faster step, and its pixel modes only where pygame, which draws them, is installed.

    Trajectories are Gymnasium's, from the same seed. With pixel modes that cannot be drawn,
    `gymnasium.utils.env_checker.check_env` fails on any machine that lacks pygame.

    Args:
        map_name: a map of Gymnasium's where `options` have no ``desc``; None for a random one.
        success_rate: probability of the intended move on a slippery lake, in (0, 1].
        max_episode_steps: ignored (`gymnasium.make` wraps the environment in a time limit; `register` says why it is here).
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
        success_rate = check_probability("success_rate", success_rate)
        if options.get("desc") is not None:  # letter by letter, or a map of one column would lose its second dimension
            options["desc"] = [list(row) for row in parse_map(options["desc"])]
        super().__init__(map_name=map_name, success_rate=success_rate, **options)


def register() -> None:
    """Register our lakes, and the environment of any MDP, with Gymnasium; called once, when the package is imported.

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
                entry_point="ift_gridworld.envs.lake_env:LakeEnv",
                vector_entry_point="ift_gridworld.envs.vector:make_vector",
                # Else `make_vec` would put the id's limit here, and nobody could tell it from one that was asked for.
                kwargs={**options, "max_episode_steps": None},
                max_episode_steps=time_limit(rows),
            )
    if TABULAR not in gymnasium.registry:
        gymnasium.register(
            id=TABULAR,
            entry_point="ift_gridworld.envs.single:TabularEnv",
            vector_entry_point="ift_gridworld.envs.vector:TabularVectorEnv",
        )
    if TEXT not in gymnasium.registry:
        entry_point = "ift_gridworld.language.environment:TextLakeEnv"
        gymnasium.register(id=TEXT, entry_point=entry_point, max_episode_steps=time_limit(LAKES["4x4"]))
