"""The side-by-side film: what changed, the sentence above, and an arrangement that leaves little blank."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_rendering import lake_record

from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering import THEMES
from ift_gridworld.rendering.arrange import MARGIN, arrange
from ift_gridworld.rendering.change import PolicyChange, total_variation
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.maps import draw_lake, walkable
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.outcomes import Outcomes

MOVES = {"left": (-1, 0), "down": (0, 1), "right": (1, 0), "up": (0, -1)}  # x, y


def changed(before, after, rows=("SF", "FG"), inches=3.0):
    mdp = TabularMDP.from_map(rows)
    ax = draw_lake(Figure((inches, inches)).add_axes((0, 0, 1, 1)), mdp.grid, THEMES["light"])
    change = PolicyChange(ax, mdp.grid, mdp.moves, walkable(mdp), THEMES["light"])
    policies = [np.tile(np.array(p, float), (mdp.num_states, 1)) for p in (before, after)]
    change.update(policies[1] - policies[0])
    return change


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_the_arrow_points_from_where_probability_came_to_where_it_went(before, after):
    change = changed(np.eye(4)[before], np.eye(4)[after])
    outline = np.asarray(change.arrows.get_path().vertices)
    colour = change.tiles.artist.get_facecolor()[0]
    cmap = THEMES["light"].movements
    if before == after:
        assert len(outline) == 1
        np.testing.assert_allclose(colour, cmap(0.0))
        return
    np.testing.assert_allclose(colour, cmap(1.0))
    assert len(outline) == 3 * 8  # three tiles are walkable, an arrow has seven corners
    first = outline[:8]
    tip, tail = first[3], (first[0] + first[6]) / 2
    names = list(MOVES)
    wanted = np.subtract(MOVES[names[after]], MOVES[names[before]])
    np.testing.assert_allclose((tip - tail) / np.linalg.norm(tip - tail), wanted / np.linalg.norm(wanted), atol=1e-9)
    assert first.min() > 0 and first.max() < 1  # within its tile


def test_a_change_that_cancels_is_a_colour_without_an_arrow():
    """From left and right to up and down: everything has moved, the mean move is the same."""
    change = changed([0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5])
    assert len(change.arrows.get_path().vertices) == 1
    np.testing.assert_allclose(change.tiles.artist.get_facecolor()[0], THEMES["light"].movements(1.0))


def test_total_variation_is_the_largest_difference_of_an_event():
    random = np.random.default_rng(0)
    one, two = random.dirichlet(np.ones(4), (2, 5))
    events = np.array([[bool(k & 1 << a) for a in range(4)] for k in range(16)])
    largest = np.abs((one - two) @ events.T).max(-1)
    np.testing.assert_allclose(total_variation(one - two), largest)


def arranged(count, grid=(8, 8), box=(9.6, 9.9), **changes):
    sizes = {"head": 1.4, "title": 0.8, "caption": 0.22, "keys": 1.0, "charts": 4, "chart_height": 0.215 * count + 0.62}
    return arrange(count, grid, box, **{**sizes, **changes})


@pytest.mark.parametrize("grid", [(4, 4), (12, 4), (3, 9), (29, 23)])
@pytest.mark.parametrize("count", range(1, 13))
def test_every_number_of_methods_fits_and_leaves_little_blank(count, grid):
    box = (9.6, 9.9) if count <= 6 else (12.4, 12.6)
    places = arranged(count, grid, box)
    assert places.per_row * places.rows >= count and places.per_row * (places.rows - 1) < count
    across = 2 * places.map_width + 0.16 if places.beside else places.map_width
    assert across <= places.column + 1e-9
    assert places.width == box[0] and places.height <= box[1] + 1e-9
    if grid == (4, 4):
        inner = places.width - 2 * MARGIN - (4.05 if places.charts_right else 0)
        in_rows = min(count, places.per_row) * across / inner
        assert in_rows > 0.6, (count, places)
        assert count not in (2, 5, 6, 10) or in_rows > 0.8, (count, places)


def test_a_fixed_page_keeps_its_height():
    assert arranged(3, box=(12.8, 7.2), fixed=True).height == 7.2 > arranged(2).height - 5


def with_paths(method, title, chosen, rejected, steps=3, **changes):
    """A run on a lake without slip whose two paths have these probabilities at each snapshot, in both seeds."""
    made = lake_record(("SF", "FG"), method=method, title=title, snapshots=steps, **changes)
    policies = np.full((steps, 4, 4), 0.25)
    down, right = 1, 2
    for t, (p, q) in enumerate(zip(chosen, rejected, strict=True)):
        policies[t, 0] = [0, q, p, 1 - p - q]
        policies[t, 1], policies[t, 2] = np.eye(4)[down], np.eye(4)[right]
    logs = {"chosen_logp": np.log([[p, p] for p in chosen]), "rejected_logp": np.log([[q, q] for q in rejected])}
    paths = {"demonstration": np.array([[0, right], [1, down]]), "rejected": np.array([[0, down], [2, right]])}
    made = replace(made, snapshots=policies, **paths)
    made.metrics.update(logs)
    return made


def test_the_sentence_is_computed_from_the_runs():
    runs = [
        with_paths("sft", "SFT · fine-tuning", (0.2, 0.9, 0.995), (0.1, 1e-3, 1e-6)),
        with_paths("ppo", "RLHF · PPO", (0.2, 0.9, 0.998), (0.1, 1e-3, 1e-6)),
        with_paths("dpo", "DPO · preferences", (0.2, 0.6, 0.25), (0.1, 1e-9, 1e-41)),
    ]
    words = Outcomes(runs).sentences
    assert words == (
        "After 4 updates, SFT and PPO take the demonstrated path in over 99 % of episodes, DPO in 25 % (60 % at update 1). "
        "The probability of the rejected path falls from 10 % to 10⁻⁶ (SFT, PPO) and 10⁻⁴¹ (DPO)."
    )
    assert Outcomes(runs[:1]).sentences.startswith("After 4 updates, SFT takes the demonstrated path in over 99 % of episodes.")
    assert words in ComparisonFilm(runs).alt


def test_a_mean_over_several_paths_is_no_share_of_episodes():
    run = with_paths("sft", "SFT", (0.2, 0.5, 0.9), (0.1, 0.1, 0.1))
    assert Outcomes([run]).tells_paths
    run.metrics["chosen_logp"] -= 1.0  # of other paths, too
    assert not Outcomes([run]).tells_paths
    end = run.of_drawn("success")[-1]
    assert f"SFT reaches the goal in {100 * end:.0f} % of episodes" in Outcomes([run]).sentences


def test_where_moves_slip_the_sentence_is_of_success():
    run = lake_record(slippery=True, rejected=np.array([[0, 1], [4, 2]]))
    run.metrics.update({name: np.full((5, 2), -2.0) for name in ("chosen_logp", "rejected_logp")})
    assert not Outcomes([run]).tells_paths and "reaches the goal" in Outcomes([run]).sentences


def test_other_lengths_of_training_are_named():
    runs = [
        lake_record(method=name, title=name.upper(), steps=np.arange(5) * n) for name, n in (("sft", 2), ("ift", 2), ("ppo", 5))
    ]
    outcomes = Outcomes(runs)
    assert outcomes.lead == "After training," and outcomes.lengths == ["PPO 20 updates, others 8"]
    assert Outcomes(runs[:2]).lengths == [] and Outcomes(runs[:2]).lead == "After 8 updates,"


@pytest.mark.parametrize("theme", THEMES)
def test_bars_and_maps_follow_the_snapshots(theme):
    runs = [with_paths(name, name, (0.2, 0.6, p), (0.1, 0.01, 1e-5)) for name, p in (("sft", 0.9), ("dpo", 0.3))]
    film = ComparisonFilm(runs, theme)
    for index in (0, 2, 1):
        film.update(index)
        expected = [np.exp(run.metrics[name][index, 0]) for run in runs for name in ("chosen_logp", "rejected_logp")]
        np.testing.assert_allclose(film.bars.lengths, expected)
        for column, run in zip(film.columns, runs, strict=True):
            shade = film.theme.movements(total_variation(run.snapshots[index] - run.snapshots[0])[0])
            np.testing.assert_allclose(column.changes.tiles.artist.get_facecolor()[0], shade, atol=0.01)


def test_a_method_that_comes_twice_has_two_styles():
    film = ComparisonFilm([lake_record(random_map((5, 5), seed=1))] * 3)
    assert len(set(film.styles)) == 3
    assert film.styles[0] == style_of("ift")


def test_signs_at_the_edge_of_a_map_are_not_clipped():
    from ift_gridworld.rendering.maps import draw_landmarks

    grid = TabularMDP.from_map(random_map((30, 30), seed=1)).grid
    ax = draw_lake(Figure((3, 3)).add_axes((0, 0, 1, 1)), grid, THEMES["light"])
    frames = [sign for sign in draw_landmarks(ax, grid, THEMES["light"]) if sign.get_linewidth() > 0]
    assert len(frames) == 2 and not any(frame.get_clip_on() for frame in frames)
    assert LAKES  # the larger lakes have no signs
