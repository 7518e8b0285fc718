"""How much of a path survives under a policy, and success from each state, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import path_survival, success_from, success_probability

ROWS = ["SF", "FG"]  # states 0 1 / 2 3; actions left, down, right, up
POLICY = np.array([[0.1, 0.6, 0.2, 0.1], [0.25] * 4, [0.05, 0.05, 0.8, 0.1], [0.25] * 4])
PATH = np.array([[0, 1], [2, 2]])  # down, then right into the goal


def test_each_step_of_a_path_multiplies_what_is_left():
    survival = path_survival(TabularMDP.from_map(ROWS), POLICY, PATH)
    np.testing.assert_allclose(survival, [1, 0.6, 0.6 * 0.8])


def test_on_slippery_ice_every_action_that_may_lead_on_counts():
    """From the start left, down and right slip down with 1/3 each; from the corner below, all but left may slip right."""
    survival = path_survival(TabularMDP.from_map(ROWS, is_slippery=True), POLICY, PATH)
    first = (0.1 + 0.6 + 0.2) / 3
    np.testing.assert_allclose(survival, [1, first, first * (0.05 + 0.8 + 0.1) / 3])


def test_a_path_that_does_not_arrive_ends_in_its_last_state():
    lake = TabularMDP.from_map(ROWS)
    np.testing.assert_allclose(path_survival(lake, POLICY, np.array([[0, 1], [2, 3]])), [1, 0.6])
    np.testing.assert_allclose(path_survival(lake, POLICY, np.array([[0, 2]])), [1])


def test_leading_dimensions_are_kept_and_a_path_needs_steps():
    lake = TabularMDP.from_map(ROWS)
    both = path_survival(lake, np.stack([POLICY, np.full((4, 4), 0.25)]), PATH)
    np.testing.assert_allclose(both, [[1, 0.6, 0.48], [1, 0.25, 0.0625]])
    with pytest.raises(ValueError, match=r"path has shape \(0, 2\); allowed"):
        path_survival(lake, POLICY, np.zeros((0, 2), int))


@pytest.mark.parametrize("horizon", [0, 1, 7, None])
@pytest.mark.parametrize("rows", [ROWS, ["SFFFFFFF", "FFHFFFFF"] * 3 + ["FFFFFFFG"]], ids=["dense", "sparse"])
def test_success_from_a_state_is_success_of_episodes_that_start_there(rows, horizon):
    lake = TabularMDP.from_map(rows, is_slippery=True)
    policies = np.random.default_rng(0).dirichlet(np.ones(4), (2, lake.num_states))
    success = success_from(lake, policies, horizon)
    for state in (0, lake.num_states - 2):
        there = replace(lake, start=np.eye(lake.num_states)[state])
        np.testing.assert_allclose(success[:, state], success_probability(there, policies, horizon), atol=1e-12)
    assert not success[:, lake.terminal].any()
