"""Colours of every picture, colour-blind-safe (after Okabe and Ito), in a light and a dark theme."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.colors import Colormap, LinearSegmentedColormap

from ift_gridworld.rendering.formats import check_theme

__all__ = ["THEMES", "Theme", "find_theme"]


@dataclass(frozen=True)
class Theme:
    """Colours of a picture, named for what they mark.

    Attributes:
        background, ink, muted, faint: of the picture, its words, its lesser words, and its lines.
        ice, hole, water: tiles; water is the dark disc in a hole.
        visited: a tile that is visited once an episode.
        arrow: the policy.
        shown, rejected, predicted: the human's path, the rejected one, and the model's prediction.
        gift, ribbon: the goal.
        success, distance: curves.
        more, less: what became likelier, and less likely.
        red, green, yellow, blue: the places of a taxi, which have no other names.
    """

    background: str
    ink: str
    muted: str
    faint: str
    ice: str
    hole: str
    water: str
    visited: str
    arrow: str
    shown: str
    rejected: str
    predicted: str
    gift: str
    ribbon: str
    success: str
    distance: str
    more: str
    less: str
    red: str
    green: str
    yellow: str
    blue: str

    @property
    def visits(self) -> Colormap:
        """Colours from untouched ice to a tile that is visited in every episode."""
        return LinearSegmentedColormap.from_list("visits", [self.ice, self.visited])

    @property
    def probabilities(self) -> Colormap:
        """Colours from impossible to certain."""
        return LinearSegmentedColormap.from_list("probabilities", [self.ice, self.arrow])

    @property
    def changes(self) -> Colormap:
        """Colours from less likely by 1, over unchanged, to likelier by 1."""
        return LinearSegmentedColormap.from_list("changes", [self.less, self.ice, self.more])

    @property
    def values(self) -> str:
        """Name of matplotlib's colour map for the value of a state."""
        return "cividis"


THEMES: dict[str, Theme] = {
    "light": Theme(
        background="#ffffff",
        ink="#16202a",
        muted="#586673",
        faint="#d7dee5",
        ice="#eaf1f7",
        hole="#25323f",
        water="#3d5064",
        visited="#56aee4",
        arrow="#0d1822",
        shown="#00805c",
        rejected="#c4460a",
        predicted="#e69f00",
        gift="#d55e00",
        ribbon="#ffe9b8",
        success="#0072b2",
        distance="#c4460a",
        more="#0a64a4",
        less="#e07b00",
        red="#d1495b",
        green="#2a9d6f",
        yellow="#e0b000",
        blue="#2f6fd0",
    ),
    "dark": Theme(
        background="#11171e",
        ink="#edf2f7",
        muted="#a3b1bf",
        faint="#35424f",
        ice="#2a3744",
        hole="#05080c",
        water="#16202b",
        visited="#1f78b4",
        arrow="#ffffff",
        shown="#2fd6a5",
        rejected="#ff8a50",
        predicted="#ffc23d",
        gift="#f07a26",
        ribbon="#ffe9b8",
        success="#56b4e9",
        distance="#ff8a50",
        more="#62bdf2",
        less="#f79a2e",
        red="#ef6f7f",
        green="#45c08f",
        yellow="#f2cf4a",
        blue="#6ea0ff",
    ),
}


def find_theme(name: str) -> Theme:
    """Return the theme of that name.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> find_theme("light").background
        '#ffffff'
    """
    check_theme(name)
    return THEMES[name]
