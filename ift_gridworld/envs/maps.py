"""Maps of lakes: rows of the letters ``S`` start, ``F`` frozen, ``H`` hole, ``G`` goal; named, drawn at random, or read.

`LAKES` names the maps that come with the package. A map is a tuple of strings of equal length, with at least one start, one
goal, and a way between them.
"""

from __future__ import annotations

import operator
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gymnasium.envs.toy_text.frozen_lake import MAPS

from ift_gridworld.checks import check_memory, check_probability, check_whole
from ift_gridworld.escape import one_line

__all__ = [
    "FROZEN",
    "GOAL",
    "HOLE",
    "LAKES",
    "START",
    "Rows",
    "Size",
    "as_grid",
    "as_shape",
    "bridge",
    "open_lake",
    "parse_map",
    "parse_size",
    "random_map",
    "read_map",
    "time_limit",
    "two_paths",
]

Rows = tuple[str, ...]
START, FROZEN, HOLE, GOAL = b"SFHG"
Size = int | tuple[int, int]
BYTES_PER_TILE = 100  # the least that an MDP takes: four actions with a successor, a probability, a reward and an end each
LAKES: dict[str, Rows] = {
    "two-paths": ("SFFF", "FHHF", "FHHG", "FFFF"),  # two_paths(4)
    "4x4": tuple(MAPS["4x4"]),
    "8x8": tuple(MAPS["8x8"]),
    "open": ("SFFFFFFF", *["FFFFFFFF"] * 6, "FFFFFFFG"),  # open_lake(8)
    "bridge": ("FFFFFFFF", "FFFFFFFF", *["FFHHHHFF"] * 4, "SFFFFFFG", "FFHHHHFF"),  # bridge(8)
}


def time_limit(rows: Sequence[str]) -> int:
    """Return the time limit in steps: 25 per tile of mean side length, at least 100; Gymnasium's 100 for 4x4, 200 for 8x8.

    Example:
        >>> time_limit(LAKES["4x4"]), time_limit(LAKES["8x8"])
        (100, 200)
    """
    return max(100, 25 * (len(rows) + len(rows[0])) // 2)


def read_map(path: str | Path) -> Rows:
    """Read a map from a text file, one row per line; blank lines are skipped.

    Raises:
        ValueError: for a file that cannot be read as text, or a map that `parse_map` refuses; the file is named.

    Example:
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile("w", suffix=".txt") as file:
        ...     print("SF", "FG", sep=chr(10), file=file, flush=True)
        ...     read_map(file.name)
        ('SF', 'FG')
    """
    from ift_gridworld.reading import LARGE, read_text  # loaded where it is needed

    try:
        lines = read_text(path, LARGE).splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"map file {path}: cannot be read as text ({one_line(error)})") from error
    try:
        return parse_map([line.strip() for line in lines if line.strip()])
    except ValueError as error:
        raise ValueError(f"map file {path}: {one_line(error)}") from error


def parse_map(rows: Sequence[str] | np.ndarray) -> Rows:
    """Check a map and return it as a tuple of rows.

    Args:
        rows: strings, or letter by letter, as Gymnasium's ``env.unwrapped.desc`` has them; spaces between letters are dropped.

    Raises:
        ValueError: naming the first mistake: one string instead of rows, no rows, ragged rows, unknown letters, no S, no G, no
            way from S to G.

    Example:
        >>> parse_map(["S F F", "H H G"])
        ('SFF', 'HHG')
    """
    if isinstance(rows, str | bytes):
        raise ValueError(f"the map is {reprlib.repr(rows)}, one string; allowed: a sequence of rows, such as ['SFF', 'HHG']")
    try:
        texts = (row if isinstance(row, str) else "".join(np.asarray(row).astype(str).ravel()) for row in rows)
        rows = tuple("".join(text.split()) for text in texts)
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
    """Return the paper's game as a ring: one optimal and one sub-optimal way to the goal, nothing else walkable.

    The start is a corner and the goal lies in the far column, so that the way over the top is shorter than the way round the
    bottom (for 4: 5 steps against 7).

    Args:
        size: n or (rows, columns), each at least 3.

    Raises:
        ValueError: for a size that is not allowed.

    Example:
        >>> two_paths(4)
        ('SFFF', 'FHHF', 'FHHG', 'FFFF')
    """
    rows, columns = as_shape(size, at_least=3)
    grid = np.full((rows, columns), "F")
    grid[1:-1, 1:-1] = "H"
    grid[0, 0], grid[rows // 2, -1] = "S", "G"
    return _as_rows(grid)


def open_lake(size: Size = 8) -> Rows:
    """Return a lake without holes, start and goal in opposite corners: every way that never turns back is optimal.

    Args:
        size: n or (rows, columns), each at least 2.

    Raises:
        ValueError: for a size that is not allowed.

    Example:
        >>> open_lake((2, 3))
        ('SFF', 'FFG')
    """
    rows, columns = as_shape(size, at_least=2)
    grid = np.full((rows, columns), "F")
    grid[0, 0], grid[-1, -1] = "S", "G"
    return _as_rows(grid)


def bridge(size: Size = 8) -> Rows:
    """Return a lake with a bridge one tile wide straight to the goal, and a long way round that is two tiles wide.

    On the way round no slip need lead into a hole, on the bridge every slip does. So the bridge is optimal without slip, and
    the way round where moves slip often enough.

    Args:
        size: n or (rows, columns), each at least 5; the bridge is columns - 4 tiles long.

    Raises:
        ValueError: for a size that is not allowed.

    Example:
        >>> bridge(5)
        ('FFFFF', 'FFFFF', 'FFHFF', 'SFFFG', 'FFHFF')
    """
    rows, columns = as_shape(size, at_least=5)
    grid = np.full((rows, columns), "F")
    grid[2:, 2:-2] = "H"
    grid[-2, 2:-2] = "F"
    grid[-2, 0], grid[-2, -1] = "S", "G"
    return _as_rows(grid)


def random_map(size: Size, *, frozen: float = 0.8, seed: int | None = None, max_tries: int = 10_000) -> Rows:
    """Return a random lake with a way from S (first tile) to G (last tile); for a square, Gymnasium's own for that seed.

    Args:
        size: n or (rows, columns), each at least 2.
        frozen: probability that a tile is frozen, in (0, 1].
        seed: of the map; None draws a fresh one.
        max_tries: maps drawn before giving up.

    Raises:
        ValueError: for a size, a probability or a seed that is not allowed, or if no map with a way is drawn.

    Example:
        >>> random_map((2, 5), frozen=0.6, seed=0)
        ('SFFFH', 'HHHFG')
    """
    rows, columns = as_shape(size, at_least=2)
    frozen = check_probability("frozen", frozen)
    if seed is not None:
        seed = check_whole("the map's seed", seed, at_least=0)
    random = np.random.default_rng(seed)
    for _ in range(max_tries):
        grid = random.choice(["F", "H"], (rows, columns), p=[frozen, 1 - frozen])
        grid[0, 0], grid[-1, -1] = "S", "G"
        candidate = _as_rows(grid)
        if _has_way(candidate):
            return candidate
    raise ValueError(f"no {rows}x{columns} map with a way from S to G in {max_tries} tries at frozen={frozen}; raise it")


def parse_size(text: str) -> tuple[int, int]:
    """Return ``"6x9"`` or ``"6"`` as (rows, columns).

    Raises:
        ValueError: for any other text.

    Example:
        >>> parse_size("6x9"), parse_size("6")
        ((6, 9), (6, 6))
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if match is None:
        raise ValueError(f"size {text!r}; allowed: a number (8) or rows x columns (6x9)")
    return int(match[1]), int(match[2] or match[1])


def as_shape(size: Size, at_least: int = 2) -> tuple[int, int]:
    """Return a size as (rows, columns).

    Raises:
        ValueError: for what is not one or two whole numbers, fewer tiles a side than `at_least`, or more than this machine's
            memory holds.

    Example:
        >>> as_shape(4), as_shape((2, 3))
        ((4, 4), (2, 3))
    """
    try:
        rows, columns = map(operator.index, size if isinstance(size, Sequence) else (size, size))
    except (TypeError, ValueError):
        raise ValueError(f"size is {size!r}; allowed: n or (rows, columns), whole numbers") from None
    if min(rows, columns) < at_least:
        raise ValueError(f"size {rows}x{columns}; allowed: at least {at_least} tiles a side")
    check_memory(BYTES_PER_TILE * rows * columns, f"size {rows}x{columns}", "fewer tiles")
    return rows, columns


def as_grid(rows: Sequence[str]) -> np.ndarray:
    """Return the letters of a map as numbers (`START` and so on), [H, W].

    Example:
        >>> as_grid(("SF", "HG")) == GOAL
        array([[False, False],
               [False,  True]])
    """
    return np.frombuffer("".join(rows).encode("ascii"), np.uint8).reshape(len(rows), -1)


def _as_rows(grid: np.ndarray) -> Rows:
    return tuple("".join(row) for row in grid)


def _has_way(rows: Rows) -> bool:
    """Return whether a start and a goal are connected by tiles that are not holes."""
    from scipy.ndimage import label  # loaded where it is needed

    grid = as_grid(rows)
    component, _ = label(grid != HOLE)  # numbered from 1; holes are 0
    return bool(np.isin(component[grid == START], component[grid == GOAL]).any())
