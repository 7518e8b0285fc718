"""Compare every method on the same lakes, bases and data, and judge each by the exact reward-KL frontier.

    ift-gridworld frontier --quick                 # under a minute: five methods, few lakes
    ift-gridworld frontier                         # the whole study; interrupted, it resumes
    ift-gridworld frontier --redraw                # answers and figures again, from what is saved

Writes trials.csv.gz, results.csv.gz, findings.json and the figures, with their words, under --out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ift_gridworld.cli.arguments import unused
from ift_gridworld.cli.folders import output_folder
from ift_gridworld.cli.parser import Arguments, fail
from ift_gridworld.cli.studies import check_study
from ift_gridworld.cluster import worker_pool
from ift_gridworld.runtime import loading

__all__ = ["Args", "main"]

PAGE = Path("experiments/frontier.md")  # quotes the published findings


@dataclass(frozen=True)
class Args(Arguments):
    """What to run, and where the tables and figures go."""

    quick: bool = False
    """A small study of the same kind: five methods on few lakes, under a minute."""
    redraw: bool = False
    """Answers and figures again from what is saved, without running anything."""
    seed: int = 0
    """Seed of lakes, data, bases and everything drawn."""
    workers: int = 0
    """Processes (0: one a core)."""
    cluster: str | None = None
    """Run the parts on a Dask cluster instead: tcp://HOST:PORT of a running scheduler, or local:N for N processes here (extra
    cluster)."""
    theme: str = "light"
    """light, dark."""
    out: Path | None = None
    """Folder of tables, figures and of the parts that a run leaves on its way (default: runs/frontier, with _quick behind it
    for a quick study)."""
    publish: bool = False
    """Write the whole study to figures/frontier instead, the published gallery, and the numbers that experiments/frontier.md
    quotes of it."""

    @property
    def folder(self) -> Path:
        """The folder that everything is written to."""
        return output_folder("frontier_quick" if self.quick else "frontier", self.out, self.publish)

    @property
    def saved(self) -> dict[str, Any]:
        """The settings that numbers depend on, as they are kept with each table."""
        entries = asdict(self)
        return {name: entries[name] for name in ("quick", "seed")}


def main(args: Args) -> int:
    """Run, or read, the study and report its answers."""
    with loading():
        from ift_gridworld.rendering.tables import written
        from ift_gridworld.runtime import console
        from ift_gridworld.studies.frontier import page, study
    try:
        check(args)
        scope = study.FrontierScope.quick(args.seed) if args.quick else study.FrontierScope(seed=args.seed)
        if args.redraw:
            saved = study.load(args.folder)
        else:
            with worker_pool(args.workers, args.cluster) as pool:
                saved = study.run_study(scope, args.saved, args.folder, pool)
        tables, paths, findings = study.report(saved, args.folder, args.theme)
        if args.publish and PAGE.exists():
            paths.append(page.publish(PAGE, findings))
        for table in tables:
            console().print(table)
        print(written(paths))
    except ValueError as error:
        fail(error)
    return 0


def check(args: Args) -> None:
    """Raise a ValueError, before anything runs, for values that make no sense."""
    check_study(args.folder, seed=args.seed, workers=args.workers, cluster=args.cluster, theme=args.theme)
    if args.redraw:
        unused(args, {"quick", "redraw", "out", "publish", "theme"}, "--redraw")
    if args.publish and args.quick:
        raise ValueError("--publish is for the whole study; allowed without it: --quick")
