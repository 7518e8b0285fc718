"""The film of an update draws the numbers of the update, each in the colour and with the sign that its axis says."""

from functools import cache

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from ift_gridworld.data import demonstrations, preference_pairs
from ift_gridworld.envs.maps import LAKES, open_lake
from ift_gridworld.explain import EXPLAINED, explain
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.explain_film import BELOW, BESIDE, ExplainFilm
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.training.base_policies import make_base

TWO_PATHS = TabularMDP.from_map(LAKES["two-paths"])
METHOD = pytest.mark.parametrize("method", EXPLAINED)


@cache
def made(method, name="two-paths", policy="tabular"):
    mdp = TabularMDP.make(name)
    base = make_base("mixture", mdp, policy=policy)
    return explain(method, mdp, base, demonstrations(mdp, 1), preference_pairs(mdp, 1)), mdp


def film(method, name="two-paths", theme="light"):
    return ExplainFilm(*made(method, name), f"{name} · a test", theme)


def last_frame(drawn, kind):
    """The index of the last frame of the scene of that kind."""
    number = next(i for i, step in enumerate(drawn.explanation.steps) if step.kind == kind)
    return max(i for scene, i in drawn.stills if scene == number)


def bars(patch):
    """(x, low, high) of each bar of a layer, from its closed paths of five corners."""
    corners = patch.get_path().vertices.reshape(-1, 5, 2) if len(patch.get_path().vertices) > 1 else np.zeros((0, 5, 2))
    return [(round(float(c[:2, 0].mean())), float(c[0, 1]), float(c[2, 1])) for c in corners]


@pytest.mark.parametrize("method", ["dpo", "orpo"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_of_a_pair_are_minus_log_probabilities_in_the_colours_of_the_paths(method, theme):
    """The axis says minus log-probability: heights and labels are its positive values, the chosen answer's bar has the colour
    of its path, so has the rejected one's."""
    drawn = film(method, theme=theme)
    drawn.update(last_frame(drawn, "pair"))
    values = next(step for step in drawn.explanation.steps if step.kind == "pair").data["values"]
    assert max(values) < 0
    chart = drawn.stage.chart
    assert chart.title.get_text().startswith("minus log-probability of") and chart.title.get_text().endswith("nats")
    for x, (bar, colour) in enumerate(zip(chart.bars, (drawn.theme.shown, drawn.theme.rejected), strict=False)):
        ((where, low, high),) = bars(bar)
        assert (where, low) == (x, 0.0) and high == pytest.approx(-values[x])
        assert to_hex(bar.get_facecolor()) == colour
    assert [label.get_text() for label in chart.labels[:2]] == [f"{-value:.2f}" for value in values]
    assert [text.get_text() for text in chart.ax.get_xticklabels()] == ["chosen", "rejected"]
    paths = [to_hex(path.get_colors()[0]) for path in drawn.stage.paths[:2]]
    assert paths == [drawn.theme.shown, drawn.theme.rejected]


def test_the_outline_of_dpo_is_the_base():
    drawn = film("dpo")
    drawn.update(last_frame(drawn, "pair"))
    reference = next(step for step in drawn.explanation.steps if step.kind == "pair").data["reference"]
    assert [high for _, _, high in bars(drawn.stage.chart.bars[2])] == pytest.approx([-value for value in reference])


def test_shares_of_mixed_states_add_up_to_one():
    drawn = film("ift")
    drawn.update(last_frame(drawn, "mix"))
    own, predicted = (bars(bar) for bar in drawn.stage.chart.bars[:2])
    right = drawn.explanation.steps[2].data["right"]
    mixing = drawn.explanation.steps[2].data["mixing"]
    assert [high for _, _, high in own] == pytest.approx([1.0, *(1.0 if r else 1 - mixing for r in right)])
    assert [(low, high) for _, low, high in predicted] == [(pytest.approx(1 - mixing), 1.0)] * right.count(False)


def test_the_scale_of_change_is_said():
    drawn = film("sft")
    drawn.update(len(drawn) - 1)
    largest = np.abs(drawn.explanation.after - drawn.explanation.before).max()
    assert f"full arrow: {largest:.2g}" in drawn.key.words[0].get_text()


def test_bars_of_many_steps_are_numbered_and_of_few_named():
    """Bars of 26 moves have no room for an arrow and a number each; those of 6 have."""
    for side, names in ((14, ["1", "5", "10", "15", "20", "25"]), (4, ["↓"] * 3 + ["→"] * 3)):
        mdp = TabularMDP.from_map(open_lake(side))
        base = make_base("mixture", mdp, policy="tabular")
        drawn = ExplainFilm(explain("sft", mdp, base, demonstrations(mdp, 1), preference_pairs(mdp, 1)), mdp, "")
        drawn.update(last_frame(drawn, "bars"))
        shown = [text.get_text() for text in drawn.stage.chart.ax.get_xticklabels()]
        assert sorted(shown) == sorted(names) if side == 4 else shown == names
        assert len([text for text in drawn.stage.chart.labels if text.get_text()]) == (6 if side == 4 else 0)


def test_actions_that_are_no_moves_are_named_and_moves_are_arrows_whatever_their_names():
    drawn = film("sft", "Taxi-v4")
    assert drawn.stage.action_names() == ["↓", "↑", "→", "←", "pi", "dr"]


def test_a_path_ends_beside_the_goal():
    drawn = film("sft")
    drawn.update(last_frame(drawn, "walk"))
    (segment,) = drawn.stage.paths[0].get_segments()
    goal = drawn.stage.grid.place[drawn.explanation.steps[0].data["paths"][0]["end"], ::-1] + 0.5
    assert 0.3 < np.abs(segment[-1] - goal).max() < 0.5


def test_a_wide_map_has_the_words_below_it():
    assert film("sft", "CliffWalking-v1").layout is BELOW
    assert film("sft").layout is BESIDE


@METHOD
def test_the_start_is_marked_and_the_method_has_its_style(method):
    drawn = film(method)
    mark = next(line for line in drawn.figure.get_children() if isinstance(line, Line2D))
    assert mark.get_marker() == style_of(method).marker and mark.get_color() == style_of(method).colour(drawn.theme)
    assert drawn.stage.starts


@METHOD
def test_every_scene_is_filmed(method):
    """Each scene has its stills, no two frames of them alike."""
    drawn = film(method)
    scenes = [number for number, _ in drawn.stills]
    assert sorted(set(scenes)) == list(range(len(drawn.explanation.steps))) and scenes == sorted(scenes)
    frames = {drawn.frame(i).tobytes() for _, i in drawn.stills}
    assert len(frames) == len(drawn.stills)
    assert drawn.stills[-1][1] == len(drawn) - 1


def test_words_beside_the_picture_hold_every_caption(tmp_path):
    drawn = film("orpo")
    drawn.save(tmp_path / "x.png")
    words = (tmp_path / "x.png.txt").read_text(encoding="utf-8")
    assert all(step.caption in words for step in drawn.explanation.steps)
