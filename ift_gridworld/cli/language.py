"""Align a language model on lakes that it reads as text, and measure it by the lake's own numbers.

    ift-gridworld language --method ift --render
    ift-gridworld language --method all --seeds 3
    ift-gridworld language --quick

A model that is built here (tiny, small) first learns from mediocre paths and is kept in a cache. Each method then starts from
it, learns from lakes that the base has not seen, and is measured on others again. METHOD.json in the output folder holds
settings, versions, curves and metrics. `ift-gridworld language evaluate` measures any other language model.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ift_gridworld.checks import check_choice, read_variable
from ift_gridworld.cli.parser import check_seed, fail
from ift_gridworld.cluster import check_cluster
from ift_gridworld.rendering import THEME_NAMES, check_format
from ift_gridworld.runtime import is_out_of_memory, loading
from ift_gridworld.storage import check_empty, check_folder

if TYPE_CHECKING:
    from ift_gridworld.studies.language_settings import StudySettings

__all__ = ["PUBLISHED", "RUNS", "Args", "main"]

RUNS = Path("runs/language")
PUBLISHED = Path("figures/language")
PAGE = Path("experiments/language.md")  # quotes the published findings


@dataclass(frozen=True)
class Args:
    """The command line. An option that is not given is None; its default stands in brackets."""

    method: str | None = None
    """sft, ift, dpo, dpo_online (the human's answer chosen, the model's own rejected, as in SPIN), orpo, ipo, simpo, tdpo,
    grpo, ppo, ppo_preference (learned reward); a control (sft_frozen, ift_residual, ift_propagation, ift_detached, ift_random,
    ift_sampled, ift_shifted, and without propagation ift_residual_random, ift_residual_sampled, ift_residual_shifted); several
    with commas; or all (ift)."""
    model: str | None = None
    """tiny (0.15 M parameters) or small (25 M), built here; a folder, a GGUF file, or a name on the hub (tiny)."""
    quick: bool = False
    """Everything smaller: under a minute."""
    size: int | None = None
    """Tiles of a side of the lakes (4)."""
    ice: float | None = None
    """Probability of a tile to be frozen (0.7)."""
    detours: float | None = None
    """Share of lakes on which the shortest path is longer than rows plus columns (0.5)."""
    base_maps: int | None = None
    """Lakes whose mediocre paths the base model learns (8000; quick 1000)."""
    base_noise: tuple[float, float] | None = None
    """Range of the probability of a random move on such a path (0.2 0.8)."""
    base_steps: int | None = None
    """Updates of a base model that is built here; 0 leaves it untrained (1500; quick 300)."""
    maps: int | None = None
    """Lakes to align on (2000; quick 100)."""
    held_out: int | None = None
    """Lakes that everything is measured on; by default fewer where a model that is not built here is trained so shortly that
    measuring would take more than twice the time (200; quick 50)."""
    validation: int | None = None
    """Lakes on which learning rates, betas and temperatures are chosen; by default fewer in the same case (100)."""
    data: str | None = None
    """Train on this file instead of on lakes: one JSON object a line, with prompt and completion, with messages, or with
    prompt, chosen and rejected; plain text or messages, as TRL reads them."""
    export: str | None = None
    """Write the lakes to align on, and the held-out ones, as such files into this folder; train nothing."""
    steps: int | None = None
    """Updates of each method (300; quick 60)."""
    batch: int | None = None
    """Rows of the data that an update sees (32)."""
    learning_rates: tuple[float, ...] | None = None
    """Highest learning rates, the same for every method; the best by sampled success on validation lakes is kept, and a best
    one at either end of them is followed by up to three beyond (3e-4 1e-3 3e-3; quick 1e-3)."""
    betas: tuple[float, ...] | None = None
    """Values of beta to choose from in the same way, each at every learning rate; extended alike (one, the method's own)."""
    no_extend: bool = False
    """Keep to the learning rates and betas that are given."""
    every: int | None = None
    """Updates between two measurements (100; quick 30)."""
    seeds: int | None = None
    """Independent runs, each with its own lakes, base and order of the data (1)."""
    seed: int | None = None
    """The first of them (0)."""
    mixing: float | None = None
    """IFT: lambda, share of the model's own prediction in each state (0.2)."""
    decay: float | None = None
    """IFT: gamma of the relation propagation (0.95)."""
    propagation: str | None = None
    """IFT: released, algorithm1, equation21 or none (released)."""
    detach_weights: bool = False
    """IFT: hold the weights constant in the backward pass."""
    prediction: str | None = None
    """IFT: greedy or expected (greedy)."""
    beta: float | None = None
    """Price of KL or weight of the preference term (the method's own)."""
    device: str | None = None
    """cpu or cuda (cpu)."""
    dtype: str | None = None
    """float32 or bfloat16 (float32)."""
    first_pass: str | None = None
    """IFT: float32 or bfloat16 for predictions (that of the second pass)."""
    compile: bool = False
    """Compile the model first (torch.compile): a minute on a CPU, then updates are a third faster."""
    workers: int | None = None
    """Runs at a time, each in a process of its own; 0 is one a core for tiny on a CPU, else one (0)."""
    cluster: str | None = None
    """Make the runs on a Dask cluster instead: tcp://HOST:PORT of a running scheduler, or local:N for N processes here (extra
    cluster)."""
    resume: bool = False
    """Resume from the checkpoints and finished runs in the output folder, where there are any."""
    render: bool = False
    """Film the model's probabilities on a held-out lake, and draw the figures."""
    redraw: bool = False
    """Draw what is saved in the output folder, and print its tables; train nothing."""
    format: str | None = None
    """gif, mp4, webp (films); png, pdf, svg (the last frame); html (the alignment lab) (gif)."""
    theme: str | None = None
    """light or dark (light)."""
    out: str | None = None
    """Output folder (runs/language)."""
    save: str | None = None
    """Save each aligned model in this folder, which must be new or empty: weights, tokenizer and card, as Hugging Face's
    libraries read them. Several models have subfolders, METHOD-seed-SEED."""
    publish: bool = False
    """Write to figures/language, the published results; with --redraw also the numbers that experiments/language.md quotes."""

    @property
    def given(self) -> dict[str, Any]:
        """Options that differ from the default, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value is not False}

    @property
    def folder(self) -> Path:
        """The output folder."""
        return PUBLISHED if self.publish else RUNS if self.out is None else Path(self.out)


QUICK: dict[str, Any] = {
    "learning_rates": (1e-3,), "base_maps": 1000, "base_steps": 300, "maps": 100, "held_out": 50, "steps": 60, "every": 30,
}  # fmt: skip
LEAST = {
    "size": 2, "base_maps": 1, "base_steps": 0, "maps": 1, "held_out": 1, "validation": 1, "steps": 1, "batch": 1, "every": 1,
    "seeds": 1, "workers": 0,
}  # fmt: skip
# options by what uses them
TASK = {
    "size": "size", "ice": "ice", "detours": "detours", "base_maps": "base", "base_noise": "noise", "maps": "maps",
    "held_out": "held_out", "validation": "validation", "seed": "seed",
}  # fmt: skip
STUDY = (
    "model", "base_steps", "data", "steps", "batch", "learning_rates", "betas", "every", "seeds", "device", "dtype",
    "first_pass", "compile", "workers", "cluster", "resume",
)  # fmt: skip
METHODS = ("mixing", "decay", "propagation", "detach_weights", "prediction", "beta")
DRAWING = ("format", "theme")
REDRAW = ("redraw", "render", *DRAWING, "out", "publish")
EXPORT = ("export", "model", "quick", *TASK)


def main(args: Args) -> int:
    """Run what the command line asks for and print its tables; return the exit status.

    A mistake prints one line and raises SystemExit with status 2.
    """
    picture = args.format or "gif", args.theme or "light"
    try:
        check(args)
        with loading():
            from ift_gridworld.studies import language_report, language_settings, language_study, quotes
        if args.redraw:
            runs = language_report.load_runs(args.folder)
            films = sorted(args.folder.glob("*.film.json"))
            paths = language_report.draw_pictures(runs, films, args.folder, *picture)
            if args.publish and PAGE.exists():
                paths.append(quotes.quote_in(PAGE, language_report.findings(runs)))
            language_report.print_runs(runs, paths)
            return 0
        settings = study_settings(args, language_settings.StudySettings(), language_settings.ALL_METHODS)
        if args.export is None:
            language_settings.check_settings(settings, base_steps_given=args.base_steps is not None)
            settings = within_cost(args, settings)
            _say_if_alone()
            runs = language_study.run_study(settings)
            if runs:
                paths, films = language_study.save_runs(settings, runs)
                if args.render:
                    paths += language_report.draw_pictures(runs, films, args.folder, *picture)
                if settings.save is not None:
                    aligned = [(run["method"], run["seed"]) for run in runs if run["method"] in settings.methods]
                    paths += [language_settings.model_folder(settings, *model) for model in aligned]
                language_report.print_runs(runs, paths)
        else:
            language_report.print_paths(language_study.export_data(settings, Path(args.export)))
    except ValueError as error:
        fail(error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        batch = f"--batch {args.batch}" if args.batch else "the default --batch"
        fail(f"out of memory with {batch}; allowed: a smaller --batch, fewer --held-out lakes, a smaller --model or --size")
    return 0


def study_settings(args: Args, defaults: StudySettings, all_methods: Sequence[str]) -> StudySettings:
    """Return the settings of the study that the command line describes.

    Args:
        args: the command line.
        defaults: settings of which those that are not given are taken.
        all_methods: what --method all stands for.
    """
    given = (QUICK if args.quick else {}) | args.given
    task = replace(defaults.task, **{TASK[name]: value for name, value in given.items() if name in TASK})
    changes: dict[str, Any] = {name: value for name, value in given.items() if name in STUDY}
    if args.data is not None:
        changes["data"] = Path(args.data)
    if args.save is not None:
        changes["save"] = Path(args.save)
    if args.method is not None:
        changes["methods"] = tuple(all_methods) if args.method == "all" else tuple(args.method.split(","))
    options = tuple((name, value) for name, value in given.items() if name in METHODS)
    return replace(
        defaults, task=task, options=options, extend=not args.no_extend, film=args.render, out=args.folder, **changes
    )


def within_cost(args: Args, settings: StudySettings) -> StudySettings:
    """Return the settings with fewer lakes to measure on, if their number is not given and would cost more than training.

    A model that is built here keeps its lakes, on which its base depends.
    """
    from ift_gridworld.language.models import SIZES
    from ift_gridworld.studies.language_settings import affordable_lakes

    most = affordable_lakes(settings.steps, settings.batch, settings.every)
    fewer = {name: min(getattr(settings.task, name), most) for name in ("held_out", "validation") if name not in args.given}
    if settings.model in SIZES or all(count == getattr(settings.task, name) for name, count in fewer.items()):
        return settings
    counts = " and ".join(f"{_flag(name)} {count}" for name, count in fewer.items())
    print(
        f"measuring with {counts}, so that it takes at most twice the time of training; give others for more", file=sys.stderr
    )
    return replace(settings, task=replace(settings.task, **fewer))


def _say_if_alone() -> None:
    from ift_gridworld.language.distributed import started_alone

    if started_alone():
        print(
            "accelerate launch was asked for several processes and has started one, as it does on a CPU; "
            "torchrun --nproc-per-node 2 starts two",
            file=sys.stderr,
        )


def check(args: Args) -> None:
    """Check what can be known before anything large is loaded.

    Raises:
        ValueError: naming the option, its value and what is allowed.
    """
    check_seed(args.seed or 0)
    for name in ("out", "export", "data", "save"):
        if getattr(args, name) is not None and not str(getattr(args, name)):
            raise ValueError(f"--{name} is ''; allowed: {'a file' if name == 'data' else 'a folder'}")
    for name, least in LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"{_flag(name)} is {value}; allowed: a whole number >= {least}")
    for name in ("learning_rates", "betas"):
        if getattr(args, name) == ():
            raise ValueError(f"{_flag(name)} is empty; allowed: one value or more")
    if args.beta is not None and args.betas is not None:
        raise ValueError(f"--beta is {args.beta}, and --betas gives several to choose from; allowed: one of them")
    if args.theme is not None:
        check_choice("--theme", args.theme, THEME_NAMES)
    if args.format is not None:
        check_format(args.format)
    for name in ("dtype", "first_pass"):
        if getattr(args, name) not in (None, "float32", "bfloat16"):
            raise ValueError(f"{_flag(name)} is {getattr(args, name)!r}; allowed: float32, bfloat16")
    _check_options_are_used(args)
    check_cluster(args.cluster, args.workers)
    if args.save is not None and args.cluster is not None and not args.cluster.startswith("local:"):
        raise ValueError(f"--save is {args.save!r}, and models stay on the machines of --cluster; allowed: local:N, or without")
    if args.export is None:
        check_folder(args.folder)
    if args.save is not None:
        check_empty(Path(args.save), "--save")
        check_folder(Path(args.save), "--save")
    compiler = os.environ.get("CXX", "").split() or ["g++"]  # CXX may begin with a wrapper, such as ccache
    if args.compile and args.device in (None, "cpu") and not shutil.which(compiler[0]):
        raise ValueError(
            f"--compile needs a C++ compiler, and there is no {compiler[0]}; allowed: without it, or CXX set to one"
        )


def _check_options_are_used(args: Args) -> None:
    """Refuse an option that what was chosen does not use."""
    if args.publish and args.out is not None:
        raise ValueError(f"--out is {str(args.out)!r}, and --publish writes to {PUBLISHED}; allowed: one of them")
    for chosen, used in (("redraw", REDRAW), ("export", EXPORT)):
        if chosen in args.given:
            for name, value in args.given.items():
                if name not in used:
                    allowed = ", ".join(_flag(option) for option in used if option != chosen)
                    raise ValueError(f"{_said(name, value)}, which --{chosen} does not use; allowed with it: {allowed}")
            return
    for name in DRAWING:
        if name in args.given and not args.render:
            raise ValueError(f"{_said(name, args.given[name])}, which nothing uses; allowed with --render or --redraw")
    for name in ("workers", "cluster"):
        if name in args.given and read_variable("WORLD_SIZE", 0):
            given = _said(name, args.given[name])
            raise ValueError(f"{given}, and a launcher has started the processes; allowed: without it")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _said(name: str, value: object) -> str:
    return f"{_flag(name)} is {'given' if value is True else value}"
