"""Parts shared by charts over updates: the look of a metric, the axis of updates, ticks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from ift_gridworld.escape import printable
from ift_gridworld.rendering.theme import Theme

__all__ = ["UPDATES", "MetricLook", "about_intervals", "label_updates", "look_of", "style_axes", "update_axis", "update_ticks"]

UPDATES = "update (square-root scale)"


@dataclass(frozen=True)
class MetricLook:
    """Look of a metric in charts.

    Attributes:
        title: what stands above a chart.
        limit: the largest value that the metric can take, if it has one.
    """

    title: str
    limit: float | None = None


_LOOKS = {
    "success": MetricLook("success", limit=1.0),
    "distance": MetricLook("distance to optimal"),
    "chosen_logp": MetricLook("log-likelihood, chosen"),
    "rejected_logp": MetricLook("log-likelihood, rejected"),
}


def look_of(metric: str) -> MetricLook:
    """Return how charts show a metric; one that they do not know is shown under its own name.

    Args:
        metric: a name in a run's metrics, of this package or of the user's own.

    Example:
        >>> look_of("success").limit, look_of("falls_per_episode").title
        (1.0, 'falls per episode')
    """
    return _LOOKS.get(metric) or MetricLook(printable(metric.replace("_", " ")))


def style_axes(ax: Axes, theme: Theme) -> None:
    """Give a chart two faint axes and small labels."""
    ax.set_facecolor(theme.background)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    ax.tick_params(colors=theme.muted, labelsize=8.5, length=2.5, color=theme.faint, pad=2)


def update_axis(ax: Axes, last: int, apart: float = 0.12) -> None:
    """Let x run over updates on a square-root axis, on which snapshots stand evenly.

    Args:
        ax: a chart.
        last: number of updates.
        apart: least distance of two ticks, as a share of the axis.
    """
    ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    ax.set_xlim(0, max(1, last))
    ax.set_xticks(update_ticks(last, apart))
    ax.minorticks_off()


def label_updates(ax: Axes, theme: Theme, size: float = 9.0) -> None:
    """Say below a chart that x is the update, on a square-root scale (`update_axis`).

    Args:
        ax: a chart.
        theme: colours.
        size: size of the type, in points.
    """
    ax.set_xlabel(UPDATES, size=size, color=theme.muted, labelpad=1)


def about_intervals(seeds: int) -> str:
    """Return what a line and the band around it are of.

    Args:
        seeds: number of seeds.

    Example:
        >>> about_intervals(8), about_intervals(1)
        ('mean and 95 % interval of 8 seeds', 'one seed')
    """
    return f"mean and 95 % interval of {seeds} seeds" if seeds > 1 else "one seed"


def update_ticks(last: int, apart: float = 0.12) -> list[int]:
    """Return 0, the last update, and round numbers between that stand apart on a square-root axis.

    Args:
        last: number of updates.
        apart: least distance of two ticks, as a share of the axis.

    Example:
        >>> update_ticks(300)
        [0, 5, 20, 50, 100, 200, 300]
    """
    ticks = [last]
    for value in sorted((m * 10**k for m in (1, 2, 5) for k in range(7)), reverse=True):
        if value < last and np.sqrt(ticks[-1] / last) - np.sqrt(value / last) > apart and value / last >= 0.012:
            ticks.append(value)
    return [0, *reversed(ticks)]
