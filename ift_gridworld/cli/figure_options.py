"""Options of a figure for a paper, which `lake` and `redraw` share. Loads no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.picture_options import PictureArgs
from ift_gridworld.rendering.formats import STILLS
from ift_gridworld.rendering.paper_options import FigureChoices, FigureOptions
from ift_gridworld.training.run import Comparison

__all__ = ["FIGURE_OPTIONS", "FigureArgs", "draw_figure", "figure_options"]

FIGURE_OPTIONS = ("stages", "panels", "font", "usetex")


@dataclass(frozen=True, kw_only=True)
class FigureArgs(PictureArgs):
    """Options of pictures of all runs together."""

    figure: Literal["column", "page", "frontier"] | None = None
    """A figure for a paper instead of a film, at the width of a column or a page; with --format pdf (then the default), svg or
    png. Written beside it for LaTeX are a table of the results and the caption. frontier is a column with --panels frontier."""
    stages: str | None = None
    """With --figure, the updates whose maps are drawn, with commas between, such as 0,20,300 (by default updates between which
    about equally much changes)."""
    panels: str | None = None
    """With --figure, what it shows, with commas between: maps, matrix (of one method), seeds, frontier (return against KL
    from the base, below the best there is), and any metric as a curve (by default maps, success or regret, and distance)."""
    font: Literal["sans", "serif"] | None = None
    """With --figure, its type: sans (the default), or serif, in the style of Times."""
    usetex: bool = False
    """With --figure, let LaTeX set all text."""


def figure_options(args: FigureArgs, theme: str, kind: str | None) -> FigureOptions | None:
    """Check the options of figures; returns them, None where no figure is drawn.

    Args:
        args: the command line.
        theme: colours.
        kind: the format that is asked for.

    Raises:
        ValueError: for an option that what is drawn does not use, or a value that it has not.
    """
    for name in FIGURE_OPTIONS:
        args.require(name, args.figure is not None, "--figure")
    if args.figure is None:
        return None
    check_choice("format", kind or "pdf", STILLS)
    args.require("panels", args.figure != "frontier", "--figure column or page")
    return FigureOptions(_width(args), theme, **_choices(args))


def _width(args: FigureArgs) -> str:
    return "column" if args.figure in (None, "frontier") else str(args.figure)


def _choices(args: FigureArgs) -> FigureChoices:
    panels = "frontier" if args.figure == "frontier" else args.panels
    return {
        "stages": _updates(args.stages),
        "panels": None if panels is None else [panel.strip() for panel in panels.split(",") if panel.strip()],
        "font": args.font or "sans",
        "usetex": args.usetex,
        "transparent": args.transparent,
    }


def _updates(text: str | None) -> list[int] | None:
    """Read updates with commas between."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(f"stages is {text!r}; allowed: updates with commas between, such as 0,20,300")
    return [int(word) for word in words]


def draw_figure(args: FigureArgs, comparison: Comparison, out: Path, name: str, theme: str, kind: str | None) -> Sequence[Path]:
    """Draw the figure that the command line asks for; returns the files in the order in which they are written.

    Args:
        args: the command line.
        comparison: the runs.
        out: folder to write to.
        name: of the files, without what the picture is.
        theme: colours.
        kind: the format that is asked for.
    """
    assert args.figure is not None
    picture = out / f"{name}_{args.figure}.{kind or 'pdf'}"
    figure = comparison.figure(picture, width=_width(args), theme=theme, **_choices(args))
    return [figure, picture.with_suffix(".caption.tex"), comparison.latex(out / f"{name}.tex")]
