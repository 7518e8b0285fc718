"""What is only a convenience may fail: the work goes on, and a warning says so in one line."""

import logging
import os
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from support import load

from ift_gridworld import TabularMDP, train
from ift_gridworld import storage as files
from ift_gridworld.cli.main import main
from ift_gridworld.runtime import optional
from ift_gridworld.training import make_base
from ift_gridworld.training.run import Run

FROZEN_LAKE = ["lake", "--method", "sft", "--steps", "2", "--seeds", "1", "--policy", "tabular"]


def run_lake(out, monkeypatch):
    """Train on a lake by the command line; return the saved run."""
    monkeypatch.setattr("sys.argv", ["ift-gridworld"])
    with pytest.raises(SystemExit) as end:
        main([*FROZEN_LAKE, "--out", str(out)])
    assert end.value.code == 0
    return Run.load(out / "sft.json")


def small_run():
    mdp = TabularMDP.make("two-paths")
    return train("sft", mdp, make_base("uniform", mdp, policy="tabular"), steps=1)


def refuse(*_, **__):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a\n\x1b[31mb"), RuntimeError("no home")])
def test_a_convenience_that_fails_is_one_line(error, caplog):
    with optional("nothing is kept"):
        raise error
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.getMessage().startswith("nothing is kept: ")
    assert record.getMessage().isprintable()


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), MemoryError(), KeyboardInterrupt()])
def test_faults_of_ours_are_not_hidden(error):
    with pytest.raises(type(error)), optional("nothing is kept"):
        raise error


def test_a_share_that_refuses_permissions_keeps_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chmod", refuse)
    assert run_lake(tmp_path, monkeypatch).method == "sft" and os.listdir(tmp_path) == ["sft.json"]


@pytest.mark.parametrize("broken", [None, PackageNotFoundError("numpy"), OSError("unreadable"), KeyError("Version")], ids=repr)
def test_an_installation_without_metadata_keeps_the_run(broken, tmp_path, monkeypatch):
    real = files.version

    def version(name):
        if name != "numpy":
            return real(name)
        if broken is None:
            return None
        raise broken

    monkeypatch.setattr(files, "version", version)
    assert "numpy" not in files.versions() and "torch" in files.versions()
    assert "numpy" not in Run.load(small_run().save(tmp_path / "sft.json")).versions


@pytest.mark.parametrize("write", ["film", "figure"])
def test_a_picture_without_its_words_is_still_a_picture(write, tmp_path, caplog):
    (tmp_path / "ift.png.txt").mkdir()
    getattr(small_run(), write)(tmp_path / "ift.png")
    assert (tmp_path / "ift.png").read_bytes().startswith(b"\x89PNG")
    (told,) = caplog.records
    assert told.getMessage().startswith(f"{tmp_path / 'ift.png'} has no words beside it: ")


@pytest.mark.parametrize("answer", [OSError(), ValueError("unrecognized configuration name")])
def test_a_system_that_does_not_tell_its_memory_is_no_reason_to_stop(answer, tmp_path, monkeypatch):
    def sysconf(name):
        raise answer

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert run_lake(tmp_path, monkeypatch).method == "sft"


@pytest.mark.parametrize("status", [None, "", "Name:\tpython\nVmRSS:\t10 kB\n"], ids=["refused", "empty", "without a peak"])
def test_a_peak_that_the_system_does_not_tell_is_0(status, monkeypatch):
    profiling = load("ift_gridworld.language.profiling")
    monkeypatch.setattr(profiling.Path, "write_text", lambda self, text, **_: len(text))
    monkeypatch.setattr(profiling.Path, "read_text", refuse if status is None else lambda self, **_: status)
    assert profiling.PeakMemory(torch.device("cpu")).read() == 0


def test_a_run_goes_on_where_no_checkpoint_can_be_kept(tmp_path, caplog):
    checkpoints = load("ift_gridworld.language.checkpoints")
    pytest.importorskip("safetensors")
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))])
    for path in (tmp_path / "nowhere" / "run.safetensors", tmp_path):
        caplog.clear()
        checkpoints.Checkpoint(path, {}).save(optimiser, {"step": 1})
        (told,) = caplog.records
        assert told.getMessage().startswith("no checkpoint is kept, and the run goes on: ")
