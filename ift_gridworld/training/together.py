"""Runs that stand in one picture: which seed they draw, and how that is said. Loads without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ift_gridworld.training.drawn_seed import typical_seed
from ift_gridworld.training.run import Run

__all__ = ["about_seeds", "drawing_typical", "drawn_together", "seed_of", "shared_headline"]


def drawing_typical(run: Run) -> Run:
    """Return the run drawing the seed that is typical of it by itself."""
    return run.drawing(run.first_seed + typical_seed(*_ends([run], run.headline)))


def drawn_together(runs: Sequence[Run]) -> list[Run]:
    """Return runs that stand in one picture, drawing one seed for all where they can.

    Runs that draw one seed already are left so, because it may have been chosen. Otherwise the seed is the typical one
    (`drawn_seed.typical_seed`) of those whose policies all of the runs have. If there is none, each run keeps its own.

    Args:
        runs: one or more, on one environment.
    """
    shared = sorted(set.intersection(*(set(run.drawable) for run in runs)))
    if len({run.drawn_seed for run in runs}) == 1 or not shared:
        return list(runs)
    candidates = [np.array(shared) - run.first_seed for run in runs]
    chosen = shared[typical_seed(*_ends(runs, shared_headline(runs)), candidates)]
    return [run.drawing(chosen) for run in runs]


def shared_headline(runs: Sequence[Run]) -> str:
    """Return the metric that sums up runs side by side: success, if it says something of any of them."""
    return "success" if any(run.headline == "success" for run in runs) else runs[0].headline


def _ends(runs: Sequence[Run], headline: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the headline metric and the distance of every seed at the last snapshot, of each run."""
    return [run.metrics[headline][-1] for run in runs], [run.metrics["distance"][-1] for run in runs]


def about_seeds(runs: Sequence[Run]) -> str:
    """Say which seed maps and the numbers beside them are of, and what curves are of."""
    if len({run.drawn_seed for run in runs}) == 1:
        return runs[0].about_seeds
    maps = ", ".join(f"{run.drawn_seed} of {run.method}" for run in runs)
    return f"drawn: seed {maps}" + runs[0].about_seeds.removeprefix(f"drawn: seed {runs[0].drawn_seed}")


def seed_of(run: Run) -> str:
    """Name the seed that is drawn, as it stands beside a map; nothing for a run of one seed."""
    return f"seed {run.drawn_seed}" if run.seeds > 1 else ""
