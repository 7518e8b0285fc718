"""Selection of a setting from a grid: the best value, and values beyond the grid where the best one lies on its edge.

A best value on the edge of a grid says where the grid ends, not where the optimum is. A finding about two methods can then be
an artefact of the grid, so an edge extends the grid until the best value has a worse neighbour on either side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = ["EXTENSIONS", "best_rate", "is_on_edge", "next_rate", "search_rates"]

EXTENSIONS = 3  # values tried beyond either end of a grid


def best_rate(scores: Mapping[float, float | None], *, higher_is_better: bool = True) -> float | None:
    """Return the value with the best score, the first of several; None if no value has a score.

    >>> best_rate({1e-3: 0.4, 3e-3: 0.5, 1e-2: None})
    0.003

    Args:
        scores: score of each value that was tried, in the order of trying; None or NaN for a run that diverged.
        higher_is_better: direction of the scores.
    """
    sound = {value: score for value, score in scores.items() if score is not None and not math.isnan(score)}
    return (max if higher_is_better else min)(sound, key=sound.__getitem__, default=None)


def is_on_edge(best: float | None, tried: Collection[float]) -> bool:
    """Return whether the best value is the lowest or the highest of several that were tried.

    >>> is_on_edge(3e-3, (3e-4, 1e-3, 3e-3)), is_on_edge(1e-3, (3e-4, 1e-3, 3e-3)), is_on_edge(1e-3, (1e-3,))
    (True, False, False)
    """
    return len(tried) > 1 and best in (min(tried), max(tried))


def next_rate(
    rates: Sequence[float],
    scores: Mapping[float, float | None],
    *,
    higher_is_better: bool = True,
    limit: int = EXTENSIONS,
) -> float | None:
    """Return the next value to try: one beyond the edge that the best value lies on, or None if it lies on no edge.

    The grid goes on as it is spaced: the ratio of the edge to the value two places further in, applied to the value beside the
    edge. So 3e-4, 1e-3, 3e-3 goes on with 1e-4 and 3e-5, or with 1e-2 and 3e-2.

    >>> next_rate((3e-4, 1e-3, 3e-3), {3e-4: 0.3, 1e-3: 0.2, 3e-3: 0.1})
    0.0001

    Args:
        rates: the grid that was asked for, of positive values in any order; a single value is no grid and is not extended.
        scores: score of each value tried so far, the grid's and those beyond it; None or NaN for a run that diverged.
        higher_is_better: direction of the scores.
        limit: largest number of values beyond either end; 0 keeps to the grid.
    """
    best = best_rate(scores, higher_is_better=higher_is_better)
    if len(set(rates)) < 2 or best is None or not is_on_edge(best, scores):
        return None
    low = best == min(scores)
    beyond = [value for value in scores if (value < min(rates) if low else value > max(rates))]
    if len(beyond) >= limit:
        return None
    edge, beside, *inner = sorted(scores, reverse=not low)
    following = beside * edge / inner[0] if inner else edge * edge / beside
    return float(f"{following:.6g}")  # without the rounding of the division: 0.0001, not 9.999999999999999e-05


def search_rates(
    rates: Sequence[float],
    score: Callable[[float], float | None],
    *,
    higher_is_better: bool = True,
    limit: int = EXTENSIONS,
) -> dict[float, float | None]:
    """Score every value of a grid, then values beyond it as long as the best one lies on an edge (`next_rate`).

    >>> search_rates((1.0, 10.0), lambda rate: -rate, limit=2)
    {1.0: -1.0, 10.0: -10.0, 0.1: -0.1, 0.01: -0.01}

    Args:
        rates: the grid.
        score: scores a value; None or NaN for a run that diverged.
        higher_is_better, limit: as in `next_rate`.

    Returns:
        The score of each value, in the order of trying.
    """
    scores = {rate: score(rate) for rate in rates}
    while (rate := next_rate(rates, scores, higher_is_better=higher_is_better, limit=limit)) is not None:
        scores[rate] = score(rate)
    return scores
