"""The paper's claims about the lake under every reasonable reading: how often each holds, what of IFT does what, and why.

No lake code, map, base policy or learning rate was published with "Intuitive Fine-Tuning" (arXiv 2405.11870), so nothing here
is tuned: settings are dealt out by a balanced random design, none is left out for what it shows, and each counts alike.

    python experiments/reproduction.py --quick                      # about a minute: the same study, smaller
    python experiments/reproduction.py                              # the whole study; interrupted, it goes on where it was
    python experiments/reproduction.py --publish                    # in the gallery
    python experiments/reproduction.py --redraw                     # tables and figures again, from what is saved
    python experiments/reproduction.py --maps my_maps.txt           # the claims on your own lakes
    python experiments/reproduction.py --setting 4x4,firm,good-0.5,mlp-64,adam,1     # one setting, printed

experiments/README.md tells what came out and how to add a setting.
"""

from ift_gridworld.cli.parser import launch
from ift_gridworld.cli.reproduction import Args, main

if __name__ == "__main__":
    launch(main, Args, __doc__)
