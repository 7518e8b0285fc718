"""Best-of-n against every draw written out, its KL, and planted coefficients of the published forms."""

from itertools import product

import numpy as np
import pytest

from ift_gridworld.evaluation.best_of_n import best_of_n, best_of_n_bound, best_of_n_kl, fit_gain


def every_draw(chance, score, n):
    """The distribution of the best of n by going through all draws; among equals each drawn one is as likely as another."""
    result = np.zeros(len(chance))
    for draw in product(range(len(chance)), repeat=n):
        best = [i for i in draw if score[i] == max(score[j] for j in draw)]
        for i in best:
            result[i] += np.prod(chance[list(draw)]) / len(best)
    return result


@pytest.mark.parametrize("score", [[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0, 3.0, 3.0], [5.0, 5.0, 5.0]])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_best_of_n_is_what_all_draws_give(score, n):
    """Answers that tie share by their own probability: 0.2 and 0.3 are not halved."""
    chance = np.array([0.2, 0.3, 0.5])
    expected = every_draw(chance, score, n)
    result = best_of_n(chance, np.array(score), n)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    assert best_of_n_kl(chance, np.array(score), n) == pytest.approx((expected * np.log(expected / chance)).sum(), abs=1e-12)


def test_best_of_three_by_hand():
    """No ties, best first: 0.2, 0.3, 0.5. Of two draws the worst is kept with 0.25, the middle one with 0.64 - 0.25."""
    kept = best_of_n(np.array([0.2, 0.3, 0.5]), np.array([9.0, 1.0, -4.0]), 2)
    np.testing.assert_allclose(kept, [1 - 0.8**2, 0.8**2 - 0.5**2, 0.5**2], rtol=1e-12)


def test_a_rare_best_answer_keeps_its_digits():
    """P(kept) = 1 - (1 - p)^n is n p where p is 1e-18, although 1 - p rounds to 1."""
    kept = best_of_n(np.array([1 - 1e-18, 1e-18]), np.array([0.0, 1.0]), 1000)
    assert kept[1] == pytest.approx(1e-15, rel=1e-9)


def test_what_the_base_never_answers_is_never_kept():
    np.testing.assert_array_equal(best_of_n(np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0]), 5), [0, 1, 0])


def test_the_kl_of_best_of_n_meets_its_bound_where_answers_are_rare():
    even = np.full(20000, 1 / 20000)
    assert best_of_n_kl(even, np.arange(20000.0), 16) == pytest.approx(np.log(16) - 15 / 16, rel=1e-3)
    halves = np.array([0.5, 0.5])
    assert best_of_n_kl(halves, np.array([0.0, 1.0]), 1e6) == pytest.approx(np.log(2))
    assert best_of_n_bound(1e6) > np.log(2)
    assert best_of_n_kl(halves, np.array([1.0, 1.0]), 1e6) == 0  # all tie: nothing is chosen


@pytest.mark.parametrize(
    ("chance", "n", "message"),
    [([0.5, 0.4], 2, "add up to 0.9"), ([1.5, -0.5], 2, "add up to 1"), ([0.5, 0.5], 0.5, "n is 0.5")],
)
def test_what_has_no_best_of_n_is_refused(chance, n, message):
    with pytest.raises(ValueError, match=message):
        best_of_n(np.array(chance), np.array([0.0, 1.0]), n)


def test_a_fit_finds_the_coefficients_that_were_planted():
    d = np.linspace(0, 4, 30)
    bend = {"best-of-n": d, "reinforcement": np.log(np.where(d > 0, d, 1))}
    for form, other in (("best-of-n", "reinforcement"), ("reinforcement", "best-of-n")):
        gain = d * (0.7 - 0.15 * bend[form])
        fit, wrong = fit_gain(d**2, gain, form), fit_gain(d**2, gain, other)
        assert (fit.alpha, fit.beta) == (pytest.approx(0.7), pytest.approx(0.15))
        assert fit.error < 1e-12 and fit.explained == pytest.approx(1) and wrong.error > 0.01 and wrong.explained < 1


def test_the_error_of_a_fit_is_a_root_mean_square():
    """At d = 1 both terms are ±1 and α - β the mean, 0.5: gains 0 and 1 are each half a unit away."""
    fit = fit_gain(np.ones(2), np.array([0.0, 1.0]), "best-of-n")
    assert fit.error == pytest.approx(0.5) and fit.explained == pytest.approx(0, abs=1e-12)
