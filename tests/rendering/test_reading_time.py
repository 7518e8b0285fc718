"""Words stand until they can be read, in every film: three words a second, and 1.5 seconds to look."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from test_answer_film import ROWS, answers
from test_explain_film import film as explained
from test_failure_film import failure
from test_frontier_plane import run as frontier_run
from test_large_film import large_record
from test_page import lake_record
from test_plane import run as pair_run
from test_small_maps import TAXI, taxi_record

from ift_gridworld.explain import EXPLAINED
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.answer_film import AnswerFilm
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.explain_film import ExplainFilm
from ift_gridworld.rendering.failure_film import FailureFilm
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.film_bases import RunsFilm, Still
from ift_gridworld.rendering.flow import FlowFilm, WalksFilm
from ift_gridworld.rendering.frontier_plane import FrontierFilm
from ift_gridworld.rendering.large_film import LargeLakeFilm
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.optimal_still import OptimalPolicyStill
from ift_gridworld.rendering.pace import at_speed, reading_seconds
from ift_gridworld.rendering.plane import PlaneFilm
from ift_gridworld.rendering.seeds_view import SeedsFilm
from ift_gridworld.rendering.small_maps_film import SmallMapsFilm
from ift_gridworld.rendering.small_maps_still import OptimalRouteStill

FILMS = {
    "method": lambda: MethodFilm(lake_record()),
    "comparison": lambda: ComparisonFilm([lake_record(), lake_record("dpo", seed=1)]),
    "still": lambda: OptimalPolicyStill("a lake", {"firm": TabularMDP.from_map(["SF", "FG"])}),
    "answers": lambda: AnswerFilm(answers(), ROWS, 7, "prompt", np.array([2, 2, 1, 1])),
    "large": lambda: LargeLakeFilm([large_record()]),
    "small maps": lambda: SmallMapsFilm([taxi_record()]),
    "route": lambda: OptimalRouteStill("a taxi", {"dry": TAXI.mdp}),
    "flow": lambda: FlowFilm([lake_record()]),
    "walks": lambda: WalksFilm([lake_record()]),
    "seeds": lambda: SeedsFilm([lake_record()]),
    "plane": lambda: PlaneFilm([pair_run("sft"), pair_run("dpo")]),
    "frontier": lambda: FrontierFilm([frontier_run("sft"), frontier_run("dpo")]),
    "failure": lambda: FailureFilm(failure()),
    **{f"explain {method}": lambda method=method: explained(method) for method in EXPLAINED},
    "explain a wide map": lambda: explained("ppo", "CliffWalking-v1", "dark"),
}
FILM = pytest.mark.parametrize("name", FILMS)


@cache
def made(name):
    return FILMS[name]()


def needed(words):
    return 1.5 + len(words.split()) / 3


def test_three_words_a_second_after_a_look():
    assert reading_seconds("") == 1.5
    assert reading_seconds("one two three") == 2.5
    assert reading_seconds(" ".join(["word"] * 30)) == 11.5


@FILM
def test_captions_can_be_read(name):
    """The words that a frame adds to the one before stand for as long as their reading takes, before others come."""
    film = made(name)
    captions, durations = film.captions, film.durations
    assert len(captions) == len(durations) == len(film)
    starts = [0, *(i for i in range(1, len(film)) if captions[i] != captions[i - 1])]
    before = set()
    for start, end in pairwise([*starts, len(film)]):
        lines = captions[start].splitlines()
        new = " ".join(line for line in lines if line not in before)
        if new:
            assert sum(durations[start:end]) >= needed(new) - 1e-6, new
        before = set(lines)


@FILM
def test_every_sentence_that_changes_is_a_caption(name):
    """Texts of four words or more that come or go between two frames; the labels of axes and keys are no sentences."""
    film = made(name)
    labels = _labels(film)
    texts = [text for text in film.figure.findobj(Text) if text not in labels]
    before = {}
    for index, caption in enumerate(film.captions):
        film.update(index)
        now = {text: " ".join(text.get_text().split()) for text in texts}
        for words in (words for text, words in now.items() if before.get(text) != words and index):
            if len(words.split()) >= 4 and "$" not in words and "○" not in words:
                assert words in " ".join(caption.split()), words
        before = now


def _labels(film):
    """Texts of the chart and the key of an explained update, but for the chart's title."""
    if not isinstance(film, ExplainFilm):
        return set()
    axes = (film.stage.chart.ax, film.key.words[0].axes)
    return {text for ax in axes for text in ax.findobj(Text)} - {film.stage.chart.title}


@pytest.mark.parametrize("name", ["method", "comparison", "plane", "frontier"])
def test_numbers_at_either_end_can_be_read(name):
    """A film of a run begins and ends with numbers that stand still."""
    film = made(name)
    for index in (0, len(film) - 1):
        film.update(index)
        assert film.captions[index].startswith(f"update {(0, 30)[index > 0]}")
        assert film.durations[index] >= needed(film.captions[index]) - 1e-6


def test_another_speed_is_another_duration():
    durations = [1.5, 0.1, 0.04, 0.04, 0.04, 2.5]
    for speed in (0.1, 0.5, 1, 2, 4, 10):
        frames = at_speed(durations, speed)
        assert sum(seconds for _, seconds in frames) == pytest.approx(sum(durations) / speed, abs=0.011)
        assert frames[0][0] == 0 and frames[-1][0] == 5
        assert all(seconds >= 0.02 for _, seconds in frames)
    assert at_speed(durations, 1) == [(i, seconds) for i, seconds in enumerate(durations)]
    assert [i for i, _ in at_speed(durations, 4)] != list(range(6))  # 0.01 s would be shown for 0.1 s


def test_a_film_is_saved_at_its_speed(tmp_path):
    film = made("method")
    lengths = {}
    for speed in (1.0, 2.0):
        with Image.open(film.save(tmp_path / f"{speed}.gif", speed=speed)) as gif:
            lengths[speed] = sum(_duration(gif, i) for i in range(gif.n_frames))
    np.testing.assert_allclose(lengths[1.0], sum(film.durations), atol=0.01)
    np.testing.assert_allclose(lengths[2.0], lengths[1.0] / 2, atol=0.02)


def _duration(gif, index):
    gif.seek(index)
    return gif.info["duration"] / 1000


@pytest.mark.parametrize("speed", [0, -1, 11, float("nan"), float("inf"), "fast", True])
def test_a_speed_that_makes_no_sense_is_refused(speed, tmp_path):
    with pytest.raises(ValueError, match=r"^speed is .*; allowed: a number in \[0.1, 10\]$"):
        made("method").save(tmp_path / "x.gif", speed=speed)
    assert not list(tmp_path.iterdir())


def test_every_kind_of_film_is_held_to_it():
    """A new subclass of Film belongs into FILMS above."""

    def subclasses(kind):
        return {kind, *(inner for one in kind.__subclasses__() for inner in subclasses(one))}

    own = {kind for kind in subclasses(Film) - {Film} if kind.__module__.startswith("ift_gridworld")}
    assert own - {Still, RunsFilm} == {type(made(name)) for name in FILMS}  # bases, which are not made themselves
