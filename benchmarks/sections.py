"""All sections of the benchmark, and two that compare this package with itself or with other trainers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import product

from benchmarks.comparison import EXPERIMENTS, Comparison, Section, compare
from benchmarks.environments import building, stepping
from benchmarks.growth import growth
from benchmarks.lab import lab
from benchmarks.pictures import pictures
from benchmarks.ppo import ppo
from benchmarks.solving import solving
from benchmarks.startup import startup
from ift_gridworld.children import run_script
from ift_gridworld.studies.running import run_setting
from ift_gridworld.studies.settings import Setting

__all__ = ["SECTIONS"]


def seeds(pairs: int) -> list[Callable[[], Comparison]]:
    """Settings of the reproduction at one learning rate: 64 seeds as one run, against 64 runs of one."""

    def elapsed(setting: Setting, count: int) -> float:
        began = time.perf_counter()
        run_setting(setting, seeds=count, rates=(setting.common_rate,))
        return time.perf_counter() - began

    def of(name: str) -> Callable[[], Comparison]:
        setting = Setting.parse(name)
        once = "64 times one seed"
        return lambda: compare(
            f"64 seeds, {name}", once, lambda: elapsed(setting, 64), lambda: 64 * elapsed(setting, 1), "s", min(pairs, 3)
        )

    cases = product(("firm", "slippery"), ("mlp-64", "tabular"))
    return [of(f"4x4,{dynamics},good-0.5,{policy},adam,1") for dynamics, policy in cases]


def language(pairs: int) -> list[Callable[[], Comparison]]:
    """Compare the cost of an update of a language model, each trainer in a process of its own, on the same rows."""
    script = EXPERIMENTS / "language_updates.py"

    def of(trainer: str, measure: str, *options: str) -> Callable[[], float]:
        def run() -> float:
            ended = run_script(script, ["--trainer", trainer, *options])
            ended.check_returncode()
            return float(json.loads(ended.stdout.splitlines()[-1])[measure]) / (1 if measure == "ms" else 1e6)

        return run

    def row(ours: str, theirs: str, measure: str, *options: str) -> Callable[[], Comparison]:
        name = " ".join(["update", ours, *options])
        unit = {"ms": "ms", "bytes": "MB"}[measure]
        our_update, their_update = (of(trainer, measure, *options) for trainer in (ours, theirs))
        needs = theirs if theirs in ("transformers", "trl") else "transformers"
        return lambda: compare(name, theirs, our_update, their_update, unit, min(pairs, 3), needs=needs)

    even = ("--prompt", "32", "--answer", "32")
    return [
        row("ift", "sft", "ms"),
        row("ift", "sft", "bytes"),
        row("ift", "sft", "ms", *even),
        row("ift_trainer", "transformers", "ms"),
        row("sft", "transformers", "ms"),
        row("sft", "trl", "ms"),
        row("ift", "trl", "ms"),
        row("ift_trainer", "trl", "ms"),
    ]


SECTIONS: dict[str, Section] = {
    section.__name__: section for section in (stepping, building, solving, ppo, startup, growth, pictures, lab, seeds, language)
}
