"""What the tables of `reproduction.py` say: the claims' verdicts, and the findings as named numbers.

Nothing here trains; everything is computed from saved tables, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.table import Table

from ift_gridworld.evaluation.statistics import Effect, paired_effect, pooled_effect
from ift_gridworld.studies.claims import (
    VIEWS,
    Claim,
    Cube,
    View,
    asked,
    summarise,
    verdict,
    whole_order,
)
from ift_gridworld.studies.settings import Columns, Setting, select

SCRIPT = "python experiments/reproduction.py"
Cubes = Mapping[str, tuple[Setting, Cube]]
LAST = VIEWS[0]  # common rate, last checkpoint
HELD_IN = "lakes-0.8-5"  # lakes on which variants choose their λ and rate


# ---- verdicts ----


def cubes_of(columns: Columns) -> dict[str, tuple[Setting, Cube]]:
    """The settings of a table, each with its rows."""
    names = ("map", "ice", "base", "policy", "optimiser")
    rows: dict[tuple[Any, ...], list[int]] = {}
    for i, key in enumerate(zip(*(columns[n] for n in (*names, "demonstrations")), strict=True)):
        rows.setdefault(key, []).append(i)
    made = {Setting.parse(",".join((*key[:-1], str(int(key[-1]))))): np.array(where) for key, where in rows.items()}
    return {setting.name: (setting, Cube(columns, where, setting.common_rate)) for setting, where in made.items()}


def strata(cubes: Cubes) -> list[tuple[str, str]]:
    return [(setting.family, setting.ice) for setting, _ in cubes.values()]


def judge(cubes: Cubes, claims: Sequence[Claim]) -> tuple[Columns, Columns]:
    """Every claim at every view: over all settings, and of each setting."""
    pooled: list[dict[str, Any]] = []
    each: list[dict[str, Any]] = []
    for claim, view in product(claims, VIEWS):
        if not asked(claim, view):
            continue
        labels = {"claim": claim.name, "first": claim.first, "second": claim.second, "measure": claim.measure}
        labels |= {"rate": view.rate, "checkpoint": view.checkpoint}
        found = [verdict(cube, claim, view) for _, cube in cubes.values()]
        for name, one in zip(cubes, found, strict=True):
            effect = {"effect": one.effect.value, "low": one.effect.low, "high": one.effect.high, "verdict": one.word}
            each.append(labels | {"setting": name} | effect | {"command": f"{SCRIPT} --setting {name} --claim '{claim.name}'"})
        total = summarise(claim, view, [cube for _, cube in cubes.values()], found, strata(cubes))
        told = {"settings": total.settings, "effect": total.effect.value, "low": total.effect.low, "high": total.effect.high}
        told |= {"holds": total.holds, "clearly": total.clearly, "reversed": total.against}
        pooled.append(labels | told | {"command": f"{SCRIPT} --claim '{claim.name}'"})
    return _table(pooled), _table(each)


def _table(rows: Sequence[Mapping[str, Any]]) -> Columns:
    names = list(rows[0]) if rows else []
    columns = {name: [row[name] for row in rows] for name in names}
    return {name: np.array(values, float if _is_number(values[0]) else object) for name, values in columns.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.floating)


def row_of(table: Columns, claim: str, view: View) -> int:
    found = (table["claim"] == claim) & (table["rate"] == view.rate) & (table["checkpoint"] == view.checkpoint)
    return int(np.flatnonzero(found)[0])


def table_of_claims(pooled: Columns) -> Table:
    """One row a claim and view."""
    made = Table(
        title=f"Claims over {int(np.max(pooled['settings']))} settings: effect is first less second", title_justify="left",
        caption="interquartile mean over settings and 95 % interval; holds: share of settings with the claim's sign; clearly, "
        "reversed: with an interval that leaves out zero", caption_justify="left",
    )  # fmt: skip
    for heading in ("claim", "measure", "rate", "checkpoint"):
        made.add_column(heading, no_wrap=True)
    for heading in ("effect [95 % interval]", "holds", "clearly", "reversed"):
        made.add_column(heading, justify="right", no_wrap=True)
    names = ("claim", "measure", "rate", "checkpoint", "effect", "low", "high", "holds", "clearly", "reversed")
    for claim, measure, rate, checkpoint, effect, low, high, holds, clearly, against in zip(
        *(pooled[n] for n in names), strict=True
    ):
        shares = (f"{share:.0%}" for share in (holds, clearly, against))
        interval = f"{effect:+.4f} [{low:+.4f}, {high:+.4f}]"
        made.add_row(claim.partition(":")[0], measure, rate, checkpoint, interval, *shares)
    return made


def table_of_setting(by_setting: Columns) -> Table:
    """One row a claim and view of one setting."""
    made = Table(title=str(by_setting["setting"][0]), title_justify="left", caption="effect: first less second")
    for heading in ("claim", "measure", "rate", "checkpoint"):
        made.add_column(heading, no_wrap=True)
    for heading in ("effect [95 % interval]", "verdict"):
        made.add_column(heading, justify="right", no_wrap=True)
    names = ("claim", "measure", "rate", "checkpoint", "effect", "low", "high", "verdict")
    for claim, measure, rate, checkpoint, effect, low, high, word in zip(*(by_setting[n] for n in names), strict=True):
        interval = f"{effect:+.6f} [{low:+.6f}, {high:+.6f}]"
        made.add_row(claim.partition(":")[0], measure, rate, checkpoint, interval, word)
    return made


# ---- findings ----


def findings(found: Mapping[str, Columns], cubes: Cubes, pooled: Columns) -> dict[str, Any]:
    """Named numbers, each of which experiments/README.md may quote."""
    made: dict[str, Any] = {"settings": len(cubes)}
    for view in VIEWS:
        made[f"whole published order, {view.name}"] = _share([whole_order(cube, view) for _, cube in cubes.values()])
    numbers = ("effect", "low", "high", "holds", "clearly", "reversed")
    for i, (claim, rate, checkpoint) in enumerate(zip(*(pooled[n] for n in ("claim", "rate", "checkpoint")), strict=True)):
        made[f"{claim}, {View(rate, checkpoint).name}"] = {n: _rounded(pooled[n][i]) for n in numbers}
    made |= taught_rightly(cubes)
    made |= drained_in_claims(cubes)
    if "ablation" in found:
        made |= ablated(found["ablation"])
    if "drain" in found:
        made |= drained(found["drain"])
    if "rewards" in found:
        made |= rewarded(found["rewards"])
    if "variants" in found:
        made |= proposed(found["variants"])
    return made


def _share(values: Sequence[bool]) -> float | None:
    return _rounded(np.mean(values), 4) if len(values) else None


def _told(effect: Effect) -> dict[str, Any]:
    return {name: _rounded(getattr(effect, name)) for name in ("value", "low", "high")}


def _rounded(value: float | np.floating, digits: int = 6) -> float | None:
    """As JSON can hold it: None for what is no number."""
    return None if np.isnan(value) else round(float(value), digits)


FEWEST = 8  # lakes of a setting among which a rank correlation is asked for


def rank_correlations(cubes: Cubes, predictor: str) -> list[tuple[Setting, float]]:
    """Within each setting of many lakes: whether lakes on which the predictor is larger are those on which IFT ends
    further from T* than SFT. Settings differ in too much else for their lakes to be compared with one another."""
    from scipy.stats import spearmanr

    found = []
    for setting, cube in cubes.values():
        told = cube.measure(predictor, "ift", LAST).mean(-1)
        change = cube.difference(Claim("ift", "sft", "distance", -1), LAST).mean(-1)
        known = np.isfinite(told) & np.isfinite(change)
        if known.sum() >= FEWEST and np.ptp(told[known]) > 0 and np.ptp(change[known]) > 0:
            found.append((setting, float(spearmanr(told[known], change[known]).statistic)))
    return found


CORRELATED: dict[str, Callable[[Setting], bool]] = {  # groups of settings
    "all": lambda s: True,
    "firm, table": lambda s: s.ice == "firm" and s.policy == "tabular",
    "firm, network": lambda s: s.ice == "firm" and s.policy != "tabular",
    "slippery, table": lambda s: s.ice != "firm" and s.policy == "tabular",
    "slippery, network": lambda s: s.ice != "firm" and s.policy != "tabular",
}


def correlations(cubes: Cubes, predictor: str) -> dict[str, Effect]:
    """Of each group of settings: the rank correlation, pooled (`Effect.share`: in which share of them it is negative)."""
    found = rank_correlations(cubes, predictor)
    return {
        group: pooled_effect([np.array([[rank]]) for setting, rank in found if belongs(setting)])
        for group, belongs in CORRELATED.items()
    }


def taught_rightly(cubes: Cubes) -> dict[str, Any]:
    """Whether what the mixing teaches the tiles it mixes in tells who ends nearer to T*, IFT or SFT."""
    made: dict[str, Any] = {}
    for name, few in (("firm", lambda s: s.ice == "firm"), ("slippery", lambda s: s.ice != "firm")):
        each = [cube for setting, cube in cubes.values() if few(setting)]
        for measure in ("missed", "right"):
            values = np.concatenate([cube.measure(measure, "ift", LAST).ravel() for cube in each]) if each else np.zeros(0)
            values = values[np.isfinite(values)]
            made[f"{measure}, mean over lakes and seeds, {name}"] = round(float(values.mean()), 4) if len(values) else None
    for predictor in ("right", "push"):
        for group, effect in correlations(cubes, predictor).items():
            told = _told(effect) | {"settings": effect.lakes, "negative": _rounded(effect.share, 4)}
            made[f"rank correlation of {predictor} with IFT - SFT within a setting, {group}"] = told
    return made


def drained_in_claims(cubes: Cubes) -> dict[str, Any]:
    """What offline DPO does to the preferred answer and to moves that nobody took, over all settings."""
    made: dict[str, Any] = {}
    for policy in ("", "tabular", "mlp"):
        chosen = [cube for _, (s, cube) in cubes.items() if s.policy.startswith(policy)]
        if not chosen:
            continue
        label = {"": "", "tabular": ", table", "mlp": ", network"}[policy]
        for method in ("dpo", "orpo", "sft"):
            fell = [float((c.measure("chosen_logp", method, LAST) - c.base("chosen_logp")).mean()) < 0 for c in chosen]
            grew = [c.measure("unseen", method, LAST) - c.base("unseen") for c in chosen]
            made[f"preferred answer less likely than in the base, {method}{label}"] = _share(fell)
            made[f"unseen moves, change, {method}{label}"] = _told(pooled_effect(grew))
    return made


def drained(columns: Columns) -> dict[str, Any]:
    """DPO and what is meant to cure it: change since the base, over the settings of that study."""
    cubes = cubes_of(columns)
    made: dict[str, Any] = {}
    for method in next(iter(cubes.values()))[1].methods:
        if method == "base":
            continue
        for measure in ("chosen_logp", "unseen", "distance", "success"):
            change = [cube.measure(measure, method, LAST) - cube.base(measure) for _, cube in cubes.values()]
            made[f"change since the base, {method}: {measure}"] = _told(pooled_effect(change))
    return made


def rewarded(columns: Columns) -> dict[str, Any]:
    """Where PPO lands with the environment's reward and with a learned one."""
    made: dict[str, Any] = {}
    for name, (_, cube) in cubes_of(columns).items():
        for method in cube.methods:
            rate = "" if method == "base" else cube.rate(method, LAST)
            for measure in ("success", "regret", "distance"):
                values = cube.at(measure, method, rate, "base" if method == "base" else "last")
                made[f"{name} {method}: {measure}"] = round(float(values.mean()), 4)
    return made


ABLATION_KEYS = ("form", "prediction", "embedding", "mixing", "decay")


def ablation_effects(columns: Columns, measure: str) -> dict[tuple[str, ...], Effect]:
    """(ice, form, prediction, embedding, mixing, decay) -> IFT less SFT, paired by lake and seed."""
    values: dict[tuple[str, ...], dict[tuple[str, float], float]] = {}
    rows = select(columns, (columns["checkpoint"] == "last") & (columns["method"] != "base"))
    names = ("ice", *ABLATION_KEYS, "lake", "seed", measure)
    for ice, form, prediction, embedding, mixing, decay, lake, seed, value in zip(*(rows[n] for n in names), strict=True):
        key = (*map(str, (ice, form, prediction, embedding)), f"{float(mixing):g}", f"{float(decay):g}")
        values.setdefault(key, {})[str(lake), float(seed)] = float(value)
    made: dict[tuple[str, ...], Effect] = {}
    for key, each in values.items():
        reference = values[key[0], "sft", "greedy", "live", "0", "0"]
        lakes, seeds = sorted({lake for lake, _ in reference}), sorted({seed for _, seed in reference})
        difference = np.array([[each[lake, seed] - reference[lake, seed] for seed in seeds] for lake in lakes])
        made[key] = paired_effect(difference)
    return made


def ablated(columns: Columns) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for measure in ("distance", "success"):
        effects = ablation_effects(columns, measure)
        for (ice, form, prediction, embedding, mixing, decay), effect in effects.items():
            if form == "sft" and embedding == "live":
                continue
            name = f"{measure} less SFT's, {ice}: {form}, {prediction}, {embedding}, mixing {mixing}, decay {decay}"
            made[name] = _told(effect) | {"clear": effect.is_clear}
    return made


def held_out(columns: Columns) -> list[dict[str, Any]]:
    """Each variant, with the λ and rate that were best on the held-in lakes, against SFT and IFT on the held-out ones."""
    panels: dict[tuple[str, str], dict[str, Cube]] = {}
    for _, (setting, cube) in cubes_of(columns).items():
        panels.setdefault((setting.ice, setting.base), {})[setting.map] = cube
    rows = []
    for (ice, base), by_map in panels.items():
        held_in, others = by_map[HELD_IN], [cube for name, cube in by_map.items() if name != HELD_IN]
        kinds: dict[str, list[str]] = {}
        for method in held_in.methods:
            if method != "base":
                kinds.setdefault(method.partition(" ")[0], []).append(method)
        chosen: dict[str, tuple[str, str]] = {}
        for kind, methods in kinds.items():
            tried = [(float(held_in.at("distance", m, r, "last").mean()), m, r) for m in methods for r in held_in.rates(m)]
            _, *chosen[kind] = min(tried, key=lambda one: (np.isnan(one[0]), one[0]))  # type: ignore[assignment]
        at = partial(_on_all, others, chosen)
        for kind in kinds:
            method, rate = chosen[kind]
            for measure, against in product(("distance", "success", "regret"), ("sft", "ift")):
                effect = paired_effect(at(measure, kind) - at(measure, against))
                rows.append(
                    {
                        "ice": ice, "base": base, "method": kind, "mixing": method.partition(" ")[2], "rate": float(rate),
                        "measure": measure, "against": against, "effect": effect,
                    }
                )  # fmt: skip
    return rows


def _on_all(cubes: Sequence[Cube], chosen: Mapping[str, tuple[str, str]], measure: str, kind: str) -> Float[np.ndarray, "L N"]:
    method, rate = chosen[kind]
    return np.concatenate([cube.at(measure, method, rate, "last") for cube in cubes])


def proposed(columns: Columns) -> dict[str, Any]:
    return {
        f"held out, {r['measure']} less {r['against']}'s, {r['ice']}, {r['base']}: {r['method']}": _told(r["effect"])
        | {"mixing": r["mixing"], "rate": r["rate"], "clear": r["effect"].is_clear}
        for r in held_out(columns)
        if r["method"] != r["against"]
    }
