"""What every film shares: what does not change is drawn once, what does is moved and drawn over it, one frame at a time.

A film is written as its path's suffix says; the same artists make the still pictures. Everything is read from saved runs, so
that a film redrawn from its file is the film drawn after training.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from PIL import Image

from ift_gridworld.rendering import STILLS, VIDEO, check_format
from ift_gridworld.rendering.encode import shared_palette, write_gif, write_video
from ift_gridworld.rendering.maps import Number
from ift_gridworld.rendering.theme import THEMES, Theme
from ift_gridworld.storage import write_atomically

DPI = 100
FIRST, LAST = 1.2, 2.5  # seconds that the first and the last frame stand
EACH, LEAST = 0.085, 0.04  # seconds that the others stand: on average, and at least


class Film:
    """Args:
    theme: a name in THEMES.
    size: width and height in inches, of DPI pixels each.
    """

    def __init__(self, theme: str, size: tuple[float, float]) -> None:
        self.theme: Theme = THEMES[theme]
        self.figure = Figure(figsize=size, dpi=DPI, facecolor=self.theme.background)
        self.canvas = FigureCanvasAgg(self.figure)
        self.moving: list[Artist] = []

    def __len__(self) -> int:
        """Number of frames."""
        raise NotImplementedError

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        """How much changes from each frame to the next, in any unit."""
        raise NotImplementedError

    @property
    def alt(self) -> str:
        """What there is to see, in words, for who cannot see it."""
        raise NotImplementedError

    def update(self, index: int) -> None:
        """Move everything to frame `index`."""
        raise NotImplementedError

    @property
    def durations(self) -> list[float]:
        """Seconds that each frame stands. What changes much is shown longer, so that change flows evenly; the first and the
        last stand still for a while, so that the loop reads well."""
        change = self.change[:-1]  # into each frame between the first and the last
        even = change / change.mean() if change.any() else np.ones_like(change)
        between = np.maximum(LEAST, EACH * (0.4 + 0.6 * even))
        return [FIRST, *between.round(2).tolist(), LAST][: len(self)]  # in hundredths, as GIF counts

    # ---- composition, in inches from the upper left corner ----

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at a place."""
        w, h = self.figure.get_size_inches()
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    def words(self, left: float, top: float, text: str, **style: object) -> None:
        """Text that stays; `top` is its middle unless `va` says otherwise."""
        w, h = self.figure.get_size_inches()
        self.figure.text(left / w, 1 - top / h, text, **{"va": "center", **style})  # type: ignore[arg-type]

    def number(self, left: float, top: float, **style: object) -> Number:
        """Text that changes."""
        w, h = self.figure.get_size_inches()
        return Number(self.figure, left / w, 1 - top / h, **style)  # type: ignore[arg-type]

    # ---- frames ----

    def moves(self, *artists: Artist) -> None:
        """Have these drawn in every frame, in this order, and left out of what is drawn once."""
        for artist in artists:
            artist.set_animated(True)
            self.moving.append(artist)

    @cached_property
    def _still(self) -> Any:
        """What never changes, drawn once."""
        self.canvas.draw()
        return self.canvas.copy_from_bbox(self.figure.bbox)

    def frame(self, index: int) -> Image.Image:
        """One frame, RGB: what moves, moved and drawn over what does not."""
        self.canvas.restore_region(self._still)
        self.update(index)
        renderer = self.canvas.get_renderer()
        for artist in self.moving:
            artist.draw(renderer)
        size = self.canvas.get_width_height()
        return Image.frombuffer("RGBA", size, self.canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")

    def frames(self) -> Iterator[Image.Image]:
        """Every frame, drawn one at a time."""
        return map(self.frame, range(len(self)))

    def save(self, path: str | Path) -> Path:
        """Write as the path's suffix says, a film (gif, mp4, webp) or the last frame as a still (png, pdf, svg), and beside it
        what there is to see in words, as NAME.txt."""
        path = Path(path)
        kind = path.suffix.lstrip(".")
        check_format(kind)
        if kind == "html":
            raise ValueError("a film cannot be written as html; rendering.page.save_page writes a page")
        if kind in STILLS:
            self._save_still(path, kind)
        elif kind in VIDEO:
            write_video(path, self.frames(), self.durations)
        else:
            samples = [self.frame(i) for i in sorted({0, len(self) // 3, len(self) - 1})]
            write_gif(path, self.frames(), self.durations, shared_palette(samples))
        write_atomically(path.with_name(f"{path.name}.txt"), f"{self.alt}\n".encode())
        return path

    def _save_still(self, path: Path, kind: str) -> Path:
        self.update(len(self) - 1)
        for artist in self.moving:
            artist.set_animated(False)
        out = io.BytesIO()
        with rc_context({"svg.hashsalt": "ift_gridworld"}):  # names inside an SVG are drawn from it
            self.figure.savefig(out, format=kind, dpi=2 * DPI, facecolor=self.theme.background, metadata=dateless(kind))
        for artist in self.moving:
            artist.set_animated(True)
        return write_atomically(path, out.getvalue())


def style(ax: Axes, theme: Theme) -> None:
    """Two faint axes, small labels."""
    ax.set_facecolor(theme.background)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    ax.tick_params(colors=theme.muted, labelsize=8.5, length=2.5, color=theme.faint, pad=2)


def update_ticks(last: int, apart: float = 0.12) -> list[int]:
    """0, the last update, and round numbers between that stand apart on a square-root axis."""
    ticks = [last]
    for value in sorted((m * 10**k for m in (1, 2, 5) for k in range(7)), reverse=True):
        if value < last and np.sqrt(ticks[-1] / last) - np.sqrt(value / last) > apart and value / last >= 0.012:
            ticks.append(value)
    return [0, *reversed(ticks)]


@cache  # laying text out is slow, and words come again in every frame
def text_width(text: str, size: float) -> float:
    """Of one line, in inches."""
    return float(TextPath((0, 0), text, size=size).get_extents().x1) / 72


@cache
def fitted(text: str, width: float, size: float) -> str:
    """The text in lines of at most `width` inches."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def dateless(kind: str) -> dict[str, None]:
    """The same run gives the same file: no date inside."""
    return {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
