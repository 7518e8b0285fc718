"""The whole frontier study: choose each method's trial on held-in lakes, run it everywhere else, answer the questions."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ift_gridworld.evaluation.statistics import format_effect
from ift_gridworld.methods.registry import METHODS, family_of, find_method
from ift_gridworld.reading import naming
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.storage import versions, write_atomically
from ift_gridworld.studies.frontier.conditions import HELD_IN, Condition, study_conditions
from ift_gridworld.studies.frontier.figures import EDGE, draw_figures
from ift_gridworld.studies.frontier.questions import QUESTIONS, Answer, StudyTable, answer_questions
from ift_gridworld.studies.frontier.running import run_base, run_chosen, run_trials
from ift_gridworld.studies.frontier.trials import Choice, choose
from ift_gridworld.studies.parts import StudyPart, collect_tables, run_parts
from ift_gridworld.studies.tables import Columns, load_table, select, write_table

__all__ = ["FrontierScope", "load", "report", "run_study"]

SLOW = {"neftune": 12.0, "distill": 12.0}  # relative time, beside 1 for a pair method


@dataclass(frozen=True)
class FrontierScope:
    """How large the study is.

    Attributes:
        methods: that are compared.
        lakes: number of random lakes of each dynamics where effects are reported: the centre, and with most wrong labels.
        fewer: that under all other conditions.
        held_in: that on which trials are judged.
        seeds: number of policies on each map of the suite.
        seed: of everything drawn.
        updates: of every method.
        conditions: those that are reported.
    """

    methods: Sequence[str] = tuple(METHODS)
    lakes: int = 100
    fewer: int = 10
    held_in: int = 8
    seeds: int = 4
    seed: int = 0
    updates: int = 300
    conditions: Sequence[Condition] = tuple(study_conditions())

    @classmethod
    def quick(cls, seed: int = 0) -> FrontierScope:
        """Return a small study of the same kind: five methods, few lakes, the conditions of the effects, fewer updates."""
        few = [condition for condition in study_conditions() if condition.is_headline]
        return cls(("sft", "ift", "dpo", "robust", "ppo"), 6, 4, 3, 2, seed, 100, tuple(few))

    def lakes_of(self, condition: Condition) -> int:
        """Return the number of random lakes of a condition."""
        return self.held_in if condition.lakes == HELD_IN else self.lakes if condition.is_headline else self.fewer


def concerns(method: str, condition: Condition) -> bool:
    """Return whether a condition differs for a method from those without its changes: wrong labels concern learning from pairs,
    the amount of data does not concern a method that only walks."""
    if condition.flipped:
        return family_of(method) in ("pairs", "unpaired") and find_method(method).needs in ("pairs", "unpaired")
    return condition.data == Condition().data or family_of(method) != "on-policy"


def trial_parts(scope: FrontierScope) -> list[StudyPart]:
    """Return the parts that judge trials, one a method and held-in condition."""
    pairs = {(condition.held_in, m) for condition in scope.conditions for m in scope.methods if concerns(m, condition)}
    parts = []
    for condition, method in sorted(pairs, key=lambda pair: (pair[0].name, pair[1])):
        arguments = {
            "condition": condition.name, "method": method, "lakes": scope.held_in, "seed": scope.seed, "updates": scope.updates
        }  # fmt: skip
        weight = 9 * scope.held_in * _time(method, condition)
        parts.append(StudyPart("trials", f"{method} {condition.name}", weight, run_trials, arguments))
    return parts


def chosen_parts(scope: FrontierScope, choices: Mapping[tuple[str, str], Choice]) -> list[StudyPart]:
    """Return the parts that are reported: base policies and chosen trials, one a method and condition."""
    parts = []
    for condition in scope.conditions:
        size = {"lakes": scope.lakes_of(condition), "seeds": scope.seeds, "seed": scope.seed}
        arguments: dict[str, Any] = {"condition": condition.name, **size}
        parts.append(StudyPart("results", f"base {condition.name}", 1.0, run_base, arguments))
        for method in scope.methods:
            if concerns(method, condition):
                trial = choices[condition.held_in.name, method].trial
                more = {"method": method, "factor": trial.factor, "knob": trial.knob, "updates": scope.updates}
                weight = size["lakes"] * _time(method, condition)
                parts.append(StudyPart("results", f"{method} {condition.name}", weight, run_chosen, {**arguments, **more}))
    return parts


def _time(method: str, condition: Condition) -> float:
    return SLOW.get(method, 6.0 if find_method(method).draws else 1.0) * (2.0 if condition.dynamics == "slippery" else 1.0)


def chosen_trials(trials: Columns) -> dict[tuple[str, str], Choice]:
    """Return each method's choice for each held-in condition."""
    keys = list(dict.fromkeys(zip(trials["condition"], trials["method"], strict=True)))
    return {
        (condition, method): choose(
            select(trials, (trials["condition"] == condition) & (trials["method"] == method)), str(method)
        )
        for condition, method in keys
    }


def run_study(scope: FrontierScope, settings: Mapping[str, Any], folder: Path, workers: int) -> dict[str, Columns]:
    """Run all parts that are not saved yet; write and return the tables of trials and of results.

    Args:
        scope: how large the study is.
        settings: of the command, kept with each table.
        folder: where parts and tables are saved.
        workers: number of processes.
    """
    parts = trial_parts(scope)
    run_parts(parts, folder, workers)
    tables = collect_tables(parts, folder)
    parts = chosen_parts(scope, chosen_trials(tables["trials"]))
    run_parts(parts, folder, workers)
    tables |= collect_tables(parts, folder)
    for name, columns in tables.items():
        write_table(columns, folder / f"{name}.csv.gz", {"study": name, "settings": dict(settings), "versions": versions()})
    return load(folder)


def load(folder: Path) -> dict[str, Columns]:
    """Read the tables of a finished study; raise a ValueError if there are none."""
    tables = {}
    for name in ("trials", "results"):
        path = folder / f"{name}.csv.gz"
        if not path.exists():
            raise ValueError(f"--redraw: {path} is not there; allowed: the --out of a finished run")
        tables[name] = load_table(path)[0]
        with naming(path, "a table of the study"):
            missing = [column for column in ("condition", "method", "lake") if column not in tables[name]]
            if missing:
                raise ValueError(f"it has no column {missing[0]}")
    return tables


def report(tables: Mapping[str, Columns], folder: Path, theme: str) -> tuple[list[Table], list[Path], dict[str, Any]]:
    """Answer the questions: write findings.json and the figures; return a table for each question, paths, and all
    numbers by their names."""
    table, choices = StudyTable(tables["results"]), chosen_trials(tables["trials"])
    answers = answer_questions(table)
    on_edge = {m for (held_in, m), choice in choices.items() if choice.on_edge and not Condition.parse(held_in).flipped}
    numbers = findings(answers, on_edge)
    content = json.dumps({"findings": numbers, "choices": _choices(choices)}, indent=1, allow_nan=False)
    paths = [write_atomically(folder / "findings.json", f"{content}\n".encode())]
    paths += draw_figures(table, answers, folder, theme, on_edge)
    return [_table_of(key, answers[key], on_edge) for key in answers if answers[key]], paths, numbers | _choices(choices)


def findings(answers: Mapping[str, Sequence[Answer]], on_edge: Collection[str]) -> dict[str, Any]:
    """Return all answers as plain numbers, by "question method"; a number that there is not is None."""
    result = {}
    for key, each in answers.items():
        for place, answer in enumerate(each, 1):
            numbers = asdict(answer.effect) | {"mean": answer.mean[0], "mean_low": answer.mean[1], "mean_high": answer.mean[2]}
            numbers |= {"rate": answer.rate, "share": answer.share, "conditions": answer.conditions, "place": place}
            numbers |= {"diverged": answer.diverged, "clear": answer.is_clear, "against": answer.against}
            numbers["on_edge"] = answer.method in on_edge
            result[f"{key} {answer.method}"] = {name: _plain(value) for name, value in numbers.items()}
    return result


def _choices(choices: Mapping[tuple[str, str], Choice]) -> dict[str, Any]:
    return {
        f"{method} {condition}": {
            **asdict(choice.trial), "regret": _plain(choice.regret), "on_edge": choice.on_edge
        }
        for (condition, method), choice in choices.items()
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _table_of(key: str, answers: Sequence[Answer], on_edge: Collection[str]) -> Table:
    question = next(question for question in QUESTIONS if question.key == key)
    table = Table(title=f"{question.title} {question.measure}", title_justify="left", caption_justify="left")
    if on_edge:
        table.caption = f"{EDGE} best trial on an edge of what was tried"
    for name in ("method", "mean", "against", "difference", "share of conditions", "diverged"):
        table.add_column(name, justify="left" if name in ("method", "against") else "right")
    for answer in answers:
        effect = answer.effect
        difference = format_effect(effect.value, effect.low, effect.high, digits=3)
        share = "" if np.isnan(answer.share) else f"{answer.share:.0%} of {answer.conditions}"
        against = "base" if answer.against == "base" else method_name(answer.against)
        mark = f" {EDGE}" if answer.method in on_edge else ""
        table.add_row(
            f"{method_name(answer.method)}{mark}",
            f"{answer.mean[0]:.3f}",
            against,
            difference,
            share,
            str(answer.diverged or ""),
        )
    return table
