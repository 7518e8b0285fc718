"""Films: ours against matplotlib's own animation of the same artists, and against the usual script."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from jaxtyping import Float
from matplotlib.animation import AbstractMovieWriter, FuncAnimation, PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from benchmarks.comparison import EXPERIMENTS, Comparison, compare, peak_memory
from ift_gridworld.children import run_script
from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, walkable
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.paths import PathOutline
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.training.run import Run

__all__ = ["lake_panel", "pictures", "saved_run"]


def saved_run(method: str = "ift", rows: str = "8x8", seeds: int = 4) -> Run:
    """Return a run to draw, made by the script itself."""
    script = EXPERIMENTS / "frozen_lake.py"
    with tempfile.TemporaryDirectory() as folder:
        options = ["--method", method, "--map", rows, "--seeds", str(seeds), "--out", folder]
        run_script(script, options).check_returncode()
        return Run.load(Path(folder) / f"{method}.json")


def lake_panel(record: Run) -> Film:
    """Return the lake of the one-method film and nothing else: tiles, outlines, arrows."""

    class Panel(Film):
        def __init__(self) -> None:
            super().__init__("light", (4.4, 4.4))
            mdp, grid = record.mdp, record.mdp.grid
            assert grid is not None
            self.visits, states = expected_visits(mdp, record.snapshots), walkable(mdp)
            ax = self.figure.add_axes((0.02, 0.02, 0.96, 0.96))
            draw_lake(ax, grid, self.theme)
            self.tiles = TileColours(ax, grid, states, self.theme.visits, Normalize(0, 1, clip=True))
            outline = PathOutline(ax, grid, record.demonstration[:, 0], self.theme.shown, inset=0.075)
            self.arrows = PolicyArrows(ax, grid, mdp.moves, states, self.theme)
            self.animate(self.tiles.artist, outline.artist, self.arrows.artist)

        def __len__(self) -> int:
            return len(record.steps)

        @property
        def alt(self) -> str:
            return "The lake and the policy's arrows, update after update."

        @property
        def change(self) -> Float[np.ndarray, " F"]:
            return np.ones(len(self) - 1)

        def update(self, index: int) -> None:
            self.tiles.update(self.visits[index])
            self.arrows.update(record.snapshots[index])

    return Panel()


def drawn(make: Callable[[], Film]) -> float:
    """Return our frames a second, drawn, without writing them."""
    film = make()
    start = time.perf_counter()
    for _ in film.frames():
        pass
    return len(film) / (time.perf_counter() - start)


def animated(make: Callable[[], Film]) -> float:
    """Return those of the same artists moved by matplotlib's FuncAnimation, with a writer that throws frames away."""

    class Nowhere(AbstractMovieWriter):
        def setup(self, fig: Any, outfile: Any, dpi: Any = None) -> None:
            self.fig, self.dpi = fig, dpi

        def grab_frame(self, **options: Any) -> None:
            self.fig.savefig(io.BytesIO(), format="rgba", dpi=self.dpi)

        def finish(self) -> None: ...

    film = make()
    for artist in film.animated:
        artist.set_animated(False)
    count = len(film)

    def step(index: int) -> list[Any]:
        film.update(index)
        return []

    animation = FuncAnimation(film.figure, step, frames=count, init_func=list)
    start = time.perf_counter()
    animation.save("nowhere", writer=Nowhere())
    return count / (time.perf_counter() - start)


def usual(record: Run) -> float:
    """Return those of a lake's film as tutorials make it: imshow and quiver, a title that tells the update, FuncAnimation."""

    class Nowhere(PillowWriter):
        def finish(self) -> None: ...

    mdp, visits = record.mdp, expected_visits(record.mdp, record.snapshots)
    assert mdp.layout is not None
    tall, wide = len(mdp.layout), len(mdp.layout[0])
    figure = Figure(figsize=(4.4, 4.4), dpi=100)
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    image = ax.imshow(visits[0].reshape(tall, wide), vmin=0, vmax=1)
    cells = np.divmod(np.repeat(np.arange(mdp.num_states), mdp.num_actions), wide)
    along = np.tile(mdp.moves, (mdp.num_states, 1))
    arrows = ax.quiver(cells[1], cells[0], along[:, 1], -along[:, 0], scale=2.2 * wide)
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


def pictures(pairs: int) -> list[Callable[[], Comparison]]:
    """Frames a second of the film of a run on 8x8, drawn but not written; its file; the memory of writing it."""
    record = saved_run()

    def memory() -> Comparison:
        """Peak memory of drawing and writing 8 times as many frames, in processes of their own."""
        peaks = [film_memory(record, times) for times in (1, 8)]
        return Comparison("memory of 8 times the frames", "ours, the frames once", peaks[1], peaks[0], None, "MB")

    def panel() -> Film:
        return lake_panel(record)

    def whole() -> Film:
        return MethodFilm(record)

    return [
        lambda: compare(
            "lake panel", "FuncAnimation, imshow and quiver", lambda: drawn(panel), lambda: usual(record), "frames/s", pairs
        ),
        lambda: compare(
            "lake panel", "FuncAnimation, our artists", lambda: drawn(panel), lambda: animated(panel), "frames/s", pairs
        ),
        lambda: compare(
            "whole film", "FuncAnimation, our artists", lambda: drawn(whole), lambda: animated(whole), "frames/s", pairs
        ),
        lambda: film_size(record),
        lambda: film_size(record, "gifsicle"),
        memory,
    ]


def film_size(record: Run, program: str = "") -> Comparison:
    """Compare the file of a film with that of the same frames by imageio's default GIF writer, whose pixels are as near to the
    frames as ours; where a program is named, it has made imageio's file smaller without loss."""
    peer = f"imageio, then {program} -O3" if program else "imageio"
    if program and shutil.which(program) is None:
        return Comparison("size of the film", peer, None, None, None, "kB", "not installed")
    film = MethodFilm(record)
    with tempfile.TemporaryDirectory() as folder:
        ours = film.save(Path(folder) / "ours.gif").stat().st_size
        theirs = Path(folder) / "theirs.gif"
        imageio.imwrite(theirs, [np.asarray(f) for f in film.frames()], duration=[1000 * d for d in film.durations], loop=0)
        if program:
            subprocess.run([program, "-O3", "--no-warnings", "--batch", str(theirs)], check=True)
        size = theirs.stat().st_size
    return Comparison("size of the film", peer, ours / 1000, size / 1000, size / ours, "kB")


def film_memory(record: Run, times: int) -> float:
    """Return the peak memory, in MB, of writing a film whose snapshots are repeated."""
    program = (
        "import sys\n"
        "import numpy as np\n"
        "from ift_gridworld.training.run import Run\n"
        "from ift_gridworld.rendering.method_film import MethodFilm\n"
        "record, times = Run.load(sys.argv[1]), int(sys.argv[2])\n"
        "film = MethodFilm(record)\n"
        "count = len(film)\n"
        "type(film).__len__ = lambda self: times * count\n"
        "type(film).durations = property(lambda self: [0.05] * len(self))\n"
        "move = type(film).update\n"
        "type(film).update = lambda self, index: move(self, index % count)\n"
        "film.save(sys.argv[3])\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        saved = record.save(Path(folder) / "run.json")
        return peak_memory(program, str(saved), str(times), str(Path(folder) / "film.gif"))
