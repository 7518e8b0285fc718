"""Runs of a language study, each saved by the caller as it comes back from a worker, so that a resumed study reads it again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ift_gridworld.language.answers import ANSWERS, load_answers, save_answers
from ift_gridworld.reading import naming, parse_json, read_as, read_text
from ift_gridworld.storage import make_folder, versions, write_atomically
from ift_gridworld.studies.language_settings import LanguageRun, SavedRun, StudySettings, needs_entropy
from ift_gridworld.training.run import Run

__all__ = ["load_part", "save_part"]

FREE = ("methods", "seeds", "workers", "cluster", "resume", "out", "save")  # settings that change no run
FILM = ".film.json"


def save_part(settings: StudySettings, seed: int, name: str, run: LanguageRun) -> None:
    """Save the run of one method on one seed; its film and its answers, where it has them, lie in files beside it."""
    path = _path(settings, seed, name)
    make_folder(path.parent)
    if "film" in run:
        run["film"].save(path.with_suffix(FILM))
    if "answers" in run:
        folder = path.with_suffix(ANSWERS)
        make_folder(folder)
        save_answers(run["answers"], folder)
    plain = {key: value for key, value in run.items() if key not in ("film", "answers")}
    also = {key: key in run for key in ("film", "answers")}
    content = {"about": _about(settings, seed, name), "run": plain, "also": also}
    write_atomically(path, f"{json.dumps(content)}\n".encode())


def load_part(settings: StudySettings, seed: int, name: str) -> LanguageRun | None:
    """Return what `save_part` has saved, whole and of the same settings and versions; None if there is no such run."""
    path = _path(settings, seed, name)
    try:
        with naming(path, "a run of a language study"):
            content = read_as(dict[str, Any], parse_json(read_text(path)), "it")
            if content.get("about") != _about(settings, seed, name):
                return None
            run, also = (read_as(dict[str, Any], content.get(key), key) for key in ("run", "also"))
            read_as(SavedRun, run, "run")
        if also.get("film"):
            run["film"] = Run.load(path.with_suffix(FILM))
        if also.get("answers"):
            run["answers"] = load_answers(path.with_suffix(ANSWERS) / f"{name}{ANSWERS}")
    except ValueError:
        return None
    return run


def _path(settings: StudySettings, seed: int, name: str) -> Path:
    """Return the file of a run; one on other grids of rates, which may follow, has another."""
    grid = zlib.crc32(repr((settings.learning_rates, settings.betas, settings.extend)).encode())
    return settings.out / "parts" / f"{name}-{seed}-{grid:08x}.json"


def _about(settings: StudySettings, seed: int, name: str) -> Mapping[str, Any]:
    """Return what a run depends on, as it reads from a file."""
    entries: dict[str, Any] = {key: value for key, value in asdict(settings).items() if key not in FREE}
    entries |= {"seed": seed, "method": name, "entropy": needs_entropy(settings, name), "versions": versions(("transformers",))}
    if settings.data is not None:
        entries["data"] = zlib.crc32(read_text(settings.data).encode())
    return json.loads(json.dumps(entries, default=str))
