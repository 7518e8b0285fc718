"""The frontier plane: return against KL from the base, a trajectory a method, below the best that any policy can do.

The curve is exact (`evaluation.frontier`): at each KL it is the highest return that there is, so that the ground above it stays
empty. How far a method ends below it is its frontier gap; how far to the right, what it has paid in KL. All that is drawn is of
the drawn seed, for each seed has a base and so a frontier of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ift_gridworld.escape import printable
from ift_gridworld.evaluation.frontier import Frontier, frontier, kl_from_base
from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.method_style import MethodStyle
from ift_gridworld.rendering.paper_words import number, run_styles, run_titles
from ift_gridworld.rendering.plane import apart, place_names
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates, stages_of_even_change
from ift_gridworld.rendering.text import plain_text, shorten, wrap_text
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import drawn_together

__all__ = ["MARKS", "FrontierFilm", "FrontierPlane", "FrontierTracks", "frontier_data", "tracks_under"]

WIDTH, HEIGHT = 9.6, 5.4  # inches
MAX_FRAMES, MARKS = 72, 5
DRAWN = 1e-4  # error of the curve as drawn, as a share of its height
LINE_GAP = 0.155  # inches between names, for type of 8 points
MOST_NAMES = 16  # names in the plane that can keep apart
MOVED = 0.02  # share of the height by which a name has moved if a line leads to it
WIDEST = 4.0  # times the KL of the nearest best policy beyond which the axis is a square-root scale


@dataclass(frozen=True, eq=False)
class FrontierTracks:
    """Trajectories of runs in the plane, and the frontier above them; all of the drawn seed.

    Attributes:
        curve: the frontier.
        names, styles: of the runs.
        points: KL from the base, return and gap to the frontier at each frame.
        updates: of the frames.
        marks: frames at which each trajectory has a marker.
    """

    curve: Frontier
    names: list[str]
    styles: list[MethodStyle]
    points: Float[np.ndarray, "F M 3"]
    updates: Int[np.ndarray, " F"]
    marks: list[int]

    @property
    def marked(self) -> list[str]:
        """The updates at which trajectories have a marker, in words."""
        return [str(self.updates[frame]) for frame in self.marks]


def tracks_under(runs: Sequence[Run], updates: Int[np.ndarray, " F"], marked: Int[np.ndarray, " K"]) -> FrontierTracks:
    """Return the trajectories of runs from one base, at the latest snapshot until each update.

    Args:
        runs: as they are drawn (`training.together.drawn_together`).
        updates: of the frames, ascending.
        marked: those of the updates at which trajectories have a marker.

    Raises:
        ValueError: for runs on several environments, or from several bases.
    """
    check_one_environment(runs)
    first, base = runs[0], runs[0].base[runs[0].drawn]
    for run in runs[1:]:
        if not same_base(run, base):
            raise ValueError(
                f"the frontier plane cannot show {printable(run.method)} beside {printable(first.method)}: they start from "
                "different bases; allowed: runs from one base"
            )
    curve = frontier(first.mdp, base, tolerance=DRAWN)
    points = []
    for run, chosen in zip(runs, latest_snapshots(runs, updates).T, strict=True):
        if {"kl_discounted", "return"} <= set(run.metrics):
            kl, value = run.of_drawn("kl_discounted"), run.of_drawn("return")
        else:  # on a large lake, or of an earlier version
            kl, value = kl_from_base(run.mdp, run.snapshots, run.base[run.drawn]), run.values @ run.mdp.start
        points.append(np.stack([kl, value, np.maximum(curve.gap(kl, value, DRAWN), 0.0)], -1)[chosen])
    marks = [frame for frame in range(1, len(updates)) if updates[frame] in marked]  # the base has a mark of its own
    return FrontierTracks(curve, run_titles(runs), run_styles(runs), np.stack(points, 1), updates, marks)


def frontier_data(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return what a page needs to draw the plane of the drawn seed, in numbers of five digits.

    Args:
        runs: as they are drawn, on one environment.

    Returns:
        "kl" and "value" of points of the curve; and for each run, in "runs", "kl", "value" and "gap" at each of its own
        snapshots. None where runs have not recorded them (on large lakes), one is infinite, or they start from several bases.
    """
    names = {"kl": "kl_discounted", "value": "return", "gap": "frontier_gap"}
    base = runs[0].base[runs[0].drawn]
    recorded = all(name in run.metrics and np.isfinite(run.of_drawn(name)).all() for run in runs for name in names.values())
    if not recorded or not all(same_base(run, base) for run in runs):
        return None
    curve = frontier(runs[0].mdp, base)
    columns = [{key: _digits(run.of_drawn(name)) for key, name in names.items()} for run in runs]
    return {"kl": _digits(curve.kl), "value": _digits(curve.value), "runs": columns}


def _digits(values: Float[np.ndarray, " n"]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def same_base(run: Run, base: Float[np.ndarray, "S A"]) -> bool:
    """Whether the drawn seed of a run starts from this base, as far as a saved run tells."""
    return run.base.shape[1:] == base.shape and np.allclose(run.base[run.drawn], base, rtol=0, atol=1e-5)


class FrontierPlane:
    """The plane on an Axes, with trajectories up to a frame.

    Args:
        ax: where to draw; names stand to its right.
        tracks: the trajectories.
        theme: colours.
        size: size of the type, in points.
        beside: width to the right of the Axes in which names stand, in inches; 0 for names beside the ends of trajectories.

    Attributes:
        artists: what `update` moves, from below.
    """

    def __init__(self, ax: Axes, tracks: FrontierTracks, theme: Theme, size: float = 10.0, *, beside: float = 0.0) -> None:
        self.ax, self.tracks, self.theme, self.size = ax, tracks, theme, size
        self.scale = size / 10
        style_axes(ax, theme)
        self._set_limits()
        ax.tick_params(labelsize=max(7.0, size - 1.5), labelcolor=theme.ink)
        words = ("discounted KL from the base, nats", "KL from the base, nats")[beside > 0]
        ax.set_xlabel(words, size=size, color=theme.ink, labelpad=2)
        ax.set_ylabel("return", size=size, color=theme.ink, labelpad=3)
        self._draw_curve()
        self._compose_tracks()
        self._compose_names(beside)

    def _set_limits(self) -> None:
        curve, points = self.tracks.curve, self.tracks.points
        finite = points[np.isfinite(points[..., 0])]
        farthest = max(float(finite[:, 0].max(initial=0.0)), float(curve.kl[-1]), 1e-3)
        low = min(float(finite[:, 1].min(initial=np.inf)), float(curve.value[0]))
        high = float(curve.value[-1])
        room = max(high - low, 1e-9)
        if farthest > WIDEST * max(float(curve.kl[-1]), 1e-3):
            self.ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        self.ax.set(xlim=(0, 1.06 * farthest), ylim=(low - 0.06 * room, high + 0.16 * room))
        self.ax.xaxis.set_major_locator(MaxNLocator(5))
        self.ax.yaxis.set_major_locator(MaxNLocator(5))
        self.ax.minorticks_off()

    def _draw_curve(self) -> None:
        """Draw the frontier, and close the ground above it."""
        theme, curve, size = self.theme, self.tracks.curve, self.size
        (_, right), (_, top) = self.ax.get_xlim(), self.ax.get_ylim()
        x, y = np.append(curve.kl, max(right, curve.kl[-1])), np.append(curve.value, curve.value[-1])
        self.ax.fill_between(x, y, top, color=theme.faint, alpha=0.55, lw=0, zorder=0.5)
        self.ax.plot(x, y, color=theme.ink, lw=2.0 * self.scale, zorder=2, solid_capstyle="butt")
        self.ax.text(
            0.985, 0.985, "no policy above the frontier", transform=self.ax.transAxes, ha="right", va="top", size=size - 0.5,
            color=theme.ink, style="italic",
        )  # fmt: skip
        self.ax.plot([0], [curve.value[0]], "o", ms=7 * self.scale, mfc=theme.background, mec=theme.ink, mew=1.3, zorder=6,
                     clip_on=False)  # fmt: skip
        label = self.ax.annotate(
            "base", (0, curve.value[0]), (7 * self.scale, 0), textcoords="offset points", size=size - 0.5,
            color=theme.ink, va="center", zorder=6,
        )  # fmt: skip
        label.set_path_effects([withStroke(linewidth=2.5, foreground=theme.background)])

    def _compose_tracks(self) -> None:
        theme, tracks, scale = self.theme, self.tracks, self.scale
        self.drops = LineCollection([], lw=1.1 * scale, linestyles=[(0, (1, 1.2))], zorder=2.5)
        self.ax.add_collection(self.drops)
        self.colours = [style.colour(theme) for style in tracks.styles]
        self.drops.set_color(self.colours)
        self.lines: list[Line2D] = []
        self.marks: list[Line2D] = []
        self.heads: list[Line2D] = []
        for style, colour in zip(tracks.styles, self.colours, strict=True):
            self.lines += self.ax.plot([], [], color=colour, lw=1.6 * scale, ls=style.dash, zorder=3)
            for dots, size, order in ((self.marks, 4.4, 4), (self.heads, 7.6, 5)):
                dots += self.ax.plot(
                    [], [], marker=style.marker, ms=size * scale, color=colour, ls="none", mec=theme.background,
                    mew=0.11 * size * scale, zorder=order, clip_on=False,
                )  # fmt: skip
        self.artists: list[Artist] = [self.drops, *self.lines, *self.marks, *self.heads]

    def _compose_names(self, beside: float) -> None:
        """Names in a column at the right, in the order of their ends, each with a line to its end."""
        theme, tracks = self.theme, self.tracks
        box = self.ax.get_window_extent()
        dpi = float(self.ax.figure.dpi)
        self.width, self.height = box.width / dpi, box.height / dpi
        self.names, self.leads = [], LineCollection([], lw=0.6 * self.scale, colors=self.colours, zorder=2.2, clip_on=False)
        self.is_beside = beside > 0
        if not beside and len(tracks.names) > MOST_NAMES:
            return
        self.leads.set_transform(self.ax.transAxes)
        self.ax.add_collection(self.leads, autolim=False)
        self.artists.append(self.leads)
        for name, colour in zip(tracks.names, self.colours, strict=True):
            words = plain_text(shorten(name, beside - 0.17, self.size, bold=True) if beside else name)
            text = self.ax.text(
                0, 0, words, transform=self.ax.transAxes, clip_on=False, size=self.size, weight="bold", color=colour,
                va="center", zorder=7,
            )  # fmt: skip
            text.set_path_effects([withStroke(linewidth=3.0 * self.scale, foreground=theme.background)])
            self.names.append(text)
        self.artists += self.names

    def update(self, index: int) -> None:
        """Draw the trajectories up to frame `index`."""
        points = self.tracks.points[: index + 1]
        marks = [frame for frame in self.tracks.marks if frame <= index]
        drops = []
        for i, (line, mark, head) in enumerate(zip(self.lines, self.marks, self.heads, strict=True)):
            kl, value, gap = points[:, i].T
            line.set_data(kl, value)
            mark.set_data(kl[marks], value[marks])
            head.set_data(kl[-1:], value[-1:])
            drops.append([(kl[-1], value[-1]), (kl[-1], value[-1] + gap[-1])])
        self.drops.set_segments(drops)
        if self.names:
            self._place_names(points[-1])

    def _place_names(self, ends: Float[np.ndarray, "M 3"]) -> None:
        """Write each name beside its end or, with a line to it, beside the plane; apart where they would touch."""
        inside = self.ax.transAxes.inverted().transform(self.ax.transData.transform(np.nan_to_num(ends[:, :2], posinf=1e9)))
        inside = np.clip(inside, 0.0, 1.0)
        if not self.is_beside:
            place_names(self.ax, self.names, inside)
            to_names = [
                [end, (name.get_position() if abs(name.get_position()[1] - end[1]) > MOVED else end)]
                for name, end in zip(self.names, inside, strict=True)
            ]
            self.leads.set_segments(to_names)
            return
        gap = min(LINE_GAP * self.size / 8 / self.height, 1 / max(1, len(ends)))
        order = np.lexsort((inside[:, 0], -inside[:, 1]))
        heights = apart([float(inside[i, 1]) for i in order], gap)
        leads = []
        for i, y in zip(order, heights, strict=True):
            self.names[i].set(x=1 + 0.15 / self.width, y=y)
            leads.append((i, [tuple(inside[i]), (1 + 0.04 / self.width, y), (1 + 0.12 / self.width, y)]))
        self.leads.set_segments([lead for _, lead in sorted(leads)])


class FrontierFilm(Film):
    """The film of the frontier plane: points move along their trajectories below the frontier, all at the same update.

    Args:
        runs: the runs to compare, on one environment, from one base.
        theme: a name in THEMES.

    Raises:
        ValueError: for runs on several environments or from several bases, or an unknown theme.

    Example (writes two files)::

        FrontierFilm([Run.load("sft.json"), Run.load("dpo.json")]).save("frontier.gif")
    """

    COLUMNS = (("KL, nats", 1.6), ("return", 2.25), ("gap", 2.85))  # right edges, in inches from the left of the rows
    ROW, ROWS = 0.3, 3.5  # inches: of a row, and of all of them at most

    def __init__(self, runs: Sequence[Run], theme: str = "light") -> None:
        check_one_environment(runs)
        self.runs = drawn_together(runs)
        marked = stages_of_even_change(self.runs, MARKS)
        self.steps = np.union1d(shared_updates(self.runs, MAX_FRAMES - MARKS), marked)
        self.tracks = tracks_under(self.runs, self.steps, marked)
        super().__init__(theme, (WIDTH, HEIGHT))
        self._compose()

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        scale = np.array([max(self.tracks.curve.kl[-1], 1e-9), max(np.ptp(self.tracks.curve.value), 1e-9)])
        moves = np.diff(self.tracks.points[..., :2] / scale, axis=0)
        return np.minimum(np.nan_to_num(np.abs(moves), posinf=1.0), 1.0).mean((1, 2))

    @property
    def alt(self) -> str:
        tracks, first = self.tracks, self.runs[0]
        ends = "; ".join(
            f"{name} KL {number(kl)}, return {number(value)}, gap {number(gap)}"
            for name, (kl, value, gap) in zip(tracks.names, tracks.points[-1], strict=True)
        )
        return (
            f"The frontier plane on {first.place} ({first.about.replace(' · ', ', ')}): discounted KL from the base to the "
            f"right, in nats, return upwards, and the exact frontier above which no policy lies, from return "
            f"{number(float(tracks.curve.value[0]))} of the base to {number(float(tracks.curve.value[-1]))} at "
            f"{number(float(tracks.curve.kl[-1]))} nats. Seed {first.drawn_seed} at update {self.steps[-1]}: {ends}."
        )

    def _compose(self) -> None:
        theme, run = self.theme, self.runs[0]
        self.add_text(0.3, 0.38, "The reward-KL frontier", size=17, weight="bold", color=theme.ink)
        about = f"{run.about} · seed {run.drawn_seed}"
        self.add_text(0.3, 0.7, shorten(about, WIDTH - 0.6, 10), size=10, color=theme.muted)
        self.step_text = self.add_number(WIDTH - 0.3, 0.38, size=15, colour=theme.ink, align="right")
        self.plane = FrontierPlane(self.add_axes(0.8, 0.98, 5.3, 3.8), self.tracks, theme)
        self._compose_rows(6.45)
        self.animate(*self.plane.artists)

    def _compose_rows(self, left: float) -> None:
        """A row a method: its marker, its name, and where it stands."""
        theme, tracks = self.theme, self.tracks
        height = min(self.ROW, self.ROWS / len(tracks.names))
        size = min(9.5, 0.75 * 72 * height)
        for words, x in self.COLUMNS:
            self.figure.text((left + x) / WIDTH, 1 - 1.05 / HEIGHT, words, size=9, color=theme.muted, ha="right", va="center")
        self.numbers = []
        for row, (name, style) in enumerate(zip(tracks.names, tracks.styles, strict=True)):
            top, colour = 1.36 + height * row, style.colour(theme)
            self.overlay.plot([left, left + 0.3], [top, top], color=colour, lw=2, ls=style.dash)
            x, ms = left + 0.15, 0.74 * size
            self.overlay.plot([x], [top], style.marker, ms=ms, mew=0.11 * ms, color=colour, mec=theme.background)
            self.add_text(left + 0.37, top, shorten(name, 0.78, size), size=size, color=theme.ink)
            columns = [left + x for _, x in self.COLUMNS]
            self.numbers.append([self.add_number(x, top, size=size, colour=theme.ink, align="right") for x in columns])
        words = "gap: the best return that any policy has at the method's KL, minus the method's (dotted in the plane)"
        top = 1.36 + height * len(tracks.names) + 0.06
        self.add_text(
            left, top, wrap_text(words, WIDTH - left - 0.25, 9), size=9, color=theme.muted, va="top", linespacing=1.35
        )

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.steps[index]}")
        for row, values in zip(self.numbers, self.tracks.points[index], strict=True):
            for text, value, digits in zip(row, values, (2, 3, 3), strict=True):
                text.update(short_number(float(value), digits))
        self.plane.update(index)


def short_number(value: float, digits: int) -> str:
    """Return a number with so many decimals, fewer where it is large.

    Example:
        >>> short_number(0.12345, 3), short_number(12.345, 3), short_number(-0.00001, 3), short_number(float("inf"), 3)
        ('0.123', '12.35', '0.000', '∞')
    """
    if not np.isfinite(value):
        return "∞"
    places = max(0, digits - max(0, len(f"{abs(value):.0f}") - 1))
    return f"{value:z.{places}f}".replace("-", "−")
