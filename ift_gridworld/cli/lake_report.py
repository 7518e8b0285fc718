"""Report that `lake` and `redraw` print at their end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ift_gridworld.cli.parser import fail
from ift_gridworld.rendering.tables import estimations, results, written
from ift_gridworld.runtime import console
from ift_gridworld.training.run import Run

__all__ = ["report"]


def report(runs: Sequence[Run], paths: Sequence[Path]) -> int:
    """Print the tables and the paths written; returns the exit status, 1 if a run diverged."""
    screen = console()
    screen.print(results(runs, screen.width))
    if len(runs) > 1:
        screen.print(estimations(runs, screen.width))
    screen.print(written(paths), soft_wrap=True, highlight=False)
    diverged = [f"{one.method}: {one.diverged}" for one in runs if one.diverged]
    if diverged:
        fail("training diverged, snapshots until then are kept; " + "; ".join(diverged), status=1)
    return 0
