"""Description of a figure for a paper in words, its caption for LaTeX, and its numbers as a table for LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from ift_gridworld.escape import latex_text, printable
from ift_gridworld.rendering.paper_words import (
    INTERVAL,
    end_words,
    listed,
    run_titles,
    same_for_all,
    seed_counts,
    seeds_of_maps,
    with_interval,
)
from ift_gridworld.rendering.tables import result_metrics
from ift_gridworld.training.run import Run, shared_custom_metrics

__all__ = ["FigureContent", "caption_of", "latex_table"]

_NAMES = {
    "kl": "KL to the base policy (nats)",
    "kl_discounted": "discounted KL to the base policy (nats)",
    "success_any_tile": "success from any tile",
    "distance": "distance to optimal",
    "chosen_logp": "log-probability of the chosen answer (nats)",
    "rejected_logp": "log-probability of the rejected answer (nats)",
}


@dataclass(frozen=True)
class FigureContent:
    """Content of a figure.

    Attributes:
        runs, titles: the runs and the names of their methods.
        headline: the metric that sums them up.
        panels: all panels.
        curves: metrics that are drawn over the updates.
        strips: metrics that are drawn seed by seed, if there is a panel of seeds.
        updates: those that maps are of.
    """

    runs: Sequence[Run]
    titles: Sequence[str]
    headline: str
    panels: Sequence[str]
    curves: Sequence[str]
    strips: Sequence[str]
    updates: Int[np.ndarray, " K"]


def caption_of(figure: FigureContent, label: str | None = None) -> str:
    r"""Return what a figure shows: environment, panels, updates, drawn seed, and where each method ends, with intervals.

    Args:
        figure: the figure.
        label: for LaTeX, as ``\caption{...}`` and ``\label{fig:LABEL}``; None for plain words in one line.
    """
    tex = label is not None
    words = [*_about(figure), *_panels(figure), *end_words(figure.runs)]
    text = " ".join(_tex(printable(sentence)) if tex else printable(sentence) for sentence in [*words, *_ends(figure)])
    if label is None:
        return text
    return f"% Inside the figure environment, below \\includegraphics: \\input{{{_file_name(label)}.caption}}\n" \
        f"\\caption{{{text}}}\n\\label{{fig:{_label(label)}}}\n"  # fmt: skip


def _about(figure: FigureContent) -> list[str]:
    first, titles = figure.runs[0], listed(figure.titles)
    return [f"{titles} on {first.place} ({first.about.replace(' · ', ', ')})."]


def _panels(figure: FigureContent) -> list[str]:
    """A sentence or two about each panel."""
    runs, several = figure.runs, max(run.seeds for run in figure.runs) > 1
    words = []
    if "maps" in figure.panels:
        updates = listed([str(update) for update in figure.updates])
        rejected = ", dashed the rejected one" if any(len(run.rejected) for run in runs) else ""
        chosen = any(run.needs == "pairs" for run in runs)
        words.append(
            f"Maps: the policy after {updates} updates, drawn for {seeds_of_maps(runs)} of {seed_counts(runs)}; arrows are "
            "moves, blue is the expected number of visits an episode, the solid outline is the human's "
            f"{'demonstrated or chosen' if chosen else 'demonstrated'} path{rejected}."
        )
    if "matrix" in figure.panels:
        words.append("Matrices: the probability T(a|s) of each move a in each state s, of the policy and of the optimal one.")
    if figure.curves:
        names = listed([_named(name) for name in figure.curves])
        over = f"mean and {INTERVAL} (Student's t) over {seed_counts(runs)}" if several else "one seed, so without an interval"
        words.append(f"Curves: {names} over the updates on a square-root scale, {over}.")
    if "frontier" in figure.panels:
        words.append(
            "Frontier: return against discounted KL from the base, a trajectory a method, of "
            f"{seeds_of_maps(runs)}; the thick curve is exact: no policy lies above it. Dotted: the gap to it, the highest "
            "return at that KL minus the method's."
        )
    if "seeds" in figure.panels:
        names = listed([_named(name) for name in figure.strips])
        mean = f"; the large mark and the line are mean and {INTERVAL}" if several else ""
        words.append(f"Seeds: {names} after the last update, a dot a seed{mean}.")
    return words


def _ends(figure: FigureContent) -> list[str]:
    """Return each method's final metrics, of those in the figure; means over seeds, with intervals."""
    runs = figure.runs
    plane = [name for name in ("kl_discounted", "frontier_gap") if "frontier" in figure.panels and _all_have(runs, name)]
    names = list(dict.fromkeys([figure.headline, "distance", *figure.curves, *figure.strips, *plane]))
    ends = [
        f"{title}: " + ", ".join(f"{_named(name)} {_interval_words(name, run)}" for name in names)
        for title, run in zip(figure.titles, runs, strict=True)
    ]
    several = max(run.seeds for run in runs) > 1
    return [f"After the last update{f' (mean over seeds and {INTERVAL})' if several else ''}: {'; '.join(ends)}."]


def _all_have(runs: Sequence[Run], name: str) -> bool:
    return all(name in run.metrics for run in runs)


def _named(name: str) -> str:
    return _NAMES.get(name) or printable(name.replace("_", " "))


def _interval_words(name: str, run: Run) -> str:
    mean, *ends = with_interval(name, run.metrics[name][-1])
    return f"{mean} [{', '.join(ends)}]" if ends else mean


_NUMBER = re.compile(r"((?<![\w.-])-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?![\w-]))")


def _tex(text: str) -> str:
    """Return words for LaTeX: escaped, with minus signs and powers of ten as mathematics."""
    parts = []
    for index, part in enumerate(_NUMBER.split(text)):
        parts.append(tex_number(part) if index % 2 else latex_text(part))
    return "".join(parts).replace(r"95 \% interval", r"95\,\% interval")


def tex_number(text: str) -> str:
    r"""Return a number for LaTeX, as mathematics where it has a sign or a power of ten.

    Args:
        text: the number.

    Example:
        >>> print(tex_number("0.250"), tex_number("-3.1e-05"))
        0.250 $-3.1 \times 10^{-5}$
    """
    mantissa, e, power = text.partition("e")
    if e:
        return rf"${mantissa} \times 10^{{{int(power)}}}$"
    return f"${text}$" if text.startswith("-") else text


def _label(name: str) -> str:
    """A figure's name as part of a label, in which LaTeX takes few signs."""
    return re.sub(r"[^A-Za-z0-9:._-]+", "-", name)


def _file_name(name: str) -> str:
    """A figure's name within a comment, in one line."""
    return printable(name)


def latex_table(runs: Sequence[Run]) -> str:
    """Return the results as a LaTeX table (package booktabs): mean over seeds and 95 % interval, one row a method.

    Args:
        runs: the runs, from one base on one lake.

    Example::

        print(latex_table([Run.load("sft.json"), Run.load("ift.json")]))
    """
    first = runs[0]
    horizon = "" if first.environment.horizon is None else f" within {first.environment.horizon} steps"
    custom = shared_custom_metrics(runs)
    names = [*result_metrics(runs), *custom]
    lengths = len(same_for_all(runs, lambda run: int(run.steps[-1]))) > 1
    called = {"success": f"success{horizon}", "distance": "distance to optimal"}
    headings = ["method", *(called.get(name) or _named(name) for name in names), *["updates"] * lengths]
    over = f"mean over {seed_counts(runs)} and {INTERVAL}" if max(run.seeds for run in runs) > 1 else seed_counts(runs)
    rows = [("base", first, 0), *((title, run, -1) for title, run in zip(run_titles(runs), runs, strict=True))]
    lines = [
        f"% {printable(first.about)}; {over}",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        " & ".join(map(latex_text, headings)) + r" \\",
        r"\midrule",
        *(_row(title, run, index, names, lengths) for title, run, index in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _row(title: str, run: Run, index: int, names: Sequence[str], lengths: bool) -> str:
    cells = [latex_text(title)]
    for name in names:
        mean, *ends = (_maths(text) for text in with_interval(name, run.metrics[name][index]))
        cells.append(mean + (rf" {{\small [{', '.join(ends)}]}}" if ends else ""))
    if lengths:
        cells.append(f"${run.steps[index]}$")
    return " & ".join(cells) + r" \\"


def _maths(text: str) -> str:
    """A number as mathematics; what is none as words."""
    number = tex_number(text)
    return number if number.startswith("$") or not text[0].isdigit() else f"${number}$"
