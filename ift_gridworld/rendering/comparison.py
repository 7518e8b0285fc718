"""The side-by-side film: several methods on one lake from one base, a column each, at the same update.

Each column shows the policy and where it goes above, and what has changed since the base below. Charts tell how success, the
distance to the optimal policy, and the likelihood of both answers of the preference pair develop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.planning import optimal_policy
from ift_gridworld.rendering.arrows import ChangeArrows, PolicyArrows
from ift_gridworld.rendering.charts import look_of, style_axes
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.paths import draw_answers, draw_path_sample
from ift_gridworld.rendering.scale import is_fine, is_small
from ift_gridworld.rendering.stages import change_between, latest_snapshots, shared_updates
from ift_gridworld.rendering.text import short_title, shorten, text_width
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.training.run import Run, check_one_environment, shared_custom_metrics
from ift_gridworld.training.together import about_seeds, drawn_together, seed_of, shared_headline

__all__ = ["ComparisonFilm"]

MAX_COLUMNS = 5  # methods in a row, if they do not all fit into one
MAX_FRAMES = 72
# Inches: between columns, at the edges, above; above each method; between its two maps; below all; below charts.
GAP, MARGIN, HEAD = 0.22, 0.3, 0.95
TITLE, BETWEEN, LEGEND, BELOW = 0.5, 0.3, 0.42, 0.25
CHART_ROW = 0.215  # inches: of a method in a chart
COLUMNS_WIDTH = 10.0  # inches: all columns together where one row is enough; the picture is then no taller than wide
LIKELIHOODS = ("chosen_logp", "rejected_logp")


class ComparisonFilm(Film):
    """The film of several runs on one lake.

    Args:
        runs: the runs to compare, on one lake with a map.
        theme: a name in THEMES.

    Raises:
        ValueError: if the runs are not of one lake, it has no map, or for an unknown theme.

    Example (writes two files)::

        ComparisonFilm([Run.load("sft.json"), Run.load("ift.json")]).save("sft-ift.gif")
    """

    def __init__(self, runs: Sequence[Run], theme: str = "light") -> None:
        check_one_environment(runs, drawn=True)
        self.runs, self.mdp, self.headline = drawn_together(runs), runs[0].mdp, shared_headline(runs)
        self.grid, self.walkable = grid_of(self.mdp), walkable(self.mdp)
        self.custom = shared_custom_metrics(self.runs)[:1]  # there is room for one chart more
        self.steps = shared_updates(self.runs, MAX_FRAMES)
        self.snapshots = latest_snapshots(self.runs, self.steps)
        self._change = change_between(self.runs, self.snapshots)
        super().__init__(theme, self._arrange())
        self._compose()

    def _arrange(self) -> tuple[float, float]:
        """Choose the sizes of maps and columns; returns width and height of the picture, in inches.

        Maps are as wide as the columns allow, but no taller than leaves the picture in a screen's shape.
        """
        count = len(self.runs)
        self.per_row = count if count <= MAX_COLUMNS + 1 else ceil(count / ceil(count / MAX_COLUMNS))
        self.rows = ceil(count / self.per_row)
        height, width = self.grid.height, self.grid.width
        number = 3 + bool(self.custom)
        charts = number * (CHART_ROW * count + 0.62)
        self.beside = height > 2 * width  # a tall lake's two maps stand beside each other
        widest, tallest = 1.6, 2.56 if self.beside else 1.6
        if self.rows == 1:
            widest = (COLUMNS_WIDTH + GAP) / self.per_row - GAP
            around = HEAD + TITLE + BETWEEN + LEGEND + charts / number + BELOW
            tallest = 4.0 if self.beside else (COLUMNS_WIDTH + 2 * MARGIN - around) / 2
        self.map_width = min(widest, tallest * width / height)
        self.map_height = self.map_width * height / width
        self.column_height = TITLE + (1 if self.beside else 2) * self.map_height + BETWEEN
        self.column_width = max(2 * self.map_width + GAP, 2.0) if self.beside else max(self.map_width, 1.35)
        columns = self.per_row * (self.column_width + GAP) - GAP
        if self.rows == 1:  # charts side by side below
            size = (max(columns, COLUMNS_WIDTH) + 2 * MARGIN, HEAD + self.column_height + LEGEND + charts / number + BELOW)
        else:  # one over the other at the right
            maps = self.rows * (self.column_height + 0.2)
            size = (columns + 4.05 + 2 * MARGIN, HEAD + max(maps + LEGEND, charts) + 0.1)
        return round(size[0], 1), round(size[1], 1)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return self._change

    @property
    def alt(self) -> str:
        first, names = self.runs[0], ", ".join(run.method for run in self.runs)
        which = about_seeds(self.runs)
        courses = " ".join(f"{run.method}: {run.course}" for run in self.runs)
        small = self.columns[0].gains is not None
        arrows = "an arrow for the likeliest move" if small else "arrows for the policy"
        change = "the best moves, blue where they are likelier" if small else "every move, blue for likelier ones"
        charts = ", distance to the optimal policy and the likelihood of both answers" if self.likelihoods else (
            " and distance to the optimal policy"
        )  # fmt: skip
        return (
            f"{len(self.runs)} methods side by side on {first.place} ({first.about.replace(' · ', ', ')}): {names}. For "
            f"each a map with {arrows}, blue where it goes, and a map of what changed since the base: {change}, orange for "
            f"less likely; charts of {self.headline}{charts} ({which}). "
            f"{courses}"
        )

    @property
    def likelihoods(self) -> bool:
        """Whether all runs know how likely both answers are; a language model's film of one lake does not."""
        return all(name in run.metrics for run in self.runs for name in LIKELIHOODS)

    # ---- composition ----

    def _compose(self) -> None:
        theme, first = self.theme, self.runs[0]
        width, _ = self.figure.get_size_inches()
        self.add_text(MARGIN, 0.34, "Side by side", size=19, weight="bold", color=theme.ink)
        about = shorten(f"{first.about} · {about_seeds(self.runs)}", width - 2 * MARGIN, 9.5)
        self.add_text(MARGIN, 0.68, about, size=9.5, color=theme.muted)
        self.step_text = self.add_number(width - MARGIN, 0.34, size=15, colour=theme.ink, align="right")
        pitch = self.column_width + GAP
        if self.rows == 1:
            pitch = max(pitch, (width - 2 * MARGIN + GAP) / self.per_row)
        self.columns = [
            _MethodColumn(
                self,
                run,
                MARGIN + pitch * (i % self.per_row),
                HEAD + (self.column_height + 0.2) * (i // self.per_row),
            )
            for i, run in enumerate(self.runs)
        ]
        self._draw_legend(MARGIN, HEAD + self.rows * (self.column_height + 0.2) + 0.02)
        self._compose_charts(width, self.figure.get_size_inches()[1])

    def _compose_charts(self, width: float, height: float) -> None:
        """Charts in a row below, or one over the other at the right, in a picture of that size."""
        headline, chart_height = self.headline, CHART_ROW * len(self.runs)
        charts: list[tuple[Sequence[str], str]] = [((headline,), headline), (("distance",), look_of("distance").title)]
        if self.likelihoods:
            charts.append((LIKELIHOODS, "log-likelihood: ● preferred ○ rejected"))
        charts += [((name,), shorten(look_of(name).title, 1.9, 9.5)) for name in self.custom]
        self.charts = []
        for i, (metrics, title) in enumerate(charts):
            if self.rows == 1:
                chart_width = (width - 2 * MARGIN - 0.75 - (len(charts) - 1) * 0.35) / len(charts)
                left = MARGIN + 0.75 + i * (chart_width + 0.35)
                ax = self.add_axes(left, height - 0.42 - chart_height, chart_width, chart_height)
            else:
                ax = self.add_axes(width - MARGIN - 2.95, HEAD + 0.2 + i * (chart_height + 0.62), 2.95, chart_height)
            self.charts.append(_DotChart(self, ax, metrics, title, labels=i == 0 or self.rows > 1))

    def _draw_legend(self, left: float, top: float) -> None:
        theme = self.theme
        ax = self.add_axes(left, top, 9.0, 0.2)
        ax.set(xlim=(0, 45), ylim=(1, 0), aspect="equal", anchor="W")
        ax.axis("off")
        x = 0.0
        has_rejected = any(len(run.rejected) for run in self.runs)
        for colour, dashed, words in (
            (theme.visited, None, "visits: none to once an episode"),
            (theme.shown, False, "the human's path"),
            *(((theme.rejected, True, "rejected path"),) if has_rejected else ()),
            (theme.more, None, "likelier than in the base"),
            (theme.less, None, "less likely"),
        ):
            if dashed is None:
                ax.add_patch(Rectangle((x + 0.1, 0.15), 0.75, 0.7, fc=colour, lw=0))
            else:
                draw_path_sample(ax, x + 0.1, 0.15, 0.75, colour, dashed=dashed, beads=self.columns[0].beads, width=1.6)
            ax.text(x + 1.2, 0.5, words, size=9, color=theme.ink, va="center")
            x += 2.6 + text_width(words, 9) / 0.2

    # ---- frames ----

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.steps[index]}")
        for column, snapshot in zip(self.columns, self.snapshots[index], strict=True):
            column.update(int(snapshot))
        for chart in self.charts:
            chart.update(self.snapshots[index])


class _MethodColumn:
    """A method's column: name, headline, policy and visits, and what changed since the base."""

    def __init__(self, film: ComparisonFilm, run: Run, left: float, top: float) -> None:
        theme = film.theme
        self.run = run
        reached, seed = run.of_drawn(film.headline), seed_of(run)
        self.notes = [f"{film.headline} {x:.3f}" for x in reached]
        named = [f"{note} · {seed}" for note in self.notes]
        # In a narrow column the seed is left to the head of the picture, unless each run draws its own.
        own = len({other.drawn_seed for other in film.runs}) > 1
        if seed and (own or max(text_width(note, 9.5, bold=True) for note in named) < film.column_width):
            self.notes = named
        title = shorten(short_title(run.title), film.column_width, 12.5, bold=True)
        film.add_text(left + 0.03, top + 0.12, title, size=12.5, weight="bold", color=theme.ink)
        self.number = film.add_number(left + 0.03, top + 0.34, size=9.5, colour=theme.success)
        self._compose_policy(film, film.add_axes(left, top + TITLE, film.map_width, film.map_height))
        top += TITLE
        change_left = left + film.map_width + GAP if film.beside else left
        change_top = top + (0.0 if film.beside else film.map_height + BETWEEN)
        ax = film.add_axes(change_left, change_top, film.map_width, film.map_height)
        self._compose_change(film, ax, left + 0.03, top + film.map_height + 0.5 * BETWEEN)

    def _compose_policy(self, film: ComparisonFilm, ax: Axes) -> None:
        theme, grid, run = film.theme, film.grid, self.run
        draw_lake(ax, grid, theme)
        self.tiles = TileColours(ax, grid, film.walkable, theme.visits, Normalize(0, 1, clip=True))
        film.animate(self.tiles.artist)
        film.animate(*draw_answers(ax, grid, theme, run.demonstration[:, 0], run.rejected[:, 0], width=1.2))
        self.beads = is_fine(ax, grid)
        film.animate(*draw_landmarks(ax, grid, theme), *draw_starts(ax, grid, theme))
        self.arrows = PolicyArrows(ax, grid, film.mdp.moves, film.walkable, theme)
        film.animate(self.arrows.artist)

    def _compose_change(self, film: ComparisonFilm, ax: Axes, left: float, top: float) -> None:
        """The map of changes; its title stands at that place."""
        theme, grid = film.theme, film.grid
        side = "right: " if film.beside else ""
        draw_lake(ax, grid, theme)
        self.changes = self.gains = None
        if is_small(ax, grid):  # too small for arrows: shades of what the best moves gained
            film.add_text(left, top, f"{side}change of the best moves", size=8.5, color=theme.muted)
            self.best = optimal_policy(film.mdp) > 0
            self.gains = TileColours(ax, grid, film.walkable, theme.changes, Normalize(-1, 1))
            film.animate(self.gains.artist, *draw_landmarks(ax, grid, theme))
        else:
            film.add_text(left, top, f"{side}change since the base", size=8.5, color=theme.muted)
            self.changes = ChangeArrows(ax, grid, film.mdp.moves, film.walkable, theme)
            film.animate(*self.changes.artists)

    def update(self, index: int) -> None:
        policy = self.run.snapshots[index]
        self.number.update(self.notes[index])
        self.tiles.update(self.run.visits[index])
        self.arrows.update(policy)
        change = policy - self.run.snapshots[0]
        if self.changes is not None:
            self.changes.update(change)
        if self.gains is not None:
            self.gains.update((change * self.best).sum(-1))


class _DotChart:
    """A row a method: a dot at its mean, a line over the 95 % interval of its seeds. A second metric's dot is hollow."""

    def __init__(self, film: ComparisonFilm, ax: Axes, metrics: Sequence[str], title: str, *, labels: bool) -> None:
        theme, runs = film.theme, film.runs
        self.rows = np.arange(len(runs))
        style_axes(ax, theme)
        ax.set_title(title, size=9.5, color=theme.ink, loc="left", pad=4)
        ax.set_ylim(len(runs) - 0.5, -0.5)
        ax.set_yticks(self.rows, [shorten(run.method, 0.9, 9) for run in runs] if labels else [])
        ax.tick_params(axis="y", length=0, labelsize=9, labelcolor=theme.ink)
        ax.grid(axis="y", color=theme.faint, lw=0.8)
        ax.set_axisbelow(True)
        self.bands = [[np.stack(metric_interval(name, run.metrics[name])) for run in runs] for name in metrics]
        values = np.concatenate([band.ravel() for bands in self.bands for band in bands])
        if metrics == LIKELIHOODS:
            ax.set_xscale("symlog", linthresh=1.0)
            low = float(values.min())
            ax.set_xlim(1.3 * low, 0.15)
            ticks = [t for t in (-100, -30, -10, -3, -1, 0) if t >= 1.3 * low]
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.minorticks_off()
        else:
            ax.set_xlim(-0.02 * values.max(), 1.04 * (look_of(metrics[0]).limit or values.max()))
            ax.xaxis.set_major_locator(MaxNLocator(5))
        self.marks = []
        for i, name in enumerate(metrics):
            colour = getattr(theme, look_of(name).colour)
            interval = LineCollection([], colors=colour, lw=2.2, alpha=0.45)
            ax.add_collection(interval)
            dots = ax.plot([], [], "o", ms=5.5, mfc=theme.background if i else colour, mec=colour, mew=1.6)[0]
            film.animate(interval, dots)
            self.marks.append((interval, dots))

    def update(self, snapshots: Int[np.ndarray, " M"]) -> None:
        for (interval, dots), bands in zip(self.marks, self.bands, strict=True):
            mean, low, high = np.stack([band[:, i] for band, i in zip(bands, snapshots, strict=True)], 1)
            interval.set_segments([[(a, y), (b, y)] for a, b, y in zip(low, high, self.rows, strict=True)])
            dots.set_data(mean, self.rows)
