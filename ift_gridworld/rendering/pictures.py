"""Runs as films, stills and pages, by the suffix of the file that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ift_gridworld.checks import check_choice
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.formats import THEME_NAMES, check_format
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.page import save_page
from ift_gridworld.rendering.views import film_of_view

if TYPE_CHECKING:
    from ift_gridworld.rendering.film import Film
    from ift_gridworld.training.run import Run

__all__ = ["film_of", "film_of_maps", "save_film"]


def film_of(runs: Sequence[Run], theme: str = "light", view: str = "maps") -> Film:
    """Return the film of one run, or of several together.

    Args:
        runs: one or more, on one environment.
        theme: a name in THEMES.
        view: a name in `views.VIEWS`.

    Raises:
        ValueError: for an unknown theme or view, or runs that the view cannot show.

    Example::

        film_of([Run.load("sft.json"), Run.load("ift.json")]).frame(0).show()
    """
    check_choice("theme", theme, THEME_NAMES)
    return film_of_view(view, runs, theme)


def film_of_maps(runs: Sequence[Run], theme: str = "light") -> MethodFilm | ComparisonFilm:
    """Return the film of one run by itself, or of several side by side.

    Args:
        runs: one or more, on one environment.
        theme: a name in THEMES.

    Raises:
        ValueError: for an environment that has no map to draw.
    """
    return MethodFilm(runs[0], theme) if len(runs) == 1 else ComparisonFilm(runs, theme)


def save_film(runs: Sequence[Run], path: Path, theme: str = "light", *, view: str = "maps", speed: float = 1.0) -> Path:
    """Draw runs into a file: a film, its last frame, or a page, by the suffix.

    Args:
        runs: one is drawn by itself, several together.
        path: where to write; its suffix is one of `formats.FORMATS`.
        theme: a name in THEMES; a page has all of them.
        view: a name in `views.VIEWS`; a page has one view.
        speed: a factor of how fast a film runs, as for `Film.save`.

    Returns:
        The path of the picture.

    Raises:
        ValueError: for a suffix, theme, view or speed that there is not, or runs that the view cannot show.

    Example (writes two files)::

        save_film([Run.load("ift.json")], Path("ift.gif"))
    """
    check_format(path.suffix.removeprefix("."))
    if path.suffix == ".html":
        return save_page(runs, path)
    return film_of(runs, theme, view).save(path, speed=speed)
