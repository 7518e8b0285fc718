"""Verdicts about the paper's claims: in each setting, and over many of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ift_gridworld.evaluation.statistics import Effect, false_discovery_rates, paired_effect, pooled_effect
from ift_gridworld.studies.claims import NEGLIGIBLE, ORDER, VIEWS, Claim, View, is_exploratory, is_tested
from ift_gridworld.studies.results import SettingResults, SettingsTable, strata
from ift_gridworld.studies.tables import Columns

__all__ = ["Summary", "Verdict", "follows_published_order", "judge_claims", "row_of", "summarise", "verdict", "words_among"]

SCRIPT = "python experiments/reproduction.py"
FALSE_DISCOVERIES = 0.05  # rate allowed among the settings in which a claim is said to hold, or to be reversed, clearly


@dataclass(frozen=True)
class Verdict:
    """The effect of a claim in one setting, and whether its interval leaves any doubt."""

    effect: Effect
    sign: int

    @property
    def holds(self) -> bool:
        return self.effect.value * self.sign > NEGLIGIBLE

    @property
    def word(self) -> str:
        """The verdict: holds, reversed (the interval leaves out zero), or unclear; none if nothing was compared."""
        if not self.effect.lakes:
            return "none"
        if not self.effect.is_clear or abs(self.effect.value) <= NEGLIGIBLE:
            return "unclear"
        return "holds" if self.effect.value * self.sign > 0 else "reversed"

    def word_among(self, rate: float) -> str:
        """Return the word as one verdict among many: unclear, too, where its false-discovery rate is too high."""
        return self.word if rate <= FALSE_DISCOVERIES or self.word == "none" else "unclear"


def verdict(results: SettingResults, claim: Claim, view: View) -> Verdict:
    """Test a claim in one setting at a view."""
    return Verdict(paired_effect(results.difference(claim, view)), claim.sign)


@dataclass(frozen=True)
class Summary:
    """A claim over many settings.

    Attributes:
        claim: the claim.
        view: the view at which it is tested.
        effect: pooled over settings, each of which counts alike (`statistics.pooled_effect`).
        settings: number of settings in which it can be tested.
        holds, clearly, against: share of them in which it holds, in which it holds clearly, and in which the reverse does
            clearly: with an interval that leaves out zero, and a false-discovery rate among the settings of at most 5 %.
    """

    claim: Claim
    view: View
    effect: Effect
    settings: int
    holds: float
    clearly: float
    against: float


def summarise(
    claim: Claim,
    view: View,
    results: Sequence[SettingResults],
    verdicts: Sequence[Verdict],
    strata: Sequence[Hashable],
) -> Summary:
    """Pool a claim's effect over settings and count the settings in which it holds."""
    effect = pooled_effect([each.difference(claim, view) for each in results], strata=strata)
    measured = [v for v in verdicts if v.effect.lakes]
    words = words_among(measured)
    outcomes = [v.holds for v in measured], [word == "holds" for word in words], [word == "reversed" for word in words]
    shares = [float(np.mean(outcome)) if measured else np.nan for outcome in outcomes]
    return Summary(claim, view, effect, len(measured), *shares)


def words_among(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the words of one claim's verdicts in many settings, corrected for their number."""
    rates = false_discovery_rates([v.effect.p for v in verdicts])
    return [v.word_among(rate) for v, rate in zip(verdicts, rates, strict=True)]


def follows_published_order(results: SettingResults, view: View, measure: str = "distance") -> bool:
    """Return whether DPO < IFT < ORPO and IFT < SFT, all at once."""
    return all(verdict(results, Claim(*pair, measure, -1), view).holds for pair in ORDER)


def judge_claims(settings: SettingsTable, claims: Sequence[Claim]) -> tuple[Columns, Columns]:
    """Test every claim at every view: return a table over all settings, and one of each setting."""
    pooled: list[dict[str, Any]] = []
    by_setting: list[dict[str, Any]] = []
    for claim, view in product(claims, VIEWS):
        if not is_tested(claim, view):
            continue
        labels = {"claim": claim.name, "first": claim.first, "second": claim.second, "measure": claim.measure}
        labels |= {"rate": view.rate, "checkpoint": view.checkpoint}
        verdicts = [verdict(results, claim, view) for _, results in settings.values()]
        edges = []
        for (name, (_, results)), one, corrected in zip(settings.items(), verdicts, words_among(verdicts), strict=True):
            on_edge = [method for method in (claim.first, claim.second) if results.is_on_edge(method, view)]
            edges.append(bool(on_edge))
            row = labels | {"setting": name, **_interval(one.effect), "p": one.effect.p, "verdict": one.word}
            row |= {"corrected": corrected, "on_edge": " ".join(on_edge)}
            by_setting.append(row | {"command": f"{SCRIPT} --setting {name} --claim '{claim.name}'"})
        total = summarise(claim, view, [results for _, results in settings.values()], verdicts, strata(settings))
        row = labels | {"settings": total.settings, **_interval(total.effect)}
        row |= {"holds": total.holds, "clearly": total.clearly, "reversed": total.against, "on_edge": float(np.mean(edges))}
        row["exploratory"] = "yes" if is_exploratory(claim, view) else "no"
        pooled.append(row | {"command": f"{SCRIPT} --claim '{claim.name}'"})
    return _table(pooled), _table(by_setting)


def _interval(effect: Effect) -> dict[str, float]:
    return {"effect": effect.value, "low": effect.low, "high": effect.high}


def _table(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Turn rows into columns: numbers as floats, all else as objects."""
    names = list(rows[0]) if rows else []
    columns = {name: [row[name] for row in rows] for name in names}
    return {name: np.array(values, float if _is_number(values[0]) else object) for name, values in columns.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.floating)


def row_of(pooled: Columns, claim: str, view: View) -> int:
    """Return the index of a claim's row at a view in a table over all settings."""
    matches = (pooled["claim"] == claim) & (pooled["rate"] == view.rate) & (pooled["checkpoint"] == view.checkpoint)
    return int(np.flatnonzero(matches)[0])
