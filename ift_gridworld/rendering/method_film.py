"""The film of one method: lake, policy, visits, values, the matrix beside the optimal one, and curves; one frame a snapshot."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.evaluation.metrics import mean_interval
from ift_gridworld.planning import optimal_policy, optimal_values
from ift_gridworld.rendering import maps
from ift_gridworld.rendering.film import Film, style, text_width, update_ticks
from ift_gridworld.rendering.maps import Number
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.training.run import Run, check_one_environment

WIDTH, HEIGHT = 9.6, 6.0


class MethodFilm(Film):
    """Args:
    run: the run to show.
    theme: a name in THEMES.
    """

    def __init__(self, run: Run, theme: str = "light") -> None:
        check_one_environment([run], drawn=True)
        super().__init__(theme, (WIDTH, HEIGHT))
        self.run, self.mdp = run, run.mdp
        assert self.mdp.grid is not None
        self.grid = self.mdp.grid
        self.walkable = maps.walkable(self.mdp)
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
        figure.text(0.03, 0.932, short, size=19, weight="bold", color=theme.ink, va="center")
        beside = 0.045 + TextPath((0, 0), short, size=19, prop=Number.FONT).get_extents().x1 / 72 / WIDTH
        figure.text(beside, 0.929, long, size=13, color=theme.muted, va="center")
        figure.text(0.03, 0.878, run.about, size=9.5, color=theme.muted, va="center")
        self.step_text = Number(figure, 0.97, 0.932, size=15, colour=theme.ink, align="right")

        self._compose_policy(figure.add_axes((0.03, 0.205, 0.46, 0.605)))
        strip = figure.add_axes((0.06, 0.04, 0.43, 0.115))
        rows = ", ".join(self.mdp.actions)
        state, shared = "tile" if self.mdp.custom_grid is None else "state", round(self.walkable.sum() / maps.MOST_COLUMNS)
        column = f"means of {shared} {state}s" if shared > 1 else f"a column a {state}"
        title = f"T(a|s): {column}; rows: {rows}"
        if text_width(title, 9) > 0.43 * WIDTH:
            title = f"T(a|s), rows: {rows}"
        strip.set_title(title, size=9, color=theme.ink, loc="left", pad=3)
        self.strip = maps.Strip(strip, self.walkable, optimal_policy(self.mdp), theme)
        self._compose_values(figure.add_axes((0.525, 0.52, 0.19, 0.29)))
        self._compose_legend(figure.add_axes((0.78, 0.48, 0.21, 0.355)))
        figure.text(0.565, 0.455, run.about_seeds, size=9, color=theme.muted, va="center")
        success = figure.add_axes((0.565, 0.285, 0.36, 0.13))
        distance = figure.add_axes((0.565, 0.085, 0.36, 0.13), sharex=success)
        horizon = "" if self.mdp.horizon is None else f" within {self.mdp.horizon} steps"
        self.curves = [
            _Curve(run, theme, success, "regret", "regret (optimal return - return)", theme.success, None)
            if run.headline == "regret"
            else _Curve(run, theme, success, "success", f"success{horizon}", theme.success, run.optimum["success"]),
            _Curve(run, theme, distance, "distance", "distance to optimal (mean squared)", theme.distance, None),
        ]
        self.scores = [
            Number(figure, x, 0.878, size=11, colour=curve.colour, align="right")
            for x, curve in zip((0.805, 0.97), self.curves, strict=True)
        ]
        self.moves(self.step_text.artist, *self.strip.artists, *(score.artist for score in self.scores))
        for curve in self.curves:
            self.moves(curve.cursor, curve.dot)
        success.tick_params(labelbottom=False)
        distance.set_xlabel("update", size=9, color=theme.muted, labelpad=1)

    def _compose_policy(self, ax: Axes) -> None:
        run, theme, grid = self.run, self.theme, self.grid
        maps.draw_lake(ax, grid, theme)
        self.hole = maps.hole_colour(ax, grid, theme)
        ax.set_title("policy π(a|s) and visits", size=11, color=theme.ink, loc="left", pad=3)
        self.tiles = maps.TileColours(ax, grid, self.walkable, theme.visits, Normalize(0, 1, clip=True))
        self.moves(self.tiles.artist)
        for steps, colour, inset, dashed in (
            (run.rejected, theme.rejected, 0.135, True),
            (run.demonstration, theme.shown, 0.075, False),
        ):
            self.moves(maps.Outlines(ax, grid, steps[:, 0], colour, inset=inset, dashed=dashed).artist)
        self.moves(*maps.landmarks(ax, grid, theme))
        self.moves(*maps.starts(ax, grid, theme))
        self.arrows = maps.Arrows(ax, grid, self.mdp.moves, self.walkable, theme)
        self.moves(self.arrows.artist)
        self.predictions = None
        self.beads = maps.is_fine(ax, grid)
        if run.method == "ift" and run.settings.get("mixing") and not maps.has_signs(ax, grid):
            self.predictions = maps.Predictions(ax, grid, theme)
            self.moves(self.predictions.ties)
            self.moves(self.predictions.marks)

    def _compose_values(self, ax: Axes) -> None:
        theme = self.theme
        optimal = optimal_values(self.mdp)[0]
        low = min(
            0.0, float(np.quantile(self.run.values[:, self.walkable], 0.2))
        )  # the worst of costly walks would hide the rest
        high = max(float(optimal[~self.mdp.terminal].max()), low + 1e-9)
        norm, cmap = Normalize(low, high, clip=True), colormaps[theme.values]
        maps.draw_lake(ax, self.grid, theme, hole=theme.hole)  # which is nearer to the colours of small values
        ax.set_title("value V(s)", size=11, color=theme.ink, loc="left", pad=3)
        self.value_tiles = maps.TileColours(ax, self.grid, self.walkable, cmap, norm)
        self.moves(self.value_tiles.artist, *maps.landmarks(ax, self.grid, theme))
        bar = self.figure.add_axes((0.726, 0.5, 0.009, 0.28))
        bar.imshow(np.linspace(1, 0, 128)[:, None], aspect="auto", cmap=cmap, extent=(0, 1, low, high))
        bar.set(xticks=[], yticks=[low, high])
        bar.yaxis.tick_right()
        bar.set_yticklabels([f"{low:.3g}", f"{high:.3g}"])
        bar.tick_params(length=0, pad=2, labelsize=8.5, labelcolor=theme.muted)
        for spine in bar.spines.values():
            spine.set_visible(False)

    def _compose_legend(self, ax: Axes) -> None:
        run, theme = self.run, self.theme
        entries = ["arrow", "visits", "shown"]
        if len(run.rejected):
            entries.append("rejected")
        if self.predictions is not None:
            entries.append("predicted")
        standing = [name for name, move in zip(self.mdp.actions, self.mdp.moves, strict=True) if not move.any()]
        if standing:
            entries.append("standing")
        if self.grid.marks:
            entries.append("marks")
        if np.isin(self.grid.tiles, ["H", "C"]).any():
            entries.append("hole")
        mixed = f"model's own prediction,\nmixed in with λ = {run.settings.get('mixing')}"
        words = {
            "arrow": (
                f"mean move of\nabout {self.arrows.side}×{self.arrows.side} tiles"
                if self.arrows.side > 1
                else "likeliest move"
                if self.arrows.small
                else "probability\nof a move"
            ),
            "standing": ",\n".join(standing),
            "marks": "who waits there,\nand where they go",
            "visits": "visits: none to\nonce an episode",
            "shown": self._shown(),
            "rejected": "rejected path",
            "predicted": mixed,
            "hole": "cliff" if (self.grid.tiles == "C").any() else "hole",
        }
        maps.prepare_axes(ax, 6, 6)
        for row, entry in enumerate(entries):
            y = row + 0.1
            if entry == "arrow":
                sample = maps.Arrows(ax, GridLayout.of(["F"]), np.array([[0, 1]]), np.array([True]), theme)
                sample.centre = np.array([[0.0, y + 0.4]])
                sample.along = np.array([[1.7, 0.0]])
                sample.update(np.array([[1.0]]))
            elif entry == "visits":
                for i, level in enumerate((0.0, 0.5, 1.0)):
                    ax.add_patch(Rectangle((0.27 * i, y + 0.15), 0.27, 0.5, fc=theme.visits(level), lw=0))
            elif entry in ("shown", "rejected"):
                colour, dashed = (theme.shown, False) if entry == "shown" else (theme.rejected, True)
                maps.path_sample(ax, 0.1, y + 0.12, 0.58, colour, dashed=dashed, beads=self.beads)
            elif entry == "standing":
                for i, shape in enumerate(maps.STANDING[: len(standing)]):
                    ax.fill(*(0.65 * shape + [0.2 + 0.55 * i, y + 0.4]).T, fc=theme.arrow, lw=0)
            elif entry == "marks":
                for i, kind in enumerate(self.grid.marks):
                    for shape in maps.MARKS[kind]:
                        ax.fill(*(0.5 * shape + [-0.05 + 0.5 * i, y + 0.15]).T, fc=theme.muted, lw=0)
            elif entry == "predicted":
                diamond = 0.24 * np.array([(0, -1), (1, 0), (0, 1), (-1, 0)]) + [0.4, y + 0.4]
                ax.fill(diamond[:, 0], diamond[:, 1], fc=theme.predicted, lw=0)
            else:
                ax.add_patch(Rectangle((0.1, y + 0.12), 0.6, 0.55, fc=self.hole, lw=0))
            ax.text(1.1, y + 0.4, words[entry], size=9, color=theme.ink, va="center", linespacing=1.1)

    def _shown(self) -> str:
        count, needs = self.run.settings.get("demonstrations") or 1, self.run.needs
        many = f"\n(first of {count})" if count > 1 else ""
        if needs == "rollouts" or self.run.settings.get("held_out"):
            return "the human's path,\nnot shown to it"
        return ("preferred path" if needs == "pairs" else "shown by the human" if many else "shown by\nthe human") + many

    # ---- frames ----

    def update(self, index: int) -> None:
        """Move everything to snapshot `index`."""
        run = self.run
        policy = run.snapshots[index]
        self.step_text.update(f"update {run.steps[index]} / {run.settings.get('steps', run.steps[-1])}")
        self.tiles.update(run.visits[index])
        self.arrows.update(policy)
        self.strip.update(policy)
        self.value_tiles.update(run.values[index])
        if self.predictions is not None:
            self.predictions.update(run.demonstration[1:, 0], self.predicted(policy))
        for curve, score in zip(self.curves, self.scores, strict=True):
            curve.update(index)
            score.update(f"{curve.name} {curve.mean[index]:.3f}")

    def predicted(self, policy: Float[np.ndarray, "S A"]) -> Float[np.ndarray, "n S"]:
        """For each step i >= 1 of the demonstration, how much of each tile IFT mixes in beside the human's tile."""
        settings, states = self.run.settings, self.run.demonstration[:-1, 0]
        weights = policy[states]
        if settings.get("prediction") != "expected":
            best = weights >= weights.max(-1, keepdims=True) * (1 - 1e-5)  # `residual.greedy_action`, which needs torch
            weights = np.eye(self.mdp.num_actions)[best.argmax(-1)]
        return np.einsum("na,nas->ns", weights, self._leads)

    @cached_property
    def _leads(self) -> Float[np.ndarray, "n A S"]:
        """Where each action leads from each of the human's states but the last."""
        states = self.run.demonstration[:-1, 0]
        leads = np.zeros((len(states), self.mdp.num_actions, self.mdp.num_states))
        step, action = np.ogrid[: len(states), : self.mdp.num_actions]
        np.add.at(leads, (step[..., None], action[..., None], self.mdp.next_state[states]), self.mdp.probability[states])
        if self.run.settings.get("outcome") == "likeliest":
            leads = np.eye(self.mdp.num_states)[leads.argmax(-1)]
        return leads


class _Curve:
    """A measure over the updates, mean and interval over seeds, with a cursor."""

    def __init__(self, run: Run, theme: Theme, ax: Axes, name: str, title: str, colour: str, optimum: float | None) -> None:
        self.name, self.colour, self.steps = name, colour, run.steps
        self.mean, low, high = mean_interval(run.metrics[name])
        style(ax, theme)
        # Snapshots lie on a square-root clock; on this axis the cursor moves evenly.
        ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ax.set_xlim(0, max(1, self.steps[-1]))
        ax.set_xticks(update_ticks(int(self.steps[-1])))
        ax.minorticks_off()
        ax.fill_between(self.steps, low, high, color=colour, alpha=0.22, lw=0)
        ax.plot(self.steps, self.mean, color=colour, lw=1.8)
        ax.set_title(title, size=9, color=theme.ink, loc="left", pad=3)
        if optimum is not None:
            ax.axhline(optimum, color=theme.muted, lw=1, ls=(0, (4, 3)))
            ax.text(1.03, optimum, "optimal", transform=ax.get_yaxis_transform(), size=8, color=theme.muted, va="center")
            ax.set_ylim(-0.03, 1.06)
            ax.set_yticks([0, 0.5, 1])
        else:
            top = max(float(high.max()), 1e-6) * 1.12
            ax.set_ylim(0, top)
            ax.yaxis.set_major_locator(MaxNLocator(3))
        self.cursor = ax.axvline(0, color=theme.muted, lw=1)
        self.dot = ax.plot([0], [0], "o", ms=6, color=colour, mec=theme.background, mew=1, clip_on=False)[0]

    def update(self, index: int) -> None:
        step, value = self.steps[index], self.mean[index]
        self.cursor.set_xdata([step, step])
        self.dot.set_data([step], [value])
