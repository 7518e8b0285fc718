"""Text as paths, which a film can move at little cost, and the width of text before it is drawn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal, TypedDict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from ift_gridworld.escape import printable
from ift_gridworld.rendering.fonts import drawable, font_for, usual_family
from ift_gridworld.rendering.shapes import empty_path

__all__ = [
    "Letter", "Number", "NumberPatch", "NumberSheet", "TextStyle", "fill_lines", "legend_label", "plain_text", "short_title",
    "shorten", "text_width", "wrap_text",
]  # fmt: skip


class TextStyle(TypedDict, total=False):
    """Keyword arguments of matplotlib's `Figure.text` that pictures use; size in points."""

    size: float
    weight: str
    color: str
    ha: str
    va: str
    linespacing: float


class Letter:
    """A letter in a tile's upper left corner or in its middle, drawn as a path: text would be laid out anew in every frame.

    Args:
        ax: where to draw, in units of a tile.
        column, row: the tile.
        text: the letter, or a few of them.
        colour: any colour of matplotlib's.
        size: height of the type, in tiles.
        centred: whether it stands in the middle of the tile.

    Attributes:
        artist: what was added to the Axes.
    """

    def __init__(
        self, ax: Axes, column: float, row: float, text: str, colour: str, size: float = 0.2, *, centred: bool = False
    ) -> None:
        glyph = _outline(text, size)
        placement = Affine2D().scale(1, -1).translate(column + 0.17, row + 0.17 + 0.75 * size)
        if centred:
            box = glyph.get_extents()
            placement = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2).scale(1, -1)
            placement.translate(column + 0.5, row + 0.5)
        self.artist = PathPatch(placement.transform_path(glyph), fc=colour, lw=0)
        ax.add_patch(self.artist)


class NumberPatch(PathPatch):
    """The outline of one or more texts; its label is what they say."""


class Number:
    """Bold text that changes from frame to frame, drawn as a path of cached glyphs, because laying text out is slow.

    Args:
        figure: where to draw.
        x, y: position in figure fractions; `y` is the middle of the digits.
        size: size of the type, in points.
        colour: any colour of matplotlib's.
        align: which end of the text stands at `x`.

    Attributes:
        artist: what was added to the figure.
    """

    UNIT = 100.0  # points at which glyphs are cached
    _glyphs: ClassVar[dict[str, tuple[np.ndarray, np.ndarray, float]]] = {}  # outline, codes, advance

    def __init__(
        self, figure: Figure, x: float, y: float, *, size: float, colour: str, align: Literal["left", "right"] = "left"
    ) -> None:
        width, height = figure.get_size_inches()
        self.sheet = NumberSheet(figure, colour)
        self.index = self.sheet.place(x * width, y * height, size=size, align=align)
        self.artist = self.sheet.artist

    def update(self, text: str) -> None:
        """Show another text, in one line."""
        self.sheet.write(self.index, text)
        self.sheet.refresh()

    @classmethod
    def outline(cls, text: str) -> tuple[np.ndarray, np.ndarray, float]:
        """Return outline, codes and width of a text in one line, at a size of `UNIT` points."""
        codes, pen, outlines = [], 0.0, []
        for letter in drawable(printable(text), bold=True):
            outline, letter_codes, advance = cls._glyph(letter)
            codes.append(letter_codes)
            outlines.append(outline + np.array([pen, 0.0]))
            pen += advance
        if not outlines:
            return np.zeros((0, 2)), np.zeros(0, Path.code_type), 0.0
        return np.concatenate(outlines), np.concatenate(codes), pen

    @classmethod
    def _glyph(cls, letter: str) -> tuple[np.ndarray, np.ndarray, float]:
        if letter not in cls._glyphs:
            with_letter, without = (cls._outline(text) for text in (f"|{letter}|", "||"))
            advance = float(np.ptp(with_letter[0][:, 0]) - np.ptp(without[0][:, 0]))
            cls._glyphs[letter] = (*cls._outline(letter), advance)
        return cls._glyphs[letter]

    @classmethod
    def _outline(cls, text: str) -> tuple[np.ndarray, np.ndarray]:
        if text.isspace():  # which TextPath cannot draw
            return np.zeros((0, 2)), np.zeros(0, Path.code_type)
        path = _outline(text, cls.UNIT, bold=True)
        return np.asarray(path.vertices), np.asarray(path.codes)


class NumberSheet:
    """Many texts as `Number`, of one colour and in one path: each artist of its own would cost a call to the renderer.

    Args:
        figure: where to draw.
        colour: any colour of matplotlib's.

    Attributes:
        artist: what was added to the figure.
    """

    def __init__(self, figure: Figure, colour: str) -> None:
        self.places: list[tuple[float, float, float, str]] = []  # x, y, scale, align
        self.texts: list[str] = []
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []
        self.artist = NumberPatch(empty_path(), fc=colour, lw=0, transform=figure.dpi_scale_trans)
        figure.add_artist(self.artist)

    def place(self, x: float, y: float, *, size: float, align: str = "left") -> int:
        """Add a text that is empty as yet; returns its number.

        Args:
            x, y: its end and the middle of its digits, in inches from the lower left corner.
            size: size of the type, in points.
            align: which end of the text stands at `x`, left or right.
        """
        self.places.append((x, y, size / Number.UNIT / 72, align))
        self.texts.append("")
        self.parts.append((np.zeros((0, 2)), np.zeros(0, Path.code_type)))
        return len(self.texts) - 1

    def write(self, index: int, text: str) -> None:
        """Change a text, which `refresh` shows."""
        if text == self.texts[index]:
            return
        x, y, scale, align = self.places[index]
        outline, codes, width = Number.outline(text)
        origin = np.array([x - (width * scale if align == "right" else 0.0), y - 0.364 * Number.UNIT * scale])
        self.texts[index], self.parts[index] = text, (outline * scale + origin, codes)

    def refresh(self) -> None:
        """Show the texts as they were written."""
        self.artist.set_label(" ".join(self.texts))
        vertices, codes = (np.concatenate(parts) for parts in zip(*self.parts, strict=True))
        self.artist.set_path(Path(vertices, codes) if len(vertices) else empty_path())


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of one line of text, in inches.

    Args:
        text: the line; may be empty.
        size: size of the type, in points.
        bold: whether the type is bold.

    Example:
        >>> 0.2 < text_width("frozen lake", 9.0) < 1.0
        True
    """
    return _text_width(text, size, bold, usual_family())


@cache  # laying text out is slow, and words come again in every frame
def _text_width(text: str, size: float, bold: bool, family: tuple[str, ...]) -> float:
    """`text_width` in the font of the settings, which `family` names."""
    if not text.strip():  # which TextPath cannot draw
        return 0.0
    return _right_end(_outline(text, size, bold=bold)) / 72


def _right_end(outline: Path) -> float:
    """Return the largest x of an outline, as its `get_extents` does, which evaluates every curve."""
    codes = np.asarray(outline.codes)
    if (codes == Path.CURVE4).any():
        return float(outline.get_extents().x1)
    x = np.asarray(outline.vertices)[:, 0]
    controls, ends = np.flatnonzero(codes == Path.CURVE3).reshape(-1, 2).T
    on_curve = np.isin(codes, (Path.MOVETO, Path.LINETO))
    on_curve[ends] = True
    start, control, end = x[controls - 1], x[controls], x[ends]
    bulges = control > np.maximum(start, end)
    start, control, end = start[bulges], control[bulges], end[bulges]
    t = (start - control) / (start - 2 * control + end)  # where the derivative is 0
    peaks = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    return float(np.concatenate([x[on_curve], peaks]).max())


def _outline(text: str, size: float, *, bold: bool = False) -> TextPath:
    """Text as it stands as a path; size in points."""
    return TextPath((0, 0), plain_text(text, bold=bold), size=size, prop=font_for(text, bold=bold))


def plain_text(text: str, *, bold: bool = False) -> str:
    r"""Return text that matplotlib draws as it stands, instead of taking what is between two dollars for mathematics.

    Args:
        text: of any number of lines.
        bold: whether the type is bold.

    Example:
        >>> print(plain_text("a $b$ lake"))
        a \$b\$ lake
    """
    lines = "\n".join(map(printable, text.split("\n")))
    return drawable(lines, bold=bold).replace("$", r"\$")


def legend_label(name: str) -> str:
    """Return a name as the label of an artist that a legend explains: matplotlib leaves out labels that begin with "_".

    Args:
        name: as it is to be drawn (`plain_text`).

    Example:
        >>> legend_label("mine"), legend_label("_mine")
        ('mine', ' _mine')
    """
    return f" {name}" if name.startswith("_") else name


def wrap_text(text: str, width: float, size: float) -> str:
    """Break text into lines of at most `width` inches; a longer word has a line of its own.

    Args:
        text: words with blanks between.
        width: in inches.
        size: size of the type, in points.

    Example:
        >>> print(wrap_text("the policy walks to the goal", 1.0, 9.0))
        the policy walks
        to the goal
    """
    return _wrap_text(text, width, size, usual_family())


def fill_lines(words: Sequence[str], width: float, size: float, *, bold: bool = False) -> list[str]:
    """Put words into lines of at most `width` inches, ready to be drawn; a longer word is shortened.

    Args:
        words: in their order.
        width: in inches.
        size: size of the type, in points.
        bold: whether the type is bold.

    Example:
        >>> fill_lines(["the policy", "walks to", "the goal"], 0.8, 9.0)
        ['the policy', 'walks to', 'the goal']
    """
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size, bold=bold) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shorten(line, width, size, bold=bold) for line in lines]


@cache
def _wrap_text(text: str, width: float, size: float, family: tuple[str, ...]) -> str:
    """`wrap_text` in the font of the settings, which `family` names."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return plain_text("\n".join(lines))


def shorten(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Make a name ready to be drawn: as it stands, in one line of at most `width` inches.

    Without this a long name runs over its neighbours, and matplotlib takes what stands between two dollars for mathematics.

    Args:
        text: the line.
        width: in inches.
        size: size of the type, in points.
        bold: whether the type is bold.

    Example:
        >>> shorten("ift", 1.0, 9.0), shorten("a_method_with_a_long_name", 1.0, 9.0).endswith("…")
        ('ift', True)
    """
    return _shorten(text, width, size, bold, usual_family())


@cache
def _shorten(text: str, width: float, size: float, bold: bool, family: tuple[str, ...]) -> str:
    """`shorten` in the font of the settings, which `family` names."""
    text = printable(text)
    if text_width(text, size, bold=bold) <= width:
        return plain_text(text, bold=bold)
    fitting = bisect_right(range(len(text)), width, key=lambda end: text_width(f"{text[:end]}…", size, bold=bold))
    return f"{plain_text(text[: max(0, fitting - 1)], bold=bold)}…"


def short_title(title: str) -> str:
    """Return the part of a method's title that stands above its column: what follows the dot if that is an acronym.

    Args:
        title: as in METHODS, "acronym · full name" or "family · acronym".

    Example:
        >>> short_title("IFT · intuitive fine-tuning"), short_title("RLHF · PPO"), short_title("my method")
        ('IFT', 'PPO', 'my method')
    """
    first, _, second = title.partition(" · ")
    return second if second.isupper() else first
