"""The stage of an explained update: the map with what moves on it, and the chart, which scenes draw on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import AbstractPathEffect, withStroke

from ift_gridworld.escape import printable
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import ChangeArrows, PolicyArrows
from ift_gridworld.rendering.bars import BarChart, Layer
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.paths import Predictions
from ift_gridworld.rendering.scale import tile_inches
from ift_gridworld.rendering.theme import Theme

if TYPE_CHECKING:
    from ift_gridworld.explain import Explanation

__all__ = ["WHOLE_PATH", "Stage"]

WHOLE_PATH = 10**6  # steps: more than any path has
MAX_NAMES = 24  # bars that have room each for the name of its action
SIGNS = {(0, -1): "←", (1, 0): "↓", (0, 1): "→", (-1, 0): "↑"}  # of moves, (row, column)
ROLES = {"shown": 0, "rejected": 1, "own": 2}  # of paths


class Stage:
    """The map and chart that scenes draw on.

    Args:
        explanation: the update.
        mdp: the environment it was made on, which must have a map.
        map_axes, chart_axes: where to draw.
        theme: colours.

    Attributes:
        artists: what was added to the map, from below, to be drawn in every frame.
        chart: the chart.
        arrows, predictions: on the map.

    Raises:
        ValueError: if there is no map.
    """

    def __init__(self, explanation: Explanation, mdp: TabularMDP, map_axes: Axes, chart_axes: Axes, theme: Theme) -> None:
        self.explanation, self.mdp, self.grid, self.theme = explanation, mdp, grid_of(mdp), theme
        self.chart = BarChart(chart_axes, theme)
        self.artists: list[Artist] = []
        self._compose_map(map_axes)

    def _compose_map(self, ax: Axes) -> None:
        theme, grid, states = self.theme, self.grid, walkable(self.mdp)
        draw_lake(ax, grid, theme)
        tile = 72 * tile_inches(ax, grid)  # points: on small tiles paths and walkers are smaller, too
        self.paths = [
            LineCollection([], colors=colour, lw=width, ls=style, capstyle="round", joinstyle="round")
            for colour, width, style in (
                (theme.shown, min(8.0, max(2.5, 0.5 * tile)), "-"),
                (theme.rejected, min(5.5, max(1.8, 0.35 * tile)), (0, (1.2, 1.0))),
                (theme.muted, min(1.8, max(1.0, 0.12 * tile)), "-"),
            )
        ]
        for path in self.paths:
            ax.add_collection(path)
        self.starts = draw_starts(ax, grid, theme)
        landmarks = draw_landmarks(ax, grid, theme)
        self.changes = ChangeArrows(ax, grid, self.mdp.moves, states, theme)
        self.arrows = PolicyArrows(ax, grid, self.mdp.moves, states, theme)
        halo: list[AbstractPathEffect] = [withStroke(linewidth=2.4, foreground=theme.ice)]  # a path may pass below it
        for artist in (*self.starts, *self.changes.artists, self.arrows.artist):
            artist.set_path_effects(halo)
        self.predictions = Predictions(ax, grid, theme)
        self.predictions.ties.set_path_effects([withStroke(linewidth=3.4, foreground=theme.predicted_edge)])
        size, edge = min(13.0, max(7.0, tile)), 2.2 if tile > 13 else 1.4
        self.walkers = ax.plot([], [], "o", ms=size, color=theme.background, mec=theme.ink, mew=edge, clip_on=False)[0]
        self.artists = [
            *self.paths, *self.starts, *landmarks, *self.changes.artists, self.arrows.artist, self.predictions.ties,
            self.predictions.marks, self.walkers,
        ]  # fmt: skip

    def clear(self) -> None:
        """Take away what the last frame has drawn."""
        self.arrows.update(self.explanation.before)
        self.arrows.artist.set_visible(True)
        self.changes.update(np.zeros((self.mdp.num_states, self.mdp.num_actions)))
        self.predictions.update(np.zeros(0, int), np.zeros((0, self.mdp.num_states)))
        self.walkers.set_data([], [])
        for path in self.paths:
            path.set_segments([])
        self.chart.clear()

    def centres(self, tiles: Sequence[int]) -> Float[np.ndarray, "n 2"]:
        """Return the middle (x, y) of the tile of each state."""
        return self.grid.place[np.asarray(tiles, int), ::-1] + 0.5

    def trace(self, paths: Sequence[dict[str, Any]], steps: int, *, walkers: bool = True) -> None:
        """Draw the first `steps` moves of some paths; walks of the model's own are moved apart a little."""
        lines: list[list[np.ndarray]] = [[], [], []]
        ends = []
        for i, path in enumerate(paths):
            centres = self.centres([*path["states"], path["end"]][: steps + 1])
            if path["role"] == "own":
                centres = centres + 0.22 * np.array([np.cos(2.4 * i), np.sin(2.4 * i)])
            if steps >= len(path["states"]) and self.grid.letters[path["end"]] == "G":
                centres[-1] -= 0.4 * np.clip(centres[-1] - centres[-2], -1, 1)  # beside the goal, not over it
            jumps = np.flatnonzero(np.abs(np.diff(centres, axis=0)).max(1) > 1) + 1  # from one small map to another
            lines[ROLES[path["role"]]] += np.split(centres, jumps)
            ends.append(centres[-1])
        for path_lines, segments in zip(self.paths, lines, strict=True):
            path_lines.set_segments([s for s in segments if len(s) > 1])
        if walkers:
            self.walkers.set_data(*np.array(ends).T)

    @property
    def human(self) -> list[dict[str, Any]]:
        """The paths of the first scene that a human took."""
        return [path for path in self.explanation.steps[0].data["paths"] if path["role"] == "shown"]

    def trace_demonstration(self) -> None:
        """Draw the whole path that the human showed or chose."""
        self.trace(self.human, WHOLE_PATH, walkers=False)

    def draw_change(self, change: Float[np.ndarray, "S A"]) -> None:
        """Draw arrows in two colours, instead of the policy's; a full arrow stands for 1."""
        self.arrows.artist.set_visible(False)
        self.changes.update(change)

    def draw_probabilities(self, paths: Sequence[dict[str, Any]], steps: int, title: str) -> None:
        """Draw a bar a move for the first steps of each path, one path after the other."""
        ends = np.cumsum([0, *(len(path["actions"]) + 1 for path in paths)])  # with a gap between
        layers, names = [], list[tuple[float, str]]()
        for path, start in zip(paths, ends, strict=False):
            high = np.zeros(ends[-1] - 1)
            count = min(steps, len(path["actions"]))
            high[start : start + count] = self.explanation.before[path["states"][:count], path["actions"][:count]]
            layers.append(Layer(np.zeros_like(high), high, path["role"]))
            names += [(start + x, name) for x, name in self._bar_names(path["actions"], MAX_NAMES // len(paths))]
        self.chart.draw(layers, title=title, top=1.05, names=names, across=_across(paths))

    # ---- bars, one a step of the demonstration ----

    def draw_steps(self, layers: Sequence[Layer], title: str, top: float, labels: Sequence[str] = ()) -> None:
        """Draw bars, one a step of the human's path."""
        names = self._bar_names(self.human[0]["actions"])
        self.chart.draw(layers, title=title, top=top, names=names, across=_across(self.human), labels=labels)

    def action_names(self) -> list[str]:
        """A sign for each action: an arrow, or for one that is no move the first letters of its name."""
        moves = zip(self.mdp.moves.tolist(), self.mdp.actions, strict=True)
        return [SIGNS.get(tuple(move), printable(name[:2])) for move, name in moves]

    def _bar_names(self, actions: Sequence[int], most: int = MAX_NAMES) -> list[tuple[int, str]]:
        """Return the labels below bars: few bars are named by their actions, of many every n-th is numbered."""
        if len(actions) <= most:
            signs = self.action_names()
            return [(i, signs[a]) for i, a in enumerate(actions)]
        stride = next(k * 10**n for n in range(9) for k in (1, 2, 5) if len(actions) <= most // 3 * k * 10**n)
        return [(i - 1, f"{i:,}") for i in (1, *range(stride, len(actions) + 1, stride))]


def _across(paths: Sequence[dict[str, Any]]) -> str:
    """Return the label of the horizontal axis of a chart with a bar a step."""
    return "moves in order" if len(paths) == 1 else "moves in order, chosen and rejected"
