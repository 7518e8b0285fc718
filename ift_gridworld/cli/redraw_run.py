"""Implementation of `redraw`: read saved runs and draw them. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ift_gridworld.cli.figure_options import FigureArgs, draw_figure, figure_options
from ift_gridworld.cli.lake_report import report
from ift_gridworld.cli.picture_options import picture_options, view_stem
from ift_gridworld.rendering.formats import poster_of
from ift_gridworld.rendering.views import VIEWS
from ift_gridworld.storage import file_stem, make_folder
from ift_gridworld.training.run import Run, check_one_environment, compare, shared_metrics

__all__ = ["draw_again"]


def draw_again(
    files: Sequence[Path], args: FigureArgs, out: Path, theme: str, kind: str | None, seed: int | None = None
) -> int:
    """Draw saved runs, print their tables and what was written; returns the exit status.

    Args:
        files: the saved runs.
        args: what is drawn and how it is saved.
        out: folder to write to.
        theme: colours.
        kind: the format that is asked for.
        seed: the seed to draw, if the reader chose one.

    Raises:
        ValueError: for a file that is no saved run or stands twice, a format that the picture has not, or a seed that a run
            cannot draw.
    """
    if not files:
        raise ValueError("no saved run is named; allowed: one file or more, such as runs/lake/ift.json")
    if len({path.resolve() for path in files}) < len(files):
        raise ValueError(f"redraw is {' '.join(map(str, files))!r}, which names a run twice; allowed: each once")
    figure = figure_options(args, theme, kind)
    options = picture_options(args, kind) if figure is None else None
    comparison = compare([Run.load(path) for path in files])
    needs_map = figure.needs_map(len(files)) if figure is not None else args.view is None or VIEWS[args.view].needs_map
    if needs_map:
        check_one_environment(comparison.runs, drawn=True)
    if figure is not None:
        figure.check_metrics(shared_metrics(comparison.runs), len(files))
    if seed is not None:
        comparison = comparison.drawing(seed)
    make_folder(out)
    name = file_stem("-".join(run.method for run in comparison))
    if options is None:
        return report(comparison.runs, draw_figure(args, comparison, out, name, theme, kind))
    picture = comparison.film(out / f"{view_stem(name, args.view)}.{kind or 'gif'}", theme=theme, **asdict(options))
    return report(comparison.runs, [picture, *[poster_of(picture)] * options.poster])
