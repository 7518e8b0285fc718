"""Figures of the failure atlas: displacement predicted, and reward over-optimisation.

`rendering.study_figures` draws the parts; this file says what stands where, in inches from the upper left.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ift_gridworld.evaluation.best_of_n import form_terms
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.rendering.study_figures import (
    HOLLOW,
    SMALL,
    TINY,
    WIDTH,
    Estimate,
    Mark,
    StudyFigure,
    method_mark,
)
from ift_gridworld.studies.failures.atlas_displacement import PREDICTORS, Displacement
from ift_gridworld.studies.failures.atlas_optimisation import BEST_OF_N, OPTIMISERS, OverOptimisation
from ift_gridworld.studies.failures.setup import signed

__all__ = ["draw_displacement", "draw_over_optimisation", "optimiser_name"]

BINS = 10  # of equally many pairs, whose medians are joined
KL_TICKS = (0, 1, 4, 9, 16, 25)  # nats, evenly apart on a square-root scale


def draw_displacement(result: Displacement, theme: str) -> StudyFigure:
    """Draw two predictors against what became of DPO's chosen answers, all predictors' correlations, and all losses."""
    page = StudyFigure(6.05, theme)
    lakes, seeds = result.predictors["ches"].shape
    last = result.updates[-1]
    page.add_heading(
        0.1, 0.19, f"{lakes * seeds:,} pairs on {lakes} lakes: similarity before training, and DPO after {last} updates"
    )
    for left, name in ((0.6, "ches"), (4.0, "normalised ches")):
        _scatter(page, result, name, left)
    page.add_heading(0.1, 2.82, "Rank correlation with the fall of c, DPO")
    correlations: dict[str, list[Estimate | None]] = {
        f"{update} updates": [Estimate(*result.correlation(name, "dpo", i)) for name in PREDICTORS]
        for i, update in enumerate(result.updates)
    }
    markers = dict(zip(correlations, ("o", "s", "D"), strict=True))
    ax = page.draw_forest(
        list(PREDICTORS.values()), correlations, 1.72, 2.98, 1.42, 2.02, label="Spearman’s ρ, 95 % interval over lakes",
        marks={name: [Mark(page.theme.ink, marker)] for name, marker in markers.items()},
    )  # fmt: skip
    ax.set_xlim(-1.05, 1.05)
    ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
    page.add_legend(ax, 0.16, 5.42, 3)
    _draw_losses(page, result)
    page.add_note(
        0.1, 5.55,
        f"ρ > 0: where it is larger before training, c falls further. Left, {HOLLOW}; right, filled: after {last} updates, "
        f"hollow: after {result.updates[0]}. Numbers: medians after {last} updates, in nats, of the change of c, the chosen "
        f"answer’s log-probability, and of the margin c − r. Line in the scatters: medians of {BINS} equal parts of the pairs.",
    )  # fmt: skip
    return page


def _scatter(page: StudyFigure, result: Displacement, name: str, left: float) -> None:
    x, change = result.predictors[name].ravel(), result.chosen["dpo"][-1].ravel()
    ax = page.add_axes(left, 0.55, 2.8, 1.75)
    page.style_axes(ax)
    ax.axhline(0, color=page.theme.muted, lw=0.8, zorder=1)
    mark = method_mark("dpo", page.theme)
    ax.plot(x, change, "o", ms=2.2, mew=0, color=mark.colour, alpha=0.35, zorder=2)
    parts = np.array_split(np.argsort(x, kind="stable"), BINS)
    middles = [(float(np.median(x[part])), float(np.median(change[part]))) for part in parts if len(part)]
    ax.plot(*zip(*middles, strict=True), "-o", ms=3, lw=1.3, color=page.theme.less, zorder=3)
    rho, low, high = result.correlation(name, "dpo")
    ax.set_title(
        f"{PREDICTORS[name]}: ρ = {signed(rho)} [{signed(low)}, {signed(high)}]", size=SMALL, color=page.theme.ink, loc="left"
    )
    ax.set_xlabel("before training", size=TINY, color=page.theme.muted, labelpad=1.5)
    ax.set_ylabel("change of c, nats", size=TINY, color=page.theme.muted, labelpad=1.5)


def _draw_losses(page: StudyFigure, result: Displacement) -> None:
    """Draw the share of pairs whose chosen answer falls, for each method, with the medians of what changes."""
    top, height, left, width = 2.98, 2.02, 4.28, 1.35
    methods = list(result.chosen)
    page.add_heading(3.4, 2.82, "Share of pairs whose chosen answer falls")
    series: dict[str, list[Estimate | None]] = {
        name: [Estimate(*result.fallen(method, i)) for method in methods] for name, i in (("first", 0), ("last", -1))
    }
    marks = {name: [method_mark(m, page.theme, filled=name == "last") for m in methods] for name in series}
    names = [method_name(method) for method in methods]
    ax = page.draw_forest(
        names, series, left, top, width, height, label="share, 95 % interval over lakes", zero=False, marks=marks
    )
    ax.set_xlim(-0.03, 1.03)
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for right, words in ((6.2, "c"), (6.8, "c − r")):
        page.add_text(right, top - 0.04, words, size=TINY, ha="right", color=page.theme.muted)
    for row, method in enumerate(methods):
        chosen, rejected = result.chosen[method][-1], result.rejected[method][-1]
        for right, change in ((6.2, chosen), (6.8, chosen - rejected)):
            middle = top + (row + 0.5) * height / len(methods)
            words = f"{np.median(change):+.1f}".replace("-", "−")
            page.add_text(right, middle, words, size=TINY, ha="right", va="center")


def optimiser_name(name: str) -> str:
    """Return the name of best-of-n or of a method."""
    return "Best-of-n" if name == BEST_OF_N else method_name(name)


def draw_over_optimisation(result: OverOptimisation, theme: str) -> StudyFigure:
    """Draw true and learned return over the KL for each optimiser, the published forms, and a table of their fits."""
    page = StudyFigure(5.12, theme)
    runs = result.kl[BEST_OF_N].shape[0] * result.kl[BEST_OF_N].shape[1]
    page.add_heading(0.1, 0.19, f"Gain in true and in learned return over the KL from the base, {runs} learned rewards")
    width, gap, first = 1.92, 0.2, 0.6
    farthest = max(float(np.sqrt(kl.max())) for kl in result.kl.values())
    for row, (values, words, top, height) in enumerate(
        ((result.gold, "true return", 0.5, 1.45), (result.learned, "learned return", 2.12, 1.15))
    ):
        low = min(-0.05, min(float(value.min()) for value in values.values()))
        for i, name in enumerate(OPTIMISERS):
            ax = page.add_axes(first + i * (width + gap), top, width, height)
            page.style_axes(ax)
            _draw_runs(page, ax, result, name, values[name])
            ax.set_xlim(0, 1.02 * farthest)
            ax.set_ylim(low - 0.05, 1.1)
            ticks = [tick for tick in KL_TICKS if np.sqrt(tick) <= farthest]
            ax.set_xticks(np.sqrt(ticks), [str(tick) for tick in ticks] if row else [""] * len(ticks))
            if row == 0:
                ax.set_title(optimiser_name(name), size=SMALL, color=page.theme.ink, loc="left", pad=3)
                _draw_fit(page, ax, result, name)
            else:
                ax.set_xlabel("KL, nats (square-root scale)", size=TINY, color=page.theme.muted, labelpad=1.5)
            if i == 0:
                ax.set_ylabel(f"gain in {words}", size=TINY, color=page.theme.muted, labelpad=1.5)
            else:
                ax.set_yticklabels([])
    _draw_table(page, result, 3.9)
    page.add_note(
        0.1, 4.66,
        "Gains over the base, as a share of what the best episode gains; errors are root mean squares in the same unit, of one "
        "fit to all runs; alone: median over runs of a fit to each. Dashed: the published form, d (α − β d) for best-of-n, "
        "d (α − β log d) for reinforcement learning, d = √KL. Thin lines: runs; thick: the mean at one n or update.",
    )  # fmt: skip
    return page


def _draw_runs(page: StudyFigure, ax: Axes, result: OverOptimisation, name: str, gain: np.ndarray) -> None:
    colour = page.theme.muted if name == BEST_OF_N else method_mark(name, page.theme).colour
    points = gain.shape[-1]
    distance, gain = np.sqrt(result.kl[name]).reshape(-1, points), gain.reshape(-1, points)
    ax.axhline(0, color=page.theme.faint, lw=0.8, zorder=0)
    for x, y in zip(distance, gain, strict=True):
        ax.plot(x, y, color=colour, lw=0.5, alpha=0.35, zorder=2)
    ax.plot(np.sqrt(result.kl[name].mean((0, 1))), gain.mean(0), color=page.theme.ink, lw=1.6, zorder=3)


def _draw_fit(page: StudyFigure, ax: Axes, result: OverOptimisation, name: str) -> None:
    fit, kl = result.fit(name), np.linspace(0, float(np.sqrt(result.kl[name].max())), 100) ** 2
    curve = form_terms(kl, OPTIMISERS[name]) @ np.array([fit.alpha, fit.beta])
    ax.plot(np.sqrt(kl), curve, color=page.theme.less, lw=1.6, ls=(0, (3, 1.5)), zorder=4)


def _draw_table(page: StudyFigure, result: OverOptimisation, top: float) -> None:
    columns = (
        ("alpha", "α"), ("beta", "β"), ("error", "error"), ("other_form_error", "other form’s"), ("error_of_a_run", "alone"),
        ("kl", "last KL"), ("highest_gain", "highest gain"), ("last_gain", "last gain"), ("last_learned", "last learned"),
        ("below_base", "below base"),
    )  # fmt: skip
    place, step = 1.3, (WIDTH - 1.42) / (len(columns) - 1)
    for i, (_, words) in enumerate(columns):
        page.add_text(
            place + i * step, top, words.replace(" ", "\n"), size=TINY, ha="right", va="bottom", color=page.theme.muted
        )
    for row, cells in enumerate(result.table()):
        line = top + 0.16 + row * 0.19
        page.add_text(0.1, line, optimiser_name(str(cells["optimiser"])), size=SMALL)
        for i, (key, _) in enumerate(columns):
            value = float(cells[key])
            words = f"{value:.0%}" if key == "below_base" else f"{value:.2f}".replace("-", "−")
            page.add_text(place + i * step, line, words, size=SMALL, ha="right")
