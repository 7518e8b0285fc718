"""An explained update as a page to step through: the pictures of its film, its captions, and its equations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.explain_film import Box, ExplainFilm
from ift_gridworld.rendering.film import DPI
from ift_gridworld.rendering.formats import THEME_NAMES
from ift_gridworld.rendering.steps import PageStep, PictureKind, StepPicture, save_steps
from ift_gridworld.rendering.text import short_title

if TYPE_CHECKING:
    from ift_gridworld.explain import Explanation

__all__ = ["save_explanation"]

SHARPNESS = 2  # pixels of a picture for each of the page


def save_explanation(explanation: Explanation, mdp: TabularMDP, about: str, path: Path) -> Path:
    """Write an explained update as a page to step through.

    Args:
        explanation: the update to show.
        mdp: the environment it was made on, which must have a map.
        about: environment, policy and base in a line.
        path: where to write, NAME.html.

    Returns:
        The path.

    Raises:
        ValueError: if there is no map, or for a scene of a kind that nothing shows.
        OSError: if the file cannot be written.
    """
    films = {theme: ExplainFilm(explanation, mdp, about, theme) for theme in THEME_NAMES}
    for film in films.values():
        film.figure.set_dpi(SHARPNESS * DPI)
    first = films[THEME_NAMES[0]]
    numbers = [number for number, _ in first.stills]
    steps = []
    for place, (number, index) in enumerate(first.stills):
        scene, count, part = explanation.steps[number], numbers.count(number), numbers[: place + 1].count(number)
        frames = {theme: film.frame(index) for theme, film in films.items()}
        kind: PictureKind = "wide" if first.layout.map[2] > 0.5 else "map"
        pictures = [StepPicture(kind, f"Map: {scene.caption}", _parts(frames, first.layout.map_part))]
        if words := first.chart_words(index):
            pictures.append(StepPicture("chart", words, _parts(frames, first.layout.chart_part)))
        title = scene.title if count == 1 else f"{scene.title} ({part} of {count})"
        steps.append(PageStep(title, scene.caption, pictures, scene.equation))
    return save_steps(path, f"{short_title(explanation.title)}: one update", about, steps)


def _parts(frames: dict[str, Image.Image], box: Box) -> dict[str, Image.Image]:
    """Cut a part, in figure fractions, out of the frame of each theme."""
    left, bottom, width, height = box
    result = {}
    for theme, frame in frames.items():
        across, down = frame.size
        corners = (left * across, (1 - bottom - height) * down, (left + width) * across, (1 - bottom) * down)
        cut = tuple(round(corner) for corner in corners)
        result[theme] = frame.crop((cut[0], cut[1], cut[2], cut[3]))
    return result
