"""Pictures that do not depend on the user's matplotlib settings, and leave them as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import matplotlib as mpl

__all__ = ["OWN_SETTINGS", "isolated", "own_settings"]

# The backend is no matter of looks: reading it would load one, setting it could change the user's.
BACKEND = ("backend", "backend_fallback", "interactive", "toolbar", "timezone")
OWN_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "ift_gridworld",  # names inside an SVG are drawn from it
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # whole fonts, as publishers ask
}
_is_active = False  # whether matplotlib's settings are ours now; they are the whole process's, as this is
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@contextmanager
def own_settings(**more: Any) -> Iterator[None]:
    """Draw with matplotlib's own defaults and `OWN_SETTINGS`, whatever the user, a style or a matplotlibrc has set.

    Args:
        more: further settings of matplotlib's, which win.
    """
    global _is_active
    if _is_active and not more:  # within another such block: settings are right already
        yield
        return
    outer, _is_active = _is_active, True
    try:
        with mpl.rc_context():
            # As `rcdefaults` and `rc_context` do it themselves: validating 300 values in each frame would cost milliseconds.
            settings, defaults = (cast(dict[str, Any], table) for table in (mpl.rcParams, mpl.rcParamsDefault))
            kept = {key: value for key, value in dict.items(defaults) if key not in BACKEND}
            dict.update(settings, {**kept, **OWN_SETTINGS})
            mpl.rcParams.update(cast(Any, more))
            yield
    finally:
        _is_active = outer


def isolated(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function draw under `own_settings`."""

    @wraps(function)
    def under_own_settings(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with own_settings():
            return function(*args, **kwargs)

    return under_own_settings
