"""Names of options: defined once, offered where they were, and loaded without torch."""

import subprocess
import sys
from typing import get_args

import pytest

from ift_gridworld import choices, losses
from ift_gridworld.data import demonstrator
from ift_gridworld.policies import residual

PAIRS = {
    "Propagation": "PROPAGATIONS",
    "Norm": "NORMS",
    "KLKind": "KL_KINDS",
    "Prediction": "PREDICTIONS",
    "Outcome": "OUTCOMES",
    "Reward": "REWARDS",
    "Quality": "QUALITIES",
    "Base": "BASES",
    "ReferencePoint": "REFERENCE_POINTS",
    "Teacher": "TEACHERS",
    "PreferenceKind": "PREFERENCE_KINDS",
    "Objective": "OBJECTIVES",
    "RatioLevel": "RATIO_LEVELS",
    "Average": "AVERAGES",
}


@pytest.mark.parametrize(("kind", "names"), PAIRS.items())
def test_each_type_has_the_tuple_of_its_names(kind, names):
    assert getattr(choices, names) == get_args(getattr(choices, kind))
    assert len(set(getattr(choices, names))) == len(getattr(choices, names)) >= 2


def test_every_choice_is_listed():
    assert set(choices.__all__) == {*PAIRS, *PAIRS.values()}


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (losses, ("Propagation", "PROPAGATIONS", "Norm", "NORMS", "KLKind", "KL_KINDS")),
        (residual, ("Prediction", "PREDICTIONS", "Outcome", "OUTCOMES")),
        (demonstrator, ("Quality", "QUALITIES")),
    ],
)
def test_modules_offer_the_choices_of_their_options(module, names):
    for name in names:
        assert getattr(module, name) is getattr(choices, name)
        assert name in module.__all__


def test_choices_planning_and_measuring_load_without_torch():
    code = """
import sys
import ift_gridworld.choices, ift_gridworld.planning
from ift_gridworld.evaluation import measure, paired_effect
assert "torch" not in sys.modules, "torch was loaded"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
