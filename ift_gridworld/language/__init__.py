"""A lake written as text, and language models that are aligned on it by the very methods, losses and measures of the lake.

Needs the extra ``language``: ``pip install ift-gridworld[language]``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ift_gridworld.language.trainer import IFTTrainer

__all__ = ["IFTTrainer"]


def __getattr__(name: str) -> type:
    """`IFTTrainer`, with what it takes: transformers' Trainer loads for seconds, and nothing else here needs it."""
    if name == "IFTTrainer":
        from ift_gridworld.language.trainer import IFTTrainer

        return IFTTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
