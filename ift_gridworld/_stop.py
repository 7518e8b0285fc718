"""Signals that end a command: one line, the status that a shell expects, no traceback.

A library leaves signals alone. Handlers are set only where this package is the program that was started, and as early as its
import, so that an interrupt in the first second is answered like any other.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["WORDS", "Stopped", "at_once", "cleaning_up", "handle_signals", "is_command"]

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_cleans_up = False  # whether a signal raises `Stopped`, for files to be removed and processes to be ended


class Stopped(KeyboardInterrupt):
    """A command was asked to end.

    Attributes:
        line: what to tell the user.
        status: exit status of the command, 128 and the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.line, self.status = WORDS[signal.Signals(number)], 128 + number


def is_command() -> bool:
    """Return whether the program that was started is ours: the command, the package by its name, or a script of experiments/.

    A process that `multiprocessing` starts gets its parent's `sys.argv`, but not its `sys.orig_argv`.
    """
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # the module is still looked for
        return "ift_gridworld" in sys.orig_argv
    if program not in sys.orig_argv:
        return False
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    folder, name = os.path.split(os.path.realpath(program))
    return os.path.splitext(name)[0] == "ift-gridworld" or (folder == os.path.join(root, "experiments") and name[-3:] == ".py")


def handle_signals() -> None:
    """Answer SIGINT and SIGTERM with one line, unless whoever started the command has them ignored."""
    for number in WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    global _cleans_up
    stopped = Stopped(number)
    if not _cleans_up:
        _leave(stopped)
    _cleans_up = False  # a second signal does not wait
    raise stopped


def _leave(stopped: Stopped) -> NoReturn:
    """End the process here: an exception raised amid an import may be swallowed, or be reported as another."""
    try:
        os.write(2, f"{stopped.line}\n".encode())
    finally:
        os._exit(stopped.status)


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Let a signal raise `Stopped`, so that what the block has begun is cleaned up; a second one ends the process."""
    with _switched(True):
        yield


@contextmanager
def at_once() -> Iterator[None]:
    """Let a signal end the process at once: the block imports modules and has nothing to clean up."""
    with _switched(False):
        yield


@contextmanager
def _switched(value: bool) -> Iterator[None]:
    global _cleans_up
    before, _cleans_up = _cleans_up, value
    try:
        yield
    finally:
        _cleans_up = before
