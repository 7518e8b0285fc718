"""Alignment made visible and checkable: SFT, RLHF, DPO and IFT on lakes whose optimal policy is known.

Importing the package registers its environments with Gymnasium and loads nothing heavier; modules are loaded on first use.
"""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names
from ift_gridworld.envs.registry import register
from ift_gridworld.version import __version__

if TYPE_CHECKING:
    from ift_gridworld.envs import make_env
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.methods import METHODS
    from ift_gridworld.training import train

__all__ = ["METHODS", "TabularMDP", "__version__", "make_env", "train"]

register()

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "METHODS": "ift_gridworld.methods",
        "TabularMDP": "ift_gridworld.mdp",
        "__version__": "ift_gridworld.version",
        "make_env": "ift_gridworld.envs",
        "train": "ift_gridworld.training",
    },
)
