"""What every script shares: a command line from a dataclass, mistakes told in one line, progress while a person watches."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    pass

T = TypeVar("T")
NUMBERS = (  # what a parser says of a number that is none, and what is to be said
    (r"no type matching \{None\}\|INT could be instantiated from \[(.*?)\]\.?", r"\1 is no whole number"),
    (r"no type matching \{None\}\|FLOAT could be instantiated from \[(.*?)\]\.?", r"\1 is no number"),
    (r"invalid literal for int\(\) with base 10: ('.*?')", r"\1 is no whole number"),
    (r"could not convert string to float: ('.*?')", r"\1 is no number"),
)


def launch(main: Callable[[T], int], settings: type[T], description: str | None) -> NoReturn:
    """A whole script: read the command line, do what it asks, leave with its status; an interrupt leaves with 130."""
    try:
        sys.exit(main(parse(settings, description)))
    except KeyboardInterrupt:
        sys.exit(130)


def parse(settings: type[T], description: str | None, arguments: list[str] | None = None) -> T:
    """Fill a dataclass of settings from the command line; a mistake ends the program with one line and status 2."""
    import tyro

    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            return tyro.cli(settings, description=description, args=arguments)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        # The first paragraph of the box that was meant for a terminal, without its frame and title.
        lines = [line.strip("│|╭╮╰╯+─- ") for line in complaint.getvalue().splitlines()[1:]]
        words = " ".join(takewhile(bool, dropwhile(lambda line: not line, lines))).removeprefix("Error parsing ")
        for complaint_of_python, words_of_ours in NUMBERS:
            words = re.sub(complaint_of_python, words_of_ours, words)
        fail(f"{words or 'the command line was not understood'}; --help lists what is allowed")


def fail(message: object, status: int = 2) -> NoReturn:
    """One line on standard error, then out."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(status)


def check_seed(seed: int) -> None:
    """Make sure that every random generator takes it."""
    if not 0 <= seed < 2**31:
        raise ValueError(f"--seed is {seed}; allowed: 0 to {2**31 - 1}")
