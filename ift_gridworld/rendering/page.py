"""A page to play with: one self-contained HTML file of one or more saved runs, for any browser, from disk, without a network.

Snapshots are stored as 16-bit integers, so that a run stays well under a megabyte. Where a page would grow beyond that,
snapshots are left out evenly, and the page says so; the curves are complete. What the page shows and does is in `page.html`.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ift_gridworld.evaluation.metrics import expected_visits, metric_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy, optimal_values
from ift_gridworld.rendering.formats import PICTURES
from ift_gridworld.rendering.maps import grid_of
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.rendering.tile_kinds import tile_words
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.run import Run, check_one_environment, shared_custom_metrics
from ift_gridworld.training.together import about_seeds, drawn_together, seed_of, shared_headline

__all__ = ["MAX_BYTES", "MAX_TILES", "check_tiles", "save_page"]

MAX_BYTES = 1_000_000  # of a page, as long as two snapshots a run fit
MAX_TILES = 10_000  # each is an element of the page by itself


def save_page(runs: Sequence[Run], path: str | Path) -> Path:
    """Write the page of some runs on one lake.

    Args:
        runs: the runs.
        path: where to write, NAME.html.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix; if the runs are not of one lake, it has no map or too large a one, or a metric is
            not a finite number.
        OSError: if the file cannot be written.

    Example (writes a file)::

        save_page([Run.load("sft.json"), Run.load("ift.json")], "lake.html")
    """
    check_one_environment(runs, drawn=True)
    runs = drawn_together(runs)
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"the page's path is {str(path)!r}; allowed: one that ends in .html")
    check_tiles(runs[0].mdp)
    template = files("ift_gridworld.rendering").joinpath("page.html").read_text(encoding="utf-8")
    snapshots = max(len(run.steps) for run in runs)
    while True:
        page = _fill(template, TITLE=html.escape(_title(runs)), COLOURS=_colours(), DATA=_json(_data(runs, snapshots)))
        size = len(page.encode())
        if size <= MAX_BYTES or snapshots <= 2:
            return write_atomically(path, page.encode())
        snapshots = max(2, min(snapshots - 1, int(snapshots * MAX_BYTES / size)))


def check_tiles(mdp: TabularMDP) -> None:
    """Check that a browser can hold the map.

    Raises:
        ValueError: if it has more than `MAX_TILES` tiles.

    Example:
        >>> check_tiles(TabularMDP.from_map(["SF", "FG"]))
    """
    if mdp.grid is not None and mdp.grid.tiles.size > MAX_TILES:
        count = f"{mdp.grid.tiles.size} tiles, more than the {MAX_TILES} that a browser draws one by one"
        raise ValueError(f"format is 'html', which has no room for {count}; allowed: {', '.join(PICTURES)}")


def _fill(template: str, **parts: str) -> str:
    """The template with each /*NAME*/ replaced, in one pass: what is filled in is not looked at again."""
    return re.sub(r"/\*([A-Z]+)\*/", lambda name: parts[name[1]], template)


def _json(data: dict[str, Any]) -> str:
    """Data for a script element, which no text in it can end or leave."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _title(runs: Sequence[Run]) -> str:
    names = ", ".join(run.method for run in runs) if len(runs) < 4 else f"{len(runs)} methods"
    return f"{runs[0].environment.name} · {names}"


def _colours() -> str:
    """Style sheets of the themes: light, dark where the reader's system is dark, and either by choice."""
    light, dark = (
        "".join(f"--{name}:{value};" for name, value in asdict(THEMES[theme]).items() if isinstance(value, str))
        + f"--line:{THEMES[theme].faint};"
        for theme in ("light", "dark")
    )
    return (
        f":root{{{light}color-scheme:light}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}color-scheme:dark}}}}\n"
        f":root[data-theme=dark]{{{dark}color-scheme:dark}}"
    )


def _data(runs: Sequence[Run], snapshots: int) -> dict[str, Any]:
    """What the page shows, with at most so many snapshots of each run."""
    mdp = runs[0].mdp
    grid, optimal = grid_of(mdp), optimal_values(mdp)[0]
    custom, headline = shared_custom_metrics(runs), shared_headline(runs)
    methods = [_method_data(run, snapshots, (headline, "distance", *custom)) for run in runs]
    walkable = ~mdp.terminal & (grid.letters != " ")
    values = np.concatenate([evaluate_policy(mdp, run.final)[:, walkable].ravel() for run in runs])
    return {
        "lake": {
            "title": _title(runs),
            "about": f"{runs[0].about} · {about_seeds(runs)}",
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
            "ends": _packed((mdp.terminated + 1.0 * mdp.success) / 2, 0, 1),  # 1 at a goal, 1/2 elsewhere
            "words": {letter: [words.name, words.effect] for letter, words in tile_words(mdp).items()},
            "start": int(mdp.start.argmax()),
            "horizon": mdp.horizon,
            "best": _packed(optimal_policy(mdp)),
            "value": _packed(optimal),
        },
        "low": min(0.0, float(np.quantile(values, 0.2))),
        "high": float(optimal[walkable].max()),
        "headline": headline,
        "custom": custom,
        "methods": methods,
    }


def _method_data(run: Run, snapshots: int, metrics: Sequence[str]) -> dict[str, Any]:
    count = min(snapshots, len(run.steps))
    chosen = np.unique(np.linspace(0, len(run.steps) - 1, count).round().astype(int))
    policy, mdp = run.snapshots[chosen], run.mdp
    curves = {}
    for name in metrics:
        if not np.isfinite(run.metrics[name]).all():
            raise ValueError(f"{run.method}: {name} is not a number at every update, which a page cannot draw")
        mean, low, high = metric_interval(name, run.metrics[name])
        curves[name] = {"mean": _rounded(mean), "low": _rounded(low), "high": _rounded(high)}
        curves[name]["drawn"] = _rounded(run.of_drawn(name), 8)  # is printed, with three decimals
    return {
        "name": run.method,
        "title": run.title,
        "needs": run.needs,
        "seed": seed_of(run),  # empty where there is one alone
        "seeds": run.seeds,
        "steps": run.steps.tolist(),  # of the curves
        "kept": chosen.tolist(),  # which of them have a policy
        "shown": run.demonstration.tolist(),
        "rejected": run.rejected.tolist(),
        "policy": _packed(policy, 0, 1),
        "value": _packed(evaluate_policy(mdp, policy)),
        "visits": _packed(expected_visits(mdp, policy)),
        "curves": curves,
    }


def _packed(values: np.ndarray, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Numbers as 16-bit integers over a range, little-endian, base64; the error is at most 1/131070 of the range."""
    values = np.asarray(values, float)
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    spread = (high - low) or 1.0
    integers = np.round((values - low) / spread * 65535).astype("<u2")
    return {"low": low, "high": high, "data": base64.b64encode(integers.tobytes()).decode()}


def _rounded(values: np.ndarray, digits: int = 5) -> list[float]:
    """Numbers to so many significant digits."""
    return [float(f"{v:.{digits}g}") for v in values]
