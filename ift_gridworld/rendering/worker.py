"""Drawing in a process of its own: matplotlib loads while torch does, and one run is drawn while the next is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ift_gridworld.children import GRACE
from ift_gridworld.plugins import loaded_plugins

if TYPE_CHECKING:
    from ift_gridworld.training.run import Run

__all__ = ["RenderWorker", "draw_files"]

# What the process runs, isolated (`python -I`) from the current folder, from the script's folder and from PYTHONPATH, where a
# user's random.py or matplotlib.py may lie. It loads this very package by its folder, not by name, whether it is installed or
# not. Other folders of the import path are looked at last, so that nothing in them shadows what is installed.
_PROGRAM = """
import os, sys
from importlib.util import module_from_spec, spec_from_file_location
parent, folder, *paths = sys.argv[1:]
sys.path += [path for path in paths if path not in sys.path]
spec = spec_from_file_location("ift_gridworld", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
sys.modules["ift_gridworld"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["ift_gridworld"])
from ift_gridworld.rendering.__main__ import serve
serve(int(parent))
"""
# Matplotlib as it is delivered: no backend that a notebook has set for itself, and no matplotlibrc of the user's. (One in the
# current folder would be read too, so that the process starts in another.)
_MATPLOTLIB = {"MPLBACKEND": "Agg", "MATPLOTLIBRC": os.devnull}


class RenderWorker:
    """Draws saved runs, one at a time and in order, in another process.

    Nothing is shared with that process but the files of saved runs. As a context, the process ends with the block; if the
    block fails, it stops at once. If this process ends in any other way, so does that one.

    Example (writes two files)::

        with RenderWorker() as worker:
            worker.draw([Path("ift.json")], Path("ift.gif"), "light")
            for picture in worker.pictures():
                print(picture)
    """

    def __init__(self) -> None:
        package = Path(__file__).resolve().parents[1]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, str(os.getpid()), str(package), *_import_path()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | _MATPLOTLIB,
            cwd=package,
            text=True,
            start_new_session=True,  # an interrupt at the keyboard is ours to handle
        )
        self._pending: deque[Path] = deque()

    def draw(self, runs: Sequence[Path], picture: Path, theme: str = "light", **options: Any) -> None:
        """Order a picture of saved runs; `pictures` tells when it is drawn.

        Args:
            runs: files of saved runs: one is drawn by itself, several side by side.
            picture: where to write; its suffix says what kind of picture it is. Like the runs, a relative path starts at
                the current folder of the caller.
            theme: a name in THEMES.
            options: further arguments of `pictures.save_film`.

        Raises:
            ValueError: if the process has ended, with its last words.
        """
        assert self._process.stdin is not None
        order = [[str(run) for run in runs], str(picture), theme, options, os.getcwd(), loaded_plugins()]
        try:
            print(json.dumps(order), file=self._process.stdin, flush=True)
        except OSError:  # a broken pipe
            raise ValueError(self._last_words()) from None
        self._pending.append(picture)

    def pictures(self) -> Iterator[Path]:
        """Yield the pictures ordered, each as soon as it is drawn.

        Raises:
            ValueError: with the reason, if a picture could not be drawn; with the process's last words, if it has ended.
        """
        assert self._process.stdout is not None
        while self._pending:
            picture = self._pending.popleft()
            line = self._process.stdout.readline()
            if not line.endswith("\n"):
                raise ValueError(self._last_words())
            error = json.loads(line)
            if error is not None:
                raise ValueError(error)
            yield picture

    def _stop(self) -> None:
        """End the process before its work is done; it removes what it has half written."""
        self._process.terminate()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _last_words(self) -> str:
        """Return the reason why the process has ended: the last line that it wrote to stderr."""
        self._process.kill()  # in case it only closed its output
        status = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").split("\n")
        words = next((line.strip() for line in reversed(lines) if line.strip()), f"no message, exit status {status}")
        return f"the drawing process ended early: {words}"

    def __enter__(self) -> RenderWorker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._stop()
        self._process.communicate()
        if kind is None:  # warnings, if there are any
            self._stderr.seek(0)
            sys.stderr.write(self._stderr.read().decode(errors="replace"))
        self._stderr.close()


def _import_path() -> list[str]:
    """Folders that this process imports from, without the current one and that of the script."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    excluded = {Path.cwd(), *([Path(script).resolve().parent] if script else [])}
    return [os.path.abspath(entry) for entry in sys.path if entry and Path(entry).resolve() not in excluded]


@lru_cache(maxsize=16)  # a run is drawn by itself and again beside others: what is computed for one picture serves both
def _load(run: Path, absolute: Path, written: int) -> Run:
    """Load the saved run that was written at that time, in nanoseconds."""
    from ift_gridworld.training.run import Run

    return Run.load(run)


def draw_files(runs: Sequence[Path], picture: Path, theme: str = "light", **options: Any) -> Path:
    """Draw saved runs in this process: one by itself, several side by side.

    Args:
        runs: files of saved runs.
        picture: where to write; its suffix says what kind of picture it is.
        theme: a name in THEMES; a page has all of them.
        options: further arguments of `pictures.save_film`.

    Returns:
        The path of the picture.

    Raises:
        ValueError: if a file is no saved run, or the runs cannot be drawn so.
        OSError: if the picture cannot be written.

    Example (writes two files)::

        draw_files([Path("sft.json"), Path("ift.json")], Path("sft-ift.gif"), "dark")
    """
    from ift_gridworld.rendering.pictures import save_film

    loaded = [_load(run, run.absolute(), run.stat().st_mtime_ns if run.exists() else 0) for run in runs]
    return save_film(loaded, picture, theme, **options)
