"""Folder that a command writes to: one under runs/, the one asked for, or the published gallery."""

from __future__ import annotations

from pathlib import Path

__all__ = ["GALLERY", "RUNS", "output_folder"]

RUNS = Path("runs")
GALLERY = Path("figures")


def output_folder(name: str, out: Path | None, publish: bool, *, published: Path | None = None) -> Path:
    """Return the folder that a command writes to.

    Args:
        name: of the command: runs/NAME is the default.
        out: the folder asked for, if any.
        publish: whether to write to the curated gallery.
        published: the folder there (default: figures/NAME).

    Raises:
        ValueError: if both are asked for.
    """
    published = GALLERY / name if published is None else published
    if publish and out is not None:
        raise ValueError(f"--out is {str(out)!r} and --publish writes to {published}; allowed: one of them")
    return published if publish else RUNS / name if out is None else out
