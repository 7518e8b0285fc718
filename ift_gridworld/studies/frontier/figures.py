"""Figures of the frontier study: each method's answer to each question, and the frontier gap and KL at which it ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ift_gridworld.methods.registry import family_of
from ift_gridworld.rendering.method_names import in_order, method_name
from ift_gridworld.rendering.plane import apart
from ift_gridworld.rendering.study_figures import SMALL, TINY, WIDTH, Estimate, StudyFigure, method_mark
from ift_gridworld.studies.frontier.conditions import Condition
from ift_gridworld.studies.frontier.questions import Answer, StudyTable, share_of_gain
from ift_gridworld.studies.lakes import DYNAMICS

__all__ = ["EDGE", "GROUPS", "draw_answers", "draw_figures", "draw_plane"]

GROUPS = {  # of methods, by their families
    "Demonstrations": ("imitation",),
    "Pairs": ("pairs", "unpaired"),
    "Rollouts": ("on-policy", "mixed"),
}
ROW, NAME = 0.162, 0.112  # inches, of a method and of its name beside the plane
HOLLOW = "Hollow: not clear, corrected for the number of methods"
EDGE = "†"
COLUMNS = {  # question: the axis in words, which side is better, its scale near 0, and a few ticks
    "recovery": ("success from every tile,\nless SFT's", "better →", 0.0, ()),
    "likelihood": ("log-likelihood of chosen,\nless the base's (nats)", "better →", 10.0, (-100, -10, 0, 10)),
    "frontier": ("frontier gap, share of\nthe gain, less SFT's", "← better", 0.1, (-0.1, 0, 0.1, 1)),
    "mislabelled": ("regret with 30 % wrong\nlabels, less DPO's", "← better", 0.0, ()),
}


def grouped(methods: Sequence[str]) -> dict[str, list[str]]:
    """Return methods by the group that they belong to, in the order of figures; groups without a method are left out."""
    groups = {name: [m for m in in_order(methods) if family_of(m) in families] for name, families in GROUPS.items()}
    return {name: members for name, members in groups.items() if members}


def draw_figures(
    table: StudyTable, answers: Mapping[str, Sequence[Answer]], folder: Path, theme: str, on_edge: Collection[str] = ()
) -> list[Path]:
    """Draw all figures of the study, methods whose best trial lies on an edge marked; return the paths."""
    paths = []
    for name, draw in (("answers", draw_answers(answers, theme, on_edge)), ("plane", draw_plane(table, theme))):
        figure, words = draw
        paths += figure.save(folder / f"{name}.png", words, palette=128)
    return paths


# ---- the answers ----


def draw_answers(answers: Mapping[str, Sequence[Answer]], theme: str, on_edge: Collection[str] = ()) -> tuple[StudyFigure, str]:
    """Draw a row a method and a column a question: the effect with its interval, hollow where it is not clear."""
    by_method = {key: {answer.method: answer for answer in each} for key, each in answers.items()}
    groups = grouped(list({method: None for each in by_method.values() for method in each}))
    top, left, gap = 0.66, 0.98, 0.13
    width = (WIDTH - left - 0.1 - gap * (len(COLUMNS) - 1)) / len(COLUMNS)
    heights = [ROW * len(methods) for methods in groups.values()]
    page = StudyFigure(top + sum(heights) + 0.24 * len(groups) + 0.46, theme)
    page.add_heading(0.1, 0.19, "What every method answers, on the same lakes, bases and data")
    edge = f" {EDGE} best trial on an edge." if on_edge else ""
    page.add_note(0.1, 0.27, f"Mean difference over random lakes, 95 % interval. {HOLLOW}.{edge}")
    for k, (question, (label, better, linear, ticks)) in enumerate(COLUMNS.items()):
        axes: list[Axes] = []
        x, y = left + k * (width + gap), top
        for (name, methods), height in zip(groups.items(), heights, strict=True):
            if k == 0:
                page.add_heading(0.1, y + 0.13, name)
            rows = [_estimate(by_method[question].get(method)) for method in methods]
            if k == 0 or any(rows):
                names = [f"{method_name(m)} {EDGE}" if m in on_edge else method_name(m) for m in methods] if k == 0 else []
                if not axes:
                    page.add_text(x + width / 2, y + 0.13, better, size=TINY, ha="center", color=page.theme.muted)
                ax = page.add_axes(x, y + 0.2, width, height)
                _draw_rows(page, ax, methods, rows, names)
                axes.append(ax)
            y += height + 0.24
        _share_scale(axes, linear, ticks)
        axes[-1].set_xlabel(label, size=TINY, color=page.theme.muted, labelpad=2)
    return page, _words(answers)


def _estimate(answer: Answer | None) -> Estimate | None:
    if answer is None:
        return None
    effect = answer.effect
    return Estimate(effect.value, effect.low, effect.high, 2 if answer.is_clear else 1)


def _draw_rows(
    page: StudyFigure, ax: Axes, methods: Sequence[str], rows: Sequence[Estimate | None], names: Sequence[str]
) -> None:
    theme = page.theme
    page.style_axes(ax)
    ax.axvline(0, color=theme.muted, lw=0.8, zorder=1)
    for y, (method, row) in enumerate(zip(methods, rows, strict=True)):
        ax.axhline(y, color=theme.faint, lw=0.5, zorder=0)
        if row is None or not np.isfinite(row.value):
            continue
        mark = method_mark(method, theme)
        ax.plot([row.low, row.high], [y, y], color=mark.colour, lw=1.2, solid_capstyle="butt", zorder=2)
        face = mark.colour if row.is_clear else theme.background
        ax.plot([row.value], [y], mark.marker, ms=3.6, mew=0.8, mec=mark.colour, mfc=face, lw=0, zorder=3)
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_yticks(range(len(methods)), names or [""] * len(methods))
    ax.tick_params(axis="y", length=0, labelcolor=theme.ink)


def _share_scale(axes: Sequence[Axes], linear: float, ticks: Sequence[float]) -> None:
    """Give the Axes of one question the same scale, linear near 0 and logarithmic beyond if it has a linear part."""
    if linear:
        for ax in axes:
            ax.set_xscale("symlog", linthresh=linear)
    low, high = min(ax.get_xlim()[0] for ax in axes), max(ax.get_xlim()[1] for ax in axes)
    if linear:  # on a logarithmic scale matplotlib's margins are too narrow for a marker
        low, high = (1.6 * end if abs(end) > linear else end for end in (low, high))
    for ax in axes:
        ax.set_xlim(low, high)
        if ticks:
            ax.set_xticks(
                [t for t in ticks if low <= t <= high], [f"{t:g}".replace("-", "−") for t in ticks if low <= t <= high]
            )
            ax.minorticks_off()
        else:
            ax.locator_params(axis="x", nbins=4)
        if ax is not axes[-1]:
            ax.set_xticklabels([])


def _words(answers: Mapping[str, Sequence[Answer]]) -> str:
    lines = []
    for key in COLUMNS:
        each = [a for a in answers.get(key, []) if np.isfinite(a.effect.value)]
        if each:
            first, last = each[0], each[-1]
            lines.append(
                f"{key}: best {method_name(first.method)} ({first.effect.value:+.3f}), "
                f"last {method_name(last.method)} ({last.effect.value:+.3f})"
            )
    return f"Forest plot of every method's answers to four questions. {'; '.join(lines)}."


# ---- the plane ----


@dataclass(frozen=True)
class PlanePoint:
    """Where a method ends: mean KL from the base in nats, and mean frontier gap as a share of what there is to gain."""

    method: str
    kl: float
    gap: float


KL_TICKS, GAP_TICKS = (1, 3, 10, 30, 100, 300, 1000), (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LEAST_GAP = 1e-4  # share below which a gap is drawn at the lower edge


def plane_points(table: StudyTable, dynamics: str) -> list[PlanePoint]:
    """Return where each method ends under the centre's condition of the dynamics; lakes without a finite KL are left out."""
    condition = Condition(dynamics=dynamics).name
    points = []
    for method in table.methods(condition):
        kl = np.array(list(table.values(condition, method, "kl_discounted").values()))
        gap = np.array(list(share_of_gain(table, condition, method).values()))
        sound = np.isfinite(kl) & np.isfinite(gap)
        if sound.any():
            points.append(PlanePoint(method, float(kl[sound].mean()), float(gap[sound].mean())))
    return points


def draw_plane(table: StudyTable, theme: str) -> tuple[StudyFigure, str]:
    """Draw where every method ends: KL from the base to the right, frontier gap up, a panel a group and dynamics."""
    points = {dynamics: plane_points(table, dynamics) for dynamics in DYNAMICS}
    every = [point for each in points.values() for point in each]
    groups = grouped([p.method for p in every])
    left, names, gap = 0.62, 0.74, 0.42
    width = (WIDTH - 0.1 - left) / 2 - names
    heights = [max(1.5, NAME * (len(methods) + 1)) for methods in groups.values()]
    page = StudyFigure(0.62 + sum(heights) + gap * len(groups), theme)
    page.add_heading(0.1, 0.19, "How far from the frontier each method ends, and at which KL")
    page.add_note(
        0.1,
        0.27,
        "Frontier gap: what the best policy at the method's own KL returns more, as a share of what there is to gain.",
    )
    limits = [(f(p.kl for p in every), f(max(p.gap, LEAST_GAP) for p in every)) for f in (min, max)]
    for row, (group, methods) in enumerate(groups.items()):
        height, y = heights[row], 0.62 + sum(heights[:row]) + gap * row
        for column, dynamics in enumerate(DYNAMICS):
            x = left + column * (width + names)
            ax = page.add_axes(x, y, width, height)
            page.style_axes(ax)
            page.add_text(x, y - 0.05, f"{group}, {dynamics}", size=SMALL, weight="bold")
            ax.set(xscale="log", yscale="log")
            ax.set_xticks(KL_TICKS, [f"{tick:g}" for tick in KL_TICKS])
            ax.set_yticks(GAP_TICKS, [f"{'≤ ' if tick <= LEAST_GAP else ''}{100 * tick:g} %" for tick in GAP_TICKS])
            ax.minorticks_off()
            ax.grid(color=page.theme.faint, lw=0.5)
            ax.set_axisbelow(True)
            ax.set_xlim(limits[0][0] / 1.3, limits[1][0] * 1.3)
            ax.set_ylim(limits[0][1] / 1.6, limits[1][1] * 1.6)
            _draw_points(page, ax, [p for p in points[dynamics] if p.method in methods])
            if row == len(groups) - 1:
                ax.set_xlabel("KL from the base, nats", size=TINY, color=page.theme.muted, labelpad=1.5)
            if column == 0:
                ax.set_ylabel("frontier gap", size=TINY, color=page.theme.muted, labelpad=1.5)
            else:
                ax.tick_params(axis="y", labelleft=False)
    best = {dynamics: min(each, key=lambda p: p.gap) for dynamics, each in points.items() if each}
    words = "; ".join(
        f"{dynamics}: least {method_name(p.method)}, {p.gap:.3f} at {p.kl:.1f} nats" for dynamics, p in best.items()
    )
    return page, f"Scatter plot of mean frontier gap against mean KL from the base, by group of methods. {words}."


def _draw_points(page: StudyFigure, ax: Axes, points: Sequence[PlanePoint]) -> None:
    """Draw a group's points, and their names at the right in the order of their heights, each with a line to its point."""
    theme = page.theme
    ordered = sorted(points, key=lambda p: -p.gap)
    places = [ax.transAxes.inverted().transform(ax.transData.transform((p.kl, max(p.gap, LEAST_GAP)))) for p in ordered]
    inches = ax.get_position().height * page.height
    heights = apart([float(place[1]) for place in places], NAME / inches)
    for point, place, height in zip(ordered, places, heights, strict=True):
        mark = method_mark(point.method, theme)
        ax.plot(
            [place[0], 1.0, 1.03], [place[1], height, height], transform=ax.transAxes, color=mark.colour, lw=0.4, clip_on=False,
            zorder=1,
        )  # fmt: skip
        ax.plot(
            [place[0]], [place[1]], mark.marker, transform=ax.transAxes, ms=4.2, mew=0.8, mec=mark.colour, mfc=mark.colour,
            zorder=3, clip_on=False,
        )  # fmt: skip
        ax.text(
            1.045, height, method_name(point.method), transform=ax.transAxes, size=TINY, color=theme.ink, va="center_baseline"
        )
