"""What is compared is compared at the same update."""

from dataclasses import replace

import numpy as np
import pytest

from ift_gridworld import TabularMDP, train
from ift_gridworld.rendering.stages import chosen_stages, latest_snapshots, shared_updates, stages_of_even_change
from ift_gridworld.training import make_base


@pytest.fixture(scope="module")
def run():
    mdp = TabularMDP.make("two-paths")
    return train("sft", mdp, make_base("mixture", mdp, policy="tabular"), steps=2)


def run_at(run, steps, policies):
    """The run with snapshots at these updates, each a policy that takes action 0 with that probability everywhere."""
    policies = np.asarray(policies, float)
    snapshots = np.ones((len(steps), *run.snapshots.shape[1:]))
    snapshots[..., 0] = policies[:, None]
    snapshots[..., 1:] = ((1 - policies) / 3)[:, None, None]
    metrics = {name: np.zeros((len(steps), 1)) for name in run.metrics}
    return replace(run, steps=np.array(steps), snapshots=snapshots, metrics=metrics, every_policy=None)


def test_each_run_is_shown_at_its_latest_snapshot(run):
    one, other = run_at(run, [0, 4, 8], [0.1, 0.2, 0.3]), run_at(run, [0, 3, 6, 12], [0.1, 0.2, 0.3, 0.4])
    updates = shared_updates([one, other])
    assert updates.tolist() == [0, 3, 4, 6, 8, 12]
    assert latest_snapshots([one, other], updates).T.tolist() == [[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 3]]


def test_stages_are_updates_of_all_runs(run):
    """3 and 6 have no snapshot of the first run; after its end at 8 every update of the second counts."""
    one, other = run_at(run, [0, 4, 8], [0.1, 0.1, 0.1]), run_at(run, [0, 3, 4, 8, 12], [0.1, 0.9, 0.2, 0.6, 0.9])
    assert stages_of_even_change([one, other], 9).tolist() == [0, 4, 8, 12]
    # Moved since the base, on a scale of the second run's p: 0, 0.1, 0.5, 0.8. Half of it is nearest to 0.5, at update 8.
    assert stages_of_even_change([one, other], 3).tolist() == [0, 8, 12]
    assert stages_of_even_change([one, other], 1).tolist() == [12]


def test_an_update_without_a_snapshot_is_refused(run):
    one, other = run_at(run, [0, 4, 8], [0.1, 0.2, 0.3]), run_at(run, [0, 3, 4, 8, 12], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert chosen_stages([one, other], [12, 0, 4]).tolist() == [0, 4, 12]
    with pytest.raises(ValueError, match="stages has update 3, of .* snapshot; allowed near it: 0, 4, 8, 12"):
        chosen_stages([one, other], [0, 3])
    with pytest.raises(ValueError, match="stages is empty"):
        chosen_stages([one], [])
