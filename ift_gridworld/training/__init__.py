"""Training: base policies, one loop for every method, and the run that it leaves. Modules load on first use."""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names

if TYPE_CHECKING:
    from ift_gridworld.training.base_policies import make_base
    from ift_gridworld.training.lakes import train_lakes
    from ift_gridworld.training.loop import train
    from ift_gridworld.training.run import Comparison, Run, compare

__all__ = ["Comparison", "Run", "compare", "make_base", "train", "train_lakes"]

__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "base_policies": ["make_base"],
        "lakes": ["train_lakes"],
        "loop": ["train"],
        "run": ["Comparison", "Run", "compare"],
    },
)
