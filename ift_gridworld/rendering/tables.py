"""Output of the scripts at their end: one table and the paths written."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ift_gridworld.escape import printable
from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.training.run import Run, shared_custom_metrics
from ift_gridworld.training.together import shared_headline

__all__ = ["ResultTable", "estimations", "result_metrics", "results", "written"]


NARROW = 96


class ResultTable(Table):
    """A table that ``print`` and a prompt show as text."""

    def __str__(self) -> str:
        page = io.StringIO()
        Console(width=132, file=page, no_color=True, force_jupyter=False).print(self)
        return page.getvalue()

    __repr__ = __str__


def results(runs: Sequence[Run], width: int = 132) -> ResultTable:
    """One row a method: where it ended, mean over seeds and 95 % interval (under the mean where `width` is short).

    Where it is shorter than `NARROW` characters, the frontier gap is left out.
    """
    first, custom, names = runs[0], shared_custom_metrics(runs), result_metrics(runs)
    if width < NARROW:
        names = [name for name in names if name != "frontier_gap"]
    gap = " " if width >= 106 + 23 * (len(names) - 3) else "\n"
    horizon = "" if first.environment.horizon is None else f" within {first.environment.horizon} steps"
    optimum = first.optimum["success"]
    rate = "" if first.environment.success_rate is None else f" ({first.environment.success_rate:.3g} as intended)"
    slip = f", slippery{rate}" if first.environment.is_slippery else ""
    title = f"{first.environment.name}{slip}: {first.seeds} seed{'s' * (first.seeds > 1)}, mean [95 % interval]"
    table = ResultTable(title=_name(title, "title"), title_justify="left")
    table.add_column("method")
    headings = {"success": f"success{horizon}", "distance": "distance to optimal", "frontier_gap": "frontier gap"}
    for heading in (*(headings.get(name, name) for name in names), *custom):
        table.add_column(_name(heading), justify="right")
    table.add_column("updates", justify="right")
    table.add_column("sec.", justify="right")
    rare = optimum < 0.01  # where hardly anybody arrives three decimals would say nothing

    def measured(run: Run, index: int) -> list[str]:
        return [_interval(name, run.metrics[name][index], gap, rare) for name in (*names, *custom)]

    table.add_row("(base)", *measured(first, 0), "0", "")
    for run in runs:
        ended = f"{run.steps[-1]}" + ("!" if run.diverged else "")
        table.add_row(_name(run.method), *measured(run, -1), ended, f"{run.seconds:.2f}")
    reaches = f"reaches success {_short(optimum, rare)}"
    if "success" not in names:  # it says nothing here
        reaches = f"has return {first.optimum['return']:.3f}" if "return" in first.optimum else "has regret 0"
    caption = f"the policy that is optimal for discount {first.environment.discount:g} {reaches}"
    tried, arrived = (first.settings.get(name) for name in ("demonstrations", "demonstrations_arrived"))
    if tried != arrived and arrived is not None:
        caption += f"; of {tried} demonstrations {arrived or 'none'} arrived"
    table.caption, table.caption_justify = _name(caption, "caption"), "left"
    return table


def result_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the metrics that tables of results have: success (the return where it says nothing), regret, distance, gap."""
    first = "success" if shared_headline(runs) == "success" else "return"
    return [name for name in (first, "regret", "distance", "frontier_gap") if all(name in run.metrics for run in runs)]


def _name(text: str, part: str = "cell") -> Text:
    """Text that is shown as it stands, not read as rich's markup."""
    return Text(printable(text), style="" if part == "cell" else f"table.{part}")


def _interval(name: str, values: np.ndarray, gap: str, rare: bool) -> str:
    is_rare = rare and name in ("success", "regret")
    mean, low, high = (_short(float(x), is_rare) for x in metric_interval(name, values))
    return f"{mean}{gap}[{low}, {high}]" if len(values) > 1 else mean


def _short(x: float, rare: bool = False) -> str:
    return f"{x:.1e}" if rare and x else f"{x:z.3f}"


def estimations(runs: Sequence[Run], width: int = 132) -> Table:
    """Table 1 of the paper with numbers: what each method takes the model to be, and what it is, before and after training.

    Means over the steps of the human's answers and over seeds. The symbols are left out where `width` is short.
    """
    from ift_gridworld.evaluation.estimation import TABLE, UNKNOWN  # torch comes with it

    symbols = width >= 118
    table = Table(
        title="Preference estimation, Table 1 of arXiv 2405.11870 with numbers",
        title_justify="left",
        caption="means over steps n. T: the probability that the model gives the human's answer up to step n (methods that "
        "learn from pairs: the preferred answer, others: the demonstration). T̂: what the method takes it for; SFT's and PPO's "
        "is of one step. bias: T̂ - T. gap: total variation between what the model would do where the method takes it to "
        "stand, and where it does.",
        caption_justify="left",
    )
    table.add_column("method", no_wrap=True)
    if symbols:
        for heading in ("human\nprior", "model\nprior", "\naligns"):
            table.add_column(heading, no_wrap=True)
    for when in ("base", "after"):
        for heading in ("T", "T̂", "bias", "gap"):
            table.add_column(f"{when}\n{heading}", justify="right", no_wrap=True)
    for run in runs:
        row = TABLE.get(run.assumed_prior, UNKNOWN)
        cells = [run.method, *((row.human_prior, row.model_prior, row.aligns) if symbols else ())]
        for when in ("base", "trained"):
            if when in run.estimation:
                truth, assumed, gap = (_known_mean(run.estimation[when][name]) for name in ("truth", "estimate", "gap"))
                numbers = (f"{truth:z.3f}", f"{assumed:z.3f}", f"{assumed - truth:+z.3f}", f"{gap:z.3f}")
                cells += ["?" if "nan" in number else number for number in numbers]
            else:
                cells += [""] * 4
        table.add_row(*cells)
        if "?" in cells and not str(table.caption).endswith("followed."):
            table.caption = f"{table.caption} ?: the model's own walk on so large a lake is not followed."
    return table


def _known_mean(values: np.ndarray) -> float:
    """Return the mean of the known values; NaN if none is known, as where a walk is too long to be followed."""
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if finite.size else float("nan")


def written(paths: Sequence[Path]) -> str:
    """The paths of all files written, one a line; beside each picture stands what it shows, in words."""
    words = [path.with_name(f"{path.name}.txt") for path in paths]
    both = [file for pair in zip(words, paths, strict=True) for file in pair if file.exists()]
    return "\n".join(f"wrote {printable(path)}" for path in both)
