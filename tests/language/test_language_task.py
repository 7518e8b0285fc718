"""Data sets that share no lake, bases that are kept, controls that are what they say, and the pull at each token by hand."""

import copy

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from test_language_data import chat_tokenizer

from ift_gridworld.evaluation.metrics import measure
from ift_gridworld.language.answers import STEPS_KEPT, answers_of
from ift_gridworld.language.base_model import train_or_load_base
from ift_gridworld.language.controls import CONTROLS, FrozenSFT, WrongShift
from ift_gridworld.language.lake_film import choose_film_lake, film_run, move_probabilities
from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, NO_MOVE, Lakes, tiles_along
from ift_gridworld.language.metrics import measure as measure_text
from ift_gridworld.language.models import build_model
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.probes import Probes
from ift_gridworld.language.task import Task, encode_walks, rejected_walks
from ift_gridworld.language.text import CHAT
from ift_gridworld.language.token_gradients import answer_log_probs, rows_of_common_length, token_pull
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.imitation import IFT, SFT
from ift_gridworld.methods.options import IFTOptions, MethodOptions
from ift_gridworld.methods.registry import METHODS

SMALL = Task(base=40, maps=30, validation=10, held_out=12)


@pytest.fixture
def policy():
    return LanguagePolicy(sharp_model(seed=2, factor=10))


def method(kind, policy, tokenizer, **changes):
    return kind(SMALL.source(tokenizer, rows=6), policy, kind.options_type(**changes))


# ---- lakes and paths ----


def test_no_two_sets_share_a_lake():
    names = [name for lakes in SMALL.lakes.values() for name in lakes.fingerprints]
    assert len(set(names)) == len(names) == 92
    assert (Task(base=40, maps=30, validation=10, held_out=12).lakes["maps"].tiles == SMALL.lakes["maps"].tiles).all()


def test_the_humans_paths_are_shortest_and_the_others_go_astray_as_often_as_asked():
    for name, lakes in SMALL.lakes.items():
        assert ((SMALL.paths[name] >= 0).sum(1) == lakes.distance[np.arange(len(lakes)), lakes.start]).all()
    still = Task(base=200, maps=30, noise=(0.0, 0.0))
    assert ((still.base_walks >= 0).sum(1) == (still.paths["base"] >= 0).sum(1)).all()
    wild = Task(base=200, maps=30, noise=(1.0, 1.0)).base_walks
    assert abs(np.bincount(wild[:, 0], minlength=4) / 200 - 0.25).max() < 0.13  # four standard errors


def test_rejected_walks_are_over_and_worse():
    for name in ("maps", "held_out"):
        lakes, moves = SMALL.lakes[name], SMALL.rejected[name]
        last = lakes.flat[np.arange(len(lakes)), tiles_along(lakes, moves)[:, -1]]
        longer = (moves >= 0).sum(1) > lakes.distance[np.arange(len(lakes)), lakes.start]
        assert ((last == HOLE_CODE) | ((last == GOAL_CODE) & longer)).all()
    assert (last == GOAL_CODE).any() and (last == HOLE_CODE).any()
    with pytest.raises(ValueError, match=r"noise is \(0.0, 0.0\): on 12 of 12 lakes none of 200 walks is worse"):
        rejected_walks(SMALL.lakes["held_out"], (0.0, 0.0), seed=0)


def test_a_walk_that_was_cut_has_no_end_in_any_form(tokenizer):
    """A model that learnt from it would learn to stop in the middle."""
    lakes = Lakes.of([("SFG", "FFF")] * 3)
    moves = np.array([[2, 2, NO_MOVE], [1, 0, 0], [1, 2, 2]])
    words = chat_tokenizer()
    for asked, end in ((tokenizer, tokenizer.end), (MoveTokenizer(CHAT, words), words.eos_token_id)):
        found = encode_walks(lakes, moves, asked)
        ended = [found.ids[i, n - 1] == end for i, n in enumerate(found.length)]
        assert ended == [True, False, False]
        counted = found.length - found.prompt
        assert counted.tolist() == [3, 3, 3]


def test_a_base_is_made_once(tokenizer, tmp_path):
    options = {"model": "tiny", "steps": 3, "rows": 8, "peak": 1e-3, "device": torch.device("cpu"), "cache": tmp_path}
    first, second, other = (LanguagePolicy(build_model("tiny", seed=0)) for _ in range(3))
    assert train_or_load_base(SMALL, first, tokenizer, **options)
    assert not train_or_load_base(SMALL, second, tokenizer, **options)
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    assert train_or_load_base(SMALL, other, tokenizer, **options | {"steps": 4}), "another base is another file"
    assert not train_or_load_base(Task(base=40, maps=30, validation=10, held_out=12), other, tokenizer, **options)


# ---- controls ----


@pytest.mark.parametrize("name", [name for name in CONTROLS if name != "ppo_preference"])
def test_every_control_has_a_loss_of_its_own(name, policy, tokenizer):
    """And none but SFT with frozen inputs has that of SFT; the table of embeddings is held still by all that mix, and by it."""
    kind, changes = CONTROLS[name]
    learner, sft = method(kind, policy, tokenizer, **changes), method(SFT, copy.deepcopy(policy), tokenizer)
    loss = learner.loss(learner.batch(0))
    loss.sum().backward()
    same = torch.allclose(loss, sft.loss(sft.batch(0)), rtol=1e-5, atol=0)
    assert same == (name == "sft_frozen")
    assert (policy.model.get_input_embeddings().weight.grad is None) == (name != "ift_propagation")


def test_frozen_sft_is_sft_but_for_the_table(policy, tokenizer):
    both = []
    for kind in (SFT, FrozenSFT):
        model = copy.deepcopy(policy)
        learner = method(kind, model, tokenizer)
        learner.loss(learner.batch(0)).sum().backward()
        both.append(dict(model.named_parameters()))
    for name, parameter in both[0].items():
        if "embed_tokens" not in name:
            torch.testing.assert_close(parameter.grad, both[1][name].grad)


def test_the_wrong_shift_mixes_in_what_a_token_predicts_itself(policy, tokenizer):
    learner = method(WrongShift, policy, tokenizer)
    states, logits = torch.tensor([[[2, 3, 4, 5]]]), torch.randn(1, 1, 4, 12, generator=torch.Generator().manual_seed(0))
    table, predicted = policy.model.get_input_embeddings().weight, logits.argmax(-1)[0, 0]
    found = learner.successor(states, logits)[0, 0]
    assert torch.equal(found[:3], table[predicted[1:]]), (
        "row t arrives at step t + 1, where the token's own prediction is mixed in"
    )


def test_chance_draws_from_answers_and_from_the_model(policy, tokenizer):
    table = policy.model.get_input_embeddings().weight
    states = torch.tensor([[[7, 8, 9, 8]]])
    logits = torch.full((1, 1, 4, 12), -50.0)
    logits[..., 5] = 50.0
    drawn = method(CONTROLS["ift_random"][0], policy, tokenizer).successor(states, logits)[0, 0]
    assert all(any(torch.equal(row, table[token]) for token in range(8, 12)) for row in drawn), "moves, whatever the batch has"
    sampled = method(CONTROLS["ift_sampled"][0], policy, tokenizer).successor(states, logits)[0, 0]
    assert torch.equal(sampled, table[[5, 5, 5, 5]])


# ---- the pull at each token ----


def test_sft_pulls_at_all_tokens_alike():
    logp = -np.random.default_rng(0).random((3, 5))
    np.testing.assert_allclose(token_pull(SFT, MethodOptions(), logp), 1 / 5)


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_the_released_forms_pull_in_closed_form(decay):
    """∂L/∂l_k = (u_k + Σ_{t≤k} γ^{k-t}(l_t - L)) / U, with u_t = Σ_{i≥t} γ^{i-t} l_i, U = Σ u and L = Σ u_t l_t / U."""
    nats = np.array([2.0, 1.0, 0.7, 0.02])
    count = len(nats)
    power = np.array([[decay ** (i - t) if i >= t else 0.0 for i in range(count)] for t in range(count)])
    u = power @ nats
    loss = (u * nats).sum() / u.sum()
    expected = (u + power.T @ (nats - loss)) / u.sum()
    found = token_pull(IFT, IFTOptions(decay=decay), -nats)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert found[-1] < 0 < found[0], "the end, learnt first, is un-learnt"
    np.testing.assert_allclose(token_pull(IFT, IFTOptions(decay=decay, detach_weights=True), -nats), u / u.sum(), rtol=1e-10)


def test_what_is_seen_of_an_answer_is_what_the_loss_sees(policy, tokenizer):
    source = SMALL.source(tokenizer, rows=6)
    rows = rows_of_common_length(source.demonstrations)
    lengths = (source.demonstrations.length - source.demonstrations.prompt)[rows]
    assert len(set(lengths)) == 1
    for kind, changes in ((SFT, {}), (IFT, {"mixing": 0.4}), (IFT, {"mixing": 0.0})):
        options = kind.options_type(**changes)
        seen = answer_log_probs(kind, source, policy, options, rows)
        assert seen.shape == (len(rows), lengths[0])
        learner = kind(source, policy, options)
        batch = source.demonstrations.batch(rows)
        expected = learner.second_pass(batch) if kind is IFT else policy.log_probs(batch.states, batch.actions, batch.mask)
        np.testing.assert_allclose(seen, expected[batch.mask].reshape(seen.shape).detach(), rtol=1e-5, atol=1e-6)


# ---- the film ----


def test_a_film_shows_what_the_model_says_on_each_tile(policy, tokenizer):
    lakes, paths = SMALL.lakes["held_out"], SMALL.paths["held_out"]
    shown = choose_film_lake(lakes)
    lake, path = lakes[shown : shown + 1], paths[shown : shown + 1]
    probes = Probes.of(lake, path)
    table = move_probabilities(policy, tokenizer, lake, probes)
    np.testing.assert_allclose(table.sum(1), 1)
    first = [*tokenizer.prompts(lake)[0]]
    with torch.no_grad():
        chance = torch.softmax(policy(torch.tensor([[first]]))[0, 0, -1].double(), -1)[tokenizer.action_tokens[0][:4]]
    np.testing.assert_allclose(table[lake.start[0]], chance / chance.sum(), rtol=1e-5)
    frames = [{"step": step, "seen": table.tolist()} for step in (0, 5)]
    record = film_run(METHODS["ift"], "ift", {"steps": 5}, lake, path[0], frames, [1.0] * 5, 0.1)
    assert record.mdp.layout == lake.rows(0) and record.steps.tolist() == [0, 5]
    mdp = TabularMDP.from_map(lake.rows(0))
    assert record.environment.horizon == record.mdp.horizon == mdp.horizon, "the time limit of any lake of its size"
    expected = measure(mdp, table, base=table)["success"]
    np.testing.assert_allclose(record.metrics["success"][:, 0], expected, atol=1e-8)
    assert next(tuple(x) for x in record.demonstration) == (lake.start[0], path[0, 0])


def test_the_film_is_of_a_lake_of_usual_length():
    """Shortest paths of 1, 4, 2, 3 and 2 moves, none with a detour: the median is 2."""
    maps = [("SGF", "FFF", "FFF"), ("SFF", "FFF", "FFG"), ("SFG", "FFF", "FFF"), ("SFF", "FFG", "FFF"), ("SHF", "FGF", "FFF")]
    lakes = Lakes.of(maps)
    assert lakes.distance[np.arange(5), lakes.start].tolist() == [1, 4, 2, 3, 2]
    assert choose_film_lake(lakes) == 2, "lakes 2 and 4 have the median length; a hole makes lake 4 the less usual one"


def test_answers_are_the_metrics_of_each_lake(policy, tokenizer):
    """The likeliest answer begins with the likeliest word, the distance is that of the metrics, success is of 16 samples."""
    lakes, paths = SMALL.lakes["held_out"], SMALL.paths["held_out"]
    probes = SMALL.probes("held_out")
    found = answers_of(policy, tokenizer, lakes, probes, limit=SMALL.limit, seed=0)
    expected = measure_text(policy, tokenizer, lakes, paths, probes=probes, limit=SMALL.limit)
    np.testing.assert_allclose(found.distance, expected["distance"], rtol=1e-6)
    assert found.chance.shape == (len(lakes), min(STEPS_KEPT, SMALL.limit), 5)
    assert set(np.unique(found.success * 16 % 1)) == {0.0} and 0 <= found.success.min() <= found.success.max() <= 1
    said = found.moves[:, 0]
    assert (found.chance[:, 0].argmax(1) == said)[said >= 0].all()
    assert (found.chance.sum(-1) <= 1 + 1e-9).all()
