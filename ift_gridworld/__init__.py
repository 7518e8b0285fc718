"""Alignment made visible and checkable: SFT, RLHF, DPO and IFT on lakes whose optimal policy is known.

Importing the package registers its environments with Gymnasium and loads nothing heavier; modules are loaded on first use.
"""

from typing import TYPE_CHECKING

from ift_gridworld import _stop

if _stop.is_command():  # before anything that takes its time is imported
    _stop.handle_signals()

from ift_gridworld._lazy import lazy_names
from ift_gridworld.envs.lake_env import register
from ift_gridworld.version import __version__

if TYPE_CHECKING:
    from ift_gridworld.envs import make_env, register_environment
    from ift_gridworld.evaluation.metrics import register_metric
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.methods import METHODS, register_method
    from ift_gridworld.training import Run, compare, train

__all__ = [
    "METHODS", "Run", "TabularMDP", "__version__", "compare", "make_env", "register_environment", "register_method",
    "register_metric", "train",
]  # fmt: skip

register()

__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "envs.registry": ["make_env", "register_environment"],
        "evaluation.metrics": ["register_metric"],
        "mdp": ["TabularMDP"],
        "methods": ["METHODS", "register_method"],
        "training": ["Run", "compare", "train"],
    },
)
