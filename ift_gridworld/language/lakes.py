"""Many lakes at once, with their exact answers: what breadth-first search from the gift knows of every tile.

A language model is asked to cross a lake that it reads as text, so a data set is thousands of lakes. They are arrays here, and
searched together: `Lakes.distance` and `Lakes.optimal` are `planning.optimal_policy` for every lake of the batch, on ice that
does not slip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.envs.maps import Rows, Size, parse_map
from ift_gridworld.envs.tables import LAKE_ACTIONS, STEPS

LETTERS = "SFHG"
START, FROZEN, HOLE, GOAL = range(4)
FAR = np.iinfo(np.int16).max  # distance of a tile from which no way leads to the gift
CHUNK = 4096  # lakes that are drawn and searched at once
PATIENCE = 60  # chunks in a row without a new lake after which there are no more


@dataclass(frozen=True, eq=False)
class Lakes:
    """Lakes of one size.

    Attributes:
        tiles: of each lake, numbers of letters in `LETTERS`; each has one start and one gift.
    """

    tiles: Int[np.ndarray, "M H W"]

    @classmethod
    def of(cls, maps: Sequence[Rows]) -> Lakes:
        """From maps as text."""
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
        return self.tiles.shape[1], self.tiles.shape[2]

    @property
    def num_states(self) -> int:
        return self.shape[0] * self.shape[1]

    @cached_property
    def flat(self) -> Int[np.ndarray, "M S"]:
        return self.tiles.reshape(len(self), -1)

    @cached_property
    def start(self) -> Int[np.ndarray, " M"]:
        return (self.flat == START).argmax(1)

    @cached_property
    def gift(self) -> Int[np.ndarray, " M"]:
        return (self.flat == GOAL).argmax(1)

    @cached_property
    def next_state(self) -> Int[np.ndarray, "S A"]:
        """Where each move leads on all lakes of this size: a step, into a hole too, or nowhere at the edge."""
        return moves_of(self.shape)

    @cached_property
    def distance(self) -> Int[np.ndarray, "M S"]:
        """Moves from each tile to the gift; FAR where there is no way, holes included."""
        return distances(self.tiles != HOLE, self.gift)

    @cached_property
    def from_start(self) -> Int[np.ndarray, "M S"]:
        """Moves from the start to each tile, going through neither hole nor gift."""
        return distances((self.tiles != HOLE) & (self.tiles != GOAL), self.start)

    @cached_property
    def reachable(self) -> Bool[np.ndarray, "M S"]:
        """SparseStates other than holes and gift that a walk from the start can stand on and from which a way leads on."""
        return (self.from_start < FAR) & (self.distance < FAR) & (self.distance > 0)

    @cached_property
    def optimal(self) -> Float[np.ndarray, "M S A"]:
        """T*(a|s): moves that come nearer to the gift, shared evenly; zeros on the gift, in holes and where no way leads on."""
        ahead = self.distance[:, self.next_state]  # [M, S, A]
        best = (ahead == self.distance[..., None] - 1) & (self.distance[..., None] < FAR)
        return best / np.maximum(best.sum(-1, keepdims=True), 1).astype(np.float32)

    @cached_property
    def detour(self) -> Int[np.ndarray, " M"]:
        """Moves that the shortest way takes beyond those that an empty lake would need."""
        rows, columns = (
            np.abs(a - b) for a, b in zip(*(np.divmod(x, self.shape[1]) for x in (self.start, self.gift)), strict=True)
        )
        return self.distance[np.arange(len(self)), self.start] - (rows + columns)

    def rows(self, index: int) -> Rows:
        """One lake as text."""
        return tuple("".join(LETTERS[tile] for tile in row) for row in self.tiles[index])

    @cached_property
    def names(self) -> list[bytes]:
        """What tells lakes apart."""
        return [tiles.tobytes() for tiles in np.ascontiguousarray(self.tiles)]


def moves_of(shape: tuple[int, int]) -> Int[np.ndarray, "S A"]:
    """[s, a]: the tile that a move from s leads to, s itself at the edge; in the order of `mdp.LAKE_ACTIONS`."""
    row, column = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    found = []
    for action in LAKE_ACTIONS:
        down, right = STEPS[action]
        found.append(np.clip(row + down, 0, shape[0] - 1) * shape[1] + np.clip(column + right, 0, shape[1] - 1))
    return np.stack(found, -1)


def distances(free: Bool[np.ndarray, "M H W"], goal: Int[np.ndarray, " M"]) -> Int[np.ndarray, "M S"]:
    """Steps from every tile to one tile of each lake, through free tiles: all lakes' waves spread at once.

    A tile that is not free has the distance FAR, the goal 0 even if it is not free itself.
    """
    count, height, width = free.shape
    far = np.full((count, height * width), FAR, np.int16)
    far[np.arange(count), goal] = 0
    distance = far.reshape(free.shape)
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
    return far


def draw_lakes(
    count: int,
    size: Size = 4,
    *,
    ice: float = 0.7,
    detours: float = 0.5,
    seed: int = 0,
) -> Lakes:
    """Distinct random lakes that can be crossed; on a share of them the way round the holes is longer than on open ice.

    On most random lakes some shortest way is as short as if there were no hole, so that counting rows and columns would do;
    hence lakes are drawn until the two kinds are there in the shares that were asked for. Start and gift stand on random
    tiles, at least two moves apart.

    Args:
        count: how many.
        size: of a side, or (height, width).
        ice: the chance of a tile to be frozen, in (0, 1].
        detours: share of lakes on which the shortest way is longer than rows plus columns, in [0, 1].
        seed: of everything drawn.

    Raises:
        ValueError: for a value out of range; or if there are no more such lakes (it says how many there are).
    """
    height, width = (size, size) if isinstance(size, int) else size
    for name, value, sound, allowed in (
        ("count", count, count >= 1, "a whole number >= 1"),
        ("size", f"{height}x{width}", height * width >= 4 and min(height, width) >= 1, "at least four tiles"),
        ("ice", ice, 0 < ice <= 1, "(0, 1]"),
        ("detours", detours, 0 <= detours <= 1, "[0, 1]"),
    ):
        if not sound:
            raise ValueError(f"{name} is {value}; allowed: {allowed}")
    random = np.random.default_rng(seed)
    known: set[bytes] = set()
    wanted = {True: round(detours * count), False: count - round(detours * count)}
    kept: dict[bool, list[np.ndarray]] = {True: [], False: []}
    idle = 0
    while any(len(kept[kind]) < wanted[kind] for kind in kept):
        drawn = Lakes(_random_tiles(random, height, width, ice))
        drawn = drawn[
            (drawn.distance[np.arange(CHUNK), drawn.start] < FAR) & (drawn.distance[np.arange(CHUNK), drawn.start] > 1)
        ]
        before = len(known)
        for tiles, seen, longer in zip(drawn.tiles, drawn.names, (drawn.detour > 0).tolist(), strict=True):
            if len(kept[longer]) < wanted[longer] and seen not in known:
                known.add(seen)
                kept[longer].append(tiles)
        idle = idle + 1 if len(known) == before else 0
        if idle == PATIENCE:
            short = ", ".join(
                f"{len(kept[kind])} of {wanted[kind]} {'with' if kind else 'without'} a detour" for kind in kept if wanted[kind]
            )
            raise ValueError(
                f"there are too few distinct {height}x{width} lakes at ice {ice}: found {short}, and no new one among the last "
                f"{PATIENCE * CHUNK:,}; ask for fewer or larger ones, or for other shares of ice and detours"
            )
    found = np.stack(kept[True] + kept[False])
    return Lakes(found[random.permutation(count)])


def _random_tiles(random: np.random.Generator, height: int, width: int, ice: float) -> Int[np.ndarray, "M H W"]:
    tiles = np.where(random.random((CHUNK, height * width)) < ice, FROZEN, HOLE).astype(np.int8)
    start = random.integers(height * width, size=CHUNK)
    gift = (start + random.integers(1, height * width, size=CHUNK)) % (height * width)
    tiles[np.arange(CHUNK), start], tiles[np.arange(CHUNK), gift] = START, GOAL
    return tiles.reshape(CHUNK, height, width)


# ---- walks ----

NO_MOVE = -1  # where a walk is over


def walk(
    lakes: Lakes,
    noise: float | Float[np.ndarray, " M"] = 0.0,
    *,
    seed: int = 0,
    limit: int | None = None,
) -> Int[np.ndarray, "M T"]:
    """One walk on each lake by an optimal policy that shares ties evenly, and takes any move with a chance of `noise`.

    Args:
        noise: share of steps that are random, of all lakes or of each; 0 is optimal.
        seed: of the draws.
        limit: steps after which a walk is cut off (default: twice the sides' sum).

    Returns:
        The moves, NO_MOVE after a walk has reached the gift or a hole.
    """
    random = np.random.default_rng(seed)
    limit = 2 * sum(lakes.shape) if limit is None else limit
    row, here = np.arange(len(lakes)), lakes.start.copy()
    noise = np.broadcast_to(np.asarray(noise, float), here.shape)[:, None]
    moves = np.full((len(lakes), limit), NO_MOVE, np.int8)
    alive = np.ones(len(lakes), bool)
    for step in range(limit):
        chance = (1 - noise) * lakes.optimal[row, here] + noise / lakes.next_state.shape[1]
        bound = chance.cumsum(-1)
        draw = random.random((len(lakes), 1)) * bound[:, -1:]  # a cut-off tile has no best move: there noise alone acts
        action = np.minimum((draw >= bound).sum(-1), bound.shape[1] - 1)
        moves[alive, step] = action[alive]
        here = np.where(alive, lakes.next_state[here, action], here)
        alive &= (lakes.flat[row, here] != HOLE) & (lakes.flat[row, here] != GOAL)
        if not alive.any():
            return moves[:, : step + 1]
    return moves


def tiles_along(lakes: Lakes, moves: Int[np.ndarray, "M T"]) -> Int[np.ndarray, "M T+1"]:
    """The tile before each move, and after the last; a walk that is over stays."""
    here = [lakes.start]
    for action in moves.T:
        here.append(np.where(action >= 0, lakes.next_state[here[-1], action], here[-1]))
    return np.stack(here, -1)
