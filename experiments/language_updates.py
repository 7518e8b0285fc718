"""Measure what an update of a language model costs: time, memory, and the share of the device's arithmetic that it uses.

    python experiments/language_updates.py --trainer ift --model small
    python experiments/language_updates.py --trainer trl --model small --device cuda --dtype bfloat16 --batch 64

The data are random tokens, prompts and answers each of one length. Prints one JSON object. `benchmark.py --only language` runs
it for several trainers in turn.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/ is no part of the installed package

from benchmarks.language_updates import Args, main
from ift_gridworld.cli.parser import launch

if __name__ == "__main__":
    launch(main, Args, __doc__)
