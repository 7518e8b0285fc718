"""Pictures of runs: maps on an Axes, films, stills, a page. Reads saved runs, never a live trainer; needs no display.

`maps` draws on an Axes; `method_film` and `comparison` compose whole pictures of one run and of several; `page` writes them as
one HTML file; `worker` draws in a process of its own. This file loads nothing, so that names can be checked before matplotlib
is needed.
"""

from importlib.util import find_spec

VIDEO = ("mp4", "webp")  # films that the extra [video] writes
STILLS = ("png", "pdf", "svg")
PICTURES = ("gif", *VIDEO, *STILLS)  # what one film can be written as
FORMATS = (*PICTURES, "html")
THEME_NAMES = ("light", "dark")


def check_format(name: str) -> None:
    """Raise a ValueError if pictures of this kind cannot be drawn here."""
    if name not in FORMATS:
        raise ValueError(f"format is {name!r}; allowed: {', '.join(FORMATS)}")
    if name in VIDEO and find_spec("imageio_ffmpeg") is None:
        raise ValueError(f"format {name} needs the extra [video]: pip install 'ift-gridworld[video]'; allowed without: gif")
