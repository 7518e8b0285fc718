"""Helpers of the tests of clusters: functions that worker processes import, parts of a study, a pool without processes."""

import os
import signal
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np

from ift_gridworld.studies.parts import StudyPart

PATIENCE = 120  # seconds until a process hangs


def counted(number, folder):
    """Rows that hold a number whose last digit matters; each run is written down."""
    with open(Path(folder) / "runs.txt", "a", encoding="utf-8") as file:
        file.write(f"{number}\n")
    return {"number": np.array([str(number)], object), "success": np.array([number / 7])}


def killed_once(number, folder):
    """The same, but the first process that runs it is killed in the middle."""
    rows, mark = counted(number, folder), Path(folder) / "killed"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rows


def waiting(number, folder):
    """The same, once there is a file named go."""
    end = time.monotonic() + PATIENCE
    while not (Path(folder) / "go").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return counted(number, folder)


def times_run(folder):
    """How often each number was run."""
    lines = (Path(folder) / "runs.txt").read_text(encoding="utf-8").split()
    return {int(number): lines.count(number) for number in lines}


def part(number, folder, run=counted, weight=1.0):
    return StudyPart("counted", f"part {number}", weight, run, {"number": number, "folder": str(folder)})


class Inline(Executor):
    """Runs what is submitted at once, in this process."""

    def submit(self, function, /, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except ValueError as error:
            future.set_exception(error)
        return future
