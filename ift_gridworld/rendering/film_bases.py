"""Bases of films that share how frames are counted: a still has one frame, a film of runs one for each update shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.rendering.encode import reduce_colours
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.stages import change_between
from ift_gridworld.training.run import Run

__all__ = ["RunsFilm", "Still"]


class Still(Film):
    """A film of one frame, in which nothing moves."""

    def __len__(self) -> int:
        return 1

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return np.zeros(0)

    def update(self, index: int) -> None:
        """Do nothing, because nothing moves."""

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write as `Film.save` does; a PNG with a background in few colours, which takes a third of the bytes."""
        path = super().save(path, **options)
        if path.suffix == ".png" and not options.get("transparent"):
            reduce_colours(path)
        return path


class RunsFilm(Film):
    """A film of runs on one environment, all at the same update in each frame.

    A subclass sets the attributes before the film is composed.

    Attributes:
        runs: the runs.
        steps: update that each frame shows, shape [F].
        snapshots: snapshot of each run that each frame shows (`stages.latest_snapshots`), shape [F, M].
    """

    runs: Sequence[Run]
    steps: Int[np.ndarray, " F"]
    snapshots: Int[np.ndarray, "F M"]

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def change(self) -> Float[np.ndarray, " F"]:
        return change_between(self.runs, self.snapshots)
