"""The parts that a study's figures are made of: colours mean what they say, ink can be read, files are whole and the same."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch
from PIL import Image
from test_paper import check

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy
from ift_gridworld.rendering.study_figures import (
    MAX_HEIGHT,
    WIDTH,
    Estimate,
    Heatmap,
    Mark,
    PolicyMap,
    StudyFigure,
    draw_policies,
    ink_on,
)
from ift_gridworld.rendering.theme import THEMES

THEME = pytest.mark.parametrize("theme", THEMES)
TABLE = Heatmap(
    "share", ["a", "b"], ["x", "y", "z"], np.array([[0.0, 50.0, 100.0], [np.nan, 25.0, 75.0]]), np.eye(2, 3, dtype=bool)
)


def luminance(colour):
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


@THEME
def test_numbers_can_be_read_on_every_shade(theme):
    """WCAG asks for a contrast of 4.5 to 1."""
    for share in np.linspace(0, 1, 101):
        shade = THEMES[theme].changes(share)
        light, dark = sorted((luminance(shade[:3]), luminance(ink_on(shade))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, share


@THEME
def test_cells_are_orange_at_the_low_end_and_blue_at_the_high_one_unless_against(theme):
    for reverse in (False, True):
        page = StudyFigure(1.5, theme)
        page.draw_heatmap(TABLE, 0.5, 0.4, 3.0, 0.6, limits=(0, 100), reverse=reverse)
        ax = page.figure.axes[0]
        drawn = ax.images[0].cmap(ax.images[0].norm(np.array([0.0, 100.0])))
        ends = [to_rgb(colour) for colour in (THEMES[theme].less, THEMES[theme].more)]
        np.testing.assert_allclose(drawn[:, :3], ends[::-1] if reverse else ends, atol=0.01)


def test_cells_say_their_numbers_mark_what_is_clear_and_leave_out_what_is_none():
    page = StudyFigure(1.5, "light")
    page.draw_heatmap(TABLE, 0.5, 0.4, 3.0, 0.6, limits=(0, 100), number_format=".0f")
    ax = page.figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["0", "50", "100", "25", "75"]
    assert len(ax.lines) == 2  # one dot for each marked cell
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    check(page.figure, least=6.5)
    nameless = StudyFigure(1.5, "light")
    nameless.draw_heatmap(TABLE, 0.5, 0.4, 3.0, 0.6, limits=(0, 100), names=False)
    assert {label.get_text() for label in nameless.figure.axes[0].get_yticklabels()} == {""}
    assert not nameless.figure.axes[0].texts


def forest(zero, **options):
    """Two series in two rows, one point missing; of the three others one interval includes 0."""
    page = StudyFigure(2.0, "light")
    series = {
        "one": [Estimate(0.1, 0.0, 0.3), None],
        "two": [Estimate(-0.2, -0.3, -0.1), Estimate(np.nan, np.nan, np.nan)],
        "three": [None, Estimate(0.2, 0.1, 0.3, samples=1)],
    }
    ax = page.draw_forest(["first", "second"], series, 0.8, 0.4, 3.0, 1.0, label="difference", zero=zero, **options)
    marks = [line for line in ax.lines if line.get_marker() in ("o", "D", "s") and len(line.get_xdata())]
    return page, ax, marks


def filled(page, mark):
    return to_rgb(mark.get_markerfacecolor()) != to_rgb(page.theme.background)


def test_a_forest_stands_where_its_values_are():
    """Markers at the values, lines along the intervals."""
    page, ax, marks = forest(zero=True)
    assert [line.get_xdata() for line in marks] == [[0.1], [-0.2], [0.2]]
    spans = sorted(tuple(line.get_xdata()) for line in ax.lines if line not in marks and len(set(line.get_xdata())) == 2)
    assert (0.0, 0.3) in spans and (-0.3, -0.1) in spans
    assert ax.get_ylim() == (1.5, -0.5)  # the first row on top
    page.add_legend(ax, 0.8, 1.9, 3)
    check(page.figure, least=6.5)


def test_an_effect_that_is_not_clear_is_hollow():
    """One whose interval includes 0, and one that a single number says; a value that is no effect is as its mark says."""
    page, _, marks = forest(zero=True)
    assert [filled(page, mark) for mark in marks] == [False, True, False]
    own = {
        "one": [Mark("#112233", "D")], "two": [Mark("#112233", "s", filled=False)], "three": [Mark("#445566"), Mark("#778899")],
    }  # fmt: skip
    page, ax, marks = forest(zero=False, marks=own)
    assert [filled(page, mark) for mark in marks] == [True, False, True]
    assert [mark.get_markeredgecolor() for mark in marks] == ["#112233", "#112233", "#778899"], "the second row's own mark"
    _, labels = ax.get_legend_handles_labels()
    assert labels == ["one", "two"], "marks that are one a row need no key"


def test_a_figure_is_no_higher_than_a_page():
    assert StudyFigure(MAX_HEIGHT, "light").height == MAX_HEIGHT
    with pytest.raises(ValueError, match=r"the figure is 9\.5 inches high; allowed: up to 9, so draw fewer rows"):
        StudyFigure(9.5, "light")


def test_a_figure_that_is_cut_keeps_the_places_of_its_parts():
    page = StudyFigure(4.0, "light")
    page.add_text(1.0, 1.0, "a word")
    ax = page.add_axes(1.0, 1.5, 2.0, 0.5)
    page.resize(3.0)
    assert page.figure.texts[0].get_position() == pytest.approx((1.0 / WIDTH, 2.0 / 3.0))
    assert ax.get_position().bounds == pytest.approx((1.0 / WIDTH, 1.0 / 3.0, 2.0 / WIDTH, 0.5 / 3.0))
    assert page.figure.get_size_inches().tolist() == pytest.approx([WIDTH, 3.0])


def test_maps_that_stand_side_by_side_have_one_scale_of_visits_and_show_where_an_episode_starts():
    """A policy that goes to and fro visits the start many times; the other's tiles are then paler than by themselves."""
    mdp = TabularMDP.from_map(("SF", "HG"))
    best, idle = optimal_policy(mdp), np.eye(4)[[2, 0, 0, 0]]
    page = StudyFigure(1.6, "light")
    scale = draw_policies(page, [PolicyMap("a", mdp, best), PolicyMap("b", mdp, idle)], 0.1, 0.3, 0.8, 0.1)
    assert scale.is_log and scale.end >= 50
    for ax in page.figure.axes:
        assert any(isinstance(patch, PathPatch) and patch.get_path_effects() for patch in ax.patches), "the letter S"
    assert draw_policies(page, [PolicyMap("a", mdp, best)], 0.1, 0.3, 0.8, 0.1).end == 1.0


@THEME
def test_a_page_is_written_whole_and_the_same_each_time(theme, tmp_path):
    mdp = TabularMDP.from_map(LAKES["4x4"])
    written = []
    for name in ("one", "two"):
        page = StudyFigure(1.6, theme)
        page.add_heading(0.1, 0.15, "A lake")
        draw_policies(page, [PolicyMap("the optimum", mdp, optimal_policy(mdp), (0, 4, 8))], 0.1, 0.4, 1.0, 0.1)
        page.draw_colour_key(3.0, 0.5, "never", "always")
        check(page.figure, least=6.5)
        paths = page.save(tmp_path / name, "A lake and its optimum.")
        assert [path.suffix for path in paths] == [".pdf", ".png"]
        assert (tmp_path / f"{name}.png.txt").read_text() == "A lake and its optimum.\n"
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert b"/Type3" not in written[0][0]  # fonts are embedded as outlines that can be searched
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (round(WIDTH * 200), round(1.6 * 200))
        assert image.convert("RGB").getpixel((2, 2)) == tuple(round(255 * c) for c in to_rgb(THEMES[theme].background))
