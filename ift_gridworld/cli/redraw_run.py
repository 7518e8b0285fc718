"""What `redraw` does: read saved runs and draw them. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.arguments import check_film, view_stem
from ift_gridworld.cli.lake_report import report
from ift_gridworld.rendering import STILLS
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
    *,
    view: str | None = None,
    speed: float | None = None,
) -> int:
    """Draw saved runs, print their tables and what was written; returns the exit status.

    Args:
        files: saved runs.
        out: folder that pictures are written to.
        theme: a name in THEMES.
        kind: of picture; None for a GIF, or a PDF of a figure.
        figure: width of a figure for a paper; None for a film.
        seed: that is drawn; None for the one that each run draws.
        view: what the film shows; None for maps.
        speed: a factor of how fast it runs; None for 1.

    Raises:
        ValueError: for a file that is no saved run or stands twice, a format that the picture has not, or a seed that a run
            cannot draw.
    """
    if not files:
        raise ValueError("no saved run is named; allowed: one file or more, such as runs/lake/ift.json")
    if len({path.resolve() for path in files}) < len(files):
        raise ValueError(f"redraw is {' '.join(map(str, files))!r}, which names a run twice; allowed: each once")
    if figure is None:
        check_film(kind, view, speed)
    else:
        check_choice("format", kind or "pdf", STILLS)
    comparison = compare([Run.load(path) for path in files])
    check_one_environment(comparison.runs, drawn=view in (None, "maps"))
    if seed is not None:
        comparison = comparison.drawing(seed)
    make_folder(out)
    name = file_stem("-".join(run.method for run in comparison))
    if figure is None:
        from ift_gridworld.rendering.pictures import save_film

        picture = out / f"{view_stem(name, view)}.{kind or 'gif'}"
        return report(comparison.runs, [save_film(comparison.runs, picture, theme, view=view or "maps", speed=speed or 1.0)])
    picture = comparison.figure(out / f"{name}_{figure}.{kind or 'pdf'}", width=figure, theme=theme)
    return report(comparison.runs, [picture, comparison.latex(out / f"{name}.tex")])
