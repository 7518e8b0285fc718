"""Figures of a language study, drawn from its saved runs: how hard each method pulls at each token, and the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

from ift_gridworld.evaluation.statistics import student_interval
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.method_names import in_order, method_name
from ift_gridworld.rendering.method_style import styles_of
from ift_gridworld.rendering.study_figures import (
    HOLLOW,
    MAX_HEIGHT,
    SMALL,
    TINY,
    WIDTH,
    Estimate,
    Heatmap,
    StudyFigure,
    method_mark,
)
from ift_gridworld.rendering.text import legend_label, plain_text

__all__ = ["draw_differences", "draw_tokens", "title_of"]

GREEDY, SAMPLED, DISTANCE, END = "greedy success", "sampled success", "distance to optimum", "P(end) at the goal"
EDGE = "†: on some seed the best learning rate or beta is the first or the last of those tried"
DIFFERENCES = {"greedy": GREEDY, "sampled": SAMPLED, "distance": DISTANCE, "end": END}
CURVES = {"end": END, "sampled": SAMPLED, "distance": DISTANCE}
UNITS = {"greedy": "share of lakes", "sampled": "probability", "distance": "mean squared", "end": "probability"}
LINE, HEAD, FOOT = 0.155, 0.5, 0.85  # inches of a row, above the rows and below them


def title_of(method: str, on_edge: Collection[str] = ()) -> str:
    """Return the name that figures give a method, with a mark where its best setting is the first or the last of those tried.

    Args:
        method: the method.
        on_edge: methods that are marked.

    Example:
        >>> title_of("ppo"), title_of("my_method"), title_of("sft", {"sft"})
        ('PPO', 'my_method', 'SFT†')
    """
    return method_name(method) + "†" * (method in on_edge)


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
    figure = StudyFigure(5.0, theme)
    figure.add_heading(0.1, 0.19, "How hard each token of an answer is pulled up while training")
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
    figure.draw_colour_key(5.3, 0.13, "pull −1", "3")
    figure.add_note(
        0.1, 2.4,
        "The colour of SFT, all along, is a pull of 1. Blue: pulled up harder. Dot: the pull is negative, it is un-learnt."
        " Mean over answers of one length, first seed.",
    )  # fmt: skip
    figure.add_heading(0.1, 2.96, "What becomes of it on held-out lakes")
    _draw_curves(figure, runs, on_edge)
    seeds = len(next(iter(runs.values())))
    interval = f"Mean of {seeds} seeds and its 95 % interval (Student's t)." if seeds > 1 else "One seed."
    figure.add_note(0.1, 4.66, interval + f" {EDGE}." * any(name in on_edge for name in runs))
    ends = " / ".join(
        f"{title_of(name, on_edge)} {np.mean([run['measured'][-1].get('end', np.nan) for run in own]):.2f}"
        for name, own in runs.items()
    )
    return (
        figure,
        f"The pull at each token under {len(names)} methods. Probability of the end at the goal, {seeds} seeds: {ends}.",
    )


def _draw_curves(figure: StudyFigure, runs: Mapping[str, Sequence[Mapping[str, Any]]], on_edge: Collection[str]) -> None:
    """Draw results on held-out lakes over the updates, mean and interval over seeds, each method in its own look."""
    styles = styles_of(runs)
    width = (WIDTH - 0.6 - 0.1 - 2 * 0.5) / 3
    for i, (metric, title) in enumerate(CURVES.items()):
        ax = figure.add_axes(0.6 + i * (width + 0.5), 3.22, width, 0.85)
        figure.style_axes(ax)
        for name, own in runs.items():
            style = styles[name]
            steps = [result["step"] for result in own[0]["measured"]]
            table = np.array([[result.get(metric, np.nan) for result in run["measured"]] for run in own]).T
            mean, low, high = np.array([student_interval(values) for values in table]).T
            ax.plot(
                steps, mean, color=style.colour(figure.theme), lw=1.2, ls=style.dash, marker=style.marker, ms=2.6,
                label=legend_label(plain_text(title_of(name, on_edge))),
            )  # fmt: skip
            if len(own) > 1:
                ax.fill_between(steps, low, high, color=style.colour(figure.theme), alpha=0.13, lw=0)
        ax.set_title(title, size=SMALL, color=figure.theme.ink, loc="left", pad=3)
        ax.set_xlabel("update", size=TINY, color=figure.theme.muted, labelpad=1.5)
        ax.set_ylabel(UNITS[metric], size=TINY, color=figure.theme.muted, labelpad=2)
        if metric != "distance":
            ax.set_ylim(0, 1.02)
    figure.add_legend(ax, 0.1, 4.52, min(4, len(runs)))


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
    line = min(LINE, (MAX_HEIGHT - HEAD - FOOT) / len(names))
    height = line * len(names)
    figure = StudyFigure(HEAD + height + FOOT, theme)
    figure.add_heading(0.1, 0.19, "What differs from SFT on held-out lakes: same lakes, same base, same order of the data")
    left, gap = 1.6, 0.16
    width = (WIDTH - left - 0.1 - gap * (len(DIFFERENCES) - 1)) / len(DIFFERENCES)
    sentences = []
    marks = {"": [method_mark(name, figure.theme) for name in names]}
    for i, (metric, title) in enumerate(DIFFERENCES.items()):
        estimates = [
            Estimate(*student_interval(values), samples=len(values))
            for values in (np.array(differences[name][metric]) for name in names)
        ]
        better = "less is better" if metric == "distance" else "more is better"
        ax = figure.draw_forest(
            [title_of(name, on_edge) for name in names], {"": estimates}, left + i * (width + gap), HEAD, width, height,
            label=f"{UNITS[metric]}\n({better})", title=title, names=i == 0, marks=marks,
        )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
        clear = [title_of(name) for name, estimate in zip(names, estimates, strict=True) if estimate.is_clear]
        sentences.append(f"{title} clearly differs for {' / '.join(clear) or 'none'}")
    counts = sorted({len(values) for by_metric in differences.values() for values in by_metric.values()})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    marked = [title_of(name) for name in names if name in on_edge]
    figure.add_note(
        0.1, HEAD + height + 0.46,
        f"Difference from SFT: mean of {seeds} seeds and its 95 % interval (Student's t), each method at the rate that its "
        f"validation lakes chose; {HOLLOW}." + f" {EDGE}." * bool(marked),
    )  # fmt: skip
    if marked:
        sentences.append(f"{EDGE}: {', '.join(marked)}")
    return figure, f"Differences from SFT, {seeds} seeds. {'; '.join(sentences)}."
