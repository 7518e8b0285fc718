"""Write the alignment lab and open it: a page on which methods are trained live, on a lake that the visitor makes.

    ift-gridworld lab
    ift-gridworld lab --map 8x8 --slippery --method sft,ift,ppo_exact

One HTML file, without a network: it can be put on any server or sent by mail.
"""

from __future__ import annotations

import os
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from ift_gridworld.checks import check_interval
from ift_gridworld.cli.parser import fail
from ift_gridworld.envs.maps import parse_size, read_map
from ift_gridworld.envs.registry import lake_rows
from ift_gridworld.escape import printable
from ift_gridworld.rendering.lab_page import save_lab
from ift_gridworld.runtime import LOG
from ift_gridworld.storage import make_folder

__all__ = ["Args", "main"]

SLIP = 2 / 3  # Gymnasium's


@dataclass(frozen=True)
class Args:
    """The command line."""

    map: str = "two-paths"
    """The lake that the page opens with: two-paths, open, bridge, 4x4, 8x8, random, NxM (a random lake of that size) or a map
    file; up to 12 tiles each way."""
    size: str | None = None
    """N or NxM, for two-paths, open, bridge and random."""
    map_seed: int = 0
    """Seed of a random map."""
    slippery: bool = False
    """Let moves slip to either side."""
    success_rate: float | None = None
    """With --slippery, probability of going where intended (1/3 if not given)."""
    method: str = ""
    """Methods that it opens with, up to six with commas between: sft, ift, dpo, tdpo, ipo, orpo, simpo, ppo,
    ppo_exact (sft,ift,dpo,ppo)."""
    out: Path = Path("runs/lab/lab.html")
    """File that is written."""
    open: bool = True
    """Open it in a browser."""


def main(args: Args) -> int:
    """Write the page and open it."""
    try:
        if args.success_rate is not None and not args.slippery:
            raise ValueError(f"--success-rate is {args.success_rate}, which only works with --slippery")
        if args.success_rate is not None:
            check_interval("--success-rate", args.success_rate, 1 - SLIP, 1)
        slip = 0.0 if not args.slippery else SLIP if args.success_rate is None else 1 - args.success_rate
        make_folder(args.out.parent)
        methods = [name.strip() for name in args.method.split(",") if name.strip()]
        path = save_lab(args.out, _rows(args), slip=slip, methods=methods)
    except ValueError as error:
        fail(error)
    print(f"wrote {printable(path)}")
    if args.open and not webbrowser.open(path.resolve().as_uri()):
        LOG.warning("no browser could be started; open %s", printable(path))
    return 0


def _rows(args: Args) -> tuple[str, ...]:
    if os.path.isfile(args.map):
        if args.size is not None:
            raise ValueError(f"--size is {args.size}, which a map file does not take")
        return read_map(args.map)
    rows = lake_rows(args.map, size=None if args.size is None else parse_size(args.size), seed=args.map_seed)
    if rows is None:
        raise ValueError(
            f"--map is {args.map!r}; allowed in the lab: two-paths, open, bridge, 4x4, 8x8, random, NxM, a map file"
        )
    return rows
