"""Many environments of one MDP at once: the public address of `ift_gridworld.envs.vector`."""

from ift_gridworld.envs.vector import TabularVectorEnv, make_vector

__all__ = ["TabularVectorEnv", "make_vector"]
