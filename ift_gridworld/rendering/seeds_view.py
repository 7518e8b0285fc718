"""View of every seed, not only of their mean: a dot a seed, a row a method; in a film over the updates and in a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.rendering.charts import look_of, style_axes
from ift_gridworld.rendering.film_bases import RunsFilm
from ift_gridworld.rendering.method_style import MethodStyle
from ift_gridworld.rendering.paper_words import (
    INTERVAL,
    end_words,
    listed,
    run_styles,
    run_titles,
    seed_counts,
    seeds_of_maps,
    trained_words,
    with_interval,
)
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates
from ift_gridworld.rendering.text import shorten, text_width, wrap_text
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import drawn_together, shared_headline

__all__ = ["SeedStrip", "SeedsFilm", "metrics_of_seeds", "strip_title"]

MAX_FRAMES = 72
SPREAD = 0.3  # of a method's dots above and below the middle of its row, in rows
LOGARITHMIC = 30.0  # nats: log-probabilities that range over more have an axis that is logarithmic below -1
LIKELIHOODS = ("chosen_logp", "rejected_logp")


class SeedStrip:
    """A metric of every seed: a row a method, a dot a seed, and over the dots the mean and its 95 % interval.

    A dot keeps its height in the row, so that it can be followed from update to update. The seed that maps are of has a dot
    with a rim. A value that is no number has no dot.

    Args:
        ax: where to draw.
        theme: colours.
        name: of the metric, which sets the ends of the axis.
        styles: of each method.
        seeds: number of seeds of each method.
        drawn: index of the seed of each method that maps are of; None to mark none.
        shown: all values that will be drawn, from which the axis is chosen.
        titles: names of the methods, at the left; None for no names.
        size: of the type, in points.

    Attributes:
        artists: what moves, from below.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.rendering.method_style import style_of
        >>> from ift_gridworld.rendering.theme import THEMES
        >>> values = [np.array([0.2, 0.9, 1.0])]
        >>> ax = Figure().add_subplot()
        >>> strip = SeedStrip(ax, THEMES["light"], "success", [style_of("ift")], [3], None, values, ["IFT"], 8.0)
        >>> strip.update(values)
        >>> strip.dots[0].get_xdata().tolist()
        [0.2, 0.9, 1.0]
    """

    def __init__(
        self,
        ax: Axes,
        theme: Theme,
        name: str,
        styles: Sequence[MethodStyle],
        seeds: Sequence[int],
        drawn: Sequence[int] | None,
        shown: Sequence[Float[np.ndarray, "..."]],
        titles: Sequence[str] | None,
        size: float,
    ) -> None:
        self.name, self.drawn = name, drawn
        style_axes(ax, theme)
        ax.set_ylim(len(styles) - 0.5, -0.5)
        ax.set_yticks(range(len(styles)), list(titles) if titles is not None else [])
        ax.tick_params(labelsize=size, length=2, pad=1.5)
        ax.tick_params(axis="y", length=0, labelcolor=theme.ink, pad=3)
        for row in np.arange(1, len(styles)) - 0.5:
            ax.axhline(row, color=theme.faint, lw=0.5, zorder=0)
        self._set_limits(ax, shown, size, theme)
        self.limits = ax.get_xlim()
        self.height = [row + _offsets(count) for row, count in enumerate(seeds)]
        scale = size / 8
        dot = scale * float(np.clip(14 / np.sqrt(max(seeds)), 1.8, 4.2))
        self.dots = [
            ax.plot([], [], "o", ms=dot, mfc=style.colour(theme), mec="none", alpha=0.7, clip_on=False)[0] for style in styles
        ]
        self.rims = [ax.plot([], [], "o", ms=dot + scale, mfc="none", mec=theme.ink, mew=0.8, clip_on=False)[0] for _ in styles]
        self.intervals = LineCollection([], colors=theme.ink, lw=1.1 * scale, zorder=4, clip_on=False)
        ax.add_collection(self.intervals)
        self.means = [
            ax.plot(
                [], [], style.marker, ms=4.6 * scale, mfc=style.colour(theme), mec=theme.ink, mew=0.7, clip_on=False, zorder=5
            )[0]
            for style in styles
        ]
        self.artists = (*self.dots, *self.rims, self.intervals, *self.means)

    def _set_limits(self, ax: Axes, shown: Sequence[Float[np.ndarray, "..."]], size: float, theme: Theme) -> None:
        values = np.concatenate([np.asarray(part, float).ravel() for part in shown])
        values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
        low, high = float(values.min()), float(values.max())
        limit = look_of(self.name).limit
        if self.name in LIKELIHOODS and low < -LOGARITHMIC:
            ax.set_xscale("symlog", linthresh=1.0)
            ax.set_xlim(1.3 * low, 0.15)
            powers = [-(10.0**k) for k in range(6, -1, -1) if 10.0**k < -1.3 * low]
            powers = powers[:: -(-len(powers) // 4)]
            ax.set_xticks([*powers, 0.0], [f"{tick:g}".replace("-", "−") for tick in (*powers, 0.0)])
            ax.minorticks_off()
            ax.set_xlabel("log scale below −1", size=size, color=theme.muted, labelpad=1)
            return
        if limit is not None:
            ax.set_xlim(-0.02 * limit, 1.02 * limit)
        else:
            low, high = (min(low, 0.0), max(high, 0.0)) if min(abs(low), abs(high)) < 0.5 * (high - low) else (low, high)
            pad = 0.04 * (high - low) or 0.5 * max(abs(high), 1e-3)
            ax.set_xlim(low - pad * (low < 0 or low == high), high + pad * (high > 0 or low == high))
        ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))

    def update(self, values: Sequence[Float[np.ndarray, " N"]]) -> None:
        """Move the dots of each method to these values, one a seed."""
        segments = []
        for row, (of_seeds, heights) in enumerate(zip(values, self.height, strict=True)):
            known = np.isfinite(of_seeds)
            self.dots[row].set_data(of_seeds[known], heights[known])
            mean, low, high = (float(x) for x in metric_interval(self.name, of_seeds))
            self.means[row].set_data([mean], [row])
            if np.isfinite([low, high]).all() and len(of_seeds) > 1:
                low, high = np.clip([low, high], *self.limits)
                segments.append([(low, row), (high, row)])
            if self.drawn is not None and len(of_seeds) > 1 and known[self.drawn[row]]:
                index = self.drawn[row]
                self.rims[row].set_data([of_seeds[index]], [heights[index]])
        self.intervals.set_segments(segments)


def _offsets(seeds: int) -> Float[np.ndarray, " N"]:
    """Return how far below the middle of its row each seed's dot lies: neighbours in number apart in height."""
    if seeds == 1:
        return np.zeros(1)
    order = np.argsort((np.arange(seeds) * 0.618034) % 1.0)  # the golden ratio spreads any number of them evenly
    return np.linspace(-SPREAD, SPREAD, seeds)[np.argsort(order)]


def metrics_of_seeds(runs: Sequence[Run], headline: str) -> list[str]:
    """Return the metrics that a panel of seeds shows, of those that all runs have recorded.

    Args:
        runs: in one picture.
        headline: the metric that sums them up.
    """
    return [name for name in (headline, "distance", *LIKELIHOODS) if all(name in run.metrics for run in runs)]


def strip_title(name: str, horizon: int | None, width: float, size: float) -> str:
    """Return the longest title of a metric that fits over a chart.

    Args:
        name: of the metric.
        horizon: time limit of the environment.
        width: in inches.
        size: size of the type, in points.
    """
    titles = {
        "success": (*((f"success within {horizon} steps",) if horizon else ()), "success"),
        "regret": ("regret (optimal return - return)", "regret"),
        "distance": ("distance to optimal (mean squared)", "distance to optimal", "distance"),
        "kl": ("KL to the base policy, nats", "KL to the base, nats", "KL, nats"),
        "tiles": ("tiles visited in ten episodes", "tiles visited"),
        **{f"{role}_logp": _likelihood_titles(role) for role in ("chosen", "rejected")},
    }.get(name, (look_of(name).title,))
    return next((title for title in titles if text_width(title, size) <= width), shorten(titles[-1], width, size))


def _likelihood_titles(role: str) -> tuple[str, ...]:
    return (
        f"log-probability of the {role} answer, nats",
        f"log-probability, {role} (nats)",
        f"log-prob., {role} (nats)",
        f"log-prob., {role}",
    )


class SeedsFilm(RunsFilm):
    """The film of all seeds: dots that move from the base to the end, at the same update for all methods.

    Args:
        runs: the runs, on one environment; it needs no map.
        theme: a name in THEMES.

    Raises:
        ValueError: if the runs are not on one environment, or for an unknown theme.

    Example (writes two files)::

        SeedsFilm([Run.load("dpo.json"), Run.load("ift.json")]).save("seeds.gif")
    """

    WIDTH, MARGIN, HEAD, BETWEEN = 9.6, 0.3, 0.95, 0.5  # inches
    TITLE, AXIS, LINE = 0.3, 0.42, 0.17  # inches: above and below a strip; a line below all
    TYPE = 9.0  # points

    def __init__(self, runs: Sequence[Run], theme: str = "light") -> None:
        check_one_environment(runs)
        self.runs, self.titles, self.styles = drawn_together(runs), run_titles(runs), run_styles(runs)
        self.headline = shared_headline(runs)
        self.names = metrics_of_seeds(runs, self.headline)
        self.steps = shared_updates(runs, MAX_FRAMES)
        self.snapshots = latest_snapshots(runs, self.steps)
        self.strip_height = max(0.6, 0.24 * len(runs))
        lines = -(-len(self.names) // 2)
        self.notes = wrap_text(self._notes(), 0.95 * (self.WIDTH - 2 * self.MARGIN), self.TYPE).split("\n")
        self.foot = self.HEAD + lines * (self.TITLE + self.strip_height + self.AXIS)
        height = self.foot + self.LINE * len(self.notes) + 0.15
        super().__init__(theme, (self.WIDTH, round(height, 1)))
        self._compose()

    @property
    def alt(self) -> str:
        first = self.runs[0]
        ends = [
            f"{title}: "
            + ", ".join(
                f"{strip_title(name, None, np.inf, 9.0)} {_spread_words(name, run.metrics[name][-1])}" for name in self.names
            )
            for title, run in zip(self.titles, self.runs, strict=True)
        ]
        return (
            f"Every seed of {listed(self.titles)} on {first.place} ({first.about.replace(' · ', ', ')}): a row a method, a dot "
            f"a seed, with the mean and its {INTERVAL}, from the base to the end ({trained_words(self.runs)}, "
            f"{seed_counts(self.runs)}). At the end: {'; '.join(ends)}."
        )

    def _compose(self) -> None:
        theme, first = self.theme, self.runs[0]
        self.add_text(self.MARGIN, 0.34, "Where each seed goes", size=19, weight="bold", color=theme.ink)
        about = shorten(f"{first.about} · {seed_counts(self.runs)}", self.WIDTH - 2 * self.MARGIN, 9.5)
        self.add_text(self.MARGIN, 0.68, about, size=9.5, color=theme.muted)
        self.step_text = self.add_number(self.WIDTH - self.MARGIN, 0.34, size=15, colour=theme.ink, align="right")
        labels = [shorten(title, 1.1, self.TYPE) for title in self.titles]
        left = self.MARGIN + max(text_width(label, self.TYPE) for label in labels) + 0.1
        width = (self.WIDTH - left - self.MARGIN - self.BETWEEN) / 2
        several = max(run.seeds for run in self.runs) > 1
        self.strips = []
        for index, name in enumerate(self.names):
            line, column = divmod(index, 2)
            top = self.HEAD + line * (self.TITLE + self.strip_height + self.AXIS) + self.TITLE
            ax = self.add_axes(left + column * (width + self.BETWEEN), top, width, self.strip_height)
            title = strip_title(name, first.mdp.horizon, width, 9.5)
            ax.set_title(title, size=9.5, color=theme.ink, loc="left", pad=4)
            drawn = [run.drawn for run in self.runs] if several else None
            shown = [run.metrics[name] for run in self.runs]
            seeds = [run.seeds for run in self.runs]
            strip = SeedStrip(ax, theme, name, self.styles, seeds, drawn, shown, labels if column == 0 else None, self.TYPE)
            self.strips.append(strip)
            self.animate(*strip.artists)
        for index, note in enumerate(self.notes):
            self.add_text(self.MARGIN, self.foot + (index + 0.5) * self.LINE, note, size=self.TYPE, color=theme.muted)

    def _notes(self) -> str:
        """Return words on what dots and lines are, and on how long each method was trained, if not all alike."""
        words = "A mark a method: one seed."
        if max(run.seeds for run in self.runs) > 1:
            drawn = f"Dot with a rim: {seeds_of_maps(self.runs)}, which maps draw."
            words = f"Small dot: a seed. Large mark and line: mean and {INTERVAL}. {drawn}"
        return " ".join([words, *end_words(self.runs)])

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.steps[index]}")
        for strip in self.strips:
            pairs = zip(self.runs, self.snapshots[index], strict=True)
            strip.update([run.metrics[strip.name][snapshot] for run, snapshot in pairs])


def _spread_words(name: str, values: Float[np.ndarray, " N"]) -> str:
    """Say a mean with its interval, and the least and the largest seed."""
    mean, *ends = with_interval(name, values)
    if not ends:
        return mean
    least, most = (float(x) for x in (values.min(), values.max()))
    return f"{mean} [{', '.join(ends)}], seeds from {least:.3g} to {most:.3g}"
