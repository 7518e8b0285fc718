"""Rules of selection: which checkpoint and which point of a grid a method is compared at, and when the grid is extended.

Each rule is a function of plain numbers. A *point* is what a method is run with: (learning rate,) or (learning rate, beta).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

__all__ = ["Point", "best_checkpoint", "best_key", "beyond_edges", "nearest_rate", "next_value"]

Point = tuple[float, ...]
"""Learning rate, and beta for a method that has one."""

Key = TypeVar("Key")


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


def best_key(scores: Mapping[Key, float]) -> Key:
    """Return the key of the least score, the first of equals; a score that is no finite number is the worst.

    Example:
        >>> best_key({"a": np.nan, "b": 0.2, "c": 0.1, "d": 0.1})
        'c'
    """
    return min(scores, key=lambda key: scores[key] if np.isfinite(scores[key]) else np.inf)


def nearest_rate(rates: Sequence[float], common: float) -> int:
    """Return the index of the rate that is nearest to the common one, in ratio.

    Example:
        >>> nearest_rate((0.001, 0.01, 0.1), 0.02)
        1
    """
    return min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / common)))


def beyond_edges(tried: Collection[Point], best: Point) -> list[Point]:
    """Return the points beyond each edge of the grid that the best point lies on; none where it is bracketed.

    On an axis a point lies on an edge if no tried point that agrees with it on the other axes lies further out.

    Example:
        >>> beyond_edges([(0.01, 0.1), (0.03, 0.1), (0.1, 0.1), (0.01, 0.3), (0.01, 0.03)], (0.01, 0.1))
        [(0.003, 0.1)]
    """
    points = []
    for axis, value in enumerate(best):
        others = best[:axis], best[axis + 1 :]
        line = [point[axis] for point in tried if (point[:axis], point[axis + 1 :]) == others]
        for is_edge, up in ((value <= min(line), False), (value >= max(line), True)):
            if is_edge:
                points.append((*others[0], next_value(value, up=up), *others[1]))
    return points


def next_value(value: float, *, up: bool) -> float:
    """Return the neighbour of a value on the grid 1, 3, 10, 30, ... (of 2.5: 0.75 and 7.5).

    Example:
        >>> next_value(0.03, up=True), next_value(0.03, up=False), next_value(0.01, up=False)
        (0.1, 0.01, 0.003)
    """
    mantissa = round(value / 10 ** math.floor(round(math.log10(value), 9)), 9)
    factor = (3 if mantissa < 3 else 10 / 3) if up else (0.3 if mantissa < 3 else 1 / 3)
    return float(f"{value * factor:.6g}")
