"""Panels of a figure for a paper: maps, matrices, curves, seeds. Each draws on Axes that the figure has placed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.planning import optimal_policy, state_matrix
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.charts import look_of, style_axes, update_axis
from ift_gridworld.rendering.frontier_plane import FrontierPlane, FrontierTracks
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.matrix import PolicyMatrix
from ift_gridworld.rendering.method_style import MethodStyle
from ift_gridworld.rendering.paper_layout import (
    CHART,
    CHART_HEIGHT,
    MARGIN,
    MATRIX,
    MATRIX_HEIGHT,
    PLANE_AROUND,
    STRIP_AROUND,
    charts_per_line,
    plane_height,
    strip_height,
)
from ift_gridworld.rendering.paths import draw_answers
from ift_gridworld.rendering.seeds_view import SeedStrip, strip_title
from ift_gridworld.rendering.sheet import HINTED, SMALL, TEXT, Sheet, drawn_width
from ift_gridworld.rendering.text import shorten
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.rendering.visit_scale import VisitScale
from ift_gridworld.training.run import Run

__all__ = ["draw_curves", "draw_frontier", "draw_map", "draw_matrices", "draw_seeds"]

MAX_SQUARE = 70  # states up to which the matrix of states by states is drawn
LEFT, BETWEEN = 0.34, 0.44  # inches: of tick labels left of a chart; between charts, where the last tick's label ends, too
TITLE = 0.2  # inches: above a chart
MOST_BESIDE = 1.2  # inches: for the names beside the frontier plane


def draw_map(ax: Axes, run: Run, snapshot: int, scale: VisitScale, theme: Theme) -> None:
    """Draw a policy, its visits and the human's answers on a map.

    Args:
        ax: where to draw.
        run: whose policy it is.
        snapshot: index of the snapshot.
        scale: of visits, shared by all maps of the figure.
        theme: colours.
    """
    mdp = run.mdp
    grid, states = grid_of(mdp), walkable(mdp)
    draw_lake(ax, grid, theme)
    TileColours(ax, grid, states, theme.visits, scale.norm).update(run.visits[snapshot])
    draw_answers(ax, grid, theme, run.demonstration[:, 0], run.rejected[:, 0], insets=(0.08, 0.16), width=0.9)
    draw_landmarks(ax, grid, theme)
    draw_starts(ax, grid, theme)
    PolicyArrows(ax, grid, mdp.moves, states, theme).update(run.snapshots[snapshot])


def draw_matrices(sheet: Sheet, top: float, run: Run) -> float:
    """Draw T(a|s) of the last policy over the optimal one, and on small maps T(s'|s) of both; returns where they end.

    Args:
        sheet: the figure.
        top: where they begin, in inches.
        run: whose policy it is.
    """
    theme, inches, mdp = sheet.theme, sheet.options.inches, run.mdp
    states, policy, best = walkable(mdp), run.snapshots[-1], optimal_policy(mdp)
    has_square = int(states.sum()) <= MAX_SQUARE
    left = MARGIN + drawn_width("optimal") + 0.08
    square = (MATRIX + 0.12) * 2
    width = inches - MARGIN - left - (square + 0.1) * has_square
    top += TITLE
    update = f" after update {run.steps[-1]}"
    title = next(
        words
        for words in (
            f"T(a|s){update}: a column a state, a row a move",
            f"T(a|s){update}",
            f"T(a|s), update {run.steps[-1]}",
            "",
        )
        if drawn_width(words) <= width
    )
    sheet.add_text(left, top - 0.04, title)
    ax = sheet.add_axes(left, top, width, MATRIX)
    PolicyMatrix(ax, states, best, theme, SMALL).update(policy)
    ax.set_yticklabels([shorten(words, left, SMALL) for words in ("policy", "optimal")], size=SMALL, color=theme.ink)
    if has_square:
        for i, (matrix, words) in enumerate(((policy, "T(s'|s)"), (best, "optimal"))):
            place = left + width + 0.14 + i * (MATRIX + 0.12)
            sheet.add_text(place, top - 0.04, words)
            ax = sheet.add_axes(place, top, MATRIX, MATRIX)
            shown = state_matrix(mdp, matrix)[states]
            ax.imshow(shown, cmap=theme.probabilities, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(color=theme.faint, lw=0.5)
    return top + MATRIX_HEIGHT - TITLE


def draw_curves(
    sheet: Sheet,
    top: float,
    names: Sequence[str],
    runs: Sequence[Run],
    styles: Sequence[MethodStyle],
    marked: Int[np.ndarray, "K M"],
) -> float:
    """Draw metrics over the updates, mean and 95 % interval over seeds; returns where they end.

    Args:
        sheet: the figure.
        top: where they begin, in inches.
        names: of the metrics.
        runs: a curve each.
        styles: of the runs.
        marked: index of the snapshots of each run that have a marker.
    """
    per_line = charts_per_line(sheet.options, len(names))
    for index, name in enumerate(names):
        line, column = divmod(index, per_line)
        width = (sheet.options.inches - 2 * MARGIN - LEFT - (per_line - 1) * BETWEEN - 0.12) / per_line
        left = MARGIN + LEFT + column * (width + BETWEEN)
        ax = sheet.add_axes(left, top + line * CHART_HEIGHT + TITLE, width, CHART)
        _draw_curve(ax, sheet.theme, name, runs, styles, marked)
        room = width + (BETWEEN - 0.1 if column + 1 < per_line else 0.1)
        title = strip_title(name, runs[0].mdp.horizon, room / HINTED, TEXT)
        ax.set_title(title, size=TEXT, color=sheet.theme.ink, loc="left", pad=3)
        update_axis(ax, max(int(run.steps[-1]) for run in runs), apart=0.22 / width)
        words = ("update (square-root scale)", "update (√ scale)", "update")
        label = next(text for text in words if drawn_width(text) <= width or text == "update")
        ax.set_xlabel(label, size=SMALL, color=sheet.theme.muted, labelpad=1)
    return top + CHART_HEIGHT * -(-len(names) // per_line)


def _draw_curve(
    ax: Axes, theme: Theme, name: str, runs: Sequence[Run], styles: Sequence[MethodStyle], marked: Int[np.ndarray, "K M"]
) -> None:
    style_axes(ax, theme)
    ax.tick_params(labelsize=SMALL, length=2, pad=1.5)
    means, ends = [], []
    for run, style, marks in zip(runs, styles, marked.T, strict=True):
        mean, low, high = metric_interval(name, run.metrics[name])
        colour = style.colour(theme)
        if run.seeds > 1:
            ax.fill_between(run.steps, low, high, color=colour, alpha=0.16, lw=0)
        every = sorted(set(marks.tolist())) if len(runs) > 1 else []
        ax.plot(run.steps, mean, color=colour, lw=1.1, ls=style.dash, marker=style.marker, ms=3, mew=0, markevery=every)
        means += mean[np.isfinite(mean)].tolist()
        ends += [*low[np.isfinite(low)], *high[np.isfinite(high)]]
    limit = look_of(name).limit
    if limit is not None:
        ax.set_ylim(-0.03 * limit, 1.05 * limit)
        ax.set_yticks([0.0, 0.5 * limit, limit])
    else:
        low, high = (choose([0.0, *means]) for choose in (min, max))  # a very wide interval must not flatten all curves
        low, high = max(min([low, *ends]), low - (high - low)), min(max([high, *ends]), high + (high - low))
        span = max(high - low, 1e-6)
        ax.set_ylim(low - 0.12 * span * (low < 0), high + 0.12 * span * (high > 0 or low == high))
        ax.yaxis.set_major_locator(MaxNLocator(3))


def draw_seeds(
    sheet: Sheet, top: float, names: Sequence[str], runs: Sequence[Run], styles: Sequence[MethodStyle], titles: Sequence[str]
) -> float:
    """Draw where each seed ends; returns where the panel ends.

    Args:
        sheet: the figure.
        top: where it begins, in inches.
        names: of the metrics, a strip each.
        runs, styles, titles: the methods.
    """
    per_line, theme = charts_per_line(sheet.options, len(names)), sheet.theme
    labels = [shorten(title, 0.75, SMALL) for title in titles]
    left = MARGIN + max(drawn_width(label) for label in labels) + 0.1
    between = 0.26
    width = (sheet.options.inches - MARGIN - left - 0.12 - (per_line - 1) * between) / per_line
    height = strip_height(len(runs))
    several = max(run.seeds for run in runs) > 1
    drawn = [run.drawn for run in runs] if several else None
    for index, name in enumerate(names):
        line, column = divmod(index, per_line)
        place = top + line * (height + STRIP_AROUND) + TITLE
        ax = sheet.add_axes(left + column * (width + between), place, width, height)
        ends, seeds = [run.metrics[name][-1] for run in runs], [run.seeds for run in runs]
        SeedStrip(ax, theme, name, styles, seeds, drawn, ends, labels if column == 0 else None, SMALL).update(ends)
        title = strip_title(name, runs[0].mdp.horizon, (width + between - 0.06) / HINTED, SMALL)
        ax.set_title(title, size=SMALL, color=theme.ink, loc="left", pad=3)
    return top + (height + STRIP_AROUND) * -(-len(names) // per_line)


def draw_frontier(sheet: Sheet, top: float, tracks: FrontierTracks) -> float:
    """Draw the frontier plane with the methods' names at its right; returns where the panel ends.

    Args:
        sheet: the figure.
        top: where it begins, in inches.
        tracks: the trajectories.
    """
    height, left = plane_height(len(tracks.names)), MARGIN + LEFT + 0.12
    beside = min(MOST_BESIDE, max(drawn_width(name, TEXT, bold=True) for name in tracks.names) + 0.2)
    ax = sheet.add_axes(left, top + 0.06, sheet.options.inches - left - beside - MARGIN, height)
    FrontierPlane(ax, tracks, sheet.theme, TEXT, beside=beside).update(len(tracks.points) - 1)
    return top + height + PLANE_AROUND
