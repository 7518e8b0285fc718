"""The methods' own options as options of a command line: each method brings those that it has, with its own defaults."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, make_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_type_hints

from ift_gridworld.checks import listing, suggestion
from ift_gridworld.cli.parser import Arguments, flag
from ift_gridworld.methods.options import MethodOptions, option_names
from ift_gridworld.methods.registry import CORE, FAMILIES, METHODS, VARIANTS, family_of, method_options

__all__ = ["chosen_methods", "method_overrides", "with_method_options"]

GROUPS = (*FAMILIES, "core", "all")  # words of --method that stand for several methods
ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


def with_method_options(command: type[ArgumentsT], methods: Iterable[str] | None = None) -> type[ArgumentsT]:
    """Return a dataclass of a command's options and those of all methods, listed or registered by a plugin.

    An option that several methods have is one option; its help says whose defaults are what. None means not given.

    Args:
        command: the command's own options.
        methods: whose options are added (default: of all listed).

    Raises:
        ValueError: for a method's option that has the name of one of the command's own.
    """
    import tyro

    entries: list[tuple[str, Any, Any]] = []
    own = {entry.name for entry in fields(command)}
    for name, owners in _owners(METHODS if methods is None else methods).items():
        if name in own:
            who, what = next(iter(owners)), flag(name)
            raise ValueError(f"method {who!r} has an option {name!r}, but {what} is the command's own; allowed: another name")
        kind = get_type_hints(next(iter(owners.values())), include_extras=True)[name]
        default = False if kind is bool else None
        hint = bool if kind is bool else kind | None
        entries.append(
            (name, Annotated[hint, tyro.conf.arg(help=_help(name, owners), help_behavior_hint="")], field(default=default))
        )
    options_class = make_dataclass(command.__name__, entries, bases=(command,), frozen=True)
    options_class.__doc__, options_class.__module__ = command.__doc__, command.__module__
    return options_class


def chosen_methods(text: str) -> list[str]:
    """Return the names that ``--method`` gives: methods and families, with commas between; core or all.

    A family stands for its listed methods. One that is named beside its family, or whose families overlap, stands once.

    Raises:
        ValueError: for an unknown name, or one that stands twice.
    """
    words = text.split(",")
    names: list[str] = []
    for word in words:
        if word not in GROUPS and word not in METHODS and word not in VARIANTS:
            near = suggestion(word, (*METHODS, *GROUPS))
            families = ", ".join(GROUPS)
            allowed = f"{', '.join(METHODS)}, what a --plugin registers, or all of {families}; several with commas between"
            raise ValueError(f"--method is {word!r}; {near}allowed: {allowed}")
        names += [name for name in _members(word) if name not in names]
    if len(set(words)) < len(words):
        raise ValueError(f"--method is {text!r}, which names a method twice; allowed: each once")
    return names


def _members(word: str) -> list[str]:
    """Return the methods that a word of ``--method`` stands for."""
    if word in FAMILIES:
        return [name for name in METHODS if family_of(name) == word]
    return list({"all": METHODS, "core": CORE}.get(word, (word,)))


def method_overrides(args: Arguments, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return, for each chosen method, the values given for options that it has.

    Raises:
        ValueError: for an option that no chosen method has, or that none uses as it is set; or a value out of range.
    """
    everyone = _owners((*METHODS, *VARIANTS))
    given = [name for name in everyone if name in args.given]
    overrides = {
        method: {name: getattr(args, name) for name in given if name in option_names(method_options(method))}
        for method in methods
    }
    for name in given:
        using = [method for method in methods if name in overrides[method]]
        value = args.spelled(name)
        if not using:
            whose = listing([method for method in METHODS if name in option_names(method_options(method))])
            do = "does" if len(methods) == 1 else "do"
            raise ValueError(f"{value}, which {', '.join(methods)} {do} not use; it is an option of {whose}")
        reasons = [_options_of(method, overrides[method]).unused().get(name) for method in using]
        if all(reasons):
            raise ValueError(f"{value}, which is not used {reasons[0]}")
    for method in methods:
        _options_of(method, overrides[method])
    return overrides


def _options_of(method: str, overrides: Mapping[str, Any]) -> MethodOptions:
    return method_options(method)(**overrides)


def _owners(methods: Iterable[str]) -> dict[str, dict[str, type[MethodOptions]]]:
    """Return for each option the methods that have it, with their dataclasses."""
    owners: dict[str, dict[str, type[MethodOptions]]] = {}
    for method in methods:
        for name in option_names(method_options(method)):
            owners.setdefault(name, {})[method] = method_options(method)
    return owners


def _help(name: str, owners: Mapping[str, type[MethodOptions]]) -> str:
    """``ift: lambda, the share … (0.2)``; methods that share the words stand together."""
    lines: dict[str, list[str]] = {}
    for method, options in owners.items():
        entry = next(entry for entry in fields(options) if entry.name == name)
        text = _docs(options).get(name, "").rstrip(".")
        default = _default(entry)
        lines.setdefault(f"{text}{'' if default is None else f' ({default})'}", []).append(method)
    return "; ".join(f"{', '.join(methods)}: {text}" for text, methods in lines.items()) + "."


def _default(entry: Field[Any]) -> str | None:
    if entry.default is MISSING or entry.default is None or isinstance(entry.default, bool):
        return None
    return str(entry.default)


def _docs(options: type) -> dict[str, str]:
    """The line of documentation under each field, base classes' included; nothing where there is no source."""
    docs: dict[str, str] = {}
    for kind in reversed(options.__mro__[:-1]):
        docs |= _documented(kind.__module__).get(kind.__qualname__, {})
    return docs


@cache
def _documented(module: str) -> dict[str, dict[str, str]]:
    """Return for each class of a module the line of documentation under each field."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, SyntaxError, KeyError):
        return {}
    return {node.name: _fields_of(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields_of(node: ast.ClassDef) -> dict[str, str]:
    docs = {}
    for entry, following in zip(node.body, node.body[1:], strict=False):
        text = following.value if isinstance(following, ast.Expr) else None
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name) and isinstance(text, ast.Constant):
            docs[entry.target.id] = " ".join(str(text.value).split())
    return docs
