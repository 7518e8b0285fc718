"""Align a policy on a frozen lake and animate what it learned.

    python experiments/frozen_lake.py --method ift --render
    python experiments/frozen_lake.py --method core --map 4x4 --slippery

Trains every seed in one run, writes METHOD.json (settings, versions, every metric over the updates, policies) and, with
--render, METHOD.gif under --out, and ends with a table. --redraw METHOD.json draws again without training.
"""

from ift_gridworld.cli.main import run_command

if __name__ == "__main__":
    run_command("lake", __doc__)
