"""A lake written as text, and language models that are aligned on it by the methods, losses and metrics of the lake.

Needs the extra ``language``: ``pip install ift-gridworld[language]``.
"""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names

if TYPE_CHECKING:
    from ift_gridworld.language.data import Completions
    from ift_gridworld.language.lakes import Lakes, draw_lakes
    from ift_gridworld.language.metrics import METRICS, measure
    from ift_gridworld.language.models import load_model
    from ift_gridworld.language.move_tokenizer import MoveTokenizer
    from ift_gridworld.language.policy import LanguagePolicy
    from ift_gridworld.language.source import TextSource
    from ift_gridworld.language.task import Task
    from ift_gridworld.language.trainer import IFTTrainer
    from ift_gridworld.language.training import align

__all__ = [
    "METRICS",
    "Completions",
    "IFTTrainer",
    "Lakes",
    "LanguagePolicy",
    "MoveTokenizer",
    "Task",
    "TextSource",
    "align",
    "draw_lakes",
    "load_model",
    "measure",
]

# Nothing loads on import: transformers' Trainer alone takes seconds.
__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "data": ["Completions"],
        "lakes": ["Lakes", "draw_lakes"],
        "metrics": ["METRICS", "measure"],
        "models": ["load_model"],
        "move_tokenizer": ["MoveTokenizer"],
        "policy": ["LanguagePolicy"],
        "source": ["TextSource"],
        "task": ["Task"],
        "trainer": ["IFTTrainer"],
        "training": ["align"],
    },
)
