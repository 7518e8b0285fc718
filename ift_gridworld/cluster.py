"""Worker processes behind one interface, `concurrent.futures`: those of this machine, or those of a Dask cluster."""

from __future__ import annotations

import logging
import pickle
import signal
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ift_gridworld.children import processes
from ift_gridworld.runtime import LOG, cores
from ift_gridworld.storage import versions
from ift_gridworld.version import __version__

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_cluster", "worker_pool"]

T = TypeVar("T")
ALLOWED = "allowed: tcp://HOST:PORT of a running scheduler, or local:N with N processes"
PATIENCE = 10  # seconds until a scheduler must have answered
TALKATIVE = ("distributed", "distributed.client", "tornado", "tornado.application")  # loggers that Dask has print


def check_cluster(address: str | None, workers: int | None = None) -> None:
    """Raise a ValueError for an address that cannot be one, beside a number of processes, or where Dask is not installed.

    Args:
        address: of `worker_pool`.
        workers: number of processes of this machine that is asked for; 0 or None if none is.
    """
    if address is None:
        return
    if _number_of_processes(address) is None:
        parts = urlsplit(address)
        try:
            whole = parts.scheme == "tcp" and parts.hostname and parts.port and parts.netloc == address.removeprefix("tcp://")
        except ValueError:  # a port that is no number
            whole = False
        if not whole:
            raise ValueError(f"--cluster is {address!r}; {ALLOWED}")
    if workers:
        raise ValueError(f"--workers is {workers}, and --cluster is {address!r}, which has its own; allowed: one of them")
    if find_spec("distributed") is None:
        raise ValueError(
            f"--cluster is {address!r}, and distributed is not installed; allowed with it: pip install 'ift-gridworld[cluster]'"
        )


def _number_of_processes(address: str) -> int | None:
    """Return N of ``local:N``, None for any other address."""
    kind, _, number = address.partition(":")
    return int(number) if kind == "local" and number.isascii() and number.isdigit() and int(number) else None


@contextmanager
def worker_pool(workers: int = 0, cluster: str | None = None) -> Iterator[Executor]:
    """Yield a pool of worker processes, which run what is submitted and return its result to the caller.

    The functions submitted are those of a module. When the block is left by an exception, an interrupt included, what waits is
    cancelled, and processes that were started here end. A task whose worker process is lost is run again by another one.

    Args:
        workers: number of processes on this machine; 0 for one a core.
        cluster: address of a Dask scheduler, ``tcp://HOST:PORT``, or ``local:N`` for a scheduler with N processes that is
            started here; None for processes without Dask, of which none may be lost.

    Raises:
        ValueError: if no scheduler answers or it is lost, if a worker has other versions than this process of what numbers
            depend on, if one runs several tasks at a time, or if the workers that run a task are lost again and again.
    """
    if cluster is None:
        with processes(workers or cores()) as local:
            yield local
        return
    with ExitStack() as stack:
        client = stack.enter_context(_connected(cluster))
        pool = client.get_executor(pure=False)
        try:
            yield _CheckedExecutor(pool)
        except BaseException as error:
            pool.shutdown(wait=False)
            told = _in_one_line(error, cluster)
            if told is None:
                raise
            raise told from error


def _in_one_line(error: BaseException, cluster: str) -> ValueError | None:
    """Return what is told of an error that comes from the cluster and not from a task; None for others."""
    from distributed import KilledWorker

    if isinstance(error, CancelledError):
        return ValueError(f"--cluster is {cluster!r}: its scheduler is lost; what is saved stays, and the same command goes on")
    if isinstance(error, KilledWorker):
        lost = error.allowed_failures + 1
        return ValueError(f"--cluster is {cluster!r}: {lost} workers were lost with the same task (is their memory enough?)")
    return None


@contextmanager
def _connected(cluster: str) -> Iterator[Client]:
    """Yield a client of a scheduler that has a worker, and whose workers fit this process."""
    from distributed import Client

    number = _number_of_processes(cluster)
    with _silent(), ExitStack() as stack:
        address = cluster if number is None else stack.enter_context(_local_cluster(number)).scheduler_address
        _in_a_thread(_check_scheduler(address))
        client = stack.enter_context(Client(address, timeout=PATIENCE, set_as_default=False, name="ift_gridworld"))
        if not client.nthreads():
            LOG.warning("--cluster is %r, which has no worker yet; waiting for one", cluster)
        client.wait_for_workers(1)
        for worker, told in client.get_versions(check=False)["workers"].items():
            _check_dask(f"the worker {worker}", told)
        client.run(_on_worker(), _versions())
        yield client


def _in_a_thread(task: Coroutine[Any, Any, None]) -> None:
    """Run a task to its end in a loop of its own, also where the caller's thread has one already, as in a notebook."""
    import asyncio

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, task).result()


async def _check_scheduler(address: str) -> None:
    """Raise a ValueError unless a scheduler of this Dask answers at an address, before its client tries for longer."""
    import asyncio

    from distributed import rpc

    async def ask() -> tuple[str, dict[str, Any]]:
        async with rpc(address) as other:
            kind = (await other.identity())["type"]
            return kind, await other.versions() if kind == "Scheduler" else {}

    try:
        kind, told = await asyncio.wait_for(ask(), PATIENCE)
    except (OSError, TimeoutError):
        raise ValueError(
            f"--cluster is {address!r}, where no Dask scheduler has answered for {PATIENCE} seconds; {ALLOWED}"
        ) from None
    if kind != "Scheduler":
        raise ValueError(f"--cluster is {address!r}, where a Dask {kind} answers; {ALLOWED}")
    _check_dask(f"the scheduler {address}", told)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Dask's own log of lost workers and connections off the terminal: what matters of it is told in one line."""
    from distributed.versions import VersionMismatchWarning

    loggers = [logging.getLogger(name) for name in TALKATIVE]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # what matters of it is an error
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _local_cluster(number: int) -> Iterator[Any]:
    """Yield a scheduler with worker processes on this machine, reached from this machine alone, without a web page."""
    import dask
    from distributed import LocalCluster

    own = {"distributed.nanny.pre-spawn-environ.PYTHONSAFEPATH": "1"}  # as of `processes`
    with (
        TemporaryDirectory(prefix="ift-gridworld-", ignore_cleanup_errors=True) as scratch,
        dask.config.set(own),
        ExitStack() as stack,
    ):
        with _without_keyboard():
            cluster = LocalCluster(
                n_workers=number, threads_per_worker=1, processes=True, memory_limit=0, local_directory=scratch,
                host="127.0.0.1", dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
            )  # fmt: skip
            stack.enter_context(cluster)
        yield cluster


@contextmanager
def _without_keyboard() -> Iterator[None]:
    """Start threads, and processes of theirs, that hear no interrupt at the keyboard: this thread alone does, and decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # there is none on Windows

    resource_tracker.ensure_running()  # the thread that starts it would hear signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a new thread or process inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- what workers have ----


def _versions() -> dict[str, str]:
    """Return the versions that numbers depend on; saved parts name the same."""
    return versions() | {"ift_gridworld": __version__}


def _check_dask(who: str, told: Mapping[str, Any]) -> None:
    """Raise a ValueError for another Python or Dask than this process has: neither could read what the other sends.

    Args:
        who: tells it.
        told: its answer to the question for its versions.
    """
    from distributed.versions import get_versions

    own, theirs = get_versions()["packages"], told["packages"]
    for name in ("python", "distributed"):
        if theirs.get(name) != own[name]:
            raise ValueError(f"--cluster: {who} has {name} {theirs.get(name)}, and this process {own[name]}; allowed: the same")


def _on_worker() -> Callable[..., Any]:
    """Return the function that a worker runs: it checks the worker, then makes a call.

    Dask sends a function of a function by its code. So neither the scheduler nor a worker needs this module to read it, and a
    worker that joins late, without the package or with another version of it, can still tell.
    """

    def on_worker(wanted: Mapping[str, str], call: bytes | None = None, dask_worker: Any = None) -> Any:
        import pickle

        from distributed import get_worker

        worker = dask_worker or get_worker()  # the first in `Client.run`, where no task is run
        try:
            from ift_gridworld.storage import versions
            from ift_gridworld.version import __version__
        except ImportError:
            own = {}
        else:
            own = versions() | {"ift_gridworld": __version__}
        for name, version in wanted.items():
            if own.get(name) != version:
                has = f"{name} {own[name]}" if name in own else f"no {name}"
                raise ValueError(
                    f"--cluster: the worker {worker.address} has {has}, and this process {name} {version}; allowed: the same"
                )
        if worker.state.nthreads > 1:
            raise ValueError(
                f"--cluster: the worker {worker.address} runs {worker.state.nthreads} tasks at a time in one process; "
                "allowed: one, and more processes (dask worker --nthreads 1 --nworkers N)"
            )
        if call is None:
            return None
        function, arguments = pickle.loads(call)
        return function(*arguments)

    return on_worker


class _CheckedExecutor(Executor):
    """Dask's pool, in which each worker checks itself before each task: workers come and go."""

    def __init__(self, pool: Executor) -> None:
        self._pool, self._run, self._wanted = pool, _on_worker(), _versions()

    def submit(self, function: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        if options:
            raise TypeError(f"options {sorted(options)} are given; allowed: arguments without a name")
        return self._pool.submit(self._run, self._wanted, pickle.dumps((function, arguments)))
