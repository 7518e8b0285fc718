"""Options of a figure for a paper, checked before anything is trained or drawn. Loads no matplotlib."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from ift_gridworld.checks import check_choice, check_whole, suggestion
from ift_gridworld.escape import printable
from ift_gridworld.evaluation.metrics import metric_descriptions
from ift_gridworld.rendering.formats import check_theme

__all__ = ["FONTS", "PANELS", "WIDTHS", "FigureChoices", "FigureOptions"]

WIDTHS = {"column": 3.3, "page": 6.9}  # inches
PANELS = ("maps", "matrix", "seeds", "frontier")  # and any metric, as a curve
FONTS = {  # families that come with matplotlib, so that a figure is the same on every machine, and mathematics to match
    "sans": ("DejaVu Sans", "dejavusans"),
    "serif": ("STIXGeneral", "stix"),
}
TEX_PROGRAMS = ("latex", "dvipng")


class FigureChoices(TypedDict, total=False):
    """Keyword arguments of a figure for a paper, as `FigureOptions` describes them."""

    stages: Sequence[int] | None
    panels: Sequence[str] | None
    font: str
    usetex: bool
    transparent: bool


@dataclass(frozen=True)
class FigureOptions:
    """The choices for a figure.

    Attributes:
        width: "column" (3.3 inches) or "page" (6.9 inches).
        theme: a name in THEMES.
        stages: updates whose maps are drawn; None for updates between which equally much changes.
        panels: names in `PANELS` and of metrics that every run has recorded; None for maps, the matrices of a single run,
            success (or regret) and distance.
        font: a name in `FONTS`: "sans" or "serif", in the style of Times.
        usetex: whether LaTeX sets all text, in its own font.
        transparent: whether the figure has no background.

    Raises:
        ValueError: for a choice that there is not, or where LaTeX is asked for and not installed.

    Example:
        >>> FigureOptions("page", panels=("maps", "distance")).inches
        6.9
    """

    width: str = "column"
    theme: str = "light"
    stages: Sequence[int] | None = None
    panels: Sequence[str] | None = None
    font: str = "sans"
    usetex: bool = False
    transparent: bool = False

    def __post_init__(self) -> None:
        if self.width not in WIDTHS:  # the option of the command line is called so
            raise ValueError(f"figure is {self.width!r}; allowed: {', '.join(WIDTHS)}")
        check_theme(self.theme)
        check_choice("font", self.font, FONTS)
        if self.stages is not None:
            if not len(self.stages):
                raise ValueError("stages is empty; allowed: one update or more")
            for update in self.stages:
                check_whole("stages", update, at_least=0)
        if self.panels is not None:
            self._check_panels(self.panels)
        missing = [program for program in TEX_PROGRAMS if shutil.which(program) is None]
        if self.usetex and missing:
            raise ValueError(
                f"usetex is True, but this machine has no {' and no '.join(missing)}; allowed: font serif, or install LaTeX"
            )

    def _check_panels(self, panels: Sequence[str]) -> None:
        if not panels:
            raise ValueError(f"panels is empty; allowed: {', '.join(PANELS)}, or a metric such as success")
        for panel in panels:
            if list(panels).count(panel) > 1:
                raise ValueError(f"panels is {','.join(panels)!r}, which names {panel!r} twice; allowed: each once")

    @property
    def inches(self) -> float:
        """Width of the figure."""
        return WIDTHS[self.width]

    def chosen_panels(self, runs: int, headline: str) -> list[str]:
        """Return the panels to draw.

        Args:
            runs: number of runs in the figure; one has its matrices drawn.
            headline: the metric that sums them up.
        """
        if self.panels is not None:
            return list(self.panels)
        return ["maps", *["matrix"] * (runs == 1), headline, "distance"]

    def needs_map(self, runs: int) -> bool:
        """Return whether the environment must have a map to be drawn, in a figure of so many runs."""
        return bool({"maps", "matrix"} & set(self.chosen_panels(runs, "")))

    def check_metrics(self, known: Iterable[str], runs: int) -> None:
        """Raise a ValueError for a panel that is no metric, or that these runs cannot have.

        Args:
            known: names of the metrics that there are.
            runs: number of runs in the figure.
        """
        names = (*PANELS, *known)
        for panel in self.panels or ():
            if panel not in names:
                allowed = ", ".join(map(printable, names))
                raise ValueError(f"panels is {panel!r}; {suggestion(panel, names)}allowed: {allowed}")
            if panel == "matrix" and runs > 1:
                allowed = ", ".join(printable(name) for name in names if name != panel)
                raise ValueError(f"panels is {panel!r}, which is drawn of one run, not of {runs}; allowed: {allowed}")

    def check_before_training(self, runs: int) -> None:
        """Raise a ValueError for a panel that runs cannot have, as far as that is known before they are trained."""
        self.check_metrics(metric_descriptions(), runs)
