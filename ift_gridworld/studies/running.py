"""Run one setting: train and measure every method on its lakes and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.registry import find_method
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.studies.data import SeedData, draw_data
from ift_gridworld.studies.measures import estimation_errors, measure_policies, mixing_effects
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns, concatenate_tables
from ift_gridworld.training.lakes import train_lakes

__all__ = ["CHECKPOINTS", "LEARNING_RATES", "run_setting"]

CHECKPOINTS = (0, 10, 20, 40, 80, 150, 300)  # updates after which policies are measured; the best one is never 0
LEARNING_RATES = (0.003, 0.01, 0.03, 0.1)  # the same for every method


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
) -> Columns:
    """Train and measure every method at every rate on every lake and seed of a setting, from the same bases and data.

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

    Returns:
        A tidy table as columns; rows of method "base" are the base policy's. Lakes on which no two answers ever return
        different (slippery ones that nobody crosses) have no rows.
    """
    tables: list[Columns] = []
    for group in _groups(setting, seeds, seed):
        run = _GroupRun(setting, group, rates, seeds, seed, keep, only)
        tables += run.base_rows()
        for name in methods:
            tables += run.method_rows(name, (options or {}).get(name, {}), freeze)
    return concatenate_tables(tables, only)


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

    Policies of all lakes, rates and seeds are members of one population, in this order: [lakes L, rates P, seeds N].
    """

    def __init__(
        self,
        setting: Setting,
        group: _Group,
        rates: Sequence[float],
        seeds: int,
        seed: int,
        keep: Sequence[int],
        only: Sequence[str] | None,
    ) -> None:
        self.setting, self.group, self.rates, self.seeds, self.seed = setting, group, rates, seeds, seed
        self.keep, self.only = keep, only
        count = len(group.lakes)
        self.base = setting.make_base(group.lakes, seeds, seed + group.offset)
        self.matrices = self.base.probabilities().reshape(count, seeds, self.base.num_states, self.base.num_actions)
        self.spread = [lake * seeds + i for lake in range(count) for _ in rates for i in range(seeds)]
        self.common = min(range(len(rates)), key=lambda r: abs(np.log(rates[r] / setting.common_rate)))

    def base_rows(self) -> list[Columns]:
        """Return the rows of the bases, a table a lake."""
        tables = []
        for i, lake in enumerate(self.group.lakes):
            measured = measure_policies(lake, self.matrices[i][None, None], self.matrices[i], self.group.data[i], self.only)
            labels = {"method": "base", "rate": "", "checkpoint": "base", "update": 0}
            tables.append(self._rows(i, labels, {name: values[0, 0] for name, values in measured.items()}))
        return tables

    def method_rows(self, name: str, options: Mapping[str, Any], freeze: Sequence[str]) -> list[Columns]:
        """Train a method at every rate and return its rows: a table a lake, rate and checkpoint."""
        changes = dict(options)
        kind = find_method(changes.pop("method", name))
        policy = self.base.members(self.spread)
        for parameter in freeze:
            getattr(policy, parameter).requires_grad_(False)
        policies = self._train(kind, policy, changes)  # [M, L, P, N, S, A]
        tables = []
        for i, (lake, data) in enumerate(zip(self.group.lakes, self.group.data, strict=True)):
            measured = measure_policies(lake, policies[:, i], self.matrices[i], data, self.only)
            of_last: dict[str, Float[np.ndarray, "P N"]] = {}
            if self._wants("bias"):
                of_last |= self._estimation(kind, i, policy, changes)
            if "ift" in kind.assumed_prior and self._wants("missed", "right", "push"):
                of_last |= mixing_effects(lake, policies[:, i], [seed.demonstrations for seed in data])
            tables += self._checkpoint_rows(i, name, measured, of_last)
        return tables

    def _wants(self, *measures: str) -> bool:
        """Return whether any of these measures is to be saved."""
        return self.only is None or bool(set(measures) & set(self.only))

    def _train(
        self, kind: type[Method[Any]], policy: LakePolicy, changes: Mapping[str, Any]
    ) -> Float[np.ndarray, "M L P N S A"]:
        """Train all members at once, each on its seed's data at its own rate."""
        members = [self.group.data[m // self.seeds][m % self.seeds] for m in self.spread]
        each = torch.tensor(self.rates, dtype=torch.float32).repeat_interleave(self.seeds).repeat(len(self.group.lakes))
        policies = train_lakes(
            kind,
            self.group.lakes,
            policy,
            keep=self.keep,
            seed=self.seed,
            demonstrations=[member.demonstrations for member in members],
            preferences=[(member.chosen, member.rejected) for member in members],
            rates=each,
            optimiser=self.setting.optimiser,
            **changes,
        )
        sizes = len(self.keep), len(self.group.lakes), len(self.rates), self.seeds
        return policies.reshape(*sizes, policy.num_states, policy.num_actions)

    def _estimation(
        self, kind: type[Method[Any]], lake: int, policy: LakePolicy, changes: Mapping[str, Any]
    ) -> dict[str, Float[np.ndarray, "P N"]]:
        """Return the errors of preference estimation, before and after training, at the common rate (else NaN)."""
        first = (lake * len(self.rates) + self.common) * self.seeds
        before = self.base.members(range(lake * self.seeds, (lake + 1) * self.seeds))
        after = policy.members(range(first, first + self.seeds))
        columns: dict[str, Float[np.ndarray, "P N"]] = {}
        for when, model in (("base_", before), ("", after)):
            errors = estimation_errors(kind, self.group.lakes[lake], model, self.group.data[lake], changes)
            for name, values in errors.items():
                columns[f"{when}{name}"] = np.full((len(self.rates), self.seeds), np.nan)
                columns[f"{when}{name}"][self.common] = values
        return columns

    def _checkpoint_rows(
        self,
        lake: int,
        method: str,
        measured: Mapping[str, Float[np.ndarray, "M P N"]],
        of_last: Mapping[str, Float[np.ndarray, "P N"]],
    ) -> list[Columns]:
        """Return the rows of the last and of the best checkpoint at every rate; measures `of_last` are the last one's alone."""
        tables = []
        for r, rate in enumerate(self.rates):
            mean = measured["distance"][1:, r].mean(-1)
            best = 1 + int(np.argmin(np.where(np.isfinite(mean), mean, np.inf)))
            for checkpoint, at in (("last", len(self.keep) - 1), ("best", best)):
                values = {name: each[at, r] for name, each in measured.items()}
                if checkpoint == "last":
                    values |= {name: each[r] for name, each in of_last.items()}
                labels = {"method": method, "rate": rate, "checkpoint": checkpoint, "update": self.keep[at]}
                tables.append(self._rows(lake, labels, values))
        return tables

    def _rows(self, lake: int, labels: Mapping[str, object], values: Mapping[str, Float[np.ndarray, " N"]]) -> Columns:
        """Return the rows of all seeds of one lake."""
        same: dict[str, object] = {field.name: getattr(self.setting, field.name) for field in fields(self.setting)}
        same |= {"lake": self.group.names[lake], **labels}
        columns: Columns = {name: np.full(self.seeds, value, object) for name, value in same.items()}
        columns["seed"] = np.arange(self.seed, self.seed + self.seeds).astype(object)
        return columns | {name: np.asarray(each, float) for name, each in values.items()}
