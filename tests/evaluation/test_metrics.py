"""Measures worked out by hand on a chain of two tiles, and against dense matrices on lakes."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from ift_gridworld.data import Batch
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.envs.registry import make_env
from ift_gridworld.evaluation.metrics import (
    MEASURES,
    ON_REQUEST,
    even_change,
    log_likelihood,
    mean_interval,
    measure,
    metric_interval,
    reference_points,
    tiles_of,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import occupancy, optimal_policy, state_matrix

SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)


def corridor(horizon=None):
    """Tiles 0 and 1, goal 2. Action 0 walks on (0 -> 1 -> 2, where it is paid 1), action 1 walks back (0 -> 0, 1 -> 0).
    Discount 1/2, so that V(1) = 1, V(0) = 1/2, and action 0 is best on both."""
    next_state = np.array([[[1], [0]], [[2], [0]], [[2], [2]]])
    reward = np.zeros((3, 2, 1))
    reward[1, 0] = 1.0
    return TabularMDP(next_state, np.ones((3, 2, 1)), reward, next_state == 2, np.array([1.0, 0, 0]), 0.5, horizon)


POLICY = np.array([[0.8, 0.2], [0.5, 0.5], [0.3, 0.7]])
BASE = np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])


def enumerate_episodes(horizon):
    """Every episode of at most `horizon` steps in the corridor under POLICY: (probability, tiles seen, steps [(s, a)])."""
    successor = {(0, 0): 1, (0, 1): 0, (1, 0): 2, (1, 1): 0}
    episodes = {}
    for actions in product(range(2), repeat=horizon):
        state, probability, steps = 0, 1.0, ()
        for action in actions:
            if state == 2:
                break
            probability *= POLICY[state, action]
            steps += ((state, action),)
            state = successor[state, action]
        episodes[steps] = (probability, [s for s, _ in steps] + [state], steps)
    return list(episodes.values())


def test_return_and_regret_by_hand():
    """V1 = 1/2 (1) + 1/2 (V0 / 2), V0 = 0.8 (V1 / 2) + 0.2 (V0 / 2): V0 = 0.4 V1 / 0.9, V1 = 1/2 + V0 / 4 gives
    V0 (0.9 - 0.1) = 0.2, so V0 = 1/4; the optimum is 1/2."""
    result = measure(corridor(10), POLICY)
    assert result["return"] == pytest.approx(0.25, rel=1e-12)
    assert result["regret"] == pytest.approx(0.25, rel=1e-12)


def test_distances_by_hand():
    """Rows differ from (1, 0) by 0.2 and by 0.5, on two actions each; next tiles likewise, spread over three tiles."""
    result = measure(corridor(10), POLICY)
    assert result["distance"] == pytest.approx((0.2**2 + 0.5**2) / 2)
    assert result["distance_next"] == pytest.approx((2 * 0.2**2 + 2 * 0.5**2) / 3 / 2)


@pytest.mark.parametrize("tile", [0, 1])
def test_distance_over_the_tiles_that_were_shown(tile):
    """Each member may have demonstrations of its own; the terminal tile never counts."""
    apart = [0.2**2, 0.5**2]
    shown = np.eye(3)[tile] + np.eye(3)[2]
    result = measure(corridor(10), POLICY, shown=shown)
    assert result["distance_shown"] == pytest.approx(apart[tile])
    assert result["distance_next_shown"] == pytest.approx(2 * apart[tile] / 3)
    both = measure(corridor(10), np.stack([POLICY, POLICY]), shown=np.eye(3)[:2])
    assert both["distance_shown"] == pytest.approx(apart)


def test_the_optimal_policys_visits_weigh():
    result = measure(corridor(10), POLICY)
    visits = occupancy(corridor(10), optimal_policy(corridor(10)), discount=1.0, horizon=10)[:2]
    assert result["distance_optimal"] == pytest.approx(visits @ [0.2**2, 0.5**2] / visits.sum())


def test_the_tiles_of_trajectories():
    """What does not count is not stood on, nor is the tile where a trajectory ends."""
    batch = Batch(
        torch.tensor([[[0, 1, 2], [0, 0, 0]], [[1, 1, 1], [2, 0, 0]]]),
        torch.zeros(2, 2, 3).long(),
        torch.tensor([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]]).bool(),
    )
    assert tiles_of(corridor(3), batch).tolist() == [[1, 1, 0], [0, 1, 0]]
    assert tiles_of(corridor(3), Batch(*(getattr(batch, n)[0] for n in ("states", "actions", "mask")))).tolist() == [1, 1, 0]


@pytest.mark.parametrize("horizon", [1, 2, 3, 6])
def test_what_is_expected_over_an_episode_by_enumeration(horizon):
    """Success, visits, and the KL paid at every step TAKEN: the tile on which the clock runs out is seen, not acted on."""
    mdp, episodes = corridor(horizon), enumerate_episodes(horizon)
    assert sum(p for p, _, _ in episodes) == pytest.approx(1)
    result = measure(mdp, POLICY, base=BASE)
    assert result["success"] == pytest.approx(sum(p for p, tiles, _ in episodes if tiles[-1] == 2))
    kl = (POLICY * np.log(POLICY / BASE)).sum(-1)
    assert result["kl"] == pytest.approx(sum(p * sum(kl[s] for s, _ in steps) for p, _, steps in episodes))
    visits = [sum(p * tiles.count(s) for p, tiles, _ in episodes) for s in (0, 1)]
    apart = np.array([0.2**2, 0.5**2])
    assert result["distance_visited"] == pytest.approx(visits @ apart / sum(visits))
    assert result["distance_next_visited"] == pytest.approx(visits @ (2 * apart / 3) / sum(visits))
    assert result["tiles"] == sum(v >= 0.1 for v in visits)


@pytest.mark.parametrize(("chance", "tiles"), [(0.08, 1), (0.12, 2)])
def test_a_tile_counts_if_ten_episodes_visit_it_once(chance, tiles):
    """In one step tile 1 is entered with this chance."""
    assert measure(corridor(1), np.array([[chance, 1 - chance], [1, 0], [1, 0]]))["tiles"] == tiles


def test_log_likelihood_by_hand():
    """Two trajectories of different length; what does not count may be impossible."""
    certain = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    batch = Batch(
        torch.tensor([[0, 1, 1], [0, 0, 2]]), torch.tensor([[0, 1, 0], [0, 1, 1]]), torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    )
    assert log_likelihood(certain, batch) == pytest.approx((2 * np.log(0.5) + 0) / 2)
    both = log_likelihood(np.stack([certain, POLICY]), batch)
    assert both[1] == pytest.approx((np.log(0.8) + 2 * np.log(0.5) + np.log(0.8)) / 2)
    impossible = Batch(batch.states[:1], torch.tensor([[1, 1, 0]]), batch.mask[:1])
    assert log_likelihood(certain, impossible) == pytest.approx(np.log(np.finfo(float).tiny) + 2 * np.log(0.5))  # finite
    result = measure(corridor(10), POLICY, chosen=batch, rejected=impossible)
    assert result["chosen_logp"] == both[1] and result["rejected_logp"] == log_likelihood(POLICY, impossible)


def test_what_is_not_given_is_not_measured():
    extra = {*ON_REQUEST, "kl", "distance_shown", "distance_next_shown", "chosen_logp", "rejected_logp"}
    assert list(measure(corridor(3), POLICY)) == [name for name in MEASURES if name not in extra]


@pytest.mark.parametrize(
    "mdp",
    [
        SLIPPERY,
        TabularMDP.from_map(random_map((3, 6), seed=2, frozen=0.7), is_slippery=True, success_rate=0.6),
        TabularMDP.from_map(LAKES["two-paths"]),
        replace(TabularMDP.from_env(make_env("CliffWalking-v1", is_slippery=True), 0.9), horizon=30),
    ],
    ids=["4x4", "random", "two paths", "cliff"],
)
def test_distance_of_next_tiles_equals_the_dense_computation(mdp):
    policy = np.random.default_rng(0).dirichlet(np.ones(mdp.num_actions), (2, 3, mdp.num_states))
    gap = state_matrix(mdp, policy) - state_matrix(mdp, optimal_policy(mdp))
    expected = (gap**2).mean(-1)[..., ~mdp.terminal].mean(-1)
    result = measure(mdp, policy)
    np.testing.assert_allclose(result["distance_next"], expected, rtol=1e-11)
    assert all(value.shape == (2, 3) for value in result.values())
    for i in np.ndindex(2, 3):  # leading dimensions are policies side by side
        for name, alone in measure(mdp, policy[i]).items():
            assert alone == pytest.approx(result[name][i], rel=1e-11, abs=1e-14), name


def test_the_optimum_is_at_no_distance_and_nobody_is_better():
    best = optimal_policy(SLIPPERY)
    result = measure(SLIPPERY, best, base=best)
    for name in ("regret", "distance", "distance_visited", "distance_next", "distance_next_visited", "kl"):
        assert result[name] == pytest.approx(0, abs=1e-11), name  # value iteration stops at 1e-13 / (1 - gamma)
    points = reference_points(SLIPPERY)
    assert points["return"] == pytest.approx(result["return"], rel=1e-10)
    assert points["success"] == pytest.approx(result["success"], rel=1e-12)
    assert points["success_best_within_horizon"] >= points["success"]

    others = np.random.default_rng(1).dirichlet(np.full(4, 0.3), (200, 16))
    near = (1 - 1e-4) * best + 1e-4 * others
    assert (measure(SLIPPERY, others)["regret"] > 0).all()
    assert (measure(SLIPPERY, near)["regret"] >= -1e-11).all()
    assert (measure(SLIPPERY, others)["success"] <= points["success_best_within_horizon"]).all()


# ---- intervals ----


def test_one_seed_has_no_spread():
    values = np.array([[0.3], [0.7]])
    for bound in mean_interval(values):
        assert np.array_equal(bound, values[:, 0])


def test_an_interval_is_students_and_ends_where_the_metric_does():
    """Two seeds, 0.9 and 1: t of one degree of freedom is tan(0.95 π / 2); its half width is that times 0.05."""
    half = np.tan(0.95 * np.pi / 2) * 0.05
    mean, low, high = metric_interval("regret", np.array([[0.9, 1.0], [5.9, 6.0]]))
    np.testing.assert_allclose([mean, low, high], [[0.95, 5.95], [0.95 - half, 5.95 - half], [0.95 + half, 5.95 + half]])
    values = np.array([0.9, 1.0])
    for name, ends in (
        ("success", (0.95 - half, 1)),
        ("distance_shown", (0.95 - half, 1)),
        ("return", (0.95 - half, 0.95 + half)),
    ):
        assert metric_interval(name, values)[1:] == pytest.approx(ends), name
    assert metric_interval("success", 1 - values)[1] == 0 == metric_interval("kl", 1 - values)[1]
    assert metric_interval("chosen_logp", values - 1.01)[2] == 0


def test_between_kept_snapshots_about_equally_much_changes():
    """A policy whose probability of one action climbs as a smooth step: snapshots crowd where it is steep. Three quarters of
    the way is the change: of 40 no neighbours differ by more than (1/39) / 0.75, and one step, 1/80 where it is steepest."""
    steps = np.arange(0, 801)
    climb = 1 / (1 + np.exp(-(steps - 400) / 20))
    policies = np.stack([climb, 1 - climb], -1)[:, None, None]
    kept = even_change(steps, policies, 40)
    assert kept[0] == 0 and kept[-1] == 800 and 30 <= len(kept) <= 40
    moved = np.diff(climb[kept])
    assert moved.max() <= 1 / 39 / 0.75 + 1 / 80 and np.diff(steps[kept]).max() > 60  # few where nothing happens
    still = np.full((801, 1, 1, 2), 0.5)
    assert np.allclose(np.sqrt(np.array(even_change(steps, still, 9)) / 800), np.linspace(0, 1, 9), atol=0.03)
    assert even_change(steps[:5], still[:5], 9) == [0, 1, 2, 3, 4]
    at_once = np.where((steps < 5)[:, None, None, None], [0.9, 0.1], [0.1, 0.9])  # a quarter of the way is time, all the same
    assert len(even_change(steps, at_once, 40)) >= 8 and np.diff(even_change(steps, at_once, 40)).max() < 400
