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
from ift_gridworld.methods.registry import METHODS as REGISTERED
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.explain_film import ExplainFilm
from ift_gridworld.rendering.method_film import MethodFilm
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
    made = [lake_record(rows, method=name, title=REGISTERED[name].title) for name in METHODS[:count]]
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
def test_words_in_a_methods_film(rows):
    check(MethodFilm(lake_record(rows)).figure, least=8.0)


@LAKE
@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.slow), 10])
def test_words_side_by_side(rows, count):
    check(ComparisonFilm(records(rows, count)).figure, least=8.0)


def taxi_records():
    """Small maps, six actions, more to explain: one run of demonstrations, one of pairs."""
    lake, random = Origin("Taxi-v4", None, "Taxi-v4", True, None, 0.99, 200, {"is_slippery": True}), np.random.default_rng(0)
    policies = random.dirichlet(np.ones(6), (3, 500))
    metrics = {name: random.random((3, 2)) for name in ("success", "regret", "distance", "chosen_logp", "rejected_logp")}
    options = {"metrics": metrics, "snapshots": policies, "base": policies[:2], "final": policies[1:]}
    shown, rejected = np.array([[21, 1], [1, 4]]), np.array([[21, 1], [1, 0]])
    made = taxi_record(lake, demonstration=shown, **options)
    return made, taxi_record(lake, method="dpo", title="DPO", demonstration=shown, rejected=rejected, **options)


@pytest.mark.slow
def test_words_about_a_taxi():
    made, of_pairs = taxi_records()
    check(MethodFilm(made).figure, least=8.0)
    check(MethodFilm(of_pairs).figure, least=8.0)
    check(ComparisonFilm([made] * 7).figure, least=8.0)


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
