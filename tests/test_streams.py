"""What a standard stream cannot take neither stops a command nor loses its files, and the exit status says what was lost."""

import errno
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ift_gridworld.cli import failures
from ift_gridworld.cli.main import COMMANDS, main
from ift_gridworld.runtime import console, is_terminal, progress, safe_streams
from ift_gridworld.studies.failures import catalogue


class Failing(io.TextIOBase):
    """A stream that takes so many writes, then fails."""

    def __init__(self, error, takes=0):
        self.error, self.takes = error, takes

    def write(self, text):
        self.takes -= 1
        if self.takes < 0:
            raise self.error
        return len(text)


class Bare:
    """A stream with nothing but what print needs."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


BROKEN = BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (lambda: None, None),
        (closed, None),
        (Bare, None),
        (lambda: io.TextIOWrapper(io.BytesIO(), "cp1252"), None),
        (lambda: io.TextIOWrapper(io.BytesIO(), "ascii"), None),
        (lambda: Failing(BROKEN), 141),
        (lambda: Failing(BROKEN, takes=1), 141),
        (lambda: Failing(OSError(errno.ENOSPC, "No space left on device")), 2),
    ],
    ids=["None", "closed", "bare", "cp1252", "ascii", "broken", "broken later", "full"],
)
@pytest.mark.parametrize("which", ["stdout", "stderr"])
def test_a_command_ends_whatever_its_streams_take(stream, status, which, monkeypatch):
    """The work after the output is done; output that is lost shows in the status, a lost message does not."""
    other = io.StringIO()
    monkeypatch.setattr(sys, "stdout", other)
    monkeypatch.setattr(sys, "stderr", other)
    monkeypatch.setattr(sys, which, stream())
    before, done, left = (sys.stdout, sys.stderr), [], None
    try:
        with safe_streams():
            print("λ → ✓ 湖", file=getattr(sys, which))
            console().print("λ [b]", "bar")
            with progress("training"):
                print("more", file=getattr(sys, which), flush=True)
            done.append(True)
    except SystemExit as error:
        left = error.code
    assert left == (status if which == "stdout" else None)
    assert done and (sys.stdout, sys.stderr) == before
    assert ("error: standard output" in other.getvalue()) == (which == "stdout" and status == 2)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_only_what_a_stream_cannot_show_is_replaced(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    with safe_streams():
        print("a é λ")
    assert written.getvalue() == "a é λ\n".encode(encoding, "replace")


@pytest.mark.parametrize(("code", "status"), [(0, 141), (None, 141), (1, 1), (2, 2)])
def test_a_command_that_failed_keeps_its_status(code, status, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Failing(BROKEN))
    with pytest.raises(SystemExit) as left, safe_streams():
        print("x")
        raise SystemExit(code)
    assert left.value.code == status


@pytest.mark.parametrize("stream", [None, closed(), Bare(), io.StringIO()])
def test_a_stream_that_cannot_tell_is_no_terminal(stream, monkeypatch):
    assert not is_terminal(stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("training") as report:  # as `train(..., progress=True)` has it
        report(1, 2)


def test_a_console_takes_strings_as_text(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console().print("a[/b] [red]x[/] :smile:")
    assert sys.stdout.getvalue() == "a[/b] [red]x[/] :smile:\n"


@pytest.mark.parametrize("name", [*COMMANDS, "version", "--help"])
def test_every_command_prints_its_help_in_any_encoding(name, monkeypatch):
    """Windows redirects in cp1252."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252"))
    monkeypatch.setattr(sys, "argv", ["ift-gridworld"])
    if name in COMMANDS:
        with pytest.raises(SystemExit) as left:
            main([*name.split(), "--help"])
        assert left.value.code == 0
    else:
        assert main([name]) == 0
    assert written.getvalue()


def test_a_command_that_prints_as_it_goes_writes_all_its_files(tmp_path, monkeypatch):
    """As `failures | head -1`: the reader is gone after the first picture, the others are still drawn."""

    def save(failure, settings, path, theme, speed):
        path.write_bytes(b"")
        return [path]

    drawn = SimpleNamespace(title="a title", why="why", often="often", cause=())
    monkeypatch.setattr(catalogue, "FAILURES", dict.fromkeys(("first", "second"), lambda seeds, seed: drawn))
    monkeypatch.setattr(catalogue, "save_failure", save)
    monkeypatch.setattr(sys, "stdout", Failing(BROKEN, takes=1))
    with pytest.raises(SystemExit) as left, safe_streams():
        failures.main(failures.Args(out=tmp_path))
    assert left.value.code == 141 and sorted(os.listdir(tmp_path)) == ["first.gif", "second.gif"]


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "| head -n 1"])
def test_files_are_written_whatever_the_shell_does_with_the_streams(redirection, tmp_path):
    """A run in a process of its own, whose descriptors are really closed."""
    program = (
        "from pathlib import Path; from ift_gridworld.cli.parser import launch; from ift_gridworld.cli.suite import Args\n"
        "from ift_gridworld.storage import write_atomically\n"
        "def main(args):\n"
        "    for i in range(2000): print('λ' * 99)\n"
        "    write_atomically(args.out / 'file', b'whole')\n"
        "    return 0\n"
        "launch(main, Args, '')"
    )
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    command = f'"{sys.executable}" program.py --out . {redirection}; echo ${{PIPESTATUS[0]}} >status'
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    status = {">/dev/full": "2", "| head -n 1": "141"}.get(redirection, "0")
    assert (tmp_path / "file").read_bytes() == b"whole" and (tmp_path / "status").read_text().strip() == status
    assert ended.stderr.count("\n") == (redirection == ">/dev/full")
