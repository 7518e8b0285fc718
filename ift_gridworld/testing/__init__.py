"""Check someone else's loss against ours, in three lines:

    from ift_gridworld.testing import check_loss

    report = check_loss(my_dpo_loss, "dpo")
    assert report.passed, report

`my_dpo_loss` takes the same tensors in the same order as `ift_gridworld.losses.dpo_loss`, and its options by the same names;
a lambda adapts any other. It runs on every case that this loss core itself is tested on: the numbers of the original
implementations (`originals.py`, `loss_values.json`), those of TRL's trainers (`trl_values.py`, `trl_loss_values.json`), and
constructed ones where trainers have been seen to go wrong (`cases.py`): padding, rows that count nothing, certainty, impossible
actions, a single step. Values are compared, and gradients. `LOSSES` has the names.
"""

from ift_gridworld.testing.cases import loss_cases
from ift_gridworld.testing.check import CaseResult, Reduction, Report, check_loss
from ift_gridworld.testing.loss_case import LOSSES, LossCase, Options
from ift_gridworld.testing.originals import original_values
from ift_gridworld.testing.trl_values import trl_values

__all__ = [
    "LOSSES",
    "CaseResult",
    "LossCase",
    "Options",
    "Reduction",
    "Report",
    "check_loss",
    "loss_cases",
    "original_values",
    "trl_values",
]
