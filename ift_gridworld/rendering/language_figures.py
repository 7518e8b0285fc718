"""Figures of a language study, drawn from its saved runs: how hard each method pulls at each token, and the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ift_gridworld.evaluation.statistics import is_clear, student_interval
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.study_figures import SMALL, TINY, WIDTH, Estimate, Heatmap, StudyFigure

__all__ = ["TITLES", "draw_differences", "draw_tokens", "in_order", "title_of"]

TITLES = {
    "sft": "SFT", "ift": "IFT", "ift_detached": "IFT, weights constant", "ift_residual": "IFT, mixing alone",
    "ift_propagation": "IFT, propagation alone", "ift_random": "IFT, random tokens", "ift_sampled": "IFT, sampled tokens",
    "ift_shifted": "IFT, wrong shift", "ift_residual_random": "Mixing alone, random tokens",
    "ift_residual_sampled": "Mixing alone, sampled tokens", "ift_residual_shifted": "Mixing alone, wrong shift",
    "sft_frozen": "SFT, frozen inputs", "sft_tempered": "SFT, as uncertain as IFT",
    "dpo": "DPO", "dpo_online": "DPO online", "orpo": "ORPO", "ipo": "IPO", "simpo": "SimPO", "tdpo": "TDPO",
    "ppo": "PPO, exact reward", "ppo_preference": "PPO, learned reward", "grpo": "GRPO, exact reward",
}  # fmt: skip
GREEDY, SAMPLED, DISTANCE, END = "greedy success", "sampled success", "distance to T*", "P(end) on the gift"
EDGE = "†: on some seed the best learning rate or beta is the first or the last of those tried"
DIFFERENCES = {"greedy": GREEDY, "sampled": SAMPLED, "distance": DISTANCE, "end": END}
CURVES = {"end": END, "sampled": SAMPLED, "distance": DISTANCE}


def title_of(method: str, on_edge: Collection[str] = ()) -> str:
    """Return the name that figures give a method; one that they do not know keeps its own.

    Args:
        method: the method.
        on_edge: methods that are marked, since their best setting is the first or the last of those tried.

    Example:
        >>> title_of("ppo"), title_of("my_method"), title_of("sft", {"sft"})
        ('PPO, exact reward', 'my_method', 'SFT†')
    """
    return TITLES.get(method, method) + "†" * (method in on_edge)


def in_order(methods: Collection[str]) -> list[str]:
    """Return methods in the order of figures: those of this package first, then the others as they come.

    Example:
        >>> in_order(["my_method", "dpo", "ift"])
        ['ift', 'dpo', 'my_method']
    """
    return [name for name in TITLES if name in methods] + [name for name in methods if name not in TITLES]


@isolated
def draw_tokens(
    pulls: Mapping[str, Float[np.ndarray, "M T"]],
    steps: Mapping[str, Sequence[int]],
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    theme: str,
    on_edge: Collection[str] = (),
) -> tuple[StudyFigure, str]:
    """Draw the pull at each token over the updates, a heat map a method; below, curves of the results on held-out lakes.

    Args:
        pulls: of each method, the mean over answers of `language.tokens.pull`, times the answers' length: SFT's is 1.
        steps: of each method, the updates at which the pull was computed.
        runs: of each method, one run a seed, with its results over the updates as "measured".
        theme: a name in THEMES.
        on_edge: methods that are marked (`title_of`).

    Returns:
        The figure, and what it shows in words.
    """
    figure = StudyFigure(4.55, theme)
    figure.add_heading(0.1, 0.17, "How hard each token of an answer is pulled up while training (SFT's pull is 1)")
    names = list(pulls)
    gap, left = 0.25, 0.55
    width = (WIDTH - left - 0.1 - gap * (len(names) - 1)) / len(names)
    for i, name in enumerate(names):
        values = pulls[name]
        rows = np.unique(np.linspace(0, len(values) - 1, 10).round().astype(int))
        tokens = [*(str(t + 1) for t in range(values.shape[1] - 1)), "end"]
        table = Heatmap(
            title_of(name), [str(steps[name][row]) for row in rows], tokens, values[rows], values[rows] < 0,
            row_label="update" if i == 0 else "", column_label="token of the answer",
        )  # fmt: skip
        figure.draw_heatmap(table, left + i * (width + gap), 0.55, width, 1.45, limits=(-1, 3), names=i == 0)
    figure.draw_colour_key(5.55, 0.13, "−1", "3")
    figure.add_note(
        0.1,
        2.4,
        "SFT's colour is a pull of 1. Dot: the pull is negative, the token is un-learnt. Mean over answers of one length.",
    )
    figure.add_heading(0.1, 2.85, "On held-out lakes" + f" ({EDGE})" * any(name in on_edge for name in runs))
    _draw_curves(figure, {title_of(name, on_edge): own for name, own in runs.items()})
    seeds = len(next(iter(runs.values())))
    ends = " / ".join(
        f"{title_of(name, on_edge)} {np.mean([run['measured'][-1].get('end', np.nan) for run in own]):.2f}"
        for name, own in runs.items()
    )
    return (
        figure,
        f"The pull at each token under {len(names)} methods. Probability of the end on the gift, {seeds} seeds: {ends}.",
    )


def _draw_curves(figure: StudyFigure, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Results on held-out lakes over the updates, mean and interval over seeds; runs by the title of their method."""
    colours = [figure.theme.success, figure.theme.distance, figure.theme.shown, figure.theme.muted]
    width = (WIDTH - 0.55 - 0.1 - 2 * 0.45) / 3
    for i, (metric, title) in enumerate(CURVES.items()):
        ax = figure.add_axes(0.45 + i * (width + 0.45), 3.1, width, 0.85)
        figure.style_axes(ax)
        for k, (name, own) in enumerate(runs.items()):
            steps = [result["step"] for result in own[0]["measured"]]
            table = np.array([[result.get(metric, np.nan) for result in run["measured"]] for run in own]).T
            mean, low, high = np.array([student_interval(values) for values in table]).T
            ax.plot(steps, mean, color=colours[k % 4], lw=1.2, label=name, ls="-" if k < 4 else "--")
            if len(own) > 1:
                ax.fill_between(steps, low, high, color=colours[k % 4], alpha=0.2, lw=0)
        ax.set_title(title, size=SMALL, color=figure.theme.ink, loc="left", pad=3)
        ax.set_xlabel("update", size=TINY, color=figure.theme.muted, labelpad=1.5)
        if metric != "distance":
            ax.set_ylim(0, 1.02)
    figure.add_legend(ax, 0.45, 4.38, min(4, len(runs)))


@isolated
def draw_differences(
    differences: Mapping[str, Mapping[str, Sequence[float]]], theme: str, on_edge: Collection[str] = ()
) -> tuple[StudyFigure, str]:
    """Draw how the results of each method on held-out lakes differ from SFT's, with intervals over seeds.

    Args:
        differences: of each method and metric, one difference a seed.
        theme: a name in THEMES.
        on_edge: methods that are marked (`title_of`).

    Returns:
        The figure, and what it shows in words.
    """
    names = in_order(differences)
    height = 0.155 * len(names)
    figure = StudyFigure(height + 1.2, theme)
    figure.add_heading(0.1, 0.17, "What differs from SFT on held-out lakes: same lakes, same base, same order of the data")
    left, gap = 1.55, 0.16
    width = (WIDTH - left - 0.1 - gap * (len(DIFFERENCES) - 1)) / len(DIFFERENCES)
    sentences = []
    for i, (metric, title) in enumerate(DIFFERENCES.items()):
        estimates = [Estimate(*student_interval(np.array(differences[name][metric]))) for name in names]
        better = "less is better" if metric == "distance" else "more is better"
        figure.draw_forest(
            [title_of(name, on_edge) for name in names],
            {"difference": estimates},
            left + i * (width + gap),
            0.45,
            width,
            height,
            label=better,
            title=title,
            names=i == 0,
        )
        clear = [
            title_of(name)
            for name, estimate in zip(names, estimates, strict=True)
            if len(differences[name][metric]) > 1 and is_clear(estimate.low, estimate.high)
        ]
        sentences.append(f"{title} clearly differs for {' / '.join(clear) or 'none'}")
    counts = sorted({len(values) for by_metric in differences.values() for values in by_metric.values()})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    rate = "each method at the rate that its validation lakes chose"
    figure.add_note(0.1, height + 0.83, f"Mean of {seeds} seeds and its 95 % interval (Student's t), {rate}.")
    marked = [title_of(name) for name in names if name in on_edge]
    if marked:
        figure.add_note(0.1, height + 0.98, f"{EDGE}.")
        sentences.append(f"{EDGE}: {', '.join(marked)}")
    return figure, f"Differences from SFT, {seeds} seeds. {'; '.join(sentences)}."
