"""The machine: standard streams, devices, cores, and progress bars while a person watches."""

from __future__ import annotations

import gc
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, TextIO, cast

from ift_gridworld._stop import at_once
from ift_gridworld.escape import one_line

if TYPE_CHECKING:
    import torch
    from rich.console import Console

__all__ = [
    "LOG", "console", "cores", "device_name", "is_out_of_memory", "is_terminal", "loading", "optional", "pick_device",
    "progress", "safe_streams", "standard_settings",
]  # fmt: skip

LOG = logging.getLogger(__name__)


@contextmanager
def optional(consequence: str) -> Iterator[None]:
    """Go on where something that is only a convenience fails, such as a cache; a warning of one line says so.

    Args:
        consequence: what is done without, as the warning begins.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        LOG.warning("%s: %s", consequence, one_line(error))


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


class _SafeStream:
    """A standard stream that never stops the work: characters that it cannot encode are replaced, and what cannot be written
    is dropped.

    Args:
        stream: any object with `write`; None, or a closed stream, takes everything and shows nothing.

    Attributes:
        lost: why something was dropped, if it was.
    """

    def __init__(self, stream: Any) -> None:
        self.lost: Exception | None = None
        self._stream = _nowhere() if stream is None or getattr(stream, "closed", False) else stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return is_terminal(self._stream)

    def write(self, text: str) -> int:
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        except (OSError, ValueError) as error:  # ValueError: closed by now
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        try:
            getattr(self._stream, "flush", lambda: None)()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        """Write nowhere from now on."""
        self.lost, nowhere = error, _nowhere()
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere.fileno(), self._stream.fileno())  # what is buffered would fail again when the interpreter ends
        self._stream = nowhere


def _nowhere() -> Any:
    return open(os.devnull, "w", encoding="utf-8")


@contextmanager
def safe_streams() -> Iterator[None]:
    """Run a command with a standard output and a standard error that cannot fail.

    A reader that stops reading, as `head` does, a full disk, or a character that the encoding lacks do not stop the command.

    Raises:
        SystemExit: after a command that succeeded, if its output was lost: with 141 for a broken pipe, as a shell has it, else
            with 2 and one line that says why.
    """
    before, leaving = (sys.stdout, sys.stderr), None
    output, errors = _SafeStream(sys.stdout), _SafeStream(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    try:
        try:
            yield
        except SystemExit as error:
            leaving = error
        output.flush()
        if output.lost is not None and (leaving is None or not leaving.code):
            if isinstance(output.lost, BrokenPipeError):
                raise SystemExit(141)
            reason = getattr(output.lost, "strerror", None) or output.lost
            print(f"error: standard output: {reason}; what was printed is lost, files are written", file=errors)
            raise SystemExit(2)
        if leaving is not None:
            raise leaving
    finally:
        errors.flush()
        sys.stdout, sys.stderr = before


def is_terminal(stream: Any) -> bool:
    """Return whether a person sees what is written to a stream; a closed one, or one that cannot tell, is no terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def console() -> Console:
    """Return a console for standard output that takes strings as text, not as markup.

    On a terminal it is as wide as that, in a pipe wide enough for every table.
    """
    from rich.console import Console

    if is_terminal(sys.stdout):
        return Console(markup=False, emoji=False)
    return Console(width=132, no_color=True, markup=False, emoji=False)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, the processor's or a device's; torch raises a RuntimeError for it."""
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
    if parent_process() is not None or not is_terminal(sys.stderr):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if afterwards and done == total:
                bar.update(task, visible=False)
                bar.add_task(afterwards, total=None)

        yield report


def _in_notebook() -> bool:
    """Return whether this process is a notebook's kernel."""
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
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(name: str) -> str:
    """Return what a device, cpu or cuda, is: the processor with its cores, or the name of the card."""
    if name != "cpu":
        import torch

        return torch.cuda.get_device_name(torch.device(name))
    return f"{platform.processor() or platform.machine()}, {cores()} cores"


def pick_device(name: str) -> torch.device:
    """Return the device of that name, if it is there."""
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
