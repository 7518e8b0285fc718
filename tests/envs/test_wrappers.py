"""A table is read with the time limit of all wrappers, and never past a wrapper that changes what the table says."""

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from ift_gridworld import TabularMDP, make_env, register_environment
from ift_gridworld.envs.registry import unregister_environment
from ift_gridworld.envs.wrappers import check_wrappers, time_limit_of


def lake(**options):
    return gymnasium.make("FrozenLake-v1", is_slippery=False, render_mode="rgb_array", **options)


def bare():
    return lake().unwrapped


class Logging(gymnasium.Wrapper):
    """Reads through to the environment: overrides neither step nor reset."""

    def render(self):
        return self.env.render()


class Scaled(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


class Stubborn(gymnasium.Wrapper):
    def step(self, action):
        return self.env.step(0)


class Moved(wrappers.TimeLimit):
    """A subclass of a harmless class that changes where episodes start."""

    def reset(self, **options):
        return 5, super().reset(**options)[1]


class Named(wrappers.TimeLimit):
    """A subclass of a harmless class that changes nothing."""


@pytest.mark.parametrize(
    ("build", "limit"),
    [
        (lambda: wrappers.TimeLimit(lake(), 500), 100),  # Gymnasium's own limit of 100 lies inside
        (lambda: wrappers.TimeLimit(lake(), 30), 30),
        (lambda: wrappers.TimeLimit(Logging(wrappers.TimeLimit(wrappers.TimeLimit(bare(), 70), 20)), 50), 20),
        (lambda: wrappers.OrderEnforcing(wrappers.TimeLimit(bare(), 8)), 8),
        (lambda: wrappers.Autoreset(wrappers.TimeLimit(bare(), 9)), 9),
        (lambda: Named(bare(), 6), 6),
        (lambda: lake(max_episode_steps=500), 500),
        (lambda: lake(max_episode_steps=-1), None),
        (lambda: lake().unwrapped, None),
        (lambda: wrappers.TimeLimit(make_env("CliffWalking-v1"), 40), 40),
    ],
)
def test_the_horizon_is_the_step_at_which_an_episode_is_truncated(build, limit):
    """Counted by walking against the wall until the environment says truncated."""
    env = build()
    assert TabularMDP.from_env(env).horizon == time_limit_of(env) == limit
    env.reset(seed=0)
    for step in range(1, (limit or 150) + 1):
        _, _, terminated, truncated, _ = env.step(3 if env.action_space.n == 4 and "Cliff" not in str(env) else 0)
        assert not terminated and truncated == (step == limit)


def test_a_registered_environment_has_the_limit_in_force_too():
    register_environment("short", "FrozenLake-v1", max_episode_steps=50)
    register_environment("inner", lambda: wrappers.TimeLimit(bare(), 20))
    try:
        assert TabularMDP.from_env(make_env("short")).horizon == 50
        assert TabularMDP.from_env(make_env("short", max_episode_steps=7)).horizon == 7
        assert TabularMDP.from_env(wrappers.TimeLimit(make_env("short"), 30)).horizon == 30
        assert TabularMDP.from_env(make_env("inner")).horizon == 20
        assert TabularMDP.from_env(make_env("inner", max_episode_steps=7)).horizon == 7
        for wish, words in ((500, "500"), (0, "never")):  # the environment would end them earlier without a word
            with pytest.raises(
                ValueError, match=f"^max_episode_steps is {words}, but .*'inner' ends episodes after 20 steps itself; allow"
            ):
                make_env("inner", max_episode_steps=wish)
    finally:
        for name in ("short", "inner"):
            unregister_environment(name)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda env: wrappers.TransformReward(env, lambda r: 5 * r), "TransformReward overrides step"),
        (lambda env: wrappers.ClipReward(env, 0, 0.5), "ClipReward overrides step"),
        (wrappers.NormalizeReward, "NormalizeReward overrides step"),
        (Scaled, "Scaled overrides step"),
        (lambda env: wrappers.TransformObservation(env, lambda s: 15 - s, env.observation_space), "TransformObservation overr"),
        (wrappers.TimeAwareObservation, "TimeAwareObservation overrides step"),
        (lambda env: wrappers.DelayObservation(env, 2), "DelayObservation overrides step"),
        (lambda env: wrappers.TransformAction(env, lambda a: 3 - a, env.action_space), "TransformAction overrides step"),
        (lambda env: wrappers.StickyAction(env, 0.5), "StickyAction overrides step"),
        (lambda env: wrappers.RepeatAction(env, 2), "RepeatAction overrides step"),
        (Stubborn, "Stubborn overrides step"),
        (lambda env: Moved(env, 50), "Moved overrides reset"),
    ],
)
@pytest.mark.parametrize(
    "outer", [lambda env: env, lambda env: wrappers.TimeLimit(Logging(env), 30)], ids=["outermost", "inside"]
)
def test_a_wrapper_that_changes_what_happens_is_refused(wrap, name, outer):
    with pytest.raises(ValueError, match=f"^wrapper {name}.*; allowed: .*; pass env.unwrapped to read") as error:
        TabularMDP.from_env(outer(wrap(lake())))
    assert "\n" not in str(error.value)


HARMLESS_WRAPS = {  # without RecordVideo and HumanRendering, which need more than an environment
    "Autoreset": wrappers.Autoreset,
    "OrderEnforcing": wrappers.OrderEnforcing,
    "PassiveEnvChecker": wrappers.PassiveEnvChecker,
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "RenderCollection": lambda env: gymnasium.make("FrozenLake-v1", render_mode="rgb_array_list"),
    "TimeLimit": lambda env: wrappers.TimeLimit(env, 100),
    "AddWhiteNoise": lambda env: wrappers.AddWhiteNoise(env, probability_of_noise_per_pixel=0.5),
    "Logging": Logging,
}


@pytest.mark.parametrize("name", HARMLESS_WRAPS)
def test_a_wrapper_that_changes_nothing_is_accepted(name):
    env = HARMLESS_WRAPS[name](gymnasium.make("FrozenLake-v1", render_mode="rgb_array"))
    assert type(env).__name__ == name
    mdp = TabularMDP.from_env(env)
    np.testing.assert_array_equal(mdp.probability, TabularMDP.from_map(mdp.layout, is_slippery=True).probability)
    assert mdp.horizon == 100


def test_a_time_limit_outside_autoreset_is_refused():
    """It counts on through several episodes, so that none of them has that limit."""
    check_wrappers(wrappers.Autoreset(wrappers.TimeLimit(bare(), 9)))
    with pytest.raises(
        ValueError, match="^TimeLimit stands outside Autoreset and counts the steps of all episodes; put it inside"
    ):
        TabularMDP.from_env(wrappers.TimeLimit(wrappers.Autoreset(lake()), 500))
