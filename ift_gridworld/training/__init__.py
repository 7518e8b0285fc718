"""Training: base policies, optimisers, one loop for every method, and the run that it leaves."""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names

if TYPE_CHECKING:
    from ift_gridworld.training.loop import BASES, Run, make_base, train, train_lakes

__all__ = ["BASES", "Run", "make_base", "train", "train_lakes"]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "ift_gridworld.training.loop"))
