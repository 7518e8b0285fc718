"""The paper's claims about the lake under every reasonable reading: how often each holds, what of IFT does what, and why.

No lake code, map, base policy or learning rate was published with "Intuitive Fine-Tuning" (arXiv 2405.11870), so nothing here
is tuned: settings are dealt out by a balanced random design, none is left out for what it shows, and each counts alike.

    python experiments/reproduction.py --quick                      # under a minute: the same study, smaller
    python experiments/reproduction.py                              # the whole study; interrupted, it goes on where it was
    python experiments/reproduction.py --redraw                     # tables and figures again, from what is saved
    python experiments/reproduction.py --maps my_maps.txt           # the claims on your own lakes
    python experiments/reproduction.py --setting 4x4,firm,good-0.5,mlp-64,adam,1     # one setting, printed

experiments/README.md tells what came out and how to add a setting.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ift_gridworld.cli.parser import check_seed, fail, launch, parse
from ift_gridworld.runtime import cores, loading, processes, progress
from ift_gridworld.storage import check_folder, make_folder


@dataclass(frozen=True)
class Args:
    """What to run, and where the tables and figures go."""

    quick: bool = False
    """The same study, smaller (on fewer settings, with half the seeds): under a minute."""
    maps: Path | None = None
    """A text file of maps, blank lines between them: ask the claims on these lakes instead."""
    setting: str | None = None
    """Run one setting alone (MAP,ICE,BASE,POLICY,OPTIMISER,DEMONSTRATIONS) and print what it says."""
    claim: str | None = None
    """Ask one claim alone (FIRST<SECOND:MEASURE), of one setting or of all of them, and print what is found."""
    redraw: bool = False
    """Tables and figures again from what is saved, without running anything."""
    seeds: int = 8
    """Independent policies, and data, on each lake of its own; on blocks of ten lakes a quarter of that, at least two."""
    seed: int = 0
    """The first of them; the design is drawn from it, too."""
    workers: int = 0
    """Processes (0: one a core)."""
    theme: str = "light"
    """light, dark."""
    out: Path | None = None
    """Folder of tables, figures and of the parts that a run leaves on its way (default: figures/reproduction, with _quick or
    _maps behind it where these are asked for)."""

    @property
    def folder(self) -> Path:
        kind = "_maps" if self.maps is not None else "_quick" if self.quick else ""
        return self.out or Path(f"figures/reproduction{kind}")


if __name__ == "__main__":  # --help and mistakes are answered before torch is loaded
    parse(Args, __doc__)

with loading():
    import numpy as np
    import reproduction_figures as figures
    import reproduction_report as report

    from ift_gridworld.rendering import THEME_NAMES
    from ift_gridworld.rendering.tables import console, written
    from ift_gridworld.storage import versions, write_atomically
    from ift_gridworld.studies.claims import CLAIMS
    from ift_gridworld.studies.settings import (
        BLOCK,
        ICE,
        KEEP,
        Columns,
        Setting,
        draw_data,
        joined,
        lake_maps,
        load_table,
        read_maps,
        run_setting,
        write_table,
    )
    from ift_gridworld.training.lakes import train_lakes

SINGLE = ("two-paths-3", "two-paths-4", "two-paths-6", "two-paths-8", "4x4", "8x8")
DENSITIES = ("0.6", "0.7", "0.8", "0.9")  # shares of frozen tiles of the random lakes
LEVELS: dict[str, tuple[Any, ...]] = {  # each as often as the others
    "base": ("random", "good-0.1", "good-0.3", "good-0.5", "good-0.7", "good-0.9"),
    "policy": ("tabular", "mlp-16", "mlp-64", "mlp-128"),
    "optimiser": ("adam", "rmsprop"),
    "demonstrations": (1, 4, 16, 64),
}
METHODS = ("sft", "ift", "dpo", "orpo")


# ---- the design ----


def design(places: Sequence[tuple[str, str]], seed: int) -> list[Setting]:
    """A setting for each place (a map and its ice), the other factors dealt out so that each level comes equally often.

    (A Latin hypercube over the factors: each factor's levels are repeated to the number of settings and shuffled.)
    """
    random = np.random.default_rng(seed)
    dealt = {}
    for name, levels in LEVELS.items():
        repeated = [levels[i % len(levels)] for i in range(len(places))]
        dealt[name] = [repeated[i] for i in random.permutation(len(places))]
    found = [Setting(*place, *values) for place, *values in zip(places, *dealt.values(), strict=True)]
    return list({setting.name: setting for setting in found}.values())


def seeds_for(setting: Setting, seeds: int) -> int:
    """Fewer on a block of lakes, whose lakes tell more than their seeds do."""
    return seeds if setting.family in SINGLE else max(2, seeds // 4)


def all_settings(args: Args) -> list[Setting]:
    """Every single lake on every ice, four times; every block of random lakes firm and on one of the two slippery ices."""
    if args.maps is not None:
        blocks = [f"{args.maps}:{block}" for block in range((len(read_maps(args.maps)) - 1) // BLOCK + 1)]
        return design([*product(blocks, ICE)] * (1 if args.quick else 12), args.seed)
    if args.quick:
        return design([*product(("two-paths-4", "4x4", "lakes-0.8-0"), ICE)], args.seed)
    blocks = [f"lakes-{density}-{block}" for density in DENSITIES for block in range(5)]
    firm, *slippery = ICE
    of_blocks = [(block, ice) for i, block in enumerate(blocks) for ice in (firm, slippery[i % len(slippery)])]
    return design([*product(SINGLE, ICE)] * 4, args.seed) + design(of_blocks, args.seed + 1)


# ---- what is run ----


@dataclass(frozen=True)
class Unit:
    """A part of a study that is run and saved by itself.

    Attributes:
        study: the table that it belongs to.
        name: its own.
        weight: about how long it takes, in any unit.
        run: makes its rows, of `arguments`.
    """

    study: str
    name: str
    weight: float
    run: Callable[..., Columns]
    arguments: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What makes it what it is; a saved part counts if it says the same."""
        plain = {k: v.name if isinstance(v, Setting) else v for k, v in self.arguments.items()}
        lakes = zlib.crc32(repr(lake_maps(self.arguments["setting"].map)).encode())  # a file of maps may have changed
        told = {"study": self.study, "unit": self.name, "arguments": plain, "lakes": lakes, "versions": versions()}
        return json.loads(json.dumps(told))

    def path(self, out: Path) -> Path:
        readable = re.sub(r"[^\w.-]+", "_", self.name)[:80]
        return out / "parts" / f"{self.study}-{readable}-{zlib.crc32(self.name.encode()):08x}.csv.gz"

    def is_done(self, out: Path) -> bool:
        try:
            return load_table(self.path(out))[1] == self.about
        except ValueError:
            return False


def claims_units(args: Args, methods: Sequence[str] = METHODS) -> list[Unit]:
    """The claims: every method at every rate in every setting."""
    units = []
    for setting in all_settings(args):
        seeds = seeds_for(setting, args.seeds)
        size = {"8x8": 2.0, "two-paths-8": 2.0}.get(setting.map, 1.0 if setting.family in SINGLE else 3.0)
        weight = size * (1 if setting.ice == "firm" else 1 + setting.demonstrations**0.4)
        arguments = {"setting": setting, "methods": list(methods), "seeds": seeds, "seed": args.seed}
        units.append(Unit("claims", setting.name, weight, run_setting, arguments))
    return units


PAPER = [
    Setting("two-paths-4", "firm", base, policy, optimiser, 1)
    for base, policy, optimiser in product(("random", "good-0.1", "good-0.5", "good-0.9"), ("mlp-64",), ("adam", "rmsprop"))
]

PAPER_DRAWN = Setting("two-paths-4", "firm", "good-0.5", "mlp-64", "adam", 1)


def figure3_units(args: Args) -> list[Unit]:
    """The paper's own game: two paths, a two-layer network, one optimal path as target, optimal and sub-optimal as pair."""
    drawn = {"setting": PAPER_DRAWN, "methods": list(METHODS), "seed": args.seed}
    return [
        *(
            Unit("figure3", s.name, 2.0, run_setting, {"setting": s, "seeds": 4 * args.seeds, "seed": args.seed})
            for s in (PAPER[::4] if args.quick else PAPER)
        ),
        Unit("policies", PAPER_DRAWN.name, 0.5, run_policies, drawn),
    ]


def run_policies(setting: Setting, methods: Sequence[str], seed: int) -> Columns:
    """The policies that figure 3 draws, one row a tile: the base's and what each method makes of it."""
    (_, lake), *_ = setting.lakes
    data = draw_data(lake, setting.demonstrations, 1, seed)
    assert data is not None
    shown, pairs = [data[0].demonstrations], [(data[0].chosen, data[0].rejected)]
    found = {"base": setting.make_base([lake], 1, seed).probabilities()[0]}
    for method in methods:
        policy = setting.make_base([lake], 1, seed)
        keep = KEEP[-1:]
        made = train_lakes(method, [lake], policy, keep=keep, shown=shown, preferences=pairs, optimiser=setting.optimiser)
        found[method] = made[0, 0, 0]
    tiles = range(lake.num_states)
    table: dict[str, list[Any]] = {"method": [], "tile": [], "shown": []}
    for method in found:
        for tile in tiles:
            table["method"].append(method)
            table["tile"].append(tile)
            table["shown"].append(int(tile in shown[0].states[shown[0].mask]))
    columns = {name: np.array(values, object) for name, values in table.items()}
    chances = np.concatenate(list(found.values()))
    return columns | {f"T({name}|s)": chances[:, i].astype(object) for i, name in enumerate(lake.actions)}


MIXINGS, DECAYS = (0.0, 0.2, 0.5, 1.0), (0.0, 0.01, 0.5, 0.95)
FORMS = (  # name, propagation, weights held constant
    ("released", "released", False),
    ("released, detached", "released", True),
    ("algorithm 1", "algorithm1", False),
    ("algorithm 1, detached", "algorithm1", True),
    ("equation 21", "equation21", False),
    ("none", "none", False),
)
ABLATED = ("method", "mixing", "decay", "form", "prediction", "embedding")


def run_ablation(
    setting: Setting, form: str, prediction: str, embedding: str, seeds: int, seed: int, mixings: Sequence[float]
) -> Columns:
    """IFT in one form over λ and γ; the form "sft" is SFT."""
    _, propagation, detached = next((f for f in FORMS if f[0] == form), ("", "", False))
    options: dict[str, dict[str, Any]] = {}
    for mixing, decay in product(mixings, DECAYS[:1] if propagation in ("", "none") else DECAYS):
        if mixing == 0 and prediction == "expected":
            continue  # nothing is predicted
        options[f"{mixing:g} {decay:g}"] = {
            "method": "ift", "mixing": mixing, "decay": decay, "propagation": propagation, "detach_weights": detached,
            "prediction": prediction,
        }  # fmt: skip
    if form == "sft":
        options = {"0 0": {"method": "sft"}}
    made = run_setting(
        setting,
        methods=list(options),
        rates=[setting.common_rate],
        seeds=seeds,
        seed=seed,
        options=options,
        freeze=["w1"] if embedding == "frozen" else [],
        only=["success", "regret", "distance", "distance_optimal"],
    )
    knobs = [str(name).split() if name != "base" else ["", ""] for name in made["method"]]
    count = len(knobs)
    constant = {"form": form, "prediction": prediction, "embedding": embedding}
    return {
        **{name: column for name, column in made.items() if name != "method"},
        **{name: np.array([pair[i] for pair in knobs], object) for i, name in enumerate(("mixing", "decay"))},
        **{name: np.full(count, value, object) for name, value in constant.items()},
        "method": np.where(made["method"] == "base", "base", "sft" if form == "sft" else "ift").astype(object),
    }


def ablation_units(args: Args) -> list[Unit]:
    """λ x γ x form x prediction x embedding on ten random lakes, firm and slippery; frozen embeddings, and expected predictions
    of every form, on firm ice alone."""
    mixings = (0.0, 0.2, 1.0) if args.quick else MIXINGS
    panels = [Setting("lakes-0.8-0", "firm", "good-0.5", "mlp-64", "adam", 1)]
    if not args.quick:
        panels.append(Setting("lakes-0.8-0", "slippery-0.8", "good-0.5", "mlp-64", "adam", 16))
    units = []
    for setting, (form, *_), (prediction, embedding) in product(
        panels,
        (("sft",), *(FORMS[:1] if args.quick else FORMS)),
        (("greedy", "live"), ("expected", "live"), ("greedy", "frozen")),
    ):
        if (form == "sft" and prediction == "expected") or (embedding == "frozen" and setting.ice != "firm"):
            continue
        if prediction == "expected" and setting.ice != "firm" and form not in ("released", "none"):
            continue  # dear, and on firm ice the forms differ there as they do with greedy predictions
        if args.quick and (prediction, embedding) != ("greedy", "live"):
            continue
        arguments = {
            "setting": setting, "form": form, "prediction": prediction, "embedding": embedding,
            "seeds": seeds_for(setting, args.seeds), "seed": args.seed, "mixings": list(mixings),
        }  # fmt: skip
        runs = 1 if form == "sft" else len(mixings) * (1 if form == "none" else len(DECAYS))
        weight = runs * (0.25 if setting.ice == "firm" else 0.5)
        units.append(Unit("ablation", f"{setting.name} {form} {prediction} {embedding}", weight, run_ablation, arguments))
    return units


CURES = ("dpo", "dpo_online", "ipo", "simpo", "tdpo", "dpo_sft")


def drain_units(args: Args) -> list[Unit]:
    """Offline DPO and its relatives: what becomes of the preferred answer and of moves that nobody took."""
    maps = ("4x4",) if args.quick else ("two-paths-4", "4x4", "8x8")
    units = []
    for name, ice, policy in product(maps, ("firm", "slippery-0.8"), ("mlp-64", "tabular")):
        if args.quick and (ice, policy) != ("firm", "mlp-64"):
            continue
        setting = Setting(name, ice, "good-0.5", policy, "adam", 1 if ice == "firm" else 16)
        arguments = {
            "setting": setting, "methods": ["sft", *CURES], "rates": [setting.common_rate], "seeds": args.seeds,
            "seed": args.seed, "only": [m for m in MEASURED if m not in ("bias", "gap", "base_bias", "base_gap")],
        }  # fmt: skip
        units.append(Unit("drain", setting.name, 3.0, run_setting, arguments))
    return units


MEASURED = (
    "success", "return", "regret", "distance", "distance_optimal", "kl", "tiles", "chosen_logp", "rejected_logp", "unseen",
)  # fmt: skip


def reward_units(args: Args) -> list[Unit]:
    """PPO on the environment's reward, and on one learned from compared episodes."""
    maps = ("two-paths-4",) if args.quick else ("two-paths-4", "4x4", "8x8")
    units = []
    for name, ice in product(maps, ("firm",) if args.quick else ("firm", "slippery-0.8")):
        setting = Setting(name, ice, "good-0.5", "mlp-64", "adam", 1 if ice == "firm" else 16)
        for reward in ("env", "preference"):
            arguments = {
                "setting": setting, "methods": [f"ppo, {reward}"], "rates": [setting.common_rate], "seeds": args.seeds,
                "seed": args.seed, "keep": [0, 100, 200, 400, 600] if not args.quick else [0, 100],
                "options": {f"ppo, {reward}": {"method": "ppo", "reward": reward}}, "only": list(MEASURED),
            }  # fmt: skip
            units.append(Unit("rewards", f"{setting.name} {reward}", 6.0, run_setting, arguments))
    return units


PROPOSED = ("ift", "ift_agreeing", "ift_mixture", "ift_average", "ift_expected", "ift_oracle", "ift_asking")
HELD_OUT = ("lakes-0.7-6", "lakes-0.9-6")  # these and the held-in ones are in none of the other studies


def variants_units(args: Args) -> list[Unit]:
    """Variants of IFT at two λ and two rates, which are chosen on some lakes and judged on others."""
    units = []
    panels = [("firm", "good-0.5", 1)] if args.quick else [
        (ice, base, count) for (ice, count), base in product((("firm", 1), ("slippery-0.8", 16)), ("good-0.5", "random"))
    ]  # fmt: skip
    proposed = PROPOSED[:2] if args.quick else PROPOSED
    for (ice, base, count), block in product(panels, (report.HELD_IN, *(HELD_OUT[:1] if args.quick else HELD_OUT))):
        setting = Setting(block, ice, base, "mlp-64", "adam", count)
        options = {f"{name} {mixing}": {"method": name, "mixing": mixing} for name, mixing in product(proposed, (0.2, 0.5))}
        arguments = {
            "setting": setting, "methods": ["sft", *options], "options": options, "rates": [0.01, 0.03],
            "seeds": seeds_for(setting, args.seeds), "seed": args.seed,
            "only": ["success", "regret", "distance", "distance_optimal", "missed", "right"],
        }  # fmt: skip
        units.append(Unit("variants", setting.name, 8.0 if ice == "firm" else 16.0, run_setting, arguments))
    return units


def all_units(args: Args) -> list[Unit]:
    units = claims_units(args)
    if args.maps is None:
        for more in (figure3_units, ablation_units, drain_units, reward_units, variants_units):
            units += more(args)
    return units


# ---- running ----


def run_unit(unit: Unit, out: Path) -> None:
    write_table(unit.run(**unit.arguments), unit.path(out), unit.about)


def workers(args: Args) -> int:
    return args.workers or cores()


def run_all(units: Sequence[Unit], args: Args) -> None:
    """Run what is not saved yet, the longest first, each part saved as soon as it is done."""
    make_folder(args.folder / "parts")
    waiting = sorted((unit for unit in units if not unit.is_done(args.folder)), key=lambda unit: -unit.weight)
    total = sum(unit.weight for unit in units)
    done = total - sum(unit.weight for unit in waiting)
    with progress("study") as tell, processes(workers(args)) as pool:
        tell(round(done), round(total))
        under_way = {pool.submit(run_unit, unit, args.folder): unit for unit in waiting}
        for finished in as_completed(under_way):
            finished.result()
            done += under_way[finished].weight
            tell(round(done), round(total))


def tables(units: Sequence[Unit], out: Path) -> dict[str, Columns]:
    """The studies' tables, put together from their parts."""
    parts: dict[str, list[Columns]] = {}
    for unit in units:
        parts.setdefault(unit.study, []).append(load_table(unit.path(out))[0])
    return {study: joined(found) for study, found in parts.items()}


# ---- the script ----

STUDIES = ("claims", "figure3", "policies", "ablation", "drain", "rewards", "variants")


def main(args: Args) -> int:
    try:
        check(args)
        if args.quick:
            args = replace(args, seeds=max(2, args.seeds // 2))
        if args.setting is not None or args.claim is not None:
            return ask(args)
        saved = load_saved(args) if args.redraw else None
        if saved is None:
            units = all_units(args)
            run_all(units, args)
            saved = {study: (columns, about(args, study)) for study, columns in tables(units, args.folder).items()}
            for study, (columns, made_by) in saved.items():
                write_table(columns, args.folder / f"{study}.csv.gz", made_by)
        return tell(saved, args)
    except ValueError as error:
        fail(error)
    except OSError as error:
        fail(f"{error.filename or args.folder}: {error.strerror}")


def check(args: Args) -> None:
    """Before anything runs: whether what is asked for makes sense."""
    check_seed(args.seed)
    check_folder(args.folder)
    for name, value, least in (("seeds", args.seeds, 2), ("workers", args.workers, 0)):
        if value < least:
            raise ValueError(f"--{name} is {value}; allowed: a whole number >= {least}")
    if args.theme not in THEME_NAMES:
        raise ValueError(f"--theme is {args.theme!r}; allowed: {', '.join(THEME_NAMES)}")
    if args.claim is not None and args.claim not in CLAIMS:
        raise ValueError(f"--claim is {args.claim!r}; allowed: {', '.join(CLAIMS)}")
    if args.redraw and (args.setting or args.claim or args.maps):
        raise ValueError("--redraw draws what is saved; allowed with it: --quick, --out, --theme")
    if args.setting is not None:
        _ = Setting.parse(args.setting).lakes
    if args.maps is not None:
        read_maps(args.maps)


def about(args: Args, study: str) -> dict[str, Any]:
    """What a table is made by: settings, seed and versions."""
    asked = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    plain = {name: value for name, value in asked.items() if name not in ("out", "theme", "workers", "redraw")}
    return {"study": study, "settings": plain, "versions": versions()}


def load_saved(args: Args) -> dict[str, tuple[Columns, dict[str, Any]]]:
    found = {study: load_table(path) for study in STUDIES if (path := args.folder / f"{study}.csv.gz").exists()}
    if "claims" not in found:
        raise ValueError(f"--redraw: {args.folder / 'claims.csv.gz'} is not there; allowed: the --out of a finished run")
    return found


def ask(args: Args) -> int:
    """One setting, one claim, or both: run what is needed, print what is found, save nothing."""
    claims = list(CLAIMS.values()) if args.claim is None else [CLAIMS[args.claim]]
    methods = [m for m in METHODS if any(m in (claim.first, claim.second) for claim in claims)]
    units = [unit for unit in claims_units(args, methods) if args.setting in (None, unit.name)]
    if not units:  # a setting that the design has not drawn
        assert args.setting is not None
        setting = Setting.parse(args.setting)
        arguments = {
            "setting": setting, "methods": methods, "seeds": seeds_for(setting, args.seeds), "seed": args.seed
        }  # fmt: skip
        units = [Unit("claims", setting.name, 1.0, run_setting, arguments)]
    found: list[Columns] = []
    with progress("settings") as told, processes(workers(args)) as pool:
        for columns in pool.map(run_alone, units):
            found.append(columns)
            told(len(found), len(units))
    columns = as_saved(joined(found))
    pooled, by_setting = report.judge(report.cubes_of(columns), claims)
    console().print(report.table_of_setting(by_setting) if len(units) == 1 else report.table_of_claims(pooled))
    return 0


def run_alone(unit: Unit) -> Columns:
    return unit.run(**unit.arguments)


def as_saved(columns: Columns) -> Columns:
    """To the digits that a file keeps, so that a row run alone is the row of the table."""
    with TemporaryDirectory() as folder:
        return load_table(write_table(columns, Path(folder) / "table.csv", {}))[0]


def tell(saved: Mapping[str, tuple[Columns, dict[str, Any]]], args: Args) -> int:
    """Tables of claims, findings and figures of what was run; the claims on the terminal."""
    found = {study: columns for study, (columns, _) in saved.items()}
    made_by = json.loads(json.dumps(saved["claims"][1], sort_keys=True))  # as it reads from a file
    cubes = report.cubes_of(found["claims"])
    pooled, by_setting = report.judge(cubes, list(CLAIMS.values()))
    paths = [
        write_table(pooled, args.folder / "claims_pooled.csv", made_by),
        write_table(by_setting, args.folder / "claims_by_setting.csv.gz", made_by),
    ]
    findings = report.findings(found, cubes, pooled)
    content = json.dumps({"findings": findings, **made_by}, indent=1, allow_nan=False)
    paths.append(write_atomically(args.folder / "findings.json", f"{content}\n".encode()))
    paths += figures.draw(found, cubes, pooled, args.folder, args.theme)
    console().print(report.table_of_claims(pooled))
    print(written(paths))
    return 0


if __name__ == "__main__":
    launch(main, Args, __doc__)
