"""What the scripts print when they are done: one table and the paths written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ift_gridworld.metrics import mean_interval
from ift_gridworld.records import Record


def console() -> Console:
    """On a terminal its width, in a pipe wide enough for every table."""
    return Console() if sys.stdout.isatty() else Console(width=120, no_color=True)


def results(records: Sequence[Record], width: int = 120) -> Table:
    """One row a method: where it ended, mean over seeds and 95 % interval (under the mean where `width` is short)."""
    gap = " " if width >= 106 else "\n"
    first = records[0]
    horizon = "" if first.lake.horizon is None else f" within {first.lake.horizon} steps"
    optimum = first.optimum["success"]
    rate = "" if first.lake.success_rate is None else f" ({first.lake.success_rate:.3g} as intended)"
    slip = f", slippery{rate}" if first.lake.is_slippery else ""
    table = Table(
        title=f"{first.lake.name}{slip}: {first.seeds} seed{'s' * (first.seeds > 1)}, mean [95 % interval]",
        title_justify="left",
    )
    table.add_column("method")
    for heading in (f"success{horizon}", "regret", "distance to optimal"):
        table.add_column(heading, justify="right")
    table.add_column("updates", justify="right")
    table.add_column("sec.", justify="right")
    base = {name: first.metrics[name][0] for name in ("success", "regret", "distance")}
    table.add_row("(base)", *(_interval(base[name], gap) for name in base), "0", "")
    for record in records:
        last = {name: record.metrics[name][-1] for name in base}
        ended = f"{record.steps[-1]}" + ("!" if record.diverged else "")
        table.add_row(record.method, *(_interval(last[name], gap) for name in last), ended, f"{record.seconds:.2f}")
    table.caption = f"the policy that is optimal for discount {first.lake.discount:g} reaches success {optimum:.3f}"
    table.caption_justify = "left"
    return table


def _interval(values: np.ndarray, gap: str) -> str:
    mean, low, high = mean_interval(values)
    return f"{mean:.3f}{gap}[{low:.3f}, {high:.3f}]" if len(values) > 1 else f"{mean:.3f}"


def written(paths: Sequence[Path]) -> str:
    """The paths of all files written, one a line."""
    return "\n".join(f"wrote {path}" for path in paths)
