"""JavaScript modules joined into one script, so that a page needs no network, no server and no build step.

A module becomes a function whose result is an object of what it exports; an import becomes the reading of that object.
"""

from __future__ import annotations

import re
from importlib.resources import files

__all__ = ["joined_modules"]

IMPORT = re.compile(r'^import\s+(\*\s+as\s+\w+|\{[^}]*\})\s+from\s+"\./([\w-]+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:class|function|const|let) (\w+)", re.MULTILINE)
EXPORT_LIST = re.compile(r"^export \{([^}]*)\};\n", re.MULTILINE)


def joined_modules(*names: str) -> str:
    """Return a script that runs these modules and those that they import, each once, dependencies first.

    What the modules export is on the object ``modules``: ``modules.planning.optimalValues``.

    Args:
        names: of modules in the folder ``lab``, without their suffix.

    Raises:
        ValueError: for modules that import each other in a circle, or a form of import or export that is not joined.
    """
    done: dict[str, str] = {}
    for name in names:
        _add(name, done, ())
    return "const modules = {};\n" + "".join(done.values())


def _add(name: str, done: dict[str, str], importing: tuple[str, ...]) -> None:
    if name in importing:
        raise ValueError(f"modules import each other: {' -> '.join((*importing, name))}")
    if name in done:
        return
    source = (files(__package__) / "lab" / f"{name}.js").read_text(encoding="utf-8")
    for _, other in IMPORT.findall(source):
        _add(other, done, (*importing, name))
    exported = EXPORT.findall(source)
    for names in EXPORT_LIST.findall(source):
        exported += [part.strip() for part in names.split(",") if part.strip()]
    source = IMPORT.sub(lambda m: f"const {m[1].replace('* as ', '').replace(' as ', ': ')} = modules.{m[2]};\n", source)
    source = EXPORT_LIST.sub("", source)
    source = re.sub(r"^export (?=(?:async )?(?:class|function|const|let) )", "", source, flags=re.MULTILINE)
    left = re.search(r"^(?:import|export)\b.*", source, re.MULTILINE)
    if left:
        raise ValueError(
            f"{name}.js has {left[0]!r}, which is not joined; allowed: import {{…}} or * from, export before a name"
        )
    done[name] = f"modules.{name} = (() => {{\n{source}return {{ {', '.join(exported)} }};\n}})();\n"
