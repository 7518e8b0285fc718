"""Write what a benchmark leaves: a table, a page, a file of all figures, and the picture of growth."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.comparison import Comparison, Section
from benchmarks.growth import Growth, draw_growth, in_words
from ift_gridworld.reading import naming, parse_json, read_as, read_text, shown
from ift_gridworld.runtime import console, cores, progress
from ift_gridworld.storage import versions, write_atomically

__all__ = ["load_results", "measure_section", "write_report"]

COLUMNS = ("what", "peer", "ours", "theirs", "times better", "unit", "pairs", "note")
FIGURES = COLUMNS[2:5]
HEADINGS = {"ppo": "PPO", "startup": "Start-up"}


def cells(comparison: Comparison) -> list[str]:
    """Return what stands in `COLUMNS`."""
    figures = map(short, (comparison.ours, comparison.theirs, comparison.ratio))
    return [comparison.name, comparison.peer, *figures, comparison.unit, str(comparison.pairs or ""), comparison.note]


def table(comparisons: Mapping[str, Sequence[Comparison]]) -> Table:
    """Return all comparisons, section by section."""
    rows = Table(title="medians of pairs", title_justify="left")
    for heading in COLUMNS:
        rows.add_column(heading, justify="right" if heading in FIGURES else "left")
    for section in comparisons.values():
        for comparison in section:
            rows.add_row(*cells(comparison))
        rows.add_section()
    return rows


def page(
    comparisons: Mapping[str, Sequence[Comparison]], sections: Mapping[str, Section], machines: Mapping[str, str], growth: str
) -> str:
    """Return the same as Markdown.

    Args:
        comparisons: of each section.
        sections: whose docstrings say what is measured.
        machines: on which each section was measured.
        growth: the picture of growth in words.
    """
    usual = Counter(machines.values()).most_common(1)[0][0]  # other sections name their own
    all_but = ", where a section names no other" if len(set(machines.values())) > 1 else ""
    paragraphs = [
        "# Measured side by side",
        "Ours and the peer's are run in turn, so many pairs; figures and ratios are their medians. "
        "`python experiments/benchmark.py --publish` (extra `[bench]`) measures all of it again.",
        f"Measured on {usual}{all_but}.",
    ]
    for name, section in comparisons.items():
        if section:
            described = " ".join((sections[name].__doc__ or "").split())
            machine = "" if machines[name] == usual else f" Measured on {machines[name]}."
            paragraphs.append(f"## {HEADINGS.get(name, name.capitalize())}\n\n{described}{machine}")
            rule = ["---:" if heading in FIGURES else "---" for heading in COLUMNS]
            paragraphs.append("\n".join(f"| {' | '.join(line)} |" for line in (COLUMNS, rule, *map(cells, section))))
            if name == "growth":
                paragraphs.append(f"![{growth}](growth.png)")
    return "\n\n".join(paragraphs) + "\n"


def short(x: float | None) -> str:
    """Return a number to three digits; nothing for what was not measured."""
    return "" if x is None else f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


PEERS = ("stable-baselines3", "quantecon", "mdpsolver", "pymdptoolbox", "imageio", "transformers", "trl")


def describe_machine() -> str:
    """Return processor, cores, system, and versions of what is installed."""
    processor = platform.processor() or platform.machine()
    with suppress(OSError):  # without such a file, use the little that Python knows
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), processor)
    installed = ", ".join(f"{name} {number}" for name, number in versions(PEERS).items())
    return f"{processor}, {cores()} cores, {platform.system()}; {installed}"


@dataclass(frozen=True)
class _Results:
    """Contents of benchmark.json."""

    sections: dict[str, list[Comparison]] = field(default_factory=dict)
    machines: dict[str, str] = field(default_factory=dict)
    growth: list[Growth] = field(default_factory=list)


def load_results(path: Path) -> dict[str, Any]:
    """Read the results of sections that were measured before; none if there is no file.

    Raises:
        ValueError: if the file holds something else.
    """
    results: dict[str, Any] = {"sections": {}, "machines": {}, "growth": []}
    if path.exists():
        with naming(path, "a file of benchmark results", "delete it to measure everything anew"):
            results |= read_as(dict[str, Any], parse_json(read_text(path)), "it")
            _check(read_as(_Results, {name: results[name] for name in ("sections", "machines", "growth")}, "it"))
    return results


def _check(results: _Results) -> None:
    """Raise a ValueError for what the annotations do not say of results."""
    for name in results.sections:
        if name not in results.machines:
            raise ValueError(f"machines has no {shown(name)}")
    for growth in results.growth:
        if not len(growth.sizes) == len(growth.seconds) > 1 or min(*growth.sizes, *growth.seconds) <= 0:
            raise ValueError(f"growth holds {shown(growth)}; allowed: seconds > 0 at two sizes > 0 or more")


def measure_section(results: dict[str, Any], name: str, section: Section, pairs: int, path: Path) -> None:
    """Measure a section, put its comparisons and growths into the results, and save them."""
    comparisons: list[Comparison] = []
    growths: list[Growth] = []
    with progress(name) as report:
        measurements = section(pairs)
        for done, measure in enumerate(measurements):
            report(done, len(measurements))
            measured = measure()
            if isinstance(measured, Growth):
                growths.append(measured)
                measured = measured.comparison
            assert isinstance(measured, Comparison)
            comparisons.append(measured)
    results["sections"][name] = [asdict(comparison) for comparison in comparisons]
    results["machines"][name] = describe_machine()
    results["growth"] = [asdict(growth) for growth in growths] or results["growth"]
    write_atomically(path, json.dumps(results, indent=1).encode())


def write_report(results: Mapping[str, Any], sections: Mapping[str, Section], folder: Path, theme: str) -> list[Path]:
    """Print the table; write the page and the picture of growth and return their paths."""
    comparisons = {name: [Comparison(**entry) for entry in results["sections"].get(name, ())] for name in sections}
    console().print(table(comparisons))
    growths = [Growth(**entry) for entry in results["growth"]]
    text = page(comparisons, sections, results["machines"], in_words(growths))
    paths = [write_atomically(folder / "README.md", text.encode())]
    return paths + (draw_growth(growths, folder / "growth.png", theme) if growths else [])
