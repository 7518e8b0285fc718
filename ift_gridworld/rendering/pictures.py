"""Runs as films, stills and pages, by the suffix of the file that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ift_gridworld.checks import check_choice
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.formats import THEME_NAMES, PictureOptions, check_format
from ift_gridworld.rendering.large_film import LargeLakeFilm, is_large
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.optimal_still import OptimalPolicyStill
from ift_gridworld.rendering.page import save_page
from ift_gridworld.rendering.small_maps import small_maps
from ift_gridworld.rendering.small_maps_film import SmallMapsFilm, has_small_maps
from ift_gridworld.rendering.small_maps_still import OptimalRouteStill
from ift_gridworld.rendering.views import film_of_view

if TYPE_CHECKING:
    from ift_gridworld.training.run import Run

__all__ = ["film_of", "save_film", "still_of"]


def film_of(runs: Sequence[Run], theme: str = "light", view: str | None = None) -> Film:
    """Return the film of one run, or of several side by side.

    A lake too large for single tiles to be seen is filmed along its demonstration, a grid of small maps (a taxi's) by
    the maps that the demonstration leads through and an index of all others.

    Args:
        runs: one or more, on one environment.
        theme: a name in THEMES.
        view: a name in `views.VIEWS`; None for the usual film, of maps and charts.

    Raises:
        ValueError: for an unknown theme or view, or an environment that has no map to draw.

    Example::

        film_of([Run.load("sft.json"), Run.load("ift.json")]).frame(0).show()
    """
    check_choice("theme", theme, THEME_NAMES)
    if view is not None:
        return film_of_view(view, runs, theme)
    if is_large(runs[0]):
        return LargeLakeFilm(runs, theme)
    if has_small_maps(runs[0]):
        return SmallMapsFilm(runs, theme)
    return MethodFilm(runs[0], theme) if len(runs) == 1 else ComparisonFilm(runs, theme)


def still_of(title: str, environments: Mapping[str, TabularMDP], theme: str = "light") -> Film:
    """Return a still of the optimal policy of an environment, or of several versions of it side by side.

    Args:
        title: what is shown, for those who cannot see it.
        environments: MDPs of one layout, by the name that stands above each.
        theme: a name in THEMES.

    Raises:
        ValueError: if the MDPs have no map, or for an unknown theme.

    Example (writes two files)::

        still_of("FrozenLake", {"no slip": TabularMDP.make("4x4")}).save("lake.png")
    """
    of_small_maps = bool(small_maps(next(iter(environments.values())).grid))
    return (OptimalRouteStill if of_small_maps else OptimalPolicyStill)(title, environments, theme)


def save_film(runs: Sequence[Run], path: Path, theme: str = "light", **options: Any) -> Path:
    """Draw runs into a file: a film, its last frame, or a page, by the suffix.

    Args:
        runs: one is drawn by itself, several together.
        path: where to write; its suffix is one of `formats.FORMATS`.
        theme: a name in THEMES; a page has all of them.
        options: view, size, transparent, poster, speed, as `formats.PictureOptions` has them.

    Returns:
        The path of the picture.

    Raises:
        ValueError: for a suffix, a theme or an option that there is not, or runs that cannot be drawn so.

    Example (writes two files)::

        save_film([Run.load("ift.json")], Path("ift.gif"))
    """
    kind, chosen = path.suffix.removeprefix("."), PictureOptions(**options)
    check_format(kind)
    chosen.check(kind)
    if kind == "html":
        return save_page(runs, path)
    film = film_of(runs, theme, chosen.view)
    return film.save(path, size=chosen.size, transparent=chosen.transparent, poster=chosen.poster, speed=chosen.speed)
