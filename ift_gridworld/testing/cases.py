"""The constructed cases: inputs where trainers have been seen to go wrong, with our own loss's values and gradients.

Each function below yields the cases of one loss; `_CONSTRUCTED` at the end names them. Add a loss by adding both, and its
function to `LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ift_gridworld.losses import KL_KINDS, NORMS
from ift_gridworld.testing.loss_case import LOSSES, LossCase, Options
from ift_gridworld.testing.originals import original_cases

__all__ = ["loss_cases"]


def loss_cases(name: str) -> list[LossCase]:
    """Return all cases of a loss: the original implementations' numbers, then constructed ones.

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
    return [*original_cases(name), *_CONSTRUCTED[name]()]


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


def _sft() -> Iterator[LossCase]:
    for title, inputs, convention in _step_inputs():
        yield _case("sft", title, inputs, 1, {}, convention)


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


def _pairs(*names: str, seed: int = 10) -> dict[str, Tensor]:
    return {name: _log_probs(5, seed=seed + i) for i, name in enumerate(names)}


_FOUR = ("chosen", "rejected", "reference_chosen", "reference_rejected")
_MEANS = ("chosen_mean", "rejected_mean")


def _referenced(name: str) -> Iterator[LossCase]:
    random = _pairs(*_FOUR)
    same = {**random, "chosen": random["reference_chosen"], "rejected": random["reference_rejected"]}
    far = {**random, "chosen": _tensor([-1e4, -1.0, -1e4, 0.0, 0.0]), "rejected": _tensor([-1.0, -1e4, -1e4, -1e-9, 0.0])}
    for options in ({}, {"beta": 0.7}, {"beta": 0.7, "reference_free": True}):
        yield _case(name, "random pairs", random, 2, options)
        yield _case(name, "the policy is the reference", same, 2, options)
        yield _case(name, "log-probs of 0, -1e-9 and -1e4", far, 2, options)
        yield _case(name, "a leading dimension", {n: x.expand(2, 5) for n, x in random.items()}, 2, options)


def _dpo() -> Iterator[LossCase]:
    yield from _referenced("dpo")
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


def _kl() -> Iterator[LossCase]:
    inputs = {"logp": _log_probs(6, seed=0), "reference_logp": _log_probs(6, seed=1)}
    for kind in KL_KINDS:
        yield _case("kl", "random log-probs", inputs, 1, {"kind": kind})
        yield _case("kl", "the policy is the reference", {**inputs, "logp": inputs["reference_logp"]}, 1, {"kind": kind})


_CONSTRUCTED: dict[str, Callable[[], Iterator[LossCase]]] = {
    "sft": _sft,
    "ift": _ift,
    "dpo": _dpo,
    "ipo": lambda: _referenced("ipo"),
    "orpo": _orpo,
    "simpo": _simpo,
    "tdpo": _tdpo,
    "bradley_terry": _bradley_terry,
    "ppo_clip": _ppo_clip,
    "value": _value,
    "gae": _gae,
    "group_advantage": _group_advantage,
    "kl": _kl,
}
