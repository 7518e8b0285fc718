"""Parts of a study, each run and saved by itself, so that an interrupted study goes on where it was."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ift_gridworld.runtime import progress
from ift_gridworld.storage import make_folder, versions
from ift_gridworld.studies.lakes import lake_maps
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns, concatenate_tables, load_table, write_table

__all__ = ["StudyPart", "collect_tables", "run_parts", "save_part"]


@dataclass(frozen=True)
class StudyPart:
    """A part of a study that is run and saved by itself.

    Attributes:
        study: the table that it belongs to.
        name: its own.
        weight: about how long it takes, in any unit.
        run: makes its rows from `arguments`.
        arguments: of `run`: numbers, text and lists of them; a `Setting` stands for its name.
    """

    study: str
    name: str
    weight: float
    run: Callable[..., Columns]
    arguments: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """Settings that determine the part's rows; a saved part is reused if it has the same."""
        plain = {k: v.name if isinstance(v, Setting) else v for k, v in self.arguments.items()}
        entries: dict[str, Any] = {"study": self.study, "unit": self.name, "arguments": plain, "versions": versions()}
        for setting in self.arguments.values():
            if isinstance(setting, Setting):  # a file of maps may have changed
                entries["lakes"] = zlib.crc32(repr(lake_maps(setting.map)).encode())
        return json.loads(json.dumps(entries))

    def path(self, folder: Path) -> Path:
        """Return the file that it is saved in."""
        readable = re.sub(r"[^\w.-]+", "_", self.name)[:80]
        return folder / "parts" / f"{self.study}-{readable}-{zlib.crc32(self.name.encode()):08x}.csv.gz"

    def is_saved(self, folder: Path) -> bool:
        """Return whether it is saved, whole and with the same arguments."""
        try:
            return load_table(self.path(folder))[1] == self.about
        except ValueError:
            return False

    def rows(self) -> Columns:
        """Run it."""
        return self.run(**self.arguments)


def save_part(part: StudyPart, columns: Columns, folder: Path) -> None:
    """Save the rows of a part."""
    write_table(columns, part.path(folder), part.about)


def run_parts(parts: Sequence[StudyPart], folder: Path, pool: Executor) -> None:
    """Run the parts that are not saved yet, the longest first; save each as soon as its rows come back from the pool."""
    make_folder(folder / "parts")
    waiting = sorted((part for part in parts if not part.is_saved(folder)), key=lambda part: -part.weight)
    with progress("parts") as report:
        report(len(parts) - len(waiting), len(parts))
        running = {pool.submit(StudyPart.rows, part): part for part in waiting}
        for finished in as_completed(running):
            save_part(running.pop(finished), finished.result(), folder)
            report(len(parts) - len(running), len(parts))


def collect_tables(parts: Sequence[StudyPart], folder: Path) -> dict[str, Columns]:
    """Return the studies' tables, put together from saved parts."""
    tables: dict[str, list[Columns]] = {}
    for part in parts:
        tables.setdefault(part.study, []).append(load_table(part.path(folder))[0])
    return {study: concatenate_tables(each) for study, each in tables.items()}
