"""Lakes and other environments: maps, Gymnasium environments made of them, many at once, and where each state is drawn."""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names
from ift_gridworld.envs.lake_env import LakeEnv
from ift_gridworld.envs.maps import LAKES, bridge, open_lake, parse_map, random_map, read_map, time_limit, two_paths

if TYPE_CHECKING:
    from ift_gridworld.envs.grid import GridLayout
    from ift_gridworld.envs.registry import lake_rows, make_env, register_environment
    from ift_gridworld.envs.single import TabularEnv

__all__ = [
    "LAKES", "GridLayout", "LakeEnv", "TabularEnv", "bridge", "lake_rows", "make_env", "open_lake", "parse_map", "random_map",
    "read_map", "register_environment", "time_limit", "two_paths",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "grid": ["GridLayout"],
        "registry": ["lake_rows", "make_env", "register_environment"],
        "single": ["TabularEnv"],
    },
)
