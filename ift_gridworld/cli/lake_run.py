"""Implementation of `lake`: train every method asked for from one base on the same data, save, draw, print a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ift_gridworld.checks import check_memory, check_whole, memory_size
from ift_gridworld.cli.arguments import LakeArgs
from ift_gridworld.cli.figure_options import draw_figure, figure_options
from ift_gridworld.cli.lake_report import report
from ift_gridworld.cli.method_options import chosen_methods, method_overrides
from ift_gridworld.cli.parser import check_seed
from ift_gridworld.cli.picture_options import PICTURE_OPTIONS, picture_options, view_stem
from ift_gridworld.cli.setup import base_of, check_outcome, data_of, mdp_of, training_of
from ift_gridworld.data import Trajectories
from ift_gridworld.envs.maps import parse_size
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import TrainingOptions
from ift_gridworld.methods.registry import find_method
from ift_gridworld.rendering.formats import PictureOptions, poster_of
from ift_gridworld.rendering.paper_layout import check_fits
from ift_gridworld.rendering.views import VIEWS
from ift_gridworld.rendering.worker import RenderWorker
from ift_gridworld.runtime import pick_device, progress
from ift_gridworld.storage import check_folder, file_stem, make_folder
from ift_gridworld.training.base_policies import default_count
from ift_gridworld.training.loop import train
from ift_gridworld.training.run import Run, compare
from ift_gridworld.training.snapshots import memory

__all__ = ["run"]

MOST_FILMED = 12  # methods side by side that can still be read


@dataclass(frozen=True)
class Plan:
    """A plan of training, checked before training starts.

    Attributes:
        mdp: where.
        overrides: for each method the values given for its own options.
        training: options of training.
        demonstrations, preferences: what methods learn from.
    """

    mdp: TabularMDP
    overrides: Mapping[str, Mapping[str, Any]]
    training: TrainingOptions
    demonstrations: Trajectories
    preferences: tuple[Trajectories, Trajectories]


def run(args: LakeArgs, worker: RenderWorker | None) -> int:
    """Train all methods, save, draw and print; returns the exit status."""
    plan, paths = plan_of(args), list[Path]()
    try:
        runs = align(args, plan, worker, paths)
        if args.figure is not None:
            name = together(args.method)
            paths.extend(draw_figure(args, compare(runs), args.out, name, args.theme, args.format))
    except BaseException as error:  # of a method of the user's own, too: what is saved is not lost, and is named
        if paths:
            error.add_note(f"written before that: {', '.join(map(str, paths))}")
        raise
    return report(runs, paths)


def together(method: str) -> str:
    """Name the file of the common picture of the methods and families that ``--method`` names."""
    return file_stem("-".join(method.split(",")))


# ---- before training ----


def plan_of(args: LakeArgs) -> Plan:
    """Check everything that can be checked before training, and make the data."""
    names = chosen_methods(args.method)
    overrides = method_overrides(args, names)
    check_whole("seeds", args.seeds, at_least=1)
    check_seed(args.seed)
    if args.drawn_seed is not None and not args.seed <= args.drawn_seed < args.seed + args.seeds:
        allowed = f"{args.seed} to {args.seed + args.seeds - 1}, the seeds that are trained"
        raise ValueError(f"drawn_seed is {args.drawn_seed}; allowed: {allowed}")
    pick_device(args.device)
    if args.hidden is not None:
        check_whole("hidden", args.hidden, at_least=1)
    if (states := _states_of(args)) is not None:
        _check_memory(args, states, len(LAKE_ACTIONS), names)
    mdp = mdp_of(args)
    check_outcome(overrides, mdp)
    training = training_of(args, mdp.num_states, snapshots=args.snapshots, steps=args.steps)
    _check_drawable(args, mdp, len(names))
    _check_stages(args, training, names)
    _check_memory(args, mdp.num_states, mdp.num_actions, names)
    count = default_count(mdp) if args.demonstrations is None else args.demonstrations
    needed = any(find_method(name).needs == "pairs" for name in names) or bool(args.view and VIEWS[args.view].needs_pairs)
    shown, pairs = data_of(mdp, count, args.seed, needed)
    check_folder(args.out)
    return Plan(mdp, overrides, training, shown, pairs)


def _check_stages(args: LakeArgs, training: TrainingOptions, names: Sequence[str]) -> None:
    """Raise a ValueError for a map of an update that no method reaches."""
    figure = figure_options(args, args.theme, args.format)
    last = training.steps or max(find_method(name).steps for name in names)
    for update in (figure and figure.stages) or ():
        if update > last:
            raise ValueError(f"stages has update {update}; allowed: up to {last}, the number of updates")


def _check_drawable(args: LakeArgs, mdp: TabularMDP, methods: int) -> None:
    """Raise a ValueError for a picture that cannot be drawn of this environment."""
    figure = figure_options(args, args.theme, args.format)
    if figure is not None:
        figure.check_before_training(methods)
    if figure is None and (args.render or args.view) and methods > MOST_FILMED:
        option = f"--view {args.view}" if args.view else "--render"
        raise ValueError(
            f"{option} draws {methods} methods in one picture; allowed: up to {MOST_FILMED}, such as --method core"
        )
    drawn = VIEWS[args.view].needs_map if args.view else args.render
    if not drawn and not (figure and figure.needs_map(methods)):
        return
    if mdp.grid is None:
        option = "--render" if args.figure is None else "--figure"
        allowed = "FrozenLake, CliffWalking, Taxi, or one that is registered with a layout"
        raise ValueError(f"{option}: {mdp.where.name} has no map to draw; allowed: {allowed}")
    if figure is not None:
        check_fits(mdp.grid, figure, methods)
    elif args.format == "html":
        from ift_gridworld.rendering.page import check_tiles

        check_tiles(mdp)


def _states_of(args: LakeArgs) -> int | None:
    """Return the number of states, if the command line gives the size of the lake; else only the environment has it."""
    size = args.size or (args.map if re.fullmatch(r"\d+x\d+", args.map) else None)
    if size is None:
        return None
    rows, columns = parse_size(size)
    return rows * columns or None  # a size of 0 is refused where the lake is built


def _check_memory(args: LakeArgs, states: int, actions: int, names: Sequence[str]) -> None:
    """Raise a ValueError if this machine cannot hold what a method trains and keeps; it names what would help."""
    training = training_of(args, states, snapshots=args.snapshots, steps=args.steps)

    def need(*, seeds: int = args.seeds, policy: str = args.policy, hidden: int | None = args.hidden) -> int:
        size: dict[str, Any] = {"policy": policy, "training": training} | ({} if hidden is None else {"hidden": hidden})
        return max(sum(memory(states, actions, seeds, method=name, **size).values()) for name in names)

    is_network, room = args.policy == "mlp", memory_size()
    ways = {
        "fewer --seeds": need(seeds=1) <= room and args.seeds > 1,
        "a smaller --hidden": is_network and need(hidden=1) <= room,
        "--policy tabular": is_network and need(policy="tabular") <= room,
        "a smaller lake (--map, --size)": True,
    }
    subject = f"policy is {args.policy!r}, for {args.seeds} seeds on {states} states"
    check_memory(need(), subject, ", ".join(way for way, helps in ways.items() if helps))


# ---- training ----


def align(args: LakeArgs, plan: Plan, worker: RenderWorker | None, paths: list[Path]) -> list[Run]:
    """Train every method from the same base on the same data; save each as soon as it is done, and have it drawn.

    Args:
        args, plan: what is to be done.
        worker: draws, if pictures are asked for.
        paths: each file is appended to it when it is complete.
    """
    names, runs = list(plan.overrides), list[Run]()
    options = PictureOptions() if worker is None else picture_options(args, args.format)
    # First those that may find too few pairs to learn a reward from.
    learns_reward = any(overrides.get("reward") == "preference" for overrides in plan.overrides.values())
    order = sorted(names, key=lambda name: find_method(name).needs != "rollouts") if learns_reward else names
    for method in order:
        one = _train(args, plan, method)
        make_folder(args.out)
        runs.append(one)
        stem = file_stem(method)
        paths.append(one.save(args.out / f"{stem}.json"))
        if worker is not None and args.view is None:  # another view compares: one picture of all runs
            worker.draw(paths[-1:], args.out / f"{stem}.{args.format or 'gif'}", args.theme, **asdict(options))
    if worker is not None:
        is_together = len(names) > 1 or args.view is not None
        if is_together:
            picture = args.out / f"{view_stem(together(args.method), args.view)}.{args.format or 'gif'}"
            worker.draw([args.out / f"{file_stem(name)}.json" for name in names], picture, args.theme, **asdict(options))
        ordered = len(runs) * (args.view is None) + is_together
        with progress("drawing") as advance:
            for done, picture in enumerate(worker.pictures(), 1):
                paths += [picture, *[poster_of(picture)] * options.poster]
                advance(done, ordered)
    return runs


def _kept_for(args: LakeArgs, training: TrainingOptions, method: str) -> TrainingOptions:
    """Keep the policies of the updates whose maps the figure shows, as far as the method is trained."""
    figure = figure_options(args, args.theme, args.format)
    updates = training.steps or find_method(method).steps
    return replace(training, keep=tuple(update for update in (figure and figure.stages) or () if update <= updates))


def _train(args: LakeArgs, plan: Plan, method: str) -> Run:
    with progress(f"training {method}", "measuring what it kept") as advance:
        trained = train(
            method,
            plan.mdp,
            base_of(args, plan.mdp, args.seeds, args.device),
            training=_kept_for(args, plan.training, method),
            seed=args.seed,
            demonstrations=plan.demonstrations,
            preferences=plan.preferences,
            progress=advance,
            **plan.overrides[method],
        )
    trained = trained.with_settings(**settings_of(args))
    return trained if args.drawn_seed is None else trained.drawing(args.drawn_seed)


def settings_of(args: LakeArgs) -> dict[str, Any]:
    """Return the command line's own settings as they are saved with a run: not the methods', which each run has resolved."""
    own = (
        {entry for kind in LakeArgs.__mro__ for entry in getattr(kind, "__annotations__", {})}
        - {"given"}
        - set(PICTURE_OPTIONS)
    )
    settings = {name: value for name, value in asdict(args).items() if name in own}
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
