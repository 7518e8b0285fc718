"""The figures of `reproduction.py`, drawn from its tables in seconds; nothing here trains.

`ift_gridworld.rendering.study_figures` draws the parts; this file says what stands where, in inches from the upper left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator
from reproduction_report import LAST, Cubes, ablation_effects, correlations, cubes_of, held_out, row_of

from ift_gridworld.evaluation.metrics import mean_interval
from ift_gridworld.evaluation.statistics import Effect, pooled_effect
from ift_gridworld.methods.variants import NEEDS_THE_ORACLE
from ift_gridworld.rendering.study_figures import SMALL, WIDTH, Estimate, Heatmap, PolicyMap, StudyFigure, draw_policy
from ift_gridworld.studies.claims import CLAIMS, COMPARED, NOTHING, PAIRS, VIEWS, Claim, View
from ift_gridworld.studies.settings import ICE, Columns, Setting, select

NAMES = {
    "sft": "SFT", "ift": "IFT", "dpo": "DPO", "orpo": "ORPO", "dpo_online": "DPO online", "ipo": "IPO", "simpo": "SimPO",
    "tdpo": "TDPO", "dpo_sft": "DPO + SFT", "ift_agreeing": "agreeing", "ift_mixture": "mixture", "ift_average": "average",
    "ift_expected": "expected", "ift_oracle": "oracle", "ift_asking": "asking",
}  # fmt: skip
ICE_NAMES = {"firm": "firm ice", "slippery-0.8": "slippery ice (0.8 as intended)", "slippery": "slippery ice (1/3 as intended)"}
VIEW_NAMES = {
    ("common", "last"): "common rate, last checkpoint",
    ("common", "best"): "common rate, best checkpoint",
    ("best", "last"): "each method's best rate, last checkpoint",
    ("best", "best"): "each method's best rate, best checkpoint",
}


def draw(found: Mapping[str, Columns], cubes: Cubes, pooled: Columns, out: Path, theme: str) -> list[Path]:
    """All figures that there are tables for."""
    made: list[tuple[str, StudyFigure, str]] = [("claims", *draw_claims(pooled, theme)), ("phases", *draw_phases(cubes, theme))]
    if "figure3" in found:
        made.append(("figure3", *draw_figure3(found["figure3"], found["policies"], theme)))
    if "ablation" in found:
        for measure in ("distance", "success"):
            made.append((f"ablation_{measure}", *draw_ablation(found["ablation"], measure, theme)))
    if "drain" in found:
        made.append(("causes", *draw_causes(cubes, found["drain"], found["rewards"], theme)))
    if "variants" in found:
        made.append(("variants", *draw_variants(found["variants"], theme)))
    return [path for name, page, alt in made for path in page.save(out / name, alt)]


def pair_name(first: str, second: str, sign: int = -1) -> str:
    return f"{NAMES[first]} {'<' if sign < 0 else '>'} {NAMES[second]}"


def point(effect: Effect) -> Estimate:
    return Estimate(effect.value, effect.low, effect.high)


def mean_point(values: Float[np.ndarray, "L N"]) -> Estimate:
    """Mean over seeds, with its interval."""
    return Estimate(*(float(x) for x in mean_interval(values.ravel())))


# ---- the paper's figure ----


def draw_figure3(columns: Columns, policies: Columns, theme: str) -> tuple[StudyFigure, str]:
    """The paper's game in its own terms: each method's policy, and its distance to T* under several readings."""
    cubes = cubes_of(columns)
    bases, optimisers = (list(dict.fromkeys(getattr(s, n) for s, _ in cubes.values())) for n in ("base", "optimiser"))
    order = ("dpo", "ift", "orpo", "sft")
    page, wide = StudyFigure(4.4, theme), 1.2
    page.add_heading(
        0.1, 0.17, "From one base (half good, half bad), 300 updates on one optimal path (green; DPO, ORPO: against the other)"
    )
    _, lake = Setting("two-paths-4", "firm", "good-0.5", "mlp-64", "adam", 1).lakes[0]
    for i, method in enumerate(("base", *order)):
        rows = select(policies, policies["method"] == method)
        matrix = np.stack([rows[f"T({name}|s)"].astype(float) for name in lake.actions], -1)
        shown = rows["tile"][rows["shown"] == 1].astype(int).tolist()
        title = "base policy" if method == "base" else NAMES[method]
        draw_policy(page, PolicyMap(title, lake, matrix, shown), 0.1 + i * (wide + 0.175), 0.43, wide)
    page.add_heading(0.1, 1.95, "Mean squared distance of T(a|s) to T*, from several bases (the paper: DPO < IFT << ORPO, SFT)")
    left, gap = 0.5, 0.13
    width = (WIDTH - left - 0.1 - gap * (len(bases) - 1)) / len(bases)
    for i, base in enumerate(bases):
        series: dict[str, list[Estimate | None]] = {}
        for optimiser, checkpoint in product(optimisers, ("last", "best")):
            _, cube = cubes[Setting("two-paths-4", "firm", base, "mlp-64", optimiser, 1).name]
            name = f"{ {'adam': 'Adam', 'rmsprop': 'RMSprop'}[optimiser] }, {checkpoint} checkpoint"
            series[name] = [mean_point(cube.measure("distance", m, View("common", checkpoint))) for m in order]
        ax = page.draw_forest(
            [NAMES[m] for m in order], series, left + i * (width + gap), 2.25, width, 1.3,
            label="distance to T*", names=i == 0, zero=False,
            colours=[colour for colour in (page.theme.success, page.theme.distance)[: len(optimisers)] for _ in (0, 1)],
            hollow=[n for n in series if "best" in n],
            title="random base" if base == "random" else f"base {float(base.removeprefix('good-')):.0%} good",
        )  # fmt: skip
        ax.axvline(float(cube.base("distance").mean()), color=page.theme.muted, lw=0.9, ls=(0, (3, 2)), zorder=1)
        ax.set_xlim(0, 0.33)
        ax.set_xticks([0, 0.1, 0.2, 0.3], ["0", "0.1", "0.2", "0.3"])
    page.add_legend(ax, 0.5, 4.23, 4)
    page.add_note(
        0.5, 3.97, f"mean and 95 % interval over {len(cube.seeds)} seeds, learning rate 0.01; dashed: the base's own distance"
    )
    alt = (
        "The paper's figure 3 on the two-paths lake. Five maps: the base policy and what DPO, IFT, ORPO and SFT make of it. "
        "Below, each method's distance to the optimal policy from several base policies, with two optimisers, at the last and "
        "at the best checkpoint."
    )
    return page, alt


# ---- claims ----


def draw_claims(pooled: Columns, theme: str) -> tuple[StudyFigure, str]:
    """The claim table: the share of settings in which each claim holds, and the pooled effects on the paper's distance."""
    page = StudyFigure(5.65, theme)
    settings = int(np.max(pooled["settings"]))
    page.add_heading(0.1, 0.17, f"Share of {settings} settings in which a method beats another (%)")
    page.draw_colour_key(5.35, 0.1, "never", "always")
    short = {"": "all", "_shown": "shown", "_optimal": "opt.", "_visited": "own"}
    heads = [*short.values(), *short.values(), "regret", "succ."]
    wide = 2.93
    for i, view in enumerate(VIEWS):
        cells = [[row_of(pooled, Claim(*pair, m, sign).name, view) for m, sign in COMPARED.items()] for pair in PAIRS]
        rows = [f"{NAMES[a]} beats {NAMES[b]}" for a, b in PAIRS]
        table = Heatmap(VIEW_NAMES[view.rate, view.checkpoint], rows, heads, 100 * pooled["holds"][cells], clear(pooled, cells))
        left, top = 0.85 + (i % 2) * (wide + 0.14), 0.5 + (i // 2) * 1.42
        page.draw_heatmap(table, left, top, wide, 0.84, limits=(0, 100), number_format=".0f", names=i % 2 == 0)
        for first, text in ((0, "distance of T(a|s)"), (4, "distance of T(s'|s)")):
            page.add_note(left + wide * (first + 2) / len(heads), top + 1.02, text, ha="center")
    about = "Distances over: all non-terminal tiles; shown tiles; weighted by the optimal policy's visits; by its own."
    page.add_note(0.1, 3.3, f"{about}\nDot: the effect pooled over settings has a 95 % interval that leaves out zero.")
    page.add_heading(0.1, 3.87, "Pooled effect on distance over all tiles")
    series: dict[str, list[Estimate | None]] = {}
    for view in VIEWS:
        at = [row_of(pooled, Claim(*pair, "distance", -1).name, view) for pair in PAIRS]
        series[VIEW_NAMES[view.rate, view.checkpoint]] = [
            Estimate(*(float(pooled[n][r]) for n in ("effect", "low", "high"))) for r in at
        ]
    ax = page.draw_forest([pair_name(*pair) for pair in PAIRS], series, 0.85, 4.0, 2.4, 0.95, label="first less second")
    page.add_legend(ax, 0.1, 5.42, 2)
    more = [c for c in CLAIMS.values() if c.measure in ESTIMATES]
    cells = [[row_of(pooled, claim.name, LAST)] for claim in more]
    names = [f"{pair_name(c.first, c.second, c.sign)}, {ESTIMATES[c.measure]}" for c in more]
    page.add_heading(3.75, 3.87, "Other claims, common rate, last checkpoint (%)")
    table = Heatmap("", names, [""], 100 * pooled["holds"][cells], clear(pooled, cells))
    page.draw_heatmap(table, 5.75, 4.0, 0.6, 1.05, limits=(0, 100), number_format=".0f")
    shares = [pooled["holds"][row_of(pooled, Claim(*pair, "distance", -1).name, LAST)] for pair in PAIRS]
    told = ", ".join(f"{pair_name(*pair)} in {share:.0%}" for pair, share in zip(PAIRS, shares, strict=True))
    return page, f"The paper's claims over {settings} settings. Distance over all tiles, common rate, last checkpoint: {told}."


ESTIMATES = {
    "base_bias": "bias on the base", "base_gap": "gap on the base", "bias": "bias, trained", "gap": "gap, trained",
    "tiles": "tiles explored",
}  # fmt: skip


def clear(pooled: Columns, cells: Sequence[Sequence[int]]) -> np.ndarray:
    return (pooled["low"][cells] > 0) | (pooled["high"][cells] < 0)


# ---- phase diagrams ----

PHASES = (("base", "rate", 0.6, 1.45), ("family", "ice", 2.95, 1.0), ("policy", "demonstrations", 4.75, 1.45))
PHASE_NAMES = {"base": "base, share good", "rate": "learning rate", "ice": "ice", "demonstrations": "demonstrations"}
LEVELS: dict[str, Callable[[Any], Any]] = {  # the order of a factor's levels
    "base": lambda x: (x != "random", x),
    "rate": float,
    "family": lambda x: (x.startswith("lakes"), x.startswith("two-paths"), x),
    "ice": list(ICE).index,
    "policy": lambda x: int(x.partition("-")[2] or 0),
    "demonstrations": int,
}


def draw_phases(cubes: Cubes, theme: str) -> tuple[StudyFigure, str]:
    """Where each claim about the distance holds: share of settings (at each rate by itself) over two factors at a time."""
    units: list[dict[str, Any]] = []
    for setting, cube in cubes.values():
        for rate in cube.rates("sft"):
            told: dict[str, Any] = {n: rate if n == "rate" else getattr(setting, n) for n in LEVELS}
            for pair in PAIRS:
                difference = cube.at("distance", pair[0], rate, "last") - cube.at("distance", pair[1], rate, "last")
                told[pair_name(*pair)] = float(np.nanmean(difference)) if np.isfinite(difference).any() else np.nan
            units.append(told)
    levels = {n: sorted({unit[n] for unit in units}, key=order) for n, order in LEVELS.items()}
    line = 0.155
    tall = line * max(len(levels[down]) for down, *_ in PHASES)
    page = StudyFigure(0.5 + len(PAIRS) * (tall + 0.6), theme)
    page.add_heading(
        0.1,
        0.17,
        "Share of settings in which the claim about the distance holds (%), each learning rate by itself, last checkpoint",
    )
    page.draw_colour_key(5.6, 0.3, "never", "always")
    for r, pair in enumerate(PAIRS):
        top = 0.6 + r * (tall + 0.6)
        for down, across, left, width in PHASES:
            values = np.full((len(levels[down]), len(levels[across])), np.nan)
            for (i, one), (k, other) in product(enumerate(levels[down]), enumerate(levels[across])):
                found = [u[pair_name(*pair)] for u in units if u[down] == one and u[across] == other]
                found = [x < -NOTHING for x in found if np.isfinite(x)]
                values[i, k] = 100 * np.mean(found) if found else np.nan
            rows, heads = ([level_name(x) for x in levels[n]] for n in (down, across))
            title = pair_name(*pair) if down == "base" else ""
            table = Heatmap(title, rows, heads, values, None, PHASE_NAMES.get(down, ""), PHASE_NAMES[across])
            page.draw_heatmap(table, left, top, width, line * len(rows), limits=(0, 100), number_format=".0f")
    return page, (
        "Phase diagrams: the share of settings in which each claim about the distance holds, over base and learning rate, lake "
        "and ice, policy and demonstrations."
    )


def level_name(value: object) -> str:
    text = str(value)
    if text.startswith("good-"):
        return f"{float(text.removeprefix('good-')):.0%}"
    for long, short in (
        ("slippery-0.8", "0.8"),
        ("slippery", "1/3"),
        ("tabular", "table"),
        ("mlp-", "net "),
        ("lakes-", "6x6, "),
    ):
        text = text.replace(long, short)
    return text


# ---- the ablation ----


def draw_ablation(columns: Columns, measure: str, theme: str) -> tuple[StudyFigure, str]:
    """λ by γ, for every form of propagation (columns) and every way of running the residual connection (rows)."""
    effects = ablation_effects(columns, measure)
    keys = [key for key in effects if key[1] != "sft"]
    panels = list(dict.fromkeys((ice, prediction, embedding) for ice, _, prediction, embedding, *_ in keys))
    forms = list(dict.fromkeys(key[1] for key in keys))
    mixings, decays = (sorted({key[i] for key in keys if key[1] != "none"}, key=float) for i in (4, 5))
    # One scale for all but what stands out: a few extreme cells would hide the others.
    most = float(np.quantile([abs(effects[key].value) for key in keys], 0.95))
    tall, wide, gap = 0.62, 0.98, 0.13
    page = StudyFigure(0.55 + len(panels) * (tall + 0.62), theme)
    unit = {"distance": "distance to T*", "success": "success"}[measure]
    page.add_heading(0.1, 0.17, f"IFT less SFT in {unit}: λ (down) by γ (across)")
    page.add_note(0.1, 0.29, "blue: better than SFT; dot: the 95 % interval over lakes and seeds leaves out zero")
    page.draw_colour_key(5.3, 0.3, f"−{most:.3f}", f"+{most:.3f}", reverse=measure == "distance")
    for p, (ice, prediction, embedding) in enumerate(panels):
        top = 0.85 + p * (tall + 0.62)
        title = f"{ICE_NAMES[ice]} · {prediction} prediction · {embedding} embedding"
        page.add_text(0.1, top - 0.2, title + frozen_sft(effects, ice, embedding), size=SMALL)
        left = 0.42
        for form in forms:
            across = decays if form != "none" else decays[:1]
            down = [m for m in mixings if (ice, form, prediction, embedding, m, across[0]) in effects]
            width = wide if form != "none" else 0.42
            if down:
                found = [[effects[ice, form, prediction, embedding, m, d] for d in across] for m in down]
                values = np.array([[effect.value for effect in row] for row in found])
                marked = np.array([[effect.is_clear and abs(effect.value) > NOTHING for effect in row] for row in found])
                table = Heatmap(FORM_NAMES[form], down, across if form != "none" else [""], values, marked)
                page.draw_heatmap(table, left, top, width, tall * len(down) / len(mixings), limits=(-most, most),
                           names=form == forms[0], reverse=measure == "distance")  # fmt: skip
            left += width + gap
    alt = (
        f"Ablation of IFT: {unit} less SFT's over lambda and gamma for {', '.join(forms)}, in {len(panels)} panels of ice, "
        "prediction and embedding."
    )
    return page, alt


FORM_NAMES = {
    "released": "released", "released, detached": "rel., detached", "algorithm 1": "algorithm 1",
    "algorithm 1, detached": "alg. 1, detached", "equation 21": "equation 21", "none": "none",
}  # fmt: skip


def frozen_sft(effects: Mapping[tuple[str, ...], Effect], ice: str, embedding: str) -> str:
    """What freezing the embedding alone does to SFT."""
    effect = effects.get((ice, "sft", "greedy", "frozen", "0", "0"))
    if embedding != "frozen" or effect is None:
        return ""
    return f" (SFT with the same frozen embedding: {effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}])"


# ---- causes ----


def draw_causes(cubes: Cubes, drain: Columns, rewards: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Why: what mixing teaches its neighbours, where DPO's probability goes, where a learned reward leads."""
    page = StudyFigure(5.0, theme)
    colours = page.theme
    page.add_heading(0.1, 0.17, "What predicts IFT − SFT in distance")
    predictors = {
        "right": "share of mixed-in tiles\ntaught a best action",
        "push": "first-order change of\ntheir distance to T*",
    }
    for i, (predictor, title) in enumerate(predictors.items()):
        pooled = {name: effect for name, effect in correlations(cubes, predictor).items() if effect.lakes > 1}
        rows = [name.replace(", ", ",\n") for name in pooled]
        ax = page.draw_forest(rows, {"": [point(effect) for effect in pooled.values()]}, 0.72 + i * 1.28, 0.52, 1.15, 1.65,
                         label="rank correlation", names=i == 0, title=title)  # fmt: skip
        ax.set_xlim(-1, 1)
        ax.set_xticks([-0.5, 0, 0.5], ["−0.5", "0", "0.5"])
    group = cubes_of(drain)
    methods = [m for m in next(iter(group.values()))[1].methods if m != "base"]
    page.add_heading(3.4, 0.17, "What pairs do to the preferred answer, and to unseen moves")
    for i, (measure, title) in enumerate(
        {"chosen_logp": "log-likelihood of the\npreferred answer", "unseen": "moves that no\nanswer takes"}.items()
    ):
        series: dict[str, list[Estimate | None]] = {}
        for kind, label in (("mlp-64", "network"), ("tabular", "table")):
            some_cubes = [cube for s, cube in group.values() if s.policy == kind]
            if some_cubes:
                series[label] = [
                    point(pooled_effect([c.measure(measure, m, LAST) - c.base(measure) for c in some_cubes])) for m in methods
                ]
        ax = page.draw_forest([NAMES[m] for m in methods], series, 4.0 + i * 1.45, 0.52, 1.3, 1.65, names=i == 0, title=title,
                         label="change since the base" + (", nats" if i == 0 else ""))  # fmt: skip
        if measure == "chosen_logp":
            ax.set_xscale("symlog", linthresh=1.0, linscale=0.8)
            ax.set_xticks([-100, -10, 0, 10], ["−100", "−10", "0", "10"])
            ax.minorticks_off()
    page.add_legend(ax, 4.6, 2.55, 2)
    page.add_heading(0.1, 2.85, "Where RLHF lands: PPO on the environment's reward, and on one learned from compared episodes")
    found = cubes_of(rewards)
    names = list(dict.fromkeys((s.map, s.ice) for s, _ in found.values()))
    for i, measure in enumerate(("success", "regret", "distance")):
        series = {"base": [], "PPO, environment's reward": [], "PPO, learned reward": []}
        for place in names:
            cube = next(cube for s, cube in found.values() if (s.map, s.ice) == place)
            for label, method in zip(series, ("base", "ppo, env", "ppo, preference"), strict=True):
                rate, at = ("", "base") if method == "base" else (cube.rate(method, LAST), "last")
                series[label].append(mean_point(cube.at(measure, method, rate, at)))
        rows = [f"{lake}, {'firm' if ice == 'firm' else 'slippery'}" for lake, ice in names]
        ax = page.draw_forest(rows, series, 1.2 + i * 1.9, 3.0, 1.75, 1.4, label=measure, names=i == 0, zero=False,
                         colours=[colours.muted, colours.success, colours.distance])  # fmt: skip
        ax.set_xlim(0, 1.02 if measure == "success" else None)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    page.add_legend(ax, 1.2, 4.83, 3)
    alt = (
        "Three causes. Left, rank correlations, within settings, of what IFT's mixing teaches with how far IFT ends from the "
        "optimal policy beyond SFT. Right, what DPO and its relatives do to the preferred answer and to unseen moves. "
        "Below, where PPO lands with the environment's reward and with a learned one."
    )
    return page, alt


# ---- variants ----


def draw_variants(columns: Columns, theme: str) -> tuple[StudyFigure, str]:
    """The variants on held-out lakes, each with the λ and rate that were best on others."""
    rows = held_out(columns)
    panels = list(dict.fromkeys((r["ice"], r["base"]) for r in rows))
    methods = [m for m in dict.fromkeys(r["method"] for r in rows) if m != "sft"]
    page = StudyFigure(4.2, theme)
    wide = (WIDTH - 0.75 - 0.15 - 0.26 * (len(panels) - 1)) / len(panels)
    page.add_heading(0.1, 0.17, "Less SFT on held-out lakes (λ and rate chosen on others); * needs the optimal policy")
    words = {"firm": "firm", "slippery-0.8": "slippery", "good-0.5": "half-good base", "random": "random base"}
    for (m, measure), (p, (ice, base)) in product(enumerate(("distance", "success")), enumerate(panels)):
        found = {r["method"]: point(r["effect"]) for r in rows
                 if (r["ice"], r["base"], r["measure"], r["against"]) == (ice, base, measure, "sft")}  # fmt: skip
        left, top = 0.75 + p * (wide + 0.26), 0.5 + m * 1.88
        ax = page.draw_forest(
            [NAMES[x] + "*" * (x in NEEDS_THE_ORACLE) for x in methods], {"": [found[x] for x in methods]},
            left, top, wide, 1.4, label=f"{measure} less SFT's", names=p == 0, title=f"{words[ice]}, {words[base]}",
            colours=[page.theme.distance if measure == "distance" else page.theme.success],
        )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
    alt = (
        "Variants of IFT less SFT on held-out lakes: distance and success, with 95 % intervals, on firm and slippery ice, from "
        "a half-good and a random base."
    )
    return page, alt
