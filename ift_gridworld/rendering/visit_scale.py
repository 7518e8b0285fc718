"""The scale of visits: how colours stand for the expected number of visits of a tile in an episode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from ift_gridworld.rendering.text import plain_text, text_width
from ift_gridworld.rendering.theme import Theme

__all__ = ["LEAST_VISITS", "VISITS_UNIT", "VisitScale"]

VISITS_UNIT = "visits an episode"
ABOUT_ONCE = 1.05  # up to so many visits a linear scale that ends at 1 says enough
LEAST_VISITS = 0.01  # where a logarithmic scale begins
STEPS = (1, 2, 5)  # of the ends of a scale, times a power of ten


@dataclass(frozen=True)
class VisitScale:
    """A scale that ends at or above the largest number that it has to show, so that no tile saturates.

    It is linear from 0 to 1 where no tile is visited more than once, else logarithmic, because counts then range over powers
    of ten. Maps that are compared share one scale.

    Attributes:
        end: visits at which the colour is full.

    Example:
        >>> VisitScale.of([np.array([0.0, 0.4, 1.0])]).ticks, VisitScale.of([np.array([0.2, 5.55])]).ticks
        ((0.0, 0.5, 1.0), (0.01, 0.1, 1.0, 10.0))
    """

    end: float

    @classmethod
    def of(cls, visits: Iterable[Float[np.ndarray, "..."]]) -> VisitScale:
        """Return the scale that all these numbers of visits fit on."""
        largest = max((float(np.max(table, initial=0.0)) for table in visits), default=0.0)
        if largest <= ABOUT_ONCE:
            return cls(1.0)
        power = 10.0 ** np.floor(np.log10(largest))
        return cls(float(next(step * power for step in (*STEPS, 10) if step * power >= largest * (1 - 1e-9))))

    @property
    def is_log(self) -> bool:
        """True if the scale is logarithmic."""
        return self.end > 1.0

    @property
    def norm(self) -> Normalize:
        """Return the map from visits to [0, 1], where colours are looked up."""
        if self.is_log:
            return LogNorm(LEAST_VISITS, self.end, clip=True)
        return Normalize(0.0, self.end, clip=True)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Return the numbers that a key names: the ends and what lies between."""
        if not self.is_log:
            return 0.0, 0.5, 1.0
        powers = [10.0**k for k in range(-2, 7) if 10.0**k < self.end / 3]  # labels nearer to the last would touch it
        return (*powers, self.end)

    def draw_key(self, ax: Axes, theme: Theme, size: float, *, title: bool = True) -> None:
        """Draw the scale as a strip of colours with its ticks below and its unit above.

        Args:
            ax: where to draw; the strip fills it.
            theme: colours.
            size: size of the type, in points.
            title: whether the unit stands above.
        """
        ax.imshow(np.linspace(0, 1, 128)[None], cmap=theme.visits, aspect="auto", extent=(0, 1, 0, 1), origin="upper")
        ax.set(yticks=[], xlim=(0, 1))
        labels = [f"{tick:g}" for tick in self.ticks]
        if self.is_log:
            labels[0] = f"≤{labels[0]}"
        places = [float(self.norm(tick)) for tick in self.ticks]
        room = float(ax.get_window_extent().width) / float(ax.figure.dpi)  # inches
        shown = _apart(places, [text_width(label, size) / room for label in labels])
        ax.set_xticks([places[i] for i in shown], [labels[i] for i in shown])
        ax.tick_params(length=2, pad=1.5, labelsize=size, labelcolor=theme.ink, color=theme.muted)
        for spine in ax.spines.values():
            spine.set(color=theme.muted, lw=0.5)
        if title:
            ax.set_title(plain_text(VISITS_UNIT), size=size, color=theme.ink, loc="left", pad=2)


def _apart(places: list[float], widths: list[float]) -> list[int]:
    """Return which labels can stand side by side: the first, the last, and of the others those that leave a gap."""
    last = len(places) - 1
    shown = [0]
    for i in range(1, last):
        left, right = (0.6 * (widths[i] + widths[j]) for j in (shown[-1], last))
        if places[i] - places[shown[-1]] > left and places[last] - places[i] > right:
            shown.append(i)
    return [*shown, last]
