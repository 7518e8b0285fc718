"""What `benchmark.py` is made of: a comparison is measured in pairs, ours and the peer's in turn, and becomes a row."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is compared.
        peer: with whom; empty if ours is measured alone.
        ours, theirs: medians, in `unit`; None where nothing was measured.
        ratio: median of the pairs' ratios, above 1 where we are better.
        unit: what is measured; more of it is better if it ends in "/s", else less.
        note: what else is to be known, such as that a peer is not installed.
        pairs: how many were measured.
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
"""From the number of pairs to what is to be measured one by one, each a `Row` or a `Growth`."""


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
) -> Row:
    """Both in turn; `ours` and `theirs` return a figure in `unit`. Without the package `needs` nothing is measured."""
    if needs and find_spec(needs) is None:
        return Row(name, peer, None, None, None, unit, "not installed")
    measured = [(ours(), theirs()) for _ in range(pairs)]
    more = unit.endswith("/s")
    ratios = [a / b if more else b / a for a, b in measured]
    ours_median, theirs_median = (median(side) for side in zip(*measured, strict=True))
    return Row(name, peer, ours_median, theirs_median, median(ratios), unit, note, pairs)


def alone(name: str, ours: Callable[[], float], unit: str, times: int, note: str = "") -> Row:
    """Ours, where there is nobody to compare it with."""
    return Row(name, "", median(ours() for _ in range(times)), None, None, unit, note, times)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def printed(program: str, *arguments: str) -> float:
    """The number that a program prints last, run in a process of its own."""
    command = [sys.executable, "-c", program, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_memory(program: str, *arguments: str) -> float:
    """The most memory, in MB, that a program of its own process held at once (on Linux; else what the system calls its peak).

    The system's figure there begins with what the starting process held, so the process's own is read where there is one.
    """
    told = (
        "import resource\n"
        "from pathlib import Path\n"
        "status = Path('/proc/self/status')\n"
        "lines = status.read_text().splitlines() if status.exists() else []\n"
        "own = [float(line.split()[1]) for line in lines if line.startswith('VmHWM')]\n"
        "print((own or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] / 1000)\n"
    )
    return printed(program + told, *arguments)
