"""The scale of visits fits its data: no tile saturates, and the key names the ends."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.rendering.visit_scale import VisitScale


def test_up_to_once_an_episode_the_scale_is_linear():
    scale = VisitScale.of([np.array([0.0, 0.25, 1.0])])
    assert not scale.is_log
    assert scale.norm(np.array([0.0, 0.25, 1.0])).tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize(("largest", "end"), [(1.2, 2.0), (2.0, 2.0), (2.1, 5.0), (5.55, 10.0), (74.0, 100.0), (326.0, 500.0)])
def test_larger_counts_have_a_logarithmic_scale_that_reaches_them(largest, end):
    scale = VisitScale.of([np.array([0.1]), np.array([largest, 0.0])])
    assert scale.is_log and scale.end == end
    low, high = scale.norm(np.array([0.01, end]))
    assert (low, high) == (0.0, pytest.approx(1.0))
    # Equal ratios are equal distances: log(0.1 / 0.01) / log(end / 0.01).
    assert scale.norm(0.1) == pytest.approx(np.log(10) / np.log(end / 0.01))
    assert scale.ticks[0] == 0.01 and scale.ticks[-1] == end


def test_maps_that_are_compared_share_the_largest():
    assert VisitScale.of([np.array([0.5]), np.array([3.0])]) == VisitScale.of([np.array([3.0])])


def test_no_visits_at_all():
    assert VisitScale.of([np.zeros(3)]) == VisitScale(1.0) == VisitScale.of([])


def test_the_key_names_its_ends():
    ax = Figure().add_subplot()
    VisitScale(10.0).draw_key(ax, THEMES["light"], 8.0)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["≤0.01", "0.1", "1", "10"]
    assert ax.get_title(loc="left") == "visits an episode"
