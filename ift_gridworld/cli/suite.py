"""Draw the optimum of every environment of the suite, deterministic and slippery, and a page that says what each is for.

    ift-gridworld suite
    ift-gridworld suite --theme dark

Everything on the page is computed exactly: no method is trained. Writes NAME.png, its words and README.md under --out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.folders import output_folder
from ift_gridworld.cli.parser import fail
from ift_gridworld.escape import printable
from ift_gridworld.rendering import THEME_NAMES
from ift_gridworld.runtime import loading, progress
from ift_gridworld.storage import make_folder

__all__ = ["Args", "main"]


@dataclass(frozen=True)
class Args:
    """The command line."""

    theme: str = "light"
    """light or dark."""
    out: Path | None = None
    """Folder that pictures and page are written to (default: runs/suite)."""
    publish: bool = False
    """Write to figures/suite instead, the published gallery."""


def main(args: Args) -> int:
    """Draw the suite and write its page."""
    with loading():
        from ift_gridworld.studies import suite
    try:
        check_choice("--theme", args.theme, THEME_NAMES)
        folder = output_folder("suite", args.out, args.publish)
        make_folder(folder)
        with progress("drawing the suite") as report:
            suite.draw_suite(folder, args.theme, report)
    except ValueError as error:
        fail(error)
    print(f"wrote {len(suite.ENVIRONMENTS)} pictures and README.md under {printable(folder)}")
    return 0
