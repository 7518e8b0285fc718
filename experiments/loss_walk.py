"""A teacher's walk through the losses: one pair of answers on a lake, what each loss makes of it, and why.

    python experiments/loss_walk.py
    python experiments/loss_walk.py --loss ift --updates 30

For every loss: its value, and its push on every tile, -dL/dTheta, the direction in which one step of gradient descent moves
the logits of a tabular policy. Both are computed twice, by the loss core with automatic differentiation and by the closed form
that is printed beside, in plain NumPy; the largest difference is printed too. The human prefers the short way; the other
answer is the long one.
"""

from ift_gridworld.cli.losses import Args, main
from ift_gridworld.cli.parser import launch

if __name__ == "__main__":
    launch(main, Args, __doc__)
