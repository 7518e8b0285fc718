"""An explained update as a page to step through: the pictures of its film, its captions, and its equations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.explain_film import ExplainFilm
from ift_gridworld.rendering.film import DPI
from ift_gridworld.rendering.formats import THEME_NAMES
from ift_gridworld.rendering.steps import SHARPNESS, PageStep, StepPicture, cut_out, save_steps
from ift_gridworld.rendering.text import short_title

if TYPE_CHECKING:
    from ift_gridworld.explain import Explanation

__all__ = ["save_explanation"]


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
        alt, image = f"Map: {scene.caption}", cut_out(frames, first.layout.map_part)
        pictures = [StepPicture("wide", alt, image) if first.layout.is_wide else StepPicture("map", alt, image)]
        if words := first.chart_words(index):
            pictures.append(StepPicture("chart", words, cut_out(frames, first.layout.chart_part)))
        title = scene.title if count == 1 else f"{scene.title} ({part} of {count})"
        steps.append(PageStep(title, scene.caption, pictures, scene.equation))
    return save_steps(path, f"{short_title(explanation.title)}: one update", about, steps)
