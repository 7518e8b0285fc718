"""Place at which each state is drawn: on a lake, its own tile; elsewhere, as the environment's layout says.

All pictures go by a `GridLayout`, so that what has no map of its own is drawn by the same code as a lake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

__all__ = ["NOWHERE", "GridLayout"]

NOWHERE = -1  # row and column of a state that cannot occur


@dataclass(frozen=True, eq=False)
class GridLayout:
    """Tiles in rows and columns, and the tile of each state.

    Attributes:
        rows: letters of the tiles: S start, F ground, H hole, C cliff, G goal; r, g, y, b ground that is a place of that
            colour; a blank where there is no tile.
        place: (row, column) of each state's tile; NOWHERE for a state that cannot occur, which is not drawn.
        walls: the two ends, corners of tiles as (row, column), of each wall that tiles are parted by.
        marks: tiles, (row, column), on which something stands: "passenger", "destination".
        headings: words on tiles that are blank: row, first column, text.
        names: of each state, if row and column would not tell.

    Raises:
        ValueError: for ragged rows, or a state placed outside them.
    """

    rows: tuple[str, ...]
    place: Int[np.ndarray, "S 2"]
    walls: Int[np.ndarray, "W 2 2"] = field(default_factory=lambda: np.zeros((0, 2, 2), int))
    marks: Mapping[str, Int[np.ndarray, "n 2"]] = field(default_factory=dict)
    headings: tuple[tuple[int, int, str], ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.rows or len({len(row) for row in self.rows}) != 1:
            raise ValueError(f"rows have lengths {sorted({len(row) for row in self.rows})}; allowed: one length for all")
        place = np.asarray(self.place)
        if place.ndim != 2 or place.shape[1] != 2:
            raise ValueError(f"place has shape {place.shape}; allowed: [S, 2], the row and column of each state")
        outside = (place < NOWHERE) | (place >= (self.height, self.width))
        if outside.any():
            state = int(outside.any(1).argmax())
            raise ValueError(
                f"state {state} is placed at {tuple(place[state].tolist())}, outside {self.height}x{self.width} tiles"
            )

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
        """Return the name by which a reader finds the state."""
        row, column = self.place[state]
        return self.names[state] if self.names else f"row {row + 1}, column {column + 1}"
