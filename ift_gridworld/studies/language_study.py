"""A study of language models: every method on every seed, in worker processes or in those of a launcher, and its files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ift_gridworld.checks import read_variable
from ift_gridworld.cluster import worker_pool
from ift_gridworld.language.answers import save_answers
from ift_gridworld.language.controls import find_method
from ift_gridworld.language.data import write_rows
from ift_gridworld.language.distributed import ProcessGroup
from ift_gridworld.language.models import load_model
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.runtime import cores, device_name, progress
from ift_gridworld.storage import make_folder, versions, write_atomically
from ift_gridworld.studies.language_parts import load_part, save_part
from ift_gridworld.studies.language_seed import SeedStudy
from ift_gridworld.studies.language_settings import LanguageRun, StudySettings, saved_settings

__all__ = ["export_data", "run_study", "save_runs"]

Part = tuple[int, str]  # a seed and a method


def run_study(settings: StudySettings) -> list[LanguageRun]:
    """Run every method on every seed; with both SFT and IFT also SFT at the temperature that gives it IFT's entropy.

    All seeds of a method choose from the same learning rates: what one seed has tried beyond the grid, the others try, too.

    Returns:
        The runs, in the order of seeds and methods; on a launcher's processes other than the first, none.
    """
    make_folder(settings.out)
    seeds = range(settings.task.seed, settings.task.seed + settings.seeds)
    parts = [(seed, name) for seed in seeds for name in settings.methods]
    workers = settings.workers or (cores() if settings.model == "tiny" and settings.device == "cpu" else 1)
    if settings.cluster is None and (min(workers, len(parts)) == 1 or read_variable("WORLD_SIZE", 0)):
        done = {part: _run(settings, *part) for part in parts}
        done |= {part: _run(common, *part) for part, common in _on_common_grids(settings, done).items()}
        tempered = [_temper(settings, *pair) for pair in _pairs_to_temper(done)]
    else:
        done, tempered = _run_in_workers(settings, parts, workers)
    if ProcessGroup.join(settings.device).rank:
        return []
    return [done[part] for part in parts] + tempered


def _run_in_workers(
    settings: StudySettings, parts: Sequence[Part], workers: int
) -> tuple[dict[Part, LanguageRun], list[LanguageRun]]:
    """Run each (seed, method) in one of several processes, here or on a cluster, the longest runs first.

    Checkpoints and base models stay on the machine of the worker; a finished run is saved here.
    """
    count = min(workers, len(parts))
    sharing = workers if settings.cluster is None else 1  # on a cluster a worker's environment sets the number of its threads
    with worker_pool(count, settings.cluster) as pool, progress("runs") as report:

        def collect(jobs: Mapping[Part, StudySettings]) -> dict[Part, LanguageRun]:
            kept = settings.resume and settings.save is None  # a run that is read has no model to save
            saved = {part: load_part(job, *part) if kept else None for part, job in jobs.items()}
            done = {part: run for part, run in saved.items() if run is not None}
            waiting = [part for part in jobs if part not in done]
            for base in [pool.submit(_prepare, settings, seed, sharing) for seed in dict.fromkeys(seed for seed, _ in waiting)]:
                base.result()
            waiting.sort(key=lambda part: find_method(part[1])[0].needs == "demonstrations")
            futures = {pool.submit(_run, jobs[part], *part, sharing): part for part in waiting}
            report(len(done), len(jobs))
            for future in as_completed(futures):
                part = futures.pop(future)
                done[part] = future.result()
                save_part(jobs[part], *part, done[part])
                report(len(done), len(jobs))
            return {part: done[part] for part in jobs}

        done = collect(dict.fromkeys(parts, settings))
        done |= collect(_on_common_grids(settings, done))
        tempered = [pool.submit(_temper, settings, *pair, sharing) for pair in _pairs_to_temper(done)]
        return done, [future.result() for future in tempered]


def _on_common_grids(settings: StudySettings, done: Mapping[Part, LanguageRun]) -> dict[Part, StudySettings]:
    """Return the parts that have not tried a rate or beta which another seed of their method has, each with settings to do so.

    They are resumed from their checkpoints, so that only what is new is trained.
    """
    given = {f"{value:g}": value for value in (*settings.learning_rates, *settings.betas)}  # of those that are written short
    again: dict[Part, StudySettings] = {}
    for name in settings.methods:
        tried = {
            part: [set(run.get(scores, ())) for scores in ("validation", "validation_of_beta")]
            for part, run in done.items()
            if part[1] == name
        }
        together = [set().union(*values) for values in zip(*tried.values(), strict=True)]
        rates, betas = (tuple(sorted(given.get(value, float(value)) for value in values)) for values in together)
        common = replace(settings, learning_rates=rates, betas=betas, extend=False, resume=True)
        again |= {part: common for part, own in tried.items() if own != together}
    return again


def _pairs_to_temper(done: Mapping[Part, LanguageRun]) -> list[tuple[LanguageRun, LanguageRun]]:
    """Return the runs of SFT, each with that of IFT on its seed."""
    return [(run, done[seed, "ift"]) for (seed, name), run in done.items() if name == "sft" and (seed, "ift") in done]


def _prepare(settings: StudySettings, seed: int, workers: int) -> None:
    _seed_study(settings, seed, workers)


def _run(settings: StudySettings, seed: int, name: str, workers: int = 1) -> LanguageRun:
    return _seed_study(settings, seed, workers).align(name)


def _temper(settings: StudySettings, sft: LanguageRun, ift: LanguageRun, workers: int = 1) -> LanguageRun:
    return _seed_study(settings, sft["seed"], workers).temper(sft, ift)


@lru_cache(maxsize=1)  # each process prepares a seed once
def _seed_study(settings: StudySettings, seed: int, workers: int = 1) -> SeedStudy:
    if workers > 1:
        torch.set_num_threads(max(1, cores() // workers))
    return SeedStudy(settings, seed, ProcessGroup.join(settings.device))


def save_runs(settings: StudySettings, runs: Sequence[LanguageRun]) -> tuple[list[Path], list[Path]]:
    """Write METHOD.json for each method with its runs, METHOD.film.json and METHOD.answers.json with what its films show.

    Returns:
        Paths of the runs, and paths of the films.
    """
    films = [run["film"].save(settings.out / f"{run['method']}.film.json") for run in runs if "film" in run]
    paths = [save_answers(run["answers"], settings.out) for run in runs if "answers" in run]
    for name in dict.fromkeys(run["method"] for run in runs):
        content: dict[str, Any] = {
            "method": name,
            "settings": saved_settings(settings, "sft" if name == "sft_tempered" else name),
            "device": device_name(settings.device),
            "processes": ProcessGroup.join(settings.device).processes,
            "versions": versions(),
            "saved": time.strftime("%Y-%m-%d"),
            "runs": [
                {key: value for key, value in run.items() if key not in ("film", "answers")}
                for run in runs
                if run["method"] == name
            ],
        }
        paths.append(write_atomically(settings.out / f"{name}.json", f"{json.dumps(content)}\n".encode()))
    return paths, films


def export_data(settings: StudySettings, folder: Path) -> list[Path]:
    """Write the lakes of the first seed as files that any trainer reads: demonstrations, pairs and held-out lakes.

    Args:
        settings: the study, of which task and model decide what is written.
        folder: made if it does not exist.
    """
    make_folder(folder, "--export")
    _, model_tokenizer, form = load_model(settings.model)
    tokenizer, task = MoveTokenizer(form, model_tokenizer), settings.task
    return [
        write_rows(folder / "demonstrations.jsonl", task.dataset_rows("maps", tokenizer)),
        write_rows(folder / "pairs.jsonl", task.dataset_rows("maps", tokenizer, pairs=True)),
        write_rows(folder / "held_out.jsonl", task.dataset_rows("held_out", tokenizer)),
    ]
