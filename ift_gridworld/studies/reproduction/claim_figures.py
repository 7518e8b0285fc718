"""Figures of the claims: in how many settings each holds, and where."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from ift_gridworld.evaluation.statistics import is_clear
from ift_gridworld.rendering.study_figures import Estimate, Heatmap, StudyFigure
from ift_gridworld.studies.claims import CLAIMS, COMPARED, LAST, NEGLIGIBLE, PAIRS, VIEWS, Claim
from ift_gridworld.studies.reproduction.figure_words import NAMES, VIEW_NAMES, pair_name
from ift_gridworld.studies.results import SettingsTable
from ift_gridworld.studies.running import LEARNING_RATES
from ift_gridworld.studies.settings import ICE
from ift_gridworld.studies.tables import Columns
from ift_gridworld.studies.verdicts import row_of

__all__ = ["draw_claims", "draw_phases"]


def draw_claims(pooled: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw the claim table: the share of settings in which each claim holds, and the pooled effects on the paper's distance."""
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
        grid = Heatmap(
            VIEW_NAMES[view.rate, view.checkpoint],
            rows,
            heads,
            100 * pooled["holds"][cells],
            is_clear(pooled["low"][cells], pooled["high"][cells]),
        )
        left, top = 0.85 + (i % 2) * (wide + 0.14), 0.5 + (i // 2) * 1.42
        page.draw_heatmap(grid, left, top, wide, 0.84, limits=(0, 100), number_format=".0f", names=i % 2 == 0)
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
    grid = Heatmap("", names, [""], 100 * pooled["holds"][cells], is_clear(pooled["low"][cells], pooled["high"][cells]))
    page.draw_heatmap(grid, 5.75, 4.0, 0.6, 1.05, limits=(0, 100), number_format=".0f")
    shares = [pooled["holds"][row_of(pooled, Claim(*pair, "distance", -1).name, LAST)] for pair in PAIRS]
    words = ", ".join(f"{pair_name(*pair)} in {share:.0%}" for pair, share in zip(PAIRS, shares, strict=True))
    return page, f"The paper's claims over {settings} settings. Distance over all tiles, common rate, last checkpoint: {words}."


ESTIMATES = {
    "base_bias": "bias on the base", "base_gap": "gap on the base", "bias": "bias, trained", "gap": "gap, trained",
    "tiles": "tiles explored",
}  # fmt: skip


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


def draw_phases(settings: SettingsTable, theme: str) -> tuple[StudyFigure, str]:
    """Draw where each claim about the distance holds: share of settings (at each rate by itself) over two factors at a time."""
    rows = _differences(settings)
    levels = {n: sorted({row[n] for row in rows}, key=order) for n, order in LEVELS.items()}
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
                differences = [row[pair_name(*pair)] for row in rows if row[down] == one and row[across] == other]
                holds = [x < -NEGLIGIBLE for x in differences if np.isfinite(x)]
                values[i, k] = 100 * np.mean(holds) if holds else np.nan
            names, heads = ([level_name(x) for x in levels[n]] for n in (down, across))
            title = pair_name(*pair) if down == "base" else ""
            grid = Heatmap(title, names, heads, values, None, PHASE_NAMES.get(down, ""), PHASE_NAMES[across])
            page.draw_heatmap(grid, left, top, width, line * len(names), limits=(0, 100), number_format=".0f", room=0.8)
    return page, (
        "Phase diagrams: the share of settings in which each claim about the distance holds, over base and learning rate, lake "
        "and ice, policy and demonstrations."
    )


def _differences(settings: SettingsTable) -> list[dict[str, Any]]:
    """Return a row for each setting and rate: its level of every factor, and each pair's mean difference in distance."""
    rows = []
    grid = [f"{rate:g}" for rate in LEARNING_RATES]  # not beyond, where only some methods were run
    for setting, results in settings.values():
        for rate in [rate for rate in results.rates("sft") if rate in grid]:
            row: dict[str, Any] = {n: rate if n == "rate" else getattr(setting, n) for n in LEVELS}
            for pair in PAIRS:
                difference = results.at("distance", pair[0], rate, "last") - results.at("distance", pair[1], rate, "last")
                row[pair_name(*pair)] = float(np.nanmean(difference)) if np.isfinite(difference).any() else np.nan
            rows.append(row)
    return rows


def level_name(value: object) -> str:
    """Return a factor's level as short as a figure has room for."""
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
