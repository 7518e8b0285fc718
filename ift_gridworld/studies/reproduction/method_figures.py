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
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.rendering.study_figures import (
    HOLLOW,
    SMALL,
    TINY,
    WIDTH,
    Estimate,
    Heatmap,
    Mark,
    PolicyMap,
    StudyFigure,
    draw_policies,
    method_mark,
)
from ift_gridworld.studies.claims import LAST, NEGLIGIBLE, View
from ift_gridworld.studies.reproduction.figure_words import ICE_NAMES, effect_point, mean_point
from ift_gridworld.studies.reproduction.findings import ablation_effects, held_out_effects
from ift_gridworld.studies.results import settings_table
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns, select

__all__ = ["PREDICTORS", "draw_ablation", "draw_causes", "draw_figure3", "draw_variants"]

GAME = ("dpo", "ift", "orpo", "sft")  # in the order of the paper's figure
OPTIMISERS = {"adam": "Adam", "rmsprop": "RMSprop"}


def draw_figure3(columns: Columns, policies: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw the paper's game in its own terms: each method's policy, and how far from the optimum it ends from several bases."""
    page = StudyFigure(5.5, theme)
    page.add_heading(0.1, 0.19, "The paper's figure 3: from one base, half good and half bad, 300 updates on one optimal path")
    wide, gap = 1.2, 0.155
    _, lake = Setting("two-paths-4", "firm", "good-0.5", "mlp-64", "adam", 1).lakes[0]
    panels = []
    for method in ("base", *GAME):
        rows = select(policies, policies["method"] == method)
        matrix = np.stack([rows[f"T({name}|s)"].astype(float) for name in lake.actions], -1)
        shown = rows["tile"][rows["shown"] == 1].astype(int).tolist()
        title = "base policy" if method == "base" else method_name(method)
        panels.append(PolicyMap(title, lake, matrix, shown))
    scale = draw_policies(page, panels, 0.1, 0.46, wide, gap)
    page.add_note(
        0.1, 1.78,
        "S: start. Green outline: the path that was shown; DPO and ORPO were also shown the other way as rejected. Arrows: the "
        f"policy of seed {int(columns['seed'].min())}, a longer arrow is a likelier move.",
    )  # fmt: skip
    page.add_text(5.1, 2.2, "visits an episode", size=TINY, ha="right", va="center")
    scale.draw_key(page.add_axes(5.2, 2.13, 1.5, 0.1), page.theme, TINY, title=False)
    alt = _draw_distances(page, columns)
    return page, (
        "The paper's figure 3 on the two-paths lake. Five maps: the base policy and what DPO, IFT, ORPO and SFT make of it, "
        f"with the expected visits of each tile. Below, how far each ends from the optimal policy from several bases. {alt}"
    )


def _draw_distances(page: StudyFigure, columns: Columns) -> str:
    """Draw the distances of the paper's game from each base, and return what they say of the base of the maps."""
    settings = settings_table(columns)
    bases, optimisers = (list(dict.fromkeys(getattr(s, n) for s, _ in settings.values())) for n in ("base", "optimiser"))
    page.add_heading(0.1, 2.62, "Distance to the optimal policy, from several bases (the paper: DPO < IFT ≪ ORPO, SFT)")
    rows = [(method, optimiser) for method in GAME for optimiser in optimisers]
    left, between = 1.05, 0.13
    width = (WIDTH - left - 0.1 - between * (len(bases) - 1)) / len(bases)
    words = ""
    for i, base in enumerate(bases):
        series: dict[str, list[Estimate | None]] = {"last": [], "best": []}
        for method, optimiser in rows:
            _, results = settings[Setting("two-paths-4", "firm", base, "mlp-64", optimiser, 1).name]
            for checkpoint, points in series.items():
                points.append(mean_point("distance", results.measure("distance", method, View("common", checkpoint))))
        marks = {name: [method_mark(m, page.theme, filled=name == "last") for m, _ in rows] for name in series}
        title = "random base" if base == "random" else f"base {float(base.removeprefix('good-')):.0%} good"
        ax = page.draw_forest(
            [f"{method_name(method)}, {OPTIMISERS[optimiser]}" for method, optimiser in rows], series,
            left + i * (width + between), 2.95, width, 1.75, label="mean squared distance", names=i == 0, zero=False,
            marks=marks, title=title,
        )  # fmt: skip
        own = float(results.base("distance").mean())
        ax.axvline(own, color=page.theme.muted, lw=0.9, ls=(0, (3, 2)), zorder=1)
        ax.set_xlim(0, 0.33)
        ax.set_xticks([0, 0.1, 0.2, 0.3], ["0", "0.1", "0.2", "0.3"])
        if base == "good-0.5":
            ends = (
                f"{method_name(m)} {p.value:.3f}" for (m, o), p in zip(rows, series["last"], strict=True) if p and o == "adam"
            )
            words = f"From the base of the maps (distance {own:.3f}), with Adam, last checkpoint: {', '.join(ends)}."
    page.add_note(
        0.1, 5.1,
        f"Filled: last checkpoint; hollow: best checkpoint. Mean and 95 % interval of {len(results.seeds)} seeds, learning "
        "rate 0.01, of T(a|s) over all non-terminal tiles. Dashed: the base's own distance.",
    )  # fmt: skip
    return words


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
    page = StudyFigure(0.62 + len(panels) * (tall + 0.66), theme)
    unit = {"distance": "distance to the optimal policy", "success": "success"}[measure]
    page.add_heading(0.1, 0.19, f"IFT less SFT in {unit}, for each form of propagation, λ and γ")
    page.add_note(
        0.1, 0.3, "Blue: better than SFT. Dot: clear, the 95 % interval over lakes excludes 0 (not corrected for their number)."
    )
    page.draw_colour_key(5.55, 0.12, f"−{most:.3f}", f"+{most:.3f}", reverse=measure == "distance")
    for p, (ice, prediction, embedding) in enumerate(panels):
        top = 0.92 + p * (tall + 0.66)
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
                grid = Heatmap(
                    FORM_NAMES[form], down, across if form != "none" else [""], values, marked, "λ", "γ" * (form != "none")
                )
                page.draw_heatmap(grid, left, top, width, tall * len(down) / len(mixings), limits=(-most, most),
                           names=form == forms[0], reverse=measure == "distance")  # fmt: skip
            left += width + gap
    clear = [effects[key].value for key in keys if effects[key].is_clear and abs(effects[key].value) > NEGLIGIBLE]
    better = sum((value < 0) == (measure == "distance") for value in clear)
    alt = (
        f"Ablation of IFT: {unit} less SFT's over lambda and gamma for {'; '.join(forms)}; in {len(panels)} panels of ice, "
        f"prediction and embedding. Of {len(keys)} cells {better} are clearly better than SFT, "
        f"{len(clear) - better} clearly worse."
    )
    return page, alt


FORM_NAMES = {
    "released": "released", "released, detached": "released, detached", "algorithm 1": "algorithm 1",
    "algorithm 1, detached": "alg. 1, detached", "equation 21": "equation 21", "none": "none",
}  # fmt: skip


def frozen_sft(effects: Mapping[tuple[str, ...], Effect], ice: str, embedding: str) -> str:
    """Return, in words, what freezing the embedding alone does to SFT."""
    effect = effects.get((ice, "sft", "greedy", "frozen", "0", "0"))
    if embedding != "frozen" or effect is None:
        return ""
    return f" (SFT with the same frozen embedding: {format_effect(effect.value, effect.low, effect.high, digits=3)})".replace(
        "-", "−"
    )


# ---- causes ----

PREDICTORS = {
    "right": "share of mixed-in tiles\ntaught a best action",
    "push": "first-order change of\ntheir distance to the optimum",
}
POLICIES = {"mlp-64": "network", "tabular": "table"}


def draw_causes(
    correlations: Mapping[str, Mapping[str, Effect]], drain: Columns, rewards: Columns, theme: str
) -> tuple[StudyFigure, str]:
    """Draw why: what mixing teaches its neighbours, where DPO's probability goes, where a learned reward leads.

    Args:
        correlations: of each of `PREDICTORS`, by group of settings, the pooled rank correlation with IFT less SFT.
        drain, rewards: tables of the study.
        theme: a name in THEMES.
    """
    page = StudyFigure(7.5, theme)
    drained = _draw_drain(page, drain)
    landed = _draw_rewards(page, rewards)
    _draw_correlations(page, correlations)
    every = {PREDICTORS[name].replace("\n", " "): own["all"] for name, own in correlations.items() if "all" in own}
    ranks = ", ".join(f"{name} {_in_words(effect)}" for name, effect in every.items())
    return page, (
        f"Three causes. What pairs do to the preferred answer and to unseen moves. {drained} Where PPO lands with the "
        f"environment's reward and with a learned one. {landed} Rank correlations, within settings, of what IFT's mixing "
        f"teaches with how far IFT ends from the optimal policy beyond SFT: {ranks}."
    )


def _in_words(effect: Estimate | Effect) -> str:
    return format_effect(effect.value, effect.low, effect.high, digits=2)


def _draw_drain(page: StudyFigure, columns: Columns) -> str:
    """Draw, on top, what pairs do to the preferred answer and to moves that no answer takes; return it in words."""
    settings = settings_table(columns)
    methods = [m for m in next(iter(settings.values()))[1].methods if m != "base"]
    page.add_heading(
        0.1, 0.19, "What pairs do to the preferred answer, and to moves that no answer takes: change since the base"
    )
    titles = {"chosen_logp": "preferred answer", "unseen": "unseen moves"}
    units = {"chosen_logp": "log-likelihood, nats", "unseen": "probability"}
    marks = {"": [method_mark(m, page.theme) for m in methods]}
    words, left = "", (0.85, 2.42, 3.95, 5.43)
    for i, ((measure, title), (policy, kind)) in enumerate(product(titles.items(), POLICIES.items())):
        each = [results for s, results in settings.values() if s.policy == policy]
        if not each:
            continue
        points = [effect_point(pooled_effect([r.measure(measure, m, LAST) - r.base(measure) for r in each])) for m in methods]
        ax = page.draw_forest(
            [*map(method_name, methods)], {"": points}, left[i], 0.5, 1.36, 1.5, names=i == 0, label=units[measure],
            title=f"{title}, {kind}", marks=marks,
        )  # fmt: skip
        if measure == "chosen_logp":
            ax.set_xscale("symlog", linthresh=1.0, linscale=0.8)
            ax.set_xticks([-100, -10, 0, 10], ["−100", "−10", "0", "10"])
            ax.minorticks_off()
        if (measure, policy) == ("chosen_logp", "mlp-64"):
            words = ", ".join(f"{method_name(m)} {_in_words(p)}" for m, p in zip(methods, points, strict=True))
    page.add_note(
        0.1,
        2.37,
        f"Networks and tables on three lakes, deterministic and slippery: pooled over settings, 95 % interval; {HOLLOW}.",
    )
    return f"Log-likelihood of the preferred answer in networks, change in nats: {words}."


def _draw_rewards(page: StudyFigure, columns: Columns) -> str:
    """Draw, in the middle, where PPO ends with the environment's reward and with a learned one; return it in words."""
    top = 2.98
    page.add_heading(0.1, top, "Where RLHF lands: PPO on the environment's reward, and on one learned from compared episodes")
    settings, theme = settings_table(columns), page.theme
    lakes = list(dict.fromkeys((s.map, s.ice) for s, _ in settings.values()))
    marks = {
        "base": [Mark(theme.muted, "o", filled=False)],
        f"{method_name('ppo')}, environment's reward": [method_mark("ppo", theme)],
        method_name("ppo_preference"): [method_mark("ppo_preference", theme)],
    }
    labels = {"success": "success, probability", "regret": "regret, return", "distance": "mean squared distance"}
    means: dict[str, dict[str, float]] = {}
    for i, (measure, label) in enumerate(labels.items()):
        series: dict[str, list[Estimate | None]] = {name: [] for name in marks}
        for lake in lakes:
            results = next(results for s, results in settings.values() if (s.map, s.ice) == lake)
            for name, method in zip(series, ("base", "ppo, env", "ppo, preference"), strict=True):
                rate, at = ("", "base") if method == "base" else (results.rate(method, LAST), "last")
                series[name].append(mean_point(measure, results.at(measure, method, rate, at)))
        rows = [f"{lake}, {'deterministic' if ice == 'firm' else 'slippery'}" for lake, ice in lakes]
        ax = page.draw_forest(
            rows, series, 1.5 + i * 1.8, top + 0.15, 1.65, 1.5, label=label, names=i == 0, zero=False, marks=marks
        )
        ax.set_xlim(0, 1.02 if measure == "success" else None)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        means[measure] = {name: float(np.mean([p.value for p in points if p])) for name, points in series.items()}
    page.add_legend(ax, 0.1, top + 2.07, 3)
    page.add_note(0.1, top + 2.2, f"Mean and 95 % interval of {len(results.seeds)} seeds, common rate, last checkpoint.")
    return f"Success, mean over lakes: {', '.join(f'{name} {value:.2f}' for name, value in means['success'].items())}."


def _draw_correlations(page: StudyFigure, correlations: Mapping[str, Mapping[str, Effect]]) -> None:
    """Draw, at the bottom, what predicts how much further from the optimal policy IFT ends than SFT."""
    top = 5.6
    page.add_heading(
        0.1, top, "What predicts how much further from the optimal policy IFT ends than SFT, among the lakes of a setting"
    )
    for i, (predictor, title) in enumerate(PREDICTORS.items()):
        own = correlations[predictor]
        rows = [name.replace("firm", "deterministic") for name in own]
        ax = page.draw_forest(
            rows, {"": [*map(effect_point, own.values())]}, 1.5 + i * 2.75, top + 0.34, 2.45, 0.95,
            label="rank correlation with IFT less SFT",
            names=i == 0, title=title.replace("\n", " "),
        )  # fmt: skip
        ax.set_xlim(-1, 1)
        ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
    page.add_note(0.1, top + 1.7, f"Pooled over settings of ten lakes, 95 % interval; {HOLLOW}.")


# ---- variants ----


def draw_variants(columns: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw the variants on held-out lakes, each with the λ and rate that were best on others."""
    effects = held_out_effects(columns)
    panels = list(dict.fromkeys((e.ice, e.base) for e in effects))
    methods = [m for m in dict.fromkeys(e.method for e in effects) if m != "sft"]
    page = StudyFigure(4.95, theme)
    left, gap = 1.05, 0.26
    wide = (WIDTH - left - 0.12 - gap * (len(panels) - 1)) / len(panels)
    page.add_heading(
        0.1, 0.19, "Variants of IFT less SFT, on lakes that chose nothing (λ and learning rate were chosen on others)"
    )
    words = {"firm": "deterministic", "slippery-0.8": "slippery", "good-0.5": "half-good base", "random": "random base"}
    units = {"distance": "distance less SFT's\n(less is better)", "success": "success less SFT's\n(more is better)"}
    marks = {"": [method_mark(m, page.theme) for m in methods]}
    sentences = []
    for (m, measure), (p, (ice, base)) in product(enumerate(units), enumerate(panels)):
        own = [e for e in effects if (e.ice, e.base, e.measure, e.against) == (ice, base, measure, "sft")]
        points = {e.method: effect_point(e.effect) for e in own}
        ax = page.draw_forest(
            [method_name(x) + "*" * (x in NEEDS_THE_ORACLE) for x in methods], {"": [points[x] for x in methods]},
            left + p * (wide + gap), 0.62 + m * 2.13, wide, 1.4, label=units[measure], names=p == 0,
            title=f"{words[ice]},\n{words[base]}", marks=marks,
        )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
        better = [method_name(x) for x in methods if points[x].is_clear and (points[x].value < 0) == (measure == "distance")]
        sentences.append(f"{measure}, {words[ice]}, {words[base]}: {', '.join(better) or 'none'}")
    lakes = own[0].effect.lakes
    page.add_note(
        0.1,
        4.68,
        f"*: needs the optimal policy. Mean over {lakes} lakes and 95 % interval (not corrected for their number); {HOLLOW}.",
    )
    return (
        page,
        f"Variants of IFT less SFT on held-out lakes, with 95 % intervals. Clearly better than SFT in {'; '.join(sentences)}.",
    )
