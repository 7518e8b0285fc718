"""Lakes for stable-baselines3: the public address of `ift_gridworld.envs.sb3`. Needs stable-baselines3."""

from ift_gridworld.envs.sb3 import TabularVecEnv

__all__ = ["TabularVecEnv"]
