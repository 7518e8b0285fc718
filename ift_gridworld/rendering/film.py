"""The base of every film: what does not change is drawn once, what changes is moved and drawn over it, frame by frame.

A film is written as its path's suffix says; the same artists make the still pictures. Everything is read from saved runs, so
that a film redrawn from its file is the film drawn after training.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ift_gridworld.escape import printable
from ift_gridworld.rendering.encode import shared_palette, write_gif, write_video
from ift_gridworld.rendering.fonts import use_fonts
from ift_gridworld.rendering.formats import STILLS, VIDEO, check_format, check_speed
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.text import Number, NumberPatch, TextStyle
from ift_gridworld.rendering.theme import Theme, find_theme
from ift_gridworld.runtime import optional
from ift_gridworld.storage import write_atomically

__all__ = ["DPI", "Box", "Film", "at_speed", "file_metadata", "reading_seconds", "write_words"]

DPI = 100
Box = tuple[float, float, float, float]  # left, bottom, width, height of a part of a picture, in figure fractions
FIRST_SECONDS, LAST_SECONDS = 1.2, 2.5  # that the first and the last frame stand
MEAN_SECONDS, LEAST_SECONDS = 0.085, 0.04  # that the others stand
WORDS_A_SECOND, LOOK_SECONDS = 3.0, 1.5  # that a reader takes in, and takes to look at the picture before
LEAST_FRAME = 0.02  # seconds; a frame of a GIF that stands for less than two hundredths is shown for ten
READ_FIRST = 0.6  # share of the time to read a caption that is spent on its first frame, before anything moves


def reading_seconds(words: str) -> float:
    """Return how long words have to stand: three a second, and 1.5 s to look at the picture.

    Args:
        words: with blanks between.

    Example:
        >>> reading_seconds("both answers become less likely")
        3.17
    """
    return ceil(100 * LOOK_SECONDS + 100 * len(words.split()) / WORDS_A_SECOND) / 100  # in hundredths, as GIF counts


def at_speed(durations: Sequence[float], speed: float) -> list[tuple[int, float]]:
    """Return the frames of a film at another speed, and how long each stands.

    Frames that would stand for less than a viewer shows are left out, and the one before them stands for their time, so that
    the film is as long as asked for.

    Args:
        durations: seconds that each frame stands at speed 1.
        speed: a factor, 0.1 to 10; 2 shows the film in half of the time.

    Raises:
        ValueError: for another speed.

    Example:
        >>> at_speed([1.0, 0.04, 0.04, 0.04, 2.0], 4)
        [(0, 0.25), (1, 0.03), (4, 0.5)]
    """
    check_speed(speed)
    frames: list[tuple[int, float]] = []
    for index, seconds in enumerate(durations):
        if frames and frames[-1][1] < LEAST_FRAME:
            if index < len(durations) - 1 or len(frames) == 1:
                frames[-1] = (frames[-1][0], frames[-1][1] + seconds / speed)
                continue
            frames[-2:] = [(frames[-2][0], frames[-2][1] + frames[-1][1])]  # the last frame is always shown
        frames.append((index, seconds / speed))
    ends = np.cumsum([0.0, *(seconds for _, seconds in frames)]).round(2)  # in hundredths, as GIF counts
    return [(index, round(float(rounded), 2)) for (index, _), rounded in zip(frames, np.diff(ends), strict=True)]


def _readable(durations: Sequence[float], captions: Sequence[str]) -> list[float]:
    """Let words stand until they can be read: what is missing is added where they appear, and a part where they go.

    Args:
        durations: seconds that each frame would stand by itself.
        captions: words in each frame, one text a line; lines that stood in the frame before are read already.
    """
    readable = list(durations)
    starts = [i for i in range(len(captions)) if i == 0 or captions[i] != captions[i - 1]]
    before: set[str] = set()
    for start, end in zip(starts, [*starts[1:], len(captions)], strict=True):
        new = [line for line in captions[start].splitlines() if line not in before]
        missing = reading_seconds(" ".join(new)) - sum(readable[start:end]) if new else 0.0
        if missing > 0:
            share = 1.0 if end - start == 1 else READ_FIRST
            readable[start] = round(readable[start] + share * missing, 2)
            readable[end - 1] = round(readable[end - 1] + (1 - share) * missing + 0.005, 2)
        before = set(captions[start].splitlines())
    return readable


class Film:
    """Frames of one figure, to be written as a film or as a still.

    A subclass composes the figure, passes what changes to `animate`, and defines `__len__`, `change`, `alt` and `update`.

    Args:
        theme: a name in THEMES.
        size: width and height in inches, of `DPI` pixels each.

    Attributes:
        figure: what is drawn.
        animated: what changes from frame to frame, from below.

    Raises:
        ValueError: for an unknown theme.
    """

    def __init__(self, theme: str, size: tuple[float, float]) -> None:
        self.theme: Theme = find_theme(theme)
        self.figure = Figure(figsize=size, dpi=DPI, facecolor=self.theme.background)
        self.canvas = FigureCanvasAgg(self.figure)
        self.animated: list[Artist] = []

    def __init_subclass__(cls) -> None:
        """Let each film compose and move its parts under matplotlib's own settings, not under the user's."""
        for name in ("__init__", "update"):
            if name in vars(cls):
                setattr(cls, name, isolated(vars(cls)[name]))

    def __len__(self) -> int:
        """Return the number of frames."""
        raise NotImplementedError

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        """How much changes from each frame to the next, in any unit; one entry fewer than frames."""
        raise NotImplementedError

    @property
    def alt(self) -> str:
        """What the picture shows, in words, for those who cannot see it."""
        raise NotImplementedError

    def update(self, index: int) -> None:
        """Move everything to frame `index`."""
        raise NotImplementedError

    @property
    def captions(self) -> list[str]:
        """Words that have to be read while each frame stands, one text a line; by default the numbers at either end."""
        ends = {i: self._numbers(i) for i in (0, len(self) - 1)}
        return [ends.get(i, "") for i in range(len(self))]

    @property
    def pace(self) -> list[float]:
        """Seconds that each frame would stand if there were nothing to read.

        Frames into which much changes stand longer, so that change flows evenly. The first and the last stand still for a
        while, so that the loop reads well.
        """
        change = self.change[:-1]  # into each frame between the first and the last
        relative = change / change.mean() if change.any() else np.ones_like(change)
        between = np.maximum(LEAST_SECONDS, MEAN_SECONDS * (0.4 + 0.6 * relative))
        return [FIRST_SECONDS, *between.round(2).tolist(), LAST_SECONDS][: len(self)]  # in hundredths, as GIF counts

    @property
    def durations(self) -> list[float]:
        """Seconds that each frame stands: as `pace` says, and long enough for its captions (`reading_seconds`)."""
        return _readable(self.pace, self.captions)

    def _numbers(self, index: int) -> str:
        """Words and numbers of a frame that change from frame to frame (`text.Number`)."""
        self.update(index)
        return " ".join(str(artist.get_label()) for artist in self.animated if isinstance(artist, NumberPatch))

    # ---- composition, in inches from the upper left corner ----

    def add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add Axes at a place."""
        w, h = self.figure.get_size_inches()
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    def add_text(self, left: float, top: float, text: str, **style: Unpack[TextStyle]) -> None:
        """Add text that does not change; `top` is its middle unless `va` says otherwise."""
        w, h = self.figure.get_size_inches()
        style.setdefault("va", "center")
        self.figure.text(left / w, 1 - top / h, text, **style)

    def add_number(
        self, left: float, top: float, *, size: float, colour: str, align: Literal["left", "right"] = "left"
    ) -> Number:
        """Add text that changes; `top` is its middle. It moves in every frame."""
        w, h = self.figure.get_size_inches()
        number = Number(self.figure, left / w, 1 - top / h, size=size, colour=colour, align=align)
        self.animate(number.artist)
        return number

    # ---- frames ----

    def animate(self, *artists: Artist) -> None:
        """Draw these in every frame, in this order, and leave them out of what is drawn once."""
        for artist in artists:
            artist.set_animated(True)
            self.animated.append(artist)

    @cached_property
    @isolated
    def _background(self) -> Any:
        """What never changes, drawn once."""
        use_fonts(self.figure)
        self.canvas.draw()
        return self.canvas.copy_from_bbox(self.figure.bbox)

    @isolated
    def frame(self, index: int) -> Image.Image:
        """Draw one frame, RGB."""
        self.canvas.restore_region(self._background)
        self.update(index)
        renderer = self.canvas.get_renderer()
        for artist in self.animated:
            use_fonts(artist)
            artist.draw(renderer)
        size = self.canvas.get_width_height()
        return Image.frombuffer("RGBA", size, self.canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")

    def frames(self) -> Iterator[Image.Image]:
        """Draw every frame, one at a time."""
        return map(self.frame, range(len(self)))

    @isolated
    def save(self, path: str | Path, *, speed: float = 1.0) -> Path:
        """Write the film (gif, mp4, webp), or its last frame as a still (png, pdf, svg), as the path's suffix says.

        What the picture shows is written beside it in words, as NAME.txt. Files are complete or not there at all.

        Args:
            path: where to write.
            speed: a factor of how fast the film runs, 0.1 to 10; captions can be read at 1.

        Returns:
            The path.

        Raises:
            ValueError: for an unknown suffix or speed, or a video where the extra [video] is not installed.
            OSError: if the file cannot be written.
        """
        path = Path(path)
        kind = path.suffix.lstrip(".")
        check_format(kind)
        check_speed(speed)
        if kind == "html":
            raise ValueError("a film cannot be written as html; rendering.page.save_page writes a page")
        if kind in STILLS:
            self._save_still(path, kind)
        else:
            indices, durations = zip(*at_speed(self.durations, speed), strict=True)
            frames = map(self.frame, indices)
            if kind in VIDEO:
                write_video(path, frames, durations)
            else:
                samples = [self.frame(i) for i in sorted({0, len(self) // 3, len(self) - 1})]
                write_gif(path, frames, durations, shared_palette(samples))
        write_words(path, self.alt)
        return path

    def _save_still(self, path: Path, kind: str) -> Path:
        self.update(len(self) - 1)
        for artist in self.animated:
            artist.set_animated(False)
        use_fonts(self.figure)
        out = io.BytesIO()
        self.figure.savefig(out, format=kind, dpi=2 * DPI, facecolor=self.theme.background, metadata=file_metadata(kind))
        for artist in self.animated:
            artist.set_animated(True)
        return write_atomically(path, out.getvalue())


def write_words(picture: Path, words: str) -> None:
    """Write what a picture shows beside it as NAME.txt, in one line; where that fails, a warning says so."""
    with optional(f"{picture} has no words beside it"):
        write_atomically(picture.with_name(f"{picture.name}.txt"), f"{printable(words)}\n".encode())


def file_metadata(kind: str) -> dict[str, None]:
    """Return metadata without a date, so that the same run gives the same file.

    Args:
        kind: the file's suffix, without its dot.
    """
    return {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
