"""What the processes of a cluster run in tests/test_cluster.py: functions of a module that they import as well."""

import os
import signal
import time
from pathlib import Path

import numpy as np

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
