"""A figure for a paper as an empty sheet, on which parts are placed in inches, in the fonts that the reader chose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Unpack

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import NullFormatter, ScalarFormatter

from ift_gridworld.escape import latex_text
from ift_gridworld.rendering.fonts import use_fonts
from ift_gridworld.rendering.paper_options import FONTS, FigureOptions
from ift_gridworld.rendering.text import TextStyle, text_width
from ift_gridworld.rendering.theme import find_theme

__all__ = ["HINTED", "SMALL", "TEXT", "Sheet", "drawn_width", "first_that_fits", "font_settings", "tex_words"]

SMALL, TEXT = 7.0, 8.0  # points
HINTED = 1.05  # letters that are fitted to pixels may be so much wider than their outlines
DPI = 200  # of print, at which single small tiles must be seen
# Signs of this package's own words that LaTeX sets as mathematics.
_TEX_SIGNS = {
    "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$", "·": r"\textperiodcentered{}", "…": r"\ldots{}", "−": "$-$",
    "λ": r"$\lambda$", "θ": r"$\theta$", "π": r"$\pi$", "×": r"$\times$", "√": r"$\surd$",
}  # fmt: skip
_MATHS = re.compile(r"((?<!\\)\$.*?(?<!\\)\$)", re.DOTALL)


class Sheet:
    """An empty figure.

    Args:
        options: of the figure.
        height: in inches.

    Attributes:
        figure: what is drawn.
        theme: its colours.
    """

    def __init__(self, options: FigureOptions, height: float) -> None:
        self.options, self.theme, self.height = options, find_theme(options.theme), height
        self.figure = Figure(figsize=(options.inches, height), dpi=DPI, facecolor=self.theme.background)
        FigureCanvasAgg(self.figure)

    def add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add Axes at a place from the upper left corner."""
        inches = self.options.inches
        box = (left / inches, 1 - (top + height) / self.height, width / inches, height / self.height)
        return self.figure.add_axes(box)

    def add_text(self, left: float, top: float, text: str, **style: Unpack[TextStyle]) -> None:
        """Add text of `SMALL` points; `top` is its baseline unless `va` says otherwise."""
        style.setdefault("size", SMALL)
        style.setdefault("color", self.theme.ink)
        self.figure.text(left / self.options.inches, 1 - top / self.height, text, **style)

    def finish(self) -> None:
        """Choose the font of every text, and take the background away where there is to be none."""
        if self.options.usetex:
            _set_in_tex(self.figure)
        else:
            use_fonts(self.figure)
        if self.options.transparent:
            self.figure.patch.set_alpha(0.0)
            for ax in self.figure.axes:
                ax.patch.set_alpha(0.0)


def font_settings(options: FigureOptions) -> dict[str, Any]:
    """Return matplotlib's settings for the fonts of a figure."""
    family, mathematics = FONTS[options.font]
    if not options.usetex:
        return {"font.family": [family], "mathtext.fontset": mathematics}
    # The second of each is only measured with; it is wider than the one that LaTeX sets.
    return {
        "text.usetex": True,
        "font.family": ["serif" if options.font == "serif" else "sans-serif"],
        "font.serif": ["Computer Modern Roman", "DejaVu Serif"],
        "font.sans-serif": ["Computer Modern Sans Serif", "DejaVu Sans"],
    }


def drawn_width(text: str, size: float = SMALL, *, bold: bool = False) -> float:
    """Return the width, in inches, that a line of text takes at most when it is drawn.

    Args:
        text: as matplotlib takes it, with a backslash before a dollar.
        size: of the type, in points.
        bold: whether the type is bold.
    """
    return HINTED * text_width(text.replace(r"\$", "$"), size, bold=bold)


def first_that_fits(texts: Sequence[str], width: float, size: float = SMALL) -> str:
    """Return the first text that is at most so wide, an empty one if none is.

    Args:
        texts: from the longest to the shortest.
        width: in inches.
        size: of the type, in points.
    """
    return next((text for text in texts if drawn_width(text, size) <= width), "")


def tex_words(text: str, *, bold: bool = False) -> str:
    r"""Return for LaTeX what matplotlib's own typesetting would show: mathematics between two dollars, the rest as it stands.

    Args:
        text: as matplotlib takes it, a dollar that is meant as such with a backslash before it.
        bold: whether it is to be bold.

    Example:
        >>> print(tex_words(r"95 % of $T^2$, \$5"))
        95 \% of $T^2$, \$5
    """
    parts = [
        part if index % 2 else "".join(_TEX_SIGNS.get(sign) or latex_text(sign) for sign in part.replace(r"\$", "$"))
        for index, part in enumerate(_MATHS.split(text))
    ]
    words = "".join(parts)
    return rf"\textbf{{{words}}}" if bold and words else words


def _set_in_tex(figure: Figure) -> None:
    """Rewrite all texts of a figure for LaTeX; those of ticks that are numbers are so already."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if not isinstance(axis.get_major_formatter(), ScalarFormatter | NullFormatter):
            places = axis.get_majorticklocs()
            words = axis.get_major_formatter().format_ticks(list(places))
            axis.set_ticks(places, [tex_words(text) for text in words])
    ticks = {text for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for text in axis.get_ticklabels()}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in ticks and text.get_text():
            lines = text.get_text().split("\n")
            text.set_text("\n".join(tex_words(line, bold=text.get_fontweight() == "bold") for line in lines))
