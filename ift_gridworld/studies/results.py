"""The rows of a study by setting: each setting's measures as arrays of lakes and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.evaluation.selection import best_key, nearest_rate
from ift_gridworld.studies.claims import Claim, View
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns

__all__ = ["Knobs", "SettingResults", "SettingsTable", "settings_table", "strata"]


class Knobs(NamedTuple):
    """Options that a method was run with, as text: learning rate, and beta (empty for the method's default, or none)."""

    rate: str
    beta: str


class SettingResults:
    """Results of one setting by method, rate, beta and checkpoint: each an array [L, N] of lakes and seeds.

    Args:
        columns: a table of `running.run_setting`.
        rows: indices of this setting's rows.
        common: the rate that is common to all methods.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], rows: Int[np.ndarray, " R"], common: float) -> None:
        self.columns, self.common = columns, common
        self.lakes = list(dict.fromkeys(columns["lake"][rows]))
        self.seeds = sorted(set(columns["seed"][rows]))
        lake, seed = ({value: i for i, value in enumerate(values)} for values in (self.lakes, self.seeds))
        self._index: dict[tuple[str, Knobs, str], Int[np.ndarray, "L N"]] = {}
        self._chosen: dict[tuple[str, View], Knobs] = {}
        beta = columns.get("beta", np.full(len(columns["rate"]), "", object))
        names = ("method", "rate", "checkpoint", "lake", "seed")
        values = zip(rows, beta[rows], *(columns[n][rows] for n in names), strict=True)
        for row, row_beta, method, rate, checkpoint, lake_name, seed_number in values:
            key = (method, Knobs(_spelled(rate), _spelled(row_beta)), checkpoint)
            table = self._index.setdefault(key, np.full((len(lake), len(seed)), -1))
            table[lake[lake_name], seed[seed_number]] = row

    @cached_property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, _, _ in self._index))

    def tried(self, method: str) -> list[Knobs]:
        """Return what a method was run with."""
        return list(dict.fromkeys(knobs for name, knobs, _ in self._index if name == method))

    def rates(self, method: str) -> list[str]:
        """Return the rates that a method was run at with its default beta."""
        return [rate for rate, beta in self.tried(method) if not beta]

    def at(self, measure: str, method: str, rate: str, checkpoint: str, beta: str = "") -> Float[np.ndarray, "L N"]:
        """Return a measure at one rate and checkpoint; NaN where there is none."""
        index = self._index[method, Knobs(rate, beta), checkpoint]
        return np.where(index >= 0, self.columns[measure][index], np.nan).astype(float)

    def chosen(self, method: str, view: View) -> Knobs:
        """Return what a method is compared at: the common rate with its default beta, or its own best rate and beta.

        The best have the least mean distance over lakes and seeds at the view's checkpoint.
        """
        if (method, view) not in self._chosen:
            if view.rate == "common":
                rates = self.rates(method)
                best = Knobs(rates[nearest_rate([float(rate) for rate in rates], self.common)], "")
            else:
                tried = self.tried(method)
                best = best_key({k: self.at("distance", method, k.rate, view.checkpoint, k.beta).mean() for k in tried})
            self._chosen[method, view] = best
        return self._chosen[method, view]

    def rate(self, method: str, view: View) -> str:
        """Return a method's rate at this view."""
        return self.chosen(method, view).rate

    def is_on_edge(self, method: str, view: View) -> bool:
        """Return whether a method's own best lies on an edge of its grid, so that a better one may lie beyond."""
        if view.rate == "common" or "on_edge" not in self.columns:
            return False
        index = self._index[method, self.chosen(method, view), view.checkpoint]
        return bool(np.any(self.columns["on_edge"][index[index >= 0]] == 1))

    def measure(self, measure: str, method: str, view: View) -> Float[np.ndarray, "L N"]:
        """Return a measure of a method at a view."""
        rate, beta = self.chosen(method, view)
        return self.at(measure, method, rate, view.checkpoint, beta)

    def base(self, measure: str) -> Float[np.ndarray, "L N"]:
        """Return a measure of the base policies."""
        return self.at(measure, "base", "", "base")

    def difference(self, claim: Claim, view: View) -> Float[np.ndarray, "L N"]:
        """Return the first method's measure less the second's, for each lake and seed."""
        return self.measure(claim.measure, claim.first, view) - self.measure(claim.measure, claim.second, view)


def _spelled(value: Any) -> str:
    """Return a number as short text; empty where there is none (NaN, as read from a file)."""
    return "" if value == "" or value != value else f"{float(value):g}"


SettingsTable = Mapping[str, tuple[Setting, SettingResults]]
"""Results of many settings, by the setting's name."""


def settings_table(columns: Columns) -> SettingsTable:
    """Sort the rows of a table by setting."""
    names = ("map", "ice", "base", "policy", "optimiser")
    rows: dict[tuple[Any, ...], list[int]] = {}
    for i, key in enumerate(zip(*(columns[n] for n in (*names, "demonstrations")), strict=True)):
        rows.setdefault(key, []).append(i)
    settings = {Setting.parse(",".join((*key[:-1], str(int(key[-1]))))): np.array(index) for key, index in rows.items()}
    return {setting.name: (setting, SettingResults(columns, index, setting.common_rate)) for setting, index in settings.items()}


def strata(settings: SettingsTable) -> list[tuple[str, str]]:
    """Return each setting's kind of lake and dynamics, within which settings are resampled."""
    return [(setting.family, setting.ice) for setting, _ in settings.values()]
