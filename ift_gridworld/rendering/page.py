"""A page to play with: one self-contained HTML file of one or more saved runs, for any browser, from disk, without a network.

The runs' snapshots travel as 16-bit integers, so that a run stays well under a megabyte; where a page would grow beyond that,
snapshots are left out evenly, and it says so; the curves are whole. What the page shows and does is in `page.html`.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ift_gridworld.evaluation.metrics import expected_visits, mean_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy, optimal_values
from ift_gridworld.rendering import PICTURES
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.run import Run, check_one_environment

LIMIT = 1_000_000  # bytes of a page
MOST_TILES = 10_000  # each is an element of the page by itself


def save_page(runs: Sequence[Run], path: str | Path) -> Path:
    """Write the page of some runs on one lake.

    Raises:
        ValueError: if the runs are not of one lake, or it has no map to draw, or too large a one.
    """
    check_one_environment(runs, drawn=True)
    check_tiles(runs[0].mdp)
    template = files("ift_gridworld.rendering").joinpath("page.html").read_text(encoding="utf-8")
    most = max(len(run.steps) for run in runs)
    while True:
        data = json.dumps(_data(runs, most), separators=(",", ":")).replace("</", "<\\/")
        page = template.replace("/*TITLE*/", html.escape(_title(runs))).replace("/*COLOURS*/", _colours())
        page = page.replace("/*DATA*/", data)
        size = len(page.encode())
        if size <= LIMIT or most <= 2:
            return write_atomically(path, page.encode())
        most = max(2, min(most - 1, int(most * LIMIT / size)))


def check_tiles(mdp: TabularMDP) -> None:
    """Raise a ValueError if a browser could not hold the map."""
    if mdp.grid is not None and mdp.grid.tiles.size > MOST_TILES:
        count = f"{mdp.grid.tiles.size} tiles, more than the {MOST_TILES} that a browser draws one by one"
        raise ValueError(f"format is 'html', which has no room for {count}; allowed: {', '.join(PICTURES)}")


def _title(runs: Sequence[Run]) -> str:
    names = ", ".join(run.method for run in runs) if len(runs) < 4 else f"{len(runs)} methods"
    return f"{runs[0].environment.name} · {names}"


def _colours() -> str:
    """The themes as style sheets: light, dark where the reader's system is dark, and either by choice."""
    light, dark = (
        "".join(f"--{name}:{value};" for name, value in asdict(THEMES[theme]).items()) + f"--line:{THEMES[theme].faint};"
        for theme in ("light", "dark")
    )
    return (
        f":root{{{light}color-scheme:light}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}color-scheme:dark}}}}\n"
        f":root[data-theme=dark]{{{dark}color-scheme:dark}}"
    )


def _data(runs: Sequence[Run], most: int) -> dict[str, Any]:
    mdp = runs[0].mdp
    grid = mdp.grid
    assert grid is not None
    optimal = optimal_values(mdp)[0]
    methods = [_method(run, most) for run in runs]
    walkable = ~mdp.terminal & (grid.letters != " ")
    values = np.concatenate([evaluate_policy(mdp, run.final)[:, walkable].ravel() for run in runs])
    return {
        "lake": {
            "title": _title(runs),
            "about": f"{runs[0].about} · {runs[0].about_seeds}",
            "rows": grid.height,
            "columns": grid.width,
            "states": mdp.num_states,
            "layout": grid.rows,
            "place": grid.place.tolist() if grid.names else None,  # else state by state, row by row
            "names": grid.names,
            "walls": grid.walls.tolist(),
            "marks": {name: tiles.tolist() for name, tiles in grid.marks.items()},
            "headings": grid.headings,
            "actions": mdp.actions,
            "moves": mdp.moves.tolist(),
            "outcomes": mdp.probability.shape[-1],
            "next": _packed(mdp.next_state, 0, 65535),
            "chance": _packed(mdp.probability),
            "ends": _packed(mdp.terminated),
            "start": int(mdp.start.argmax()),
            "horizon": mdp.horizon,
            "best": _packed(optimal_policy(mdp)),
            "value": _packed(optimal),
        },
        "low": min(0.0, float(np.quantile(values, 0.2))),
        "high": float(optimal[walkable].max()),
        "methods": methods,
    }


def _method(run: Run, most: int) -> dict[str, Any]:
    kept = np.unique(np.linspace(0, len(run.steps) - 1, min(most, len(run.steps))).round().astype(int))
    policy, mdp = run.snapshots[kept], run.mdp
    curves = {}
    for name in ("success", "distance"):
        mean, low, high = mean_interval(run.metrics[name])
        curves[name] = {"mean": _rounded(mean), "low": _rounded(low), "high": _rounded(high)}
    return {
        "name": run.method,
        "title": run.title,
        "needs": run.needs,
        "steps": run.steps.tolist(),  # of the curves
        "kept": kept.tolist(),  # which of them have a policy
        "shown": run.demonstration.tolist(),
        "rejected": run.rejected.tolist(),
        "policy": _packed(policy, 0, 1),
        "value": _packed(evaluate_policy(mdp, policy)),
        "visits": _packed(expected_visits(mdp, policy)),
        "curves": curves,
    }


def _packed(values: np.ndarray, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """As 16-bit integers over a range, little-endian, base64: an error of at most 1/131070 of the range."""
    values = np.asarray(values, float)
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    spread = (high - low) or 1.0
    integers = np.round((values - low) / spread * 65535).astype("<u2")
    return {"low": low, "high": high, "data": base64.b64encode(integers.tobytes()).decode()}


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{v:.5g}") for v in values]
