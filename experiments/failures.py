"""Five ways in which alignment fails, each with its cause: computed on a lake, counted over seeds, and drawn.

    python experiments/failures.py
    python experiments/failures.py --only displacement --format pdf

Writes NAME.gif (or as --format says), its words as NAME.gif.txt, and NAME.json (settings, versions and every number drawn)
under --out; --publish writes to the gallery.
"""

from ift_gridworld.cli.failures import Args, main
from ift_gridworld.cli.parser import launch

if __name__ == "__main__":
    launch(main, Args, __doc__)
