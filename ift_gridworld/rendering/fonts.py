"""Fonts for signs that matplotlib's own font lacks, such as those of Chinese, Japanese and Korean names.

A sign that the font lacks is drawn in an installed font that has it, the first by name. Where no installed font has it, the
picture shows its escape instead, ``\\u6e56``, and one line of the log says which sign that was; words beside the picture keep
the name as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font, weight_dict
from matplotlib.text import Text

from ift_gridworld.escape import printable

__all__ = ["drawable", "font_for", "use_fonts", "usual_family"]

NORMAL, BOLD = 400, 700
BLANK = ("Last Resort", ".LastResort", "Adobe Blank")  # fonts that have every sign, as a box or as nothing


def drawable(text: str, *, bold: bool = False) -> str:
    r"""Return text with each sign that no installed font has as its escape.

    Args:
        text: of any number of lines.
        bold: whether the type is bold.

    Example:
        >>> drawable("ice"), drawable("frozen \u03b8")
        ('ice', 'frozen θ')
    """
    if text.isascii():
        return text
    family = usual_family()
    return "".join(sign if sign == "\n" or _face_with(sign, bold, family) is not None else _escape(sign) for sign in text)


def font_for(text: str, *, bold: bool = False) -> FontProperties:
    """Return the font of matplotlib's settings, with installed fonts behind it for signs that it lacks.

    Args:
        text: that is to be drawn.
        bold: whether the type is to be bold; it is not where a sign has no bold font.
    """
    family = usual_family()
    faces = [] if text.isascii() else [face for sign in text if (face := _face_with(sign, bold, family))]
    font = FontProperties(weight="bold" if bold and all(weight == BOLD for _, weight in faces) else "normal")
    if faces:
        font.set_family([*font.get_family(), *dict.fromkeys(family for family, _ in faces)])
    return font


def use_fonts(artist: Artist) -> None:
    """Let every text of an artist, such as a whole figure, be drawn in fonts that have its signs.

    Args:
        artist: whose texts get other fonts where they hold a sign that the usual font lacks.
    """
    family = usual_family()
    for text in _texts(artist):
        bold = _weight(text.get_fontweight()) >= BOLD
        if any(_face_with(sign, bold, family) for sign in text.get_text() if not sign.isascii()):
            font = font_for(text.get_text(), bold=bold)
            text.set_fontfamily(font.get_family())
            text.set_fontweight(font.get_weight())


def _texts(artist: Artist) -> Iterator[Text]:
    """Yield every text of an artist but those of axes that are off, whose ticks would first have to be made."""
    if isinstance(artist, Text):
        yield artist
    for child in artist.get_children():
        if not (isinstance(child, Axis) and not child.axes.axison):
            yield from _texts(child)


def usual_family() -> tuple[str, ...]:
    """Return the font families of matplotlib's settings; what is cached of a text's looks is cached for them."""
    return tuple(mpl.rcParams["font.family"])


@cache
def _face_with(sign: str, bold: bool, usual_family: tuple[str, ...]) -> tuple[str, int] | tuple[()] | None:
    """Return family and weight of the installed font for a sign: empty for the usual font, None if there is none."""
    weight = BOLD if bold else NORMAL
    usual = get_font(findfont(FontProperties(family=list(usual_family), weight=weight)))
    if usual.get_char_index(ord(sign)):
        return ()
    others = [e for e in fontManager.ttflist if e.style == "normal" and not e.name.startswith((usual.family_name, *BLANK))]
    for entry in sorted(others, key=lambda entry: (abs(_weight(entry.weight) - weight), entry.name, entry.fname)):
        with suppress(OSError, RuntimeError):  # a file that has been removed since, or that is no font
            font = get_font(entry.fname)
            if font.scalable and font.get_char_index(ord(sign)):
                return entry.name, _weight(entry.weight)
    return None


def _weight(weight: int | str) -> int:
    return weight_dict[weight] if isinstance(weight, str) else weight


@cache  # one line a sign
def _escape(sign: str) -> str:
    escape = sign.encode("unicode_escape").decode("ascii")
    logging.getLogger(__name__).warning("no installed font has %s; pictures show it as %s", printable(sign), escape)
    return escape
