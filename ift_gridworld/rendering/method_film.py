"""The film of one method: lake, policy, visits, values, the matrix beside the optimal one, and curves; one frame a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ift_gridworld.checks import check_choice
from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.planning import optimal_policy, optimal_values
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.charts import about_intervals, label_updates, look_of, style_axes, update_axis
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, prepare_axes, walkable
from ift_gridworld.rendering.matrix import MAX_MATRIX_COLUMNS, PolicyMatrix
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.numbers import plain_number
from ift_gridworld.rendering.paths import Predictions, draw_answers, draw_path_sample
from ift_gridworld.rendering.predictions import PredictedStates, mixing_of
from ift_gridworld.rendering.scale import has_signs, is_fine
from ift_gridworld.rendering.shapes import ACTION_MARKS, DIAMOND, MARK_GLYPHS
from ift_gridworld.rendering.text import short_title, shorten, text_width, wrap_text
from ift_gridworld.rendering.tile_kinds import tile_words
from ift_gridworld.rendering.tiles import TileColours, hole_colour
from ift_gridworld.rendering.value_scale import ValueScale
from ift_gridworld.rendering.visit_scale import VisitScale
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import seed_of

__all__ = ["MethodFilm"]

BAND = 0.22  # opacity of an interval
DrawSample = Callable[[Axes, float], None]  # of a legend, at a height
Box = tuple[float, float, float, float]  # inches: left, top, width, height
KEY_ABOVE, KEY_HEIGHT, KEY_BELOW = 0.2, 0.09, 0.2  # inches: the unit over a strip of colours, the strip, its ticks


@dataclass(frozen=True)
class _Places:
    """Places of all parts in a picture of one shape, in inches from the upper left corner.

    Attributes:
        size: width and height of the picture.
        policy, values: the most room that each map has.
        matrix, visits, legend: the matrix, the key of visits, all other keys.
        note: left end and middle of the line that says what curves are of.
        curves: of each curve; the second set where the user's own metric is drawn, too.
        title, about: sizes of the type in the head, in points.
    """

    size: tuple[float, float]
    policy: Box
    values: Box
    matrix: Box
    visits: Box
    legend: Box
    note: tuple[float, float]
    curves: tuple[tuple[Box, ...], tuple[Box, ...]]
    title: tuple[float, float] = (19.0, 13.0)


_SHAPES = {
    "wide": _Places(
        size=(9.6, 6.0),
        policy=(0.29, 1.16, 4.42, 3.6),
        values=(5.05, 1.16, 1.85, 1.45),
        matrix=(0.58, 5.08, 4.13, 0.69),
        visits=(7.62, 1.16, 1.55, KEY_HEIGHT),
        legend=(7.5, 1.5, 2.05, 1.98),
        note=(5.42, 3.42),
        curves=(
            tuple((5.42, top, 3.45, 0.74) for top in (3.78, 4.86)),
            tuple((5.42, top, 3.45, 0.42) for top in (3.75, 4.47, 5.19)),
        ),
    ),
    "tall": _Places(
        size=(4.8, 10.1),
        policy=(0.29, 1.16, 4.22, 3.8),
        values=(0.29, 5.4, 1.75, 1.45),
        matrix=(0.6, 9.3, 3.9, 0.62),
        visits=(2.68, 5.4, 1.55, KEY_HEIGHT),
        legend=(2.56, 5.74, 2.1, 1.8),
        note=(0.29, 7.62),
        curves=(
            tuple((left, 7.98, 1.72, 0.66) for left in (0.5, 2.75)),
            tuple((left, 7.98, 1.0, 0.66) for left in (0.45, 1.98, 3.5)),
        ),
        title=(17.0, 11.0),
    ),
}


class MethodFilm(Film):
    """The film of one run.

    Args:
        run: the run to show, on a lake with a map.
        theme: a name in THEMES.
        shape: "wide" (9.6 by 6 inches) or "tall" (4.8 by 10.1), for a narrow column.

    Raises:
        ValueError: if the lake has no map, or for an unknown theme or shape.

    Example (writes two files)::

        MethodFilm(Run.load("ift.json"), "dark").save("ift.gif")
    """

    def __init__(self, run: Run, theme: str = "light", shape: str = "wide") -> None:
        check_one_environment([run], drawn=True)
        check_choice("shape", shape, tuple(_SHAPES))
        self.places = _SHAPES[shape]
        super().__init__(theme, self.places.size)
        self.run, self.mdp, self.style = run, run.mdp, style_of(run.method)
        self.grid, self.walkable = grid_of(self.mdp), walkable(self.mdp)
        self.visits = VisitScale.of([run.visits[:, self.walkable]])
        self._compose()

    def reshaped(self, size: str) -> MethodFilm:
        return MethodFilm(self.run, self.theme_name, "tall") if size == "column" else self

    def __len__(self) -> int:
        return len(self.run.steps)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return np.abs(np.diff(self.run.snapshots[:, self.walkable], axis=0)).mean((1, 2))

    @property
    def alt(self) -> str:
        run = self.run
        return (
            f"{run.title.replace(' · ', ', ')}, on {run.place} ({run.about.replace(' · ', ', ')}). A map of "
            f"{self.grid.height} by {self.grid.width} tiles with an arrow for {self._arrows}, longer for a likelier one, "
            f"over {len(self)} stages from update 0 to {run.steps[-1]}; beside it the value of each tile, the policy's "
            f"matrix over the optimal one, and two curves. {run.course}"
        )

    @property
    def _arrows(self) -> str:
        if self.arrows.side > 1:
            return f"the mean move in each {self.arrows.side} by {self.arrows.side} of them, about"
        return "the likeliest move" if self.arrows.small else "each move"

    # ---- composition ----

    def _compose(self) -> None:
        run, theme, places = self.run, self.theme, self.places
        (width, _), (large, small) = places.size, places.title
        self.step_text = self.add_number(width - 0.29, 0.41, size=large - 4, colour=theme.ink, align="right")
        free = width - 0.58 - text_width(f"update {run.steps[-1]} / {run.steps[-1]}", large - 4, bold=True)
        title, _, long = run.title.partition(" · ")
        short = short_title(run.title)
        if short != title:  # a family stands before the dot: "RLHF · PPO"
            title, long = short, ""
        title = shorten(title, free, large, bold=True)
        self.add_text(0.29, 0.41, title, size=large, weight="bold", color=theme.ink)
        beside = 0.14 + text_width(title, large, bold=True)
        if long and free - beside > 0.5:
            self.add_text(0.29 + beside, 0.43, shorten(long, free - beside - 0.1, small), size=small, color=theme.muted)
        self.add_text(0.29, 0.73, shorten(run.about, width - 0.58, 9.5), size=9.5, color=theme.muted)
        self._compose_policy(self.add_axes(*places.policy))
        self._compose_matrix(self.add_axes(*self._matrix_box()))
        self._compose_values(self.add_axes(*places.values))
        self.visits.draw_key(self.add_axes(*places.visits), theme, 8.5)
        self._compose_legend(self.add_axes(*places.legend))
        self._compose_curves()

    def _matrix_box(self) -> Box:
        """The box of the matrix; below the map of a wide lake it has more room."""
        left, top, width, height = self.places.matrix
        _, map_top, map_width, map_height = self.places.policy
        map_bottom = map_top + min(map_height, map_width * self.grid.height / self.grid.width)
        taller = min(2.0 * height, top + height - map_bottom - 0.3) if self.places is _SHAPES["wide"] else height
        return left, top + height - taller, width, taller

    def _compose_policy(self, ax: Axes) -> None:
        run, theme, grid = self.run, self.theme, self.grid
        draw_lake(ax, grid, theme)
        self.hole = hole_colour(ax, grid, theme)
        title = ", ".join(["policy π(a|s) and visits", *filter(None, [seed_of(run)])])
        ax.set_title(title, size=11, color=theme.ink, loc="left", pad=3)
        self.tiles = TileColours(ax, grid, self.walkable, theme.visits, self.visits.norm)
        self.animate(self.tiles.artist)
        self.animate(*draw_answers(ax, grid, theme, run.demonstration[:, 0], run.rejected[:, 0], insets=(0.075, 0.135)))
        self.animate(*draw_landmarks(ax, grid, theme))
        self.animate(*draw_starts(ax, grid, theme, halo=to_hex(theme.visits(self.visits.norm(1.0)))))
        self.arrows = PolicyArrows(ax, grid, self.mdp.moves, self.walkable, theme)
        self.animate(self.arrows.artist)
        self.beads = is_fine(ax, grid)
        self.predictions = None
        if mixing_of(run) and not has_signs(ax, grid):
            self.predictions = Predictions(ax, grid, theme)
            self.animate(self.predictions.ties, self.predictions.marks)

    def _compose_matrix(self, ax: Axes) -> None:
        width = self.places.matrix[2]
        rows, shared = ", ".join(self.mdp.actions), round(self.walkable.sum() / MAX_MATRIX_COLUMNS)
        state = "tile" if self.mdp.custom_grid is None else "state"
        column = f"means of {shared} {state}s" if shared > 1 else f"a column a {state}"
        title = f"T(a|s): {column}; rows: {rows}"
        if text_width(title, 9) > width:
            title = f"T(a|s), rows: {rows}"
        ax.set_title(shorten(title, width, 9), size=9, color=self.theme.ink, loc="left", pad=3)
        self.matrix = PolicyMatrix(ax, self.walkable, optimal_policy(self.mdp), self.theme)

    def _compose_values(self, ax: Axes) -> None:
        theme, optimal = self.theme, optimal_values(self.mdp)[0]
        scale = ValueScale.of(self.run.values[:, self.walkable], optimal[self.walkable])
        draw_lake(ax, self.grid, theme, hole=theme.hole)  # a paler one would be nearer to the colours of small values
        ax.set_title("value V(s)", size=11, color=theme.ink, loc="left", pad=3)
        self.value_tiles = TileColours(ax, self.grid, self.walkable, colormaps[theme.values], scale.norm)
        self.animate(self.value_tiles.artist, *draw_landmarks(ax, self.grid, theme))
        left, top, width, height = self.places.values
        tile = min(width / self.grid.width, height / self.grid.height)
        below = top + tile * self.grid.height + KEY_ABOVE + 0.04
        strip = (left + 0.1, below, max(tile * self.grid.width, 1.65) - 0.2, KEY_HEIGHT)
        scale.draw_key(self.add_axes(*strip), theme, 8.5)

    def _compose_curves(self) -> None:
        """Success (or regret) and distance over the updates, and the first metric of the user's own, if there is one."""
        run, theme = self.run, self.theme
        custom = run.custom_metrics[:1]
        boxes = self.places.curves[len(custom)]
        horizon = "" if self.mdp.horizon is None else f" within {self.mdp.horizon} steps"
        titles = {"success": f"success{horizon}", "regret": "regret (optimal return - return)"}
        titles["distance"] = "distance to optimal (mean squared)"
        if boxes[0][2] < 2:  # inches
            titles = {}
        names = [run.headline, "distance", *custom]
        self.curves = [
            _Curve(self, box, name, titles.get(name, look_of(name).title)) for box, name in zip(boxes, names, strict=True)
        ]
        self.animate(self.step_text.artist, *self.matrix.artists)
        for curve in self.curves:
            self.animate(curve.cursor, curve.dot, curve.score.artist)
        is_column = len({box[0] for box in boxes}) == 1
        for curve in self.curves[:-1] if is_column else ():
            curve.ax.tick_params(labelbottom=False)
        for curve in self.curves[-1:] if is_column else self.curves[:1]:
            label_updates(curve.ax, theme)
        left, middle = self.places.note
        words = f"{short_title(run.title)}: {about_intervals(run.seeds)}"
        if run.seeds > 1:
            words += f"; thin: {seed_of(run)}"
        room = self.places.size[0] - left - 0.75
        sample = self.add_axes(left, middle - 0.06, 0.34, 0.12)
        sample.set(xlim=(0, 1), ylim=(0, 1))
        sample.axis("off")
        sample.axhspan(0, 1, color=self.style.colour(theme), alpha=BAND, lw=0)
        sample.plot([0, 1], [0.5, 0.5], color=self.style.colour(theme), ls=self.style.dash, lw=1.8)
        self.add_text(left + 0.42, middle, shorten(words, room, 9), size=9, color=theme.ink)

    # ---- the legend ----

    def _compose_legend(self, ax: Axes) -> None:
        entries = self._legend_entries()
        prepare_axes(ax, max(6, len(entries)), 6)
        for row, (draw_sample, words) in enumerate(entries):
            y = row + 0.04
            draw_sample(ax, y)
            ax.text(1.1, y + 0.4, words, size=9, color=self.theme.ink, va="center", linespacing=1.1)

    def _legend_entries(self) -> list[tuple[DrawSample, str]]:
        """Return the entries of the legend, from above: how each sample is drawn, and the words beside it."""
        run, side = self.run, self.arrows.side
        move = "likeliest move" if self.arrows.small else "probability of a move"
        entries: list[tuple[DrawSample, str]] = [
            (self._draw_arrow, f"mean move of\nabout {side}×{side} tiles" if side > 1 else move),
            (self._draw_shown, self._shown_words()),
        ]
        if len(run.rejected):
            entries.append((self._draw_rejected, "rejected path"))
        if self.predictions is not None:
            entries.append((self._draw_prediction, f"model's own prediction,\nmixed in with λ = {mixing_of(run)}"))
        if self._staying:
            entries.append((self._draw_staying, ",\n".join(shorten(name, 1.6, 9) for name in self._staying)))
        if self.grid.marks:
            entries.append((self._draw_marks, "passenger, destination"))
        for letter, words in tile_words(self.mdp).items():
            if letter in "HC":  # both are drawn dark
                entries.append((self._draw_hole, wrap_text(f"{words.name}: {words.effect}", 1.65, 9)))
        return entries

    def _shown_words(self) -> str:
        count, needs = self.run.settings.get("demonstrations") or 1, self.run.needs
        several = f"\n(first of {count})" if count > 1 else ""
        if needs == "rollouts" or self.run.settings.get("held_out"):
            return "the human's path,\nnot shown to it"
        if needs == "pairs":
            return f"preferred path{several}"
        return f"shown by the human{several}"

    @property
    def _staying(self) -> list[str]:
        """Names of the actions that are no moves."""
        return [name for name, move in zip(self.mdp.actions, self.mdp.moves, strict=True) if not move.any()]

    def _draw_arrow(self, ax: Axes, y: float) -> None:
        arrow = PolicyArrows(ax, GridLayout.of(["F"]), np.array([[0, 1]]), np.array([True]), self.theme)
        arrow.centre = np.array([[0.0, y + 0.4]])
        arrow.direction = np.array([[1.7, 0.0]])
        arrow.update(np.array([[1.0]]))

    def _draw_shown(self, ax: Axes, y: float) -> None:
        draw_path_sample(ax, 0.1, y + 0.12, 0.58, self.theme.shown, dashed=False, beads=self.beads)

    def _draw_rejected(self, ax: Axes, y: float) -> None:
        draw_path_sample(ax, 0.1, y + 0.12, 0.58, self.theme.rejected, dashed=True, beads=self.beads)

    def _draw_prediction(self, ax: Axes, y: float) -> None:
        diamond = 0.24 * DIAMOND + [0.4, y + 0.4]
        ax.fill(diamond[:, 0], diamond[:, 1], fc=self.theme.predicted, lw=0)

    def _draw_staying(self, ax: Axes, y: float) -> None:
        for i, shape in enumerate(ACTION_MARKS[: len(self._staying)]):
            ax.fill(*(0.65 * shape + [0.2 + 0.55 * i, y + 0.4]).T, fc=self.theme.arrow, lw=0)

    def _draw_marks(self, ax: Axes, y: float) -> None:
        for i, kind in enumerate(self.grid.marks):
            for shape in MARK_GLYPHS[kind]:
                ax.fill(*(0.5 * shape + [-0.05 + 0.5 * i, y + 0.15]).T, fc=self.theme.muted, lw=0)

    def _draw_hole(self, ax: Axes, y: float) -> None:
        ax.add_patch(Rectangle((0.1, y + 0.12), 0.6, 0.55, fc=self.hole, lw=0))

    # ---- frames ----

    def update(self, index: int) -> None:
        """Move everything to snapshot `index`."""
        run = self.run
        policy = run.snapshots[index]
        self.step_text.update(f"update {run.steps[index]} / {run.settings.get('steps') or run.steps[-1]}")
        self.tiles.update(run.visits[index])
        self.arrows.update(policy)
        self.matrix.update(policy)
        self.value_tiles.update(run.values[index])
        if self.predictions is not None:
            self.predictions.update(run.demonstration[1:, 0], self.predicted(policy))
        for curve in self.curves:
            curve.update(index)

    def predicted(self, policy: Float[np.ndarray, "S A"]) -> Float[np.ndarray, "n S"]:
        """Return, for each step i >= 1 of the demonstration, the weight of each state that IFT mixes in beside the human's.

        Args:
            policy: T_θ(a|s).
        """
        states = self._predictions.states
        weights = np.zeros((len(states), self.mdp.num_states))
        np.add.at(weights, (np.arange(len(states))[:, None], states), self._predictions.weights(policy))
        return weights

    @cached_property
    def _predictions(self) -> PredictedStates:
        return PredictedStates.of(self.run)


class _Curve:
    """A metric over the updates: mean and interval over seeds in the method's own style, thinly the drawn seed, and its dot."""

    def __init__(self, film: MethodFilm, box: Box, name: str, title: str) -> None:
        run, theme, style = film.run, film.theme, film.style
        self.ax = ax = film.add_axes(*box)
        colour, self.steps = style.colour(theme), run.steps
        mean, low, high = metric_interval(name, run.metrics[name])
        self.drawn = run.of_drawn(name)
        optimum, limit = run.optimum.get(name), look_of(name).limit
        style_axes(ax, theme)
        update_axis(ax, int(self.steps[-1]), apart=0.42 / box[2])
        ax.fill_between(self.steps, low, high, color=colour, alpha=BAND, lw=0)
        ax.plot(self.steps, mean, color=colour, ls=style.dash, lw=1.8)
        if run.seeds > 1:
            ax.plot(self.steps, self.drawn, color=theme.ink, lw=0.8)
        self.seed = f"{seed_of(run)}: " if run.seeds > 1 and box[2] > 2 else ""
        room = box[2] - text_width(f"{self.seed}0.888", 9, bold=True)
        ax.set_title(shorten(title, room, 9), size=9, color=theme.ink, loc="left", pad=3)
        if optimum is not None:
            ax.axhline(optimum, color=theme.muted, lw=1, ls=(0, (4, 3)))
            if box[2] > 2:
                ax.text(1.02, optimum, "optimal", transform=ax.get_yaxis_transform(), size=8, color=theme.muted, va="center")
        if limit is not None:
            ax.set_ylim(-0.03 * limit, 1.06 * limit)
            ax.set_yticks([0, 0.5 * limit, limit])
        else:
            ax.set_ylim(0, max(float(high.max()), float(self.drawn.max()), 1e-6) * 1.12)
            ax.yaxis.set_major_locator(MaxNLocator(3))
        self.score = film.add_number(box[0] + box[2], box[1] - 0.1, size=9, colour=theme.ink, align="right")
        self.cursor = ax.axvline(0, color=theme.muted, lw=1)
        self.dot = ax.plot([0], [0], style.marker, ms=6.5, mfc=colour, mec=theme.background, mew=1, clip_on=False)[0]

    def update(self, index: int) -> None:
        step, value = self.steps[index], self.drawn[index]
        self.score.update(f"{self.seed}{value:.3f}" if abs(value) < 10 else f"{self.seed}{plain_number(value, 3)}")
        self.cursor.set_xdata([step, step])
        self.dot.set_data([step], [value])
