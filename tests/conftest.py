"""Slow tests run in CI, or when asked for with --slow; a run of a whole folder is shared among the cores."""

import gc
import os
import sys
from pathlib import Path

import pytest
import torch

from ift_gridworld.runtime import cores

torch.set_num_threads(1)  # tensors are tiny: a second thread only waits, for minutes where other programs run

HERE = Path(__file__).parent
# a test file may borrow a helper from one of another room
sys.path[:0] = [str(HERE), *(str(room) for room in sorted(HERE.iterdir()) if room.is_dir() and room.name[0] not in "._")]


WORKER_BYTES = 2 * 2**30  # a worker that has run everything holds 1.6 GB, and its children come on top


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Give a run of a folder one worker per core, as `-n` does; files, single tests and -k start sooner without workers."""
    option = config.option
    folders = any(Path(argument.partition("::")[0]).is_dir() for argument in config.args)
    alone = option.keyword or option.collectonly or option.usepdb or option.capture == "no"
    given = getattr(option, "numprocesses", 0) is not None or option.dist != "no" or option.tx  # or pytest-xdist is missing
    if folders and not (alone or given or hasattr(config, "workerinput")) and (workers := number_of_workers()) > 1:
        option.numprocesses, option.dist = workers, "worksteal"  # tests of a file mostly stay together and share its fixtures


def number_of_workers():
    """Number of workers that the cores and the memory of this machine allow."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else WORKER_BYTES
    return min(cores(), memory // WORKER_BYTES)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow") or os.environ.get("CI"):
        return
    skip = pytest.mark.skip(reason="slow; runs in CI or with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish():
    """Keep modules and tests, which all stay, out of every later garbage collection, if there is any."""
    if gc.isenabled():
        gc.collect()
        gc.freeze()
