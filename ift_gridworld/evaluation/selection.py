"""Rules of selection: which checkpoint and which point of a grid a method is compared at, and when the grid is extended.

A best value on the edge of a grid says where the grid ends, not where the optimum is. A finding about two methods can then be
an artefact of the grid, so an edge extends the grid until the best value has a worse neighbour on either side.

Each rule is a function of plain numbers. A *point* is what a method is run with: (learning rate,) or (learning rate, beta).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeGuard, TypeVar

import numpy as np
from jaxtyping import Float

__all__ = [
    "EXTENSIONS",
    "Point",
    "best_checkpoint",
    "best_key",
    "beyond_edges",
    "is_on_edge",
    "is_sound",
    "nearest_rate",
    "next_value",
    "search_values",
]

EXTENSIONS = 3  # largest number of values that `search_values` tries beyond a grid

Point = tuple[float, ...]
"""Learning rate, and beta for a method that has one."""

Key = TypeVar("Key")


def is_sound(score: float | None) -> TypeGuard[float]:
    """Return whether a score is a finite number; a run that diverged has none.

    Example:
        >>> [is_sound(score) for score in (0.2, None, math.nan, -math.inf)]
        [True, False, False, False]
    """
    return score is not None and math.isfinite(score)


def best_key(scores: Mapping[Key, float | None], *, higher_is_better: bool = False) -> Key:
    """Return the key of the best score, the first of equals; a score that is not sound is worse than any that is.

    Example:
        >>> best_key({"a": math.nan, "b": 0.2, "c": 0.1, "d": 0.1}), best_key({"a": 0.1, "b": 0.2}, higher_is_better=True)
        ('c', 'b')

    Args:
        scores: score of each key, in the order of trying; None, NaN or infinite for a run that diverged.
        higher_is_better: direction of the scores.
    """

    def rank(key: Key) -> float:
        score = scores[key]
        if not is_sound(score):
            return math.inf
        return -score if higher_is_better else score

    return min(scores, key=rank)


def best_checkpoint(distance: Float[np.ndarray, "M N"]) -> int:
    """Return the index of the checkpoint that is nearest to T* on average over seeds, the earliest of equals.

    The base, checkpoint 0, is never taken. A checkpoint at which a seed has diverged (NaN) is taken only if one has at all.

    Args:
        distance: of one method at one point on one lake, for each of M checkpoints and N seeds.

    Example:
        >>> best_checkpoint(np.array([[0.0, 0.0], [0.3, 0.3], [0.1, 0.4], [np.nan, 0.1]]))  # means 0, 0.3, 0.25
        2
    """
    return 1 + best_key(dict(enumerate(distance[1:].mean(-1))))


def nearest_rate(rates: Sequence[float], common: float) -> int:
    """Return the index of the rate that is nearest to the common one, in ratio.

    Example:
        >>> nearest_rate((0.001, 0.01, 0.1), 0.02)
        1
    """
    return min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / common)))


def is_on_edge(point: Point, tried: Collection[Point]) -> bool:
    """Return whether a point lies on an edge of what was tried: beyond it, in some direction, nothing was.

    Example:
        >>> tried = [(3e-4,), (1e-3,), (3e-3,)]
        >>> [is_on_edge(point, tried) for point in tried], is_on_edge((1e-3,), [(1e-3,)])
        ([True, False, True], True)
    """
    return bool(_edges(point, tried))


def beyond_edges(tried: Collection[Point], best: Point) -> list[Point]:
    """Return the next point beyond each edge that the best point lies on; none where it is bracketed.

    Example:
        >>> beyond_edges([(0.01, 0.1), (0.03, 0.1), (0.1, 0.1), (0.01, 0.3), (0.01, 0.03)], (0.01, 0.1))
        [(0.003, 0.1)]
    """
    return [(*best[:axis], next_value(best[axis], up=up), *best[axis + 1 :]) for axis, up in _edges(best, tried)]


def _edges(point: Point, tried: Collection[Point]) -> list[tuple[int, bool]]:
    """Return each edge that a point lies on, as (axis, whether it is the upper one).

    On an axis a point lies on an edge if no tried point that agrees with it on the other axes lies further out. So a value that
    was tried alone lies on both.
    """
    edges = []
    for axis, value in enumerate(point):
        others = point[:axis], point[axis + 1 :]
        line = [each[axis] for each in tried if (each[:axis], each[axis + 1 :]) == others]
        edges += [(axis, up) for up in (False, True) if not any(x > value if up else x < value for x in line)]
    return edges


def next_value(value: float, *, up: bool) -> float:
    """Return the neighbour of a value on the grid 1, 3, 10, 30, ... (of 2.5: 0.75 and 7.5).

    Example:
        >>> next_value(0.03, up=True), next_value(0.03, up=False), next_value(0.01, up=False)
        (0.1, 0.01, 0.003)
    """
    mantissa = round(value / 10 ** math.floor(round(math.log10(value), 9)), 9)
    factor = (3 if mantissa < 3 else 10 / 3) if up else (0.3 if mantissa < 3 else 1 / 3)
    return float(f"{value * factor:.6g}")  # without the rounding of the product: 0.0001, not 9.999999999999999e-05


def search_values(
    grid: Sequence[float], score: Callable[[float], float | None], *, limit: int = EXTENSIONS
) -> dict[float, float | None]:
    """Score every value of a grid, then values beyond it as long as the best one lies on an edge. Higher scores are better.

    Example:
        >>> search_values((1.0, 10.0), lambda rate: -rate, limit=2)
        {1.0: -1.0, 10.0: -10.0, 0.3: -0.3, 0.1: -0.1}

    Args:
        grid: positive values in any order; a single value is no grid and is not extended.
        score: scores a value; None or NaN for a run that diverged.
        limit: largest number of values beyond the grid, all beyond one end; 0 keeps to the grid.

    Returns:
        The score of each value, in the order of trying.
    """
    scores = {value: score(value) for value in grid}
    given = len(scores)
    while given > 1 and len(scores) < given + limit:
        best = best_key(scores, higher_is_better=True)
        beyond = beyond_edges([(value,) for value in scores], (best,)) if is_sound(scores[best]) else []
        if not beyond:
            break
        ((following,),) = beyond  # of several values, one cannot be both the least and the greatest
        scores[following] = score(following)
    return scores
