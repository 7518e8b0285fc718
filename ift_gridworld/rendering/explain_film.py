"""A slow, captioned film of one update: the lake at the left, what is thought at the right, one scene after another.

Every number that it shows was computed in that update (`ift_gridworld.explain`); between the policy before and after it, arrows
are moved evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering import maps
from ift_gridworld.rendering.film import Film, fitted

if TYPE_CHECKING:
    from ift_gridworld.explain import Explanation, Step

WIDTH, HEIGHT = 9.6, 5.4
STEP, READ, HOLD = 0.45, 2.6, 1.2  # seconds: a thing that happens, a scene's first and last frame
MOST = 14  # frames of one scene in which things happen one by one
BARS = (0.555, 0.10, 0.40, 0.235)
NAMED, LABELLED = 24, 16  # bars, at most, that have room each for the name of its move, and for its number
ARROWS = {"left": "←", "down": "↓", "right": "→", "up": "↑"}
Draw = Callable[[], None]


class ExplainFilm(Film):
    """Args:
    explanation: the update to show.
    mdp: the lake it was made on.
    about: the lake, policy and base in a line.
    theme: a name in THEMES.
    """

    def __init__(self, explanation: Explanation, mdp: TabularMDP, about: str, theme: str = "light") -> None:
        if mdp.grid is None:
            raise ValueError("this environment has no map to draw; allowed: FrozenLake, CliffWalking, Taxi")
        super().__init__(theme, (WIDTH, HEIGHT))
        self.explanation, self.mdp, self.about = explanation, mdp, about
        self._compose(mdp.grid)
        self._frames: list[tuple[float, list[Draw]]] = []
        for number, scene in enumerate(explanation.steps):
            held: list[Draw] = [lambda s=scene, n=number: self._say(s, n)]  # type: ignore[misc]
            moments = list(getattr(self, f"_{scene.kind}")(scene))
            for i, draw in enumerate(moments):
                seconds = READ if i == 0 else STEP
                if i == len(moments) - 1:
                    seconds += HOLD
                self._frames.append((seconds, [*held, draw]))

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def durations(self) -> list[float]:
        return [seconds for seconds, _ in self._frames]

    @property
    def alt(self) -> str:
        told = " ".join(f"{scene.title}: {scene.caption}" for scene in self.explanation.steps)
        return f"One update of {self.explanation.title.replace(' · ', ', ')}, explained on {self.about}. {told}"

    def update(self, index: int) -> None:
        for hide in self._hide:
            hide()
        for draw in self._frames[index][1]:
            draw()

    # ---- composition ----

    def _compose(self, grid: GridLayout) -> None:
        theme, figure = self.theme, self.figure
        short, _, long = self.explanation.title.partition(" · ")
        figure.text(
            0.03,
            0.93,
            f"{long if short == 'RLHF' else short}: one update",
            size=17,
            weight="bold",
            color=theme.ink,
            va="center",
        )
        figure.text(0.03, 0.875, self.about, size=9.5, color=theme.muted, va="center")
        ax = figure.add_axes((0.03, 0.04, 0.47, 0.79))
        maps.draw_lake(ax, grid, theme)
        walkable = maps.walkable(self.mdp)
        self.grid = grid
        self.arrows = maps.Arrows(ax, grid, self.mdp.moves, walkable, theme)
        self.arrows.artist.set_alpha(0.9)
        self.changes = maps.Changes(ax, grid, self.mdp.moves, walkable, theme)
        self.predictions = maps.Predictions(ax, grid, theme)
        tile = 72 * maps.tile_inches(ax, grid)  # on small tiles ways and walkers are smaller, too
        self.ways = [
            LineCollection([], colors=colour, lw=width, ls=style, capstyle="round", joinstyle="round")
            for colour, width, style in (
                (theme.shown, min(9.0, max(2.5, 0.6 * tile)), "-"),
                (theme.rejected, min(6.0, max(1.8, 0.4 * tile)), (0, (1.2, 1.0))),
                (theme.visited, min(2.2, max(1.2, 0.15 * tile)), "-"),
            )
        ]
        for way in self.ways:
            way.set_alpha(0.6)
            ax.add_collection(way)
        size, edge = min(13.0, max(7.0, tile)), 2 if tile > 13 else 1
        self.walkers = ax.plot([], [], "o", ms=size, color=theme.predicted, mec=theme.background, mew=edge, clip_on=False)[0]
        for row, column in grid.place[grid.letters == "S"]:
            maps.Letter(ax, column, row, "S", theme.ink)
        maps.landmarks(ax, grid, theme)
        self.title = figure.text(0.535, 0.80, "", size=14.5, weight="bold", color=theme.ink, va="top", wrap=False)
        self.caption = figure.text(0.535, 0.725, "", size=11, color=theme.ink, va="top", linespacing=1.45)
        self.equation = figure.text(0.535, 0.455, "", size=12.5, color=theme.ink, va="top")
        self.dots = figure.text(0.97, 0.93, "", size=12, color=theme.muted, va="center", ha="right")
        self.bars = figure.add_axes(BARS)
        self.bars.axis("off")
        self.columns = [
            PathPatch(Outline(np.zeros((1, 2))), fc=fill, ec=edge, lw=lw)
            for fill, edge, lw in ((theme.success, "none", 0), ("none", theme.muted, 1.4), (theme.distance, "none", 0))
        ]
        for column in self.columns:
            self.bars.add_patch(column)
        self.names = [self.bars.text(0, 0, "", size=11, color=theme.muted, ha="center", va="top") for _ in range(NAMED)]
        self.labels = [self.bars.text(0, 0, "", size=9, color=theme.ink, ha="center", va="bottom") for _ in range(LABELLED)]
        self.heading = figure.text(0.535, BARS[1] + BARS[3] + 0.025, "", size=9.5, color=theme.muted, va="bottom")
        self.moves(
            *self.ways, *self.changes.artists, self.arrows.artist, self.predictions.ties, self.predictions.marks, self.walkers,
            self.title, self.caption, self.equation, self.dots, *self.columns, *self.names, *self.labels, self.heading,
        )  # fmt: skip
        nothing = np.zeros((self.mdp.num_states, self.mdp.num_actions))
        empty = Outline(np.zeros((1, 2)))
        self._hide: list[Draw] = [
            lambda: self.arrows.update(self.explanation.before),
            lambda: self.arrows.artist.set_alpha(0.9),
            lambda: self.changes.update(nothing),
            lambda: self.predictions.update(np.zeros(0, int), np.zeros((0, self.mdp.num_states))),
            *((lambda way=way: way.set_segments([])) for way in self.ways),
            lambda: self.walkers.set_data([], []),
            *((lambda column=column: column.set_path(empty)) for column in self.columns),
            *((lambda text=text: text.set_text("")) for text in (*self.names, *self.labels, self.heading)),
        ]

    def _say(self, scene: Step, number: int) -> None:
        self.title.set_text(scene.title)
        self.caption.set_text(fitted(scene.caption, 0.43 * WIDTH, 11))
        self.equation.set_text(scene.equation)
        self.dots.set_text("  ".join("●" if i == number else "○" for i in range(len(self.explanation.steps))))

    # ---- scenes: each yields what is drawn in its frames ----

    def _spot(self, tiles: Sequence[int]) -> Float[np.ndarray, "n 2"]:
        return self.grid.place[np.asarray(tiles, int), ::-1] + 0.5

    def _trace(self, paths: Sequence[dict[str, Any]], steps: int, *, walkers: bool = True) -> None:
        """The paths' first `steps` moves; walks of the model's own are moved apart a little."""
        roles = {"shown": 0, "rejected": 1, "own": 2}
        lines: list[list[np.ndarray]] = [[], [], []]
        ends = []
        for i, path in enumerate(paths):
            spots = self._spot([*path["states"], path["end"]][: steps + 1])
            if path["role"] == "own":
                spots = spots + 0.22 * np.array([np.cos(2.4 * i), np.sin(2.4 * i)])
            jumps = np.flatnonzero(np.abs(np.diff(spots, axis=0)).max(1) > 1) + 1  # from one small map to another
            lines[roles[path["role"]]] += np.split(spots, jumps)
            ends.append(spots[-1])
        for way, segments in zip(self.ways, lines, strict=True):
            way.set_segments([s for s in segments if len(s) > 1])
        if walkers:
            self.walkers.set_data(*np.array(ends).T)

    def _walk(self, scene: Step) -> Iterator[Draw]:
        paths = scene.data["paths"]
        for steps in _paced(max(len(path["states"]) for path in paths)):
            yield lambda n=steps: self._trace(paths, n)  # type: ignore[misc]

    def _shown_way(self) -> None:
        first = self.explanation.steps[0].data["paths"]
        self._trace([path for path in first if path["role"] == "shown"], 10**6, walkers=False)

    def _predict(self, scene: Step) -> Iterator[Draw]:
        true, weights = np.array(scene.data["true"]), np.array(scene.data["weights"])
        for count in _paced(len(true)):

            def draw(n: int = count) -> None:
                self._shown_way()
                self.predictions.update(true[:n], weights[:n])

            yield draw

    def _mix(self, scene: Step) -> Iterator[Draw]:
        true, weights = np.array(scene.data["true"]), np.array(scene.data["weights"])
        mixing, right = scene.data["mixing"], scene.data["right"]
        labels = ["1", *("1" if r else f"{1 - mixing:g}" for r in right)]
        for share in (0.0, 0.5, 1.0):

            def draw(share: float = share) -> None:
                self._shown_way()
                self.predictions.update(true, weights)
                values = np.array([1.0, *(1.0 if r else 1 - share * mixing for r in right)])
                self._columns(values, 1 - values, top=1.15, labels=labels if share == 1 else [""] * len(values))
                self.heading.set_text("share of the human's tile (blue), of the predicted (orange)")

            yield draw

    def _bars(self, scene: Step) -> Iterator[Draw]:
        series = scene.data["series"][0]
        values, before = np.array(series["values"]), np.array(series.get("before", series["values"]))
        for share in (0.0, 0.5, 1.0):

            def draw(share: float = share) -> None:
                self._shown_way()
                shown = before + share * (values - before) if "before" in series else share * values
                labels = [f"{v:.2f}" for v in values] if share == 1 else [""] * len(values)
                self._columns(
                    shown,
                    top=1.15 * max(values.max(), before.max()),
                    outline=before if "before" in series else None,
                    labels=labels,
                )
                self.heading.set_text(series["name"])

            yield draw

    _weights = _bars

    def _flow(self, scene: Step) -> Iterator[Draw]:
        """From the last step to the first, each takes over what has gathered behind it, faded."""
        loss, decay, weights = np.array(scene.data["losses"]), scene.data["decay"], np.array(scene.data["weights"])
        gathered = loss.copy()
        for t in reversed(range(len(loss) - 1)):
            gathered[t] = loss[t] + decay * gathered[t + 1]
        top = 1.15 * gathered.max()
        for t in reversed(_paced(len(loss))):

            def draw(t: int = t) -> None:
                self._shown_way()
                now = np.where(np.arange(len(loss)) >= t, gathered, loss)
                self._columns(loss, now - loss, top=top, labels=[""] * len(loss))
                self.heading.set_text("its own loss (blue) and what flowed back to it (orange)")
                if t < len(loss):
                    self.walkers.set_data(*self._spot([self.explanation.steps[0].data["paths"][0]["states"][t]]).T)

            yield draw

        def weigh() -> None:
            self._shown_way()
            self._columns(weights, top=1.15 * weights.max(), labels=[f"{w:.2f}" for w in weights])
            self.heading.set_text("weight of each step, scaled to a mean of 1")

        yield weigh

    def _pair(self, scene: Step) -> Iterator[Draw]:
        values = -np.array(scene.data["values"])
        reference = None if scene.data["reference"] is None else -np.array(scene.data["reference"])
        paths = self.explanation.steps[0].data["paths"]
        for share in (0.0, 1.0):

            def draw(share: float = share) -> None:
                self._trace(paths, 10**6, walkers=False)
                labels = [f"{name}\n{-v:.2f}" for name, v in zip(scene.data["names"], values, strict=True)]
                self._columns(share * values, top=1.5 * values.max(), outline=reference, labels=labels if share else ["", ""])
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
                self.arrows.artist.set_alpha(0.12)
                self.changes.update(push / np.abs(push).max())

            yield draw

    def _advantage(self, scene: Step) -> Iterator[Draw]:
        advantage, counts = (np.array(scene.data[name]) for name in ("advantage", "counts"))
        shown = np.where(counts > 0, advantage, 0.0)

        def draw() -> None:
            self.arrows.artist.set_alpha(0.12)
            self.changes.update(shown / (np.abs(shown).max() or 1.0))

        yield draw

    def _clip(self, scene: Step) -> Iterator[Draw]:
        counts, (low, high), clip = np.array(scene.data["ratio"], float), scene.data["range"], scene.data["clip"]
        middle = np.linspace(low, high, len(counts) + 1)[:-1] + (high - low) / len(counts) / 2
        beyond = np.abs(middle - 1) > clip

        def draw() -> None:
            share = counts / counts.sum()
            self._columns(
                np.where(beyond, 0, share), np.where(beyond, share, 0), top=1.15 * share.max(), labels=[""] * len(share)
            )
            self.heading.set_text(f"moves by ratio ρ, from {low:g} to {high:g}; orange: beyond 1 ± {clip:g}")

        yield draw

    def _step(self, scene: Step) -> Iterator[Draw]:
        before, after = (np.array(scene.data[name]) for name in ("before", "after"))
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            yield lambda s=share: self.arrows.update(before + s * (after - before))  # type: ignore[misc]

        def changed() -> None:
            self.arrows.artist.set_alpha(0.12)
            self.changes.update((after - before) / np.abs(after - before).max())

        yield changed

    def _columns(
        self,
        values: Float[np.ndarray, " n"],
        above: Float[np.ndarray, " n"] | None = None,
        *,
        top: float,
        labels: Sequence[str],
        outline: Float[np.ndarray, " n"] | None = None,
    ) -> None:
        """Bars, a step each, others standing on them, and outlined ones in front. Few are named by their moves, many are
        numbered here and there."""
        count = len(values)
        self.bars.set(xlim=(-0.6, count - 0.4), ylim=(0, top))
        left = np.arange(count) - 0.36
        for column, low, high in (
            (self.columns[0], np.zeros(count), values),
            (self.columns[1], np.zeros(count), outline),
            (self.columns[2], values, None if above is None else values + above),
        ):
            if high is not None:
                corners = np.stack(
                    [np.stack([left + dx, y], -1) for dx, y in ((0, low), (0.72, low), (0.72, high), (0, high))], 1
                )
                column.set_path(maps.closed(corners))
        path = self.explanation.steps[0].data["paths"][0]
        if count == len(path["actions"]):  # a bar a step
            for text, (x, name) in zip(self.names, self._names(path["actions"]), strict=False):
                text.set_position((x, -0.03 * top))
                text.set_text(name)
        if count <= LABELLED:
            heights = values if above is None else values + above
            for text, x, y, words in zip(self.labels, range(count), heights, labels, strict=False):
                text.set_position((x, y + 0.02 * top))
                text.set_text(words)

    def _names(self, actions: Sequence[int]) -> list[tuple[int, str]]:
        """What stands below which bar."""
        if len(actions) <= NAMED:
            return [(i, ARROWS.get(self.mdp.actions[a], self.mdp.actions[a][:2])) for i, a in enumerate(actions)]
        stride = next(k * 10**n for n in range(9) for k in (1, 2, 5) if len(actions) <= 8 * k * 10**n)
        return [(i - 1, f"{i:,}") for i in (1, *range(stride, len(actions) + 1, stride))]


def _paced(count: int) -> list[int]:
    """0 to count, one at a time, or in strides where that would take too long."""
    return sorted({round(x) for x in np.linspace(0, count, min(count, MOST) + 1)})
