"""Test the paper's claims about the lake in many settings, and say how often each holds.

    ift-gridworld reproduction --quick                     # about a minute: the same study, smaller
    ift-gridworld reproduction                             # the whole study; interrupted, it resumes
    ift-gridworld reproduction --redraw                    # tables and figures again, from what is saved
    ift-gridworld reproduction --maps my_maps.txt          # the claims on your own lakes
    ift-gridworld reproduction --setting 4x4,firm,good-0.5,mlp-64,adam,1     # one setting, printed

Writes tables as JSON, figures and their words under --out.
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

PAGE = Path("experiments/README.md")  # quotes the published findings


@dataclass(frozen=True)
class Args(Arguments):
    """Study to run, and folders of the tables and figures."""

    quick: bool = False
    """The same study, smaller (on fewer settings, with half the seeds): about a minute."""
    maps: Path | None = None
    """A text file of maps, blank lines between them: ask the claims on these lakes instead."""
    setting: str | None = None
    """Run one setting alone (MAP,ICE,BASE,POLICY,OPTIMISER,DEMONSTRATIONS) and print what it says."""
    claim: str | None = None
    """Ask one claim alone (FIRST<SECOND:MEASURE), of one setting or of all of them, and print what is found."""
    redraw: bool = False
    """Tables and figures again from what is saved, without running anything."""
    seeds: int = 8
    """Independent policies, and data, on each lake of its own; on blocks of ten lakes a quarter of that, at least two."""
    seed: int = 0
    """The first of them; the design is drawn from it, too."""
    workers: int = 0
    """Processes (0: one a core)."""
    cluster: str | None = None
    """Run the parts on a Dask cluster instead: tcp://HOST:PORT of a running scheduler, or local:N for N processes here (extra
    cluster)."""
    theme: str = "light"
    """light, dark."""
    out: Path | None = None
    """Folder of tables, figures and of the parts that a run leaves on its way (default: runs/reproduction, with _quick or
    _maps behind it where these are asked for)."""
    publish: bool = False
    """Write the whole study to figures/reproduction instead, the published gallery, and the numbers that
    experiments/README.md quotes of it."""

    @property
    def folder(self) -> Path:
        """The folder that everything is written to."""
        kind = "_maps" if self.maps is not None else "_quick" if self.quick else ""
        return output_folder(f"reproduction{kind}", self.out, self.publish)

    @property
    def number_of_seeds(self) -> int:
        """Half the seeds, at least two, in the quick study."""
        return max(2, self.seeds // 2) if self.quick else self.seeds

    @property
    def saved(self) -> dict[str, Any]:
        """The settings that numbers depend on, as they are kept with each table."""
        entries = asdict(self) | {"maps": None if self.maps is None else str(self.maps), "seeds": self.number_of_seeds}
        return {name: entries[name] for name in ("quick", "maps", "setting", "claim", "seeds", "seed")}


def main(args: Args) -> int:
    """Run, or read, a study and report what it says."""
    with loading():
        from ift_gridworld.studies.reproduction import study
    try:
        check(args)
        study.check_choices(args.setting, args.claim, args.maps)
        scope = study.StudyScope(args.quick, args.maps, args.number_of_seeds, args.seed)
        if args.setting is not None or args.claim is not None:
            with worker_pool(args.workers, args.cluster) as pool:
                table = study.answer(scope, args.setting, args.claim, pool)
            study.show(table)
            return 0
        if args.redraw:
            table, paths = study.redraw(args.folder, args.theme)
        else:
            with worker_pool(args.workers, args.cluster) as pool:
                saved = study.run_study(scope, args.saved, args.folder, pool)
            table, paths = study.report(saved, args.folder, args.theme)
        if args.publish and PAGE.exists():
            paths.append(study.quote(args.folder, PAGE))
        study.show(table, paths)
    except ValueError as error:
        fail(error)
    return 0


def check(args: Args) -> None:
    """Raise a ValueError, before anything runs, for values that make no sense."""
    check_study(args.folder, seed=args.seed, workers=args.workers, cluster=args.cluster, theme=args.theme)
    if args.seeds < 2:
        raise ValueError(f"--seeds is {args.seeds}; allowed: a whole number >= 2")
    if args.setting is not None:
        unused(args, {"quick", "setting", "claim", "seeds", "seed", "maps"}, "--setting")
    elif args.claim is not None:
        unused(args, {"quick", "claim", "seeds", "seed", "maps", "workers", "cluster"}, "--claim")
    elif args.redraw:
        unused(args, {"quick", "redraw", "out", "publish", "theme"}, "--redraw")
    if args.redraw and (args.setting or args.claim or args.maps):
        raise ValueError("--redraw draws what is saved; allowed with it: --quick, --out, --publish, --theme")
    if args.publish and (args.quick or args.maps or args.setting or args.claim):
        raise ValueError("--publish is for the whole study; allowed without it: --quick, --maps, --setting, --claim")
