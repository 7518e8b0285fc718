"""Studies on a Dask cluster: the same tables, whatever is lost on the way; what cannot work is told in one line.

One scheduler with two worker processes, started as a user does, serves the slow tests. The scheduler cannot import the package,
and workers run in another folder than the caller: only what is sent to them reaches them.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cluster_parts import PATIENCE, Inline, counted, killed_once, part, times_run, waiting
from test_children import ROOT, STOPS, start

from ift_gridworld import cluster
from ift_gridworld.cli import language as language_command
from ift_gridworld.cli import reproduction as reproduction_command
from ift_gridworld.cluster import worker_pool
from ift_gridworld.studies.frontier.conditions import Condition
from ift_gridworld.studies.frontier.running import run_trials
from ift_gridworld.studies.parts import StudyPart, collect_tables, run_parts
from ift_gridworld.studies.reproduction import study as reproduction
from ift_gridworld.studies.running import run_setting
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import load_table
from ift_gridworld.version import __version__

HERE = Path(__file__).parent
NOWHERE = "tcp://127.0.0.1:1"  # nobody may listen there but the system's own


def dask(folder, name, *arguments, path):
    """Start one of Dask's own programs, which finds modules in `path` first."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def stop(process):
    os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has started
    process.wait(PATIENCE)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.05)


def workers_of(address):
    from distributed import Client

    with Client(address, timeout=PATIENCE, set_as_default=False) as client:
        return len(client.nthreads())


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Address of a scheduler that has two worker processes, and the folder in which they run."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "bare").mkdir()
    (folder / "bare" / "ift_gridworld.py").write_text("raise ImportError('the scheduler needs no ift_gridworld')\n")
    running, file = [], folder / "scheduler.json"
    try:
        arguments = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
        running.append(dask(folder, "scheduler", *arguments, path=[folder / "bare"]))
        wait_for(lambda: file.exists() and file.stat().st_size)
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        workers = [address, "--nworkers", "2", "--nthreads", "1", "--local-directory", str(folder)]
        running.append(dask(folder, "workers", "worker", *workers, path=[ROOT, HERE]))
        wait_for(lambda: workers_of(address) == 2)
        yield address, folder
    finally:
        for process in reversed(running):
            stop(process)


def small_parts(scope):
    """Three settings of a file of lakes, of one table each, and trials of the frontier study."""
    common = {"methods": ["sft", "ift", "dpo"], "seeds": 2, "seed": scope.seed}
    settings = [("firm", "tabular", 1), ("slippery", "tabular", 4), ("firm", "mlp-8", 1)]
    parts = []
    for ice, policy, demonstrations in settings:
        setting = Setting(f"{scope.maps}:0", ice, "good-0.5", policy, "adam", demonstrations)
        parts.append(StudyPart("claims", setting.name, 1.0, run_setting, {"setting": setting, **common}))
    trials = {"condition": Condition().held_in.name, "method": "dpo", "lakes": 2, "seed": 0, "updates": 20}
    return [*parts, StudyPart("trials", "dpo", 1.0, run_trials, trials)]


@pytest.mark.slow
def test_a_study_on_a_cluster_is_the_study_of_one_process(scheduler, tmp_path, capsys, monkeypatch):
    """By the command, to the last byte of every table; the lakes of a file that workers cannot see travel with the parts."""
    address, _ = scheduler
    monkeypatch.chdir(tmp_path)
    Path("lakes.txt").write_text("SFF\nFHG\n\nSFFF\nHFFG\n", encoding="utf-8")
    monkeypatch.setattr(reproduction, "study_parts", small_parts)
    monkeypatch.setattr(reproduction, "report", lambda *_: ("drawn", []))
    for folder, where in (("one", {"workers": 1}), ("cluster", {"cluster": address})):
        args = reproduction_command.Args(quick=True, maps=Path("lakes.txt"), seeds=2, out=Path(folder), **where)
        assert reproduction_command.main(args) == 0
    one, two = ({p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*.gz")} for folder in ("one", "cluster"))
    assert one == two and len(one) == 4 + 2
    distances = load_table("cluster/claims.csv.gz")[0]["distance"]
    assert len(set(distances)) > 20, "numbers that tell the settings, methods and seeds apart"


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_task_alone(scheduler, tmp_path):
    """The heaviest part, and so the first of its worker."""
    address, _ = scheduler
    parts = [part(number, tmp_path, killed_once if number == 2 else counted, 1.0 + (number == 2)) for number in range(6)]
    with worker_pool(cluster=address) as pool:
        run_parts(parts, tmp_path, pool)
    assert times_run(tmp_path) == {0: 1, 1: 1, 2: 2, 3: 1, 4: 1, 5: 1}
    (tmp_path / "alone").mkdir()
    run_parts(parts, tmp_path / "alone", Inline())
    one, two = (
        {path.name: path.read_bytes() for path in (folder / "parts").iterdir()} for folder in (tmp_path, tmp_path / "alone")
    )
    assert one == two
    np.testing.assert_allclose(collect_tables(parts, tmp_path)["counted"]["success"], np.arange(6) / 7, rtol=1e-6)


@pytest.mark.slow
def test_a_language_study_on_a_cluster_is_that_of_one_process(scheduler, tmp_path, monkeypatch):
    """To the last digit, one thread a process; its checkpoints lie where its workers run, and finished runs with the caller."""
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    address, folder = scheduler
    small = {
        "base_maps": 32, "base_steps": 5, "maps": 16, "held_out": 5, "validation": 5, "steps": 4, "every": 4, "batch": 8,
        "learning_rates": (1e-3,), "no_extend": True, "method": "sft,ift",
    }  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    runs = []
    for name, where in (("here", {"workers": 1}), ("cluster", {"cluster": address})):
        assert language_command.main(language_command.Args(**small, **where, out=name)) == 0
        saved = [json.loads(Path(name, f"{each}.json").read_text(encoding="utf-8")) for each in ("sft", "ift", "sft_tempered")]
        runs.append([{key: run.get(key) for key in ("loss", "measured", "entropy")} for each in saved for run in each["runs"]])
    assert runs[0] == runs[1] and len(runs[0]) == 3
    assert {path.name[:6] for path in Path("cluster/parts").iterdir()} == {"sft-0-", "ift-0-"}
    assert not Path("cluster/checkpoints").exists()
    assert len(list((folder / "cluster" / "checkpoints").iterdir())) >= 2


CALLER = """
import sys
from pathlib import Path
from cluster_parts import counted, waiting
from ift_gridworld.cluster import worker_pool
from ift_gridworld.studies.frontier.conditions import Condition
from ift_gridworld.studies.frontier.running import run_trials
from ift_gridworld.studies.parts import StudyPart, run_parts
folder = Path(sys.argv[1])
if __name__ == "__main__":
    parts = [
        StudyPart("counted", f"part {i}", 6.0 - i, counted if i < 4 else waiting, {"number": i, "folder": str(folder)})
        for i in range(6)
    ]
    with worker_pool(cluster=sys.argv[2]) as pool:
        run_parts(parts, folder, pool)
"""


@pytest.mark.slow
def test_a_caller_that_is_killed_goes_on_where_it_was(scheduler, tmp_path):
    """Four of six parts are saved when it is killed: these are not run again."""
    address, _ = scheduler
    program = tmp_path / "caller.py"
    program.write_text(CALLER, encoding="utf-8")
    caller = start(program, tmp_path, address, PYTHONPATH=f"{ROOT}{os.pathsep}{HERE}")
    parts = [part(number, tmp_path, counted if number < 4 else waiting) for number in range(6)]
    wait_for(lambda: sum(each.is_saved(tmp_path) for each in parts) == 4)
    caller.kill()
    caller.communicate(timeout=PATIENCE)
    assert [each.is_saved(tmp_path) for each in parts] == [True] * 4 + [False] * 2
    (tmp_path / "go").touch()
    with worker_pool(cluster=address) as pool:
        run_parts(parts, tmp_path, pool)
    assert all(each.is_saved(tmp_path) for each in parts)
    runs = times_run(tmp_path)
    assert [runs[number] for number in range(4)] == [1] * 4 and set(runs) == set(range(6))


@pytest.mark.slow
def test_a_worker_with_another_version_is_refused_in_one_line(scheduler, tmp_path):
    """The line names its address and both versions; without it the cluster works again."""
    address, folder = scheduler
    other = tmp_path / "ift_gridworld"
    other.mkdir()
    for path in (ROOT / "ift_gridworld").iterdir():
        if path.name not in ("version.py", "__pycache__"):
            (other / path.name).symlink_to(path)
    (other / "version.py").write_text('__version__ = "0.0.1"\n', encoding="utf-8")
    arguments = ["worker", address, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    worker = dask(tmp_path, "worker", *arguments, path=[tmp_path, HERE])
    try:
        wait_for(lambda: workers_of(address) == 3)
        with pytest.raises(ValueError) as told, worker_pool(cluster=address):
            pass
        assert str(told.value).startswith("--cluster: the worker tcp://127.0.0.1:")
        assert str(told.value).endswith(
            f" has ift_gridworld 0.0.1, and this process ift_gridworld {__version__}; allowed: the same"
        )
    finally:
        stop(worker)
    wait_for(lambda: workers_of(address) == 2)
    with worker_pool(cluster=address) as pool:
        assert pool.submit(divmod, 7, 2).result() == (3, 1)


@pytest.mark.slow
def test_where_no_scheduler_answers_is_told_in_one_line(scheduler, tmp_path, capsys, monkeypatch):
    """Nobody, somebody silent, a worker; a scheduler without workers of one task at a time."""
    import socket

    monkeypatch.setattr(cluster, "PATIENCE", 3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for address in (NOWHERE, f"tcp://127.0.0.1:{silent.getsockname()[1]}"):
            with pytest.raises(SystemExit) as end:
                reproduction_command.main(reproduction_command.Args(quick=True, cluster=address, out=tmp_path / "out"))
            printed, told = capsys.readouterr()
            assert end.value.code == 2 and not printed and told.count("\n") == 1
            assert f"--cluster is '{address}', where no Dask scheduler has answered for 3 seconds; allowed: tcp://" in told
    from distributed import Client

    with Client(scheduler[0], timeout=PATIENCE, set_as_default=False) as client:
        worker = next(iter(client.nthreads()))
    with pytest.raises(ValueError, match=f"--cluster is '{worker}', where a Dask Worker answers; allowed: tcp://"):
        worker_pool(cluster=worker).__enter__()


@pytest.mark.slow
def test_a_caller_with_a_running_loop_is_served_too(scheduler):
    """A notebook's cell runs in one."""

    def served():
        with worker_pool(cluster=scheduler[0]) as pool:
            return pool.submit(abs, -3).result(PATIENCE)

    async def cell():
        return served()

    if asyncio._get_running_loop() is None:
        assert asyncio.run(cell()) == 3
    else:  # that of a browser, which other tests of this process have opened
        assert served() == 3


STOPPED = """
import sys
from dataclasses import dataclass
from cluster_parts import waiting
from ift_gridworld import _stop
from ift_gridworld.cli.parser import launch
from ift_gridworld.cluster import worker_pool
@dataclass
class Args:
    cluster: str
    folder: str
def main(args):
    with worker_pool(cluster=args.cluster) as pool:
        pool.submit(abs, -3).result()
        work = [pool.submit(waiting, number, args.folder) for number in range(4)]
        print("ready", flush=True)
        work[0].result()
if __name__ == "__main__":
    _stop.handle_signals()
    launch(main, Args, None)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "number"),
    [("local:2", signal.SIGINT), ("local:2", signal.SIGKILL), ("tcp", signal.SIGINT), ("tcp", signal.SIGTERM)],
)
def test_a_caller_that_is_stopped_leaves_no_process_and_no_task(where, number, scheduler, tmp_path):
    """A keyboard interrupts the whole group. Processes that are left would hold the output open; a scheduler's go on to the end
    of the task that they are in, and then take the next caller's."""
    program = tmp_path / "caller.py"
    program.write_text(STOPPED, encoding="utf-8")
    options = ["--cluster", scheduler[0] if where == "tcp" else where, "--folder", tmp_path]
    process = start(program, *options, PYTHONPATH=f"{ROOT}{os.pathsep}{HERE}", TMPDIR=str(tmp_path))
    assert process.stdout.readline() == "ready\n"
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    printed, told = process.communicate(timeout=PATIENCE)
    line, status = STOPS[number]
    assert process.returncode == status and not printed
    if number != signal.SIGKILL:
        assert told == line and not [path for path in tmp_path.iterdir() if path.name.startswith("ift-gridworld-")]
    (tmp_path / "go").touch()
    if where == "tcp":
        with worker_pool(cluster=scheduler[0]) as pool:
            assert list(pool.map(abs, (-1, -2, -3))) == [1, 2, 3]
        assert sum(times_run(tmp_path).values()) <= 2, "what waited was cancelled"
