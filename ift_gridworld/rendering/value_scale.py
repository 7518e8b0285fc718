"""The scale of values: how colours stand for the expected discounted return from a state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, SymLogNorm

from ift_gridworld.rendering.keys import draw_strip
from ift_gridworld.rendering.numbers import plain_number
from ift_gridworld.rendering.theme import Theme

__all__ = ["VALUE_UNIT", "ValueScale"]

VALUE_UNIT = "expected discounted return"
LARGE_RANGE = 5.0  # values that range over so many times what the optimal ones do have a logarithmic scale
LOWEST_QUANTILE = 0.01  # where a logarithmic scale begins


@dataclass(frozen=True)
class ValueScale:
    """A scale of values, linear or, where bad policies pay many times what the optimal one does, logarithmic in the loss.

    Attributes:
        low, high: values at the ends; lower values take the colour of `low`.
        linear_to: distance from 0 up to which the scale is linear; None if it is so throughout.

    Example:
        >>> ValueScale.of(np.array([0.0, 0.5, 0.98]), np.array([0.5, 0.98])).ticks
        ((0.0, '0'), (1.0, '0.98'))
        >>> ValueScale.of(np.array([-900.0, -14.0, -1.0]), np.array([-13.0, -1.0])).ends
        ('≤-880', '-1')
    """

    low: float
    high: float
    linear_to: float | None = None

    @classmethod
    def of(cls, values: Float[np.ndarray, "..."], optimal: Float[np.ndarray, " n"]) -> ValueScale:
        """Return the scale of these values.

        Args:
            values: all that are to be shown.
            optimal: those of the optimal policy.
        """
        low = min(0.0, float(values.min()))
        high = max(float(optimal.max()), float(values.max()), low + 1e-9)
        largest = float(np.abs(optimal).max())
        if low >= 0 or -low <= LARGE_RANGE * largest:
            return cls(low, high)
        clipped = float(f"{np.quantile(values, LOWEST_QUANTILE):.1e}")  # what is written is where the colours begin
        return cls(min(clipped, high - 1e-9), high, linear_to=10.0 ** np.floor(np.log10(max(largest, 1e-9))))

    @property
    def norm(self) -> Normalize:
        """Return the map from values to [0, 1], where colours are looked up."""
        if self.linear_to is None:
            return Normalize(self.low, self.high, clip=True)
        return SymLogNorm(self.linear_to, vmin=self.low, vmax=self.high, clip=True)

    @property
    def ends(self) -> tuple[str, str]:
        """Return what is written at the ends."""
        return f"{'' if self.linear_to is None else '≤'}{plain_number(self.low)}", plain_number(self.high)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return where the key has a number, from 0 to 1, and the number: the ends and, if it is logarithmic, powers of ten."""
        places = tuple(zip((0.0, 1.0), self.ends, strict=True))
        if self.linear_to is None:
            return places
        powers = [-(10.0**k) for k in range(8, -9, -1) if 10.0**k >= self.linear_to]
        between = [(float(self.norm(power)), plain_number(power)) for power in powers if self.low < power < self.high]
        return (places[0], *((at, words) for at, words in between if 0.22 < at < 0.85), places[1])

    def draw_key(self, ax: Axes, theme: Theme, size: float) -> None:
        """Draw the scale as a strip of colours with its numbers below and its unit above.

        Args:
            ax: where to draw; the strip fills it.
            theme: colours.
            size: size of the type, in points.
        """
        draw_strip(ax, theme, theme.values, self.ticks, VALUE_UNIT, size)
