"""Statistics that hold over lakes and seeds: interquartile means and hierarchical bootstrap intervals.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021): the interquartile mean is
less swayed by a few lakes than the mean and less wasteful than the median, and an interval says what other seeds would have
shown. Differences are taken within pairs, one lake and one seed, before anything is averaged.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 1000


@dataclass(frozen=True)
class Effect:
    """Of a paired difference.

    Attributes:
        value: interquartile mean over lakes and seeds.
        low, high: its 95 % interval, if lakes and seeds were drawn again.
        share: of lakes whose mean over seeds is below zero.
        lakes, seeds: how many were compared, pairs that are no number left out.
    """

    value: float
    low: float
    high: float
    share: float
    lakes: int
    seeds: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def interquartile_mean(values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """Mean of the middle half, over the last axis: a quarter of the values, rounded down, is left out at either end."""
    count = values.shape[-1]
    cut = count // 4
    return np.sort(values, -1)[..., cut : count - cut].mean(-1)  # for rows this short sorting beats partition


def student_interval(values: Float[np.ndarray, " n"], *, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of a few values and its interval by Student's t (mean, low, high), for which a bootstrap of so few is too narrow.

    One value has no interval: all three are it.
    """
    from scipy.special import stdtrit

    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return mean, mean, mean
    half = float(stdtrit(count - 1, 0.5 + level / 2) * np.std(values, ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def paired_effect(difference: Float[np.ndarray, "L N"], *, level: float = 0.95, seed: int = 0) -> Effect:
    """A difference of two methods on the same lakes and seeds: its interquartile mean over both.

    The bootstrap is hierarchical: lakes are drawn again, and then seeds on each of them, for the seeds of one lake are more
    alike than two lakes are. With one lake only its seeds are drawn again.

    Args:
        difference: one method less the other, of each lake and seed. A lake with a value that is no number is left out.
        level: of the interval.
        seed: of the resamples; the same seed gives the same interval.
    """
    difference = np.asarray(difference, float)
    difference = difference[np.isfinite(difference).all(-1)]
    lakes, seeds = difference.shape
    if not lakes:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0, seeds)
    share = float((difference.mean(-1) < 0).mean())
    drawn = difference.ravel()[_drawn_again(lakes, seeds, seed)]
    return _effect(difference.ravel(), interquartile_mean(drawn), share, lakes, seeds, level)


def pooled_effect(
    differences: Sequence[Float[np.ndarray, "L N"]],
    *,
    strata: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Effect:
    """A difference over many settings, each of which counts alike: the interquartile mean of the settings' means.

    For its interval settings are drawn again, as many of each stratum as there are, and within each its lakes, and seeds on
    each lake. `Effect.share` is that of settings with a mean below zero, `Effect.lakes` counts settings.

    Args:
        differences: of each setting, one method less the other, of each lake and seed; they may differ in size. A lake with a
            value that is no number is left out, and so is a setting without a lake.
        strata: each setting's kind (default: all of one).
        level, seed: as in `paired_effect`.
    """
    kept = [np.asarray(d, float)[np.isfinite(d).all(-1)] for d in differences]
    sound = [i for i, difference in enumerate(kept) if len(difference)]
    if not sound:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0, 0)
    random = np.random.default_rng(seed)
    means = np.array([kept[i].mean() for i in sound])
    again = np.stack([kept[i].ravel()[_drawn_again(*kept[i].shape, seed, i)].mean(-1) for i in sound])  # [settings, RESAMPLES]
    kinds: dict[Hashable, list[int]] = {}
    for row, i in enumerate(sound):
        kinds.setdefault(None if strata is None else strata[i], []).append(row)
    drawn = np.concatenate([random.choice(rows, (len(rows), RESAMPLES)) for rows in kinds.values()])
    resampled = again[drawn, random.integers(0, RESAMPLES, drawn.shape)]
    seeds = max(kept[i].shape[1] for i in sound)
    return _effect(means, interquartile_mean(resampled.T), float((means < 0).mean()), len(sound), seeds, level)


@lru_cache(maxsize=1024)  # a study asks many questions of tables of few shapes
def _drawn_again(lakes: int, seeds: int, *seed: int) -> Int[np.ndarray, "R X"]:
    """Which of the lakes times seeds: lakes with replacement, and seeds on each, RESAMPLES times."""
    random = np.random.default_rng(seed)
    lake = random.integers(0, lakes, (RESAMPLES, lakes, 1))
    return (lake * seeds + random.integers(0, seeds, (RESAMPLES, lakes, seeds))).reshape(RESAMPLES, -1)


def _effect(
    values: Float[np.ndarray, " X"], resampled: Float[np.ndarray, " R"], share: float, lakes: int, seeds: int, level: float
) -> Effect:
    # np.quantile does the same, and takes six times as long for so few numbers.
    low, high = np.interp([(1 - level) / 2, (1 + level) / 2], np.linspace(0, 1, RESAMPLES), np.sort(resampled))
    return Effect(float(interquartile_mean(values)), float(low), float(high), share, lakes, seeds)
