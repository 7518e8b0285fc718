"""Data of a page: runs on one environment as one object of JSON, small enough to be read at once.

Every table is written as whole numbers over a range, as differences from the snapshot before, packed by zlib: what a method
leaves alone costs nothing. All policies of a page are those of the same updates (`stages.shared_updates`).
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, optimal_values
from ift_gridworld.rendering.charts import look_of, update_ticks
from ift_gridworld.rendering.frontier_plane import frontier_data
from ift_gridworld.rendering.html_page import line_look
from ift_gridworld.rendering.maps import grid_of, walkable
from ift_gridworld.rendering.method_style import styles_of
from ift_gridworld.rendering.predictions import PredictedStates, mixing_of
from ift_gridworld.rendering.stages import latest_snapshots
from ift_gridworld.rendering.text import short_title
from ift_gridworld.rendering.tile_kinds import tile_words
from ift_gridworld.rendering.visit_scale import LEAST_VISITS, VISITS_UNIT, VisitScale
from ift_gridworld.training.run import Run, shared_custom_metrics
from ift_gridworld.training.together import shared_headline

__all__ = ["page_data", "short_titles"]

LEVEL = 7  # of zlib: a tenth of the time of level 9, for one percent more
PAIR = ("chosen_logp", "rejected_logp")
CLIPPED = 0.2  # share of values that may lie below the scale of values, where the worst would stretch it


def page_data(
    drawn: Sequence[Sequence[Run]], updates: Int[np.ndarray, " F"], left_out: str, not_live: str = ""
) -> dict[str, Any]:
    """Return what the page shows.

    Args:
        drawn: runs on one environment with a map; for each seed that the reader can choose, those runs drawing it.
        updates: at which policies are shown, ascending.
        left_out: what the page leaves out to stay small, in words; empty for nothing.
        not_live: why methods cannot be trained on this environment in the page, in words; empty if they can.

    Raises:
        ValueError: if a metric is not a finite number at every update.
    """
    runs = drawn[0]
    mdp, headline = runs[0].mdp, shared_headline(runs)
    shown = latest_snapshots(runs, updates)
    kept = [np.unique(column) for column in shown.T]
    metrics = (headline, "distance", *shared_custom_metrics(runs))
    maps = _maps(drawn, kept)
    methods = []
    for i, (snapshots, column, looks) in enumerate(zip(kept, shown.T, _looks(runs), strict=True)):
        at = {"kept": snapshots.tolist(), "at": np.searchsorted(snapshots, column).tolist(), "maps": [m[i] for m in maps]}
        methods.append(looks | _method([choice[i] for choice in drawn], metrics) | at)
    every = [(run, snapshots) for choice in drawn for run, snapshots in zip(choice, kept, strict=True)]
    return {
        "lake": _lake(runs),
        "updates": updates.tolist(),
        "ticks": update_ticks(int(updates[-1]), apart=0.16),
        "leftOut": left_out,
        "notLive": not_live,
        "charts": [_chart(name) for name in metrics],
        "headline": headline,
        "visits": _visit_scale([run.visits[snapshots] for run, snapshots in every], mdp),
        "values": _value_scale([run.values[snapshots[-1]] for run, snapshots in every], mdp),
        "methods": methods,
        "frontier": [frontier_data(choice) for choice in drawn],  # of each seed; null where it is not known
    }


def _maps(drawn: Sequence[Sequence[Run]], kept: Sequence[Int[np.ndarray, " K"]]) -> list[list[dict[str, Any]]]:
    """The tables of each seed and run; methods of a seed start from the first one's base, if they share it."""
    every = [run for choice in drawn for run in choice]
    ranges = {"policy": (0.0, 1.0), "value": _range([r.values for r in every]), "visits": _range([r.visits for r in every])}
    maps: list[list[dict[str, Any]]] = []
    for choice in drawn:
        first: dict[str, Int[np.ndarray, " n"]] = {}
        maps.append([])
        for run, snapshots in zip(choice, kept, strict=True):
            entry: dict[str, Any] = {"seed": f"seed {run.drawn_seed}"} | _predictions(run, snapshots)
            for part, table in (("policy", run.snapshots), ("value", run.values), ("visits", run.visits)):
                size = 2 if part == "policy" else 3  # bytes: probabilities lie in [0, 1], the others in wider ranges
                entry[part] = _packed(table[snapshots], *ranges[part], size=size, before=first.get(part))
                first.setdefault(part, _whole(table[:1], *ranges[part], size)[0])
            maps[-1].append(entry)
    return maps


def short_titles(runs: Sequence[Run]) -> list[str]:
    """Return the short title of each run, numbered where two have the same.

    Example:
        >>> short_titles([])
        []
    """
    titles = [short_title(run.title) for run in runs]
    count, seen = Counter(titles), Counter[str]()
    numbered = []
    for title in titles:
        seen[title] += 1
        numbered.append(f"{title} {seen[title]}" if count[title] > 1 else title)
    return numbered


def _lake(runs: Sequence[Run]) -> dict[str, Any]:
    """The environment: its map and its dynamics."""
    mdp, grid = runs[0].mdp, grid_of(runs[0].mdp)
    ends = mdp.terminated.astype(int) + (mdp.terminated & mdp.success)
    return {
        "title": f"{runs[0].environment.name} · {', '.join(short_titles(runs))}",
        "about": runs[0].about,
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
        "next": _packed(_ahead(mdp)[None], 0, 2**24 - 1, size=3),
        "chance": _packed(mdp.probability[None], 0, 1, size=3),
        "reward": _packed(mdp.reward[None], *_range([mdp.reward]), size=3),
        "ends": _packed(ends[None], 0, 255, size=1),  # 1 ends the episode, 2 at the goal
        "open": _packed(walkable(mdp)[None], 0, 255, size=1),
        "words": {letter: [words.name, words.effect] for letter, words in tile_words(mdp).items()},
        "start": int(mdp.start.argmax()),
        "horizon": mdp.horizon,
        "best": _packed(optimal_policy(mdp)[None], 0, 1, size=2),
        "value": _packed(optimal_values(mdp)[0][None], *_range([optimal_values(mdp)[0]]), size=3),
    }


def _ahead(mdp: TabularMDP) -> Int[np.ndarray, "S A K"]:
    """How many states each outcome lies ahead, modulo their number: alike on most tiles, which packs well."""
    return (mdp.next_state - np.arange(mdp.num_states)[:, None, None]) % mdp.num_states


def _method(choices: Sequence[Run], metrics: Sequence[str]) -> dict[str, Any]:
    """What does not depend on the updates that are kept, of a run drawing each of the seeds."""
    run, curves = choices[0], {}
    for name in metrics:
        if not np.isfinite(run.metrics[name]).all():
            raise ValueError(f"{run.method}: {name} is not a number at every update, which a page cannot draw")
        curves[name] = _curve(name, run.metrics[name]) | {"drawn": [_rounded(choice.of_drawn(name), 8) for choice in choices]}
    predicted = PredictedStates.of(run).states.tolist() if _predicts(run) else []
    return {
        "needs": run.needs,
        "seeds": run.seeds,
        "steps": run.steps.tolist(),  # of the curves
        "shown": run.demonstration.tolist(),
        "rejected": run.rejected.tolist(),
        "curves": curves,
        "optimum": {name: run.optimum[name] for name in metrics if name in run.optimum},
        "pair": _pair(run),
        "mixing": mixing_of(run) if predicted else 0,
        "predicted": predicted,
    }


def _pair(run: Run) -> dict[str, Any] | None:
    """How far both answers' log-probabilities have moved from the base's, in nats; None if they are not known."""
    if not all(name in run.metrics and np.isfinite(run.metrics[name]).all() for name in PAIR):
        return None
    return {name: _curve("moved", run.metrics[name] - run.metrics[name][:1]) for name in PAIR}


def _curve(name: str, values: Float[np.ndarray, "M N"]) -> dict[str, list[float]]:
    mean, low, high = metric_interval(name, values)
    return {"mean": _rounded(mean), "low": _rounded(low), "high": _rounded(high)}


def _predicts(run: Run) -> bool:
    return bool(mixing_of(run)) and len(run.demonstration) > 1


def _predictions(run: Run, snapshots: Int[np.ndarray, " K"]) -> dict[str, Any]:
    """How much of each state IFT mixes in at each step of the demonstration but the first; nothing if it mixes nothing in."""
    if not _predicts(run):
        return {}
    return {"weights": _packed(PredictedStates.of(run).weights(run.snapshots[snapshots]), 0, 1, size=2)}


# ---- looks ----


def _looks(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Names and style of each run: no two alike, also of runs by one method."""
    seen, names = Counter[str](), []
    for run in runs:
        seen[run.method] += 1
        names.append(run.method if seen[run.method] == 1 else f"{run.method} {seen[run.method]}")
    styles = styles_of(names)
    return [
        {"name": name, "title": title, "full": run.title, "look": line_look(styles[name])}
        for run, name, title in zip(runs, names, short_titles(runs), strict=True)
    ]


def _chart(name: str) -> dict[str, Any]:
    return {"name": name, "title": look_of(name).title, "limit": look_of(name).limit}


def _visit_scale(visits: Sequence[Float[np.ndarray, "K S"]], mdp: TabularMDP) -> dict[str, Any]:
    scale = VisitScale.of(visits)
    return {
        "low": LEAST_VISITS if scale.is_log else 0.0,
        "high": scale.end,
        "log": scale.is_log,
        "ticks": scale.ticks,
        "below": scale.is_log,  # what lies below the scale has its first colour
        "unit": VISITS_UNIT if mdp.horizon is not None else f"{VISITS_UNIT}, discounted",
    }


def _value_scale(values: Sequence[Float[np.ndarray, " S"]], mdp: TabularMDP) -> dict[str, Any]:
    """From the lowest value at the end, or where that is far below the others from the lowest fifth, to the best there is."""
    drawn = walkable(mdp)
    best = optimal_values(mdp)[0][drawn]
    ends = np.concatenate([value[drawn] for value in values])
    lowest, high = float(min(0.0, ends.min())), float(best.max())
    low = float(np.quantile(ends, CLIPPED)) if lowest < 0 else lowest
    low = min(low, float(best.min()))
    return {
        "low": low,
        "high": high if high > low else low + 1.0,
        "log": False,
        "ticks": [low, (low + high) / 2, high],
        "below": bool(lowest < low),
        "unit": f"value: return from there, discounted by {mdp.discount:g} a step",
    }


# ---- numbers ----


def _range(tables: Sequence[np.ndarray]) -> tuple[float, float]:
    """The range of all numbers, of a width that can be divided by."""
    low, high = min(float(table.min()) for table in tables), max(float(table.max()) for table in tables)
    return low, high if high > low else low + 1.0


def _whole(values: np.ndarray, low: float, high: float, size: int) -> Int[np.ndarray, "K n"]:
    """Numbers as whole ones of so many bytes over a range; the error is at most half a step of it."""
    values = np.asarray(values, float).reshape(len(values), -1)
    return np.round((values - low) / (high - low) * (256**size - 1)).astype(np.int64)


def _packed(
    values: np.ndarray, low: float, high: float, *, size: int, before: Int[np.ndarray, " n"] | None = None
) -> dict[str, Any]:
    """Tables [K, ...] as whole numbers, each as the difference from the one before; all lowest bytes first, then zlib.

    Args:
        values: the tables.
        low, high: the range that the whole numbers stand for.
        size: bytes of a number.
        before: whole numbers of the table that the first differs from, which the page has already.
    """
    whole = _whole(values, low, high, size)
    first = np.zeros_like(whole[:1]) if before is None else before[None]
    steps = (whole - np.concatenate([first, whole[:-1]])) % 256**size
    planes = [(steps >> 8 * i & 255).astype(np.uint8).tobytes() for i in range(size)]
    data = base64.b64encode(zlib.compress(b"".join(planes), LEVEL)).decode()
    return {"low": low, "high": high, "size": size, "rows": len(whole), "after": before is not None, "data": data}


def _rounded(values: np.ndarray, digits: int = 5) -> list[float]:
    """Numbers to so many significant digits; those that are printed have more than are seen."""
    return [float(f"{v:.{digits}g}") for v in values]
