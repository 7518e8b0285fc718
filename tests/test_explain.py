"""What is told of an update is the update that training makes, and the numbers in it are the loss core's."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ift_gridworld.data import demonstrations, preference_pairs
from ift_gridworld.envs.maps import LAKES, open_lake
from ift_gridworld.envs.registry import make_env
from ift_gridworld.explain import EXPLAINED, explain
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import PPOOptions
from ift_gridworld.policies import lake as policies
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.loop import train

TWO_PATHS = TabularMDP.from_map(LAKES["two-paths"])
ICE = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=0.8)
METHOD = pytest.mark.parametrize("method", EXPLAINED)
LAKE = pytest.mark.parametrize("mdp", [TWO_PATHS, ICE], ids=["firm", "ice"])


def told(method, mdp=TWO_PATHS, policy="mlp", **changes):
    base = make_base("mixture", mdp, policy=policy)
    return explain(method, mdp, base, demonstrations(mdp, 1), preference_pairs(mdp, 1), **changes)


def scene(made, kind):
    return next(s for s in made.steps if s.kind == kind)


@METHOD
@LAKE
@pytest.mark.parametrize("policy", ["mlp", "tabular"])
def test_it_is_the_update_that_training_makes_first(method, mdp, policy):
    """To the last bit (a run keeps nine digits of a loss, which tell one float32 from the next); PPO's is the four epochs on
    its first rollouts."""
    updates = PPOOptions().epochs if method == "ppo" else 1
    made = told(method, mdp, policy)
    shown, preferences = demonstrations(mdp, 1), preference_pairs(mdp, 1)
    run = train(
        method, mdp, make_base("mixture", mdp, policy=policy), steps=updates, demonstrations=shown, preferences=preferences
    )
    assert np.float32(made.loss) == np.float32(run.loss[0, 0])
    assert np.array_equal(made.before, run.policies[0, 0]) and np.array_equal(made.after, run.policies[-1, 0])


def test_the_scenes_of_ift_hold_the_numbers_of_the_update():
    """L = (1/N) sum w l with the weights and losses shown; a prediction is right where it meets the human's next tile; where
    it is, the loss is that from the human's own tile."""
    made = told("ift", mixing=0.3, decay=0.8)
    flow, bars, mix = (scene(made, kind) for kind in ("flow", "bars", "mix"))
    loss, weights = np.array(flow.data["losses"]), np.array(flow.data["weights"])
    assert np.mean(weights * loss) == pytest.approx(made.loss, rel=1e-6)
    assert weights.sum() == pytest.approx(len(weights), rel=1e-6)
    path = made.steps[0].data["paths"][0]
    greedy = made.before[path["states"][:-1]].argmax(-1)
    leads = TWO_PATHS.next_state[path["states"][:-1], greedy, 0]
    assert mix.data["right"] == (leads == path["states"][1:]).tolist() and not all(mix.data["right"])
    values, alone = (np.array(bars.data["series"][0][name]) for name in ("values", "before"))
    np.testing.assert_allclose(alone, -np.log(made.before[path["states"], path["actions"]]), rtol=1e-5)
    changed = ~np.isclose(values, alone, rtol=1e-6)
    assert changed.tolist() == [False, *(not right for right in mix.data["right"])]


@METHOD
def test_it_is_told_alike_where_tiles_are_too_many_for_vectors(method, monkeypatch):
    told_of_vectors = told(method, ICE)
    monkeypatch.setattr(policies, "ONE_HOT_STATES", 1)
    for one, other in zip(told(method, ICE).steps, told_of_vectors.steps, strict=True):
        assert one.caption == other.caption
        if "weights" in one.data:
            np.testing.assert_allclose(one.data["weights"], other.data["weights"], atol=1e-6)


def test_what_nobody_could_see_is_not_told():
    mdp = TabularMDP.from_map(open_lake(51))
    with pytest.raises(ValueError, match="has 2601 states; an update is explained state by state, on at most 2500"):
        told("ift", mdp, "tabular")


def test_the_scenes_of_dpo_and_orpo_hold_their_gradients():
    """At the reference DPO pushes with beta / 2; ORPO's pushes are the closed form of its gradient at these odds."""
    assert scene(told("dpo"), "pushes").data["push"] == pytest.approx([0.05, -0.05], rel=1e-6)
    made = told("orpo")
    c, r = scene(made, "pair").data["values"]
    p, q = np.exp(c), np.exp(r)
    weight = 0.25 / (1 + p / (1 - p) / (q / (1 - q)))
    assert scene(made, "pushes").data["push"] == pytest.approx([(1 + weight / (1 - p)) / 5, -weight / (1 - q) / 7], rel=1e-6)
    assert made.loss == pytest.approx(-c - 0.25 * np.log(1 - weight / 0.25), rel=1e-6)


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(ValueError, match="'simpo'; allowed: sft, ift, dpo, orpo, ppo"):
        told("simpo")
    with pytest.raises(ValueError, match="population of 2"):
        base = make_base("mixture", TWO_PATHS, seeds=2)
        explain("sft", TWO_PATHS, base, demonstrations(TWO_PATHS, 1), preference_pairs(TWO_PATHS, 1))


def test_on_the_cliff_every_episode_that_ends_ends_on_the_goal():
    """Where no reward is above 0; who falls starts again, and no clock runs."""
    cliff = TabularMDP.from_env(make_env("CliffWalking-v1"))
    words = scene(told("ppo", cliff, walkers=64), "walk").caption
    ended, reached = map(int, re.search(r"(\d+) episodes end, (\d+) of them at the goal", words).groups())
    assert 0 < ended == reached


@METHOD
@pytest.mark.parametrize("name", ["CliffWalking-v1", "Taxi-v4"])
def test_another_environment_is_not_explained_as_a_lake(method, name):
    """What is said follows from the MDP: no lake, no tiles, no gift; a path with actions that are no moves has actions."""
    mdp = TabularMDP.make(name)
    made = told(method, mdp, "tabular")
    words = " ".join(f"{step.title} {step.caption}" for step in made.steps)
    assert not set(re.findall(r"[a-z]+", words.lower())) & {"lake", "ice", "tile", "tiles", "gift", "slip", "hole"}
    if method in ("sft", "ift"):
        assert ("14 actions" if name == "Taxi-v4" else "13 moves") in made.steps[0].caption


def test_a_demonstration_that_succeeds_nowhere_is_not_said_to_reach_a_goal():
    """An environment whose steps pay most while they go on has no success."""
    mdp = replace(TWO_PATHS, reward=np.where(TWO_PATHS.terminated, -1.0, 0.0))
    assert not mdp.success.any()
    base = make_base("uniform", mdp, policy="tabular")
    made = explain("sft", mdp, base, demonstrations(TWO_PATHS, 1), preference_pairs(TWO_PATHS, 1))
    assert made.steps[0].caption == "One demonstration: 5 moves."


@METHOD
def test_captions_are_short(method):
    """At most 22 words, which stand for less than nine seconds."""
    for mdp in (TWO_PATHS, ICE):
        for step in told(method, mdp).steps:
            assert len(step.caption.split()) <= 22, step.caption
