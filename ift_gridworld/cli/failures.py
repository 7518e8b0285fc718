"""Compute and draw five ways in which alignment fails, each with its cause and its count over seeds, and the failure atlas.

    ift-gridworld failures
    ift-gridworld failures --only displacement --format pdf
    ift-gridworld failures --only atlas

Writes NAME.gif (or as --format says), its words as NAME.gif.txt, and NAME.json (settings, versions and every number drawn)
under --out; --publish writes to the gallery. The atlas is two figures over many lakes, which take a minute or two each and are
written as NAME.png.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ift_gridworld.checks import check_choice
from ift_gridworld.cli.folders import output_folder
from ift_gridworld.cli.parser import check_seed, fail
from ift_gridworld.escape import printable
from ift_gridworld.rendering import FORMATS, THEME_NAMES
from ift_gridworld.rendering.formats import STILLS, PictureOptions
from ift_gridworld.runtime import loading, progress
from ift_gridworld.storage import make_folder

if TYPE_CHECKING:
    from ift_gridworld.rendering.failure import Failure
    from ift_gridworld.studies.failures.atlas import AtlasFigure

__all__ = ["Args", "main"]


@dataclass(frozen=True)
class Args:
    """The command line."""

    only: str = "all"
    """displacement, log2, certainty, off_path or exploited; or all of these. Or a figure of the atlas, displacement_predicted
    or overoptimisation; or atlas, both of them."""
    seeds: int = 8
    """Independent policies over which is counted how often it happens; in the atlas on each of its lakes."""
    seed: int = 0
    """The first of them. Which one is drawn, the picture says."""
    format: str | None = None
    """gif, mp4, webp; png, pdf, svg (the last frame); html (a page to step through). By default gif; the atlas is png, pdf or
    svg, by default png."""
    speed: float | None = None
    """Speed of films, 0.1 to 10 (1: every caption can be read)."""
    theme: str = "light"
    """light or dark."""
    out: Path | None = None
    """Folder that everything is written to (default: runs/failures)."""
    publish: bool = False
    """Write to figures/failures instead, the published gallery."""


def main(args: Args) -> int:
    """Compute and draw each failure asked for."""
    with loading():
        from ift_gridworld.studies.failures import catalogue
    try:
        names = check(args, list(catalogue.FAILURES), list(catalogue.ATLAS))
        folder = output_folder("failures", args.out, args.publish)
        make_folder(folder)
        settings = {name: value for name, value in asdict(args).items() if name != "publish"} | {"out": str(folder)}
        with progress("failing, on purpose") as report:
            for done, name in enumerate(names):
                report(done, len(names))
                picture = folder / f"{name}.{args.format or ('png' if name in catalogue.ATLAS else 'gif')}"
                failure: Failure | AtlasFigure
                if name in catalogue.ATLAS:
                    failure = catalogue.ATLAS[name](args.seeds, args.seed, report)
                    paths = catalogue.save_atlas_figure(failure, settings, picture, args.theme)
                else:
                    failure = catalogue.FAILURES[name](args.seeds, args.seed)
                    paths = catalogue.save_failure(failure, settings, picture, args.theme, args.speed or 1.0)
                lines = [failure.title, f"  {failure.why}", f"  {failure.often}"]
                print("\n".join([*lines, *(f"  {heading}: {text}" for heading, text in failure.cause)]))
                print(f"wrote {', '.join(map(printable, paths))}\n")
    except ValueError as error:
        fail(error)
    return 0


def check(args: Args, failures: list[str], atlas: list[str]) -> list[str]:
    """Return the failures asked for; raise a ValueError for values that make no sense."""
    for name, value, allowed in (("only", args.only, (*failures, "all", *atlas, "atlas")), ("theme", args.theme, THEME_NAMES)):
        check_choice(f"--{name}", value, allowed)
    is_figure = args.only in (*atlas, "atlas")
    if args.format is not None:
        check_choice("--format", args.format, STILLS if is_figure else FORMATS)
    if is_figure and args.speed is not None:
        raise ValueError(f"--speed is {args.speed:g} and --only {args.only} is a figure; allowed: no --speed")
    PictureOptions(speed=1.0 if args.speed is None else args.speed).check(
        args.format or ("png" if is_figure else "gif")
    )  # whether the extra that some need is there
    if args.seeds < 1:
        raise ValueError(f"--seeds is {args.seeds}; allowed: at least 1")
    check_seed(args.seed)
    return {"all": failures, "atlas": atlas}.get(args.only, [args.only])
