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
    ("success", "distance"),
    ("predicted", "visited"),
    ("visited", "ice"),
    ("hole", "ice"),
    ("gift", "ice"),
    ("shown", "visited"),
    ("rejected", "visited"),
    ("more", "ice"),
    ("less", "ice"),
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


@THEME
def test_words_and_arrows_stand_out_in_grey(theme):
    """Words as WCAG asks for (7 and 4.5 to 1), arrows and marks as it asks for graphics (3 to 1)."""
    assert contrast(theme.ink, theme.background) >= 7
    assert contrast(theme.muted, theme.background) >= 4.5
    for tile in (theme.ice, theme.visited):
        assert contrast(theme.arrow, tile) >= 3
        assert contrast(theme.ink, tile) >= 3
    for mark in ("success", "distance"):
        assert contrast(getattr(theme, mark), theme.background) >= 3


@THEME
def test_every_colour_is_its_own(theme):
    """But for those that mean the same, such as the two curves' and the two paths'."""
    same = {frozenset(pair) for pair in (("distance", "rejected"), ("hole", "water"), ("gift", "less"), ("ink", "arrow"))}
    names = [f.name for f in fields(Theme) if f.name not in ("background", "faint", "ribbon")]
    for one, other in combinations(names, 2):
        if frozenset((one, other)) not in same:
            assert getattr(theme, one) != getattr(theme, other), (one, other)
