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
    """What a film shows and how it is saved."""

    view: str = "film"
    """What is shown: film (policy, visits and change on the map, and charts), flow (arrows as wide as steps are often taken,
    and visits less those of the optimal policy) or walks (sampled episodes, on the same random numbers for all methods)."""
    picture_size: Literal["slide", "square", "column"] | None = None
    """slide (1920x1080 pixels), square (1080x1080) or column (1050 wide: 3.5 inches at 300 dots an inch), laid out anew."""
    transparent: bool = False
    """Leave the background out (png, svg, webp)."""
    poster: bool = False
    """Write the last frame of a film, too, as NAME.poster.png."""


PICTURE_OPTIONS = frozenset(PictureArgs.__annotations__)


def picture_options(args: PictureArgs, kind: str | None) -> PictureOptions:
    """Return the options, checked.

    Args:
        args: the command line.
        kind: format of the pictures; None for a GIF.

    Raises:
        ValueError: for an option that there is not, or that this kind of picture cannot have.
    """
    check_choice("view", args.view, VIEWS)
    options = PictureOptions(args.view, args.picture_size, args.transparent, args.poster)
    options.check(kind or "gif")
    return options


def view_stem(name: str, options: PictureOptions) -> str:
    """Return the name of a picture without its suffix; it names a view that is not the usual one."""
    return name if options.view == PictureOptions().view else f"{name}_{options.view}"
