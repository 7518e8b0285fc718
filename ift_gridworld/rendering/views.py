"""Views of runs by name: what each shows, and where it is drawn. Loads no matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ift_gridworld._lazy import resolve
from ift_gridworld.checks import check_choice

if TYPE_CHECKING:
    from ift_gridworld.rendering.film import Film
    from ift_gridworld.training.run import Run

__all__ = ["VIEWS", "film_of_view"]

# By name: what makes the film of runs and the name of a theme, and what it shows.
VIEWS: dict[str, tuple[str, str]] = {
    "film": ("pictures:usual_film", "policy, visits and change on the map, and charts"),
    "flow": ("flow:FlowFilm", "arrows as wide as steps are often taken, and visits less those of the optimal policy"),
    "walks": ("flow:WalksFilm", "the same with sampled episodes, on the same random numbers for all methods"),
}


def film_of_view(view: str, runs: Sequence[Run], theme: str = "light") -> Film:
    """Return the film of runs in a view.

    Args:
        view: a name in `VIEWS`.
        runs: one or more, on one environment.
        theme: a name in THEMES.

    Raises:
        ValueError: for an unknown view or theme, or runs that the view cannot show.
    """
    check_choice("view", view, VIEWS)
    make: Callable[[Sequence[Run], str], Film] = resolve(f"ift_gridworld.rendering.{VIEWS[view][0]}")
    return make(runs, theme)
