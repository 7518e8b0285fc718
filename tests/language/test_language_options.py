"""The options of the language script: each default is where its doc line says, and what nothing uses is refused."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ift_gridworld.cli.language import QUICK, Args, _say_if_alone, check, main, study_settings, within_cost
from ift_gridworld.language.controls import CONTROLS
from ift_gridworld.language.distributed import ProcessGroup, started_alone
from ift_gridworld.language.task import Task
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.methods.registry import CORE
from ift_gridworld.studies.language_settings import (
    ALL_METHODS,
    MEASURED,
    TRAINED,
    StudySettings,
    affordable_lakes,
    saved_settings,
    used_options,
)


def resolved(**options):
    return study_settings(Args(**options), StudySettings(), ALL_METHODS)


def test_quick_changes_only_what_was_not_asked_for():
    quick = resolved(quick=True, maps=77)
    assert quick.task.maps == 77 and quick.steps < resolved().steps and quick.learning_rates == (1e-3,)
    assert resolved(quick=True, steps=300).steps == 300 == resolved().steps, "also where the default is asked for"
    assert resolved(maps=77) == replace(StudySettings(), task=Task(maps=77))


def test_each_option_reaches_the_study():
    values = {
        "method": "sft,ift", "model": "small", "size": 5, "ice": 0.6, "detours": 0.3, "base_maps": 9, "base_noise": (0.1, 0.2),
        "base_steps": 8, "maps": 7, "held_out": 6, "validation": 12, "data": "rows.jsonl", "steps": 3, "batch": 4,
        "learning_rates": (0.1, 0.2), "betas": (0.3, 0.4), "no_extend": True, "every": 2, "seeds": 5, "seed": 11,
        "mixing": 0.0, "decay": 0.5,
        "propagation": "none", "detach_weights": True,
        "prediction": "expected", "beta": 0.3, "device": "cuda", "dtype": "bfloat16", "first_pass": "float32", "compile": True,
        "workers": 2, "cluster": "local:2", "resume": True, "render": True, "out": "here", "save": "models",
    }  # fmt: skip
    options = ("mixing", "decay", "propagation", "detach_weights", "prediction", "beta")
    assert resolved(**values) == StudySettings(
        Task(5, 0.6, 0.3, 9, 7, held_out=6, validation=12, noise=(0.1, 0.2), seed=11),
        ("sft", "ift"),
        "small",
        8,
        data=Path("rows.jsonl"),
        **{name: values[name] for name in ("steps", "batch", "learning_rates", "betas", "every", "seeds", "device", "dtype")},
        extend=False,
        options=tuple((name, values[name]) for name in options),
        first_pass="float32",
        compile=True,
        workers=2,
        cluster="local:2",
        resume=True,
        film=True,
        out=Path("here"),
        save=Path("models"),
    )
    assert resolved(method="all").methods == ALL_METHODS == (*CORE, *CONTROLS)
    assert resolved(method="kto,rloo").methods == ("kto", "rloo")  # others are studied by name


def test_what_is_saved_names_the_options_that_a_method_uses():
    settings = resolved(method="sft,ift,dpo", mixing=0.4)
    sft, ift, dpo = (saved_settings(settings, name) for name in ("sft", "ift", "dpo"))
    own = {"mixing": 0.4, "decay": 0.95, "propagation": "released", "detach_weights": False, "prediction": "greedy"}
    assert ift == sft | own | {"first_pass": None} and dpo == sft | {"beta": None}
    assert sft["base_maps"] == 8000 and sft["validation"] == 100 and sft["method"] == "sft,ift,dpo" and sft["steps"] == 300


# ---- options that what was chosen does not use ----


def refused(capsys, **options):
    with pytest.raises(SystemExit) as end:
        main(Args(**options))
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and not printed.out
    return printed.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"redraw": True, "steps": 7}, "--steps is 7, which --redraw does not use; allowed with it: --render, --format"),
        ({"redraw": True, "resume": True}, "--resume is given, which --redraw does not use"),
        ({"redraw": True, "method": "dpo"}, "--method is dpo, which --redraw does not use"),
        ({"redraw": True, "seed": 0}, "--seed is 0, which --redraw does not use"),
        ({"redraw": True, "quick": True}, "--quick is given, which --redraw does not use"),
        ({"export": "files", "steps": 7}, "--steps is 7, which --export does not use; allowed with it: --model, --quick"),
        ({"export": "files", "method": "ift"}, "--method is ift, which --export does not use"),
        ({"export": "files", "out": "here"}, "--out is here, which --export does not use"),
        ({"export": "files", "render": True}, "--render is given, which --export does not use"),
        ({"export": "files", "save": "here"}, "--save is here, which --export does not use"),
        ({"redraw": True, "save": "here"}, "--save is here, which --redraw does not use"),
        (
            {"save": "models", "cluster": "tcp://127.0.0.1:1"},
            "--save is 'models', and models stay on the machines of --cluster; allowed: local:N, or without",
        ),
        ({"save": ""}, "--save is ''; allowed: a folder"),
        ({"export": "files", "redraw": True}, "--export is files, which --redraw does not use"),
        ({"format": "png"}, "--format is png, which nothing uses; allowed with --render or --redraw"),
        ({"theme": "dark"}, "--theme is dark, which nothing uses; allowed with --render or --redraw"),
        ({"mixing": 0.5, "method": "dpo"}, "--mixing is 0.5, which --method dpo does not use; allowed with ift, ift_residual"),
        ({"detach_weights": True, "method": "sft,dpo"}, "--detach-weights is given, which --method sft,dpo does not use"),
        ({"beta": 0.5, "method": "sft,ift"}, "--beta is 0.5, which --method sft,ift does not use; allowed with"),
        ({"betas": (0.1, 0.5), "method": "sft,ift"}, "--betas is 0.1 0.5, which --method sft,ift does not use; allowed with"),
        (
            {"betas": (0.1, 0.5), "beta": 0.2, "method": "dpo"},
            "--beta is 0.2, and --betas gives several to choose from; allowed: one",
        ),
        ({"betas": (), "method": "dpo"}, "--betas is empty; allowed: one value or more"),
        ({"redraw": True, "no_extend": True}, "--no-extend is given, which --redraw does not use"),
        ({"first_pass": "bfloat16", "method": "sft"}, "--first-pass is bfloat16, which --method sft does not use"),
        (
            {"decay": 0.5, "method": "ift_residual"},
            "--decay is 0.5, which --method ift_residual does not use; allowed with ift",
        ),
        ({"decay": 0.5, "propagation": "none"}, "--decay is 0.5, which the other options of --method ift leave unused"),
        ({"mixing": 0.0, "prediction": "expected"}, "--prediction is expected, which the other options of --method ift"),
        ({"method": "sft,sft"}, "--method is 'sft,sft', which names a method twice"),
        ({"model": "somewhere", "base_steps": 5}, "--base-steps is 5, which --model somewhere does not use; allowed with tiny"),
        ({"out": ""}, "--out is ''; allowed: a folder"),
        ({"export": ""}, "--export is ''; allowed: a folder"),
        ({"data": ""}, "--data is ''; allowed: a file"),
        ({"publish": True, "out": "here"}, "--out is 'here', and --publish writes to figures/language; allowed: one of them"),
        ({"redraw": True, "out": "nowhere"}, "--out is 'nowhere', where no run is saved"),
    ],
)
def test_an_option_that_nothing_uses_is_refused(options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, **options)
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_workers_are_refused_beside_a_launcher(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "--workers is 2, and a launcher has started the processes" in refused(capsys, workers=2)
    assert "--cluster is local:2, and a launcher has started the processes" in refused(capsys, cluster="local:2")


@pytest.mark.parametrize("value", ["", " "])
def test_a_launchers_variable_that_is_empty_is_none(value, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", value)
    assert ProcessGroup.join("cpu") == ProcessGroup(torch.device("cpu"))
    check(Args(workers=2, out=str(tmp_path)))


@pytest.mark.parametrize("value", ["two", "1.5", "-1", "²"])
@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT"])
def test_a_launchers_variable_that_is_no_number_is_named(name, value, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match=f"^the environment variable {name} is {value!r}; allowed: a whole number >= 0, or unset$"
    ):
        ProcessGroup.join("cpu")


@pytest.mark.parametrize(
    ("value", "found"), [("", True), ("g++", True), ("there-is-no-such-program -O2", False), ("g++ -O2", True)]
)
def test_the_compiler_is_looked_for_by_its_first_word(value, found, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", value)
    monkeypatch.setattr("shutil.which", lambda name: name if name == "g++" else None)
    if found:
        check(Args(compile=True, out=str(tmp_path)))
    else:
        with pytest.raises(ValueError, match="there is no there-is-no-such-program; allowed: without it, or CXX set to one"):
            check(Args(compile=True, out=str(tmp_path)))


def test_runs_go_to_the_published_results_only_when_told():
    assert Args().folder == Args(quick=True).folder == Path("runs/language") and Args(out="here").folder == Path("here")
    assert Args(publish=True).folder == Path("figures/language")


def test_the_methods_use_the_options_that_they_have():
    every = {"mixing", "decay", "propagation", "detach_weights", "prediction", "first_pass"}
    assert used_options("ift", {}) == used_options("ift_shifted", {}) == every
    assert used_options("ift_detached", {}) == every - {"detach_weights"}
    assert used_options("ift_random", {}) == every - {"prediction", "first_pass"}
    assert used_options("ift_sampled", {}) == every - {"prediction"}
    assert used_options("ift_propagation", {}) == {"propagation", "decay", "detach_weights"}
    assert used_options("ift_residual", {}) == {"mixing", "prediction", "first_pass"}
    assert used_options("ift_residual_shifted", {}) == {"mixing", "prediction", "first_pass"}
    assert used_options("ift_residual_random", {}) == {"mixing"}
    assert used_options("ift_residual_sampled", {}) == {"mixing", "first_pass"}
    assert used_options("ift", {"propagation": "equation21"}) == every - {"detach_weights"}
    assert used_options("sft", {}) == used_options("sft_frozen", {}) == set()
    with_beta = {name for name in ALL_METHODS if "beta" in used_options(name, {})}
    assert with_beta == {*CORE, "ppo_preference"} - {"sft", "ift"}


# ---- what measuring costs ----


@pytest.mark.parametrize(("steps", "batch", "every"), [(1, 1, 1), (2, 32, 100), (40, 8, 10), (300, 32, 100)])
def test_measuring_costs_at_most_twice_the_training(steps, batch, every):
    """In rows that are read forwards, three for a row of an update; below four lakes nothing is measured."""
    measured = len({0, *range(every, steps + 1, every), steps}) + 1  # and validation lakes
    lakes = affordable_lakes(steps, batch, every)
    assert lakes == 4 or lakes * MEASURED * measured <= 2 * TRAINED * steps * batch < (lakes + 2) * MEASURED * (measured + 1)
    assert lakes >= 4


def test_a_short_training_of_another_model_is_measured_on_fewer_lakes(capsys):
    args = {"model": "somewhere", "steps": 2}
    fewer = within_cost(Args(**args), resolved(**args))
    count = affordable_lakes(2, 32, 100)
    assert (fewer.task.held_out, fewer.task.validation) == (count, count) and count < 100
    line = f"measuring with --held-out {count} and --validation {count}, so that it takes at most twice the time of training"
    assert line in capsys.readouterr().err
    given = within_cost(Args(**args, held_out=70), resolved(**args, held_out=70))
    assert (given.task.held_out, given.task.validation) == (70, count)
    capsys.readouterr()
    for same in (
        {"steps": 2},
        {"model": "small", "steps": 2},
        {"model": "somewhere"},
        {**args, "held_out": 7, "validation": 9},
    ):
        assert within_cost(Args(**same), resolved(**same)) == resolved(**same)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variables", "alone"),
    [
        ({}, False),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, False),  # one process was asked for
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}, True),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2"}, False),
        ({"MASTER_ADDR": "127.0.0.1"}, False),
    ],
    ids=lambda x: ",".join(x) if isinstance(x, dict) else "",
)
def test_a_launcher_that_starts_one_process_of_several_is_told(variables, alone, monkeypatch, capsys):
    for name in ("ACCELERATE_MIXED_PRECISION", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert started_alone() == alone
    _say_if_alone()
    said = capsys.readouterr().err
    assert said.count("\n") == alone and ("has started one, as it does on a CPU; torchrun" in said) == alone


# ---- defaults ----


def numbers(text):
    return [float(word) for word in text.split()]


def as_numbers(value):
    return list(map(float, value)) if isinstance(value, tuple) else [float(value)]


def test_the_help_names_the_real_defaults():
    """The doc line of each option ends with its default in brackets, and with that of --quick."""
    source = Path(sys.modules[Args.__module__].__file__).read_text()
    lines = dict(re.findall(r'^    (\w+): [^\n]* \| None = None\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL))
    named = {}
    for option, text in lines.items():
        match = re.search(r"\(([^()]*)\)\.?$", text)
        named[option] = match and [part.removeprefix("quick ") for part in match[1].split("; ")]
    study, options = StudySettings(), IFTOptions()
    fields = {"base_maps": "base", "base_noise": "noise"}
    for option in ("size", "ice", "detours", "base_maps", "base_noise", "maps", "held_out", "validation", "seed"):
        assert numbers(named[option][0]) == as_numbers(getattr(study.task, fields.get(option, option))), option
    for option in ("base_steps", "steps", "batch", "learning_rates", "every", "seeds", "workers"):
        assert numbers(named[option][0]) == as_numbers(getattr(study, option)), option
    for option in ("mixing", "decay"):
        assert numbers(named[option][0]) == as_numbers(getattr(options, option)), option
    for option in ("propagation", "prediction"):
        assert named[option] == [getattr(options, option)]
    for option in ("model", "device", "dtype"):
        assert named[option] == [getattr(study, option)]
    assert named["method"] == list(study.methods) and named["out"] == [str(Args().folder)]
    assert {option: numbers(named[option][1]) for option in QUICK} == {key: as_numbers(value) for key, value in QUICK.items()}
