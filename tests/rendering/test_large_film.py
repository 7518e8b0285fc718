"""The film of a large lake: what its chart, its window and its words say is what the policies do."""

import matplotlib as mpl
import numpy as np
import pytest
from test_isolation import HOSTILE
from test_paper import check
from test_saved_runs import record

from ift_gridworld.envs.maps import random_map
from ift_gridworld.mdp import Origin
from ift_gridworld.planning import optimal_policy, path_survival, success_probability
from ift_gridworld.rendering import ComparisonFilm, LargeLakeFilm, MethodFilm, film_of
from ift_gridworld.rendering.large_film import places_of
from ift_gridworld.rendering.window import MapWindow, window_corners

TITLES = {"sft": "SFT · supervised fine-tuning", "ift": "IFT · intuitive fine-tuning", "dpo": "DPO · a", "ppo": "RLHF · PPO"}


def large_record(shape=(60, 60), method="sft", learned=(0.5, 0.9, 1.0), steps=(0, 3, 40), slippery=False):
    """A run of a table that learns the optimal way and nothing beside it: `learned` is the share of the best move there."""
    lake = Origin("large", tuple(random_map(shape, seed=1)), None, slippery, 1 / 3, 0.99, 4 * max(shape))
    mdp = lake.mdp
    best, state, path = optimal_policy(mdp).argmax(-1), int(mdp.start.argmax()), []
    while not mdp.terminal[state]:
        path.append((state, int(best[state])))
        state = int(mdp.next_state[state, best[state]][mdp.probability[state, best[state]].argmax()])
    base = np.random.default_rng(2).dirichlet(np.ones(4), mdp.num_states)
    policies = np.tile(base, (len(steps), 1, 1))
    on_path = np.array(path)[:, 0]
    for policy, share in zip(policies[1:], learned[1:], strict=True):
        policy[on_path] = (1 - share) * base[on_path] + share * np.eye(4)[best[on_path]]
    metrics = {name: np.full((len(steps), 1), 0.5) for name in ("success", "regret", "distance")}
    return record(
        lake, method=method, title=TITLES.get(method, f"{method.upper()} · a method"), steps=np.array(steps), metrics=metrics,
        snapshots=policies, base=policies[:1], final=policies[-1:], demonstration=np.array(path),
        settings={"steps": int(steps[-1]), "seed": 0, "policy": "tabular", "base": "mixture"},
    )  # fmt: skip


def test_large_lakes_are_filmed_along_their_demonstration_and_others_are_not():
    assert isinstance(film_of([large_record()]), LargeLakeFilm)
    assert isinstance(film_of([large_record(method=name) for name in ("sft", "ift")]), LargeLakeFilm)
    assert isinstance(film_of([large_record((20, 20))]), MethodFilm)
    assert isinstance(film_of([large_record((20, 20))] * 2), ComparisonFilm)


def test_the_chart_is_the_exact_survival_of_each_method_at_one_update():
    """SFT has snapshots at 0, 3, 40 and IFT at 0, 20: at update 3 IFT still stands at its base."""
    one, other = large_record(), large_record(method="ift", learned=(0, 0.7), steps=(0, 20))
    film = LargeLakeFilm([one, other])
    assert film.steps.tolist() == [0, 3, 20, 40]
    film.update(1)
    for curve, run, index in zip(film.curves, (one, other), (1, 0), strict=True):
        expected = path_survival(run.mdp, run.snapshots[index], run.demonstration)
        np.testing.assert_allclose(curve.get_ydata(), expected)
        assert len(expected) == len(run.demonstration) + 1
    film.update(3)
    assert film.survival[0, 3, -1] == pytest.approx(1) and film.places[3] == len(one.demonstration)  # at the goal
    assert film.cursor.get_xdata()[0] == len(one.demonstration)


def test_the_window_stands_where_half_of_the_episodes_have_left():
    survival = np.array([[[1, 0.9, 0.6, 0.5]], [[1, 0.5, 0.3, 0.2]]])  # means 1, 0.7, 0.45, 0.35
    assert places_of(survival).tolist() == [2]
    assert places_of(np.ones((1, 2, 5))).tolist() == [4, 4]


@pytest.mark.parametrize("size", [(5, 9), (3, 3), (60, 60)])
def test_a_window_stays_within_the_map_and_contains_its_place(size):
    grid = large_record().mdp.grid
    random = np.random.default_rng(0)
    walk = np.clip(np.cumsum(random.integers(-4, 5, (400, 2)), 0) + 30, 0, 59)
    corners = np.array(window_corners(grid, walk, size))
    assert (corners >= 0).all() and (corners + size <= 60).all()
    assert (walk >= corners).all() and (walk < corners + size).all()
    if size == (5, 9):  # it stands still while it can
        assert 0.05 < (np.diff(corners, axis=0) == 0).all(1).mean() < 1


def test_a_window_shows_the_tiles_that_it_stands_over():
    film = LargeLakeFilm([large_record()])
    window, run = film.windows[0], film.runs[0]
    (rows, columns), (row, column) = film.size, film.corners[0]
    assert isinstance(window, MapWindow)
    film.update(0)
    letters = film.grid.tiles[row : row + rows, column : column + columns].ravel()
    holes = np.flatnonzero(letters == "H")
    colours = window.tiles.get_facecolor()
    hole = np.array(mpl.colors.to_rgba(film.theme.hole))
    assert len(holes) and set(np.flatnonzero((colours == hole).all(1))) == set(holes)
    start = window.start.get_path().get_extents()
    assert (np.floor(start.min) == [0, 0]).all() and (row, column) == (0, 0)  # the ring is on the first tile
    assert run.demonstration[0, 0] == 0


def test_words_are_computed_from_the_policies():
    run = large_record()
    film, mdp = LargeLakeFilm([run]), run.mdp
    path, beside = len(set(run.demonstration[:, 0])), int((~mdp.terminal).sum()) - len(set(run.demonstration[:, 0]))
    assert film._changed_words(0) == (
        f"The policy changed by more than 0.01 on 0 of the path's {path} tiles, and on 0 of the {beside:,} beside it."
    )
    moved = 0.5 * np.abs(run.snapshots[-1] - run.snapshots[0]).sum(-1) > 0.01
    assert moved.sum() > path / 2
    said = f"on {moved.sum()} of the path's {path} tiles, and on 0 of the {beside:,} beside it."
    assert film._changed_words(2).endswith(said) and film.alt.endswith(said)
    assert f"SFT: {film.survival[0, 0, -1]:.3f} at update 0, 1.000 at update 40" in film.alt
    arrives = run.visits[1][film.goals].sum()
    assert arrives == pytest.approx(success_probability(mdp, run.snapshots[1], mdp.horizon))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("shape", "count"), [((60, 60), 1), ((60, 60), 4), ((40, 120), 3), ((90, 30), 2), ((60, 60), 10)])
def test_words_do_not_touch(shape, count, theme):
    names = ["sft", "ift", "dpo", "ppo", *(f"method_{i}" for i in range(6))]
    runs = [large_record(shape, name, slippery=False) for name in names[:count]]
    film = LargeLakeFilm(runs, theme)
    check(film.figure, least=8.0)
    frame = film.frame(len(film) - 1)
    assert frame.size == tuple(np.round(film.figure.get_size_inches() * 100).astype(int))


def test_frames_do_not_depend_on_settings_or_on_what_was_drawn_before():
    film = LargeLakeFilm([large_record()])
    expected = [film.frame(i).tobytes() for i in (2, 1)]
    with mpl.rc_context(HOSTILE):
        film = LargeLakeFilm([large_record()])
        assert [film.frame(i).tobytes() for i in (1, 2)] == expected[::-1]
    assert expected[0] != expected[1]


def test_a_run_without_updates_is_one_frame_in_which_nothing_changed():
    film = LargeLakeFilm([large_record((70, 100), learned=(0,), steps=(0,))])
    assert len(film) == len(film.durations) == 1 and film.change.size == 0
    assert "on 0 of the path's" in film._changed_words(0)
    assert film.frame(0).size == (1000, film.figure.get_size_inches()[1] * 100)
