"""Tables, films and figures of language runs, made from what `language_study.save_runs` has written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.table import Table

from ift_gridworld.escape import one_line
from ift_gridworld.evaluation.statistics import is_clear, student_interval
from ift_gridworld.language.answers import ANSWERS, SavedAnswers, load_answers, most_typical
from ift_gridworld.language.controls import CONTROLS
from ift_gridworld.language.metrics import METRICS
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.reading import Limits, naming, parse_json, read_as, read_text, shown
from ift_gridworld.rendering.answer_film import Answer, AnswerFilm
from ift_gridworld.rendering.language_figures import draw_differences, draw_tokens
from ift_gridworld.rendering.method_names import in_order
from ift_gridworld.rendering.tables import written
from ift_gridworld.rendering.worker import draw_files
from ift_gridworld.runtime import console
from ift_gridworld.storage import write_atomically
from ift_gridworld.studies.language_settings import LanguageRun, SavedRun, has_edge

__all__ = [
    "by_method",
    "draw_figures",
    "draw_films",
    "draw_pictures",
    "film_of_answers",
    "findings",
    "load_runs",
    "methods_of_film",
    "paired_differences",
    "print_paths",
    "print_runs",
    "print_tables",
]

# settings in which the files of one folder may differ; each run says which rates and betas it has chosen from
FREE = (
    "learning_rates",
    "extend",
    "betas",
    "method",
    "seeds",
    "seed",
    "every",
    "render",
    "redraw",
    "format",
    "theme",
    "resume",
    "workers",
)
OTHERS = ("findings.json", "architectures.json", "gpu.json")  # files beside those of runs
EDGE = "on some seed the best learning rate or beta is the first or the last of those tried: a better one may lie beyond"
FILMED = ("sft", "ift", "dpo")  # side by side
PULLED = ("sft", "ift", "ift_detached", "ift_propagation")  # methods whose tokens and curves are drawn


def load_runs(folder: Path) -> list[LanguageRun]:
    """Read all runs of a folder, methods in their usual order.

    Raises:
        ValueError: if there is no run, a file cannot be read, or files belong to different studies.
    """
    order = [*METHODS, "sft_tempered", *CONTROLS]
    runs: dict[str, list[LanguageRun]] = {}
    shared: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith((".film.json", ANSWERS)) or path.name in OTHERS:
            continue
        with naming(path, "a file of language runs"):
            content = parse_json(read_text(path))
            _check(read_as(_SavedRuns, content, "it"))
        runs[content["method"]] = content["runs"]
        # Each file has only the options that its method uses.
        settings = {key: value for key, value in content["settings"].items() if key not in FREE}
        other = [f"--{key.replace('_', '-')}" for key, value in settings.items() if shared.setdefault(key, value) != value]
        if other:
            raise ValueError(
                f"{path} is of other runs than the files beside it ({one_line(', '.join(other))}); allowed: of the same"
            )
    if not runs:
        raise ValueError(f"--out is {str(folder)!r}, where no run is saved; allowed: a folder that was written to before")
    names = sorted(runs, key=lambda name: order.index(name) if name in order else len(order))
    return [run for name in names for run in runs[name]]


@dataclass(frozen=True)
class _SavedRuns:
    """The runs of one method as `language_study.save_runs` writes them, and what made them."""

    method: str
    settings: dict[str, Any]
    runs: list[SavedRun]
    device: str = ""
    processes: Annotated[int, Limits(1)] = 1
    versions: dict[str, str] = field(default_factory=dict)
    saved: str = ""


def _check(saved: _SavedRuns) -> None:
    """Raise a ValueError for what the annotations do not say of saved runs."""
    if not saved.runs:
        raise ValueError("runs is empty; allowed: one run or more")
    for number, run in enumerate(saved.runs):
        if run.method != saved.method:
            raise ValueError(f"runs[{number}].method is {shown(run.method)}; allowed: {shown(saved.method)}, as method says")
        if not run.measured or any("step" not in result for result in run.measured):
            raise ValueError(
                f"runs[{number}].measured is {shown(run.measured)}; allowed: metrics, with step, at one update or more"
            )
        if (run.pull is None) != (run.pull_at is None):
            raise ValueError(f"runs[{number}] has one of pull and pull_at; allowed: both or none")


def by_method(runs: Sequence[LanguageRun]) -> dict[str, list[LanguageRun]]:
    """Return the runs of each method, methods in the order in which they come."""
    return {name: [run for run in runs if run["method"] == name] for name in dict.fromkeys(run["method"] for run in runs)}


def paired_differences(mine: Sequence[LanguageRun], others: Sequence[LanguageRun], metric: str) -> list[float]:
    """Return the final differences of a metric between two methods, one a seed that both have.

    Runs of one seed have the same lakes, the same base and the same order of the data.

    Args:
        mine, others: runs of the two methods.
        metric: a name in `METRICS`, or bias. Seeds on which it was not measured are left out.
    """
    theirs = {run["seed"]: run["measured"][-1].get(metric, np.nan) for run in others}
    differences = [run["measured"][-1].get(metric, np.nan) - theirs[run["seed"]] for run in mine if run["seed"] in theirs]
    return [value for value in differences if np.isfinite(value)]


def findings(runs: Sequence[LanguageRun]) -> dict[str, dict[str, float]]:
    """Return every number of the tables by name: for each metric of each method the mean over seeds and its interval.

    Names are "METHOD: METRIC", "METHOD less base: METRIC" and "METHOD less sft: METRIC" for the differences from the base and
    from SFT on the same seeds, and "base: METRIC" for the base on the seeds of the first method.
    """
    numbers: dict[str, dict[str, float]] = {}
    methods = by_method(runs)

    def put(name: str, values: Sequence[float]) -> None:
        values = [value for value in values if np.isfinite(value)]
        if values:
            mean, low, high = student_interval(np.array(values))
            numbers[name] = {"value": mean, "low": low, "high": high, "seeds": len(values)}

    for name, mine in methods.items():
        for metric in (m for m in mine[0]["measured"][-1] if m != "step"):
            if "base: " + metric not in numbers and metric != "bias":
                put(f"base: {metric}", [run["measured"][0].get(metric, np.nan) for run in mine])
            put(f"{name}: {metric}", [run["measured"][-1].get(metric, np.nan) for run in mine])
            if metric != "bias":
                changes = [run["measured"][-1].get(metric, np.nan) - run["measured"][0].get(metric, np.nan) for run in mine]
                put(f"{name} less base: {metric}", changes)
            if "sft" in methods and name != "sft":
                put(f"{name} less sft: {metric}", paired_differences(mine, methods["sft"], metric))
    return numbers


# ---- tables ----


def print_runs(runs: Sequence[LanguageRun], paths: Sequence[Path]) -> None:
    """Print the tables of runs and the paths that were written."""
    print_tables(runs)
    print_paths(paths)


def print_paths(paths: Sequence[Path]) -> None:
    """Print the paths that were written."""
    print(written(paths))


def print_tables(runs: Sequence[LanguageRun]) -> None:
    """Print how good each method is on held-out lakes, how it differs from SFT, and what an update costs."""
    methods, metrics = by_method(runs), (*METRICS, "bias")
    seeds = max(len(mine) for mine in methods.values())
    note = f", mean of {seeds} seeds ± half its 95 % interval (Student's t)" if seeds > 1 else ""
    table = _table(f"on held-out lakes{note}", metrics)
    first = next(iter(methods.values()))
    table.add_row("(base)", *(_with_interval([run["measured"][0].get(m, np.nan) for run in first]) for m in METRICS), "")
    on_edge = _on_edge(methods)
    marked = {name: f"{name}†" if name in on_edge else name for name in methods}
    for name, mine in methods.items():
        table.add_row(marked[name], *(_with_interval([run["measured"][-1].get(m, np.nan) for run in mine]) for m in metrics))
    console().print(table)
    if "sft" in methods and len(methods["sft"]) > 1 and len(methods) > 1:
        table = _table("less SFT's on the same seeds ± half the 95 % interval; ?: not clear, it does not exclude 0", METRICS)
        for name, mine in methods.items():
            if name != "sft":
                differences = (paired_differences(mine, methods["sft"], m) for m in METRICS)
                table.add_row(marked[name], *(_with_interval(values, signed=True) for values in differences))
        console().print(table)
    console().print(_costs(methods))
    if on_edge:
        print(f"† {EDGE}")
    for name, mine in methods.items():
        if "rows_left_out" in mine[0]:
            print(f"{name}: {mine[0]['rows_left_out']} rows of the file were left out, longer than the model can read")


def _on_edge(methods: dict[str, list[LanguageRun]]) -> set[str]:
    """Return the methods whose best setting lies on an edge on some seed."""
    return {name for name, mine in methods.items() if any(map(has_edge, mine))}


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", padding=0)
    for name in ("method", *columns):
        table.add_column(name.replace("_", " "), justify="left" if name == "method" else "right")
    return table


def _with_interval(values: Sequence[float], *, signed: bool = False) -> str:
    """Return the mean of the finite values and half the interval under it; a ? if `signed` and it does not exclude 0."""
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return ""
    mean, low, high = student_interval(np.array(values))
    text = format(mean, "+.3f" if signed else ".3f")
    if len(values) == 1:
        return text
    mark = "" if not signed or is_clear(low, high) else "?"
    return f"{text}{mark}\n±{high - mean:.3f}"


def _costs(methods: dict[str, list[LanguageRun]]) -> Table:
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
            _share([run["utilisation"] for run in mine]),
            f"{max(run['memory'] for run in mine) / 2**30:.2f} GiB",
            f"{100 * np.mean(agree):.1f} %" if agree else "",
        )
    return table


def _share(values: Sequence[float]) -> str:
    """Return the mean of shares in per cent; "unknown" where one is (`profiling.utilisation`)."""
    return f"{100 * np.mean(values):.0f} %" if np.isfinite(values).all() else "unknown"


# ---- pictures ----


def draw_pictures(runs: Sequence[LanguageRun], films: Sequence[Path], out: Path, kind: str, theme: str) -> list[Path]:
    """Draw films and figures into a folder; return their paths.

    Args:
        runs: the runs.
        films: METHOD.film.json of each run that is filmed.
        out: the folder.
        kind: format of the films, a name in `rendering.FORMATS`.
        theme: light or dark.
    """
    return draw_films(films, out, kind, theme) + draw_figures(runs, out, theme)


def draw_films(films: Sequence[Path], out: Path, kind: str, theme: str) -> list[Path]:
    """Draw a film of each run, and of the answers that are saved beside the runs a film of up to three methods side by side.

    A page (html) has all methods, without controls, on the lake of the films.
    """
    named = {film.name.removesuffix(".film.json"): film for film in films}
    drawn = [draw_files([film], out / f"{name}.{kind}", theme) for name, film in named.items()]
    methods = [named[name] for name in METHODS if name in named]
    if kind == "html":
        return [*drawn, draw_files(methods, out / "side_by_side.html", theme)] if len(methods) > 1 else drawn
    saved = [load_answers(path) for path in sorted(out.glob(f"*{ANSWERS}"))]
    chosen = methods_of_film([answers.method for answers in saved])
    if chosen:
        film = film_of_answers([next(answers for answers in saved if answers.method == name) for name in chosen], theme)
        drawn.append(film.save(out / f"side_by_side.{kind}"))
    return drawn


def methods_of_film(methods: Collection[str]) -> list[str]:
    """Return the methods that are filmed side by side: SFT, IFT and DPO, or the first of the others in their place.

    Example:
        >>> methods_of_film(["orpo", "dpo", "sft", "ift_random"])
        ['sft', 'dpo', 'orpo']
    """
    others = [name for name in in_order(methods) if name in METHODS and name not in FILMED]
    chosen = [*(name for name in FILMED if name in methods), *others][: len(FILMED)]
    return in_order(chosen)


def film_of_answers(saved: Sequence[SavedAnswers], theme: str) -> AnswerFilm:
    """Return the film of what the base and some methods answer on the held-out lake that is typical for all of them.

    The lake is the one whose success is nearest to the median success of the base and of each method; of equally near ones the
    one whose distance to T* is (`most_typical`).

    Args:
        saved: of each method, on the same lakes.
        theme: light or dark.

    Raises:
        ValueError: if answers are on other lakes than the first method's.
    """
    first = saved[0]
    other = [each.method for each in saved if (each.rows, each.seed) != (first.rows, first.seed)]
    if other:
        raise ValueError(
            f"the answers of {one_line(', '.join(other))} are on other lakes than {first.method}'s; allowed: the same"
        )
    models = {"base": first.base, **{each.method: each.aligned for each in saved}}
    every = list(models.values())
    index = most_typical(np.stack([model.success for model in every]), np.stack([model.distance for model in every]))
    answers = [
        Answer(name, model.moves[index], bool(model.ended[index]), model.chance[index], model.success)
        for name, model in models.items()
    ]
    return AnswerFilm(answers, first.rows[index].split(), index, first.prompts[index], first.human[index], theme)


def draw_figures(runs: Sequence[LanguageRun], out: Path, theme: str) -> list[Path]:
    """Write `findings` as findings.json, and draw the pull at each token and, with several seeds, the differences from SFT."""
    methods = by_method(runs)
    on_edge = _on_edge(methods)
    content = json.dumps(findings(runs), indent=1)
    paths = [write_atomically(out / "findings.json", f"{content}\n".encode())]
    pulled = {name: methods[name] for name in PULLED if name in methods and "pull" in methods[name][0]}
    if pulled:
        first = {name: mine[0] for name, mine in list(pulled.items())[:3]}
        pulls = {name: np.array(run["pull"]) for name, run in first.items()}
        page, alt = draw_tokens(pulls, {name: run["pull_at"] for name, run in first.items()}, pulled, theme, on_edge)
        paths += page.save(out / "tokens", alt)
    if "sft" in methods and len(methods["sft"]) > 1 and len(methods) > 1:
        differences = {
            name: {m: paired_differences(mine, methods["sft"], m) for m in ("greedy", "sampled", "distance", "end")}
            for name, mine in methods.items()
            if name != "sft"
        }
        page, alt = draw_differences(differences, theme, on_edge)
        paths += page.save(out / "differences", alt)
    return paths
