"""Figures of methods: the paper's own figure, the ablation of IFT, causes, variants on held-out lakes.

`rendering.study_figures` draws the parts; this file says what stands where, in inches from the upper left.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from matplotlib.ticker import MaxNLocator

from ift_gridworld.evaluation.statistics import Effect, format_effect, pooled_effect
from ift_gridworld.methods.variants import NEEDS_THE_ORACLE
from ift_gridworld.rendering.study_figures import SMALL, WIDTH, Estimate, Heatmap, PolicyMap, StudyFigure, draw_policy
from ift_gridworld.studies.claims import LAST, NEGLIGIBLE, View
from ift_gridworld.studies.reproduction.figure_words import ICE_NAMES, NAMES, effect_point, mean_point
from ift_gridworld.studies.reproduction.findings import ablation_effects, correlations, held_out_effects
from ift_gridworld.studies.results import SettingsTable, settings_table
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns, select

__all__ = ["draw_ablation", "draw_causes", "draw_figure3", "draw_variants"]


def draw_figure3(columns: Columns, policies: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw the paper's game in its own terms: each method's policy, and its distance to T* under several readings."""
    settings = settings_table(columns)
    bases, optimisers = (list(dict.fromkeys(getattr(s, n) for s, _ in settings.values())) for n in ("base", "optimiser"))
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
            _, results = settings[Setting("two-paths-4", "firm", base, "mlp-64", optimiser, 1).name]
            name = f"{ {'adam': 'Adam', 'rmsprop': 'RMSprop'}[optimiser] }, {checkpoint} checkpoint"
            series[name] = [mean_point("distance", results.measure("distance", m, View("common", checkpoint))) for m in order]
        ax = page.draw_forest(
            [NAMES[m] for m in order], series, left + i * (width + gap), 2.25, width, 1.3,
            label="distance to T*", names=i == 0, zero=False,
            colours=[colour for colour in (page.theme.success, page.theme.distance)[: len(optimisers)] for _ in (0, 1)],
            hollow=[n for n in series if "best" in n],
            title="random base" if base == "random" else f"base {float(base.removeprefix('good-')):.0%} good",
        )  # fmt: skip
        ax.axvline(float(results.base("distance").mean()), color=page.theme.muted, lw=0.9, ls=(0, (3, 2)), zorder=1)
        ax.set_xlim(0, 0.33)
        ax.set_xticks([0, 0.1, 0.2, 0.3], ["0", "0.1", "0.2", "0.3"])
    page.add_legend(ax, 0.5, 4.23, 4)
    seeds = len(results.seeds)
    note = f"maps: seed {results.seeds[0]}; below: mean and 95 % interval over {seeds} seeds, learning rate 0.01"
    page.add_note(0.5, 3.97, f"{note}; dashed: the base's own distance")
    alt = (
        "The paper's figure 3 on the two-paths lake. Five maps: the base policy and what DPO, IFT, ORPO and SFT make of it. "
        "Below, each method's distance to the optimal policy from several base policies, with two optimisers, at the last and "
        "at the best checkpoint."
    )
    return page, alt


def draw_ablation(columns: Columns, measure: str, theme: str) -> tuple[StudyFigure, str]:
    """Draw λ by γ, for every form of propagation (columns) and every way of running the residual connection (rows)."""
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
    page.add_note(0.1, 0.29, "blue: better than SFT; dot: the 95 % interval over lakes leaves out zero (not corrected)")
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
                cells = [[effects[ice, form, prediction, embedding, m, d] for d in across] for m in down]
                values = np.array([[effect.value for effect in row] for row in cells])
                marked = np.array([[effect.is_clear and abs(effect.value) > NEGLIGIBLE for effect in row] for row in cells])
                grid = Heatmap(FORM_NAMES[form], down, across if form != "none" else [""], values, marked)
                page.draw_heatmap(grid, left, top, width, tall * len(down) / len(mixings), limits=(-most, most),
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
    """Return, in words, what freezing the embedding alone does to SFT."""
    effect = effects.get((ice, "sft", "greedy", "frozen", "0", "0"))
    if embedding != "frozen" or effect is None:
        return ""
    return f" (SFT with the same frozen embedding: {format_effect(effect.value, effect.low, effect.high, digits=3)})"


def draw_causes(settings: SettingsTable, drain: Columns, rewards: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw why: what mixing teaches its neighbours, where DPO's probability goes, where a learned reward leads."""
    page = StudyFigure(5.0, theme)
    _draw_correlations(page, settings)
    _draw_drain(page, drain)
    _draw_rewards(page, rewards)
    alt = (
        "Three causes. Left, rank correlations, within settings, of what IFT's mixing teaches with how far IFT ends from the "
        "optimal policy beyond SFT. Right, what DPO and its relatives do to the preferred answer and to unseen moves. "
        "Below, where PPO lands with the environment's reward and with a learned one."
    )
    return page, alt


def _draw_correlations(page: StudyFigure, settings: SettingsTable) -> None:
    """Draw, on the left, what predicts how much further from T* IFT ends than SFT."""
    page.add_heading(0.1, 0.17, "What predicts IFT − SFT in distance")
    predictors = {
        "right": "share of mixed-in tiles\ntaught a best action",
        "push": "first-order change of\ntheir distance to T*",
    }
    for i, (predictor, title) in enumerate(predictors.items()):
        pooled = {name: effect for name, effect in correlations(settings, predictor).items() if effect.lakes > 1}
        rows = [name.replace(", ", ",\n") for name in pooled]
        series = {"": [effect_point(effect) for effect in pooled.values()]}
        ax = page.draw_forest(
            rows, series, 0.72 + i * 1.28, 0.52, 1.15, 1.65, label="rank correlation", names=i == 0, title=title
        )
        ax.set_xlim(-1, 1)
        ax.set_xticks([-0.5, 0, 0.5], ["−0.5", "0", "0.5"])


def _draw_drain(page: StudyFigure, columns: Columns) -> None:
    """Draw, on the right, what pairs do to the preferred answer and to moves that no answer takes."""
    settings = settings_table(columns)
    methods = [m for m in next(iter(settings.values()))[1].methods if m != "base"]
    page.add_heading(3.4, 0.17, "What pairs do to the preferred answer, and to unseen moves")
    titles = {"chosen_logp": "log-likelihood of the\npreferred answer", "unseen": "moves that no\nanswer takes"}
    for i, (measure, title) in enumerate(titles.items()):
        series: dict[str, list[Estimate | None]] = {}
        for policy, label in (("mlp-64", "network"), ("tabular", "table")):
            each = [results for s, results in settings.values() if s.policy == policy]
            if each:
                series[label] = [
                    effect_point(pooled_effect([r.measure(measure, m, LAST) - r.base(measure) for r in each])) for m in methods
                ]
        ax = page.draw_forest([NAMES[m] for m in methods], series, 4.0 + i * 1.45, 0.52, 1.3, 1.65, names=i == 0, title=title,
                         label="change since the base" + (", nats" if i == 0 else ""))  # fmt: skip
        if measure == "chosen_logp":
            ax.set_xscale("symlog", linthresh=1.0, linscale=0.8)
            ax.set_xticks([-100, -10, 0, 10], ["−100", "−10", "0", "10"])
            ax.minorticks_off()
    page.add_legend(ax, 4.6, 2.55, 2)


def _draw_rewards(page: StudyFigure, columns: Columns) -> None:
    """Draw, below, where PPO ends with the environment's reward and with a learned one."""
    page.add_heading(0.1, 2.85, "Where RLHF lands: PPO on the environment's reward, and on one learned from compared episodes")
    settings = settings_table(columns)
    lakes = list(dict.fromkeys((s.map, s.ice) for s, _ in settings.values()))
    theme = page.theme
    for i, measure in enumerate(("success", "regret", "distance")):
        series: dict[str, list[Estimate | None]] = {"base": [], "PPO, environment's reward": [], "PPO, learned reward": []}
        for lake in lakes:
            results = next(results for s, results in settings.values() if (s.map, s.ice) == lake)
            for label, method in zip(series, ("base", "ppo, env", "ppo, preference"), strict=True):
                rate, at = ("", "base") if method == "base" else (results.rate(method, LAST), "last")
                series[label].append(mean_point(measure, results.at(measure, method, rate, at)))
        rows = [f"{lake}, {'firm' if ice == 'firm' else 'slippery'}" for lake, ice in lakes]
        ax = page.draw_forest(rows, series, 1.2 + i * 1.9, 3.0, 1.75, 1.4, label=measure, names=i == 0, zero=False,
                         colours=[theme.muted, theme.success, theme.distance])  # fmt: skip
        ax.set_xlim(0, 1.02 if measure == "success" else None)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    page.add_legend(ax, 1.2, 4.83, 3)


def draw_variants(columns: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw the variants on held-out lakes, each with the λ and rate that were best on others."""
    effects = held_out_effects(columns)
    panels = list(dict.fromkeys((e.ice, e.base) for e in effects))
    methods = [m for m in dict.fromkeys(e.method for e in effects) if m != "sft"]
    page = StudyFigure(4.2, theme)
    wide = (WIDTH - 0.75 - 0.15 - 0.26 * (len(panels) - 1)) / len(panels)
    page.add_heading(0.1, 0.17, "Less SFT on held-out lakes (λ and rate chosen on others); * needs the optimal policy")
    words = {"firm": "firm", "slippery-0.8": "slippery", "good-0.5": "half-good base", "random": "random base"}
    for (m, measure), (p, (ice, base)) in product(enumerate(("distance", "success")), enumerate(panels)):
        points = {
            e.method: effect_point(e.effect)
            for e in effects
            if (e.ice, e.base, e.measure, e.against) == (ice, base, measure, "sft")
        }
        left, top = 0.75 + p * (wide + 0.26), 0.5 + m * 1.88
        ax = page.draw_forest(
            [NAMES[x] + "*" * (x in NEEDS_THE_ORACLE) for x in methods], {"": [points[x] for x in methods]},
            left, top, wide, 1.4, label=f"{measure} less SFT's", names=p == 0, title=f"{words[ice]}, {words[base]}",
            colours=[page.theme.distance if measure == "distance" else page.theme.success],
        )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
    alt = (
        "Variants of IFT less SFT on held-out lakes: distance and success, with 95 % intervals, on firm and slippery ice, from "
        "a half-good and a random base."
    )
    return page, alt
