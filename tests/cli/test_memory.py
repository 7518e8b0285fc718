"""What does not fit into memory is refused before it is built, and the advice names options that exist and help."""

import re
from pathlib import Path

import pytest
from test_lake import run

from ift_gridworld.checks import check_memory, memory_size
from ift_gridworld.cli import explain, lake
from ift_gridworld.envs.maps import bridge, open_lake, random_map, two_paths


@pytest.mark.parametrize("arguments", [("--map", "open", "--size", "20000x20000"), ("--map", "20000x20000")])
@pytest.mark.parametrize("mode", [(), ("--explain", "ift")])
def test_a_lake_that_no_machine_can_hold_is_refused_before_it_is_built(tmp_path, capsys, monkeypatch, arguments, mode):
    """By its size alone: 400 million tiles of 100 bytes are 37.3 GiB, and training takes more."""
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 32 * 2**30}[name])
    monkeypatch.setattr("numpy.full", lambda *_: pytest.fail("it is built"))
    assert run(tmp_path / "out", *arguments, *mode) == 2
    said = capsys.readouterr().err
    assert "GiB of memory, and this machine has 32.0; allowed: " in said and said.count("\n") == 1
    assert ("takes 37.3 GiB" in said) == bool(mode)


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ({}, "fewer --seeds (now 8), a smaller --hidden, --policy tabular, a smaller lake (--map, --size)"),
        ({"policy": "tabular", "seeds": 1, "device": "cuda"}, "--device cpu, a smaller lake (--map, --size)"),
        ({"explain": "ift"}, "a smaller --hidden, --policy tabular, a smaller lake (--map, --size)"),
        ({"redraw": (Path("x.json"),)}, "fewer files at once after --redraw, or runs of a smaller lake"),
    ],
)
def test_advice_on_memory_names_options_that_the_mode_uses(options, ways, capsys, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr("ift_gridworld.cli.lake.check", fails)
    with pytest.raises(SystemExit):
        lake.main(lake.LakeArgs(**options))
    assert capsys.readouterr().err == f"error: out of memory; allowed: {ways}\n"
    flags = set(re.findall(r"--([a-z]+)", ways))
    assert flags <= set(vars(lake.LakeArgs()))  # each of them exists


@pytest.mark.parametrize("error", [RuntimeError("unsupported memory format"), RuntimeError("out of memory"), MemoryError()])
def test_only_a_lack_of_memory_is_told_as_one(error, capsys, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(explain.ExplainArgs, "require", fails)
    monkeypatch.setattr(lake, "check", fails)
    for main, args in ((explain.main, explain.ExplainArgs()), (lake.main, lake.LakeArgs())):
        with pytest.raises(RuntimeError if "format" in str(error) else SystemExit):
            main(args)
        assert capsys.readouterr().err.startswith("error: out of memory; allowed: ") == ("format" not in str(error))


@pytest.mark.parametrize("make", [open_lake, two_paths, bridge, random_map])
def test_a_map_larger_than_memory_is_refused_before_it_is_built(make, monkeypatch):
    """A tile takes 100 bytes or more as an MDP."""
    monkeypatch.setattr("ift_gridworld.checks.memory_size", lambda: 100.0 * 6 * 6)
    assert len(make(6)) == 6
    with pytest.raises(ValueError, match=r"^size 6x7, which takes 0.0 GiB of memory, and this machine has 0.0; allowed: fewer"):
        make((6, 7))


def test_memory_is_what_the_machine_says():
    check_memory(memory_size(), "all of it", "less")
    with pytest.raises(ValueError, match="^twice, which takes .* GiB of memory, and this machine has .*; allowed: less$"):
        check_memory(2 * memory_size(), "twice", "less")
