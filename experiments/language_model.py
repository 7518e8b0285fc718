"""Align a language model on lakes that it reads as text, and measure it by the lake's own numbers.

    python experiments/language_model.py --method ift --render
    python experiments/language_model.py --method all --seeds 3
    python experiments/language_model.py --quick

A model that is built here (tiny, small) first learns from mediocre paths and is kept in a cache. Each method then starts from
it, learns from lakes that the base has not seen, and is measured on others again. METHOD.json under --out holds settings,
versions, curves and measures.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ift_gridworld.command import check_folder, check_seed, fail, launch, loading, make_folder, progress
from ift_gridworld.rendering import THEME_NAMES, check_format

if TYPE_CHECKING:
    import torch

    from ift_gridworld.language.measure import Spoken
    from ift_gridworld.language.models import LanguagePolicy
    from ift_gridworld.language.tasks import Task


FRAMES = 40  # of a film


@dataclass(frozen=True)
class Args:
    """The command line."""

    method: str = "ift"
    """sft, ift, dpo, dpo_online, orpo, ipo, simpo, tdpo, ppo, grpo; a control (sft_frozen, ift_residual, ift_propagation,
    ift_detached, ift_random, ift_sampled, ift_shifted); several with commas between; or all."""
    model: str = "tiny"
    """tiny (0.15 M parameters) or small (25 M), built here; a folder, a GGUF file, or a name on the hub."""
    quick: bool = False
    """Everything smaller: under a minute."""
    size: int = 4
    """Tiles of a side of the lakes."""
    ice: float = 0.7
    """Share of tiles that hold."""
    detours: float = 0.5
    """Share of lakes on which the shortest way is longer than rows plus columns."""
    base_maps: int = 8000
    """Lakes that the base model learns mediocre paths on."""
    base_noise: tuple[float, float] = (0.2, 0.8)
    """How often those paths go at random: drawn for each of them from this range."""
    base_steps: int = 1500
    """Updates of the base model (0: as it is)."""
    maps: int = 2000
    """Lakes to align on."""
    held_out: int = 200
    """Lakes that everything is measured on."""
    steps: int = 300
    """Updates of each method."""
    batch: int = 64
    """Rows of the data that an update sees."""
    learning_rate: float = 1e-3
    """At its highest; the same for every method."""
    every: int = 50
    """Updates between two measurements."""
    seeds: int = 1
    """Independent runs, each with lakes, base and order of its own."""
    seed: int = 0
    """The first of them."""
    mixing: float = 0.2
    """IFT: lambda, share of the model's own prediction in each state."""
    decay: float = 0.95
    """IFT: gamma of the relation propagation."""
    propagation: str = "released"
    """IFT: released, algorithm1, equation21 or none."""
    detach_weights: bool = False
    """IFT: hold the weights constant in the backward pass."""
    prediction: str = "greedy"
    """IFT: greedy or expected."""
    beta: float | None = None
    """Price of KL or weight of the preference term (the method's own if not given)."""
    device: str = "cpu"
    """cpu or cuda."""
    dtype: str = "float32"
    """float32 or bfloat16."""
    resume: bool = False
    """Go on from the checkpoints under --out, where there are any."""
    render: bool = False
    """Film the model's probabilities on a held-out lake."""
    format: str = "gif"
    """gif, mp4, webp (films); png, pdf, svg (the last frame); html (a page to play with)."""
    theme: str = "light"
    """light or dark."""
    out: Path = Path("figures/language")
    """Folder that everything is written to."""

    def resolved(self) -> Args:
        if not self.quick:
            return self
        small = {"base_maps": 1000, "base_steps": 300, "maps": 100, "held_out": 50, "steps": 60, "every": 30}
        untouched = {name for name, value in small.items() if getattr(self, name) == getattr(Args, name)}
        changes: dict[str, Any] = {name: value for name, value in small.items() if name in untouched}
        return replace(self, **changes)


def main(args: Args) -> int:
    args = args.resolved()
    try:
        check(args)
        with loading():
            import torch

            from ift_gridworld.language.controls import CONTROLS
            from ift_gridworld.methods import METHODS
        names = [*METHODS, *CONTROLS] if args.method == "all" else args.method.split(",")
        for name in names:
            if name not in METHODS and name not in CONTROLS:
                raise ValueError(f"--method is {name!r}; allowed: all, {', '.join((*METHODS, *CONTROLS))}")
        device, dtype = place(args, torch)
        team = Team.gathered(device)
        make_folder(args.out)
        runs = [run for seed in range(args.seed, args.seed + args.seeds) for run in align_all(args, names, seed, team, dtype)]
        if team.rank:
            return 0
        paths = [
            save(args, name, [run for run in runs if run["method"] == name])
            for name in dict.fromkeys(r["method"] for r in runs)
        ]
        paths += [draw(args, name) for name in names] if args.render else []
        report(runs)
        from ift_gridworld.console import written

        print(written(paths))
    except ValueError as error:
        fail(error)
    return 0


def check(args: Args) -> None:
    check_seed(args.seed)
    check_folder(args.out)
    least = {"size": 2, "base_steps": 0}
    for name in ("size", "base_maps", "base_steps", "maps", "held_out", "steps", "batch", "every", "seeds"):
        if getattr(args, name) < least.get(name, 1):
            allowed = f"a whole number >= {least.get(name, 1)}"
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}; allowed: {allowed}")
    if args.theme not in THEME_NAMES:
        raise ValueError(f"--theme is {args.theme!r}; allowed: {', '.join(THEME_NAMES)}")
    check_format(args.format)
    if args.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"--dtype is {args.dtype!r}; allowed: float32, bfloat16")


def place(args: Args, torch: Any) -> tuple[torch.device, torch.dtype]:
    """The device and the number type, if they are there."""
    kind = args.device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"--device is {args.device!r}; allowed: cpu, cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is 'cuda', but torch finds no such device here; allowed: cpu")
    if args.dtype == "bfloat16" and kind == "cuda" and not torch.cuda.is_bf16_supported():
        raise ValueError("--dtype is 'bfloat16', which this device cannot do; allowed: float32")
    return torch.device(args.device), getattr(torch, args.dtype)


@dataclass(frozen=True)
class Team:
    """The processes that `accelerate launch` has started, or this one alone."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @classmethod
    def gathered(cls, device: torch.device) -> Team:
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls(device)
        import torch
        from accelerate import PartialState

        state = PartialState(cpu=device.type == "cpu")
        own = torch.device("cuda", state.local_process_index) if device.type == "cuda" else device
        return cls(own, state.process_index, state.num_processes)

    def wait(self) -> None:
        if self.processes > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def align_all(args: Args, names: Sequence[str], seed: int, team: Team, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Every method from one base, on one seed's lakes."""
    import copy

    from ift_gridworld.language.measure import Spoken
    from ift_gridworld.language.models import SIZES, load
    from ift_gridworld.language.tasks import Task, make_base

    task = Task(
        args.size, args.ice, args.detours, base=args.base_maps, maps=args.maps, held_out=args.held_out,
        noise=args.base_noise, seed=seed,
    )  # fmt: skip
    base, tokenizer, form = load(args.model, seed=seed)
    spoken = Spoken(form, tokenizer)
    base = base.to(team.device)
    if args.model in SIZES and args.base_steps:
        for turn in range(2):  # the first process makes it, the others find it made
            if (team.rank > 0) == (turn > 0):
                with progress("base") as told:
                    make_base(
                        task, base, spoken, model=args.model, steps=args.base_steps, rows=64, peak=3e-3,
                        device=team.device, dtype=dtype, progress=told,
                    )  # fmt: skip
            team.wait()
    found = []
    for name in names:
        policy = copy.deepcopy(base)
        found.append(align_one(args, name, seed, task, policy, spoken, team, dtype))
    return found


def align_one(
    args: Args,
    name: str,
    seed: int,
    task: Task,
    policy: LanguagePolicy,
    spoken: Spoken,
    team: Team,
    dtype: torch.dtype,
) -> dict[str, Any]:
    from ift_gridworld.language.controls import CONTROLS
    from ift_gridworld.language.film import film_lake, film_record, moves_at
    from ift_gridworld.language.measure import Probes, measure
    from ift_gridworld.language.training import align
    from ift_gridworld.methods import METHODS
    from ift_gridworld.settings import Settings
    from ift_gridworld.training import snapshot_steps

    kind, changes = CONTROLS.get(name) or (METHODS[name], {})
    settings = replace(
        Settings(
            steps=args.steps, learning_rate=args.learning_rate, mixing=args.mixing, decay=args.decay, beta=args.beta,
            propagation=args.propagation, detach_weights=args.detach_weights, prediction=args.prediction,  # type: ignore[arg-type]
            walkers=args.batch,
        ),
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip
    lakes, paths, probes = task.lakes["held_out"], task.paths["held_out"], task.probes("held_out")
    shown = film_lake(lakes)
    lake, path = lakes[shown : shown + 1], paths[shown : shown + 1]
    where = Probes.of(lake, path)

    def evaluate(policy: LanguagePolicy) -> dict[str, float]:
        found = measure(policy, spoken, lakes, paths, probes=probes, limit=task.limit, seed=seed)
        return {measure: float(values[values == values].mean()) for measure, values in found.items()}

    checkpoint = args.out / f"{name}-{seed}.safetensors"
    if not args.resume and team.rank == 0:
        checkpoint.unlink(missing_ok=True)
    team.wait()
    problem = task.problem(spoken, rows=args.batch, device=team.device, rank=team.rank, processes=team.processes)
    with progress(name) as told:
        curve = align(
            kind, problem, policy, settings=settings, evaluate=evaluate,
            every=args.every, watch=lambda policy: moves_at(policy, spoken, lake, where).tolist(),
            watch_at=snapshot_steps(args.steps, FRAMES), checkpoint=checkpoint, dtype=dtype, progress=told,
        )  # fmt: skip
    if args.render and team.rank == 0 and seed == args.seed:
        record = film_record(kind, name, asdict(settings), lake, path[0], curve.watched, curve.loss, curve.seconds)
        record.save(args.out / f"{name}.film.json")
    return {"method": name, "seed": seed, **asdict(curve)}


def draw(args: Args, name: str) -> Path:
    from ift_gridworld.rendering.studio import draw as drawn

    return drawn([args.out / f"{name}.film.json"], args.out / f"{name}.{args.format}", args.theme)


def save(args: Args, name: str, runs: Sequence[dict[str, Any]]) -> Path:
    from ift_gridworld.records import versions, write_atomically

    told = {"settings": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(args).items()}, "versions": versions()}
    content = json.dumps({"method": name, **told, "saved": time.strftime("%Y-%m-%d"), "runs": list(runs)}, indent=1)
    return write_atomically(args.out / f"{name}.json", f"{content}\n".encode())


def report(runs: Sequence[dict[str, Any]]) -> None:
    """One row a method: means over seeds at the last update."""
    import numpy as np
    from rich.table import Table

    from ift_gridworld.console import console
    from ift_gridworld.language.measure import MEASURES

    table = Table(title="on held-out lakes, mean over seeds", title_justify="left")
    table.add_column("method")
    for measure in MEASURES:
        table.add_column(measure.replace("_", " "), justify="right")
    table.add_column("tokens/s", justify="right")
    for name in dict.fromkeys(run["method"] for run in runs):
        mine = [run for run in runs if run["method"] == name]
        if not table.rows:
            table.add_row("(base)", *(f"{np.mean([run['measured'][0][m] for run in mine]):.3f}" for m in MEASURES), "")
        last = (f"{np.mean([run['measured'][-1][m] for run in mine]):.3f}" for m in MEASURES)
        speed = sum(run["tokens"] for run in mine) / max(1e-9, sum(run["seconds"] for run in mine))
        table.add_row(name, *last, f"{speed:,.0f}")
    console().print(table)


if __name__ == "__main__":
    launch(main, Args, __doc__)
