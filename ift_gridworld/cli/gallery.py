"""Draw every picture of the gallery again, and the page that shows it with its commands.

    ift-gridworld gallery
    ift-gridworld gallery --publish     # in figures/ itself

Each entry is a command; it is run in a folder of its own, and the pictures that are worth keeping are moved to the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ift_gridworld.cli.folders import GALLERY, output_folder
from ift_gridworld.cli.parser import fail
from ift_gridworld.escape import printable
from ift_gridworld.runtime import loading, progress
from ift_gridworld.storage import make_folder, write_atomically

__all__ = ["Args", "main"]


@dataclass(frozen=True)
class Args:
    """The command line."""

    only: str = ""
    """Draw only entries whose command contains this."""
    out: Path | None = None
    """Folder that the gallery is written to (default: runs/gallery)."""
    publish: bool = False
    """Write to figures instead, the published gallery."""


def main(args: Args) -> int:
    """Run the commands asked for and keep their pictures."""
    with loading():
        from ift_gridworld.studies import gallery
    try:
        entries = gallery.select_entries(args.only)
        folder = output_folder("gallery", args.out, args.publish, published=GALLERY)
        make_folder(folder)
        with progress("drawing the gallery") as report:
            for done, entry in enumerate(entries):
                report(done, len(entries))
                gallery.draw_entry(entry, folder)
            report(len(entries), len(entries))
        write_atomically(folder / "README.md", gallery.readme().encode())
    except ValueError as error:
        fail(error)
    except RuntimeError as error:
        fail(error, status=1)
    print(f"wrote {sum(len(entry.pictures) for entry in entries)} pictures under {printable(folder)}")
    return 0
