"""The film of language models' answers: outcomes, optimal tokens and dots by rule, and words that can be read."""

from itertools import pairwise

import numpy as np
import pytest
from test_paper import check

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.language.lakes import Lakes
from ift_gridworld.language.rewards import outcome
from ift_gridworld.rendering.answer_film import MOST_STEPS, Answer, AnswerFilm, _optimal_tokens, outcome_of, stack_dots
from ift_gridworld.rendering.theme import THEMES

ROWS = ("SFF", "FHF", "FFG")
GRID = GridLayout.of(ROWS)
L, D, R, U, END, NONE = 0, 1, 2, 3, 4, -1


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([R, R, D, D, END], "reaches the goal"),
        ([L, U, R, R, D, D, END], "reaches the goal"),  # a move over the edge stays
        ([R, R, D, D], "never ends"),
        ([R, R, D, D, L, R, END], "walks on past the goal"),
        ([R, D, END], "falls into a hole"),
        ([R, D, NONE, D], "falls into a hole"),
        ([R, END], "stops before the goal"),
        ([END], "stops before the goal"),
        ([R, R, NONE, D, D, END], "says a word that is no move"),
    ],
)
def test_what_becomes_of_an_answer(tokens, words):
    assert outcome_of(GRID, tokens) == words


def test_only_an_answer_that_is_right_reaches_the_goal():
    """By the rule of rewards, on random answers."""
    random = np.random.default_rng(0)
    lakes = Lakes.of([ROWS])
    seen = set()
    for _ in range(400):
        moves = random.choice([L, D, R, -2], size=random.integers(1, 7), p=[0.05, 0.45, 0.45, 0.05])
        ended = bool(random.random() < 0.8)
        answer = Answer("sft", np.append(moves, -1), ended, np.zeros((0, 5)), np.zeros(1))
        right, _ = outcome(lakes, np.append(moves, -1)[None], np.array([ended]))
        words = outcome_of(GRID, answer.tokens)
        assert (words == "reaches the goal") == right[0], (moves, ended)
        seen.add(words)
    assert len(seen) == 6


def test_optimal_tokens_are_those_of_shortest_paths_from_where_the_answer_stands():
    """Two ways from the start; after a move to the right one; on the goal the end; none in a hole or after no move."""
    assert _optimal_tokens(GRID, [R, R, D, D, END]) == [{D, R}, {R}, {D}, {D}, {END}]
    assert _optimal_tokens(GRID, [R, D, D]) == [{D, R}, {R}, set()]
    assert _optimal_tokens(GRID, [R, NONE, D]) == [{D, R}, {R}, set()]


def test_dots_stand_over_their_values_and_upon_one_another():
    values = np.array([0.25, 0.5, 0.25, 0.25, 0.25])
    at = stack_dots(values, abreast=3, apart=0.01)
    np.testing.assert_allclose(at, [[0.24, 0], [0.49, 0], [0.25, 0], [0.26, 0], [0.24, 1]])
    assert len({tuple(place) for place in stack_dots(np.zeros(200))}) == 200


def answers(names=("base", "sft", "ift", "dpo"), length=4):
    random = np.random.default_rng(1)
    made = []
    for i, name in enumerate(names):
        moves = np.array([R, R, D, D, *[L, R] * 6][: length + i] + [-1])
        chance = random.dirichlet(np.ones(5), 12)
        made.append(Answer(name, moves, name != "dpo", chance, random.integers(0, 17, 40) / 16))
    return made


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("length", [0, 4, 12])
def test_words_in_the_film(theme, length):
    made = AnswerFilm(answers(length=length), ROWS, 7, "S F F / F H F / F F G :", np.array([R, R, D, D, -1]), theme)
    made.update(len(made) - 1)
    for artist in made.animated:
        artist.set_animated(False)
    check(made.figure, least=7.0)
    assert made.figure.get_size_inches()[0] == 9.0


def test_tokens_appear_one_after_the_other():
    """As many frames as the longest answer has tokens that are shown, and one before; each path follows its tokens."""
    made = AnswerFilm(answers(), ROWS, 7, "prompt", np.array([R, R, D, D]))
    assert len(made) == len(made.durations) == 1 + 7  # dpo: seven moves, and it never ends
    seen = []
    for index in range(len(made)):
        made.frame(index)
        seen.append((sum(artist.get_visible() for _, artist in made.steps), len(made.lanes[0].path[: index + 1])))
        assert len(made.lanes[0].line.get_xdata()) == min(index, 4) + 1
    assert seen[0][0] == 0 and all(a[0] < b[0] for a, b in pairwise(seen))
    long = AnswerFilm(answers(length=12), ROWS, 7, "prompt", np.array([R]))
    assert len(long) == 1 + MOST_STEPS


def test_the_words_are_those_of_the_answers(tmp_path):
    made = AnswerFilm(answers(("base", "sft")), ROWS, 7, "prompt", np.array([R, R, D, D, -1]))
    path = made.save(tmp_path / "film.png")
    words = (tmp_path / "film.png.txt").read_text()
    median = np.median(made.answers[1].success)
    assert (
        "SFT: it answers R R D D L end, which walks on past the goal" in words
        and f"median over all lakes {median:.2f}" in words
    )
    assert "The human's answer: R R D D end" in words and path.stat().st_size > 5000
