"""Words in pictures: large enough, inside the picture, and none over another."""

from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from test_rendering import lake_record
from test_saved_runs import record as taxi_record

from ift_gridworld.data import demonstrations, preference_pairs
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.explain import EXPLAINED, explain
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.explain_film import ExplainFilm
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.paper import LEAST_TILE, MAX_HEIGHT, WIDTHS, PaperFigure, latex_table, save_figure
from ift_gridworld.training.base_policies import make_base

ROWS = {
    "4x4": LAKES["4x4"],
    "6x14": random_map((6, 14), seed=3),
    "20x20": random_map((20, 20), seed=1),
    "14x4": random_map((14, 4), seed=2),
}
LAKE = pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
METHODS = ("sft", "ift", "dpo", "orpo", "dpo_online", "ppo", "simpo", "tdpo", "ipo", "grpo")


def records(rows, count):
    extra = {name: -np.random.default_rng(3).random((5, 2)) * 60 for name in ("chosen_logp", "rejected_logp")}
    made = [lake_record(rows, method=name) for name in METHODS[:count]]
    for record in made:
        record.metrics.update(extra)
    return made


def words(figure):
    """Every piece of text that is really drawn, with its box in pixels."""
    drawn, draw = [], Text.draw

    def record(text, renderer, *rest, **options):
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        return draw(text, renderer, *rest, **options)

    canvas = FigureCanvasAgg(figure)
    with patch.object(Text, "draw", record):
        canvas.draw()
    return [(text, text.get_window_extent(canvas.get_renderer())) for text in dict.fromkeys(drawn)]


def check(figure, least, margin=-0.01):
    """Words of at least so many points, inches from the picture's edges, and none over another."""
    box, edge = figure.bbox, margin * figure.dpi
    found = words(figure)
    assert found
    for text, where in found:
        assert text.get_fontsize() >= least, text
        assert where.x0 >= edge and where.y0 >= edge, text
        assert where.x1 <= box.width - edge and where.y1 <= box.height - edge, text
    for (one, first), (other, second) in combinations(found, 2):
        apart = min(first.x1, second.x1) - max(first.x0, second.x0), min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(apart) <= 0.02 * figure.dpi, (one, other)  # boxes leave room for letters that are not there


@LAKE
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_words_in_a_papers_figure(rows, width, count):
    check(PaperFigure(records(rows, count), width, "light").figure, least=7.0, margin=0.02)


@pytest.mark.parametrize(
    ("rows", "count", "width"),
    [(LAKES["4x4"], 5, "page"), (random_map((40, 3), seed=1), 2, "page"), (LAKES["8x8"], 3, "column")],
)
def test_a_papers_figure_stays_within_a_page(rows, count, width):
    assert PaperFigure(records(rows, count), width, "light").figure.get_size_inches()[1] <= MAX_HEIGHT + 1e-9


@pytest.mark.parametrize("width", WIDTHS)
def test_a_figure_of_all_methods_names_them_all_below_its_curves(width):
    """Maps can then not be so small that it stays within a page."""
    made = PaperFigure(records(LAKES["4x4"], 10), width, "light")
    check(made.figure, least=7.0, margin=0.02)
    (key,) = made.figure.legends
    assert [text.get_text() for text in key.get_texts()] == [record.method for record in made.runs]
    curves = made.figure.axes[-2:]
    assert key.get_window_extent().y1 <= min(axes.get_tightbbox().y0 for axes in curves)
    assert made.map_height == pytest.approx(4 * LEAST_TILE)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_papers_curves_lie_within_their_axes_and_the_last_tick_within_the_picture(width):
    """Also one that stays where it begins, near a round number, over hundreds of updates."""
    made = lake_record(steps=np.array([0, 10, 50, 100, 1000]))
    made.metrics["distance"][:] = 0.149
    figure = PaperFigure([made], width, "light").figure
    check(figure, least=7.0, margin=0.02)
    curves = figure.axes[-1]
    low, high = curves.get_ylim()
    assert low == 0 and 0.85 < 0.149 / high < 0.95


@LAKE
def test_words_in_a_methods_film(rows):
    check(MethodFilm(lake_record(rows)).figure, least=8.0)


@LAKE
@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.slow), 10])
def test_words_side_by_side(rows, count):
    check(ComparisonFilm(records(rows, count)).figure, least=8.0)


@pytest.mark.slow
def test_words_about_a_taxi():
    """Small maps, six actions, more to explain; in a column there is no room for them."""
    lake, random = Origin("Taxi-v4", None, "Taxi-v4", True, None, 0.99, 200, {"is_slippery": True}), np.random.default_rng(0)
    policies = random.dirichlet(np.ones(6), (3, 500))
    metrics = {name: random.random((3, 2)) for name in ("success", "regret", "distance", "chosen_logp", "rejected_logp")}
    options = {"metrics": metrics, "snapshots": policies, "base": policies[:2], "final": policies[1:]}
    shown, rejected = np.array([[21, 1], [1, 4]]), np.array([[21, 1], [1, 0]])
    made = taxi_record(lake, demonstration=shown, **options)
    check(MethodFilm(made).figure, least=8.0)
    check(MethodFilm(taxi_record(lake, method="dpo", demonstration=shown, rejected=rejected, **options)).figure, least=8.0)
    check(ComparisonFilm([made] * 7).figure, least=8.0)
    check(PaperFigure([made], "page", "dark").figure, least=7.0)
    with pytest.raises(ValueError, match="'column', which is too narrow"):
        PaperFigure([made], "column", "dark")


@pytest.mark.slow
@pytest.mark.parametrize("method", EXPLAINED)
def test_words_in_every_scene_of_an_explanation(method):
    mdp = TabularMDP.from_map(LAKES["4x4"])
    made = explain(method, mdp, make_base("mixture", mdp), demonstrations(mdp, 1), preference_pairs(mdp, 1))
    film = ExplainFilm(made, mdp, "4x4 · no slip · network · base: mixture · seed 0")
    for artist in film.animated:
        artist.set_animated(False)
    for index in range(len(film)):
        film.update(index)
        check(film.figure, least=8.0)


def test_a_latex_table_holds_means_and_intervals():
    """One row for the base and one a method; names are safe in LaTeX."""
    made = records(ROWS["4x4"], 5)
    lines = latex_table(made).splitlines()
    assert lines[5].startswith("base & ") and len([line for line in lines if line.endswith(r"\\")]) == 7
    assert r"dpo\_online & $" + f"{made[4].metrics['success'][-1].mean():.3f}$" in lines[10]


@pytest.mark.parametrize(("name", "width", "named"), [("x.gif", "page", "png, pdf, svg"), ("x.png", "poster", "column, page")])
def test_what_cannot_be_drawn_is_refused(tmp_path, name, width, named):
    with pytest.raises(ValueError, match=named):
        save_figure(records(ROWS["4x4"], 1), tmp_path / name, width)
    assert not list(tmp_path.iterdir())
