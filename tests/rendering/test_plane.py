"""The preference plane: what is drawn is the change of both log-probabilities since the base, at the same update."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from test_isolation import HOSTILE
from test_page import STEPS, lake_record

from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.plane import MARGINS, Plane, PlaneFilm, apart, draw_plane, has_pair, tracks_of
from ift_gridworld.rendering.theme import THEMES

# A method that drains both answers: the chosen one gains a nat, then loses ten; and one that does not.
CHOSEN = {"dpo": np.array([-2.0, -1.0, -3.0, -8.0, -11.0]), "sft": np.array([-2.0, -1.5, -1.0, -0.5, -0.1])}
REJECTED = {"dpo": np.array([-3.0, -9.0, -40.0, -90.0, -100.0]), "sft": np.array([-3.0, -4.0, -5.0, -9.0, -12.0])}
SPREAD = np.array([0.5, -0.5])  # of two seeds, in the chosen answer after the base


def run(method="dpo", **changes):
    made = lake_record(method, title=f"{method.upper()} · a method")
    later = (np.arange(5) > 0)[:, None]
    made.metrics["chosen_logp"] = CHOSEN[method][:, None] + later * SPREAD
    made.metrics["rejected_logp"] = np.repeat(REJECTED[method][:, None], 2, 1)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def test_tracks_are_changes_since_the_base():
    (track,) = tracks_of([run()], np.arange(5)[:, None])
    assert track.name == "DPO" and track.style == style_of("dpo")
    np.testing.assert_allclose(track.moves[0], 0)
    np.testing.assert_allclose(track.moves[-1], [[-9 + 0.5, -97], [-9 - 0.5, -97]])
    np.testing.assert_allclose(track.mean[1], [1.0, -6.0])


def test_the_chosen_answer_is_across_and_the_rejected_one_upwards():
    film = PlaneFilm([run("sft"), run("dpo")])
    film.update(len(film) - 1)
    sft, dpo = (np.array(line.get_data()).T for line in film.plane.lines)
    np.testing.assert_allclose(dpo, np.stack([CHOSEN["dpo"] + 2, REJECTED["dpo"] + 3], -1))
    assert dpo[1, 0] > 0 > dpo[-1, 0]  # it bends back to the left
    assert (np.diff(sft[:, 0]) > 0).all()
    assert "chosen" in film.plane.ax.get_xlabel() and "rejected" in film.plane.ax.get_ylabel()
    assert all("nats" in label for label in (film.plane.ax.get_xlabel(), film.plane.ax.get_ylabel()))
    assert len(film.plane.seeds.get_segments()) == 4  # a pale line a seed and method
    for line, head, method in zip(film.plane.lines, film.plane.heads, ("sft", "dpo"), strict=True):
        assert line.get_color() == head.get_color() == style_of(method).colour(film.theme)
        assert head.get_marker() == style_of(method).marker


def test_every_point_is_inside():
    film = PlaneFilm([run("sft"), run("dpo")])
    left, right = film.plane.ax.get_xlim()
    bottom, top = film.plane.ax.get_ylim()
    for track in film.tracks:
        assert (track.moves[..., 0] > left).all() and (track.moves[..., 0] < right).all()
        assert (track.moves[..., 1] > bottom).all() and (track.moves[..., 1] < top).all()
    assert left < 0 < right and bottom < 0 < top


def test_lines_of_equal_margin_are_of_equal_margin():
    """c - r is what DPO's loss depends on; the number at the right is that of its line."""
    plane = PlaneFilm([run("sft"), run("dpo")]).plane
    dotted = [line for line in plane.ax.lines if line.get_linewidth() == 0.7]
    margins = [np.unique((line.get_xdata() - line.get_ydata()).round(6)) for line in dotted]
    assert all(len(values) == 1 and values[0] in MARGINS for values in margins) and len(margins) >= 4
    right = plane.ax.get_xlim()[1]
    for text in plane.ax.texts:
        if text.get_text().replace(".", "").isdigit():
            margin = float(text.get_text())
            pixel = plane.ax.transData.transform((right, right - margin))[1]
            at = plane.ax.transAxes.transform((1, text.get_position()[1]))[1]
            assert pixel == pytest.approx(at, abs=0.01)


def test_all_are_drawn_at_the_same_update():
    """DPO has snapshots of its own: at update 4 of SFT its latest is that of update 2."""
    film = PlaneFilm([run("sft"), run("dpo", steps=np.array([0, 2, 8, 20, 30]))])
    index = film.steps.tolist().index(4)
    np.testing.assert_allclose(film.tracks[0].moves[index, 0, 0], CHOSEN["sft"][2] + 2 + 0.5)
    np.testing.assert_allclose(film.tracks[1].moves[index, 0, 0], CHOSEN["dpo"][1] + 2 + 0.5)


def test_numbers_and_words_are_those_of_the_tracks():
    film = PlaneFilm([run("sft"), run("dpo")])
    film.update(len(film) - 1)
    assert [number.artist.get_label() for number in film.numbers[1]] == ["−9.0", "−97.0"]
    assert film.displaced == ["DPO in 2 of 2"]
    assert "DPO in 2 of 2" in film.alt and f"At update {STEPS[-1]}" in film.alt and "SFT +1.90 and -9.00" in film.alt
    assert PlaneFilm([run("sft")]).displaced == [] and "in no seed" in PlaneFilm([run("sft")]).alt


@pytest.mark.parametrize("broken", ["missing", "nan"])
def test_a_run_without_a_pair_is_refused_in_one_line(broken):
    made = run("sft")
    if broken == "missing":
        del made.metrics["rejected_logp"]
    else:
        made.metrics["rejected_logp"][2] = np.nan
    assert not has_pair(made) and has_pair(run())
    with pytest.raises(ValueError, match=r"^the preference plane cannot show sft: .*; allowed: runs that are given prefer"):
        PlaneFilm([run("dpo"), made])


def test_it_draws_on_an_axes_of_the_readers():
    figure = Figure((5, 4))
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    assert draw_plane(ax, [run("dpo")], THEMES["light"], update=5) is ax
    line = next(line for line in ax.lines if line.get_linewidth() == 2.2)
    assert len(line.get_xdata()) == 3  # updates 0, 1 and 4
    assert len(next(line for line in draw_plane(figure.add_subplot(), [run("dpo")], THEMES["dark"]).lines
                    if line.get_linewidth() == 2.2).get_xdata()) == 5  # fmt: skip


def test_names_keep_apart_and_within():
    """Ten that end at one place, at the bottom, at the top."""
    for height in (0.0, 0.5, 1.0):
        placed = apart([height] * 10, 0.05)
        assert all(one - other >= 0.05 - 1e-9 for one, other in pairwise(placed))
        assert max(placed) <= 1 and min(placed) >= 0
    assert apart([0.9, 0.5], 0.05) == [0.9, 0.5]


def test_a_run_that_does_not_move_is_drawn():
    made = run("sft")
    for name in ("chosen_logp", "rejected_logp"):
        made.metrics[name][:] = -2.0
    film = PlaneFilm([made])
    film.frame(len(film) - 1)
    assert isinstance(film.plane, Plane)


@pytest.mark.parametrize("theme", THEMES)
def test_its_size_is_that_of_a_slide_and_settings_do_not_matter(theme):
    usual = PlaneFilm([run("sft"), run("dpo")], theme).frame(3)
    with rc_context(HOSTILE):
        assert PlaneFilm([run("sft"), run("dpo")], theme).frame(3).tobytes() == usual.tobytes()
    assert usual.size[0] * 9 == usual.size[1] * 16
