"""The side-by-side film: several methods on one lake from one base, a column each, at the same update.

Above stands what happened, in a sentence that is computed. Each column shows the policy and where it goes, and what has changed
since the base. Charts tell the same of all seeds: means and intervals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch, Rectangle

from ift_gridworld.evaluation.metrics import RANGES
from ift_gridworld.rendering.arrange import BESIDE, GAP, MARGIN, Arrangement, arrange
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.change import CHANGE_UNIT, PolicyChange, draw_change_key, draw_change_sample
from ift_gridworld.rendering.charts import about_intervals, look_of
from ift_gridworld.rendering.dot_chart import CHART_ROW, DotChart, DotContent, DotValues
from ift_gridworld.rendering.film import DPI
from ift_gridworld.rendering.film_bases import RunsFilm
from ift_gridworld.rendering.legend import Legend, draw_arrow_sample
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.method_style import MethodStyle, styles_of_runs
from ift_gridworld.rendering.numbers import percent, plain_number, power_of_ten, small_probability
from ift_gridworld.rendering.outcomes import LIKELIHOODS, Outcomes
from ift_gridworld.rendering.paths import draw_answers, draw_path_sample
from ift_gridworld.rendering.scale import SMALL_TILE, is_fine_tile
from ift_gridworld.rendering.shapes import closed_path, empty_path, rectangle
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates
from ift_gridworld.rendering.text import NumberSheet, fill_lines, short_title, shorten, text_width
from ift_gridworld.rendering.theme import find_theme
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.rendering.visit_scale import VISITS_UNIT, VisitScale
from ift_gridworld.training.run import Run, check_one_environment, shared_custom_metrics
from ift_gridworld.training.together import drawn_together, shared_headline

__all__ = ["ComparisonFilm"]

MAX_FRAMES = 72
TITLE_SIZE, TITLE_LINE, LINE = 14.5, 0.27, 0.2  # points and inches: of the sentence above all, and of lines of smaller type
NAME, BAR, CAPTION, CHART_EXTRA, FOOT, BETWEEN = 0.34, 0.19, 0.22, 0.62, 0.3, 0.1  # inches
# Width of a picture and the most height that it may have, in inches, by the size that is asked for and whether methods are
# many.
MANY = 6
BOXES = {
    (None, False): (9.6, 9.9), (None, True): (12.4, 12.6),
    ("slide", False): (12.8, 7.2), ("slide", True): (16.0, 9.0),
    ("square", False): (9.6, 9.6), ("square", True): (12.0, 12.0),
    ("column", False): (4.8, 15.0), ("column", True): (5.4, 18.0),
}  # fmt: skip


class ComparisonFilm(RunsFilm):
    """The film of several runs on one lake.

    Args:
        runs: the runs to compare, on one lake with a map.
        theme: a name in THEMES.
        size: the shape to lay it out for, a name in `formats.PICTURE_SIZES`; None for one that fits the number of runs.

    Raises:
        ValueError: if the runs are not of one lake, it has no map, or for an unknown theme.

    Example (writes two files)::

        ComparisonFilm([Run.load("sft.json"), Run.load("ift.json")]).save("sft-ift.gif")
    """

    def __init__(self, runs: Sequence[Run], theme: str = "light", size: str | None = None) -> None:
        check_one_environment(runs, drawn=True)
        self.runs, self.mdp = drawn_together(runs), runs[0].mdp
        self.grid, self.walkable, self.theme = grid_of(self.mdp), walkable(self.mdp), find_theme(theme)
        self.custom = shared_custom_metrics(self.runs)[:1]  # there is room for one chart more
        self.outcomes, self.headline = Outcomes(self.runs), shared_headline(runs)
        self.styles = styles_of_runs([run.method for run in self.runs])
        self.steps = shared_updates(self.runs, MAX_FRAMES)
        self.snapshots = latest_snapshots(self.runs, self.steps)
        self.visits = VisitScale.of([run.visits[:, self.walkable] for run in self.runs])
        self.places = self._arrange(size)
        self.is_fine = is_fine_tile(self.places.map_width / self.grid.width, DPI)
        super().__init__(theme, (self.places.width, self.places.height))
        self._compose()

    def reshaped(self, size: str) -> ComparisonFilm:
        return ComparisonFilm(self.runs, self.theme_name, size)

    def _arrange(self, size: str | None) -> Arrangement:
        box = BOXES[size, len(self.runs) > MANY]
        if self.grid.headings and size is None:  # several maps in one need more room
            box = (max(box[0], 11.0), 13.0)
        self.title = _lines(self.outcomes.sentences, box[0] - 2 * MARGIN)
        about = " · ".join([self.runs[0].about, *self.outcomes.lengths, *self._seeds])
        update = text_width(f"update {self.steps[-1]}", 13, bold=True) + 0.3
        room = box[0] - 2 * MARGIN - update
        self.about = fill_lines(about.split(), room, 10)
        self.note = fill_lines(self._note.split(), box[0] - 2 * MARGIN, 9)
        self.head = 0.22 + TITLE_LINE * len(self.title) + 0.3 + LINE * len(self.about)
        self.number_of_charts = len(self._chart_contents())
        self.legend = self._legend(box[0] - 2 * MARGIN, "probability of a move")  # the longest of `arrows_in_words`
        self.title_height = NAME + BAR * (2 if self.outcomes.tells_paths else 1) + 0.06
        return arrange(
            len(self.runs),
            (self.grid.width, self.grid.height),
            box,
            head=self.head,
            title=self.title_height + BETWEEN,
            caption=CAPTION,
            keys=self.legend.height + 0.22 + FOOT + LINE * (len(self.note) - 1),
            charts=self.number_of_charts,
            chart_height=CHART_ROW * len(self.runs) + CHART_EXTRA,
            fixed=size in ("slide", "square"),
        )

    @property
    def alt(self) -> str:
        first, names = self.runs[0], ", ".join(run.method for run in self.runs)
        courses = " ".join(f"{run.method}: {run.course}" for run in self.runs)
        arrows = "an arrow for the likeliest move" if self.columns[0].arrows.small else "arrows for the policy"
        charts = ", ".join(content.title for content in self._chart_contents())
        seeds = self._seeds[0].capitalize() if self._seeds else "One seed"
        return (
            f"{len(self.runs)} methods side by side on {first.place} ({first.about.replace(' · ', ', ')}): {names}. "
            f"{self.outcomes.sentences} {seeds}. For each a map with {arrows}, blue where it goes ({VISITS_UNIT}), and a map "
            f"of what changed since the base: the darker a tile, the larger the {CHANGE_UNIT}, and an arrow from the moves "
            f"that lost it to those that won it; charts of {charts}. {courses}"
        )

    @property
    def arrows_in_words(self) -> str:
        """Words on what the arrows of the policy show."""
        tile = self.places.map_width / self.grid.width
        if self.is_fine:
            return "mean move of a block"
        return "likeliest move" if tile < SMALL_TILE else "probability of a move"

    @property
    def _seeds(self) -> list[str]:
        """Words that name the seed of maps and title, where there are several."""
        if max(run.seeds for run in self.runs) == 1:
            return []
        if len({run.drawn_seed for run in self.runs}) == 1:
            return [f"maps and title: seed {self.runs[0].drawn_seed}"]
        names = zip(self.outcomes.names, self.runs, strict=True)
        return [f"maps and title: seed {', '.join(f'{run.drawn_seed} of {name}' for name, run in names)}"]

    # ---- composition ----

    def _compose(self) -> None:
        theme, places = self.theme, self.places
        for i, line in enumerate(self.title):
            top = 0.3 + TITLE_LINE * i
            self.add_text(MARGIN, top, line, size=TITLE_SIZE, weight="bold", color=theme.ink)
        middle = self.head - 0.08 - LINE * len(self.about)
        self.sheet, self.bars = NumberSheet(self.figure, theme.ink), _Bars(self)
        self.step_text = self.sheet.place(places.width - MARGIN, places.height - middle, size=13, align="right")
        for i, line in enumerate(self.about):
            self.add_text(MARGIN, middle + LINE * i, line, size=10, color=theme.muted)
        inner = places.width - 2 * MARGIN - (4.05 if places.charts_right else 0.0)
        pitch = (inner + GAP) / places.per_row
        self.columns = [
            _MethodColumn(
                self,
                i,
                MARGIN + pitch * (i % places.per_row),
                self.head + places.row_height * (i // places.per_row),
            )
            for i in range(len(self.runs))
        ]
        below = self.head + places.rows * places.row_height + 0.12
        self._legend(places.width - 2 * MARGIN, self.arrows_in_words).draw(self, MARGIN, below)
        self._compose_charts(below + self.legend.height + 0.1)
        self.animate(*self.bars.artists, self.sheet.artist)

    def _chart_contents(self) -> list[DotContent]:
        runs, drawn = self.runs, [run.drawn for run in self.runs]

        def values(name: str) -> DotValues:
            return DotValues([run.metrics[name] for run in runs], drawn, RANGES.get(name, (-np.inf, np.inf)))

        def logs(name: str) -> DotValues:
            return DotValues([run.metrics[name] / np.log(10) for run in runs], drawn, (-np.inf, 0.0))

        charts = []
        if self.outcomes.tells_paths:
            chosen = DotValues([np.exp(run.metrics[LIKELIHOODS[0]]) for run in runs], drawn, (0.0, 1.0))
            charts.append(DotContent("P(demonstrated path)", (chosen,), percent, 1.0))
            charts.append(DotContent("P(rejected path), log scale", (logs(LIKELIHOODS[1]),), _from_log, is_log=True))
        limit = look_of(self.headline).limit
        write = plain_number if limit is None else percent
        charts.append(DotContent(self.headline, (values(self.headline),), write, limit))
        charts.append(DotContent(look_of("distance").title, (values("distance"),), "{:.3f}".format))
        if not self.outcomes.tells_paths and all(name in run.metrics for run in runs for name in LIKELIHOODS):
            both = tuple(logs(name) for name in LIKELIHOODS)
            charts.append(DotContent("likelihood, ● chosen ○ rejected", both, is_log=True))
        return charts + [DotContent(look_of(name).title, (values(name),), plain_number) for name in self.custom]

    def _compose_charts(self, top: float) -> None:
        """Charts in rows below, or one over the other at the right."""
        places, count = self.places, len(self.runs)
        high, names, self.charts = CHART_ROW * count, 0.8, []
        for i, content in enumerate(self._chart_contents()):
            row, column = divmod(i, places.charts_per_row)
            labels = self.outcomes.names if places.charts_right or column == 0 else []
            if places.charts_right:
                box = (places.width - MARGIN - 2.95, self.head + 0.26 + i * (high + CHART_EXTRA), 2.95, high)
            else:
                width = (places.width - 2 * MARGIN - names + 0.3) / places.charts_per_row - 0.3
                left = MARGIN + names + column * (width + 0.3)
                box = (left, top + 0.26 + row * (high + CHART_EXTRA), width, high)
            self.charts.append(DotChart(self, self.sheet, box, content, self.styles, labels))
        for i, line in enumerate(reversed(self.note)):
            self.add_text(MARGIN, places.height - 0.16 - LINE * i, line, size=9, color=self.theme.muted)

    @property
    def _note(self) -> str:
        """Words on what the charts show."""
        seeds = self.runs[0].seeds
        return f"charts: {about_intervals(seeds)}" + (", upright line: the seed that is drawn" if seeds > 1 else "")

    def _legend(self, width: float, arrows: str) -> Legend:
        theme = self.theme

        def path(colour: str, dashed: bool) -> Callable[[Axes], None]:
            return lambda ax: draw_path_sample(ax, 0.35, 0.05, 0.9, colour, dashed=dashed, beads=self.is_fine, width=1.8)

        bar = ", its probability" if self.outcomes.tells_paths else ""
        samples: list[tuple[Callable[[Axes], None], str]] = [(path(theme.shown, False), f"demonstrated path{bar}")]
        if self.outcomes.tells_paths or any(len(run.rejected) for run in self.runs):
            samples.append((path(theme.rejected, True), f"rejected path{bar}"))
        samples.append((lambda ax: draw_arrow_sample(ax, theme, -0.1, 0.5, 2.8), arrows))
        samples.append((lambda ax: draw_change_sample(ax, theme), "where probability went"))
        return Legend([(self.visits.draw_key, VISITS_UNIT), (draw_change_key, CHANGE_UNIT)], samples, width)

    # ---- frames ----

    def update(self, index: int) -> None:
        self.sheet.write(self.step_text, f"update {self.steps[index]}")
        for column, snapshot in zip(self.columns, self.snapshots[index], strict=True):
            column.update(int(snapshot))
        for chart in self.charts:
            chart.update(self.snapshots[index])
        self.bars.refresh()
        self.sheet.refresh()


class _MethodColumn:
    """A method's column: name and numbers, policy and visits, and what changed since the base."""

    def __init__(self, film: ComparisonFilm, index: int, left: float, top: float) -> None:
        self.film, self.run, self.shown = film, film.runs[index], -1
        self._compose_head(left, top, film.styles[index])
        places, below = film.places, top + film.title_height + CAPTION
        self._compose_policy(film.add_axes(left, below, places.map_width, places.map_height))
        self._add_caption(left, below, "policy and visits", "policy")
        right, down = (places.map_width + BESIDE, 0.0) if places.beside else (0.0, places.map_height + CAPTION)
        self._compose_change(film.add_axes(left + right, below + down, places.map_width, places.map_height))
        self._add_caption(left + right, below + down, "change since the base", "change")

    def _add_caption(self, left: float, bottom: float, words: str, short: str) -> None:
        """Add the line above a map, in fewer words where the map is narrow."""
        fits = text_width(words, 9) < self.film.places.map_width
        self.film.add_text(left + 0.02, bottom - 0.1, words if fits else short, size=9, color=self.film.theme.muted)

    def _compose_head(self, left: float, top: float, style: MethodStyle) -> None:
        """The method's name beside its mark, and below the probability of either path, or success."""
        film, run, theme = self.film, self.run, self.film.theme
        width = film.places.column
        film.overlay.plot([left + 0.1], [top + 0.14], style.marker, ms=8, color=style.colour(theme), mew=0)
        title = shorten(short_title(run.title), width - 0.24, 13, bold=True)
        film.add_text(left + 0.24, top + 0.14, title, size=13, weight="bold", color=theme.ink)
        # What is written, and where: numbers of the two paths beside their bars, or the headline.
        self.notes: list[tuple[int, list[str]]] = []
        self.lengths: list[tuple[int, Float[np.ndarray, " M"]]] = []
        upwards = film.places.height - top - NAME
        if film.outcomes.tells_paths:
            for i, (name, colour) in enumerate(zip(LIKELIHOODS, (theme.shown, theme.rejected), strict=True)):
                probability, write = np.exp(run.of_drawn(name)), small_probability if i else percent
                self.lengths.append((film.bars.place(left, top + NAME + BAR * i, width, colour, dashed=i > 0), probability))
                place = film.sheet.place(left + width, upwards - BAR * i - 0.095, size=9.5, align="right")
                self.notes.append((place, [write(float(p)) for p in probability]))
            return
        write_end: Callable[[float], str] = plain_number if look_of(film.headline).limit is None else percent
        place = film.sheet.place(left + 0.02, upwards - 0.08, size=10.5)
        self.notes.append((place, [f"{film.headline} {write_end(value)}" for value in run.of_drawn(film.headline)]))

    def _compose_policy(self, ax: Axes) -> None:
        film, theme, grid = self.film, self.film.theme, self.film.grid
        draw_lake(ax, grid, theme)
        self.tiles = TileColours(ax, grid, film.walkable, theme.visits, film.visits.norm)
        film.animate(self.tiles.artist)
        rejected = film.outcomes.rejected if film.outcomes.tells_paths else self.run.rejected
        film.animate(*draw_answers(ax, grid, theme, self.run.demonstration[:, 0], rejected[:, 0], width=1.4))
        halo = to_hex(theme.visits(film.visits.norm(1.0)))
        film.animate(*draw_landmarks(ax, grid, theme), *draw_starts(ax, grid, theme, halo=halo))
        self.arrows = PolicyArrows(ax, grid, film.mdp.moves, film.walkable, theme)
        film.animate(self.arrows.artist)

    def _compose_change(self, ax: Axes) -> None:
        film, theme, grid = self.film, self.film.theme, self.film.grid
        draw_lake(ax, grid, theme)
        self.changes = PolicyChange(ax, grid, film.mdp.moves, film.walkable, theme)
        film.animate(self.changes.artists[0])
        film.animate(*draw_landmarks(ax, grid, theme), *draw_starts(ax, grid, theme, halo=theme.ice))
        film.animate(self.changes.artists[1])

    def update(self, index: int) -> None:
        if index == self.shown:  # of methods that are trained for fewer updates, or in larger steps
            return
        self.shown, policy = index, self.run.snapshots[index]
        for bar, lengths in self.lengths:
            self.film.bars.lengths[bar] = lengths[index]
        for place, words in self.notes:
            self.film.sheet.write(place, words[index])
        self.tiles.update(self.run.visits[index])
        self.arrows.update(policy)
        self.changes.update(policy - self.run.snapshots[0])


class _Bars:
    """Probabilities of paths as bars, each between the mark that its path has on the map and its number; a path a colour.

    Args:
        film: what they are part of.

    Attributes:
        lengths: of each bar, from 0 to 1; `refresh` shows them.
    """

    NUMBER, MARK, HIGH = 0.58, 0.24, 0.1  # inches

    def __init__(self, film: ComparisonFilm) -> None:
        self.film, self.lengths = film, list[float]()
        self.places: list[tuple[float, float, float, str]] = []  # left, bottom, width, colour
        transform = film.figure.dpi_scale_trans
        self.patches = {
            colour: PathPatch(empty_path(), fc=colour, lw=0, transform=transform)
            for colour in (film.theme.shown, film.theme.rejected)
        }
        for patch in self.patches.values():
            film.figure.add_artist(patch)

    @property
    def artists(self) -> tuple[PathPatch, ...]:
        return tuple(self.patches.values())

    def place(self, left: float, top: float, width: float, colour: str, *, dashed: bool) -> int:
        """Add a bar with its mark and its ground; returns its number."""
        film = self.film
        ax, length = film.overlay, width - self.MARK - self.NUMBER
        draw_path_sample(ax, left + 0.03, top + 0.03, 0.13, colour, dashed=dashed, beads=film.is_fine, width=1.4)
        ax.add_patch(Rectangle((left + self.MARK, top + 0.045), length, self.HIGH, fc=film.theme.faint, lw=0))
        self.places.append((left + self.MARK, film.places.height - top - 0.045 - self.HIGH, length, colour))
        self.lengths.append(0.0)
        return len(self.lengths) - 1

    def refresh(self) -> None:
        """Show the bars at their lengths."""
        for colour, patch in self.patches.items():
            bars = [
                rectangle(left, bottom, width * length, self.HIGH)
                for (left, bottom, width, own), length in zip(self.places, self.lengths, strict=True)
                if own == colour
            ]
            patch.set_path(closed_path(np.array(bars).reshape(-1, 4, 2)))


def _lines(sentences: str, width: float) -> list[str]:
    """Break the title into lines of about one length, no percent sign apart from its number."""
    words = re.split(r" (?!%)", sentences)
    count = len(fill_lines(words, width, TITLE_SIZE, bold=True))
    tries = (fill_lines(words, share * width, TITLE_SIZE, bold=True) for share in np.linspace(0.5, 1, 26))
    return next(lines for lines in tries if len(lines) <= count)


def _from_log(exponent: float) -> str:
    """Return how the probability 10 ** exponent is written."""
    return small_probability(10.0**exponent) if exponent > -2 else power_of_ten(exponent)
