"""The language script, judged by what it writes: a run, a resumed run, two processes, files in and out, and mistakes."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ift_gridworld.cli.language import Args, main
from ift_gridworld.language import training
from ift_gridworld.language.metrics import METRICS
from ift_gridworld.studies import language_seed, language_study

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "language_model.py"
SMALL = {
    "base_maps": 64, "base_steps": 20, "maps": 64, "held_out": 10, "validation": 8, "steps": 8, "every": 4, "batch": 16,
    "learning_rates": (1e-3,),
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Base models of these tests are kept apart from the user's."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def run_of(path):
    return json.loads(path.read_text())["runs"]


def without_speed(runs):
    """What the device was capable of is measured anew each time."""
    return [{name: value for name, value in run.items() if name != "utilisation"} for run in runs]


def told(capsys, **options):
    with pytest.raises(SystemExit) as end:
        main(Args(**SMALL | options))
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory):
    """Folder of the runs of four methods, made one after the other in this process."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        assert main(Args(**SMALL, method="sft,ift,dpo,ppo_preference", workers=1, out=folder)) == 0
    return folder


@pytest.mark.slow
def test_a_run_leaves_curves_measures_and_pictures(tmp_path, capsys):
    assert main(Args(**SMALL, method="sft,ift", seeds=2, workers=1, render=True, format="png", out=tmp_path)) == 0
    for name in ("sft", "ift"):
        runs = run_of(tmp_path / f"{name}.json")
        assert [run["seed"] for run in runs] == [0, 1]
        for run in runs:
            assert [m["step"] for m in run["measured"]] == [0, 4, 8] and set(METRICS) <= set(run["measured"][0])
            assert len(run["loss"]) == 8 and np.isfinite(run["loss"]).all() and run["tokens"] > 0
    sft, ift = (run_of(tmp_path / f"{name}.json")[0] for name in ("sft", "ift"))
    assert {m: sft["measured"][0][m] for m in METRICS} == {m: ift["measured"][0][m] for m in METRICS}, "one base"
    assert sft["measured"][-1]["bias"] > 0, "SFT takes each step for certain to be reached"
    assert 0 < sft["utilisation"] < 1 and sft["memory"] > 0 and 0 <= ift["bfloat16_agreement"] <= 1
    assert sft["loss"] != ift["loss"]
    np.testing.assert_allclose(sft["pull"], 1, atol=1e-4)  # SFT pulls at all tokens alike
    tempered = run_of(tmp_path / "sft_tempered.json")[0]
    assert tempered["measured"][-1]["greedy"] == sft["measured"][-1]["greedy"], "heat moves no likeliest token"
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "sft.png", "ift.png", "side_by_side.png", "tokens.png", "differences.png"
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "(base)" in out and "sft_tempered" in out
    pictures = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    for name in pictures:
        (tmp_path / name).unlink()
    assert main(Args(redraw=True, format="png", out=tmp_path)) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.png")} == pictures, "drawn again from what is saved"
    again = capsys.readouterr().out
    assert again[: again.index("wrote")] == out[: out.index("wrote")]


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    """What was saved at the end is the run, whatever is asked of the measures after it."""
    assert main(Args(**SMALL, method="ift", out=tmp_path)) == 0
    first = run_of(tmp_path / "ift.json")
    (tmp_path / "ift.json").unlink()
    assert main(Args(**SMALL, method="ift", out=tmp_path, resume=True)) == 0
    assert without_speed(run_of(tmp_path / "ift.json")) == without_speed(first)
    assert main(Args(**SMALL, method="ift", out=tmp_path)) == 0
    again = run_of(tmp_path / "ift.json")
    assert again[0]["loss"] == first[0]["loss"] and again[0]["measured"] == first[0]["measured"], "same seed, same numbers"


@pytest.mark.slow
def test_runs_side_by_side_are_runs_one_after_the_other(in_one_process, tmp_path):
    assert main(Args(**SMALL, method="sft,ift,ppo_preference", workers=2, out=tmp_path)) == 0
    for name in ("sft", "ift", "ppo_preference", "sft_tempered"):
        one, two = (run_of(folder / f"{name}.json")[0] for folder in (in_one_process, tmp_path))
        np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-3)  # a product is summed in another order on two cores
        assert list(one) == list(two) and one["validation"].keys() == two["validation"].keys()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no compiler")
def test_a_compiled_model_is_the_same_model(tmp_path, monkeypatch):
    compiled = []

    def watched(policy):
        compiled.append(policy.model._compiled_call_impl is not None)

    monkeypatch.setattr(training, "weights_hash", lambda policy: watched(policy) or "")
    for compile in (False, True):
        main(Args(**SMALL | {"steps": 2}, method="sft", compile=compile, out=tmp_path / str(compile)))
    one, two = (run_of(tmp_path / str(compile) / "sft.json")[0] for compile in (False, True))
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-3)
    assert compiled[-2:] == [False, True], "it is the model in training that is compiled"


@pytest.mark.slow
def test_a_rate_that_breaks_a_run_is_left_out(tmp_path, monkeypatch, capsys):
    """The others go on; if none is left, it is told."""
    real = training.align

    def align(kind, *rest, **options):
        if options["training"].learning_rate > 0.5:
            raise training.Diverged("the loss is nan at update 3")
        return real(kind, *rest, **options)

    monkeypatch.setattr(language_seed, "align", align)
    main(Args(**SMALL | {"learning_rates": (1.0, 1e-3)}, no_extend=True, method="sft", workers=1, out=tmp_path))
    run = run_of(tmp_path / "sft.json")[0]
    assert run["learning_rate"] == 1e-3 and run["validation"]["1"] is None and run["validation"]["0.001"] >= 0
    assert "the loss is nan at update 3" in told(capsys, learning_rates=(1.0, 2.0), method="sft", workers=1, out=tmp_path)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_a_lack_of_memory_is_told_in_one_line(error, tmp_path, capsys, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(language_study, "run_study", fails)
    assert "out of memory with --batch 16; allowed: a smaller --batch, fewer" in told(capsys, out=tmp_path)
    monkeypatch.setattr(language_study, "run_study", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(Args(**SMALL, out=tmp_path))


def free_port():
    """A port that nothing listens on, so that several runs of these tests do not meet."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.mark.slow
def test_two_processes_are_one(in_one_process, tmp_path):
    """The same losses but for rounding, by torch's launcher and by accelerate's."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items() if name != "learning_rates"]
    asked = [str(SCRIPT), *options, "--learning-rates", "0.001", "--method", "sft,ift,dpo", "--out"]
    launchers = {
        "torch": ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()],
        "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
                       "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", free_port()],
    }  # fmt: skip
    for name, launcher in launchers.items():
        done = subprocess.run(
            [sys.executable, *launcher, *asked, str(tmp_path / name)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        for method in ("sft", "ift", "dpo"):
            one, two = (run_of(folder / f"{method}.json")[0] for folder in (in_one_process, tmp_path / name))
            np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-4)
            saved = [json.loads((folder / f"{method}.json").read_text()) for folder in (in_one_process, tmp_path / name)]
            assert [content["processes"] for content in saved] == [1, 2]


@pytest.mark.slow
def test_lakes_leave_and_enter_as_files(tmp_path, capsys):
    """Trained on its own file, a method has the very losses that it has on the lakes."""
    lakes = {name: SMALL[name] for name in ("base_maps", "maps", "held_out", "validation")}
    assert main(Args(**lakes, export=tmp_path / "files")) == 0
    rows = [json.loads(line) for line in (tmp_path / "files" / "pairs.jsonl").read_text().splitlines()]
    assert len(rows) == 64 and set(rows[0]) == {"prompt", "chosen", "rejected"}
    for method, file in (("ift", "demonstrations"), ("dpo", "pairs")):
        main(Args(**SMALL, method=method, out=tmp_path / "lakes"))
        main(Args(**SMALL, method=method, out=tmp_path / "rows", data=tmp_path / "files" / f"{file}.jsonl"))
        one, two = (run_of(tmp_path / where / f"{method}.json")[0] for where in ("lakes", "rows"))
        if method == "ift":
            assert one["loss"] == two["loss"]
        else:  # a file's answers always end; of the lakes' mediocre walks some are cut off
            assert one["loss"][0] == pytest.approx(two["loss"][0], abs=1e-6) and np.isfinite(two["loss"]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "sft,nope"}, "--method is 'nope'; allowed: all, sft"),
        ({"mixing": 2.0}, "mixing is 2.0; allowed: a number in [0, 1]"),
        ({"learning_rates": (-1.0,)}, "learning_rate is -1.0"),
        ({"device": "tpu"}, "--device is 'tpu'; allowed: cpu, cuda"),
        ({"model": "none.gguf", "base_steps": None}, "model 'none.gguf' is no file"),
        ({"dtype": "float8"}, "--dtype is 'float8'"),
        ({"first_pass": "int8"}, "--first-pass is 'int8'; allowed: float32, bfloat16"),
        ({"workers": -1}, "--workers is -1; allowed: a whole number >= 0"),
        ({"size": 30, "ice": 1.0, "detours": 0.0}, "answers of up to 240, for a model that reads 1024"),
        ({"base_noise": (0.0, 0.0)}, "none of 200 walks is worse than the best"),
        ({"size": 1}, "--size is 1"),
        ({"theme": "blue"}, "light, dark"),
        ({"format": "bmp"}, "format is 'bmp'"),
        ({"redraw": True, **dict.fromkeys(SMALL)}, "where no run is saved"),
        ({"learning_rates": ()}, "--learning-rates is empty"),
        ({"data": Path("nowhere.jsonl")}, "nowhere.jsonl: cannot be read"),
        ({"data": Path("nowhere.jsonl"), "method": "ppo"}, "needs a reward"),
        ({"size": 2}, "too few distinct 2x2 lakes"),
    ],
)
def test_a_mistake_is_told_in_one_line(options, words, tmp_path, capsys):
    assert words in told(capsys, out=tmp_path / "out", **options)
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.safetensors"))
