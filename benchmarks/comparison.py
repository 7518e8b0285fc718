"""Comparisons, measured in pairs, ours and the peer's in turn, and the clocks and processes that they are measured with."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

__all__ = [
    "EXPERIMENTS",
    "ROOT",
    "Comparison",
    "Section",
    "compare",
    "measure_alone",
    "peak_memory",
    "printed_number",
    "seconds",
]

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"


@dataclass(frozen=True)
class Comparison:
    """Medians of what was measured, ours and the peer's.

    Attributes:
        name: what is compared.
        peer: with whom; empty if ours is measured alone.
        ours, theirs: medians, in `unit`; None where nothing was measured.
        ratio: median of the pairs' ratios, above 1 where we are better.
        unit: what is measured; more of it is better if it ends in "/s", else less.
        note: what else is to be known, such as that a peer is not installed.
        pairs: number of pairs measured.
    """

    name: str
    peer: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    unit: str
    note: str = ""
    pairs: int = 0


Section = Callable[[int], Sequence[Callable[[], object]]]
"""A function from the number of pairs to measurements, each of which returns a `Comparison` or a `Growth`."""


def compare(
    name: str,
    peer: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    unit: str,
    pairs: int,
    *,
    needs: str = "",
    note: str = "",
) -> Comparison:
    """Measure both in turn; `ours` and `theirs` return a figure in `unit`. Without the package `needs` nothing is measured."""
    if needs and find_spec(needs) is None:
        return Comparison(name, peer, None, None, None, unit, "not installed")
    measured = [(ours(), theirs()) for _ in range(pairs)]
    more = unit.endswith("/s")
    ratios = [a / b if more else b / a for a, b in measured]
    ours_median, theirs_median = (median(side) for side in zip(*measured, strict=True))
    return Comparison(name, peer, ours_median, theirs_median, median(ratios), unit, note, pairs)


def measure_alone(name: str, ours: Callable[[], float], unit: str, times: int, note: str = "") -> Comparison:
    """Measure ours, where there is nobody to compare it with."""
    return Comparison(name, "", median(ours() for _ in range(times)), None, None, unit, note, times)


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes, once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def printed_number(program: str, *arguments: str) -> float:
    """Run a program in a process of its own; return the number that it prints last."""
    command = [sys.executable, "-c", program, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_memory(program: str, *arguments: str) -> float:
    """Return the most memory, in MB, that a program in a process of its own held at once.

    The system's figure begins with what the starting process held, so on Linux the process's own is read.
    """
    report = (
        "import resource\n"
        "from pathlib import Path\n"
        "status = Path('/proc/self/status')\n"
        "lines = status.read_text().splitlines() if status.exists() else []\n"
        "own = [float(line.split()[1]) for line in lines if line.startswith('VmHWM')]\n"
        "print((own or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] / 1000)\n"
    )
    return printed_number(program + report, *arguments)
