"""Display of runs, MDPs and explanations in a notebook: a picture and a table inside the cell, nothing on disk."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.pictures import film_of, still_of
from ift_gridworld.rendering.tables import results

if TYPE_CHECKING:
    from ift_gridworld.explain import Explanation
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.training.run import Run

__all__ = ["html_of", "html_of_explanation", "png_of", "png_of_mdp"]

STYLE = "font-family:Menlo,'DejaVu Sans Mono',monospace;line-height:1.25;white-space:pre;overflow-x:auto"


def png_of(runs: Sequence[Run], theme: str = "light") -> bytes:
    """Return the last frame of the runs' film as a PNG file."""
    return _png(film_of(runs, theme))


def html_of(runs: Sequence[Run]) -> str:
    """Return the runs as HTML: the last frame of their film, if they can be drawn, over the table of results."""
    screen = Console(width=110, record=True, file=io.StringIO(), no_color=True, force_jupyter=False)
    screen.print(results(runs, 110))
    table = f'<pre style="{STYLE}">{html.escape(screen.export_text())}</pre>'
    if runs[0].mdp.grid is None:
        return table
    picture = base64.b64encode(png_of(runs)).decode()
    alt = html.escape(film_of(runs).alt, quote=True)
    return f'<img style="max-width:100%" src="data:image/png;base64,{picture}" alt="{alt}">{table}'


def png_of_mdp(mdp: TabularMDP, theme: str = "light") -> bytes:
    """Return the map with its optimal policy as a PNG file."""
    name = mdp.where.name
    return _png(still_of(name, {name: mdp}, theme))


def html_of_explanation(explanation: Explanation) -> str:
    """Return an explanation as HTML: each step's title, caption and equation, and its series as a table of numbers."""
    blocks = [f"<h4>{html.escape(explanation.title)}: loss {explanation.loss:.4f}</h4>"]
    for number, step in enumerate(explanation.steps, 1):
        equation = f"<p>{html.escape(step.equation)}</p>" if step.equation else ""
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(series['name'])}</th>"
            + "".join(f"<td>{value:.3f}</td>" for value in series["values"])
            + "</tr>"
            for series in step.data.get("series", ())
        )
        table = f"<table>{rows}</table>" if rows else ""
        blocks.append(f"<p><b>{number}. {html.escape(step.title)}.</b> {html.escape(step.caption)}</p>{equation}{table}")
    return f"<div style='max-width:60em'>{''.join(blocks)}</div>"


def _png(film: Film) -> bytes:
    buffer = io.BytesIO()
    film.frame(len(film) - 1).save(buffer, "png")
    return buffer.getvalue()
