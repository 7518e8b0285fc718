"""Where each state is drawn: on a lake, on the tile that it is; for a taxi, on small maps by passenger and destination.

All pictures go by a `GridLayout`, so that what has no map of its own is drawn by the same code as a lake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

__all__ = ["NOWHERE", "GridLayout", "taxi_layout"]

NOWHERE = -1  # row and column of a state that cannot occur


@dataclass(frozen=True, eq=False)
class GridLayout:
    """Tiles in rows and columns, and the tile of each state.

    Attributes:
        rows: letters of the tiles: S start, F ground, H hole, C cliff, G gift; r, g, y, b ground that is a place of that
            colour; a blank where there is no tile.
        place: (row, column) of each state's tile; NOWHERE for a state that cannot occur, which is not drawn.
        walls: the two ends, corners of tiles as (row, column), of each wall that tiles are parted by.
        marks: tiles, (row, column), on which something stands: "passenger", "destination".
        headings: words on tiles that are blank: row, first column, text.
        names: of each state, if row and column would not tell.
    """

    rows: tuple[str, ...]
    place: Int[np.ndarray, "S 2"]
    walls: Int[np.ndarray, "W 2 2"] = field(default_factory=lambda: np.zeros((0, 2, 2), int))
    marks: Mapping[str, Int[np.ndarray, "n 2"]] = field(default_factory=dict)
    headings: tuple[tuple[int, int, str], ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[str]) -> GridLayout:
        """A grid whose tiles are the states, row by row."""
        count = len(rows) * len(rows[0])
        return cls(tuple(rows), np.stack(np.divmod(np.arange(count), len(rows[0])), -1))

    @property
    def height(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        return len(self.rows[0])

    @cached_property
    def tiles(self) -> np.ndarray:
        """The letters as an array [height, width]."""
        return np.frombuffer("".join(self.rows).encode(), "S1").astype("U1").reshape(self.height, self.width)

    @cached_property
    def letters(self) -> np.ndarray:
        """The letter of each state's tile, [S]; a blank for a state that is not drawn."""
        return np.where(self.place[:, 0] == NOWHERE, " ", self.tiles[tuple(self.place.T)])

    def name(self, state: int) -> str:
        """What a reader finds the state by."""
        row, column = self.place[state]
        return self.names[state] if self.names else f"row {row + 1}, column {column + 1}"


def taxi_layout(env: Any) -> GridLayout:
    """A small map for each place of the passenger (a column each, the last for riding) and each destination (a row each).

    Where the passenger is at the destination the ride is over: of such a map only the tile where it ended is drawn, as the
    gift, for no other state of it can occur.

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
