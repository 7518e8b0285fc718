"""The walk's closed forms, written in NumPy, against the loss core with automatic differentiation."""

import numpy as np
import pytest

from ift_gridworld.cli.losses import Args, main
from ift_gridworld.cli.parser import parse
from ift_gridworld.studies.loss_walk.catalogue import LOSSES, evaluate
from ift_gridworld.studies.loss_walk.example import make_example


def example(**changes):
    args = Args(**changes)
    return make_example(
        args.map, is_slippery=args.slippery, updates=args.updates, mixing=args.mixing, decay=args.decay, seed=args.seed
    )


def run(*arguments):
    try:
        return main(parse(Args, None, list(map(str, arguments))))
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "changes",
    [{}, {"updates": 7, "mixing": 0.45, "decay": 0.6}, {"map": "4x4", "slippery": True, "updates": 3, "seed": 5}],
    ids=["at the reference", "away from it", "on ice"],
)
def test_closed_forms_are_what_the_loss_core_computes(name, changes):
    """To rounding: values up to a few dozen, sums of a hundred steps."""
    evaluation = evaluate(LOSSES[name], example(**changes))
    assert evaluation.closed_form == pytest.approx(evaluation.value, rel=1e-12, abs=1e-14)
    assert evaluation.difference <= 1e-12 * max(1.0, np.abs(evaluation.gradient).max())
    assert np.abs(evaluation.gradient).max() > 1e-5


def test_what_the_remarks_say():
    """DPO at the reference: log 2, and pushes of beta/2 on the tile where the answers part. IFT's released form un-learns a
    late step that is learnt better than the early ones; with constant weights it does not."""
    dpo = evaluate(LOSSES["dpo"], example())
    assert dpo.value == pytest.approx(np.log(2))
    np.testing.assert_allclose(dpo.gradient[0], [0, 0.05, -0.05, 0], atol=1e-12)  # left, down (rejected), right (chosen), up
    later = example(updates=40)
    last, action = int(later.chosen.states[0, -1]), int(later.chosen.actions[0, -1])
    attached, detached = (evaluate(LOSSES[n], later).gradient for n in ("ift", "ift_detached"))
    assert attached[last, action] > 0 > detached[last, action]


def test_it_prints_every_loss_with_its_map(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    for entry in LOSSES.values():
        assert entry.title in printed
    # Every row of tiles has a line for its upper numbers, which begins with a letter.
    assert printed.count("│S") == len(LOSSES)
    assert "+500" in printed and "in units of 0.0001" in printed  # DPO: beta / 2


def test_a_loss_of_nothing_has_no_sign(capsys):
    """GRPO's at the reference is 0 to rounding, of either sign."""
    assert run("--loss", "grpo") == 0
    assert "L = 0.000000, by hand 0.000000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--loss", "rlhf"), ["--loss is 'rlhf'", *LOSSES]),
        (("--map", "5x20"), ["--map is '5x20'", "8 tiles"]),
        (("--map", "Taxi-v4"), ["--map is 'Taxi-v4'"]),
        (("--map", "nowhere"), ["nowhere"]),
        (("--mixing", 1.5), ["--mixing is 1.5", "[0, 1]"]),
        (("--decay", 0), ["--decay is 0", "(0, 1]"]),
        (("--updates", -1), ["--updates is -1"]),
        (("--loss", "dpo", "--mixing", 0.5), ["--mixing is 0.5, which only works with --loss ift, "]),
        (("--loss", "sft", "--decay", 0.5), ["--decay is 0.5, which only works with --loss ift, "]),
        (("--seed", 3), ["--seed is 3, which only works with --slippery"]),
    ],
)
def test_bad_input_gets_one_line(capsys, arguments, named):
    assert run(*arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ") and complaint.count("\n") == 1
    assert all(word in complaint for word in named)
