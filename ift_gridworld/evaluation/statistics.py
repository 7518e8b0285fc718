"""Statistics over lakes and seeds: interquartile means and hierarchical bootstrap intervals.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021, arXiv 2108.13264): the
interquartile mean is less sensitive to a few lakes than the mean and less wasteful than the median, and an interval says what
other seeds would have shown. Differences are taken within pairs, one lake and one seed, before anything is averaged.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

__all__ = ["RESAMPLES", "Effect", "interquartile_mean", "paired_effect", "pooled_effect", "student_interval"]

RESAMPLES = 1000


@dataclass(frozen=True)
class Effect:
    """Summary of a paired difference.

    Attributes:
        value: interquartile mean over lakes and seeds.
        low, high: its bootstrap interval, over new draws of lakes and seeds.
        share: share of lakes whose mean over seeds is below 0.
        lakes, seeds: number compared; lakes with a value that is NaN or infinite are left out.
    """

    value: float
    low: float
    high: float
    share: float
    lakes: int
    seeds: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def interquartile_mean(values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """Return the mean of the middle half, over the last axis: a quarter of the values, rounded down, is dropped at each end.

    Example:
        >>> float(interquartile_mean(np.array([-100.0, 1.0, 2.0, 100.0])))
        1.5
    """
    count = values.shape[-1]
    cut = count // 4
    return np.sort(values, -1)[..., cut : count - cut].mean(-1)  # for rows this short sorting beats partition


def student_interval(values: Float[np.ndarray, " n"], *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of a few values and its interval by Student's t (mean, low, high); a bootstrap of few is too narrow.

    One value has no interval: all three numbers are that value.

    Args:
        values: at least one.
        level: of the interval, in (0, 1).

    Example:
        >>> [round(x, 4) for x in student_interval(np.array([0.0, 1.0, 2.0]))]  # 1 ± 4.3027 / √3
        [1.0, -1.4841, 3.4841]
    """
    from scipy.special import stdtrit

    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return mean, mean, mean
    half = float(stdtrit(count - 1, 0.5 + level / 2) * np.std(values, ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def paired_effect(difference: Float[np.ndarray, "L N"], *, level: float = 0.95, seed: int = 0) -> Effect:
    """Summarise a difference of two methods on the same lakes and seeds by its interquartile mean over both.

    The bootstrap is hierarchical: lakes are resampled, and then seeds on each of them, because the seeds of one lake are more
    alike than two lakes are. With one lake only its seeds are resampled.

    Args:
        difference: one method minus the other, for each of L lakes and N seeds. A lake with a value that is NaN or infinite is
            left out.
        level: of the interval, in (0, 1).
        seed: of the resampling; the same seed gives the same interval.

    Example:
        >>> effect = paired_effect(np.full((3, 4), -0.5))
        >>> effect.value, effect.high, effect.share, effect.is_clear
        (-0.5, -0.5, 1.0, True)
    """
    difference = np.asarray(difference, float)
    difference = difference[np.isfinite(difference).all(-1)]
    lakes, seeds = difference.shape
    if not lakes:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0, seeds)
    share = float((difference.mean(-1) < 0).mean())
    resampled = difference.ravel()[_resampled(lakes, seeds, seed)]
    return _effect(difference.ravel(), interquartile_mean(resampled), share, lakes, seeds, level)


def pooled_effect(
    differences: Sequence[Float[np.ndarray, "L N"]],
    *,
    strata: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Effect:
    """Summarise a difference over many settings, which count equally, by the interquartile mean of the settings' means.

    For its interval settings are resampled, as many of each stratum as there are, and within each its lakes, and seeds on
    each lake. `Effect.share` is the share of settings with a mean below 0, `Effect.lakes` counts settings.

    Args:
        differences: for each setting, one method minus the other, for each lake and seed; sizes may differ. A lake with a
            value that is NaN or infinite is left out, and so is a setting without a lake.
        strata: each setting's kind (default: all of one).
        level, seed: as in `paired_effect`.

    Example:
        >>> effect = pooled_effect([np.full((2, 3), 1.0), np.full((4, 3), 2.0)])
        >>> effect.value, effect.lakes
        (1.5, 2)
    """
    finite = [np.asarray(d, float)[np.isfinite(d).all(-1)] for d in differences]
    sound = [i for i, difference in enumerate(finite) if len(difference)]
    if not sound:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0, 0)
    random = np.random.default_rng(seed)
    means = np.array([finite[i].mean() for i in sound])
    again = np.stack(
        [finite[i].ravel()[_resampled(*finite[i].shape, seed, i)].mean(-1) for i in sound]
    )  # [settings, RESAMPLES]
    kinds: dict[Hashable, list[int]] = {}
    for row, i in enumerate(sound):
        kinds.setdefault(None if strata is None else strata[i], []).append(row)
    drawn = np.concatenate([random.choice(rows, (len(rows), RESAMPLES)) for rows in kinds.values()])
    resampled = again[drawn, random.integers(0, RESAMPLES, drawn.shape)]
    seeds = max(finite[i].shape[1] for i in sound)
    return _effect(means, interquartile_mean(resampled.T), float((means < 0).mean()), len(sound), seeds, level)


@lru_cache(maxsize=1024)  # a study asks many questions of tables of few shapes
def _resampled(lakes: int, seeds: int, *seed: int) -> Int[np.ndarray, "R X"]:
    """Return RESAMPLES draws of indices into lakes times seeds: lakes with replacement, and seeds on each of them."""
    random = np.random.default_rng(seed)
    lake = random.integers(0, lakes, (RESAMPLES, lakes, 1))
    return (lake * seeds + random.integers(0, seeds, (RESAMPLES, lakes, seeds))).reshape(RESAMPLES, -1)


def _effect(
    values: Float[np.ndarray, " X"], resampled: Float[np.ndarray, " R"], share: float, lakes: int, seeds: int, level: float
) -> Effect:
    # np.quantile does the same, and takes six times as long for so few numbers.
    low, high = np.interp([(1 - level) / 2, (1 + level) / 2], np.linspace(0, 1, RESAMPLES), np.sort(resampled))
    return Effect(float(interquartile_mean(values)), float(low), float(high), share, lakes, seeds)
