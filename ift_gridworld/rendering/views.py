"""Views of runs: the films that one or more runs can be drawn as, by name. Importing this module loads nothing that draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ift_gridworld._lazy import resolve
from ift_gridworld.checks import check_choice

if TYPE_CHECKING:
    from ift_gridworld.rendering.film import Film
    from ift_gridworld.training.run import Run

__all__ = ["VIEWS", "View", "film_of_view"]


@dataclass(frozen=True)
class View:
    """A way to look at runs.

    Attributes:
        doc: what it shows, in a line.
        film: "module:name" of what makes its film of runs and the name of a theme.
        needs_pairs: whether runs must know how likely the answers of a preference pair are.
    """

    doc: str
    film: str
    needs_pairs: bool = False


VIEWS = {
    "maps": View(
        "the policy on the map: one run with its values and curves, several side by side",
        "ift_gridworld.rendering.pictures:film_of_maps",
    ),
    "plane": View(
        "the preference plane: log-probability of the chosen against the rejected answer, a trajectory a method",
        "ift_gridworld.rendering.plane:PlaneFilm",
        needs_pairs=True,
    ),
}


def film_of_view(view: str, runs: Sequence[Run], theme: str = "light") -> Film:
    """Return the film of some runs in a view.

    Args:
        view: a name in VIEWS.
        runs: one or more, on one environment.
        theme: a name in THEMES.

    Raises:
        ValueError: for an unknown view or theme, or runs that the view cannot show.
    """
    check_choice("view", view, VIEWS)
    film: Film = resolve(VIEWS[view].film)(runs, theme)
    return film
