"""Views of runs that stand beside the usual film: their names, what each shows, and where it is drawn. Loads no matplotlib."""

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
    """A way to look at one run or several.

    Attributes:
        doc: what it shows, in a line.
        film: "module:class" of its film, made of runs and the name of a theme.
        needs_pairs: whether runs must know how likely the answers of a preference pair are.
        needs_map: whether the environment must have a map.
    """

    doc: str
    film: str
    needs_pairs: bool = False
    needs_map: bool = False


VIEWS = {
    "plane": View(
        "the preference plane: log-probability of the chosen against the rejected answer, a trajectory a method",
        "plane:PlaneFilm",
        needs_pairs=True,
    ),
    "frontier": View(
        "the frontier plane: return against KL from the base, a trajectory a method, below the best that any policy can do",
        "frontier_plane:FrontierFilm",
    ),
    "flow": View(
        "arrows as wide as steps are often taken, and visits less those of the optimal policy", "flow:FlowFilm", needs_map=True
    ),
    "walks": View(
        "the same with sampled episodes, on the same random numbers for all methods", "flow:WalksFilm", needs_map=True
    ),
    "seeds": View("every seed as a dot: success or regret, distance, log-probability of both answers", "seeds_view:SeedsFilm"),
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
    film: Film = resolve(f"ift_gridworld.rendering.{VIEWS[view].film}")(runs, theme)
    return film
