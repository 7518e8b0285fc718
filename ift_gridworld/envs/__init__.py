"""Lakes and other environments: maps, Gymnasium environments made of them, many at once, and where each state is drawn."""

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.envs.maps import LAKES, bridge, open_lake, parse_map, random_map, read_map, time_limit, two_paths
from ift_gridworld.envs.registry import LakeEnv, lake_rows, make_env, register_environment

__all__ = [
    "LAKES",
    "GridLayout",
    "LakeEnv",
    "bridge",
    "lake_rows",
    "make_env",
    "open_lake",
    "parse_map",
    "random_map",
    "read_map",
    "register_environment",
    "time_limit",
    "two_paths",
]
