"""Draw every picture of the gallery again, and the page that shows it with its commands.

    python experiments/gallery.py
    python experiments/gallery.py --publish     # in figures/ itself

Each entry is a command of a script beside this one; it is run in a folder of its own, and the pictures that are worth keeping
are moved to the gallery. The curated set stays small; runs' numbers are not kept.
"""

from ift_gridworld.cli.gallery import Args, main
from ift_gridworld.cli.parser import launch

if __name__ == "__main__":
    launch(main, Args, __doc__)
