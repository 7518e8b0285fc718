"""The constructed cases: inputs where trainers have been seen to go wrong, with our own loss's values and gradients.

Each function below yields the cases of one loss; `_CONSTRUCTED` at the end names them. Add a loss by adding both, and its
function to `LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ift_gridworld.losses import AVERAGES, KL_KINDS, NORMS, OBJECTIVES, RATIO_LEVELS
from ift_gridworld.testing.loss_case import LOSSES, LossCase, Options
from ift_gridworld.testing.originals import original_cases
from ift_gridworld.testing.trl_values import trl_cases

__all__ = ["loss_cases"]


def loss_cases(name: str) -> list[LossCase]:
    """Return all cases of a loss: the original implementations' numbers, TRL's, then constructed ones.

    Args:
        name: a name in `LOSSES`.

    Raises:
        ValueError: for a name that is not in `LOSSES`.

    Example:
        >>> loss_cases("sft")[0].title
        'prompt, gap and padding'
    """
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}; allowed: {', '.join(LOSSES)}")
    return [*original_cases(name), *trl_cases(name), *_CONSTRUCTED[name]()]


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _case(
    name: str, title: str, inputs: dict[str, Tensor], differentiable: int, options: Options, is_finite: bool = False
) -> LossCase:
    """A case whose expected numbers are our own loss's, with gradients of the first `differentiable` inputs."""
    leaves = {n: x.clone().requires_grad_() for n, x in list(inputs.items())[:differentiable]}
    value = LOSSES[name](*{**inputs, **leaves}.values(), **options)
    grads = torch.autograd.grad(value.mean(), list(leaves.values()), allow_unused=True) if leaves else ()
    gradients = {n: torch.zeros_like(x) if g is None else g for (n, x), g in zip(leaves.items(), grads, strict=True)}
    named = title + (f" ({', '.join(f'{k} {v}' for k, v in options.items())})" if options else "")
    return LossCase(named, inputs, options, value.detach(), gradients, is_finite)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _log_probs(*shape: int, seed: int) -> Tensor:
    return -_random(*shape, seed=seed).abs() - 0.05


def _step_inputs() -> Iterator[tuple[str, dict[str, Tensor], bool]]:
    """Yield title, inputs (logp and mask) and whether the value is a convention, for losses over steps."""
    # A prompt and padding; a gap; full; one step.
    mask = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 0, 1], [1] * 6, [0, 0, 0, 1, 0, 0]], dtype=torch.bool)
    logp = _log_probs(4, 6, seed=0)
    yield "prompt, gap and padding", {"logp": logp, "mask": mask}, False
    yield "-inf where nothing counts", {"logp": torch.where(mask, logp, -torch.inf), "mask": mask}, False
    extreme = _tensor([[0.0, -1e-9, -1e4, -0.5, 0.0, -3.0], [-1e4, -1e4, -1e-9, -1e-9, -1.0, 0.0]])
    yield "log-probs of 0, -1e-9 and -1e4", {"logp": extreme, "mask": torch.ones(2, 6, dtype=torch.bool)}, False
    yield "a row that counts nothing", {"logp": logp[:2], "mask": mask[:2] & torch.tensor([[True], [False]])}, False
    yield "a single step", {"logp": logp[:, :1], "mask": torch.ones(4, 1, dtype=torch.bool)}, False
    leading = {"logp": _log_probs(2, 4, 6, seed=1), "mask": mask.expand(2, 4, 6)}
    yield "a leading dimension", leading, False
    yield "nothing left to learn: log-probs of 0 throughout", {"logp": torch.zeros(2, 6).double(), "mask": mask[:2]}, True


def _over_steps(name: str) -> Iterator[LossCase]:
    for title, inputs, convention in _step_inputs():
        yield _case(name, title, inputs, 1, {}, convention)


def _ift() -> Iterator[LossCase]:
    variants: list[Options] = [
        *({"propagation": "released", "norm": norm} for norm in NORMS),
        {"propagation": "released", "detach_weights": True},
        {"propagation": "released", "decay": 0.0},
        *({"propagation": "algorithm1", "detach_weights": detach} for detach in (False, True)),
        {"propagation": "equation21"},
        {"propagation": "none"},
    ]
    for options in variants:
        for title, inputs, convention in _step_inputs():
            yield _case("ift", title, inputs, 1, options, convention)


def _generalized_jsd() -> Iterator[LossCase]:
    mask = torch.tensor([[0, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    random = {"logits": _random(3, 3, 4, seed=0), "teacher_logits": _random(3, 3, 4, seed=1), "mask": mask}
    padded = {**random, "logits": torch.where(mask[..., None], random["logits"], torch.nan)}
    far = {"logits": 1e4 * random["logits"], "teacher_logits": -1e4 * random["logits"], "mask": mask}
    barred = torch.tensor([False, False, False, True])
    both = {**random, **{name: random[name].masked_fill(barred, -torch.inf) for name in ("logits", "teacher_logits")}}
    for beta in (0.0, 0.1, 0.5, 1.0):
        yield _case("generalized_jsd", "random logits", random, 1, {"beta": beta})
        yield _case("generalized_jsd", "NaN where nothing counts", padded, 1, {"beta": beta})
        yield _case("generalized_jsd", "logits that differ by 1e4", far, 1, {"beta": beta})
        yield _case("generalized_jsd", "an action that neither takes, -inf", both, 1, {"beta": beta})
        yield _case("generalized_jsd", "student is teacher", {**random, "logits": random["teacher_logits"]}, 1, {"beta": beta})


def _pairs(*names: str, seed: int = 10) -> dict[str, Tensor]:
    return {name: _log_probs(5, seed=seed + i) for i, name in enumerate(names)}


_FOUR = ("chosen", "rejected", "reference_chosen", "reference_rejected")
_MEANS = ("chosen_mean", "rejected_mean")


def _referenced(name: str, *variants: Options) -> Iterator[LossCase]:
    random = _pairs(*_FOUR)
    same = {**random, "chosen": random["reference_chosen"], "rejected": random["reference_rejected"]}
    far = {**random, "chosen": _tensor([-1e4, -1.0, -1e4, 0.0, 0.0]), "rejected": _tensor([-1.0, -1e4, -1e4, -1e-9, 0.0])}
    for options in variants:
        yield _case(name, "random pairs", random, 2, options)
        yield _case(name, "the policy is the reference", same, 2, options)
        yield _case(name, "log-probs of 0, -1e-9 and -1e4", far, 2, options)
        yield _case(name, "a leading dimension", {n: x.expand(2, 5) for n, x in random.items()}, 2, options)


_REFERENCE_FREE: tuple[Options, ...] = ({}, {"beta": 0.7}, {"beta": 0.7, "reference_free": True})


def _dpo() -> Iterator[LossCase]:
    yield from _referenced("dpo", *_REFERENCE_FREE)
    yield _case("dpo", "random pairs", _pairs(*_FOUR), 2, {"beta": 0.7, "label_smoothing": 0.1})


def _orpo() -> Iterator[LossCase]:
    for options in ({}, {"beta": 0.7}):
        yield _case("orpo", "random pairs", _pairs(*_MEANS), 2, options)
        equal = _log_probs(5, seed=10)
        yield _case("orpo", "equal likelihoods", dict(zip(_MEANS, (equal, equal.clone()), strict=True)), 2, options)
        sure = _tensor([-1e-9, -1e-9, -1.0, -1e-6, -1e4, -1e-9]), _tensor([-1.0, -1e4, -1e-9, -1e-6, -1e-9, -1e-9])
        yield _case("orpo", "all but certain or hopeless", dict(zip(_MEANS, sure, strict=True)), 2, options)
        certain = _tensor([0.0, 0.0, -1.0]), _tensor([-1.0, 0.0, 0.0])
        yield _case(
            "orpo", "certain: the odds are infinite", dict(zip(_MEANS, certain, strict=True)), 2, options, is_finite=True
        )


def _simpo() -> Iterator[LossCase]:
    for options in ({}, {"beta": 0.7, "gamma": 0.3}):
        yield _case("simpo", "random pairs", _pairs(*_MEANS), 2, options)
        far = _tensor([-1e4, 0.0, -1e-9, -1e4]), _tensor([-1e-9, -1e4, 0.0, -1e4])
        yield _case("simpo", "log-probs of 0, -1e-9 and -1e4", dict(zip(_MEANS, far, strict=True)), 2, options)


def _tdpo() -> Iterator[LossCase]:
    random = {
        "chosen_margin": _random(5, seed=10),
        "rejected_margin": _random(5, seed=11),
        "chosen_kl": _random(5, seed=12).abs(),
        "rejected_kl": _random(5, seed=13).abs(),
    }
    for options in ({"version": 1}, {"version": 2}, {"version": 2, "alpha": 0.9, "beta": 0.7}):
        yield _case("tdpo", "random pairs", random, 4, options)
        yield _case("tdpo", "margins of 1e4", {**random, "chosen_margin": 1e4 * random["chosen_margin"]}, 4, options)


def _cpo() -> Iterator[LossCase]:
    for options in ({}, {"beta": 0.7, "label_smoothing": 0.1}):
        yield _case("cpo", "random pairs", _pairs("chosen", "rejected"), 2, options)
        far = _tensor([-1e4, -1.0, -1e4, 0.0, 0.0]), _tensor([-1.0, -1e4, -1e4, -1e-9, 0.0])
        yield _case("cpo", "log-probs of 0, -1e-9 and -1e4", dict(zip(("chosen", "rejected"), far, strict=True)), 2, options)


def _kto() -> Iterator[LossCase]:
    answers = _pairs("logp", "reference")
    random = {**answers, "desirable": torch.tensor([True, False, False, True, True]), "kl": _tensor(0.3)}
    for options in ({}, {"beta": 0.7, "desirable_weight": 1.5, "undesirable_weight": 0.5}):
        yield _case("kto", "random answers", random, 1, options)
        yield _case("kto", "the policy is the reference", {**random, "logp": random["reference"]}, 1, options)
        yield _case("kto", "a negative reference point, clamped at 0", {**random, "kl": _tensor(-5.0)}, 1, options)
        yield _case("kto", "one reference point per answer", {**random, "kl": _random(5, seed=2)}, 1, options)
        far = {**random, "logp": _tensor([-1e4, -1e4, 0.0, 0.0, -1e-9])}
        yield _case("kto", "log-probs of 0, -1e-9 and -1e4", far, 1, options)


def _bradley_terry() -> Iterator[LossCase]:
    names = ("chosen_return", "rejected_return")
    yield _case("bradley_terry", "random pairs", {n: _random(5, seed=i) for i, n in enumerate(names)}, 2, {})
    far = _tensor([1e4, -1e4, 0.0]), _tensor([0.0, 0.0, 0.0])
    yield _case("bradley_terry", "returns that differ by 0 and by 1e4", dict(zip(names, far, strict=True)), 2, {})


def _ppo_clip() -> Iterator[LossCase]:
    ratio = _tensor([[1.0, 1.5, 0.5, 1.5, 0.5, 1.1], [1.0, 0.9, 2.0, 0.1, 1.3, 1.0]])
    inputs = {
        "logp": ratio.log() - 1,
        "old_logp": torch.full_like(ratio, -1.0),
        "advantage": _tensor([[1.0, 2.0, -2.0, -2.0, 2.0, 1.0], [-1.0, 3.0, 1.0, 1.0, -1.0, 0.0]]),
        "mask": torch.ones(2, 6, dtype=torch.bool),
    }
    mask = torch.tensor([[1, 1, 0, 1, 1, 0], [0] * 6], dtype=torch.bool)
    masked = {**inputs, "logp": torch.where(mask, inputs["logp"], -torch.inf), "mask": mask}
    for options in ({}, {"clip": 0.4}):
        yield _case("ppo_clip", "ratios within the clip and beyond it", inputs, 1, options)
        yield _case("ppo_clip", "-inf where nothing counts", masked, 1, options)


def _value() -> Iterator[LossCase]:
    inputs = {
        "value": _tensor([1.0, 1.0, 0.1, -1.0, 0.0]),
        "old_value": torch.zeros(5).double(),
        "target": _tensor([3.0, -3.0, 3.0, 3.0, 0.0]),
        "mask": torch.ones(5, dtype=torch.bool),
    }
    mask = torch.tensor([True, False, True, True, False])
    masked = {**inputs, "value": torch.where(mask, inputs["value"], torch.nan), "mask": mask}
    for options in ({}, {"clip": 0.5}):
        yield _case("value", "moves within the clip and beyond it", inputs, 1, options)
        yield _case("value", "NaN where nothing counts", masked, 1, options)


def _gae() -> Iterator[LossCase]:
    inputs = {"reward": _random(2, 6, seed=0), "value": _random(2, 7, seed=1), "discount": torch.full((2, 6), 0.9).double()}
    ended = {**inputs, "discount": inputs["discount"] * torch.tensor([[1, 1, 0, 1, 1, 1], [1, 0, 1, 1, 1, 0]])}
    for lam in (0.0, 0.95, 1.0):
        yield _case("gae", "one episode that goes on", inputs, 0, {"lam": lam})
        yield _case("gae", "episodes that end within the segment", ended, 0, {"lam": lam})


def _group_advantage() -> Iterator[LossCase]:
    for options in ({}, {"scale": False}):
        yield _case("group_advantage", "random groups", {"reward": _random(3, 4, seed=0)}, 0, options)
        sparse = _tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
        yield _case("group_advantage", "groups that agree", {"reward": sparse}, 0, options)


def _leave_one_out() -> Iterator[LossCase]:
    sparse = _tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.1, 0.1, 0.1, 0.1]])
    for reward, title in ((_random(3, 4, seed=0), "random groups"), (sparse, "groups that agree")):
        yield _case("leave_one_out", title, {"reward": reward}, 0, {})
        yield _case("leave_one_out", title, {"reward": reward}, 0, {"group": 2})


def _group_policy() -> Iterator[LossCase]:
    ratio = _tensor([[1.0, 1.5, 0.5, 1.1], [1.5, 0.5, 1.0, 0.9], [0.9, 1.4, 1.0, 0.2], [1.0, 1.0, 1.0, 1.0]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0], [0] * 4], dtype=torch.bool)
    inputs = {
        "logp": ratio.log() - 1,
        "old_logp": torch.full_like(ratio, -1.0),
        "advantage": _tensor([1.0, -2.0, 0.5, 3.0]),
        "mask": torch.ones_like(mask),
    }
    masked = {**inputs, "logp": torch.where(mask, inputs["logp"], -torch.inf), "mask": mask}
    bound = {"clip": {"clip": (0.2, 0.28)}, "cispo": {"clip": (0.2, 1.2)}, "sapo": {}}
    for objective in OBJECTIVES:
        for level in RATIO_LEVELS:
            for average in AVERAGES:
                options = {"objective": objective, "level": level, "average": average, "max_length": 6, **bound[objective]}
                yield _case("group_policy", "ratios within the clip and beyond it", inputs, 1, options)
                yield _case("group_policy", "-inf where nothing counts, an empty row", masked, 1, options)


def _kl() -> Iterator[LossCase]:
    inputs = {"logp": _log_probs(6, seed=0), "reference_logp": _log_probs(6, seed=1)}
    for kind in KL_KINDS:
        yield _case("kl", "random log-probs", inputs, 1, {"kind": kind})
        yield _case("kl", "the policy is the reference", {**inputs, "logp": inputs["reference_logp"]}, 1, {"kind": kind})


_CONSTRUCTED: dict[str, Callable[[], Iterator[LossCase]]] = {
    "sft": lambda: _over_steps("sft"),
    "dft": lambda: _over_steps("dft"),
    "ift": _ift,
    "generalized_jsd": _generalized_jsd,
    "dpo": _dpo,
    "ipo": lambda: _referenced("ipo", *_REFERENCE_FREE),
    "chi_po": lambda: _referenced("chi_po", {}, {"beta": 0.7}, {"beta": 0.7, "max_reward": 0.1}),
    "cal_dpo": lambda: _referenced("cal_dpo", {}, {"beta": 0.7}),
    "hinge": lambda: _referenced("hinge", {}, {"beta": 0.7}),
    "robust": lambda: _referenced("robust", {}, {"beta": 0.7, "label_smoothing": 0.2}),
    "exo": lambda: _referenced("exo", {"label_smoothing": 1e-3}, {"beta": 0.7, "label_smoothing": 0.2}),
    "discopop": lambda: _referenced("discopop", {}, {"beta": 0.7, "tau": 0.5}),
    "nca": lambda: _referenced("nca", {}, {"beta": 0.7}),
    "bco": lambda: _referenced("bco", {}, {"beta": 0.7}),
    "sppo": lambda: _referenced("sppo", {}, {"beta": 0.7}),
    "apo_zero": lambda: _referenced("apo_zero", {}, {"beta": 0.7}),
    "apo_down": lambda: _referenced("apo_down", {}, {"beta": 0.7}),
    "dpop": lambda: _referenced("dpop", {}, {"beta": 0.7, "weight": 50.0}),
    "cpo": _cpo,
    "kto": _kto,
    "orpo": _orpo,
    "simpo": _simpo,
    "tdpo": _tdpo,
    "bradley_terry": _bradley_terry,
    "ppo_clip": _ppo_clip,
    "value": _value,
    "gae": _gae,
    "group_advantage": _group_advantage,
    "leave_one_out": _leave_one_out,
    "group_policy": _group_policy,
    "kl": _kl,
}
