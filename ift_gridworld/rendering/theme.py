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
        ice, hole, water, rim: tiles; water is the dark disc in a hole, rim the line around it.
        visited: a tile that is visited once an episode.
        arrow: the policy.
        shown, rejected: the human's path and the rejected one; no method has such a colour (`methods`).
        predicted, predicted_edge: the model's prediction, and the line around it.
        goal, ribbon: the goal, a wrapped box.
        methods: the hues of methods, in the order that `method_style.HUES` names.
        more, less: what became likelier, and less likely; more than a policy that it is compared with, and less.
        moved: a tile on which all probability has gone to other moves.
        red, green, yellow, blue: the places of a taxi, which have no other names.
    """

    background: str
    ink: str
    muted: str
    faint: str
    ice: str
    hole: str
    water: str
    rim: str
    visited: str
    arrow: str
    shown: str
    rejected: str
    predicted: str
    predicted_edge: str
    goal: str
    ribbon: str
    methods: tuple[str, ...]
    more: str
    less: str
    moved: str
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
    def movements(self) -> Colormap:
        """Colours from a tile whose moves are as likely as before to one on which all probability has gone elsewhere."""
        return LinearSegmentedColormap.from_list("movements", [self.ice, self.moved])

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
        ice="#e6eef5",
        hole="#25323f",
        water="#3d5064",
        rim="#25323f",
        visited="#6db9ec",
        arrow="#0d1822",
        shown="#005c42",
        rejected="#8f2d00",
        predicted="#e69f00",
        predicted_edge="#523600",
        goal="#c65300",
        ribbon="#ffe9b8",
        methods=("#0072b2", "#d81b60", "#1d2731", "#7a2fe0", "#a07400"),
        more="#0a64a4",
        less="#b35a00",
        moved="#a35fdc",
        red="#8c1d40",
        green="#4dc48f",
        yellow="#ffe14d",
        blue="#2f6fd0",
    ),
    "dark": Theme(
        background="#11171e",
        ink="#edf2f7",
        muted="#a3b1bf",
        faint="#35424f",
        ice="#33424f",
        hole="#04070a",
        water="#16202b",
        rim="#8095a8",
        visited="#2076b8",
        arrow="#ffffff",
        shown="#62f5dc",
        rejected="#ffc193",
        predicted="#ffc23d",
        predicted_edge="#04070a",
        goal="#f07a26",
        ribbon="#542300",
        methods=("#3d9be0", "#ff8fb8", "#f2f5f8", "#9a5cff", "#e3b505"),
        more="#62bdf2",
        less="#ffb45e",
        moved="#8f4ff0",
        red="#c2334f",
        green="#63d6a1",
        yellow="#ffe97a",
        blue="#5a8cff",
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
