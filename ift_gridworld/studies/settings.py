"""One setting of a study: lakes, ice, base, policy, optimiser and data, on which methods are compared, seed by seed.

A setting has a name that says all of it, such as ``4x4,firm,good-0.5,mlp-64,adam,1``; who reads a number can run its setting
again. What it leaves is a tidy table: one row a lake, seed, method, learning rate and checkpoint, one column a measure.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ift_gridworld.data import (
    SUBOPTIMAL_NOISE,
    Trajectories,
    demonstrations,
    generators,
    label_pairs,
    sample_episodes,
)
from ift_gridworld.envs.maps import LAKES, Rows, parse_map, random_map, two_paths
from ift_gridworld.evaluation.estimation import estimate
from ift_gridworld.evaluation.metrics import MEASURES, log_likelihood, measure, tiles_of
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.registry import find_method
from ift_gridworld.optimisation import OPTIMISERS
from ift_gridworld.planning import optimal_policy
from ift_gridworld.policies.lake import POLICIES, LakePolicy
from ift_gridworld.policies.residual import greedy_action
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.lakes import train_lakes

KEEP = (0, 10, 20, 40, 80, 150, 300)  # updates after which policies are looked at; a best checkpoint is one of them but 0
RATES = (0.003, 0.01, 0.03, 0.1)  # the same for every method
BLOCK = 10  # lakes of one setting
SIDE = 6  # tiles a side of random lakes
ICE = {"firm": None, "slippery-0.8": 0.8, "slippery": 1 / 3}  # how often a move goes as intended
DIGITS = 7  # significant, of what is saved

# Measures of this module's own, beside `metrics.MEASURES`.
OWN_MEASURES: dict[str, str] = {
    "unseen": "probability of moves that no answer takes, mean over the tiles of the preference pairs",
    "bias": "mean |T̂ - T| over steps: how far off the method takes the model's probability of the human's answer to be",
    "gap": "mean total variation between the preference that the method takes the model to have and the model's own",
    "base_bias": "bias on the base policy",
    "base_gap": "gap on the base policy",
    "missed": "share of IFT's predictions that lead to another tile than the human's, mean over checkpoints",
    "right": "of those, the share that is taught a best action of its own (holes left out)",
    "push": "first-order change in distance of the tiles that IFT mixes in and teaches the true tile's action",
}

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Setting:
    """Attributes:
    map: ``two-paths-N``, ``4x4``, ``8x8``; ``lakes-D-B``, block B of ten random 6x6 lakes of which a share D is frozen; or
        ``FILE:B``, block B of ten maps of a text file in which blank lines stand between maps.
    ice: a name in `ICE`.
    base: ``random``, ``uniform`` or ``good-Q``, the mixture with a share Q of the optimal demonstrator.
    policy: ``tabular`` or ``mlp-H`` with H hidden units.
    optimiser: a name in `OPTIMISERS`.
    demonstrations: how many episodes of the optimal policy (and how many preference pairs) each seed learns from.
    """

    map: str
    ice: str
    base: str
    policy: str
    optimiser: str
    demonstrations: int

    def __post_init__(self) -> None:
        _allowed("map", self.map, "," not in self.map, "a name without commas")
        _allowed("ice", self.ice, self.ice in ICE, ", ".join(ICE))
        kind, _, good = self.base.partition("-")
        sound = self.base in ("random", "uniform") or (kind == "good" and 0 <= _number(good) <= 1)
        _allowed("base", self.base, sound, "random, uniform, good-Q with Q in [0, 1]")
        kind, _, width = self.policy.partition("-")
        sound = self.policy == "tabular" or (kind == "mlp" and width.isdigit() and int(width) > 0)
        _allowed("policy", self.policy, sound, "tabular, mlp-H with H hidden units")
        _allowed("optimiser", self.optimiser, self.optimiser in OPTIMISERS, ", ".join(OPTIMISERS))
        _allowed("demonstrations", self.demonstrations, self.demonstrations >= 1, "a whole number >= 1")

    @property
    def name(self) -> str:
        return ",".join(str(getattr(self, field.name)) for field in fields(self))

    @classmethod
    def parse(cls, name: str) -> Setting:
        parts = name.split(",")
        if len(parts) != len(fields(cls)) or not parts[-1].isdigit():
            order = ",".join(field.name.upper() for field in fields(cls))
            raise ValueError(f"setting is {name!r}; allowed: {order}, for example 4x4,firm,good-0.5,mlp-64,adam,1")
        text = dict(zip((field.name for field in fields(cls)), parts, strict=True))
        return cls(**text | {"demonstrations": int(parts[-1])})  # type: ignore[arg-type]

    @property
    def family(self) -> str:
        """The map's kind: without its block, without the folder of its file."""
        if self.map.startswith("lakes-"):
            return self.map.rpartition("-")[0]
        return Path(self.map.rpartition(":")[0]).stem or self.map

    @cached_property
    def lakes(self) -> list[tuple[str, TabularMDP]]:
        """Each lake's name and MDP."""
        rate = ICE[self.ice]
        return [
            (name, TabularMDP.from_map(rows, is_slippery=rate is not None, success_rate=rate or 1 / 3))
            for name, rows in lake_maps(self.map)
        ]

    @property
    def common_rate(self) -> float:
        """The policy's default, common to all methods."""
        return POLICIES[self.policy.partition("-")[0]].learning_rate

    def make_base(self, lakes: Sequence[TabularMDP], seeds: int, seed: int) -> LakePolicy:
        """Of each lake, `seeds` members."""
        kind, _, width = self.policy.partition("-")
        base, _, good = self.base.partition("-")
        return make_base(
            "mixture" if base == "good" else base,
            lakes,
            policy=kind,
            seeds=seeds,
            seed=seed,
            hidden=int(width or 64),
            good=float(good or 0.5),
        )


def _allowed(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


# ---- lakes ----


def lake_maps(name: str) -> list[tuple[str, Rows]]:
    """The lakes of a setting's map: each one's name and rows."""
    kind, _, rest = name.partition("-")
    if name in ("4x4", "8x8"):
        return [(name, LAKES[name])]
    if name.startswith("two-paths-") and name.removeprefix("two-paths-").isdigit():
        return [(name, two_paths(int(name.removeprefix("two-paths-"))))]
    density, _, block = rest.partition("-")
    if kind == "lakes" and 0 < _number(density) <= 1 and block.isdigit():
        first = BLOCK * int(block) + round(1000 * float(density))  # densities share no seed
        return [(f"{name}/{i}", random_map(SIDE, frozen=float(density), seed=first * 1000 + i)) for i in range(BLOCK)]
    path, _, block = name.rpartition(":")
    if path and block.isdigit():
        maps = read_maps(path)
        first = BLOCK * int(block)
        if first >= len(maps):
            raise ValueError(f"map is {name!r}; allowed: blocks 0 to {(len(maps) - 1) // BLOCK}, {path} has {len(maps)} maps")
        return [(f"{path}:{i}", rows) for i, rows in enumerate(maps)][first : first + BLOCK]
    raise ValueError(f"map is {name!r}; allowed: two-paths-N, 4x4, 8x8, lakes-D-B (D in (0, 1], block B), FILE:B")


def read_maps(path: str | Path) -> list[Rows]:
    """All maps of a text file, one row of a map a line, blank lines between maps."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"map file {path}: cannot be read as text ({error})") from error
    blocks = [block.split() for block in "\n".join(line.strip() for line in text.splitlines()).split("\n\n") if block.strip()]
    if not blocks:
        raise ValueError(f"map file {path} has no map; allowed: rows of the letters S, F, H, G, blank lines between maps")
    maps = []
    for number, rows in enumerate(blocks, 1):
        try:
            maps.append(parse_map(rows))
        except ValueError as error:
            raise ValueError(f"map {number} of {path}: {error}") from error
    return maps


# ---- data ----


@dataclass(frozen=True, eq=False)
class Shown:
    """What one seed learns from on one lake, each [B, T]."""

    demonstrations: Trajectories
    chosen: Trajectories
    rejected: Trajectories


def draw_data(mdp: TabularMDP, count: int, seeds: int, seed: int) -> list[Shown] | None:
    """Each seed's own demonstrations and preference pairs; None if no two answers ever return different.

    Demonstrations are episodes of the optimal policy, which shares ties evenly, so seeds are shown different paths. On firm
    ice the preferred answers are these paths, and the other answer is the sub-optimal path (`trajectories.detour`). Else pairs
    are sampled and labelled by their return as in `preference_pairs`, and repeated where too few differ.
    """
    random = generators(seed, seeds)
    best = torch.as_tensor(optimal_policy(mdp))[None]
    shown = sample_episodes(mdp, best, count, random)
    if mdp.is_path:
        detour = demonstrations(mdp, count, quality="suboptimal")
        return [Shown(shown[i], shown[i], detour) for i in range(seeds)]
    noisy = (1 - SUBOPTIMAL_NOISE) * best + SUBOPTIMAL_NOISE / mdp.num_actions
    draws = 4 * max(count, 16)
    first = sample_episodes(mdp, best, draws, random)
    second = sample_episodes(mdp, noisy, draws, random, first.states[..., 0])
    data = []
    for i in range(seeds):
        chosen, rejected = label_pairs(first[i], second[i], mdp.discount)
        if not len(chosen.states):
            return None
        kept = torch.arange(count) % len(chosen.states)
        data.append(Shown(shown[i], _trim(chosen[kept]), _trim(rejected[kept])))
    return data


def _trim(batch: Trajectories) -> Trajectories:
    """Without the columns in which no step counts."""
    return batch[:, : max(1, int(batch.mask.sum(-1).max()))]


# ---- a setting's run ----


def run_setting(
    setting: Setting,
    *,
    methods: Sequence[str] = ("sft", "ift", "dpo", "orpo"),
    rates: Sequence[float] = RATES,
    seeds: int = 2,
    seed: int = 0,
    keep: Sequence[int] = KEEP,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    freeze: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> Columns:
    """Train and measure every method at every rate on every lake and seed of a setting, from the same bases and data.

    Args:
        setting: which.
        methods: names in METHODS or VARIANTS, or any of the keys of `options`.
        rates: learning rates.
        seeds, seed: how many, and the first.
        keep: checkpoints, 0 first and the last update last.
        options: for a method's row name, settings of the method laid over the defaults, and "method", if it differs.
        freeze: names of parameters that are not trained: w1 is a network's embedding of tiles.
        only: measures to save (default: all).

    Returns:
        A tidy table as columns; rows of method "base" are the base policy's. Lakes on which no two answers ever return
        different (slippery ones that nobody crosses) have no rows.
    """
    options = options or {}
    rows: list[Columns] = []
    for group in _by_size(setting, seeds, seed):
        names, lakes, data, offset = group
        base = setting.make_base(lakes, seeds, seed + offset)
        spread = [lake * seeds + i for lake in range(len(lakes)) for _ in rates for i in range(seeds)]
        each = torch.tensor(rates, dtype=torch.float32).repeat_interleave(seeds).repeat(len(lakes))
        matrices = base.probabilities().reshape(len(lakes), seeds, base.num_states, base.num_actions)
        for i, lake in enumerate(lakes):
            measured = _measured(lake, matrices[i][None, None], matrices[i], data[i], only)
            labels = {"method": "base", "rate": "", "checkpoint": "base", "update": 0}
            rows.append(_rows(setting, names[i], seed, labels, {n: x[0, 0] for n, x in measured.items()}))
        for name in methods:
            changes = dict(options.get(name, {}))
            kind = find_method(changes.pop("method", name))
            policy = base.members(spread)
            for parameter in freeze:
                getattr(policy, parameter).requires_grad_(False)
            found = train_lakes(
                kind,
                lakes,
                policy,
                keep=keep,
                seed=seed,
                shown=[data[m // seeds][m % seeds].demonstrations for m in spread],
                preferences=[(data[m // seeds][m % seeds].chosen, data[m // seeds][m % seeds].rejected) for m in spread],
                rates=each,
                optimiser=setting.optimiser,
                **changes,
            )
            # [M, L, P, N, S, A]
            found = found.reshape(len(keep), len(lakes), len(rates), seeds, policy.num_states, policy.num_actions)
            for i, lake in enumerate(lakes):
                measured = _measured(lake, found[:, i], matrices[i], data[i], only)
                common = min(range(len(rates)), key=lambda r: abs(np.log(rates[r] / setting.common_rate)))
                extra: dict[str, Float[np.ndarray, "P N"]] = {}
                if only is None or "bias" in only:
                    member = [(i * len(rates) + common) * seeds + n for n in range(seeds)]
                    pairs = (("base_", base.members(range(i * seeds, (i + 1) * seeds))), ("", policy.members(member)))
                    for when, model in pairs:
                        supposed = _estimated(kind, lake, model, data[i], changes)
                        for what, value in supposed.items():
                            extra[f"{when}{what}"] = np.full((len(rates), seeds), np.nan)
                            extra[f"{when}{what}"][common] = value
                if "ift" in kind.assumed_prior and (only is None or {"missed", "right", "push"} & set(only)):
                    extra |= taught(lake, found[:, i], [d.demonstrations for d in data[i]])
                for r, rate in enumerate(rates):
                    mean = measured["distance"][1:, r].mean(-1)
                    best = 1 + int(np.argmin(np.where(np.isfinite(mean), mean, np.inf)))
                    for checkpoint, at in (("last", len(keep) - 1), ("best", best)):
                        values = {n: x[at, r] for n, x in measured.items()}
                        if checkpoint == "last":
                            values |= {n: x[r] for n, x in extra.items()}
                        labels = {"method": name, "rate": rate, "checkpoint": checkpoint, "update": keep[at]}
                        rows.append(_rows(setting, names[i], seed, labels, values))
    return joined(rows, only)


def _by_size(setting: Setting, seeds: int, seed: int) -> Iterator[tuple[list[str], list[TabularMDP], list[list[Shown]], int]]:
    """The setting's lakes in groups of one size, with the data of each and how many seeds came before."""
    sizes: dict[int, list[tuple[str, TabularMDP]]] = {}
    for name, lake in setting.lakes:
        sizes.setdefault(lake.num_states, []).append((name, lake))
    offset = 0
    for group in sizes.values():
        sound = []
        for name, lake in group:
            try:
                data = draw_data(lake, setting.demonstrations, seeds, seed)
            except ValueError as error:
                raise ValueError(f"lake {name}: {error}") from error
            if data is not None:
                sound.append((name, lake, data))
        if sound:
            names, lakes, each = (list(part) for part in zip(*sound, strict=True))
            yield names, lakes, each, offset
            offset += seeds * len(lakes)


def _measured(
    mdp: TabularMDP,
    policies: Float[np.ndarray, "M P N S A"],
    base: Float[np.ndarray, "N S A"],
    data: Sequence[Shown],
    only: Sequence[str] | None = None,
) -> dict[str, Float[np.ndarray, "M P N"]]:
    """All measures of each seed's policies, or `only` some and the distance; NaN for one that has diverged."""
    sound = np.isfinite(policies).all((-2, -1))
    policies = np.where(sound[..., None, None], policies, 1 / mdp.num_actions)
    shown = np.stack([tiles_of(mdp, seed.demonstrations) for seed in data])
    result = measure(mdp, policies, base=base, shown=shown, only=None if only is None else ["distance", *only])
    for side in ("chosen", "rejected"):
        if only is None or f"{side}_logp" in only:
            each = [log_likelihood(policies[..., n, :, :], getattr(seed, side)) for n, seed in enumerate(data)]
            result[f"{side}_logp"] = np.stack(each, -1)
    if only is None or "unseen" in only:
        result["unseen"] = np.stack([_unseen(policies[..., n, :, :], seed) for n, seed in enumerate(data)], -1)
    return {name: np.where(sound, value, np.nan) for name, value in result.items()}


def _unseen(policies: Float[np.ndarray, "*batch S A"], data: Shown) -> Float[np.ndarray, "*batch"]:
    """Probability of moves that neither side of the pairs takes, mean over the tiles where they stand."""
    taken = np.zeros(policies.shape[-2:], bool)
    for side in (data.chosen, data.rejected):
        taken[side.states[side.mask].numpy(), side.actions[side.mask].numpy()] = True
    tiles = taken.any(-1)
    return np.where(taken, 0.0, policies)[..., tiles, :].sum(-1).mean(-1)


def _estimated(
    kind: type[Method], mdp: TabularMDP, policy: LakePolicy, data: Sequence[Shown], changes: Mapping[str, Any]
) -> dict[str, Float[np.ndarray, " N"]]:
    """Bias and gap of what a method takes each seed's policy to be, by that seed's first four answers."""
    residual = {n: changes[n] for n in ("mixing", "prediction", "outcome") if n in changes}
    found: dict[str, list[float]] = {"bias": [], "gap": []}
    for n, seed in enumerate(data):
        shown = seed.chosen if kind.needs == "pairs" else seed.demonstrations
        answers, stale = (_trim(batch[:4]) for batch in (shown, seed.rejected))
        if not all(torch.isfinite(p[n]).all() for p in policy.parameters()):
            said = {"bias": np.nan, "gap": np.nan}
        else:
            made = estimate(kind.assumed_prior, mdp, policy.members([n]), answers, stale=stale, **residual)
            said = {"bias": np.abs(made.bias)[0][made.mask].mean(), "gap": np.nanmean(made.gap[0][made.mask])}
        for what, value in said.items():
            found[what].append(float(value))
    return {what: np.array(values) for what, values in found.items()}


def taught(
    mdp: TabularMDP, policies: Float[np.ndarray, "M P N S A"], shown: Sequence[Trajectories]
) -> dict[str, Float[np.ndarray, "P N"]]:
    """What IFT's mixing teaches the tiles that it mixes in, mean over the checkpoints.

    The prediction made on the human's tile leads, by the most likely action, to a tile; if it is not the human's next one, it
    is taught the human's next action all the same.

    Returns:
        missed: the share of predictions that lead elsewhere.
        right: of those, holes and the gift left out, the share for which the action is a best one there too (NaN where there is
            none).
        push: by how much the mean squared distance of the tile's row to T* changes, to first order, for a unit step of its
            logits along the gradient of the action's log-probability; 0 where nothing is missed; mean over predictions.
    """
    best, leads = optimal_policy(mdp), mdp.transition
    found: dict[str, list[np.ndarray]] = {"missed": [], "right": [], "push": []}
    for n, batch in enumerate(shown):
        follows = (batch.mask[:, 1:] & batch.mask[:, :-1]).numpy()
        if not follows.any():  # answers of one step: nothing is predicted
            for name, value in (("missed", 0.0), ("right", np.nan), ("push", 0.0)):
                found[name].append(np.full(policies.shape[1], value))
            continue
        steps = [x.numpy()[follows] for x in (batch.states[:, :-1], batch.states[:, 1:], batch.actions[:, 1:])]
        (here, there, action), weight = np.unique(np.stack(steps), axis=1, return_counts=True)
        share = weight / weight.sum()
        mine = policies[:, :, n]
        mine = np.where(np.isfinite(mine), mine, 1 / mdp.num_actions)
        with np.errstate(divide="ignore"):
            predicted = greedy_action(torch.as_tensor(np.log(mine[..., here, :])))
        reached = leads[here, predicted.numpy()]  # [M, P, K, S]
        elsewhere = np.where(np.arange(mdp.num_states) == there[:, None], 0.0, reached)
        walked = np.where(mdp.terminal, 0.0, elsewhere)
        rightly = np.einsum("mpks,ks,k->mp", walked, (best[:, action].T > 0).astype(float), share).sum(0)
        total = np.einsum("mpks,k->mp", walked, share).sum(0)
        changed = _change_of_distance(mine, best)[..., action]  # [M, P, S, K]
        found["missed"].append(np.einsum("mpks,k->mp", elsewhere, share).mean(0))
        found["right"].append(np.divide(rightly, total, out=np.full(total.shape, np.nan), where=total > 1e-12))
        found["push"].append(np.einsum("mpks,mpsk,k->mp", walked, changed, share).mean(0))
    return {name: np.stack(values, -1) for name, values in found.items()}


def _change_of_distance(
    policy: Float[np.ndarray, "*batch S A"], best: Float[np.ndarray, "S A"]
) -> Float[np.ndarray, "*batch S A"]:
    """Of each row and action a: the derivative of mean_b (π_b - T*_b)² along the gradient of log π_a in the row's logits,
    e_a - π, where dπ_b = π_b (g_b - Σ_c π_c g_c)."""
    along = np.eye(policy.shape[-1]) - policy[..., None, :]  # [..., S, a, b]
    moved = policy[..., None, :] * (along - (policy[..., None, :] * along).sum(-1, keepdims=True))
    return 2 * ((policy - best)[..., None, :] * moved).mean(-1)


# ---- tables ----


def _rows(
    setting: Setting, lake: str, seed: int, labels: Mapping[str, object], values: Mapping[str, Float[np.ndarray, " N"]]
) -> Columns:
    """The rows of all seeds of one lake."""
    count = len(next(iter(values.values())))
    made: dict[str, object] = {field.name: getattr(setting, field.name) for field in fields(setting)}
    made |= {"lake": lake, **labels}
    columns: Columns = {name: np.full(count, value, object) for name, value in made.items()}
    columns["seed"] = np.arange(seed, seed + count).astype(object)
    return columns | {name: np.asarray(value, float) for name, value in values.items()}


LABELS = (*(field.name for field in fields(Setting)), "lake", "seed", "method", "rate", "checkpoint", "update")


def joined(tables: Sequence[Columns], only: Sequence[str] | None = None) -> Columns:
    """Tables one below another; a measure that one of them lacks is NaN there."""
    names = [n for n in (*MEASURES, *OWN_MEASURES) if any(n in t for t in tables) and (only is None or n in only)]
    labels = [n for n in dict.fromkeys(n for t in tables for n in t) if n not in (*MEASURES, *OWN_MEASURES)]
    sizes = [len(next(iter(table.values()))) for table in tables]
    made = {n: np.concatenate([t.get(n, np.full(s, "", object)) for t, s in zip(tables, sizes, strict=True)]) for n in labels}
    for name in names:
        made[name] = np.concatenate([t.get(name, np.full(s, np.nan)) for t, s in zip(tables, sizes, strict=True)])
    return made


def write_table(columns: Columns, path: Path, about: Mapping[str, object]) -> Path:
    """Save as CSV, gzipped if the name ends in .gz: a comment line that says what made it, a header, one row a line.

    Numbers have `DIGITS` significant digits, NaN is an empty field. Complete or not at all; the same table, the same bytes.
    """
    text = io.StringIO()
    text.write(f"# {json.dumps(about, sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_field(x) for x in column] for column in columns.values()), strict=True))
    content = text.getvalue().encode()
    return write_atomically(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _field(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)


def load_table(path: str | Path) -> tuple[Columns, dict[str, Any]]:
    """What `write_table` wrote: the columns (numbers where a column holds nothing else) and what made it.

    Raises:
        ValueError: if the file is no such table.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
        about = json.loads(lines[0].removeprefix("# "))
        reader = csv.reader(lines[1:])
        header = next(reader)
        cells = list(zip(*reader, strict=True)) or [()] * len(header)
        if len(cells) != len(header):
            raise ValueError(f"{len(header)} names, {len(cells)} columns")
    except (OSError, EOFError, ValueError, IndexError, StopIteration) as error:
        raise ValueError(f"{path} is not a saved table: {error or type(error).__name__}") from error
    return {name: _column(column) for name, column in zip(header, cells, strict=True)}, about


def _column(cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(cells, object)


def select(columns: Columns, keep: Bool[np.ndarray, " R"] | Int[np.ndarray, " R"]) -> Columns:
    """Some of the rows."""
    return {name: column[keep] for name, column in columns.items()}
