"""Kinds of pictures and names of themes, so that a caller can check them before anything that draws is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from ift_gridworld.checks import check_interval

__all__ = ["FILMS", "FORMATS", "PICTURES", "STILLS", "THEME_NAMES", "VIDEO", "check_format", "check_speed", "check_theme"]

VIDEO = ("mp4", "webp")  # films that the extra [video] writes
STILLS = ("png", "pdf", "svg")
FILMS = ("gif", *VIDEO)
PICTURES = (*FILMS, *STILLS)  # what one film can be written as
FORMATS = (*PICTURES, "html")
THEME_NAMES = ("light", "dark")
SLOWEST, FASTEST = 0.1, 10.0  # factors


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
