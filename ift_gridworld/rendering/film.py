"""The film of one method: lake, policy, visits, values and curves, one frame a snapshot.

What does not change is drawn once; in each frame the artists that do are moved and drawn over it. The same artists make the
still pictures. Everything is read from a `Record`, so that a film redrawn from its file is the film drawn after training.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ift_gridworld.metrics import expected_visits, mean_interval
from ift_gridworld.planning import evaluate_policy, value_iteration
from ift_gridworld.records import Record, write_atomically
from ift_gridworld.rendering import check_format, maps
from ift_gridworld.rendering.encode import shared_palette, write_gif, write_mp4
from ift_gridworld.rendering.maps import Number
from ift_gridworld.rendering.theme import THEMES, Theme

WIDTH, HEIGHT, DPI = 9.6, 5.6, 100
FIRST, EACH, LAST = 1.2, 0.07, 2.5  # seconds that the frames stand


class MethodFilm:
    """Args:
    record: the run to show.
    theme: a name in THEMES.
    """

    def __init__(self, record: Record, theme: str = "light") -> None:
        if record.lake.mdp.layout is None:
            raise ValueError(f"environment {record.lake.name!r} has no map to draw; allowed: grids such as FrozenLake")
        self.record, self.theme, self.mdp = record, THEMES[theme], record.lake.mdp
        self.layout = record.lake.mdp.layout
        self.walkable = ~self.mdp.terminal & np.array([letter not in "HC" for row in self.layout for letter in row])
        self.visits = expected_visits(self.mdp, record.snapshots)
        self.values = evaluate_policy(self.mdp, record.snapshots)
        self.figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=self.theme.background)
        self.canvas = FigureCanvasAgg(self.figure)
        self.moving: list[Artist] = []
        self._compose()

    def __len__(self) -> int:
        return len(self.record.steps)

    @property
    def durations(self) -> list[float]:
        """Seconds that each frame stands."""
        return [FIRST, *[EACH] * (len(self) - 2), LAST][: len(self)]

    # ---- composition ----

    def _compose(self) -> None:
        record, theme, figure = self.record, self.theme, self.figure
        short, _, long = record.title.partition(" · ")
        figure.text(0.03, 0.925, short, size=19, weight="bold", color=theme.ink, va="center")
        beside = 0.045 + TextPath((0, 0), short, size=19, prop=Number.FONT).get_extents().x1 / 72 / WIDTH
        figure.text(beside, 0.922, long, size=13, color=theme.muted, va="center")
        figure.text(0.03, 0.868, record.about, size=9.5, color=theme.muted, va="center")
        self.step_text = Number(figure, 0.97, 0.925, size=15, colour=theme.ink, align="right")
        self.moves(self.step_text.artist)

        policy_ax = figure.add_axes((0.03, 0.05, 0.46, 0.755))
        self._compose_policy(policy_ax)
        value_ax = figure.add_axes((0.525, 0.485, 0.19, 0.32))
        self._compose_values(value_ax)
        self._compose_legend(figure.add_axes((0.78, 0.475, 0.21, 0.36)))
        success = figure.add_axes((0.565, 0.275, 0.36, 0.125))
        distance = figure.add_axes((0.565, 0.095, 0.36, 0.125), sharex=success)
        horizon = "" if self.mdp.horizon is None else f" within {self.mdp.horizon} steps"
        self.curves = [
            # Without a clock nearly every policy arrives some day; what it pays until then tells more.
            _Curve(self, success, "regret", "regret (optimal return - return)", theme.success, None)
            if self.mdp.horizon is None
            else _Curve(self, success, "success", f"success{horizon}", theme.success, record.optimum["success"]),
            _Curve(self, distance, "distance", "distance to optimal (mean squared)", theme.distance, None),
        ]
        success.tick_params(labelbottom=False)
        distance.set_xlabel("update", size=9, color=theme.muted, labelpad=1)

    def _compose_policy(self, ax: Axes) -> None:
        record, theme, layout = self.record, self.theme, self.layout
        maps.draw_lake(ax, layout, theme)
        ax.set_title("policy π(a|s) and visits", size=11, color=theme.ink, loc="left", pad=3)
        self.tiles = maps.Tiles(ax, layout, self.walkable, theme.visits, Normalize(0, 1, clip=True))
        self.moves(self.tiles.artist)
        for steps, colour, inset, dashed in (
            (record.rejected, theme.rejected, 0.135, True),
            (record.shown, theme.shown, 0.075, False),
        ):
            self.moves(maps.Outlines(ax, layout, steps[:, 0], colour, inset=inset, dashed=dashed).artist)
        width = len(layout[0])
        for s in map(int, np.flatnonzero(self.mdp.start)):
            self.moves(maps.Letter(ax, s % width, s // width, "S", theme.ink).artist)
        self.arrows = maps.Arrows(ax, layout, self.mdp.moves, self.walkable, theme)
        self.moves(self.arrows.artist)
        self.predictions = None
        if record.method == "ift" and record.settings.get("mixing"):
            self.predictions = maps.Predictions(ax, layout, theme)
            self.moves(self.predictions.ties)
            self.moves(self.predictions.marks)

    def _compose_values(self, ax: Axes) -> None:
        theme = self.theme
        optimal = value_iteration(self.mdp)[0]
        low = min(0.0, float(np.quantile(self.values[:, self.walkable], 0.2)))  # the worst of costly walks would hide the rest
        high = max(float(optimal[~self.mdp.terminal].max()), low + 1e-9)
        norm, cmap = Normalize(low, high, clip=True), colormaps[theme.values]
        maps.draw_lake(ax, self.layout, theme)
        ax.set_title("value V(s)", size=11, color=theme.ink, loc="left", pad=3)
        self.value_tiles = maps.Tiles(ax, self.layout, self.walkable, cmap, norm)
        self.moves(self.value_tiles.artist)
        bar = self.figure.add_axes((0.726, 0.5, 0.009, 0.28))
        bar.imshow(np.linspace(1, 0, 128)[:, None], aspect="auto", cmap=cmap, extent=(0, 1, low, high))
        bar.set(xticks=[], yticks=[low, high])
        bar.yaxis.tick_right()
        bar.set_yticklabels([f"{low:.3g}", f"{high:.3g}"])
        bar.tick_params(length=0, pad=2, labelsize=8.5, labelcolor=theme.muted)
        for spine in bar.spines.values():
            spine.set_visible(False)

    def _compose_legend(self, ax: Axes) -> None:
        record, theme = self.record, self.theme
        entries = ["arrow", "visits", "shown"]
        if len(record.rejected):
            entries.append("rejected")
        if self.predictions is not None:
            entries.append("predicted")
        if any(letter in "HC" for row in self.layout for letter in row):
            entries.append("hole")
        mixed = f"model's own prediction,\nmixed in with λ = {record.settings.get('mixing')}"
        words = {
            "arrow": "probability\nof a move",
            "visits": "visits: none to\nonce an episode",
            "shown": self._shown(),
            "rejected": "rejected path",
            "predicted": mixed,
            "hole": "cliff" if any("C" in row for row in self.layout) else "hole",
        }
        maps.prepare_axes(ax, 6, 6)
        for row, entry in enumerate(entries):
            y = row + 0.1
            if entry == "arrow":
                sample = maps.Arrows(ax, ("F",), np.array([[0, 1]]), np.array([True]), theme)
                sample.centre = np.array([[0.0, y + 0.4]])
                sample.along = np.array([[1.7, 0.0]])
                sample.update(np.array([[1.0]]))
            elif entry == "visits":
                for i, level in enumerate((0.0, 0.5, 1.0)):
                    ax.add_patch(Rectangle((0.27 * i, y + 0.15), 0.27, 0.5, fc=theme.visits(level), lw=0))
            elif entry in ("shown", "rejected"):
                colour, dashed = (theme.shown, False) if entry == "shown" else (theme.rejected, True)
                ax.add_patch(
                    Rectangle((0.1, y + 0.12), 0.6, 0.55, fc="none", ec=colour, lw=1.8, ls=(0, (2.2, 1.6)) if dashed else "-")
                )
            elif entry == "predicted":
                diamond = 0.24 * np.array([(0, -1), (1, 0), (0, 1), (-1, 0)]) + [0.4, y + 0.4]
                ax.fill(diamond[:, 0], diamond[:, 1], fc=theme.predicted, lw=0)
            else:
                ax.add_patch(Rectangle((0.1, y + 0.12), 0.6, 0.55, fc=theme.hole, lw=0))
            ax.text(1.1, y + 0.4, words[entry], size=9, color=theme.ink, va="center", linespacing=1.1)

    def _shown(self) -> str:
        count, needs = self.record.settings.get("demonstrations") or 1, self.record.needs
        many = f"\n(first of {count})" if count > 1 else ""
        if needs == "rollouts":
            return "the human's path,\nnot shown to it"
        return ("preferred path" if needs == "pairs" else "shown by the human" if many else "shown by\nthe human") + many

    def moves(self, *artists: Artist) -> None:
        """Have these drawn in every frame, in this order, and left out of what is drawn once."""
        for artist in artists:
            artist.set_animated(True)
            self.moving.append(artist)

    # ---- frames ----

    def update(self, index: int) -> None:
        """Move everything to snapshot `index`."""
        record = self.record
        policy = record.snapshots[index]
        self.step_text.update(f"update {record.steps[index]} / {record.settings.get('steps', record.steps[-1])}")
        self.tiles.update(self.visits[index])
        self.arrows.update(policy)
        self.value_tiles.update(self.values[index])
        if self.predictions is not None:
            self.predictions.update(record.shown[1:, 0], self.predicted(policy))
        for curve in self.curves:
            curve.update(index)

    def predicted(self, policy: Float[np.ndarray, "S A"]) -> Float[np.ndarray, "n S"]:
        """For each step i >= 1 of the demonstration, how much of each tile IFT mixes in beside the human's tile."""
        settings, states = self.record.settings, self.record.shown[:-1, 0]
        weights = policy[states]
        if settings.get("prediction") != "expected":
            weights = np.eye(self.mdp.num_actions)[weights.argmax(-1)]
        leads = self.mdp.transition[states]
        if settings.get("outcome") == "likeliest":
            leads = np.eye(self.mdp.num_states)[leads.argmax(-1)]
        return np.einsum("na,nas->ns", weights, leads)

    @cached_property
    def _still(self) -> Any:
        """What never changes, drawn once."""
        self.canvas.draw()
        return self.canvas.copy_from_bbox(self.figure.bbox)

    def frame(self, index: int) -> Image.Image:
        """One frame, RGB: what moves, moved and drawn over what does not."""
        self.canvas.restore_region(self._still)
        self.update(index)
        renderer = self.canvas.get_renderer()
        for artist in self.moving:
            artist.draw(renderer)
        size = self.canvas.get_width_height()
        return Image.frombuffer("RGBA", size, self.canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")

    def frames(self) -> Iterator[Image.Image]:
        """Every frame, drawn one at a time."""
        return map(self.frame, range(len(self)))

    def save(self, path: str | Path) -> Path:
        """Write as the path's suffix says: a film (gif, mp4), or the last frame as a still (png, pdf, svg)."""
        path = Path(path)
        kind = path.suffix.lstrip(".")
        check_format(kind)
        if kind in ("png", "pdf", "svg"):
            return self._save_still(path, kind)
        if kind == "mp4":
            return write_mp4(path, self.frames(), self.durations)
        samples = [self.frame(i) for i in sorted({0, len(self) // 3, len(self) - 1})]
        return write_gif(path, self.frames(), self.durations, shared_palette(samples))

    def _save_still(self, path: Path, kind: str) -> Path:
        self.update(len(self) - 1)
        for artist in self.moving:
            artist.set_animated(False)
        out = io.BytesIO()
        with rc_context({"svg.hashsalt": "ift_gridworld"}):  # names inside an SVG are drawn from it
            self.figure.savefig(out, format=kind, dpi=2 * DPI, facecolor=self.theme.background, metadata=_dateless(kind))
        for artist in self.moving:
            artist.set_animated(True)
        return write_atomically(path, out.getvalue())


class _Curve:
    """A measure over the updates, mean and interval over seeds, with a cursor and its value in numbers."""

    def __init__(self, film: MethodFilm, ax: Axes, name: str, title: str, colour: str, optimum: float | None) -> None:
        record, theme = film.record, film.theme
        self.steps = record.steps
        self.mean, low, high = mean_interval(record.metrics[name])
        _style(ax, theme)
        # Snapshots lie on a square-root clock; on this axis the cursor moves evenly.
        ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ax.set_xlim(0, max(1, self.steps[-1]))
        ax.set_xticks(_ticks(int(self.steps[-1])))
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
        box = ax.get_position()
        self.number = Number(film.figure, box.x1, box.y1 + 0.02, size=12, colour=colour, align="right")
        film.moves(self.cursor, self.dot, self.number.artist)

    def update(self, index: int) -> None:
        step, value = self.steps[index], self.mean[index]
        self.cursor.set_xdata([step, step])
        self.dot.set_data([step], [value])
        self.number.update(f"{value:.3f}")


def _style(ax: Axes, theme: Theme) -> None:
    ax.set_facecolor(theme.background)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    ax.tick_params(colors=theme.muted, labelsize=8.5, length=2.5, color=theme.faint, pad=2)


def _ticks(last: int) -> list[int]:
    """0, the last update, and round numbers between that stand apart on a square-root axis."""
    ticks = [last]
    for value in sorted((m * 10**k for m in (1, 2, 5) for k in range(7)), reverse=True):
        if value < last and np.sqrt(ticks[-1] / last) - np.sqrt(value / last) >= 0.12 and value / last >= 0.012:
            ticks.append(value)
    return [0, *reversed(ticks)]


def _dateless(kind: str) -> dict[str, None]:
    """The same run gives the same file: no date inside."""
    return {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
