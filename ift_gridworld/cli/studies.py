"""Checks that the commands of studies share; other commands load no cluster for them."""

from __future__ import annotations

from pathlib import Path

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.parser import check_seed
from ift_gridworld.cluster import check_cluster
from ift_gridworld.rendering import THEME_NAMES
from ift_gridworld.storage import check_folder

__all__ = ["check_study"]


def check_study(folder: Path, *, seed: int, workers: int, cluster: str | None, theme: str) -> None:
    """Raise a ValueError for what no study can be run with: where it writes to, its seed, processes, cluster and colours."""
    check_seed(seed)
    check_folder(folder)
    if workers < 0:
        raise ValueError(f"--workers is {workers}; allowed: a whole number >= 0")
    check_cluster(cluster, workers)
    check_choice("--theme", theme, THEME_NAMES)
