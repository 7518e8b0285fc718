"""The machine: devices, cores, worker processes, and progress bars while a person watches."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    import torch


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
