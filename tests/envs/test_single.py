"""One environment whose step is a look-up: Gymnasium's own trajectories, and the tables of any MDP."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from ift_gridworld import TabularMDP
from ift_gridworld.envs.single import TabularEnv

ONE_MAP_TWO_STARTS = ["SFS", "FHF", "FFG"]


def trajectory(env, seed, steps=200, num_actions=4):
    """All that an environment returns under the same random actions, episode after episode."""
    seen = [env.reset(seed=seed)]
    for action in np.random.default_rng(seed).integers(0, num_actions, steps):
        seen.append(env.step(action))
        if seen[-1][2] or seen[-1][3]:
            seen.append(env.reset())
    return seen


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "options",
    [
        {"is_slippery": False},
        {"is_slippery": True},
        {"is_slippery": True, "success_rate": 0.7, "map_name": "8x8"},
        {"is_slippery": True, "desc": ONE_MAP_TWO_STARTS, "reward_schedule": (2, -1, 0.5)},
    ],
)
def test_lakes_give_gymnasiums_trajectories_to_the_last_number(options, seed):
    """The same numbers are drawn from the generator, and in the same order; a skipped draw would part them."""
    theirs = gymnasium.make("FrozenLake-v1", max_episode_steps=30, **options)
    ours = gymnasium.make("ift_gridworld/FrozenLake-v0", max_episode_steps=30, **options)
    assert trajectory(ours, seed) == trajectory(theirs, seed)
    assert ours.unwrapped.lastaction == theirs.unwrapped.lastaction and ours.unwrapped.s == theirs.unwrapped.s


def test_each_step_has_an_info_of_its_own():
    """Wrappers write into it."""
    env = TabularEnv(TabularMDP.make("two-paths"))
    env.reset(seed=0)
    first = env.step(0)[-1]
    first["note"] = 1
    assert env.step(0)[-1] == {"prob": 1.0}


@pytest.mark.parametrize("action", [4, -1, 0.5])
@pytest.mark.parametrize(
    "make", [lambda: gymnasium.make("ift_gridworld/FrozenLake-v0").unwrapped, lambda: TabularEnv(TabularMDP.make("4x4"))]
)
def test_an_action_that_there_is_not_is_an_error(make, action):
    env = make()
    env.reset(seed=0)
    with pytest.raises(KeyError):
        env.step(action)


@pytest.mark.parametrize("name", ["two-paths", "CliffWalking-v1", "Taxi-v4"])
def test_an_mdp_and_its_environment_have_the_same_tables(name):
    mdp = TabularMDP.make(name)
    env = gymnasium.make("ift_gridworld/Tabular-v0", mdp=mdp)
    again = TabularMDP.from_env(env)
    assert env.unwrapped.mdp is mdp and again.horizon == mdp.horizon
    for name in ("next_state", "probability", "reward", "terminated", "start"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mdp, name))


def test_outcomes_come_as_often_as_the_table_says():
    """A state and action with three unlike outcomes, and three unlike starts, within four standard errors."""
    chance, start = np.array([0.1, 0.2, 0.7]), np.array([0.5, 0.2, 0.3])
    shape = (3, 1, 3)
    mdp = TabularMDP(
        np.broadcast_to(np.arange(3), shape).copy(), np.broadcast_to(chance, shape).copy(), np.zeros(shape),
        np.zeros(shape, bool), start, 0.9, None,
    )  # fmt: skip
    env, count = TabularEnv(mdp), 4000
    begun = np.bincount([env.reset(seed=7 if i == 0 else None)[0] for i in range(count)], minlength=3) / count
    walked = np.bincount([env.step(0)[0] for _ in range(count)], minlength=3) / count
    for seen, expected in ((begun, start), (walked, chance)):
        assert (np.abs(seen - expected) < 4 * np.sqrt(expected * (1 - expected) / count)).all()


@pytest.mark.parametrize(("asked", "limit"), [(None, 7), (3, 3), (0, None)])
def test_episodes_are_cut_at_the_mdps_limit_or_at_the_one_asked_for(asked, limit):
    mdp = replace(TabularMDP.make("two-paths"), horizon=7)
    env = TabularEnv(mdp, max_episode_steps=asked)
    for _ in range(2):  # a second episode counts from its own start
        env.reset(seed=0)
        cut = [env.step(0)[3] for _ in range(limit or 50)]
        assert cut == [False] * (len(cut) - 1) + [limit is not None]
    assert TabularMDP.from_env(env).horizon == limit


def test_it_passes_gymnasiums_checker_and_comes_as_a_vector():
    mdp = TabularMDP.make("4x4", is_slippery=True)
    check_env(TabularEnv(mdp))
    many = gymnasium.make_vec("ift_gridworld/Tabular-v0", num_envs=3, mdp=mdp, vectorization_mode="vector_entry_point")
    assert many.unwrapped.mdp is mdp and many.reset(seed=0)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"mdp": "4x4"}, "'4x4'"),
        ({"mdp": TabularMDP.make("4x4"), "max_episode_steps": -1}, "max_episode_steps is -1; allowed"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(asked, words):
    with pytest.raises(ValueError, match=words) as error:
        TabularEnv(**asked)
    assert "\n" not in str(error.value)
