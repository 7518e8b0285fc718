"""A lake written as text is the lake again when it is read, in both forms, and so is a path."""

import numpy as np
import pytest

from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.language.lakes import NO_MOVE, Lakes, draw_lakes, walk
from ift_gridworld.language.text import CHAT, COMPACT, END, MOVES, PAD, VOCABULARY, Form, dataset_row

FORMS = pytest.mark.parametrize("form", [COMPACT, CHAT], ids=lambda form: form.name)
BY_HAND = Lakes.of([("SF", "HG")])


def drawn():
    """Square lakes, flat ones and tall ones."""
    return [draw_lakes(20, size, detours=0, seed=1) for size in (4, (2, 5), (5, 2), (1, 6), (6, 1))]


@FORMS
def test_a_lake_is_read_back_from_its_prompt(form):
    for lakes in drawn():
        for i in range(len(lakes)):
            assert form.parse_prompt(form.prompt(lakes.rows(i))) == lakes.rows(i)


@FORMS
def test_a_path_is_read_back_from_its_answer(form):
    for lakes in drawn():
        for moves in walk(lakes, 0.5, seed=2).tolist():
            assert form.parse_completion(form.completion(moves)) == [move for move in moves if move != NO_MOVE]
    assert form.parse_completion(form.completion([])) == form.parse_completion(form.completion([NO_MOVE] * 3)) == []


def test_the_compact_form_by_hand():
    assert COMPACT.prompt(BY_HAND.rows(0)) == "S F / H G :"
    assert COMPACT.completion([2, 1, NO_MOVE]) == " R D" and COMPACT.completion([0, 3]) == " L U"
    assert COMPACT.parse_completion("R D") == COMPACT.parse_completion("  R\n D ") == [2, 1]


def test_the_chat_form_by_hand():
    (asked,) = CHAT.prompt(BY_HAND.rows(0))
    assert asked["role"] == "user" and asked["content"].endswith("\n\nS F\nH G")
    assert all(word in asked["content"] for word in LAKE_ACTIONS), "it says which words are moves"
    assert CHAT.completion([2, 1, NO_MOVE]) == [{"role": "assistant", "content": "right down"}]
    assert CHAT.parse_completion("right down") == [2, 1], "the words alone are read, too"


def test_moves_are_the_lakes_actions_in_their_order():
    assert CHAT.moves == LAKE_ACTIONS
    assert MOVES == COMPACT.moves == tuple(action[0].upper() for action in LAKE_ACTIONS)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        *((COMPACT, said) for said in ("R X", "r", "RD", "R D G", "R <end>", "right", "R,D", "-1")),
        *((CHAT, said) for said in ("right forwards", "Right", "right,", "R", "right down.")),
        (CHAT, [{"role": "assistant", "content": "I go right"}]),
    ],
)
def test_an_answer_with_a_word_that_is_no_move_is_no_path(form, said):
    assert form.parse_completion(said) is None


@pytest.mark.parametrize(
    ("form", "prompt", "named"),
    [
        (COMPACT, "S F / H G", "'SF/HG' is no lake; allowed: rows of S, F, H, G"),
        (COMPACT, "", "'' is no lake"),
        (COMPACT, ":", "the map is empty"),
        (COMPACT, "S F / G :", "row 2 ('G') has 1 tiles"),
        (COMPACT, "S X / H G :", "row 1 has the letter 'X'"),
        (COMPACT, "S F / H F :", "no G"),
        (COMPACT, "What is the capital of France?\nAnd of Spain?" * 9, "…' is no lake"),
        (CHAT, "S F\nH G", "is no lake; allowed: a question, an empty line, rows of S, F, H, G"),
        (CHAT, [{"role": "user", "content": "What is the\ncapital of France?"}], "is no lake"),
        (CHAT, "Here is a map.\n\n", "the map is empty"),
        (CHAT, "Here is a map.\n\nS F\nH", "row 2 ('H') has 1 tiles"),
        (CHAT, "Here is a map.\n\nS H\nH G", "no way from S to G"),
    ],
)
def test_a_prompt_that_is_no_lake_is_told_in_one_line(form, prompt, named):
    with pytest.raises(ValueError) as error:
        form.parse_prompt(prompt)
    assert named in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 160


# ---- tokens ----


def test_tokens_by_hand():
    """A token a word, in the order of the vocabulary; what pads and what ends are known to the tokenizer as such."""
    ids = COMPACT.tokenizer(f"S F / H G : R D {END}")["input_ids"]
    assert [VOCABULARY[i] for i in ids] == ["S", "F", "/", "H", "G", ":", "R", "D", END]
    assert len(COMPACT.tokenizer) == len(VOCABULARY) == len(set(VOCABULARY))
    assert (COMPACT.tokenizer.pad_token_id, COMPACT.tokenizer.eos_token_id) == (VOCABULARY.index(PAD), VOCABULARY.index(END))


def test_prompts_are_what_the_tokenizer_makes_of_them():
    for lakes in drawn():
        theirs = [COMPACT.tokenizer(COMPACT.prompt(lakes.rows(i)))["input_ids"] for i in range(len(lakes))]
        assert COMPACT.prompt_ids(lakes).tolist() == theirs


def test_tokens_are_text_again():
    """What a model says is read by the form that it was asked in."""
    text = COMPACT.prompt(BY_HAND.rows(0)) + COMPACT.completion([2, 1])
    prompt, _, said = COMPACT.tokenizer.decode([*COMPACT.tokenizer(text)["input_ids"], 1], skip_special_tokens=True).partition(
        ":"
    )
    assert COMPACT.parse_prompt(prompt + ":") == BY_HAND.rows(0) and COMPACT.parse_completion(said) == [2, 1]


def test_a_saved_tokenizer_gives_the_same_tokens(tmp_path):
    from transformers import AutoTokenizer

    COMPACT.tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == COMPACT.tokenizer.get_vocab()
    assert (again.eos_token_id, again.pad_token_id) == (COMPACT.tokenizer.eos_token_id, COMPACT.tokenizer.pad_token_id)
    for lakes in drawn():
        for i, moves in enumerate(walk(lakes, seed=3)):
            text = f"{COMPACT.prompt(lakes.rows(i))}{COMPACT.completion(moves)} {END}"
            assert again(text)["input_ids"] == COMPACT.tokenizer(text)["input_ids"]


# ---- rows of a data set ----


@FORMS
def test_a_row_has_the_fields_of_trl_and_nothing_else(form):
    lakes = draw_lakes(5, 3, detours=0, seed=4)
    best, poor = walk(lakes, seed=5), walk(lakes, 0.9, seed=6)
    for i in range(5):
        shown = dataset_row(form, lakes, i, completion=best)
        assert shown == {"prompt": form.prompt(lakes.rows(i)), "completion": form.completion(best[i])}
        pair = dataset_row(form, lakes, i, chosen=best, rejected=poor)
        assert list(pair) == ["prompt", "chosen", "rejected"]
        assert (
            form.parse_completion(pair["rejected"]) == poor[i][poor[i] >= 0].tolist() and pair["chosen"] == shown["completion"]
        )


def test_a_compact_row_may_be_joined_as_trl_joins_it():
    """TRL reads prompt + completion + end as one text: its tokens must begin with the prompt's, and go on with the moves."""
    for lakes in drawn():
        moves = walk(lakes, seed=7)
        for i in range(len(lakes)):
            row = dataset_row(COMPACT, lakes, i, completion=moves)
            whole = COMPACT.tokenizer(row["prompt"] + row["completion"] + END)["input_ids"]
            said = [VOCABULARY.index(MOVES[move]) for move in moves[i] if move != NO_MOVE]
            assert whole == [*COMPACT.prompt_ids(lakes[i : i + 1])[0], *said, VOCABULARY.index(END)]


def test_a_form_of_ones_own_has_to_say_how_it_writes():
    for asked in (lambda: Form().prompt(("SG",)), lambda: Form().completion([0]), lambda: Form().parse_prompt("")):
        with pytest.raises(NotImplementedError):
            asked()


def test_rows_hold_plain_numbers():
    """Whatever array the moves came in."""
    moves = np.array([[2, 1]], np.int8)
    assert dataset_row(COMPACT, BY_HAND, 0, completion=moves)["completion"] == " R D"
    assert COMPACT.completion(moves[0]) == " R D"
