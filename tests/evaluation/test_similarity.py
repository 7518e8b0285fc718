"""CHES of a network of two units by hand, the overlap of two paths, and rank correlations over lakes."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from ift_gridworld.evaluation.similarity import ches, rank_correlation, shared_states


def test_ches_by_hand():
    """h+ = (1, 2), h- = (3, -1): <h+, h-> = 1, |h+|² = 5, not |h-|² = 10."""
    assert ches(np.array([1.0, 2.0]), np.array([3.0, -1.0])) == 1 - 5
    assert ches(np.array([3.0, -1.0]), np.array([1.0, 2.0])) == 1 - 10
    assert ches(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0  # the same answer twice


def test_states_in_common_count_once_however_often_they_are_visited():
    assert shared_states(np.array([5, 1, 0, 1]), np.array([1, 0, 0, 2])) == pytest.approx(2 / 3)
    np.testing.assert_allclose(shared_states(np.array([[1, 0], [1, 1]]), np.array([[0, 1], [1, 1]])), [0, 1])


def test_rank_correlation_has_the_sign_and_value_of_spearmans():
    random = np.random.default_rng(1)
    x = random.normal(size=(30, 4)).round(1)  # ties
    y = x + random.normal(size=x.shape)
    value, low, high = rank_correlation(x, y)
    assert value == pytest.approx(spearmanr(x.ravel(), y.ravel())[0], abs=1e-9)
    assert 0 < low < value < high < 1
    negative = rank_correlation(x, -y)
    assert negative[0] == pytest.approx(-value)
    np.testing.assert_allclose(sorted(negative[1:]), sorted([-low, -high]), atol=1e-9)
    assert rank_correlation(x, y) == (value, low, high)


def test_copies_of_a_lake_are_no_new_lakes():
    """The interval is over lakes: a hundred pairs that are the same on a lake leave it as wide as one."""
    random = np.random.default_rng(2)
    x = random.normal(size=(12, 1))
    y = x + random.normal(size=x.shape)
    alone, copied = rank_correlation(x, y), rank_correlation(x.repeat(100, 1), y.repeat(100, 1))
    np.testing.assert_allclose(copied, alone, atol=1e-2)


def test_what_does_not_vary_has_no_correlation():
    assert np.isnan(rank_correlation(np.ones((3, 2)), np.arange(6.0).reshape(3, 2))).all()
