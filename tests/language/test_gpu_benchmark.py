"""The run on a GPU, at its smallest size on the CPU: it goes on where it was, and the page says when numbers are missing."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_parts
from benchmarks.gpu import TINY, Args, main

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name, _ in gpu.parts(gpu_parts, torch.device("cpu"), TINY)]


@pytest.fixture
def quick(monkeypatch):
    """Every part is measured at once, and which ones are is noted."""
    measured = []
    named = [(name, lambda name=name: measured.append(name) or {"value": len(measured)}) for name in NAMES]
    monkeypatch.setattr(gpu, "parts", lambda *_: iter(named))
    return measured


def run(folder, **options):
    assert main(Args(device="cpu", tiny=True, out=folder, **options)) == 0
    return json.loads((folder / "gpu.json").read_text(encoding="utf-8"))


def test_an_interrupted_run_goes_on_where_it_was(quick, tmp_path, monkeypatch, capsys):
    class Stopped(Exception):
        pass

    plain = gpu.write_atomically

    def write(path, content):
        plain(path, content)
        if len(quick) == 2:
            raise Stopped

    monkeypatch.setattr(gpu, "write_atomically", write)
    with pytest.raises(Stopped):
        run(tmp_path)
    monkeypatch.setattr(gpu, "write_atomically", plain)
    content = run(tmp_path)
    assert quick == NAMES and list(content["parts"]) == NAMES, "nothing is measured twice"
    assert content["about"]["device"] and content["about"]["sizes"]["lake"] == TINY.lake
    capsys.readouterr()
    run(tmp_path, minutes=1e-9, again=True)
    assert quick == NAMES and f"left for the next call: {', '.join(NAMES)}" in capsys.readouterr().out


def test_numbers_of_another_device_are_not_mixed_in(quick, tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setattr(gpu.platform, "processor", lambda: "another device")
    content = run(tmp_path)
    assert quick == NAMES * 2 and content["about"]["device"] == "another device"


def test_what_does_not_fit_is_a_result(tmp_path):
    def fails():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    assert gpu.measured(fails) == {"out_of_memory": True}
    with pytest.raises(RuntimeError, match="another"):
        gpu.measured(lambda: (_ for _ in ()).throw(RuntimeError("another error")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minutes": 0}, "--minutes is 0; allowed: a number above 0"),
        ({"device": "tpu"}, "--device is 'tpu'; allowed: cpu, cuda"),
    ],
)
def test_a_mistake_is_told_in_one_line(options, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(Args(**{"device": "cpu", "tiny": True, "out": tmp_path / "out"} | options))
    line = capsys.readouterr().err
    assert end.value.code == 2 and words in line and line.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_read_is_told(quick, tmp_path, capsys):
    (tmp_path / "gpu.json").write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit):
        run(tmp_path)
    assert "gpu.json cannot be read" in capsys.readouterr().err and not quick


def test_the_page_says_when_the_numbers_are_missing():
    page = (ROOT / "experiments" / "language.md").read_text(encoding="utf-8")
    missing = "The numbers of a GPU are missing" in page
    assert missing != (ROOT / "figures" / "language" / "gpu.json").exists()


@pytest.mark.slow
def test_all_parts_at_their_smallest_size(tmp_path, monkeypatch):
    """On the CPU there is no difference between the two devices; a curve has points before, between and after the updates."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = run(tmp_path)["parts"]
    assert list(parts) == NAMES
    correctness = parts["correctness"]
    assert correctness["worst"] == {"loss": 0, "gradient": 0, "lakes": 0} and set(correctness["lakes"]) == set(TINY.methods)
    assert 0.9 <= correctness["bfloat16"]["agreement"] <= 1 and 0 < correctness["bfloat16"]["loss"] < 0.02
    for name, part in parts.items():
        if name.startswith("update"):
            assert part["ms"] > 0 and 0 < part["utilisation"] < 1 and part["parameters"] == 152512
        elif name.startswith("sampling"):
            assert part["tokens_per_second_float32"] > 0 and part["tokens_per_second_bfloat16"] > 0
        elif name.startswith("lakes"):
            assert [point["step"] for point in part["curve"]] == [0, 1, 2] and len(part["loss"]) == 2
            assert all(0 <= point[kind] <= 1 for point in part["curve"] for kind in ("greedy", "sampled"))
    starts = [parts[f"lakes {method}"]["curve"][0] for method in gpu.COMPARED]
    assert all(start == starts[0] for start in starts), "one base"
