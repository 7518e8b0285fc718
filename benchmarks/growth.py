"""Measure, fit (in log-log) and draw the growth of cost with the number of states, of seeds and of frames."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from benchmarks.comparison import Comparison, seconds
from benchmarks.pictures import lake_panel, saved_run
from ift_gridworld.envs.maps import LAKES, open_lake
from ift_gridworld.envs.vector import TabularVectorEnv
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import occupancy, solve
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.maps import draw_lake, walkable
from ift_gridworld.rendering.study_figures import SMALL, TINY, StudyFigure
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.loop import train
from ift_gridworld.training.run import Run

__all__ = ["Growth", "draw_growth", "grow", "growth", "in_words"]

PATIENCE = 10.0  # seconds: what takes longer is not asked for anything larger
# What is measured is no method: its lines have the colour of words; markers and dashes tell them apart.
SOLID, DASHED = "-", (0, (5, 2))
LOOKS: tuple[tuple[str, bool, Any], ...] = (
    ("o", True, SOLID), ("s", True, DASHED), ("^", False, SOLID), ("D", False, DASHED), ("v", True, SOLID),
    ("P", False, DASHED),
)  # fmt: skip
FITTED = 3  # the largest sizes, over which a slope is fitted; at the smallest what is constant hides it


@dataclass(frozen=True)
class Growth:
    """Seconds that something takes at several sizes.

    Attributes:
        what: is done.
        along: what grows.
        sizes: how much of it.
        seconds: the best of a few tries at each size.
    """

    what: str
    along: str
    sizes: Sequence[int]
    seconds: Sequence[float]

    @property
    def slope(self) -> float:
        """k where seconds grow as size^k, by least squares in log-log over the `FITTED` largest sizes."""
        x, y = np.log(self.sizes[-FITTED:]), np.log(self.seconds[-FITTED:])
        return float(np.polyfit(x, y, 1)[0])

    @property
    def comparison(self) -> Comparison:
        """The slope as a row of the report, without a peer."""
        note = f"{self.seconds[0]:.2g} s at {self.sizes[0]:,}, {self.seconds[-1]:.2g} s at {self.sizes[-1]:,}"
        return Comparison(f"{self.what}, by {self.along}", "", self.slope, None, None, "slope", note)


def grow(what: str, along: str, prepared: Iterable[tuple[int, Callable[[], Callable[[], object]]]], tries: int = 3) -> Growth:
    """Measure one size after another until patience ends. Each comes with a function that prepares the work, off the clock,
    and returns it."""
    sizes, best = [], []
    for size, prepare in prepared:
        first = seconds(prepare())
        tried = [first, *(seconds(prepare()) for _ in range(tries - 1 if first < 1 else 0))]
        sizes.append(size)
        best.append(min(tried))
        if first > PATIENCE:
            break
    return Growth(what, along, sizes, best)


# ---- with the number of states: open slippery lakes ----


def lake(side: int) -> TabularMDP:
    """Return the open lake of that side."""
    return TabularMDP.from_map(open_lake(side), is_slippery=True)


def prepare_building(side: int) -> Callable[[], object]:
    """Return the work of building an MDP's arrays."""
    rows = open_lake(side)
    return lambda: TabularMDP.from_map(rows, is_slippery=True)


def prepare_solving(side: int) -> Callable[[], object]:
    """Return the work of finding optimal values."""
    mdp = lake(side)
    return lambda: solve(mdp, tolerance=1e-6)


def prepare_visiting(side: int, *, everywhere: bool = False) -> Callable[[], object]:
    """Return the work of following the uniform policy, from the start or from everywhere."""
    mdp = lake(side)
    if everywhere:
        mdp = replace(mdp, start=~mdp.terminal / np.count_nonzero(~mdp.terminal))
    policy = np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions)
    return lambda: occupancy(mdp, policy, horizon=100)


def prepare_stepping(side: int) -> Callable[[], object]:
    """Return the work of stepping a vector environment."""
    env = TabularVectorEnv(lake(side), 1024, seed=0)
    env.reset()
    actions = np.random.default_rng(0).integers(0, 4, (100, 1024))

    def work() -> None:
        for chosen in actions:
            env.step(chosen)

    return work


def prepare_drawing(side: int) -> Callable[[], object]:
    """Return the work of drawing a map with values and a policy."""
    mdp, theme = lake(side), THEMES["light"]
    grid, random = mdp.grid, np.random.default_rng(0)
    assert grid is not None
    values, policy = random.random(mdp.num_states), random.dirichlet(np.ones(4), mdp.num_states)

    def work() -> None:
        figure, axes = canvas()
        walkable_states = walkable(mdp)
        draw_lake(axes, grid, theme)
        TileColours(axes, grid, walkable_states, theme.visits, Normalize(0, 1)).update(values)
        PolicyArrows(axes, grid, mdp.moves, walkable_states, theme).update(policy)
        figure.canvas.draw()

    return work


def with_states(sides: Sequence[int]) -> list[Callable[[], Growth]]:
    """Return the measurements on lakes of these sides."""

    def along(what: str, prepare: Callable[[int], Callable[[], object]]) -> Callable[[], Growth]:
        return lambda: grow(what, "states", ((side**2, partial(prepare, side)) for side in sides))

    return [
        along("building the arrays", prepare_building),
        along("optimal values, to 1e-6", prepare_solving),
        along("visits of 100 steps", prepare_visiting),
        along("the same from everywhere", partial(prepare_visiting, everywhere=True)),
        along("a map, drawn", prepare_drawing),
        along("100 steps of 1,024 environments", prepare_stepping),
    ]


def canvas() -> tuple[Figure, Axes]:
    """Return a square figure in memory, and axes that fill it."""
    figure = Figure(figsize=(4.4, 4.4), dpi=100)
    FigureCanvasAgg(figure)
    return figure, figure.add_axes((0.02, 0.02, 0.96, 0.96))


# ---- with the number of seeds, and of frames ----


def with_seeds(counts: Sequence[int]) -> Growth:
    """Measure independent networks, aligned at once."""
    mdp = TabularMDP.from_map(LAKES["4x4"])

    def prepare(count: int) -> Callable[[], object]:
        policy = make_base("random", mdp, policy="mlp", seeds=count)
        return lambda: train("ift", mdp, policy, steps=100, snapshots=2)

    return grow("100 updates of IFT", "seeds", ((count, partial(prepare, count)) for count in counts))


def with_frames(record: Run, counts: Sequence[int]) -> Growth:
    """Measure a film's frames, drawn and written as a GIF: the run's snapshots, over and over."""

    def prepare(count: int) -> Callable[[], object]:
        snapshots = np.resize(record.snapshots, (count, *record.snapshots.shape[1:]))
        film = lake_panel(replace(record, steps=np.arange(count), snapshots=snapshots))

        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                film.save(Path(folder) / "film.gif")

        return work

    return grow("a film", "frames", ((count, partial(prepare, count)) for count in counts), tries=1)


def growth(pairs: int) -> list[Callable[[], Growth]]:
    """Fit the growth of seconds, size^slope, on open slippery lakes, with networks on 4x4, with a film: over the three largest
    sizes, each the best of three tries. Values so far from the goal that they are smaller than the error need no work; maps of
    very many tiles are drawn in blocks; 100 steps come to 5,000 tiles at most, so visits from one start stay with these. From
    everywhere all tiles are walked over: the work is in proportion, but what is small is in the processor's own memory."""
    return [
        *with_states((10, 30, 100, 300, 1000)),
        lambda: with_seeds((1, 4, 16, 64, 256)),
        lambda: with_frames(saved_run(), (8, 32, 128, 512)),
    ]


@isolated
def draw_growth(growths: Sequence[Growth], path: Path, theme: str = "light") -> list[Path]:
    """Draw seconds over size in log-log, a panel for each thing that grows, all with one scale of seconds."""
    panels = {kind: [growth for growth in growths if growth.along == kind] for kind in (growth.along for growth in growths)}
    page = StudyFigure(2.85 + 0.14 * max(map(len, panels.values())), theme)
    colours = page.theme
    page.add_heading(0.1, 0.19, "Seconds over size: a line that runs like the dotted one, slope 1, costs in proportion")
    seconds_taken = [one for growth in growths for one in growth.seconds]
    left = 0.55
    for kind, lines in panels.items():
        width = 2.5 if kind == "states" else 1.6
        axes = page.add_axes(left, 0.42, width, 1.75)
        page.style_axes(axes)
        for (marker, filled, dash), growth in zip(LOOKS, lines, strict=False):
            label = f"{growth.what}: slope {growth.slope:.2f}"
            axes.plot(
                growth.sizes, growth.seconds, color=colours.ink, mfc=colours.ink if filled else colours.background,
                marker=marker, ls=dash, ms=4.5, mew=1, lw=1, label=label,
            )  # fmt: skip
        # What grows no faster than this runs no steeper.
        longest = max((growth.sizes for growth in lines), key=len)
        ends = np.array([longest[0], longest[-1]])
        top = 1.5 * max(growth.seconds[-1] for growth in lines)
        axes.plot(ends, top * ends / ends[-1], color=colours.muted, ls=(0, (1, 2)), linewidth=1, label="in proportion: slope 1")
        axes.set(xscale="log", yscale="log", ylim=(min(seconds_taken) / 2, max(seconds_taken) * 2))
        axes.xaxis.set_major_locator(FixedLocator(longest))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.grid(color=colours.faint, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.set_xlabel(f"number of {kind} (log scale)", size=SMALL, color=colours.ink)
        if left < 1:
            axes.set_ylabel("seconds (log scale)", size=SMALL, color=colours.ink)
        else:
            axes.set_yticklabels([])
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.22), frameon=False, fontsize=TINY, labelcolor=colours.ink,
            borderpad=0, handlelength=1.6,
        )  # fmt: skip
        left += width + 0.25
    return page.save(path, in_words(growths))


def in_words(growths: Sequence[Growth]) -> str:
    """Return what the picture shows."""
    words = "; ".join(f"{growth.what}: as {growth.along} to the power {growth.slope:.2f}" for growth in growths)
    return f"How cost grows, seconds over size in log-log. {words}."
