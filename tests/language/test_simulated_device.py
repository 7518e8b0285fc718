"""On a device that is not the CPU: no tensor is on the wrong one, and the host waits for it as seldom as it can.

The device is pretended (`tests/simulated_device.py`). Registering it changes torch for a whole process, so that each
test starts a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ift_gridworld.methods.registry import METHODS

ROOT = Path(__file__).resolve().parents[2]
# Waits of methods that sample in every update, whatever the number of rows: they read prompts and answers back.
READ_BACK = {"dpo_online": 4, "spin": 4, "kto": 6, "dpo_judged": 2, "reinforce": 2, "rloo": 2}


def check(names):
    command = [sys.executable, "-m", "tests.device_methods", ",".join(names)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout)
    # The device is a strict one: it refuses what mixes devices, and counts six reads, of which each is another operation.
    assert found["refusals"] == {"errors": ["RuntimeError", "RuntimeError", "TypeError", "RuntimeError"], "waits": [0, 6]}
    waits = {name: sum(lines.values()) for name, lines in found["language"].items()}
    assert waits == {name: READ_BACK.get(name, 0) for name in names if not METHODS[name].asks_teacher}, found["language"]
    assert found["lakes"] == dict.fromkeys(names, True), "a lake's policy is that of the CPU"
    sampling = found["sampling"]
    assert sampling["same"], "the same answers and the same draws left as on the CPU"
    assert 16 < sampling["tokens"] < 32 and sum(sampling["waits"].values()) == 2, "one wait for 16 tokens"


def test_the_host_waits_for_no_update():
    check(["sft", "ift", "dpo"])


@pytest.mark.slow
def test_the_host_waits_for_no_update_of_any_method():
    check(list(METHODS))
