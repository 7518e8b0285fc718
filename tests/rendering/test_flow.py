"""Flow along edges, checked against what flows into and out of each tile, and walks on common random numbers."""

import numpy as np
import pytest
from test_rendering import lake_record

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.flow import EdgeFlow, FlowFilm, WalksFilm, sample_walks, steps_taken
from ift_gridworld.rendering.maps import walkable


@pytest.mark.parametrize("slippery", [False, True])
def test_what_flows_into_a_tile_are_its_visits(slippery):
    """Σ f(s', s) over neighbours, the start, and steps that stay: together the expected visits of s."""
    mdp = TabularMDP.from_map(LAKES["8x8"], is_slippery=slippery)
    policy = np.random.default_rng(0).dirichlet(np.ones(4), mdp.num_states)
    edges = EdgeFlow(mdp)
    flow, steps = edges.of(mdp, policy), steps_taken(mdp, policy)
    arrived = np.zeros(mdp.num_states)
    heads = (edges.tail + edges.move - 0.5).astype(int)
    np.add.at(arrived, heads[:, 1] * 8 + heads[:, 0], flow)
    staying = (mdp.next_state == np.arange(64)[:, None, None]) * mdp.probability
    arrived += steps * (policy * staying.sum(-1)).sum(-1) + mdp.start
    np.testing.assert_allclose(arrived, expected_visits(mdp, policy), atol=1e-9)


def test_an_edge_is_traversed_as_often_as_in_sampled_episodes():
    mdp = TabularMDP.from_map(LAKES["4x4"])
    policy = np.random.default_rng(1).dirichlet(np.ones(4), mdp.num_states)
    walks = sample_walks(mdp, policy, 20_000, seed=2)
    edges = EdgeFlow(mdp)
    flow = edges.of(mdp, policy)
    tails = (edges.tail - 0.5).astype(int)
    for edge in np.argsort(-flow)[:5]:
        source = tails[edge, 1] * 4 + tails[edge, 0]
        target = source + int(edges.move[edge] @ [1, 4])
        count = ((walks[:, :-1] == source) & (walks[:, 1:] == target)).sum(1)
        assert flow[edge] == pytest.approx(count.mean(), abs=4 * count.std() / np.sqrt(len(walks)))


def test_the_same_policy_gives_the_same_walks_and_a_like_one_like_walks():
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
    policy = np.random.default_rng(3).dirichlet(np.ones(4), mdp.num_states)
    walks = sample_walks(mdp, policy, 50)
    np.testing.assert_array_equal(walks, sample_walks(mdp, policy.copy(), 50))
    near = sample_walks(mdp, 0.999 * policy + 0.00025, 50)
    assert (near == walks).all(1).mean() > 0.8 > (sample_walks(mdp, policy, 50, seed=1) == walks).all(1).mean()


@pytest.mark.parametrize("kind", [FlowFilm, WalksFilm])
def test_the_film_shows_visits_less_the_optimal_ones(kind, tmp_path):
    film = kind([lake_record(method="sft"), lake_record(method="dpo", snapshots=3)], "dark")
    film.update(len(film) - 1)
    for column, run in zip(film.columns, film.runs, strict=True):
        excess = (run.visits[-1] - film.best_visits)[walkable(film.mdp)]
        np.testing.assert_allclose(column.tiles.artist.get_facecolor(), film.theme.changes(film.excess.norm(excess)), atol=0.01)
        assert np.abs(excess).max() <= film.excess.end
    assert film.save(tmp_path / "flow.png", size="slide").stat().st_size > 10_000
    assert "steps; with the optimal policy 6" in (tmp_path / "flow.png.txt").read_text(encoding="utf-8")


def test_a_wider_arrow_is_a_larger_flow():
    film = FlowFilm([lake_record()])
    film.update(0)
    flow = film.flows[0][0]
    outlines = np.asarray(film.columns[0].arrows.get_path().vertices).reshape(-1, 8, 2)
    drawn = flow[flow >= 0.01]
    width = np.linalg.norm(outlines[:, 0] - outlines[:, 6], axis=-1)
    np.testing.assert_allclose(width, np.maximum(0.3 * drawn / film.end, 0.02))
