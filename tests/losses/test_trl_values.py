"""Every number of TRL 1.16's trainers, values and gradients, in float64 and float32, from log-probabilities of single steps.

What TRL sums and averages is written here once more by hand, apart from `testing.trl_values`. Left out are options that this
package does not have: aot, aot_unpaired, sigmoid_norm, f-divergences other than the reverse KL, and ld_alpha.
"""

import pytest
import torch

from ift_gridworld import losses
from ift_gridworld.testing import trl_values

PRECISION = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
KINDS = {
    "dpo_hinge": "hinge",
    "dpo_exo_pair": "exo",
    "dpo_nca_pair": "nca",
    "dpo_robust": "robust",
    "dpo_bco_pair": "bco",
    "dpo_sppo_hard": "sppo",
    "dpo_apo_zero": "apo_zero",
    "dpo_apo_down": "apo_down",
    "dpo_discopop": "discopop",
    "dpo_ipo": "ipo",
}
GROUP = {
    "group_grpo": {},
    "group_bnpo": {"average": "batch"},
    "group_dr_grpo": {"average": "length"},
    "group_dapo": {"average": "batch"},
    "group_cispo": {"objective": "cispo", "average": "batch"},
    "group_sapo": {"objective": "sapo"},
    "group_grpo_sequence": {"level": "sequence"},
    "group_luspo_sequence": {"level": "sequence", "average": "sum"},
}
OTHER = {"kto", "apo_zero_unpaired", "cpo_sigmoid", "cpo_hinge", "generalized_jsd", "dft"}


def cases(*names):
    chosen = [(i, c) for i, c in enumerate(trl_values()) if c["loss"] in names]
    assert {c["loss"] for _, c in chosen} == set(names)
    return pytest.mark.parametrize("case", [c for _, c in chosen], ids=[f"{i}-{c['loss']}" for i, c in chosen])


def tensor(values, dtype, *, grad=False):
    return torch.tensor(values, dtype=dtype, requires_grad=grad)


def mask(values):
    return torch.tensor(values, dtype=torch.bool)


def close(actual, expected, tolerance):
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().double(), expected, rtol=tolerance, atol=tolerance)


def test_every_case_is_tested_below():
    assert {case["loss"] for case in trl_values()} == {*KINDS, *GROUP, *OTHER}
    assert len(trl_values()) == 49 and all(case["source"].startswith("TRL 1.16.0") for case in trl_values())


@PRECISION
@cases(*KINDS)
def test_losses_over_pairs(case, dtype, tolerance):
    """Sums over steps, but IPO's, which TRL averages."""
    masks = {side: mask(case[f"{side}_mask"]) for side in ("chosen", "rejected")}
    logp = {side: tensor(case[f"{side}_logp"], dtype, grad=True) for side in masks}

    def of_answers(steps, side):
        total = (steps * masks[side]).sum(-1)
        return total / masks[side].sum(-1) if case["loss"] == "dpo_ipo" else total

    answers = [of_answers(logp[side], side) for side in masks]
    references = [of_answers(tensor(case[f"reference_{side}_logp"], dtype), side) for side in masks]
    loss = losses.preference_loss(*answers, *references, kind=KINDS[case["loss"]], **case["args"]).mean()
    close(loss, case["expect"]["loss"], tolerance)
    loss.backward()
    for side in masks:
        close(logp[side].grad, case["expect"][f"grad_{side}"], tolerance)


@PRECISION
@cases("kto", "apo_zero_unpaired")
def test_kto(case, dtype, tolerance):
    """The reference point is the mean over mismatched answers; APO-zero of single answers has none."""
    logp, counted = tensor(case["logp"], dtype, grad=True), mask(case["mask"])
    totals = [(x * counted).sum(-1) for x in (logp, tensor(case["reference_logp"], dtype))]
    kl = (tensor(case["kl_logp"], dtype) - tensor(case["reference_kl_logp"], dtype)).mean()
    kl = kl if case["loss"] == "kto" else torch.zeros_like(kl)
    loss = losses.kto_loss(*totals, mask(case["desirable"]), kl, **case["args"]).mean()
    close(loss, case["expect"]["loss"], tolerance)
    loss.backward()
    close(logp.grad, case["expect"]["grad"], tolerance)


@PRECISION
@cases("cpo_sigmoid", "cpo_hinge")
def test_cpo(case, dtype, tolerance):
    answers = [tensor(case[side], dtype, grad=True) for side in ("chosen", "rejected")]
    args = {name: value for name, value in case["args"].items() if name != "alpha"}
    if case["loss"] == "cpo_sigmoid":
        loss = losses.cpo_loss(*answers, **args)
    else:
        uniform = torch.zeros_like(answers[0])
        loss = losses.preference_loss(*answers, uniform, uniform, kind="hinge", **args)
    close(loss, case["expect"]["per_pair"], tolerance)
    loss.mean().backward()
    for side, answer in zip(("chosen", "rejected"), answers, strict=True):
        close(answer.grad, case["expect"][f"grad_{side}"], tolerance)


@PRECISION
@cases("generalized_jsd")
def test_generalized_jsd(case, dtype, tolerance):
    """TRL's sum over rows and steps is ours, a mean over steps, times their number."""
    logits, teacher = tensor(case["student_logits"], dtype, grad=True), tensor(case["teacher_logits"], dtype)
    everything = torch.ones(logits.shape[:-1], dtype=torch.bool)
    loss = (losses.generalized_jsd_loss(logits, teacher, everything, **case["args"]) * logits.shape[1]).sum()
    close(loss, case["expect"]["loss"], tolerance)
    loss.backward()
    close(logits.grad, case["expect"]["grad"], tolerance)


@PRECISION
@cases("dft")
def test_dft(case, dtype, tolerance):
    """TRL's mean over all counted steps is ours, per sequence, weighted by its number of steps."""
    logp, counted = tensor(case["logp"], dtype, grad=True), mask(case["mask"])
    steps = counted.sum(-1)
    loss = (losses.dft_loss(logp, counted) * steps).sum() / steps.sum()
    close(loss, case["expect"]["loss_over_tokens"], tolerance)
    loss.backward()
    close(logp.grad, case["expect"]["grad"], tolerance)


@PRECISION
@cases(*GROUP)
def test_group_policy(case, dtype, tolerance):
    """TRL adds beta k3 to each step's loss before it averages; what it does with the two is linear."""
    args, counted = case["args"], mask(case["mask"])
    logp = tensor(case["logp"], dtype, grad=True)
    old, advantage = tensor(case["old_logp"], dtype), tensor(case["advantage"], dtype)
    clip = args["clip_low"], args["clip_high"]
    options = {"clip": clip, "max_length": args["max_length"], **GROUP[case["loss"]]}
    loss = losses.group_policy_loss(logp, old, advantage, counted, **options).mean()
    if args["beta"]:
        kl = losses.kl_estimate(logp, tensor(case["reference_logp"], dtype), "k3") * counted
        per_sequence = kl.sum(-1)
        averaged = {
            "sequence": (per_sequence / counted.sum(-1)).mean(),
            "batch": per_sequence.sum() / counted.sum(),
            "length": per_sequence.mean() / args["max_length"],
            "sum": per_sequence.mean(),
        }
        loss = loss + args["beta"] * averaged[options.get("average", "sequence")]
    close(loss, case["expect"]["loss"], tolerance)
    loss.backward()
    close(logp.grad, case["expect"]["grad"], tolerance)
