"""Maps of lakes: rows of the letters ``S`` start, ``F`` frozen, ``H`` hole, ``G`` goal; named, drawn at random, or read."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gymnasium.envs.toy_text.frozen_lake import MAPS

from ift_gridworld.checks import check_probability, check_whole

Rows = tuple[str, ...]
START, FROZEN, HOLE, GOAL = b"SFHG"
Size = int | tuple[int, int]
LAKES: dict[str, Rows] = {
    "two-paths": ("SFFF", "FHHF", "FHHG", "FFFF"),  # two_paths(4)
    "4x4": tuple(MAPS["4x4"]),
    "8x8": tuple(MAPS["8x8"]),
    "open": ("SFFFFFFF", *["FFFFFFFF"] * 6, "FFFFFFFG"),  # open_lake(8)
    "bridge": ("FFFFFFFF", "FFFFFFFF", *["FFHHHHFF"] * 4, "SFFFFFFG", "FFHHHHFF"),  # bridge(8)
}


def time_limit(rows: Sequence[str]) -> int:
    """Steps after which an episode is cut: 25 a tile of mean side length, Gymnasium's 100 for 4x4 and 200 for 8x8."""
    return max(100, 25 * (len(rows) + len(rows[0])) // 2)


def read_map(path: str | Path) -> Rows:
    """Read a map from a text file, one row a line; blank lines are skipped."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"map file {path}: cannot be read as text ({error})") from error
    try:
        return parse_map([line.strip() for line in lines if line.strip()])
    except ValueError as error:
        raise ValueError(f"map file {path}: {error}") from error


def parse_map(rows: Sequence[str] | np.ndarray) -> Rows:
    """Check a map and return it as a tuple of rows.

    Args:
        rows: strings, or letter by letter, as Gymnasium's ``env.unwrapped.desc`` has them.

    Raises:
        ValueError: naming the first thing wrong: no rows, ragged rows, unknown letters, no S, no G, no way from S to G.
    """
    try:
        rows = tuple(row if isinstance(row, str) else "".join(np.asarray(row).astype(str).ravel()) for row in rows)
    except TypeError:
        raise ValueError(f"the map is {rows!r}; allowed: rows of the letters S, F, H, G") from None
    if not rows or not rows[0]:
        raise ValueError("the map is empty; allowed: rows of the letters S, F, H, G")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} ({row!r}) has {len(row)} tiles, row 1 has {len(rows[0])}; all must be equal")
    text = "".join(rows)
    if text.encode(errors="replace").translate(None, b"SFHG"):
        wrong = next(i for i, letter in enumerate(text) if letter not in "SFHG")
        raise ValueError(f"row {wrong // len(rows[0]) + 1} has the letter {text[wrong]!r}; allowed: S, F, H, G")
    for letter, meaning in (("S", "start"), ("G", "goal")):
        if letter not in text:
            raise ValueError(f"the map has no {letter} ({meaning}); it needs at least one")
    if not _has_way(rows):
        raise ValueError("the map has no way from S to G; every way is cut by holes (H)")
    return rows


def two_paths(size: Size = 4) -> Rows:
    """The paper's game as a ring: one optimal and one sub-optimal way to the gift, nothing else walkable.

    The start is a corner, the gift lies in the far column, so the way over the top is shorter than the way round the bottom
    (for 4: 5 steps against 7).

    Args:
        size: n or (rows, columns), each at least 3.
    """
    rows, columns = as_shape(size, at_least=3)
    grid = np.full((rows, columns), "F")
    grid[1:-1, 1:-1] = "H"
    grid[0, 0], grid[rows // 2, -1] = "S", "G"
    return _as_rows(grid)


def open_lake(size: Size = 8) -> Rows:
    """Nothing but ice, start and gift in opposite corners: every way that never turns back is as good as any other.

    Args:
        size: n or (rows, columns), each at least 2.
    """
    rows, columns = as_shape(size, at_least=2)
    grid = np.full((rows, columns), "F")
    grid[0, 0], grid[-1, -1] = "S", "G"
    return _as_rows(grid)


def bridge(size: Size = 8) -> Rows:
    """Water between two banks: a bridge one tile wide straight to the gift, and a long way round over land two tiles wide.

    On land no slip need lead into the water, on the bridge every slip does. So firm ice is crossed by the bridge, and where
    it slips often enough the way round is the better one.

    Args:
        size: n or (rows, columns), each at least 5; the bridge is columns - 4 tiles long.
    """
    rows, columns = as_shape(size, at_least=5)
    grid = np.full((rows, columns), "F")
    grid[2:, 2:-2] = "H"
    grid[-2, 2:-2] = "F"
    grid[-2, 0], grid[-2, -1] = "S", "G"
    return _as_rows(grid)


def random_map(size: Size, *, frozen: float = 0.8, seed: int | None = None, max_tries: int = 10_000) -> Rows:
    """A random lake with a way from S (first tile) to G (last tile); for a square, Gymnasium's own for that seed.

    Args:
        size: n or (rows, columns).
        frozen: probability that a tile is frozen, in (0, 1].
        seed: of the map; None draws a fresh one.
        max_tries: maps drawn before giving up.
    """
    rows, columns = as_shape(size, at_least=2)
    check_probability("frozen", frozen)
    if seed is not None:
        check_whole("the map's seed", seed, at_least=0)
    random = np.random.default_rng(seed)
    for _ in range(max_tries):
        grid = random.choice(["F", "H"], (rows, columns), p=[frozen, 1 - frozen])
        grid[0, 0], grid[-1, -1] = "S", "G"
        candidate = _as_rows(grid)
        if _has_way(candidate):
            return candidate
    raise ValueError(f"no {rows}x{columns} map with a way from S to G in {max_tries} tries at frozen={frozen}; raise it")


def parse_size(text: str) -> tuple[int, int]:
    """``"6x9"`` or ``"6"`` as (rows, columns)."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if match is None:
        raise ValueError(f"size {text!r}; allowed: a number (8) or rows x columns (6x9)")
    return int(match[1]), int(match[2] or match[1])


def as_shape(size: Size, at_least: int = 2) -> tuple[int, int]:
    try:
        rows, columns = map(operator.index, size if isinstance(size, Sequence) else (size, size))
    except (TypeError, ValueError):
        raise ValueError(f"size is {size!r}; allowed: n or (rows, columns), whole numbers") from None
    if min(rows, columns) < at_least:
        raise ValueError(f"size {rows}x{columns}; allowed: at least {at_least} tiles a side")
    return rows, columns


def as_grid(rows: Sequence[str]) -> np.ndarray:
    """The letters of a map as numbers (`START` and so on), [H, W]."""
    return np.frombuffer("".join(rows).encode("ascii"), np.uint8).reshape(len(rows), -1)


def _as_rows(grid: np.ndarray) -> Rows:
    return tuple("".join(row) for row in grid)


def _has_way(rows: Rows) -> bool:
    """Whether one stretch of ice holds a start and a goal."""
    from scipy.ndimage import label  # loaded where it is needed

    grid = as_grid(rows)
    pond, _ = label(grid != HOLE)  # numbered from 1; holes are 0
    return bool(np.isin(pond[grid == START], pond[grid == GOAL]).any())
