"""Write the table of the ten methods of the comparison into the README and the pages of the methods.

    python experiments/frozen_lake.py --method core --out runs/core
    python docs/tables.py runs/core

Numbers are read from the saved runs, kept in docs/core.json, and written between comments: nothing is typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = ROOT / "docs" / "core.json"
COLUMNS = {
    "success": "success",
    "success_any_tile": "any tile",
    "chosen_logp": "chosen",
    "kl": "KL",
    "frontier_gap": "frontier gap",
}
DIGITS = {"chosen_logp": 3, "frontier_gap": 3}  # of the others two
Entry = dict[str, list[float]]


def numbers(folder: Path) -> dict[str, Entry]:
    """Read the saved runs: each method's metrics after training as mean, low and high, in the order of the comparison."""
    from ift_gridworld.evaluation import metric_interval
    from ift_gridworld.methods import CORE
    from ift_gridworld.training import Run

    runs = [Run.load(folder / f"{name}.json") for name in CORE]
    table = {"base": {name: _rounded(metric_interval(name, runs[0].metrics[name][0])) for name in COLUMNS}}
    for run in runs:
        table[run.method] = {name: _rounded(metric_interval(name, run.metrics[name][-1])) for name in COLUMNS}
    return table


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]


def cell(column: str, mean: float, low: float, high: float) -> str:
    """Write a mean and its interval, which is left out where both ends round to the mean."""
    digits = DIGITS.get(column, 2)
    texts = [f"{0.0 if abs(x) < 0.5 * 10**-digits else x:.{digits}f}" for x in (mean, low, high)]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def core_table(table: dict[str, Entry]) -> str:
    """Return the table of all methods in Markdown."""
    from ift_gridworld.methods import find_method
    from ift_gridworld.rendering.text import short_title

    lines = ["| method | " + " | ".join(COLUMNS.values()) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    for name, entry in table.items():
        title = "(base)" if name == "base" else short_title(find_method(name).full_title())
        lines.append(f"| {title} | " + " | ".join(cell(column, *entry[column]) for column in COLUMNS) + " |")
    return "\n".join(lines)


def method_table(table: dict[str, Entry], name: str) -> str:
    """Return the numbers of one method beside the base's."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    for label, entry in (("base", table["base"]), ("after training", table[name])):
        lines.append(f"| {label} | " + " | ".join(cell(column, *entry[column]) for column in COLUMNS) + " |")
    return "\n".join(lines)


def filled(text: str, table: dict[str, Entry]) -> str:
    """Return a page with every table between its comments written anew."""

    def replacement(match: re.Match[str]) -> str:
        name = match[2]
        body = core_table(table) if name == "core" else method_table(table, name)
        return f"{match[1]}\n{body}\n{match[3]}"

    return re.sub(r"(<!-- (\w+) table -->)\n.*?(<!-- end of \w+ table -->)", replacement, text, flags=re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that have such tables."""
    return [ROOT / "README.md", ROOT / "docs" / "benchmarks.md", *sorted((ROOT / "docs" / "methods").glob("*.md"))]


def main(folder: Path) -> None:
    """Read the runs and write the tables."""
    table = numbers(folder)
    NUMBERS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    for page in pages():
        page.write_text(filled(page.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
