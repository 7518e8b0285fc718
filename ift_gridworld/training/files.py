"""Saved runs: one JSON file a run, enough to redraw every picture without training again.

Settings, metrics, and what a small run begins and ends with can be read by eye. The policies of all its seeds at every
snapshot, from which any seed can be drawn, are packed. So are all tables of a large lake, of whose millions of numbers few
change between two snapshots: forty of 100 by 100 tiles are 24 MB of text, and packed 0.2 MB where a table learns one path.
Above `MOST_POLICIES` numbers a run is saved with the policies of the drawn seed alone.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.envs.registry import REGISTERED
from ift_gridworld.escape import one_line
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.reading import (
    LARGE,
    Sizes,
    naming,
    parse_json,
    read_arrays,
    read_as,
    read_fields,
    read_text,
    shown,
)
from ift_gridworld.storage import pack, plain, unpack, write_atomically

__all__ = ["ARRAYS", "MOST_POLICIES", "PLAIN", "TABLES", "keeps_policies", "load", "save"]

TABLES = ("snapshots", "base", "final")
PLAIN = 250_000  # numbers in all tables together, beyond which they are kept and saved with the 24 bits of a float32
MOST_POLICIES = 2_000_000  # numbers in the policies of every seed at every snapshot, M N S A, up to which all are saved
FORMAT = 3  # in 1 no tables were packed; in 2 the policies of one seed were saved
# Names in the file, where they are not the attribute's.
NAMES = {"environment": "lake", "demonstration": "shown", "assumed_prior": "supposes"}
MEASURED = ("success", "regret", "distance")  # metrics that every run has
ROUNDED = 1e-4  # error of the sum of a few saved probabilities
ARRAYS = ("next_state", "probability", "reward", "terminated", "start")


def save(run: Any, path: str | Path) -> Path:
    """Write a `run.Run` as JSON, one top-level entry a line; complete or not at all."""
    with_policies = keeps_policies(run)
    left_out = ("every_policy", "made_of", *(TABLES if run.is_large else ("snapshots",) if with_policies else ()))
    entries = {NAMES.get(f.name, f.name): getattr(run, f.name) for f in fields(run) if f.name not in left_out}
    origin = _reliable_origin(run)
    entries |= {"lake": asdict(origin), "format": FORMAT}
    if not origin.can_be_made:
        entries["mdp"] = _arrays(run.mdp)
    if with_policies:
        entries["policies"] = pack(run.every_policy)
    if run.is_large:
        # The first snapshot is the first seed's base. So every table but the other seeds' bases is all but the one before.
        trained = np.stack([run.base, run.final], 1).reshape(-1, *run.base.shape[1:])
        entries["tables"] = pack(np.concatenate([run.snapshots, trained]))
    lines = [f"{json.dumps(name)}: {json.dumps(plain(value), allow_nan=False)}" for name, value in entries.items()]
    return write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def keeps_policies(run: Any) -> bool:
    """Return whether a `run.Run` is saved with policies of every seed: it has several, and those are not too many numbers."""
    policies = run.every_policy
    return policies is not None and run.seeds > 1 and policies.size <= MOST_POLICIES


def load(path: str | Path, kind: type) -> dict[str, Any]:
    """Read what `save` wrote, as the arguments of `run.Run`.

    Args:
        path: the file.
        kind: the class `run.Run`, whose annotations say what each entry is.

    Raises:
        ValueError: naming the file and what is wrong with it: no saved run, one of a newer format, or of an environment that
            is not registered here.
    """
    with naming(path, "a saved run"):
        entries = parse_json(read_text(path, LARGE))
        _check_format(entries)
        if "lake" not in entries:
            raise ValueError("it has no 'lake'")
        arrays, packed, policies = (entries.pop(name, None) for name in ("mdp", "tables", "policies"))
        made_of = None if arrays is None else _mdp(read_as(_SavedArrays, arrays, "mdp"))
        mdp = _made_again(read_as(Origin, entries["lake"], "lake")) if made_of is None else made_of
        sizes = {"S": mdp.num_states, "A": mdp.num_actions}
        tables = TABLES if packed is not None else ("snapshots",) if policies is not None else ()
        run = read_fields(kind, entries, sizes=sizes, renamed=NAMES, skip=("made_of", "every_policy", *tables))
        _check_drawn(run)
        if packed is not None:
            run |= _unpacked_tables(packed, sizes)
        if policies is not None:
            shape = tuple(sizes.get(name, 0) for name in "MNSA")
            run["every_policy"] = _unpacked(policies, "policies", shape)
            run["snapshots"] = run["every_policy"][:, run.get("drawn", 0)]
        _check(run, mdp)
    return run if made_of is None else {**run, "made_of": made_of}


@dataclass(frozen=True)
class _SavedArrays:
    """An MDP that nothing but its arrays can make again: `ARRAYS` as an archive, and the other fields of a `TabularMDP`."""

    arrays: str
    discount: float
    horizon: int | None
    layout: tuple[str, ...] | None
    actions: tuple[str, ...]
    grid: GridLayout | None


@dataclass(frozen=True)
class _PackedTables:
    """Tables as `storage.pack` packs them."""

    shape: tuple[int, ...]
    data: str


@dataclass(frozen=True)
class _DrawnSettings:
    """The settings of a run that its pictures and tables read."""

    seed: int | None = None
    demonstrations: int | None = None
    demonstrations_arrived: int | None = None
    mixing: float | None = None


def _check_format(entries: Any) -> None:
    """Take the format's version out of the entries, or raise a ValueError if it is none that is read here."""
    version = entries.pop("format", None) if isinstance(entries, dict) else None
    if version is None:
        raise ValueError("it has no 'format'; allowed: what Run.save has written")
    if type(version) is int and version > FORMAT:
        raise ValueError(f"format is {shown(version)}, and this version reads 1 to {FORMAT}; update the package")
    if type(version) is not int or version < 1:
        raise ValueError(f"format is {shown(version)}; allowed: 1 to {FORMAT}")


def _made_again(origin: Origin) -> TabularMDP:
    """The environment's MDP. A file may name an environment that is registered, and nothing else to be opened or drawn."""
    name = origin.env or ""
    if name in LAKES or name == "random" or re.fullmatch(r"\d+x\d+", name) or (name not in REGISTERED and Path(name).is_file()):
        raise ValueError(f"lake.env is {shown(name)}; allowed: a Gymnasium id, or the name of a registered environment")
    try:
        return origin.mdp
    except (ValueError, OSError):
        raise
    except Exception as error:  # of an environment that anybody has written, made of options that anybody has
        raise ValueError(f"its environment {shown(name)} cannot be made ({one_line(error)})") from None


def _unpacked_tables(packed: Any, sizes: Sizes) -> dict[str, np.ndarray]:
    """Return the tables by name."""
    count = sizes.get("M", 0)
    unpacked = _unpacked(packed, "tables", (count + 2 * sizes.get("N", 0), sizes["S"], sizes["A"]))
    return {"snapshots": unpacked[:count], "base": unpacked[count::2], "final": unpacked[count + 1 :: 2]}


def _unpacked(packed: Any, name: str, expected: tuple[int, ...]) -> np.ndarray:
    """Return packed tables. The other entries say how many there are, so that no more than those is unpacked."""
    tables = read_as(_PackedTables, packed, name)
    if tables.shape != expected:
        raise ValueError(f"{name}.shape is {shown(list(tables.shape))}; allowed: {list(expected)}, as the other entries say")
    if 4 * math.prod(expected) > LARGE:
        raise ValueError(f"{name}.shape is {shown(list(tables.shape))}; allowed: at most {LARGE} bytes of four a number")
    try:
        return unpack(expected, tables.data)
    except ValueError as error:
        raise ValueError(f"{name}.data is {shown(tables.data)}: {error}") from None


def _check_drawn(run: dict[str, Any]) -> None:
    """Raise a ValueError if the run draws a seed that it does not have."""
    seeds, drawn = next(iter(run["metrics"].values()), np.zeros((0, 0))).shape[1], run.get("drawn", 0)
    if not 0 <= drawn < max(1, seeds):
        raise ValueError(f"drawn is {drawn}; allowed: 0 to {seeds - 1}, a seed of the metrics")


def _check(run: dict[str, Any], mdp: TabularMDP) -> None:
    """Raise a ValueError for what the annotations of `run.Run` do not say of its entries."""
    for name in MEASURED:
        if name not in run["metrics"]:
            raise ValueError(f"metrics has no {name!r}")
    if "success" not in run["optimum"]:
        raise ValueError("optimum has no 'success'")
    if not run["method"].isidentifier():
        raise ValueError(f"method is {shown(run['method'])}; allowed: the name of a method")
    steps = run["steps"]
    if not len(steps) or steps[0] < 0 or (np.diff(steps) < 0).any():
        raise ValueError(f"steps is {shown(steps.tolist())}; allowed: one update or more, none before the last")
    if not len(run["final"]):
        raise ValueError("final is empty; allowed: the policies of one seed or more")
    for name in (*TABLES, *(("every_policy",) if "every_policy" in run else ())):
        if (run[name] < 0).any() or (abs(run[name].sum(-1) - 1) > ROUNDED).any():  # NaN of a policy that diverged is neither
            name = "policies" if name == "every_policy" else name
            raise ValueError(f"{name} has rows that are no distributions; allowed: probabilities that sum to 1")
    for name in ("demonstration", "rejected"):
        if ((run[name] < 0) | (run[name] >= (mdp.num_states, mdp.num_actions))).any():
            allowed = f"states below {mdp.num_states} with actions below {mdp.num_actions}"
            raise ValueError(f"{NAMES.get(name, name)} is {shown(run[name].tolist())}; allowed: {allowed}")
    for when, entries in run.get("estimation", {}).items():
        for name in ("truth", "estimate", "gap"):
            if name not in entries:
                raise ValueError(f"estimation.{one_line(when, 40)} has no {name!r}")
    drawn = {field.name for field in fields(_DrawnSettings)}
    read_fields(_DrawnSettings, {name: value for name, value in run["settings"].items() if name in drawn}, "settings")


def _reliable_origin(run: Any) -> Origin:
    """The run's environment; without its id if that makes another MDP, as where the table was edited after it was made."""
    origin: Origin = run.environment
    if run.made_of is None or origin.env is None:
        return origin
    made_again = origin.mdp
    same = all(np.array_equal(getattr(made_again, name), getattr(run.made_of, name)) for name in ARRAYS)
    return origin if same else replace(origin, env=None, options={})


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


def _mdp(saved: _SavedArrays) -> TabularMDP:
    try:
        next_state, probability, reward, terminated, start = read_arrays(base64.b64decode(saved.arrays), ARRAYS)
    except ValueError as error:
        raise ValueError(f"mdp.arrays is {shown(saved.arrays)}: {error}") from None
    fields = saved.discount, saved.horizon, saved.layout, saved.actions, saved.grid
    mdp = TabularMDP(next_state, probability, reward, terminated, start, *fields)
    if mdp.grid is not None:
        if not "".join(mdp.grid.rows).isascii():
            raise ValueError(f"mdp.grid.rows is {shown(mdp.grid.rows)}; allowed: one letter of ASCII a tile")
        if len(mdp.grid.names) not in (0, mdp.num_states):
            raise ValueError(f"mdp.grid.names names {len(mdp.grid.names)} states; there are {mdp.num_states}")
    return mdp
