"""Figures for an appendix: every claim at every view, and where the claims about the distance hold, two factors at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from ift_gridworld.evaluation.statistics import is_clear
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.rendering.study_figures import HOLLOW, Estimate, Heatmap, StudyFigure
from ift_gridworld.studies.claims import CLAIMS, COMPARED, LAST, NEGLIGIBLE, PAIRS, VIEWS, Claim
from ift_gridworld.studies.reproduction.claim_figures import FACTORS, level_name
from ift_gridworld.studies.reproduction.figure_words import VIEW_NAMES, pair_name
from ift_gridworld.studies.results import SettingsTable
from ift_gridworld.studies.running import LEARNING_RATES
from ift_gridworld.studies.tables import Columns
from ift_gridworld.studies.verdicts import row_of

__all__ = ["draw_rates", "draw_views"]


def draw_views(pooled: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw in how many settings a method beats another, by every measure and view, and the pooled effects on the distance."""
    page = StudyFigure(6.2, theme)
    settings = int(np.max(pooled["settings"]))
    page.add_heading(0.1, 0.19, f"Share of {settings} settings in which a method beats another, by what is compared (%)")
    page.draw_colour_key(5.6, 0.12, "never", "always")
    short = {"": "all", "_shown": "shown", "_optimal": "opt.", "_visited": "own"}
    heads = [*short.values(), *short.values(), "regret", "succ."]
    wide = 2.93
    for i, view in enumerate(VIEWS):
        cells = [[row_of(pooled, Claim(*pair, m, sign).name, view) for m, sign in COMPARED.items()] for pair in PAIRS]
        grid = Heatmap(
            VIEW_NAMES[view.rate, view.checkpoint],
            [f"{method_name(a)} beats {method_name(b)}" for a, b in PAIRS],
            heads,
            100 * pooled["holds"][cells],
            is_clear(pooled["low"][cells], pooled["high"][cells]),
        )
        left, top = 0.85 + (i % 2) * (wide + 0.14), 0.5 + (i // 2) * 1.42
        page.draw_heatmap(grid, left, top, wide, 0.84, limits=(0, 100), number_format=".0f", names=i % 2 == 0)
        for first, text in ((0, "distance of T(a|s)"), (4, "distance of T(s'|s)")):
            page.add_note(left + wide * (first + 2) / len(heads), top + 1.02, text, ha="center")
    page.add_note(
        0.1, 3.27,
        "Distances over: all non-terminal tiles; shown tiles; weighted by the optimal policy's visits; by its own. Dot: the "
        "effect pooled over settings is clear, its 95 % interval excludes 0.",
    )  # fmt: skip
    _draw_pooled(page, pooled)
    _draw_estimates(page, pooled)
    shares = [pooled["holds"][row_of(pooled, Claim(*pair, "distance", -1).name, LAST)] for pair in PAIRS]
    words = ", ".join(f"{pair_name(*pair)} in {share:.0%}" for pair, share in zip(PAIRS, shares, strict=True))
    return page, (
        f"In which share of {settings} settings a method beats another, by ten measures, at four views. Distance over all "
        f"tiles, common rate, last checkpoint: {words}."
    )


def _draw_pooled(page: StudyFigure, pooled: Columns) -> None:
    """Draw the pooled effects on the distance over all tiles, one chart a claim, each on a scale of its own."""
    page.add_heading(0.1, 3.72, "Pooled effect on the distance over all tiles, first less second: each claim on its own scale")
    left, gap = 2.05, 0.14
    wide = (6.8 - left - gap * (len(PAIRS) - 1)) / len(PAIRS)
    for i, pair in enumerate(PAIRS):
        at = [row_of(pooled, Claim(*pair, "distance", -1).name, view) for view in VIEWS]
        effects = [Estimate(float(pooled["effect"][r]), float(pooled["low"][r]), float(pooled["high"][r])) for r in at]
        names = [VIEW_NAMES[view.rate, view.checkpoint] for view in VIEWS]
        ax = page.draw_forest(
            names, {"": effects}, left + i * (wide + gap), 4.0, wide, 0.66, label="distance", names=i == 0,
            title=pair_name(*pair),
        )  # fmt: skip
        most = max((max(abs(e.low), abs(e.high)) for e in effects if np.isfinite(e.low)), default=1.0)
        tick = float(f"{0.8 * most:.0e}") or 1.0
        ax.set_xlim(-1.25 * most, 1.25 * most)
        ax.set_xticks([-tick, 0, tick], [f"−{tick:g}", "0", f"{tick:g}"])
    page.add_note(0.1, 4.98, f"95 % intervals over settings, lakes and seeds; {HOLLOW}")


ESTIMATES = {
    "base_bias": "bias on the base", "base_gap": "gap on the base", "bias": "bias, trained", "gap": "gap, trained",
    "tiles": "tiles explored",
}  # fmt: skip


def _draw_estimates(page: StudyFigure, pooled: Columns) -> None:
    """Draw the shares of the claims about preference estimation and the tiles explored."""
    claims = [claim for claim in CLAIMS.values() if claim.measure in ESTIMATES]
    cells = [[row_of(pooled, claim.name, LAST) for claim in claims]]
    names = [f"{pair_name(c.first, c.second, c.sign)},\n{ESTIMATES[c.measure]}" for c in claims]
    page.add_heading(0.1, 5.34, "Other claims, common rate, last checkpoint (%)")
    grid = Heatmap("", [""], names, 100 * pooled["holds"][cells], is_clear(pooled["low"][cells], pooled["high"][cells]))
    page.draw_heatmap(grid, 0.1, 5.46, 6.7, 0.22, limits=(0, 100), number_format=".0f")


PHASES = (("base", "rate", 0.75, 1.45), ("family", "ice", 3.15, 0.98), ("policy", "demonstrations", 5.0, 1.8))
ACROSS = {"rate": "learning rate", "ice": "ice, moves as intended", "demonstrations": "demonstrations"}


def draw_rates(settings: SettingsTable, theme: str) -> tuple[StudyFigure, str]:
    """Draw where each claim about the distance holds: share of settings (at each rate by itself) over two factors at a time."""
    rows = differences_by_rate(settings)
    orders: dict[str, Callable[[Any], Any]] = {factor: order for factor, (_, order) in FACTORS.items()} | {"rate": float}
    levels = {name: sorted({row[name] for row in rows}, key=order) for name, order in orders.items()}
    line = 0.15
    tall = line * max(len(levels[down]) for down, *_ in PHASES)
    page = StudyFigure(0.55 + len(PAIRS) * (tall + 0.52), theme)
    page.add_heading(0.1, 0.19, "Share of settings in which the claim about the distance holds (%), each rate by itself")
    page.draw_colour_key(5.6, 0.12, "never", "always")
    for r, pair in enumerate(PAIRS):
        top = 0.6 + r * (tall + 0.52)
        for down, across, left, width in PHASES:
            values = np.full((len(levels[down]), len(levels[across])), np.nan)
            for (i, one), (k, other) in product(enumerate(levels[down]), enumerate(levels[across])):
                differences = [row[pair_name(*pair)] for row in rows if row[down] == one and row[across] == other]
                holds = [x < -NEGLIGIBLE for x in differences if np.isfinite(x)]
                values[i, k] = 100 * np.mean(holds) if holds else np.nan
            names, heads = ([level_name(x) for x in levels[n]] for n in (down, across))
            title = pair_name(*pair) if down == "base" else ""
            grid = Heatmap(title, names, heads, values, column_label=ACROSS[across])
            page.draw_heatmap(grid, left, top, width, line * len(names), limits=(0, 100), number_format=".0f", room=0.9)
    shares = [np.mean([row[pair_name(*pair)] < -NEGLIGIBLE for row in rows]) for pair in PAIRS]
    words = ", ".join(f"{pair_name(*pair)} in {share:.0%}" for pair, share in zip(PAIRS, shares, strict=True))
    return page, (
        "The share of settings in which each claim about the distance holds, at the last checkpoint, over base and learning "
        f"rate, lake and ice, policy and demonstrations. Of all settings and rates: {words}."
    )


def differences_by_rate(settings: SettingsTable) -> list[dict[str, Any]]:
    """Return a row for each setting and rate: its level of every factor, and each pair's mean difference in distance."""
    rows = []
    grid = [f"{rate:g}" for rate in LEARNING_RATES]  # not beyond, where only some methods were run
    for setting, results in settings.values():
        for rate in [rate for rate in results.rates("sft") if rate in grid]:
            row: dict[str, Any] = {n: getattr(setting, n) for n in FACTORS} | {"rate": rate}
            for pair in PAIRS:
                difference = results.at("distance", pair[0], rate, "last") - results.at("distance", pair[1], rate, "last")
                row[pair_name(*pair)] = float(np.nanmean(difference)) if np.isfinite(difference).any() else np.nan
            rows.append(row)
    return rows
