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
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from language_report import draw_figures, draw_films, report, saved

from ift_gridworld.cli.parser import check_seed, fail, launch
from ift_gridworld.rendering import THEME_NAMES, check_format
from ift_gridworld.runtime import cores, loading, pick_device, processes, progress
from ift_gridworld.storage import check_folder, make_folder

if TYPE_CHECKING:
    import torch

    from ift_gridworld.language.models import LanguagePolicy
    from ift_gridworld.language.source import TextSource
    from ift_gridworld.language.tasks import Task
    from ift_gridworld.methods.base import Method
    from ift_gridworld.methods.options import Settings


FRAMES = 40  # of a film


@dataclass(frozen=True)
class Args:
    """The command line."""

    method: str = "ift"
    """sft, ift, dpo, dpo_online, orpo, ipo, simpo, tdpo, grpo, ppo, ppo_preference (learned reward); a control (sft_frozen,
    ift_residual, ift_propagation, ift_detached, ift_random, ift_sampled, ift_shifted); several with commas; or all."""
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
    data: Path | None = None
    """Train on this file instead of on lakes: one JSON object a line, with prompt and completion, or with prompt, chosen and
    rejected; plain text or messages, as TRL reads them."""
    export: Path | None = None
    """Write the lakes to align on, and the held-out ones, as such files into this folder; train nothing."""
    steps: int = 300
    """Updates of each method."""
    batch: int = 32
    """Rows of the data that an update sees."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Tried at their highest, the same for every method; what counts is the best sampled success on validation lakes."""
    every: int = 100
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
    first_pass: str | None = None
    """IFT: in which of them predictions are made (if not given: the same)."""
    compile: bool = False
    """Compile the model first (torch.compile): a minute on a CPU, then updates are a third faster."""
    workers: int = 0
    """Runs at a time, each in a process of its own (0: as many as there are cores for tiny on a CPU, else one)."""
    resume: bool = False
    """Go on from the checkpoints under --out, where there are any."""
    render: bool = False
    """Film the model's probabilities on a held-out lake, and draw the figures."""
    redraw: bool = False
    """Draw what is saved under --out, and print its tables; train nothing."""
    format: str = "gif"
    """gif, mp4, webp (films); png, pdf, svg (the last frame); html (a page to play with)."""
    theme: str = "light"
    """light or dark."""
    out: Path = Path("figures/language")
    """Folder that everything is written to."""

    def resolved(self) -> Args:
        if not self.quick:
            return self
        small: dict[str, Any] = {
            "learning_rates": (1e-3,), "base_maps": 1000, "base_steps": 300, "maps": 100, "held_out": 50,
            "steps": 60, "every": 30,
        }  # fmt: skip
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
            from ift_gridworld.methods.registry import METHODS
            from ift_gridworld.rendering.tables import written
        if args.redraw:
            films, runs = sorted(args.out.glob("*.film.json")), saved(args.out)
            paths = draw_films(films, args.out, args.format, args.theme) + draw_figures(runs, args.out, args.theme)
            report(runs)
            print(written(paths))
            return 0
        names = [*METHODS, *CONTROLS] if args.method == "all" else args.method.split(",")
        for name in names:
            if name not in METHODS and name not in CONTROLS:
                raise ValueError(f"--method is {name!r}; allowed: all, {', '.join((*METHODS, *CONTROLS))}")
            kind, changes = kind_of(name)
            if args.data is not None and kind.needs == "rollouts":
                raise ValueError(
                    f"--method {name} needs a reward, which a file has not; allowed with --data: what learns from data"
                )
            for rate in args.learning_rates:
                settings_of(args, rate, changes)  # so that mistakes are told at once
        device = pick_device(args.device)
        if args.dtype == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ValueError("--dtype is 'bfloat16', which this device cannot do; allowed: float32")
        if args.export is not None:
            print(written(exported(args)))
            return 0
        make_folder(args.out)
        runs = run_all(args, names)
        if Team.gathered(args.device).rank:
            return 0
        films = [run.pop("film").save(args.out / f"{run['method']}.film.json") for run in runs if "film" in run]
        paths = [save(args, name, runs) for name in dict.fromkeys(run["method"] for run in runs)]
        paths += draw_films(films, args.out, args.format, args.theme)
        paths += draw_figures(runs, args.out, args.theme) if args.render else []
        report(runs)
        print(written(paths))
    except ValueError as error:
        fail(error)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(told in str(error) for told in ("out of memory", "allocate memory")):
            raise
        fail(
            f"out of memory with --batch {args.batch}; allowed: fewer rows, fewer --held-out lakes, a smaller --model or --size"
        )
    return 0


def check(args: Args) -> None:
    check_seed(args.seed)
    check_folder(args.out)
    least = {"size": 2, "base_steps": 0, "workers": 0}
    for name in ("size", "base_maps", "base_steps", "maps", "held_out", "steps", "batch", "every", "seeds", "workers"):
        if getattr(args, name) < least.get(name, 1):
            allowed = f"a whole number >= {least.get(name, 1)}"
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}; allowed: {allowed}")
    if not args.learning_rates:
        raise ValueError("--learning-rates is empty; allowed: one rate or more")
    if args.theme not in THEME_NAMES:
        raise ValueError(f"--theme is {args.theme!r}; allowed: {', '.join(THEME_NAMES)}")
    check_format(args.format)
    for option, name in (("dtype", args.dtype), ("first-pass", args.first_pass or args.dtype)):
        if name not in ("float32", "bfloat16"):
            raise ValueError(f"--{option} is {name!r}; allowed: float32, bfloat16")
    if args.compile and args.device == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise ValueError("--compile needs a C++ compiler, and there is no g++ (nor CXX); allowed: without it")


# ---- runs: one is a method on a seed, at every learning rate ----


@dataclass(frozen=True)
class Team:
    """The processes that `accelerate launch` has started, or this one alone."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @classmethod
    def gathered(cls, device: str) -> Team:
        import torch

        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls(torch.device(device))
        from accelerate import PartialState

        # The others wait while the first makes a base or measures.
        state = PartialState(cpu=device == "cpu", timeout=timedelta(days=1))
        own = torch.device("cpu") if device == "cpu" else torch.device("cuda", state.local_process_index)
        return cls(own, state.process_index, state.num_processes)

    def wait(self) -> None:
        if self.processes > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def run_all(args: Args, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every method on every seed, and, if both are asked for, SFT again, as hot as IFT."""
    seeds = range(args.seed, args.seed + args.seeds)
    parts = [(seed, name) for seed in seeds for name in names]
    workers = args.workers or (cores() if args.model == "tiny" and args.device == "cpu" else 1)
    if min(workers, len(parts)) == 1 or "WORLD_SIZE" in os.environ:
        done = {part: run_one(args, *part) for part in parts}
        again = [run_tempered(args, *both) for both in _to_temper(done)]
    else:
        weight = {part: 1 if kind_of(part[1])[0].needs == "demonstrations" else 4 for part in parts}
        with processes(min(workers, len(parts))) as pool, progress("bases") as tell:
            for base in [pool.submit(run_base, args, seed, workers) for seed in seeds]:
                base.result()
            done, passed, total = {}, 0, sum(weight.values())
            under_way = {
                pool.submit(run_one, args, *part, workers): part for part in sorted(parts, key=lambda part: -weight[part])
            }
            for finished in as_completed(under_way):
                part = under_way[finished]
                done[part] = finished.result()
                passed += weight[part]
                tell(passed, total)
            again = [both.result() for both in [pool.submit(run_tempered, args, *both, workers) for both in _to_temper(done)]]
    return [done[part] for part in parts] + again


def kind_of(name: str) -> tuple[type[Method], Mapping[str, Any]]:
    """A method, and what is laid over its settings."""
    from ift_gridworld.language.controls import CONTROLS
    from ift_gridworld.methods.registry import METHODS

    return CONTROLS[name] if name in CONTROLS else (METHODS[name], {})


def _to_temper(done: Mapping[tuple[int, str], dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Runs of SFT, each with that of IFT on its seed."""
    return [(run, done[seed, "ift"]) for (seed, name), run in done.items() if name == "sft" and (seed, "ift") in done]


def run_base(args: Args, seed: int, workers: int = 1) -> None:
    seed_of(args, seed, workers)


def run_one(args: Args, seed: int, name: str, workers: int = 1) -> dict[str, Any]:
    return seed_of(args, seed, workers).align(name)


def run_tempered(args: Args, sft: dict[str, Any], ift: dict[str, Any], workers: int = 1) -> dict[str, Any]:
    return seed_of(args, sft["seed"], workers).tempered(sft, ift)


@lru_cache(maxsize=1)
def seed_of(args: Args, seed: int, workers: int = 1) -> Seed:
    """A seed is prepared once in each process that works on it."""
    import torch

    if workers > 1:
        torch.set_num_threads(max(1, cores() // workers))
    return Seed(args, seed, Team.gathered(args.device), getattr(torch, args.dtype))


def save(args: Args, name: str, runs: Sequence[dict[str, Any]]) -> Path:
    from ift_gridworld.storage import versions, write_atomically

    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(args).items() if key != "out"}
    content: dict[str, Any] = {"method": name, "settings": settings, "device": device_name(args.device), "versions": versions()}
    content |= {"saved": time.strftime("%Y-%m-%d"), "runs": [run for run in runs if run["method"] == name]}
    return write_atomically(args.out / f"{name}.json", f"{json.dumps(content)}\n".encode())


def device_name(device: str) -> str:
    import platform

    import torch

    if device != "cpu":
        return torch.cuda.get_device_name(torch.device(device))
    return f"{platform.processor() or platform.machine()}, {cores()} cores"


def settings_of(args: Args, rate: float, changes: Mapping[str, Any]) -> Settings:
    """A method's knobs: those of the command line, and what makes a control one."""
    from ift_gridworld.methods.options import Settings

    names = ("steps", "mixing", "decay", "beta", "propagation", "detach_weights", "prediction")
    asked: dict[str, Any] = {name: getattr(args, name) for name in names}
    return Settings(**{**asked, "learning_rate": rate, "walkers": args.batch, **changes})


def exported(args: Args) -> list[Path]:
    """The lakes as files that any trainer reads."""
    from ift_gridworld.language.data import write_rows
    from ift_gridworld.language.measure import MoveTokenizer
    from ift_gridworld.language.models import load

    assert args.export is not None
    make_folder(args.export, "--export")
    _, tokenizer, form = load(args.model)
    spoken, task = MoveTokenizer(form, tokenizer), task_of(args, args.seed)
    return [
        write_rows(args.export / "demonstrations.jsonl", task.rows("maps", spoken)),
        write_rows(args.export / "pairs.jsonl", task.rows("maps", spoken, pairs=True)),
        write_rows(args.export / "held_out.jsonl", task.rows("held_out", spoken)),
    ]


def task_of(args: Args, seed: int) -> Task:
    from ift_gridworld.language.tasks import Task

    return Task(
        args.size, args.ice, args.detours, base=args.base_maps, maps=args.maps, held_out=args.held_out, noise=args.base_noise,
        seed=seed,
    )  # fmt: skip


@dataclass
class Seed:
    """One seed: its lakes, its base, and what is made of it."""

    args: Args
    seed: int
    team: Team
    dtype: torch.dtype

    def __post_init__(self) -> None:
        import torch

        from ift_gridworld.language.film import film_lake
        from ift_gridworld.language.measure import MoveTokenizer, Probes
        from ift_gridworld.language.models import load

        args = self.args
        self.task = task_of(args, self.seed)
        self.base, tokenizer, form = load(args.model, seed=self.seed)
        self.base = self.base.to(self.team.device)
        self.base.first_pass = getattr(torch, args.first_pass) if args.first_pass else None
        self.spoken = MoveTokenizer(form, tokenizer)
        self.probes = {name: self.task.probes(name) for name in ("held_out", "validation")}
        lakes, paths = self.task.lakes["held_out"], self.task.paths["held_out"]
        asked, room = max(map(len, self.spoken.prompts(lakes))), self.base.context
        if asked + self.task.limit > room:
            raise ValueError(
                f"--size is {args.size}: prompts of {asked} tokens and answers of up to {self.task.limit}, "
                f"for a model that reads {room}; allowed: smaller lakes, or a model for longer texts"
            )
        shown = film_lake(lakes)
        self.shown = lakes[shown : shown + 1], paths[shown : shown + 1]
        self.shown_probes = Probes.of(*self.shown)
        self.make_base()

    def make_base(self) -> None:
        from ift_gridworld.language.models import SIZES
        from ift_gridworld.language.tasks import make_base

        if self.args.model not in SIZES or not self.args.base_steps:
            return
        for turn in range(2):  # the first process makes it, the others find it made
            if (self.team.rank > 0) == (turn > 0):
                with progress(f"base, seed {self.seed}") as told:
                    make_base(
                        self.task, self.base, self.spoken, model=self.args.model, steps=self.args.base_steps, rows=64,
                        peak=3e-3, device=self.team.device, dtype=self.dtype, progress=told,
                    )  # fmt: skip
            self.team.wait()

    @cached_property
    def held_out(self) -> TextSource:
        """What is asked of a method that is not trained on it: its estimation of the model on held-out lakes."""
        return self.task.source(self.spoken, "held_out", device=self.team.device)

    def measured(self, policy: LanguagePolicy, name: str = "held_out") -> dict[str, float]:
        """Means over lakes; measures that no lake has are left out."""
        from ift_gridworld.language.measure import measure

        lakes, paths = self.task.lakes[name], self.task.paths[name]
        found = measure(
            policy, self.spoken, lakes, paths, probes=self.probes[name], limit=self.task.limit, seed=self.seed
        )  # fmt: skip
        return {m: float(values[values == values].mean()) for m, values in found.items() if (values == values).any()}

    def align(self, name: str) -> dict[str, Any]:
        """One method at every rate; what is kept is the one with the best sampled success on validation lakes."""
        from ift_gridworld.language.costs import agreement
        from ift_gridworld.language.measure import entropy_of
        from ift_gridworld.language.models import looking
        from ift_gridworld.language.training import Diverged
        from ift_gridworld.methods.imitation import IFT

        best: tuple[float, dict[str, Any], LanguagePolicy] | None = None
        tried: dict[str, float | None] = {}
        for rate in self.args.learning_rates:
            try:
                run, policy = self.align_at(name, rate)
            except Diverged:
                if rate == self.args.learning_rates[-1] and best is None:
                    raise
                tried[f"{rate:g}"] = None
                continue
            several = len(self.args.learning_rates) > 1 and self.team.rank == 0
            success = self.measured(policy, "validation")["sampled"] if several else 0.0
            tried[f"{rate:g}"] = success
            if best is None or success > best[0]:
                best = success, run, policy
        assert best is not None
        _, run, policy = best
        with looking(policy):
            run["entropy"] = entropy_of(policy, self.spoken, self.task.lakes["validation"], self.probes["validation"])
            if issubclass(kind_of(name)[0], IFT):
                assert self.held_out.demonstrations is not None
                run["bfloat16_agreement"] = agreement(policy, self.held_out.demonstrations, self.team.device)
        return run | {"validation": tried}

    def align_at(self, name: str, rate: float, *, resume: bool = False) -> tuple[dict[str, Any], LanguagePolicy]:
        import copy

        import numpy as np

        from ift_gridworld.language.costs import flops
        from ift_gridworld.language.estimation import bias, estimated
        from ift_gridworld.language.film import film_record, moves_at
        from ift_gridworld.language.models import looking
        from ift_gridworld.language.tokens import log_probs_seen, looked_at, pull
        from ift_gridworld.language.training import align
        from ift_gridworld.methods.imitation import SFT
        from ift_gridworld.training.snapshots import snapshot_steps

        args, team = self.args, self.team
        kind, changes = kind_of(name)
        settings = settings_of(args, rate, changes)
        policy = copy.deepcopy(self.base)
        if args.compile:
            policy.model.compile(dynamic=True)  # no copy of a compiled model is one
        checkpoint = args.out / "checkpoints" / f"{name}-{rate:g}-{self.seed}.safetensors"
        if team.rank == 0:
            make_folder(checkpoint.parent)
            if not (args.resume or resume):
                checkpoint.unlink(missing_ok=True)
        team.wait()
        source, left_out = self.source(kind)
        assert source.demonstrations is not None
        rows = looked_at(source.demonstrations)

        def evaluate(policy: LanguagePolicy) -> dict[str, float]:
            with looking(policy):
                lakes = self.task.lakes["held_out"]
                found = estimated(kind, self.held_out, policy, settings, self.spoken, lakes, seed=self.seed)
            return self.measured(policy) | {"bias": float(bias(*found).mean())}

        def watch(policy: LanguagePolicy) -> dict[str, Any]:
            with looking(policy):
                moves = moves_at(policy, self.spoken, self.shown[0], self.shown_probes)
                seen = log_probs_seen(kind, source, policy, settings, rows) if issubclass(kind, SFT) else np.zeros((0, 0))
            return {"moves": moves.round(6).tolist(), "logp": seen.round(6).tolist()}

        with progress(f"{name}, rate {rate:g}, seed {self.seed}") as told:
            curve = align(
                kind, source, policy, settings=settings, evaluate=evaluate, every=args.every, watch=watch,
                watch_at=snapshot_steps(args.steps, FRAMES), checkpoint=checkpoint, dtype=self.dtype, progress=told,
            )  # fmt: skip
        run: dict[str, Any] = {"method": name, "seed": self.seed, "learning_rate": rate, **asdict(curve)}
        run["utilisation"] = flops(policy, curve.tokens, curve.predicted) / max(1e-9, curve.seconds) / self.peak
        if left_out:
            run["rows_left_out"] = left_out
        frames = run.pop("watched")
        if self.seed == args.seed and frames and issubclass(kind, SFT):
            logp = np.array([frame["seen"]["logp"] for frame in frames])
            run["pull"] = (pull(kind, settings, logp).mean(1) * logp.shape[-1]).round(5).tolist()
            run["pull_at"] = [frame["step"] for frame in frames]
        if args.render and self.seed == args.seed and frames:
            moves = [{"step": frame["step"], "seen": frame["seen"]["moves"]} for frame in frames]
            run["film"] = film_record(
                kind, name, asdict(settings), self.shown[0], self.shown[1][0], moves, curve.loss, curve.seconds
            )
        return run, policy

    @cached_property
    def peak(self) -> float:
        from ift_gridworld.language.costs import peak_rate

        return peak_rate(self.team.device, self.dtype) * self.team.processes

    def source(self, kind: type[Method]) -> tuple[TextSource, int]:
        """The lakes to align on, or the rows of a file, and how many of these are too long."""
        from ift_gridworld.language.data import read_rows, tokenised
        from ift_gridworld.language.source import TextSource

        args, team, spoken = self.args, self.team, self.spoken
        options: dict[str, Any] = {
            "rows": args.batch, "device": team.device, "rank": team.rank, "processes": team.processes
        }  # fmt: skip
        if args.data is None:
            return self.task.source(spoken, **options), 0
        rows = read_rows(args.data, kind.needs)
        names = ("chosen", "rejected") if kind.needs == "pairs" else ("completion",)
        limit = self.base.context
        said = {name: tokenised(rows, spoken.tokenizer, name, limit=limit) for name in names}
        first, left_out = said[names[0]]
        if not len(first):
            raise ValueError(f"{args.data}: every row is longer than the model's {limit} tokens; allowed: shorter ones")
        longest = int((first.length - first.prompt).max()) + 8
        rejected = said["rejected"][0] if "rejected" in said else None
        return TextSource(first, first, rejected, end=spoken.end, limit=longest, seed=self.seed, **options), left_out

    def tempered(self, sft: dict[str, Any], ift: dict[str, Any]) -> dict[str, Any]:
        """SFT's logits over a temperature at which it is as uncertain of its words as IFT: what this gains, too, is no
        learning."""
        from ift_gridworld.language.measure import entropy_of

        _, policy = self.align_at("sft", sft["learning_rate"], resume=True)  # it has been trained, and is only read again
        lakes, probes = self.task.lakes["validation"], self.probes["validation"]
        low, high = 0.2, 5.0
        for _ in range(12):
            policy.temperature = (low * high) ** 0.5
            if entropy_of(policy, self.spoken, lakes, probes) < ift["entropy"]:
                low = policy.temperature
            else:
                high = policy.temperature
        last = {"step": self.args.steps, **self.measured(policy)}
        told = {"method": "sft_tempered", "temperature": policy.temperature, "measured": [*sft["measured"][:1], last]}
        return {k: v for k, v in sft.items() if k not in ("pull", "pull_at", "film")} | told


if __name__ == "__main__":
    launch(main, Args, __doc__)
