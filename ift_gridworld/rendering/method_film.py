"""The film of one method: lake, policy, visits, values, the matrix beside the optimal one, and curves; one frame a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.planning import optimal_policy, optimal_values
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.charts import look_of, style_axes, update_axis
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, prepare_axes, walkable
from ift_gridworld.rendering.matrix import MAX_MATRIX_COLUMNS, PolicyMatrix
from ift_gridworld.rendering.paths import Predictions, draw_answers, draw_path_sample
from ift_gridworld.rendering.predictions import PredictedStates, mixing_of
from ift_gridworld.rendering.scale import has_signs, is_fine
from ift_gridworld.rendering.shapes import ACTION_MARKS, DIAMOND, MARK_GLYPHS
from ift_gridworld.rendering.text import Number, shorten, text_width, wrap_text
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tile_kinds import tile_words
from ift_gridworld.rendering.tiles import TileColours, hole_colour
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import seed_of

__all__ = ["MethodFilm"]

WIDTH, HEIGHT = 9.6, 6.0  # inches
DrawSample = Callable[[Axes, float], None]  # of a legend, at a height


class MethodFilm(Film):
    """The film of one run.

    Args:
        run: the run to show, on a lake with a map.
        theme: a name in THEMES.

    Raises:
        ValueError: if the lake has no map, or for an unknown theme.

    Example (writes two files)::

        MethodFilm(Run.load("ift.json"), "dark").save("ift.gif")
    """

    def __init__(self, run: Run, theme: str = "light") -> None:
        check_one_environment([run], drawn=True)
        super().__init__(theme, (WIDTH, HEIGHT))
        self.run, self.mdp = run, run.mdp
        self.grid, self.walkable = grid_of(self.mdp), walkable(self.mdp)
        self._compose()

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
        run, theme, figure = self.run, self.theme, self.figure
        short, _, long = run.title.partition(" · ")
        figure.text(0.03, 0.932, shorten(short, 6.0, 19, bold=True), size=19, weight="bold", color=theme.ink, va="center")
        beside = 0.045 + min(6.0, text_width(short, 19, bold=True)) / WIDTH
        figure.text(beside, 0.929, shorten(long, (0.77 - beside) * WIDTH, 13), size=13, color=theme.muted, va="center")
        figure.text(0.03, 0.878, shorten(run.about, 0.55 * WIDTH, 9.5), size=9.5, color=theme.muted, va="center")
        self.step_text = Number(figure, 0.97, 0.932, size=15, colour=theme.ink, align="right")
        self._compose_policy(figure.add_axes((0.03, 0.205, 0.46, 0.605)))
        self._compose_matrix(figure.add_axes((0.06, 0.04, 0.43, 0.115)))
        self._compose_values(figure.add_axes((0.525, 0.52, 0.19, 0.29)))
        self._compose_legend(figure.add_axes((0.78, 0.48, 0.21, 0.355)))
        which = run.about_seeds
        if run.seeds > 1:
            which = f"thin: {seed_of(run)}; thick: mean of {run.seeds} seeds, 95 % interval"
        figure.text(0.565, 0.455, shorten(which, 0.42 * WIDTH, 9), size=9, color=theme.muted, va="center")
        self._compose_curves()

    def _compose_policy(self, ax: Axes) -> None:
        run, theme, grid = self.run, self.theme, self.grid
        draw_lake(ax, grid, theme)
        self.hole = hole_colour(ax, grid, theme)
        title = ", ".join(["policy π(a|s) and visits", *filter(None, [seed_of(run)])])
        ax.set_title(title, size=11, color=theme.ink, loc="left", pad=3)
        self.tiles = TileColours(ax, grid, self.walkable, theme.visits, Normalize(0, 1, clip=True))
        self.animate(self.tiles.artist)
        self.animate(*draw_answers(ax, grid, theme, run.demonstration[:, 0], run.rejected[:, 0], insets=(0.075, 0.135)))
        self.animate(*draw_landmarks(ax, grid, theme))
        self.animate(*draw_starts(ax, grid, theme))
        self.arrows = PolicyArrows(ax, grid, self.mdp.moves, self.walkable, theme)
        self.animate(self.arrows.artist)
        self.beads = is_fine(ax, grid)
        self.predictions = None
        if mixing_of(run) and not has_signs(ax, grid):
            self.predictions = Predictions(ax, grid, theme)
            self.animate(self.predictions.ties, self.predictions.marks)

    def _compose_matrix(self, ax: Axes) -> None:
        rows, shared = ", ".join(self.mdp.actions), round(self.walkable.sum() / MAX_MATRIX_COLUMNS)
        state = "tile" if self.mdp.custom_grid is None else "state"
        column = f"means of {shared} {state}s" if shared > 1 else f"a column a {state}"
        title = f"T(a|s): {column}; rows: {rows}"
        if text_width(title, 9) > 0.43 * WIDTH:
            title = f"T(a|s), rows: {rows}"
        ax.set_title(shorten(title, 0.43 * WIDTH, 9), size=9, color=self.theme.ink, loc="left", pad=3)
        self.matrix = PolicyMatrix(ax, self.walkable, optimal_policy(self.mdp), self.theme)

    def _compose_values(self, ax: Axes) -> None:
        theme, optimal = self.theme, optimal_values(self.mdp)[0]
        # A quantile, because the worst values of costly walks would hide the rest.
        low = min(0.0, float(np.quantile(self.run.values[:, self.walkable], 0.2)))
        high = max(float(optimal[~self.mdp.terminal].max()), low + 1e-9)
        norm, cmap = Normalize(low, high, clip=True), colormaps[theme.values]
        draw_lake(ax, self.grid, theme, hole=theme.hole)  # a paler one would be nearer to the colours of small values
        ax.set_title("value V(s)", size=11, color=theme.ink, loc="left", pad=3)
        self.value_tiles = TileColours(ax, self.grid, self.walkable, cmap, norm)
        self.animate(self.value_tiles.artist, *draw_landmarks(ax, self.grid, theme))
        bar = self.figure.add_axes((0.726, 0.5, 0.009, 0.28))
        bar.imshow(np.linspace(1, 0, 128)[:, None], aspect="auto", cmap=cmap, extent=(0, 1, low, high))
        bar.set(xticks=[], yticks=[low, high])
        bar.yaxis.tick_right()
        bar.set_yticklabels([f"{low:.3g}", f"{high:.3g}"])
        bar.tick_params(length=0, pad=2, labelsize=8.5, labelcolor=theme.muted)
        for spine in bar.spines.values():
            spine.set_visible(False)

    def _compose_curves(self) -> None:
        """Success (or regret) and distance over the updates, and the first metric of the user's own, if there is one."""
        run, theme = self.run, self.theme
        custom = run.custom_metrics[:1]
        heights = (0.335, 0.21, 0.085) if custom else (0.285, 0.085)
        axes = [self.figure.add_axes((0.565, bottom, 0.36, 0.075 if custom else 0.13)) for bottom in heights]
        horizon = "" if self.mdp.horizon is None else f" within {self.mdp.horizon} steps"
        titles = {"success": f"success{horizon}", "regret": "regret (optimal return - return)"}
        headline = run.headline
        self.curves = [
            _Curve(run, theme, axes[0], headline, titles.get(headline, look_of(headline).title)),
            _Curve(run, theme, axes[1], "distance", "distance to optimal (mean squared)"),
            *(_Curve(run, theme, axes[2], name, look_of(name).title) for name in custom),
        ]
        places = ((0.805, 0.878, 11.0), (0.97, 0.878, 11.0), (0.925, 0.174, 9.0))  # the last above its own chart
        self.scores = [
            Number(self.figure, x, y, size=size, colour=curve.colour, align="right")
            for (x, y, size), curve in zip(places, self.curves, strict=False)
        ]
        self.animate(self.step_text.artist, *self.matrix.artists, *(score.artist for score in self.scores))
        for curve in self.curves:
            self.animate(curve.cursor, curve.dot)
        for ax in axes[:-1]:
            ax.tick_params(labelbottom=False)
        axes[-1].set_xlabel("update", size=9, color=theme.muted, labelpad=1)

    # ---- the legend ----

    def _compose_legend(self, ax: Axes) -> None:
        entries = self._legend_entries()
        prepare_axes(ax, max(6, len(entries)), 6)
        for row, (draw_sample, words) in enumerate(entries):
            y = row + 0.1
            draw_sample(ax, y)
            ax.text(1.1, y + 0.4, words, size=9, color=self.theme.ink, va="center", linespacing=1.1)

    def _legend_entries(self) -> list[tuple[DrawSample, str]]:
        """What the legend explains, from above: how its sample is drawn, and the words beside it."""
        run, side = self.run, self.arrows.side
        move = "likeliest move" if self.arrows.small else "probability\nof a move"
        entries: list[tuple[DrawSample, str]] = [
            (self._draw_arrow, f"mean move of\nabout {side}×{side} tiles" if side > 1 else move),
            (self._draw_visits, "visits: none to\nonce an episode"),
            (self._draw_shown, self._shown_words()),
        ]
        if len(run.rejected):
            entries.append((self._draw_rejected, "rejected path"))
        if self.predictions is not None:
            entries.append((self._draw_prediction, f"model's own prediction,\nmixed in with λ = {mixing_of(run)}"))
        if self._staying:
            entries.append((self._draw_staying, ",\n".join(shorten(name, 1.6, 9) for name in self._staying)))
        if self.grid.marks:
            entries.append((self._draw_marks, "who waits there,\nand where they go"))
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
        return f"shown by the human{several}" if several else "shown by\nthe human"

    @property
    def _staying(self) -> list[str]:
        """Names of the actions that are no moves."""
        return [name for name, move in zip(self.mdp.actions, self.mdp.moves, strict=True) if not move.any()]

    def _draw_arrow(self, ax: Axes, y: float) -> None:
        arrow = PolicyArrows(ax, GridLayout.of(["F"]), np.array([[0, 1]]), np.array([True]), self.theme)
        arrow.centre = np.array([[0.0, y + 0.4]])
        arrow.direction = np.array([[1.7, 0.0]])
        arrow.update(np.array([[1.0]]))

    def _draw_visits(self, ax: Axes, y: float) -> None:
        for i, level in enumerate((0.0, 0.5, 1.0)):
            ax.add_patch(Rectangle((0.27 * i, y + 0.15), 0.27, 0.5, fc=self.theme.visits(level), lw=0))

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
        self.step_text.update(f"update {run.steps[index]} / {run.settings.get('steps', run.steps[-1])}")
        self.tiles.update(run.visits[index])
        self.arrows.update(policy)
        self.matrix.update(policy)
        self.value_tiles.update(run.values[index])
        if self.predictions is not None:
            self.predictions.update(run.demonstration[1:, 0], self.predicted(policy))
        for i, (curve, score) in enumerate(zip(self.curves, self.scores, strict=True)):
            curve.update(index)
            seed = f"{seed_of(run)}: " if run.seeds > 1 and i == 0 else ""
            score.update(f"{seed}{curve.name} {curve.drawn[index]:z.3f}")

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
    """A metric over the updates, mean and interval over seeds and thinly the drawn seed, with a cursor."""

    def __init__(self, run: Run, theme: Theme, ax: Axes, name: str, title: str) -> None:
        self.name, self.colour, self.steps = name, getattr(theme, look_of(name).colour), run.steps
        self.drawn = run.of_drawn(name)
        self.mean, low, high = metric_interval(name, run.metrics[name])
        optimum, limit = run.optimum.get(name), look_of(name).limit
        style_axes(ax, theme)
        update_axis(ax, int(self.steps[-1]))
        ax.fill_between(self.steps, low, high, color=self.colour, alpha=0.22, lw=0)
        ax.plot(self.steps, self.mean, color=self.colour, lw=1.8)
        if run.seeds > 1:
            ax.plot(self.steps, self.drawn, color=theme.ink, lw=0.8)
        ax.set_title(shorten(title, 0.36 * WIDTH, 9), size=9, color=theme.ink, loc="left", pad=3)
        if optimum is not None:
            ax.axhline(optimum, color=theme.muted, lw=1, ls=(0, (4, 3)))
            ax.text(1.03, optimum, "optimal", transform=ax.get_yaxis_transform(), size=8, color=theme.muted, va="center")
        if limit is not None:
            ax.set_ylim(-0.03 * limit, 1.06 * limit)
            ax.set_yticks([0, 0.5 * limit, limit])
        else:
            ax.set_ylim(0, max(float(high.max()), float(self.drawn.max()), 1e-6) * 1.12)
            ax.yaxis.set_major_locator(MaxNLocator(3))
        self.cursor = ax.axvline(0, color=theme.muted, lw=1)
        self.dot = ax.plot([0], [0], "o", ms=6, color=self.colour, mec=theme.background, mew=1, clip_on=False)[0]

    def update(self, index: int) -> None:
        step, value = self.steps[index], self.drawn[index]
        self.cursor.set_xdata([step, step])
        self.dot.set_data([step], [value])
