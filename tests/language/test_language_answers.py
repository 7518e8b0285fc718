"""Which lake is typical, and what a model answers on every lake."""

import json

import numpy as np
import pytest

from ift_gridworld.language.answers import (
    Answers,
    SavedAnswers,
    load_answers,
    most_typical,
    save_answers,
)
from ift_gridworld.studies.language_report import draw_films, film_of_answers, load_runs, methods_of_film

NO_TIES = np.zeros((1, 5))


def test_the_typical_lake_is_near_every_methods_own_median():
    """Medians 0.5 and 0.2. The mean of lake 0 is the median of means, yet it is extreme in both; lake 2 is near both."""
    success = np.array([[0.0, 0.9, 0.4, 0.5, 1.0], [0.7, 0.1, 0.2, 0.6, 0.0]])
    means = success.mean(0)
    assert np.argmin(np.abs(means - np.median(means))) != 2, "or the mean would do"
    assert most_typical(success, NO_TIES) == 2
    assert most_typical(success[:1], NO_TIES) == 3, "the median of one method is one of its lakes"


def test_of_equally_typical_lakes_the_distance_decides_and_then_the_order():
    success = np.array([[0.0, 0.5, 0.5, 0.5, 1.0]])
    distance = np.array([[0.1, 0.9, 0.3, 0.3, 0.2]])  # its median is 0.3
    assert most_typical(success, distance) == 2
    assert most_typical(success, distance[:, ::-1]) == 1, "the first of 0.3 and 0.3"
    assert most_typical(1 - success, -distance) == 2, "near, not high or low"


def saved(method="sft", count=5, rows="SF FG", seed=0):
    random = np.random.default_rng(0)

    def answers(shift):
        return Answers(
            success=np.linspace(0, 1, count) ** shift, distance=np.linspace(0.1, 0.2, count),
            moves=np.tile([2, 1, -1], (count, 1)), ended=np.ones(count, int), chance=random.dirichlet(np.ones(5), (count, 3)),
        )  # fmt: skip

    human = np.tile([1, 2, -1, -1], (count, 1))
    return SavedAnswers(method, seed, [rows] * count, ["S F / F G :"] * count, human, answers(2), answers(1))


def test_answers_are_read_as_they_were_written(tmp_path):
    path = save_answers(saved(), tmp_path)
    again = load_answers(path)
    assert path.name == "sft.answers.json" and (again.method, again.rows) == ("sft", ["SF FG"] * 5)
    for name in ("base", "aligned"):
        for field, values in vars(getattr(again, name)).items():
            np.testing.assert_allclose(values, getattr(getattr(saved(), name), field), atol=1e-4)
    content = json.loads(path.read_text())
    content["aligned"]["success"] = [0.5]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"sft\.answers\.json is not a file of answers that can be read"):
        load_answers(path)


def test_the_film_is_of_sft_ift_and_dpo_or_of_others_in_their_place():
    assert methods_of_film(["grpo", "dpo", "ift", "sft", "orpo"]) == ["sft", "ift", "dpo"]
    assert methods_of_film(["grpo", "ppo_preference", "ift", "orpo"]) == ["ift", "orpo", "grpo"]
    assert methods_of_film(["ift_random"]) == []


def test_the_film_shows_the_lake_that_is_typical_of_base_and_methods():
    film = film_of_answers([saved(), saved("ift")], "light")
    assert [answer.method for answer in film.answers] == ["base", "sft", "ift"]
    assert film.index == 2, "0.25 and 0.5 are the medians of the squares and of 0, 0.25, 0.5, 0.75, 1"
    with pytest.raises(ValueError, match="the answers of ift are on other lakes than sft's; allowed: the same"):
        film_of_answers([saved(), saved("ift", seed=1)], "light")


def test_what_is_saved_is_drawn_and_is_no_run(tmp_path):
    save_answers(saved(), tmp_path)
    assert [path.name for path in draw_films([], tmp_path, "png", "dark")] == ["side_by_side.png"]
    with pytest.raises(ValueError, match="where no run is saved"):
        load_runs(tmp_path)
