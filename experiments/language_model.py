"""Align a language model on lakes that it reads as text, and measure it by the lake's own numbers.

    python experiments/language_model.py --method ift --render
    python experiments/language_model.py --method all --seeds 3
    python experiments/language_model.py --quick

A model that is built here (tiny, small) first learns from mediocre paths and is kept in a cache. Each method then starts from
it, learns from lakes that the base has not seen, and is measured on others again. METHOD.json in the output folder holds
settings, versions, curves and metrics.
"""

from ift_gridworld.cli.language import Args, main
from ift_gridworld.cli.parser import launch

if __name__ == "__main__":
    launch(main, Args, __doc__)
