"""Effects over lakes and seeds: against scipy, against known distributions, and where there is little to go by."""

import numpy as np
import pytest
from scipy.stats import bootstrap, norm, trim_mean, ttest_1samp, ttest_rel
from scipy.stats import t as student_t

from ift_gridworld.evaluation import statistics
from ift_gridworld.evaluation.statistics import (
    Effect,
    _expanded_tail,
    _resampled,
    false_discovery_rates,
    format_effect,
    interquartile_mean,
    mean_interval,
    paired_effect,
    pooled_effect,
    student_interval,
)

SEEDS = 8  # of the README's table and of the studies


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 100, 101])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count):
    values = np.random.default_rng(count).normal(size=(3, count))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=-1), rtol=1e-12)


def test_outliers_do_not_sway_it():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e9])
    assert interquartile_mean(values) == pytest.approx(4.5)


# ---- means ----


def test_students_interval():
    """Of 1, 2, 3, 4: 2.5 ± 3.182 · 1.291 / 2, as scipy has it."""
    values = np.array([1.0, 2.0, 3.0, 4.0])
    mean, low, high = student_interval(values)
    assert mean == 2.5 and high - mean == pytest.approx(3.1824463 * np.sqrt(5 / 3) / 2) == mean - low
    assert student_interval(values, level=0.8)[1:] == pytest.approx(ttest_1samp(values, 0).confidence_interval(0.8))
    assert student_interval(np.array([7.0])) == (7.0, 7.0, 7.0)
    assert mean_interval(values, bounds=(2, 3))[1:] == (2, 3)
    rows = mean_interval(np.stack([values, 10 * values]))
    np.testing.assert_allclose(rows, np.stack([student_interval(values), student_interval(10 * values)], 1))


def drawn(kind, count):
    """Samples of eight, [count, 8], and their true mean."""
    random = np.random.default_rng(0)
    return {
        "normal": (random.normal(size=(count, SEEDS)), 0.0),
        "lognormal": (random.lognormal(size=(count, SEEDS)), np.e**0.5),
    }[kind]


@pytest.mark.parametrize(("kind", "covers"), [("normal", 0.95), ("lognormal", 0.84)])
def test_an_interval_of_eight_covers_the_mean_as_often_as_the_module_says(kind, covers):
    """2,000 samples; four binomial standard deviations are 0.02 and 0.033. The normal one is exact."""
    values, truth = drawn(kind, 2000)
    _, low, high = mean_interval(values)
    covered = ((low <= truth) & (truth <= high)).mean()
    assert covered == pytest.approx(covers, abs=4 * np.sqrt(covers * (1 - covers) / 2000))
    assert covered >= 0.94 or kind == "lognormal"


@pytest.mark.parametrize(("kind", "covers"), [("normal", 0.87), ("lognormal", 0.83)])
def test_bca_covers_less_than_student_does(kind, covers):
    """Why it is not used: the numbers that the module's documentation gives."""
    values, truth = drawn(kind, 400)
    found = bootstrap((values,), np.mean, axis=1, n_resamples=500, method="BCa", vectorized=True, random_state=0)
    low, high = found.confidence_interval
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(covers, abs=4 * np.sqrt(covers * (1 - covers) / 400))


# ---- one setting ----


def test_lakes_are_the_witnesses_and_on_one_lake_its_seeds():
    """Three lakes of four seeds each: mean and interval of the three means, not of the twelve numbers."""
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 3, 4))
    found = paired_effect(first - second)
    test = ttest_rel(first.mean(1), second.mean(1))
    assert found.value == pytest.approx((first - second).mean()) and found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(test.confidence_interval(0.95))
    two = paired_effect((first - second)[:2])
    assert (two.low, two.high) == pytest.approx(student_interval((first - second)[:2].mean(1))[1:])
    alone, test = paired_effect((first - second)[:1]), ttest_rel(first[0], second[0])
    assert (alone.value, alone.p) == pytest.approx(((first - second)[0].mean(), test.pvalue))
    assert (alone.low, alone.high) == pytest.approx(test.confidence_interval(0.95))


def test_shares_counts_and_lakes_that_are_no_number():
    """The third lake has a seed that diverged and is left out whole; the last one's mean, not its median seed, is below 0."""
    found = paired_effect(np.array([[-1.0, -2.0, -1.0], [3.0, 4.0, 3.0], [np.nan, 0.0, 0.0], [-9.0, 0.5, 0.5]]))
    assert (found.lakes, found.seeds) == (3, 3)
    assert found.share == pytest.approx(2 / 3) and found.value == pytest.approx((-4 / 3 + 10 / 3 - 8 / 3) / 3)
    bounds = [np.array([[value, value]]) for value in (-0.5, 0.0, 0.5, 1.0)]  # 0 is not below 0
    assert paired_effect(np.concatenate(bounds)).share == pooled_effect(bounds).share == 1 / 4
    nothing = paired_effect(np.array([[np.inf, 0.0]]))
    assert nothing.lakes == 0 and np.isnan(nothing.value) and not nothing.is_clear


def test_an_interval_says_what_is_clear_and_one_number_has_none():
    assert paired_effect(np.arange(8.0)[None]).is_clear and paired_effect(-np.arange(8.0)[None]).is_clear
    assert not paired_effect(np.array([[-1.0, 2.0, 1.0]])).is_clear
    assert [Effect(0.1, low, high, 0, 1, 8).is_clear for low, high in ((0, 0.2), (-0.2, 0), (1e-9, 0.2))] == [
        False,
        False,
        True,
    ]
    alone = paired_effect(np.array([[-2.0]]))
    assert alone.value == -2 and np.isnan([alone.low, alone.high, alone.p]).all() and not alone.is_clear and alone.share == 1
    assert paired_effect(np.full((2, 2), 3.0)).p == 0 and paired_effect(np.zeros((2, 2))).p == 1


# ---- many settings ----


def test_each_setting_counts_alike_whatever_its_size():
    """One setting of many lakes, three of one lake: the interquartile mean of the four means, by hand."""
    settings = [np.full((50, 3), 10.0), np.full((1, 8), 1.0), np.full((1, 4), 2.0), np.full((1, 4), -3.0)]
    found = pooled_effect(settings)
    assert found.value == pytest.approx((1 + 2) / 2) and found.share == 1 / 4 and found.lakes == 4 and found.seeds == 8
    many = [np.full((1, 1), value) for value in np.random.default_rng(5).normal(size=30)]
    assert pooled_effect(many) == pooled_effect(many), "to the last digit"
    assert pooled_effect(many).low != pooled_effect(many, seed=1).low
    mixed = pooled_effect([np.array([[np.nan, 1.0], [2.0, 4.0]]), np.full((2, 2), np.nan)])
    assert mixed.value == 3 and mixed.lakes == 1
    two = pooled_effect([np.array([[np.nan, 1.0], [2.0, 4.0]]), np.array([[5.0, np.inf], [5.0, 5.0]])])
    assert two.value == (3 + 5) / 2 and two.lakes == 2, "without the lakes on which one seed is no number"
    nothing = pooled_effect([np.full((2, 2), np.nan)])
    assert (nothing.lakes, nothing.seeds) == (0, 0) and np.isnan(nothing.value)


def test_both_ends_of_a_pooled_interval_leave_out_as_much():
    """Thirty values, symmetric about 0."""
    half = np.random.default_rng(6).normal(size=15)
    found = pooled_effect([np.array([[value]]) for value in (*half, *-half)])
    assert abs(found.low + found.high) < 0.12 * (found.high - found.low)


def test_what_is_drawn_again_are_whole_lakes_and_seeds_of_each():
    """Of three lakes and four seeds, numbered row by row, each draw has three lakes of four seeds."""
    drawn = _resampled(3, 4, 0).reshape(-1, 3, 4)
    lakes, seeds = drawn // 4, drawn % 4
    assert (lakes == lakes[..., :1]).all() and set(drawn.ravel()) == set(range(12))
    np.testing.assert_allclose([(lakes == i).mean() for i in range(3)], 1 / 3, atol=0.03)
    np.testing.assert_allclose([(seeds == i).mean() for i in range(4)], 1 / 4, atol=0.03)


def test_one_setting_alone_has_the_interval_of_its_lakes():
    values = np.random.default_rng(3).normal(size=(6, 2))
    pooled, paired = pooled_effect([values, np.full((1, 2), np.nan)]), paired_effect(values)
    assert (pooled.value, pooled.low, pooled.high, pooled.lakes) == (paired.value, paired.low, paired.high, 1)
    assert np.isnan(pooled_effect([np.array([[0.3]])]).low)  # one rank correlation tells nothing of others


def spread(settings, **options):
    """The width of a pooled interval, less what numbers that all agree have."""
    found = pooled_effect(settings, **options)
    return found.high - found.low


def test_settings_lakes_and_seeds_are_each_drawn_again():
    """Twelve settings that differ in one thing alone: their means, their lakes, the seeds of their lakes."""
    plus_minus = np.array([1.0, -1.0])
    assert spread([np.zeros((2, 2))] * 12) == 0
    assert spread([np.full((2, 2), sign) for sign in np.tile(plus_minus, 6)]) > 1
    assert spread([np.repeat(plus_minus[:, None], 2, 1)] * 12) > 0.5  # every setting's mean is 0, its lakes' are 1 and -1
    assert spread([np.repeat(plus_minus[None], 2, 0)] * 12) > 0.5  # every lake's mean is 0, its seeds' are 1 and -1


def test_seeds_are_drawn_on_each_lake_by_itself():
    """Seeds 1 and -1 on each of 50 lakes. Drawn by themselves they cancel: a setting's mean varies by sqrt(1 / 2 / 50) = 0.1,
    and twelve settings' by 0.03 or so, five of which make the interval. Drawn once for all, by 0.7 and 0.2."""
    assert spread([np.tile([1.0, -1.0], (50, 1))] * 12) < 0.3


def test_settings_that_differ_widen_the_interval_more_than_their_lakes_do():
    """What a setting shifts is shared by its lakes, so twelve settings of five lakes are no sixty witnesses."""
    random = np.random.default_rng(2)
    values = random.normal(0, 1, (12, 1, 1)) + 0.1 * random.normal(size=(12, 5, 8))
    apart = paired_effect(values.reshape(60, 8))
    assert spread(list(values)) > 1.5 * (apart.high - apart.low)


def test_strata_keep_their_share():
    """Two kinds of settings that differ and do not vary: if as many of each are drawn again, nothing varies."""
    kinds = ["firm"] * 8 + ["slippery"] * 8
    values = [np.zeros((1, 2))] * 8 + [np.ones((1, 2))] * 8
    free, held = pooled_effect(values), pooled_effect(values, strata=kinds)
    assert free.low < free.high and held.low == held.value == held.high == 0.5
    assert pooled_effect(values, strata=list(range(16))) == free  # kinds of one setting each say nothing of their spread


@pytest.mark.parametrize(("count", "kinds"), [(8, 1), (12, 4)])
def test_percentiles_are_expanded_to_students_width(count, kinds):
    """Where resamples are normal: drawn again, n settings in K kinds vary (n - K) / n as much as they do in truth."""
    freedom = count - kinds
    resampled = norm(scale=np.sqrt(freedom / count))
    assert -resampled.ppf(_expanded_tail(count, kinds, 0.9)) == pytest.approx(student_t(freedom).ppf(0.95))


@pytest.mark.parametrize("kinds", [1, 2, 5])
def test_percentiles_are_expanded_by_the_number_of_settings_and_of_their_kinds(kinds, monkeypatch):
    taken = []
    monkeypatch.setattr(statistics, "_expanded_tail", lambda *arguments: taken.append(arguments) or 0.1)
    empty = np.full((1, 1), np.nan)  # a setting in which nothing can be compared is none
    pooled_effect([*np.zeros((10, 1, 1)), empty], strata=[*(i % kinds for i in range(10)), "another"], level=0.8)
    assert taken == [(10, kinds, 0.8)]


@pytest.mark.parametrize(("count", "kinds", "covers"), [(8, 1, 0.97), (12, 4, 0.92)])
def test_a_pooled_interval_covers_the_truth_about_as_often_as_it_says(count, kinds, covers):
    """250 studies of 8 settings, or of 12 in four kinds, each one number: there is nothing within to draw again, which in a
    study adds to the width. Percentiles that are not expanded cover 0.93 and 0.85."""
    random, covered = np.random.default_rng(4), 0
    strata = [i % kinds for i in range(count)]
    levels = (np.arange(kinds) - (kinds - 1) / 2) / 2
    for study in range(250):
        values = random.normal(size=count) + levels[strata]
        found = pooled_effect([np.array([[value]]) for value in values], strata=strata, seed=study)
        covered += found.low <= 0 <= found.high
    assert covered / 250 == pytest.approx(covers, abs=4 * np.sqrt(covers * (1 - covers) / 250))


# ---- in words, and among many ----


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.12345, 0.1, 0.2), "+0.1235 [+0.1000, +0.2000]"),
        ((-0.12345, -0.2, -0.1), "-0.1235 [-0.2000, -0.1000]"),
        ((0.1, -0.1, 0.3), "+0.1000 [-0.1000, +0.3000] (not clear)"),
        ((0.1, 0.0, 0.3), "+0.1000 [+0.0000, +0.3000] (not clear)"),
        ((-0.1, -0.3, 0.0), "-0.1000 [-0.3000, +0.0000] (not clear)"),
        ((0.1, np.nan, np.nan), "+0.1000 [+nan, +nan] (not clear)"),
    ],
)
def test_an_effect_in_words_says_where_it_is_not_clear(numbers, text):
    assert format_effect(*numbers) == text


def test_false_discovery_rates_by_hand():
    """Benjamini and Hochberg: p times their number over their rank, no more than the next one's; NaN is no test."""
    p = [0.04, 0.001, np.nan, 0.03, 0.5]
    np.testing.assert_allclose(false_discovery_rates(p), [0.04 * 4 / 3, 0.004, np.nan, 0.04 * 4 / 3, 0.5])
    assert np.isnan(false_discovery_rates([np.nan])).all() and len(false_discovery_rates([])) == 0
