"""Film one update of a method, slowly, with an explanation of each step.

    ift-gridworld explain --method ift
    ift-gridworld explain --method dpo --map 4x4 --policy tabular
    ift-gridworld explain --method ift --format html    # a page to step through, with the equations

Writes explain_METHOD.gif (or as --format says), its words beside it, and explain_METHOD.json under --out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ift_gridworld.cli.arguments import PolicyArgs, as_flags, is_random, less_memory
from ift_gridworld.cli.parser import fail
from ift_gridworld.runtime import is_out_of_memory, loading

__all__ = ["ExplainArgs", "main"]


@dataclass(frozen=True)
class ExplainArgs(PolicyArgs):
    """The command line of `explain`; the methods' own options are added by `method_options`."""

    method: Literal["sft", "ift", "dpo", "orpo", "ppo"] = "ift"
    """The method whose first update is explained."""
    format: str = "gif"
    """gif, mp4, webp (films); png, pdf, svg (the last frame); html (the stages as a page to step through)."""
    speed: float | None = None
    """Speed of the film, 0.1 to 10 (1: every caption can be read)."""


def main(args: ExplainArgs) -> int:
    """Make the update and film it; returns the exit status."""
    try:
        args.require("hidden", args.policy == "mlp", "--policy mlp")
        args.require("success_rate", args.slippery, "--slippery")
        args.require("map_seed", is_random(args.map), "a random map")
        with loading():
            from ift_gridworld.cli import explain_run

        return explain_run.explain_update(args, args.method, args.format, args.speed)
    except ValueError as error:
        fail(as_flags(args, str(error)))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fail(f"out of memory; allowed: {less_memory(args)}")
