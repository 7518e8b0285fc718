"""Views of runs that stand beside the usual film: their names, what each shows, and where it is drawn. Loads no matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ift_gridworld._lazy import resolve
from ift_gridworld.checks import check_choice

if TYPE_CHECKING:
    from ift_gridworld.rendering.film import Film

__all__ = ["VIEWS", "find_view"]

# By name: the class of the film, called with runs and a theme, and what it shows.
VIEWS: dict[str, tuple[str, str]] = {
    "flow": ("flow:FlowFilm", "arrows as wide as steps are often taken, and visits less those of the optimal policy"),
    "walks": ("flow:WalksFilm", "the same with sampled episodes, on the same random numbers for all methods"),
    "seeds": ("seeds_view:SeedsFilm", "every seed as a dot: success or regret, distance, log-probability of both answers"),
}


def find_view(name: str) -> Callable[[Any, str], Film]:
    """Return the film of that view, a class that takes runs and the name of a theme.

    Args:
        name: one of `VIEWS`.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> find_view("seeds").__name__
        'SeedsFilm'
        >>> find_view("dots")
        Traceback (most recent call last):
            ...
        ValueError: view is 'dots'; allowed: flow, walks, seeds
    """
    check_choice("view", name, VIEWS)
    view: Callable[[Any, str], Film] = resolve(f"ift_gridworld.rendering.{VIEWS[name][0]}")
    return view
