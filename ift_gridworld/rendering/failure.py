"""Content of a film of a failure, computed before it is drawn: panels with policies, shades of tiles and curves, and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.mdp import Origin
from ift_gridworld.rendering.plane import Track

__all__ = ["ChartLine", "Failure", "Panel"]


@dataclass(frozen=True, eq=False)
class ChartLine:
    """A curve of a panel's chart.

    Attributes:
        name: what the key calls it.
        values: one a frame; not drawn where it is NaN.
        colour: an attribute of `Theme`, or "method" for the colour of the panel's method.
        dashed: whether the line is dashed.
    """

    name: str
    values: Float[np.ndarray, " F"]
    colour: str = "method"
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of the film: a run, or one view of it.

    Attributes:
        title: what is done here.
        notes: its result, one a frame.
        arrows: probabilities of actions; with `signed`, changes of them. Not drawn where they are NaN.
        method: the registered name of the method, or empty.
        tiles: shades of the tiles (`Failure.shade`), or None.
        lines: of the chart below; without any there is no chart.
        signed: whether arrows are changes, drawn in two colours.
    """

    title: str
    notes: Sequence[str]
    arrows: Float[np.ndarray, "F S A"]
    method: str = ""
    tiles: Float[np.ndarray, "F S"] | None = None
    lines: tuple[ChartLine, ...] = ()
    signed: bool = False


@dataclass(frozen=True, eq=False)
class Failure:
    """Content of the film.

    Attributes:
        name: of its files.
        title: what fails, a short sentence.
        why: its cause, a sentence with the numbers.
        often: in how many seeds.
        about: environment, policy and base in a line.
        cause: the cause in full, for the words beside the film: paragraphs, each with a heading.
        lake: where it happens.
        shown, rejected: (state, action) steps of the human's path and of the rejected one (else empty).
        steps: update of each frame.
        cases: the panels, two to four.
        shade: what the shades of the tiles are: visits an episode, or the success of an agent that is dropped there.
        measure: what the charts draw, with its unit.
        scale: of the charts.
        limits: of the charts.
        level: a value that the charts mark, and its name.
        signs: what signed arrows of either colour mean.
        plane: trajectories in the preference plane, drawn in the place of a last panel.
    """

    name: str
    title: str
    why: str
    often: str
    about: str
    cause: tuple[tuple[str, str], ...]
    lake: Origin
    shown: Int[np.ndarray, "T 2"]
    rejected: Int[np.ndarray, "R 2"]
    steps: Int[np.ndarray, " F"]
    cases: tuple[Panel, ...]
    shade: Literal["visits", "success", ""]
    measure: str
    scale: Literal["linear", "log", "symlog"] = "linear"
    limits: tuple[float, float] = (0.0, 1.0)
    level: tuple[float, str] | None = None
    signs: tuple[str, str] = ("likelier than in the base", "less likely")
    plane: tuple[Track, ...] = ()
