"""Keys of a picture in rows: strips of colours, and samples of marks with the words that explain them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.text import plain_text, text_width
from ift_gridworld.rendering.theme import Theme

__all__ = ["SAMPLE", "DrawKey", "DrawSample", "Legend", "draw_arrow_sample"]

DrawKey = Callable[[Axes, Theme, float], None]  # a strip that fills an Axes; the last is the size of its type
DrawSample = Callable[[Axes], None]  # in a box from (0, 0) to (1.6, 1), y downwards
TYPE, STRIP_TYPE = 9.0, 8.5  # points
STRIP, APART = 1.35, 0.3  # inches: of a strip with its last number, and between two entries
SAMPLE, SAMPLE_ROW, ROW = 0.17, 0.26, 0.58  # inches: side of a sample, rows of samples, rows of strips


class Legend:
    """Strips first, then samples, two over one another; what does not fit into a row begins another.

    Args:
        strips: how each is drawn, and its title.
        samples: how each is drawn, and the words beside it.
        width: of the legend, in inches.

    Attributes:
        height: of the legend, in inches.
    """

    def __init__(self, strips: Sequence[tuple[DrawKey, str]], samples: Sequence[tuple[DrawSample, str]], width: float) -> None:
        self.strips, self.samples = list(strips), list(samples)
        self.strip_places, self.sample_places = list[tuple[float, float]](), list[tuple[float, float]]()
        x, y = 0.0, 0.0
        for _, title in strips:
            across = max(STRIP, 0.14 + text_width(title, STRIP_TYPE))
            if x + across > width:
                x, y = 0.0, y + ROW
            self.strip_places.append((x + 0.14, y + 0.18))
            x += across + APART
        for i in range(0, len(self.samples), 2):
            pair = self.samples[i : i + 2]
            across = 1.6 * SAMPLE + 0.06 + max(text_width(words, TYPE) for _, words in pair)
            if x + across > width:
                x, y = 0.0, y + ROW
            self.sample_places += [(x, y + 0.12 + SAMPLE_ROW * j) for j in range(len(pair))]
            x += across + APART
        self.height = y + ROW if strips or samples else 0.0

    def draw(self, film: Film, left: float, top: float) -> None:
        """Draw everything.

        Args:
            film: what the legend is part of.
            left, top: upper left corner, in inches.
        """
        for (draw, _), (x, y) in zip(self.strips, self.strip_places, strict=True):
            draw(film.add_axes(left + x, top + y, STRIP - 0.14, 0.1), film.theme, STRIP_TYPE)
        for (draw_sample, words), (x, y) in zip(self.samples, self.sample_places, strict=True):
            ax = film.add_axes(left + x, top + y - SAMPLE / 2, 1.6 * SAMPLE, SAMPLE)
            ax.set(xlim=(0, 1.6), ylim=(1, 0))
            ax.axis("off")
            draw_sample(ax)
            film.add_text(left + x + 1.6 * SAMPLE + 0.06, top + y, plain_text(words), size=TYPE, color=film.theme.ink)


def draw_arrow_sample(ax: Axes, theme: Theme, x: float, y: float, length: float) -> None:
    """Draw one arrow as `PolicyArrows` draws that of a certain move.

    Args:
        ax: where to draw, in units of about a tile.
        theme: colours.
        x, y: its tail, in the Axes' units.
        length: of the arrow, over that on a tile.
    """
    arrow = PolicyArrows(ax, GridLayout.of(["F"]), np.array([[0, 1]]), np.array([True]), theme)
    arrow.small, arrow.side = False, 1
    arrow.artist.set_path_effects([])
    arrow.centre = np.array([[x, y]])
    arrow.direction = np.array([[length, 0.0]])
    arrow.update(np.array([[1.0]]))
