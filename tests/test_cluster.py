"""Worker processes of a Dask cluster: what cannot work is told in one line, parts are saved by the caller."""

import pickle
import sys
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
from cluster_parts import PATIENCE, Inline, part, times_run
from test_children import start

from ift_gridworld import cluster
from ift_gridworld.cli import frontier as frontier_command
from ift_gridworld.cli import language as language_command
from ift_gridworld.cli import reproduction as reproduction_command
from ift_gridworld.cluster import check_cluster, worker_pool
from ift_gridworld.studies import parts as study_parts
from ift_gridworld.studies.parts import StudyPart, run_parts
from ift_gridworld.studies.settings import Setting
from ift_gridworld.version import __version__

# ---- at the door ----


@pytest.mark.parametrize(
    "address",
    ["", "local", "local:", "local:0", "local:-1", "local:two", "tcp://", "tcp://host", "tcp://:8786", "tcp://host:0",
     "tcp://host:99999", "tcp://host:x", "tcp://host:8786/", "http://host:8786", "host:8786", "tcp:/host:8786", "LOCAL:2"],
)  # fmt: skip
def test_an_address_that_can_be_none_is_refused(address):
    with pytest.raises(ValueError) as told:
        check_cluster(address)
    assert str(told.value) == (
        f"--cluster is {address!r}; allowed: tcp://HOST:PORT of a running scheduler, or local:N with N processes"
    )


@pytest.mark.parametrize("address", [None, "local:1", "local:16", "tcp://host:8786", "tcp://10.0.0.1:1", "tcp://[::1]:8786"])
def test_an_address_that_can_be_one_passes(address, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: object())
    check_cluster(address)
    check_cluster(address, 0)


COMMANDS = [
    (reproduction_command.main, reproduction_command.Args),
    (frontier_command.main, frontier_command.Args),
    (language_command.main, language_command.Args),
]


@pytest.mark.parametrize(("main", "args"), COMMANDS)
def test_each_study_refuses_at_the_door(main, args, tmp_path, capsys, monkeypatch):
    """A bad address, an address beside --workers, Dask not installed; nothing is written."""
    mistakes = [
        ({"cluster": "here"}, "--cluster is 'here'; allowed: tcp://HOST:PORT"),
        ({"cluster": "local:2", "workers": 3}, "--workers is 3, and --cluster is 'local:2', which has its own; allowed: one"),
        ({"cluster": "local:2"}, "distributed is not installed; allowed with it: pip install 'ift-gridworld[cluster]'"),
    ]
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    out = tmp_path / "out"
    for options, words in mistakes:
        with pytest.raises(SystemExit) as end:
            main(args(out=type(args().out or out)(out), **options))
        printed, told = capsys.readouterr()
        assert end.value.code == 2 and not printed and told.count("\n") == 1 and words in told
    assert not out.exists()


def test_dask_is_loaded_only_where_it_is_asked_for():
    """Importing it takes a second, which no other command pays."""
    program = (
        "import sys\nfrom ift_gridworld.cluster import check_cluster, worker_pool\n"
        "import ift_gridworld.cli.reproduction, ift_gridworld.cli.frontier, ift_gridworld.cli.language\n"
        "check_cluster(None, 2)\nprint({'dask', 'distributed'} & set(sys.modules))"
    )
    assert start("-c", program).communicate(timeout=PATIENCE) == ("set()\n", "")


# ---- parts ----


def test_progress_counts_parts_and_the_caller_saves_each(tmp_path, monkeypatch):
    """The heaviest first; what is saved counts, and is not run again."""
    counts, saved = [], []

    @contextmanager
    def progress(description):
        yield lambda done, total: counts.append((done, total))

    monkeypatch.setattr(study_parts, "progress", progress)
    save = study_parts.save_part
    monkeypatch.setattr(study_parts, "save_part", lambda part, *rest: saved.append(part.name) or save(part, *rest))
    parts = [part(number, tmp_path, weight=number) for number in range(4)]
    run_parts(parts[1:2], tmp_path, Inline())
    assert counts == [(0, 1), (1, 1)] and saved == ["part 1"]
    run_parts(parts, tmp_path, Inline())
    assert counts[2:] == [(1, 4), (2, 4), (3, 4), (4, 4)] and set(saved[1:]) == {"part 0", "part 2", "part 3"}
    assert list(times_run(tmp_path)) == [1, 3, 2, 0] and set(times_run(tmp_path).values()) == {1}


def test_parts_that_are_done_are_saved_when_another_fails(tmp_path):
    """With the processes of this machine, of which the second comes to the wrong part when the first one's rows are here."""
    wrong = StudyPart("counted", "wrong", 0.0, int, {"x": "y"})
    with pytest.raises(TypeError), worker_pool(1) as pool:
        run_parts([part(1, tmp_path), wrong], tmp_path, pool)
    assert part(1, tmp_path).is_saved(tmp_path)


def test_a_setting_takes_the_lakes_of_its_file_along(tmp_path):
    """A worker on another machine has no file of maps."""
    maps = tmp_path / "lakes.txt"
    maps.write_text("SFF\nFHG\n", encoding="utf-8")
    setting = Setting(f"{maps}:0", "firm", "good-0.5", "tabular", "adam", 1)
    sent = pickle.dumps(setting)
    maps.unlink()
    arrived = pickle.loads(sent)
    ((name, lake),) = arrived.lakes
    assert arrived == setting and name == f"{maps}:0" and lake.num_states == 6
    with pytest.raises(ValueError, match=r"lakes\.txt: cannot be read"):
        _ = Setting(f"{maps}:0", "firm", "good-0.5", "tabular", "adam", 1).lakes


# ---- what a worker checks of itself, each time ----


@pytest.mark.parametrize(
    ("changes", "threads", "words"),
    [
        ({}, 1, None),
        ({"ift_gridworld": "0.0.1"}, 1, f"has ift_gridworld {__version__}, and this process ift_gridworld 0.0.1; allowed: the"),
        ({"torch": "1.0"}, 1, f"has torch {cluster.versions()['torch']}, and this process torch 1.0; allowed: the same"),
        ({"python": "2.7"}, 1, f"has python {sys.version.split()[0]}, and this process python 2.7; allowed: the same"),
        ({"pandas": "9"}, 1, "has no pandas, and this process pandas 9; allowed: the same"),
        ({}, 8, "runs 8 tasks at a time in one process; allowed: one, and more processes (dask worker --nthreads 1"),
    ],
)
def test_a_worker_that_does_not_fit_refuses_in_one_line(changes, threads, words):
    pytest.importorskip("distributed")
    worker = SimpleNamespace(address="tcp://10.0.0.7:4000", state=SimpleNamespace(nthreads=threads))
    run, call = cluster._on_worker(), pickle.dumps((divmod, (7, 2)))
    if words is None:
        assert run(cluster._versions() | changes, call, worker) == (3, 1) and run(cluster._versions(), None, worker) is None
        return
    with pytest.raises(ValueError) as told:
        run(cluster._versions() | changes, call, worker)
    assert str(told.value).startswith(f"--cluster: the worker tcp://10.0.0.7:4000 {words}") and "\n" not in str(told.value)


def test_another_dask_or_python_is_refused_in_one_line():
    """Before anything is sent that the other could not read."""
    versions = pytest.importorskip("distributed.versions").get_versions()
    cluster._check_dask("the scheduler", versions)
    for name in ("python", "distributed"):
        own = versions["packages"][name]
        for theirs in ("1.0", None):
            told = {"packages": versions["packages"] | {name: theirs}}
            with pytest.raises(ValueError) as error:
                cluster._check_dask("the worker tcp://host:1", told)
            assert str(error.value) == (
                f"--cluster: the worker tcp://host:1 has {name} {theirs}, and this process {own}; allowed: the same"
            )


def test_what_the_cluster_loses_is_told_in_one_line(monkeypatch):
    """A lost scheduler cancels what waits; a task that has lost too many workers is given up. Errors of a task are its own."""
    distributed = pytest.importorskip("distributed")
    lost = distributed.KilledWorker("task", None, 3)
    monkeypatch.setattr(
        cluster, "_connected", lambda address: nullcontext(SimpleNamespace(get_executor=lambda pure: ThreadPoolExecutor(1)))
    )
    for error, words in (
        (CancelledError(), "its scheduler is lost; what is saved stays, and the same command goes on"),
        (lost, "4 workers were lost with the same task"),
        (ValueError("of a task"), "^of a task$"),
    ):
        with pytest.raises(ValueError, match=words), worker_pool(cluster="tcp://host:1"):
            raise error
    with pytest.raises(KeyboardInterrupt), worker_pool(cluster="tcp://host:1"):
        raise KeyboardInterrupt
