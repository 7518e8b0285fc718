"""Slow tests run in CI, or when asked for with --slow."""

import os

import pytest
import torch

torch.set_num_threads(1)  # tensors are tiny: a second thread only waits, for minutes where other programs run


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow") or os.environ.get("CI"):
        return
    skip = pytest.mark.skip(reason="slow; runs in CI or with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
