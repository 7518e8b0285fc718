"""A chart of bars whose scale, names and values change from frame to frame, and a key of what a picture marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.shapes import closed_path, empty_path, line_style
from ift_gridworld.rendering.text import plain_text, text_width
from ift_gridworld.rendering.theme import Theme

__all__ = ["BarChart", "Key", "KeyEntry", "Layer"]

WIDTH = 0.72  # of a bar, where bars stand one apart
MAX_LAYERS = 4  # kinds of bars in one chart
MAX_LABELS = 10  # bars whose values have room above them
MAX_ENTRIES = 4  # of a key
LABEL_SIZE = 9.5  # points
KEY_SAMPLE, KEY_GAP = 0.34, 0.22  # inches: a sample with the room beside it; between entries


@dataclass(frozen=True, eq=False)
class Layer:
    """Bars of one look.

    Attributes:
        low, high: ends of each bar, in the chart's unit; one that is as high as it is low is not drawn.
        colour: an attribute of `Theme`.
        is_hollow: whether only the outline is drawn.
        edge: another attribute of `Theme`, of a line around each bar.
    """

    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    colour: str
    is_hollow: bool = False
    edge: str = ""


class BarChart:
    """Bars on an Axes with a labelled axis; everything in it may change between two frames.

    Args:
        ax: where to draw; it is emptied by `clear` and filled by `draw`.
        theme: colours.

    Attributes:
        artists: what was added, from below, to be drawn in every frame.
    """

    def __init__(self, ax: Axes, theme: Theme) -> None:
        self.ax, self.theme = ax, theme
        style_axes(ax, theme)
        ax.patch.set_visible(False)
        ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.tick_params(axis="x", length=0, labelsize=11.5, labelcolor=theme.ink, pad=7)
        ax.tick_params(axis="y", labelsize=LABEL_SIZE, labelcolor=theme.ink)
        for spine in ax.spines.values():
            spine.set_color(theme.muted)
        self.title = ax.set_title("", size=10.5, color=theme.ink, loc="left", pad=8)
        self.across = ax.set_xlabel("", size=10, color=theme.ink, labelpad=3)
        self.bars = [PathPatch(empty_path()) for _ in range(MAX_LAYERS)]
        for bar in self.bars:
            ax.add_patch(bar)
        self.labels = [ax.text(0, 0, "", size=LABEL_SIZE, color=theme.ink, ha="center", va="bottom") for _ in range(MAX_LABELS)]
        self.frame: list[Artist] = [ax.xaxis, ax.yaxis, ax.spines["left"], ax.spines["bottom"]]
        self.artists: list[Artist] = [*self.frame, *self.bars, *self.labels, self.title]

    def clear(self) -> None:
        """Take everything away."""
        for bar in self.bars:
            bar.set_path(empty_path())
        for text in (*self.labels, self.title):
            text.set_text("")
        for artist in self.frame:
            artist.set_visible(False)

    def draw(
        self,
        layers: Sequence[Layer],
        *,
        title: str,
        top: float,
        names: Sequence[tuple[float, str]],
        across: str,
        labels: Sequence[str] = (),
    ) -> None:
        """Draw bars.

        Args:
            layers: from below; all have a bar at 0, 1, 2 and so on.
            title: what the bars measure, with the unit.
            top: end of the axis.
            names: place and name of the bars that have one.
            across: what stands side by side.
            labels: the value above each bar, left out where there are more bars than have room.
        """
        count = len(layers[0].low)
        for artist in self.frame:
            artist.set_visible(True)
        self.ax.set(xlim=(-0.6, count - 0.4), ylim=(0, top))
        self.ax.set_xticks([x for x, _ in names], [plain_text(name) for _, name in names])
        self.title.set_text(plain_text(title))
        self.across.set_text(plain_text(across))
        left = np.arange(count) - WIDTH / 2
        for bar, layer in zip(self.bars, layers, strict=False):
            shown = layer.high > layer.low
            corners = ((0, layer.low), (WIDTH, layer.low), (WIDTH, layer.high), (0, layer.high))
            bar.set_path(closed_path(np.stack([np.stack([left + x, y], -1) for x, y in corners], 1)[shown]))
            colour, width = getattr(self.theme, layer.colour), 1.6 if count <= 2 * MAX_LABELS else 0.8
            face = {"fc": "none", "ec": colour, "lw": width} if layer.is_hollow else {"fc": colour, "ec": "none", "lw": 0}
            if layer.edge:
                face |= {"ec": getattr(self.theme, layer.edge), "lw": 1.0}
            bar.set(**face)  # an outline may lie over a bar: a rim of the background keeps it visible
            bar.set_path_effects(
                [withStroke(linewidth=2.2 * width, foreground=self.theme.background)] if layer.is_hollow else []
            )
        heights = np.max([layer.high for layer in layers], axis=0)
        for text, x, y, label in zip(self.labels, range(count), heights, labels if count <= MAX_LABELS else (), strict=False):
            text.set_position((x, y + 0.02 * top))
            text.set_text(plain_text(label))


@dataclass(frozen=True)
class KeyEntry:
    """An entry of a key.

    Attributes:
        kind: how its sample is drawn.
        colour: an attribute of `Theme`.
        words: beside it.
        edge: another, of the line around a "dot".
    """

    kind: Literal["line", "dashed", "box", "hollow", "dot", "diamond"]
    colour: str
    words: str
    edge: str = ""


class Key:
    """A row of samples, each with its words beside it, which changes from frame to frame.

    Args:
        ax: as wide as the key may be; the key starts at its left.
        theme: colours.
        size: size of the type, in points.

    Attributes:
        artists: what was added, to be drawn in every frame.
    """

    def __init__(self, ax: Axes, theme: Theme, size: float = LABEL_SIZE) -> None:
        self.theme, self.size = theme, size
        box = ax.get_window_extent()
        dpi = float(ax.figure.dpi)
        ax.set(xlim=(0, box.width / dpi), ylim=(-box.height / dpi / 2, box.height / dpi / 2))
        ax.axis("off")
        self.lines = [ax.plot([], [])[0] for _ in range(MAX_ENTRIES)]
        self.boxes = [Rectangle((0, -0.055), 0.18, 0.11) for _ in range(MAX_ENTRIES)]
        for sample in self.boxes:
            ax.add_patch(sample)
        self.words = [ax.text(0, 0, "", size=size, color=theme.ink, va="center") for _ in range(MAX_ENTRIES)]
        self.artists: list[Artist] = [*self.lines, *self.boxes, *self.words]

    def update(self, entries: Sequence[KeyEntry]) -> None:
        """Show these entries, at most four."""
        for artist in self.artists:
            artist.set_visible(False)
        x = 0.0
        for entry, line, box, words in zip(entries, self.lines, self.boxes, self.words, strict=False):
            colour = getattr(self.theme, entry.colour)
            words.set(text=plain_text(entry.words), x=x + KEY_SAMPLE, visible=True)
            if entry.kind in ("box", "hollow"):
                hollow = entry.kind == "hollow"
                look = {"fc": "none", "ec": colour, "lw": 1.6} if hollow else {"fc": colour, "ec": "none", "lw": 0}
                box.set(x=x + 0.05, visible=True, **look)
            else:
                edge = getattr(self.theme, entry.edge) if entry.edge else colour
                self._draw_line(line, entry.kind, x, colour, edge)
            x += KEY_SAMPLE + text_width(entry.words, self.size) + KEY_GAP

    @staticmethod
    def _draw_line(line: Line2D, kind: str, x: float, colour: str, edge: str) -> None:
        line.set(visible=True, color=colour, lw=3, ls=line_style(kind == "dashed"), marker="none")
        line.set_data([x, x + 0.27], [0, 0])
        if kind in ("dot", "diamond"):
            line.set_data([x + 0.14], [0])
            line.set(marker="o" if kind == "dot" else "D", ms=8 if kind == "dot" else 6.5, mfc=colour, mec=edge, mew=1.2)
