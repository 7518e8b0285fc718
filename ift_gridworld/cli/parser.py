"""A command line from a dataclass: mistakes reported in one line, and which options were given.

The parser itself is tyro. What is wrong with a command line is found here, from the dataclass alone, so that a message names
the option, the value and what is allowed, and suggests the nearest name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields, make_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from ift_gridworld._stop import Stopped, cleaning_up
from ift_gridworld.checks import check_choice, suggestion
from ift_gridworld.escape import one_line
from ift_gridworld.runtime import safe_streams

__all__ = ["Arguments", "check_seed", "fail", "flag", "launch", "notes_of", "parse", "shown"]

T = TypeVar("T")
NUMBERS = {int: "whole number", float: "number"}
METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
HELP = "--help lists what is allowed"


@dataclass(frozen=True)
class Arguments:
    """Base of a command's dataclass of options, which records the options that were given.

    Attributes:
        given: names of the options that stand on the command line.
    """

    given: frozenset[str] = field(default=frozenset(), init=False, repr=False, compare=False)

    def require(self, name: str, holds: bool, needs: str) -> None:
        """Raise a ValueError if an option is given that only works with something else."""
        if name in self.given and not holds:
            raise ValueError(f"{self.spelled(name)}, which only works with {needs}")

    def spelled(self, name: str) -> str:
        """Return an option as a message writes it: ``--steps is 3``; a switch as it is typed, ``--no-render``."""
        value = getattr(self, name)
        if isinstance(value, bool):
            return flag(name) if value else flag(f"no_{name}")
        return f"{flag(name)} is {shown(value)}"


def launch(main: Callable[[T], int], settings: type[T], description: str | None, prog: str | None = None) -> NoReturn:
    """Run a whole command: read the command line, do what it asks, leave with its status.

    An interrupt leaves with 130, SIGTERM with 143, a reader that stops reading with 141, as a shell has it; a file that cannot
    be read or written with 2.
    """
    with safe_streams():
        try:
            arguments = parse(settings, description, prog=prog)
            with cleaning_up():
                sys.exit(main(arguments))
        except KeyboardInterrupt as interrupt:
            line, status = (interrupt.line, interrupt.status) if isinstance(interrupt, Stopped) else ("interrupted", 130)
            print("; ".join([line, *notes_of(interrupt)]), file=sys.stderr)
            sys.exit(status)
        except OSError as error:
            fail(error)


def notes_of(error: BaseException) -> list[str]:
    """Return what was added to an error on its way: which files are complete."""
    return getattr(error, "__notes__", [])


def parse(settings: type[T], description: str | None, arguments: list[str] | None = None, *, prog: str | None = None) -> T:
    """Fill a dataclass of options from the command line; a mistake ends the program with one line and status 2."""
    import tyro

    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        arguments = ["--help"]  # some releases of tyro take it for a value of the option before it
    if arguments == ["--help"] or any(token.startswith("--tyro") for token in arguments):
        tyro.cli(_for_help(settings), description=description, args=arguments, prog=prog)  # prints, and exits
    given, complaint = _read(settings, arguments)
    if complaint:
        fail(complaint)
    try:
        parsed = tyro.cli(settings, description=description, args=arguments, prog=prog, console_outputs=False)
    except SystemExit:
        fail(f"the command line was not understood; {HELP}")
    if isinstance(parsed, Arguments):
        object.__setattr__(parsed, "given", frozenset(given))
    return parsed


def _for_help(settings: type) -> type:
    """Return the dataclass without ``{None}|`` and ``(default: None)`` in its help, which say only that it is not given."""
    import tyro

    hints = get_type_hints(settings, include_extras=True)
    entries: list[tuple[str, Any, Any]] = []
    for entry in fields(settings):
        option = _option(entry, hints[entry.name])
        if entry.init and (entry.default is None or entry.default in ((), "")):
            is_choice = get_origin(option.kind) is Literal
            value = f"{{{','.join(get_args(option.kind))}}}" if is_choice else METAVARS[option.kind]
            note = tyro.conf.arg(help_behavior_hint="", metavar=f"{value} [{value} ...]" if option.several else value)
            entries.append((entry.name, Annotated[hints[entry.name], note], field(default=entry.default)))
    quiet = make_dataclass(settings.__name__, entries, bases=(settings,), frozen=True)
    quiet.__doc__, quiet.__module__ = settings.__doc__, settings.__module__
    return quiet


def flag(name: str) -> str:
    """Return an option's name as it is spelled on the command line."""
    return f"--{name.replace('_', '-')}"


def shown(value: object) -> str:
    """Return a value as a message writes it: a path as a string."""
    return repr(str(value)) if isinstance(value, Path) else repr(value)


def fail(message: object, status: int = 2) -> NoReturn:
    """Print one line on standard error and leave; an error of the system's tells its file, its reason and its notes."""
    text = str(message)
    if isinstance(message, OSError) and message.filename is not None and message.strerror:
        text = f"{message.filename}: {message.strerror}"
    text = "; ".join([text, *getattr(message, "__notes__", ())])
    print(f"error: {one_line(text, 4096)}", file=sys.stderr)
    raise SystemExit(status)


def check_seed(seed: int) -> None:
    """Raise a ValueError unless every random generator takes the seed."""
    if not 0 <= seed < 2**31:
        raise ValueError(f"--seed is {seed}; allowed: 0 to {2**31 - 1}")


# ---- what is wrong with a command line ----


@dataclass(frozen=True)
class _Option:
    """An option of a dataclass: its type without None, whether it takes several values, and whether it has a flag."""

    name: str
    kind: Any
    several: bool
    positional: bool


def _options(settings: type) -> list[_Option]:
    hints = get_type_hints(settings, include_extras=True)
    return [_option(entry, hints[entry.name]) for entry in fields(settings) if entry.init]


def _option(entry: Field[Any], hint: Any) -> _Option:
    import tyro

    positional = False
    while get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        positional = positional or any(note is tyro.conf.Positional for note in notes)
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not NoneType)
    several = get_origin(hint) is tuple
    kind = get_args(hint)[0] if several else hint
    return _Option(entry.name, kind, several, positional)


def _read(settings: type, arguments: list[str]) -> tuple[set[str], str | None]:
    """The names of the options given, and what is wrong with the first that is wrong."""
    options = _options(settings)
    by_flag = {flag(option.name): option for option in options if not option.positional}
    positional = next((option for option in options if option.positional), None)
    given: set[str] = set()
    tokens = list(arguments)
    while tokens:
        token = tokens.pop(0)
        name, equals, value = token.partition("=")
        name = name.replace("_", "-")
        if not name.startswith("--"):
            if positional is None or (positional.name in given and not positional.several):
                return given, f"unexpected {token!r}; {HELP}"
            given.add(positional.name)
            complaint = _wrong(positional, token, token)
            if complaint:
                return given, complaint
            continue
        switch = name.startswith("--no-") and name not in by_flag
        option = by_flag.get(name.replace("--no-", "--", 1) if switch else name)
        if option is None or (switch and option.kind is not bool):
            return given, f"unknown option {token.partition('=')[0]}; {suggestion(name, by_flag)}{HELP}"
        given.add(option.name)
        if option.kind is bool and not equals:
            continue
        values = [value] if equals else _values(tokens, option.several)
        if not values:
            return given, f"{name} has no value; {HELP}"
        wrong = next(filter(None, (_wrong(option, name, value) for value in values)), None)
        if wrong:
            return given, wrong
    return given, None


def _values(tokens: list[str], several: bool) -> list[str]:
    """Take an option's values from the tokens that follow it."""
    values: list[str] = []
    while tokens and not tokens[0].startswith("--") and (several or not values):
        values.append(tokens.pop(0))
    return values


def _wrong(option: _Option, name: str, value: str) -> str | None:
    if value == "None" and option.kind is not str:
        return None
    if option.kind in NUMBERS:
        try:
            option.kind(value)
        except ValueError:
            return f"{name}: {value!r} is no {NUMBERS[option.kind]}; {HELP}"
    if get_origin(option.kind) is Literal:
        try:
            check_choice(name, value, get_args(option.kind))
        except ValueError as error:
            return str(error)
    if option.kind is Path and not value.strip():
        return f"{name} is {value!r}; allowed: a path"
    return None
