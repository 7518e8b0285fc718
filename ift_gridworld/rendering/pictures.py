"""Runs as films, stills and pages, by the suffix of the file that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ift_gridworld.checks import check_choice
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.formats import THEME_NAMES, PictureOptions, check_format
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.page import save_page
from ift_gridworld.rendering.views import film_of_view

if TYPE_CHECKING:
    from ift_gridworld.training.run import Run

__all__ = ["film_of", "save_film", "usual_film"]


def film_of(runs: Sequence[Run], theme: str = "light", view: str = "film") -> Film:
    """Return the film of one run, or of several side by side.

    Args:
        runs: one or more, on one environment.
        theme: a name in THEMES.
        view: a name in `views.VIEWS`.

    Raises:
        ValueError: for an unknown theme or view, or an environment that has no map to draw.

    Example::

        film_of([Run.load("sft.json"), Run.load("ift.json")]).frame(0).show()
    """
    check_choice("theme", theme, THEME_NAMES)
    return film_of_view(view, runs, theme)


def usual_film(runs: Sequence[Run], theme: str = "light") -> MethodFilm | ComparisonFilm:
    """Return the film of policies on the map: one run by itself, several side by side.

    Args:
        runs: one or more, on one environment.
        theme: a name in THEMES.
    """
    return MethodFilm(runs[0], theme) if len(runs) == 1 else ComparisonFilm(runs, theme)


def save_film(runs: Sequence[Run], path: Path, theme: str = "light", options: PictureOptions | None = None) -> Path:
    """Draw runs into a file: a film, its last frame, or a page, by the suffix.

    Args:
        runs: one is drawn by itself, several side by side.
        path: where to write; its suffix is one of `formats.FORMATS`.
        theme: a name in THEMES; a page has all of them.
        options: view, size, background and poster; None for the usual ones.

    Returns:
        The path of the picture.

    Raises:
        ValueError: for a suffix, a theme or an option that there is not, or an environment that has no map to draw.

    Example (writes two files)::

        save_film([Run.load("ift.json")], Path("ift.gif"))
    """
    kind, options = path.suffix.removeprefix("."), options or PictureOptions()
    check_format(kind)
    options.check(kind)
    if kind == "html":
        return save_page(runs, path)
    return film_of(runs, theme, options.view).save(
        path, size=options.size, transparent=options.transparent, poster=options.poster
    )
