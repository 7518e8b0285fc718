"""Checks of arguments, shared by all modules: each names the value and what is allowed, in one line."""

from __future__ import annotations

import reprlib
from numbers import Real
from typing import Any

import numpy as np


def check_probability(name: str, value: float) -> None:
    """Refuse, by its name, what is no probability above 0."""
    if not isinstance(value, Real) or not 0 < value <= 1:
        raise ValueError(f"{name} is {value}; allowed: a probability in (0, 1]")


def check_whole(name: str, value: Any, at_least: int) -> int:
    """`value` if it is a whole number that large, refused by its name if it is not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name} is {reprlib.repr(value)}; allowed: a whole number >= {at_least}")
    return int(value)
