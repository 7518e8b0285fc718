"""The machine: devices, cores, and progress bars while a person watches."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any

from ift_gridworld._stop import at_once

if TYPE_CHECKING:
    import torch

__all__ = ["cores", "loading", "pick_device", "progress", "standard_settings"]


@contextmanager
def loading() -> Iterator[None]:
    """Import large packages without collecting garbage: what they make stays, and looking through it costs a third of the
    time that importing torch takes."""
    gc.disable()
    try:
        with at_once():
            yield
    finally:
        gc.freeze()
        gc.enable()


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
def standard_settings(threads: int | None = 1) -> Iterator[None]:
    """Run with the settings of NumPy and torch that a fresh process has; the caller's are restored at the end.

    What trains, measures or draws data runs so, as a context or decorated with it: the caller's default dtype or device,
    `no_grad`, `inference_mode`, `autocast` or `seterr` would change its numbers or stop it. The losses obey the caller.

    Args:
        threads: number of torch's threads; None for the caller's. Where tensors are small, a second thread waits, spinning,
            longer than it computes: on a machine with other work to do, that was measured to cost a hundredfold.
    """
    import numpy as np
    import torch

    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        if threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if torch.get_default_device().type != "cpu":  # each call of torch costs more in such a context
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
