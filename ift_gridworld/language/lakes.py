"""Many lakes at once, with their exact answers: what breadth-first search from the goal knows of every tile.

A language model is asked to cross a lake that it reads as text, so a data set is thousands of lakes. They are arrays here and
are searched together: `Lakes.distance` and `Lakes.optimal` are `planning.optimal_policy` for every lake of the batch, on
deterministic lakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.envs.adapters import STEPS
from ift_gridworld.envs.maps import Rows, Size, parse_map
from ift_gridworld.envs.tables import LAKE_ACTIONS

__all__ = [
    "FROZEN_CODE",
    "GOAL_CODE",
    "HOLE_CODE",
    "LETTERS",
    "NO_MOVE",
    "START_CODE",
    "UNREACHABLE",
    "Lakes",
    "distances",
    "draw_lakes",
    "move_table",
    "tiles_along",
    "walk",
]

LETTERS = "SFHG"
START_CODE, FROZEN_CODE, HOLE_CODE, GOAL_CODE = range(len(LETTERS))  # what `Lakes.tiles` holds for each letter
UNREACHABLE = np.iinfo(np.int16).max  # distance of a tile from which no path leads to the goal
NO_MOVE = -1  # fills a walk after its end
CHUNK = 4096  # lakes that are drawn and searched at once
PATIENCE = 60  # chunks in a row without a new lake after which drawing gives up


@dataclass(frozen=True, eq=False)
class Lakes:
    """A batch of M lakes of one size, H by W, with S = H W tiles each.

    >>> lakes = Lakes.of([("SFG", "FHF")])
    >>> lakes.distance.tolist()
    [[2, 1, 0, 3, 32767, 1]]
    >>> lakes.optimal[0, 3].tolist()  # left, down, right, up
    [0.0, 0.0, 0.0, 1.0]

    Attributes:
        tiles: index in `LETTERS` of each tile's letter; each lake has one start and one goal.
    """

    tiles: Int[np.ndarray, "M H W"]

    @classmethod
    def of(cls, maps: Sequence[Rows]) -> Lakes:
        """Read lakes from maps as text.

        Raises:
            ValueError: if a map is invalid, has several starts or goals, or is not of the size of the others.
        """
        rows = [parse_map(one) for one in maps]
        if len({(len(r), len(r[0])) for r in rows}) != 1:
            raise ValueError(f"maps of sizes {sorted({f'{len(r)}x{len(r[0])}' for r in rows})}; allowed: one size")
        for number, text in enumerate("".join(r) for r in rows):
            if text.count("S") != 1 or text.count("G") != 1:
                raise ValueError(f"map {number} has {text.count('S')} S and {text.count('G')} G; allowed: one of each")
        return cls(np.array([[[LETTERS.index(letter) for letter in row] for row in r] for r in rows], np.int8))

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: slice | Int[np.ndarray, " K"] | Bool[np.ndarray, " M"]) -> Lakes:
        return Lakes(self.tiles[index])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of each lake."""
        return self.tiles.shape[1], self.tiles.shape[2]

    @property
    def num_states(self) -> int:
        """Number of tiles of each lake, S."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def flat(self) -> Int[np.ndarray, "M S"]:
        """`tiles` with one axis for all tiles, row by row."""
        return self.tiles.reshape(len(self), -1)

    @cached_property
    def start(self) -> Int[np.ndarray, " M"]:
        """Tile of each start."""
        return (self.flat == START_CODE).argmax(1)

    @cached_property
    def goal(self) -> Int[np.ndarray, " M"]:
        """Tile of each goal."""
        return (self.flat == GOAL_CODE).argmax(1)

    @cached_property
    def next_state(self) -> Int[np.ndarray, "S A"]:
        """Tile that each move leads to, the same on all lakes of this size (`move_table`)."""
        return move_table(self.shape)

    @cached_property
    def distance(self) -> Int[np.ndarray, "M S"]:
        """Number of moves from each tile to the goal; `UNREACHABLE` where no path leads there, holes included."""
        return distances(self.tiles != HOLE_CODE, self.goal)

    @cached_property
    def from_start(self) -> Int[np.ndarray, "M S"]:
        """Number of moves from the start to each tile, through neither hole nor goal."""
        return distances((self.tiles != HOLE_CODE) & (self.tiles != GOAL_CODE), self.start)

    @cached_property
    def reachable(self) -> Bool[np.ndarray, "M S"]:
        """Tiles, other than holes and the goal, that a walk from the start can reach and from which it can reach the goal."""
        return (self.from_start < UNREACHABLE) & (self.distance < UNREACHABLE) & (self.distance > 0)

    @cached_property
    def optimal(self) -> Float[np.ndarray, "M S A"]:
        """T*(a|s): moves that come nearer to the goal, ties shared evenly; zeros on the goal, in holes and where it is out
        of reach."""
        ahead = self.distance[:, self.next_state]  # [M, S, A]
        best = (ahead == self.distance[..., None] - 1) & (self.distance[..., None] < UNREACHABLE)
        return best / np.maximum(best.sum(-1, keepdims=True), 1).astype(np.float32)

    @cached_property
    def detour(self) -> Int[np.ndarray, " M"]:
        """Number of moves that a shortest path takes beyond those that the lake without holes would need."""
        rows, columns = (
            np.abs(a - b) for a, b in zip(*(np.divmod(x, self.shape[1]) for x in (self.start, self.goal)), strict=True)
        )
        return self.distance[np.arange(len(self)), self.start] - (rows + columns)

    def rows(self, index: int) -> Rows:
        """Return one lake as text."""
        return tuple("".join(LETTERS[tile] for tile in row) for row in self.tiles[index])

    @cached_property
    def fingerprints(self) -> list[bytes]:
        """Bytes that identify each lake among lakes of its size."""
        return [tiles.tobytes() for tiles in np.ascontiguousarray(self.tiles)]


def move_table(shape: tuple[int, int]) -> Int[np.ndarray, "S A"]:
    """Return the tile that each move from each tile leads to, s itself at the edge; moves in the order of `LAKE_ACTIONS`.

    >>> move_table((1, 2)).tolist()  # left, down, right, up
    [[0, 0, 1, 0], [0, 1, 1, 1]]
    """
    row, column = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    destinations = []
    for action in LAKE_ACTIONS:
        down, right = STEPS[action]
        destinations.append(np.clip(row + down, 0, shape[0] - 1) * shape[1] + np.clip(column + right, 0, shape[1] - 1))
    return np.stack(destinations, -1)


def distances(free: Bool[np.ndarray, "M H W"], target: Int[np.ndarray, " M"]) -> Int[np.ndarray, "M S"]:
    """Count the moves from every tile to one target tile of each lake, through free tiles, by breadth-first search.

    Args:
        free: tiles that can be entered.
        target: one tile a lake.

    Returns:
        The distances; `UNREACHABLE` for a tile that is not free, 0 for the target even if it is not free itself.
    """
    count, height, width = free.shape
    result = np.full((count, height * width), UNREACHABLE, np.int16)
    result[np.arange(count), target] = 0
    distance = result.reshape(free.shape)
    wave = distance == 0
    unseen = free & ~wave
    for step in range(1, height * width):
        spread = np.zeros_like(wave)
        spread[:, 1:] |= wave[:, :-1]
        spread[:, :-1] |= wave[:, 1:]
        spread[:, :, 1:] |= wave[:, :, :-1]
        spread[:, :, :-1] |= wave[:, :, 1:]
        wave = spread & unseen
        if not wave.any():
            break
        distance[wave] = step
        unseen &= ~wave
    return result


def draw_lakes(count: int, size: Size = 4, *, ice: float = 0.7, detours: float = 0.5, seed: int = 0) -> Lakes:
    """Draw distinct random lakes that can be crossed; on a share of them holes make the shortest path longer.

    On most random lakes some shortest path is as short as if there were no hole, so that counting rows and columns would
    suffice. Hence lakes are drawn until both kinds have the shares that are asked for. Start and goal are on random tiles,
    at least two moves apart.

    Args:
        count: number of lakes, M.
        size: tiles of a side, or (height, width).
        ice: probability of a tile to be frozen, in (0, 1].
        detours: share of lakes on which the shortest path is longer than rows plus columns, in [0, 1].
        seed: seed of everything drawn.

    Raises:
        ValueError: if a value is out of range, or if there are too few such lakes (the message says how many).

    >>> lakes = draw_lakes(6, 4, detours=0.5, seed=1)
    >>> len(lakes), int((lakes.detour > 0).sum())
    (6, 3)
    """
    height, width = _checked_size(count, size, ice, detours)
    random = np.random.default_rng(seed)
    seen: set[bytes] = set()
    wanted = {True: round(detours * count), False: count - round(detours * count)}  # by whether there is a detour
    chosen: dict[bool, list[np.ndarray]] = {True: [], False: []}
    chunks_without_news = 0
    while any(len(chosen[kind]) < wanted[kind] for kind in chosen):
        lakes = Lakes(_random_tiles(random, height, width, ice))
        length = lakes.distance[np.arange(CHUNK), lakes.start]
        lakes = lakes[(length < UNREACHABLE) & (length > 1)]
        before = len(seen)
        for tiles, fingerprint, longer in zip(lakes.tiles, lakes.fingerprints, (lakes.detour > 0).tolist(), strict=True):
            if len(chosen[longer]) < wanted[longer] and fingerprint not in seen:
                seen.add(fingerprint)
                chosen[longer].append(tiles)
        chunks_without_news = chunks_without_news + 1 if len(seen) == before else 0
        if chunks_without_news == PATIENCE:
            short = ", ".join(
                f"{len(chosen[kind])} of {wanted[kind]} {'with' if kind else 'without'} a detour"
                for kind in chosen
                if wanted[kind]
            )
            raise ValueError(
                f"there are too few distinct {height}x{width} lakes at ice {ice}: found {short}, and no new one among the last "
                f"{PATIENCE * CHUNK:,}; ask for fewer or larger ones, or for other shares of ice and detours"
            )
    return Lakes(np.stack(chosen[True] + chosen[False])[random.permutation(count)])


def _checked_size(count: int, size: Size, ice: float, detours: float) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    for name, value, sound, allowed in (
        ("count", count, count >= 1, "a whole number >= 1"),
        ("size", f"{height}x{width}", height * width >= 4 and min(height, width) >= 1, "at least four tiles"),
        ("ice", ice, 0 < ice <= 1, "(0, 1]"),
        ("detours", detours, 0 <= detours <= 1, "[0, 1]"),
    ):
        if not sound:
            raise ValueError(f"{name} is {value}; allowed: {allowed}")
    return height, width


def _random_tiles(random: np.random.Generator, height: int, width: int, ice: float) -> Int[np.ndarray, "M H W"]:
    tiles = np.where(random.random((CHUNK, height * width)) < ice, FROZEN_CODE, HOLE_CODE).astype(np.int8)
    start = random.integers(height * width, size=CHUNK)
    goal = (start + random.integers(1, height * width, size=CHUNK)) % (height * width)
    tiles[np.arange(CHUNK), start], tiles[np.arange(CHUNK), goal] = START_CODE, GOAL_CODE
    return tiles.reshape(CHUNK, height, width)


def walk(
    lakes: Lakes,
    noise: float | Float[np.ndarray, " M"] = 0.0,
    *,
    seed: int = 0,
    limit: int | None = None,
) -> Int[np.ndarray, "M T"]:
    """Walk once on each lake by the optimal policy, ties shared evenly, mixed with random moves.

    >>> walk(Lakes.of([("SFG", "FHF")])).tolist()
    [[2, 2]]

    Args:
        lakes: the lakes.
        noise: probability of a random move at each step, one for all lakes or one a lake; 0 is optimal.
        seed: seed of the draws.
        limit: time limit in steps (default: twice the sum of the sides).

    Returns:
        The moves, `NO_MOVE` after a walk has reached the goal or a hole.
    """
    random = np.random.default_rng(seed)
    limit = 2 * sum(lakes.shape) if limit is None else limit
    row, position = np.arange(len(lakes)), lakes.start.copy()
    noise = np.broadcast_to(np.asarray(noise, float), position.shape)[:, None]
    moves = np.full((len(lakes), limit), NO_MOVE, np.int8)
    alive = np.ones(len(lakes), bool)
    for step in range(limit):
        chance = (1 - noise) * lakes.optimal[row, position] + noise / lakes.next_state.shape[1]
        bound = chance.cumsum(-1)
        draw = random.random((len(lakes), 1)) * bound[:, -1:]  # a cut-off tile has no best move: only noise acts there
        action = np.minimum((draw >= bound).sum(-1), bound.shape[1] - 1)
        moves[alive, step] = action[alive]
        position = np.where(alive, lakes.next_state[position, action], position)
        alive &= (lakes.flat[row, position] != HOLE_CODE) & (lakes.flat[row, position] != GOAL_CODE)
        if not alive.any():
            return moves[:, : step + 1]
    return moves


def tiles_along(lakes: Lakes, moves: Int[np.ndarray, "M T"]) -> Int[np.ndarray, "M T+1"]:
    """Return the tile before each move, and after the last; a negative move stays where it is.

    >>> tiles_along(Lakes.of([("SFG", "FHF")]), np.array([[2, 2, NO_MOVE]])).tolist()
    [[0, 1, 2, 2]]
    """
    tiles = [lakes.start]
    for action in moves.T:
        tiles.append(np.where(action >= 0, lakes.next_state[tiles[-1], action], tiles[-1]))
    return np.stack(tiles, -1)
