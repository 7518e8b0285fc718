"""The walk's closed forms, written in NumPy, against the loss core with automatic differentiation."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from ift_gridworld.cli.parser import parse

SCRIPT = Path(__file__).parents[1] / "experiments" / "loss_walk.py"
spec = importlib.util.spec_from_file_location("loss_walk", SCRIPT)
loss_walk = importlib.util.module_from_spec(spec)
sys.modules["loss_walk"] = loss_walk
spec.loader.exec_module(loss_walk)


def run(*arguments):
    try:
        return loss_walk.main(parse(loss_walk.Args, None, list(map(str, arguments))))
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("name", loss_walk.LESSONS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"updates": 7, "mixing": 0.45, "decay": 0.6}, {"map": "4x4", "slippery": True, "updates": 3, "seed": 5}],
    ids=["at the reference", "away from it", "on ice"],
)
def test_closed_forms_are_what_the_loss_core_computes(name, changes):
    """To rounding: values up to a few dozen, sums of a hundred steps."""
    lesson, scene = loss_walk.LESSONS[name], loss_walk.make_scene(loss_walk.Args(**changes))
    outcome = loss_walk.work_out(lesson, scene)
    assert outcome.by_hand == pytest.approx(outcome.value, rel=1e-12, abs=1e-14)
    assert outcome.difference <= 1e-12 * max(1.0, np.abs(outcome.gradient).max())
    assert np.abs(outcome.gradient).max() > 1e-5


def test_what_the_remarks_say():
    """DPO at the reference: log 2, and pushes of beta/2 on the tile where the answers part. IFT's released form un-learns a
    late step that is learnt better than the early ones; with constant weights it does not."""
    dpo = loss_walk.work_out(loss_walk.LESSONS["dpo"], loss_walk.make_scene(loss_walk.Args()))
    assert dpo.value == pytest.approx(np.log(2))
    np.testing.assert_allclose(dpo.gradient[0], [0, 0.05, -0.05, 0], atol=1e-12)  # left, down (rejected), right (chosen), up
    scene = loss_walk.make_scene(loss_walk.Args(updates=40))
    last, action = int(scene.chosen.states[0, -1]), int(scene.chosen.actions[0, -1])
    attached, detached = (loss_walk.work_out(loss_walk.LESSONS[n], scene).gradient for n in ("ift", "ift_detached"))
    assert attached[last, action] > 0 > detached[last, action]


def test_it_prints_every_lesson_with_its_map(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    for lesson in loss_walk.LESSONS.values():
        assert lesson.title in printed
    # Every row of tiles has a line for its upper numbers, which begins with a letter.
    assert printed.count("│S") == len(loss_walk.LESSONS)
    assert "+500" in printed and "in units of 0.0001" in printed  # DPO: beta / 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--loss", "rlhf"), ["--loss is 'rlhf'", *loss_walk.LESSONS]),
        (("--map", "5x20"), ["--map is '5x20'", "8 tiles"]),
        (("--map", "Taxi-v4"), ["--map is 'Taxi-v4'"]),
        (("--map", "nowhere"), ["nowhere"]),
        (("--mixing", 1.5), ["--mixing is 1.5", "[0, 1]"]),
        (("--decay", 0), ["--decay is 0", "(0, 1]"]),
        (("--updates", -1), ["--updates is -1"]),
    ],
)
def test_bad_input_gets_one_line(capsys, arguments, named):
    assert run(*arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ") and complaint.count("\n") == 1
    assert all(word in complaint for word in named)
