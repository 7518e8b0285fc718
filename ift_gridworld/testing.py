"""Hold someone else's loss to ours, in three lines:

    from ift_gridworld.testing import check_loss

    report = check_loss(my_dpo_loss, "dpo")
    assert report.passed, report

`my_dpo_loss` takes the same tensors in the same order as `ift_gridworld.losses.dpo_loss`, and its options by the same names;
a lambda adapts any other. It is run on every case that this loss core is itself held to: the numbers of the original
implementations (`loss_values.json`), and constructed ones, where trainers have been seen to go wrong: padding, rows that count
nothing, certainty, hopelessness, a single step. Values are compared, and gradients.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ift_gridworld import losses

LOSSES: dict[str, Callable[..., Tensor]] = {
    "sft": losses.sft_loss,
    "ift": losses.ift_loss,
    "dpo": losses.dpo_loss,
    "ipo": losses.ipo_loss,
    "orpo": losses.orpo_loss,
    "simpo": losses.simpo_loss,
    "tdpo": losses.tdpo_loss,
    "bradley_terry": losses.bradley_terry_loss,
    "ppo_clip": losses.ppo_clip_loss,
    "value": losses.value_loss,
    "gae": losses.generalized_advantage_estimate,
    "group_advantage": losses.group_relative_advantage,
    "kl": losses.kl_estimate,
}

Reduction = Literal["none", "mean"]
Options = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """Inputs of a loss, and what it must make of them.

    Attributes:
        title: what the case is about, and whose numbers these are.
        inputs: in the loss's own order, float64 or boolean.
        options: by name.
        value: one per sequence, pair or step; or, where the original gives no more, their mean.
        gradients: of the mean value, for the inputs whose gradient is known.
        is_finite: where the value is a convention (odds at certainty), it must be finite and no more is asked.
    """

    title: str
    inputs: dict[str, Tensor]
    options: Options
    value: Tensor
    gradients: dict[str, Tensor]
    is_finite: bool = False


@dataclass(frozen=True)
class Result:
    """What became of one case: "passed", "failed" or "skipped", and why."""

    title: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""


@dataclass(frozen=True, repr=False)
class Report:
    """What became of all cases of a loss. As text: a count, each failed case, and what the skipped ones would need."""

    loss: str
    results: list[Result] = field(default_factory=list)

    def _those(self, outcome: str) -> list[Result]:
        return [result for result in self.results if result.outcome == outcome]

    @property
    def failures(self) -> list[Result]:
        return self._those("failed")

    @property
    def passed(self) -> bool:
        """Whether no case failed, and some case passed."""
        return not self.failures and bool(self._those("passed"))

    def __str__(self) -> str:
        counts = Counter(result.outcome for result in self.results)
        lines = [f"{self.loss}: {', '.join(f'{counts[o]} {o}' for o in ('passed', 'failed', 'skipped') if counts[o])}"]
        lines += [f"  failed: {result.title}: {result.reason}" for result in self.failures]
        reasons = Counter(result.reason for result in self._those("skipped"))
        lines += [f"  skipped {count}: the function {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)

    __repr__ = __str__  # what an assertion shows


def check_loss(
    function: Callable[..., Any],
    name: str,
    *,
    reduction: Reduction = "none",
    dtype: torch.dtype = torch.float64,
    tolerance: float | None = None,
    gradients: bool = True,
) -> Report:
    """Run a loss on our cases and report which it fails.

    Options are passed by name, our defaults included. One that `function` has no parameter for is left out where a case has our
    default of it; else the case is skipped, and the report says so. Of advantages no gradient is asked: they are data.

    Args:
        function: takes the tensors of the loss of that name in `ift_gridworld.losses`, in order, and its options by name.
        name: which loss: a name in `LOSSES`.
        reduction: "mean" if it returns the mean over sequences, pairs or (ppo_clip, value) all steps, those that do not count
            as zeros; "none" if it returns each.
        dtype: of the tensors it is given, float64 or float32.
        tolerance: relative and absolute (default: 1e-6 in float64, 1e-4 in float32).
        gradients: whether to compare gradients too.

    Raises:
        ValueError: for a name, a reduction or a dtype that is not known.
    """
    if reduction not in ("none", "mean"):
        raise ValueError(f"reduction is {reduction!r}; allowed: none, mean")
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(f"dtype is {dtype}; allowed: torch.float64, torch.float32")
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ValueError(f"tolerance is {tolerance}; allowed: a number >= 0")
    close = tolerance if tolerance is not None else 1e-6 if dtype == torch.float64 else 1e-4
    with torch.inference_mode(False), torch.enable_grad():  # also where the caller has switched gradients off
        return Report(name, [_run(function, case, name, reduction, dtype, close, gradients) for case in cases(name)])


def _run(
    function: Callable[..., Any],
    case: Case,
    name: str,
    reduction: Reduction,
    dtype: torch.dtype,
    tolerance: float,
    gradients: bool,
) -> Result:
    options, missing = _options(function, case, name)
    if missing:
        return Result(case.title, "skipped", f"takes no {', '.join(missing)}")
    inputs = {n: x.clone() if x.dtype == torch.bool else x.to(dtype, copy=True) for n, x in case.inputs.items()}
    wanted = {n: inputs[n].requires_grad_() for n in case.gradients if gradients}
    try:
        value = function(*inputs.values(), **options)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            what = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            return Result(case.title, "failed", f"returned {what}; expected: a tensor of floating-point numbers")
        found = dict.fromkeys(wanted)
        if wanted and value.requires_grad:
            found = dict(zip(wanted, torch.autograd.grad(value.mean(), list(wanted.values()), allow_unused=True), strict=True))
    except Exception as error:  # whatever a stranger's function throws is its result
        return Result(case.title, "failed", f"raised {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    expected = case.value if reduction == "none" else case.value.mean()
    # A case that knows the mean alone asks for the mean alone.
    actual = value.mean() if case.value.ndim == 0 else value
    if actual.ndim == 0 < expected.ndim:
        return Result(case.title, "failed", f'returned one number, expected {expected.numel()}: is reduction="mean" meant?')
    reason = _difference("value", actual.detach(), expected, tolerance, case.is_finite)
    for n in wanted:
        got = found[n]
        gradient = torch.zeros_like(case.gradients[n]) if got is None else got
        reason = reason or _difference(f"gradient of {n}", gradient, case.gradients[n], tolerance, case.is_finite)
    return Result(case.title, "failed", reason) if reason else Result(case.title, "passed")


def _options(function: Callable[..., Any], case: Case, name: str) -> tuple[Options, list[str]]:
    """The options to pass, our defaults included so that the function's own do not matter, and those that it needs and does
    not take."""
    ours = {n: p.default for n, p in inspect.signature(LOSSES[name]).parameters.items() if p.kind is p.KEYWORD_ONLY}
    options = {**{n: default for n, default in ours.items() if default is not inspect.Parameter.empty}, **case.options}
    taken = _taken(function)
    if taken is None:
        return case.options, []
    missing = [option for option, value in case.options.items() if option not in taken and value != ours.get(option)]
    return {option: value for option, value in options.items() if option in taken}, missing


def _taken(function: Callable[..., Any]) -> set[str] | None:
    """Names of the parameters; None where any is taken, or nobody can tell."""
    if isinstance(function, torch.nn.Module) and not isinstance(function, torch.jit.ScriptModule):
        function = function.forward
    schema = getattr(function, "schema", None)  # of a scripted function
    if schema is not None:
        return {argument.name for argument in schema.arguments}
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # builtins have none to look at
        return None
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return None
    return set(parameters)


def _difference(what: str, actual: Tensor, expected: Tensor, tolerance: float, is_finite: bool) -> str:
    """In one line how `actual` differs from `expected`; empty if it does not."""
    actual = actual.double()
    if actual.shape != expected.shape:
        return f"{what} has shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    strange = ~torch.isfinite(actual)
    if strange.any():
        return f"{what} is {actual[strange][0].item()} at {_place(strange)}"
    if is_finite:
        return ""
    wrong = (actual - expected).abs() > tolerance * (1 + expected.abs())
    if not wrong.any():
        return ""
    at = _place(wrong)
    return f"{what} is {actual[wrong][0].item():.9g}{at and f' at {at}'}, expected {expected[wrong][0].item():.9g}" + _hint(
        actual, expected, tolerance
    )


def _place(where: Tensor) -> str:
    return "" if where.ndim == 0 else str(tuple(where.nonzero()[0].tolist()))


def _hint(actual: Tensor, expected: Tensor, tolerance: float) -> str:
    """What a wrong answer has in common with the right one."""
    if not actual.any():
        return " (it is 0 throughout: is something detached?)"
    known = expected.abs() > 1e-12
    if not known.any() or (actual[~known].abs() > tolerance).any():
        return ""
    ratio = (actual[known] / expected[known]).flatten()
    if (ratio - ratio[0]).abs().max() > 1e-5 * ratio[0].abs() or abs(ratio[0] - 1) < 1e-5:
        return ""
    return " (the sign is flipped)" if abs(ratio[0] + 1) < 1e-5 else f" ({ratio[0]:.6g} times what it should be, throughout)"


# ---- the cases ----


def cases(name: str) -> list[Case]:
    """All cases of a loss: the original implementations' numbers, then constructed ones.

    Raises:
        ValueError: for a name that is not in `LOSSES`.
    """
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}; allowed: {', '.join(LOSSES)}")
    return [*_originals(name), *_CONSTRUCTED[name]()]


@cache
def original_values() -> list[dict[str, Any]]:
    """`loss_values.json`: what the methods' original implementations make of random inputs, in float64, with gradients."""
    return json.loads((Path(__file__).parent / "loss_values.json").read_text(encoding="utf-8"))


# Our names of the inputs, in our order, and what the file calls them.
_FILE_NAMES = {
    "dpo": {
        "chosen": "chosen_logp",
        "rejected": "rejected_logp",
        "reference_chosen": "reference_chosen_logp",
        "reference_rejected": "reference_rejected_logp",
    },
    "orpo": {"chosen_mean": "chosen_mean_logp", "rejected_mean": "rejected_mean_logp"},
    "tdpo": {name: name for name in ("chosen_margin", "rejected_margin", "chosen_kl", "rejected_kl")},
    "gae": {name: name for name in ("reward", "value", "discount")},
}
_FILE_NAMES |= {"ipo": _FILE_NAMES["dpo"], "simpo": _FILE_NAMES["orpo"]}


def _originals(name: str) -> Iterator[Case]:
    for number, entry in enumerate(original_values()):
        title = f"case {number}: {entry['source'].split(';')[0].split(':')[0]} {entry['args']}"
        expect, args = entry["expect"], dict(entry["args"])
        if name == "ift" and entry["loss"] == "ift":
            options = {"decay": args["gamma"], "norm": args["norm"]}
            inputs = {"logp": _tensor(entry["logp"]), "mask": torch.tensor(entry["mask"])}
            for detach, key in ((False, "grad"), (True, "grad_detached_weights")):
                known = {} if expect[key] is None else {"logp": _tensor(expect[key])}
                yield Case(title, inputs, {**options, "detach_weights": detach}, _tensor(expect["per_sequence"]), known)
        elif name == "ift" and entry["loss"] == "ift_equation21":
            inputs = {"logp": _tensor(entry["logp"]), "mask": torch.tensor(entry["mask"])}
            options = {"decay": 1.0, "propagation": "equation21"}
            yield Case(title, inputs, options, _tensor(expect["per_sequence"]), {"logp": _tensor(expect["grad"])})
        elif name == "ppo_clip" and entry["loss"] == name:  # there a function of the ratio, here of the log-probs
            ratio = _tensor(entry["ratio"])
            inputs = {
                "logp": ratio.log(),
                "old_logp": torch.zeros_like(ratio),
                "advantage": _tensor(entry["advantage"]),
                "mask": torch.ones_like(ratio, dtype=torch.bool),
            }
            yield Case(title, inputs, args, _tensor(expect["loss"]), {"logp": ratio * _tensor(expect["grad_ratio"])})
        elif name == "gae" and entry["loss"] == name:
            inputs = {ours: _tensor(entry[theirs]) for ours, theirs in _FILE_NAMES[name].items()}
            yield Case(title, inputs, {"lam": args["lam"]}, _tensor(expect["advantage"]), {})
        elif name in _FILE_NAMES and entry["loss"] == name:
            inputs = {ours: _tensor(entry[theirs]) for ours, theirs in _FILE_NAMES[name].items()}
            grads = expect.get("grads") or [expect["grad_chosen"], expect["grad_rejected"]]
            grads = list(grads.values()) if isinstance(grads, dict) else grads
            yield Case(title, inputs, args, _tensor(expect["per_pair"]), dict(zip(inputs, map(_tensor, grads), strict=False)))


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _made(name: str, title: str, inputs: dict[str, Tensor], wanted: int, options: Options, is_finite: bool = False) -> Case:
    """A case whose expected numbers are our own loss's; gradients of the first `wanted` inputs."""
    leaves = {n: x.clone().requires_grad_() for n, x in list(inputs.items())[:wanted]}
    value = LOSSES[name](*{**inputs, **leaves}.values(), **options)
    grads = torch.autograd.grad(value.mean(), list(leaves.values()), allow_unused=True) if leaves else ()
    gradients = {n: torch.zeros_like(x) if g is None else g for (n, x), g in zip(leaves.items(), grads, strict=True)}
    named = title + (f" ({', '.join(f'{k} {v}' for k, v in options.items())})" if options else "")
    return Case(named, inputs, options, value.detach(), gradients, is_finite)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _log_probs(*shape: int, seed: int) -> Tensor:
    return -_random(*shape, seed=seed).abs() - 0.05


def _step_inputs() -> Iterator[tuple[str, dict[str, Tensor], bool]]:
    """Of losses over steps: title, logp and mask, and whether the value is a convention."""
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


def _sft() -> Iterator[Case]:
    for title, inputs, convention in _step_inputs():
        yield _made("sft", title, inputs, 1, {}, convention)


def _ift() -> Iterator[Case]:
    variants: list[Options] = [
        *({"propagation": "released", "norm": norm} for norm in losses.NORMS),
        {"propagation": "released", "detach_weights": True},
        {"propagation": "released", "decay": 0.0},
        *({"propagation": "algorithm1", "detach_weights": detach} for detach in (False, True)),
        {"propagation": "equation21"},
        {"propagation": "none"},
    ]
    for options in variants:
        for title, inputs, convention in _step_inputs():
            yield _made("ift", title, inputs, 1, options, convention)


def _pairs(*names: str, seed: int = 10) -> dict[str, Tensor]:
    return {name: _log_probs(5, seed=seed + i) for i, name in enumerate(names)}


_FOUR = ("chosen", "rejected", "reference_chosen", "reference_rejected")
_MEANS = ("chosen_mean", "rejected_mean")


def _referenced(name: str) -> Iterator[Case]:
    random = _pairs(*_FOUR)
    same = {**random, "chosen": random["reference_chosen"], "rejected": random["reference_rejected"]}
    far = {**random, "chosen": _tensor([-1e4, -1.0, -1e4, 0.0, 0.0]), "rejected": _tensor([-1.0, -1e4, -1e4, -1e-9, 0.0])}
    for options in ({}, {"beta": 0.7}, {"beta": 0.7, "reference_free": True}):
        yield _made(name, "random pairs", random, 2, options)
        yield _made(name, "the policy is the reference", same, 2, options)
        yield _made(name, "log-probs of 0, -1e-9 and -1e4", far, 2, options)
        yield _made(name, "a leading dimension", {n: x.expand(2, 5) for n, x in random.items()}, 2, options)


def _dpo() -> Iterator[Case]:
    yield from _referenced("dpo")
    yield _made("dpo", "random pairs", _pairs(*_FOUR), 2, {"beta": 0.7, "label_smoothing": 0.1})


def _orpo() -> Iterator[Case]:
    for options in ({}, {"beta": 0.7}):
        yield _made("orpo", "random pairs", _pairs(*_MEANS), 2, options)
        equal = _log_probs(5, seed=10)
        yield _made("orpo", "equal likelihoods", dict(zip(_MEANS, (equal, equal.clone()), strict=True)), 2, options)
        sure = _tensor([-1e-9, -1e-9, -1.0, -1e-6, -1e4, -1e-9]), _tensor([-1.0, -1e4, -1e-9, -1e-6, -1e-9, -1e-9])
        yield _made("orpo", "all but certain or hopeless", dict(zip(_MEANS, sure, strict=True)), 2, options)
        certain = _tensor([0.0, 0.0, -1.0]), _tensor([-1.0, 0.0, 0.0])
        yield _made(
            "orpo", "certain: the odds are infinite", dict(zip(_MEANS, certain, strict=True)), 2, options, is_finite=True
        )


def _simpo() -> Iterator[Case]:
    for options in ({}, {"beta": 0.7, "gamma": 0.3}):
        yield _made("simpo", "random pairs", _pairs(*_MEANS), 2, options)
        far = _tensor([-1e4, 0.0, -1e-9, -1e4]), _tensor([-1e-9, -1e4, 0.0, -1e4])
        yield _made("simpo", "log-probs of 0, -1e-9 and -1e4", dict(zip(_MEANS, far, strict=True)), 2, options)


def _tdpo() -> Iterator[Case]:
    random = {
        "chosen_margin": _random(5, seed=10),
        "rejected_margin": _random(5, seed=11),
        "chosen_kl": _random(5, seed=12).abs(),
        "rejected_kl": _random(5, seed=13).abs(),
    }
    for options in ({"version": 1}, {"version": 2}, {"version": 2, "alpha": 0.9, "beta": 0.7}):
        yield _made("tdpo", "random pairs", random, 4, options)
        yield _made("tdpo", "margins of 1e4", {**random, "chosen_margin": 1e4 * random["chosen_margin"]}, 4, options)


def _bradley_terry() -> Iterator[Case]:
    names = ("chosen_return", "rejected_return")
    yield _made("bradley_terry", "random pairs", {n: _random(5, seed=i) for i, n in enumerate(names)}, 2, {})
    far = _tensor([1e4, -1e4, 0.0]), _tensor([0.0, 0.0, 0.0])
    yield _made("bradley_terry", "returns that differ by 0 and by 1e4", dict(zip(names, far, strict=True)), 2, {})


def _ppo_clip() -> Iterator[Case]:
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
        yield _made("ppo_clip", "ratios within the clip and beyond it", inputs, 1, options)
        yield _made("ppo_clip", "-inf where nothing counts", masked, 1, options)


def _value() -> Iterator[Case]:
    inputs = {
        "value": _tensor([1.0, 1.0, 0.1, -1.0, 0.0]),
        "old_value": torch.zeros(5).double(),
        "target": _tensor([3.0, -3.0, 3.0, 3.0, 0.0]),
        "mask": torch.ones(5, dtype=torch.bool),
    }
    mask = torch.tensor([True, False, True, True, False])
    masked = {**inputs, "value": torch.where(mask, inputs["value"], torch.nan), "mask": mask}
    for options in ({}, {"clip": 0.5}):
        yield _made("value", "moves within the clip and beyond it", inputs, 1, options)
        yield _made("value", "NaN where nothing counts", masked, 1, options)


def _gae() -> Iterator[Case]:
    inputs = {"reward": _random(2, 6, seed=0), "value": _random(2, 7, seed=1), "discount": torch.full((2, 6), 0.9).double()}
    ended = {**inputs, "discount": inputs["discount"] * torch.tensor([[1, 1, 0, 1, 1, 1], [1, 0, 1, 1, 1, 0]])}
    for lam in (0.0, 0.95, 1.0):
        yield _made("gae", "one episode that goes on", inputs, 0, {"lam": lam})
        yield _made("gae", "episodes that end within the segment", ended, 0, {"lam": lam})


def _group_advantage() -> Iterator[Case]:
    for options in ({}, {"scale": False}):
        yield _made("group_advantage", "random groups", {"reward": _random(3, 4, seed=0)}, 0, options)
        sparse = _tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
        yield _made("group_advantage", "groups that agree", {"reward": sparse}, 0, options)


def _kl() -> Iterator[Case]:
    inputs = {"logp": _log_probs(6, seed=0), "reference_logp": _log_probs(6, seed=1)}
    for kind in ("k1", "k2", "k3"):
        yield _made("kl", "random log-probs", inputs, 1, {"kind": kind})
        yield _made("kl", "the policy is the reference", {**inputs, "logp": inputs["reference_logp"]}, 1, {"kind": kind})


_CONSTRUCTED: dict[str, Callable[[], Iterator[Case]]] = {
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
