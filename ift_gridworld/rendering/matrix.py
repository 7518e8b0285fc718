"""The state-action matrix of a policy over the optimal one, as an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from ift_gridworld.rendering.theme import Theme

__all__ = ["MAX_MATRIX_COLUMNS", "PolicyMatrix"]

MAX_MATRIX_COLUMNS = 1000  # of more states, neighbours share a column
MAX_RULED_COLUMNS = 60  # more lines between columns would hide the cells
GAP = 0.8  # rows between the two matrices


class PolicyMatrix:
    """T_θ(a|s) over the optimal T*(a|s): a column a state, a row an action, darker for likelier.

    Args:
        ax: where to draw.
        states: which states get a column; of more than `MAX_MATRIX_COLUMNS`, neighbours share one, with their mean.
        optimal: T*(a|s).
        theme: colours.
        size: size of the type, in points.

    Attributes:
        artists: what moves, from below.
    """

    def __init__(
        self, ax: Axes, states: Bool[np.ndarray, " S"], optimal: Float[np.ndarray, "S A"], theme: Theme, size: float = 9.0
    ) -> None:
        self.states = np.flatnonzero(states)
        self.first = np.unique(np.linspace(0, len(self.states), MAX_MATRIX_COLUMNS + 1)[:-1].astype(int))  # of each column
        columns, rows = len(self.first), optimal.shape[1]
        below = rows + GAP  # where T* begins
        style: dict[str, Any] = {
            "cmap": theme.probabilities,
            "vmin": 0,
            "vmax": 1,
            "aspect": "auto",
            "interpolation": "nearest",
        }
        self.image = ax.imshow(np.zeros((rows, columns)), extent=(0, columns, rows, 0), **style)
        ax.imshow(self._columns(optimal), extent=(0, columns, below + rows, below), **style)
        ax.set(xlim=(0, columns), ylim=(below + rows, 0), xticks=[], yticks=[rows / 2, below + rows / 2])
        ax.set_yticklabels([r"$T_\theta$", "$T$*"], size=size, color=theme.ink)
        ax.tick_params(length=0, pad=3)
        ax.patch.set_visible(False)
        self.artists: tuple[Artist, ...] = (self.image,)
        if columns <= MAX_RULED_COLUMNS:
            for top in (0, below):
                between_columns = ax.vlines(range(1, columns), top, top + rows, color=theme.background, lw=1.2)
                between_rows = ax.hlines(np.arange(1, rows) + top, 0, columns, color=theme.background, lw=0.6)
                self.artists += (between_columns, between_rows) if top == 0 else ()
        for spine in ax.spines.values():
            spine.set_visible(False)

    def update(self, policy: Float[np.ndarray, "S A"]) -> None:
        """Show this T_θ(a|s)."""
        self.image.set_data(self._columns(policy))

    def _columns(self, policy: Float[np.ndarray, "S A"]) -> Float[np.ndarray, "A columns"]:
        return np.add.reduceat(policy[self.states].T, self.first, 1) / np.diff([*self.first, len(self.states)])
