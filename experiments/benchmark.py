"""Measure this project against what its users would pick instead, side by side on one machine.

    pip install -e '.[bench]'
    python experiments/benchmark.py
    python experiments/benchmark.py --publish       # in the gallery

Each comparison is run in pairs, ours and the peer's in turn, and the median of the pairs' ratios is reported: a machine that is
busy slows both. A peer that is not installed is a row that says so. Prints a table and writes it as a page, README.md, and as
benchmark.json; draws growth.png and growth.pdf, how cost grows with states, seeds and frames.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/ is no part of the installed package

from benchmarks.command import Args, main
from ift_gridworld.cli.parser import launch

if __name__ == "__main__":
    launch(main, Args, __doc__)
