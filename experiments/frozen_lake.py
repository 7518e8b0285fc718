"""Align a policy on a frozen lake and animate what it learned.

    python experiments/frozen_lake.py --method ift --render
    python experiments/frozen_lake.py --method all --map 4x4 --slippery

Trains every seed in one run, writes METHOD.json (settings, versions, every metric over the updates, policies) and, with
--render, METHOD.gif under --out, and ends with a table. --redraw METHOD.json draws again without training.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ift_gridworld.cli.command import check_seed, fail, launch
from ift_gridworld.runtime import loading, pick_device, progress
from ift_gridworld.storage import check_folder, make_folder

if TYPE_CHECKING:
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.methods.settings import Settings
    from ift_gridworld.rendering.worker import RenderWorker
    from ift_gridworld.training.loop import Run
    from ift_gridworld.training.run import Lake, Record


@dataclass(frozen=True)
class Args:
    """The command line."""

    method: str = "ift"
    """sft, ppo and grpo (RLHF), dpo, dpo_online, ift, orpo, ipo, simpo, tdpo; several with commas between; or all."""
    map: str = "two-paths"
    """two-paths, open, bridge, 4x4, 8x8, random, NxM (a random lake of that size), a map file, or a Gymnasium id such as
    CliffWalking-v1 or Taxi-v4."""
    size: str | None = None
    """N or NxM, for two-paths, open, bridge and random."""
    map_seed: int = 0
    """Seed of a random map."""
    slippery: bool = False
    """Let the ice slip to either side (let it rain, for a taxi)."""
    success_rate: float | None = None
    """On slippery ice, probability of going where intended (1/3 if not given; for a taxi 0.8)."""
    discount: float = 0.99
    """Discount of the return; it defines the optimal policy."""
    policy: str = "mlp"
    """mlp (two-layer network) or tabular."""
    hidden: int = 64
    """Width of the network."""
    base: str = "mixture"
    """What is aligned: mixture (cloned from good and bad behaviour), random or uniform."""
    demonstrations: int | None = None
    """Demonstrations, and preference pairs for dpo and its relatives (1 if nothing is random, else 16)."""
    steps: int | None = None
    """Gradient updates (300; ppo and grpo 600)."""
    learning_rate: float | None = None
    """The same for every method (mlp 0.01, tabular 0.03)."""
    optimiser: str = "adam"
    """adam or rmsprop."""
    snapshots: int | None = None
    """Policies kept along the way, the frames of a film (60; above 10,000 states fewer: 20 on 300x300, 6 on 1000x1000)."""
    seeds: int = 8
    """Independent policies trained at once."""
    seed: int = 0
    """The first of them."""
    mixing: float = 0.2
    """IFT: lambda, share of the model's own prediction in each state."""
    decay: float = 0.95
    """IFT: gamma of the relation propagation."""
    propagation: str = "released"
    """IFT: released, algorithm1, equation21 or none."""
    beta: float | None = None
    """Price of KL or weight of the preference term (the method's own if not given)."""
    reward: str = "env"
    """PPO, GRPO: env, or preference (a Bradley-Terry model of compared pairs)."""
    pairs: int = 256
    """PPO, GRPO with --reward preference: pairs that are compared."""
    device: str = "cpu"
    """cpu or cuda."""
    render: bool = False
    """Draw as well."""
    format: str | None = None
    """gif (the default), mp4, webp (films); png, pdf, svg (the last frame, or --figure); html (a page to play with)."""
    figure: str | None = None
    """A figure for a paper instead of a film, at the width of a column or a page; with --format pdf (then the default), svg or
    png. A table of the results is written beside it for LaTeX."""
    theme: str = "light"
    """light or dark."""
    out: Path = Path("figures/frozen_lake")
    """Folder that everything is written to."""
    explain: str | None = None
    """A slow film of one update of sft, ift, dpo, orpo or ppo, each step of it told."""
    redraw: tuple[Path, ...] = ()
    """Draw these saved runs again instead of training: one by itself, several side by side."""


def main(args: Args) -> int:
    # What loads torch comes after the command line is read, so that --help and mistakes answer at once.
    from ift_gridworld.rendering import THEME_NAMES, check_format
    from ift_gridworld.rendering.worker import RenderWorker

    args = replace(args, format=args.format or ("gif" if args.figure is None else "pdf"))
    try:
        if args.figure is None:  # which has formats of its own
            check_format(str(args.format))
        if args.theme not in THEME_NAMES:
            raise ValueError(f"--theme is {args.theme!r}; allowed: {', '.join(THEME_NAMES)}")
        if args.explain is not None and args.figure is not None:
            raise ValueError(f"--explain is {args.explain!r}, which is a film; allowed with --figure: --method")
        if args.explain is not None:
            print(explained(args))
            return 0
        if args.figure is not None:
            records, paths = figure(args)
        elif args.redraw:
            records, paths = redraw(args)
        elif args.render:
            with RenderWorker() as worker:
                records, paths = align(args, worker)
        else:
            records, paths = align(args, None)
    except (ValueError, OSError) as error:
        fail(re.sub(r"^(\w+) is ", _as_flag, str(error)))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        fail(f"out of memory: lower --seeds (now {args.seeds}), --hidden (now {args.hidden}) or the size of the lake")

    from ift_gridworld.rendering.tables import console, estimations, results, written

    screen = console()
    screen.print(results(records, screen.width))
    if len(records) > 1:
        screen.print(estimations(records, screen.width))
    screen.print(written(paths), soft_wrap=True, highlight=False)
    diverged = [f"{record.method}: {record.diverged}" for record in records if record.diverged]
    if diverged:
        fail("training diverged, snapshots until then are kept; " + "; ".join(diverged), status=1)
    return 0


def _as_flag(start: re.Match[str]) -> str:
    """The name of a setting at the start of a complaint, as it is spelled on the command line."""
    known = {field.name for field in fields(Args)}
    return f"--{start[1].replace('_', '-')} is " if start[1] in known else start[0]


def align(args: Args, worker: RenderWorker | None) -> tuple[list[Record], list[Path]]:
    """Train every method asked for from the same base on the same data; save each as soon as it is done, and have it drawn."""
    with loading():
        from ift_gridworld.data.trajectories import demonstrations, generators, preference_pairs
        from ift_gridworld.methods.families import METHODS
        from ift_gridworld.policies.lake import POLICIES
        from ift_gridworld.training import loop as training

    names = list(METHODS) if args.method == "all" else args.method.split(",")
    for name in names:
        if name not in METHODS:
            raise ValueError(
                f"--method is {name!r}; allowed: {', '.join(METHODS)}, several with commas between, or all by itself"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"--method is {args.method!r}, which names a method twice; allowed: each once")
    for name, allowed in (("policy", POLICIES), ("base", training.BASES)):
        if getattr(args, name) not in allowed:
            raise ValueError(f"--{name} is {getattr(args, name)!r}; allowed: {', '.join(allowed)}")
    for name in ("seeds", "hidden"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}; allowed: at least 1")
    check_seed(args.seed)
    settings, device = method_settings(args), pick_device(args.device)
    lake = make_lake(args)
    mdp = lake.mdp
    if mdp.grid is None and (worker is not None or args.figure is not None):  # before anything is trained
        asked = "--render" if args.figure is None else "--figure"
        raise ValueError(f"{asked}: {lake.name} has no map to draw; allowed: FrozenLake, CliffWalking, Taxi")
    if worker is not None and args.format == "html":
        from ift_gridworld.rendering.page import check_tiles

        check_tiles(mdp)
    if args.figure is not None:
        from ift_gridworld.rendering.paper import number_of_maps

        number_of_maps(mdp, args.figure)
    if args.snapshots is None:
        settings = replace(settings, snapshots=default_snapshots(mdp.num_states))
    check_memory(args, mdp, names, settings)
    count = training.default_count(mdp) if args.demonstrations is None else args.demonstrations
    draw_from = generators(args.seed, 1)[0]
    shown = demonstrations(mdp, count, generator=draw_from)
    compared = any(METHODS[name].needs == "pairs" for name in names)
    preferences = preference_pairs(mdp, count, generator=draw_from, needed=compared)
    check_folder(args.out)

    records: list[Record] = []
    paths: list[Path] = []
    # First those that may find too few pairs to learn a reward from.
    on_policy_first = sorted(names, key=lambda name: METHODS[name].needs != "rollouts")
    for method in on_policy_first if args.reward == "preference" else names:
        base = training.make_base(
            args.base, mdp, policy=args.policy, seeds=args.seeds, seed=args.seed, hidden=args.hidden, device=device
        )
        with progress(f"training {method}", "measuring what it kept") as report:
            run = training.train(
                method, mdp, base, settings=settings, seed=args.seed, shown=shown, preferences=preferences, progress=report
            )
        make_folder(args.out)
        record = make_record(run, lake, args)
        records.append(record)
        paths.append(record.save(args.out / f"{method}.json"))
        if worker is not None:
            worker.draw(paths[-1:], args.out / f"{method}.{args.format}", args.theme)
    if worker is not None:
        if len(names) > 1:  # a picture each, and one of all
            together = "all" if args.method == "all" else "-".join(names)
            worker.draw([args.out / f"{name}.json" for name in names], args.out / f"{together}.{args.format}", args.theme)
        with progress("drawing") as report:
            for done, picture in enumerate(worker.pictures(), 1):
                paths.append(picture)
                report(done, len(records) + (len(names) > 1))
    return records, paths


def explained(args: Args) -> str:
    """Make one update and film it; returns what was written, to be printed."""
    with loading():
        from ift_gridworld.data.trajectories import demonstrations, generators, preference_pairs
        from ift_gridworld.explain import EXPLAINED, explain
        from ift_gridworld.methods.families import METHODS
        from ift_gridworld.rendering import PICTURES
        from ift_gridworld.rendering.explain_film import ExplainFilm
        from ift_gridworld.rendering.tables import written
        from ift_gridworld.storage import versions, write_atomically
        from ift_gridworld.training import loop as training
    if args.explain not in EXPLAINED:
        raise ValueError(f"--explain is {args.explain!r}; allowed: {', '.join(EXPLAINED)}")
    if args.format == "html":
        raise ValueError(f"--format is 'html', which --explain has not; allowed: {', '.join(PICTURES)}")
    settings, lake = method_settings(args), make_lake(args)
    draw_from = generators(args.seed, 1)[0]
    shown = demonstrations(lake.mdp, 1, generator=draw_from)
    pair = preference_pairs(lake.mdp, 1, generator=draw_from, needed=METHODS[args.explain].needs == "pairs")
    base = training.make_base(args.base, lake.mdp, policy=args.policy, seed=args.seed, hidden=args.hidden)
    made = explain(args.explain, lake.mdp, base, shown, pair, settings=settings, seed=args.seed)
    check_folder(args.out)
    policy = {"mlp": "network", "tabular": "table"}[args.policy]
    about = f"{lake.name} · {'slippery' if lake.is_slippery else 'no slip'} · {policy} · base: {args.base} · seed {args.seed}"
    film = ExplainFilm(made, lake.mdp, about, args.theme)
    make_folder(args.out)
    entries = {
        "method": made.method,
        "lake": asdict(lake),
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in asdict(args).items()},
        "versions": versions(),
        "loss": made.loss,
        "before": made.before.tolist(),
        "after": made.after.tolist(),
        "scenes": [asdict(scene) for scene in made.scenes],
    }
    name = f"explain_{made.method}"
    saved = write_atomically(args.out / f"{name}.json", f"{json.dumps(entries, default=str)}\n".encode())
    return written([saved, film.save(args.out / f"{name}.{args.format}")])


def figure(args: Args) -> tuple[list[Record], list[Path]]:
    """Train, or read saved runs, and draw one figure for a paper of them all, with a table for LaTeX."""
    from ift_gridworld.rendering import STILLS
    from ift_gridworld.rendering.paper import WIDTHS, latex_table, save_figure
    from ift_gridworld.storage import write_atomically
    from ift_gridworld.training.run import Record

    assert args.figure is not None
    kind = args.format
    if args.figure not in WIDTHS:
        raise ValueError(f"--figure is {args.figure!r}; allowed: {', '.join(WIDTHS)}")
    if kind not in STILLS:
        raise ValueError(f"--format is {kind!r}, which --figure has not; allowed: {', '.join(STILLS)}")
    if args.redraw:
        records = [Record.load(path) for path in args.redraw]
        paths: list[Path] = []
        make_folder(args.out)
    else:
        records, paths = align(args, None)
    together = "all" if args.method == "all" and not args.redraw else "-".join(record.method for record in records)
    picture = save_figure(records, args.out / f"{together}_{args.figure}.{kind}", args.figure, args.theme)
    table = write_atomically(args.out / f"{together}.tex", latex_table(records).encode())
    return records, [*paths, picture, table]


def redraw(args: Args) -> tuple[list[Record], list[Path]]:
    """Draw saved runs again, without training."""
    from ift_gridworld.rendering.worker import draw
    from ift_gridworld.training.run import Record

    if len({path.resolve() for path in args.redraw}) < len(args.redraw):
        raise ValueError(f"--redraw is {' '.join(map(str, args.redraw))}, which names a run twice; allowed: each once")
    records = [Record.load(path) for path in args.redraw]
    make_folder(args.out)
    together = "-".join(record.method for record in records)
    return records, [draw(args.redraw, args.out / f"{together}.{args.format}", args.theme)]


def method_settings(args: Args) -> Settings:
    """The settings of the methods that the command line names."""
    from ift_gridworld.methods.settings import Settings

    names = {field.name for field in fields(Settings)}
    return Settings(**{name: value for name, value in asdict(args).items() if name in names and value is not None})


def default_snapshots(states: int) -> int:
    """As many as make a film that flows; on a larger lake fewer, for every one is measured and drawn tile by tile."""
    return max(6, min(60, round(60 * (10_000 / states) ** 0.5)))


def check_memory(args: Args, mdp: TabularMDP, names: Sequence[str], settings: Settings) -> None:
    """Raise a ValueError if this machine cannot hold what a method trains and keeps."""
    if not hasattr(os, "sysconf"):
        return
    from ift_gridworld.training.loop import memory

    size: dict[str, Any] = {"policy": args.policy, "hidden": args.hidden, "settings": settings}
    need = max(sum(memory(mdp.num_states, mdp.num_actions, args.seeds, method=name, **size).values()) for name in names)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > there:
        less = "fewer --seeds" if args.policy == "tabular" else "fewer --seeds, a smaller --hidden, --policy tabular"
        raise ValueError(
            f"policy is {args.policy!r}, of which {args.seeds} seeds on {mdp.num_states} states need {need / 2**30:.1f} GiB, "
            f"and this machine has {there / 2**30:.1f}; allowed: {less}"
        )


def make_lake(args: Args) -> Lake:
    from ift_gridworld.envs.maps import parse_size, time_limit
    from ift_gridworld.envs.registry import lake_rows, make_env
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.training.run import Lake

    if args.success_rate is not None and not args.slippery:
        raise ValueError(f"--success-rate is {args.success_rate}, which needs --slippery")
    name = Path(args.map).stem if Path(args.map).is_file() else args.map
    if args.size is not None:
        name = f"{name} {args.size}"
    name = name if len(name) <= 40 else name[:39] + "…"
    rows = lake_rows(args.map, size=None if args.size is None else parse_size(args.size), seed=args.map_seed)
    # A map is kept with the run; a Gymnasium environment is kept by its id, for it has its own ice, rewards and clock.
    if rows is not None:
        rate = 1 / 3 if args.success_rate is None else args.success_rate
        return Lake(name, rows, None, args.slippery and rate < 1, rate, args.discount, time_limit(rows))
    ice: dict[str, Any] = {"is_slippery": args.slippery}
    if args.success_rate is not None:
        ice["success_rate"] = args.success_rate
    mdp = TabularMDP.from_env(make_env(args.map, **ice), discount=args.discount)
    return Lake(name, None, args.map, not mdp.is_deterministic, None, args.discount, mdp.horizon, ice)


def make_record(run: Run, lake: Lake, args: Args) -> Record:
    import numpy as np

    from ift_gridworld.data.trajectories import path_of
    from ift_gridworld.methods.families import METHODS
    from ift_gridworld.storage import versions
    from ift_gridworld.training.run import Record

    kind = METHODS[run.method]
    asked = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(args).items()}
    rejected = path_of(run.rejected) if kind.needs == "pairs" and not kind.draws else np.zeros((0, 2), int)
    return Record(
        method=run.method,
        title=kind.title,
        needs=kind.needs,
        lake=lake,
        settings={
            **asked,
            **run.settings,
            "demonstrations": len(run.demonstrations.states),
            "demonstrations_arrived": int(run.demonstrations.arrived(run.mdp).sum()),
        },
        versions=versions(),
        steps=run.steps,
        metrics=run.metrics,
        optimum=run.optimum,
        loss=run.loss,
        snapshots=run.policies[:, 0],
        base=run.policies[0],
        final=run.policies[-1],
        shown=path_of(run.chosen if kind.needs == "pairs" else run.demonstrations),
        rejected=rejected,
        seconds=run.seconds,
        diverged=run.diverged,
        assumed_prior=kind.assumed_prior,
        estimation=run.estimation,
    )


if __name__ == "__main__":
    launch(main, Args, __doc__)
