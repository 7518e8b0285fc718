"""Walk through the losses in the terminal: one pair of answers on a lake, and what each loss does with it.

    ift-gridworld losses
    ift-gridworld losses --loss ift --updates 30

For every loss: its value, and its push on every state, -dL/dTheta, the direction in which one step of gradient descent moves
the logits of a tabular policy. Both are computed twice, by the loss core and by the closed form that is printed beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.parser import Arguments, check_seed, fail
from ift_gridworld.runtime import loading

__all__ = ["Args", "main"]

IFT_LOSSES = ("ift", "ift_detached", "algorithm1", "equation21")


@dataclass(frozen=True)
class Args(Arguments):
    """The command line."""

    loss: str = "all"
    """sft, ift, ift_detached, algorithm1, equation21, dpo, ipo, orpo, simpo, tdpo, bradley_terry, ppo, grpo; or all."""
    map: str = "two-paths"
    """two-paths, 4x4, 8x8, or a map file."""
    slippery: bool = False
    """Let moves slip to either side."""
    updates: int = 0
    """Number of SFT updates between the reference and the policy."""
    mixing: float = 0.2
    """IFT: lambda, share of the model's own prediction in each state."""
    decay: float = 0.95
    """IFT: gamma of the relation propagation."""
    seed: int = 0
    """Seed of the pair of answers that is drawn on a slippery lake."""


def main(args: Args) -> int:
    """Compute each loss asked for on one pair of answers, and print it."""
    with loading():
        from ift_gridworld.studies.loss_walk import catalogue, example, terminal
    try:
        names = check(args, list(catalogue.LOSSES))
        pair = example.make_example(
            args.map,
            is_slippery=args.slippery,
            updates=args.updates,
            mixing=args.mixing,
            decay=args.decay,
            seed=args.seed,
        )
    except ValueError as error:
        fail(error)
    terminal.print_walk(f"{args.map}{', slippery' if args.slippery else ''}", args.updates, pair, names)
    return 0


def check(args: Args, losses: Sequence[str]) -> Sequence[str]:
    """Return the losses asked for; raise a ValueError for values that make no sense."""
    check_choice("--loss", args.loss, (*losses, "all"))
    if not 0 <= args.mixing <= 1:
        raise ValueError(f"--mixing is {args.mixing}; allowed: a number in [0, 1]")
    if not 0 < args.decay <= 1:  # at 0 the released form is SFT, by a special case
        raise ValueError(f"--decay is {args.decay}; allowed: a number in (0, 1]")
    args.require("mixing", args.loss in ("all", *IFT_LOSSES), f"--loss {', '.join(IFT_LOSSES)} or all")
    args.require("decay", args.loss in ("all", *IFT_LOSSES), f"--loss {', '.join(IFT_LOSSES)} or all")
    args.require("seed", args.slippery, "--slippery")
    check_seed(args.seed)
    if args.updates < 0:
        raise ValueError(f"--updates is {args.updates}; allowed: 0 or more")
    return losses if args.loss == "all" else [args.loss]
