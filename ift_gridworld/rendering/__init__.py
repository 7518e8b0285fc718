"""Pictures of a run: maps on a matplotlib Axes, films, stills. Reads saved records, never a live trainer; needs no display."""

from ift_gridworld.rendering.film import FORMATS, MethodFilm
from ift_gridworld.rendering.theme import THEMES, Theme

__all__ = ["FORMATS", "THEMES", "MethodFilm", "Theme"]
