"""Effects over lakes and seeds: against scipy, against known distributions, and where there is little to go by."""

import numpy as np
import pytest
from scipy.stats import trim_mean

from ift_gridworld.evaluation.statistics import interquartile_mean, paired_effect, pooled_effect, student_interval


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 100, 101])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count):
    values = np.random.default_rng(count).normal(size=(3, count))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=-1), rtol=1e-12)


def test_outliers_do_not_sway_it():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e9])
    assert interquartile_mean(values) == pytest.approx(4.5)


@pytest.mark.slow
def test_an_interval_covers_the_truth_as_often_as_it_says():
    """60 studies of 12 lakes and 6 seeds, both normal; so few lakes give intervals that are a little too short."""
    random = np.random.default_rng(0)
    covered = 0
    for study in range(60):
        lake = random.normal(0.3, 1.0, (12, 1))
        found = paired_effect(lake + random.normal(0, 0.5, (12, 6)), seed=study)
        covered += found.low <= 0.3 <= found.high
    assert 0.8 <= covered / 60 <= 1.0


def test_lakes_that_differ_widen_the_interval_more_than_seeds_do():
    """The same 96 numbers: as eight seeds of twelve lakes that each have a level of their own, and shuffled among the lakes."""
    random = np.random.default_rng(1)
    values = random.normal(0, 1, (12, 1)) + 0.1 * random.normal(size=(12, 8))
    shuffled = random.permutation(values.ravel()).reshape(12, 8)
    one, other = (paired_effect(x) for x in (values, shuffled))
    assert one.value == pytest.approx(other.value)
    assert one.high - one.low > 1.5 * (other.high - other.low)


def test_shares_counts_and_lakes_that_are_no_number():
    difference = np.array([[-1.0, -2.0], [3.0, 4.0], [np.nan, 0.0], [-1.0, 0.5]])
    found = paired_effect(difference)
    assert (found.lakes, found.seeds) == (3, 2)
    assert found.share == pytest.approx(2 / 3)
    many = np.random.default_rng(3).normal(size=(9, 4))
    assert paired_effect(many) == paired_effect(many) != paired_effect(many, seed=1)  # to the last digit
    nothing = paired_effect(difference[2:3])
    assert nothing.lakes == 0 and np.isnan(nothing.value) and not nothing.is_clear


def test_one_lake_has_an_interval_of_its_seeds_and_one_number_has_none():
    seeds = paired_effect(np.arange(8.0)[None])
    assert seeds.low < seeds.value < seeds.high and seeds.is_clear
    alone = paired_effect(np.array([[-2.0]]))
    assert alone.value == alone.low == alone.high == -2 and alone.is_clear and alone.share == 1


def test_each_setting_counts_alike_whatever_its_size():
    """One setting of many lakes, three of one lake: the interquartile mean of the four means, by hand."""
    settings = [np.full((50, 3), 10.0), np.full((1, 8), 1.0), np.full((1, 4), 2.0), np.full((1, 4), -3.0)]
    found = pooled_effect(settings)
    assert found.value == pytest.approx((1 + 2) / 2) and found.share == 1 / 4 and found.lakes == 4
    assert pooled_effect(settings) == found  # to the last digit
    mixed = pooled_effect([np.array([[np.nan, 1.0], [2.0, 4.0]]), np.full((2, 2), np.nan)])
    assert mixed.value == 3 and mixed.lakes == 1
    assert pooled_effect([np.full((2, 2), np.nan)]).lakes == 0


def test_settings_that_differ_widen_the_interval_more_than_their_lakes_do():
    """What a setting shifts is shared by its lakes, so twelve settings of five lakes are no sixty witnesses."""
    random = np.random.default_rng(2)
    values = random.normal(0, 1, (12, 1, 1)) + 0.1 * random.normal(size=(12, 5, 8))
    pooled, apart = pooled_effect(list(values)), paired_effect(values.reshape(60, 8))
    assert pooled.high - pooled.low > 1.5 * (apart.high - apart.low)


def test_strata_keep_their_share():
    """Two kinds of settings that differ and do not vary: if as many of each are drawn again, nothing varies."""
    kinds = ["firm"] * 8 + ["slippery"] * 8
    values = [np.zeros((1, 2))] * 8 + [np.ones((1, 2))] * 8
    free, held = pooled_effect(values), pooled_effect(values, strata=kinds)
    assert free.low < free.high and held.low == held.value == held.high == 0.5


@pytest.mark.slow
def test_a_pooled_interval_covers_the_truth_as_often_as_it_says():
    """60 studies of 30 settings, three lakes, four seeds, all of them normal."""
    random, covered = np.random.default_rng(4), 0
    for study in range(60):
        settings = 0.3 + random.normal(0, 1, (30, 1, 1)) + random.normal(0, 1, (30, 3, 1)) + random.normal(0, 1, (30, 3, 4))
        found = pooled_effect(list(settings), seed=study)
        covered += found.low <= 0.3 <= found.high
    assert 0.85 <= covered / 60 <= 1.0


def test_students_interval():
    """Of 1, 2, 3, 4: 2.5 ± 3.182 · 1.291 / 2; it holds the truth 95 times in a hundred, as no bootstrap of four does."""
    mean, low, high = student_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert mean == 2.5 and high - mean == pytest.approx(3.1824463 * np.sqrt(5 / 3) / 2) == mean - low
    assert student_interval(np.array([7.0])) == (7.0, 7.0, 7.0)
    drawn = np.random.default_rng(0).normal(size=(4000, 4))
    bounds = np.array([student_interval(values) for values in drawn])
    holds = ((bounds[:, 1] < 0) & (bounds[:, 2] > 0)).mean()
    assert abs(holds - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)
