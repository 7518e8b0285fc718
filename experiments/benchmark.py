"""Measure this project against what its users would pick instead, side by side on one machine.

    pip install -e '.[bench]'
    python experiments/benchmark.py

Each comparison is run in pairs, ours and the peer's in turn, and the median of the pairs' ratios is reported: a machine that is
busy slows both. A peer that is not installed is a row that says so. Prints a table and writes it as a page, README.md, and as
benchmark.json; draws growth.png and growth.pdf, how cost grows with states, seeds and frames.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark_rows import Row, Section, compare

from ift_gridworld.cli.command import fail, launch
from ift_gridworld.runtime import cores, progress
from ift_gridworld.storage import make_folder

if TYPE_CHECKING:
    from benchmark_growth import Growth
    from rich.table import Table


@dataclass(frozen=True)
class Args:
    """The command line."""

    only: str = ""
    """Run only sections whose name contains this; what the others found before stays in benchmark.json."""
    pairs: int = 5
    """How often each comparison is run."""
    theme: str = "light"
    """light, dark: of growth.png."""
    redraw: bool = False
    """Print and draw again what is in benchmark.json, without measuring."""
    out: Path = Path("figures/benchmark")
    """Folder that everything is written to."""


# ---- seeds ----


def seeds(pairs: int) -> list[Callable[[], Row]]:
    """Settings of the reproduction at one learning rate: 64 seeds as one run, against 64 runs of one."""
    from ift_gridworld.studies.running import run_setting
    from ift_gridworld.studies.settings import Setting

    def taken(setting: Setting, count: int) -> float:
        began = time.perf_counter()
        run_setting(setting, seeds=count, rates=(setting.common_rate,))
        return time.perf_counter() - began

    def of(name: str) -> Callable[[], Row]:
        setting = Setting.parse(name)
        once = "64 times one seed"
        return lambda: compare(
            f"64 seeds, {name}", once, lambda: taken(setting, 64), lambda: 64 * taken(setting, 1), "s", min(pairs, 3)
        )

    return [of(f"4x4,{ice},good-0.5,{policy},adam,1") for ice in ("firm", "slippery") for policy in ("mlp-64", "tabular")]


# ---- language ----


def language(pairs: int) -> list[Callable[[], Row]]:
    """What an update of a language model costs, each trainer in a process of its own, against another on the same rows."""
    script = Path(__file__).with_name("language_updates.py")

    def of(trainer: str, measure: str, *options: str) -> Callable[[], float]:
        def run() -> float:
            command = [sys.executable, str(script), "--trainer", trainer, *options]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            return float(json.loads(told.splitlines()[-1])[measure]) / (1 if measure == "ms" else 1e6)

        return run

    def row(ours: str, theirs: str, measure: str, *options: str) -> Callable[[], Row]:
        name = " ".join(["update", ours, *options])
        unit = {"ms": "ms", "bytes": "MB"}[measure]
        ours_taken, theirs_taken = (of(trainer, measure, *options) for trainer in (ours, theirs))
        needs = theirs if theirs in ("transformers", "trl") else "transformers"
        return lambda: compare(name, theirs, ours_taken, theirs_taken, unit, min(pairs, 3), needs=needs)

    even = ("--prompt", "32", "--answer", "32")
    return [
        row("ift", "sft", "ms"),
        row("ift", "sft", "bytes"),
        row("ift", "sft", "ms", *even),
        row("ift_trainer", "transformers", "ms"),
        row("sft", "transformers", "ms"),
        row("sft", "trl", "ms"),
        row("ift", "trl", "ms"),
        row("ift_trainer", "trl", "ms"),
    ]


# ---- all of them ----


def sections() -> dict[str, Section]:
    """By name; loaded only when something is to be measured."""
    from benchmark_growth import growth
    from benchmark_peers import building, ppo, solving, startup, stepping
    from benchmark_pictures import pictures

    every = (stepping, building, solving, ppo, startup, growth, pictures, seeds, language)
    return {section.__name__: section for section in every}


COLUMNS = ("what", "peer", "ours", "theirs", "times better", "unit", "pairs", "note")
FIGURES = COLUMNS[2:5]
HEADINGS = {"ppo": "PPO", "startup": "Start-up"}


def cells(row: Row) -> list[str]:
    """What stands in `COLUMNS`."""
    figures = map(short, (row.ours, row.theirs, row.ratio))
    return [row.name, row.peer, *figures, row.unit, str(row.pairs or ""), row.note]


def table(rows: dict[str, list[Row]]) -> Table:
    """All rows, section by section."""
    from rich.table import Table

    found = Table(title="medians of pairs", title_justify="left")
    for heading in COLUMNS:
        found.add_column(heading, justify="right" if heading in FIGURES else "left")
    for section in rows.values():
        for row in section:
            found.add_row(*cells(row))
        found.add_section()
    return found


def page(rows: dict[str, list[Row]], every: dict[str, Section], where: dict[str, str], growth: str) -> str:
    """The same as Markdown: a section each, under what its function says of it and `where` it was measured; the picture of
    `growth`, in words."""
    once = next(iter(where.values())) if len(set(where.values())) == 1 else ""
    told = [
        "# Measured side by side",
        "Ours and the peer's are run in turn, so many pairs; figures and ratios are their medians. "
        "`python experiments/benchmark.py` (extra `[bench]`) measures all of it again.",
        *([f"Measured on {once}."] if once else []),
    ]
    for name, section in rows.items():
        if section:
            described = " ".join((every[name].__doc__ or "").split())
            there = "" if once else f" Measured on {where[name]}."
            told.append(f"## {HEADINGS.get(name, name.capitalize())}\n\n{described}{there}")
            rule = ["---:" if heading in FIGURES else "---" for heading in COLUMNS]
            told.append("\n".join(f"| {' | '.join(line)} |" for line in (COLUMNS, rule, *map(cells, section))))
            if name == "growth":
                told.append(f"![{growth}](growth.png)")
    return "\n\n".join(told) + "\n"


def short(x: float | None) -> str:
    """To three digits; nothing for what was not measured."""
    return "" if x is None else f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


PEERS = ("stable-baselines3", "quantecon", "mdpsolver", "pymdptoolbox", "imageio", "transformers", "trl")


def machine() -> str:
    """What is measured on: processor, cores, system, versions of what is installed."""
    from ift_gridworld.storage import versions

    processor = platform.processor() or platform.machine()
    with suppress(OSError):  # where there is no such file, the little that Python knows has to do
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), processor)
    there = ", ".join(f"{name} {number}" for name, number in versions(PEERS).items())
    return f"{processor}, {cores()} cores, {platform.system()}; {there}"


def measure(section: Section, pairs: int, name: str) -> tuple[list[Row], list[Growth]]:
    """A section's rows; what grew stands apart as well."""
    from benchmark_growth import Growth

    rows: list[Row] = []
    grown: list[Growth] = []
    with progress(name) as report:
        comparisons = section(pairs)
        for done, comparison in enumerate(comparisons):
            report(done, len(comparisons))
            found = comparison()
            if isinstance(found, Growth):
                grown.append(found)
                found = found.row
            assert isinstance(found, Row)
            rows.append(found)
    return rows, grown


def main(args: Args) -> int:
    from benchmark_growth import Growth, draw, in_words

    from ift_gridworld.rendering import THEME_NAMES
    from ift_gridworld.rendering.tables import console
    from ift_gridworld.storage import write_atomically

    every, path = sections(), args.out / "benchmark.json"
    chosen = {name: section for name, section in every.items() if args.only in name and not args.redraw}
    if not chosen and not args.redraw:
        fail(f"--only is {args.only!r}; allowed: {', '.join(every)}")
    if args.pairs < 1:
        fail(f"--pairs is {args.pairs}; allowed: at least 1")
    if args.theme not in THEME_NAMES:
        fail(f"--theme is {args.theme!r}; allowed: {', '.join(THEME_NAMES)}")
    if args.redraw and not path.is_file():
        fail(f"--redraw needs {path}, which is not there; run without it first")
    make_folder(args.out)
    saved = {"sections": {}, "machines": {}, "growth": []} | (json.loads(path.read_text()) if path.is_file() else {})
    for name, section in chosen.items():
        rows, grown = measure(section, args.pairs, name)
        saved["sections"][name] = [asdict(row) for row in rows]
        saved["machines"][name] = machine()
        saved["growth"] = [asdict(one) for one in grown] or saved["growth"]
        write_atomically(path, json.dumps(saved, indent=1).encode())
    found = {name: [Row(**row) for row in saved["sections"].get(name, ())] for name in every}
    console().print(table(found))
    print(f"wrote {path}")
    grown = [Growth(**one) for one in saved["growth"]]
    page_of_all = page(found, every, saved["machines"], in_words(grown))
    print(f"wrote {write_atomically(args.out / 'README.md', page_of_all.encode())}")
    if grown:
        for written in draw(grown, args.out / "growth.png", args.theme):
            print(f"wrote {written}")
    return 0


if __name__ == "__main__":
    launch(main, Args, __doc__)
