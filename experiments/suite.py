"""Draw the optimum of every member of the suite, deterministic and slippery, and the page that says what each is for.

    python experiments/suite.py
    python experiments/suite.py --publish       # in the gallery

Everything on the page is computed here, exactly: no method is trained. Writes NAME.png, its words and README.md under --out.
"""

from ift_gridworld.cli.parser import launch
from ift_gridworld.cli.suite import Args, main

if __name__ == "__main__":
    launch(main, Args, __doc__)
