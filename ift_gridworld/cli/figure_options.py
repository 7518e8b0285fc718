"""Options of a figure for a paper and of further views, which `lake` and `redraw` share. Loads no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.parser import Arguments
from ift_gridworld.rendering.formats import STILLS, PictureOptions, check_format, poster_of
from ift_gridworld.rendering.paper_options import FigureChoices, FigureOptions
from ift_gridworld.rendering.views import VIEWS
from ift_gridworld.training.run import Comparison

__all__ = ["FIGURE_OPTIONS", "FILM_OPTIONS", "FigureArgs", "draw_together", "figure_options", "film_options"]

FIGURE_OPTIONS = ("stages", "panels", "font", "usetex")
FILM_OPTIONS = ("picture_size", "transparent", "poster")  # that a figure has only the second of


@dataclass(frozen=True)
class FigureArgs(Arguments):
    """What is drawn of all runs together."""

    figure: Literal["column", "page"] | None = None
    """A figure for a paper instead of a film, at the width of a column or a page; with --format pdf (then the default), svg or
    png. Written beside it for LaTeX are a table of the results and the caption."""
    stages: str | None = None
    """With --figure, the updates whose maps are drawn, with commas between, such as 0,20,300 (by default updates between which
    about equally much changes)."""
    panels: str | None = None
    """With --figure, what it shows, with commas between: maps, matrix (of one method), seeds, and any metric as a curve (by
    default maps, success or regret, and distance)."""
    font: Literal["sans", "serif"] | None = None
    """With --figure, its type: sans (the default), or serif, in the style of Times."""
    usetex: bool = False
    """With --figure, let LaTeX set all text."""
    transparent: bool = False
    """No background (a figure; else png, svg, webp)."""
    view: str | None = None
    """Another film of all methods together: seeds (every seed as a dot), flow (arrows as wide as steps are often taken, and
    visits less those of the optimal policy), walks (sampled episodes, on the same random numbers for all methods)."""
    picture_size: Literal["slide", "square", "column"] | None = None
    """Size of a film or its last frame: slide (1920x1080 pixels), square (1080x1080) or column (1050 wide: 3.5 inches at 300
    dots an inch), laid out anew."""
    poster: bool = False
    """Write the last frame of a film, too, as NAME.poster.png."""


def figure_options(args: FigureArgs, theme: str, kind: str | None) -> FigureOptions | None:
    """Check the options of figures and views; returns those of the figure, None where none is drawn.

    Args:
        args: the command line.
        theme: colours.
        kind: the format that is asked for.

    Raises:
        ValueError: for an option that what is drawn does not use, or a value that it has not.
    """
    for name in FIGURE_OPTIONS:
        args.require(name, args.figure is not None, "--figure")
    args.require("view", args.figure is None, "films; --figure draws no film")
    if args.view is not None:
        check_choice("view", args.view, VIEWS)
        check_choice("format", kind or "gif", ("gif", "mp4", "webp", *STILLS))
        check_format(kind or "gif")
    if args.figure is None:
        return None
    check_choice("format", kind or "pdf", STILLS)
    return FigureOptions(args.figure, theme, **_choices(args))


def film_options(args: FigureArgs, draws: bool, kind: str | None) -> dict[str, Any]:
    """Check how films are to be saved; returns size, transparent and poster as `Film.save` takes them.

    Args:
        args: the command line.
        draws: whether a film, or a still of it, is drawn.
        kind: the format that is asked for.

    Raises:
        ValueError: for an option that what is drawn does not use, or that the format cannot have.
    """
    for name in FILM_OPTIONS:
        figure = name == "transparent" and args.figure is not None
        args.require(name, figure or (draws and args.figure is None), "films: --render, --view or --redraw")
    options = PictureOptions(args.picture_size, args.transparent, args.poster)
    if args.figure is None:
        options.check(kind or "gif")
    return asdict(options)


def _choices(args: FigureArgs) -> FigureChoices:
    return {
        "stages": _updates(args.stages),
        "panels": None if args.panels is None else [panel.strip() for panel in args.panels.split(",") if panel.strip()],
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


def draw_together(
    args: FigureArgs, comparison: Comparison, out: Path, name: str, theme: str, kind: str | None
) -> Sequence[Path]:
    """Draw the figure or the view that the command line asks for; yields the files in the order in which they are written.

    Args:
        args: the command line.
        comparison: the runs.
        out: folder to write to.
        name: of the files, without what the picture is.
        theme: colours.
        kind: the format that is asked for.
    """
    if args.figure is None:
        assert args.view is not None  # one of both is asked for
        path = out / f"{name}_{args.view}.{kind or 'gif'}"
        options = film_options(args, True, kind)
        return [comparison.film(path, theme=theme, view=args.view, **options), *[poster_of(path)] * args.poster]
    picture = out / f"{name}_{args.figure}.{kind or 'pdf'}"
    figure = comparison.figure(picture, width=args.figure, theme=theme, **_choices(args))
    return [figure, picture.with_suffix(".caption.tex"), comparison.latex(out / f"{name}.tex")]
