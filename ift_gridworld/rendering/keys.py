"""Keys of colours: a strip with its ticks below and its unit above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from ift_gridworld.rendering.text import plain_text
from ift_gridworld.rendering.theme import Theme

__all__ = ["draw_strip"]


def draw_strip(
    ax: Axes, theme: Theme, cmap: Colormap | str, ticks: Sequence[tuple[float, str]], title: str, size: float
) -> None:
    """Draw a strip of colours that fills an Axes.

    Args:
        ax: where to draw.
        theme: colours of its words and its frame.
        cmap: its colours, from left to right.
        ticks: where each stands, from 0 to 1, and what is written there.
        title: the quantity and its unit, which stand above; may be empty.
        size: size of the type, in points.
    """
    ax.imshow(np.linspace(0, 1, 128)[None], cmap=cmap, aspect="auto", extent=(0, 1, 0, 1), origin="upper")
    ax.set(yticks=[], xlim=(0, 1))
    ax.set_xticks([place for place, _ in ticks], [plain_text(words) for _, words in ticks])
    ax.tick_params(length=2, pad=1.5, labelsize=size, labelcolor=theme.ink, color=theme.muted)
    for spine in ax.spines.values():
        spine.set(color=theme.muted, lw=0.5)
    if title:
        ax.set_title(plain_text(title), size=size, color=theme.ink, loc="left", pad=2)
