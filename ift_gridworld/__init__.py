"""Alignment made visible and checkable: SFT, RLHF, DPO and IFT on lakes whose optimal policy is known.

Importing the package registers its environments with Gymnasium and loads nothing heavier; modules are loaded on first use.
"""

from importlib import import_module
from typing import Any

from ift_gridworld.envs import register as _register
from ift_gridworld.version import __version__

__all__ = ["METHODS", "TabularMDP", "__version__", "make_env", "train"]

_HOME = {"METHODS": "methods", "TabularMDP": "mdp", "make_env": "envs", "train": "training"}

_register()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
