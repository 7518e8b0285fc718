"""Modules of the user's that register methods, metrics and environments, imported when they are asked for.

Named with ``--plugin my_module`` (or the path of a file), or by an installed package's entry points in the group
``ift_gridworld.plugins``.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

__all__ = ["GROUP", "load_installed", "load_plugins", "loaded_plugins"]

GROUP = "ift_gridworld.plugins"
_loaded: dict[str, None] = {}


def loaded_plugins() -> list[str]:
    """Return the names of the plugins loaded so far, as another process can load them."""
    return list(_loaded)


def load_plugins(names: Iterable[str]) -> None:
    """Import modules by name, the current folder included, or files by path; each once.

    Raises:
        ValueError: in one line, for a module that cannot be imported, or that registers a name twice.
    """
    for name in names:
        if name in _loaded:
            continue
        try:
            if name.endswith(".py"):
                _import_file(Path(name))
            else:
                _import_name(name)
        except SystemExit as error:
            raise ValueError(f"plugin {name!r} cannot be imported: it exits with {error.code!r}") from error
        except Exception as error:
            raise ValueError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}") from error
        _loaded[name] = None


def load_installed() -> None:
    """Import what installed packages name in their entry points."""
    load_plugins(entry.value for entry in entry_points(group=GROUP))


def _import_name(name: str) -> None:
    sys.path.insert(0, str(Path.cwd()))
    try:
        import_module(name)
    finally:
        sys.path.remove(str(Path.cwd()))


def _import_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
