"""Kinds of pictures and names of themes, so that a caller can check them before anything that draws is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ift_gridworld.checks import check_interval

__all__ = [
    "FILMS",
    "FORMATS",
    "PICTURES",
    "PICTURE_SIZES",
    "STILLS",
    "THEME_NAMES",
    "TRANSPARENT",
    "VIDEO",
    "PictureOptions",
    "check_format",
    "check_speed",
    "check_theme",
    "poster_of",
]

VIDEO = ("mp4", "webp")  # films that the extra [video] writes
STILLS = ("png", "pdf", "svg")
FILMS = ("gif", *VIDEO)
PICTURES = (*FILMS, *STILLS)  # what one film can be written as
TRANSPARENT = ("png", "svg", "webp")  # what can have no background
FORMATS = (*PICTURES, "html")
THEME_NAMES = ("light", "dark")
SLOWEST, FASTEST = 0.1, 10.0  # factors
# Width and height of a picture in pixels: for a slide, for a square, and for a column of a paper, 3.5 inches at 300 dots an
# inch, as high as it needs to be.
PICTURE_SIZES: dict[str, tuple[int, int | None]] = {"slide": (1920, 1080), "square": (1080, 1080), "column": (1050, None)}


def check_format(name: str) -> None:
    """Check that pictures of this kind can be drawn here.

    Args:
        name: suffix of a file without its dot, one of `FORMATS`.

    Raises:
        ValueError: for an unknown format, or for one of `VIDEO` where imageio-ffmpeg is not installed.

    Example:
        >>> check_format("gif")
        >>> check_format("bmp")
        Traceback (most recent call last):
            ...
        ValueError: format is 'bmp'; allowed: gif, mp4, webp, png, pdf, svg, html
    """
    if name not in FORMATS:
        raise ValueError(f"format is {name!r}; allowed: {', '.join(FORMATS)}")
    if name in VIDEO and find_spec("imageio_ffmpeg") is None:
        raise ValueError(f"format {name} needs the extra [video]: pip install 'ift-gridworld[video]'; allowed without: gif")


def check_theme(name: str) -> None:
    """Check that a theme of this name exists.

    Args:
        name: one of `THEME_NAMES`.

    Raises:
        ValueError: for an unknown theme.

    Example:
        >>> check_theme("dark")
        >>> check_theme("pink")
        Traceback (most recent call last):
            ...
        ValueError: theme is 'pink'; allowed: light, dark
    """
    if name not in THEME_NAMES:
        raise ValueError(f"theme is {name!r}; allowed: {', '.join(THEME_NAMES)}")


def check_speed(speed: float) -> None:
    """Check a factor of how fast a film runs.

    Args:
        speed: 1 is the speed at which every caption can be read.

    Raises:
        ValueError: for a factor below 0.1 or above 10.

    Example:
        >>> check_speed(0.5)
        >>> check_speed(0)
        Traceback (most recent call last):
            ...
        ValueError: speed is 0; allowed: a number in [0.1, 10]
    """
    check_interval("speed", speed, SLOWEST, FASTEST)


def poster_of(film: Path) -> Path:
    """Return where the poster of a film lies: beside it, as NAME.poster.png."""
    return film.with_name(f"{film.stem}.poster.png")


@dataclass(frozen=True)
class PictureOptions:
    """Options of a film of runs and of how it is saved, beside its theme.

    Attributes:
        view: a name in `views.VIEWS`; None for the usual film, of maps and charts.
        size: one of `PICTURE_SIZES`; None for the film's own.
        transparent: whether to leave the background out.
        poster: whether to write the last frame beside a film.
        speed: a factor of how fast a film runs, 0.1 to 10; at 1 every caption can be read.
    """

    view: str | None = None
    size: str | None = None
    transparent: bool = False
    poster: bool = False
    speed: float = 1.0

    def check(self, kind: str) -> None:
        """Check that a picture of this kind can have them; whether there is such a view, `views.film_of_view` checks.

        Args:
            kind: suffix of the file without its dot.

        Raises:
            ValueError: if it cannot.

        Example:
            >>> PictureOptions(size="slide", poster=True).check("gif")
            >>> PictureOptions(transparent=True).check("gif")
            Traceback (most recent call last):
                ...
            ValueError: transparent is given with format gif; allowed with: png, svg, webp
        """
        check_format(kind)
        if self.size is not None and self.size not in PICTURE_SIZES:
            raise ValueError(f"picture_size is {self.size!r}; allowed: {', '.join(PICTURE_SIZES)}")
        check_speed(self.speed)
        for name, given, allowed in (
            (f"view {self.view}", self.view is not None, PICTURES),
            (f"picture_size {self.size}", self.size is not None, PICTURES),
            ("transparent", self.transparent, TRANSPARENT),
            ("poster", self.poster, FILMS),
            (f"speed {self.speed:g}", self.speed != 1, FILMS),
        ):
            if given and kind not in allowed:
                raise ValueError(f"{name} is given with format {kind}; allowed with: {', '.join(allowed)}")
