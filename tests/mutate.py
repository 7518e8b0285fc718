"""Are the tests of losses and studies strong? Break the code in every small way, and rules by hand, and see who notices.

    python tests/mutate.py [--only NAME] [--list]

A test that passes says little until it is known to fail where it should. This script changes `log_probs.py`, the modules of
`losses/` and `policies/residual.py` one expression at a time (a sign, a reduction, a mask, a detach, a shift by one step, a
constant, a branch, a guard, a safe form), runs the tests of the loss core against each mutant, and lists how many of them
caught it. A survivor is a gap in the tests, or makes no difference that mathematics could see; then it stands in EQUIVALENT
with the reason, is run all the same, and it is a mistake if a test catches it. The exit status is 1 if a mutant survived, or a
table below is wrong.

What selects and concludes goes wrong by whole rules. Those are written by hand (`rule_mutants.py`) and run in the same way;
`--only rules` runs them alone.

How: torch and pytest are imported once. Each mutant is a fork in which an import hook executes the changed syntax tree in the
module's place, before any test is imported; the number of failed tests comes back through a pipe. Mutants that hang are killed
and count as caught; mutants that cannot be imported are "stillborn" and do not.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import importlib.abc
import importlib.util
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins that happen to be installed cost half a second a mutant

import pytest
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from rule_mutants import RuleMutant
from rule_mutants_lakes import MUTANTS as OF_LAKES
from rule_mutants_language import MUTANTS as OF_LANGUAGE

RULES = (*OF_LAKES, *OF_LANGUAGE)
ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "ift_gridworld"
IMITATION, PREFERENCES, ON_POLICY = "losses.imitation", "losses.preferences", "losses.on_policy"
CHECKS, RESIDUAL = "losses._checks", "policies.residual"
MODULES = ("log_probs", IMITATION, PREFERENCES, ON_POLICY, CHECKS, RESIDUAL)
# Small modules of what selects and concludes: mutated likewise, without a table of what there is to mutate in each function.
STATISTICS, VERDICTS, SELECTION = "evaluation.statistics", "studies.verdicts", "evaluation.selection"
CONCLUDING = (STATISTICS, VERDICTS, SELECTION)
CLASSES = ("Windows", "Effect", "Verdict")  # whose methods are mutated
# Which tests import a module, directly or not; the others cannot notice what becomes of it.
FAMILIES = {
    IMITATION: "test_losses_imitation",
    PREFERENCES: "test_losses_preferences",
    ON_POLICY: "test_losses_on_policy",
}
TESTS = {
    "log_probs": ("test_log_probs", "test_losses", *FAMILIES.values(), "test_residual", "test_reference_values"),
    **{module: ("test_losses", tests, "test_reference_values") for module, tests in FAMILIES.items()},
    CHECKS: ("test_losses", *FAMILIES.values()),
    RESIDUAL: ("test_residual",),
    STATISTICS: ("test_statistics",),
    VERDICTS: ("test_claims", "test_findings"),
    SELECTION: ("test_selection",),
}
KINDS = ("sign", "reduction", "mask", "stop-gradient", "shift", "constant", "branch", "guard", "precision")
JOBS, SECONDS = 2, 60
STILLBORN, TIMEOUT = -1, -2

# Why no test can tell a mutant from the original: (module, function, change).
NOT_TAKEN = "a constant where torch.where takes the other branch; its value and its slope go nowhere"
SAME_SHAPE = "only the shape is looked at, and both slices have the same"
ONLY_TYPE = "only the type is looked at, and it is the same without gradient"
UNUSED_SLOTS = "slots that no lake uses weigh nothing, wherever and however many they are"
FIRST = "nothing arrives at the first step, whose entry torch.where never takes"
RAISED = "the other side of the difference is float32 and has axes, so that promotion raises this one, exactly"
SCORE = "the sum over a of p ∇log p = ∇p is ∇1 = 0: this occurrence has no gradient"
FACTOR = "a common factor of a row cancels in the scaling, and so does its gradient"
CONSTANT = "the matrix is a constant and carries no gradient"
MASKED_LOSS = "l is 0 off the mask and its gradient stops there, whatever its weight"
_WEIGHTS = "masked_fill_zero(_matmul(loss, _decay_matrix(loss, decay).T), mask)"
_SAME = "(same * weight[..., None, :])"
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("log_probs", "log1mexp", "x > -math.log(2.0) → x >= -math.log(2.0)"): "at -log 2 both forms are right to rounding",
    (
        "log_probs",
        "log1mexp",
        "math.log(2.0) → math.log(3.0)",
    ): "down to -log 3 both forms are right to rounding (condition < 3)",
    ("log_probs", "log1mexp", "torch.where(near, x, -1.0) → torch.where(torch.ones_like(near), x, -1.0)"): (
        "below -log 2, log(-expm1(x)) and its slope are finite too, so that the outer torch.where drops them unharmed"
    ),
    ("log_probs", "log1mexp", "torch.where(near, x, -1.0) → torch.where(near, x, 1.0)"): NOT_TAKEN,
    ("log_probs", "log1mexp", "torch.where(near, x, -1.0) → torch.where(near, x, -2.0)"): NOT_TAKEN,
    ("log_probs", "log1mexp", "torch.where(near, -1.0, x) → torch.where(near, 1.0, x)"): NOT_TAKEN,
    ("log_probs", "log1mexp", "torch.where(near, -1.0, x) → torch.where(near, -2.0, x)"): NOT_TAKEN,
    ("log_probs", "entropy", "_weighted(logp, logp) → _weighted(logp, logp.detach())"): SCORE,
    ("log_probs", "kl_divergence", "_weighted(p, p - q) → _weighted(p, p.detach() - q)"): SCORE,
    ("log_probs", "_weighted", "torch.where(logp > -torch.inf, x, 0.0) → torch.where(logp > -torch.inf, x, 1.0)"): (
        "what is taken there is multiplied by a probability of 0"
    ),
    (IMITATION, "ift_loss", f"{_WEIGHTS} → at_least_float32(_matmul(loss, _decay_matrix(loss, decay).T))"): MASKED_LOSS,
    (IMITATION, "ift_loss", f"{_WEIGHTS} → {_WEIGHTS.replace('mask)', 'torch.ones_like(mask))')}"): MASKED_LOSS,
    (IMITATION, "_matmul", "x @ matrix → x @ matrix.detach()"): CONSTANT,
    (IMITATION, "_matmul", "x @ matrix → x @ matrix.detach() (no. 2)"): CONSTANT,
    (IMITATION, "relation_weights", "steps.clamp(min=1) → steps.clamp(min=0)"): (
        "concerns rows that count nothing: all of their 0/0 stands off the mask and is filled with zero"
    ),
    (IMITATION, "relation_weights", "steps.clamp(min=1) → steps.clamp(min=2)"): (
        "concerns rows that count one step, whose weight is scaled to 1 whatever it was"
    ),
    (IMITATION, "relation_weights", "weights.amax(-1, keepdim=True) → weights.detach().amax(-1, keepdim=True)"): FACTOR,
    (IMITATION, "relation_weights", "weights.amax(-1, keepdim=True) → weights.detach().amax(-1, keepdim=True) (no. 2)"): FACTOR,
    (IMITATION, "relation_weights", "weights.amax(-1, keepdim=True).detach() → weights.amax(-1, keepdim=True)"): FACTOR,
    (
        IMITATION,
        "relation_weights",
        "torch.where(largest > 0, largest, 1.0) → torch.where(largest > 0, largest.detach(), 1.0)",
    ): ("it is detached already"),
    (IMITATION, "relation_weights", "torch.where(largest > 0, largest, 1.0) → torch.where(largest > 0, largest, 2.0)"): (
        "where the largest weight is 0 all are"
    ),
    (IMITATION, "relation_weights", "torch.where(is_zero, 1.0, total) → torch.where(is_zero, 2.0, total)"): NOT_TAKEN,
    (PREFERENCES, "tdpo_loss", "at_least_float32(chosen_kl) → at_least_float32(chosen_kl.detach()) (no. 2)"): (
        "version 2 detaches it right after"
    ),
    (ON_POLICY, "generalized_advantage_estimate", "value[..., :-1] → value[..., 1:]"): SAME_SHAPE,
    (ON_POLICY, "generalized_advantage_estimate", "delta.new_zeros → delta.detach().new_zeros"): "zeros have no gradient",
    (
        ON_POLICY,
        "group_relative_advantage",
        "reward[..., :1] → reward[..., -1:]",
    ): "the mean takes out whichever was subtracted",
    (ON_POLICY, "group_relative_advantage", "reward[..., :1] → reward.detach()[..., :1]"): "and so does its gradient",
    (
        ON_POLICY,
        "group_relative_advantage",
        "torch.where(agrees, 1.0, variance) → torch.where(agrees, 0.0, variance)",
    ): NOT_TAKEN,
    (
        ON_POLICY,
        "group_relative_advantage",
        "torch.where(agrees, 1.0, variance) → torch.where(agrees, 2.0, variance)",
    ): NOT_TAKEN,
    (ON_POLICY, "ppo_clip_loss", "math.log1p(clip) → math.log(1 + clip)"): "both have the exponential 1 + ε, to rounding",
    (ON_POLICY, "ppo_clip_loss", "at_least_float32(logp) → logp"): RAISED,
    (ON_POLICY, "ppo_clip_loss", "at_least_float32(old_logp) → old_logp"): RAISED,
    (RESIDUAL, "_mix_where", "isinstance(true, SparseStates) → isinstance(true.detach(), SparseStates)"): ONLY_TYPE,
    (
        RESIDUAL,
        "_mix_where",
        "has_prediction[..., None].to(true.weight) → has_prediction[..., None].to(true.detach().weight)",
    ): ONLY_TYPE,
    (RESIDUAL, "_follows_counted", "mask[..., :1] → mask[..., -1:]"): SAME_SHAPE,
    (RESIDUAL, "residual_embeddings", "policy.logits(true) → policy.logits(true.detach())"): "no gradient is recorded there",
    (RESIDUAL, "Windows.of", "states[..., :1] → states[..., -1:]"): FIRST,
    (RESIDUAL, "Windows.of", "torch.where(follows, before, -1) → torch.where(follows, before, -2)"): (
        "any negative number marks a step that nothing arrives at"
    ),
    (
        RESIDUAL,
        "Windows.of",
        "int(states.max()) + 1 → int(states.max()) + 2",
    ): "any base above all states tells windows apart",
    (RESIDUAL, "_distinct", "u[:1].expand(most - len(u)) → u[-1:].expand(most - len(u))"): (
        "places beyond a member's own numbers are filled with any of them: none is looked up"
    ),
    (
        RESIDUAL,
        "_sparse_outcomes",
        f"{_SAME}.sum(-1) → {_SAME}.sum(-1) / {_SAME}.shape[-1]",
    ): "the largest is asked for, and a common factor does not change which it is",
    (RESIDUAL, "_sparse_outcomes", "weight.to(like) → weight.to(like.detach())"): ONLY_TYPE,
    (RESIDUAL, "_sparse_outcomes", "index.shape[-1] → index.shape[0]"): UNUSED_SLOTS,
    (
        RESIDUAL,
        "_sparse_outcomes",
        "torch.nn.functional.pad(x, (0, most - x.shape[-1])) → torch.nn.functional.pad(x, (1, most - x.shape[-1]))",
    ): UNUSED_SLOTS,
    (
        STATISTICS,
        "pooled_effect",
        "random.integers(0, RESAMPLES, drawn.shape) → random.integers(1, RESAMPLES, drawn.shape)",
    ): "one of a thousand draws, all alike, is left out",
    (VERDICTS, "Verdict.word", "self.effect.value * self.sign > 0 → self.effect.value * self.sign >= 0"): (
        "what is not larger than rounding is unclear before"
    ),
    (
        SELECTION,
        "best_checkpoint",
        "distance[1:].mean(-1) → distance[1:].sum(-1)",
    ): "all checkpoints have the same number of seeds",
    **{
        (
            SELECTION,
            "next_value",
            f"{before.format(9)} → {before.format(digits)}",
        ): "removes rounding of the last digits as well"
        for digits in (8, 10)
        for before in ("round(math.log10(value), {})", "round(value / 10 ** math.floor(round(math.log10(value), 9)), {})")
    },
}

# Kinds that a public function has no mutant of (helpers that it calls included): why there is nothing to change, and where.
MEANINGLESS: dict[str, dict[str, str]] = {
    "reduction": {
        "one value for each that is given": "at_least_float32 log1mexp masked_fill_zero dpo_loss orpo_loss simpo_loss "
        "tdpo_loss bradley_terry_loss ppo_clip_loss value_loss residual_embeddings",
    },
    "mask": {
        "there is neither mask nor case distinction": "at_least_float32 action_log_probs dpo_loss ipo_loss "
        " orpo_loss simpo_loss tdpo_loss bradley_terry_loss generalized_advantage_estimate kl_estimate "
        "Windows.log_probs predicted_distribution greedy_action",
    },
    "stop-gradient": {"what comes out is integers": "Windows.of greedy_action"},
    "shift": {
        "no step looks at another": "at_least_float32 log1mexp entropy kl_divergence masked_fill_zero masked_sum masked_mean "
        "sft_loss dpo_loss ipo_loss orpo_loss simpo_loss tdpo_loss bradley_terry_loss ppo_clip_loss "
        "value_loss kl_estimate residual_embeddings predicted_distribution greedy_action",
    },
    "constant": {"there is none": "action_log_probs masked_sum bradley_terry_loss"},
    "branch": {
        "there is none but by torch.where (mask), a comparison (sign) or detach (stop-gradient)": "at_least_float32 "
        "action_log_probs log1mexp entropy kl_divergence masked_fill_zero masked_sum masked_mean residual_embeddings "
        "Windows.of Windows.log_probs predicted_distribution greedy_action",
    },
    "guard": {
        "nothing is refused, or by the functions that it calls": "at_least_float32 action_log_probs log1mexp entropy "
        "kl_divergence masked_sum masked_mean residual_embeddings Windows.of Windows.log_probs greedy_action",
    },
    "precision": {
        "it raises by type alone": "at_least_float32",
        "the functions that it calls raise": "masked_sum masked_mean sft_loss value_loss",
        "the policy's own precision is kept": "mix residual_embeddings Windows.of Windows.mixed greedy_action lake_successor",
    },
}

Ancestors = tuple[ast.AST, ...]

# ---- what is changed ----

SWAPPED: dict[type[ast.AST], str] = {
    ast.Lt: ">", ast.Gt: "<", ast.LtE: ">=", ast.GtE: "<=", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
BOUNDARY: dict[type[ast.AST], str] = {ast.Lt: "<=", ast.Gt: ">=", ast.LtE: "<", ast.GtE: ">"}
NUMBERS: dict[float, tuple[float, ...]] = {0: (1,), 0.5: (1.0, 0.25), 1: (0, 2), 2: (1, 3)}
SLICES = {"1:": ":-1", ":-1": "1:", ":1": "-1:"}
RENAMED = {  # called name: (kind, what it becomes)
    "masked_sum": ("reduction", "masked_mean"),
    "masked_mean": ("reduction", "masked_sum"),
    "mean": ("reduction", "sum"),
    "amax": ("reduction", "amin"),
    "argmax": ("reduction", "argmin"),
    "minimum": ("sign", "maximum"),
    "maximum": ("sign", "minimum"),
    "zeros": ("constant", "ones"),
    "zeros_like": ("constant", "ones_like"),
    "ones_like": ("constant", "zeros_like"),
}
CALLED = {  # called name: kind and what the call becomes; f is what is called, m where it is from, and a, b, c the arguments
    "masked_fill_zero": [("mask", "at_least_float32({a})")],
    "at_least_float32": [("precision", "{a}")],
    "reversed": [("shift", "{a}")],
    "pow": [("shift", "{f}({a}, {b} + 1)"), ("shift", "{f}({a}, {b} - 1)")],
    "lerp": [("sign", "{f}({b}, {a}, {c})")],
    "logsigmoid": [("sign", "{f}(-{a})"), ("precision", "torch.log(torch.sigmoid({a}))")],
    "exp": [("sign", "{f}(-{a})")],
    "expm1": [("sign", "{f}(-{a})"), ("precision", "({m}.exp({a}) - 1)")],
    "log1p": [("sign", "{f}(-{a})"), ("precision", "{m}.log(1 + {a})")],
    "softmax": [("sign", "{f}(-{a}, {b})")],
    "log_softmax": [("sign", "{f}(-{a}, {b})"), ("precision", "{m}.softmax({a}, {b}).log()")],
}
DEFAULTS = {"released": "algorithm1", "L1": "L2", "k3": "k2", "greedy": "expected", "expected": "likeliest"}
NOT_VALUES = {"shape", "dtype", "ndim", "device"}  # of a tensor
# Calls through which neither a value nor a gradient passes, or no gradient.
WITHOUT_VALUE = {"check_same_steps", "check_same_shape", "_decay_matrix", "zeros_like", "ones_like", "empty_like", "finfo"}
WITHOUT_GRADIENT = {*WITHOUT_VALUE, "new_tensor", "argmax", "one_hot"}


@dataclass(frozen=True)
class Scope:
    """What the names of a function stand for."""

    masks: set[str]
    carrying: set[str]  # tensors that carry gradient
    counters: set[str]  # of a for loop


@dataclass(frozen=True)
class Mutant:
    """`replacement` is to take the place of `parent.field` or `parent.field[index]`."""

    module: str
    function: str
    line: int
    kind: str
    change: str
    tree: ast.Module
    parent: ast.AST
    field: str
    index: int | None
    replacement: ast.AST

    @property
    def equivalent(self) -> str | None:
        return EQUIVALENT.get((self.module, self.function, self.change))


AnyMutant = Mutant | RuleMutant


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def text(node: ast.AST) -> str:
    return ast.unparse(node)


def within(node: ast.AST) -> str:
    """As part of a larger expression."""
    return f"({ast.unparse(node)})"


def called(node: ast.AST) -> str:
    """The last name of what is called: "where" for torch.where(…); empty if nothing is."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else text(node.func)


def changes(node: ast.AST, ancestors: Ancestors, scope: Scope) -> Iterator[tuple[str, str]]:
    """(kind, source that replaces the node), for each change that the node itself allows."""
    inside_slice = any(isinstance(a, ast.Slice) for a in ancestors)
    match node:
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)) if not inside_slice:
            if called(ancestors[-1]) == "where":
                yield from (("constant", f"{value}"), ("constant", f"-{2 * value}"))
            elif called(ancestors[-1]) not in ("reshape", "expand"):  # an axis
                yield "reduction", "0" if value == 1 else f"-{value - 1}"
        case ast.UnaryOp(ast.USub(), operand) if not inside_slice:
            yield "sign", text(operand)
        case ast.UnaryOp(ast.Not(), operand):
            yield "branch", text(operand)
        case ast.BinOp(left, op, right):
            a, b = within(left), within(right)
            if isinstance(op, ast.Add | ast.Sub):
                yield "sign", f"{a} {'-' if isinstance(op, ast.Add) else '+'} {b}"
            elif isinstance(op, ast.Mult):
                yield from (("constant", a), ("constant", b))
            elif isinstance(op, ast.Div):
                yield "reduction", a
            elif isinstance(op, ast.MatMult):
                yield "shift", a
            elif isinstance(op, ast.BitAnd):
                yield from (("mask", a), ("mask", b))
        case ast.BoolOp(values=values):
            yield from (("branch", text(x)) for x in values)
        case ast.Compare():
            yield from _changes_of_comparison(node)
        case ast.IfExp(test, body, other):
            if not isinstance(test, ast.Compare):
                kind = "stop-gradient" if "detach" in text(node) else "branch"
                yield kind, f"{within(other)} if {within(test)} else {within(body)}"
        case ast.If(ast.Name(name)):
            yield "branch", text(ast.If(ast.Name(f"not {name}"), node.body, node.orelse))
        case ast.If(body=[ast.Raise()]):
            yield "guard", "pass"
        case ast.Expr(ast.Call()):
            yield "guard", "pass"
        case ast.With(body=body):
            yield "stop-gradient", "if True:\n" + "\n".join(f"    {line}" for x in body for line in text(x).splitlines())
        case ast.Slice() if text(node) in SLICES:
            yield "shift", SLICES[text(node)]
        case ast.Attribute(value, "T"):
            yield "shift", text(value)
        case ast.Constant(int() | float() as value) if not isinstance(value, bool) and not inside_slice:
            if not (isinstance(ancestors[-1], ast.UnaryOp) or called(ancestors[-1]) == "flatten"):
                kind = "shift" if any(isinstance(a, ast.Subscript) for a in ancestors) else "constant"
                yield from ((kind, repr(type(value)(x))) for x in NUMBERS.get(value, (value + 1, value - 1)))
        case ast.Call():
            yield from _changes_of_call(node)
        case ast.Name(name, ast.Load()):
            if name in scope.masks and not _hidden(node, ancestors, WITHOUT_VALUE):
                yield "mask", f"torch.ones_like({name})"
            detached = isinstance(ancestors[-1], ast.Attribute) and ancestors[-1].attr == "detach"
            if name in scope.carrying and not detached and not _hidden(node, ancestors, WITHOUT_GRADIENT):
                yield "stop-gradient", f"{name}.detach()"
            if name in scope.counters:
                yield from (("shift", f"{name} + 1"), ("shift", f"{name} - 1"))
    above = ancestors[-1]
    negative = isinstance(node, ast.UnaryOp)  # adding a minus to it is the same as dropping its own
    if isinstance(above, ast.Return) and isinstance(node, ast.expr) and not negative and _carries(node, scope.carrying):
        yield "sign", f"-{within(node)}"
    if called(above) == "where" and node is above.args[0]:  # type: ignore[attr-defined]
        yield from (("mask", f"torch.{every}_like({text(node)})") for every in ("ones", "zeros"))


def _changes_of_comparison(node: ast.Compare) -> Iterator[tuple[str, str]]:
    signs = [text(ast.Compare(ast.Name("a"), [op], [ast.Name("b")]))[2:-2] for op in node.ops]
    for i, op in enumerate(node.ops):
        for kind, table in (("sign", SWAPPED), ("constant", BOUNDARY)):
            if type(op) in table:
                changed = [*signs[:i], table[type(op)], *signs[i + 1 :]]
                pairs = zip(changed, node.comparators, strict=True)
                yield kind, " ".join([within(node.left), *(f"{sign} {within(x)}" for sign, x in pairs)])
    match node.ops, node.comparators:
        case [ast.In() | ast.NotIn()], [ast.Tuple(allowed)]:
            yield from (("constant", f"{within(node.left)} {signs[0]} ({text(x)},)") for x in allowed)


def _changes_of_call(node: ast.Call) -> Iterator[tuple[str, str]]:
    name, arguments = called(node), [within(x) for x in node.args]
    if isinstance(node.func, ast.Attribute):
        receiver, given = within(node.func.value), ", ".join([*arguments, *(text(k) for k in node.keywords)])
        if name == "detach":
            yield "stop-gradient", receiver
        elif name == "sum":
            yield "reduction", f"({receiver}.sum({given}) / {receiver}.shape[-1])"
        elif name == "clamp" and len(arguments) == 2:
            yield from (("sign", f"{receiver}.clamp({side}={x})") for side, x in zip(("min", "max"), arguments, strict=True))
        elif name == "clamp":
            yield "sign", f"{receiver}.clamp({given.replace('min', 'MAX').replace('max', 'min').replace('MAX', 'max')})"
        elif name == "exp" and not arguments:
            yield "sign", f"(-{receiver}).exp()"
    if name in RENAMED:
        kind, other = RENAMED[name]
        function = ast.Attribute(node.func.value, other) if isinstance(node.func, ast.Attribute) else ast.Name(other)
        yield kind, text(ast.Call(function, node.args, node.keywords))
    for kind, template in CALLED.get(name, []):
        if len(arguments) >= ("{b}" in template) + ("{c}" in template) + 1:
            names = {"f": text(node.func), "m": text(node.func).rpartition(".")[0]}
            yield kind, template.format(**names, **dict(zip("abc", arguments, strict=False)))


def _hidden(node: ast.AST, ancestors: Ancestors, blind: set[str]) -> bool:
    """Whether the node stands where only its shape is asked for, or in a condition, an index, or the call of one of `blind`."""
    child = node
    for above in reversed(ancestors):
        if isinstance(above, ast.stmt):
            return False
        named = isinstance(above, ast.Attribute) and above.attr in (NOT_VALUES | blind)
        index = isinstance(above, ast.Subscript) and child is above.slice
        if named or index or isinstance(above, ast.Compare) or called(above) in blind:
            return True
        child = above
    return False


# ---- what the names of a function stand for ----


def walk(node: ast.AST, ancestors: Ancestors = ()) -> Iterator[tuple[ast.AST, str, int | None, Ancestors]]:
    """Every node of a function that is executed (no annotation, no message of an error), as (node, field, index, ancestors)."""
    above = (*ancestors, node)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "exc"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield child, field, index, above
                yield from walk(child, above)


def _carries(node: ast.AST, carrying: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in carrying
    names = [(n.id, n, ancestors) for n, _, _, ancestors in walk(node) if isinstance(n, ast.Name)]
    return any(name in carrying and not _hidden(n, ancestors, WITHOUT_GRADIENT) for name, n, ancestors in names)


def scope_of(function: ast.FunctionDef) -> Scope:
    """Arguments by their annotations; locals by what is assigned to them, until nothing changes."""
    masks, carrying, models = {"counted", "follows"}, set[str](), set[str]()
    for node in ast.walk(function):
        if isinstance(node, ast.arg) and node.annotation is not None and node is not function.args.kwarg:
            declared = text(node.annotation)
            masks |= {node.arg} if "Bool[" in declared else set()
            carrying |= {node.arg} if "Float[" in declared or declared in ("Tensor", "Embedding") else set()
            models |= {node.arg} if declared in ("EmbeddedPolicy", "Successor") else set()  # gradient comes from them
    nodes = list(walk(function))
    counters = {n.target.id for n, *_ in nodes if isinstance(n, ast.For) and isinstance(n.target, ast.Name)}
    while True:
        known = len(carrying)
        for node, _, _, ancestors in nodes:
            if isinstance(node, ast.Assign):
                source, targets = node.value, node.targets
            elif isinstance(node, ast.comprehension):
                source, targets = node.iter, [node.target]
            else:
                continue
            if not any(isinstance(a, ast.With) for a in ancestors) and _carries(source, carrying | models):
                carrying |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)} - counters
        if len(carrying) == known:
            return Scope(masks, carrying, counters)


# ---- the mutants ----


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and node.name in CLASSES:
            yield from ((f"{node.name}.{x.name}", x) for x in node.body if isinstance(x, ast.FunctionDef))


def path_of(module: str) -> Path:
    return ROOT.joinpath(PACKAGE, *module.split(".")).with_suffix(".py")


def parsed(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


def mutants() -> list[Mutant]:
    found = []
    for module in (*MODULES, *CONCLUDING):
        tree = parsed(module)
        for name, function in functions(tree):
            scope, seen = scope_of(function), {text(function)}  # changes that come to the same are one
            repeated = Counter[str]()
            for node, field, index, ancestors in walk(function):
                for kind, source in _all_changes(node, field, ancestors, scope):
                    replacement = _parsed(node, source)
                    place = ancestors[-1], field, index
                    _put(*place, replacement)
                    result = text(function)
                    _put(*place, node)
                    if result not in seen:
                        seen.add(result)
                        line, change = node.lineno, _shown(node, replacement, place, ancestors)  # type: ignore[attr-defined]
                        repeated[change] += 1
                        change += f" (no. {repeated[change]})" if repeated[change] > 1 else ""
                        found.append(Mutant(module, name, line, kind, change, tree, *place, replacement))
    return found


def _all_changes(node: ast.AST, field: str, ancestors: Ancestors, scope: Scope) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Constant) and field in ("defaults", "kw_defaults"):
        value = node.value
        if isinstance(value, bool):
            yield "constant", repr(not value)
        elif isinstance(value, float):
            yield "constant", repr(2 * value or 0.1) if value <= 0.5 else repr(round(value - 0.05, 9))
        elif value == 2:
            yield "constant", "1"
        elif value in DEFAULTS:
            yield "constant", repr(DEFAULTS[value])
    elif not (isinstance(ancestors[-1], ast.keyword) and ancestors[-1].arg in ("dim", "keepdim", "return_inverse")):
        yield from changes(node, ancestors, scope)


def _parsed(node: ast.AST, source: str) -> ast.AST:
    if isinstance(node, ast.Slice):
        return ast.parse(f"x[{source}]", mode="eval").body.slice  # type: ignore[attr-defined]
    statement = ast.parse(source).body[0]
    return statement if isinstance(node, ast.stmt) else statement.value  # type: ignore[attr-defined]


def _shown(node: ast.AST, replacement: ast.AST, place: tuple[ast.AST, str, int | None], ancestors: Ancestors) -> str:
    """The change with as much around it as makes it readable."""
    if isinstance(node, ast.stmt):
        return " → ".join(text(x).splitlines()[0] for x in (node, replacement))
    if isinstance(ancestors[-1], ast.arguments):
        return f"{_argument(ancestors[-1], place)}={text(node)} → {text(replacement)}"
    around: ast.AST = node
    for above in reversed(ancestors):
        enough = isinstance(around, ast.expr) and not isinstance(around, ast.Tuple) and len(text(around)) > 12
        if enough or isinstance(above, ast.stmt) or len(text(above)) > 100:
            break
        around = above
    if around is node:
        return f"{text(node)} → {text(replacement)}"
    before = text(around)
    _put(*place, replacement)
    after = text(around)
    _put(*place, node)
    return f"{before} → {after}"


def _argument(arguments: ast.arguments, place: tuple[ast.AST, str, int | None]) -> str:
    _, field, index = place
    assert index is not None
    if field == "kw_defaults":
        return arguments.kwonlyargs[index].arg
    return arguments.args[len(arguments.args) - len(arguments.defaults) + index].arg


# ---- running them ----


class Failures:
    """A pytest plugin that counts the tests that failed."""

    def __init__(self) -> None:
        self.count = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A known bug that a mutant happens to hide (an unexpected pass) is no detection.
        self.count += report.failed and not str(report.longrepr).startswith("[XPASS")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.count += report.failed


class MutantImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """An import hook that executes a mutant where its module is imported."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module, self.name, self.tree = module, f"{PACKAGE}.{module}", tree

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, path_of(self.module), loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(ast.fix_missing_locations(self.tree), self.name, "exec"), module.__dict__)


def tree_of(mutant: AnyMutant) -> ast.Module:
    """Return the syntax tree of a mutant's module."""
    if isinstance(mutant, RuleMutant):
        return ast.parse(path_of(mutant.module).read_text(encoding="utf-8").replace(mutant.before, mutant.after))
    _put(mutant.parent, mutant.field, mutant.index, mutant.replacement)
    return mutant.tree


def tests_of(mutant: AnyMutant) -> tuple[str, ...]:
    return mutant.tests if isinstance(mutant, RuleMutant) else TESTS[mutant.module]


def run_tests(mutant: AnyMutant | None, tests: Sequence[str]) -> int:
    """In a child: return how many tests fail where the mutant replaces its module."""
    if mutant is not None:
        try:
            sys.meta_path.insert(0, MutantImporter(mutant.module, tree_of(mutant)))
            importlib.import_module(f"{PACKAGE}.{mutant.module}")
        except Exception:
            return STILLBORN
    plugin = Failures()
    without = (f"-pno:{name}" for name in ("cacheprovider", "logging", "warnings", "unraisableexception", "threadexception"))
    gc.disable()  # half a second of a life of two
    files = (str(next((ROOT / "tests").rglob(f"{test}.py"))) for test in tests)
    status = pytest.main(["--tb=no", f"--rootdir={ROOT}", *without, *files], plugins=[plugin])
    ran = status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    return plugin.count if plugin.count or ran else STILLBORN


def outcomes(todo: Sequence[tuple[AnyMutant | None, Sequence[str]]]) -> Iterator[tuple[AnyMutant | None, int]]:
    """(mutant, number of its tests that caught it) in the order in which they end, JOBS at a time."""
    waiting = list(reversed(todo))
    running: dict[int, tuple[AnyMutant | None, int, float]] = {}  # by the pipe's end: mutant, process, deadline
    while waiting or running:
        while waiting and len(running) < JOBS:
            mutant, tests = waiting.pop()
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                nothing = os.open(os.devnull, os.O_RDWR)
                for stream in (0, 1, 2):
                    os.dup2(nothing, stream)
                try:
                    os.write(writer, str(run_tests(mutant, tests)).encode())
                finally:
                    os._exit(0)
            os.close(writer)
            running[reader] = mutant, child, time.monotonic() + SECONDS
        for reader in select.select(list(running), [], [], 1.0)[0]:
            mutant, child, _ = running.pop(reader)
            answer = os.read(reader, 32).decode()
            os.close(reader)
            os.waitpid(child, 0)
            yield mutant, int(answer or STILLBORN)
        for reader, (mutant, child, deadline) in list(running.items()):
            if time.monotonic() > deadline:
                del running[reader]
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(reader)
                yield mutant, TIMEOUT


def warm_up() -> None:
    """What torch and the tests import on first use, once for all children; the mutated modules must not be among it."""
    torch.set_num_threads(1)
    for module in ("matplotlib.figure", "scipy.stats", f"{PACKAGE}.data", f"{PACKAGE}.planning"):
        importlib.import_module(module)
    if importlib.util.find_spec("transformers"):
        importlib.import_module("transformers.models.llama.modeling_llama")
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: torch.log_softmax(x, -1)[torch.tensor([0, 1, 1])], x)
    torch.testing.assert_close(x, x)
    assert not any(f"{PACKAGE}.{module}" in sys.modules for module in (*MODULES, *CONCLUDING, *(rule.module for rule in RULES)))


# ---- the tables ----


def public_users() -> dict[str, set[str]]:
    """Return, for each public function, itself and the private helpers that it reaches: those whose own name or whose module's
    begins with an underscore."""
    calls: dict[str, set[str]] = {}
    private = set[str]()
    for module in MODULES:
        for name, function in functions(parsed(module)):
            calls[name] = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
            if name.startswith("_") or module.rpartition(".")[2].startswith("_"):
                private.add(name)
    users = {}
    for name in (n for n in calls if n not in private):
        reached = {name}
        while more := {c for r in reached for c in calls[r] if c in private} - reached:
            reached |= more
        users[name] = reached
    return users


def count_table(found: list[Mutant]) -> tuple[Table, list[str]]:
    """Mutants of the loss core by public function and kind; and the empty cells without a reason, or the reverse."""
    found = [m for m in found if m.module in MODULES]
    table = Table("function, with its private helpers", *(k for k in KINDS), title="mutants by function and kind")
    mistakes = []
    for function, reached in public_users().items():
        counts = Counter(m.kind for m in found if m.function in reached)
        table.add_row(function, *(str(counts[k] or "–") for k in KINDS))
        for kind in KINDS:
            explained = sum(function in names.split() for names in MEANINGLESS.get(kind, {}).values())
            if (counts[kind] > 0) == explained or explained > 1:
                mistakes.append(f"{function}: {counts[kind]} mutants of kind {kind}, {explained} reasons why it has none")
    table.add_section()
    total = Counter(m.kind for m in found)
    table.add_row("all", *(str(total[k]) for k in KINDS))
    return table, mistakes


def rule_mistakes() -> list[str]:
    """What is wrong with the rules written by hand: a text that does not occur once, a test that is not there."""
    return [mistake for rule in RULES for mistake in rule.mistakes()]


def choose(only: str | None, everything: list[Mutant]) -> list[AnyMutant]:
    """Return the mutants of a function, a module or a part of its name; "rules" are those written by hand."""
    rules = [r for r in RULES if only in (None, "rules", r.name, r.module, *r.module.split("."))]
    return [*(m for m in everything if only in (None, m.function, m.module, *m.module.split("."))), *rules]


def row_of(mutant: AnyMutant) -> tuple[str, str, str, str, str]:
    if isinstance(mutant, RuleMutant):
        line = path_of(mutant.module).read_text(encoding="utf-8").partition(mutant.before)[0].count("\n") + 1
        return mutant.module, "", str(line), "rule", mutant.name
    return mutant.module, mutant.function, str(mutant.line), mutant.kind, mutant.change


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--only", metavar="NAME", help="a function, a module such as losses.on_policy, a part of its name, rules"
    )
    parser.add_argument("--list", action="store_true", help="list the mutants and run nothing")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)

    everything = mutants()
    chosen = choose(arguments.only, everything)
    if not chosen:
        parser.error(f"--only {arguments.only}: no mutant is in a module or function of that name")
    if wrong := rule_mistakes():
        parser.error("; ".join(wrong))
    results = dict.fromkeys(chosen, 0)
    start = time.monotonic()
    if not arguments.list:
        warm_up()
        tests = tuple(dict.fromkeys(test for mutant in chosen for test in tests_of(mutant)))
        if failed := next(outcomes([(None, tests)]))[1]:
            console.print(f"{failed} tests fail without any change (-1: none run, -2: too slow); mutants say nothing then")
            return 2
        todo = [(mutant, tests_of(mutant)) for mutant in chosen]
        for mutant, caught in track(outcomes(todo), "mutants", len(chosen), console=Console(stderr=True)):
            assert mutant is not None
            results[mutant] = caught

    words = {STILLBORN: "stillborn", TIMEOUT: "timeout"}
    table = Table("module", "function", "line", "kind", "change", "caught by", title="mutants")
    for m, caught in results.items():
        word = words.get(caught, str(caught) if caught else "equivalent" if m.equivalent else "SURVIVED")
        style = "bold red" if word == "SURVIVED" and not arguments.list else None
        table.add_row(*map(escape, row_of(m)), "" if arguments.list else word, style=style)
    console.print(table)
    counts, mistakes = count_table(everything)
    console.print(counts)
    for kind, reasons in MEANINGLESS.items():
        for why, names in reasons.items():
            console.print(f"no {kind}: {why}: {', '.join(names.split())}", markup=False)
    for key, why in EQUIVALENT.items():
        console.print(f"equivalent: {key[1]}: {key[2]}: {why}", markup=False)
    declared = {(m.module, m.function, m.change) for m in everything}
    mistakes += [f"EQUIVALENT has no such mutant: {key}" for key in EQUIVALENT if key not in declared]
    mistakes += [f"declared equivalent, but caught by {n}: {row_of(m)[-1]}" for m, n in results.items() if m.equivalent and n]
    for mistake in mistakes:
        console.print(mistake, style="bold red", markup=False)
    if arguments.list:
        return 0
    survived = [m for m, caught in results.items() if caught == 0 and not m.equivalent]
    for m in survived:
        console.print("survived: {}: {} {}: {}: {}".format(*row_of(m)), style="bold red", markup=False)
    ends = Counter(words.get(n, "caught" if n else "equivalent" if m.equivalent else "survived") for m, n in results.items())
    console.print(f"{', '.join(f'{n} {end}' for end, n in ends.items())}; {time.monotonic() - start:.0f} s")
    console.print(f"{len(results)} mutants, {len(survived)} survived")
    return 1 if survived or mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
