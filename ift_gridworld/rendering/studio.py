"""Drawing in a process of its own: matplotlib loads while torch does, and one run is drawn while the next is trained."""

from __future__ import annotations

from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType


class Studio:
    """Draws saved runs, one at a time and in order. As a context, it waits for what is still being drawn.

    The process is started at once and loads what it needs; nothing is shared with it but the files of saved runs.
    """

    def __init__(self) -> None:
        # Spawned, not forked: a fork would carry torch's threads along.
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._pool.submit(_prepare)

    def draw(self, record: Path, picture: Path, theme: str) -> Future[Path]:
        """Draw the saved run `record` to the file `picture`, whose suffix says what kind of picture it is."""
        return self._pool.submit(draw, record, picture, theme)

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)


def draw(record: Path, picture: Path, theme: str) -> Path:
    """Draw a saved run, here."""
    from ift_gridworld.records import Record
    from ift_gridworld.rendering.film import MethodFilm

    return MethodFilm(Record.load(record), theme).save(picture)


def _prepare() -> None:
    import ift_gridworld.rendering.film  # noqa: F401
