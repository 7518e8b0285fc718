"""Data that methods learn from.

    trajectories.py    what a trajectory is: `Batch`, `Trajectories`, and how batches are padded and put together
    rollouts.py        vectorised walks through the tables of an MDP, by any policy
    demonstrator.py    demonstrations, optimal or sub-optimal
    preferences.py     pairs of a chosen and a rejected trajectory
    paths.py           on deterministic MDPs: the best path, and the best path with one wrong turn
    enumeration.py     every trajectory of a small MDP, so that expectations can be summed instead of sampled

Trajectories are tensors [..., B, T] with a mask, one episode per row. Random numbers come from generators that are passed in.
"""

from ift_gridworld.choices import QUALITIES, Quality
from ift_gridworld.data.demonstrator import SUBOPTIMAL_NOISE, demonstrations
from ift_gridworld.data.enumeration import enumerate_trajectories
from ift_gridworld.data.paths import best_path, detour
from ift_gridworld.data.preferences import label_pairs, preference_pairs
from ift_gridworld.data.rollouts import Walkers, WalkTables, generators, lakes_alike, sample_episodes
from ift_gridworld.data.trajectories import Batch, Trajectories, path_of, stacked

__all__ = [
    "QUALITIES",
    "SUBOPTIMAL_NOISE",
    "Batch",
    "Quality",
    "Trajectories",
    "WalkTables",
    "Walkers",
    "best_path",
    "demonstrations",
    "detour",
    "enumerate_trajectories",
    "generators",
    "label_pairs",
    "lakes_alike",
    "path_of",
    "preference_pairs",
    "sample_episodes",
    "stacked",
]
