"""Files are written whole or not at all, whatever ends the writing, and what cannot be written names its path in one line."""

import errno
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from test_page import lake_record

from ift_gridworld.cli.parser import launch
from ift_gridworld.cli.suite import Args
from ift_gridworld.storage import check_folder, file_stem, make_folder, replaced, write_atomically
from ift_gridworld.studies.tables import write_table

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("cause", [FULL, KeyboardInterrupt(), SystemExit(1), ValueError("a bug")])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(cause, tmp_path):
    path = write_atomically(tmp_path / "ift.json", b"old")
    with pytest.raises(type(cause)) as error, replaced(path) as temporary:
        temporary.write_bytes(b"half")
        raise cause
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["ift.json"]
    if isinstance(cause, OSError):
        assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error, replaced(tmp_path / "ift.json"):
        (tmp_path / "source").read_bytes()
    assert error.value.filename == str(tmp_path / "source")


def test_two_runs_into_one_folder_do_not_share_a_temporary_file(tmp_path):
    with replaced(tmp_path / "ift.gif") as first, replaced(tmp_path / "ift.gif") as second:
        first.write_bytes(b"1")
        second.write_bytes(b"2")
        assert first != second and first.suffix == second.suffix == ".gif"
    assert (tmp_path / "ift.gif").read_bytes() == b"1"  # the block that ended last
    assert os.listdir(tmp_path) == ["ift.gif"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_the_umask(mask, tmp_path):
    before = os.umask(mask)
    try:
        path = write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_the_longest_name_that_a_folder_takes_is_written(tmp_path):
    """The temporary name beside it is no longer than the name itself."""
    path = write_atomically(tmp_path / f"{'x' * 250}.json", b"1")
    assert path.read_bytes() == b"1"


WRITERS = {
    "run": lambda folder: lake_record().save(folder / "ift.json"),
    "film": lambda folder: lake_record(snapshots=2).film(folder / "ift.gif"),
    "still": lambda folder: lake_record().film(folder / "ift.png"),
    "figure": lambda folder: lake_record().figure(folder / "ift.pdf"),
    "page": lambda folder: lake_record().page(folder / "ift.html"),
    "table": lambda folder: write_table({"seed": np.array([1.0])}, folder / "claims.csv.gz", {}),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_names_the_path_on_a_full_disk_and_leaves_nothing(writer, tmp_path, monkeypatch):
    def fail(*_):
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left on device") as error:
        WRITERS[writer](tmp_path)
    assert Path(error.value.filename).parent == tmp_path and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/ift.json"), "runs/ift.json: No space left on device"),
        (OSError("cannot read it\nat all"), "cannot read it at all"),
    ],
)
def test_a_command_tells_a_file_that_fails_in_one_line(error, line, capsys, monkeypatch):
    def main(_):
        error.add_note("written before that: sft.json")
        raise error

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as left:
        launch(main, Args, "a command")
    assert (left.value.code, capsys.readouterr().err) == (2, f"error: {line}; written before that: sft.json\n")


# ---- folders ----


@pytest.mark.parametrize("check", [check_folder, make_folder])
@pytest.mark.parametrize(
    ("below", "reason"), [("file/below", "Not a directory"), ("x" * 300, "File name too long"), ("file", "Not a directory")]
)
def test_a_folder_that_cannot_be_written_is_refused_in_one_line(check, below, reason, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ValueError) as error:
        check(tmp_path / below)
    assert str(error.value) == f"--out is '{tmp_path / below}': cannot write there ({reason}); allowed: a folder to write into"
    assert os.listdir(tmp_path) == ["file"]


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    """Root may write anywhere, so the system's answer is put in its place."""

    def fail(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with pytest.raises(ValueError, match=r"cannot write there \(Read-only file system\)"):
        check_folder(tmp_path / "new")
    assert os.listdir(tmp_path) == []


def test_a_name_that_no_file_can_have_becomes_one():
    for name in ("sft-ift", "all", "湖_法"):
        assert file_stem(name) == name
    stems = {file_stem(name) for name in ("x" * 300, "x" * 301, "湖" * 300, "a/b", "a\0b", "a\nb")}
    assert len(stems) == 6
    assert all(len(stem.encode()) <= 130 and not set(stem) & set("/\0\n") for stem in stems)
