"""Grids of several small maps: how they are taken apart, and that films and stills of them say what planning says."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from test_isolation import HOSTILE
from test_paper import check
from test_saved_runs import record
from test_theme import contrast

from ift_gridworld.envs.grid import NOWHERE, GridLayout
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.planning import evaluate_policy, occupancy, optimal_policy, success_probability
from ift_gridworld.rendering import OptimalPolicyStill, OptimalRouteStill, SmallMapsFilm, film_of, still_of
from ift_gridworld.rendering.route_map import index_colours, letter_colour
from ift_gridworld.rendering.small_maps import likeliest_drive, maps_on_path, mean_over_starts, small_maps, start_maps
from ift_gridworld.rendering.small_maps_film import has_small_maps
from ift_gridworld.rendering.theme import THEMES

TAXI = Origin("Taxi-v4", None, "Taxi-v4", False, None, 0.99, 200)
START = 484  # row 5, column 5, passenger at G, to R


def taxi_record(method="ift", snapshots=3, **changes):
    """A run whose last policy is optimal; the demonstration is the optimal drive from `START`."""
    mdp, random = TAXI.mdp, np.random.default_rng(0)
    policies = random.dirichlet(np.ones(6), (snapshots, 500))
    policies[-1] = best = optimal_policy(mdp)
    route = likeliest_drive(mdp, best, START)
    metrics = {name: random.random((snapshots, 2)) for name in ("success", "regret", "distance")}
    entries = {
        "method": method, "title": f"{method.upper()} · a method", "steps": np.arange(snapshots) ** 2, "metrics": metrics,
        "snapshots": policies, "base": policies[:2], "final": policies[-2:], "settings": {"seed": 0, "policy": "mlp"},
        "demonstration": np.stack([route, best[route].argmax(-1)], 1),
    }  # fmt: skip
    return record(TAXI, **{**entries, **changes})


def two_maps():
    """A walk of four states on two small maps, one above the other, that no environment of a known name has."""
    grid = GridLayout(("   ", "FF ", "   ", "FGF"), np.array([[1, 0], [1, 1], [3, 0], [3, 1], [NOWHERE, NOWHERE]]),
                      headings=((0, 0, "above"), (2, 0, "below")))  # fmt: skip
    successor = np.array([[0, 1], [0, 2], [2, 3], [3, 3], [4, 4]])[..., None]
    ends = successor == 3
    reward = (ends & (np.arange(5) != 3)[:, None, None]).astype(float)
    return TabularMDP(
        successor, np.ones((5, 2, 1)), reward, ends | (successor == 4), np.array([0.75, 0.0, 0.25, 0, 0]), 0.9, 10,
        actions=("left", "right"), custom_grid=grid,
    )  # fmt: skip


def test_a_taxis_grid_is_twenty_maps_that_hold_every_state_once():
    mdp = TAXI.mdp
    maps = small_maps(mdp.grid)
    states = np.concatenate([small.states for small in maps])
    assert len(maps) == 20 and sorted(states) == np.flatnonzero(mdp.grid.place[:, 0] != NOWHERE).tolist()
    by_name = {small.heading: small for small in maps if small.heading != "arrived"}
    small = by_name["G → R"]
    assert (small.row, small.column) == (0, 1) and small.grid.rows == ("rFFFg", "FFFFF", "FFFFF", "FFFFF", "yFFbF")
    assert START in small.states and mdp.grid.names[START] == small.grid.names[list(small.states).index(START)]
    assert small.grid.marks["passenger"].tolist() == [[0, 4]] and small.grid.marks["destination"].tolist() == [[0, 0]]
    assert len(by_name["taxi → R"].grid.marks["passenger"]) == 0
    assert small.grid.walls.tolist()[0] == [[0, 2], [1, 2]] and len(small.grid.walls) == 6
    assert [small.heading for small in maps_on_path(maps, likeliest_drive(mdp, optimal_policy(mdp), START))] == [
        "G → R",
        "taxi → R",
    ]
    assert len(start_maps(mdp, maps)) == 12


def test_one_map_or_a_state_outside_is_no_grid_of_small_maps():
    assert small_maps(GridLayout.of(["SFG"])) == [] == small_maps(None)
    outside = GridLayout(("F  ", "FF "), np.array([[0, 0], [1, 0], [1, 1]]), headings=((0, 1, "beside"),))
    assert small_maps(outside) == []


def test_a_layout_of_another_name_is_taken_apart_as_well():
    mdp = two_maps()
    maps = small_maps(mdp.grid)
    assert [(small.heading, small.states.tolist(), small.grid.rows) for small in maps] == [
        ("above", [0, 1], ("FF",)),
        ("below", [2, 3], ("FGF",)),
    ]
    np.testing.assert_allclose(mean_over_starts(mdp, start_maps(mdp, maps), np.array([0.5, 1.0, 0.2, 0, 0])), [0.5, 0.2])


def test_cells_of_the_index_are_success_from_the_starts_of_their_map():
    run = taxi_record()
    film, mdp = SmallMapsFilm([run]), run.mdp
    cells = film.cells[0]
    weights = []
    for small, column in zip(film.scene.starts, cells.T, strict=True):
        start = np.zeros(500)
        start[small.states] = mdp.start[small.states]
        weights.append(start.sum())
        there = replace(mdp, start=start / start.sum())
        np.testing.assert_allclose(column, success_probability(there, run.snapshots, mdp.horizon), atol=1e-9)
    np.testing.assert_allclose(cells @ weights, success_probability(mdp, run.snapshots, mdp.horizon), atol=1e-9)


def test_the_film_shows_the_drawn_route_and_says_what_is_computed():
    run = taxi_record()
    film, mdp = SmallMapsFilm([run, taxi_record("sft")]), run.mdp
    assert [small.heading for small in film.scene.parts] == ["G → R", "taxi → R"]
    there = replace(mdp, start=np.eye(500)[START])
    np.testing.assert_allclose(film.visits[0], occupancy(there, run.snapshots, discount=1.0, horizon=200), atol=1e-9)
    here, everywhere = (success_probability(m, run.snapshots[1], 200) for m in (there, mdp))
    assert film._result(0, 1) == f"success: route's start {here:.3f} · all starts {everywhere:.3f}"
    assert film._words(0, 2) == "above the base: 12 of 12 · below: 0"  # the last policy is optimal, the base is random
    assert film._words(0, 0) == "above the base: 0 of 12 · below: 0"
    assert "IFT, update 0 and 4" in film.alt and "route's start 1.000 · all starts 1.000" in film.alt
    film.update(2)
    assert np.allclose(film.blocks[0].index.cells.get_facecolor(), index_colours(film.theme)(1.0))
    framed = [small for small in film.scene.starts if START in small.states]
    assert [small.heading for small in framed] == ["G → R"]


def test_small_maps_are_filmed_so_and_anything_else_is_not():
    run = taxi_record()
    assert isinstance(film_of([run]), SmallMapsFilm) and has_small_maps(run)
    assert not has_small_maps(taxi_record(demonstration=np.zeros((0, 2), int)))
    assert isinstance(still_of("a taxi", {"dry": TAXI.mdp}), OptimalRouteStill)
    assert isinstance(still_of("a lake", {"firm": TabularMDP.from_map(["SF", "FG"])}), OptimalPolicyStill)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_words_do_not_touch(count, theme):
    names = ["sft", "ift", "dpo", "ppo", "a_method_with_a_long_name"]
    rejected = np.array([[START, 0], [START, 3]])
    runs = [taxi_record(name, rejected=rejected if name == "dpo" else np.zeros((0, 2), int)) for name in names[:count]]
    film = SmallMapsFilm(runs, theme)
    check(film.figure, least=8.0)
    assert film.frame(1).size == tuple(np.round(film.figure.get_size_inches() * 100).astype(int))


@pytest.mark.parametrize("theme", THEMES)
def test_a_still_shows_the_median_start_and_the_return_of_every_map(theme, tmp_path):
    rain = TabularMDP.make("Taxi-v4", is_slippery=True)
    film = OptimalRouteStill("a taxi", {"dry": TAXI.mdp, "rain": rain}, theme)
    values = [evaluate_policy(mdp, optimal_policy(mdp)) for mdp in (TAXI.mdp, rain)]
    for mdp, value, said in zip((TAXI.mdp, rain), values, film.results, strict=True):
        maps = start_maps(mdp, small_maps(mdp.grid))
        means = [value[small.states][mdp.start[small.states] > 0].mean() for small in maps]
        assert f"return {value @ mdp.start:.3f} · success 1.000" in said
        assert said.endswith(f"between {min(means):.1f} and {max(means):.1f}.")
    check(film.figure, least=8.0)
    assert film.save(tmp_path / "taxi.png").stat().st_size > 10_000


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_letters_and_numbers_stand_out(theme):
    for place in ("red", "green", "yellow", "blue"):
        ground = getattr(theme, place)
        assert contrast(letter_colour(theme, ground), ground) >= 4.5, place
    for share in (0.0, 0.5, 1.0):
        assert contrast(theme.ink, mpl.colors.to_hex(index_colours(theme)(share))) >= 4.5


def own_record(heading="$a$\\n"):
    """A run on `two_maps`, whose headings and actions a user has named."""
    mdp = two_maps()
    mdp = replace(mdp, custom_grid=replace(mdp.grid, headings=((0, 0, heading), (2, 0, "below"))), actions=("$x$", "right"))
    policies = np.random.default_rng(0).dirichlet(np.ones(2), (3, 5))
    metrics = {name: np.full((3, 1), 0.5) for name in ("success", "regret", "distance")}
    origin = Origin("own", None, None, False, None, 0.9, 10)
    return record(
        origin, made_of=mdp, method="own", title="own", steps=np.arange(3), metrics=metrics, snapshots=policies,
        base=policies[:1], final=policies[-1:], demonstration=np.array([[0, 1], [1, 1], [2, 1]]), settings={},
    )  # fmt: skip


def test_a_users_own_grid_of_small_maps_is_filmed_with_its_own_words():
    run = own_record()
    film = film_of([run])
    assert isinstance(film, SmallMapsFilm) and len(film.scene.parts) == 2
    check(film.figure, least=8.0)
    assert film.frame(2).size[0] == 1000


def test_frames_do_not_depend_on_the_users_settings():
    expected = SmallMapsFilm([taxi_record()]).frame(1).tobytes()
    with mpl.rc_context(HOSTILE):
        assert SmallMapsFilm([taxi_record()]).frame(1).tobytes() == expected
