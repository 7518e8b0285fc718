"""The base of every film: what does not change is drawn once, what changes is moved and drawn over it, frame by frame.

A film is written as its path's suffix says; the same artists make the still pictures. Everything is read from saved runs, so
that a film redrawn from its file is the film drawn after training.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from ift_gridworld.escape import printable
from ift_gridworld.rendering.encode import shared_palette, write_gif, write_video
from ift_gridworld.rendering.fonts import use_fonts
from ift_gridworld.rendering.formats import PICTURE_SIZES, STILLS, VIDEO, PictureOptions, check_format, poster_of
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.pace import at_speed, readable
from ift_gridworld.rendering.text import Number, NumberPatch, TextStyle
from ift_gridworld.rendering.theme import find_theme
from ift_gridworld.runtime import optional
from ift_gridworld.storage import write_atomically

__all__ = ["DPI", "Box", "Film", "file_metadata", "write_words"]

DPI = 100
Box = tuple[float, float, float, float]  # left, bottom, width, height of a part of a picture, in figure fractions
FIRST_SECONDS, LAST_SECONDS = 1.2, 2.5  # that the first and the last frame stand
MEAN_SECONDS, LEAST_SECONDS = 0.085, 0.04  # that the others stand


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
        self.theme_name, self.theme = theme, find_theme(theme)
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
        """Amount of change from each frame to the next, in any unit; one entry fewer than frames."""
        raise NotImplementedError

    @property
    def alt(self) -> str:
        """Description of the picture in words, for those who cannot see it."""
        raise NotImplementedError

    def reshaped(self, size: str) -> Film:
        """Return the film as it is laid out for a size, a name in `formats.PICTURE_SIZES`: itself, if it has one layout."""
        return self

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
        """Seconds that each frame stands: as `pace` says, and long enough for its captions (`pace.reading_seconds`)."""
        return readable(self.pace, self.captions)

    def _numbers(self, index: int) -> str:
        """Words and numbers of a frame that change from frame to frame (`text.Number`)."""
        self.update(index)
        return " ".join(str(artist.get_label()) for artist in self.animated if isinstance(artist, NumberPatch))

    # ---- composition, in inches from the upper left corner ----

    def add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add Axes at a place."""
        w, h = self.figure.get_size_inches()
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    @cached_property
    def overlay(self) -> Axes:
        """Axes over the whole picture, in inches, y downwards, for what would need many small ones."""
        width, height = self.figure.get_size_inches()
        ax = self.add_axes(0, 0, width, height)
        ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        ax.axis("off")
        return ax

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
        """The parts that never change, drawn once."""
        use_fonts(self.figure)
        self.canvas.draw()
        return self.canvas.copy_from_bbox(self.figure.bbox)

    def frame(self, index: int) -> Image.Image:
        """Draw one frame, RGB."""
        return self._drawn(index).convert("RGB")

    @isolated
    def _drawn(self, index: int) -> Image.Image:
        """Draw one frame, RGBA."""
        self.canvas.restore_region(self._background)
        self.update(index)
        renderer = self.canvas.get_renderer()
        for artist in self.animated:
            use_fonts(artist)
            artist.draw(renderer)
        size = self.canvas.get_width_height()
        return Image.frombuffer("RGBA", size, self.canvas.buffer_rgba(), "raw", "RGBA", 0, 1)

    def frames(self) -> Iterator[Image.Image]:
        """Draw every frame, one at a time."""
        return map(self.frame, range(len(self)))

    @isolated
    def save(
        self,
        path: str | Path,
        *,
        size: str | None = None,
        transparent: bool = False,
        poster: bool = False,
        speed: float = 1.0,
    ) -> Path:
        """Write the film (gif, mp4, webp), or its last frame as a still (png, pdf, svg), as the path's suffix says.

        What the picture shows is written beside it in words, as NAME.txt. Files are complete or not there at all.

        Args:
            path: where to write.
            size: a name in `formats.PICTURE_SIZES`, for which the picture is laid out anew where that helps, drawn as large as
                fits, and put on a page of that size; None for its own size.
            transparent: whether to leave the background out (png, svg, webp).
            poster: whether to write the last frame, too, beside a film NAME.gif as NAME.poster.png.
            speed: a factor of how fast the film runs, 0.1 to 10; captions can be read at 1.

        Returns:
            The path.

        Raises:
            ValueError: for an unknown suffix, size or speed, a video where the extra [video] is not installed, or what such a
                file cannot have.
            OSError: if the file cannot be written.
        """
        path = Path(path)
        kind = path.suffix.lstrip(".")
        check_format(kind)
        if kind == "html":
            raise ValueError("a film cannot be written as html; rendering.page.save_page writes a page")
        PictureOptions(size=size, transparent=transparent, poster=poster, speed=speed).check(kind)
        film = self if size is None else self.reshaped(size)
        with film._as_printed(size, transparent) as page:
            if kind in STILLS:
                film._save_still(path, kind, page)
            else:
                indices, durations = zip(*at_speed(film.durations, speed), strict=True)
                frames = map(page.sheet, indices)
                if kind in VIDEO:
                    write_video(path, frames, durations)
                else:
                    samples = [page.sheet(i) for i in sorted({0, len(film) // 3, len(film) - 1})]
                    write_gif(path, frames, durations, shared_palette(samples))
            if poster:
                write_atomically(poster_of(path), png_bytes(page.sheet(len(film) - 1)))
        write_words(path, film.alt)
        return path

    @contextmanager
    def _as_printed(self, size: str | None, transparent: bool) -> Iterator[_Page]:
        """Draw at the resolution of a page, on no background if so asked, until the block ends."""
        page = _Page(self, size, transparent)
        before = self.figure.get_dpi(), self.figure.get_facecolor()
        self.figure.set_dpi(page.dpi)
        if transparent:
            self.figure.set_facecolor("none")
        vars(self).pop("_background", None)
        try:
            yield page
        finally:
            self.figure.set_dpi(before[0])
            self.figure.set_facecolor(before[1])
            vars(self).pop("_background", None)

    def _save_still(self, path: Path, kind: str, page: _Page) -> Path:
        if page.size is not None and kind == "png":
            return write_atomically(path, png_bytes(page.sheet(len(self) - 1)))
        self.update(len(self) - 1)
        for artist in self.animated:
            artist.set_animated(False)
        use_fonts(self.figure)
        out = io.BytesIO()
        ground = "none" if page.transparent else self.theme.background
        metadata, box = file_metadata(kind), page.inches
        self.figure.savefig(out, format=kind, dpi=2 * DPI, facecolor=ground, metadata=metadata, bbox_inches=box)
        for artist in self.animated:
            artist.set_animated(True)
        return write_atomically(path, out.getvalue())


class _Page:
    """The page that a film's frames are printed on.

    Args:
        film: to be printed.
        size: a name in `formats.PICTURE_SIZES`; None for the film's own size.
        transparent: whether it has no background.

    Attributes:
        dpi: at which the film fills the page one way.
        size: of the page in pixels; None for the film's own.
    """

    def __init__(self, film: Film, size: str | None, transparent: bool) -> None:
        self.film, self.transparent = film, transparent
        self.dpi, self.size = float(DPI), None
        if size is not None:
            width, height = film.figure.get_size_inches()
            across, down = PICTURE_SIZES[size]
            self.dpi = across / width if down is None else min(across / width, down / height)
            self.size = (across, round(self.dpi * height) if down is None else down)

    @property
    def inches(self) -> Bbox | None:
        """The page around the figure, in the figure's inches; None where it is the figure."""
        if self.size is None:
            return None
        width, height = self.film.figure.get_size_inches()
        spare = np.array(self.size) / self.dpi - [width, height]
        return Bbox([-spare / 2, np.array([width, height]) + spare / 2])

    def sheet(self, index: int) -> Image.Image:
        """Draw a frame in the middle of the page."""
        frame = self.film._drawn(index)
        mode = "RGBA" if self.transparent else "RGB"
        if self.size is None:
            return frame.convert(mode)
        red, green, blue, _ = (round(255 * part) for part in to_rgba(self.film.theme.background))
        sheet = Image.new(mode, self.size, (red, green, blue, 0)[: len(mode)])
        sheet.paste(frame.convert(mode), ((self.size[0] - frame.width) // 2, (self.size[1] - frame.height) // 2))
        return sheet


def png_bytes(picture: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    out = io.BytesIO()
    picture.save(out, "png", optimize=True)
    return out.getvalue()


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
