"""All failures by name, films and figures of the atlas, and how one is saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ift_gridworld.rendering.failure import Failure
from ift_gridworld.rendering.failure_film import FailureFilm
from ift_gridworld.rendering.failure_page import save_failure_page
from ift_gridworld.storage import versions, write_atomically
from ift_gridworld.studies.failures.atlas import AtlasFigure, Report, displacement_predicted, overoptimisation
from ift_gridworld.studies.failures.certainty import certainty
from ift_gridworld.studies.failures.displacement import displacement
from ift_gridworld.studies.failures.exploited import exploited
from ift_gridworld.studies.failures.log2 import log2
from ift_gridworld.studies.failures.off_path import off_path

__all__ = ["ATLAS", "FAILURES", "save_atlas_figure", "save_failure"]

FAILURES: dict[str, Callable[[int, int], Failure]] = {  # from the number of seeds and the first of them
    "displacement": displacement,
    "log2": log2,
    "certainty": certainty,
    "off_path": off_path,
    "exploited": exploited,
}
ATLAS: dict[str, Callable[[int, int, Report], AtlasFigure]] = {  # and from what takes the parts done and all parts
    "displacement_predicted": displacement_predicted,
    "overoptimisation": overoptimisation,
}


def save_failure(failure: Failure, settings: Mapping[str, Any], path: Path, theme: str, speed: float = 1.0) -> list[Path]:
    """Write the picture to a path, and settings, versions and every number drawn to a JSON file beside it.

    Args:
        failure: what to show.
        settings: of the command line.
        path: of the picture: a film, a still, or NAME.html, a page to step through.
        theme: a name in THEMES; a page has all of them.
        speed: a factor of how fast a film runs.
    """
    saved = _save_numbers(asdict(failure), settings, path)
    if path.suffix == ".html":
        return [saved, save_failure_page(failure, path)]
    return [saved, FailureFilm(failure, theme).save(path, speed=speed)]


def save_atlas_figure(figure: AtlasFigure, settings: Mapping[str, Any], path: Path, theme: str) -> list[Path]:
    """Write a figure of the atlas to a path, and settings, versions and every number drawn to a JSON file beside it.

    Args:
        figure: what to show.
        settings: of the command line.
        path: of the picture, a still.
        theme: a name in THEMES.
    """
    words = {name: getattr(figure, name) for name in ("name", "title", "why", "often", "about", "cause")}
    saved = _save_numbers(words | figure.numbers, settings, path)
    return [saved, *figure.draw(theme).save(path, figure.alt, (path.suffix.removeprefix("."),), palette=128)]


def _save_numbers(numbers: Mapping[str, Any], settings: Mapping[str, Any], path: Path) -> Path:
    entries = {"settings": dict(settings), "versions": versions(), **numbers}
    return write_atomically(path.with_suffix(".json"), f"{json.dumps(entries, default=_plain, allow_nan=False)}\n".encode())


def _plain(value: Any) -> Any:
    """Return numbers as JSON holds them: None for NaN."""
    if isinstance(value, np.ndarray | list):
        return [_plain(entry) for entry in value]
    return None if np.isnan(value) else value.item()
