"""Signals and child processes: a command that is stopped says so in one line, and no child outlives its parent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ift_gridworld.children import run_script

ROOT = Path(__file__).parents[1]
PATIENCE = 120  # seconds until a process hangs; on a busy machine an import takes half a minute
STOPS = {signal.SIGINT: ("interrupted\n", 130), signal.SIGTERM: ("terminated\n", 143), signal.SIGKILL: ("", -signal.SIGKILL)}


def start(*command, cwd=None, **variables):
    """Start Python on this checkout's package, in a session of its own as a terminal gives it, which hears the keyboard."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, *map(str, command)]
    return subprocess.Popen(command, cwd=cwd, env=environment, text=True, start_new_session=True, preexec_fn=hear, **pipes)


def hear():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs these tests in the background has it ignored


def script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return path


# ---- the mechanism ----


@pytest.mark.parametrize(
    ("handler", "printed"), [("lambda *_: sys.exit(print('cleaned up'))", "cleaned up\n"), ("signal.SIG_IGN", "")]
)
def test_a_process_that_is_left_cleans_up_or_is_ended_for_good(handler, printed):
    program = (
        "import signal, sys, time\nfrom ift_gridworld import children\n"
        f"signal.signal(signal.SIGTERM, {handler})\nchildren.GRACE = 0.1\nchildren.end_with(lambda: None)\ntime.sleep(600)\n"
    )
    process = start("-c", program)
    assert process.communicate(timeout=PATIENCE) == (printed, "")
    assert process.returncode == (0 if printed else 143)


POOL = """
import os, time
from ift_gridworld.children import processes
if __name__ == "__main__":
    with processes(2) as pool:
        pool.submit(os.getpid).result()
        work = [pool.submit(time.sleep, 600) for _ in range(2)]
        print("ready", flush=True)
        work[0].result()
"""
SCRIPT = """
import sys, time
from ift_gridworld.children import run_script
if len(sys.argv) == 1:
    import subprocess
    start = subprocess.Popen
    subprocess.Popen = lambda *given, stdout, stderr, **options: start(*given, **options)  # it prints where we do
    run_script(__file__, ["child"])
else:
    print("ready", flush=True)
    time.sleep(600)
"""
DRAWING = """
import time
from ift_gridworld.rendering.worker import RenderWorker
with RenderWorker() as worker:
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    "program", [POOL, SCRIPT, pytest.param(DRAWING, marks=pytest.mark.slow)], ids=["pool", "script", "drawing"]
)
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_children_end_with_a_parent_that_is_killed(program, number, tmp_path):
    """They hold its output open: that it ends tells that they have ended."""
    process = start(script(tmp_path, program))
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -number


def test_a_worker_process_does_not_import_what_lies_in_the_current_folder(tmp_path):
    for name in ("random", "socket", "tempfile", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('shadowed by {name}')\n")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    program = script(
        folder,
        "import os\nfrom ift_gridworld.children import processes\n"
        "if __name__ == '__main__':\n    before = dict(os.environ)\n"
        "    with processes(1) as pool:\n        print(pool.submit(abs, -3).result(), os.environ == before)\n",
    )
    process = start(program, cwd=tmp_path)
    assert process.communicate(timeout=PATIENCE) == ("3 True\n", "")


def test_a_script_is_run_with_its_arguments_and_without_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemExit('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    program = script(
        tmp_path, "import json, sys, random\nprint(json.dumps(sys.argv))\nprint('so it is', file=sys.stderr)\nsys.exit(3)"
    )
    ended = run_script(program, ["a b", "--c"])
    assert json.loads(ended.stdout) == [str(program), "a b", "--c"]
    assert (ended.stderr, ended.returncode) == ("so it is\n", 3)


# ---- signals ----


def test_the_package_leaves_the_signals_of_another_program_alone():
    program = (
        "import signal, sys\nbefore = [signal.getsignal(n) for n in (2, 15)]\nimport ift_gridworld.cli.main\n"
        "print(before == [signal.getsignal(n) for n in (2, 15)])"
    )
    for arguments in (["-c", program], ["-c", program, "ift_gridworld"]):
        assert start(*arguments).communicate(timeout=PATIENCE)[0] == "True\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "module",
    [
        "ift_gridworld._lazy",
        "numpy.lib",
        "gymnasium.core",
        "ift_gridworld.cli.main",
        pytest.param("torch.nn", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "command", [["-m", "ift_gridworld", "lake"], [ROOT / "experiments" / "frozen_lake.py"]], ids=["command", "script"]
)
def test_a_signal_amid_an_import_ends_the_command_in_one_line(command, module, number, tmp_path):
    """Python tells each module that it has imported; the signal comes right after one of them."""
    process = start("-X", "importtime", *command, "--steps", 3, cwd=tmp_path)
    for line in process.stderr:
        if line.rpartition("|")[2].strip() == module:
            break
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    lines = [line for line in told.splitlines(keepends=True) if not line.startswith("import time:")]
    assert ("".join(lines), process.returncode) == STOPS[number]
    assert not list(tmp_path.iterdir())


def test_a_signal_at_work_is_raised_once_and_the_second_one_does_not_wait(tmp_path):
    """The first lets the work clean up; imports within it, which might swallow an exception, end at once."""
    program = """
import signal, sys, time
from ift_gridworld import _stop
from ift_gridworld.cli.parser import launch
from ift_gridworld.runtime import loading
from dataclasses import dataclass
_stop.handle_signals()
@dataclass
class Args:
    how: str
def main(args):
    try:
        if args.how == "loading":
            with loading():
                signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        print("cleaning up", flush=True)
        if args.how == "twice":
            signal.raise_signal(signal.SIGINT)
        print("clean", flush=True)
launch(main, Args, None)
"""
    path = script(tmp_path, program)
    wanted = {
        "once": ("cleaning up\nclean\n", "terminated\n", 143),
        "twice": ("cleaning up\n", "interrupted\n", 130),
        "loading": ("", "terminated\n", 143),
    }
    for how, (printed, told, status) in wanted.items():
        process = start(path, "--how", how)
        assert (*process.communicate(timeout=PATIENCE), process.returncode) == (printed, told, status)


COMMANDS = {
    "lake": ("frozen_lake.py", "--method", "sft,ift", "--steps", 20000, "--render"),
    "reproduction": ("reproduction.py", "--quick"),
    "gallery": ("gallery.py", "--only=--render"),
    "benchmark": ("benchmark.py", "--only", "pictures"),
    "language": ("language_model.py", "--quick", "--method", "sft,ift", "--seeds", 2, "--workers", 2),
}


MOMENTS = (1, 3, 6)  # seconds after the start; each command meets each, and each signal does
STOPPED = [
    (command, number, MOMENTS[(i + j) % len(MOMENTS)]) for i, command in enumerate(COMMANDS) for j, number in enumerate(STOPS)
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "number", "seconds"), STOPPED)
def test_a_command_that_is_stopped_leaves_nothing_behind(command, number, seconds, tmp_path):
    """No process (they hold the command's output open), no temporary file, no more than one line."""
    name, *options = COMMANDS[command]
    process = start(
        ROOT / "experiments" / name, *options, "--out", tmp_path / "out", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path)
    )
    time.sleep(seconds)
    assert process.poll() is None
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=PATIENCE)
    line, status = STOPS[number]
    assert process.returncode == status
    if number != signal.SIGKILL:  # then Python's own tracker of semaphores may say that it has cleaned up after it
        assert told == line
        assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
