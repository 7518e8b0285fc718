"""Lakes under stable-baselines3, where it is installed."""

import numpy as np
import pytest

from ift_gridworld import TabularMDP
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.planning import success_probability

sb3 = pytest.importorskip("stable_baselines3")

from ift_gridworld.envs.sb3 import TabularVecEnv  # noqa: E402


def policy_of(model, states):
    """pi(a|s) of every state, [S, A]."""
    observations, _ = model.policy.obs_to_tensor(np.arange(states))
    return model.policy.get_distribution(observations).distribution.probs.detach().double().numpy()


def test_step_for_step_it_is_a_dummy_vector_environment_of_gymnasiums():
    """Observations, rewards, endings and what infos say of them, on firm ice."""
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv

    def single():
        return gymnasium.make("FrozenLake-v1", is_slippery=False, max_episode_steps=12)

    peer, ours = DummyVecEnv([single] * 5), TabularVecEnv(TabularMDP.from_map(LAKES["4x4"]), 5, max_episode_steps=12)
    np.testing.assert_array_equal(ours.reset(), peer.reset())
    random, ends = np.random.default_rng(0), set()
    for _ in range(300):
        actions = random.integers(0, 4, 5)
        mine, theirs = ours.step(actions), peer.step(actions)
        for one, other in zip(mine[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        for one, other, done in zip(mine[3], theirs[3], mine[2], strict=True):
            assert ("terminal_observation" in one) == bool(done)
            for key in one:
                assert one[key] == other[key]
            ends.add(one.get("TimeLimit.truncated"))
    assert ends == {None, False, True}


def test_a_seed_says_it_all():
    env = TabularVecEnv(TabularMDP.from_map(LAKES["4x4"], is_slippery=True), 20)
    runs = []
    for _ in range(2):
        env.seed(3)
        env.reset()
        runs.append(np.stack([env.step(np.full(20, t % 4))[0] for t in range(50)]))
    np.testing.assert_array_equal(*runs)


def test_what_single_environments_do_not_have():
    env = TabularVecEnv(TabularMDP.from_map(LAKES["4x4"]), 3, max_episode_steps=9)
    assert env.get_attr("limit") == [9] * 3 and env.get_attr("limit", [0, -1]) == [9] * 2
    for wrong in (7, [0, 3], -4):
        with pytest.raises(IndexError, match="^indices are .*; allowed: -3 to 2$"):
            env.get_attr("limit", wrong)
    with pytest.raises(ValueError, match="^limit cannot be set"):
        env.set_attr("limit", 5)
    with pytest.raises(ValueError, match="^reset cannot be called"):
        env.env_method("reset")


def test_its_monitor_counts_episodes():
    """Every one is cut where nobody moves."""
    from stable_baselines3.common.vec_env import VecMonitor

    env = VecMonitor(TabularVecEnv(TabularMDP.from_map(LAKES["4x4"]), 2, max_episode_steps=3))
    env.reset()
    infos = [env.step(np.zeros(2, int))[3] for _ in range(7)]
    assert [[info.get("episode", {}).get("l") for info in step] for step in infos] == [
        [3, 3] if t % 3 == 0 else [None, None] for t in range(1, 8)
    ]


def test_its_ppo_learns_the_two_paths():
    """To an exact probability of success of at least 0.99, from 0.3 or less."""
    mdp = TabularMDP.from_map(LAKES["two-paths"])
    env = TabularVecEnv(mdp, 32, seed=0)
    model = sb3.PPO(
        "MlpPolicy", env, n_steps=32, batch_size=256, n_epochs=4, learning_rate=3e-3, ent_coef=0.001, seed=0, device="cpu"
    )
    before = success_probability(mdp, policy_of(model, 16), mdp.horizon)
    model.learn(25_000)
    after = success_probability(mdp, policy_of(model, 16), mdp.horizon)
    assert before < 0.3 and after > 0.99
