"""The frontier plane: what is drawn is the drawn seed's KL and return, below the exact curve, at the same update."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib import rc_context
from test_isolation import HOSTILE
from test_page import STEPS, lake_record

from ift_gridworld.cli.figure_options import FigureArgs, figure_options
from ift_gridworld.evaluation import frontier, kl_from_base
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy
from ift_gridworld.rendering.frontier_plane import FrontierFilm, frontier_data, short_number, tracks_under
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.page_data import page_data
from ift_gridworld.rendering.paper import PaperFigure
from ift_gridworld.rendering.theme import THEMES

MDP = TabularMDP.make("two-paths")


def run(method="sft", seed=0, **changes):
    """A run whose base is that of every other one, whatever its seed."""
    made = lake_record(method, title=f"{method.upper()} · a method", seed=seed)
    policies = made.snapshots.copy()
    base = np.random.default_rng(99).dirichlet(np.full(4, 3.0), 16)
    policies[0] = base
    for name, value in {"snapshots": policies, "base": np.stack([base, policies[1]]), **changes}.items():
        object.__setattr__(made, name, value)
    return made


def points_of(made):
    kl = kl_from_base(MDP, made.snapshots, made.base[0])
    value = evaluate_policy(MDP, made.snapshots) @ MDP.start
    return np.stack([kl, value, frontier(MDP, made.base[0]).gap(kl, value)], -1)


def test_tracks_are_kl_return_and_gap_of_the_drawn_seed():
    made = run()
    tracks = tracks_under([made], made.steps, made.steps[[0, 2]])
    np.testing.assert_allclose(tracks.points[:, 0], points_of(made), atol=1e-5)
    assert tracks.points[0, 0, 0] < 1e-9 and tracks.points[..., 2].min() >= 0
    assert tracks.marks == [2] and tracks.marked == [str(STEPS[2])], "the base has a mark of its own"
    assert tracks.names == ["SFT"] and tracks.styles == [style_of("sft")]


def test_recorded_metrics_are_drawn_where_there_are_any():
    made = run()
    made.metrics["kl_discounted"], made.metrics["return"] = np.full((5, 2), 0.5), np.full((5, 2), 0.25)
    tracks = tracks_under([made], made.steps, made.steps)
    np.testing.assert_allclose(tracks.points[:, 0, :2], [[0.5, 0.25]] * 5)
    np.testing.assert_allclose(tracks.points[:, 0, 2], tracks.curve.at(0.5) - 0.25, atol=1e-4)


def test_the_film_draws_them_up_to_its_update():
    film = FrontierFilm([run("sft"), run("dpo", seed=1)])
    assert film.steps.tolist() == STEPS.tolist() and len(film.change) == len(film) - 1
    film.update(2)
    for line, head, method, seed in zip(film.plane.lines, film.plane.heads, ("sft", "dpo"), (0, 1), strict=True):
        expected = points_of(run(method, seed=seed))[:3]
        np.testing.assert_allclose(np.stack(line.get_data(), -1), expected[:, :2], atol=1e-6)
        np.testing.assert_allclose(np.ravel(head.get_data()), expected[-1, :2], atol=1e-6)
        assert line.get_color() == head.get_color() == style_of(method).colour(film.theme)
        assert head.get_marker() == style_of(method).marker
    for drop, (kl, value, gap) in zip(film.plane.drops.get_segments(), film.tracks.points[2], strict=True):
        np.testing.assert_allclose(drop, [(kl, value), (kl, value + gap)])
    for row, (kl, value, gap) in zip(film.numbers, film.tracks.points[2], strict=True):
        shown = [text.artist.get_label() for text in row]
        assert shown == [short_number(kl, 2), short_number(value, 3), short_number(gap, 3)]
    assert "no policy lies" in film.alt and f"at update {STEPS[-1]}" in film.alt and "SFT KL" in film.alt


def test_everything_is_inside_and_below_the_curve():
    film = FrontierFilm([run("sft"), run("dpo", seed=1)])
    (left, right), (bottom, top) = film.plane.ax.get_xlim(), film.plane.ax.get_ylim()
    kl, value, _ = np.moveaxis(film.tracks.points, -1, 0)
    assert (kl >= left).all() and (kl < right).all() and (value > bottom).all() and (value < top).all()
    assert (value <= film.tracks.curve.at(kl, 1e-4) + 1e-3).all()
    assert film.tracks.curve.kl[-1] < right and film.tracks.curve.value[-1] < top


def test_a_method_that_goes_very_far_is_drawn_on_a_square_root_scale():
    made = run()
    made.metrics["kl_discounted"], made.metrics["return"] = np.linspace(0, 400, 5)[:, None] * [1, 1], np.full((5, 2), 0.3)
    assert FrontierFilm([made]).plane.ax.get_xscale() == "function" and FrontierFilm([run()]).plane.ax.get_xscale() == "linear"
    made.metrics["kl_discounted"][-1] = np.inf  # a move that the base never makes
    film = FrontierFilm([made])
    film.frame(len(film) - 1)
    assert film.numbers[0][0].artist.get_label() == "∞"
    assert film.tracks.points[-1, 0, 2] == pytest.approx(film.tracks.curve.best - 0.3)


def test_forty_methods_have_a_row_each_and_no_names_in_the_plane():
    film = FrontierFilm([run("sft", seed=i) for i in range(40)])
    film.frame(len(film) - 1)
    tops = [row[0].artist.get_window_extent().y1 for row in film.numbers]
    heights = [row[0].artist.get_window_extent().height for row in film.numbers]
    assert all(one - other > 0.8 * height for (one, other), height in zip(pairwise(tops), heights[1:], strict=True))
    assert min(tops) > 0.5 * film.canvas.get_width_height()[1] * 0.2 and not film.plane.names


def test_runs_from_other_bases_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^the frontier plane cannot show dpo beside sft: .*; allowed: runs from one base$"):
        FrontierFilm([run("sft"), lake_record("dpo")])


def test_a_page_has_the_numbers_of_the_plane():
    made, other = run("sft"), run("dpo", seed=1)
    assert frontier_data([made, other]) is None, "not recorded"
    for one in (made, other):
        table = points_of(one)
        for column, name in enumerate(("kl_discounted", "return", "frontier_gap")):
            one.metrics[name] = np.stack([table[:, column], np.zeros(5)], 1)  # of the drawn seed, and of another
    data = frontier_data([made, other])
    curve = frontier(MDP, made.base[0])
    np.testing.assert_allclose(data["kl"], curve.kl, rtol=1e-4)
    np.testing.assert_allclose(data["value"], curve.value, rtol=1e-4)
    for one, entry in zip((made, other), data["runs"], strict=True):
        np.testing.assert_allclose([entry["kl"], entry["value"], entry["gap"]], points_of(one).T, rtol=1e-4, atol=1e-9)
    assert page_data([[made, other]], made.steps, "")["frontier"] == [data]
    assert frontier_data([made, lake_record("dpo", metrics=other.metrics)]) is None, "from another base"
    other.metrics["kl_discounted"][-1] = np.inf
    assert frontier_data([made, other]) is None, "no number of JSON"


@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_figure_has_the_plane_with_every_name_inside_and_apart(count):
    figure = PaperFigure([run("sft", seed=i) for i in range(count)], panels=["frontier"])
    ax = figure.figure.axes[0]
    renderer = figure.figure.canvas.get_renderer()
    names = [text for text in ax.texts if text.get_text().startswith("SFT")]
    boxes = sorted((text.get_window_extent(renderer) for text in names), key=lambda box: box.y0)
    whole = figure.figure.bbox
    assert len(boxes) == count and all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 for box in boxes)
    assert all(below.y1 < above.y0 + 0.35 * above.height for below, above in pairwise(boxes))
    assert "no policy lies above it" in figure.alt and "updates" in " ".join(figure.notes)


def test_the_command_line_has_a_figure_of_the_plane_alone():
    options = figure_options(FigureArgs(figure="frontier"), "light", None)
    assert (options.width, options.panels) == ("column", ["frontier"]) and not options.needs_map(2)
    args = FigureArgs(figure="frontier", panels="maps")
    object.__setattr__(args, "given", frozenset({"figure", "panels"}))
    with pytest.raises(ValueError, match="^--panels is 'maps', which only works with --figure column or page"):
        figure_options(args, "light", None)


@pytest.mark.parametrize("theme", THEMES)
def test_settings_do_not_matter(theme):
    usual = FrontierFilm([run("sft"), run("dpo", seed=1)], theme).frame(3)
    with rc_context(HOSTILE):
        assert FrontierFilm([run("sft"), run("dpo", seed=1)], theme).frame(3).tobytes() == usual.tobytes()
    assert usual.size[0] * 9 == usual.size[1] * 16
