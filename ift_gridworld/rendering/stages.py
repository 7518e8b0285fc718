"""Updates at which runs are shown: what is compared is compared at the same update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.evaluation.metrics import even_change
from ift_gridworld.training.run import Run

__all__ = ["change_between", "chosen_stages", "latest_snapshots", "shared_updates", "stages_of_even_change"]


def shared_updates(runs: Sequence[Run], most: int | None = None) -> Int[np.ndarray, " F"]:
    """Return the updates at which any of the runs has a snapshot, thinned so that equally much changes between two of them.

    Args:
        runs: on one environment.
        most: largest number of updates to return; None for all.
    """
    steps = np.unique(np.concatenate([run.steps for run in runs]))
    if most is None or len(steps) <= most:
        return steps
    return steps[even_change(steps, _policies(runs, latest_snapshots(runs, steps)), most)]


def latest_snapshots(runs: Sequence[Run], updates: Int[np.ndarray, " F"]) -> Int[np.ndarray, "F M"]:
    """Return for each update the snapshot of each run: the latest that was taken until then.

    A run that was trained for fewer updates stays at its last snapshot.

    Args:
        runs: on one environment.
        updates: ascending.
    """
    return np.stack([np.maximum(np.searchsorted(run.steps, updates, side="right") - 1, 0) for run in runs], 1)


def change_between(runs: Sequence[Run], snapshots: Int[np.ndarray, "F M"]) -> Float[np.ndarray, " F-1"]:
    """Return how much changes from each stage to the next: mean |change| of T(a|s) over runs, states and actions."""
    return np.abs(np.diff(_policies(runs, snapshots), axis=0)).mean((1, 2, 3))


def stages_of_even_change(runs: Sequence[Run], count: int) -> Int[np.ndarray, " K"]:
    """Return updates from the base to the end between which equally much changes, all runs together.

    Only updates count at which every run that is still training then has a snapshot, so that each map is of its update.

    Args:
        runs: on one environment.
        count: number of updates, at least 1; fewer are returned where there are not as many. One is the end.
    """
    updates = _common_updates(runs)
    moved = change_between(runs, latest_snapshots(runs, updates)).cumsum()
    share = np.concatenate([[0.0], moved]) / max(moved[-1] if len(moved) else 0.0, 1e-12)
    wanted = np.linspace(0, 1, count) if count > 1 else np.ones(1)
    chosen = {int(np.abs(share - part).argmin()) for part in wanted[:-1]} | {len(updates) - 1}
    return updates[sorted(chosen)]


def chosen_stages(runs: Sequence[Run], asked: Sequence[int]) -> Int[np.ndarray, " K"]:
    """Check updates that the reader asks for.

    Raises:
        ValueError: for an update at which a run that is still training has no snapshot.
    """
    updates = _common_updates(runs)
    if not asked:
        raise ValueError("stages is empty; allowed: one update or more")
    for update in asked:
        if update not in updates:
            near = updates[np.argsort(np.abs(updates - update), kind="stable")[:4]]
            raise ValueError(
                f"stages has update {update}, of which not every run has a snapshot; allowed near it: "
                f"{', '.join(map(str, sorted(near)))}"
            )
    return np.unique(np.asarray(asked, int))


def _common_updates(runs: Sequence[Run]) -> Int[np.ndarray, " F"]:
    """Updates at which each run has a snapshot or has ended."""
    steps = np.unique(np.concatenate([run.steps for run in runs]))
    common = [np.isin(steps, run.steps) | (steps > run.steps[-1]) for run in runs]
    return steps[np.all(common, axis=0)]


def _policies(runs: Sequence[Run], snapshots: Int[np.ndarray, "F M"]) -> Float[np.ndarray, "F M S A"]:
    return np.stack([run.snapshots[i] for run, i in zip(runs, snapshots.T, strict=True)], 1)
