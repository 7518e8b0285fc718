"""Prompts are read once, and answers that are over not at all: with the numbers of the model's own whole texts."""

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from transformers import MistralConfig, MistralForCausalLM

from ift_gridworld.data import generators
from ift_gridworld.language.lakes import draw_lakes, walk
from ift_gridworld.language.metrics import measure
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.probes import Probes
from ift_gridworld.language.prompt_cache import distinct_prompts, logits_after, logits_at
from ift_gridworld.language.sampling import sample
from ift_gridworld.language.text import COMPACT
from ift_gridworld.language.walks import repeat_lakes, sample_paths

PROMPTS = [[2, 3, 4, 5], [6, 7], [2, 3, 4, 5], [8, 9, 3, 2]]


def llama():
    return LanguagePolicy(sharp_model(factor=40))


def sliding():
    """A model whose cache forgets: its rows cannot be taken, so that whole texts are read."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=14, sliding_window=6, num_key_value_heads=2, **shape)
    model = MistralForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight *= 20
    return LanguagePolicy(model)


class Reading:
    """Counts the tokens that a model reads."""

    def __init__(self, policy):
        self.tokens, self.rows = 0, []
        policy.model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, module, args, options):
        given = options["input_ids"] if options.get("input_ids") is not None else options["inputs_embeds"]
        self.tokens += given.shape[0] * given.shape[1]
        self.rows.append(given.shape[0])


@pytest.mark.parametrize("made", [llama, sliding])
def test_logits_after_a_prompt_are_those_of_the_whole_text(made):
    policy, random = made(), np.random.default_rng(0)
    policy.temperature = 0.5
    index = np.array([0, 1, 2, 3, 0, 1, 0])
    continuations = [random.integers(2, 12, n).tolist() for n in (3, 5, 0, 9, 1, 0, 3)]
    for rows in (1, 2, 64):
        seen = []
        for part, logits in logits_after(policy, PROMPTS, index, continuations, rows=rows):
            for i, found in zip(part, logits, strict=True):
                whole = torch.tensor([[*PROMPTS[index[i]], *continuations[i]]])
                with torch.no_grad():
                    own = policy.model(whole).logits[0, len(PROMPTS[index[i]]) - 1 :] / 0.5
                np.testing.assert_allclose(found[: len(own)], own, atol=2e-4)
                seen.append(i)
        assert sorted(seen) == list(range(7))


def test_what_begins_another_is_read_on_its_way():
    policy, texts = llama(), [[2], [2, 3], [2, 3, 4], [2, 5], [], [2, 3]]
    reading = Reading(policy)
    found = np.zeros((6, len(COMPACT.tokenizer)))
    for part, logits in logits_at(policy, PROMPTS, np.array([0, 0, 0, 2, 1, 2]), texts):
        found[part] = logits.numpy()
    # Of four tokens once (the first and the third prompt are one) with [2, 3, 4] and [2, 5] after it, and of two tokens.
    assert reading.tokens == 4 + 2 * 3 + 2
    for i, (prompt, text) in enumerate(zip((0, 0, 0, 2, 1, 2), texts, strict=True)):
        with torch.no_grad():
            own = policy.model(input_ids=torch.tensor([[*PROMPTS[prompt], *text]])).logits[0, -1]
        np.testing.assert_allclose(found[i], own, atol=2e-4)
    assert np.array_equal(found[1], found[5])


def test_prompts_are_distinct_by_their_tokens():
    assert distinct_prompts([]) == ([], pytest.approx(np.zeros(0)))
    distinct, index = distinct_prompts(PROMPTS)
    assert distinct == [(2, 3, 4, 5), (6, 7), (8, 9, 3, 2)] and index.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("made", [llama, sliding])
def test_copies_are_answers_to_repeated_prompts(made):
    policy, prompts, copies = made(), torch.tensor([PROMPTS[0], PROMPTS[3]]), torch.tensor([0, 1, 0, 0, 1, 1])
    options = {"end": 1, "limit": 12, "pad": 0}
    one = sample(policy, prompts, copies=copies, generator=generators(3, 1)[0], **options)
    two = sample(policy, prompts[copies], generator=generators(3, 1)[0], **options)
    assert one.tolist() == two.tolist() and len({tuple(row) for row in one.tolist()}) > 1


@pytest.mark.parametrize(("made", "shrinks"), [(llama, True), (sliding, False)])
def test_answers_that_have_ended_are_not_computed(made, shrinks):
    """Rows end one after the other, at steps that are told; others are chosen as if all were computed."""
    policy, prompts = made(), torch.tensor([[2, 3, i] for i in range(4, 12)])
    reading, ends = Reading(policy), [1, 2, 2, 3, 5, 6, 8, 8]
    step, chosen = [0], []

    def choose(logits):
        step[0] += 1
        chosen.append(logits.clone())
        best = logits[:, 2:12].argmax(-1) + 2
        return torch.tensor([1 if step[0] >= end else int(token) for end, token in zip(ends, best, strict=True)])

    found = sample(policy, prompts, end=1, limit=20, choose=choose, pad=0)
    assert [(row == 1).nonzero()[0, 0].item() + 1 for row in found] == ends and not found[0, 1:].any()
    assert reading.rows == ([8, 8, 8, 4, 4, 4, 2, 2] if shrinks else [8] * 8)
    for row in range(8):
        for at in range(ends[row]):
            text = torch.tensor([[*prompts[row].tolist(), *found[row, :at].tolist()]])
            with torch.no_grad():
                own = policy.model(input_ids=text).logits[0, -1]
            np.testing.assert_allclose(chosen[at][row], own, atol=2e-4)


def test_measuring_reads_a_prompt_once_for_each_kind_of_question():
    """Probes, likeliest answers, sampled ones, their probabilities, and walks that slip: five in all."""
    policy, tokenizer, lakes = llama(), MoveTokenizer(COMPACT, COMPACT.tokenizer), draw_lakes(3, 6, seed=1)
    with torch.no_grad():
        policy.model.lm_head.weight[1] += 50.0 * policy.model.lm_head.weight.abs().max()  # it ends at once, nearly always
    paths, prompt = walk(lakes, seed=0), len(tokenizer.prompts(lakes)[0])
    probes, reading = Probes.of(lakes, paths), Reading(policy)
    measure(policy, tokenizer, lakes, paths, probes=probes, samples=4, limit=6)
    answers = 3 * (1 + 4 + 4 + 4) * 6  # tokens of answers, at most
    assert 5 * 3 * prompt <= reading.tokens <= 5 * 3 * prompt + answers + sum(map(len, probes.moves))
    assert len(probes.lake) + 3 * 13 > 5 * 3, "as many prompts would be read otherwise"


def test_walks_of_repeated_lakes_are_each_lakes_own():
    policy, tokenizer, lakes = llama(), MoveTokenizer(COMPACT, COMPACT.tokenizer), draw_lakes(5, 3, seed=2)
    one, _ = sample_paths(policy, tokenizer, lakes, 6)
    many, _ = sample_paths(policy, tokenizer, repeat_lakes(lakes, 3), 6)
    assert np.array_equal(many, np.tile(one, (3, 1)))
