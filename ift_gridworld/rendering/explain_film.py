"""A slow, captioned film of one update: the lake at the left, the computation at the right, one scene after another.

Every number that it shows was computed in that update (`ift_gridworld.explain`); between the policy before and after it, arrows
are moved evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import PathPatch

from ift_gridworld.escape import printable
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.arrows import ChangeArrows, PolicyArrows
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, grid_of, walkable
from ift_gridworld.rendering.paths import Predictions
from ift_gridworld.rendering.scale import tile_inches
from ift_gridworld.rendering.shapes import closed_path, empty_path
from ift_gridworld.rendering.text import Letter, plain_text, short_title, shorten, wrap_text

if TYPE_CHECKING:
    from ift_gridworld.explain import Explanation, Step

__all__ = ["ExplainFilm"]

WIDTH, HEIGHT = 9.6, 5.4  # inches
STEP, READ, HOLD = 0.45, 2.6, 1.2  # seconds: of an ordinary frame, of a scene's first frame, added to its last
MAX_STEPS = 14  # frames of one scene in which things happen one by one
BARS = (0.555, 0.10, 0.40, 0.235)  # left, bottom, width, height: figure fractions
MAX_NAMES, MAX_LABELS = 24, 16  # bars that have room each for the name of its action, and for its number
ACTION_SIGNS = {"left": "←", "down": "↓", "right": "→", "up": "↑"}
WHOLE_PATH = 10**6  # steps: more than any path has
DIM, CLEAR = 0.12, 0.9  # opacity of the policy's arrows under those of a change, and alone
Draw = Callable[[], None]


class ExplainFilm(Film):
    """The film of one update.

    Args:
        explanation: the update to show.
        mdp: the lake it was made on, which must have a map.
        about: lake, policy and base in a line.
        theme: a name in THEMES.

    Raises:
        ValueError: if the lake has no map, for an unknown theme, or for a scene of a kind that the film does not know.
    """

    def __init__(self, explanation: Explanation, mdp: TabularMDP, about: str, theme: str = "light") -> None:
        self.grid = grid_of(mdp)
        super().__init__(theme, (WIDTH, HEIGHT))
        self.explanation, self.mdp, self.about = explanation, mdp, about
        self._compose()
        self._frames: list[tuple[float, list[Draw]]] = []
        for number, scene in enumerate(explanation.steps):
            write_lines, moments = partial(self._tell, scene, number), list(self._moments(scene))
            for i, draw in enumerate(moments):
                seconds = READ if i == 0 else STEP
                if i == len(moments) - 1:
                    seconds += HOLD
                self._frames.append((seconds, [write_lines, draw]))

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def durations(self) -> list[float]:
        return [seconds for seconds, _ in self._frames]

    @property
    def alt(self) -> str:
        scenes = " ".join(f"{scene.title}: {scene.caption}" for scene in self.explanation.steps)
        return f"One update of {self.explanation.title.replace(' · ', ', ')}, explained on {printable(self.about)}. {scenes}"

    def update(self, index: int) -> None:
        self._clear()
        for draw in self._frames[index][1]:
            draw()

    # ---- composition ----

    def _compose(self) -> None:
        theme, figure = self.theme, self.figure
        title = shorten(f"{short_title(self.explanation.title)}: one update", 0.75 * WIDTH, 17, bold=True)
        figure.text(0.03, 0.93, title, size=17, weight="bold", color=theme.ink, va="center")
        figure.text(0.03, 0.875, shorten(self.about, 0.9 * WIDTH, 9.5), size=9.5, color=theme.muted, va="center")
        self._compose_map(figure.add_axes((0.03, 0.04, 0.47, 0.79)))
        self._compose_words()
        self._compose_bars(figure.add_axes(BARS))
        self.animate(
            *self.paths, *self.changes.artists, self.arrows.artist, self.predictions.ties, self.predictions.marks, self.walkers,
            self.title, self.caption, self.equation, self.progress, *self.bars, *self.names, *self.labels, self.heading,
        )  # fmt: skip

    def _compose_map(self, ax: Axes) -> None:
        theme, grid, states = self.theme, self.grid, walkable(self.mdp)
        draw_lake(ax, grid, theme)
        self.arrows = PolicyArrows(ax, grid, self.mdp.moves, states, theme)
        self.changes = ChangeArrows(ax, grid, self.mdp.moves, states, theme)
        self.predictions = Predictions(ax, grid, theme)
        tile = 72 * tile_inches(ax, grid)  # points: on small tiles paths and walkers are smaller, too
        self.paths = [
            LineCollection([], colors=colour, lw=width, ls=style, capstyle="round", joinstyle="round")
            for colour, width, style in (
                (theme.shown, min(9.0, max(2.5, 0.6 * tile)), "-"),
                (theme.rejected, min(6.0, max(1.8, 0.4 * tile)), (0, (1.2, 1.0))),
                (theme.visited, min(2.2, max(1.2, 0.15 * tile)), "-"),
            )
        ]
        for path in self.paths:
            path.set_alpha(0.6)
            ax.add_collection(path)
        size, edge = min(13.0, max(7.0, tile)), 2 if tile > 13 else 1
        self.walkers = ax.plot([], [], "o", ms=size, color=theme.predicted, mec=theme.background, mew=edge, clip_on=False)[0]
        for row, column in grid.place[grid.letters == "S"]:
            Letter(ax, column, row, "S", theme.ink)
        draw_landmarks(ax, grid, theme)

    def _compose_words(self) -> None:
        """Title, caption and equation of a scene, and the dots that tell which scene it is."""
        theme, figure = self.theme, self.figure
        self.title = figure.text(0.535, 0.80, "", size=14.5, weight="bold", color=theme.ink, va="top", wrap=False)
        self.caption = figure.text(0.535, 0.725, "", size=11, color=theme.ink, va="top", linespacing=1.45)
        self.equation = figure.text(0.535, 0.455, "", size=12.5, color=theme.ink, va="top")
        self.progress = figure.text(0.97, 0.93, "", size=12, color=theme.muted, va="center", ha="right")

    def _compose_bars(self, ax: Axes) -> None:
        """The chart of bars: filled, outlined, and standing on the filled ones."""
        theme = self.theme
        self.chart = ax
        ax.axis("off")
        self.bars = [
            PathPatch(empty_path(), fc=fill, ec=edge, lw=lw)
            for fill, edge, lw in ((theme.success, "none", 0), ("none", theme.muted, 1.4), (theme.distance, "none", 0))
        ]
        for bar in self.bars:
            ax.add_patch(bar)
        self.names = [ax.text(0, 0, "", size=11, color=theme.muted, ha="center", va="top") for _ in range(MAX_NAMES)]
        self.labels = [ax.text(0, 0, "", size=9, color=theme.ink, ha="center", va="bottom") for _ in range(MAX_LABELS)]
        self.heading = self.figure.text(0.535, BARS[1] + BARS[3] + 0.025, "", size=9.5, color=theme.muted, va="bottom")

    def _clear(self) -> None:
        """Take away what the last frame has drawn."""
        self.arrows.update(self.explanation.before)
        self.arrows.artist.set_alpha(CLEAR)
        self.changes.update(np.zeros((self.mdp.num_states, self.mdp.num_actions)))
        self.predictions.update(np.zeros(0, int), np.zeros((0, self.mdp.num_states)))
        self.walkers.set_data([], [])
        for path in self.paths:
            path.set_segments([])
        for bar in self.bars:
            bar.set_path(empty_path())
        for text in (*self.names, *self.labels, self.heading):
            text.set_text("")

    def _tell(self, scene: Step, number: int) -> None:
        self.title.set_text(scene.title)
        self.caption.set_text(wrap_text(scene.caption, 0.43 * WIDTH, 11))
        self.equation.set_text(scene.equation)
        self.progress.set_text("  ".join("●" if i == number else "○" for i in range(len(self.explanation.steps))))

    # ---- scenes: each yields what is drawn in its frames ----

    def _moments(self, scene: Step) -> Iterator[Draw]:
        scenes: dict[str, Callable[[Step], Iterator[Draw]]] = {
            "walk": self._walk,
            "predict": self._predict,
            "mix": self._mix,
            "bars": self._series,
            "weights": self._series,
            "flow": self._flow,
            "pair": self._pair,
            "pushes": self._pushes,
            "advantage": self._advantage,
            "clip": self._clip,
            "step": self._step,
        }
        if scene.kind not in scenes:
            raise ValueError(f"step is of kind {scene.kind!r}; allowed: {', '.join(scenes)}")
        return scenes[scene.kind](scene)

    def _centres(self, tiles: Sequence[int]) -> Float[np.ndarray, "n 2"]:
        return self.grid.place[np.asarray(tiles, int), ::-1] + 0.5

    def _trace(self, paths: Sequence[dict[str, Any]], steps: int, *, walkers: bool = True) -> None:
        """Draw the first `steps` moves of some paths; walks of the model's own are moved apart a little."""
        roles = {"shown": 0, "rejected": 1, "own": 2}
        lines: list[list[np.ndarray]] = [[], [], []]
        ends = []
        for i, path in enumerate(paths):
            centres = self._centres([*path["states"], path["end"]][: steps + 1])
            if path["role"] == "own":
                centres = centres + 0.22 * np.array([np.cos(2.4 * i), np.sin(2.4 * i)])
            jumps = np.flatnonzero(np.abs(np.diff(centres, axis=0)).max(1) > 1) + 1  # from one small map to another
            lines[roles[path["role"]]] += np.split(centres, jumps)
            ends.append(centres[-1])
        for path_lines, segments in zip(self.paths, lines, strict=True):
            path_lines.set_segments([s for s in segments if len(s) > 1])
        if walkers:
            self.walkers.set_data(*np.array(ends).T)

    def _walk(self, scene: Step) -> Iterator[Draw]:
        paths = scene.data["paths"]
        for steps in _paced(max(len(path["states"]) for path in paths)):
            yield partial(self._trace, paths, steps)

    def _trace_demonstration(self) -> None:
        first = self.explanation.steps[0].data["paths"]
        self._trace([path for path in first if path["role"] == "shown"], WHOLE_PATH, walkers=False)

    def _predict(self, scene: Step) -> Iterator[Draw]:
        true, weights = np.array(scene.data["true"]), np.array(scene.data["weights"])
        for count in _paced(len(true)):

            def draw(n: int = count) -> None:
                self._trace_demonstration()
                self.predictions.update(true[:n], weights[:n])

            yield draw

    def _mix(self, scene: Step) -> Iterator[Draw]:
        true, weights = np.array(scene.data["true"]), np.array(scene.data["weights"])
        mixing, right = scene.data["mixing"], scene.data["right"]
        labels = ["1", *("1" if r else f"{1 - mixing:g}" for r in right)]
        for share in (0.0, 0.5, 1.0):

            def draw(share: float = share) -> None:
                self._trace_demonstration()
                self.predictions.update(true, weights)
                values = np.array([1.0, *(1.0 if r else 1 - share * mixing for r in right)])
                self._draw_bars(values, 1 - values, top=1.15, labels=labels if share == 1 else [""] * len(values))
                self.heading.set_text("share of the human's tile (blue), of the predicted (orange)")

            yield draw

    def _series(self, scene: Step) -> Iterator[Draw]:
        series = scene.data["series"][0]
        values, before = np.array(series["values"]), np.array(series.get("before", series["values"]))
        for share in (0.0, 0.5, 1.0):

            def draw(share: float = share) -> None:
                self._trace_demonstration()
                shown = before + share * (values - before) if "before" in series else share * values
                labels = [f"{v:.2f}" for v in values] if share == 1 else [""] * len(values)
                self._draw_bars(
                    shown,
                    top=1.15 * max(values.max(), before.max()),
                    outline=before if "before" in series else None,
                    labels=labels,
                )
                self.heading.set_text(series["name"])

            yield draw

    def _flow(self, scene: Step) -> Iterator[Draw]:
        """From the last step to the first, each takes over what has gathered behind it, faded."""
        loss, decay, weights = np.array(scene.data["losses"]), scene.data["decay"], np.array(scene.data["weights"])
        gathered = loss.copy()
        for t in reversed(range(len(loss) - 1)):
            gathered[t] = loss[t] + decay * gathered[t + 1]
        top = 1.15 * gathered.max()
        for t in reversed(_paced(len(loss))):

            def draw(t: int = t) -> None:
                self._trace_demonstration()
                now = np.where(np.arange(len(loss)) >= t, gathered, loss)
                self._draw_bars(loss, now - loss, top=top, labels=[""] * len(loss))
                self.heading.set_text("its own loss (blue) and what flowed back to it (orange)")
                if t < len(loss):
                    self.walkers.set_data(*self._centres([self.explanation.steps[0].data["paths"][0]["states"][t]]).T)

            yield draw

        def weigh() -> None:
            self._trace_demonstration()
            self._draw_bars(weights, top=1.15 * weights.max(), labels=[f"{w:.2f}" for w in weights])
            self.heading.set_text("weight of each step, scaled to a mean of 1")

        yield weigh

    def _pair(self, scene: Step) -> Iterator[Draw]:
        values = -np.array(scene.data["values"])
        reference = None if scene.data["reference"] is None else -np.array(scene.data["reference"])
        paths = self.explanation.steps[0].data["paths"]
        for share in (0.0, 1.0):

            def draw(share: float = share) -> None:
                self._trace(paths, WHOLE_PATH, walkers=False)
                labels = [f"{name}\n{-v:.2f}" for name, v in zip(scene.data["names"], values, strict=True)]
                self._draw_bars(share * values, top=1.5 * values.max(), outline=reference, labels=labels if share else ["", ""])
                self.heading.set_text(
                    "minus log-probability, nats" + (" (outlined: the base)" if reference is not None else "")
                )

            yield draw

    def _pushes(self, scene: Step) -> Iterator[Draw]:
        for count in (1, 2):

            def draw(count: int = count) -> None:
                push = np.zeros_like(self.explanation.before)
                for path, weight in list(zip(scene.data["paths"], scene.data["push"], strict=True))[:count]:
                    np.add.at(push, (path["states"], path["actions"]), weight)
                self.arrows.artist.set_alpha(DIM)
                self.changes.update(push / (np.abs(push).max() or 1.0))

            yield draw

    def _advantage(self, scene: Step) -> Iterator[Draw]:
        advantage, counts = (np.array(scene.data[name]) for name in ("advantage", "counts"))
        shown = np.where(counts > 0, advantage, 0.0)

        def draw() -> None:
            self.arrows.artist.set_alpha(DIM)
            self.changes.update(shown / (np.abs(shown).max() or 1.0))

        yield draw

    def _clip(self, scene: Step) -> Iterator[Draw]:
        counts, (low, high), clip = np.array(scene.data["ratio"], float), scene.data["range"], scene.data["clip"]
        middle = np.linspace(low, high, len(counts) + 1)[:-1] + (high - low) / len(counts) / 2
        beyond = np.abs(middle - 1) > clip

        def draw() -> None:
            share = counts / counts.sum()
            self._draw_bars(
                np.where(beyond, 0, share), np.where(beyond, share, 0), top=1.15 * share.max(), labels=[""] * len(share)
            )
            self.heading.set_text(f"moves by ratio ρ, from {low:g} to {high:g}; orange: beyond 1 ± {clip:g}")

        yield draw

    def _step(self, scene: Step) -> Iterator[Draw]:
        before, after = (np.array(scene.data[name]) for name in ("before", "after"))
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            yield partial(self.arrows.update, before + share * (after - before))

        def change() -> None:
            self.arrows.artist.set_alpha(DIM)
            self.changes.update((after - before) / (np.abs(after - before).max() or 1.0))

        yield change

    # ---- bars ----

    def _draw_bars(
        self,
        values: Float[np.ndarray, " n"],
        above: Float[np.ndarray, " n"] | None = None,
        *,
        top: float,
        labels: Sequence[str],
        outline: Float[np.ndarray, " n"] | None = None,
    ) -> None:
        """Draw bars, a step each, others that stand on them, and outlined ones in front.

        Few bars are named by their actions, many are numbered here and there.

        Args:
            values, above, outline: heights of the three kinds.
            top: height of the chart.
            labels: above the bars, if there is room.
        """
        count = len(values)
        self.chart.set(xlim=(-0.6, count - 0.4), ylim=(0, top))
        left = np.arange(count) - 0.36
        for bars, low, high in (
            (self.bars[0], np.zeros(count), values),
            (self.bars[1], np.zeros(count), outline),
            (self.bars[2], values, None if above is None else values + above),
        ):
            if high is not None:
                corners = ((0, low), (0.72, low), (0.72, high), (0, high))
                bars.set_path(closed_path(np.stack([np.stack([left + x, y], -1) for x, y in corners], 1)))
        path = self.explanation.steps[0].data["paths"][0]
        if count == len(path["actions"]):  # a bar a step
            for text, (x, name) in zip(self.names, self._bar_names(path["actions"]), strict=False):
                text.set_position((x, -0.03 * top))
                text.set_text(name)
        if count <= MAX_LABELS:
            heights = values if above is None else values + above
            for text, x, y, label in zip(self.labels, range(count), heights, labels, strict=False):
                text.set_position((x, y + 0.02 * top))
                text.set_text(label)

    def _bar_names(self, actions: Sequence[int]) -> list[tuple[int, str]]:
        """What stands below which bar."""
        if len(actions) <= MAX_NAMES:
            names = [ACTION_SIGNS.get(name, plain_text(name[:2])) for name in self.mdp.actions]
            return [(i, names[a]) for i, a in enumerate(actions)]
        stride = next(k * 10**n for n in range(9) for k in (1, 2, 5) if len(actions) <= 8 * k * 10**n)
        return [(i - 1, f"{i:,}") for i in (1, *range(stride, len(actions) + 1, stride))]


def _paced(count: int) -> list[int]:
    """0 to count, one at a time, or in strides where that would take too long."""
    return sorted({round(x) for x in np.linspace(0, count, min(count, MAX_STEPS) + 1)})
