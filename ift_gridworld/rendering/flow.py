"""The flow of episodes: how often each step between two tiles is taken, and where that differs from the optimal policy.

The flow along an edge is the expected number of traversals in an episode, f(s, s') = Σ_a d(s) π(a|s) P(s'|s, a), where d(s) is
the expected number of steps taken from s. It is computed from the MDP, not sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.patches import PathPatch

from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import episodes_within, occupancy, optimal_policy
from ift_gridworld.rendering.arrange import BESIDE, GAP, MARGIN, arrange
from ift_gridworld.rendering.film_bases import RunsFilm
from ift_gridworld.rendering.keys import draw_strip
from ift_gridworld.rendering.legend import SAMPLE, Legend
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.method_style import styles_of_runs
from ift_gridworld.rendering.numbers import plain_number
from ift_gridworld.rendering.outcomes import Outcomes
from ift_gridworld.rendering.shapes import closed_path, empty_path
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates
from ift_gridworld.rendering.text import NumberSheet, fill_lines, shorten
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.training.run import Run, check_one_environment
from ift_gridworld.training.together import drawn_together

__all__ = ["EdgeFlow", "FlowFilm", "WalksFilm", "sample_walks", "steps_taken"]

MAX_FRAMES = 72
LEAST_FLOW = 0.01  # traversals an episode below which no arrow is drawn
WIDEST = 0.3  # tiles: of the arrow of the largest flow
WALKERS, LONGEST_WALK = 24, 200
TITLE, LINE, CAPTION, NAME = 0.27, 0.2, 0.22, 0.6  # inches
BOXES = {None: (9.6, 9.9), "slide": (12.8, 7.2), "square": (9.6, 9.6), "column": (4.8, 12.0)}


def steps_taken(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Return the expected number of steps that an episode takes from each state, discounted where there is no time limit.

    Args:
        mdp: the MDP; its horizon is the time limit.
        policy: π(a|s), with any leading dimensions.

    Example:
        >>> always_right = np.eye(4)[[2, 2, 2]]
        >>> steps_taken(TabularMDP.from_map(("SFG",)), always_right).tolist()
        [1.0, 1.0, 0.0]
    """
    steps = occupancy(mdp, policy) if mdp.horizon is None else episodes_within(mdp, policy, mdp.horizon)[0]
    return np.where(mdp.terminal, 0.0, steps)


class EdgeFlow:
    """The edges of a map, from tiles to their neighbours, and the flow along them.

    Steps that end on the tile that they began on, and those that lead elsewhere than to a neighbour, such as back to the start
    from a cliff, are no edges.

    Args:
        mdp: the MDP, with a map.

    Attributes:
        tail, move: of each edge, the middle of its first tile (x, y) and the step to the next, [E, 2].

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> edges = EdgeFlow(lake)
        >>> edges.of(lake, np.eye(4)[[2, 2, 2]]).tolist(), edges.move.tolist()
        ([1.0, 0.0, 1.0], [[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    """

    def __init__(self, mdp: TabularMDP) -> None:
        place = grid_of(mdp).place[:, ::-1].astype(float)
        source = np.broadcast_to(np.arange(mdp.num_states)[:, None, None], mdp.next_state.shape)
        move = place[mdp.next_state] - place[source]
        is_edge = (np.abs(move).sum(-1) == 1) & ~mdp.terminal[:, None, None] & (mdp.probability > 0)
        self.outcomes = np.flatnonzero(is_edge)  # of (state, action, successor), those along an edge
        step = move.reshape(-1, 2)[self.outcomes]
        direction = np.where(step[:, 1] != 0, 2 + (step[:, 1] > 0), step[:, 0] > 0)
        key = 4 * source.ravel()[self.outcomes] + direction
        _, first, self.edge = np.unique(key, return_index=True, return_inverse=True)
        self.tail = place[source.ravel()[self.outcomes[first]]] + 0.5
        self.move = step[first]

    def of(self, mdp: TabularMDP, policy: Float[np.ndarray, "S A"]) -> Float[np.ndarray, " E"]:
        """Return the expected traversals of each edge in an episode under a policy π(a|s)."""
        flow = (steps_taken(mdp, policy)[:, None] * policy)[..., None] * mdp.probability
        return np.bincount(self.edge, flow.ravel()[self.outcomes], len(self.tail))


def sample_walks(
    mdp: TabularMDP, policy: Float[np.ndarray, "S A"], walkers: int, *, seed: int = 0, longest: int = LONGEST_WALK
) -> Int[np.ndarray, "W T"]:
    """Sample episodes on common random numbers: the same policy gives the same walks, and like policies give like ones.

    Each walker's draw of step t is one uniform number for its action and one for its successor, whatever was drawn before.

    Args:
        mdp: the MDP.
        policy: π(a|s).
        walkers: number of episodes.
        seed: of the random numbers.
        longest: number of steps after which a walk is cut, at most the time limit.

    Returns:
        The state of each walker at each step; one that has arrived stays.
    """
    length = min(longest, mdp.horizon or longest)
    uniform = np.random.default_rng(seed).random((length + 1, 2, walkers))
    states = np.zeros((length + 1, walkers), int)
    states[0] = np.searchsorted(np.cumsum(mdp.start), uniform[0, 0] * (1 - 1e-12), side="right")
    chances, outcomes = policy.cumsum(-1), mdp.probability.cumsum(-1)
    for t in range(length):
        here = states[t]
        action = np.minimum((chances[here] <= uniform[t + 1, 0][:, None]).sum(-1), mdp.num_actions - 1)
        slot = np.minimum((outcomes[here, action] <= uniform[t + 1, 1][:, None]).sum(-1), mdp.next_state.shape[-1] - 1)
        states[t + 1] = np.where(mdp.terminal[here], here, mdp.next_state[here, action, slot])
    return states.T


class FlowFilm(RunsFilm):
    """The film of the flow of runs on one lake.

    One map has an arrow along each edge, as wide as the edge is often traversed in an episode. The other colours each tile by
    its expected visits less those of the optimal policy.

    Args:
        runs: the runs to show, on one lake with a map.
        theme: a name in THEMES.
        size: the shape to lay it out for, a name in `formats.PICTURE_SIZES`; None for one that fits the number of runs.

    Raises:
        ValueError: if the runs are not of one lake, it has no map, or for an unknown theme.

    Example (writes two files)::

        FlowFilm([Run.load("sft.json"), Run.load("dpo.json")]).save("flow.gif")
    """

    walkers = 0  # episodes that are drawn in place of the arrows

    def __init__(self, runs: Sequence[Run], theme: str = "light", size: str | None = None) -> None:
        check_one_environment(runs, drawn=True)
        self.runs, self.mdp = drawn_together(runs), runs[0].mdp
        self.grid, self.walkable = grid_of(self.mdp), walkable(self.mdp)
        self.outcomes, self.edges = Outcomes(self.runs), EdgeFlow(self.mdp)
        self.steps = shared_updates(self.runs, MAX_FRAMES)
        self.snapshots = latest_snapshots(self.runs, self.steps)
        self.used = [np.unique(column) for column in self.snapshots.T]
        self.flows = [
            {int(i): self.edges.of(self.mdp, run.snapshots[i]) for i in used}
            for run, used in zip(self.runs, self.used, strict=True)
        ]
        self.lengths = [steps_taken(self.mdp, run.snapshots).sum(-1) for run in self.runs]
        best = optimal_policy(self.mdp)
        self.best_visits, self.best_length = expected_visits(self.mdp, best), float(steps_taken(self.mdp, best).sum())
        self.end = max(float(flow.max(initial=1.0)) for flows in self.flows for flow in flows.values())
        self.excess = _ExcessScale(max(float(np.abs(run.visits - self.best_visits).max()) for run in self.runs))
        self._compose(theme, size)

    def reshaped(self, size: str) -> FlowFilm:
        return type(self)(self.runs, self.theme_name, size)

    @property
    def alt(self) -> str:
        first, unit = self.runs[0], self._unit
        names = ", ".join(run.method for run in self.runs)
        drawn = f"{self.walkers} sampled episodes" if self.walkers else f"arrows as wide as steps are often taken ({unit})"
        return (
            f"The flow of {names} on {first.place} ({first.about.replace(' · ', ', ')}): {drawn}, and below each tile in blue "
            f"where it is visited more often than under the optimal policy, in orange where less often. {self.sentence}"
        )

    @property
    def sentence(self) -> str:
        """A sentence on the number of steps of an episode under each final policy, and under the optimal one."""
        kind = "discounted steps" if self.mdp.horizon is None else "steps"
        listed = self.outcomes.listed([float(length[-1]) for length in self.lengths], lambda x: plain_number(x, 3))
        best = plain_number(self.best_length, 3)
        return f"{self.outcomes.lead} an episode takes {listed} {kind}; with the optimal policy {best}."

    @property
    def _unit(self) -> str:
        return "discounted times an episode" if self.mdp.horizon is None else "times an episode"

    # ---- composition ----

    def _compose(self, theme_name: str, size: str | None) -> None:
        box = BOXES[size]
        inner = box[0] - 2 * MARGIN
        title = fill_lines(self.sentence.split(), inner, 14.5, bold=True)
        seeds = f"seed {self.runs[0].drawn_seed}" if self.runs[0].seeds > 1 else "one seed"
        about = " · ".join([self.runs[0].about, *self.outcomes.lengths, seeds])
        lines = fill_lines(about.split(), inner - 1.6, 10)
        head = 0.22 + TITLE * len(title) + 0.3 + LINE * len(lines)
        super().__init__(theme_name, box)
        legend = self._legend(inner)
        places = arrange(
            len(self.runs), (self.grid.width, self.grid.height), box,
            head=head, title=NAME, caption=CAPTION, keys=legend.height + 0.24, charts=0, chart_height=0.0,
            fixed=size in ("slide", "square"),
        )  # fmt: skip
        self.places = places
        self.figure.set_size_inches(places.width, places.height)
        for i, line in enumerate(title):
            self.add_text(MARGIN, 0.3 + TITLE * i, line, size=14.5, weight="bold", color=self.theme.ink)
        middle = head - 0.08 - LINE * len(lines)
        for i, line in enumerate(lines):
            self.add_text(MARGIN, middle + LINE * i, line, size=10, color=self.theme.muted)
        self.sheet = NumberSheet(self.figure, self.theme.ink)
        self.step_text = self.sheet.place(places.width - MARGIN, places.height - middle, size=13, align="right")
        pitch = (inner + GAP) / places.per_row
        styles = styles_of_runs([run.method for run in self.runs])
        self.columns = []
        for i in range(len(self.runs)):
            left, top = MARGIN + pitch * (i % places.per_row), head + places.row_height * (i // places.per_row)
            marker, colour = styles[i].marker, styles[i].colour(self.theme)
            self.overlay.plot([left + 0.1], [top + 0.14], marker, ms=8, color=colour, mew=0)
            name = shorten(self.outcomes.names[i], places.column - 0.24, 13, bold=True)
            self.add_text(left + 0.24, top + 0.14, name, size=13, weight="bold", color=self.theme.ink)
            self.columns.append(_FlowColumn(self, i, left, top))
        legend.draw(self, MARGIN, head + places.rows * places.row_height + 0.12)
        self.animate(self.sheet.artist)

    def _legend(self, width: float) -> Legend:
        theme, samples = self.theme, list[tuple[Callable[[Axes], None], str]]()

        def arrow(flow: float) -> Callable[[Axes], None]:
            def draw(ax: Axes) -> None:
                tile = self.places.map_width / self.grid.width  # the sample is as wide as the arrow on the map
                _draw_sample(ax, theme, float(_width(flow, self.end)) * tile / SAMPLE)

            return draw

        def walk(ax: Axes) -> None:
            ax.plot([0.1, 1.5], [0.5, 0.5], color=theme.arrow, lw=0.8)

        if self.walkers:
            samples.append((walk, f"one of {self.walkers} episodes, on the same random numbers everywhere"))
        else:
            levels = [self.end * share for share in (0.1, 0.5, 1.0)]
            samples += [(arrow(level), f"{plain_number(level)} {self._unit}") for level in levels]
        return Legend([(self.excess.draw_key, _EXCESS)], samples, width)

    # ---- frames ----

    def update(self, index: int) -> None:
        self.sheet.write(self.step_text, f"update {self.steps[index]}")
        for column, snapshot in zip(self.columns, self.snapshots[index], strict=True):
            column.update(int(snapshot))
        self.sheet.refresh()


class WalksFilm(FlowFilm):
    """`FlowFilm` with sampled episodes in place of the arrows, all methods and all updates on the same random numbers."""

    walkers = WALKERS


class _FlowColumn:
    """A method's two maps."""

    def __init__(self, film: FlowFilm, index: int, left: float, top: float) -> None:
        self.film, self.run, self.flows, self.shown = film, film.runs[index], film.flows[index], -1
        theme, places, grid = film.theme, film.places, film.grid
        self.lengths = film.lengths[index]
        self.number = film.sheet.place(left + 0.02, places.height - top - 0.42, size=10)
        below = top + NAME + CAPTION
        right, down = (places.map_width + BESIDE, 0.0) if places.beside else (0.0, places.map_height + CAPTION)
        captions = (("episodes" if film.walkers else "flow"), "visits less optimal visits")
        for words, x, y in ((captions[0], left, below), (captions[1], left + right, below + down)):
            film.add_text(x + 0.02, y - 0.1, shorten(words, places.map_width, 9), size=9, color=theme.muted)
        ax = film.add_axes(left, below, places.map_width, places.map_height)
        draw_lake(ax, grid, theme)
        film.animate(*draw_landmarks(ax, grid, theme), *draw_starts(ax, grid, theme, halo=theme.ice))
        self.arrows = PathPatch(empty_path(), fc=theme.arrow, lw=0)
        ax.add_patch(self.arrows)
        self.walks = LineCollection([], colors=theme.arrow, lw=0.8, alpha=0.55)
        ax.add_collection(self.walks, autolim=False)
        film.animate(self.walks if film.walkers else self.arrows)
        ax = film.add_axes(left + right, below + down, places.map_width, places.map_height)
        draw_lake(ax, grid, theme)
        self.tiles = TileColours(ax, grid, film.walkable, theme.changes, film.excess.norm)
        film.animate(self.tiles.artist, *draw_landmarks(ax, grid, theme), *draw_starts(ax, grid, theme, halo=theme.ice))

    def update(self, index: int) -> None:
        if index == self.shown:
            return
        self.shown, film = index, self.film
        kind = "discounted steps" if film.mdp.horizon is None else "steps"
        film.sheet.write(self.number, f"{plain_number(float(self.lengths[index]), 3)} {kind} an episode")
        self.tiles.update(self.run.visits[index] - film.best_visits)
        if film.walkers:
            self.walks.set_segments(list(_lines(film, self.run.snapshots[index])))
        else:
            flow = self.flows[index]
            drawn = flow >= LEAST_FLOW
            outlines = _outlines(film.edges.tail[drawn], film.edges.move[drawn], _width(flow[drawn], film.end))
            self.arrows.set_path(closed_path(outlines))


_EXCESS = "visits less optimal ones"


class _ExcessScale:
    """The scale of visits less those of the optimal policy: linear up to one visit either way, beyond that logarithmic."""

    def __init__(self, largest: float) -> None:
        self.end = float(next(m * 10.0**k for k in range(-1, 9) for m in (1, 2, 5) if m * 10.0**k >= largest or k == 8))
        self.is_log = self.end > 1

    @property
    def norm(self) -> Normalize:
        if self.is_log:
            return SymLogNorm(1.0, vmin=-self.end, vmax=self.end, clip=True)
        return Normalize(-self.end, self.end, clip=True)

    def draw_key(self, ax: Axes, theme: Theme, size: float) -> None:
        levels = (-self.end, -1.0, 0.0, 1.0, self.end) if self.is_log and self.end >= 10 else (-self.end, 0.0, self.end)
        ticks = [(float(self.norm(level)), plain_number(level)) for level in levels]
        draw_strip(ax, theme, theme.changes, ticks, _EXCESS, size)


def _width(flow: Float[np.ndarray, " n"] | float, end: float) -> Float[np.ndarray, " n"]:
    """Width of an arrow in tiles: in proportion to the flow."""
    return np.maximum(WIDEST * np.asarray(flow, float) / end, 0.02)


def _outlines(
    tail: Float[np.ndarray, "n 2"], along: Float[np.ndarray, "n 2"], width: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 7 2"]:
    """Arrows from tile to tile, each to the right of the line between the middles, so that two opposite ones do not meet."""
    right = along[:, ::-1] * [-1, 1]
    half, head = width / 2, width / 2 + 0.05
    begin, tip, aside = np.full_like(width, 0.26), np.full_like(width, 0.74), 0.03 + half
    neck = tip - np.minimum(1.2 * head, 0.35)
    corners = [(begin, -half), (neck, -half), (neck, -head), (tip, 0 * half), (neck, head), (neck, half), (begin, half)]
    return np.stack([tail + x[:, None] * along + (y + aside)[:, None] * right for x, y in corners], 1)


def _draw_sample(ax: Axes, theme: Theme, width: float) -> None:
    """Draw for a legend an arrow of that width, in parts of the height of the sample."""
    half, neck, head = width / 2, 1.6 - max(0.5, 0.8 * width), width / 2 + 0.15
    sides = [(0.1, half), (neck, half), (neck, head), (1.6, 0.0), (neck, -head), (neck, -half), (0.1, -half)]
    outline = np.array([(x, 0.5 + y) for x, y in sides])
    ax.add_patch(PathPatch(closed_path(outline[None]), fc=theme.arrow, lw=0, clip_on=False))


def _lines(film: FlowFilm, policy: Float[np.ndarray, "S A"]) -> Float[np.ndarray, "W T 2"]:
    """The walks of all walkers, each a little aside from the middles of the tiles."""
    walks = sample_walks(film.mdp, policy, film.walkers)
    aside = np.random.default_rng(1).uniform(-0.28, 0.28, (film.walkers, 1, 2))
    return film.grid.place[walks][..., ::-1] + 0.5 + aside
