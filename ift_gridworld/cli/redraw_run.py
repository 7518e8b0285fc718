"""What `redraw` does: read saved runs and draw them. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.lake_report import report
from ift_gridworld.cli.picture_options import view_stem
from ift_gridworld.rendering import STILLS, check_format, save_film
from ift_gridworld.rendering.formats import PictureOptions, poster_of
from ift_gridworld.storage import file_stem, make_folder
from ift_gridworld.training.run import Run, check_one_environment, compare

__all__ = ["draw_again"]


def draw_again(
    files: Sequence[Path],
    out: Path,
    theme: str,
    kind: str | None,
    figure: str | None,
    seed: int | None = None,
    options: PictureOptions | None = None,
) -> int:
    """Draw saved runs, print their tables and what was written; returns the exit status.

    Args:
        files: saved runs.
        out: folder that is written to.
        theme: a name in THEMES.
        kind: format of the picture; None for the usual one.
        figure: width of a figure for a paper; None for a film.
        seed: that is drawn; None for the runs' own choice.
        options: of a film; None for the usual ones.

    Raises:
        ValueError: for a file that is no saved run or stands twice, a format that the picture has not, or a seed that a run
            cannot draw.
    """
    if not files:
        raise ValueError("no saved run is named; allowed: one file or more, such as runs/lake/ift.json")
    if len({path.resolve() for path in files}) < len(files):
        raise ValueError(f"redraw is {' '.join(map(str, files))!r}, which names a run twice; allowed: each once")
    if figure is None:
        check_format(kind or "gif")
    else:
        check_choice("format", kind or "pdf", STILLS)
    comparison = compare([Run.load(path) for path in files])
    check_one_environment(comparison.runs, drawn=True)
    if seed is not None:
        comparison = comparison.drawing(seed)
    make_folder(out)
    name = file_stem("-".join(run.method for run in comparison))
    if figure is None:
        options = options or PictureOptions()
        path = out / f"{view_stem(name, options)}.{kind or 'gif'}"
        drawn = [save_film(comparison.runs, path, theme, options)]
        return report(comparison.runs, drawn + [poster_of(path)] * options.poster)
    picture = comparison.figure(out / f"{name}_{figure}.{kind or 'pdf'}", width=figure, theme=theme)
    return report(comparison.runs, [picture, comparison.latex(out / f"{name}.tex")])
