"""Parts that all HTML pages share: template, data for a script, the themes as a style sheet, and the looks of methods."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.markers import MarkerStyle

from ift_gridworld.rendering.method_style import MethodStyle
from ift_gridworld.rendering.theme import THEMES, Theme

__all__ = ["fill", "line_look", "script_json", "style_sheet"]

LINE = 2.2  # pixels: width of a line in a chart, which lengths of dashes are multiples of


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


def line_look(style: MethodStyle) -> dict[str, Any]:
    """Return how charts of a page draw a method: the number of its hue, its dashes in pixels, and its marker.

    The marker is polygons around the origin, each [x, y, x, y, ...], that reach to 1.

    Example:
        >>> from ift_gridworld.rendering.method_style import style_of
        >>> line_look(style_of("dpo"))["dash"], len(line_look(style_of("dpo"))["marker"][0])
        ([], 8)
    """
    dash = [] if isinstance(style.dash, str) else [round(LINE * part, 1) for part in style.dash[1]]
    marker = MarkerStyle(style.marker)
    path = marker.get_path().transformed(marker.get_transform())
    polygons = [np.asarray(polygon)[:-1] * (1, -1) for polygon in path.to_polygons(closed_only=True)]
    size = np.abs(np.concatenate(polygons)).max()
    return {"hue": style.hue, "dash": dash, "marker": [(polygon / size).round(2).ravel().tolist() for polygon in polygons]}
