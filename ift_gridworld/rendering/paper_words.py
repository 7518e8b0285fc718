"""Words of a figure for a paper: titles of methods, numbers with their intervals, which seed maps are of, the caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.rendering.method_style import MethodStyle, styles_of
from ift_gridworld.rendering.text import short_title
from ift_gridworld.training.run import Run

__all__ = [
    "INTERVAL", "end_words", "listed", "number", "run_styles", "run_titles", "same_for_all", "seed_counts",
    "seeds_of_maps", "stage_words", "trained_words", "with_interval",
]  # fmt: skip

INTERVAL = "95 % interval"
LEAST = 1e-6  # what is smaller is written as 0


def run_titles(runs: Sequence[Run]) -> list[str]:
    """Return the short title of each run's method; runs of one method are counted.

    Args:
        runs: in the order in which they are shown.
    """
    titles = [short_title(run.title) for run in runs]
    return [
        f"{title} {titles[: index + 1].count(title)}" if titles.count(title) > 1 else title
        for index, title in enumerate(titles)
    ]


def run_styles(runs: Sequence[Run]) -> list[MethodStyle]:
    """Return the style of each run: that of its method, another one for a further run of the same method."""
    methods = [run.method for run in runs]
    names = [name if name not in methods[:i] else f"{name} {methods[:i].count(name) + 1}" for i, name in enumerate(methods)]
    styles = styles_of(names)
    return [styles[name] for name in names]


def number(value: float) -> str:
    """Return a number with three decimals, fewer digits where it is large, and a power of ten where it is small.

    Args:
        value: the number.

    Example:
        >>> number(0.25), number(0.00012), number(-326.25), number(-1e-9)
        ('0.250', '1.2e-04', '-326.2', '0.000')
    """
    if not isfinite(value):
        return "not a number"
    size = abs(value)
    if LEAST < size < 0.0005:
        return f"{value:.1e}"
    if size <= LEAST:
        return "0.000"
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 10_000 else f"{value:.3g}"


def with_interval(name: str, values: np.ndarray) -> tuple[str, ...]:
    """Return a metric's mean over seeds, low and high end of its 95 % interval; the mean alone where there is one seed.

    Args:
        name: of the metric.
        values: one a seed, [N].
    """
    mean, low, high = (number(float(x)) for x in metric_interval(name, values))
    return (mean, low, high) if len(values) > 1 else (mean,)


def listed(words: Sequence[str]) -> str:
    """Return words as they stand in a sentence.

    Example:
        >>> listed(["SFT", "IFT", "DPO"])
        'SFT, IFT and DPO'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def same_for_all(runs: Sequence[Run], value_of: Callable[[Run], object]) -> list[tuple[object, list[str]]]:
    """Return each value that runs have, with the titles of the runs that have it."""
    groups: dict[object, list[str]] = {}
    for run, title in zip(runs, run_titles(runs), strict=True):
        groups.setdefault(value_of(run), []).append(title)
    return list(groups.items())


def _by_value(runs: Sequence[Run], value_of: Callable[[Run], object], unit: Callable[[object], str]) -> str:
    """Say a value of runs: once where it is the same for all, else with those that have it."""
    groups = same_for_all(runs, value_of)
    if len(groups) == 1:
        return unit(groups[0][0])
    return listed([f"{unit(value)} ({listed(titles)})" for value, titles in groups])


def seed_counts(runs: Sequence[Run]) -> str:
    """Return the number of seeds in words, such as "8 seeds", or with the methods that have them."""
    return _by_value(runs, lambda run: run.seeds, lambda count: f"{count} seed{'s' * (count != 1)}")


def seeds_of_maps(runs: Sequence[Run]) -> str:
    """Return the seed that maps are of in words, such as "seed 3", or with the methods that draw it."""
    return _by_value(runs, lambda run: run.drawn_seed, lambda seed: f"seed {seed}")


def trained_words(runs: Sequence[Run]) -> str:
    """Return how long runs were trained, such as "300 updates", or with the methods that were."""
    return _by_value(runs, lambda run: int(run.steps[-1]), lambda count: f"{count} update{'s' * (count != 1)}")


def stage_words(run: Run, update: int, snapshot: int) -> tuple[str, ...]:
    """Say which update a map is of, in ever fewer letters.

    Args:
        run: whose map it is.
        update: that the column stands for.
        snapshot: index of the snapshot that is drawn; an earlier one, if the run has ended by then.
    """
    drawn = int(run.steps[snapshot])
    if drawn == update and not (run.diverged and snapshot == len(run.steps) - 1):
        return f"update {update}", f"{update}"
    if run.diverged:
        return f"update {drawn} (diverged)", f"{drawn} (diverged)", "diverged", f"{drawn}"
    return f"update {drawn} (its last)", f"{drawn} (its last)", f"{drawn} (last)", f"{drawn}"


def end_words(runs: Sequence[Run]) -> list[str]:
    """Say of runs that differ how long each was trained, and of those that diverged that they did."""
    words = []
    if len(same_for_all(runs, lambda run: int(run.steps[-1]))) > 1:
        words.append(f"Trained for {trained_words(runs)}.")
    diverged = [title for run, title in zip(runs, run_titles(runs), strict=True) if run.diverged]
    if diverged:
        words.append(f"{listed(diverged)} diverged; what is shown is from before.")
    return words
