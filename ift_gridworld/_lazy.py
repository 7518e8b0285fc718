"""Names that load their module on first use, so that importing a package stays cheap and rooms know only those below them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy_names", "resolve"]


def lazy_names(
    package: str, public: Sequence[str], homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package (PEP 562).

    Args:
        package: the package's `__name__`.
        public: its `__all__`, which is all that `dir` lists.
        homes: for each module of the package, the names that it loads on first use.
    """
    home = {name: f"{package}.{module}" for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name in home:
            return getattr(import_module(home[name]), name)
        if name.startswith("_"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:  # a submodule, as in `ift_gridworld.planning`
            return import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return get, lambda: sorted(public)


def resolve(name: str) -> Any:
    """Return what ``"package.module:attribute"`` names, loading the module.

    With it a room calls what lies above it and is loaded only if it is asked for: a run is drawn by `rendering`.

    >>> resolve("math:floor")(2.5)
    2
    """
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
