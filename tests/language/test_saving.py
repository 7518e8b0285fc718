"""Aligned models as folders: what transformers loads answers as our own greedy decoding does."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from test_evaluation import model_of
from test_language_data import chat_tokenizer
from test_language_model import SMALL, told

from ift_gridworld.cli.language import Args, main
from ift_gridworld.language import saving
from ift_gridworld.language.lakes import draw_lakes
from ift_gridworld.language.models import load_model
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.sampling import sample
from ift_gridworld.language.saving import model_card, save_model
from ift_gridworld.language.text import CHAT, COMPACT

LIMIT = 9


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Base models of these tests are kept apart from the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def greedy_texts(policy, tokenizer, lakes, limit):
    """Our own likeliest answers as text, without what follows the end."""
    texts = []
    for prompt in tokenizer.prompts(lakes):
        ids = sample(policy, torch.tensor([prompt]), end=tokenizer.end, limit=limit, pad=tokenizer.end)[0]
        texts.append(tokenizer.model_tokenizer.decode(ids, skip_special_tokens=True).strip())
    return texts


def piped_texts(folder, lakes):
    from transformers import pipeline

    speak = pipeline("text-generation", str(folder), device="cpu")
    prompts = [COMPACT.prompt(lakes.rows(i)) for i in range(len(lakes))]
    return [speak(prompt, return_full_text=False)[0]["generated_text"].strip() for prompt in prompts]


def test_a_pipeline_answers_as_our_greedy_decoding_does(tmp_path):
    """Also a model whose configuration asks for other answers: sampled, and never the same word twice."""
    policy, lakes = LanguagePolicy(sharp_model(factor=80)), draw_lakes(6, 3, seed=1)
    with torch.no_grad():
        policy.model.lm_head.weight[1] += 0.6  # an end now and then
    policy.model.generation_config.update(do_sample=True, temperature=3.0, repetition_penalty=5.0)
    tokenizer = MoveTokenizer(COMPACT, COMPACT.tokenizer)
    assert (
        save_model(policy, COMPACT.tokenizer, tmp_path / "new" / "model", limit=LIMIT, card="# x\n")
        == tmp_path / "new" / "model"
    )
    assert policy.model.generation_config.repetition_penalty == 5.0, "the model itself is left as it was"
    own = greedy_texts(policy, tokenizer, lakes, LIMIT)
    assert piped_texts(tmp_path / "new" / "model", lakes) == own and len(set(own)) > 1
    again, model_tokenizer, form = load_model(str(tmp_path / "new" / "model"))
    assert form is COMPACT and greedy_texts(again, MoveTokenizer(form, model_tokenizer), lakes, LIMIT) == own
    assert (tmp_path / "new" / "model" / "README.md").read_text() == "# x\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"], "nothing temporary is left"


def test_a_chat_model_answers_messages(tmp_path):
    """The template is saved with the tokenizer; special words of an answer are left out of its text."""
    from transformers import pipeline

    model_tokenizer, lakes = chat_tokenizer(), draw_lakes(4, 3, seed=1)
    policy = model_of(model_tokenizer)
    save_model(policy, model_tokenizer, tmp_path, limit=5, card="")
    speak = pipeline("text-generation", str(tmp_path), device="cpu")
    piped = [speak(CHAT.prompt(lakes.rows(i)))[0]["generated_text"][-1]["content"] for i in range(4)]
    assert [text.strip() for text in piped] == greedy_texts(policy, MoveTokenizer(CHAT, model_tokenizer), lakes, 5)
    assert all(piped)


def test_a_second_save_replaces_the_first_and_spares_other_files(tmp_path):
    policy = LanguagePolicy(sharp_model())
    save_model(policy, COMPACT.tokenizer, tmp_path, limit=LIMIT, card="first")
    (tmp_path / "mine.txt").write_text("mine")
    with torch.no_grad():
        policy.model.lm_head.weight.zero_()
    save_model(policy, COMPACT.tokenizer, tmp_path, limit=LIMIT, card="second")
    assert (tmp_path / "README.md").read_text() == "second" and (tmp_path / "mine.txt").read_text() == "mine"
    assert not load_model(str(tmp_path))[0].model.lm_head.weight.any()


def test_a_save_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    policy = LanguagePolicy(sharp_model())
    broken = SimpleNamespace(eos_token_id=1, pad_token_id=None, save_pretrained=lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(policy, broken, tmp_path / "model", limit=LIMIT, card="")
    assert not os.listdir(tmp_path / "model") and os.listdir(tmp_path) == ["model"]


def test_a_card_tells_method_settings_and_numbers():
    card = model_card(
        "IFT", {"mixing": 0.2, "data": "a|b"}, {"greedy": 0.25}, {"greedy": 0.5, "shortest": 1 / 3}, prompt="S G :", answer="R",
        versions={"torch": "2"},
    )  # fmt: skip
    assert card.startswith("---\nlibrary_name: transformers\n") and "# A frozen lake as text, aligned by IFT" in card
    assert "| greedy | 0.2500 | 0.5000 | share of lakes" in card and "| shortest |  | 0.3333 | share" in card
    assert (
        "| mixing | 0.2 |" in card and "| data | a\\|b |" in card and "Prompt: `S G :`" in card and "Versions: torch 2." in card
    )


# ---- the command ----


@pytest.mark.parametrize("there", ["a file in it", "a file"])
def test_a_folder_that_holds_something_is_refused_before_training(there, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "model"
    if there == "a file":
        folder.write_text("x")
    else:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    line = told(capsys, save=str(folder), out=str(tmp_path / "runs"))
    what = "is no folder" if there == "a file" else "is not empty"
    assert line == f"error: --save is {str(folder)!r}, which {what}; allowed: a new folder, or an empty one\n"
    assert os.listdir(tmp_path) == ["model"], "nothing was trained"


@pytest.mark.slow
def test_each_aligned_model_is_saved_and_named(tmp_path, capsys):
    out, save = tmp_path / "runs", tmp_path / "models"
    settings = SMALL | {"steps": 40, "learning_rates": (1e-3, 3e-3), "no_extend": True}
    assert main(Args(**settings, method="sft,ift", workers=1, out=str(out), save=str(save))) == 0
    assert sorted(os.listdir(save)) == ["ift-seed-0", "sft-seed-0"]
    assert str(save / "ift-seed-0") in capsys.readouterr().out.replace("\n", "")
    run = json.loads((out / "ift.json").read_text())["runs"][0]
    card = (save / "ift-seed-0" / "README.md").read_text()
    assert f"| greedy | {run['measured'][0]['greedy']:.4f} | {run['measured'][-1]['greedy']:.4f} |" in card
    assert f"| learning_rate | {run['learning_rate']} |" in card and "aligned by IFT" in card
    policy, model_tokenizer, form = load_model(str(save / "ift-seed-0"))
    lakes = draw_lakes(5, 4, seed=9)
    own = greedy_texts(policy, MoveTokenizer(form, model_tokenizer), lakes, 32)
    assert piped_texts(save / "ift-seed-0", lakes) == own
    assert any(np.array([len(text) for text in own]) > 0)
    assert saving.METRICS.keys() <= {line.split(" | ")[0].strip("| ") for line in card.splitlines()}
