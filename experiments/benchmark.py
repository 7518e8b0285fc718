"""Measure this project against what its users would pick instead, side by side on one machine.

    python experiments/benchmark.py

Each comparison is run in pairs, ours and the peer's in turn, and the median of the pairs' ratios is reported: a machine that is
busy slows both. A peer that is not installed is a row that says so. Prints a table and writes benchmark.json.
"""

from __future__ import annotations

import io
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from ift_gridworld.command import fail, launch, progress
from ift_gridworld.console import console
from ift_gridworld.records import versions, write_atomically

if TYPE_CHECKING:
    from ift_gridworld.records import Record
    from ift_gridworld.rendering.film import Film


@dataclass(frozen=True)
class Args:
    """The command line."""

    only: str = ""
    """Run only comparisons whose name contains this."""
    pairs: int = 5
    """How often each comparison is run."""
    out: Path = Path("figures/benchmark")
    """Folder that benchmark.json is written to."""


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is compared.
        peer: with whom.
        ours, theirs: medians, in `unit`.
        ratio: median of the pairs' ratios, above 1 where we are better.
        unit: what is measured, and whether more is better.
    """

    name: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    unit: str


def compare(name: str, peer: str, ours: Callable[[], float], theirs: Callable[[], float], unit: str, pairs: int) -> Row:
    """Both in turn; `ours` and `theirs` return a figure of which more is better if the unit ends in "/s", else less."""
    measured = [(ours(), theirs()) for _ in range(pairs)]
    more = unit.endswith("/s")
    ratios = [a / b if more else b / a for a, b in measured]
    return Row(name, peer, median(a for a, _ in measured), median(b for _, b in measured), median(ratios), unit)


# ---- pictures ----


def saved_run(method: str = "ift", rows: str = "8x8", seeds: int = 4) -> Record:
    """A run to draw, made by the script itself."""
    from ift_gridworld.records import Record

    script = Path(__file__).with_name("frozen_lake.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(script), "--method", method, "--map", rows, "--seeds", str(seeds), "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        return Record.load(Path(folder) / f"{method}.json")


def lake_panel(record: Record) -> Film:
    """The lake of the one-method film and nothing else: tiles, outlines, arrows."""
    from jaxtyping import Float
    from matplotlib.colors import Normalize

    from ift_gridworld.metrics import expected_visits
    from ift_gridworld.rendering import maps
    from ift_gridworld.rendering.film import Film

    class Panel(Film):
        def __init__(self) -> None:
            super().__init__("light", (4.4, 4.4))
            mdp, board = record.lake.mdp, record.lake.mdp.board
            assert board is not None
            self.visits, walkable = expected_visits(mdp, record.snapshots), maps.walkable(mdp)
            ax = self.figure.add_axes((0.02, 0.02, 0.96, 0.96))
            maps.draw_lake(ax, board, self.theme)
            self.tiles = maps.Tiles(ax, board, walkable, self.theme.visits, Normalize(0, 1, clip=True))
            outline = maps.Outlines(ax, board, record.shown[:, 0], self.theme.shown, inset=0.075)
            self.arrows = maps.Arrows(ax, board, mdp.moves, walkable, self.theme)
            self.moves(self.tiles.artist, outline.artist, self.arrows.artist)

        def __len__(self) -> int:
            return len(record.steps)

        @property
        def change(self) -> Float[np.ndarray, " F"]:
            return np.ones(len(self) - 1)

        def update(self, index: int) -> None:
            self.tiles.update(self.visits[index])
            self.arrows.update(record.snapshots[index])

    return Panel()


def drawn(make: Callable[[], Film]) -> float:
    """Our frames a second, drawn, without writing them."""
    film = make()
    film.frame(0)
    start = time.perf_counter()
    for _ in film.frames():
        pass
    return len(film) / (time.perf_counter() - start)


def animated(make: Callable[[], Film]) -> float:
    """The same artists moved by matplotlib's FuncAnimation, as everybody does it: frames a second, handed to a writer that
    throws them away."""
    from matplotlib.animation import AbstractMovieWriter, FuncAnimation

    class Nowhere(AbstractMovieWriter):
        def setup(self, fig: Any, outfile: Any, dpi: Any = None) -> None:
            self.fig, self.dpi = fig, dpi

        def grab_frame(self, **options: Any) -> None:
            self.fig.savefig(io.BytesIO(), format="rgba", dpi=self.dpi)

        def finish(self) -> None: ...

    film = make()
    for artist in film.moving:
        artist.set_animated(False)
    count = len(film)

    def step(index: int) -> list[object]:
        film.update(index)
        return []

    animation = FuncAnimation(film.figure, step, frames=count, init_func=list)  # type: ignore[arg-type]
    start = time.perf_counter()
    animation.save("nowhere", writer=Nowhere())
    return count / (time.perf_counter() - start)


def usual(record: Record) -> float:
    """A lake's film as tutorials make it: imshow and quiver, a title that tells the update, FuncAnimation."""
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ift_gridworld.metrics import expected_visits

    class Nowhere(PillowWriter):
        def finish(self) -> None: ...

    mdp, visits = record.lake.mdp, expected_visits(record.lake.mdp, record.snapshots)
    assert mdp.layout is not None
    tall, wide = len(mdp.layout), len(mdp.layout[0])
    figure = Figure(figsize=(4.4, 4.4), dpi=100)
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    image = ax.imshow(visits[0].reshape(tall, wide), vmin=0, vmax=1)
    where = np.divmod(np.repeat(np.arange(mdp.num_states), mdp.num_actions), wide)
    along = np.tile(mdp.moves, (mdp.num_states, 1))
    arrows = ax.quiver(where[1], where[0], along[:, 1], -along[:, 0], scale=2.2 * wide)
    title = ax.set_title("")

    def step(index: int) -> list[Any]:
        image.set_data(visits[index].reshape(tall, wide))
        size = record.snapshots[index].ravel()
        arrows.set_UVC(along[:, 1] * size, -along[:, 0] * size)
        title.set_text(f"update {record.steps[index]}")
        return []

    count = len(record.steps)
    animation = FuncAnimation(figure, step, frames=count, init_func=list)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        animation.save(Path(folder) / "usual.gif", writer=Nowhere())
    return count / (time.perf_counter() - start)


def pictures(pairs: int) -> list[Callable[[], Row]]:
    from ift_gridworld.rendering.method_film import MethodFilm

    record = saved_run()

    def sizes() -> Row:
        """The same frames by imageio's default GIF writer; pixels are then as near to the frames as ours are."""
        import imageio.v3 as imageio

        film = MethodFilm(record)
        with tempfile.TemporaryDirectory() as folder:
            ours = film.save(Path(folder) / "ours.gif").stat().st_size
            theirs = Path(folder) / "theirs.gif"
            imageio.imwrite(theirs, [np.asarray(f) for f in film.frames()], duration=[1000 * d for d in film.durations], loop=0)
            return Row(
                "size of the film", "imageio", ours / 1000, theirs.stat().st_size / 1000, theirs.stat().st_size / ours, "kB"
            )

    def memory() -> Row:
        """Peak memory of drawing and writing 8 times as many frames, in processes of their own."""
        peaks = [peak_memory(record, times) for times in (1, 8)]
        return Row("memory of 8 times the frames", "ours, once", peaks[1], peaks[0], peaks[0] / peaks[1], "MB")

    def panel() -> Film:
        return lake_panel(record)

    def whole() -> Film:
        return MethodFilm(record)

    return [
        lambda: compare("lake panel", "imshow, quiver", lambda: drawn(panel), lambda: usual(record), "frames/s", pairs),
        lambda: compare("lake panel", "our artists", lambda: drawn(panel), lambda: animated(panel), "frames/s", pairs),
        lambda: compare("whole film", "our artists", lambda: drawn(whole), lambda: animated(whole), "frames/s", pairs),
        sizes,
        memory,
    ]


def peak_memory(record: Record, times: int) -> float:
    """In MB, of writing a film whose snapshots are repeated."""
    program = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from ift_gridworld.records import Record\n"
        "from ift_gridworld.rendering.method_film import MethodFilm\n"
        "record, times = Record.load(sys.argv[1]), int(sys.argv[2])\n"
        "film = MethodFilm(record)\n"
        "count = len(film)\n"
        "type(film).__len__ = lambda self: times * count\n"
        "type(film).durations = property(lambda self: [0.05] * len(self))\n"
        "move = type(film).update\n"
        "type(film).update = lambda self, index: move(self, index % count)\n"
        "film.save(sys.argv[3])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        saved = record.save(Path(folder) / "run.json")
        command = [sys.executable, "-c", program, str(saved), str(times), str(Path(folder) / "film.gif")]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


# ---- seeds ----


def seeds(pairs: int) -> list[Callable[[], Row]]:
    """Settings of the reproduction at one learning rate: 64 seeds as one run, against 64 runs of one."""
    from ift_gridworld.study import Setting, run_setting

    def taken(setting: Setting, count: int) -> float:
        began = time.perf_counter()
        run_setting(setting, seeds=count, rates=(setting.common_rate,))
        return time.perf_counter() - began

    def of(name: str) -> Callable[[], Row]:
        setting = Setting.parse(name)
        once = "64 runs of one"
        return lambda: compare(
            f"64 seeds, {name}", once, lambda: taken(setting, 64), lambda: 64 * taken(setting, 1), "s", min(pairs, 3)
        )

    return [of(f"4x4,{ice},good-0.5,{policy},adam,1") for ice in ("firm", "slippery") for policy in ("mlp-64", "tabular")]


# ---- language ----


def language(pairs: int) -> list[Callable[[], Row]]:
    """What an update of a language model costs, each trainer in a process of its own, against another on the same rows."""
    script = Path(__file__).with_name("language_updates.py")

    def of(trainer: str, measure: str, *options: str) -> Callable[[], float]:
        def run() -> float:
            command = [sys.executable, str(script), "--trainer", trainer, *options]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            return float(json.loads(told.splitlines()[-1])[measure]) / (1 if measure == "ms" else 1e6)

        return run

    def row(ours: str, theirs: str, measure: str, *options: str) -> Callable[[], Row]:
        name = " ".join(["update", ours, *options])
        unit = {"ms": "ms", "bytes": "MB"}[measure]
        return lambda: compare(name, theirs, of(ours, measure, *options), of(theirs, measure, *options), unit, min(pairs, 3))

    even = ("--prompt", "32", "--answer", "32")
    rows = [
        row("ift", "sft", "ms"),
        row("ift", "sft", "bytes"),
        row("ift", "sft", "ms", *even),
        row("ift_trainer", "transformers", "ms"),
        row("sft", "transformers", "ms"),
    ]
    if find_spec("trl"):
        rows += [row("sft", "trl", "ms"), row("ift", "trl", "ms"), row("ift_trainer", "trl", "ms")]
    return rows


SECTIONS: dict[str, Callable[[int], list[Callable[[], Row]]]] = {"pictures": pictures, "seeds": seeds, "language": language}


def main(args: Args) -> int:
    chosen = {name: section for name, section in SECTIONS.items() if args.only in name}
    if not chosen:
        fail(f"--only is {args.only!r}; allowed: {', '.join(SECTIONS)}")
    if args.pairs < 1:
        fail(f"--pairs is {args.pairs}; allowed: at least 1")
    rows: list[Row] = []
    for name, section in chosen.items():
        with progress(name) as report:
            comparisons = section(args.pairs)
            for done, comparison in enumerate(comparisons):
                report(done, len(comparisons))
                rows.append(comparison())
    table = Table(
        "what",
        "peer",
        "ours",
        "theirs",
        "times better",
        "unit",
        title=f"medians of {args.pairs} pairs; films: peers are drawn by FuncAnimation",
        title_justify="left",
    )
    for row in rows:
        table.add_row(row.name, row.peer, f"{row.ours:.4g}", f"{row.theirs:.4g}", f"{row.ratio:.2f}", row.unit)
    console().print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    entries = {
        "machine": platform.processor() or platform.machine(),
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
    }
    print(f"wrote {write_atomically(args.out / 'benchmark.json', json.dumps(entries, indent=1).encode())}")
    return 0


if __name__ == "__main__":
    launch(main, Args, __doc__)
