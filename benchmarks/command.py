"""The command: measure the sections asked for and write what all of them say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ift_gridworld.cli.folders import output_folder
from ift_gridworld.cli.parser import fail
from ift_gridworld.escape import printable
from ift_gridworld.rendering import THEME_NAMES
from ift_gridworld.runtime import loading
from ift_gridworld.storage import make_folder

__all__ = ["Args", "main"]


@dataclass(frozen=True)
class Args:
    """The command line."""

    only: str = ""
    """Run only sections whose name contains this; what the others found before stays in benchmark.json."""
    pairs: int = 5
    """Number of times that each comparison is run."""
    theme: str = "light"
    """light, dark: of growth.png."""
    redraw: bool = False
    """Print and draw again what is in benchmark.json, without measuring."""
    out: Path | None = None
    """Folder that everything is written to (default: runs/benchmark)."""
    publish: bool = False
    """Write to figures/benchmark instead, the published gallery."""


def main(args: Args) -> int:
    """Measure, save after each section, and report."""
    with loading():
        from benchmarks import report, sections
    try:
        folder = output_folder("benchmark", args.out, args.publish)
        path = folder / "benchmark.json"
        check(args, list(sections.SECTIONS), path)
        make_folder(folder)
        results = report.load_results(path)
    except ValueError as error:
        fail(error)
    for name, section in sections.SECTIONS.items():
        if args.only in name and not args.redraw:
            report.measure_section(results, name, section, args.pairs, path)
    for written in (path, *report.write_report(results, sections.SECTIONS, folder, args.theme)):
        print(f"wrote {printable(written)}")
    return 0


def check(args: Args, sections: list[str], path: Path) -> None:
    """Raise a ValueError for values that make no sense."""
    if not args.redraw and not any(args.only in name for name in sections):
        raise ValueError(f"--only is {args.only!r}; allowed: {', '.join(sections)}")
    if args.pairs < 1:
        raise ValueError(f"--pairs is {args.pairs}; allowed: at least 1")
    if args.theme not in THEME_NAMES:
        raise ValueError(f"--theme is {args.theme!r}; allowed: {', '.join(THEME_NAMES)}")
    if args.redraw and not path.is_file():
        raise ValueError(f"--redraw needs {path}, which is not there; run without it first")
