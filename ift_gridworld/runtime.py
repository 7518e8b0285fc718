"""The machine: devices, cores, worker processes, and progress bars while a person watches."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    import torch

__all__ = ["cores", "is_out_of_memory", "loading", "one_thread", "pick_device", "processes", "progress"]


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch says so by a RuntimeError, of the processor's memory or of a device's."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in ("out of memory", "allocate memory"))


@contextmanager
def progress(description: str, afterwards: str = "") -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal or in a notebook, nothing in a pipe or in a worker process.

    Args:
        description: of the work.
        afterwards: what follows when all is done and takes a while of which nothing is known.

    Yields:
        A function of (done, total), to be called as work goes on.
    """
    if parent_process() is None and _in_notebook():
        with _notebook_bar(description) as report:
            yield report
        return
    if parent_process() is not None or not _is_terminal(sys.stderr):
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


def _is_terminal(stream: Any) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def _notebook_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar in the cell's output, redrawn at most ten times a second, gone when the work is done."""
    from html import escape
    from time import monotonic

    from IPython.display import HTML, display

    handle = display(HTML(f"{escape(description)} …"), display_id=True)
    drawn = 0.0

    def report(done: int, total: int) -> None:
        nonlocal drawn
        if monotonic() - drawn > 0.1 or done == total:
            drawn = monotonic()
            bar = f"<progress value='{done}' max='{total}'></progress>"
            handle.update(HTML(f"{escape(description)} {bar} {done} of {total}"))

    try:
        yield report
    finally:
        handle.update(HTML(""))


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


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: tensors here are small, and a second thread waits, spinning, longer than it computes.

    On a machine with other work to do, that waiting was measured to cost a hundredfold.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
