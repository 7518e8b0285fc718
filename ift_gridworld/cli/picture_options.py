"""Options of films and stills that `lake` and `redraw` share. Loads no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.parser import Arguments
from ift_gridworld.rendering.formats import PictureOptions
from ift_gridworld.rendering.views import VIEWS

__all__ = ["PICTURE_OPTIONS", "PictureArgs", "picture_options", "view_stem"]


@dataclass(frozen=True, kw_only=True)
class PictureArgs(Arguments):
    """Options of films and of how they are saved."""

    view: str | None = None
    """Another film of all methods together: plane (log-probability of the chosen against the rejected answer, a trajectory a
    method), frontier (return against KL from the base, below the best there is), flow (arrows as wide as steps are often
    taken, and visits less those of the optimal policy), walks (sampled episodes, on the same random numbers for all methods),
    seeds (every seed as a dot)."""
    picture_size: Literal["slide", "square", "column"] | None = None
    """slide (1920x1080 pixels), square (1080x1080) or column (1050 wide: 3.5 inches at 300 dots an inch), laid out anew."""
    transparent: bool = False
    """Leave the background out (png, svg, webp; with --figure also pdf)."""
    poster: bool = False
    """Write the last frame of a film, too, as NAME.poster.png."""
    speed: float | None = None
    """Speed of films, 0.1 to 10 (1: every caption can be read)."""


PICTURE_OPTIONS = ("view", "picture_size", "transparent", "poster", "speed")


def picture_options(args: PictureArgs, kind: str | None) -> PictureOptions:
    """Return the options, checked.

    Args:
        args: the command line.
        kind: format of the pictures; None for a GIF.

    Raises:
        ValueError: for an option that there is not, or that this kind of picture cannot have.
    """
    if args.view is not None:
        check_choice("view", args.view, VIEWS)
    options = PictureOptions(
        args.view, args.picture_size, args.transparent, args.poster, 1.0 if args.speed is None else args.speed
    )
    options.check(kind or "gif")
    return options


def view_stem(name: str, view: str | None) -> str:
    """Return the name of a picture without its suffix; it names a view that is not the usual one."""
    return name if view is None else f"{name}_{view}"
