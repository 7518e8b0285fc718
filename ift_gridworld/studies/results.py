"""The rows of a study by setting: each setting's measures as arrays of lakes and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.studies.claims import Claim, View
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns

__all__ = ["SettingResults", "SettingsTable", "settings_table", "strata"]


class SettingResults:
    """Results of one setting by method, rate and checkpoint: each an array [L, N] of lakes and seeds.

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
        self._index: dict[tuple[str, str, str], Int[np.ndarray, "L N"]] = {}
        self._rates: dict[tuple[str, str, str], str] = {}
        names = ("method", "rate", "checkpoint", "lake", "seed")
        for row, method, rate, checkpoint, lake_name, seed_number in zip(rows, *(columns[n][rows] for n in names), strict=True):
            key = (method, "" if rate == "" or rate != rate else f"{float(rate):g}", checkpoint)
            table = self._index.setdefault(key, np.full((len(lake), len(seed)), -1))
            table[lake[lake_name], seed[seed_number]] = row

    @cached_property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, _, _ in self._index))

    def rates(self, method: str) -> list[str]:
        return list(dict.fromkeys(rate for name, rate, _ in self._index if name == method))

    def at(self, measure: str, method: str, rate: str, checkpoint: str) -> Float[np.ndarray, "L N"]:
        """Return a measure at one rate and checkpoint; NaN where there is none."""
        index = self._index[method, rate, checkpoint]
        return np.where(index >= 0, self.columns[measure][index], np.nan).astype(float)

    def rate(self, method: str, view: View) -> str:
        """Return a method's rate at this view. Its own best has the least mean distance at the view's checkpoint."""
        key = (method, view.rate, view.checkpoint)
        if key not in self._rates:
            rates = self.rates(method)
            if view.rate == "common":
                cost = [abs(np.log(float(rate) / self.common)) for rate in rates]
            else:
                cost = [self.at("distance", method, rate, view.checkpoint).mean() for rate in rates]
            self._rates[key] = rates[int(np.argmin(np.where(np.isfinite(cost), cost, np.inf)))]
        return self._rates[key]

    def measure(self, measure: str, method: str, view: View) -> Float[np.ndarray, "L N"]:
        """Return a measure of a method at a view."""
        return self.at(measure, method, self.rate(method, view), view.checkpoint)

    def base(self, measure: str) -> Float[np.ndarray, "L N"]:
        """Return a measure of the base policies."""
        return self.at(measure, "base", "", "base")

    def difference(self, claim: Claim, view: View) -> Float[np.ndarray, "L N"]:
        """Return the first method's measure less the second's, for each lake and seed."""
        return self.measure(claim.measure, claim.first, view) - self.measure(claim.measure, claim.second, view)


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
    """Return each setting's kind of lake and ice, within which settings are resampled."""
    return [(setting.family, setting.ice) for setting, _ in settings.values()]
