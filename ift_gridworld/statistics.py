"""Statistics that hold over lakes and seeds: interquartile means and hierarchical bootstrap intervals.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021): the interquartile mean is
less swayed by a few lakes than the mean and less wasteful than the median, and an interval says what other seeds would have
shown. Differences are taken within pairs, one lake and one seed, before anything is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000


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
    values = np.sort(values, -1)
    cut = values.shape[-1] // 4
    return values[..., cut : values.shape[-1] - cut].mean(-1)


def paired_effect(difference: Float[np.ndarray, "L N"], *, level: float = 0.95, seed: int = 0) -> Effect:
    """A difference of two methods on the same lakes and seeds.

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
    value = float(interquartile_mean(difference.ravel()))
    share = float((difference.mean(-1) < 0).mean())
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = random.integers(0, lakes, (lakes, 1))
        means[i] = interquartile_mean(difference[drawn, random.integers(0, seeds, (lakes, seeds))].ravel())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Effect(value, float(low), float(high), share, lakes, seeds)
