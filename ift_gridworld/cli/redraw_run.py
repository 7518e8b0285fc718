"""What `redraw` does: read saved runs and draw them. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ift_gridworld.cli.figure_options import FigureArgs, draw_together, figure_options, film_options
from ift_gridworld.cli.lake_report import report
from ift_gridworld.rendering import check_format
from ift_gridworld.rendering.formats import poster_of
from ift_gridworld.storage import file_stem, make_folder
from ift_gridworld.training.run import Run, check_one_environment, compare, shared_metrics

__all__ = ["draw_again"]


def draw_again(
    files: Sequence[Path], args: FigureArgs, out: Path, theme: str, kind: str | None, seed: int | None = None
) -> int:
    """Draw saved runs, print their tables and what was written; returns the exit status.

    Args:
        files: the saved runs.
        args: figure or view, if one is asked for.
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
    figure, options = figure_options(args, theme, kind), film_options(args, True, kind)
    if figure is None:
        check_format(kind or "gif")
    comparison = compare([Run.load(path) for path in files])
    if args.view is None and (figure is None or figure.needs_map(len(files))):
        check_one_environment(comparison.runs, drawn=True)
    if figure is not None:
        figure.check_metrics(shared_metrics(comparison.runs), len(files))
    if seed is not None:
        comparison = comparison.drawing(seed)
    make_folder(out)
    name = file_stem("-".join(run.method for run in comparison))
    if figure is None and args.view is None:
        path = out / f"{name}.{kind or 'gif'}"
        drawn = comparison.film(path, theme=theme, **options)
        return report(comparison.runs, [drawn, *[poster_of(path)] * args.poster])
    return report(comparison.runs, draw_together(args, comparison, out, name, theme, kind))
