"""Checks of arguments, shared by all modules: each names the value and what is allowed, in one line."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import fields
from numbers import Real
from typing import Any

__all__ = [
    "check_choice", "check_finite", "check_interval", "check_mdp", "check_memory", "check_not_negative", "check_positive",
    "check_probability", "check_whole", "check_whole_numbers", "is_number", "listing", "memory_size", "read_variable",
    "suggestion", "unbox_fields", "unboxed",
]  # fmt: skip


def unboxed(value: Any) -> Any:
    """Return a scalar of NumPy or torch, or an array of no dimension, as Python's own number; anything else as it is.

    >>> import numpy as np
    >>> unboxed(np.int64(3)), unboxed(np.array(0.5)), unboxed(np.True_), unboxed([1])
    (3, 0.5, True, [1])
    """
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def unbox_fields(options: Any) -> None:
    """Replace each field of a frozen dataclass by its `unboxed` value: files and torch's generators take no other's numbers."""
    for entry in fields(options):
        object.__setattr__(options, entry.name, unboxed(getattr(options, entry.name)))


def is_number(value: Any) -> bool:
    """Return whether a value is a real number; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_probability(name: str, value: Any) -> float:
    """Return the number, unboxed; raise a ValueError unless it is a probability above 0."""
    value = unboxed(value)
    if not is_number(value) or not 0 < value <= 1:
        raise ValueError(f"{name} is {value}; allowed: a probability in (0, 1]")
    return value


def check_whole(name: str, value: Any, at_least: int) -> int:
    """Return the number, unboxed; raise a ValueError unless it is a whole number that large."""
    value = unboxed(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ValueError(f"{name} is {reprlib.repr(value)}; allowed: a whole number >= {at_least}")
    return value


def check_whole_numbers(name: str, values: Any, at_least: int) -> tuple[int, ...]:
    """Return the numbers, unboxed; raise a ValueError unless all are whole and that large."""
    try:
        if isinstance(values, str | bytes):
            raise TypeError
        return tuple(check_whole(name, value, at_least) for value in values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {reprlib.repr(values)}; allowed: whole numbers >= {at_least}") from None


def read_variable(name: str, default: int) -> int:
    """Return the whole number >= 0 that an environment variable holds, the default where it is not set, or empty."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"the environment variable {name} is {text!r}; allowed: a whole number >= 0, or unset")
    return int(text)


def check_interval(name: str, value: Any, low: float, high: float, *, open_end: bool = False) -> float:
    """Return the number, unboxed; raise a ValueError unless it is in [low, high], or [low, high) with an `open_end`."""
    value = unboxed(value)
    if not is_number(value) or not low <= value <= high or (open_end and value == high):
        if (low, high) == (0, float("inf")):
            raise ValueError(f"{name} is {value!r}; allowed: a number >= 0")
        raise ValueError(f"{name} is {value!r}; allowed: a number in [{low:g}, {high:g}{')' if open_end else ']'}")
    return value


def check_positive(name: str, value: Any, below: float | None = 1e30) -> float:
    """Return the number, unboxed; raise a ValueError unless it is above 0, and below the bound if there is one."""
    value = unboxed(value)
    if not is_number(value) or not float(value) > 0 or (below is not None and not float(value) < below):
        raise ValueError(f"{name} is {value!r}; allowed: a number > 0{'' if below is None else f' (and below {below:g})'}")
    return value


def check_not_negative(name: str, value: Any, below: float = 1e30) -> float:
    """Return the number, unboxed; raise a ValueError unless it is 0 or above, and below the bound."""
    value = unboxed(value)
    if not is_number(value) or not 0 <= float(value) < below:
        raise ValueError(f"{name} is {value!r}; allowed: a number >= 0 (and below {below:g})")
    return value


def check_finite(name: str, value: Any) -> float:
    """Return the number, unboxed; raise a ValueError unless it is finite."""
    value = unboxed(value)
    if not is_number(value) or not abs(float(value)) < float("inf"):
        raise ValueError(f"{name} is {value!r}; allowed: a finite number")
    return value


def check_choice(name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raise a ValueError unless `value` is one of those allowed; the message suggests the nearest."""
    allowed, value = list(allowed), unboxed(value)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; {suggestion(value, allowed)}allowed: {', '.join(map(str, allowed))}")


def memory_size() -> float:
    """Return the bytes of memory of this machine; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return float("inf")


def check_memory(need: float, name: str, allowed: str) -> None:
    """Raise a ValueError, before anything is allocated, for what this machine cannot hold.

    Args:
        need: in bytes.
        name: what needs it.
        allowed: what needs less.
    """
    if need > memory_size():
        sizes = f"takes {need / 2**30:.1f} GiB of memory, and this machine has {memory_size() / 2**30:.1f}"
        raise ValueError(f"{name}, which {sizes}; allowed: {allowed}")


def listing(names: Sequence[str], most: int = 8) -> str:
    """Return names with commas between, the first `most` of them where there are many.

    >>> listing(["sft", "ift", "dpo"]), listing(["sft", "ift", "dpo"], most=1)
    ('sft, ift, dpo', 'sft and 2 others')
    """
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} others"


def suggestion(value: Any, allowed: Iterable[Any]) -> str:
    """Return ``"did you mean X? "`` for the nearest allowed name, or an empty string where none is near.

    >>> suggestion("mixng", ["mixing", "decay"])
    'did you mean mixing? '
    """
    from difflib import get_close_matches

    names = {str(name).lstrip("-"): name for name in allowed}  # the dashes of two flags would make them alike
    near = get_close_matches(str(value).lstrip("-"), names, n=1, cutoff=0.65)
    return f"did you mean {names[near[0]]}? " if near else ""


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
