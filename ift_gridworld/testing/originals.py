"""The reference numbers: what the methods' original implementations compute from random inputs, in float64, with gradients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ift_gridworld.testing.loss_case import LossCase

__all__ = ["original_cases", "original_values"]

Entry = dict[str, Any]


@cache
def original_values() -> list[Entry]:
    """Return the entries of `loss_values.json`, each with its source, loss, inputs, arguments and expected numbers.

    Example:
        >>> sorted({entry["loss"] for entry in original_values()})[:3]
        ['dpo', 'gae', 'ift']
    """
    return json.loads((Path(__file__).parent / "loss_values.json").read_text(encoding="utf-8"))


def original_cases(name: str) -> Iterator[LossCase]:
    """Yield the original implementation's cases of a loss; none for a loss that the file does not hold.

    Args:
        name: a name in `LOSSES`.

    Example:
        >>> next(original_cases("dpo")).inputs["chosen"].dtype
        torch.float64
    """
    for number, entry in enumerate(original_values()):
        if entry["loss"] in _CONVERTERS and entry["loss"].removesuffix("_equation21") == name:
            title = f"case {number}: {entry['source'].split(';')[0].split(':')[0]} {entry['args']}"
            yield from _CONVERTERS[entry["loss"]](title, entry)


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _ift(title: str, entry: Entry) -> Iterator[LossCase]:
    args, expect = entry["args"], entry["expect"]
    inputs = {"logp": _tensor(entry["logp"]), "mask": torch.tensor(entry["mask"])}
    for detach, key in ((False, "grad"), (True, "grad_detached_weights")):
        options = {"decay": args["gamma"], "norm": args["norm"], "detach_weights": detach}
        given = {} if expect[key] is None else {"logp": _tensor(expect[key])}
        yield LossCase(title, inputs, options, _tensor(expect["per_sequence"]), given)


def _ift_equation21(title: str, entry: Entry) -> Iterator[LossCase]:
    inputs = {"logp": _tensor(entry["logp"]), "mask": torch.tensor(entry["mask"])}
    options = {"decay": 1.0, "propagation": "equation21"}
    expect = entry["expect"]
    yield LossCase(title, inputs, options, _tensor(expect["per_sequence"]), {"logp": _tensor(expect["grad"])})


def _ppo_clip(title: str, entry: Entry) -> Iterator[LossCase]:
    """A function of the ratio in the original, of log-probabilities here."""
    ratio, expect = _tensor(entry["ratio"]), entry["expect"]
    inputs = {
        "logp": ratio.log(),
        "old_logp": torch.zeros_like(ratio),
        "advantage": _tensor(entry["advantage"]),
        "mask": torch.ones_like(ratio, dtype=torch.bool),
    }
    gradients = {"logp": ratio * _tensor(expect["grad_ratio"])}
    yield LossCase(title, inputs, dict(entry["args"]), _tensor(expect["loss"]), gradients)


def _gae(title: str, entry: Entry) -> Iterator[LossCase]:
    inputs = {name: _tensor(entry[name]) for name in ("reward", "value", "discount")}
    yield LossCase(title, inputs, {"lam": entry["args"]["lam"]}, _tensor(entry["expect"]["advantage"]), {})


def _pairs(file_names: dict[str, str]) -> Callable[[str, Entry], Iterator[LossCase]]:
    """Convert entries of a loss over pairs; `file_names` maps our names of the inputs, in our order, to the file's."""

    def convert(title: str, entry: Entry) -> Iterator[LossCase]:
        inputs = {ours: _tensor(entry[theirs]) for ours, theirs in file_names.items()}
        expect = entry["expect"]
        grads = expect.get("grads") or [expect["grad_chosen"], expect["grad_rejected"]]
        grads = list(grads.values()) if isinstance(grads, dict) else grads
        gradients = dict(zip(inputs, map(_tensor, grads), strict=False))
        yield LossCase(title, inputs, dict(entry["args"]), _tensor(expect["per_pair"]), gradients)

    return convert


_WITH_REFERENCE = {
    "chosen": "chosen_logp",
    "rejected": "rejected_logp",
    "reference_chosen": "reference_chosen_logp",
    "reference_rejected": "reference_rejected_logp",
}
_MEANS = {"chosen_mean": "chosen_mean_logp", "rejected_mean": "rejected_mean_logp"}

_CONVERTERS: dict[str, Callable[[str, Entry], Iterator[LossCase]]] = {
    "ift": _ift,
    "ift_equation21": _ift_equation21,
    "dpo": _pairs(_WITH_REFERENCE),
    "ipo": _pairs(_WITH_REFERENCE),
    "orpo": _pairs(_MEANS),
    "simpo": _pairs(_MEANS),
    "tdpo": _pairs({name: name for name in ("chosen_margin", "rejected_margin", "chosen_kl", "rejected_kl")}),
    "ppo_clip": _ppo_clip,
    "gae": _gae,
}
