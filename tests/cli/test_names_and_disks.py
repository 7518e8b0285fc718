"""What a user names on the command line is text in all that a command prints and writes; a disk that fails is one line."""

import errno
import os
import sys
from pathlib import Path

import pytest
from test_lake import run
from test_page import lake_record

from ift_gridworld.cli.main import main
from ift_gridworld.methods import SFT, register_method
from ift_gridworld.methods.registry import unregister_method

QUICK = ("--method", "sft", "--policy", "tabular", "--steps", 1, "--seeds", 1)
CONTROL = set(map(chr, [*range(10), *range(11, 32), 127, 155]))


def command(monkeypatch, *arguments):
    """Run a whole command; returns the exit status."""
    monkeypatch.setattr(sys, "argv", ["ift-gridworld"])
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.mark.parametrize("name", ["a[/b]", "[red]x", "a\x1b[31mb", ":smile:", "a\nb", "湖"])
def test_a_folder_of_any_name_is_written_to_and_printed(name, tmp_path, capsys):
    assert run(tmp_path / name, *QUICK) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / name / "sft.json").is_file()
    shown = name.replace("\x1b", r"\x1b").replace("\n", r"\n")
    assert f"wrote {tmp_path}/{shown}/sft.json\n" in printed and not set(printed) & CONTROL


@pytest.mark.parametrize("name", ["a\n\\input{b}", "a\x1b[31m$x^$", "<b>&amp;湖", "x" * 200])
def test_a_map_file_of_any_name_is_text_in_what_is_written(name, tmp_path, capsys):
    path = tmp_path / f"{name}.txt"
    path.write_text("SF\nFG\n", encoding="utf-8")
    assert run(tmp_path / "out", *QUICK, "--map", path, "--figure", "column", "--format", "svg") == 0
    table = (tmp_path / "out" / "sft.tex").read_text(encoding="utf-8").splitlines()
    assert table[0][0] == "%" and table[1] == r"\begin{tabular}{lrrrr}"
    assert not set(capsys.readouterr().out) & CONTROL


@pytest.mark.parametrize(
    "arguments",
    [
        ("lake", "--map", "x" * 300),
        ("lake", "--map", "a\x1b[31m\nb"),
        ("lake", "--out", "x" * 300),
        ("lake", "--method", "\x1b[31m"),
        ("lake", "--plugin", "a\x1b[31m.py"),
        ("lake", "--\x1b[31m"),
        ("\x1b[31m",),
        ("version", "\x1b[31m"),
        ("redraw", "x" * 300),
        ("redraw", "a\x1b[31m\nb"),
        ("losses", "--map", "x" * 300),
        ("suite", "--out", "x" * 300),
        ("failures", "--out", "x" * 300),
        ("gallery", "--out", "x" * 300),
        ("reproduction", "--quick", "--maps", "x" * 300),
        ("language", "--quick", "--out", "x" * 300),
        ("language", "--quick", "--data", "a\x1b[31m\nb"),
    ],
    ids=lambda arguments: " ".join(arguments)[:30].encode("unicode_escape").decode(),
)
def test_a_value_is_told_in_one_line_of_text(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and not set(err) & CONTROL
    assert not any(p.is_file() for p in tmp_path.rglob("*"))


def test_a_method_of_a_long_name_is_saved(tmp_path):
    """300 letters are more than a file's name holds."""
    name = "x" * 300
    register_method(name, SFT)
    try:
        assert run(tmp_path, *QUICK[2:], "--method", f"sft,{name}", "--render", "--format", "png") == 0
    finally:
        unregister_method(name)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 8 and {file.rpartition(".")[2] for file in files} == {"json", "png", "txt"}


@pytest.mark.parametrize("place", ["file/below", "/dev/full", "/dev/null/below"])
@pytest.mark.parametrize("name", ["lake", "explain", "redraw", "suite", "failures", "gallery", "reproduction", "language"])
def test_a_folder_that_cannot_be_written_is_one_line(name, place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept", encoding="utf-8")
    lake_record().save(tmp_path / "ift.json")
    more = {"lake": QUICK, "explain": ("--policy", "tabular"), "redraw": ("ift.json",)}.get(name, ())
    assert command(monkeypatch, name, *more, "--out", place) == 2
    line = f"error: --out is '{place}': cannot write there (Not a directory); allowed: a folder to write into\n"
    assert capsys.readouterr().err == line and os.listdir(tmp_path) == ["file", "ift.json"]


def test_completions_that_cannot_be_written_are_one_line(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--tyro-write-completion", "bash", "/dev/null/below"])
    assert (left.value.code, capsys.readouterr().err) == (2, "error: /dev/null/below: Not a directory\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("lake", *QUICK),
        ("explain", "--policy", "tabular", "--format", "png"),
        ("redraw", "ift.json", "--format", "png"),
        ("suite",),
        ("gallery",),
        ("language", "--quick", "--export", "out", "--maps", 2, "--held-out", 2, "--base-maps", 1),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_is_one_line_that_names_the_file(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lake_record().save(tmp_path / "ift.json")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("ift_gridworld.studies.gallery.draw_entry", lambda *_: None)
    out = () if "--export" in arguments else ("--out", "out")
    assert command(monkeypatch, *arguments, *out) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: out/") and error.endswith(": No space left on device\n") and error.count("\n") == 1
    assert os.listdir(tmp_path / "out") == []
