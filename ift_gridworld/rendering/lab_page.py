"""The alignment lab: a page in one file, without a network, on which methods are trained live on a lake that can be changed.

Its scripts stand in the folder ``lab``, as modules beside one another; they are joined here (`modules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlencode

from ift_gridworld.checks import check_choice, check_interval
from ift_gridworld.envs.maps import parse_map
from ift_gridworld.rendering.html_page import fill, script_json, style_sheet
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.modules import joined_modules
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.storage import write_atomically

__all__ = ["METHODS", "lab_page", "save_lab"]

MOST_TILES, MOST_METHODS = 12, 6
METHODS = ("sft", "ift", "dpo", "tdpo", "ipo", "orpo", "simpo", "ppo", "ppo_exact")  # those of lab/training.js


def save_lab(path: str | Path, rows: Sequence[str] | None = None, *, slip: float = 0.0, methods: Sequence[str] = ()) -> Path:
    """Write the lab as one HTML file.

    Args:
        path: where to write.
        rows: the map that it opens with, rows of S F H G, of 2 to 12 tiles each way (default: two-paths).
        slip: probability that a move goes to one side, from 0 to 2/3.
        methods: up to six of `METHODS` that it opens with (default: SFT, IFT, DPO and PPO).

    Returns:
        The path.

    Raises:
        ValueError: for a map, a slip or methods that the page does not take.
        OSError: if the file cannot be written.

    Example (writes a file)::

        save_lab("lab.html", ["SFF", "FHF", "FFG"], slip=0.2)
    """
    return write_atomically(path, lab_page(_fragment(rows, slip, methods)).encode())


def lab_page(start: str = "") -> str:
    """Return the lab's page: HTML with its styles and scripts inside.

    Args:
        start: fragment of an address whose state the page opens with where its own address has none.
    """
    folder = files(__package__) / "lab"
    template, style = ((folder / name).read_text(encoding="utf-8") for name in ("lab.html", "lab.css"))
    parts = {
        "COLOURS": style_sheet(),
        "STYLE": style,
        "STYLES": script_json(_method_styles()),
        "START": script_json(start),
        "SCRIPT": joined_modules("app").replace("</script", "<\\/script"),
    }
    return fill(template, parts)


def _fragment(rows: Sequence[str] | None, slip: float, methods: Sequence[str]) -> str:
    state: dict[str, str] = {}
    if rows is not None:
        rows = parse_map(rows)
        shape = (len(rows), len(rows[0]))
        if max(shape) > MOST_TILES:
            raise ValueError(f"the map has {shape[0]} by {shape[1]} tiles; allowed in the lab: up to {MOST_TILES} each way")
        state["rows"] = ".".join(rows)
    if check_interval("slip", slip, 0, 2 / 3 + 1e-12):
        state["slip"] = repr(slip)
    if len(methods) > MOST_METHODS:
        raise ValueError(f"method has {len(methods)} names; allowed in the lab: up to {MOST_METHODS}")
    for method in methods:
        check_choice("method", method, METHODS)
    if methods:
        state["methods"] = ",".join(dict.fromkeys(methods))
    return urlencode(state)


def _method_styles() -> dict[str, dict[str, dict[str, object]]]:
    """Colour and dash, in pixels, of each method, by theme."""

    def dash(method: str) -> list[float]:
        line = style_of(method).dash
        return [] if isinstance(line, str) else [2 * length for length in line[1]]

    return {
        name: {method: {"colour": style_of(method).colour(theme), "dash": dash(method)} for method in METHODS}
        for name, theme in THEMES.items()
    }
