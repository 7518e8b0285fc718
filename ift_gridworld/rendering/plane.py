"""The preference plane: how log-probabilities of the chosen and the rejected answer move from the base, a trajectory a method.

The base is the origin. To the right the chosen answer is likelier than in the base, downwards the rejected one is less likely,
and on a line of equal margin DPO's loss is the same. Likelihood displacement is a curve that bends back to the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.text import Text

from ift_gridworld.escape import printable
from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.method_style import MethodStyle, styles_of
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates
from ift_gridworld.rendering.text import plain_text, short_title, shorten, wrap_text
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.training.run import Run, check_one_environment

__all__ = ["Plane", "PlaneFilm", "Track", "apart", "draw_plane", "has_pair", "place_names", "tracks_of"]

WIDTH, HEIGHT = 9.6, 5.4  # inches
MAX_FRAMES = 72
PALE = 0.4  # opacity of the line of one seed
MARGINS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)  # nats, of which lines may be drawn
TICKS = (0.0, *(sign * size * 10.0**k for k in range(5) for size in (1, 3) for sign in (-1, 1)))
APART = 0.052  # least distance of two ticks, as a share of the axis
LABEL_GAP = 0.05  # least distance of two names, as a share of the height


@dataclass(frozen=True, eq=False)
class Track:
    """One trajectory.

    Attributes:
        name: that stands at its end.
        style: colour, dash and marker.
        moves: change of the log-probability of the chosen and of the rejected answer since the base, in nats, of every seed.
    """

    name: str
    style: MethodStyle
    moves: Float[np.ndarray, "F N 2"]

    @property
    def mean(self) -> Float[np.ndarray, "F 2"]:
        """The mean over seeds."""
        return self.moves.mean(1)


def has_pair(run: Run) -> bool:
    """Return whether a run knows how likely both answers of a preference pair are at every snapshot."""
    names = ("chosen_logp", "rejected_logp")
    return all(name in run.metrics and np.isfinite(run.metrics[name]).all() for name in names)


def tracks_of(runs: Sequence[Run], snapshots: Int[np.ndarray, "F M"]) -> list[Track]:
    """Return the trajectory of each run at some of its snapshots.

    Args:
        runs: the runs.
        snapshots: index of the snapshot of each run, for every frame.

    Raises:
        ValueError: for a run without a preference pair.
    """
    for run in runs:
        if not has_pair(run):
            raise ValueError(
                f"the preference plane cannot show {printable(run.method)}: it has no log-probabilities of a chosen and a "
                "rejected answer; allowed: runs that are given preferences"
            )
    styles = styles_of(dict.fromkeys(run.method for run in runs))
    tracks = []
    for run, chosen in zip(runs, snapshots.T, strict=True):
        logp = np.stack([run.metrics[name] for name in ("chosen_logp", "rejected_logp")], -1)
        tracks.append(Track(short_title(run.title), styles[run.method], logp[chosen] - logp[0]))
    return tracks


def _squeeze(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Both signs on one logarithmic scale that is linear near 0: one nat is seen beside a hundred."""
    return np.sign(x) * np.log10(1 + np.abs(x))


def _stretch(y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.sign(y) * (10 ** np.minimum(np.abs(y), 300) - 1)


class Plane:
    """The plane on an Axes, with trajectories up to a frame.

    Args:
        ax: where to draw.
        tracks: the trajectories.
        theme: colours.
        size: size of the type, in points.
        is_small: whether there is room for short labels only.

    Attributes:
        artists: what `update` moves, from below.
    """

    def __init__(self, ax: Axes, tracks: Sequence[Track], theme: Theme, size: float = 10.0, *, is_small: bool = False) -> None:
        self.ax, self.tracks = ax, list(tracks)
        style_axes(ax, theme)
        ax.set_xscale("function", functions=(_squeeze, _stretch))
        ax.set_yscale("function", functions=(_squeeze, _stretch))
        points = np.concatenate([track.moves.reshape(-1, 2) for track in tracks])
        (left, right), (bottom, top) = (_limits(points[:, axis]) for axis in (0, 1))
        ax.set(xlim=(left, right), ylim=(bottom, top))
        for axis, limits in ((ax.xaxis, (left, right)), (ax.yaxis, (bottom, top))):
            ticks = _ticks(*limits)
            axis.set_ticks(ticks, [f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])
        ax.minorticks_off()
        ax.tick_params(labelsize=max(8.0, size - 1), labelcolor=theme.ink)
        across, upwards = (f"{answer} answer: log-probability since the base, nats" for answer in ("chosen", "rejected"))
        across = f"← less likely     {across}     likelier →"
        if is_small:
            across, upwards = "← less likely   chosen answer   likelier →", "rejected answer"
        ax.set_xlabel(across, size=size, color=theme.ink, labelpad=3)
        ax.set_ylabel(upwards, size=size, color=theme.ink, labelpad=3)
        self._draw_margins(theme, size, "margin, nats" if is_small else "DPO margin since the base, nats")
        for line in (ax.axvline, ax.axhline):
            line(0, color=theme.muted, lw=1)
        corner = (0.015, float(_share(0.0, bottom, top)) - 0.02)
        if _share(0.0, left, right) > 0.3:  # where there is room for it
            words = "displacement:\nboth less likely"
            ax.text(*corner, words, transform=ax.transAxes, size=size - 0.5, color=theme.ink, style="italic", va="top")
        ax.plot([0], [0], "o", ms=7, mfc=theme.background, mec=theme.ink, mew=1.4, zorder=3)
        self._compose_tracks(theme, size)

    def _draw_margins(self, theme: Theme, size: float, title: str) -> None:
        """Draw lines on which c - r has grown by as much, each named where it leaves at the right or below."""
        (left, right), (bottom, top) = self.ax.get_xlim(), self.ax.get_ylim()
        ends = _squeeze(np.array([left, right]))
        x = _stretch(np.linspace(ends[0], ends[1], 200))
        width = self.ax.get_window_extent().width / float(self.ax.figure.dpi)  # inches
        named: list[float] = []
        for margin in MARGINS:
            y = x - margin
            inside = (y >= bottom) & (y <= top)
            if not inside.any():
                continue
            self.ax.plot(x[inside], y[inside], color=theme.muted, lw=0.7, ls=(0, (1, 2.4)), zorder=0.5)
            end = float(_share(y[inside][-1], bottom, top))
            if inside[-1] and all(abs(end - other) > APART for other in named):
                named.append(end)
                self.ax.text(
                    1 + 0.06 / width,
                    end,
                    f"{margin:g}",
                    transform=self.ax.transAxes,
                    size=max(8.0, size - 1.5),
                    color=theme.muted,
                    va="center",
                )
        if named:
            self.ax.text(
                1 + 0.45 / width, 0.5, title, transform=self.ax.transAxes, size=max(8.0, size - 1), color=theme.muted,
                rotation=270, va="center", ha="left",
            )  # fmt: skip

    def _compose_tracks(self, theme: Theme, size: float) -> None:
        colours = [track.style.colour(theme) for track in self.tracks]
        self.seeds = LineCollection([], lw=1.0, alpha=PALE, zorder=1.5)
        self.ax.add_collection(self.seeds)
        self._seed_colours = [c for c, track in zip(colours, self.tracks, strict=True) for _ in range(track.moves.shape[1])]
        halo: list[AbstractPathEffect] = [withStroke(linewidth=3.4, foreground=theme.background)]
        self.lines, self.heads, self.names = [], [], []
        for track, colour in zip(self.tracks, colours, strict=True):
            self.lines += self.ax.plot([], [], color=colour, lw=2.2, ls=track.style.dash, zorder=2)
            self.heads += self.ax.plot(
                [], [], track.style.marker, ms=8, color=colour, mec=theme.background, mew=1, zorder=4, clip_on=False
            )
            name = self.ax.text(0, 0, plain_text(track.name), size=size, weight="bold", color=colour, va="center", zorder=5)
            name.set_path_effects(halo)
            self.names.append(name)
        self.artists: list[Artist] = [self.seeds, *self.lines, *self.heads, *self.names]

    def update(self, index: int) -> None:
        """Draw the trajectories up to frame `index`."""
        moves = [track.moves[: index + 1] for track in self.tracks]
        self.seeds.set_segments([table[:, seed] for table in moves for seed in range(table.shape[1])])
        self.seeds.set_color(self._seed_colours)
        means = [track.mean[: index + 1] for track in self.tracks]
        for line, head, mean in zip(self.lines, self.heads, means, strict=True):
            line.set_data(*mean.T)
            head.set_data(*mean[-1:].T)
        self._place_names(np.array([mean[-1] for mean in means]))

    def _place_names(self, ends: Float[np.ndarray, "M 2"]) -> None:
        """Write each name beside its end, on the side of the plane's middle, and move names apart that would touch."""
        limits = np.array([self.ax.get_xlim(), self.ax.get_ylim()])
        places = np.stack([_share(ends[:, axis], *limits[axis]) for axis in (0, 1)], -1)
        place_names(self.ax, self.names, places)


def place_names(ax: Axes, names: Sequence[Text], places: Float[np.ndarray, "M 2"]) -> None:
    """Write each name beside its point, on the side of the Axes' middle, and move names apart that would touch.

    Args:
        ax: the Axes that names stand in.
        names: the texts.
        places: of their points, as shares of the Axes.
    """
    height = float(ax.get_window_extent().height)
    for on_left in (False, True):
        side = [i for i in np.argsort(-places[:, 1], kind="stable") if (places[i, 0] > 0.72) == on_left]
        heights = apart([float(places[i, 1]) for i in side], LABEL_GAP * max(1.0, 330 / height))
        for i, y in zip(side, heights, strict=True):
            names[i].set_transform(ax.transAxes)
            names[i].set(x=places[i, 0] + (-0.022 if on_left else 0.022), y=y, ha="right" if on_left else "left")


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights, in descending order, so that none is nearer than `gap` to the next, and all stay within 0 and 1."""
    placed: list[float] = []
    for height in heights:
        placed.append(min(height, placed[-1] - gap) if placed else min(height, 1 - gap / 2))
    below = min([0.0, *(height - gap / 2 for height in placed[-1:])])
    for i in reversed(range(len(placed))):  # what was moved out below moves up, and pushes what is above it
        floor = gap / 2 if i == len(placed) - 1 else placed[i + 1] + gap
        placed[i] = max(placed[i], floor) if below < 0 else placed[i]
    return placed


def _share(value: Float[np.ndarray, "..."] | float, low: float, high: float) -> Float[np.ndarray, "..."]:
    """Return where a value stands on the axis from `low` to `high`, from 0 to 1."""
    start, here, end = (_squeeze(np.asarray(x, float)) for x in (low, value, high))
    return (here - start) / (end - start)


def _limits(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Ends of an axis that hold all values and the origin, with some room."""
    low, high = (float(_squeeze(np.array(x))) for x in (min(values.min(), 0.0), max(values.max(), 0.0)))
    room = max(0.06 * (high - low), 0.1)
    return float(_stretch(np.array(low - room))), float(_stretch(np.array(high + room)))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within the limits that stand apart, 0 and powers of ten first."""
    by_weight = sorted(TICKS, key=lambda tick: (tick != 0, f"{abs(tick):g}"[0] != "1", abs(tick)))
    ticks: list[float] = []
    for tick in by_weight:
        place = float(_share(tick, low, high))
        if 0 <= place <= 1 and all(abs(place - float(_share(other, low, high))) > APART * 1.6 for other in ticks):
            ticks.append(tick)
    return sorted(ticks)


@isolated
def draw_plane(ax: Axes, runs: Sequence[Run], theme: Theme, *, update: int | None = None) -> Axes:
    """Draw the preference plane of some runs.

    Args:
        ax: where to draw.
        runs: on one environment, each with a preference pair.
        theme: colours.
        update: up to which trajectories are drawn; None for all.

    Returns:
        The Axes.

    Raises:
        ValueError: for a run without a preference pair, or runs on several environments.

    Example::

        draw_plane(plt.figure().add_subplot(), [Run.load("sft.json"), Run.load("dpo.json")], THEMES["light"])
    """
    check_one_environment(runs)
    updates = shared_updates(runs)
    plane = Plane(ax, tracks_of(runs, latest_snapshots(runs, updates)), theme)
    plane.update(len(updates) - 1 if update is None else max(0, int(np.searchsorted(updates, update, side="right")) - 1))
    return ax


class PlaneFilm(Film):
    """The film of the preference plane: trajectories grow from the base, all at the same update.

    Args:
        runs: the runs to compare, on one environment, each with a preference pair.
        theme: a name in THEMES.

    Raises:
        ValueError: for a run without a preference pair, runs on several environments, or an unknown theme.

    Example (writes two files)::

        PlaneFilm([Run.load("sft.json"), Run.load("dpo.json")]).save("plane.gif")
    """

    def __init__(self, runs: Sequence[Run], theme: str = "light") -> None:
        check_one_environment(runs)
        self.runs = list(runs)
        self.steps = shared_updates(self.runs, MAX_FRAMES)
        self.tracks = tracks_of(self.runs, latest_snapshots(self.runs, self.steps))
        super().__init__(theme, (WIDTH, HEIGHT))
        self._compose()

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return np.abs(np.diff(_squeeze(np.stack([track.mean for track in self.tracks])), axis=1)).mean((0, 2))

    @property
    def displaced(self) -> list[str]:
        """Number of seeds in which each method leaves the chosen answer less likely than the base, where it does in any."""
        below = [(track.moves[-1, :, 0] < 0).sum() for track in self.tracks]
        return [f"{track.name} in {n} of {track.moves.shape[1]}" for track, n in zip(self.tracks, below, strict=True) if n]

    @property
    def alt(self) -> str:
        ends = ", ".join(f"{track.name} {track.mean[-1, 0]:+.2f} and {track.mean[-1, 1]:+.2f}" for track in self.tracks)
        return (
            f"The preference plane on {self.runs[0].place} ({self.runs[0].about.replace(' · ', ', ')}): change of the "
            "log-probability of the chosen answer, to the right, and of the rejected one, upwards, from the base at the "
            f"origin, with lines of equal DPO margin. At update {self.steps[-1]}, in nats, means over seeds: {ends}. "
            f"The chosen answer ends less likely than in the base: {'; '.join(self.displaced) or 'in no seed'}."
        )

    def _compose(self) -> None:
        theme, run = self.theme, self.runs[0]
        self.add_text(0.3, 0.38, "The preference plane", size=17, weight="bold", color=theme.ink)
        seeds = f"mean of {run.seeds} seeds, pale: each seed" if run.seeds > 1 else f"seed {run.settings.get('seed', 0)}"
        self.add_text(0.3, 0.7, shorten(f"{run.about} · {seeds}", WIDTH - 0.6, 10), size=10, color=theme.muted)
        self.step_text = self.add_number(WIDTH - 0.3, 0.38, size=15, colour=theme.ink, align="right")
        self.plane = Plane(self.add_axes(0.85, 0.98, 5.3, 3.75), self.tracks, theme)
        self._compose_rows(6.95)
        self.animate(*self.plane.artists)

    def _compose_rows(self, left: float) -> None:
        """A row a method: its marker, its name, and where it stands."""
        theme = self.theme
        for x, words in ((1.72, "chosen"), (2.38, "rejected")):
            self.figure.text((left + x) / WIDTH, 1 - 1.05 / HEIGHT, words, size=9, color=theme.muted, ha="right", va="center")
        self.numbers = []
        for row, track in enumerate(self.tracks):
            top, colour = 1.36 + 0.3 * row, track.style.colour(theme)
            ax = self.add_axes(left, top - 0.1, 0.34, 0.2)
            ax.set(xlim=(0, 1), ylim=(0, 1))
            ax.axis("off")
            ax.plot([0, 1], [0.5, 0.5], color=colour, lw=2, ls=track.style.dash)
            ax.plot([0.5], [0.5], track.style.marker, ms=7, color=colour, mec=theme.background, mew=0.8)
            self.add_text(left + 0.42, top, shorten(track.name, 0.86, 9.5), size=9.5, color=theme.ink)
            pair = [self.add_number(left + x, top, size=9.5, colour=theme.ink, align="right") for x in (1.72, 2.38)]
            self.numbers.append(pair)
        ends = f"At update {self.steps[-1]} the chosen answer is less likely than in the base: "
        words = f"{ends}{', '.join(self.displaced) or 'in no seed'}{' seeds' if self.displaced else ''}."
        top, lines = 1.36 + 0.3 * len(self.tracks), wrap_text(words, WIDTH - left - 0.2, 9.5)
        if top + 0.19 * lines.count("\n") < HEIGHT - 0.35:
            self.add_text(left, top, lines, size=9.5, color=theme.ink, va="top", linespacing=1.35)

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.steps[index]}")
        for (chosen, rejected), track in zip(self.numbers, self.tracks, strict=True):
            for number, value in zip((chosen, rejected), track.mean[index], strict=True):
                number.update(f"{value + 0.0:+.1f}".replace("-", "−"))
        self.plane.update(index)
