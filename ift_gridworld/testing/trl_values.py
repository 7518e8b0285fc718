"""More reference numbers: what TRL 1.16's own trainers compute from random log-probabilities, in float64, with gradients.

TRL's functions take log-probabilities of single steps and return the mean over a batch. Ours take what a loss is a function of,
sums over steps for most, and return one value per answer. So each entry is converted: inputs are summed, the value stays a
mean, and the gradient to a sum is the one that each of its steps has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ift_gridworld.log_probs import masked_mean, masked_sum
from ift_gridworld.testing.loss_case import LossCase, Options

__all__ = ["trl_cases", "trl_values"]

Entry = dict[str, Any]


@cache
def trl_values() -> list[Entry]:
    """Return the entries of `trl_loss_values.json`, each with its source, loss, inputs, arguments and expected numbers.

    Names are TRL's own, with a prefix: "dpo_" for losses over pairs, "group_" for those of GRPO's family.

    Example:
        >>> sorted({entry["loss"] for entry in trl_values()})[:3]
        ['apo_zero_unpaired', 'cpo_hinge', 'cpo_sigmoid']
    """
    return json.loads((Path(__file__).parent / "trl_loss_values.json").read_text(encoding="utf-8"))


def trl_cases(name: str) -> Iterator[LossCase]:
    """Yield TRL's cases of a loss; none for a loss that the file does not hold.

    Entries of GRPO's family with a KL penalty are no cases: the penalty is not part of `group_policy_loss`.

    Args:
        name: a name in `LOSSES`.

    Example:
        >>> [case.options for case in trl_cases("hinge")]
        [{'beta': 0.1}, {'beta': 0.6}, {'beta': 0.3}]
    """
    for number, entry in enumerate(trl_values()):
        ours, convert = _CONVERTERS[entry["loss"]]
        if ours == name and not (ours == "group_policy" and entry["args"]["beta"]):
            yield convert(f"TRL case {number}: {entry['source'].split(';')[0]} {entry['args']}", entry)


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _mask(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)


def _pairs(title: str, entry: Entry) -> LossCase:
    """A loss of sums over steps; IPO, of means."""
    averages = entry["loss"] == "dpo_ipo"
    reduce, gradient_of = (masked_mean, masked_sum) if averages else (masked_sum, masked_mean)
    masks = {side: _mask(entry[f"{side}_mask"]) for side in ("chosen", "rejected")}
    names = ("chosen", "rejected", "reference_chosen", "reference_rejected")
    inputs = {name: reduce(_tensor(entry[f"{name}_logp"]), masks[name.removeprefix("reference_")]) for name in names}
    expect = entry["expect"]
    gradients = {side: gradient_of(_tensor(expect[f"grad_{side}"]), mask) for side, mask in masks.items()}
    return LossCase(title, inputs, dict(entry["args"]), _tensor(expect["loss"]), gradients)


def _cpo(title: str, entry: Entry) -> LossCase:
    inputs = {side: _tensor(entry[side]) for side in ("chosen", "rejected")}
    gradients = {side: _tensor(entry["expect"][f"grad_{side}"]) for side in inputs}
    options = {name: value for name, value in entry["args"].items() if name != "alpha"}
    return LossCase(title, inputs, options, _tensor(entry["expect"]["per_pair"]), gradients)


def _cpo_hinge(title: str, entry: Entry) -> LossCase:
    """CPO has no reference: the hinge loss against one that gives both answers the same probability."""
    case = _cpo(title, entry)
    same = {name: torch.zeros_like(case.inputs["chosen"]) for name in ("reference_chosen", "reference_rejected")}
    return LossCase(title, {**case.inputs, **same}, {"beta": entry["args"]["beta"]}, case.value, case.gradients)


def _kto(title: str, entry: Entry) -> LossCase:
    """APO-zero of single answers is KTO with a reference point of 0."""
    mask = _mask(entry["mask"])
    mismatched = (_tensor(entry["kl_logp"]) - _tensor(entry["reference_kl_logp"])).mean()
    inputs = {
        "logp": masked_sum(_tensor(entry["logp"]), mask),
        "reference": masked_sum(_tensor(entry["reference_logp"]), mask),
        "desirable": _mask(entry["desirable"]),
        "kl": mismatched if entry["loss"] == "kto" else torch.zeros_like(mismatched),
    }
    gradients = {"logp": masked_mean(_tensor(entry["expect"]["grad"]), mask)}
    return LossCase(title, inputs, dict(entry["args"]), _tensor(entry["expect"]["loss"]), gradients)


def _dft(title: str, entry: Entry) -> LossCase:
    """TRL averages over all counted steps of a batch: here all are one row."""
    inputs = {"logp": _tensor(entry["logp"]).reshape(1, -1), "mask": _mask(entry["mask"]).reshape(1, -1)}
    gradients = {"logp": _tensor(entry["expect"]["grad"]).reshape(1, -1)}
    return LossCase(title, inputs, {}, _tensor(entry["expect"]["loss_over_tokens"]), gradients)


def _generalized_jsd(title: str, entry: Entry) -> LossCase:
    """A sum over all steps, of which every row has as many."""
    inputs = {"logits": _tensor(entry["student_logits"]), "teacher_logits": _tensor(entry["teacher_logits"])}
    mask = torch.ones(inputs["logits"].shape[:-1], dtype=torch.bool)
    value, gradient = (_tensor(entry["expect"][key]) / mask.numel() for key in ("loss", "grad"))
    return LossCase(title, {**inputs, "mask": mask}, dict(entry["args"]), value, {"logits": gradient})


def _group_policy(options: Options) -> Callable[[str, Entry], LossCase]:
    """Convert entries of GRPO's family; `options` says which member this is."""

    def convert(title: str, entry: Entry) -> LossCase:
        inputs = {name: _tensor(entry[name]) for name in ("logp", "old_logp", "advantage")} | {"mask": _mask(entry["mask"])}
        args, expect = entry["args"], entry["expect"]
        own = {"clip": (args["clip_low"], args["clip_high"]), "max_length": args["max_length"], **options}
        return LossCase(title, inputs, own, _tensor(expect["loss"]), {"logp": _tensor(expect["grad"])})

    return convert


_CONVERTERS: dict[str, tuple[str, Callable[[str, Entry], LossCase]]] = {  # TRL's name: ours, and how an entry is converted
    "dpo_hinge": ("hinge", _pairs),
    "dpo_exo_pair": ("exo", _pairs),
    "dpo_nca_pair": ("nca", _pairs),
    "dpo_robust": ("robust", _pairs),
    "dpo_bco_pair": ("bco", _pairs),
    "dpo_sppo_hard": ("sppo", _pairs),
    "dpo_apo_zero": ("apo_zero", _pairs),
    "dpo_apo_down": ("apo_down", _pairs),
    "dpo_discopop": ("discopop", _pairs),
    "dpo_ipo": ("ipo", _pairs),
    "kto": ("kto", _kto),
    "apo_zero_unpaired": ("kto", _kto),
    "cpo_sigmoid": ("cpo", _cpo),
    "cpo_hinge": ("hinge", _cpo_hinge),
    "generalized_jsd": ("generalized_jsd", _generalized_jsd),
    "dft": ("dft", _dft),
    "group_grpo": ("group_policy", _group_policy({})),
    "group_bnpo": ("group_policy", _group_policy({"average": "batch"})),
    "group_dr_grpo": ("group_policy", _group_policy({"average": "length"})),
    "group_dapo": ("group_policy", _group_policy({"average": "batch"})),
    "group_cispo": ("group_policy", _group_policy({"objective": "cispo", "average": "batch"})),
    "group_sapo": ("group_policy", _group_policy({"objective": "sapo"})),
    "group_grpo_sequence": ("group_policy", _group_policy({"level": "sequence"})),
    "group_luspo_sequence": ("group_policy", _group_policy({"level": "sequence", "average": "sum"})),
}
