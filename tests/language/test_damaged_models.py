"""Checkpoints, cached bases and models that are damaged: refused in one line, or made anew where they only save time."""

import json
import logging
import os
import pwd
import struct
import threading

import pytest
import torch
from damage import CONTENTS, RED, check_reading, damaged_bytes, damaged_values
from safetensors.torch import load_file, save

from ift_gridworld.language import base_model
from ift_gridworld.language.base_model import train_or_load_base
from ift_gridworld.language.checkpoints import Checkpoint
from ift_gridworld.language.models import build_model, load_model
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.task import Task
from ift_gridworld.language.text import COMPACT
from ift_gridworld.language.training import TrainingLog, _Progress

ABOUT = {"method": "SFT", "seed": 0}
PROGRESS = {
    "step": 1,
    "walked": 0,
    "drawn": 3,
    "curve": vars(TrainingLog(loss=[0.5], measured=[{"step": 0, "bias": float("nan")}])),
}


def optimiser(updates=0):
    """Of two parameters, after some updates."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.rand(3, 2)), torch.nn.Parameter(torch.rand(3))]
    made = torch.optim.AdamW(parameters, lr=0.1)
    for _ in range(updates):
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        made.step()
    return made


def weights(made):
    return [parameter.detach().clone() for parameter in made.param_groups[0]["params"]]


def restore(path):
    """Restore into an optimiser, which is untouched where that is refused."""
    target = optimiser()
    before = weights(target)
    try:
        progress = Checkpoint(path, ABOUT).restore(target, _Progress)
    except ValueError:
        assert all(map(torch.equal, before, weights(target))) and not target.state
        raise
    return progress


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "run.safetensors"
    Checkpoint(path, ABOUT).save(optimiser(updates=1), PROGRESS)
    return path


def packed(tensors, progress, **entries):
    return save(tensors, metadata={"run": json.dumps({"about": ABOUT, **progress, **entries})})


def test_what_was_kept_is_restored(kept):
    target = optimiser()
    assert json.dumps(Checkpoint(kept, ABOUT).restore(target, _Progress)) == json.dumps(PROGRESS)
    assert all(map(torch.equal, weights(optimiser(updates=1)), weights(target))) and len(target.state) == 2


@pytest.mark.parametrize("damage", CONTENTS)
def test_whole_files_that_are_no_checkpoints_are_refused(damage, kept):
    assert check_reading(restore, kept, CONTENTS[damage](kept.read_bytes())) is None


def test_checkpoints_damaged_at_random_are_restored_or_refused(kept):
    content, tensors = kept.read_bytes(), load_file(kept)
    cases = [packed(tensors, progress) for progress in damaged_values(PROGRESS, 60)] + list(damaged_bytes(content, 60))
    restored = [check_reading(restore, kept, case) for case in cases]
    assert any(progress is None for progress in restored) and any(progress is not None for progress in restored)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("parameter.1", torch.rand(1), "parameter.1 is torch.float32 of shape [1]; allowed: torch.float32 of [3]"),
        ("parameter.0", torch.rand(2), "parameter.0 is torch.float32 of shape [2]; allowed: torch.float32 of [3, 2]"),
        ("parameter.0", torch.rand(3, 2).double(), "parameter.0 is torch.float64"),
        ("optimiser.0.exp_avg", torch.rand(()), "optimiser.0.exp_avg is torch.float32 of shape []"),
        ("optimiser.1.step", torch.rand(3), "optimiser.1.step is torch.float32 of shape [3]; allowed: torch.float32 of []"),
        ("parameter.1", None, "it has no tensor 'parameter.1'"),
        ("optimiser.0.exp_avg_sq", None, "it has no tensor 'optimiser.0.exp_avg_sq'"),
        ("parameter.2", torch.rand(3), "it has a tensor 'parameter.2'"),
        ("exp." + RED, torch.rand(3), r"it has a tensor 'exp.\x1b[31mred"),
    ],
)
def test_a_tensor_of_another_shape_is_refused_and_never_broadcast(name, tensor, words, kept):
    tensors = {**load_file(kept), name: tensor}
    content = packed({name: tensor for name, tensor in tensors.items() if tensor is not None}, PROGRESS)
    kept.write_bytes(content)
    with pytest.raises(ValueError) as error:
        restore(kept)
    assert f"{kept} is not a checkpoint that can be read: {words}" in str(error.value)
    assert str(error.value).endswith("; delete it to start this run anew")


# ---- the cache of bases ----

TASK = Task(base=20, maps=10, validation=5, held_out=5)


def base_of(tokenizer, cache):
    """Whether a base was trained, and its weights."""
    policy = LanguagePolicy(build_model("tiny", seed=0))
    options = {"model": "tiny", "steps": 1, "rows": 4, "peak": 1e-3, "device": torch.device("cpu")}
    trained = train_or_load_base(TASK, policy, tokenizer, **options, cache=cache)
    return trained, [parameter.detach() for parameter in policy.parameters()]


@pytest.mark.parametrize("damage", ["empty", "cut in half", "binary", "zeros", "nested", "of another model", "a folder"])
def test_a_damaged_cache_is_made_anew(damage, tokenizer, tmp_path, caplog):
    trained, expected = base_of(tokenizer, tmp_path)
    (path,) = tmp_path.iterdir()
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(save({"a": torch.rand(3)}) if damage == "of another model" else CONTENTS[damage](path.read_bytes()))
    again, found = base_of(tokenizer, tmp_path)
    assert trained and again and all(map(torch.equal, expected, found))
    first, *others = [record.getMessage() for record in caplog.records]
    assert first.startswith("the cache of base models cannot be used, and one is trained: ") and path.name in first
    assert first.isprintable() and len(others) == (damage == "a folder")
    assert base_of(tokenizer, tmp_path)[0] == (damage == "a folder"), "what was damaged is whole again"


def test_where_nothing_can_be_written_a_base_is_trained_all_the_same(tokenizer, tmp_path, caplog, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    for cache in (tmp_path / "file" / "cache", tmp_path / "file"):
        caplog.clear()
        assert base_of(tokenizer, cache)[0]
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "the base model is not kept for the next run: " in caplog.text
    caplog.clear()
    monkeypatch.setattr(base_model, "align", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        base_of(tokenizer, tmp_path / "file")
    assert "the base model is not kept" in caplog.text, "it is said before training, which takes minutes"


def test_without_a_home_there_is_no_cache(tokenizer, monkeypatch, caplog):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert base_of(tokenizer, None)[0]
    assert [record.getMessage() for record in caplog.records] == [
        "the cache of base models cannot be used, and one is trained: Could not determine home directory."
    ]


def test_a_base_may_be_kept_by_several_at_once(tmp_path):
    """Whoever reads meanwhile finds a whole file."""
    policies = [LanguagePolicy(build_model("tiny", seed=0)) for _ in range(4)]
    path, failed = tmp_path / "cache" / "base.safetensors", []

    def keep(policy):
        try:
            for _ in range(10):
                base_model._save(path, policy)
                base_model._load(path, policy)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=keep, args=(policy,)) for policy in policies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and os.listdir(path.parent) == ["base.safetensors"]


# ---- models ----


@pytest.mark.parametrize(
    "error", [struct.error("unpack"), KeyError("blk\x1b[31m"), IndexError("a\nb"), RuntimeError("x" * 10**4)]
)
def test_a_model_file_that_breaks_its_reader_is_one_line(error, tmp_path, monkeypatch):
    """GGUF is read by a package of its own, which fails at a cut file in its own ways."""

    def fail(**source):
        raise error

    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(ValueError, match=r"model\.gguf' cannot be loaded") as told:
        load_model(str(tmp_path / "model.gguf"))
    assert str(told.value).isprintable() and len(str(told.value)) < 1000


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["empty", "cut in half", "a list"])
def test_a_damaged_model_folder_is_one_line(file, damage, tmp_path):
    folder = tmp_path / "model"
    build_model("tiny").save_pretrained(folder)
    COMPACT.tokenizer.save_pretrained(folder)
    assert load_model(str(folder))[2] is COMPACT
    (folder / file).write_bytes(CONTENTS[damage]((folder / file).read_bytes()))
    with pytest.raises(ValueError, match=r"model' cannot be loaded") as told:
        load_model(str(folder))
    assert str(told.value).isprintable() and len(str(told.value)) < 1000
