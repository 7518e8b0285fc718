"""Draw saved runs again, without training: one by itself, several side by side.

    ift-gridworld redraw runs/lake/ift.json --format pdf
    ift-gridworld redraw runs/lake/sft.json runs/lake/ift.json --figure column
    ift-gridworld redraw runs/lake/sft.json runs/lake/ift.json --view seeds

Writes NAME.gif (or as --format says) and its words beside it under --out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ift_gridworld.cli.arguments import OUT, as_flags
from ift_gridworld.cli.figure_options import FigureArgs
from ift_gridworld.cli.parser import fail

__all__ = ["RedrawArgs", "main"]


@dataclass(frozen=True)
class RedrawArgs(FigureArgs):
    """The command line of `redraw`."""

    runs: Positional[tuple[Path, ...]] = ()
    """Saved runs: METHOD.json."""
    format: str | None = None
    """gif (the default), mp4, webp (films); png, pdf, svg (the last frame, or --figure); html (the alignment lab)."""
    drawn_seed: int | None = None
    """The seed whose policies are drawn (by default the one that the run draws; several runs draw one together)."""
    theme: Literal["light", "dark"] = "light"
    """Colours of pictures."""
    out: Path = OUT
    """Folder that everything is written to."""
    plugin: tuple[str, ...] = ()
    """Modules (or .py files) that register the environments of the runs."""


def main(args: RedrawArgs) -> int:
    """Draw what the command line asks for; returns the exit status."""
    try:
        from ift_gridworld.cli import redraw_run

        for option in ("view", "picture_size", "poster", "speed"):
            args.require(option, args.figure is None, "films; --figure draws none")
        return redraw_run.draw_again(args.runs, args, args.out, args.theme, args.format, args.drawn_seed)
    except ValueError as error:
        fail(as_flags(args, str(error)))
