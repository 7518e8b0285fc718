"""Bars of verdicts: in how many settings a claim holds, to the right of the middle, and is reversed, to the left of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from ift_gridworld.rendering.study_figures import TINY, StudyFigure
from ift_gridworld.rendering.text import text_width
from ift_gridworld.rendering.theme import Theme

__all__ = ["VERDICTS", "VerdictCounts", "draw_swatch", "draw_verdict_bars", "draw_verdict_key", "verdict_colours"]

VERDICTS = ("clearly reversed", "reversed, not clear", "no difference", "holds, not clear", "holds clearly")
BAR = 0.62  # height of a bar, as a share of its row
SWATCH = 0.1  # inches


@dataclass(frozen=True)
class VerdictCounts:
    """Numbers of settings by verdict, from clearly against a claim to clearly for it.

    Attributes:
        clearly_reversed, reversed, ties, holds, clearly_holds: each setting counts in one of them.

    Example:
        >>> VerdictCounts(1, 2, 0, 4, 3).share
        0.7
    """

    clearly_reversed: int
    reversed: int
    ties: int
    holds: int
    clearly_holds: int

    @property
    def settings(self) -> int:
        """Number of settings in all."""
        return sum(astuple(self))

    @property
    def share(self) -> float:
        """Share of the settings in which the claim holds, clearly or not; NaN of none."""
        return (self.holds + self.clearly_holds) / self.settings if self.settings else float("nan")

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Left end and width of each verdict's part of the bar, in shares of the settings; 0 is the middle of the ties."""
        counts = astuple(self)
        left = -(self.clearly_reversed + self.reversed + self.ties / 2)
        spans = []
        for count in counts:
            spans.append((left / max(1, self.settings), count / max(1, self.settings)))
            left += count
        return spans


def verdict_colours(theme: Theme) -> list[str]:
    """Return the colours of `VERDICTS`: orange against a claim, blue for it, pale where it is not clear."""
    neutral = np.mean([to_rgb(theme.muted), to_rgb(theme.faint)], 0)
    return [theme.less, to_hex(theme.changes(0.3)), to_hex(neutral), to_hex(theme.changes(0.7)), theme.more]


def draw_verdict_bars(
    figure: StudyFigure, rows: Sequence[VerdictCounts], left: float, top: float, width: float, row: float, *, ends: bool = False
) -> Axes:
    """Draw a bar a row on one scale, all settings to either side; an Axes whose x is a share and whose y is the row.

    Args:
        figure: where to draw.
        rows: from above.
        left, top, width: where, in inches.
        row: height of a row, in inches.
        ends: whether the numbers against and for the claim, clear or not, stand at the ends of each bar.
    """
    theme = figure.theme
    ax = figure.add_axes(left, top, width, row * len(rows))
    figure.style_axes(ax)
    ax.spines["left"].set_visible(False)
    room = 1.0 + (2 * text_width("000", TINY) / width if ends else 0.04)
    ax.set(xlim=(-room, room), ylim=(len(rows) - 0.5, -0.5), yticks=[])
    for x, style in ((0.0, "-"), (-0.5, ":"), (0.5, ":"), (-1.0, ":"), (1.0, ":")):
        ax.axvline(x, color=theme.muted if x == 0 else theme.faint, lw=0.8 if x == 0 else 0.6, ls=style, zorder=0)
    for y, counts in enumerate(rows):
        for (start, share), colour in zip(counts.spans, verdict_colours(theme), strict=True):
            if share:
                ax.add_patch(Rectangle((start, y - BAR / 2), share, BAR, fc=colour, ec=theme.background, lw=0.4))
        if ends and counts.settings:
            begin, end = counts.spans[0][0], sum(counts.spans[-1])
            for x, side, number in (
                (begin - 0.05, "right", counts.clearly_reversed + counts.reversed),
                (end + 0.05, "left", counts.clearly_holds + counts.holds),
            ):
                ax.text(x, y, str(number), size=TINY, color=theme.ink, ha=side, va="center_baseline")
    return ax


def draw_verdict_key(figure: StudyFigure, left: float, top: float) -> None:
    """Draw the key of the bars in one line.

    Args:
        figure: where to draw.
        left, top: left end and middle, in inches.
    """
    for words, colour in zip(VERDICTS, verdict_colours(figure.theme), strict=True):
        draw_swatch(figure, left, top, colour)
        figure.add_text(left + SWATCH + 0.05, top, words, size=TINY, va="center")
        left += SWATCH + 0.22 + text_width(words, TINY)


def draw_swatch(figure: StudyFigure, left: float, top: float, colour: str) -> None:
    """Draw a small square of a key.

    Args:
        figure: where to draw.
        left, top: left end and middle, in inches.
        colour: any colour of matplotlib's.
    """
    ax = figure.add_axes(left, top - SWATCH / 2, SWATCH, SWATCH)
    ax.axis("off")
    ax.add_patch(Rectangle((0, 0), 1, 1, fc=colour, lw=0))
