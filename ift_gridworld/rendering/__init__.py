"""Pictures of a run: maps on a matplotlib Axes, films, stills. Reads saved records, never a live trainer; needs no display.

`maps` draws on an Axes, `film.MethodFilm` composes a whole picture, `studio.Studio` draws in a process of its own. This file
loads nothing, so that names can be checked before matplotlib is needed.
"""

from importlib.util import find_spec

FORMATS = ("gif", "mp4", "png", "pdf", "svg")
THEME_NAMES = ("light", "dark")


def check_format(name: str) -> None:
    """Raise a ValueError if pictures of this kind cannot be drawn here."""
    if name not in FORMATS:
        raise ValueError(f"format is {name!r}; allowed: {', '.join(FORMATS)}")
    if name == "mp4" and find_spec("imageio_ffmpeg") is None:
        raise ValueError("format mp4 needs the extra [video]: pip install 'ift-gridworld[video]'; allowed without: gif")
