"""FLOPs counted by torch's own counter, memory that is seen, and predictions in another precision."""

import mmap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from ift_gridworld.language import profiling
from ift_gridworld.language.data import Completions
from ift_gridworld.language.models import build_model
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.precision import bfloat16_agreement, first_pass_predictions
from ift_gridworld.language.profiling import PeakMemory, peak_flops, training_flops, utilisation

CPU = torch.device("cpu")


def tied():
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, tie_word_embeddings=True, **shape))


@pytest.mark.parametrize("made", [lambda: build_model("tiny"), tied], ids=["table and head apart", "tied"])
def test_flops_are_those_of_the_weights(made):
    """What torch counts in a forward and a backward pass over one row, attention's own products taken off."""
    policy = LanguagePolicy(made())
    policy.model.set_attn_implementation("eager")
    states = torch.randint(0, 10, (1, 1, 24))
    with FlopCounterMode(display=False) as counter:
        policy(states).sum().backward()
    linear = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    assert linear == training_flops(policy, 24, 24)
    batch = Completions.of([[2] * 20], [[3] * 4]).batch()
    with FlopCounterMode(display=False) as counter:
        policy.log_probs(batch.states, batch.actions, batch.mask).sum().backward()
    assert counter.get_flop_counts()["Global"][torch.ops.aten.mm] == training_flops(policy, 23, 4), (
        "the head on the answer alone"
    )


def test_memory_is_seen_while_it_is_held_and_afterwards():
    memory = PeakMemory(CPU)
    before = memory.read()
    if before == 0:
        pytest.skip("this system does not tell")
    held = mmap.mmap(-1, 320_000_000)  # new pages: an array may be laid where a test before has freed memory
    for _ in range(320):
        held.write(bytes(1_000_000))
    assert memory.read() - before > 200e6
    held.close()
    assert memory.read() - before > 200e6, "the most that was held"
    assert PeakMemory(CPU).read() < memory.read() + 1 and PeakMemory(CPU).read() - before < 200e6, "counted anew"


def test_memory_that_nobody_tells_is_0(monkeypatch):
    def refuse(*_, **__):
        raise OSError

    monkeypatch.setattr(profiling.Path, "write_text", refuse)
    assert PeakMemory(CPU).read() == 0


def test_the_rate_is_a_products():
    """Of this machine, whatever it is: some GFLOPs at least, and no more than any processor's."""
    assert 1e9 < peak_flops(CPU, torch.float32) < 1e14


@pytest.mark.parametrize(("slow", "best"), [(0, 1.0), (5, 1.0), (10_000, 8.0)])
def test_the_rate_is_that_of_the_quietest_product(slow, best, monkeypatch):
    """Of products that take eight times as long while something else runs; only if that never ends the rate is too low."""
    clock, products = [0.0], [0]

    def perf_counter():
        products[0] += 1
        clock[0] += (8.0 if products[0] < 2 * slow else 1.0) * 1e-3
        return clock[0]

    monkeypatch.setattr(profiling, "time", SimpleNamespace(perf_counter=perf_counter))
    monkeypatch.setattr(profiling, "STEADY", 12)
    monkeypatch.setattr(torch, "randn", lambda *size, **options: torch.ones(1, 1))
    assert peak_flops(CPU, torch.float32) == pytest.approx(2 * 1024**3 / (best * 1e-3), rel=1e-6)


def test_more_than_all_is_unknown():
    assert utilisation(10.0, 2.0, 5.0) == 1.0 and np.isnan(utilisation(10.1, 2.0, 5.0)) and utilisation(1.0, 2.0, 5.0) == 0.1


def test_predictions_are_the_likeliest_tokens_in_either_precision():
    policy, random = LanguagePolicy(sharp_model()), np.random.default_rng(0)
    data = Completions.of([random.integers(2, 12, 5).tolist() for _ in range(8)], [random.integers(2, 12, 6).tolist()] * 8)
    batch = data.batch()
    with torch.no_grad():
        plain = policy(batch.states)[batch.mask]
        with torch.autocast("cpu", torch.bfloat16):
            coarse = policy(batch.states)[batch.mask]
    assert torch.equal(first_pass_predictions(policy, data, None, CPU), plain.argmax(-1))
    assert torch.equal(first_pass_predictions(policy, data, torch.bfloat16, CPU), coarse.argmax(-1))
    assert not torch.equal(plain, coarse.float())
    share = float((plain.argmax(-1) == coarse.argmax(-1)).float().mean())
    assert bfloat16_agreement(policy, data, CPU) == pytest.approx(share) and share > 0.8
