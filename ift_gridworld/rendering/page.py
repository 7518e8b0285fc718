"""The lab with saved runs inside: one self-contained HTML file, for any browser, from disk, without a network.

The page stays below a megabyte. Where it would grow beyond that, updates are left out, so that equally much changes between
those that stay, and then whole methods; the page says so. The curves of each method are complete. Where there is room, the
reader can choose among the seeds that all runs have.

What it shows is made by `page_data`; what it does is written in the folder ``lab``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.formats import PICTURES
from ift_gridworld.rendering.lab_page import lab_page, start_of
from ift_gridworld.rendering.page_data import page_data, short_titles
from ift_gridworld.rendering.stages import shared_updates
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import drawn_together

__all__ = ["MAX_BYTES", "MAX_TILES", "check_tiles", "save_page"]

MAX_BYTES = 1_000_000  # of a page of one method at two updates or more
SEED_BYTES = 600_000  # of a page on which another seed can be chosen
MAX_TILES = 10_000  # each is an element of the page by itself


def save_page(runs: Sequence[Run], path: str | Path) -> Path:
    """Write the page of some runs on one lake.

    Args:
        runs: the runs.
        path: where to write, NAME.html.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix; if the runs are not of one lake, it has no map or too large a one, or a metric is
            not a finite number.
        OSError: if the file cannot be written.

    Example (writes a file)::

        save_page([Run.load("sft.json"), Run.load("ift.json")], "lake.html")
    """
    check_one_environment(runs, drawn=True)
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"the page's path is {str(path)!r}; allowed: one that ends in .html")
    check_tiles(runs[0].mdp)
    return write_atomically(path, _with_seeds(*_fitting(drawn_together(runs))))


def _fitting(runs: Sequence[Run]) -> tuple[bytes, Sequence[Run], Int[np.ndarray, " F"], str]:
    """Return a page that is small enough, its runs and updates, and in words what was left out."""
    updates, methods = shared_updates(runs), len(runs)
    most, empty = len(updates), len(lab_page().encode())
    while True:
        kept = shared_updates(runs, most)
        left_out = _left_out(runs, methods, len(kept), len(updates))
        page = _page([runs[:methods]], kept, left_out)
        if len(page) <= MAX_BYTES or (most == 2 and methods == 1):
            return page, runs[:methods], kept, left_out
        if most > 2:
            most = max(2, min(most - 1, int(most * (MAX_BYTES - empty) / (len(page) - empty))))
        else:
            methods -= 1


def _with_seeds(page: bytes, runs: Sequence[Run], updates: Int[np.ndarray, " F"], left_out: str) -> bytes:
    """Return the page with as many other seeds to choose from as keep it below `SEED_BYTES`."""
    shared = sorted(set.intersection(*(set(run.drawable) for run in runs)) - {runs[0].drawn_seed})
    without = len(_page([runs], updates[:1], left_out))
    others = shared[: max(0, (SEED_BYTES - len(page)) // max(1, len(page) - without))]
    while others and not left_out:
        some = f"To keep this page small: maps of {len(others) + 1} of {len(shared) + 1} seeds."
        drawn = [runs, *([run.drawing(seed) for run in runs] for seed in others)]
        larger = _page(drawn, updates, some if len(others) < len(shared) else "")
        if len(larger) <= SEED_BYTES:
            return larger
        others.pop()
    return page


def _left_out(runs: Sequence[Run], methods: int, kept: int, updates: int) -> str:
    """What is left out to keep the page small, in words."""
    parts = []
    if kept < updates:
        parts.append(f"maps at {kept} of {updates} updates (the curves are complete)")
    if methods < len(runs):
        parts.append(f"without {', '.join(short_titles(runs)[methods:])}")
    return f"To keep this page below {MAX_BYTES / 1e6:g} MB: {'; '.join(parts)}." if parts else ""


def check_tiles(mdp: TabularMDP) -> None:
    """Check that a browser can hold the map.

    Raises:
        ValueError: if it has more than `MAX_TILES` tiles.

    Example:
        >>> check_tiles(TabularMDP.from_map(["SF", "FG"]))
    """
    if mdp.grid is not None and mdp.grid.tiles.size > MAX_TILES:
        count = f"{mdp.grid.tiles.size} tiles, more than the {MAX_TILES} that a browser draws one by one"
        raise ValueError(f"format is 'html', which has no room for {count}; allowed: {', '.join(PICTURES)}")


def _page(drawn: Sequence[Sequence[Run]], updates: Int[np.ndarray, " F"], left_out: str) -> bytes:
    """The page of these runs, encoded."""
    start, not_live = start_of(drawn[0])
    return lab_page(start, page_data(drawn, updates, left_out, not_live)).encode()
