"""Saved runs: one JSON file a run, enough to redraw every picture without training again.

What a small run saves can be read by eye. The tables of a large lake, millions of numbers of which few change between two
snapshots, are packed instead: forty of 100 by 100 tiles are 24 MB of text, and packed 0.2 MB where a table learns one path.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.storage import pack, plain, unpack, write_atomically

__all__ = ["ARRAYS", "PLAIN", "TABLES", "load", "save"]

TABLES = ("snapshots", "base", "final")
PLAIN = 250_000  # numbers in all tables together, beyond which they are kept and saved with the 24 bits of a float32
FORMAT = 2  # in 1 no tables were packed
# Names in the file, where they are not the attribute's.
NAMES = {"environment": "lake", "demonstration": "shown", "assumed_prior": "supposes"}
ARRAYS = ("next_state", "probability", "reward", "terminated", "start")


def save(run: Any, path: str | Path) -> Path:
    """Write a `run.Run` as JSON, one top-level entry a line; complete or not at all."""
    left_out = ("every_policy", "made_of", *(TABLES if run.is_large else ()))
    entries = {NAMES.get(f.name, f.name): getattr(run, f.name) for f in fields(run) if f.name not in left_out}
    entries |= {"lake": asdict(run.environment), "format": FORMAT}
    if not run.environment.can_be_made:
        entries["mdp"] = _arrays(run.mdp)
    if run.is_large:
        # The first snapshot is the first seed's base. So every table but the other seeds' bases is all but the one before.
        trained = np.stack([run.base, run.final], 1).reshape(-1, *run.base.shape[1:])
        entries["tables"] = pack(np.concatenate([run.snapshots, trained]))
    lines = [f"{json.dumps(name)}: {json.dumps(plain(value), allow_nan=False)}" for name, value in entries.items()]
    return write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote, as the arguments of `run.Run`.

    Raises:
        OSError, KeyError, TypeError, ValueError, AttributeError, zlib.error: if the file is no saved run.
    """
    entries = json.loads(Path(path).read_text(encoding="utf-8"))
    version = entries.pop("format")
    if version not in range(1, FORMAT + 1):
        raise ValueError(f"format {version}; this version reads 1 to {FORMAT}")
    attribute = {name: attribute for attribute, name in NAMES.items()}
    entries = {attribute.get(name, name): value for name, value in entries.items()}
    if "tables" in entries:
        tables, count = unpack(**entries.pop("tables")), len(entries["steps"])
        entries |= {"snapshots": tables[:count], "base": tables[count::2], "final": tables[count + 1 :: 2]}
    place = entries["environment"]
    place["rows"] = tuple(place["rows"]) if place["rows"] is not None else None
    entries["environment"] = Origin(**place)
    for name in ("steps", "demonstration", "rejected"):
        entries[name] = np.array(entries[name], int)
    entries["demonstration"], entries["rejected"] = (entries[n].reshape(-1, 2) for n in ("demonstration", "rejected"))
    if not str(entries["method"]).isidentifier() or not isinstance(entries["settings"], dict):
        raise ValueError("method or settings are not what a run saves")
    if not isinstance(entries["title"], str) or "success" not in entries["optimum"]:
        raise ValueError("optimum or title are not what a run saves")
    entries["metrics"] = {name: np.array(value, float) for name, value in entries["metrics"].items()}
    if "mdp" in entries:
        entries["made_of"] = _mdp(entries.pop("mdp"))
    return entries


def _arrays(mdp: TabularMDP) -> dict[str, Any]:
    """An MDP that nothing but its arrays can make again."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(mdp, name) for name in ARRAYS})
    grid = mdp.custom_grid
    return {
        "arrays": base64.b64encode(buffer.getvalue()).decode(),
        "discount": mdp.discount,
        "horizon": mdp.horizon,
        "layout": mdp.layout,
        "actions": mdp.actions,
        "grid": None if grid is None else plain({**asdict(grid), "place": grid.place, "walls": grid.walls}),
    }


def _mdp(entries: dict[str, Any]) -> TabularMDP:
    with np.load(io.BytesIO(base64.b64decode(entries["arrays"])), allow_pickle=False) as file:
        next_state, probability, reward, terminated, start = (file[name] for name in ARRAYS)
    grid = entries["grid"]
    if grid is not None:
        grid = GridLayout(
            tuple(grid["rows"]),
            np.array(grid["place"], int),
            np.array(grid["walls"], int).reshape(-1, 2, 2),
            {name: np.array(tiles, int).reshape(-1, 2) for name, tiles in grid["marks"].items()},
            tuple((row, column, text) for row, column, text in grid["headings"]),
            tuple(grid["names"]),
        )
    layout = None if entries["layout"] is None else tuple(entries["layout"])
    fields = entries["discount"], entries["horizon"], layout, tuple(entries["actions"]), grid
    return TabularMDP(next_state, probability, reward, terminated, start, *fields)
