"""The alignment lab: a page in one file, without a network, on which methods are trained live on a lake that can be changed.

Its scripts stand in the folder ``lab``, as modules beside one another; they are joined here (`modules`).
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.modules import joined_modules
from ift_gridworld.rendering.theme import THEMES, style_sheet
from ift_gridworld.storage import write_atomically

__all__ = ["lab_page", "save_lab"]

METHODS = ("sft", "ift", "dpo", "ipo", "orpo", "simpo", "ppo", "ppo_exact")  # those of lab/training.js


def save_lab(path: str | Path) -> Path:
    """Write the lab as one HTML file.

    Args:
        path: where to write.

    Returns:
        The path.

    Raises:
        OSError: if the file cannot be written.
    """
    return write_atomically(path, lab_page().encode())


def lab_page() -> str:
    """Return the lab's page: HTML with its styles and scripts inside."""
    folder = files(__package__) / "lab"
    template, style = ((folder / name).read_text(encoding="utf-8") for name in ("lab.html", "lab.css"))
    parts = {
        "COLOURS": style_sheet(),
        "STYLE": style,
        "STYLES": json.dumps(_method_styles()).replace("<", "\\u003c"),
        "SCRIPT": joined_modules("app").replace("</script", "<\\/script"),
    }
    return re.sub(r"/\*([A-Z]+)\*/", lambda name: parts[name[1]], template)


def _method_styles() -> dict[str, dict[str, dict[str, object]]]:
    """Colour and dash, in pixels, of each method, by theme."""

    def dash(method: str) -> list[float]:
        line = style_of(method).dash
        return [] if isinstance(line, str) else [2 * length for length in line[1]]

    return {
        name: {method: {"colour": style_of(method).colour(theme), "dash": dash(method)} for method in METHODS}
        for name, theme in THEMES.items()
    }
