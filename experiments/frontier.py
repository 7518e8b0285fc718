"""Every method on the same lakes, bases and data, judged by one exact question at a time.

    python experiments/frontier.py --quick        # under a minute: five methods, few lakes
    python experiments/frontier.py                # the whole study; interrupted, it goes on where it was
    python experiments/frontier.py --publish      # in the gallery
    python experiments/frontier.py --redraw       # answers and figures again, from what is saved

Each method's learning rate and one option of its own are chosen among nine trials on lakes that are not reported.
experiments/frontier.md tells what came out.
"""

from ift_gridworld.cli.frontier import Args, main
from ift_gridworld.cli.parser import launch

if __name__ == "__main__":
    launch(main, Args, __doc__)
