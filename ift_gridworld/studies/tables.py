"""Tidy tables of a study: columns in memory, CSV files on disk."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ift_gridworld.evaluation.metrics import MEASURES
from ift_gridworld.reading import as_text, inflate, naming, parse_json, read_as, read_bytes, shown
from ift_gridworld.storage import write_atomically
from ift_gridworld.studies.measures import OWN_MEASURES

__all__ = ["Columns", "concatenate_tables", "load_table", "select", "write_table"]

DIGITS = 7  # significant digits of saved numbers

Columns = dict[str, np.ndarray]
"""A table: each column's name and its values, one a row."""


def concatenate_tables(tables: Sequence[Columns], only: Sequence[str] | None = None) -> Columns:
    """Return the rows of all tables in one table; a measure that a table lacks is NaN there, a label is empty."""
    names = [n for n in (*MEASURES, *OWN_MEASURES) if any(n in t for t in tables) and (only is None or n in only)]
    labels = [n for n in dict.fromkeys(n for t in tables for n in t) if n not in (*MEASURES, *OWN_MEASURES)]
    sizes = [len(next(iter(table.values()))) for table in tables]
    columns = {
        n: np.concatenate([t.get(n, np.full(s, "", object)) for t, s in zip(tables, sizes, strict=True)]) for n in labels
    }
    for name in names:
        columns[name] = np.concatenate([t.get(name, np.full(s, np.nan)) for t, s in zip(tables, sizes, strict=True)])
    return columns


def write_table(columns: Columns, path: Path, about: Mapping[str, object]) -> Path:
    """Save as CSV, gzipped if the name ends in .gz: a comment line that says what made it, a header, one row a line.

    Numbers have `DIGITS` significant digits, NaN is an empty field. Complete or not at all; the same table, the same bytes.
    """
    text = io.StringIO()
    text.write(f"# {json.dumps(about, sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_field(x) for x in column] for column in columns.values()), strict=True))
    content = text.getvalue().encode(errors="backslashreplace")  # a file of maps may have a name that is no UTF-8
    return write_atomically(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _field(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)


def load_table(path: str | Path) -> tuple[Columns, dict[str, Any]]:
    """Read what `write_table` wrote: the columns (numbers where a column holds nothing else) and what made it.

    Raises:
        ValueError: if the file is not such a table.
    """
    with naming(path, "a saved table"):
        content = read_bytes(path)
        text = as_text(inflate(content) if Path(path).suffix == ".gz" else content)
        first, _, rows = text.partition("\n")
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off")
        about = read_as(dict[str, Any], parse_json(first.removeprefix("# ")), "its first line")
        reader = csv.reader(io.StringIO(rows, newline=""))
        lines: list[list[str]] = []
        try:
            header = next(reader, [])
            if not header or len(set(header)) < len(header):
                raise ValueError(f"its header is {shown(header)}; allowed: different names")
            for line in reader:
                if len(line) != len(header):
                    raise ValueError(f"row {len(lines) + 1} has {len(line)} cells; allowed: {len(header)}, as its header names")
                lines.append(line)
        except csv.Error as error:
            raise ValueError(f"its rows are no CSV ({error})") from None
        columns = zip(*lines, strict=True) if lines else [()] * len(header)
        return {name: _column(cells) for name, cells in zip(header, columns, strict=True)}, about


def _column(cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(cells, object)


def select(columns: Columns, keep: Bool[np.ndarray, " R"] | Int[np.ndarray, " R"]) -> Columns:
    """Return some of the rows."""
    return {name: column[keep] for name, column in columns.items()}
