"""Settings of a study of language models, and which options each method uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Int

from ift_gridworld.checks import check_choice
from ift_gridworld.evaluation.selection import is_on_edge
from ift_gridworld.language.controls import CONTROLS, RandomTokens, SampledTokens, find_method
from ift_gridworld.language.models import SIZES
from ift_gridworld.language.task import Task
from ift_gridworld.methods.options import IFTOptions, MethodOptions, TrainingOptions, option_names
from ift_gridworld.methods.registry import CORE, METHODS
from ift_gridworld.reading import Limits, MaybeNaN
from ift_gridworld.runtime import pick_device

__all__ = [
    "ALL_METHODS",
    "OPTIONS",
    "LanguageRun",
    "SavedRun",
    "StudySettings",
    "affordable_lakes",
    "betas_of",
    "check_settings",
    "has_edge",
    "method_settings",
    "model_folder",
    "needs_entropy",
    "saved_settings",
    "used_options",
]

ALL_METHODS = (*CORE, *CONTROLS)  # what --method all stands for
_KNOWN = (*METHODS, *CONTROLS)
TRAINED, MEASURED = 3, 12  # rows and prompts that are read forwards: an update's row, a measured lake
LanguageRun = dict[str, Any]  # the fields of a `SavedRun` that a run has
OPTIONS = ("mixing", "decay", "propagation", "detach_weights", "prediction", "beta")  # those of the methods that may be given


@dataclass(frozen=True)
class SavedRun:
    """A run as it is saved: `TrainingLog`'s entries, and what was measured of the trained model.

    Attributes:
        method, seed, learning_rate: of the run.
        loss, measured, timed, seconds, tokens, predicted, memory: as in `TrainingLog`.
        utilisation: share of the device's FLOPs.
        entropy: of the next word on validation lakes.
        validation: sampled success on validation lakes of each rate; None for a rate at which the run diverged.
        beta, validation_of_beta: beta that was chosen, and the best score of each that was tried.
        on_edge: whether the rate or the beta is the first or the last of those that were tried.
        bfloat16_agreement: share of IFT's predictions that bfloat16 leaves as they are.
        rows_left_out: number of rows of a file that were too long.
        pull, pull_at: pull at each token of an answer, and the updates at which it was computed.
        temperature: of a run of SFT that is measured at another one.
    """

    method: str
    seed: int
    learning_rate: float
    loss: list[MaybeNaN]
    measured: list[dict[str, MaybeNaN]]
    timed: Annotated[int, Limits(1)]
    seconds: float
    tokens: int
    memory: int
    utilisation: MaybeNaN
    predicted: int = 0
    entropy: MaybeNaN = 0.0
    validation: dict[str, MaybeNaN | None] = field(default_factory=dict)
    beta: float | None = None
    validation_of_beta: dict[str, MaybeNaN | None] = field(default_factory=dict)
    on_edge: bool = False
    bfloat16_agreement: MaybeNaN = 0.0
    rows_left_out: int = 0
    pull: Float[np.ndarray, "M T"] | None = None
    pull_at: Int[np.ndarray, " M"] | None = None
    temperature: float = 1.0


@dataclass(frozen=True)
class StudySettings:
    """Everything that a study depends on.

    Attributes:
        task: lakes and paths of the first seed.
        methods: names of methods and controls.
        model: name of the base model (`language.models.load_model`).
        base_steps: number of updates of a base model that is built here; 0 leaves it untrained.
        base_rows, base_rate: rows of such an update, and the highest learning rate.
        data: file of rows to train on instead of lakes.
        steps: number of updates of each method.
        batch: number of rows of an update.
        learning_rates: highest learning rates that are tried; the best by sampled success on validation lakes is kept.
        betas: values of beta that are tried, each at every learning rate, by methods that have a beta; none for one value.
        extend: try more rates and betas where the best one is the first or the last of its grid (`evaluation.selection`).
        every: number of updates between two measurements.
        seeds: number of independent runs; run i has lakes, base and order of `task.seed` + i.
        options: options of the methods that differ from the default, as pairs of name and value.
        device: cpu or cuda.
        dtype: float32 or bfloat16.
        first_pass: dtype of IFT's first pass; None for that of the second.
        compile: whether models are compiled.
        workers: number of runs at a time, each in a process of its own; 0 is one a core for tiny on a CPU, else one.
        cluster: address of a Dask cluster whose workers make the runs (`cluster.worker_pool`); None for none.
        resume: resume from checkpoints, and from the runs that a study in several processes has saved.
        film: keep what films show.
        out: folder for everything that is written.
        save: folder for the aligned models (`model_folder`); None to save none.
    """

    task: Task = field(default_factory=Task)
    methods: tuple[str, ...] = ("ift",)
    model: str = "tiny"
    base_steps: int = 1500
    base_rows: int = 64
    base_rate: float = 3e-3
    data: Path | None = None
    steps: int = 300
    batch: int = 32
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    betas: tuple[float, ...] = ()
    extend: bool = True
    every: int = 100
    seeds: int = 1
    options: tuple[tuple[str, Any], ...] = ()
    device: str = "cpu"
    dtype: str = "float32"
    first_pass: str | None = None
    compile: bool = False
    workers: int = 0
    cluster: str | None = None
    resume: bool = False
    film: bool = False
    out: Path = Path("runs/language")
    save: Path | None = None


def model_folder(settings: StudySettings, name: str, seed: int) -> Path:
    """Return the folder that an aligned model is saved in: that of `save` itself where there is only one model.

    >>> model_folder(StudySettings(methods=("sft", "ift"), seeds=2, save=Path("models")), "ift", 1).as_posix()
    'models/ift-seed-1'
    >>> model_folder(StudySettings(methods=("ift",), save=Path("models")), "ift", 0).as_posix()
    'models'
    """
    assert settings.save is not None
    one = len(settings.methods) * settings.seeds == 1
    return settings.save if one else settings.save / f"{name}-seed-{seed}"


def method_settings(
    settings: StudySettings, name: str, learning_rate: float, beta: float | None = None
) -> tuple[TrainingOptions, MethodOptions]:
    """Return the options of training and those of one method, at one learning rate and one beta (None: the study's).

    Raises:
        ValueError: if an option is out of range.
    """
    training = TrainingOptions(steps=settings.steps, learning_rate=learning_rate)
    options = dict(settings.options) if beta is None else {**dict(settings.options), "beta": beta}
    return training, _options_of(name, {**options, "walkers": settings.batch})


def betas_of(settings: StudySettings, name: str) -> tuple[float, ...]:
    """Return the values of beta that a method tries, none if it has no beta."""
    return settings.betas if "betas" in used_options(name, dict(settings.options)) else ()


def needs_entropy(settings: StudySettings, name: str) -> bool:
    """Return whether the entropy of a method's model is asked for: IFT's, which SFT's is tempered to, and no other.

    >>> needs_entropy(StudySettings(methods=("sft", "ift")), "ift"), needs_entropy(StudySettings(methods=("ift",)), "ift")
    (True, False)
    """
    return name == "ift" and "sft" in settings.methods


def has_edge(run: LanguageRun) -> bool:
    """Return whether the rate or the beta of a run is the first or the last of several tried on its validation lakes."""
    return any(  # scores are saved by written values
        len(run[scores]) > 1 and is_on_edge((float(f"{run[setting]:g}"),), [(float(value),) for value in run[scores]])
        for setting, scores in (("learning_rate", "validation"), ("beta", "validation_of_beta"))
        if scores in run
    )


def _options_of(name: str, options: Mapping[str, Any]) -> MethodOptions:
    """Return a method's options: those of the values that it has, and what a control overrides."""
    kind, overrides = find_method(name)
    own = option_names(kind.options_type)
    return kind.options_type(**{option: value for option, value in {**options, **overrides}.items() if option in own})


def used_options(name: str, options: Mapping[str, Any]) -> set[str]:
    """Return the names of the options, first_pass and betas among them, that change what a method does.

    Args:
        name: a method or control.
        options: values of options that differ from the default.
    """
    kind, overrides = find_method(name)
    chosen = _options_of(name, options)
    used = set(option_names(kind.options_type)) & set(OPTIONS) - set(chosen.unused())
    if isinstance(chosen, IFTOptions) and chosen.mixing != 0 and not issubclass(kind, RandomTokens):
        used.add("first_pass")
    if issubclass(kind, RandomTokens | SampledTokens):
        used.discard("prediction")
    if "beta" in used:
        used.add("betas")
    return used - set(overrides)


def saved_settings(settings: StudySettings, name: str) -> dict[str, Any]:
    """Return what is saved beside a method's runs: the study's settings, and the options that the method uses."""
    task, options = settings.task, dict(settings.options)
    defaults = asdict(IFTOptions()) | {"beta": None}  # beta: the method's own
    values = {option: defaults[option] for option in OPTIONS} | options | {"first_pass": settings.first_pass}
    used = used_options(name, options)
    return {
        "method": ",".join(settings.methods),
        "model": settings.model,
        "size": task.size,
        "ice": task.ice,
        "detours": task.detours,
        "base_maps": task.base,
        "base_noise": task.noise,
        "base_steps": settings.base_steps,
        "maps": task.maps,
        "held_out": task.held_out,
        "validation": task.validation,
        "data": None if settings.data is None else str(settings.data),
        **{key: getattr(settings, key) for key in ("steps", "batch", "learning_rates", "extend", "every", "seeds")},
        **({"betas": settings.betas} if betas_of(settings, name) else {}),
        "seed": task.seed,
        **{option: value for option, value in values.items() if option in used},
        **{key: getattr(settings, key) for key in ("device", "dtype", "compile", "workers")},
    }


def affordable_lakes(steps: int, batch: int, every: int) -> int:
    """Return the number of lakes that can be measured in twice the time of training, at least 4.

    An update reads its rows forwards and backwards, as much as `TRAINED` rows forwards. Measuring a lake takes as much as
    reading `MEASURED` prompts: one for its probes, for each of three kinds of answers, for the probabilities of sampled ones
    and up to four for the method's own estimates, and the answers, which are shorter and several. There is a measurement
    before and after training and after each `every` updates between; validation lakes take the time of one more at most.

    >>> affordable_lakes(300, 32, 100), affordable_lakes(2, 32, 100)
    (960, 10)

    Args:
        steps: number of updates.
        batch: rows of an update.
        every: number of updates between two measurements.
    """
    times = 2 + (steps - 1) // every + 1
    return max(4, 2 * TRAINED * steps * batch // (MEASURED * times))


def check_settings(settings: StudySettings, *, base_steps_given: bool = False) -> None:
    """Check everything that can be known before anything is trained.

    Args:
        settings: the study.
        base_steps_given: whether the caller asked for a number of updates of the base model.

    Raises:
        ValueError: naming the option of the command line, its value and what is allowed.
    """
    for name in settings.methods:
        check_choice("--method", name, ("all", *_KNOWN))
        kind = find_method(name)[0]
        if settings.data is not None and (kind.needs == "rollouts" or kind.asks_teacher):
            what = "asks a teacher" if kind.asks_teacher else "needs a reward"
            raise ValueError(f"--method {name} {what}, which a file has not; allowed with --data: what learns from data")
        for rate in settings.learning_rates:
            method_settings(settings, name, rate)
        for beta in betas_of(settings, name):
            method_settings(settings, name, settings.learning_rates[0], beta)
    if len(set(settings.methods)) < len(settings.methods):
        raise ValueError(f"--method is {','.join(settings.methods)!r}, which names a method twice; allowed: each once")
    _check_options_are_used(settings)
    if base_steps_given and settings.model not in SIZES:
        what = f"--base-steps is {settings.base_steps}, which --model {settings.model} does not use"
        raise ValueError(f"{what}; allowed with {', '.join(SIZES)}")
    device = pick_device(settings.device)
    if settings.dtype == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ValueError("--dtype is 'bfloat16', which this device cannot do; allowed: float32")


def _check_options_are_used(settings: StudySettings) -> None:
    options = dict(settings.options)
    given = options | ({} if settings.first_pass is None else {"first_pass": settings.first_pass})
    if settings.betas:
        given["betas"] = " ".join(f"{beta:g}" for beta in settings.betas)
    for option, value in given.items():
        if not any(option in used_options(name, options) for name in settings.methods):
            others = {key: setting for key, setting in options.items() if key != option}
            allowed = ", ".join(name for name in ALL_METHODS if option in used_options(name, others))
            what = f"--{option.replace('_', '-')} is {'given' if value is True else value}"
            if any(option in used_options(name, {}) for name in settings.methods):  # another option switches it off
                raise ValueError(f"{what}, which the other options of --method {','.join(settings.methods)} leave unused")
            raise ValueError(f"{what}, which --method {','.join(settings.methods)} does not use; allowed with {allowed}")
