"""Child processes: isolated from what lies in the current folder, and gone when their parent is, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children, parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

__all__ = ["GRACE", "end_with", "left_by", "processes", "run_script"]

GRACE = 5.0  # seconds that a process has to clean up before it is ended for good
_SAFE_PATH = "PYTHONSAFEPATH"  # as a variable: `multiprocessing` passes no option that its own process was not given
# What a script's process runs (`python -P`, without the current folder): its parent's number, the script, and its arguments.
_SCRIPT = """
import runpy, sys
parent, sys.argv = int(sys.argv[1]), sys.argv[2:]
from ift_gridworld.children import end_with, left_by
end_with(left_by(parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def end_with(wait: Callable[[], object]) -> None:
    """End this process when `wait` returns: by SIGTERM, so that it can clean up, and for good after `GRACE` seconds."""

    def watch() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def left_by(parent: int) -> Callable[[], None]:
    """Return a function that returns when the process of that number, which has started this one, has ended (on POSIX)."""

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)

    return wait


def run_script(script: str | os.PathLike[str], arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a script of Python to its end, in a process that ends with this one and does not hear the keyboard.

    An exception, such as an interrupt, waits until the script has cleaned up.

    Returns:
        What it printed and its exit status.
    """
    command = [sys.executable, "-P", "-c", _SCRIPT, str(os.getpid()), str(script), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace", start_new_session=True
    ) as child:
        try:
            output, errors = child.communicate()
        except BaseException:
            child.terminate()
            raise
    return subprocess.CompletedProcess(command, child.returncode, output, errors)


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of `count` worker processes, which end at once if this one is interrupted or ends in any other way."""
    from concurrent.futures import ProcessPoolExecutor

    with _safe_path():
        pool = ProcessPoolExecutor(count, mp_context=_Context())
    try:
        yield pool
    except BaseException:
        for child in active_children():
            if isinstance(child, _Worker):
                child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker(SpawnProcess):
    """A worker process. Of an interrupt at the keyboard its parent hears alone, and decides."""

    def start(self) -> None:
        with _safe_path(), _signals_held_back():
            super().start()

    def run(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        parent = parent_process()
        assert parent is not None
        end_with(parent.join)
        super().run()


class _Context(SpawnContext):
    Process = _Worker


_HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Start a process that hears no signal before it is set up, and has been sent what it needs before this one hears any."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _HELD_BACK}
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)  # a new process inherits the mask, but no handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        for number, handler in before.items():
            signal.signal(number, handler)
        for received in came:
            signal.raise_signal(received)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Start Python without the current folder on its import path, where a random.py of the user's may lie."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before
