"""What is left of language runs: tables, films and figures, drawn from what `language_model.py` has saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ift_gridworld.evaluation.statistics import student_interval
from ift_gridworld.rendering.tables import console
from ift_gridworld.storage import write_atomically

Run = dict[str, Any]
FREE = ("method", "seeds", "seed", "every", "render", "redraw", "format", "theme", "resume", "workers")  # what may differ
PULLED = ("sft", "ift", "ift_detached", "ift_propagation")  # methods whose tokens and curves are drawn


def saved(folder: Path) -> list[Run]:
    """All runs of a folder, methods in their usual order."""
    from ift_gridworld.language.controls import CONTROLS
    from ift_gridworld.methods.registry import METHODS

    order = [*METHODS, "sft_tempered", *CONTROLS]
    found: dict[str, list[Run]] = {}
    same: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(".film.json") or path.name == "findings.json":
            continue
        try:
            told = json.loads(path.read_bytes())
            found[str(told["method"])] = told["runs"]
            settings = {key: value for key, value in told["settings"].items() if key not in FREE}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be read ({error!r}); allowed: what this script has saved") from error
        same = same or settings
        other = [f"--{key.replace('_', '-')}" for key in same if settings.get(key) != same[key]]
        if other:
            raise ValueError(f"{path} is of other runs than the files beside it ({', '.join(other)}); allowed: of the same")
    if not found:
        raise ValueError(f"--out is {str(folder)!r}, where no run is saved; allowed: a folder that was written to before")
    return [run for name in sorted(found, key=lambda name: order.index(name) if name in order else 99) for run in found[name]]


def by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    return {name: [run for run in runs if run["method"] == name] for name in dict.fromkeys(run["method"] for run in runs)}


def differences(mine: Sequence[Run], others: Sequence[Run], measure: str) -> list[float]:
    """Of a method from another at the end, one a seed that both have: same lakes, same base, same order of the data."""
    theirs = {run["seed"]: run["measured"][-1].get(measure, np.nan) for run in others}
    found = [run["measured"][-1].get(measure, np.nan) - theirs[run["seed"]] for run in mine if run["seed"] in theirs]
    return [value for value in found if np.isfinite(value)]


def findings(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Everything that the tables show, by name: of each method's measures the mean over seeds and its interval, also less
    SFT's; and of the base's."""
    found = {}
    methods = by_method(runs)

    def put(name: str, values: Sequence[float]) -> None:
        values = [value for value in values if np.isfinite(value)]
        if values:
            mean, low, high = student_interval(np.array(values))
            found[name] = {"value": mean, "low": low, "high": high, "seeds": len(values)}

    for name, mine in methods.items():
        measures = [m for m in mine[0]["measured"][-1] if m != "step"]
        for measure in measures:
            if "base: " + measure not in found and measure != "bias":
                put(f"base: {measure}", [run["measured"][0].get(measure, np.nan) for run in mine])
            put(f"{name}: {measure}", [run["measured"][-1].get(measure, np.nan) for run in mine])
            if "sft" in methods and name != "sft":
                put(f"{name} less sft: {measure}", differences(mine, methods["sft"], measure))
    return found


# ---- tables ----


def report(runs: Sequence[Run]) -> None:
    """How good each method is on held-out lakes, how it differs from SFT, and what an update costs."""
    from ift_gridworld.language.measure import MEASURES

    methods, measures = by_method(runs), (*MEASURES, "bias")
    seeds = max(len(mine) for mine in methods.values())
    note = f", mean of {seeds} seeds ± half its 95 % interval (Student's t)" if seeds > 1 else ""
    table = _table(f"on held-out lakes{note}", measures)
    first = next(iter(methods.values()))
    table.add_row("(base)", *(_told([run["measured"][0].get(m, np.nan) for run in first]) for m in MEASURES), "")
    for name, mine in methods.items():
        table.add_row(name, *(_told([run["measured"][-1].get(m, np.nan) for run in mine]) for m in measures))
    console().print(table)
    if "sft" in methods and len(methods["sft"]) > 1 and len(methods) > 1:
        table = _table("less SFT's on the same seeds ± half the 95 % interval (*: it leaves out 0)", tuple(MEASURES))
        for name, mine in methods.items():
            if name != "sft":
                values = (differences(mine, methods["sft"], m) for m in MEASURES)
                table.add_row(name, *(_told(found, signed=True) for found in values))
        console().print(table)
    console().print(_costs(methods))
    for name, mine in methods.items():
        if "rows_left_out" in mine[0]:
            print(f"{name}: {mine[0]['rows_left_out']} rows of the file were left out, longer than the model can read")


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("method", *columns):
        table.add_column(name.replace("_", " "), justify="left" if name == "method" else "right")
    return table


def _told(values: Sequence[float], *, signed: bool = False) -> str:
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return ""
    mean, low, high = student_interval(np.array(values))
    told = format(mean, "+.3f" if signed else ".3f")
    if len(values) == 1:
        return told
    clear = "*" if signed and (low > 0 or high < 0) else ""
    return f"{told}{clear}\n±{high - mean:.3f}"


def _costs(methods: dict[str, list[Run]]) -> Table:
    columns = ("rate", "ms an update", "tokens/s", "FLOPs used", "peak memory", "bfloat16 agrees")
    table = _table("costs (FLOPs used: 6 a weight and token, of what the device is capable of)", columns)
    for name, mine in methods.items():
        if "temperature" in mine[0]:
            continue
        seconds, tokens, updates = (sum(run[name] for run in mine) for name in ("seconds", "tokens", "timed"))
        agree = [run["bfloat16_agreement"] for run in mine if "bfloat16_agreement" in run]
        table.add_row(
            name,
            ", ".join(f"{rate:g}" for rate in sorted({run["learning_rate"] for run in mine})),
            f"{1000 * seconds / updates:.0f}",
            f"{tokens / max(1e-9, seconds):,.0f}",
            f"{100 * np.mean([run['utilisation'] for run in mine]):.0f} %",
            f"{max(run['memory'] for run in mine) / 2**30:.2f} GiB",
            f"{100 * np.mean(agree):.1f} %" if agree else "",
        )
    return table


# ---- pictures ----


def draw_films(films: Sequence[Path], out: Path, kind: str, theme: str) -> list[Path]:
    """A film of each run that was watched, and one of all methods (controls left out) side by side, if there are several."""
    from ift_gridworld.methods.registry import METHODS
    from ift_gridworld.rendering.worker import draw

    named = {film.name.removesuffix(".film.json"): film for film in films}
    drawn = [draw([film], out / f"{name}.{kind}", theme) for name, film in named.items()]
    methods = [named[name] for name in METHODS if name in named]
    if len(methods) > 1:
        drawn.append(draw(methods, out / f"side_by_side.{kind}", theme))
    return drawn


def draw_figures(runs: Sequence[Run], out: Path, theme: str) -> list[Path]:
    """The pull at each token and the curves, of methods that imitate; how methods differ from SFT, on several seeds; and all
    numbers as findings.json."""
    from ift_gridworld.rendering.language_figures import draw_differences, draw_tokens

    methods = by_method(runs)
    content = json.dumps(findings(runs), indent=1)
    paths = [write_atomically(out / "findings.json", f"{content}\n".encode())]
    pulled = {name: methods[name] for name in PULLED if name in methods and "pull" in methods[name][0]}
    if pulled:
        first = {name: mine[0] for name, mine in list(pulled.items())[:3]}
        pulls = {name: np.array(run["pull"]) for name, run in first.items()}
        page, alt = draw_tokens(pulls, {name: run["pull_at"] for name, run in first.items()}, pulled, theme)
        paths += page.save(out / "tokens", alt)
    if "sft" in methods and len(methods["sft"]) > 1 and len(methods) > 1:
        found = {
            name: {m: differences(mine, methods["sft"], m) for m in ("greedy", "sampled", "distance", "end")}
            for name, mine in methods.items()
            if name != "sft"
        }
        page, alt = draw_differences(found, theme)
        paths += page.save(out / "differences", alt)
    return paths
