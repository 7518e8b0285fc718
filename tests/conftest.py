"""Slow tests run in CI, or when asked for with --slow."""

import os
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tensors are tiny: a second thread only waits, for minutes where other programs run

HERE = Path(__file__).parent
# a test file may borrow a helper from one of another room
sys.path[:0] = [str(HERE), *(str(room) for room in sorted(HERE.iterdir()) if room.is_dir() and room.name[0] not in "._")]


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow") or os.environ.get("CI"):
        return
    skip = pytest.mark.skip(reason="slow; runs in CI or with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
