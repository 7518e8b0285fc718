"""The film of a failure shows what it is given, at a size for slides, with a key for every mark."""

import html

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_hex
from test_isolation import HOSTILE

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.mdp import Origin
from ift_gridworld.rendering.failure import ChartLine, Failure, Panel
from ift_gridworld.rendering.failure_film import FailureFilm
from ift_gridworld.rendering.failure_page import save_failure_page
from ift_gridworld.rendering.film import LAST_SECONDS
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.pace import reading_seconds
from ift_gridworld.rendering.plane import Track
from ift_gridworld.rendering.steps import MAX_BYTES
from ift_gridworld.rendering.theme import THEMES

LAKE = Origin("two-paths", tuple(LAKES["two-paths"]), None, False, 1 / 3, 0.99, 100)
FRAMES = 12


def failure(**changes):
    """Two panels, one of which is visited 5.5 times an episode, and the plane."""
    random = np.random.default_rng(0)
    policies = random.dirichlet(np.ones(4), (FRAMES, 16))
    visits = np.linspace(0, 5.5, FRAMES)[:, None] * np.ones(16)
    curve = np.linspace(0, 1, FRAMES)
    lines = (ChartLine("a curve", curve), ChartLine("chosen answer", -curve, "shown", dashed=True))
    notes = [f"value {x:.2f}" for x in curve]
    cases = tuple(Panel(f"panel {method}", notes, policies, method, visits, lines) for method in ("sft", "dpo"))
    moves = np.stack([curve, -10 * curve], -1)[:, None] * np.ones((1, 3, 1))
    entries = {
        "name": "test",
        "title": "A method fails in a test",
        "why": "Numbers are made up, so nothing of it is true.",
        "often": "In 3 of 3 seeds.",
        "about": "two-paths · drawn: seed 1, counted: 3 seeds",
        "cause": (("Why", "Because it is <made up>."),),
        "lake": LAKE,
        "shown": np.array([[0, 2], [1, 2]]),
        "rejected": np.array([[0, 1], [4, 1]]),
        "steps": np.arange(FRAMES) * 10,
        "cases": cases,
        "shade": "visits",
        "measure": "a quantity, nats",
        "limits": (-1.0, 1.0),
        "plane": (Track("DPO", style_of("dpo"), moves),),
    }
    return Failure(**{**entries, **changes})


def test_words_are_short_and_stand_while_the_film_runs():
    film = FailureFilm(failure())
    assert film.words.splitlines() == [failure().title, failure().why, failure().often]
    durations = film.durations
    assert sum(durations[:-1]) >= reading_seconds(film.words) - 0.011
    assert durations[-1] >= max(LAST_SECONDS, reading_seconds(film.captions[-1].removeprefix(film.words)))
    assert max(durations[1:-1]) < 3 * np.mean(durations[1:-1])  # it does not halt on the way


def test_visits_do_not_saturate_and_their_scale_is_written():
    film = FailureFilm(failure())
    assert film.scale.end == 10.0 and film.scale.is_log
    strip = next(ax for ax in film.figure.axes if ax.images)
    assert [label.get_text() for label in strip.get_xticklabels()] == ["≤0.01", "0.1", "1", "10"]
    colours = []
    for index in (0, FRAMES // 2, FRAMES - 1):
        film.update(index)
        colours.append(to_hex(film.panels[0].tiles.artist.get_facecolor()[0]))
    assert len(set(colours)) == 3


def test_curves_have_the_colour_of_their_method_and_of_their_path():
    film = FailureFilm(failure())
    for panel, method in zip(film.panels, ("sft", "dpo"), strict=True):
        colours = [dot.get_color() for _, dot in panel.dots]
        assert colours == [style_of(method).colour(film.theme), film.theme.shown]
    assert [entry.words for entry in film.key] == ["a curve", "chosen answer", "chosen path", "rejected path"]


def test_axes_are_named():
    film = FailureFilm(failure())
    words = {ax.get_xlabel() for ax in film.figure.axes}
    assert "update (square-root scale)" in words and any("chosen answer" in label for label in words)
    assert failure().measure in [text.get_text() for text in film.figure.texts]


def test_the_start_is_marked_on_every_map():
    film = FailureFilm(failure())
    width, height = film.frame(0).size
    assert width * 9 == height * 16
    starts = [a for a in film.animated if a.get_path_effects() and a.axes is not None and a.axes.get_ylim()[0] == 4]
    assert len(starts) == 2


def test_the_plane_moves_with_the_film():
    film = FailureFilm(failure())
    film.update(3)
    np.testing.assert_allclose(film.plane.heads[0].get_data(), failure().plane[0].mean[3:4].T)
    assert FailureFilm(failure(plane=())).plane is None


@pytest.mark.parametrize("theme", THEMES)
def test_settings_do_not_matter(theme):
    usual = FailureFilm(failure(), theme).frame(5).tobytes()
    with rc_context(HOSTILE):
        assert FailureFilm(failure(), theme).frame(5).tobytes() == usual


def test_a_page_has_the_panels_the_key_and_the_cause(tmp_path):
    page = save_failure_page(failure(), tmp_path / "x.html").read_text(encoding="utf-8")
    assert len(page.encode()) < MAX_BYTES
    assert page.count("<section") == 5 and page.count("class='light'") == 5 * 3
    for words in (failure().title, failure().why, failure().often, "Because it is <made up>.", "panel dpo: value 1.00"):
        assert html.escape(words) in page
    assert "visits an episode, ≤0.01 to 10 (logarithmic)" in page
