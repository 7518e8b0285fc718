"""Are the tests of losses and studies strong? Break the code in every small way, and rules by hand, and see who notices.

    python tests/mutate.py [--only NAME ...] [--processes N] [--list]

A test that passes says little until it is known to fail where it should. This script changes `log_probs.py`, the modules of
`losses/` and `policies/residual.py` one expression at a time (a sign, a reduction, a mask, a detach, a shift by one step, a
constant, a branch, a guard, a safe form), runs the tests of the loss core against each mutant, and names the first test that
caught it. A survivor is a gap in the tests, or makes no difference that mathematics could see; then it stands in
`mutant_equivalents.py` with the reason, is run all the same, and it is a mistake if a test catches it. The exit status is 1 if
a mutant survived, or a table below is wrong.

The modules that select, measure and conclude (`CONCLUDING`) and the methods (`TRAINING`) are changed likewise. They go wrong by
whole rules, too. Those are written by hand (`rule_mutants.py`) and run in the same way; `--only rules` runs them alone.

How: torch and pytest are imported once. Each mutant is a fork in which an import hook executes the changed syntax tree in the
module's place, before any test is imported; the name of the first test that fails comes back through a pipe. As many run side
by side as there are cores (`--processes`). Mutants that hang are killed and count as caught; mutants that cannot be imported
are "stillborn" and do not.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import importlib.abc
import importlib.util
import os
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins that happen to be installed cost half a second a mutant

import pytest
import torch
from mutant_equivalents import EQUIVALENT
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from rule_mutants import RuleMutant
from rule_mutants_frontier import MUTANTS as OF_FRONTIER
from rule_mutants_lakes import MUTANTS as OF_LAKES
from rule_mutants_language import MUTANTS as OF_LANGUAGE
from rule_mutants_methods import MUTANTS as OF_METHODS

from ift_gridworld.runtime import cores

RULES = (*OF_FRONTIER, *OF_LAKES, *OF_LANGUAGE, *OF_METHODS)
ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "ift_gridworld"
IMITATION, PREFERENCES, ON_POLICY = "losses.imitation", "losses.preferences", "losses.on_policy"
BY_NAME, UNPAIRED, DISTILLATION = "losses.preference_kinds", "losses.unpaired", "losses.distillation"
GROUP_POLICY = "losses.group_policy"
CHECKS, LOG_RATIOS, RESIDUAL = "losses._checks", "losses._log_ratios", "policies.residual"
# Which tests import a module, directly or not; the others cannot notice what becomes of it.
FAMILIES = {
    IMITATION: "test_losses_imitation",
    PREFERENCES: "test_losses_preferences",
    ON_POLICY: "test_losses_on_policy",
    BY_NAME: "test_losses_preference_kinds",
    UNPAIRED: "test_losses_unpaired",
    DISTILLATION: "test_losses_distillation",
    GROUP_POLICY: "test_losses_group_policy",
}
MODULES = ("log_probs", *FAMILIES, CHECKS, LOG_RATIOS, RESIDUAL)
CLASSES = ("Windows",)  # whose methods are mutated
NUMBERS_OF = {IMITATION: "test_reference_values", PREFERENCES: "test_reference_values", ON_POLICY: "test_reference_values"}
TESTS = {
    "log_probs": ("test_log_probs", "test_losses", *FAMILIES.values(), "test_residual", "test_reference_values"),
    **{module: (tests, "test_losses", NUMBERS_OF.get(module, "test_trl_values")) for module, tests in FAMILIES.items()},
    CHECKS: ("test_losses", *FAMILIES.values()),
    LOG_RATIOS: (FAMILIES[PREFERENCES], FAMILIES[BY_NAME], "test_losses"),
    RESIDUAL: ("test_residual",),
}
# Modules of what selects, measures and concludes, and their tests: mutated likewise, the methods of all classes too, without a
# table of what there is to mutate in each function.
CONCLUDING = {
    "evaluation.statistics": ("test_statistics",),
    "evaluation.selection": ("test_selection",),
    "studies.claims": ("test_claims", "test_study"),
    "studies.claim_tables": ("test_claims", "test_study"),
    "studies.tables": ("test_study", "test_damaged_studies"),
    "studies.results": ("test_claims", "test_findings", "test_study"),
    "studies.verdicts": ("test_claims", "test_findings"),
    "studies.measures": ("test_running", "test_study"),
    "studies.running": ("test_running", "test_study"),
    "studies.reproduction.findings": ("test_findings", "test_claims"),
    "studies.language_report": ("test_language_report", "test_language_answers", "test_damaged_studies"),
    "studies.frontier.conditions": ("test_frontier_trials",),
    "studies.frontier.questions": ("test_frontier_questions",),
    "studies.frontier.trials": ("test_frontier_trials",),
}
# What the methods do with the losses, and what their options allow; mutated as `CONCLUDING` is, but for words and switches.
TRAINING = {
    "methods.base": ("test_methods", "test_options"),
    "methods.distillation": ("test_imitation_rivals", "test_gradients"),
    "methods.imitation": ("test_methods", "test_imitation_rivals", "test_gradients"),
    "methods.mixed": ("test_policy_gradients", "test_gradients"),
    "methods.on_policy": ("test_methods", "test_on_policy", "test_policy_gradients", "test_gradients"),
    "methods.policy_gradients": ("test_policy_gradients", "test_gradients"),
    "methods.preference_kinds": ("test_preference_kinds", "test_gradients"),
    "methods.preferences": ("test_methods", "test_self_play", "test_preference_kinds", "test_gradients"),
    "methods.reward_model": ("test_reward_model", "test_methods"),
    "methods.self_play": ("test_self_play", "test_gradients"),
    "methods.source": (
        "test_source", "test_methods", "test_imitation_rivals", "test_policy_gradients", "test_preference_kinds",
        "test_variants",
    ),
    "methods.variants": ("test_variants",),
    **{f"methods.options.{name}": ("test_options",) for name in ("base", "imitation", "mixed", "on_policy", "pairs")},
}  # fmt: skip
OF_CLASSES = {*CONCLUDING, *TRAINING}  # modules of which the methods of all classes are mutated
TESTS |= CONCLUDING | TRAINING
AS_A_WHOLE = ("studies.claims",)  # whose tables are mutated too, not only functions
LAYOUT = ("draw_pictures", "draw_films", "_table")  # functions of these modules that compute nothing
KINDS = ("sign", "reduction", "mask", "stop-gradient", "shift", "constant", "branch", "guard", "precision")
SECONDS, PATIENCE = 60, 20  # of computing that the tests may take against one mutant, and how many times that of waiting
# The order of tests: those that caught most mutants so far first, because what catches one mutant of a function mostly catches
# the next, and slow ones after all others.
QUICK = 0.3  # seconds
SLOW = set[str]()  # tests that took longer without a mutant
CAUGHT = Counter[str]()
STILLBORN, TIMEOUT = "stillborn", "timeout"  # instead of the name of a test

# Kinds that a public function has no mutant of (helpers that it calls included): why there is nothing to change, and where.
MEANINGLESS: dict[str, dict[str, str]] = {
    "reduction": {
        "one value for each that is given": "at_least_float32 log1mexp masked_fill_zero dpo_loss orpo_loss simpo_loss "
        "tdpo_loss cpo_loss kto_loss bradley_terry_loss ppo_clip_loss value_loss residual_embeddings",
    },
    "mask": {
        "there is neither mask nor case distinction": "at_least_float32 action_log_probs dpo_loss ipo_loss chi_po_loss "
        "cal_dpo_loss cpo_loss preference_loss orpo_loss simpo_loss tdpo_loss bradley_terry_loss "
        "generalized_advantage_estimate kl_estimate "
        "Windows.log_probs predicted_distribution greedy_action",
    },
    "stop-gradient": {"what comes out is integers": "Windows.of greedy_action"},
    "shift": {
        "no step looks at another": "at_least_float32 log1mexp entropy kl_divergence masked_fill_zero masked_sum masked_mean "
        "sft_loss dft_loss dpo_loss ipo_loss chi_po_loss cal_dpo_loss cpo_loss preference_loss kto_loss orpo_loss simpo_loss "
        "tdpo_loss generalized_jsd_loss bradley_terry_loss ppo_clip_loss value_loss kl_estimate residual_embeddings "
        "predicted_distribution greedy_action",
    },
    "constant": {"there is none": "action_log_probs masked_sum bradley_terry_loss"},
    "branch": {
        "dpo_loss decides": "cpo_loss",
        "there is none but by torch.where (mask), a comparison (sign) or detach (stop-gradient)": "at_least_float32 "
        "action_log_probs log1mexp entropy kl_divergence masked_fill_zero masked_sum masked_mean residual_embeddings "
        "Windows.of Windows.log_probs predicted_distribution greedy_action",
    },
    "guard": {
        "nothing is refused, or by the functions that it calls": "cpo_loss at_least_float32 action_log_probs log1mexp entropy "
        "kl_divergence masked_sum masked_mean residual_embeddings Windows.of Windows.log_probs greedy_action",
    },
    "precision": {
        "it raises by type alone": "at_least_float32",
        "the functions that it calls raise": "masked_sum masked_mean sft_loss dft_loss cpo_loss value_loss",
        "the policy's own precision is kept": "mix mix_after residual_embeddings Windows.of Windows.mixed greedy_action "
        "lake_successor",
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
# The same where something is concluded: names called, words, and arguments that are switched on or off.
CONCLUDED = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "sum": "max", "median": "mean"}
WORDS = {"last": "best", "best": "last", "common": "best", "sft": "ift", "ift": "sft", "base": "sft"}
WORDS |= {"distance": "regret", "holds": "reversed", "chosen": "rejected", "firm": "slippery", "value": "low", "high": "low"}
SWITCHES = {"higher_is_better", "signed"}
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
    concluding: bool = False  # whether the function is one of `CONCLUDING`


@dataclass(frozen=True)
class Mutant:
    """`replacement` is to take the place of `parent.field` or `parent.field[index]`; `number` counts those of a kind."""

    module: str
    function: str
    line: int
    kind: str
    number: int
    change: str
    tree: ast.Module
    parent: ast.AST
    field: str
    index: int | None
    replacement: ast.AST

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function} {self.kind} {self.number}"

    @property
    def equivalent(self) -> str | None:
        return EQUIVALENT.get(self.name)


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
        case ast.Constant(str() as word) if scope.concluding and word in WORDS:
            yield "word", repr(WORDS[word])
        case ast.Constant(bool() as value) if scope.concluding and getattr(ancestors[-1], "arg", None) in SWITCHES:
            yield "branch", repr(not value)
        case ast.Call():
            yield from _changes_of_call(node)
            if scope.concluding and called(node) in CONCLUDED:
                yield "reduction", text(_renamed(node, CONCLUDED[called(node)]))
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
        yield kind, text(_renamed(node, other))
    for kind, template in CALLED.get(name, []):
        if len(arguments) >= ("{b}" in template) + ("{c}" in template) + 1:
            names = {"f": text(node.func), "m": text(node.func).rpartition(".")[0]}
            yield kind, template.format(**names, **dict(zip("abc", arguments, strict=False)))


def _renamed(node: ast.Call, name: str) -> ast.Call:
    """The call of another function, of the same object or module."""
    function = ast.Attribute(node.func.value, name) if isinstance(node.func, ast.Attribute) else ast.Name(name)
    return ast.Call(function, node.args, node.keywords)


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


def scope_of(function: ast.FunctionDef | ast.Module) -> Scope:
    """Arguments by their annotations; locals by what is assigned to them, until nothing changes."""
    masks, carrying, models = {"counted", "follows"}, set[str](), set[str]()
    keywords = [each.args.kwarg for each in ast.walk(function) if isinstance(each, ast.FunctionDef)]
    for node in ast.walk(function):
        if isinstance(node, ast.arg) and node.annotation is not None and node not in keywords:
            declared = text(node.annotation)
            masks |= {node.arg} if "Bool[" in declared else set()
            carrying |= {node.arg} if "Float[" in declared or declared in ("Tensor", "Embedding") else set()
            models |= {node.arg} if declared in ("EmbeddedPolicy", "Successor", "_Pairs") else set()  # gradient comes from them
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


def functions(module: str, tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.Module]]:
    """Each function that is mutated, and its name; last, where they are, the tables of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not (module in CONCLUDING and node.name in LAYOUT):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and (node.name in CLASSES or module in OF_CLASSES):
            yield from ((f"{node.name}.{x.name}", x) for x in node.body if isinstance(x, ast.FunctionDef))
    if module in AS_A_WHOLE:
        tables = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
        yield "tables", ast.Module([node for node in tables if "__all__" not in text(node)], [])


def path_of(module: str) -> Path:
    return ROOT.joinpath(PACKAGE, *module.split(".")).with_suffix(".py")


def parsed(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


def mutants() -> list[Mutant]:
    found = []
    for module in (*MODULES, *CONCLUDING, *TRAINING):
        tree = parsed(module)
        for name, function in functions(module, tree):
            scope, seen = scope_of(function), {text(function)}  # changes that come to the same are one
            scope = replace(scope, concluding=module in CONCLUDING)
            repeated, numbers = Counter[str](), Counter[str]()
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
                        numbers[kind] += 1
                        found.append(Mutant(module, name, line, kind, numbers[kind], change, tree, *place, replacement))
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
    """A pytest plugin that orders tests, and keeps the name of the first test that failed and those of slow ones."""

    def __init__(self) -> None:
        self.first, self.slow = "", list[str]()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: (item.nodeid in SLOW, -CAUGHT[item.name]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.duration > QUICK:
            self.slow.append(report.nodeid)
        # A known bug that a mutant happens to hide (an unexpected pass) is no detection.
        if report.failed and not str(report.longrepr).startswith("[XPASS"):
            self.first = self.first or report.nodeid.rpartition("::")[2]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.first = self.first or report.nodeid


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


def run_tests(mutant: AnyMutant | None, tests: Sequence[str]) -> tuple[str, list[str]]:
    """In a child: return the first test that fails where the mutant replaces its module, "" if none does; and slow tests."""
    if mutant is not None:
        try:
            sys.meta_path.insert(0, MutantImporter(mutant.module, tree_of(mutant)))
            importlib.import_module(f"{PACKAGE}.{mutant.module}")
        except Exception:
            return STILLBORN, []
    plugin = Failures()
    without = (f"-pno:{name}" for name in ("cacheprovider", "logging", "warnings", "unraisableexception", "threadexception"))
    gc.disable()  # half a second of a life of two, as much as rewriting assertions takes
    files = (str(next((ROOT / "tests").rglob(f"{test}.py"))) for test in tests)
    status = pytest.main(["--tb=no", "--assert=plain", "--maxfail=1", f"--rootdir={ROOT}", *without, *files], plugins=[plugin])
    return plugin.first or ("" if status == pytest.ExitCode.OK else STILLBORN), plugin.slow


def outcomes(
    todo: Sequence[tuple[AnyMutant | None, Sequence[str]]], processes: int, seconds: float = SECONDS
) -> Iterator[tuple[AnyMutant | None, str]]:
    """(mutant, the first test that caught it) in the order in which they end, `processes` at a time."""
    waiting = list(reversed(todo))
    running: dict[int, tuple[AnyMutant | None, int, float]] = {}  # by the pipe's end: mutant, process, deadline
    while waiting or running:
        while waiting and len(running) < processes:
            mutant, tests = waiting.pop()
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                nothing = os.open(os.devnull, os.O_RDWR)
                for stream in (0, 1, 2):
                    os.dup2(nothing, stream)
                resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
                try:
                    first, slow = run_tests(mutant, tests)
                    os.write(writer, "\n".join([first[:200], *slow, ""]).encode())
                finally:
                    os._exit(0)
            os.close(writer)
            running[reader] = mutant, child, time.monotonic() + PATIENCE * seconds
        for reader in select.select(list(running), [], [], 1.0)[0]:
            mutant, child, _ = running.pop(reader)
            killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
            answer = os.read(reader, 1 << 16).decode()  # what fits into a pipe, a thousand names
            os.close(reader)
            first, *slow = answer.split("\n")
            SLOW.update(slow if mutant is None else [])
            CAUGHT[first] += 1
            yield mutant, first if answer else TIMEOUT if killed else STILLBORN
        for reader, (mutant, child, deadline) in list(running.items()):
            if time.monotonic() > deadline:
                del running[reader]
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(reader)
                yield mutant, TIMEOUT


def warm_up() -> None:
    """What torch and the tests import on first use, once for all children; the package itself is forgotten again, because it
    is to be imported around a mutant."""
    torch.set_num_threads(1)
    for module in ("matplotlib.figure", "scipy.stats", f"{PACKAGE}.data", f"{PACKAGE}.planning"):
        importlib.import_module(module)
    for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[module]
    if importlib.util.find_spec("transformers"):
        importlib.import_module("transformers.models.llama.modeling_llama")
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: torch.log_softmax(x, -1)[torch.tensor([0, 1, 1])], x)
    torch.testing.assert_close(x, x)


# ---- the tables ----


def public_users() -> dict[str, set[str]]:
    """Return, for each public function, itself and the private helpers that it reaches: those whose own name or whose module's
    begins with an underscore."""
    calls: dict[str, set[str]] = {}
    private = set[str]()
    for module in MODULES:
        for name, function in functions(module, parsed(module)):
            calls[name] = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
            if name.startswith("_") or module.rpartition(".")[2].startswith("_"):
                private.add(name)
        for node in parsed(module).body:  # a private table leads to the functions that it holds
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
                calls[text(node.target)] = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
                private.add(text(node.target))
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


def choose(only: Sequence[str], everything: list[Mutant]) -> list[AnyMutant]:
    """Return the mutants of functions, modules or parts of their names; "rules" are those written by hand."""

    def is_asked_for(*names: str) -> bool:
        return not only or bool(set(only) & set(names))

    rules = [r for r in RULES if is_asked_for("rules", r.name, r.module, *r.module.split("."))]
    return [*(m for m in everything if is_asked_for(m.name, m.function, m.module, *m.module.split("."))), *rules]


def row_of(mutant: AnyMutant) -> tuple[str, str, str]:
    """A mutant's name, line and change, as tables show them."""
    if isinstance(mutant, RuleMutant):
        line = path_of(mutant.module).read_text(encoding="utf-8").partition(mutant.before)[0].count("\n") + 1
        return f"{mutant.module} rule", str(line), mutant.name
    return mutant.name, str(mutant.line), mutant.change


def count_by_module(results: Mapping[AnyMutant, str]) -> Table:
    """How the mutants of each module ended."""
    table = Table("module", "mutants", "caught", "timeout", "stillborn", "equivalent", "survived", title="by module")
    for module in sorted({m.module for m in results}):
        for rules in (False, True):
            ends = Counter(
                end_of(m, how) for m, how in results.items() if (m.module, isinstance(m, RuleMutant)) == (module, rules)
            )
            if ends:
                counts = (ends[end] for end in ("caught", TIMEOUT, STILLBORN, "equivalent", "survived"))
                table.add_row(f"{module}{', rules' * rules}", str(ends.total()), *map(str, counts))
    return table


def end_of(mutant: AnyMutant, caught: str) -> str:
    """How a mutant ended, in a word."""
    if caught in (STILLBORN, TIMEOUT):
        return caught
    return "caught" if caught else "equivalent" if mutant.equivalent else "survived"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", default=[],
        help="functions, modules such as losses.on_policy, parts of their names, a mutant's whole name, rules",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, metavar="N", default=cores(), help="mutants at a time (default: one a core)")
    parser.add_argument("--list", action="store_true", help="list the mutants and run nothing")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)

    everything = mutants()
    chosen = choose(arguments.only, everything)
    if not chosen:
        parser.error(f"--only {' '.join(arguments.only)}: no mutant is in a module or function of that name")
    if arguments.processes < 1:
        parser.error(f"--processes is {arguments.processes}; allowed: 1 or more")
    if wrong := rule_mistakes():
        parser.error("; ".join(wrong))
    results = dict.fromkeys(chosen, "")
    start = time.monotonic()
    if not arguments.list:
        warm_up()
        tests = tuple(dict.fromkeys(test for mutant in chosen for test in tests_of(mutant)))
        if failed := next(outcomes([(None, tests)], 1, seconds=10 * SECONDS))[1]:
            console.print(f"without any change the tests fail ({failed}); mutants say nothing then")
            return 2
        todo = [(mutant, tests_of(mutant)) for mutant in chosen]
        ends = track(outcomes(todo, arguments.processes), "mutants", len(chosen), console=Console(stderr=True))
        for number, (mutant, caught) in enumerate(ends, 1):
            assert mutant is not None
            results[mutant] = caught
            if number % 50 == 0 and not sys.stdout.isatty():
                print(f"{number} of {len(chosen)} mutants, {time.monotonic() - start:.0f} s", flush=True)
            if end_of(mutant, caught) == "survived":  # at once: all may take an hour
                console.print("survived: {}, line {}: {}".format(*row_of(mutant)), style="bold red", markup=False)

    table = Table("mutant", "line", "change", "caught by", title="mutants")
    for m, caught in results.items():
        word = "" if arguments.list else caught or end_of(m, caught)
        table.add_row(*map(escape, (*row_of(m), word)), style="bold red" if word == "survived" else None)
    console.print(table)
    counts, mistakes = count_table(everything)
    console.print(counts)
    for kind, reasons in MEANINGLESS.items():
        for why, names in reasons.items():
            console.print(f"no {kind}: {why}: {', '.join(names.split())}", markup=False)
    changes_of = {m.name: m.change for m in everything}
    for name, why in EQUIVALENT.items():
        console.print(f"equivalent: {name}: {changes_of.get(name)}: {why}", markup=False)
    mistakes += [f"mutant_equivalents.py names what is no mutant: {name}" for name in EQUIVALENT if name not in changes_of]
    mistakes += [
        f"declared equivalent, but caught by {how}: {row_of(m)[0]}" for m, how in results.items() if m.equivalent and how
    ]
    for mistake in mistakes:
        console.print(mistake, style="bold red", markup=False)
    if arguments.list:
        return 0
    survived = [m for m, caught in results.items() if end_of(m, caught) == "survived"]
    for m in survived:
        console.print("survived: {}, line {}: {}".format(*row_of(m)), style="bold red", markup=False)
    console.print(count_by_module(results))
    console.print(f"{len(results)} mutants, {len(survived)} survived; {time.monotonic() - start:.0f} s")
    return 1 if survived or mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
