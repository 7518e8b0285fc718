"""A slow, captioned film of one update: the map at the left, the computation at the right, one scene after another.

Every number that it shows was computed in that update (`ift_gridworld.explain`); between the policy before and after it, arrows
are moved evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from ift_gridworld.escape import printable
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.bars import Key
from ift_gridworld.rendering.explain_scenes import moments
from ift_gridworld.rendering.explain_stage import Stage
from ift_gridworld.rendering.film import Box, Film
from ift_gridworld.rendering.maps import grid_of
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.text import short_title, shorten, wrap_text

if TYPE_CHECKING:
    from ift_gridworld.explain import Explanation, Step

__all__ = ["ExplainFilm"]

WIDTH, HEIGHT = 9.6, 5.4  # inches
STEP, HOLD = 0.45, 0.8  # seconds: of an ordinary frame, added to the first and the last of a scene


@dataclass(frozen=True)
class Layout:
    """Places of the parts of the film.

    Attributes:
        map, chart, key: the Axes of the three.
        title, caption, equation: heights of the words, and all at the same distance from the left.
        map_part, chart_part: the parts of the picture that hold the map, and chart and key.
    """

    map: Box
    chart: Box
    key: Box
    title: float
    caption: float
    equation: float
    left: float
    map_part: Box
    chart_part: Box

    @property
    def is_wide(self) -> bool:
        """True if the map is as wide as the picture."""
        return self.map[2] > 0.5


BESIDE = Layout(  # the words beside the map
    map=(0.03, 0.045, 0.465, 0.78), chart=(0.585, 0.185, 0.385, 0.225), key=(0.535, 0.015, 0.46, 0.05),
    title=0.80, caption=0.735, equation=0.53, left=0.535, map_part=(0.02, 0.03, 0.485, 0.81),
    chart_part=(0.525, 0.0, 0.475, 0.475),
)  # fmt: skip
BELOW = Layout(  # below a map that is much wider than tall
    map=(0.03, 0.405, 0.94, 0.425), chart=(0.585, 0.165, 0.385, 0.15), key=(0.535, 0.015, 0.46, 0.05),
    title=0.355, caption=0.295, equation=0.075, left=0.03, map_part=(0.02, 0.39, 0.96, 0.455),
    chart_part=(0.525, 0.0, 0.475, 0.375),
)  # fmt: skip
WIDE = 1.8  # width over height of a map that has the words below it


class ExplainFilm(Film):
    """The film of one update.

    Args:
        explanation: the update to show.
        mdp: the environment it was made on, which must have a map.
        about: environment, policy and base in a line.
        theme: a name in THEMES.

    Raises:
        ValueError: if there is no map, for an unknown theme, or for a scene of a kind that the film does not know.
    """

    def __init__(self, explanation: Explanation, mdp: TabularMDP, about: str, theme: str = "light") -> None:
        grid = grid_of(mdp)
        self.layout = BELOW if grid.width > WIDE * grid.height else BESIDE
        super().__init__(theme, (WIDTH, HEIGHT))
        self.explanation, self.mdp, self.about = explanation, mdp, about
        self._compose()
        self.frames_drawn = [  # number of the scene, and what is drawn
            (number, moment) for number, scene in enumerate(explanation.steps) for moment in moments(self.stage, scene)
        ]

    def __len__(self) -> int:
        return len(self.frames_drawn)

    @property
    def pace(self) -> list[float]:
        numbers = [-1, *(number for number, _ in self.frames_drawn), -1]
        ends = [
            (here != before) + (here != after) for before, here, after in zip(numbers, numbers[1:], numbers[2:], strict=False)
        ]
        return [round(STEP + HOLD * end, 2) for end in ends]

    @property
    def captions(self) -> list[str]:
        scenes = self.explanation.steps
        return [
            "\n".join(filter(None, (scenes[number].title, scenes[number].caption, moment.chart)))
            for number, moment in self.frames_drawn
        ]

    @property
    def stills(self) -> list[tuple[int, int]]:
        """The scene and the frame of each picture that tells the whole: the last before a chart or a key changes."""
        after = [*self.frames_drawn[1:], (-1, None)]
        return [
            (number, i)
            for i, ((number, moment), (following, later)) in enumerate(zip(self.frames_drawn, after, strict=True))
            if number != following or later is None or (moment.chart, moment.key) != (later.chart, later.key)
        ]

    def chart_words(self, index: int) -> str:
        """Return what a frame's chart and key say, for those who cannot see them; empty where there are none."""
        moment = self.frames_drawn[index][1]
        self.update(index)
        values = [label.get_text() for label in self.stage.chart.labels if label.get_text()]
        chart = f"Chart: {moment.chart}{': ' if values else ''}{', '.join(values)}. " if moment.chart else ""
        return f"{chart}Key: {', '.join(entry.words for entry in moment.key)}." if moment.key else chart.strip()

    @property
    def alt(self) -> str:
        scenes = " ".join(f"{scene.title}: {scene.caption}" for scene in self.explanation.steps)
        return f"One update of {self.explanation.title.replace(' · ', ', ')}, explained on {printable(self.about)}. {scenes}"

    def update(self, index: int) -> None:
        number, moment = self.frames_drawn[index]
        self.stage.clear()
        self._tell(self.explanation.steps[number], number)
        moment.draw()
        self.key.update(moment.key)

    # ---- composition ----

    def _compose(self) -> None:
        theme, figure, layout = self.theme, self.figure, self.layout
        style = style_of(self.explanation.method)
        mark = Line2D([0.041], [0.93], marker=style.marker, ms=11, color=style.colour(theme), transform=figure.transFigure)
        figure.add_artist(mark)
        title = shorten(f"{short_title(self.explanation.title)}: one update", 0.75 * WIDTH, 17, bold=True)
        figure.text(0.06, 0.93, title, size=17, weight="bold", color=theme.ink, va="center")
        figure.text(0.03, 0.873, shorten(self.about, 0.9 * WIDTH, 10), size=10, color=theme.muted, va="center")
        axes = figure.add_axes(layout.map), figure.add_axes(layout.chart)
        self.stage = Stage(self.explanation, self.mdp, *axes, theme)
        self.key = Key(figure.add_axes(layout.key), theme)
        self.title = figure.text(layout.left, layout.title, "", size=15, weight="bold", color=theme.ink, va="top", wrap=False)
        self.caption = figure.text(layout.left, layout.caption, "", size=12.5, color=theme.ink, va="top", linespacing=1.4)
        self.equation = figure.text(layout.left, layout.equation, "", size=13.5, color=theme.ink, va="center")
        self.progress = figure.text(0.97, 0.93, "", size=12, color=theme.muted, va="center", ha="right")
        self.animate(
            *self.stage.artists, self.title, self.caption, self.equation, self.progress, *self.stage.chart.artists,
            *self.key.artists,
        )  # fmt: skip

    def _tell(self, scene: Step, number: int) -> None:
        self.title.set_text(scene.title)
        self.caption.set_text(wrap_text(scene.caption, 0.44 * WIDTH, 12.5))
        self.equation.set_text(scene.equation)
        self.progress.set_text("  ".join("●" if i == number else "○" for i in range(len(self.explanation.steps))))
