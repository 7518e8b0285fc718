"""Statistics that hold over lakes and seeds: interquartile means and hierarchical bootstrap intervals.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021): the interquartile mean is
less swayed by a few lakes than the mean and less wasteful than the median, and an interval says what other seeds would have
shown. Differences are taken within pairs, one lake and one seed, before anything is averaged.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

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
    values = np.partition(values, [cut, count - cut - 1], -1)
    return values[..., cut : count - cut].mean(-1)


def paired_effect(
    difference: Float[np.ndarray, "L N"],
    *,
    groups: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Effect:
    """A difference of two methods on the same lakes and seeds.

    The bootstrap is hierarchical: lakes are drawn again, and then seeds on each of them, for the seeds of one lake are more
    alike than two lakes are. With one lake only its seeds are drawn again.

    Args:
        difference: one method less the other, of each lake and seed. A lake with a value that is no number is left out.
        groups: of each lake, what it shares with others, such as the setting that they were tried under; groups are then
            drawn first, and lakes within each.
        strata: of each lake, the kind of its group: as many groups of each kind are drawn as there are.
        level: of the interval.
        seed: of the resamples; the same seed gives the same interval.
    """
    difference = np.asarray(difference, float)
    sound = np.isfinite(difference).all(-1)
    lakes, seeds = int(sound.sum()), difference.shape[1]
    if not lakes:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0, seeds)
    difference = difference[sound]
    value = float(interquartile_mean(difference.ravel()))
    share = float((difference.mean(-1) < 0).mean())
    _, group = np.unique([str(x) for x in groups] if groups is not None else np.arange(len(sound)), return_inverse=True)
    _, stratum = np.unique([str(x) for x in strata] if strata is not None else np.zeros(len(sound)), return_inverse=True)
    draw = _Hierarchy(group[sound], stratum[sound])
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = draw(random)[:, None]
        means[i] = interquartile_mean(difference[drawn, random.integers(0, seeds, (len(drawn), seeds))].ravel())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Effect(value, float(low), float(high), share, lakes, seeds)


class _Hierarchy:
    """Draws groups again, each from its stratum, and lakes from each group drawn."""

    def __init__(self, group: Int[np.ndarray, " L"], stratum: Int[np.ndarray, " L"]) -> None:
        order = np.lexsort((group, stratum))
        _, self.first, self.count = np.unique(group[order], return_index=True, return_counts=True)
        kinds, self.kind = np.unique(stratum[order][self.first], return_inverse=True)
        self.order, self.of_kind = order, [np.flatnonzero(self.kind == kind) for kind in range(len(kinds))]

    def __call__(self, random: np.random.Generator) -> Int[np.ndarray, " L'"]:
        groups = np.concatenate([random.choice(mine, len(mine)) for mine in self.of_kind])
        counts = self.count[groups]
        within = random.integers(0, np.repeat(counts, counts))
        return self.order[np.repeat(self.first[groups], counts) + within]
