"""The side-by-side film: several methods on one lake from one base, a column each, at the same update.

Above the policy and where it goes, below what has changed since the base; beside them what became of success, of the distance
to the optimal policy, and of the likelihood of both answers of the preference pair.
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

from ift_gridworld.evaluation.metrics import even_change, mean_interval
from ift_gridworld.planning import optimal_policy
from ift_gridworld.rendering import maps
from ift_gridworld.rendering.film import Film, style, text_width
from ift_gridworld.training.run import Run, check_one_environment

MOST = 5  # methods in a row, if they do not all fit into one
FRAMES = 72
GAP, MARGIN, HEAD = 0.22, 0.3, 0.95  # inches: between columns, at the edges, above
TITLE, BETWEEN, LEGEND, BELOW = 0.5, 0.3, 0.42, 0.25  # above each method; between its two maps; below all; below charts
ROW = 0.215  # of a method in a chart
BOARDS = 10.0  # all columns together, where one row is enough; the picture is then no taller than wide
LIKELIHOODS = ("chosen_logp", "rejected_logp")


class ComparisonFilm(Film):
    """Args:
    runs: the runs to compare, on one lake.
    theme: a name in THEMES.
    """

    def __init__(self, runs: Sequence[Run], theme: str = "light") -> None:
        check_one_environment(runs, drawn=True)
        self.runs, self.mdp = list(runs), runs[0].mdp
        assert self.mdp.grid is not None
        self.grid, self.walkable = self.mdp.grid, maps.walkable(self.mdp)
        self.steps, self.which = self._clock()
        count = len(self.runs)
        self.columns = count if count <= MOST + 1 else ceil(count / ceil(count / MOST))
        self.rows = ceil(count / self.columns)
        tall, wide = self.grid.height, self.grid.width
        charts = 3 * (ROW * count + 0.62)
        # As wide as the columns allow, but no taller than leaves the picture in a screen's shape.
        self.beside = tall > 2 * wide  # a tall lake's two maps stand beside each other
        room, tallest = 1.6, 2.56 if self.beside else 1.6
        if self.rows == 1:
            room = (BOARDS + GAP) / self.columns - GAP
            around = HEAD + TITLE + BETWEEN + LEGEND + charts / 3 + BELOW
            tallest = 4.0 if self.beside else (BOARDS + 2 * MARGIN - around) / 2
        self.map_width = min(room, tallest * wide / tall)
        self.map_height = self.map_width * tall / wide
        self.block = TITLE + (1 if self.beside else 2) * self.map_height + BETWEEN
        self.column = max(2 * self.map_width + GAP, 2.0) if self.beside else max(self.map_width, 1.35)
        grids = self.columns * (self.column + GAP) - GAP
        if self.rows == 1:  # charts side by side below
            size = (max(grids, BOARDS) + 2 * MARGIN, HEAD + self.block + LEGEND + charts / 3 + BELOW)
        else:  # one over the other at the right
            size = (grids + 4.05 + 2 * MARGIN, HEAD + max(self.rows * (self.block + 0.2) + LEGEND, charts) + 0.1)
        super().__init__(theme, (round(size[0], 1), round(size[1], 1)))
        self._compose()

    def _clock(self) -> tuple[Int[np.ndarray, " F"], Int[np.ndarray, "F M"]]:
        """The updates that are shown, and which snapshot of each method that is: its latest until then."""
        steps = np.unique(np.concatenate([run.steps for run in self.runs]))
        which = np.stack([np.searchsorted(run.steps, steps, side="right") - 1 for run in self.runs], 1)
        policies = np.stack([run.snapshots[i] for run, i in zip(self.runs, which.T, strict=True)], 1)
        kept = even_change(steps, policies, FRAMES)
        self._change = np.abs(np.diff(policies[kept], axis=0)).mean((1, 2, 3))
        return steps[kept], which[kept]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return self._change

    @property
    def alt(self) -> str:
        first, names = self.runs[0], ", ".join(run.method for run in self.runs)
        courses = " ".join(f"{run.method}: {run.course}" for run in self.runs)
        small = self.grids[0].gains is not None
        arrows = "an arrow for the likeliest move" if small else "arrows for the policy"
        change = "the best moves, blue where they are likelier" if small else "every move, blue for likelier ones"
        charts = ", distance to the optimal policy and the likelihood of both answers" if self.likelihoods else (
            " and distance to the optimal policy"
        )  # fmt: skip
        return (
            f"{len(self.runs)} methods side by side on {first.place} ({first.about.replace(' · ', ', ')}): {names}. For "
            f"each a map with {arrows}, blue where it goes, and a map of what changed since the base: {change}, orange for "
            f"less likely; charts of {first.headline}{charts}. "
            f"{courses}"
        )

    @property
    def likelihoods(self) -> bool:
        """Whether the runs know of two answers how likely they are; a language model's film of one lake does not."""
        return all(name in run.metrics for run in self.runs for name in LIKELIHOODS)

    # ---- composition ----

    def _compose(self) -> None:
        theme, first = self.theme, self.runs[0]
        width, height = self.figure.get_size_inches()
        self.words(MARGIN, 0.34, "Side by side", size=19, weight="bold", color=theme.ink)
        self.words(MARGIN, 0.68, f"{first.about} · {first.about_seeds}", size=9.5, color=theme.muted)
        self.step_text = self.number(width - MARGIN, 0.34, size=15, colour=theme.ink, align="right")
        self.moves(self.step_text.artist)
        self.grids = []
        pitch = self.column + GAP
        if self.rows == 1:
            pitch = max(pitch, (width - 2 * MARGIN + GAP) / self.columns)
        for i, run in enumerate(self.runs):
            left, top = MARGIN + pitch * (i % self.columns), HEAD + (self.block + 0.2) * (i // self.columns)
            self.grids.append(_MethodColumn(self, run, left, top))
        self._legend(MARGIN, HEAD + self.rows * (self.block + 0.2) + 0.02)
        self.charts = []
        tall = ROW * len(self.runs)
        charts: list[tuple[Sequence[str], str]] = [((first.headline,), first.headline), (("distance",), "distance to optimal")]
        if self.likelihoods:
            charts.append((LIKELIHOODS, "log-likelihood: ● preferred ○ rejected"))
        for i, (names, title) in enumerate(charts):
            if self.rows == 1:
                wide = (width - 2 * MARGIN - 0.75 - (len(charts) - 1) * 0.35) / len(charts)
                ax = self.axes(MARGIN + 0.75 + i * (wide + 0.35), height - 0.42 - tall, wide, tall)
            else:
                ax = self.axes(width - MARGIN - 2.95, HEAD + 0.2 + i * (tall + 0.62), 2.95, tall)
            self.charts.append(_Dots(self, ax, names, title, labels=i == 0 or self.rows > 1))

    def _legend(self, left: float, top: float) -> None:
        theme = self.theme
        ax = self.axes(left, top, 9.0, 0.2)
        ax.set(xlim=(0, 45), ylim=(1, 0), aspect="equal", anchor="W")
        ax.axis("off")
        x = 0.0
        pairs = any(len(run.rejected) for run in self.runs)
        for colour, dashed, words in (
            (theme.visited, None, "visits: none to once an episode"),
            (theme.shown, False, "the human's path"),
            *(((theme.rejected, True, "rejected path"),) if pairs else ()),
            (theme.more, None, "likelier than in the base"),
            (theme.less, None, "less likely"),
        ):
            if dashed is None:
                ax.add_patch(Rectangle((x + 0.1, 0.15), 0.75, 0.7, fc=colour, lw=0))
            else:
                maps.path_sample(ax, x + 0.1, 0.15, 0.75, colour, dashed=dashed, beads=self.grids[0].beads, width=1.6)
            ax.text(x + 1.2, 0.5, words, size=9, color=theme.ink, va="center")
            x += 2.6 + text_width(words, 9) / 0.2

    # ---- frames ----

    def update(self, index: int) -> None:
        self.step_text.update(f"update {self.steps[index]}")
        for grid, i in zip(self.grids, self.which[index], strict=True):
            grid.update(int(i))
        for chart in self.charts:
            chart.update(self.which[index])


class _MethodColumn:
    """A method's column: name, success, policy and visits, and what changed since the base."""

    def __init__(self, film: ComparisonFilm, run: Run, left: float, top: float) -> None:
        theme, grid, mdp = film.theme, film.grid, film.mdp
        self.run = run
        self.headline = run.headline
        self.reached = run.metrics[self.headline].mean(-1)
        short = run.title.partition(" · ")
        name = short[2] if short[0] == "RLHF" else short[0]
        film.words(left + 0.03, top + 0.12, name, size=12.5, weight="bold", color=theme.ink)
        self.number = film.number(left + 0.03, top + 0.34, size=9.5, colour=theme.success)
        film.moves(self.number.artist)
        ax = film.axes(left, top + TITLE, film.map_width, film.map_height)
        maps.draw_lake(ax, grid, theme)
        self.tiles = maps.TileColours(ax, grid, film.walkable, theme.visits, Normalize(0, 1, clip=True))
        film.moves(self.tiles.artist)
        for steps, colour, inset, dashed in (
            (run.rejected, theme.rejected, 0.17, True),
            (run.demonstration, theme.shown, 0.08, False),
        ):
            film.moves(maps.Outlines(ax, grid, steps[:, 0], colour, inset=inset, dashed=dashed, width=1.2).artist)
        self.beads = maps.is_fine(ax, grid)
        film.moves(*maps.landmarks(ax, grid, theme), *maps.starts(ax, grid, theme))
        self.arrows = maps.Arrows(ax, grid, mdp.moves, film.walkable, theme)
        film.moves(self.arrows.artist)
        top += TITLE
        aside = left + film.map_width + GAP if film.beside else left
        below = film.axes(aside, top + (0.0 if film.beside else film.map_height + BETWEEN), film.map_width, film.map_height)
        top += film.map_height + 0.5 * BETWEEN
        which = "right: " if film.beside else ""
        maps.draw_lake(below, grid, theme)
        self.changes = self.gains = None
        if maps.is_small(below, grid):  # too small for arrows: shades of what the best moves gained
            film.words(left + 0.03, top, f"{which}change of the best moves", size=8.5, color=theme.muted)
            self.best = optimal_policy(mdp) > 0
            self.gains = maps.TileColours(below, grid, film.walkable, theme.changes, Normalize(-1, 1))
            film.moves(self.gains.artist, *maps.landmarks(below, grid, theme))
        else:
            film.words(left + 0.03, top, f"{which}change since the base", size=8.5, color=theme.muted)
            self.changes = maps.Changes(below, grid, mdp.moves, film.walkable, theme)
            film.moves(*self.changes.artists)

    def update(self, index: int) -> None:
        policy = self.run.snapshots[index]
        self.number.update(f"{self.headline} {self.reached[index]:.3f}")
        self.tiles.update(self.run.visits[index])
        self.arrows.update(policy)
        change = policy - self.run.snapshots[0]
        if self.changes is not None:
            self.changes.update(change)
        if self.gains is not None:
            self.gains.update((change * self.best).sum(-1))


class _Dots:
    """A row a method: a dot at its value, a line over the 95 % interval of its seeds. A second measure's dot is hollow."""

    def __init__(self, film: ComparisonFilm, ax: Axes, names: Sequence[str], title: str, *, labels: bool) -> None:
        theme, runs = film.theme, film.runs
        self.rows = np.arange(len(runs))
        style(ax, theme)
        ax.set_title(title, size=9.5, color=theme.ink, loc="left", pad=4)
        ax.set_ylim(len(runs) - 0.5, -0.5)
        ax.set_yticks(self.rows, [run.method for run in runs] if labels else [])
        ax.tick_params(axis="y", length=0, labelsize=9, labelcolor=theme.ink)
        ax.grid(axis="y", color=theme.faint, lw=0.8)
        ax.set_axisbelow(True)
        self.bands = [[np.stack(mean_interval(run.metrics[name])) for run in runs] for name in names]
        every = np.concatenate([band.ravel() for bands in self.bands for band in bands])
        if names[0] in LIKELIHOODS:
            ax.set_xscale("symlog", linthresh=1.0)
            low = float(every.min())
            ax.set_xlim(1.3 * low, 0.15)
            ticks = [t for t in (-100, -30, -10, -3, -1, 0) if t >= 1.3 * low]
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.minorticks_off()
        else:
            ax.set_xlim(-0.02 * every.max(), 1.04 * (1.0 if names[0] == "success" else every.max()))
            ax.xaxis.set_major_locator(MaxNLocator(5))
        self.marks = []
        for i, _ in enumerate(names):
            colour = {"success": theme.success, "regret": theme.success, "distance": theme.distance}.get(
                names[0], (theme.shown, theme.rejected)[i]
            )
            spread = LineCollection([], colors=colour, lw=2.2, alpha=0.45)
            ax.add_collection(spread)
            dots = ax.plot([], [], "o", ms=5.5, mfc=theme.background if i else colour, mec=colour, mew=1.6)[0]
            film.moves(spread, dots)
            self.marks.append((spread, dots))

    def update(self, which: Int[np.ndarray, " M"]) -> None:
        for (spread, dots), bands in zip(self.marks, self.bands, strict=True):
            mean, low, high = np.stack([band[:, i] for band, i in zip(bands, which, strict=True)], 1)
            spread.set_segments([[(a, y), (b, y)] for a, b, y in zip(low, high, self.rows, strict=True)])
            dots.set_data(mean, self.rows)
