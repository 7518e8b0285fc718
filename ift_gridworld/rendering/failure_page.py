"""A failure as a page to step through: the film's panels at a few updates, and the cause in full."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np

from ift_gridworld.rendering.failure import Failure
from ift_gridworld.rendering.failure_film import SHADES, FailureFilm
from ift_gridworld.rendering.film import DPI
from ift_gridworld.rendering.formats import THEME_NAMES
from ift_gridworld.rendering.steps import SHARPNESS, PageStep, StepPicture, cut_out, save_steps

__all__ = ["save_failure_page"]

MAX_STEPS = 5  # updates that are shown, between which policies change about equally much


def save_failure_page(failure: Failure, path: Path) -> Path:
    """Write a failure as a page to step through.

    Args:
        failure: what to show.
        path: where to write, NAME.html.

    Returns:
        The path.
    """
    films = {theme: FailureFilm(failure, theme) for theme in THEME_NAMES}
    for film in films.values():
        film.figure.set_dpi(SHARPNESS * DPI)
    first = films[THEME_NAMES[0]]
    indices = sorted({round(x) for x in np.linspace(0, len(first) - 1, MAX_STEPS)})
    steps = []
    for place, index in enumerate(indices):
        frames = {theme: film.frame(index) for theme, film in films.items()}
        words = [f"{panel.title}: {panel.notes[index]}" for panel in failure.cases]
        words += ["The preference plane"] if failure.plane else []
        pictures = [StepPicture("panel", alt, cut_out(frames, box)) for alt, box in zip(words, first.panel_boxes, strict=True)]
        steps.append(
            PageStep(
                f"Update {failure.steps[index]}",
                failure.why if place < len(indices) - 1 else failure.often,
                pictures,
                key=_key(first),
                more=failure.cause if place == len(indices) - 1 else (),
            )
        )
    return save_steps(path, failure.title, failure.about, steps)


def _key(film: FailureFilm) -> str:
    """The film's key as elements of the page, in the colours of its theme."""
    entries = []
    for entry in film.key:
        style = f"border-color:var(--{entry.colour})" + (";border-style:dashed" if entry.dashed else "")
        if entry.kind == "fill":
            style = f"background:var(--{entry.colour});border-color:var(--{entry.colour})"
        entries.append(f"<span><i class='{entry.kind}' style='{style}'></i>{html.escape(entry.words)}</span>")
    if film.failure.shade:
        low, high = film.scale.ticks[0], film.scale.ticks[-1]
        least = "≤" if film.scale.is_log else ""
        words = f"{SHADES[film.failure.shade]}, {least}{low:g} to {high:g}{' (logarithmic)' if film.scale.is_log else ''}"
        entries.append(f"<span><i class='strip'></i>{words}</span>")
    return "".join(entries)
