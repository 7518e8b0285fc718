"""What a run leaves on disk: one JSON file a method, enough to redraw every picture without training again.

Numbers are rounded when the record is made, before anything is drawn, so that a picture drawn after training and one drawn
from the file are the same. This module and all that draws from it load without torch.

What a small run saves can be read by eye. The tables of a large lake, millions of numbers of which few change between two
snapshots, are packed instead: forty of 100 by 100 tiles are 24 MB of text, and packed 0.2 MB where a table learns one path.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.envs.registry import make_env
from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy
from ift_gridworld.storage import pack, plain, round_significant, unpack, write_atomically

FORMAT = 2  # in 1 no tables were packed
TABLES = ("snapshots", "base", "final")
PLAIN = 250_000  # numbers in all tables together, beyond which they are kept and saved with the 24 bits of a float32


@dataclass(frozen=True)
class Lake:
    """Where a run took place, enough to build its MDP again.

    A map has `rows`; a Gymnasium environment has its id, `env`, the `options` it was made with, and its own ice
    (`success_rate` is then None).
    """

    name: str
    rows: tuple[str, ...] | None
    env: str | None
    is_slippery: bool
    success_rate: float | None
    discount: float
    horizon: int | None
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @cached_property
    def mdp(self) -> TabularMDP:
        return _mdp(self)


@lru_cache(maxsize=1)  # runs that are drawn together are of one lake; what is computed of it is then computed once
def _mdp(lake: Lake) -> TabularMDP:
    if lake.rows is None or lake.success_rate is None:
        return TabularMDP.from_env(make_env(str(lake.env), **lake.options), discount=lake.discount)
    return TabularMDP.from_map(lake.rows, is_slippery=lake.is_slippery, success_rate=lake.success_rate, discount=lake.discount)


@dataclass(frozen=True, eq=False)
class Record:
    """One method's run.

    Attributes:
        method, title, needs: its name in METHODS, its full one, and the data that it learns from.
        lake: where.
        settings: every setting of the script and of the method, resolved.
        versions: of python and the packages that numbers depend on.
        steps: updates at which snapshots were taken, [M].
        metrics: each measure of `metrics.MEASURES` for every snapshot and seed.
        optimum: what the best policies reach.
        loss: of every update and seed.
        assumed_prior: the row of the paper's Table 1 that the method stands in (`estimation.TABLE`).
        estimation: what it assumed_prior of the model that it trains, beside the truth, "base" and "trained", averaged over the
            human's answers: "truth", "estimate" and "gap" of every seed and step, [N, T].
        snapshots: T_theta(a|s) of the seed that is drawn (the first), at every snapshot.
        base, final: T_theta(a|s) of every seed before and after training.
        shown, rejected: (state, action) steps of the first demonstration (for methods that learn from pairs, of the first
            preferred one) and of the first rejected one, if the method was given one (else empty).
        seconds: spent in training.
        diverged: step and cause, if the loss stopped being a number.
    """

    method: str
    title: str
    needs: str
    lake: Lake
    settings: dict[str, Any]
    versions: dict[str, str]
    steps: Int[np.ndarray, " M"]
    metrics: dict[str, Float[np.ndarray, "M N"]]
    optimum: dict[str, float]
    loss: Float[np.ndarray, "U N"]
    snapshots: Float[np.ndarray, "M S A"]
    base: Float[np.ndarray, "N S A"]
    final: Float[np.ndarray, "N S A"]
    shown: Int[np.ndarray, "T 2"]
    rejected: Int[np.ndarray, "T 2"]
    seconds: float
    diverged: str | None = None
    assumed_prior: str = ""
    estimation: dict[str, dict[str, Float[np.ndarray, "N T"]]] = field(default_factory=dict)
    format: int = field(default=FORMAT)

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", round_significant(np.asarray(self.loss, float)))
        is_large = self.is_large
        for name in TABLES:
            table = np.asarray(getattr(self, name))
            object.__setattr__(self, name, table.astype(np.float32) if is_large else round_significant(table.astype(float)))
        rounded = {name: round_significant(np.asarray(value, float)) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", rounded)
        supposed = {
            when: {n: round_significant(np.asarray(x, float)) for n, x in what.items()}
            for when, what in self.estimation.items()
        }
        object.__setattr__(self, "estimation", supposed)

    @property
    def is_large(self) -> bool:
        """Whether tables are packed when they are saved."""
        return sum(np.size(getattr(self, name)) for name in TABLES) > PLAIN

    @cached_property
    def visits(self) -> Float[np.ndarray, "M S"]:
        """Of each snapshot, how often an episode is on each state (`metrics.expected_visits`)."""
        return expected_visits(self.lake.mdp, self.snapshots)

    @cached_property
    def values(self) -> Float[np.ndarray, "M S"]:
        """Of each snapshot, what each state is worth under it."""
        return evaluate_policy(self.lake.mdp, self.snapshots)

    @property
    def seeds(self) -> int:
        return len(self.final)

    @property
    def about(self) -> str:
        """Lake, ice, policy and base in one line, as every picture says them."""
        rate = "" if self.lake.success_rate is None else f", {self.lake.success_rate:.2g} as intended"
        ice = f"slippery{rate}" if self.lake.is_slippery else "no slip"
        kinds = {"mlp": "network", "tabular": "table", "language": "language model"}
        policy = kinds.get(str(self.settings.get("policy")), "policy")
        return f"{self.lake.name} · {ice} · {policy} · base: {self.settings.get('base')}"

    @property
    def place(self) -> str:
        """What kind of place it is, in words."""
        return "a frozen lake" if self.lake.env is None or "Lake" in self.lake.env else self.lake.env.partition("-")[0]

    @property
    def headline(self) -> str:
        """The measure that a run is summed up by: success, or regret where no clock runs, for there nearly every policy
        arrives some day, and what it pays until then tells more."""
        return "regret" if self.lake.horizon is None else "success"

    @property
    def course(self) -> str:
        """What became of success (or regret) and distance, in a sentence; means over seeds."""
        told = self.headline
        first, last = ({n: float(np.mean(self.metrics[n][i])) for n in (told, "distance")} for i in (0, -1))
        return (
            f"{told.capitalize()} goes from {first[told]:.3f} to {last[told]:.3f}, the distance to the optimal policy from "
            f"{first['distance']:.3f} to {last['distance']:.3f}{f' (means of {self.seeds} seeds)' if self.seeds > 1 else ''}."
        )

    @property
    def about_seeds(self) -> str:
        """Which seed is drawn, and what curves are of."""
        drawn = f"drawn: seed {self.settings.get('seed', 0)}"
        return f"{drawn}; curves: mean and 95 % interval of {self.seeds} seeds" if self.seeds > 1 else drawn

    def save(self, path: str | Path) -> Path:
        """Write as JSON, one top-level entry a line; complete or not at all."""
        entries = {entry.name: getattr(self, entry.name) for entry in fields(self)} | {"lake": asdict(self.lake)}
        if self.is_large:
            # The first snapshot is the first seed's base. So every table but the other seeds' bases is all but the one before.
            trained = np.stack([self.base, self.final], 1).reshape(-1, *self.base.shape[1:])
            entries = {name: value for name, value in entries.items() if name not in TABLES}
            entries["tables"] = pack(np.concatenate([self.snapshots, trained]))
        lines = [f"{json.dumps(name)}: {json.dumps(plain(value), allow_nan=False)}" for name, value in entries.items()]
        return write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read what `save` wrote.

        Raises:
            ValueError: if the file is no such record.
        """
        try:
            entries = json.loads(Path(path).read_text(encoding="utf-8"))
            if entries["format"] not in range(1, FORMAT + 1):
                raise ValueError(f"format {entries['format']}; this version reads 1 to {FORMAT}")
            entries["format"] = FORMAT
            if "tables" in entries:
                tables, count = unpack(**entries.pop("tables")), len(entries["steps"])
                entries |= {"snapshots": tables[:count], "base": tables[count::2], "final": tables[count + 1 :: 2]}
            lake = entries.pop("lake")
            lake["rows"] = tuple(lake["rows"]) if lake["rows"] is not None else None
            for name in ("steps", "shown", "rejected"):
                entries[name] = np.array(entries[name], int)
            entries["shown"], entries["rejected"] = (entries[n].reshape(-1, 2) for n in ("shown", "rejected"))
            if not str(entries["method"]).isidentifier() or not isinstance(entries["settings"], dict):
                raise ValueError("method or settings are not what a run saves")
            entries["metrics"] = {name: np.array(value, float) for name, value in entries["metrics"].items()}
            made = cls(lake=Lake(**lake), **entries)
            shape = made.lake.mdp.num_states, made.lake.mdp.num_actions
            seen = {name: made.metrics[name].shape for name in ("success", "regret", "distance")}
            if set(seen.values()) != {(len(made.steps), made.seeds)} or made.snapshots.shape != (len(made.steps), *shape):
                raise ValueError(f"metrics {seen} and policies {made.snapshots.shape} do not fit {len(made.steps)} snapshots")
            if "success" not in made.optimum or not isinstance(made.title, str):
                raise ValueError("optimum or title are not what a run saves")
            return made
        except (OSError, KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
            raise ValueError(f"{path} is not a saved run: {error}") from error


def check_one_lake(records: Sequence[Record]) -> None:
    """Raise a ValueError if the runs are not of one lake, or it has no map to draw."""
    lakes = {json.dumps(asdict(record.lake), sort_keys=True) for record in records}
    if len(lakes) != 1:
        raise ValueError(f"side by side stand runs on one lake; these are on {len(lakes)} lakes")
    if records[0].lake.mdp.grid is None:
        raise ValueError(f"environment {records[0].lake.name!r} has no map to draw; allowed: FrozenLake, CliffWalking, Taxi")
