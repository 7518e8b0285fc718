"""Many lakes at once are each lake by itself, searched by the oracle."""

import numpy as np
import pytest

from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.language.lakes import (
    GOAL_CODE,
    HOLE_CODE,
    LETTERS,
    NO_MOVE,
    UNREACHABLE,
    Lakes,
    distances,
    draw_lakes,
    move_table,
    tiles_along,
    walk,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, value_iteration


def test_every_lake_has_the_optimal_policy_of_the_oracle():
    """On tiles from which the goal can be reached; elsewhere there is nothing to be had, and nothing is claimed."""
    lakes = Lakes.of([random_map(5, frozen=0.65, seed=i) for i in range(20)])
    for i in range(len(lakes)):
        mdp = TabularMDP.from_map(lakes.rows(i))
        alive = (lakes.distance[i] < UNREACHABLE) & (lakes.distance[i] > 0)
        np.testing.assert_allclose(lakes.optimal[i][alive], optimal_policy(mdp)[alive], atol=1e-6)
        assert not lakes.optimal[i][~alive].any()
        value, _ = value_iteration(mdp)
        np.testing.assert_allclose(value[alive], mdp.discount ** (lakes.distance[i][alive] - 1.0), atol=1e-9)
        assert (value[~alive] == 0).all()


def test_moves_are_those_of_the_lake():
    mdp = TabularMDP.from_map(("SFF", "FFG"))
    walkable = ~mdp.terminal
    assert (move_table((2, 3))[walkable] == mdp.next_state[walkable, :, 0]).all()


def test_distances_by_hand():
    free = np.array([[[1, 0, 1], [1, 1, 1]]], bool)
    assert distances(free, np.array([0])).tolist() == [[0, UNREACHABLE, 4, 1, 2, 3]]
    assert distances(free, np.array([1])).tolist() == [[1, 0, 1, 2, 1, 2]], "from a tile that is not free one may leave"


def test_what_is_drawn_is_what_was_asked_for():
    lakes = draw_lakes(300, 5, ice=0.7, detours=0.25, seed=3)
    assert len(lakes) == 300 and lakes.shape == (5, 5)
    assert len(set(lakes.fingerprints)) == 300, "each comes once"
    assert ((lakes.flat == LETTERS.index("S")).sum(1) == 1).all() and ((lakes.flat == GOAL_CODE).sum(1) == 1).all()
    assert int((lakes.detour > 0).sum()) == 75
    assert (lakes.distance[np.arange(300), lakes.start] >= 2).all() and (lakes.detour % 2 == 0).all()
    assert abs((lakes.flat == HOLE_CODE).mean() - 0.3 * 23 / 25) < 0.08
    again = draw_lakes(300, 5, ice=0.7, detours=0.25, seed=3)
    assert (again.tiles == lakes.tiles).all() and (draw_lakes(300, 5, seed=4).tiles != lakes.tiles).any()
    assert draw_lakes(20, (2, 6), detours=0).shape == (2, 6)


def test_where_supply_runs_out_it_is_said():
    """A 2x2 lake has 4 x 3 places for S and G, of which 4 stand across, with 3 states of the other two tiles that leave a way:
    12 lakes whose shortest way is two moves or more, none with a detour."""
    found = draw_lakes(12, 2, ice=0.5, detours=0)
    assert sorted(found.fingerprints) == sorted(set(found.fingerprints)) and len(found) == 12
    with pytest.raises(ValueError, match=r"too few distinct 2x2 lakes at ice 0.5: found 12 of 13 without a detour"):
        draw_lakes(13, 2, ice=0.5, detours=0)
    with pytest.raises(ValueError, match=r"0 of 1 with a detour"):
        draw_lakes(1, 2, detours=1)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"count": 0}, "count is 0"), ({"size": 1}, "size is 1x1"), ({"ice": 0}, "ice is 0"), ({"detours": 2}, "detours is 2")],
)
def test_bad_values_are_refused(options, named):
    with pytest.raises(ValueError, match=named):
        draw_lakes(**{"count": 5} | options)


def test_an_optimal_walk_is_a_shortest_one_and_shares_ties():
    lakes = draw_lakes(200, 5, seed=1)
    moves = walk(lakes, seed=2)
    assert ((moves != NO_MOVE).sum(1) == lakes.distance[np.arange(200), lakes.start]).all()
    assert (tiles_along(lakes, moves)[:, -1] == lakes.goal).all()
    open_lake = Lakes.of([("SF", "FG")] * 4000)
    first = walk(open_lake, seed=5)[:, 0]
    assert set(first.tolist()) == {1, 2} and abs((first == 1).mean() - 0.5) < 0.03  # four standard errors


def test_noise_is_what_it_says():
    """On the start of a corridor one move is best: it is taken with 1 - noise + noise / 4."""
    lakes = Lakes.of([("SFG", "HHH")] * 8000)
    for noise, expected in ((0.4, 0.7), (1.0, 0.25)):
        first = walk(lakes, noise, seed=7)[:, 0]
        assert abs((first == 2).mean() - expected) < 0.02
    each = walk(lakes, np.repeat([0.0, 1.0], 4000), seed=7)[:, 0]
    assert (each[:4000] == 2).all() and abs((each[4000:] == 2).mean() - 0.25) < 0.03


def test_a_walk_ends_in_a_hole_on_the_gift_or_by_the_clock():
    lakes = Lakes.of([LAKES["4x4"]] * 500)
    moves = walk(lakes, 1.0, seed=0, limit=6)
    tiles = tiles_along(lakes, moves)
    for i in range(500):
        steps = int((moves[i] >= 0).sum())
        ends = lakes.flat[i, tiles[i, : steps + 1]]
        assert not np.isin(ends[:-1], (HOLE_CODE, GOAL_CODE)).any()
        assert steps == 6 or ends[-1] in (HOLE_CODE, GOAL_CODE)
        assert (moves[i, steps:] == NO_MOVE).all()


def test_maps_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match=r"\['2x2', '3x2'\]; allowed: one size"):
        Lakes.of([("SF", "FG"), ("SF", "FF", "FG")])
    with pytest.raises(ValueError, match="map 0 has 1 S and 2 G"):
        Lakes.of([("SG", "FG")])
