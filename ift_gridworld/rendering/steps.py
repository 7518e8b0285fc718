"""A page to step through: pictures with their captions and equations, one step after another, in one HTML file.

It opens from disk without a network, by mouse, touch or keyboard, in light and dark; without scripts all steps stand below each
other. What it does is in `steps.html`.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from PIL import Image

from ift_gridworld.escape import printable
from ift_gridworld.rendering.encode import shared_palette
from ift_gridworld.rendering.film import Box
from ift_gridworld.rendering.html_page import fill, style_sheet
from ift_gridworld.rendering.mathml import mathml
from ift_gridworld.rendering.pace import reading_seconds
from ift_gridworld.storage import write_atomically

__all__ = ["MAX_BYTES", "SHARPNESS", "PageStep", "StepPicture", "cut_out", "save_steps"]

SHARPNESS = 2  # pixels of a picture for each of the page
MAX_BYTES = 1_000_000  # of a page
SHRINK = 0.8  # factor of the size of pictures, as often as it takes
LEAST_SCALE = 0.3  # of pictures: smaller ones could not be read
PART = r",\quad"  # between two equations in a line, which stand below each other where there is no room
EQUATION_SECONDS = 4.0  # that an equation is looked at, beside reading the words


@dataclass(frozen=True)
class StepPicture:
    """A picture of a step.

    Attributes:
        kind: a "map" stands beside the words, a "chart" below them; what is "wide" stands across the page, and "panels" stand
            side by side where there is room.
        alt: what it shows, for those who cannot see it.
        images: the picture in each theme, of one size, `SHARPNESS` pixels for each of the page at its full size.
    """

    kind: Literal["map", "chart", "wide", "panel"]
    alt: str
    images: Mapping[str, Image.Image]


@dataclass(frozen=True)
class PageStep:
    """One step of the page.

    Attributes:
        title, caption: words.
        pictures: one or more.
        equation: in TeX between dollars, or empty.
        more: paragraphs below, each with a heading.
        key: elements that explain the marks, of this package's own making: they are not escaped.
    """

    title: str
    caption: str
    pictures: Sequence[StepPicture]
    equation: str = ""
    more: Sequence[tuple[str, str]] = ()
    key: str = ""


def save_steps(path: Path, heading: str, about: str, steps: Sequence[PageStep]) -> Path:
    """Write a page to step through, complete or not at all.

    Args:
        path: where to write, NAME.html.
        heading: of the page.
        about: a line below it.
        steps: one or more.

    Returns:
        The path.

    Raises:
        ValueError: for an equation that `mathml` does not know, or if the page would not fit into MAX_BYTES.
        OSError: if the file cannot be written.
    """
    template = files("ift_gridworld.rendering").joinpath("steps.html").read_text(encoding="utf-8")
    scale = 1.0
    while True:
        parts = {
            "TITLE": html.escape(printable(heading)),
            "HEADING": html.escape(printable(heading)),
            "ABOUT": html.escape(printable(about)),
            "COLOURS": style_sheet(),
            "STEPS": "\n".join(_section(step, scale) for step in steps),
        }
        page = fill(template, parts).encode()
        if len(page) <= MAX_BYTES:
            return write_atomically(path, page)
        scale *= SHRINK
        if scale < LEAST_SCALE:
            raise ValueError(f"the page would have {len(page):,} bytes; allowed: at most {MAX_BYTES:,}, of a smaller map")


def _section(step: PageStep, scale: float) -> str:
    pictures = [_picture(picture, scale) for picture in step.pictures]
    equations = step.equation.strip("$").split(PART) if step.equation else []
    equation = f"<div class='equation'>{''.join(map(mathml, equations))}</div>" if equations else ""
    more = "".join(
        f"<p class='more'><b>{html.escape(printable(head))}.</b> {html.escape(printable(text))}</p>" for head, text in step.more
    )
    seconds = reading_seconds(f"{step.title} {step.caption}") + EQUATION_SECONDS * bool(equation)
    kind = step.pictures[0].kind
    words = (
        f"<div class='words'><h2>{html.escape(printable(step.title))}</h2>"
        f"<p class='caption'>{html.escape(printable(step.caption))}</p>{equation}</div>"
    )
    if kind == "panel":
        panels = "".join(f"<div>{picture}</div>" for picture in pictures)
        below = f"<p class='key'>{step.key}</p>{more}"
        return f"<section data-seconds='{seconds:g}' class='across'>{words}<div class='panels'>{panels}</div>{below}</section>"
    across = " class='across'" if kind == "wide" else ""
    chart = f"<div class='chart'>{''.join(pictures[1:])}</div>"
    return f"<section data-seconds='{seconds:g}'{across}><div class='map'>{pictures[0]}</div>{words}{chart}{more}</section>"


def cut_out(frames: Mapping[str, Image.Image], box: Box) -> dict[str, Image.Image]:
    """Return a part of the same frame in each theme.

    Args:
        frames: the frame, by theme.
        box: the part.
    """
    left, bottom, width, height = box
    parts = {}
    for theme, frame in frames.items():
        across, down = frame.size
        corners = (left * across, (1 - bottom - height) * down, (left + width) * across, (1 - bottom) * down)
        x0, y0, x1, y1 = (round(corner) for corner in corners)
        parts[theme] = frame.crop((x0, y0, x1, y1))
    return parts


def _picture(picture: StepPicture, scale: float) -> str:
    """Elements of a picture in either theme, of which the page shows one."""
    elements = []
    for theme, image in picture.images.items():
        width, height = (round(scale * side) for side in image.size)
        resized = image if scale == 1 else image.resize((width, height), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        plain = resized.convert("RGB")
        plain.quantize(palette=shared_palette([plain]), dither=Image.Dither.NONE).save(out, "png", optimize=True)
        source = base64.b64encode(out.getvalue()).decode()
        size = f"width='{image.size[0] // SHARPNESS}' height='{image.size[1] // SHARPNESS}'"
        alt = html.escape(printable(picture.alt), quote=True)
        elements.append(f"<img class='{theme}' {size} alt='{alt}' src='data:image/png;base64,{source}'>")
    return "".join(elements)
