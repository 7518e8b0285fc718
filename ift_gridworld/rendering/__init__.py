"""Pictures of a run: maps on a matplotlib Axes, films, stills. Reads saved records, never a live trainer; needs no display.

`maps` draws on an Axes, `film.MethodFilm` composes a whole picture, `studio.Studio` draws in a process of its own. This file
loads nothing, so that names can be checked before matplotlib is needed.
"""

FORMATS = ("gif", "mp4", "png", "pdf", "svg")
THEME_NAMES = ("light", "dark")
