"""A best setting on the edge of its grid extends the grid: on tables of scores written by hand."""

import doctest

import pytest

from ift_gridworld.evaluation import selection
from ift_gridworld.evaluation.selection import EXTENSIONS, best_rate, is_on_edge, next_rate, search_rates

GRID = (3e-4, 1e-3, 3e-3)


def table(*scores, grid=GRID):
    return dict(zip(grid, scores, strict=True))


def test_examples_are_true():
    assert doctest.testmod(selection).failed == 0


@pytest.mark.parametrize(
    ("scores", "higher", "best"),
    [
        ((0.1, 0.3, 0.2), True, 1e-3),
        ((0.1, 0.3, 0.2), False, 3e-4),
        ((0.3, 0.3, 0.2), True, 3e-4),  # a tie: the first tried
        ((None, 0.1, float("nan")), True, 1e-3),
        ((float("nan"), 0.1, None), False, 1e-3),
        ((None, 0.1, 0.2), False, 1e-3),
        ((None, None, None), True, None),
    ],
)
def test_the_best_value(scores, higher, best):
    assert best_rate(table(*scores), higher_is_better=higher) == best


@pytest.mark.parametrize(
    ("scores", "higher", "expected"),
    [
        ((0.3, 0.2, 0.1), True, 1e-4),
        ((0.1, 0.2, 0.3), True, 1e-2),
        ((0.1, 0.3, 0.2), True, None),
        ((0.3, 0.2, 0.1), False, 1e-2),
        ((0.1, 0.2, 0.3), False, 1e-4),
        ((0.3, 0.3, 0.1), True, 1e-4),
        ((0.1, 0.3, 0.3), True, None),
        ((0.1, 0.3, None), True, None),  # a rate that diverges is a worse neighbour, too
        ((None, None, 0.3), True, 1e-2),
        ((None, None, None), True, None),
    ],
)
def test_a_best_value_on_an_edge_is_followed_by_the_next_one(scores, higher, expected):
    assert next_rate(GRID, table(*scores), higher_is_better=higher) == expected


@pytest.mark.parametrize(
    ("grid", "beyond"),
    [
        (GRID, [1e-4, 3e-5, 1e-5]),
        ((3e-3, 3e-4, 1e-3), [1e-4, 3e-5, 1e-5]),
        ((0.003, 0.01, 0.03, 0.1), [0.001, 0.0003, 0.0001]),
        ((0.1, 0.2), [0.05, 0.025, 0.0125]),
        ((0.1,), []),
        ((0.1, 0.1), []),
    ],
)
def test_the_grid_goes_on_as_it_is_spaced_and_only_so_far(grid, beyond):
    """The lower the better: until the limit. Upwards it goes on by the same ratios."""
    assert list(search_rates(grid, lambda rate: -rate)) == [*dict.fromkeys(grid), *beyond] and len(beyond) in (0, EXTENSIONS)
    assert list(search_rates(grid, lambda rate: -rate, limit=1)) == [*dict.fromkeys(grid), *beyond[:1]]
    assert list(search_rates(grid, lambda rate: -rate, limit=0)) == [*dict.fromkeys(grid)]
    upwards = [1 / rate for rate in grid]
    found = list(search_rates(upwards, lambda rate: rate))
    assert found == pytest.approx([*dict.fromkeys(upwards), *(1 / rate for rate in beyond)], rel=1e-5)
    assert found == list(search_rates(upwards, lambda rate: -rate, higher_is_better=False))


def test_a_search_ends_beside_a_worse_neighbour():
    assert search_rates(GRID, {3e-4: 3, 1e-3: 2, 3e-3: 1, 1e-4: 4, 3e-5: 3}.get) == {
        3e-4: 3,
        1e-3: 2,
        3e-3: 1,
        1e-4: 4,
        3e-5: 3,
    }
    assert list(search_rates(GRID, {3e-4: 3, 1e-3: 2, 3e-3: 4}.get)) == [*GRID, 1e-2], "what diverges beyond ends it"


def test_each_end_has_extensions_of_its_own():
    beyond = {1e-2: 0.1, 3e-2: 0.1, 1e-1: 0.1, 1e-4: 0.9}
    assert next_rate(GRID, table(0.3, 0.2, 0.1) | beyond, limit=3) == 3e-5
    assert next_rate(GRID, table(0.3, 0.2, 0.1) | beyond | {1e-1: 1.0}, limit=3) is None


def test_one_value_alone_is_on_no_edge():
    assert [is_on_edge(best, GRID) for best in GRID] == [True, False, True]
    assert not is_on_edge(1e-3, (1e-3,)) and not is_on_edge(None, GRID)
