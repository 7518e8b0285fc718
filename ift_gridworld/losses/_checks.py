"""Checks of the loss core's arguments: each error names the value and what is allowed, in one line.

They stay here rather than in `ift_gridworld.checks`, so that the loss core depends on torch and `log_probs` alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

__all__ = [
    "check_choice",
    "check_finite",
    "check_label_smoothing",
    "check_not_negative",
    "check_positive",
    "check_positive_and_finite",
    "check_same_shape",
    "check_same_steps",
    "check_unit_interval",
]


def check_same_steps(**values: Tensor) -> None:
    """Refuse tensors whose last axis, the steps, differs, or whose shapes do not match (`check_same_shape`)."""
    check_same_shape(**values)
    if len({value.shape[-1:] for value in values.values()}) > 1 or any(value.ndim == 0 for value in values.values()):
        raise ValueError(f"{_shapes(values)}: the steps (last axis) must match")


def check_same_shape(**values: Tensor) -> None:
    """Refuse shapes that do not broadcast, or that broadcasting would enlarge: [B] with [B, 1] is a mistake, not B² pairs."""
    shapes = [tuple(value.shape) for value in values.values()]
    try:
        fits = np.broadcast_shapes(*shapes) in shapes  # torch's own function imports sympy first, a third of a second
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{_shapes(values)}: these shapes do not match")


def _shapes(values: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in values.items())


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is not above 0, NaN included."""
    if not value > 0:
        raise ValueError(f"{name} is {value}; allowed: > 0")


def check_finite(name: str, value: float) -> None:
    """Refuse infinities and NaN."""
    if not abs(value) < math.inf:
        raise ValueError(f"{name} is {value}; allowed: a finite number")


def check_positive_and_finite(name: str, value: float) -> None:
    """Refuse a number that is not above 0 and finite."""
    check_positive(name, value)
    check_finite(name, value)


def check_not_negative(name: str, value: float) -> None:
    """Refuse a number below 0, infinities and NaN."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}; allowed: a finite number >= 0")


def check_label_smoothing(value: float) -> None:
    """Refuse a share of wrong labels outside [0, 0.5), NaN included."""
    if not 0 <= value < 0.5:
        raise ValueError(f"label_smoothing is {value}; allowed: [0, 0.5)")


def check_unit_interval(name: str, value: float) -> None:
    """Refuse a number outside [0, 1], NaN included."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; allowed: [0, 1]")


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is not among the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
