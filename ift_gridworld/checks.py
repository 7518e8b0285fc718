"""Checks of arguments, shared by all modules: each names the value and what is allowed, in one line."""

from __future__ import annotations

import reprlib
from numbers import Real
from typing import Any

import numpy as np

__all__ = ["check_mdp", "check_probability", "check_whole"]


def check_probability(name: str, value: float) -> None:
    """Refuse, by its name, what is no probability above 0."""
    if not isinstance(value, Real) or not 0 < value <= 1:
        raise ValueError(f"{name} is {value}; allowed: a probability in (0, 1]")


def check_whole(name: str, value: Any, at_least: int) -> int:
    """`value` if it is a whole number that large, refused by its name if it is not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name} is {reprlib.repr(value)}; allowed: a whole number >= {at_least}")
    return int(value)


def check_mdp(mdp: object, name: str = "mdp") -> None:
    """Refuse what is not a finite MDP, above all an environment in its place.

    An MDP is recognised by its arrays, because this module lies below `mdp.py` and cannot import the class.

    Raises:
        ValueError: naming the value and how to get an MDP.
    """
    if all(hasattr(mdp, array) for array in ("next_state", "probability", "reward", "terminated", "start")):
        return
    value = " ".join(reprlib.repr(mdp).split())
    if hasattr(mdp, "step") and hasattr(mdp, "reset"):
        way = "which is an environment; allowed: a TabularMDP, as TabularMDP.from_env(env) gives"
        raise ValueError(f"{name} is {value}, {way}")
    raise ValueError(
        f"{name} is {value}; allowed: a TabularMDP, as TabularMDP.from_env(env) or TabularMDP.from_map(rows) gives"
    )
