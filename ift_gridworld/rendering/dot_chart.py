"""A chart with a row a method: a mark in the method's own style at the mean over seeds, and a line over their 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.markers import MarkerStyle
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import IdentityTransform

from ift_gridworld.evaluation.statistics import mean_interval
from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.method_style import MethodStyle
from ift_gridworld.rendering.numbers import power_of_ten
from ift_gridworld.rendering.shapes import empty_path
from ift_gridworld.rendering.text import NumberSheet, shorten, text_width

__all__ = ["CHART_ROW", "DotChart", "DotContent", "DotValues"]

CHART_ROW = 0.215  # inches: of a method
MARK = 34.0  # area of a mark, in points squared
NUMBER = 9.0  # size of the numbers, in points


class DotValues:
    """A metric's numbers as a chart shows them.

    Args:
        values: of each run, by snapshot and seed.
        drawn: index of each run's drawn seed.
        bounds: the least and the largest value that there can be.

    Attributes:
        bands: of each run, mean, low and high end of the interval at each snapshot, [3, M].
        drawn: of each run, the drawn seed's value at each snapshot.
    """

    def __init__(
        self, values: Sequence[Float[np.ndarray, "M N"]], drawn: Sequence[int], bounds: tuple[float, float] = (-np.inf, np.inf)
    ) -> None:
        self.bands = [np.stack(mean_interval(value, bounds=bounds)) for value in values]
        self.drawn = [value[:, seed] for value, seed in zip(values, drawn, strict=True)]

    @property
    def extremes(self) -> tuple[float, float]:
        """The least and the largest number of all."""
        every = np.concatenate([*(band.ravel() for band in self.bands), *self.drawn])
        return float(every.min()), float(every.max())


@dataclass(frozen=True)
class DotContent:
    """Content of a chart.

    Attributes:
        title: what stands above.
        metrics: the values; a second metric's marks are hollow.
        write: how a mean is written at the right; None for no numbers.
        limit: the largest value, if there is one.
        is_log: whether values are logarithms to base ten, and the axis is to name powers.
    """

    title: str
    metrics: tuple[DotValues, ...]
    write: Callable[[float], str] | None = None
    limit: float | None = None
    is_log: bool = False


class DotChart:
    """The chart.

    Args:
        film: what it is part of.
        sheet: where its numbers are written; the film refreshes it.
        box: left, top, width and height in inches, with its numbers and without title and axis.
        content: what it shows.
        styles: of each method.
        names: of each method, at the left; none if the rows are named by a neighbour.
    """

    def __init__(
        self,
        film: Film,
        sheet: NumberSheet,
        box: tuple[float, float, float, float],
        content: DotContent,
        styles: Sequence[MethodStyle],
        names: Sequence[str],
    ) -> None:
        theme, count, write = film.theme, len(styles), content.write
        self.content, self.rows, self.shown = content, np.arange(float(count)), np.full(count, -1)
        self.sheet, (left, top, width, height) = sheet, box
        if write is not None:
            samples = [write(x) for band in content.metrics[0].bands for x in band[0][:: max(1, band.shape[1] // 8)]]
            number = max(text_width(words, NUMBER, bold=True) for words in samples) + 0.08
            width -= number
            middles = top + (self.rows + 0.5) * height / count
            right, bottom = left + width + number, film.figure.get_size_inches()[1]
            self.numbers = [sheet.place(right, bottom - middle, size=NUMBER, align="right") for middle in middles]
        self.ax = ax = film.add_axes(left, top, width, height)
        style_axes(ax, theme)
        ax.set_title(shorten(content.title, box[2], 10), size=10, color=theme.ink, loc="left", pad=4)
        ax.set_ylim(count - 0.5, -0.5)
        ax.set_yticks(self.rows, [shorten(name, 0.85, 9.5) for name in names])
        ax.tick_params(axis="y", length=0, labelsize=9.5, labelcolor=theme.ink)
        ax.grid(axis="y", color=theme.faint, lw=0.8)
        ax.set_axisbelow(True)
        self._set_limits(ax, content.limit, content.is_log)
        colours = [style.colour(theme) for style in styles]
        markers = [MarkerStyle(style.marker) for style in styles]
        paths = [marker.get_path().transformed(marker.get_transform()) for marker in markers]
        self.marks = []
        for i in range(len(content.metrics)):
            interval = LineCollection([], colors=colours, lw=2.4, alpha=0.5)
            seed = PathPatch(empty_path(), fc="none", ec=theme.ink, lw=1.2, capstyle="butt")
            faces = [theme.background] * count if i else colours
            dots = PathCollection(paths, [MARK], offset_transform=ax.transData, facecolors=faces, edgecolors=colours, lw=1.2)
            dots.set_transform(IdentityTransform())
            ax.add_collection(interval, autolim=False)
            ax.add_patch(seed)
            ax.add_collection(dots, autolim=False)
            for artist in (interval, seed, dots):
                artist.set_clip_on(False)
                film.animate(artist)
            self.marks.append((interval, seed, dots))

    def _set_limits(self, ax: Axes, limit: float | None, is_log: bool) -> None:
        ends = [metric.extremes for metric in self.content.metrics]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        if is_log:
            low = min(np.floor(low), -1)
            ax.set_xlim(1.06 * low, -0.04 * low)
            step = next(
                (step for step in (1, 2, 3, 5, 10, 15, 20, 25, 30, 40, 50, 100, 150, 200, 500) if -low / step <= 3.5),
                10.0 ** np.ceil(np.log10(-low / 3)),
            )
            ticks = np.arange(0, -low + 1e-9, step)
            ax.set_xticks(-ticks, [power_of_ten(-t) for t in ticks])
            return
        span = max((limit or high) - min(low, 0.0), 1e-9)
        ax.set_xlim(min(low, 0.0) - 0.06 * span, (limit or high) + 0.04 * span)
        if limit is None:
            ax.xaxis.set_major_locator(MaxNLocator(3))
        else:
            ax.set_xticks([0, 0.5 * limit, limit], ["0", f"{0.5 * limit:g}", f"{limit:g}"])

    def update(self, snapshots: Int[np.ndarray, " M"]) -> None:
        """Show each method at its snapshot; the numbers once the sheet is refreshed."""
        if np.array_equal(snapshots, self.shown):
            return
        rows, self.shown = self.rows, snapshots
        for i, ((interval, seed, dots), values) in enumerate(zip(self.marks, self.content.metrics, strict=True)):
            mean, low, high = np.stack([band[:, k] for band, k in zip(values.bands, snapshots, strict=True)], 1)
            drawn = np.array([seeds[k] for seeds, k in zip(values.drawn, snapshots, strict=True)])
            interval.set_segments(list(_lines(low, rows, high, rows)))
            seed.set_path(Path(_lines(drawn, rows - 0.36, drawn, rows + 0.36).reshape(-1, 2), np.tile([1, 2], len(rows))))
            dots.set_offsets(np.stack([mean, rows], -1))
            if i == 0 and self.content.write is not None:
                for number, value in zip(self.numbers, mean, strict=True):
                    self.sheet.write(number, self.content.write(float(value)))


def _lines(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], to_x: Float[np.ndarray, " n"], to_y: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 2 2"]:
    return np.stack([np.stack([x, y], -1), np.stack([to_x, to_y], -1)], 1)
