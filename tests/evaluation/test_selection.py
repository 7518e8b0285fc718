"""Rules of selection, each on numbers made by hand for which another rule would choose otherwise."""

import operator

import numpy as np
import pytest

from ift_gridworld.evaluation.selection import (
    EXTENSIONS,
    best_checkpoint,
    best_key,
    beyond_edges,
    is_on_edge,
    is_sound,
    nearest_rate,
    next_value,
    search_values,
)

NAN, INF = np.nan, np.inf


# ---- the best ----


@pytest.mark.parametrize(
    ("scores", "least", "greatest"),
    [
        ((0.3, 0.1, 0.2), "b", "a"),
        ((0.1, 0.3, 0.1, 0.3), "a", "b"),  # the first of equals
        ((NAN, -INF, None, 0.9, 0.8, INF), "e", "d"),  # what is not sound never wins
        ((None, -0.1, -0.2), "c", "b"),
        ((NAN, None), "a", "a"),
    ],
)
def test_the_best_has_the_least_or_the_greatest_sound_score(scores, least, greatest):
    table = dict(zip("abcdef", scores, strict=False))
    assert best_key(table) == least and best_key(table, higher_is_better=True) == greatest


def test_only_finite_numbers_are_sound():
    assert [score for score in (0.0, -1.0, None, NAN, INF, -INF) if is_sound(score)] == [0.0, -1.0]


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


def test_the_common_rate_is_the_nearest_in_ratio():
    assert nearest_rate((0.003, 0.01, 0.03, 0.1), 0.03) == 2
    assert nearest_rate((0.001, 0.01), 0.004) == 1  # 4 times the one, 2.5 times less than the other: in difference, the first


# ---- edges ----

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
    assert is_on_edge(best, tried) == bool(beyond)


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


# ---- the search for a single value ----

GRID = (3e-4, 1e-3, 3e-3)  # of the language study


@pytest.mark.parametrize(
    ("grid", "below", "above"),
    [
        (GRID, [1e-4, 3e-5, 1e-5], [1e-2, 3e-2, 1e-1]),
        ((3e-3, 3e-4, 1e-3), [1e-4, 3e-5, 1e-5], [1e-2, 3e-2, 1e-1]),
        ((0.003, 0.01, 0.03, 0.1), [0.001, 0.0003, 0.0001], [0.3, 1.0, 3.0]),  # of the lake studies
        ((1, 3, 10, 30), [0.3, 0.1, 0.03], [100, 300, 1000]),
        ((0.1, 0.2), [0.03, 0.01, 0.003], [0.6, 2.0, 6.0]),
        ((0.1,), [], []),
        ((0.1, 0.1), [], []),
    ],
)
def test_values_beyond_the_grids_in_use(grid, below, above):
    """Published results rest on these values: exactly these floating-point numbers, in this order."""
    own = [*dict.fromkeys(grid)]
    for score, beyond in ((operator.neg, below), (operator.pos, above)):
        assert len(beyond) in (0, EXTENSIONS)
        assert list(search_values(grid, score)) == [*own, *beyond]
        assert list(search_values(grid, score, limit=1)) == [*own, *beyond[:1]]
        assert list(search_values(grid, score, limit=0)) == own


@pytest.mark.parametrize(
    ("scores", "following"),
    [
        ((0.3, 0.2, 0.1), [1e-4]),
        ((0.1, 0.2, 0.3), [1e-2]),
        ((0.1, 0.3, 0.2), []),
        ((0.3, 0.3, 0.1), [1e-4]),  # the first of equals
        ((0.1, 0.3, 0.3), []),
        ((0.1, 0.3, None), []),  # a rate that diverges is a worse neighbour, too
        ((NAN, None, 0.3), [1e-2]),
        ((None, None, None), []),
        ((NAN, NAN, NAN), []),
    ],
)
def test_a_best_value_on_an_edge_is_followed_by_the_next_one(scores, following):
    given = dict(zip(GRID, scores, strict=True))
    assert list(search_values(GRID, given.get)) == [*GRID, *following], "what diverges beyond the grid ends the search"


def test_a_search_ends_beside_a_worse_neighbour():
    scores = {3e-4: 3, 1e-3: 2, 3e-3: 1, 1e-4: 4, 3e-5: 3}
    assert search_values(GRID, scores.get) == scores
