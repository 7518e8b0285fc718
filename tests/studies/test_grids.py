"""Rules of selection, each on numbers made by hand for which another rule would choose otherwise."""

import numpy as np
import pytest

from ift_gridworld.studies.grids import best_checkpoint, best_key, beyond_edges, nearest_rate, next_value

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("distance", "chosen"),
    [
        # the base is nearest; seed 0 alone would choose 1, seed 1 alone 3, the largest 3, the last 3
        ([[0.0, 0.0], [0.1, 0.9], [0.4, 0.4], [0.9, 0.3]], 2),
        ([[0.0, 0.0], [0.2, 0.2], [0.1, 0.3], [0.2, 0.2]], 1),  # the earliest of equals
        ([[0.0, 0.0], [NAN, 0.1], [0.5, 0.5], [0.6, 0.4]], 2),  # where a seed diverged, the others do not speak for it
        ([[0.0, 0.0], [-INF, 0.1], [0.5, 0.5], [INF, 0.4]], 2),
        ([[0.0, 0.0], [NAN, 0.1], [NAN, NAN]], 1),  # no checkpoint is sound: any but the base
    ],
)
def test_the_best_checkpoint_is_nearest_on_average_and_never_the_base(distance, chosen):
    assert best_checkpoint(np.array(distance)) == chosen


def test_the_best_has_the_least_score_the_first_of_equals_and_no_number_never_wins():
    assert best_key({"a": 0.3, "b": 0.1, "c": 0.1}) == "b"
    assert best_key({"a": NAN, "b": -INF, "c": 0.9}) == "c"
    assert best_key({"a": NAN, "b": NAN}) == "a"


def test_the_common_rate_is_the_nearest_in_ratio():
    assert nearest_rate((0.003, 0.01, 0.03, 0.1), 0.03) == 2
    assert nearest_rate((0.001, 0.01), 0.004) == 1  # 4 times the one, 2.5 times less than the other: in difference, the first


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        (0.003, 0.01, 0.001),
        (0.01, 0.03, 0.003),
        (0.03, 0.1, 0.01),
        (0.1, 0.3, 0.03),
        (1, 3, 0.3),
        (0.25, 0.75, 0.075),
        (0.28, 0.84, 0.084),
        (2, 6, 0.6),
    ],
)
def test_the_next_value_on_the_grid(value, up, down):
    """1, 3, 10, 30, ...; other values go by the same steps, up and down again to where they were."""
    assert next_value(value, up=True) == up and next_value(value, up=False) == down
    assert next_value(up, up=False) == value == next_value(down, up=True)


RATES = [(0.003,), (0.01,), (0.03,), (0.1,)]
BETAS = [(0.003, 0.1), (0.01, 0.1), (0.03, 0.1), (0.01, 0.3), (0.01, 0.03)]


@pytest.mark.parametrize(
    ("tried", "best", "beyond"),
    [
        (RATES, (0.003,), [(0.001,)]),
        (RATES, (0.1,), [(0.3,)]),
        (RATES, (0.01,), []),
        (RATES, (0.03,), []),
        ([(0.01,), (0.05,)], (0.05,), [(next_value(0.05, up=True),)]),  # a grid of other values
        ([(0.01,)], (0.01,), [(0.003,), (0.03,)]),  # one value is both edges
        ([(0.01, 0.1), (0.03, 0.1)], (0.01, 0.1), [(0.003, 0.1), (0.01, 0.03), (0.01, 0.3)]),  # beta is on the grid
        (BETAS, (0.01, 0.1), []),
        # nothing was tried at beta 0.3 but one rate, and no larger beta at that rate
        (BETAS, (0.01, 0.3), [(0.003, 0.3), (0.03, 0.3), (0.01, 1.0)]),
        (BETAS, (0.003, 0.1), [(0.001, 0.1), (0.003, 0.03), (0.003, 0.3)]),
    ],
)
def test_beyond_an_edge_lies_the_next_value(tried, best, beyond):
    assert sorted(beyond_edges(tried, best)) == sorted(beyond)
    assert beyond_edges(dict.fromkeys(tried), best) == beyond_edges(tried, best)
