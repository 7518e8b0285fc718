"""The key of a figure for a paper: what marks on its maps mean, the scale of visits, and the lines of its methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.maps import draw_lake, draw_starts, grid_of, prepare_axes
from ift_gridworld.rendering.method_style import MethodStyle
from ift_gridworld.rendering.paper_layout import MARGIN
from ift_gridworld.rendering.paths import draw_path_sample
from ift_gridworld.rendering.scale import LETTER_TILE, has_signs, is_fine, is_small, tile_inches
from ift_gridworld.rendering.shapes import ACTION_MARKS, MARK_GLYPHS
from ift_gridworld.rendering.sheet import SMALL, Sheet, drawn_width
from ift_gridworld.rendering.text import Letter, plain_text, shorten
from ift_gridworld.rendering.tile_kinds import tile_words
from ift_gridworld.rendering.tiles import hole_colour
from ift_gridworld.rendering.visit_scale import VISITS_UNIT, VisitScale
from ift_gridworld.training.run import Run

__all__ = ["LINE", "VISITS_LINE", "Entry", "draw_flow", "lines_of", "map_entries", "method_entries", "visits_entry"]

LINE, VISITS_LINE = 0.18, 0.3  # height of a line of entries, and of one that the scale of visits stands in
SAMPLE, STRIP = 0.15, 1.2  # side of a sample; width of the scale of visits
BESIDE, APART = 0.05, 0.16  # between a sample and its words; between entries
LONGEST = 1.5  # width that a method's name has at most

Draw = Callable[[Sheet, float, float], None]  # a sample, at its left edge and the middle of its line


@dataclass(frozen=True)
class Entry:
    """An entry of a key.

    Attributes:
        words: beside the sample.
        sample: width of the sample, in inches.
        draw: draws the sample.
        height: of the line that it stands in, at least.
        before: whether the words stand before the sample.
    """

    words: str
    sample: float
    draw: Draw
    height: float = LINE
    before: bool = False

    @property
    def width(self) -> float:
        """Width of sample and words, in inches."""
        return self.sample + BESIDE + drawn_width(self.words)


def lines_of(entries: Sequence[Entry], inches: float) -> list[list[Entry]]:
    """Break entries into lines that fit a figure of that width."""
    lines: list[list[Entry]] = []
    room = 0.0
    for entry in entries:
        if not lines or entry.width > room:
            lines.append([])
            room = inches - 2 * MARGIN
        lines[-1].append(entry)
        room -= entry.width + APART
    return lines


def draw_flow(sheet: Sheet, top: float, lines: Sequence[Sequence[Entry]]) -> float:
    """Draw lines of entries; returns where they end, in inches from the top.

    Args:
        sheet: the figure.
        top: where they begin, in inches from the top.
        lines: entries by line, as `lines_of` gives them.
    """
    for line in lines:
        height = max(entry.height for entry in line)
        left, middle = MARGIN + 0.02, top + LINE / 2
        for entry in line:
            words = entry.width - entry.sample - BESIDE
            sample, text = (left + words + BESIDE, left) if entry.before else (left, left + entry.sample + BESIDE)
            entry.draw(sheet, sample, middle)
            sheet.add_text(text, middle, entry.words, va="center_baseline")
            left += entry.width + APART
        top += height
    return top


def method_entries(titles: Sequence[str], styles: Sequence[MethodStyle]) -> list[Entry]:
    """Return the entries of methods: a line with its dash and its marker."""

    def drawing(style: MethodStyle) -> Draw:
        def draw(sheet: Sheet, left: float, middle: float) -> None:
            inches, colour = sheet.options.inches, style.colour(sheet.theme)
            x = np.array([left, left + 0.15, left + 0.3]) / inches
            y = np.full(3, 1 - middle / sheet.height)
            line = Line2D(x, y, color=colour, lw=1.2, ls=style.dash, marker=style.marker, ms=3.6, mew=0, markevery=[1])
            line.set_transform(sheet.figure.transFigure)
            sheet.figure.add_artist(line)

        return draw

    return [Entry(shorten(title, LONGEST, SMALL), 0.3, drawing(style)) for title, style in zip(titles, styles, strict=True)]


def visits_entry(scale: VisitScale) -> Entry:
    """Return the entry of the scale of visits, a strip of colours with its numbers below."""

    def draw(sheet: Sheet, left: float, middle: float) -> None:
        ax = sheet.add_axes(left, middle - 0.04, STRIP, 0.08)
        scale.draw_key(ax, sheet.theme, SMALL, title=False)
        labels = [text.get_text() for text in ax.get_xticklabels()]
        kept = _apart([STRIP * float(x) for x in ax.get_xticks()], [drawn_width(label) for label in labels])
        ax.set_xticks([float(ax.get_xticks()[i]) for i in kept], [labels[i] for i in kept])

    return Entry(VISITS_UNIT, STRIP + 0.1, draw, height=VISITS_LINE, before=True)


def _apart(places: Sequence[float], widths: Sequence[float]) -> list[int]:
    """Return the indices of labels, the first and the last among them, that do not run into one another."""
    last = len(places) - 1
    kept = [0]
    for index in range(1, last):
        room = places[index] - places[kept[-1]], places[last] - places[index]
        if all(gap > (widths[index] + widths[other]) / 2 + 0.03 for gap, other in zip(room, (kept[-1], last), strict=True)):
            kept.append(index)
    return [*kept, last]


def map_entries(runs: Sequence[Run], mdp: TabularMDP, ax: Axes) -> list[Entry]:
    """Return the entries that explain the marks on a map.

    Args:
        runs: whose maps are drawn.
        mdp: the environment.
        ax: a map that is drawn already; on small tiles marks are others than on large ones.
    """
    grid = grid_of(mdp)
    beads = is_fine(ax, grid)
    entries = [Entry(_arrow_words(ax, grid), SAMPLE, _arrow_sample(is_small(ax, grid)))]
    staying = [plain_text(name) for name, move in zip(mdp.actions, mdp.moves, strict=True) if not move.any()]
    entries += [Entry(name, SAMPLE, _mark_sample(i)) for i, name in enumerate(staying[: len(ACTION_MARKS)])]
    if (grid.tiles == "S").any():
        entries.append(Entry("start", SAMPLE, _tile_sample("S", ax, grid)))
    for letter, words in tile_words(mdp).items():  # that goals and holes end an episode needs no words
        text = f"{words.name}: {words.effect}" if letter == "C" else words.name
        entries.append(Entry(plain_text(text), SAMPLE, _tile_sample(letter, ax, grid)))
    entries += [Entry(kind, SAMPLE, _glyph_sample(kind)) for kind in grid.marks]
    if any(len(run.demonstration) for run in runs):
        entries.append(Entry(_path_words(runs), SAMPLE, _path_sample(beads, dashed=False)))
    if any(len(run.rejected) for run in runs):
        entries.append(Entry("rejected path", SAMPLE, _path_sample(beads, dashed=True)))
    return entries


def _path_words(runs: Sequence[Run]) -> str:
    """Say what the outlined path is to these methods."""
    needs = {run.needs for run in runs}
    if needs == {"rollouts"}:
        return "human's path, not shown to it"
    words = {"demonstrations": "demonstrated", "pairs": "chosen"}
    roles = [word for need, word in words.items() if need in needs]
    return f"{' or '.join(roles)} path" if roles else "human's path"


def _arrow_words(ax: Axes, grid: GridLayout) -> str:
    if is_fine(ax, grid):
        return "mean move of some tiles"
    return "likeliest move" if is_small(ax, grid) else "move, longer if likelier"


def _sample_axes(sheet: Sheet, left: float, middle: float) -> Axes:
    return prepare_axes(sheet.add_axes(left, middle - SAMPLE / 2, SAMPLE, SAMPLE), 1, 1)


def _arrow_sample(small: bool) -> Draw:
    def draw(sheet: Sheet, left: float, middle: float) -> None:
        ax, moves = _sample_axes(sheet, left, middle), np.array([[0, 1]])
        arrow = PolicyArrows(ax, GridLayout.of(["F"]), moves, np.array([True]), sheet.theme)
        arrow.small = small
        if not small:  # from one edge to the other instead of from the middle
            arrow.centre, arrow.direction = np.array([[-0.1, 0.5]]), np.array([[2.4, 0.0]])
        arrow.update(np.ones((1, 1)))

    return draw


def _mark_sample(index: int) -> Draw:
    def draw(sheet: Sheet, left: float, middle: float) -> None:
        corners = 0.5 + 0.8 * ACTION_MARKS[index]
        _sample_axes(sheet, left, middle).fill(*corners.T, fc=sheet.theme.arrow, lw=0)

    return draw


def _glyph_sample(kind: str) -> Draw:
    def draw(sheet: Sheet, left: float, middle: float) -> None:
        ax = _sample_axes(sheet, left, middle)
        for shape in MARK_GLYPHS[kind]:
            ax.fill(*shape.T, fc=sheet.theme.muted, lw=0)

    return draw


def _tile_sample(letter: str, ax: Axes, grid: GridLayout) -> Draw:
    signs, lettered = has_signs(ax, grid), tile_inches(ax, grid) >= LETTER_TILE

    def draw(sheet: Sheet, left: float, middle: float) -> None:
        theme, sample = sheet.theme, _sample_axes(sheet, left, middle)
        tile = GridLayout.of([letter])
        draw_lake(sample, tile, theme, hole=hole_colour(ax, grid, theme))
        if signs and letter in "SG":
            sample.add_patch(Rectangle((0.04, 0.04), 0.92, 0.92, fc="none", ec=theme.ink, lw=0.7))
        if letter == "S" and (signs or lettered):
            Letter(sample, 0, 0, "S", theme.ink, 0.8, centred=True)
        elif letter == "S":
            draw_starts(sample, tile, theme)

    return draw


def _path_sample(beads: bool, *, dashed: bool) -> Draw:
    def draw(sheet: Sheet, left: float, middle: float) -> None:
        ax, theme = _sample_axes(sheet, left, middle), sheet.theme
        ax.add_patch(Rectangle((0, 0), 1, 1, fc=theme.ice, lw=0))
        colour = theme.rejected if dashed else theme.shown
        draw_path_sample(ax, 0.14, 0.14, 0.72, colour, dashed=dashed, beads=beads, width=0.9)

    return draw
