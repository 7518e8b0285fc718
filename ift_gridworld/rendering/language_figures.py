"""Figures of a language run, drawn from its saved runs: how hard each method pulls at each token, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ift_gridworld.evaluation.statistics import student_interval
from ift_gridworld.rendering.study_figures import SMALL, TINY, WIDTH, Grid, Page, Point

TITLES = {
    "sft": "SFT", "ift": "IFT", "ift_detached": "IFT, weights constant", "ift_residual": "IFT, mixing alone",
    "ift_propagation": "IFT, propagation alone", "ift_random": "IFT, random tokens", "ift_sampled": "IFT, sampled tokens",
    "ift_shifted": "IFT, wrong shift", "sft_frozen": "SFT, frozen inputs", "sft_tempered": "SFT, as uncertain as IFT",
    "dpo": "DPO", "dpo_online": "DPO online", "orpo": "ORPO", "ipo": "IPO", "simpo": "SimPO", "tdpo": "TDPO",
    "ppo": "PPO, exact reward", "ppo_preference": "PPO, learned reward", "grpo": "GRPO, exact reward",
}  # fmt: skip
MEASURED = {"greedy": "greedy success", "sampled": "sampled success", "distance": "distance to T*", "end": "P(end) on the gift"}
CURVES = {"end": "P(end) on the gift", "sampled": "sampled success", "distance": "distance to T*"}


def draw_tokens(
    pulls: Mapping[str, Float[np.ndarray, "M T"]],
    steps: Mapping[str, Sequence[int]],
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    theme: str,
) -> tuple[Page, str]:
    """The pull at each token over the updates, a map a method; below, what was measured on held-out lakes.

    Args:
        pulls: of each method, the mean over answers of `language.tokens.pull`, times the answers' length: SFT's is 1.
        steps: the updates at which it was looked at.
        runs: of each method, one a seed, with what was measured.
        theme: a name in THEMES.
    """
    page = Page(4.55, theme)
    page.heading(0.1, 0.17, "How hard each token of an answer is pulled up while training (SFT's pull is 1)")
    names = list(pulls)
    gap, left = 0.25, 0.55
    wide = (WIDTH - left - 0.1 - gap * (len(names) - 1)) / len(names)
    for i, name in enumerate(names):
        values = pulls[name]
        kept = np.unique(np.linspace(0, len(values) - 1, 10).round().astype(int))
        tokens = [*(str(t + 1) for t in range(values.shape[1] - 1)), "end"]
        grid = Grid(
            TITLES.get(name, name), [str(steps[name][k]) for k in kept], tokens, values[kept], values[kept] < 0,
            row_label="update" if i == 0 else "", column_label="token of the answer",
        )  # fmt: skip
        page.cells(grid, left + i * (wide + gap), 0.55, wide, 1.45, limits=(-1, 3), names=i == 0)
    page.key(5.55, 0.13, "−1", "3")
    page.note(
        0.1,
        2.4,
        "SFT's colour is a pull of 1. Dot: the pull is negative, the token is un-learnt. Mean over answers of one length.",
    )
    page.heading(0.1, 2.85, "On held-out lakes")
    colours = [page.theme.success, page.theme.distance, page.theme.shown, page.theme.muted]
    wide = (WIDTH - 0.55 - 0.1 - 2 * 0.45) / 3
    for i, (measure, title) in enumerate(CURVES.items()):
        ax = page.axes(0.45 + i * (wide + 0.45), 3.1, wide, 0.85)
        page.plain(ax)
        for k, (name, mine) in enumerate(runs.items()):
            at = [m["step"] for m in mine[0]["measured"]]
            table = np.array([[m[measure] for m in run["measured"]] for run in mine]).T
            mean, low, high = np.array([student_interval(values) for values in table]).T
            ax.plot(at, mean, color=colours[k % 4], lw=1.2, label=TITLES.get(name, name), ls="-" if k < 4 else "--")
            if len(mine) > 1:
                ax.fill_between(at, low, high, color=colours[k % 4], alpha=0.2, lw=0)
        ax.set_title(title, size=SMALL, color=page.theme.ink, loc="left", pad=3)
        ax.set_xlabel("update", size=TINY, color=page.theme.muted, labelpad=1.5)
        if measure != "distance":
            ax.set_ylim(0, 1.02)
    page.legend(ax, 0.45, 4.38, min(4, len(runs)))
    seeds = len(next(iter(runs.values())))
    last = " / ".join(f"{TITLES.get(n, n)} {np.mean([r['measured'][-1]['end'] for r in mine]):.2f}" for n, mine in runs.items())
    return (
        page,
        f"The pull at each token under {len(names)} methods. Probability of the end on the gift, {seeds} seeds: {last}.",
    )


def draw_differences(found: Mapping[str, Mapping[str, Sequence[float]]], theme: str) -> tuple[Page, str]:
    """How each method differs from SFT in what is measured on held-out lakes, with intervals over seeds.

    Args:
        found: of each method and measure, one difference a seed.
        theme: a name in THEMES.
    """
    names = [name for name in TITLES if name in found]
    height = 0.155 * len(names)
    page = Page(height + 1.05, theme)
    page.heading(0.1, 0.17, "What differs from SFT on held-out lakes: same lakes, same base, same order of the data")
    left, gap = 1.55, 0.16
    wide = (WIDTH - left - 0.1 - gap * (len(MEASURED) - 1)) / len(MEASURED)
    told = []
    for i, (measure, title) in enumerate(MEASURED.items()):
        points = [Point(*student_interval(np.array(found[name][measure]))) for name in names]
        better = "less is better" if measure == "distance" else "more is better"
        page.forest(
            [TITLES[name] for name in names],
            {"difference": points},
            left + i * (wide + gap),
            0.45,
            wide,
            height,
            label=better,
            title=title,
            names=i == 0,
        )
        clear = [
            TITLES[name]
            for name, point in zip(names, points, strict=True)
            if len(found[name][measure]) > 1 and (point.low > 0 or point.high < 0)
        ]
        told.append(f"{title} clearly differs for {' / '.join(clear) or 'none'}")
    counts = sorted({len(values) for by_measure in found.values() for values in by_measure.values()})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    how = "each method at the rate that its validation lakes chose"
    page.note(0.1, height + 0.83, f"Mean of {seeds} seeds and its 95 % interval (Student's t), {how}.")
    return page, f"Differences from SFT, {seeds} seeds. {'; '.join(told)}."
