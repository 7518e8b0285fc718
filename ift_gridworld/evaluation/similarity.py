"""Predictors of likelihood displacement, known before training, and rank correlations with intervals over lakes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["ches", "rank_correlation", "shared_states"]

RESAMPLES = 1000


def ches(chosen: Float[np.ndarray, "*batch H"], rejected: Float[np.ndarray, "*batch H"]) -> Float[np.ndarray, "*batch"]:
    """Return the centred hidden embedding similarity, <h+, h-> - |h+|²: the larger, the more the chosen answer is to lose.

    "Unintentional unalignment" (Razin et al., arXiv 2410.08847, definition 2). h is the sum of an answer's hidden
    representations, each in the state before a step. With means in the place of sums it is the paper's length-normalised form.

    Args:
        chosen, rejected: h+ and h-, the summed (or mean) hidden representation of either answer.

    Example:
        >>> float(ches(np.array([1.0, 2.0]), np.array([3.0, -1.0])))  # 3 - 2 - (1 + 4)
        -4.0
    """
    return (chosen * rejected).sum(-1) - (chosen * chosen).sum(-1)


def shared_states(
    chosen: Float[np.ndarray, "*batch S"], rejected: Float[np.ndarray, "*batch S"]
) -> Float[np.ndarray, "*batch"]:
    """Return the states that both paths visit as a share of those that either visits.

    Args:
        chosen, rejected: how often each path visits each state.

    Example:
        >>> float(shared_states(np.array([1, 2, 0, 0]), np.array([1, 0, 0, 1])).round(4))  # one of three
        0.3333
    """
    one, two = chosen > 0, rejected > 0
    return (one & two).sum(-1) / (one | two).sum(-1)


def rank_correlation(
    x: Float[np.ndarray, "L N"], y: Float[np.ndarray, "L N"], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Return Spearman's rank correlation over all pairs, and its percentile bootstrap interval over lakes.

    Pairs of one lake are more alike than pairs of two: whole lakes are drawn, with all their pairs.

    Args:
        x, y: a number for each of N pairs on each of L lakes.
        level: of the interval, in (0, 1).
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        The correlation and the ends of its interval; NaN where x or y does not vary.

    Example:
        >>> x = np.arange(6.0).reshape(3, 2)
        >>> rank_correlation(x, np.exp(x))[0], rank_correlation(x, -x)[0]
        (1.0, -1.0)
    """
    lakes, pairs = x.shape
    drawn = np.random.default_rng(seed).integers(0, lakes, (RESAMPLES, lakes))
    times = np.stack([np.bincount(row, minlength=lakes) for row in drawn])  # that each lake is drawn
    weights = np.concatenate([np.ones((1, lakes)), times]).repeat(pairs, 1)
    value, *resampled = _spearman(x.ravel(), y.ravel(), weights)
    if not np.isfinite(value):
        return float("nan"), float("nan"), float("nan")
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(value), float(low), float(high)


def _spearman(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Return the rank correlation of each sample, in which a pair occurs as often as its weight says."""
    middle = (weights.sum(-1, keepdims=True) + 1) / 2
    one, two = (_ranks(values, weights) - middle for values in (x, y))
    scale = np.sqrt((weights * one * one).sum(-1) * (weights * two * two).sum(-1))
    with np.errstate(invalid="ignore"):
        return (weights * one * two).sum(-1) / np.where(scale > 0, scale, np.nan)


def _ranks(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]) -> Float[np.ndarray, "R n"]:
    """Return the ranks in each sample, from 1; equal values share the mean of theirs."""
    order = np.argsort(values, kind="stable")
    _, first, level = np.unique(values[order], return_index=True, return_inverse=True)
    mass = np.add.reduceat(weights[:, order], first, axis=1)
    ranks = np.empty_like(weights)
    ranks[:, order] = (mass.cumsum(-1) - mass + (mass + 1) / 2)[:, level]
    return ranks
