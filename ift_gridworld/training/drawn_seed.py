"""Choice of the seed that is drawn: one rule, on arrays, for one run or several in one picture. `together` applies it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

__all__ = ["ranks_by_median", "typical_seed"]

DECIMALS = 9  # of gaps, relative to the largest value: what differs by less is rounding, not a difference


def typical_seed(
    headline: Sequence[Float[np.ndarray, " N"]],
    distance: Sequence[Float[np.ndarray, " N"]],
    candidates: Sequence[Int[np.ndarray, " C"]] | None = None,
) -> int:
    """Return the seed that is nearest to the median of every run, taken together.

    Each run ranks its seeds (`ranks_by_median`). The seed with the least sum of ranks over the runs is chosen; of several, the
    first.

    Args:
        headline: each run's headline metric at the last snapshot, in the metric's unit.
        distance: each run's distance to the optimal policy, likewise.
        candidates: for each run the indices of the seeds to choose from, in one order (default: all seeds).

    Returns:
        Its index among the candidates.

    Example:
        >>> typical_seed([np.array([0.0, 1.0, 0.9])], [np.zeros(3)])
        2
    """
    ranks = [ranks_by_median(*both) for both in zip(headline, distance, strict=True)]
    if candidates is not None:
        ranks = [row[indices] for row, indices in zip(ranks, candidates, strict=True)]
    return int(np.sum(ranks, 0).argmin())


def ranks_by_median(headline: Float[np.ndarray, " N"], distance: Float[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Return for each seed the number of seeds that are nearer to the median: of the headline, then of the distance.

    Args:
        headline: |headline - median| ranks the seeds; NaN ranks last.
        distance: |distance - median| ranks those that tie.

    Example:
        >>> ranks_by_median(np.array([0.0, 1.0, 0.9]), np.zeros(3))
        array([2, 1, 0])
    """
    first, second = _gaps(headline), _gaps(distance)
    tied = first[:, None] == first
    return ((first < first[:, None]) | (tied & (second < second[:, None]))).sum(1)


def _gaps(values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Return |value - median| as a share of the largest |value|."""
    values = np.asarray(values, float)
    gaps, known = np.full(len(values), np.inf), np.isfinite(values)
    if known.any():
        largest = np.abs(values[known]).max() or 1.0
        gaps[known] = np.round(np.abs(values[known] - np.median(values[known])) / largest, DECIMALS)
    return gaps
