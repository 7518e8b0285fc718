"""Parts of the measurement of `gpu.py`: each function returns one, plain enough for JSON."""

from __future__ import annotations

import copy
import statistics
import time
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from benchmarks.gpu import Sizes
from ift_gridworld.data import generators
from ift_gridworld.language import models
from ift_gridworld.language.base_model import train_or_load_base
from ift_gridworld.language.data import Completions
from ift_gridworld.language.lakes import Lakes
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy, eval_mode
from ift_gridworld.language.precision import autocast, bfloat16_agreement
from ift_gridworld.language.profiling import peak_flops, training_flops
from ift_gridworld.language.rewards import outcome
from ift_gridworld.language.sampling import sample
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.task import Task
from ift_gridworld.language.text import COMPACT
from ift_gridworld.language.training import align
from ift_gridworld.language.walks import sample_paths
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import TrainingOptions
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.training import make_base, train

__all__ = ["correctness", "lakes", "sampling", "update"]

WARM_UP = 3  # updates before the clock runs
RATES = {"sft": 3e-4, "ift": 3e-4, "dpo": 1e-5, "grpo": 3e-5}


# ---- correctness ----


def correctness(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Compare every method's first loss and gradient, and its policy on a lake, with the CPU's; and bfloat16 with float32.

    Returns:
        By method, relative differences of the loss and of the gradient's norm on language, and the largest difference of
        action probabilities on a lake after five updates; the share of IFT's predictions that are the same in bfloat16, and
        the relative difference of SFT's loss.
    """
    methods = sizes.methods or tuple(METHODS)
    language = {name: _difference(name, device) for name in methods if not METHODS[name].asks_teacher}  # known of lakes alone
    on_lakes = {name: _lake_difference(name, device) for name in methods}
    policy, data = _policy("tiny", device), _random_rows(16, 12, 6)
    with torch.no_grad():
        exact, coarse = (float(_first_loss("sft", policy, device, dtype)) for dtype in (torch.float32, torch.bfloat16))
    bfloat16 = {"agreement": bfloat16_agreement(policy, data, device), "loss": abs(coarse - exact) / exact}
    worst = {
        "loss": max(each["loss"] for each in language.values()),
        "gradient": max(each["gradient"] for each in language.values()),
        "lakes": max(on_lakes.values()),
    }
    return {"language": language, "lakes": on_lakes, "bfloat16": bfloat16, "worst": worst}


def _first_loss(name: str, policy: LanguagePolicy, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    data, other = _random_rows(8, 12, 6), _random_rows(8, 12, 6, seed=1)
    source = TextSource(data, data, other, rows=8, limit=4, reward_function=lambda index, said: said.mean(1), device=device)
    learner = METHODS[name](source, policy, METHODS[name].options_type(**_small_options(name)))
    with autocast(dtype, device):
        return learner.loss(learner.batch(0)).sum()


def _small_options(name: str) -> dict[str, Any]:
    return {option: value for option, value in (("walkers", 8), ("pairs", 2)) if _has_option(name, option)}


def _has_option(name: str, option: str) -> bool:
    return option in METHODS[name].options_type.__dataclass_fields__


def _difference(name: str, device: torch.device) -> dict[str, float]:
    found = []
    for place in (torch.device("cpu"), device):
        policy = _policy("tiny", place)
        loss = _first_loss(name, policy, place)
        loss.backward()
        norm = torch.stack([p.grad.square().sum() for p in policy.parameters() if p.grad is not None]).sum().sqrt()
        found.append((float(loss.detach()), float(norm)))
    (loss_here, norm_here), (loss_there, norm_there) = found
    return {
        "loss": abs(loss_there - loss_here) / max(abs(loss_here), 1e-3),
        "gradient": abs(norm_there - norm_here) / max(norm_here, 1e-3),
    }


def _lake_difference(name: str, device: torch.device) -> float:
    mdp, chances = TabularMDP.from_map(("SFF", "FHF", "FFG")), []
    for place in (torch.device("cpu"), device):
        policy = make_base("random", mdp, seeds=2, hidden=8, device=place)
        train(name, mdp, policy, options=METHODS[name].options_type(**_small_options(name)), steps=5)
        chances.append(policy.distribution().detach().cpu())
    return float((chances[0] - chances[1]).abs().max())


# ---- cost ----


def update(device: torch.device, sizes: Sizes, model: str, method: str, precision: str) -> dict[str, float]:
    """Time updates of one method: median milliseconds, memory, tokens a second, and the share of the device's arithmetic."""
    dtype, policy = getattr(torch, precision), _policy(sizes.models[model], device)
    rows = _random_rows(2 * sizes.rows, sizes.prompt, sizes.answer)
    marks: list[float] = []

    def mark(done: int, _: int) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())

    training = TrainingOptions(steps=WARM_UP + sizes.steps, learning_rate=1e-5)
    source = TextSource(rows, rows=sizes.rows, device=device)
    log = align(method, source, policy, training=training, dtype=dtype, progress=mark)
    seconds = statistics.median(np.diff(marks)[WARM_UP - 1 :].tolist())
    tokens, predicted = sizes.rows * (sizes.prompt + sizes.answer - 1), sizes.rows * sizes.answer
    return {
        "parameters": sum(p.numel() for p in policy.parameters()),
        "ms": 1000 * seconds,
        "memory_bytes": log.memory,
        "tokens_per_second": tokens / seconds,
        "utilisation": training_flops(policy, tokens, predicted) / seconds / _peak(device, dtype),
    }


def sampling(device: torch.device, sizes: Sizes, model: str) -> dict[str, float]:
    """Time sampling of answers that do not end, and count how many tokens a second come out."""
    policy = _policy(sizes.models[model], device)
    prompts = torch.randint(2, 12, (sizes.sampled_rows, sizes.prompt), generator=torch.Generator().manual_seed(0)).to(device)
    result = {}
    for precision in ("float32", "bfloat16"):
        for _ in range(2):  # the first time kernels are chosen
            began = time.perf_counter()
            with autocast(getattr(torch, precision), device):
                tokens = sample(policy, prompts, end=-1, limit=sizes.sampled_tokens, generator=torch.Generator().manual_seed(0))
            float(tokens[0, 0])  # waits for the device
            seconds = time.perf_counter() - began
        result[f"tokens_per_second_{precision}"] = tokens.numel() / seconds
    return result


@lru_cache
def _peak(device: torch.device, dtype: torch.dtype) -> float:
    return peak_flops(device, dtype)


# ---- lakes ----


def lakes(device: torch.device, sizes: Sizes, method: str) -> dict[str, Any]:
    """Align one model on large lakes by one method; return its curve of success on held-out lakes, and its losses."""
    task, tokenizer, base = _task(sizes), MoveTokenizer(COMPACT, COMPACT.tokenizer), _base(device, sizes)
    policy, held_out = copy.deepcopy(base), task.lakes["held_out"]

    def success(policy: LanguagePolicy) -> dict[str, float]:
        with eval_mode(policy), autocast(_dtype(device), device):
            greedy = _success(policy, tokenizer, held_out, task.limit, None)
            return {"greedy": greedy, "sampled": _success(policy, tokenizer, held_out, task.limit, generators(0, 1)[0])}

    source = task.source(tokenizer, rows=sizes.batch, device=device)
    options = {"walkers": sizes.batch} if _has_option(method, "walkers") else {}
    began = time.perf_counter()
    log = align(
        method, source, policy, options=METHODS[method].options_type(**options), evaluate=success, every=sizes.every,
        training=TrainingOptions(steps=sizes.align_steps, learning_rate=RATES[method]), dtype=_dtype(device),
    )  # fmt: skip
    return {"curve": log.measured, "loss": [round(loss, 5) for loss in log.loss], "train_seconds": time.perf_counter() - began}


def _success(policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, limit: int, generator: Any) -> float:
    return float(outcome(lakes, *sample_paths(policy, tokenizer, lakes, limit, generator))[0].mean())


def _dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


@lru_cache(maxsize=1)
def _task(sizes: Any) -> Task:
    return Task(size=sizes.lake, base=sizes.base_maps, maps=sizes.maps, validation=1, held_out=sizes.held_out, noise=(0.1, 0.5))


@lru_cache(maxsize=1)
def _base(device: torch.device, sizes: Any) -> LanguagePolicy:
    """Return the base, from the cache of base models where it is kept: a run that goes on does not train it anew."""
    policy = _policy(sizes.learner, device)
    train_or_load_base(
        _task(sizes), policy, MoveTokenizer(COMPACT, COMPACT.tokenizer), model=sizes.learner, steps=sizes.base_steps,
        rows=sizes.batch, peak=1e-3, device=device, dtype=_dtype(device),
    )  # fmt: skip
    return policy


def _policy(model: str | dict[str, int], device: torch.device) -> LanguagePolicy:
    return LanguagePolicy(models.build_model(model).to(device))


def _random_rows(count: int, prompt: int, answer: int, seed: int = 0) -> Completions:
    """Return random prompts and answers, each of one length."""
    ids = np.random.default_rng(seed).integers(2, 12, (count, prompt + answer))
    ids[:, -1] = 1
    return Completions(ids, np.full(count, prompt), np.full(count, prompt + answer))
