"""What all HTML pages share: the filling of a template, data for a script, and the themes as a style sheet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict

from ift_gridworld.rendering.theme import THEMES, Theme

__all__ = ["fill", "script_json", "style_sheet"]


def fill(template: str, parts: Mapping[str, str]) -> str:
    """Replace each /*NAME*/ in one pass, so that what is filled in is not looked at again.

    Args:
        template: text with names in capitals.
        parts: the text for each name.

    Raises:
        KeyError: for a name without a text.

    Example:
        >>> fill("<b>/*WORD*/</b>", {"WORD": "/*WORD*/"})
        '<b>/*WORD*/</b>'
    """
    return re.sub(r"/\*([A-Z]+)\*/", lambda name: parts[name[1]], template)


def script_json(value: object) -> str:
    """Return a value as JSON for a script element, which no text in it can end or leave.

    Raises:
        ValueError: for a number that is not finite.

    Example:
        >>> script_json({"a": "</script>"})
        '{"a":"\\\\u003c/script>"}'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def style_sheet() -> str:
    """Return the themes as variables of CSS: light, dark where the reader's system is dark, and either by choice.

    The hues of methods are ``--method-0`` and so on, in the order of `method_style.HUES`.

    Example:
        >>> style_sheet().splitlines()[0].startswith(":root{--background:#ffffff;")
        True
    """
    light, dark = (_variables(THEMES[name]) for name in ("light", "dark"))
    return (
        f":root{{{light}color-scheme:light}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}color-scheme:dark}}}}\n"
        f":root[data-theme=dark]{{{dark}color-scheme:dark}}"
    )


def _variables(theme: Theme) -> str:
    single = "".join(f"--{name}:{value};" for name, value in asdict(theme).items() if isinstance(value, str))
    return single + "".join(f"--method-{i}:{colour};" for i, colour in enumerate(theme.methods))
