"""Figures for a paper: small multiples of a run or of several, matrices and curves, at the width of a column or of a page.

Type is 7 to 8 points at that width, so that it stands beside the paper's own text; fonts are embedded.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Unpack

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ift_gridworld.escape import latex_text
from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, state_matrix
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.charts import look_of, style_axes, update_axis
from ift_gridworld.rendering.film import file_metadata, write_words
from ift_gridworld.rendering.fonts import use_fonts
from ift_gridworld.rendering.formats import STILLS, check_format
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.matrix import PolicyMatrix
from ift_gridworld.rendering.paths import draw_answers
from ift_gridworld.rendering.tables import result_metrics
from ift_gridworld.rendering.text import TextStyle, short_title, shorten, text_width
from ift_gridworld.rendering.theme import find_theme
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import about_seeds, drawn_together, seed_of, shared_headline

__all__ = ["WIDTHS", "PaperFigure", "latex_table", "number_of_maps", "save_figure"]

WIDTHS = {"column": 3.3, "page": 6.9}  # inches
STAGES = {"column": 3, "page": 5}  # maps in a row
DPI = 200  # of print, at which small tiles must be told apart
SMALL, TEXT = 7.0, 8.0  # points
GAP, MARGIN, LABEL, NAME, MATRIX, CURVE = 0.08, 0.04, 0.16, 0.15, 0.52, 0.92  # inches
DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (8, 2)))
KEY_ENTRY, KEY_LINE, LONG_NAME = 0.8, 0.13, 0.6  # inches: of the key to the curves; a name that needs a wider entry
READABLE_TILE = 0.1  # inches: a tile of a small map, at least
MAX_HEIGHT = 9.0  # inches: of a page; maps are drawn smaller to stay within
LEAST_TILE = 0.2  # inches: no tile gets smaller than this for the sake of the page, unless the map is a tall one
MAX_SQUARE = 70  # tiles up to which the matrix of states by states is drawn


@isolated
def save_figure(runs: Sequence[Run], path: str | Path, width: str = "column", theme: str = "light") -> Path:
    """Draw the figure and write it as the path's suffix says (png, pdf, svg), with what it shows in words as NAME.txt.

    A row of maps a run: the policy and its visits at stages between which equally much changes, from the base to the end.
    Below, for one run, the matrices T_θ(a|s) and, on small lakes, T_θ(s'|s), each beside the optimal one; and for all runs
    success (or regret) and distance over the updates, mean and 95 % interval over seeds. Maps and matrices are of the seed that
    is drawn, which is named.

    Args:
        runs: the runs, on one lake with a map.
        path: where to write.
        width: "column" (3.3 inches) or "page" (6.9 inches).
        theme: a name in THEMES.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, width or theme, if the runs are not of one lake, it has no map, or too wide a one.
        OSError: if the file cannot be written.

    Example (writes two files)::

        save_figure([Run.load("ift.json")], "ift.pdf", width="page")
    """
    path = Path(path)
    kind = path.suffix.lstrip(".")
    check_format(kind)
    if kind not in STILLS:
        raise ValueError(f"format is {kind!r}; a figure for a paper can be: {', '.join(STILLS)}")
    check_one_environment(runs, drawn=True)
    number_of_maps(runs[0].mdp, width)
    figure = PaperFigure(runs, width, theme)
    out = io.BytesIO()
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns that embedded fonts have no date
    figure.figure.savefig(out, format=kind, dpi=600, facecolor=figure.theme.background, metadata=file_metadata(kind))
    write_words(path, figure.alt)
    return write_atomically(path, out.getvalue())


def number_of_maps(mdp: TabularMDP, width: str) -> int:
    """Return how many maps stand in a row; fewer where each is made of small maps, which must be readable.

    Args:
        mdp: the lake.
        width: "column" or "page".

    Raises:
        ValueError: for another width, or if there is no room for two maps.

    Example:
        >>> number_of_maps(TabularMDP.from_map(["SF", "FG"]), "page")
        5
    """
    if width not in WIDTHS:
        raise ValueError(f"figure is {width!r}; allowed: {', '.join(WIDTHS)}")
    if mdp.custom_grid is None:
        return STAGES[width]
    count = min(STAGES[width], int(WIDTHS[width] / (READABLE_TILE * mdp.custom_grid.width)))
    if count < 2:
        raise ValueError(f"figure is {width!r}, which is too narrow for {mdp.custom_grid.width} tiles twice; allowed: page")
    return count


class PaperFigure:
    """The figure that `save_figure` writes.

    Args:
        runs, width, theme: as for `save_figure`.

    Attributes:
        figure: what is drawn.
    """

    @isolated
    def __init__(self, runs: Sequence[Run], width: str, theme: str) -> None:
        self.runs, self.theme, self.mdp = drawn_together(runs), find_theme(theme), runs[0].mdp
        self.grid, self.walkable = grid_of(self.mdp), walkable(self.mdp)
        self.maps_per_row = number_of_maps(self.mdp, width)
        inches = WIDTHS[width]
        self.gap = 4 * GAP if self.grid.headings else GAP  # what is made of small maps must not run together
        self.map_width = (inches - 2 * MARGIN - (self.maps_per_row - 1) * self.gap) / self.maps_per_row
        single = len(runs) == 1
        self.lift = 0.03 + 0.1 * bool(self.grid.headings)  # of what stands above a map
        self.head = LABEL + self.lift - 0.03 + (0 if single else NAME)  # above each row of maps
        self.names = [shorten(run.method, 1.1, SMALL) for run in runs]
        longest = min(1.1, max(text_width(run.method, SMALL) for run in runs))
        entry = KEY_ENTRY if longest < LONG_NAME else longest + 0.45
        self.entries_per_line = int((inches - 2 * MARGIN) / entry)
        key = 0.04 + KEY_LINE * ceil(len(runs) / self.entries_per_line)
        below = (MATRIX + 0.26) * single + CURVE + 0.52 + key * (not single)
        room = (MAX_HEIGHT - below) / len(runs) - self.head - GAP
        full_height = self.map_width * self.grid.height / self.grid.width
        self.map_height = min(full_height, max(room, min(LEAST_TILE * self.grid.height, MAX_HEIGHT / 3)))
        rows = len(runs) * (self.head + self.map_height + GAP)
        self.figure = Figure(figsize=(inches, rows + below), dpi=DPI, facecolor=self.theme.background)
        FigureCanvasAgg(self.figure)
        top = self._draw_maps()
        if single:
            top = self._draw_matrices(top + 0.18)
        self._draw_curves(top + 0.24)
        use_fonts(self.figure)

    @property
    def alt(self) -> str:
        """What the figure shows, in words."""
        courses = " ".join(f"{run.method}: {run.course}" for run in self.runs)
        rejected = ", dashed what was rejected" if any(len(run.rejected) for run in self.runs) else ""
        return (
            f"Small multiples on {self.runs[0].place} ({self.runs[0].about.replace(' · ', ', ')}): maps of the policy at "
            f"{self.maps_per_row} stages from the base to the end, and curves over the updates. Arrows are the policy, blue is "
            f"how often an episode is on a tile, green what the human showed or preferred{rejected} "
            f"({about_seeds(self.runs)}). {courses}"
        )

    def _add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at a place in inches from the upper left corner."""
        w, h = self.figure.get_size_inches()
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    def _add_text(self, left: float, top: float, text: str, **style: Unpack[TextStyle]) -> None:
        w, h = self.figure.get_size_inches()
        style.setdefault("size", TEXT)
        self.figure.text(left / w, 1 - top / h, text, color=self.theme.ink, **style)

    def _stages(self, run: Run) -> Int[np.ndarray, " K"]:
        """The base, the end, and snapshots between, with equally much change from each to the next."""
        moved = np.abs(np.diff(run.snapshots[:, self.walkable], axis=0)).mean((1, 2)).cumsum()
        distance = np.concatenate([[0.0], moved]) / max(moved[-1], 1e-12)
        return np.array([int(np.abs(distance - share).argmin()) for share in np.linspace(0, 1, self.maps_per_row)])

    def _draw_maps(self) -> float:
        """A row of maps a run; returns where it ends, in inches from the top, as the other parts do."""
        top = 0.0
        for run in self.runs:
            if len(self.runs) > 1:
                title = shorten(short_title(run.title), 3.0, TEXT, bold=True)
                self._add_text(MARGIN + 0.02, top + 0.13, title, weight="bold")
            top += self.head
            for i, index in enumerate(self._stages(run)):
                left = MARGIN + i * (self.map_width + self.gap)
                name = f"update {run.steps[index]}"
                if i == 0 and seed_of(run):
                    name = shorten(f"{name} · {seed_of(run)}", self.map_width, SMALL)
                self._add_text(left + 0.02, top - self.lift - 0.005, name, size=SMALL)
                self._draw_map(self._add_axes(left, top, self.map_width, self.map_height), run, index)
            top += self.map_height + GAP
        return top

    def _draw_map(self, ax: Axes, run: Run, index: int) -> None:
        theme, grid = self.theme, self.grid
        draw_lake(ax, grid, theme)
        TileColours(ax, grid, self.walkable, theme.visits, Normalize(0, 1, clip=True)).update(run.visits[index])
        draw_answers(ax, grid, theme, run.demonstration[:, 0], run.rejected[:, 0], insets=(0.08, 0.16), width=0.9)
        draw_landmarks(ax, grid, theme)
        draw_starts(ax, grid, theme)
        PolicyArrows(ax, grid, self.mdp.moves, self.walkable, theme).update(run.snapshots[index])

    def _draw_matrices(self, top: float) -> float:
        """T_θ(a|s) over T*(a|s) at the end, and the matrices of states by states side by side."""
        policy, best = self.runs[0].snapshots[-1], optimal_policy(self.mdp)
        inches = float(self.figure.get_size_inches()[0])
        has_square = int(self.walkable.sum()) <= MAX_SQUARE
        width = inches - MARGIN - 0.24 - (2 * MATRIX + 0.55) * has_square
        self._add_text(0.28, top - 0.03, "T(a|s), tiles by moves", size=SMALL)
        ax = self._add_axes(0.28, top, width - 0.1, MATRIX)
        PolicyMatrix(ax, self.walkable, best, self.theme, SMALL).update(policy)
        if has_square:
            for i, (name, matrix) in enumerate(((r"$T_\theta(s'|s)$", policy), (r"$T^*(s'|s)$", best))):
                left = 0.28 + width + 0.12 + i * (MATRIX + 0.2)
                self._add_text(left, top - 0.03, name, size=SMALL)
                ax = self._add_axes(left, top, MATRIX, MATRIX)
                square = state_matrix(self.mdp, matrix)[self.walkable]
                ax.imshow(square, cmap=self.theme.probabilities, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
                ax.axis("off")
        return top + MATRIX + 0.08

    def _draw_curves(self, top: float) -> None:
        inches = float(self.figure.get_size_inches()[0])
        width = (inches - 2 * MARGIN - 0.42 - 0.42) / 2  # the last tick's number is wider than its tick
        headline = shared_headline(self.runs)
        for i, (name, title) in enumerate(((headline, headline), ("distance", look_of("distance").title))):
            self._draw_curve(self._add_axes(MARGIN + 0.3 + i * (width + 0.42), top, width, CURVE), name, title)
            if len(self.runs) > 1 and i == 0:
                self._draw_key()

    def _draw_curve(self, ax: Axes, name: str, title: str) -> None:
        theme, runs = self.theme, self.runs
        style_axes(ax, theme)
        ax.tick_params(labelsize=SMALL, length=2, pad=1.5)
        ax.set_title(title, size=TEXT, color=theme.ink, loc="left", pad=2)
        update_axis(ax, max(int(run.steps[-1]) for run in runs), apart=0.16)
        ax.set_xlabel("update", size=SMALL, color=theme.muted, labelpad=1)
        colours = [theme.success, theme.distance, theme.shown, theme.predicted, theme.muted]
        for k, run in enumerate(runs):
            mean, low, high = metric_interval(name, run.metrics[name])
            colour, dash = colours[k % len(colours)], DASHES[(k + k // len(colours)) % len(DASHES)]
            ax.fill_between(run.steps, low, high, color=colour, alpha=0.18, lw=0)
            ax.plot(run.steps, mean, color=colour, lw=1.1, ls=dash, label=self.names[k])
        limit, largest = look_of(name).limit, max(float(run.metrics[name].max()) for run in runs)
        ax.set_ylim(*((-0.03 * limit, 1.05 * limit) if limit is not None else (0, 1.12 * max(largest, 1e-6))))
        ax.yaxis.set_major_locator(MaxNLocator(3))

    def _draw_key(self) -> None:
        """The methods' names with their colours, below the curves."""
        self.figure.legend(
            fontsize=SMALL,
            frameon=False,
            labelcolor=self.theme.ink,
            handlelength=2.2,
            labelspacing=0.2,
            columnspacing=1.0,
            borderpad=0.4,
            borderaxespad=0,
            loc="lower center",
            ncols=min(self.entries_per_line, len(self.runs)),
        )


def latex_table(runs: Sequence[Run]) -> str:
    """Return the results as a LaTeX table (package booktabs): mean over seeds and 95 % interval, one row a method.

    Args:
        runs: the runs, from one base on one lake.

    Example::

        print(latex_table([Run.load("sft.json"), Run.load("ift.json")]))
    """
    first = runs[0]
    horizon = "" if first.environment.horizon is None else f" within {first.environment.horizon} steps"
    names = result_metrics(runs)
    headings = {"success": f"success{horizon}", "distance": "distance to optimal"}
    lines = [
        f"% {first.about}; " + (f"mean of {first.seeds} seeds [95 % interval]" if first.seeds > 1 else "1 seed"),
        rf"\begin{{tabular}}{{l{'r' * len(names)}}}",
        r"\toprule",
        " & ".join(["method", *(headings.get(name, name) for name in names)]) + r" \\",
        r"\midrule",
        *(_row(name, run, index, names) for name, run, index in (("base", first, 0), *((r.method, r, -1) for r in runs))),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, run: Run, index: int, names: Sequence[str]) -> str:
    cells = [latex_text(name)]
    for measure in names:
        mean, low, high = metric_interval(measure, run.metrics[measure][index])
        interval = rf" {{\small [{low:.3f}, {high:.3f}]}}" if run.seeds > 1 else ""
        cells.append(f"${mean:.3f}${interval}")
    return " & ".join(cells) + r" \\"
