"""The predictions that pictures show are those that the residual connection mixes in."""

from itertools import product

import numpy as np
import pytest
import torch
from test_rendering import lake_record

from ift_gridworld.policies.residual import OUTCOMES, PREDICTIONS, lake_successor
from ift_gridworld.rendering.predictions import PredictedStates


@pytest.mark.parametrize(("prediction", "outcome", "slippery"), list(product(PREDICTIONS, OUTCOMES, (False, True))))
def test_they_are_the_residual_connections(prediction, outcome, slippery):
    """Weights of all states, added up where one state can be reached by several moves, for several policies at once."""
    run = lake_record(slippery=slippery)
    run.settings.update(prediction=prediction, outcome=outcome)
    predicted, policies = PredictedStates.of(run), run.snapshots[:3]
    weights = predicted.weights(policies)
    successor = lake_successor(run.mdp, lambda s: torch.eye(16)[s], prediction=prediction, outcome=outcome)
    states = torch.tensor(run.demonstration[:-1, 0])
    for policy, row in zip(policies, weights, strict=True):
        dense = np.zeros((len(states), 16))
        np.add.at(dense, (np.arange(len(states))[:, None], predicted.states), row)
        expected = successor(states, torch.tensor(policy[states], dtype=torch.float32).log())
        np.testing.assert_allclose(dense, expected, atol=1e-6)
