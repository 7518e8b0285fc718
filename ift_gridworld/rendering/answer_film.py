"""A film of how language models answer on one lake, token by token, and how well they answer on all lakes beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.rendering.charts import style_axes
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.paths import PathOutline
from ift_gridworld.rendering.text import shorten, wrap_text

__all__ = ["Answer", "AnswerFilm", "outcome_of", "stack_dots"]

WORDS = ("L", "D", "R", "U", "end")  # moves in the order of the lake's actions, and the end
TITLE, TEXT, SMALL = 13.0, 9.0, 8.0  # points
WIDTH, HEAD, LANE, FOOT = 9.0, 1.5, 1.36, 0.5  # inches
MAP, MAP_AT, STEPS_AT, STEPS, DOTS_AT, DOTS = 1.18, 1.08, 2.42, 4.4, 7.1, 1.72  # inches
MOST_WIDE = 0.72  # inches that the bars of a token take at most
MOST_STEPS = 9  # for which there is room
SECONDS = (4.0, 1.1, 6.0)  # that the first frame stands, each token, and the last


@dataclass(frozen=True, eq=False)
class Answer:
    """Answer of one model on the lake of the film, and the quality of its answers on all.

    Attributes:
        method: its registered name; "base" is the model before alignment.
        moves: of its likeliest answer, -1 after its end, -2 where a word is no move.
        ended: whether the answer was ended.
        chance: probabilities of left, down, right, up and end at each of its first steps.
        success: share of sampled answers that are right, on each lake.
    """

    method: str
    moves: Int[np.ndarray, " T"]
    ended: bool
    chance: Float[np.ndarray, "K 5"]
    success: Float[np.ndarray, " M"]

    @property
    def title(self) -> str:
        """Name of the model in the picture."""
        return "base" if self.method == "base" else method_name(self.method)

    @property
    def tokens(self) -> list[int]:
        """Index in `WORDS` of each token of the answer, -1 for a word that is no move; the end stands last if there is one."""
        given = [int(move) for move in self.moves if move != -1]
        return [move if move >= 0 else -1 for move in given] + [WORDS.index("end")] * self.ended


class AnswerFilm(Film):
    """One lane a model: the lake with the path that its likeliest answer walks, the answer's tokens, and all lakes as dots.

    Args:
        answers: from above; up to four have room at the height of a page.
        rows: the lake.
        index: index of the lake among those of `Answer.success`.
        prompt: what the models read.
        human: moves of the human's path.
        theme: a name in THEMES.

    Raises:
        ValueError: for an unknown theme.
    """

    def __init__(
        self,
        answers: Sequence[Answer],
        rows: Sequence[str],
        index: int,
        prompt: str,
        human: Int[np.ndarray, " H"],
        theme: str = "light",
    ) -> None:
        super().__init__(theme, (WIDTH, HEAD + LANE * len(answers) + FOOT))
        self.answers, self.index = answers, index
        self.grid = GridLayout.of(rows)
        self.human = [int(move) for move in human if move >= 0]
        self.shown = [min(len(answer.tokens), len(answer.chance), MOST_STEPS) for answer in answers]
        self.step_width = min(MOST_WIDE, STEPS / max(1, *self.shown))
        self.steps: list[tuple[int, Artist]] = []  # what appears, and in which frame
        self._draw_head(prompt)
        self.lanes = [_Lane(self, answer, HEAD + LANE * i) for i, answer in enumerate(answers)]
        self._draw_foot()

    def __len__(self) -> int:
        return 1 + max(self.shown)

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return np.ones(len(self) - 1)

    @property
    def pace(self) -> list[float]:
        """Seconds that each frame would stand by itself: long enough to read a token, and the whole at either end."""
        first, token, last = SECONDS
        return [first, *[token] * (len(self) - 2), last][: len(self)]

    @property
    def alt(self) -> str:
        parts = [
            f"{answer.title}: it answers {' '.join(map(_word, answer.tokens[:MOST_STEPS]))}, which "
            f"{outcome_of(self.grid, answer.tokens)}; success on this lake {answer.success[self.index]:.2f}, median over all "
            f"lakes {np.median(answer.success):.2f}"
            for answer in self.answers
        ]
        lakes = len(self.answers[0].success)
        return (
            f"How {len(self.answers)} language models answer on a held-out lake, token by token with the probabilities: the "
            f"typical one of {lakes}, nearest to the median success of each. The human's answer: {self._human_words}. "
            f"{'. '.join(parts)}."
        )

    @property
    def _human_words(self) -> str:
        return " ".join([*map(_word, self.human), "end"])

    def update(self, index: int) -> None:
        """Show the first tokens of every answer."""
        for step, artist in self.steps:
            artist.set_visible(step <= index)
        for lane in self.lanes:
            lane.walk(index)

    def appear(self, step: int, *artists: Artist) -> None:
        """Let these be seen from a frame on."""
        self.steps += [(step, artist) for artist in artists]
        self.animate(*artists)

    def rule(self, top: float) -> None:
        """Draw a faint line across the picture."""
        y = 1 - top / self.figure.get_figheight()
        line = Rectangle((0.0, y), 1.0, 0.0, ec=self.theme.faint, lw=0.6, transform=self.figure.transFigure)
        self.figure.add_artist(line)

    def _draw_head(self, prompt: str) -> None:
        theme = self.theme
        lakes = len(self.answers[0].success)
        self.add_text(
            0.15,
            0.25,
            "What a language model answers on a lake that it has not seen",
            size=TITLE,
            weight="bold",
            color=theme.ink,
        )
        words = (
            f"Lake {self.index + 1} of {lakes} held-out ones: the typical one, nearest to the median success of every model. "
            "Each model reads the prompt and answers with its likeliest tokens."
        )
        self.add_text(0.15, 0.5, wrap_text(words, WIDTH - 0.7, TEXT), size=TEXT, color=theme.muted, va="top", linespacing=1.3)
        for x, name, text in (
            (0.15, "prompt", shorten(prompt, 3.6, TEXT, bold=True)),
            (4.7, "the human's answer", shorten(self._human_words, 2.6, TEXT, bold=True)),
        ):
            self.add_text(x, 1.05, name, size=SMALL, color=theme.muted)
            self.add_text(x, 1.25, text, size=TEXT, weight="bold", color=theme.ink)

    def _draw_foot(self) -> None:
        theme, bottom = self.theme, HEAD + LANE * len(self.answers) + 0.04
        words = "S: start; green outline: the human's path; line: the path that the model's likeliest answer walks."
        self.add_text(0.15, bottom + 0.12, words, size=SMALL, color=theme.muted)
        more = "Bars: probabilities of L, D, R, U, end; the filled one is taken. Dot below it: optimal. Dashed: the median."
        self.add_text(0.15, bottom + 0.3, more, size=SMALL, color=theme.muted)
        words = "success of 16 sampled answers,\na dot a lake, this one ringed"
        self.add_text(DOTS_AT + DOTS / 2, bottom + 0.22, words, size=SMALL, color=theme.ink, ha="center", linespacing=1.2)


def _word(token: int) -> str:
    return WORDS[token] if token >= 0 else "?"


class _Lane:
    """One model: its name, its map, its tokens and its dots."""

    def __init__(self, film: AnswerFilm, answer: Answer, top: float) -> None:
        theme = film.theme
        self.film, self.answer, self.top = film, answer, top
        self.colour = theme.muted if answer.method == "base" else style_of(answer.method).colour(theme)
        film.rule(top)
        film.add_text(
            0.15, top + 0.3, shorten(answer.title, 0.95, TEXT + 2, bold=True), size=TEXT + 2, weight="bold", color=self.colour
        )
        words = wrap_text(outcome_of(film.grid, answer.tokens), 0.8, SMALL)
        y = 1 - (top + 0.5) / film.figure.get_figheight()
        film.appear(len(film) - 1, film.figure.text(0.15 / WIDTH, y, words, size=SMALL, color=theme.ink, va="top"))
        self._draw_map()
        self._draw_tokens()
        self._draw_dots()

    def _draw_map(self) -> None:
        film, grid = self.film, self.film.grid
        side = MAP / max(grid.height, grid.width)
        ax = film.add_axes(MAP_AT, self.top + 0.09, side * grid.width, side * grid.height)
        draw_lake(ax, grid, film.theme)
        start = int(np.flatnonzero(grid.letters == "S")[0])
        human = _tiles(grid, start, film.human)
        PathOutline(ax, grid, human, film.theme.shown, inset=0.08, width=1.6)
        draw_starts(ax, grid, film.theme, halo=film.theme.ice)
        draw_landmarks(ax, grid, film.theme)
        self.path = grid.place[_tiles(grid, start, _moves(self.answer.tokens))][:, ::-1] + 0.5
        (self.line,) = ax.plot([], [], color=self.colour, lw=2.2, solid_joinstyle="round", zorder=5)
        (self.head,) = ax.plot([], [], "o", color=self.colour, ms=7, mec=film.theme.background, mew=1.2, zorder=6)
        film.animate(self.line, self.head)

    def walk(self, index: int) -> None:
        """Draw the path of the answer's first tokens."""
        path = self.path[: min(index, len(self.path) - 1) + 1]
        self.line.set_data(*path.T)
        self.head.set_data(*path[-1:].T)

    def _draw_tokens(self) -> None:
        film, theme, answer = self.film, self.film.theme, self.answer
        shown = film.shown[film.answers.index(answer)]
        best = _optimal_tokens(film.grid, answer.tokens[:shown])
        columns = max(1, *film.shown)
        ax = film.add_axes(STEPS_AT, self.top, film.step_width * columns, LANE)
        ax.axis("off")
        ax.set(xlim=(0, columns), ylim=(LANE, 0))
        low, tall, wide = 1.02, 0.5, 0.15
        for step in range(shown):
            token, chance = answer.tokens[step], answer.chance[step]
            parts: list[Artist] = [
                ax.text(
                    step + 0.45, 0.2, _word(token), size=TEXT + 3, weight="bold", color=self.colour, ha="center", va="center"
                ),
            ]
            number = f"{chance[token]:.2f}" if token >= 0 else "–"
            parts.append(ax.text(step + 0.45, 0.4, number, size=SMALL, color=theme.ink, ha="center", va="center"))
            for k, value in enumerate(chance):
                left = step + 0.07 + 0.155 * k
                face = self.colour if k == token else theme.faint
                bar = Rectangle((left, low - tall * value), wide * 0.85, tall * value, fc=face, ec=theme.muted, lw=0.4)
                parts.append(ax.add_patch(bar))
                if k in best[step]:
                    parts += ax.plot([left + wide * 0.43], [low + 0.25], "o", ms=2.6, color=theme.shown)
                name = ax.text(left + wide * 0.43, low + 0.1, WORDS[k][0] if k < 4 else "•", size=SMALL - 1, color=theme.muted,
                               ha="center", va="center")  # fmt: skip
                parts.append(name)
            parts += ax.plot([step + 0.05, step + 0.85], [low, low], color=theme.muted, lw=0.6)
            film.appear(step + 1, *parts)
        if len(answer.tokens) > shown:
            film.appear(shown, ax.text(shown - 0.03, 0.2, "…", size=TEXT + 2, color=self.colour, va="center"))

    def _draw_dots(self) -> None:
        film, theme = self.film, self.film.theme
        ax = film.add_axes(DOTS_AT, self.top + 0.2, DOTS, LANE - 0.45)
        _draw_success(ax, self.answer.success, film.index, self.colour, film)
        median = float(np.median(self.answer.success))
        film.add_text(DOTS_AT + DOTS, self.top + 0.13, f"median {median:.2f}", size=SMALL, color=theme.ink, ha="right")


def _draw_success(ax: Axes, success: Float[np.ndarray, " M"], index: int, colour: str, film: Film) -> None:
    """Draw a dot for each lake over its success, the film's lake ringed."""
    theme = film.theme
    style_axes(ax, theme)
    ax.spines["left"].set_visible(False)
    at = stack_dots(success)
    high = max(9.0, float(at[:, 1].max()) + 1)
    ax.set(xlim=(-0.04, 1.06), ylim=(-0.8, high), yticks=[], xticks=[0, 0.5, 1])
    ax.set_xticklabels(["0", "0.5", "1"])
    ax.tick_params(labelsize=SMALL)
    size = min(3.2, 0.9 * 72 * ax.get_window_extent().height / film.figure.dpi / (high + 0.8))
    ax.plot(*at.T, "o", ms=size, color=colour, mew=0)
    ax.axvline(float(np.median(success)), color=theme.muted, lw=0.9, ls=(0, (3, 2)), zorder=0)
    ax.plot(*at[index], "o", ms=max(size + 3.5, 6.0), mfc=theme.background, mec=theme.ink, mew=1.3)
    ax.plot(*at[index], "o", ms=max(size, 2.5), color=theme.ink, mew=0)


def stack_dots(values: Float[np.ndarray, " M"], abreast: int = 3, apart: float = 0.0185) -> Float[np.ndarray, "M 2"]:
    """Return where a dot of each value stands: over the value, some abreast, and equal ones upon another.

    Args:
        values: from 0 to 1, of few different ones.
        abreast: number of dots side by side.
        apart: distance between them along the values.

    Example:
        >>> stack_dots(np.array([0.5, 0.5, 1.0]), abreast=1).tolist()
        [[0.5, 0.0], [0.5, 1.0], [1.0, 0.0]]
    """
    places, seen = np.zeros((len(values), 2)), dict[float, int]()
    for i, value in enumerate(values.round(6).tolist()):
        row, column = divmod(seen.get(value, 0), abreast)
        places[i] = value + (column - (abreast - 1) / 2) * apart, row
        seen[value] = seen.get(value, 0) + 1
    return places


# ---- the lake ----

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # (down, right) of left, down, right, up


def _moves(tokens: Sequence[int]) -> list[int]:
    """Return the moves of an answer up to its end or its first word that is no move."""
    stop = next((i for i, token in enumerate(tokens) if not 0 <= token < len(MOVES)), len(tokens))
    return [*tokens[:stop]]


def outcome_of(grid: GridLayout, tokens: Sequence[int]) -> str:
    """Return what becomes of an answer, in words.

    Args:
        grid: the lake.
        tokens: as in `Answer.tokens`.
    """
    moves = _moves(tokens)
    letters = [str(grid.letters[tile]) for tile in _tiles(grid, int(np.flatnonzero(grid.letters == "S")[0]), moves)]
    if letters[-1] == "H":
        return "falls into a hole"
    if "G" in letters[:-1]:
        return "walks on past the goal"
    if len(moves) == len(tokens):
        return "never ends"
    if tokens[len(moves)] == -1:
        return "says a word that is no move"
    return "reaches the goal" if letters[-1] == "G" else "stops before the goal"


def _tiles(grid: GridLayout, start: int, moves: Sequence[int]) -> Int[np.ndarray, " n"]:
    """Return the tiles of a walk, which ends in a hole or where the moves end; a move over the edge stays."""
    tile, tiles = start, [start]
    for move in moves:
        if grid.letters[tile] == "H":
            break
        row, column = divmod(tile, grid.width)
        row = min(max(row + MOVES[move][0], 0), grid.height - 1)
        column = min(max(column + MOVES[move][1], 0), grid.width - 1)
        tile = row * grid.width + column
        tiles.append(tile)
    return np.array(tiles)


def _optimal_tokens(grid: GridLayout, tokens: Sequence[int]) -> list[set[int]]:
    """Return the optimal tokens at each step of an answer; none in a hole or after a word that is no move."""
    free = [int(tile) for tile in np.flatnonzero(grid.letters != "H")]
    ahead = {tile: [int(_tiles(grid, tile, [move])[-1]) for move in range(len(MOVES))] for tile in free}
    distance = np.full(len(grid.letters), np.inf)
    distance[grid.letters == "G"] = 0
    for _ in free:  # no shortest path is longer
        for tile in free:
            distance[tile] = min(distance[tile], 1 + min(distance[ahead[tile]]))
    here: int | None = int(np.flatnonzero(grid.letters == "S")[0])
    best: list[set[int]] = []
    for token in tokens:
        if here is None or not np.isfinite(distance[here]):
            best.append(set())
            continue
        is_goal = distance[here] == 0
        nearer = {move for move, tile in enumerate(ahead[here]) if distance[tile] == distance[here] - 1}
        best.append({WORDS.index("end")} if is_goal else nearer)
        here = ahead[here][token] if 0 <= token < len(MOVES) else None
    return best
