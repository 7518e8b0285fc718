"""What methods ask of texts beside their rows: a teacher's labels, mismatched answers, and groups beside demonstrations."""

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from support import options_of

from ift_gridworld.language.data import Completions
from ift_gridworld.language.lakes import Lakes
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.rewards import exact_teacher
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.task import Task
from ift_gridworld.language.text import COMPACT
from ift_gridworld.methods.registry import METHODS

TOKENIZER = MoveTokenizer(COMPACT, COMPACT.tokenizer)
LEFT, DOWN, RIGHT, UP = range(4)
#   S F G
#   F H F
LAKES = Lakes.of([("SFG", "FHF"), ("SGH", "FFF")])
SMALL = Task(base=12, maps=12, validation=4, held_out=4)


@pytest.fixture(scope="module")
def policy():
    return LanguagePolicy(sharp_model().double())


def taught(moves, *, ended, row=0, teacher="optimal"):
    tokens = np.array([TOKENIZER.encode(moves, ended=ended)])
    return exact_teacher(LAKES, TOKENIZER)(np.array([row]), tokens, teacher)[1][0].round(3).tolist()


RIGHTWARDS, END, NOTHING = [0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0] * 5


@pytest.mark.parametrize(
    ("moves", "ended", "labels"),
    [
        ([RIGHT, RIGHT], True, [RIGHTWARDS, RIGHTWARDS, END]),
        ([DOWN, UP, RIGHT], False, [RIGHTWARDS, [0, 0, 0, 1, 0], RIGHTWARDS]),  # back up, beside the hole
        ([RIGHT, DOWN, LEFT], True, [RIGHTWARDS, RIGHTWARDS, NOTHING, NOTHING]),  # in the hole
        ([RIGHT, RIGHT, DOWN, UP], True, [RIGHTWARDS, RIGHTWARDS, END, NOTHING, NOTHING]),  # left the goal
        ([LEFT], True, [RIGHTWARDS, RIGHTWARDS]),  # ended too early: the step that ends is still taught
    ],
)
def test_the_teacher_says_what_to_do_at_each_step(moves, ended, labels):
    assert taught(moves, ended=ended) == labels


def test_the_teacher_is_silent_after_a_word_that_is_no_move():
    tokens = np.array([[TOKENIZER.action_tokens[0][RIGHT], 0, TOKENIZER.action_tokens[1][RIGHT]]])
    words, chances = exact_teacher(LAKES, TOKENIZER)(np.array([0]), tokens, "optimal")
    assert chances[0].tolist() == [RIGHTWARDS, RIGHTWARDS, NOTHING]
    assert words.tolist() == [*map(list, TOKENIZER.action_tokens)]


def test_the_demonstrator_moves_at_random_half_of_the_time_but_ends_at_the_goal():
    assert taught([RIGHT, RIGHT], ended=True, teacher="demonstrator") == [[0.125, 0.125, 0.625, 0.125, 0]] * 2 + [END]


def test_each_row_has_its_own_lake():
    assert taught([RIGHT], ended=True, row=1) == [RIGHTWARDS, END]


def test_labels_stand_in_the_columns_that_predict_them():
    """Of the demonstrations every label is the demonstrated token, up to ties between shortest ways."""
    source = SMALL.source(TOKENIZER, rows=6)
    lesson = source.labelled_demonstrations(0, "optimal")
    assert torch.equal(lesson.batch.mask, source.demonstration_batch(0).mask)
    right = ((lesson.actions == lesson.batch.actions[..., None]) * lesson.chances).sum(-1)
    assert (right[lesson.batch.mask] >= 0.25).all() and (lesson.chances.sum(-1)[lesson.batch.mask] == 1).all()


@pytest.mark.parametrize("name", ["dagger", "distill"])
def test_a_teacher_trains_a_language_model(name, policy):
    source = SMALL.source(TOKENIZER, rows=6)
    learner = METHODS[name](source, policy, options_of(name, every=1, walkers=6))
    loss = learner.loss(learner.batch(1))
    assert loss.shape == (1,) and loss.isfinite().all() and loss > 0


@pytest.mark.parametrize("name", ["dagger", "distill"])
def test_other_texts_have_no_teacher(name, policy):
    data = Completions.of([[2, 3]] * 4, [[4, 1]] * 4)
    learner = METHODS[name](TextSource(data, data, data, rows=4), policy, options_of(name, every=1, walkers=4))
    with pytest.raises(
        ValueError, match=r"^teacher is 'optimal', who is known on texts about lakes alone; allowed on others: "
    ):
        learner.batch(1)


def test_mismatched_answers_are_those_of_the_row_before():
    prompts, answers = [[2, 3], [4], [5, 6, 7]], [[8, 1], [9, 9, 1], [10]]
    data = Completions.of(prompts, answers)
    batch = TextSource(data, data, data, rows=3).mismatched(data.batch())
    expected = Completions.of(prompts, [answers[2], answers[0], answers[1]]).batch()
    for row in range(3):
        ours, theirs = ((x.states[0, row][x.mask[0, row]], x.actions[0, row][x.mask[0, row]]) for x in (batch, expected))
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


def test_kto_on_texts_uses_mismatched_answers(policy):
    """The default there; the exact divergence is not known and asking for it is refused."""
    data = Completions.of([[2, 3], [4, 5]], [[6, 1], [7, 8, 1]])
    source = TextSource(data, data, data, rows=2)
    losses = {kl: METHODS["kto"](source, policy, options_of("kto", kl=kl)) for kl in (None, "mismatched", "exact")}
    usual, published = (losses[kl].loss(losses[kl].batch(0)) for kl in (None, "mismatched"))
    assert torch.equal(usual, published)
    with pytest.raises(ValueError, match="kl is 'exact', which is known on lakes"):
        losses["exact"].loss(losses["exact"].batch(0))


def test_groups_answer_the_prompts_of_their_demonstrations(policy):
    """Each demonstration is rewarded as an answer is, and beside it are as many answers to its prompt as a group has."""
    source = SMALL.source(TOKENIZER, rows=6)
    seen = []
    for number in range(2):
        shown, own = source.guided_groups(policy, number, 6, 2)
        assert shown.states.shape[1] == 3 and own.states.shape[1] == 6
        first = shown.mask[0].int().argmax(-1)
        for row in range(6):
            length = int(first[row // 2]) + 1
            assert torch.equal(own.states[0, row, :length], shown.states[0, row // 2, :length])
        assert torch.equal(source.succeeded(shown), torch.ones(1, 3, dtype=torch.bool))  # shortest ways
        seen += [tuple(row.tolist()) for row in shown.states[0]]
    assert len(set(seen)) == 6 and source.prompt_batches == 2
