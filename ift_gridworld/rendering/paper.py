"""Figures for a paper: small multiples of a run or of several, matrices and curves, at the width of a column or of a page.

Type is 7 to 8 points at that width, so that it stands beside the paper's own text; fonts are embedded.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ift_gridworld.evaluation.metrics import mean_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, state_matrix
from ift_gridworld.rendering import STILLS, check_format, maps
from ift_gridworld.rendering.film import dateless, style, update_ticks
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.run import Run, check_one_environment

WIDTHS = {"column": 3.3, "page": 6.9}  # inches
STAGES = {"column": 3, "page": 5}  # maps in a row
DPI = 200  # at which small tiles must be told apart, of print
SMALL, TEXT = 7.0, 8.0  # points
GAP, MARGIN, LABEL, NAME, MATRIX, CURVE = 0.08, 0.04, 0.16, 0.15, 0.52, 0.92  # inches
DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (8, 2)))
ENTRY, LINE = 0.8, 0.13  # inches: of the key to the curves
READABLE = 0.1  # inches: a tile of a small map, at least
# Inches: of a page; maps are drawn smaller to stay within, but no tile smaller than this, if the map is no tall one.
TALLEST, LEAST = 9.0, 0.2
LARGEST = 70  # tiles up to which the matrix of states by states is drawn


def save_figure(runs: Sequence[Run], path: str | Path, width: str = "column", theme: str = "light") -> Path:
    """Draw the figure and write it as the path's suffix says (png, pdf, svg), with what it shows in words as NAME.txt.

    A row of maps a run: the policy and its visits at stages between which equally much changes, from the base to the end.
    Below, for one run, the matrices T_theta(a|s) and, on small lakes, T_theta(s'|s), each beside the optimal one; and for all
    runs success and distance over the updates, mean and 95 % interval over seeds.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".")
    check_format(kind)
    if kind not in STILLS:
        raise ValueError(f"format is {kind!r}; a figure for a paper can be: {', '.join(STILLS)}")
    check_one_environment(runs, drawn=True)
    stages(runs[0].mdp, width)
    with rc_context({"svg.hashsalt": "ift_gridworld", "pdf.fonttype": 42, "svg.fonttype": "path"}):
        figure = _Paper(runs, width, theme)
        out = io.BytesIO()
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it tells that embedded fonts have no date
        figure.figure.savefig(out, format=kind, dpi=600, facecolor=figure.theme.background, metadata=dateless(kind))
    write_atomically(path.with_name(f"{path.name}.txt"), f"{figure.alt}\n".encode())
    return write_atomically(path, out.getvalue())


def stages(mdp: TabularMDP, width: str) -> int:
    """How many maps stand in a row; fewer where each is made of small maps, which must be read.

    Raises:
        ValueError: if there is no room for two, or no such width.
    """
    if width not in WIDTHS:
        raise ValueError(f"figure is {width!r}; allowed: {', '.join(WIDTHS)}")
    if mdp.custom_grid is None:
        return STAGES[width]
    count = min(STAGES[width], int(WIDTHS[width] / (READABLE * mdp.custom_grid.width)))
    if count < 2:
        raise ValueError(f"figure is {width!r}, which is too narrow for {mdp.custom_grid.width} tiles twice; allowed: page")
    return count


class _Paper:
    def __init__(self, runs: Sequence[Run], width: str, theme: str) -> None:
        self.runs, self.theme, self.mdp = list(runs), THEMES[theme], runs[0].mdp
        assert self.mdp.grid is not None
        self.grid, self.walkable = self.mdp.grid, maps.walkable(self.mdp)
        self.stages = stages(self.mdp, width)
        tall, wide = self.grid.height, self.grid.width
        inches = WIDTHS[width]
        self.gap = 4 * GAP if self.grid.headings else GAP  # what is made of small maps must not run together
        self.map_width = (inches - 2 * MARGIN - (self.stages - 1) * self.gap) / self.stages
        alone = len(runs) == 1
        self.lift = 0.03 + 0.1 * bool(self.grid.headings)  # of what stands above a map
        self.head = LABEL + self.lift - 0.03 + (0 if alone else NAME)  # above each row of maps
        self.entries = int((inches - 2 * MARGIN) / ENTRY)  # in a line of the key
        below = (MATRIX + 0.26) * alone + CURVE + 0.52 + (0.04 + LINE * ceil(len(runs) / self.entries)) * (not alone)
        room = (TALLEST - below) / len(runs) - self.head - GAP
        self.map_height = min(self.map_width * tall / wide, max(room, min(LEAST * tall, TALLEST / 3)))
        rows = len(runs) * (self.head + self.map_height + GAP)
        self.figure = Figure(figsize=(inches, rows + below), dpi=DPI, facecolor=self.theme.background)
        FigureCanvasAgg(self.figure)
        top = self._maps()
        if alone:
            top = self._matrices(top + 0.18)
        self._curves(top + 0.24)

    @property
    def alt(self) -> str:
        courses = " ".join(f"{run.method}: {run.course}" for run in self.runs)
        rejected = ", dashed what was rejected" if any(len(run.rejected) for run in self.runs) else ""
        return (
            f"Small multiples on {self.runs[0].place} ({self.runs[0].about.replace(' · ', ', ')}): maps of the policy at "
            f"{self.stages} stages from the base to the end, and curves over the updates. Arrows are the policy, blue is how "
            f"often an episode is on a tile, green what the human showed or preferred{rejected} "
            f"({self.runs[0].about_seeds}). {courses}"
        )

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """In inches from the upper left corner."""
        w, h = self.figure.get_size_inches()
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    def _words(self, left: float, top: float, text: str, size: float = TEXT, **options: object) -> None:
        w, h = self.figure.get_size_inches()
        self.figure.text(left / w, 1 - top / h, text, size=size, color=self.theme.ink, **options)  # type: ignore[arg-type]

    def _stages(self, run: Run) -> Int[np.ndarray, " K"]:
        """The base, the end, and snapshots between, equally far from each other as the policy goes."""
        moved = np.abs(np.diff(run.snapshots[:, self.walkable], axis=0)).mean((1, 2)).cumsum()
        way = np.concatenate([[0.0], moved]) / max(moved[-1], 1e-12)
        return np.array([int(np.abs(way - share).argmin()) for share in np.linspace(0, 1, self.stages)])

    def _maps(self) -> float:
        theme, grid, top = self.theme, self.grid, 0.0
        for run in self.runs:
            if len(self.runs) > 1:
                short, _, long = run.title.partition(" · ")
                self._words(MARGIN + 0.02, top + 0.13, long if short == "RLHF" else short, weight="bold")
            top += self.head
            for i, index in enumerate(self._stages(run)):
                left = MARGIN + i * (self.map_width + self.gap)
                self._words(left + 0.02, top - self.lift - 0.005, f"update {run.steps[index]}", SMALL)
                ax = self._axes(left, top, self.map_width, self.map_height)
                maps.draw_lake(ax, grid, theme)
                maps.TileColours(ax, grid, self.walkable, theme.visits, Normalize(0, 1, clip=True)).update(run.visits[index])
                for steps, colour, inset, dashed in (
                    (run.rejected, theme.rejected, 0.16, True),
                    (run.demonstration, theme.shown, 0.08, False),
                ):
                    maps.Outlines(ax, grid, steps[:, 0], colour, inset=inset, dashed=dashed, width=0.9)
                maps.landmarks(ax, grid, theme)
                maps.starts(ax, grid, theme)
                maps.Arrows(ax, grid, self.mdp.moves, self.walkable, theme).update(run.snapshots[index])
            top += self.map_height + GAP
        return top

    def _matrices(self, top: float) -> float:
        """T_theta(a|s) over T*(a|s) at the end, and the matrices of states by states side by side."""
        policy, best = self.runs[0].snapshots[-1], optimal_policy(self.mdp)
        inches = float(self.figure.get_size_inches()[0])
        square = int(self.walkable.sum()) <= LARGEST
        wide = inches - MARGIN - 0.24 - (2 * MATRIX + 0.55) * square
        self._words(0.28, top - 0.03, "T(a|s), tiles by moves", SMALL)
        maps.Strip(self._axes(0.28, top, wide - 0.1, MATRIX), self.walkable, best, self.theme, SMALL).update(policy)
        if square:
            for i, (name, matrix) in enumerate(((r"$T_\theta(s'|s)$", policy), (r"$T^*(s'|s)$", best))):
                left = 0.28 + wide + 0.12 + i * (MATRIX + 0.2)
                self._words(left, top - 0.03, name, SMALL)
                ax = self._axes(left, top, MATRIX, MATRIX)
                full = state_matrix(self.mdp, matrix)[self.walkable]
                ax.imshow(full, cmap=self.theme.probabilities, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
                ax.axis("off")
        return top + MATRIX + 0.08

    def _curves(self, top: float) -> None:
        theme, runs = self.theme, self.runs
        inches = float(self.figure.get_size_inches()[0])
        wide = (inches - 2 * MARGIN - 0.42 - 0.42) / 2  # the last tick's number is wider than its tick
        colours = [theme.success, theme.distance, theme.shown, theme.predicted, theme.muted]
        last, told = max(int(run.steps[-1]) for run in runs), runs[0].headline
        for i, (name, title) in enumerate(((told, told), ("distance", "distance to optimal"))):
            ax = self._axes(MARGIN + 0.3 + i * (wide + 0.42), top, wide, CURVE)
            style(ax, theme)
            ax.tick_params(labelsize=SMALL, length=2, pad=1.5)
            ax.set_title(title, size=TEXT, color=theme.ink, loc="left", pad=2)
            ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
            ax.set_xlim(0, max(1, last))
            ax.set_xticks(update_ticks(last, apart=0.16))
            ax.minorticks_off()
            ax.set_xlabel("update", size=SMALL, color=theme.muted, labelpad=1)
            for k, run in enumerate(runs):
                mean, low, high = mean_interval(run.metrics[name])
                colour, dash = colours[k % len(colours)], DASHES[(k + k // len(colours)) % len(DASHES)]
                ax.fill_between(run.steps, low, high, color=colour, alpha=0.18, lw=0)
                ax.plot(run.steps, mean, color=colour, lw=1.1, ls=dash, label=run.method)
            most = max(float(run.metrics[name].max()) for run in runs)
            ax.set_ylim(*((-0.03, 1.05) if name == "success" else (0, 1.12 * max(most, 1e-6))))
            ax.yaxis.set_major_locator(MaxNLocator(3))
            if len(runs) > 1 and i == 0:
                self.figure.legend(
                    fontsize=SMALL,
                    frameon=False,
                    labelcolor=theme.ink,
                    handlelength=2.2,
                    labelspacing=0.2,
                    columnspacing=1.0,
                    borderpad=0.4,
                    borderaxespad=0,
                    loc="lower center",
                    ncols=min(self.entries, len(runs)),
                )


def latex_table(runs: Sequence[Run]) -> str:
    """The results as a LaTeX table (package booktabs): mean over seeds and 95 % interval, one row a method."""
    first = runs[0]
    horizon = "" if first.environment.horizon is None else f" within {first.environment.horizon} steps"
    lines = [
        f"% {first.about}; {first.seeds} seeds",
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        rf"method & success{horizon} & regret & distance to optimal \\",
        r"\midrule",
        *(_row(name, run, index) for name, run, index in (("base", first, 0), *((r.method, r, -1) for r in runs))),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, run: Run, index: int) -> str:
    cells = [name.replace("_", r"\_")]
    for measure in ("success", "regret", "distance"):
        mean, low, high = mean_interval(run.metrics[measure][index])
        interval = rf" {{\small [{low:.3f}, {high:.3f}]}}" if run.seeds > 1 else ""
        cells.append(f"${mean:.3f}${interval}")
    return " & ".join(cells) + r" \\"
