"""The whole reproduction: run it, or one setting or claim of it, and write its tables, findings and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.table import Table

from ift_gridworld.checks import check_choice
from ift_gridworld.escape import one_line
from ift_gridworld.evaluation.metrics import MEASURES
from ift_gridworld.reading import naming, parse_json, read_as, read_text, shown
from ift_gridworld.rendering.tables import written
from ift_gridworld.runtime import console, progress
from ift_gridworld.storage import versions, write_atomically
from ift_gridworld.studies.claim_tables import table_of_claims, table_of_setting
from ift_gridworld.studies.claims import CLAIMS
from ift_gridworld.studies.lakes import parse_number, read_maps
from ift_gridworld.studies.measures import OWN_MEASURES
from ift_gridworld.studies.parts import StudyPart, collect_tables, run_parts
from ift_gridworld.studies.quotes import quote_in
from ift_gridworld.studies.reproduction.catalogue import STUDIES, claims_arguments, claims_parts, study_parts
from ift_gridworld.studies.reproduction.design import METHODS, StudyScope, seeds_for
from ift_gridworld.studies.reproduction.figures import draw_figures
from ift_gridworld.studies.reproduction.findings import findings, saved_correlations
from ift_gridworld.studies.results import settings_table
from ift_gridworld.studies.running import run_setting
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns, concatenate_tables, load_table, write_table
from ift_gridworld.studies.verdicts import judge_claims

__all__ = [
    "SavedTables", "StudyScope", "answer", "check_choices", "load_study", "quote", "redraw", "report", "run_study", "show"
]  # fmt: skip

SavedTables = Mapping[str, tuple[Columns, dict[str, Any]]]
"""A study's tables by name, each with what made it."""


def check_choices(setting: str | None, claim: str | None, maps: Path | None) -> None:
    """Raise a ValueError for a setting, a claim or a file of maps that cannot be run."""
    if claim is not None:
        check_choice("--claim", claim, CLAIMS)
    if setting is not None:
        _ = Setting.parse(setting).lakes
    if maps is not None:
        read_maps(maps)


# ---- one setting, or one claim ----


def answer(scope: StudyScope, setting: str | None, claim: str | None, pool: Executor) -> Table:
    """Run what is needed for one setting, one claim, or both; return the verdicts, save nothing."""
    claims = list(CLAIMS.values()) if claim is None else [CLAIMS[claim]]
    methods = [m for m in METHODS if any(m in (one.first, one.second) for one in claims)]
    parts = [part for part in claims_parts(scope, methods) if setting in (None, part.name)]
    if not parts:  # a setting that the design has not drawn
        assert setting is not None
        parsed = Setting.parse(setting)
        arguments = claims_arguments(parsed, methods, seeds_for(parsed, scope.seeds), scope.seed)
        parts = [StudyPart("claims", parsed.name, 1.0, run_setting, arguments)]
    tables: list[Columns] = []
    with progress("settings") as report:
        for columns in pool.map(StudyPart.rows, parts):
            tables.append(columns)
            report(len(tables), len(parts))
    columns = _as_saved(concatenate_tables(tables))
    pooled, by_setting = judge_claims(settings_table(columns), claims)
    return table_of_setting(by_setting) if len(parts) == 1 else table_of_claims(pooled)


def _as_saved(columns: Columns) -> Columns:
    """Round to the digits that a file keeps, so that a row run alone is the row of the table."""
    with TemporaryDirectory() as folder:
        return load_table(write_table(columns, Path(folder) / "table.csv", {}))[0]


# ---- the whole study ----


def run_study(scope: StudyScope, settings: Mapping[str, Any], folder: Path, pool: Executor) -> SavedTables:
    """Run all parts that are not saved yet and write a table for each kind of them.

    Args:
        scope: how large a study is.
        settings: of the command, kept with each table.
        folder: where parts and tables are saved.
        pool: worker processes (`cluster.worker_pool`).
    """
    parts = study_parts(scope)
    run_parts(parts, folder, pool)
    saved = {}
    for study, columns in collect_tables(parts, folder).items():
        about = {"study": study, "settings": dict(settings), "versions": versions()}
        write_table(columns, folder / f"{study}.csv.gz", about)
        saved[study] = columns, about
    return saved


VERDICTS = ("claims_pooled.csv", "claims_by_setting.csv.gz")  # over all settings, and of each
SETTING = tuple(field.name for field in fields(Setting))
TEXT = (*SETTING[:-1], "lake", "method", "checkpoint", "form", "prediction", "embedding")
NUMBERS = (SETTING[-1], "seed", "rate", "beta", "on_edge", "mixing", "decay", "tile", "shown", *MEASURES, *OWN_MEASURES)
COLUMNS = {  # that a study's table must have; those of a table of settings stand last
    "policies": ("method", "tile", "shown"),
    "ablation": ("form", "prediction", "embedding", "mixing", "decay"),
    "": (*SETTING, "lake", "seed", "method", "rate", "checkpoint"),
}


def load_study(folder: Path) -> SavedTables:
    """Read the tables of a finished run; raise a ValueError if there are none, or one is not what a run writes."""
    saved = _load_tables(folder)
    if "claims" not in saved:
        raise ValueError(f"--redraw: {folder / 'claims.csv.gz'} is not there; allowed: the --out of a finished run")
    return saved


def _load_tables(folder: Path) -> SavedTables:
    """Read the tables that there are."""
    saved = {}
    for study in STUDIES:
        path = folder / f"{study}.csv.gz"
        if path.exists():
            saved[study] = load_table(path)
            with naming(path, "a table of the study"):
                _check_table(study, saved[study][0])
    return saved


def _check_table(study: str, columns: Columns) -> None:
    """Raise a ValueError unless a table has its columns, text and numbers where they are meant, and settings that there are."""
    for name in (*COLUMNS.get(study, ()), *(() if study == "policies" else COLUMNS[""])):
        if name not in columns:
            raise ValueError(f"it has no column {name!r}")
    if not len(columns["method"]):
        raise ValueError("it has no rows; run the study again")
    for name, cells in columns.items():
        if name in TEXT and cells.dtype != object:
            raise ValueError(f"column {name} holds {shown(cells[0])}; allowed: names")
        if (name in NUMBERS or name.startswith("T(")) and cells.dtype == object:
            wrong = next(cell for cell in cells if cell and not np.isfinite(parse_number(cell)))
            raise ValueError(f"column {name} holds {shown(wrong)}; allowed: numbers")
    if study != "policies":
        if not np.isfinite(columns["demonstrations"]).all():
            raise ValueError("column demonstrations has an empty cell; allowed: numbers")
        settings_table(columns)


def redraw(folder: Path, theme: str) -> tuple[Table, list[Path]]:
    """Report what a finished run has saved, as `report`; of a published one, which keeps no rows of single lakes, draw figures.

    Raises:
        ValueError: for tables that are not those of a finished run.
    """
    is_published = not (folder / "claims.csv.gz").exists() and (folder / VERDICTS[1]).exists()
    saved = _load_tables(folder) if is_published else load_study(folder)
    try:
        return _draw_published(saved, folder, theme) if is_published else report(saved, folder, theme)
    except (LookupError, ValueError) as error:  # each claim and figure looks up the rows that it compares
        raise ValueError(f"the tables in {folder} are not whole ({one_line(error)}); run the study again") from error


def report(saved: SavedTables, folder: Path, theme: str) -> tuple[Table, list[Path]]:
    """Write the verdicts, the findings and the figures; return the verdicts as a table, and the paths."""
    tables = {study: columns for study, (columns, _) in saved.items()}
    about = json.loads(json.dumps(saved["claims"][1], sort_keys=True))  # as it reads from a file
    settings = settings_table(tables["claims"])
    pooled, by_setting = judge_claims(settings, list(CLAIMS.values()))
    paths = [
        write_table(pooled, folder / VERDICTS[0], about),
        write_table(by_setting, folder / VERDICTS[1], about),
    ]
    numbers = findings(tables, settings, pooled)
    content = json.dumps({"findings": numbers, **about}, indent=1, allow_nan=False)
    paths.append(write_atomically(folder / "findings.json", f"{content}\n".encode()))
    paths += draw_figures(tables, settings, (pooled, by_setting), saved_correlations(numbers), folder, theme)
    return table_of_claims(pooled), paths


def _draw_published(saved: SavedTables, folder: Path, theme: str) -> tuple[Table, list[Path]]:
    """Draw the figures that published verdicts, findings and tables are enough for; return the verdicts, and the paths."""
    pooled, by_setting = (load_table(folder / name)[0] for name in VERDICTS)
    path = folder / "findings.json"
    with naming(path, "findings of the study"):
        numbers = read_as(
            dict[str, Any], read_as(dict[str, Any], parse_json(read_text(path)), "it").get("findings"), "findings"
        )
    tables = {study: columns for study, (columns, _) in saved.items()}
    paths = draw_figures(tables, None, (pooled, by_setting), saved_correlations(numbers), folder, theme)
    return table_of_claims(pooled), paths


def quote(folder: Path, page: Path) -> Path:
    """Write the numbers that a page quotes of a folder's findings anew; return the page's path."""
    numbers = json.loads((folder / "findings.json").read_text(encoding="utf-8"))["findings"]
    return quote_in(page, numbers)


def show(table: Table, paths: list[Path] | None = None) -> None:
    """Print a table of verdicts, and the paths of the files written."""
    console().print(table)
    if paths:
        print(written(paths))
