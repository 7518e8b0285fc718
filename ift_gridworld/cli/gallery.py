"""The command `gallery`: draw every picture of the gallery again, and its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ift_gridworld.cli.command import fail
from ift_gridworld.runtime import loading, progress
from ift_gridworld.storage import make_folder, write_atomically

__all__ = ["Args", "main"]


@dataclass(frozen=True)
class Args:
    """The command line."""

    out: Path = Path("figures")
    """Folder that the gallery is written to."""
    only: str = ""
    """Draw only entries whose command contains this."""


def main(args: Args) -> int:
    """Run the commands asked for and keep their pictures."""
    with loading():
        from ift_gridworld.studies import gallery
    try:
        entries = gallery.select_entries(args.only)
        make_folder(args.out)
        with progress("drawing the gallery") as report:
            for done, entry in enumerate(entries):
                report(done, len(entries))
                gallery.draw_entry(entry, args.out)
            report(len(entries), len(entries))
        write_atomically(args.out / "README.md", gallery.readme().encode())
    except (ValueError, OSError) as error:
        fail(error)
    except RuntimeError as error:
        fail(error, status=1)
    print(f"wrote {sum(len(entry.pictures) for entry in entries)} pictures under {args.out}")
    return 0
