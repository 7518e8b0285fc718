"""Any language model asked about lakes: known players get their numbers, and any tokenizer's words their probabilities."""

import json
import os

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from test_language_data import TURNS, chat_tokenizer, tokenizer_of
from test_language_metrics import END, at_tiles, ends_with, first_best, perfect, player, uniform
from transformers import LlamaConfig, LlamaForCausalLM

from ift_gridworld.cli.main import main
from ift_gridworld.evaluation.statistics import share_interval, student_interval
from ift_gridworld.language.evaluation import EVALUATED, _Answer, _Asked, draw_questions, evaluate, summarise
from ift_gridworld.language.lakes import Lakes, walk
from ift_gridworld.language.metrics import measure
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.questions import Questions
from ift_gridworld.language.saving import save_model
from ift_gridworld.language.text import CHAT, COMPACT, PLAIN, read_map_of

LEFT, DOWN, RIGHT, UP = range(4)
LAKES, EXAMPLES = draw_questions(6, shots=2, size=3, seed=1)


@pytest.fixture(scope="module")
def chat():
    return MoveTokenizer(CHAT, chat_tokenizer())


def questions(tokenizer):
    return Questions(tokenizer.form, tokenizer.model_tokenizer)


def letters():
    """A tokenizer of single letters, lines among them: a move is several tokens. It lacks a word of the lake's own."""
    return tokenizer_of([*map(chr, sorted({*range(32, 127)} - {ord("U")})), "\n"], r".|\n")


def model_of(tokenizer, seed=0):
    """A small random model on a tokenizer's vocabulary, whose predictions differ from place to place."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=2048, **shape))
    with torch.no_grad():
        model.lm_head.weight *= 30
    return LanguagePolicy(model)


# ---- numbers of players that are known ----


def test_the_optimum_is_perfect(chat):
    found = evaluate(player(chat, perfect), questions(chat), LAKES, samples=3)
    assert list(found) == list(EVALUATED) and all(values.shape == (6,) for values in found.values())
    for name in ("success", "shortest", "form", "sampled", "mass"):
        np.testing.assert_allclose(found[name], 1.0, atol=1e-9)
    np.testing.assert_allclose(found["distance"], 0.0, atol=1e-12)


def test_what_a_uniform_player_lacks_is_the_share_of_moves_that_are_not_optimal(chat):
    """A corridor of two moves: one of four moves is optimal at each step, wherever the walk goes."""
    corridor = Lakes.of([("SFG",)])
    found = evaluate(player(chat, uniform), questions(chat), corridor, samples=50)
    assert found["mass"][0] == pytest.approx(1 / 4) and found["success"][0] == 0.0
    assert found["distance"][0] == pytest.approx((0.75**2 + 3 * 0.25**2) / 5)


def test_an_early_end_is_a_step_that_is_not_optimal(chat):
    """It ends with a chance of 1/5 at each step before the goal: 4/5 of the mass is optimal, and (4/5)^3 of answers arrive."""
    corridor = Lakes.of([("SFFG",)])
    found = evaluate(player(chat, ends_with(0.2)), questions(chat), corridor, samples=400, rows=1000)
    assert found["mass"][0] == pytest.approx(0.8) and found["success"][0] == 1.0
    assert found["sampled"][0] == pytest.approx(0.8**3, abs=4 * (0.8**3 * (1 - 0.8**3) / 400) ** 0.5)


def test_a_walk_that_is_cut_has_as_many_steps_as_moves(chat):
    """To and fro for six moves, twice the shortest path and two: every second one is optimal."""
    to_and_fro = at_tiles(lambda rows, tile, best: {LEFT if tile else RIGHT: 1.0})
    found = evaluate(player(chat, to_and_fro), questions(chat), Lakes.of([("SFG",)]), samples=2)
    assert found["mass"][0] == pytest.approx(3 / 6) and found["form"][0] == 1.0 and found["success"][0] == 0.0


def test_words_that_are_no_moves_are_told_apart(chat):
    mumbling = player(chat, at_tiles(lambda rows, tile, best: {"F": 1.0}))
    found = evaluate(mumbling, questions(chat), LAKES, samples=1)
    assert not found["form"].any() and not found["success"].any() and not found["mass"].any()
    wrong = evaluate(player(chat, at_tiles(lambda rows, tile, best: {END: 1.0})), questions(chat), LAKES, samples=1)
    assert wrong["form"].all() and not wrong["success"].any()


def test_a_longer_path_is_no_shortest_one(chat):
    """Against the edge first, then as the optimum."""

    def speaks(rows, said):
        return {UP: 1.0} if not said else first_best(rows, said)

    found = evaluate(player(chat, speaks), questions(chat), Lakes.of([("SFG",), ("SFG",)]), samples=1)
    assert found["success"].tolist() == [1.0, 1.0] and found["shortest"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rows", [2, 64])
def test_it_agrees_with_the_metrics_of_training(rows):
    """Of a real model, on what does not depend on draws."""
    policy, lakes, tokenizer = LanguagePolicy(sharp_model(factor=80)), LAKES, MoveTokenizer(COMPACT, COMPACT.tokenizer)
    found = evaluate(policy, Questions(COMPACT, COMPACT.tokenizer), lakes, samples=2, rows=rows)
    expected = measure(policy, tokenizer, lakes, walk(lakes))
    np.testing.assert_allclose(found["distance"], expected["distance"], atol=1e-7)
    assert (
        found["success"].tolist() == expected["greedy"].tolist() and found["shortest"].tolist() == expected["shortest"].tolist()
    )


# ---- any tokenizer ----


def test_words_of_several_tokens_have_the_probability_of_all_of_them():
    """From the models own forward pass over each whole text; the end is any token that begins a line, or the end token."""
    tokenizer, policy = letters(), model_of(letters())
    asked = Questions(PLAIN, tokenizer, EXAMPLES)
    prompts = [asked.prompt_ids(LAKES.rows(i)) for i in range(2)]
    nodes = [(0, ()), (1, (RIGHT,)), (1, (RIGHT, DOWN)), (0, (UP,))]
    found = _Asked(policy, asked, LAKES[:2], prompts, 9, 64).chances(nodes)
    with torch.no_grad():
        for node, (lake, moves) in enumerate(nodes):
            said = asked.prompt(LAKES.rows(lake)) + PLAIN.completion(moves).rstrip()
            begin = len(tokenizer(said)["input_ids"])
            for move in range(4):
                whole = tokenizer(said + " " + CHAT.moves[move])["input_ids"]
                logp = torch.log_softmax(policy.model(torch.tensor([whole])).logits[0].double(), -1)
                chance = sum(float(logp[at - 1, whole[at]]) for at in range(begin, len(whole)))
                assert found[node, move] == pytest.approx(np.exp(chance), rel=1e-4)
            last = torch.softmax(policy.model(torch.tensor([whole[:begin]])).logits[0, -1].double(), -1)
            ends = [tokenizer.convert_tokens_to_ids("\n"), tokenizer.eos_token_id]
            assert asked.ends == set(ends) and found[node, 4] == pytest.approx(float(last[ends].sum()), rel=1e-4)


def test_answers_of_several_tokens_are_read():
    asked = Questions(PLAIN, letters())
    path = walk(LAKES)[0]
    moves = [move for move in path.tolist() if move >= 0]

    def read(text):
        answer = _Answer(0, LAKES, asked)
        for token in asked.tokenizer(text)["input_ids"]:
            answer.read(token, 8)
        return answer

    right = " ".join(CHAT.moves[move] for move in moves)
    assert read(f" {right}\n").right and read(f" {right}\n\nS").moves == moves
    assert not read(f" {right}").right, "it has not ended"
    assert not read(f" {right} up\n").right and read(f" {right} up\n").moves == moves
    assert read(f" {right}.").strange and read(" le\n").strange and not read("left\n").right and read(" rigid").strange
    cut = read(" up" * 20)
    assert cut.cut == (not read(" up up up").over) and len(cut.moves) <= 8


def test_an_answer_is_written_no_further_than_it_can_be_right(chat):
    """Nothing is computed for answers that are over: as many calls as the longest of them has steps."""
    asked, calls = player(chat, at_tiles(lambda rows, tile, best: {"F": 1.0})), []
    forward = asked.model.forward
    asked.model.forward = lambda *args, **options: calls.append(1) or forward(*args, **options)
    _Asked(asked, questions(chat), LAKES, MoveTokenizer(CHAT, chat.model_tokenizer).prompts(LAKES), 14, 64).answers(1)
    assert len(calls) == len({len(p) for p in MoveTokenizer(CHAT, chat.model_tokenizer).prompts(LAKES)})


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lambda: Questions(CHAT, chat_tokenizer("{% if messages[1:] %}<|system|>{% endif %}" + TURNS)),
            "writes a prompt otherwise",
        ),
        (lambda: Questions(CHAT, chat_tokenizer("{{ raise_exception('no users') }}")), "the chat template refuses a question"),
        (lambda: Questions(PLAIN, tokenizer_of([*" abcdefghijklmnopqrstuvwxyzSFHGM.,:\n"], r" \w+ \w+|.|\n")), "word by word"),
        (lambda: Questions(COMPACT, COMPACT.tokenizer, EXAMPLES), "examples is 2, for the lake's own vocabulary; allowed: 0"),
        (lambda: Questions(PLAIN, letters(), more_ends=frozenset(letters()(" l")["input_ids"][:1])), "or the end begins"),
    ],
)
def test_a_tokenizer_that_cannot_be_asked_is_one_line(made, words):
    with pytest.raises(ValueError, match=words) as error:
        assert made().words
    assert "\n" not in str(error.value)


# ---- questions ----


@pytest.mark.parametrize("form", [PLAIN, CHAT], ids=["plain", "chat"])
def test_examples_come_first_and_are_right(form):
    asked = Questions(form, chat_tokenizer(), EXAMPLES)
    prompt = asked.prompt(LAKES.rows(0))
    assert read_map_of(prompt) == LAKES.rows(0) and Questions(form, None).prompt(LAKES.rows(0)) == form.prompt(LAKES.rows(0))
    if form is CHAT:
        assert [message["role"] for message in prompt] == ["user", "assistant"] * 2 + ["user"]
    else:
        assert prompt.count(PLAIN.question) == 1 and prompt.count("\nMoves:") == 3 and prompt.endswith("\nMoves:")
    for rows, moves in EXAMPLES:
        lake = Lakes.of([rows])
        assert len(moves) == lake.distance[0, lake.start[0]] and rows not in [LAKES.rows(i) for i in range(6)]


def test_lakes_do_not_depend_on_the_number_of_examples():
    for shots in (0, 1, 16):
        lakes, examples = draw_questions(6, shots=shots, size=3, seed=1)
        assert lakes.fingerprints == LAKES.fingerprints and len(examples) == shots
    assert draw_questions(6, size=3, seed=2)[0].fingerprints != LAKES.fingerprints
    with pytest.raises(ValueError, match="^shots is 17; allowed: 0 to 16$"):
        draw_questions(6, shots=17)


def test_intervals_are_wilsons_for_shares_and_students_for_means():
    values = np.array([0.0, 1.0, 1.0, 1.0])
    found = summarise({"success": values, "mass": values / 2})
    assert found["success"] == dict(zip(("mean", "low", "high"), share_interval(3, 4), strict=True))
    mean, low, high = student_interval(values / 2)
    assert found["mass"] == {"mean": mean, "low": max(low, 0.0), "high": high}
    share, low, high = share_interval(3, 4)  # its ends are where the test of a share just rejects
    assert share == 0.75 and all(
        abs(share - p) == pytest.approx(1.959964 * (p * (1 - p) / 4) ** 0.5, rel=1e-5) for p in (low, high)
    )


# ---- the command ----


def run(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["ift-gridworld"])
    with pytest.raises(SystemExit) as end:
        main(["language", "evaluate", *map(str, words)])
    return end.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with a tokenizer of letters and no chat template, as a base model has."""
    path = tmp_path_factory.mktemp("plain")
    return save_model(model_of(letters()), letters(), path, limit=9, card="")


def test_the_command_writes_numbers_settings_and_versions(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "found.json"
    options = ("--model", folder, "--lakes", 3, "--size", 3, "--shots", 1, "--samples", 2, "--seed", 1, "--out", out)
    assert run(monkeypatch, *options) == 0
    found, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert found["settings"]["form"] == "plain" and found["settings"]["shots"] == 1 and found["settings"]["seed"] == 1
    assert {"python", "torch", "transformers"} <= set(found["versions"]) and found["seconds"] > 0 and found["device"]
    assert found["lakes"] == ["/".join(draw_questions(3, size=3, seed=1)[0].rows(i)) for i in range(3)]
    for name, numbers in found["metrics"].items():
        assert numbers["low"] <= numbers["mean"] <= numbers["high"] and np.mean(found["each"][name]) == pytest.approx(
            numbers["mean"]
        )
        assert name in printed and f"{numbers['mean']:.3f}" in printed
    assert "3 lakes, asked in the form plain, 1 examples" in printed
    assert run(monkeypatch, *options[:-1], tmp_path / "again.json") == 0
    assert json.loads((tmp_path / "again.json").read_text())["each"] == found["each"], "same seed, same numbers"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--model is ''; allowed: a folder"),
        (("--model", "tiny", "--lakes", 0), "--lakes is 0; allowed: a whole number >= 1"),
        (("--model", "tiny", "--chat", "--plain"), "--chat and --plain are given; allowed: one of them"),
        (("--model", "tiny", "--chat"), "--chat is given, and the model has the lake's own vocabulary; allowed: without it"),
        (("--model", "tiny", "--shots", 2), "--shots is 2, and the model has the lake's own vocabulary"),
        (("--model", "tiny", "--shots", 17), "shots is 17; allowed: 0 to 16"),
        (("--model", "nowhere.gguf"), "model 'nowhere.gguf' is no file"),
        (("--model", "FOLDER", "--chat"), "--chat is given, and the model's tokenizer has no chat template; allowed: --plain"),
        (
            ("--model", "FOLDER", "--size", 6, "--lakes", 1, "--shots", 16),
            "tokens, and the model reads 2048; allowed: smaller lakes, fewer",
        ),
        (("--model", "tiny", "--out", "."), "--out is '.'; allowed: a file"),
        (("--model", "tiny", "--device", "tpu"), "--device is 'tpu'; allowed: cpu, cuda"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(options, words, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *(folder if option == "FOLDER" else option for option in options)) == 2
    printed = capsys.readouterr()
    assert words in printed.err and printed.err.count("\n") == 1 and not printed.out and not os.listdir(tmp_path)
