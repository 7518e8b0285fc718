"""`check_loss`: run a loss on all cases and report, in words, which it fails and how."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ift_gridworld.runtime import standard_settings
from ift_gridworld.testing.cases import loss_cases
from ift_gridworld.testing.loss_case import LOSSES, LossCase, Options

__all__ = ["CaseResult", "Reduction", "Report", "check_loss"]

Reduction = Literal["none", "mean"]


@dataclass(frozen=True)
class CaseResult:
    """Outcome of one case: "passed", "failed" or "skipped", and the reason."""

    title: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""


@dataclass(frozen=True, repr=False)
class Report:
    """Outcomes of all cases of a loss. As text: counts, each failed case, and the options that skipped cases need.

    Attributes:
        loss: name in `LOSSES`.
        results: one per case.
    """

    loss: str
    results: list[CaseResult] = field(default_factory=list)

    def _with_outcome(self, outcome: str) -> list[CaseResult]:
        return [result for result in self.results if result.outcome == outcome]

    @property
    def failures(self) -> list[CaseResult]:
        return self._with_outcome("failed")

    @property
    def passed(self) -> bool:
        """True if no case failed and some case passed."""
        return not self.failures and bool(self._with_outcome("passed"))

    def __str__(self) -> str:
        counts = Counter(result.outcome for result in self.results)
        lines = [f"{self.loss}: {', '.join(f'{counts[o]} {o}' for o in ('passed', 'failed', 'skipped') if counts[o])}"]
        lines += [f"  failed: {result.title}: {result.reason}" for result in self.failures]
        reasons = Counter(result.reason for result in self._with_outcome("skipped"))
        lines += [f"  skipped {count}: the function {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)

    __repr__ = __str__  # what an assertion shows


@standard_settings()
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

    Options are passed by name, our defaults included. An option that `function` has no parameter for is omitted where a case
    uses our default of it; otherwise the case is skipped, and the report says so. Gradients of advantages are not compared:
    they are data.

    Args:
        function: takes the tensors of the loss of that name in `ift_gridworld.losses`, in order, and its options by name.
        name: which loss: a name in `LOSSES`.
        reduction: "mean" if the function returns the mean over sequences, pairs or (ppo_clip, value) all steps, those that do
            not count as zeros; "none" if it returns each.
        dtype: of the tensors that the function is given, float64 or float32.
        tolerance: relative and absolute (default: 1e-6 in float64, 1e-4 in float32).
        gradients: whether to compare gradients too.

    Returns:
        A report; `report.passed` is True if no case failed and some case passed. What the function raises is reported, too.

    Raises:
        ValueError: for a name, a reduction, a dtype or a tolerance that is not allowed.

    Example:
        >>> from ift_gridworld.losses import sft_loss
        >>> check_loss(sft_loss, "sft").passed
        True
        >>> "the sign is flipped" in str(check_loss(lambda logp, mask: -sft_loss(logp, mask), "sft"))
        True
    """
    if reduction not in ("none", "mean"):
        raise ValueError(f"reduction is {reduction!r}; allowed: none, mean")
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(f"dtype is {dtype}; allowed: torch.float64, torch.float32")
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ValueError(f"tolerance is {tolerance}; allowed: a number >= 0")
    close = tolerance if tolerance is not None else 1e-6 if dtype == torch.float64 else 1e-4
    return Report(name, [_run(function, case, name, reduction, dtype, close, gradients) for case in loss_cases(name)])


def _run(
    function: Callable[..., Any],
    case: LossCase,
    name: str,
    reduction: Reduction,
    dtype: torch.dtype,
    tolerance: float,
    gradients: bool,
) -> CaseResult:
    options, missing = _options(function, case, name)
    if missing:
        return CaseResult(case.title, "skipped", f"takes no {', '.join(missing)}")
    inputs = {n: x.clone() if x.dtype == torch.bool else x.to(dtype, copy=True) for n, x in case.inputs.items()}
    wanted = {n: inputs[n].requires_grad_() for n in case.gradients if gradients}
    try:
        value = function(*inputs.values(), **options)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            what = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            return CaseResult(case.title, "failed", f"returned {what}; expected: a tensor of floating-point numbers")
        gradient_of: dict[str, Tensor | None] = dict.fromkeys(wanted)
        if wanted and value.requires_grad:
            slopes = torch.autograd.grad(value.mean(), list(wanted.values()), allow_unused=True)
            gradient_of = dict(zip(wanted, slopes, strict=True))
    except Exception as error:  # whatever the function raises is its result
        return CaseResult(case.title, "failed", f"raised {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    expected = case.value if reduction == "none" else case.value.mean()
    # Where only the mean is known, compare means.
    actual = value.mean() if case.value.ndim == 0 else value
    if actual.ndim == 0 < expected.ndim:
        return CaseResult(case.title, "failed", f'returned one number, expected {expected.numel()}: is reduction="mean" meant?')
    reason = _difference("value", actual.detach(), expected, tolerance, case.is_finite)
    for n in wanted:
        got = gradient_of[n]
        gradient = torch.zeros_like(case.gradients[n]) if got is None else got
        reason = reason or _difference(f"gradient of {n}", gradient, case.gradients[n], tolerance, case.is_finite)
    return CaseResult(case.title, "failed", reason) if reason else CaseResult(case.title, "passed")


def _options(function: Callable[..., Any], case: LossCase, name: str) -> tuple[Options, list[str]]:
    """Return the options to pass, our defaults included so that the function's own do not matter, and the names of options
    that the case needs and the function does not take."""
    ours = {n: p.default for n, p in inspect.signature(LOSSES[name]).parameters.items() if p.kind is p.KEYWORD_ONLY}
    options = {**{n: default for n, default in ours.items() if default is not inspect.Parameter.empty}, **case.options}
    accepted = _parameter_names(function)
    if accepted is None:
        return case.options, []
    missing = [option for option, value in case.options.items() if option not in accepted and value != ours.get(option)]
    return {option: value for option, value in options.items() if option in accepted}, missing


def _parameter_names(function: Callable[..., Any]) -> set[str] | None:
    """Names of the parameters; None where any name is taken, or where the signature is unknown."""
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
    """Say in one line how `actual` differs from `expected`; empty if it does not."""
    actual = actual.double()
    if actual.shape != expected.shape:
        return f"{what} has shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    non_finite = ~torch.isfinite(actual)
    if non_finite.any():
        return f"{what} is {actual[non_finite][0].item()} at {_first_index(non_finite)}"
    if is_finite:
        return ""
    wrong = (actual - expected).abs() > tolerance * (1 + expected.abs())
    if not wrong.any():
        return ""
    at = _first_index(wrong)
    return f"{what} is {actual[wrong][0].item():.9g}{at and f' at {at}'}, expected {expected[wrong][0].item():.9g}" + _hint(
        actual, expected, tolerance
    )


def _first_index(wrong: Tensor) -> str:
    return "" if wrong.ndim == 0 else str(tuple(wrong.nonzero()[0].tolist()))


def _hint(actual: Tensor, expected: Tensor, tolerance: float) -> str:
    """Return a hint at what a wrong answer has in common with the right one."""
    if not actual.any():
        return " (it is 0 throughout: is something detached?)"
    nonzero = expected.abs() > 1e-12
    if not nonzero.any() or (actual[~nonzero].abs() > tolerance).any():
        return ""
    ratio = (actual[nonzero] / expected[nonzero]).flatten()
    if (ratio - ratio[0]).abs().max() > 1e-5 * ratio[0].abs() or abs(ratio[0] - 1) < 1e-5:
        return ""
    return " (the sign is flipped)" if abs(ratio[0] + 1) < 1e-5 else f" ({ratio[0]:.6g} times what it should be, throughout)"
