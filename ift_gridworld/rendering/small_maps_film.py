"""The film of a grid that is made of several small maps: those on the demonstrated route large, all starts as an index.

For each method it shows the policy on the maps that the demonstration leads through, where episodes go that start as it does,
and what becomes of episodes that start on each of the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from ift_gridworld.evaluation.metrics import expected_visits, metric_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import success_from
from ift_gridworld.rendering.charts import look_of, style_axes, update_axis
from ift_gridworld.rendering.film_bases import RunsFilm
from ift_gridworld.rendering.method_style import styles_of
from ift_gridworld.rendering.route_block import WORDS, RouteBlock, RouteScene, draw_key, fitting
from ift_gridworld.rendering.small_maps import maps_on_path, mean_over_starts, small_maps, start_maps
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates
from ift_gridworld.rendering.text import Number, short_title, shorten, text_width
from ift_gridworld.rendering.visit_scale import VisitScale
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import about_seeds, drawn_together, shared_headline

__all__ = ["SmallMapsFilm", "has_small_maps", "visits_from"]

MAX_FRAMES = 40
WIDTH, MARGIN, HEAD, NAME = 10.0, 0.3, 0.95, 0.5  # inches: HEAD above all, NAME above each method
BETWEEN, CHART, KEY = 0.4, 1.0, 0.75  # inches: between methods, height of the chart, of the key
MOST_COLUMNS = 4
NOTABLE = 0.005  # difference of two numbers of the index that counts


def has_small_maps(run: Run) -> bool:
    """Return whether a run is filmed by its small maps: its demonstration leads through some, and episodes start on some."""
    maps = small_maps(run.mdp.grid)
    return bool(maps and start_maps(run.mdp, maps) and maps_on_path(maps, run.demonstration[:, 0]))


def visits_from(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], state: int) -> Float[np.ndarray, "*batch S"]:
    """Return how often an episode that starts in a given state visits each state (`metrics.expected_visits`).

    Args:
        mdp: the MDP; its horizon is the time limit.
        policy: T(a|s), with any leading dimensions.
        state: where episodes start.
    """
    return expected_visits(replace(mdp, start=np.eye(mdp.num_states)[state], check=False), policy)


class SmallMapsFilm(RunsFilm):
    """The film of one run or several on one grid of small maps.

    Args:
        runs: runs on one environment; the first has a demonstration, which is drawn.
        theme: a name in THEMES.

    Raises:
        ValueError: if the runs are not of one environment, it has no map, or for an unknown theme.

    Example (writes two files)::

        SmallMapsFilm([Run.load("sft.json"), Run.load("ift.json")]).save("taxi.gif")
    """

    def __init__(self, runs: Sequence[Run], theme: str = "light") -> None:
        check_one_environment(runs, drawn=True)
        self.runs, self.mdp, self.headline = drawn_together(runs), runs[0].mdp, shared_headline(runs)
        self.steps = shared_updates(self.runs, MAX_FRAMES)
        self.snapshots = latest_snapshots(self.runs, self.steps)
        self._measure()
        self.count, single = len(self.runs), len(self.runs) == 1
        self.per_row = ceil(self.count / ceil(self.count / MOST_COLUMNS))
        self.block_width = (WIDTH - 2 * MARGIN - (self.per_row - 1) * BETWEEN) / self.per_row
        self.name_height = NAME - (0.22 if single else 0.0)  # the title has the name of a single method
        self.block_height = self.scene.block_height(self.block_width, beside=single)
        rows = ceil(self.count / self.per_row)
        self.blocks_bottom = HEAD + rows * (self.name_height + self.block_height + 0.15)
        key = KEY + (0.28 if len(self.scene.rejected) else 0.0)
        super().__init__(theme, (WIDTH, round(self.blocks_bottom + WORDS + CHART + 0.55 + key, 1)))
        self._compose()

    def _measure(self) -> None:
        """Compute what is shown: visits from the route's start, and success (or the return) from every state."""
        mdp, first = self.mdp, self.runs[0]
        route, rejected = first.demonstration[:, 0], next((r.rejected for r in self.runs if len(r.rejected)), first.rejected)
        self.visits = [visits_from(mdp, run.snapshots, int(route[0])) for run in self.runs]
        if self.headline == "success":
            self.values = [success_from(mdp, run.snapshots, mdp.horizon) for run in self.runs]
            measure, norm, digits = "success", Normalize(0, 1), 2
        else:
            self.values = [run.values for run in self.runs]
            starts = np.concatenate([values[:, mdp.start > 0].ravel() for values in self.values])
            measure, norm, digits = "return", Normalize(float(starts.min()), float(starts.max())), 1
        scale = VisitScale.of([visits[:, ~mdp.terminal] for visits in self.visits])
        name = "demonstrated route"
        self.scene = RouteScene(mdp, route, rejected[:, 0], scale, name, measure, norm, digits)
        self.cells = [mean_over_starts(mdp, self.scene.starts, values) for values in self.values]

    @property
    def alt(self) -> str:
        first, scene, last = self.runs[0], self.scene, len(self) - 1
        parts = ", then ".join(f"{small.heading}" for small in scene.parts)
        results = " ".join(
            f"{short_title(run.title)}, update {self.steps[0]} and {self.steps[-1]}: {self._result(i, 0)}; "
            f"{self._result(i, last)}; {self._words(i, last)}."
            for i, run in enumerate(self.runs)
        )
        return (
            f"{first.place} ({first.about.replace(' · ', ', ')}), a grid of small maps. For each method the maps that the "
            f"demonstration leads through ({parts}), with arrows for the policy, blue where episodes go that start as it does, "
            f"and the outline of its route; a table of {scene.measure} from the starts of each of {len(scene.starts)} maps; a "
            f"chart of {self.headline} over the updates ({about_seeds(self.runs)}). {results}"
        )

    # ---- composition ----

    def _compose(self) -> None:
        theme, first = self.theme, self.runs[0]
        short, _, long = first.title.partition(" · ")
        title, beside = (short, long) if self.count == 1 else ("One route shown, and all starts", "")
        self.add_text(MARGIN, 0.34, shorten(title, 6.6, 19, bold=True), size=19, weight="bold", color=theme.ink)
        left = MARGIN + min(6.6, text_width(title, 19, bold=True)) + 0.15
        if beside:
            self.add_text(left, 0.37, shorten(beside, 7.4 - left, 13), size=13, color=theme.muted)
        about = f"{first.about} · {about_seeds(self.runs)}"
        self.add_text(MARGIN, 0.7, shorten(about, WIDTH - 2 * MARGIN, 9.5), size=9.5, color=theme.muted)
        self.step_text = self.add_number(WIDTH - MARGIN, 0.34, size=15, colour=theme.ink, align="right")
        self.styles = styles_of(dict.fromkeys(run.method for run in self.runs))
        self.blocks: list[RouteBlock] = []
        self.numbers: list[Number] = []
        for i, run in enumerate(self.runs):
            x = MARGIN + (i % self.per_row) * (self.block_width + BETWEEN)
            y = HEAD + (i // self.per_row) * (self.name_height + self.block_height + 0.15)
            if self.count > 1:
                self._compose_name(run, x, y)
            y, alone = y + self.name_height, self.count == 1
            self.numbers.append(self.add_number(x, y - 0.17, size=9, colour=theme.ink))
            self.blocks.append(RouteBlock(self, self.scene, self.mdp, x, y, self.block_width, beside=alone))
        self._compose_chart(self.add_axes(MARGIN + 0.35, self.blocks_bottom + WORDS + 0.1, WIDTH - 2 * MARGIN - 0.35, CHART))
        draw_key(self, self.scene, MARGIN, self.blocks_bottom + WORDS + CHART + 0.6, WIDTH - 2 * MARGIN)

    def _compose_name(self, run: Run, left: float, top: float) -> None:
        theme, style = self.theme, self.styles[run.method]
        ax = self.add_axes(left, top + 0.02, 0.32, 0.16)
        ax.axis("off")
        ax.plot([0, 1], [0, 0], color=style.colour(theme), ls=style.dash, lw=1.8)
        ax.plot([0.5], [0], color=style.colour(theme), marker=style.marker, ms=6, mec=theme.background, mew=0.8)
        ax.set(xlim=(0, 1), ylim=(-1, 1))
        name = shorten(short_title(run.title), self.block_width - 0.4, 11, bold=True)
        self.add_text(left + 0.38, top + 0.1, name, size=11, weight="bold", color=theme.ink)

    def _compose_chart(self, ax: Axes) -> None:
        theme, headline = self.theme, self.headline
        style_axes(ax, theme)
        update_axis(ax, int(self.steps[-1]))
        self.add_text(MARGIN, self.blocks_bottom + 0.14, f"{headline} from all starts", size=9.5, color=theme.ink)
        highest = 0.0
        for run in self.runs:
            style = self.styles[run.method]
            mean, low, high = metric_interval(headline, run.metrics[headline])
            ax.fill_between(run.steps, low, high, color=style.colour(theme), alpha=0.15, lw=0)
            ax.plot(run.steps, mean, color=style.colour(theme), ls=style.dash, lw=1.8)
            highest = max(highest, float(high.max()))
        limit = look_of(headline).limit or 1.1 * max(highest, 1e-6)
        ax.set_ylim(-0.03 * limit, 1.04 * limit)
        ax.set_yticks([0, 0.5 * limit, limit], [f"{tick:.3g}" for tick in (0, 0.5 * limit, limit)])
        ax.set_xlabel("update (square-root scale)", size=9, color=theme.muted, labelpad=1)
        self.cursor = ax.axvline(0, color=theme.ink, lw=1.4, clip_on=False)
        self.animate(self.cursor)

    # ---- frames ----

    def update(self, index: int) -> None:
        """Move everything to the stage `index`."""
        self.step_text.update(f"update {self.steps[index]} / {self.steps[-1]}")
        self.cursor.set_xdata([self.steps[index]] * 2)
        for i, (run, snapshot) in enumerate(zip(self.runs, self.snapshots[index], strict=True)):
            self.numbers[i].update(self._result(i, index))
            cells = self.cells[i][snapshot]
            self.blocks[i].update(run.snapshots[snapshot], self.visits[i][snapshot], cells, self._words(i, index))

    def _result(self, method: int, index: int) -> str:
        """Return words on the value from the start of the route, and from all starts."""
        values = self.values[method][self.snapshots[index, method]]
        here, everywhere = values[self.scene.route[0]], values @ self.mdp.start
        digits = self.scene.digits + 1
        words = f"route's start {here:.{digits}f} · all starts {everywhere:.{digits}f}"
        short = f"route {here:.{digits}f} · all {everywhere:.{digits}f}"
        return fitting(self.block_width, 9, f"{self.scene.measure}: {words}", words, short, bold=True)

    def _words(self, method: int, index: int) -> str:
        """Return words on how many numbers of the index are above, and how many below those of the base."""
        gain = self.cells[method][self.snapshots[index, method]] - self.cells[method][0]
        more, less = (gain > NOTABLE).sum(), (gain < -NOTABLE).sum()
        words = f"above the base: {more} of {len(gain)} · below: {less}"
        return fitting(self.block_width, 8.5, words, f"above base: {more}, below: {less}", bold=True)
