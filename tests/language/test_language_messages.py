"""Conversations as rows: every assistant turn is an answer, as the trainers read labels of several turns."""

import json

import numpy as np
import pytest
import torch
from test_language_data import TURNS, answered, asked, chat_tokenizer
from test_language_trainer import collator, trainer

from ift_gridworld.language.data import Completions, read_rows, tokenize_rows, write_rows
from ift_gridworld.language.models import build_model
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.token_gradients import rows_of_common_length
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import IFTOptions

TALK = [*asked("S"), *answered("left up"), *asked("H"), *answered("right"), *asked("G")]


def counted(tokenizer, data, row=0):
    """The answers of a row as text, one a run of steps that count."""
    batch = data.batch(np.array([row]))
    runs, before = [], False
    for action, counts in zip(batch.actions[0, 0].tolist(), batch.mask[0, 0].tolist(), strict=True):
        if counts:
            runs[len(runs) - (1 if before else 0) :] = [(runs[-1] if before else []) + [action]]
        before = counts
    return [tokenizer.decode(run) for run in runs]


def test_every_turn_of_the_assistant_counts():
    """What follows the last one is left out; the prompt is what stands before the first."""
    tokenizer = chat_tokenizer()
    data, _ = tokenize_rows([{"messages": TALK}, {"messages": TALK[:2]}], tokenizer)
    whole = "<|user|>S<|assistant|>left up<end><|user|>H<|assistant|>right<end>"
    assert tokenizer.decode(data.ids[0, : data.length[0]].tolist()) == whole
    assert tokenizer.decode(data.ids[0, : data.prompt[0]].tolist()) == "<|user|>S<|assistant|>"
    assert counted(tokenizer, data) == ["left up<end>", "right<end>"]
    assert counted(tokenizer, data, 1) == ["left up<end>"]
    assert data.counted.tolist() == [5, 3] and data[1:].counted.tolist() == [3]


def test_one_turn_is_a_prompt_and_its_completion():
    tokenizer = chat_tokenizer()
    found = [
        tokenize_rows([row], tokenizer)[0]
        for row in ({"messages": TALK[:2]}, {"prompt": TALK[:1], "completion": TALK[1:2]}, {"messages": TALK[:3]})
    ]
    for data in found:
        assert data.turns is None
        assert data.ids.tolist() == found[0].ids.tolist() and data.prompt.tolist() == found[0].prompt.tolist()


def test_only_the_last_turn_is_ended_where_the_template_ends_none():
    tokenizer = chat_tokenizer(TURNS.replace("<end>", ""))
    data, _ = tokenize_rows([{"messages": TALK}], tokenizer)
    assert counted(tokenizer, data) == ["left up", "right<end>"]


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages | length > 2 %}S{% endif %}" + TURNS,
        TURNS.replace("{{ m.content }}", "{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}"),
    ],
    ids=["the prompt", "an answer"],
)
def test_a_template_that_rewrites_earlier_turns_is_refused(template):
    with pytest.raises(ValueError, match=r"^row 1 cannot be written as tokens: the chat template writes .* otherwise") as error:
        tokenize_rows([{"messages": TALK}], chat_tokenizer(template))
    assert str(error.value).isprintable()


def test_turns_are_rows_that_can_be_too_long():
    tokenizer = chat_tokenizer()
    rows = [{"messages": TALK}, {"messages": TALK[:2]}]
    longest = int(tokenize_rows(rows, tokenizer)[0].length[0])
    assert [tokenize_rows(rows, tokenizer, limit=n)[1] for n in (longest, longest - 1)] == [0, 1]


@pytest.mark.parametrize("knobs", [{}, {"mixing": 0.0, "propagation": "none"}], ids=["IFT", "SFT"])
def test_the_loss_is_the_trainers_of_the_same_labels(tmp_path, knobs):
    """Two turns and one: turns of a row weigh on each other, and a later turn reads an earlier one's mixed tokens."""
    prompts, rest = [[5, 6], [7]], [[2, 3, 1, 8, 9, 4, 1], [3, 1]]
    turns = [[True, True, True, False, False, True, True], [True, True]]
    data, model = Completions.of(prompts, rest, turns=turns), build_model("tiny", seed=1).double()
    with torch.no_grad():
        model.lm_head.weight *= 20
    rows = [
        {
            "input_ids": [*p, *r],
            "attention_mask": [1] * len(p + r),
            "labels": [-100] * len(p) + [x if t else -100 for x, t in zip(r, each, strict=True)],
        }
        for p, r, each in zip(prompts, rest, turns, strict=True)
    ]
    learner = trainer(model, tmp_path, named=knobs)
    expected = learner.compute_loss(learner.model, collator()(rows))
    found = IFT(TextSource(), LanguagePolicy(model), IFTOptions(**knobs)).loss(data.batch())[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    alike = Completions.of(prompts, rest)
    other = IFT(TextSource(), LanguagePolicy(model), IFTOptions(**knobs)).loss(alike.batch())[0]
    assert (found - other).abs() > 1e-2
    assert TextSource(data).fingerprint != TextSource(alike).fingerprint
    assert rows_of_common_length(data).tolist() == [1], "rows are compared by what they count"


# ---- files ----


def test_conversations_come_back_from_a_file(tmp_path):
    rows = [{"messages": TALK}, {"prompt": asked("S"), "completion": answered("left")}, {"messages": answered("S")}]
    assert read_rows(write_rows(tmp_path / "rows.jsonl", rows), "demonstrations") == rows


@pytest.mark.parametrize(
    ("kind", "row", "named"),
    [
        ("demonstrations", {"messages": asked("a")}, "'messages' has no turn of the assistant, .*; allowed: one or more"),
        ("demonstrations", {"messages": "a"}, "'messages' is no list of messages; allowed: objects with a role and a content"),
        ("demonstrations", {"messages": []}, "'messages' is no list of messages"),
        ("demonstrations", {"messages": [{"role": "assistant"}]}, "'messages' is no list of messages"),
        ("demonstrations", {"messages": answered("\ud83d")}, "'messages' holds half of a sign"),
        ("demonstrations", {"message": TALK}, "has no 'prompt'; allowed: rows with prompt, completion, or messages"),
        ("pairs", {"messages": TALK}, "has no 'prompt'; allowed: rows with prompt, chosen, rejected$"),
    ],
)
def test_a_bad_conversation_is_told_in_one_line(kind, row, named, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(ValueError, match=f"bad.jsonl, row 1: {named}") as error:
        read_rows(path, kind)
    assert "\n" not in str(error.value)
