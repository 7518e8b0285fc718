"""What every script shares: a command line from a dataclass, mistakes told in one line, progress while a person watches."""

from __future__ import annotations

import gc
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import dropwhile, takewhile
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    import torch

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


@contextmanager
def loading() -> Iterator[None]:
    """Import large packages without collecting garbage: what they make stays, and looking through it costs a third of the
    time that importing torch takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def fail(message: object, status: int = 2) -> NoReturn:
    """One line on standard error, then out."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(status)


@contextmanager
def progress(description: str, afterwards: str = "") -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing in a pipe or in a process of `processes`. Yields a function of (done, total), to be called
    as work goes on; when all is done, what comes `afterwards` takes a while of which nothing is known."""
    if not sys.stderr.isatty() or parent_process() is not None:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if afterwards and done == total:
                bar.update(task, visible=False)
                bar.add_task(afterwards, total=None)

        yield report


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many others, which end at once if this one is interrupted."""
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    try:
        yield pool
    except BaseException:
        for child in active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(name: str) -> torch.device:
    """The device of that name, if it is there."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device is {name!r}; allowed: cpu, cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device is {name!r}, but this machine has no CUDA device; allowed: cpu")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device is {name!r}; allowed: cpu, cuda")
    return device


def check_seed(seed: int) -> None:
    """Make sure that every random generator takes it."""
    if not 0 <= seed < 2**31:
        raise ValueError(f"--seed is {seed}; allowed: 0 to {2**31 - 1}")


def check_folder(folder: Path, option: str = "--out") -> None:
    """Make sure, before training, that the folder can be made and written into; leave nothing behind."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(
            f"{option} is {str(folder)!r}: cannot write there, {existing} is no folder to write into; allowed: a folder"
        )


def make_folder(folder: Path, option: str = "--out") -> None:
    """Make sure that the folder is there and can be written into."""
    check_folder(folder, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{option} is {str(folder)!r}: {error.strerror}; allowed: a folder to write into") from None
