"""The findings of the reproduction as named numbers, each of which experiments/README.md may quote.

Nothing here trains; everything is computed from saved tables, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from ift_gridworld.evaluation.selection import best_key, is_on_edge
from ift_gridworld.evaluation.statistics import Effect, is_clear, paired_effect, pooled_effect
from ift_gridworld.studies.claims import LAST, NEGLIGIBLE, ORDER, VIEWS, Claim, View
from ift_gridworld.studies.reproduction.design import HELD_IN
from ift_gridworld.studies.results import SettingResults, SettingsTable, settings_table
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns, select
from ift_gridworld.studies.verdicts import follows_published_order, verdict, words_among

__all__ = ["HeldOutEffect", "ablation_effects", "correlations", "findings", "held_out_effects", "saved_correlations"]

FEWEST_LAKES = 8  # of a setting within which a rank correlation is computed
ABLATION_KEYS = ("form", "prediction", "embedding", "mixing", "decay")
GROUPS: dict[str, Callable[[Setting], bool]] = {  # groups of settings in which correlations are pooled
    "all": lambda s: True,
    "firm, table": lambda s: s.ice == "firm" and s.policy == "tabular",
    "firm, network": lambda s: s.ice == "firm" and s.policy != "tabular",
    "slippery, table": lambda s: s.ice != "firm" and s.policy == "tabular",
    "slippery, network": lambda s: s.ice != "firm" and s.policy != "tabular",
}


def findings(tables: Mapping[str, Columns], settings: SettingsTable, pooled: Columns) -> dict[str, Any]:
    """Compute all findings that there are tables for.

    Args:
        tables: the study's tables by name.
        settings: the results of its table "claims".
        pooled: the verdicts over all settings (`verdicts.judge_claims`).
    """
    numbers: dict[str, Any] = {"settings": len(settings)}
    for view in VIEWS:
        follows = [follows_published_order(results, view) for _, results in settings.values()]
        numbers[f"whole published order, {view.name}"] = _share(follows)
    names = ("effect", "low", "high", "holds", "clearly", "reversed", "on_edge")
    for i, (claim, rate, checkpoint) in enumerate(zip(*(pooled[n] for n in ("claim", "rate", "checkpoint")), strict=True)):
        numbers[f"{claim}, {View(rate, checkpoint).name}"] = {n: _rounded(pooled[n][i]) for n in names} | {
            "clear": bool(is_clear(pooled["low"][i], pooled["high"][i]))
        }
    numbers |= _group_findings(settings)
    numbers |= _mixing_findings(settings)
    numbers |= _drain_findings(settings)
    for name, compute in (
        ("figure3", _game_findings),
        ("ablation", _ablation_findings),
        ("drain", _cure_findings),
        ("rewards", _reward_findings),
        ("variants", _variant_findings),
    ):
        if name in tables:
            numbers |= compute(tables[name])
    return numbers


def _share(values: Sequence[bool]) -> float | None:
    return _rounded(np.mean(values), 4) if len(values) else None


def _interval(effect: Effect) -> dict[str, Any]:
    return {name: _rounded(getattr(effect, name)) for name in ("value", "low", "high")} | {"clear": effect.is_clear}


def _rounded(value: float | np.floating, digits: int = 6) -> float | None:
    """Round to what JSON can hold: None for NaN."""
    return None if np.isnan(value) else round(float(value), digits)


# ---- in which settings IFT ends nearer, and in the paper's own game ----


def _counts(settings: SettingsTable, claim: Claim, view: View) -> dict[str, int]:
    """Count the settings in which a claim holds, holds clearly, is reversed clearly, and in which there is no difference."""
    verdicts = [verdict(results, claim, view) for _, results in settings.values()]
    words = words_among(verdicts)
    ties = sum(abs(one.effect.value) <= NEGLIGIBLE for one in verdicts)
    counts = {"settings": sum(word != "none" for word in words), "holds": sum(one.holds for one in verdicts), "ties": ties}
    return counts | {"clearly": words.count("holds"), "reversed": words.count("reversed")}


def _group_findings(settings: SettingsTable) -> dict[str, Any]:
    """Report IFT against SFT by group of settings: what is pooled over all of them may differ between groups."""
    two_paths = {"firm, two paths, network": lambda s: GROUPS["firm, network"](s) and s.map.startswith("two-paths")}
    return {
        f"ift<sft:distance, {view.name}, {group}": _counts(chosen, Claim("ift", "sft", "distance", -1), view)
        for group, belongs in (GROUPS | two_paths).items()
        for view in VIEWS
        if (chosen := {name: entry for name, entry in settings.items() if belongs(entry[0])})
    }


def _game_findings(columns: Columns) -> dict[str, Any]:
    """Report the published order in the paper's own game: two paths, a two-layer network, one optimal path as target."""
    settings = settings_table(columns)
    claims = [Claim(*pair, "distance", -1) for pair in ORDER]
    return {f"paper's game, {c.name}, {view.name}": _counts(settings, c, view) for c, view in product(claims, VIEWS)}


# ---- what mixing teaches, and what the distance does ----


def rank_correlations(settings: SettingsTable, predictor: str) -> list[tuple[Setting, float]]:
    """Correlate, within each setting of many lakes, a predictor with how much further from T* IFT ends than SFT.

    Settings differ in too much else for their lakes to be compared with one another.
    """
    ranks = []
    for setting, results in settings.values():
        predicted = results.measure(predictor, "ift", LAST).mean(-1)
        change = results.difference(Claim("ift", "sft", "distance", -1), LAST).mean(-1)
        finite = np.isfinite(predicted) & np.isfinite(change)
        if finite.sum() >= FEWEST_LAKES and np.ptp(predicted[finite]) > 0 and np.ptp(change[finite]) > 0:
            ranks.append((setting, float(spearmanr(predicted[finite], change[finite]).statistic)))
    return ranks


def correlations(settings: SettingsTable, predictor: str) -> dict[str, Effect]:
    """Pool the rank correlation over each group of settings (`Effect.share`: the share of them in which it is negative)."""
    ranks = rank_correlations(settings, predictor)
    return {
        group: pooled_effect([np.array([[rank]]) for setting, rank in ranks if belongs(setting)])
        for group, belongs in GROUPS.items()
    }


def _mixing_findings(settings: SettingsTable) -> dict[str, Any]:
    """Report whether what mixing teaches the mixed-in tiles predicts which of IFT and SFT ends nearer to T*."""
    numbers: dict[str, Any] = {}
    for name, is_firm in (("firm", True), ("slippery", False)):
        each = [results for setting, results in settings.values() if (setting.ice == "firm") == is_firm]
        for measure in ("missed", "right"):
            values = np.concatenate([np.zeros(0), *(results.measure(measure, "ift", LAST).ravel() for results in each)])
            values = values[np.isfinite(values)]
            numbers[f"{measure}, mean over lakes and seeds, {name}"] = round(float(values.mean()), 4) if len(values) else None
    for predictor in ("right", "push"):
        for group, effect in correlations(settings, predictor).items():
            counts = {"settings": effect.lakes, "negative": _rounded(effect.share, 4)}
            numbers[_correlation_key(predictor, group)] = _interval(effect) | counts
    return numbers


def _correlation_key(predictor: str, group: str) -> str:
    return f"rank correlation of {predictor} with IFT - SFT within a setting, {group}"


def saved_correlations(numbers: Mapping[str, Any]) -> dict[str, dict[str, Effect]]:
    """Return the rank correlations among findings, by predictor and group; without groups of fewer than two settings."""
    saved = {
        predictor: {group: numbers.get(_correlation_key(predictor, group)) for group in GROUPS}
        for predictor in ("right", "push")
    }
    return {
        predictor: {
            group: Effect(each["value"], each["low"], each["high"], each["negative"], each["settings"], 1)
            for group, each in groups.items()
            if each and each["settings"] > 1
        }
        for predictor, groups in saved.items()
    }


# ---- what pairs do to the preferred answer ----


def _drain_findings(settings: SettingsTable) -> dict[str, Any]:
    """Report what offline DPO does to the preferred answer and to moves that no answer takes, over all settings."""
    numbers: dict[str, Any] = {}
    for policy, label in (("", ""), ("tabular", ", table"), ("mlp", ", network")):
        each = [results for setting, results in settings.values() if setting.policy.startswith(policy)]
        if not each:
            continue
        for method in ("dpo", "orpo", "sft"):
            fell = [float((r.measure("chosen_logp", method, LAST) - r.base("chosen_logp")).mean()) < 0 for r in each]
            grew = [r.measure("unseen", method, LAST) - r.base("unseen") for r in each]
            numbers[f"preferred answer less likely than in the base, {method}{label}"] = _share(fell)
            numbers[f"unseen moves, change, {method}{label}"] = _interval(pooled_effect(grew))
    return numbers


def _cure_findings(columns: Columns) -> dict[str, Any]:
    """Report the change since the base for DPO and the methods that are meant to cure it, over the settings of that study."""
    settings = settings_table(columns)
    numbers: dict[str, Any] = {}
    for method in next(iter(settings.values()))[1].methods:
        if method == "base":
            continue
        for measure in ("chosen_logp", "unseen", "distance", "success"):
            change = [results.measure(measure, method, LAST) - results.base(measure) for _, results in settings.values()]
            numbers[f"change since the base, {method}: {measure}"] = _interval(pooled_effect(change))
    return numbers


def _reward_findings(columns: Columns) -> dict[str, Any]:
    """Report where PPO ends with the environment's reward and with a learned one."""
    numbers: dict[str, Any] = {}
    for name, (_, results) in settings_table(columns).items():
        for method in results.methods:
            rate = "" if method == "base" else results.rate(method, LAST)
            for measure in ("success", "regret", "distance"):
                values = results.at(measure, method, rate, "base" if method == "base" else "last")
                numbers[f"{name} {method}: {measure}"] = round(float(values.mean()), 4)
    return numbers


# ---- the ablation ----


def ablation_effects(columns: Columns, measure: str) -> dict[tuple[str, ...], Effect]:
    """Return IFT less SFT, paired by lake and seed, for each (dynamics, form, prediction, embedding, mixing, decay)."""
    values: dict[tuple[str, ...], dict[tuple[str, float], float]] = {}
    rows = select(columns, (columns["checkpoint"] == "last") & (columns["method"] != "base"))
    names = ("ice", *ABLATION_KEYS, "lake", "seed", measure)
    for ice, form, prediction, embedding, mixing, decay, lake, seed, value in zip(*(rows[n] for n in names), strict=True):
        key = (*map(str, (ice, form, prediction, embedding)), f"{float(mixing):g}", f"{float(decay):g}")
        values.setdefault(key, {})[str(lake), float(seed)] = float(value)
    effects: dict[tuple[str, ...], Effect] = {}
    for key, each in values.items():
        reference = values[key[0], "sft", "greedy", "live", "0", "0"]
        lakes, seeds = dict.fromkeys(lake for lake, _ in reference), dict.fromkeys(seed for _, seed in reference)
        difference = np.array([[each[lake, seed] - reference[lake, seed] for seed in seeds] for lake in lakes])
        effects[key] = paired_effect(difference)
    return effects


def _ablation_findings(columns: Columns) -> dict[str, Any]:
    """Report IFT less SFT for every form of IFT."""
    numbers: dict[str, Any] = {}
    for measure in ("distance", "success"):
        effects = ablation_effects(columns, measure)
        for (ice, form, prediction, embedding, mixing, decay), effect in effects.items():
            if form == "sft" and embedding == "live":
                continue
            name = f"{measure} less SFT's, {ice}: {form}, {prediction}, {embedding}, mixing {mixing}, decay {decay}"
            numbers[name] = _interval(effect)
    return numbers


# ---- variants on held-out lakes ----


@dataclass(frozen=True)
class HeldOutEffect:
    """A variant against SFT or IFT on held-out lakes.

    Attributes:
        ice, base: dynamics and base policies of the settings.
        method: the variant.
        mixing: the λ that was best on the held-in lakes, empty for SFT.
        rate: the learning rate that was best there.
        on_edge: whether either lies on an edge of what was tried there.
        measure: what is compared.
        against: "sft" or "ift".
        effect: the variant's measure less the other's.
    """

    ice: str
    base: str
    method: str
    mixing: str
    rate: float
    on_edge: bool
    measure: str
    against: str
    effect: Effect


def held_out_effects(columns: Columns) -> list[HeldOutEffect]:
    """Compare each variant, with the λ and rate that were best on the held-in lakes, with SFT and IFT on the held-out ones."""
    panels: dict[tuple[str, str], dict[str, SettingResults]] = {}
    for setting, results in settings_table(columns).values():
        panels.setdefault((setting.ice, setting.base), {})[setting.map] = results
    effects = []
    for (ice, base), by_map in panels.items():
        held_in, others = by_map[HELD_IN], [results for name, results in by_map.items() if name != HELD_IN]
        chosen = _best_options(held_in)
        for kind, (method, rate) in chosen.items():
            for measure, against in product(("distance", "success", "regret"), ("sft", "ift")):
                effect = paired_effect(_last(others, chosen[kind], measure) - _last(others, chosen[against], measure))
                mixing = method.partition(" ")[2]
                on_edge = _is_on_edge(held_in, kind, (method, rate))
                effects.append(HeldOutEffect(ice, base, kind, mixing, float(rate), on_edge, measure, against, effect))
    return effects


def _last(results: Sequence[SettingResults], option: tuple[str, str], measure: str) -> Float[np.ndarray, "L N"]:
    """Return a measure at the last checkpoint on all lakes, for one row name and rate."""
    return np.concatenate([each.at(measure, *option, "last") for each in results])


def _options(held_in: SettingResults) -> dict[str, list[tuple[str, str]]]:
    """Return, for each variant, the row names (which say λ) and rates that it was run with."""
    options: dict[str, list[tuple[str, str]]] = {}
    for method in held_in.methods:
        if method != "base":
            options.setdefault(method.partition(" ")[0], []).extend((method, rate) for rate in held_in.rates(method))
    return options


def _best_options(held_in: SettingResults) -> dict[str, tuple[str, str]]:
    """Return, for each variant, the row name and rate of least mean distance."""
    return {
        kind: best_key({option: float(held_in.at("distance", *option, "last").mean()) for option in options})
        for kind, options in _options(held_in).items()
    }


def _is_on_edge(held_in: SettingResults, kind: str, option: tuple[str, str]) -> bool:
    """Return whether a variant's λ or rate lies on an edge of what was tried."""
    points = {each: tuple(float(x) for x in (each[0].partition(" ")[2], each[1]) if x) for each in _options(held_in)[kind]}
    return is_on_edge(points[option], points.values())


def _variant_findings(columns: Columns) -> dict[str, Any]:
    """Report every variant's effects on held-out lakes."""
    return {
        f"held out, {e.measure} less {e.against}'s, {e.ice}, {e.base}: {e.method}": _interval(e.effect)
        | {"mixing": e.mixing, "rate": e.rate, "on_edge": e.on_edge}
        for e in held_out_effects(columns)
        if e.method != e.against
    }
