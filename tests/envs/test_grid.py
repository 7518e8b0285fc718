"""Where states are drawn: for a taxi, held to Gymnasium's own decoding and table."""

import numpy as np
import pytest

from ift_gridworld.envs.grid import NOWHERE, GridLayout
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.envs.registry import make_env
from ift_gridworld.mdp import TabularMDP

ENV = make_env("Taxi-v4").unwrapped
TAXI = TabularMDP.from_env(make_env("Taxi-v4"))
BOARD = TAXI.grid
STATES = [tuple(ENV.decode(state)) for state in range(500)]  # taxi's row and column, passenger, destination


def reached():
    """States that an episode can be in, by walking through Gymnasium's table."""
    seen = set(np.flatnonzero(ENV.initial_state_distrib))
    new = set(seen)
    while new:
        new = {s for state in new for a in range(6) for _, s, _, _ in ENV.P[state][a] if not ENV.P[state][a][0][3]} - seen
        seen |= new
    ends = {s for state in seen for a in range(6) for _, s, _, over in ENV.P[state][a] if over}
    return seen, ends


def test_a_lakes_states_are_its_tiles_row_by_row():
    grid = GridLayout.of(LAKES["two-paths"])
    assert [tuple(p) for p in grid.place] == [(r, c) for r in range(4) for c in range(4)]
    assert "".join(grid.letters) == "".join(LAKES["two-paths"])
    assert grid.name(6) == "row 2, column 3"
    assert TabularMDP.from_map(LAKES["two-paths"]).grid.rows == grid.rows


def test_every_state_of_a_taxi_that_can_occur_has_a_tile_of_its_own():
    on, ends = reached()
    drawn = set(np.flatnonzero(BOARD.place[:, 0] != NOWHERE))
    assert drawn == on | ends and len(drawn) == 404
    assert len({tuple(BOARD.place[s]) for s in drawn}) == 404
    assert set(np.flatnonzero(BOARD.letters == "G")) == ends == set(np.flatnonzero(TAXI.terminal))
    assert (BOARD.tiles != " ").sum() == 404


def test_small_maps_stand_by_passenger_and_destination():
    """A column a passenger's place, a row a destination; in each map the taxi's row and column."""
    for state, (row, column, passenger, destination) in enumerate(STATES):
        if BOARD.place[state, 0] != NOWHERE:
            assert tuple(BOARD.place[state]) == (6 * destination + 1 + row, 6 * passenger + column)
    stops = "RGYB"
    for row, column, text in BOARD.headings:
        passenger, destination = column // 6, row // 6
        there = stops[passenger] if passenger < 4 else "taxi"
        assert text == ("arrived" if passenger == destination else f"{there} → {stops[destination]}")
    assert BOARD.names[ENV.encode(2, 1, 4, 3)] == "row 3, column 2 (passenger riding, to B)"
    assert BOARD.names[ENV.encode(0, 4, 1, 0)] == "row 1, column 5 (passenger at G, to R)"


def test_walls_stand_where_gymnasium_lets_nobody_through():
    walls = {(tuple(a), tuple(b)) for a, b in BOARD.walls.tolist()}
    for state, (row, column, *_) in enumerate(STATES):
        if column == 4 or BOARD.letters[state] in " G":
            continue
        y, x = BOARD.place[state].tolist()
        blocked = ENV.P[state][2][0][1] == state  # east
        assert (((y, x + 1), (y + 1, x + 1)) in walls) == blocked, (row, column)
    assert len(walls) == 16 * 6


@pytest.mark.parametrize("kind", ["passenger", "destination"])
def test_marks_stand_on_the_places_that_a_maps_heading_names(kind):
    expected = set()
    for state, (row, column, passenger, destination) in enumerate(STATES):
        stop = passenger if kind == "passenger" else destination
        if passenger != destination and stop < 4 and (row, column) == ENV.locs[stop]:
            expected.add(tuple(BOARD.place[state]))
    assert {tuple(p) for p in BOARD.marks[kind]} == expected
    assert all(BOARD.tiles[place] in "rgyb" for place in expected)
