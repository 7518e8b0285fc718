"""The alignment lab: a page in one file, without a network, on which methods are trained live on a lake that can be changed.

Its scripts stand in the folder ``lab``, as modules beside one another; they are joined here (`modules`).
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ift_gridworld.checks import check_choice, check_interval
from ift_gridworld.envs.maps import parse_map
from ift_gridworld.escape import printable
from ift_gridworld.mdp import Origin
from ift_gridworld.rendering.html_page import fill, line_look, script_json, style_sheet
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.modules import joined_modules
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.run import Run

__all__ = ["METHODS", "lab_page", "save_lab", "start_of"]

MOST_TILES, MOST_METHODS = 12, 6
DISCOUNT = 0.99  # of the lab's lakes
SHARED = ("mixing", "decay", "propagation", "norm", "prediction", "seed")  # settings that the lab and runs have alike
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


def lab_page(start: str = "", runs: Mapping[str, Any] | None = None) -> str:
    """Return the lab's page: HTML with its styles and scripts inside.

    Args:
        start: fragment of an address whose state the page opens with where its own address has none.
        runs: saved runs inside, as `page_data` returns them; without them the page is for training alone.
    """
    folder = files(__package__) / "lab"
    template, style = ((folder / name).read_text(encoding="utf-8") for name in ("lab.html", "lab.css"))
    parts = {
        "TITLE": html.escape(printable(runs["lake"]["title"])) if runs else "Alignment lab",
        "COLOURS": style_sheet(),
        "STYLE": style,
        "LOOKS": script_json({method: line_look(style_of(method)) for method in METHODS}),
        "START": script_json(start),
        "DATA": script_json(runs),
        "SCRIPT": joined_modules("saved", "app").replace("</script", "<\\/script"),
    }
    return fill(template, parts)


def start_of(runs: Sequence[Run]) -> tuple[str, str]:
    """Return the start of a page in which the live view trains as these runs did, and why it cannot, in words, if so.

    The start is a fragment of an address: lake, base, the runs' paths, and the settings that the lab has.
    """
    origin = runs[0].environment
    reason = _why_not_live(origin)
    if origin.rows is None or reason:
        return "", reason
    slip = 1 - (1 / 3 if origin.success_rate is None else origin.success_rate) if origin.is_slippery else 0.0
    state = {"rows": ".".join(origin.rows), "slip": repr(slip), "base": "run"}
    methods = list(dict.fromkeys(run.method for run in runs if run.method in METHODS))[:MOST_METHODS]
    if methods:
        state["methods"] = ",".join(methods)
    if runs[0].settings.get("policy") == "tabular":
        state["policy"] = "table"
    if not origin.is_slippery:
        state |= {name: ",".join(map(str, path)) for name, path in _paths(runs).items()}
    for run in runs:
        state |= {name: str(run.settings[name]) for name in SHARED if isinstance(run.settings.get(name), (int, float, str))}
    return urlencode(state), ""


def _why_not_live(origin: Origin) -> str:
    if origin.rows is None:
        return "Only lakes can be trained on in this page."
    height, width = len(origin.rows), len(origin.rows[0])
    if max(height, width) > MOST_TILES:
        return f"Lakes of up to {MOST_TILES} tiles each way can be trained on in this page; this one has {height} by {width}."
    if origin.discount != DISCOUNT:
        return f"This page trains with a discount of {DISCOUNT}; the run has {origin.discount:g}."
    return ""


def _paths(runs: Sequence[Run]) -> dict[str, list[int]]:
    """Return the states of the demonstration and of the rejected answer, with those that they lead to."""
    paths = {}
    for name in ("demonstration", "rejected"):
        steps = next((getattr(run, name) for run in runs if len(getattr(run, name))), None)
        if steps is not None:
            state, action = steps[-1]
            paths[name] = [*steps[:, 0].tolist(), int(runs[0].mdp.next_state[state, action, 0])]
    return paths


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
