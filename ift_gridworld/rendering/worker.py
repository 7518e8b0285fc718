"""Drawing in a process of its own: matplotlib loads while torch does, and one run is drawn while the next is trained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ift_gridworld.training.run import Run


class RenderWorker:
    """Has saved runs drawn, one at a time and in order, by `python -m ift_gridworld.rendering`.

    Nothing is shared with that process but the files of saved runs. As a context, it ends with the block.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ift_gridworld.rendering"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # an interrupt at the keyboard is ours to handle
        )
        self._ordered = 0

    def draw(self, runs: Sequence[Path], picture: Path, theme: str) -> None:
        """Order saved runs drawn to the file `picture`, whose suffix says what kind of picture it is."""
        assert self._process.stdin is not None
        print(json.dumps([[str(run) for run in runs], str(picture), theme]), file=self._process.stdin, flush=True)
        self._ordered += 1

    def pictures(self) -> Iterator[Path]:
        """The pictures ordered, each as soon as it is drawn.

        Raises:
            ValueError: with the reason, if one could not be drawn.
        """
        assert self._process.stdout is not None
        while self._ordered:
            self._ordered -= 1
            answer = json.loads(self._process.stdout.readline() or '{"error": "the drawing process ended early"}')
            if "error" in answer:
                raise ValueError(answer["error"])
            yield Path(answer["picture"])

    def __enter__(self) -> RenderWorker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()


@lru_cache(maxsize=16)  # a run is drawn by itself and again beside others: what is computed for one picture serves both
def _loaded(run: Path, written: int) -> Run:
    """The saved run as it was written at that time."""
    from ift_gridworld.training.run import Run

    return Run.load(run)


def draw(runs: Sequence[Path], picture: Path, theme: str) -> Path:
    """Draw saved runs, here: one by itself, several side by side."""
    loaded = [_loaded(run, run.exists() and run.stat().st_mtime_ns) for run in runs]
    if picture.suffix == ".html":
        from ift_gridworld.rendering.page import save_page

        return save_page(loaded, picture)
    if len(loaded) > 1:
        from ift_gridworld.rendering.comparison import ComparisonFilm

        return ComparisonFilm(loaded, theme).save(picture)
    from ift_gridworld.rendering.method_film import MethodFilm

    return MethodFilm(loaded[0], theme).save(picture)
