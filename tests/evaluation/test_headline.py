"""Where success tells policies apart and where it says nothing, by the MDP."""

from dataclasses import replace

import numpy as np
import pytest

from ift_gridworld.evaluation.headline import can_miss_goal, headline_metric
from ift_gridworld.mdp import TabularMDP

CLIFF = TabularMDP.make("CliffWalking-v1")
CORRIDOR = TabularMDP.from_map(["SFG"])  # with a hole nowhere


@pytest.mark.parametrize(
    ("mdp", "expected"),
    [
        (TabularMDP.make("4x4"), "success"),
        (TabularMDP.make("4x4", is_slippery=True), "success"),
        (TabularMDP.make("two-paths"), "success"),
        (TabularMDP.make("Taxi-v4"), "success"),  # nothing but its time limit ends a ride elsewhere, and most walks meet it
        (CLIFF, "regret"),
        (CLIFF.with_time_limit(100), "success"),
        (CLIFF.with_time_limit(100_000), "regret"),  # even the uniform policy is there by then
        (TabularMDP.make("4x4").with_time_limit(None), "success"),  # holes end episodes without the goal
        (CORRIDOR.with_time_limit(None), "regret"),
        (CORRIDOR.with_time_limit(3), "success"),
        (CORRIDOR.with_time_limit(1000), "regret"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.where.name}-{value.horizon}",
)
def test_success_is_the_headline_where_it_differs(mdp, expected):
    assert headline_metric(mdp) == expected


def test_an_episode_can_miss_the_goal_by_an_end_or_by_a_time_limit():
    assert [can_miss_goal(m) for m in (CLIFF, CLIFF.with_time_limit(9), CORRIDOR.with_time_limit(None))] == [False, True, False]
    lake = TabularMDP.from_map(["SF", "HG"]).with_time_limit(None)
    assert can_miss_goal(lake)
    alike = replace(lake, reward=np.where(lake.terminated & ~lake.terminal[:, None, None], 1.0, 0.0))  # a hole pays as much
    assert not can_miss_goal(alike)


def test_a_base_that_differs_decides_without_the_uniform_policy(monkeypatch):
    """With a long time limit success differs where a base is stuck; where no episode can miss the goal it never does."""
    long = CORRIDOR.with_time_limit(1000)
    assert headline_metric(long, [1.0, 0.995]) == "regret" and headline_metric(long, [1.0, 0.98]) == "success"
    assert headline_metric(CLIFF, [1.0, 0.5]) == "regret"
    assert headline_metric(long, [np.nan]) == "regret"
    monkeypatch.setattr("ift_gridworld.evaluation.headline.success_probability", None)  # would fail if it were called
    assert headline_metric(TabularMDP.make("4x4"), [0.2, 1.0]) == "success"


def test_a_rare_success_is_compared_with_the_largest():
    """Walking 40 tiles within 40 steps: the optimal policy does, the uniform one with 4^-40."""
    assert headline_metric(TabularMDP.from_map(["S" + 39 * "F" + "G"]).with_time_limit(40)) == "success"
    slippery = TabularMDP.from_map(["S" + 39 * "F" + "G"], is_slippery=True).with_time_limit(40)
    assert headline_metric(slippery) == "success"  # (1/3)^40 against less
