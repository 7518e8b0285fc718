"""Figures for a paper: small multiples of a run or of several, matrices, curves and seeds, as wide as a column or a page.

Type is 7 to 8 points at that width, so that it stands beside the paper's own text; fonts are embedded. Every figure has a key,
and fits a page. Beside it lie what it shows in words, and its caption for LaTeX.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from matplotlib.figure import Figure

from ift_gridworld.rendering.caption import FigureContent, caption_of
from ift_gridworld.rendering.film import file_metadata, write_words
from ift_gridworld.rendering.formats import STILLS, check_format
from ift_gridworld.rendering.frontier_plane import MARKS, FrontierTracks, tracks_under
from ift_gridworld.rendering.isolation import own_settings
from ift_gridworld.rendering.maps import grid_of
from ift_gridworld.rendering.paper_key import (
    LINE,
    VISITS_LINE,
    Entry,
    draw_flow,
    lines_of,
    map_entries,
    method_entries,
    visits_entry,
)
from ift_gridworld.rendering.paper_layout import MARGIN, MAX_HEIGHT, NAME, MapLayout, arrange_maps, below_maps
from ift_gridworld.rendering.paper_options import PANELS, FigureChoices, FigureOptions
from ift_gridworld.rendering.paper_panels import draw_curves, draw_frontier, draw_map, draw_matrices, draw_seeds
from ift_gridworld.rendering.paper_words import (
    INTERVAL,
    end_words,
    listed,
    number,
    run_styles,
    run_titles,
    seed_counts,
    seeds_of_maps,
    stage_words,
)
from ift_gridworld.rendering.seeds_view import metrics_of_seeds
from ift_gridworld.rendering.sheet import HINTED, SMALL, TEXT, Sheet, drawn_width, first_that_fits, font_settings
from ift_gridworld.rendering.stages import chosen_stages, latest_snapshots, shared_updates, stages_of_even_change
from ift_gridworld.rendering.text import shorten, wrap_text
from ift_gridworld.rendering.visit_scale import VisitScale
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.run import Run, check_one_environment, shared_metrics
from ift_gridworld.training.together import drawn_together, shared_headline

__all__ = ["PaperFigure", "save_figure"]

KEY_LINES = 4  # of marks, kept free before the maps are arranged; fewer are used where the key is shorter
NOTE_LINE = 0.135  # inches


def save_figure(
    runs: Sequence[Run], path: str | Path, width: str = "column", theme: str = "light", **choices: Unpack[FigureChoices]
) -> Path:
    """Draw the figure and write it as the path's suffix says (png, pdf, svg).

    A block of maps a run: the policy and its visits, for all runs at the same updates. Below, for one run, the matrices T(a|s)
    and, on small lakes, T(s'|s), each beside the optimal one; and for all runs success (or regret) and distance over the
    updates, mean and 95 % interval over seeds. The number beside a method's name is of the seed that its maps are of.

    Written beside it are what it shows in words as NAME.SUFFIX.txt, and its caption for LaTeX as NAME.caption.tex.

    Args:
        runs: the runs, on one environment; maps and matrices need one with a map.
        path: where to write.
        width: "column" (3.3 inches) or "page" (6.9 inches).
        theme: a name in THEMES.
        choices: stages, panels, font, usetex, transparent, as `FigureOptions` describes them.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix or choice, if the runs are not of one environment, it has no map, or what is to be drawn
            does not fit a page.
        OSError: if a file cannot be written.

    Example (writes three files)::

        save_figure([Run.load("ift.json")], "ift.pdf", width="page", stages=[0, 20, 300])
    """
    path = Path(path)
    kind = path.suffix.lstrip(".")
    check_format(kind)
    if kind not in STILLS:
        raise ValueError(f"format is {kind!r}; a figure for a paper can be: {', '.join(STILLS)}")
    made = PaperFigure(runs, width, theme, **choices)
    picture = made.written_as(kind)
    write_words(path, made.alt)
    write_atomically(path.with_suffix(".caption.tex"), made.caption(path.stem).encode())
    return write_atomically(path, picture)


class PaperFigure:
    """The figure that `save_figure` writes.

    Args:
        runs, width, theme, choices: as for `save_figure`.

    Attributes:
        figure: what is drawn.
        layout: how its maps are arranged; None if it has none.
        updates: those that maps are shown at.
        alt: what it shows, in words.

    Raises:
        ValueError: as `save_figure` does.
    """

    def __init__(
        self, runs: Sequence[Run], width: str = "column", theme: str = "light", **choices: Unpack[FigureChoices]
    ) -> None:
        self.options = FigureOptions(width, theme, **choices)
        check_one_environment(runs, drawn=self.options.needs_map(len(runs)))
        self.options.check_metrics(shared_metrics(runs), len(runs))
        self.runs, self.headline = drawn_together(runs), shared_headline(runs)
        self.panels = self.options.chosen_panels(len(runs), self.headline)
        self.titles, self.styles = run_titles(runs), run_styles(runs)
        self.curves = [panel for panel in self.panels if panel not in PANELS]
        self.strips = metrics_of_seeds(runs, self.headline) if "seeds" in self.panels else []
        self.layout: MapLayout | None = None
        self.tracks: FrontierTracks | None = None
        with own_settings(**font_settings(self.options)):
            self._arrange()
            self._compose()
        self.content = FigureContent(self.runs, self.titles, self.headline, self.panels, self.curves, self.strips, self.updates)

    @property
    def figure(self) -> Figure:
        return self.sheet.figure

    @property
    def alt(self) -> str:
        return caption_of(self.content)

    def caption(self, label: str) -> str:
        """Return the caption for LaTeX.

        Args:
            label: name of the figure, by which a text refers to it.
        """
        return caption_of(self.content, label)

    def written_as(self, kind: str) -> bytes:
        """Return the figure as a file of that kind: png, pdf or svg.

        Raises:
            ValueError: if LaTeX cannot set its text.
        """
        out = io.BytesIO()
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns that embedded fonts have no date
        colour = "none" if self.options.transparent else self.sheet.theme.background
        with own_settings(**font_settings(self.options)):
            try:
                self.figure.savefig(out, format=kind, dpi=600, facecolor=colour, metadata=file_metadata(kind))
            except RuntimeError as error:
                if not self.options.usetex:
                    raise
                lines = [line for line in str(error).splitlines() if line.startswith("!")] or ["no reason is given"]
                raise ValueError(
                    f"usetex: LaTeX cannot set the text of this figure ({lines[0]}); allowed: font serif"
                ) from error
        return out.getvalue()

    # ---- what there is room for ----

    def _arrange(self) -> None:
        """Choose updates, maps, key and notes; the height follows from them."""
        runs, options = self.runs, self.options
        self.updates = np.zeros(0, int)
        if "frontier" in self.panels:
            marked = stages_of_even_change(runs, MARKS) if options.stages is None else chosen_stages(runs, options.stages)
            self.tracks = tracks_under(runs, shared_updates(runs), marked)
        self.notes = wrap_text(self._notes(), (options.inches - 2 * MARGIN - 0.04) / HINTED, SMALL).split("\n")
        several = method_entries(self.titles, self.styles) if len(runs) > 1 and self.curves else []
        self.method_key = lines_of(several, options.inches)
        around = below_maps(options, self.panels, len(runs), len(self.strips))
        around += 0.12 + sum(_height(line) for line in self.method_key) + NOTE_LINE * len(self.notes)
        self.around = around
        if "maps" in self.panels:
            self._arrange_maps(MAX_HEIGHT - around)
        elif around > MAX_HEIGHT:
            raise ValueError(f"panels is {','.join(self.panels)!r}, which does not fit a page; allowed: fewer panels")

    def _arrange_maps(self, room: float) -> None:
        """Arrange the maps beside a key of many lines, and again beside the key that those maps have."""
        runs, options = self.runs, self.options
        asked = None if options.stages is None else chosen_stages(runs, options.stages)
        most = len(shared_updates(runs)) if asked is None else len(asked)
        self.labelled = len({int(run.steps[-1]) for run in runs}) > 1 or any(run.diverged for run in runs)
        most_key = VISITS_LINE + LINE * (KEY_LINES if options.width == "column" else 1)
        layout = self._maps_in(room - most_key, most)
        self.updates = stages_of_even_change(runs, layout.stages) if asked is None else asked
        self.snapshots = latest_snapshots(runs, self.updates)
        shown = [run.visits[i] for run, indices in zip(runs, self.snapshots.T, strict=True) for i in set(indices)]
        self.scale = VisitScale.of(shown)
        self.layout, self.marks = layout, self._map_key(layout)
        larger = self._maps_in(room - sum(map(_height, self.marks)), len(self.updates), fixed=True)
        marks = self._map_key(larger)
        if larger.height + sum(map(_height, marks)) <= room:
            self.layout, self.marks = larger, marks

    def _maps_in(self, room: float, stages: int, *, fixed: bool = False) -> MapLayout:
        grid, options = grid_of(self.runs[0].mdp), self.options
        fixed = fixed or options.stages is not None
        return arrange_maps(grid, options, len(self.runs), room, stages, fixed=fixed, labelled=self.labelled)

    def _notes(self) -> str:
        """Return the notes inside the figure: the seed that is drawn, what intervals are, the methods that ended early."""
        several = max(run.seeds for run in self.runs) > 1
        words = []
        if "maps" in self.panels or "matrix" in self.panels:
            words.append(f"Maps and numbers beside methods: {seeds_of_maps(self.runs)}." if "maps" in self.panels else "")
        if self.curves:
            words.append(f"Curves: mean and {INTERVAL} of {seed_counts(self.runs)}." if several else "Curves: one seed.")
        if "seeds" in self.panels and several:
            words.append(
                f"Seeds at the end: a dot a seed; large mark and line: mean and {INTERVAL}; rim: {seeds_of_maps(self.runs)}."
            )
        if self.tracks is not None:
            marks = f"small marks: updates {listed(self.tracks.marked)}"
            words.append(f"Frontier: {seeds_of_maps(self.runs)}; {marks}; dotted: gap to the frontier.")
        return " ".join([word for word in words if word] + end_words(self.runs))

    # ---- drawing ----

    def _compose(self) -> None:
        height = self.around
        if self.layout is not None:
            height += self.layout.height + sum(map(_height, self.marks))
        self.sheet = Sheet(self.options, round(min(height, MAX_HEIGHT), 3))
        top = 0.0
        if self.layout is not None:
            self._draw_maps(self.layout)
            top = draw_flow(self.sheet, self.layout.height + 0.02, self.marks)
        if "matrix" in self.panels:
            top = draw_matrices(self.sheet, top, self.runs[0])
        if self.curves:
            marked = self.snapshots if self.layout is not None else self._evenly_spaced()
            top = draw_curves(self.sheet, top, self.curves, self.runs, self.styles, marked)
        if "seeds" in self.panels:
            top = draw_seeds(self.sheet, top, self.strips, self.runs, self.styles, self.titles)
        if self.tracks is not None:
            top = draw_frontier(self.sheet, top, self.tracks)
        top = draw_flow(self.sheet, top, self.method_key)
        for line in self.notes:
            self.sheet.add_text(MARGIN + 0.02, top + 0.11, line, color=self.sheet.theme.muted)
            top += NOTE_LINE
        self.sheet.finish()

    def _map_key(self, layout: MapLayout) -> list[list[Entry]]:
        """Lines of the key to the maps, measured on an empty map of their size."""
        sheet = Sheet(self.options, layout.map_size[1])
        ax = sheet.add_axes(0, 0, *layout.map_size)
        entries = map_entries(self.runs, self.runs[0].mdp, ax)
        return lines_of([visits_entry(self.scale), *entries], self.options.inches)

    def _evenly_spaced(self) -> np.ndarray:
        """Snapshots that markers stand at where there are no maps: about five of each run."""
        return np.stack([np.linspace(0, len(run.steps) - 1, 5).round().astype(int) for run in self.runs], 1)

    def _draw_maps(self, layout: MapLayout) -> None:
        for number_of, run in enumerate(self.runs):
            left, top = layout.place(number_of, 0)
            has_labels = self.labelled or number_of < layout.per_row
            self._draw_name(number_of, run, left, top - layout.lift - (layout.heads[0] - NAME - layout.lift) * has_labels)
            for stage, update in enumerate(self.updates):
                left, top = layout.place(number_of, stage)
                snapshot = int(self.snapshots[stage, number_of])
                if has_labels:
                    words = first_that_fits(stage_words(run, int(update), snapshot), layout.cell + 0.04)
                    self.sheet.add_text(left + 0.02, top - layout.lift - 0.005, words, color=self.sheet.theme.muted)
                draw_map(self.sheet.add_axes(left, top, *layout.map_size), run, snapshot, self.scale, self.sheet.theme)

    def _draw_name(self, index: int, run: Run, left: float, top: float) -> None:
        """The method's name, and beside it the headline metric of the drawn seed at the last map."""
        assert self.layout is not None
        title = shorten(self.titles[index], self.layout.block / HINTED, TEXT, bold=True)
        self.sheet.add_text(left + 0.02, top - 0.025, title, size=TEXT, weight="bold")
        name = self.headline
        value = number(float(run.of_drawn(name)[self.snapshots[-1, index]]))
        beside = drawn_width(title, TEXT, bold=True) + 0.06
        room = self.layout.block - beside
        words = first_that_fits((f"{name} {value} (seed {run.drawn_seed})", f"{name} {value}", value), room)
        self.sheet.add_text(left + beside, top - 0.025, words, color=self.sheet.theme.muted)


def _height(line: Sequence[Entry]) -> float:
    return max(entry.height for entry in line)
