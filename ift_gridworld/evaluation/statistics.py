"""Statistics over lakes and seeds: Student's intervals, interquartile means, hierarchical bootstrap intervals.

A mean over a few seeds or lakes has Student's interval. It covers the mean of eight normal values in 95 % of all samples; the
percentile bootstrap does in 89 %, BCa in 87 %. (Of eight lognormal values: 84, 78 and 83 %.)

Many settings are pooled by their interquartile mean, after Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice" (2021, arXiv 2108.13264): it is less sensitive to a few settings than the mean and less wasteful than the
median. Differences are taken within pairs, one lake and one seed, before anything is averaged.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

__all__ = [
    "NOT_CLEAR",
    "RESAMPLES",
    "Effect",
    "false_discovery_rates",
    "format_effect",
    "interquartile_mean",
    "is_clear",
    "mean_interval",
    "paired_effect",
    "pooled_effect",
    "share_interval",
    "student_interval",
]

RESAMPLES = 1000
NOT_CLEAR = "(not clear)"  # stands behind every effect whose interval does not exclude 0
EVERYTHING = (-np.inf, np.inf)


@dataclass(frozen=True)
class Effect:
    """Summary of a paired difference.

    Attributes:
        value: mean over lakes and seeds; over many settings, the interquartile mean of the settings' means.
        low, high: its interval, over new draws of lakes and seeds; NaN where a single number is all there is.
        share: share of lakes (or settings) whose mean over seeds is below 0.
        lakes, seeds: number compared; lakes with a value that is NaN or infinite are left out.
        p: two-sided p-value of the value 0 (NaN over many settings, and for a single number).
    """

    value: float
    low: float
    high: float
    share: float
    lakes: int
    seeds: int
    p: float = np.nan

    @property
    def is_clear(self) -> bool:
        """True if the interval excludes 0."""
        return bool(is_clear(self.low, self.high))


def is_clear(low: Any, high: Any) -> Any:
    """Return whether an interval excludes 0, or each of several (arrays); one that is NaN does not.

    Example:
        >>> is_clear(-0.5, 1.0), is_clear(-0.5, -0.1)
        (False, True)
    """
    return (low > 0) | (high < 0)


def format_effect(value: float, low: float, high: float, digits: int = 4) -> str:
    """Return a difference and its interval in words; "(not clear)" stands behind one whose interval does not exclude 0.

    Args:
        value, low, high: the difference and its interval.
        digits: number of decimals.

    Example:
        >>> format_effect(0.25, -0.5, 1.0, digits=2)
        '+0.25 [-0.50, +1.00] (not clear)'
    """
    note = "" if is_clear(low, high) else f" {NOT_CLEAR}"
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]{note}"


def interquartile_mean(values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """Return the mean of the middle half, over the last axis: a quarter of the values, rounded down, is dropped at each end.

    Example:
        >>> float(interquartile_mean(np.array([-100.0, 1.0, 2.0, 100.0])))
        1.5
    """
    count = values.shape[-1]
    cut = count // 4
    return np.sort(values, -1)[..., cut : count - cut].mean(-1)  # for rows this short sorting beats partition


def mean_interval(
    values: Float[np.ndarray, "*batch n"], *, level: float = 0.95, bounds: tuple[float, float] = EVERYTHING
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Return the mean over the last axis and its interval by Student's t (mean, low, high).

    One value has no interval: all three numbers are that value.

    Args:
        values: at least one along the last axis, such as one per seed.
        level: of the interval, in (0, 1).
        bounds: the least and the largest mean that there can be; the interval ends there.

    Example:
        >>> mean, low, high = mean_interval(np.array([[0.0, 1.0, 2.0]]))  # 1 ± 4.3027 / √3
        >>> mean, low.round(4), high.round(4)
        (array([1.]), array([-1.4841]), array([3.4841]))
        >>> _, low, high = mean_interval(np.array([0.9, 1.0]), bounds=(0, 1))
        >>> float(low.round(2)), float(high)
        (0.31, 1.0)
    """
    from scipy.special import stdtrit

    values = np.asarray(values, float)
    count, mean = values.shape[-1], values.mean(-1)
    if count == 1:
        return mean, mean.copy(), mean.copy()
    half = stdtrit(count - 1, 0.5 + level / 2) * values.std(-1, ddof=1) / np.sqrt(count)
    return mean, np.maximum(mean - half, bounds[0]), np.minimum(mean + half, bounds[1])


def student_interval(values: Float[np.ndarray, " n"], *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of a few values and its interval as `mean_interval` does, as plain numbers.

    Args:
        values: at least one.
        level: of the interval, in (0, 1).

    Example:
        >>> [round(x, 4) for x in student_interval(np.array([0.0, 1.0, 2.0]))]
        [1.0, -1.4841, 3.4841]
    """
    mean, low, high = (float(x) for x in mean_interval(values, level=level))
    return mean, low, high


def share_interval(hits: float, count: int, *, level: float = 0.95) -> tuple[float, float, float]:
    """Return a share and its interval by Wilson's score (share, low, high), which has a width at 0 and at 1, too.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).

    Args:
        hits: number of successes.
        count: number of independent trials, at least one.
        level: of the interval, in (0, 1).

    Example:
        >>> [round(x, 4) for x in share_interval(0, 10)]  # z² / (n + z²)
        [0.0, 0.0, 0.2775]
    """
    from scipy.special import ndtri

    share, z = hits / count, float(ndtri(0.5 + level / 2))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return share, max(0.0, centre - half), min(1.0, centre + half)


def paired_effect(difference: Float[np.ndarray, "L N"], *, level: float = 0.95) -> Effect:
    """Summarise a difference of two methods on the same lakes and seeds by its mean over both.

    The interval is Student's, over the means of the lakes, because the seeds of one lake are more alike than two lakes are; on
    one lake, over its seeds.

    Args:
        difference: one method minus the other, for each of L lakes and N seeds. A lake with a value that is NaN or infinite is
            left out.
        level: of the interval, in (0, 1).

    Example:
        >>> effect = paired_effect(np.array([[-1.0, -3.0], [-1.0, -1.0], [-3.0, -3.0]]))  # lakes: -2, -1, -3
        >>> effect.value, round(effect.low, 4), effect.share, effect.is_clear
        (-2.0, -4.4841, 1.0, False)
    """
    from scipy.special import stdtr

    difference = np.asarray(difference, float)
    difference = difference[np.isfinite(difference).all(-1)]
    lakes, seeds = difference.shape
    if not lakes:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0, seeds)
    means = difference.mean(-1)
    units = means if lakes > 1 else difference[0]
    value, low, high = student_interval(units, level=level)
    share = float((means < 0).mean())
    if len(units) == 1:
        return Effect(value, np.nan, np.nan, share, lakes, seeds)
    error = units.std(ddof=1) / np.sqrt(len(units))
    p = 2 * stdtr(len(units) - 1, -abs(value) / error) if error > 0 else float(value == 0)
    return Effect(value, low, high, share, lakes, seeds, float(p))


def pooled_effect(
    differences: Sequence[Float[np.ndarray, "L N"]],
    *,
    strata: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Effect:
    """Summarise a difference over many settings, which count equally, by the interquartile mean of the settings' means.

    For its interval settings are resampled, as many of each stratum as there are, and within each its lakes, and seeds on
    each lake. The percentiles taken are those of Hesterberg's expanded interval ("What Teachers Should Know About the
    Bootstrap", 2015), which is as wide as Student's: n settings in K strata vary (n - K) / n as much when they are resampled,
    and have n - K degrees of freedom. `Effect.share` is the share of settings with a mean below 0, `Effect.lakes` counts
    settings.

    Args:
        differences: for each setting, one method minus the other, for each lake and seed; sizes may differ. A lake with a
            value that is NaN or infinite is left out, and so is a setting without a lake.
        strata: each setting's kind (default: all of one; so too where each setting has a kind of its own).
        level: of the interval, in (0, 1).
        seed: of the resampling; the same seed gives the same interval.

    Example:
        >>> effect = pooled_effect([np.full((2, 3), 1.0), np.full((4, 3), 2.0)])
        >>> effect.value, effect.lakes
        (1.5, 2)
    """
    finite = [np.asarray(d, float)[np.isfinite(d).all(-1)] for d in differences]
    sound = [i for i, difference in enumerate(finite) if len(difference)]
    if not sound:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0, 0)
    if len(sound) == 1:  # its lakes are all that tells how far it would vary
        return replace(paired_effect(finite[sound[0]], level=level), lakes=1)
    random = np.random.default_rng(seed)
    means = np.array([finite[i].mean() for i in sound])
    again = np.stack(
        [finite[i].ravel()[_resampled(*finite[i].shape, seed, i)].mean(-1) for i in sound]
    )  # [settings, RESAMPLES]
    kinds: dict[Hashable, list[int]] = {}
    for row, i in enumerate(sound):
        kinds.setdefault(None if strata is None else strata[i], []).append(row)
    if len(kinds) == len(sound):
        kinds = {None: list(range(len(sound)))}
    drawn = np.concatenate([random.choice(rows, (len(rows), RESAMPLES)) for rows in kinds.values()])
    resampled = interquartile_mean(again[drawn, random.integers(0, RESAMPLES, drawn.shape)].T)
    tail = _expanded_tail(len(sound), len(kinds), level)
    # np.quantile does the same, and takes six times as long for so few numbers.
    low, high = np.interp([tail, 1 - tail], np.linspace(0, 1, RESAMPLES), np.sort(resampled))
    seeds = max(finite[i].shape[1] for i in sound)
    value, share = float(interquartile_mean(means)), float((means < 0).mean())
    return Effect(value, float(low), float(high), share, len(sound), seeds)


def _expanded_tail(count: int, strata: int, level: float) -> float:
    """Return the share of resamples beyond each end of an expanded percentile interval."""
    from scipy.special import ndtr, stdtrit

    freedom = count - strata
    return float(ndtr(-np.sqrt(count / freedom) * stdtrit(freedom, 0.5 + level / 2)))


def false_discovery_rates(p: Sequence[float]) -> Float[np.ndarray, " n"]:
    """Return p-values adjusted for their number by Benjamini and Hochberg: the false-discovery rate at which each is rejected.

    Args:
        p: of several tests; NaN where nothing was tested, which does not count.

    Example:
        >>> false_discovery_rates([0.01, 0.04, np.nan, 0.03]).round(3)  # 3/1, 3/3, 3/2 times, and no less than a larger one's
        array([0.03, 0.04,  nan, 0.04])
    """
    from scipy.stats import false_discovery_control

    values = np.array(p, float)
    tested = np.isfinite(values)
    if tested.any():
        values[tested] = false_discovery_control(values[tested])
    return values


@lru_cache(maxsize=1024)  # a study asks many questions of tables of few shapes
def _resampled(lakes: int, seeds: int, *seed: int) -> Int[np.ndarray, "R X"]:
    """Return RESAMPLES draws of indices into lakes times seeds: lakes with replacement, and seeds on each of them."""
    random = np.random.default_rng(seed)
    lake = random.integers(0, lakes, (RESAMPLES, lakes, 1))
    return (lake * seeds + random.integers(0, seeds, (RESAMPLES, lakes, seeds))).reshape(RESAMPLES, -1)
