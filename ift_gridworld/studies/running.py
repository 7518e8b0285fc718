"""Run one setting: train and measure every method on its lakes and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ift_gridworld.evaluation.selection import (
    Point,
    best_checkpoint,
    best_key,
    beyond_edges,
    is_on_edge,
    is_sound,
    nearest_rate,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.registry import find_method
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.studies.data import SeedData, draw_data
from ift_gridworld.studies.measures import estimation_errors, measure_policies, mixing_effects
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns, concatenate_tables
from ift_gridworld.training.lakes import train_lakes

__all__ = ["CHECKPOINTS", "EXTENSIONS", "LEARNING_RATES", "run_setting", "spread"]

CHECKPOINTS = (0, 10, 20, 40, 80, 150, 300)  # updates after which policies are measured; the best one is never 0
LEARNING_RATES = (0.003, 0.01, 0.03, 0.1)  # the same for every method
EXTENSIONS = 2  # how often the claims' grid is extended where a method's best point lies on its edge


def run_setting(
    setting: Setting,
    *,
    methods: Sequence[str] = ("sft", "ift", "dpo", "orpo"),
    rates: Sequence[float] = LEARNING_RATES,
    seeds: int = 2,
    seed: int = 0,
    keep: Sequence[int] = CHECKPOINTS,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    freeze: Sequence[str] = (),
    only: Sequence[str] | None = None,
    extensions: int = 0,
) -> Columns:
    """Train and measure every method at every rate on every lake and seed of a setting, from the same bases and data.

    With `extensions` a method whose best point lies on an edge of its grid is run beyond it as well, and beta is on the grid of
    methods that learn from pairs: at first their default alone, with an edge on both sides. The best point is chosen as
    the claims choose it, by least mean distance over lakes and seeds, at the last and at the best checkpoint.

    Args:
        setting: the setting.
        methods: names in METHODS or VARIANTS, or any of the keys of `options`.
        rates: learning rates.
        seeds: number of seeds.
        seed: the first of them.
        keep: checkpoints, 0 first and the last update last.
        options: for a method's row name, settings of the method laid over the defaults, and "method", if it differs.
        freeze: names of parameters that are not trained: w1 is a network's embedding of tiles.
        only: measures to save (default: all).
        extensions: how often the grid of a method may be extended.

    Returns:
        A tidy table as columns; rows of method "base" are the base policy's. "beta" is empty for the method's default;
        "on_edge" is 1 in rows of a point beyond which, on some axis, nothing was tried. Lakes on which no two answers ever
        return different (slippery ones that nobody crosses) have no rows.
    """
    runs = [_GroupRun(setting, group, seeds, seed, keep, only) for group in _groups(setting, seeds, seed)]
    tables = [table for run in runs for table in run.base_rows()]
    for name in methods:
        changes = dict((options or {}).get(name, {}))
        kind = find_method(changes.pop("method", name))
        has_beta = extensions > 0 and kind.needs == "pairs" and "beta" not in changes
        beta = (asdict(kind.options_type())["beta"],) if has_beta else ()
        grid = [(rate, *beta) for rate in rates]
        common = grid[nearest_rate(rates, setting.common_rate)]
        tables += _search(runs, _Candidate(name, kind, changes, freeze, grid, common), extensions)
    return concatenate_tables(tables, only)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A method as the rows of one name run it.

    Attributes:
        name: of the rows.
        kind: the method.
        changes: options laid over the method's defaults.
        freeze: names of parameters that are not trained.
        grid: points that are run in any case, all with the method's default beta.
        common: the one of them that is common to all methods.
    """

    name: str
    kind: type[Method[Any]]
    changes: Mapping[str, Any]
    freeze: Sequence[str]
    grid: Sequence[Point]
    common: Point


def _search(runs: Sequence[_GroupRun], candidate: _Candidate, extensions: int) -> list[Columns]:
    """Run a method on its grid and, as often as `extensions` allows, beyond the edges that its best points lie on."""
    waiting = list(candidate.grid)
    tried: dict[Point, list[Columns]] = {}
    for left in range(extensions if runs else -1, -1, -1):
        for beta in dict.fromkeys(point[1:] for point in waiting):
            together = [point for point in waiting if point[1:] == beta]
            for run in runs:
                for point, tables in zip(together, run.method_rows(candidate, together), strict=True):
                    tried.setdefault(point, []).extend(tables)
        waiting = _beyond(tried) if left else []
    for point, tables in tried.items():
        for table in tables:
            table["on_edge"] = np.full(len(table["method"]), int(is_on_edge(point, tried)), object)
    return [table for tables in tried.values() for table in tables]


def _beyond(tried: Mapping[Point, Sequence[Columns]]) -> list[Point]:
    """Return the points beyond the edges that the best point lies on, at the last or at the best checkpoint."""
    points: list[Point] = []
    for checkpoint in ("last", "best"):
        scores = {
            point: float(np.concatenate([t["distance"] for t in tables if t["checkpoint"][0] == checkpoint]).mean())
            for point, tables in tried.items()
        }
        best = best_key(scores)
        if is_sound(scores[best]):
            points += beyond_edges(tried, best)
    return list(dict.fromkeys(points))


@dataclass(frozen=True, eq=False)
class _Group:
    """Lakes of one size, which are trained in one run.

    Attributes:
        names: of the lakes.
        lakes: their MDPs.
        data: of each lake and seed.
        offset: number of policies of the groups before.
    """

    names: list[str]
    lakes: list[TabularMDP]
    data: list[list[SeedData]]
    offset: int


def _groups(setting: Setting, seeds: int, seed: int) -> Iterator[_Group]:
    """Yield the setting's lakes in groups of one size; leave out those without data."""
    sizes: dict[int, list[tuple[str, TabularMDP]]] = {}
    for name, lake in setting.lakes:
        sizes.setdefault(lake.num_states, []).append((name, lake))
    offset = 0
    for same_size in sizes.values():
        group = _Group([], [], [], offset)
        for name, lake in same_size:
            try:
                data = draw_data(lake, setting.demonstrations, seeds, seed)
            except ValueError as error:
                raise ValueError(f"lake {name}: {error}") from error
            if data is not None:
                group.names.append(name)
                group.lakes.append(lake)
                group.data.append(data)
        if group.lakes:
            yield group
            offset += seeds * len(group.lakes)


class _GroupRun:
    """The bases of a group, and what methods make of them.

    Policies of all lakes, points and seeds are members of one population, in this order: [lakes L, points P, seeds N].
    """

    def __init__(
        self, setting: Setting, group: _Group, seeds: int, seed: int, keep: Sequence[int], only: Sequence[str] | None
    ) -> None:
        self.setting, self.group, self.seeds, self.seed = setting, group, seeds, seed
        self.keep, self.only = keep, only
        count = len(group.lakes)
        self.base = setting.make_base(group.lakes, seeds, seed + group.offset)
        self.matrices = self.base.probabilities().reshape(count, seeds, self.base.num_states, self.base.num_actions)

    def base_rows(self) -> list[Columns]:
        """Return the rows of the bases, a table a lake."""
        tables = []
        for i, lake in enumerate(self.group.lakes):
            measured = measure_policies(lake, self.matrices[i][None, None], self.matrices[i], self.group.data[i], self.only)
            labels = {"method": "base", "rate": "", "beta": "", "checkpoint": "base", "update": 0, "on_edge": 0}
            tables.append(self._rows(i, labels, {name: values[0, 0] for name, values in measured.items()}))
        return tables

    def method_rows(self, candidate: _Candidate, points: Sequence[Point]) -> list[list[Columns]]:
        """Train a method at points of one beta and return, for each of them, its rows: a table a lake and checkpoint."""
        rates = [rate for rate, *_ in points]
        policy = self.base.members(spread(len(self.group.lakes), len(rates), self.seeds))
        for parameter in candidate.freeze:
            getattr(policy, parameter).requires_grad_(False)
        beta = points[0][1:]
        changes = {**candidate.changes, **({"beta": beta[0]} if beta else {})}
        policies = self._train(candidate.kind, policy, rates, changes)  # [M, L, P, N, S, A]
        tables: list[list[Columns]] = [[] for _ in points]
        for i, (lake, data) in enumerate(zip(self.group.lakes, self.group.data, strict=True)):
            measured = measure_policies(lake, policies[:, i], self.matrices[i], data, self.only)
            of_last: dict[str, Float[np.ndarray, "P N"]] = {}
            if self._wants("bias") and candidate.common in points:
                of_last |= self._estimation(candidate.kind, i, policy, changes, points.index(candidate.common), len(points))
            if "ift" in candidate.kind.assumed_prior and self._wants("missed", "right", "push"):
                of_last |= mixing_effects(lake, policies[:, i], [seed.demonstrations for seed in data])
            for p, rate in enumerate(rates):
                labels = {"method": candidate.name, "rate": rate, "beta": "" if beta == candidate.grid[0][1:] else beta[0]}
                of_point = {name: values[:, p] for name, values in measured.items()}
                tables[p] += self._checkpoint_rows(i, labels, of_point, {name: values[p] for name, values in of_last.items()})
        return tables

    def _wants(self, *measures: str) -> bool:
        """Return whether any of these measures is to be saved."""
        return self.only is None or bool(set(measures) & set(self.only))

    def _train(
        self, kind: type[Method[Any]], policy: LakePolicy, rates: Sequence[float], changes: Mapping[str, Any]
    ) -> Float[np.ndarray, "M L P N S A"]:
        """Train all members at once, each on its seed's data at its own rate."""
        lakes = len(self.group.lakes)
        members = [self.group.data[m // self.seeds][m % self.seeds] for m in spread(lakes, len(rates), self.seeds)]
        policies = train_lakes(
            kind,
            self.group.lakes,
            policy,
            keep=self.keep,
            seed=self.seed,
            demonstrations=[member.demonstrations for member in members],
            preferences=[(member.chosen, member.rejected) for member in members],
            rates=torch.tensor(rates, dtype=torch.float32).repeat_interleave(self.seeds).repeat(lakes),
            optimiser=self.setting.optimiser,
            **changes,
        )
        return policies.reshape(len(self.keep), lakes, len(rates), self.seeds, policy.num_states, policy.num_actions)

    def _estimation(
        self, kind: type[Method[Any]], lake: int, policy: LakePolicy, changes: Mapping[str, Any], common: int, points: int
    ) -> dict[str, Float[np.ndarray, "P N"]]:
        """Return the errors of preference estimation, before and after training, at the common point (else NaN)."""
        first = (lake * points + common) * self.seeds
        before = self.base.members(range(lake * self.seeds, (lake + 1) * self.seeds))
        after = policy.members(range(first, first + self.seeds))
        columns: dict[str, Float[np.ndarray, "P N"]] = {}
        for when, model in (("base_", before), ("", after)):
            errors = estimation_errors(kind, self.group.lakes[lake], model, self.group.data[lake], changes)
            for name, values in errors.items():
                columns[f"{when}{name}"] = np.full((points, self.seeds), np.nan)
                columns[f"{when}{name}"][common] = values
        return columns

    def _checkpoint_rows(
        self,
        lake: int,
        labels: Mapping[str, object],
        measured: Mapping[str, Float[np.ndarray, "M N"]],
        of_last: Mapping[str, Float[np.ndarray, " N"]],
    ) -> list[Columns]:
        """Return the rows of the last and of the best checkpoint of one point; measures `of_last` are the last one's alone."""
        tables = []
        for checkpoint, at in (("last", len(self.keep) - 1), ("best", best_checkpoint(measured["distance"]))):
            values = {name: each[at] for name, each in measured.items()}
            if checkpoint == "last":
                values |= of_last
            tables.append(self._rows(lake, {**labels, "checkpoint": checkpoint, "update": self.keep[at]}, values))
        return tables

    def _rows(self, lake: int, labels: Mapping[str, object], values: Mapping[str, Float[np.ndarray, " N"]]) -> Columns:
        """Return the rows of all seeds of one lake."""
        same: dict[str, object] = {field.name: getattr(self.setting, field.name) for field in fields(self.setting)}
        same |= {"lake": self.group.names[lake], **labels}
        columns: Columns = {name: np.full(self.seeds, value, object) for name, value in same.items()}
        columns["seed"] = np.arange(self.seed, self.seed + self.seeds).astype(object)
        return columns | {name: np.asarray(each, float) for name, each in values.items()}


def spread(lakes: int, points: int, seeds: int) -> list[int]:
    """Return, for each member [lakes, points, seeds], the base that it starts from, of those in order [lakes, seeds].

    Example:
        >>> spread(lakes=2, points=2, seeds=2)
        [0, 1, 0, 1, 2, 3, 2, 3]
    """
    return [lake * seeds + i for lake in range(lakes) for _ in range(points) for i in range(seeds)]
