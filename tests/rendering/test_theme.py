"""Colours that stand side by side stay apart for colour-blind eyes, and words and arrows stand out in grey."""

from dataclasses import fields
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ift_gridworld.rendering.theme import THEMES, Theme

THEME = pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
EYES = {
    "common": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# What is seen side by side and told apart by colour.
NEIGHBOURS = [
    ("shown", "rejected"),
    ("more", "less"),
    ("predicted", "visited"),
    ("predicted", "predicted_edge"),
    ("visited", "ice"),
    ("hole", "ice"),
    ("goal", "ice"),
    ("shown", "visited"),
    ("rejected", "visited"),
    ("more", "ice"),
    ("less", "ice"),
    ("moved", "ice"),
    ("moved", "hole"),
]


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b*, white at D65, of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    x, y, z = (np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    """WCAG's ratio of luminances."""
    light = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] + 0.05 for c in (one, other))
    return light[1] / light[0]


@THEME
@pytest.mark.parametrize("eye", EYES)
def test_neighbouring_categories_stay_apart(theme, eye):
    """By a difference of at least 18 in L*a*b* (2 is just seen side by side)."""
    for one, other in NEIGHBOURS:
        seen = [lab(np.array(EYES[eye]) @ linear(getattr(theme, name))) for name in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 18, (one, other)


# What a mark can lie on, and the marks.
GROUNDS = {
    "ice": ("arrow", "ink", "muted", "shown", "rejected", "goal", "more", "less", "rim"),
    "visited": ("arrow", "ink", "shown", "rejected"),
    "background": ("rim", "ink", "muted", "more", "less", "shown", "rejected"),
    "predicted": ("predicted_edge",),
    "goal": ("ribbon",),
    "moved": ("arrow", "ink"),
    "faint": ("shown", "rejected"),
}


@THEME
def test_words_and_marks_stand_out(theme):
    """Words as WCAG asks for (7 and 4.5 to 1), marks as it asks for graphics (3 to 1), against all that they can lie on."""
    assert contrast(theme.ink, theme.background) >= 7
    assert contrast(theme.muted, theme.background) >= 4.5
    for ground, marks in GROUNDS.items():
        for mark in marks:
            assert contrast(getattr(theme, mark), getattr(theme, ground)) >= 3, (mark, ground)
    for ground in (
        "ice",
        "visited",
        "background",
    ):  # the diamond of a prediction has an edge where its fill alone would be lost
        marks = ("predicted", "predicted_edge")
        assert max(contrast(getattr(theme, mark), getattr(theme, ground)) for mark in marks) >= 3, ground
    for colour in theme.methods:
        assert contrast(colour, theme.background) >= 3, colour


@THEME
@pytest.mark.parametrize("eye", EYES)
def test_hues_of_methods_stay_apart(theme, eye):
    """And from the paths on a map, whose colours say what was shown and what was rejected."""
    seen = [lab(np.array(EYES[eye]) @ linear(colour)) for colour in theme.methods]
    for (i, one), (j, other) in combinations(enumerate(seen), 2):
        assert np.linalg.norm(one - other) > 18, (theme.methods[i], theme.methods[j])
    if eye == "common":
        for mark in (theme.shown, theme.rejected):
            for colour in seen:
                assert np.linalg.norm(lab(linear(mark)) - colour) > 25, mark


@THEME
def test_every_colour_is_its_own(theme):
    """But for those that mean the same."""
    same = {
        frozenset(pair)
        for pair in (("hole", "water"), ("hole", "rim"), ("hole", "predicted_edge"), ("goal", "less"), ("ink", "arrow"))
    }
    names = [f.name for f in fields(Theme) if f.name not in ("background", "faint", "ribbon", "methods")]
    for one, other in combinations(names, 2):
        if frozenset((one, other)) not in same:
            assert getattr(theme, one) != getattr(theme, other), (one, other)
