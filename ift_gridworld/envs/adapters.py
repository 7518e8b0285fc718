"""Facts about environments that a transition table lacks: names of actions and options, and where states are drawn.

One `Adapter` a class of environments. `registry.register_environment` gives the same for an environment by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from gymnasium.envs.toy_text.taxi import TaxiEnv

from ift_gridworld.envs.grid import NOWHERE, GridLayout
from ift_gridworld.envs.maps import Rows
from ift_gridworld.envs.tables import LAKE_ACTIONS

__all__ = ["ADAPTERS", "STEPS", "Adapter", "adapter_of", "taxi_layout"]

STEPS = {  # (row, column) that an action of this name is meant to move by
    "left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0),
    "west": (0, -1), "south": (1, 0), "east": (0, 1), "north": (-1, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """Facts about a class of environments that its transition table lacks.

    Attributes:
        actions: a name for each action, in the environment's order.
        rows: gives the rows of the map of an unwrapped environment whose tiles are its states, else None.
        grid: gives where its states are drawn, if they are no tiles of one map, else None.
        option_names: its own names of `is_slippery` and `success_rate`, where they differ.
        slips_by_default: whether it is slippery by default.
    """

    actions: tuple[str, ...] = ()
    rows: Callable[[Any], Rows | None] = lambda env: None
    grid: Callable[[Any], GridLayout | None] = lambda env: None
    option_names: Mapping[str, str] = field(default_factory=dict)
    slips_by_default: bool = False


def adapter_of(env_class: type) -> Adapter:
    """Return the adapter of an environment's class or of the nearest of its base classes; an empty one if there is none."""
    return next((ADAPTERS[base] for base in env_class.__mro__ if base in ADAPTERS), Adapter())


def _lake_rows(env: Any) -> Rows | None:
    """The map of a FrozenLake, unless it has other letters than ours."""
    desc = np.asarray(env.desc)
    if desc.dtype.itemsize != 1 or not set(np.unique(desc)) <= {b"S", b"F", b"H", b"G"}:
        return None
    return tuple(b"".join(row).decode() for row in desc)


def _cliff_rows(env: Any) -> Rows | None:
    """The map of a CliffWalking: S, F, G and C for the cliff."""
    letters = np.where(env._cliff, "C", "F")
    letters[np.unravel_index(int(env.start_state_index), env.shape)] = "S"
    letters[-1, -1] = "G"
    return tuple("".join(row) for row in letters)


def taxi_layout(env: Any) -> GridLayout:
    """Return a small map for each place of the passenger (columns, the last for riding) and each destination (rows).

    Where the passenger is at the destination the ride is over: of such a map only the tile where it ended is drawn, as the
    goal, because no other state of it can occur.

    Args:
        env: Gymnasium's `TaxiEnv`, unwrapped, whose states are ((row * 5 + column) * 5 + passenger) * 4 + destination.
    """
    street = np.array(env.desc).astype("U1")[1:-1]  # the tiles stand between their walls: tile, wall, tile, …
    street, between = street[:, 1::2], street[:, 2:-1:2]
    tall, wide = street.shape
    stops = [str(street[stop]) for stop in env.locs]
    riding = len(stops)
    row, column, passenger, destination = np.unravel_index(np.arange(len(env.P)), (tall, wide, riding + 1, riding))
    top, left = destination * (tall + 1) + 1, passenger * (wide + 1)  # a blank row above each map, and a blank column beside it
    ended = np.array([(r, c) == env.locs[d] for r, c, d in zip(row, column, destination, strict=True)])
    drawn = (passenger != destination) | ended
    place = np.where(drawn[:, None], np.stack([top + row, left + column], -1), NOWHERE)

    ground = np.where(street == " ", "F", np.char.lower(street))
    letters = np.full((riding * (tall + 1), (riding + 1) * (wide + 1) - 1), " ")
    letters[tuple(place[drawn].T)] = np.where(passenger == destination, "G", ground[row, column])[drawn]
    walls, waiting, aims, headings = [], [], [], []
    for d, stop in enumerate(env.locs):
        for p in range(riding + 1):
            y, x = d * (tall + 1) + 1, p * (wide + 1)
            if p == d:
                headings.append((y - 1, x, "arrived"))
                continue
            headings.append((y - 1, x, f"{stops[p] if p < riding else 'taxi'} → {stops[d]}"))
            walls += [[(y + r, x + c + 1), (y + r + 1, x + c + 1)] for r, c in np.argwhere(between == "|")]
            aims.append((y + stop[0], x + stop[1]))
            if p < riding:
                waiting.append((y + env.locs[p][0], x + env.locs[p][1]))
    names = tuple(
        f"row {r + 1}, column {c + 1} (passenger {'riding' if p == riding else f'at {stops[p]}'}, to {stops[d]})"
        for r, c, p, d in zip(row, column, passenger, destination, strict=True)
    )
    marks = {"passenger": np.array(waiting), "destination": np.array(aims)}
    return GridLayout(tuple("".join(line) for line in letters), place, np.array(walls), marks, tuple(headings), names)


ADAPTERS: dict[type, Adapter] = {
    FrozenLakeEnv: Adapter(LAKE_ACTIONS, rows=_lake_rows, slips_by_default=True),
    CliffWalkingEnv: Adapter(("up", "right", "down", "left"), rows=_cliff_rows),
    TaxiEnv: Adapter(
        ("south", "north", "east", "west", "pick up", "drop off"),
        grid=taxi_layout,
        option_names={"is_slippery": "is_rainy", "success_rate": "rainy_probability"},
    ),
}
