"""The lakes of a setting: named maps, blocks of random lakes, maps of a text file."""

from __future__ import annotations

import re
from pathlib import Path

from ift_gridworld.envs.maps import LAKES, Rows, parse_map, random_map, two_paths
from ift_gridworld.escape import one_line
from ift_gridworld.reading import LARGE, read_text

__all__ = ["BLOCK_SIZE", "DYNAMICS", "RANDOM_SIDE", "lake_maps", "parse_number", "read_maps"]

BLOCK_SIZE = 10  # lakes of one setting
RANDOM_SIDE = 6  # tiles a side of random lakes
DYNAMICS = ("deterministic", "slippery")


def lake_maps(name: str) -> list[tuple[str, Rows]]:
    """Return the name and rows of each lake of a setting's map."""
    kind, _, rest = name.partition("-")
    if name in ("4x4", "8x8"):
        return [(name, LAKES[name])]
    if name.startswith("two-paths-") and name.removeprefix("two-paths-").isdigit():
        return [(name, two_paths(int(name.removeprefix("two-paths-"))))]
    density, _, block = rest.partition("-")
    if kind == "lakes" and 0 < parse_number(density) <= 1 and block.isdigit():
        first = BLOCK_SIZE * int(block) + round(1000 * float(density))  # densities share no seed
        seeds = range(1000 * first, 1000 * first + BLOCK_SIZE)
        return [(f"{name}/{i}", random_map(RANDOM_SIDE, frozen=float(density), seed=seed)) for i, seed in enumerate(seeds)]
    path, _, block = name.rpartition(":")
    if path and block.isdigit():
        maps = read_maps(path)
        first = BLOCK_SIZE * int(block)
        if first >= len(maps):
            last = (len(maps) - 1) // BLOCK_SIZE
            raise ValueError(f"map is {name!r}; allowed: blocks 0 to {last}, {path} has {len(maps)} maps")
        return [(f"{path}:{i}", rows) for i, rows in enumerate(maps)][first : first + BLOCK_SIZE]
    raise ValueError(f"map is {name!r}; allowed: two-paths-N, 4x4, 8x8, lakes-D-B (D in (0, 1], block B), FILE:B")


def read_maps(path: str | Path) -> list[Rows]:
    """Read all maps of a text file: one row of a map a line, blank lines between maps."""
    try:
        text = read_text(path, LARGE)
    except (OSError, ValueError) as error:
        raise ValueError(f"map file {path}: cannot be read as text ({one_line(error)})") from error
    blocks = [rows.split("\n") for rows in re.split(r"\n{2,}", "\n".join(map(str.strip, text.splitlines())).strip()) if rows]
    if not blocks:
        raise ValueError(f"map file {path} has no map; allowed: rows of the letters S, F, H, G, blank lines between maps")
    maps = []
    for number, rows in enumerate(blocks, 1):
        try:
            maps.append(parse_map(rows))
        except ValueError as error:
            raise ValueError(f"map {number} of {path}: {one_line(error)}") from error
    return maps


def parse_number(text: str) -> float:
    """Return the number that a text spells, NaN if it spells none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
