"""The reward-KL frontier against closed forms, enumerated walks and random policies, on MDPs small enough to do by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.evaluation import Frontier, frontier, frontier_gap, kl_from_base, measure
from ift_gridworld.evaluation.frontier import step_kl
from ift_gridworld.evaluation.metrics import ON_REQUEST, affordable_metrics
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_values, soft_value_iteration, success_from
from ift_gridworld.planning.soft import soft_policy_iteration

CLIFF = TabularMDP.make("CliffWalking-v1", discount=0.9)
LAKE = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)


def bandit(*rewards, discount=0.0):
    """State 0, an action a reward, each of which ends in state 1."""
    arms = len(rewards)
    paid = np.zeros((2, arms, 1))
    paid[0, :, 0] = rewards
    return TabularMDP(
        np.ones((2, arms, 1), int), np.ones((2, arms, 1)), paid, np.full((2, arms, 1), True), np.eye(2)[0], discount
    )


def both(row):
    """The policy of a bandit: the terminal state has the same row."""
    return np.repeat(np.array([row], float), 2, 0)


def random_mdp(seed, *, states=6, actions=3, discount=0.9):
    """Three outcomes an action, some of which end; rewards of both signs; several starts; the last state is terminal."""
    random = np.random.default_rng(seed)
    shape = (states, actions, 3)
    next_state, ends = random.integers(0, states, shape), random.random(shape) < 0.2
    chance, reward = random.dirichlet(np.ones(3), shape[:2]), random.normal(size=shape)
    next_state[-1], ends[-1], reward[-1] = states - 1, True, 0.0
    ends |= next_state == states - 1
    return TabularMDP(next_state, chance, reward, ends, random.dirichlet(np.ones(states)), discount)


def some_policies(mdp, count, seed=0, sharpness=1.0):
    return np.random.default_rng(seed).dirichlet(np.full(mdp.num_actions, sharpness), (count, mdp.num_states))


def point_of(mdp, policy, base):
    return kl_from_base(mdp, policy, base), evaluate_policy(mdp, policy) @ mdp.start


# ---- the KL ----


def walked_kl(mdp, policy, base, steps):
    """The KL of the steps that an episode takes, time by time: what has ended pays nothing."""
    per_state = [sum(p * np.log(p / b) for p, b in zip(*rows, strict=True) if p) for rows in zip(policy, base, strict=True)]
    now, total = {s: float(p) for s, p in enumerate(mdp.start) if p and not mdp.terminal[s]}, 0.0
    for t in range(steps):
        total += mdp.discount**t * sum(mass * per_state[s] for s, mass in now.items())
        later = {}
        for s, mass in now.items():
            for a, k in np.ndindex(mdp.probability[s].shape):
                if not mdp.terminated[s, a, k]:
                    to = int(mdp.next_state[s, a, k])
                    later[to] = later.get(to, 0.0) + mass * policy[s, a] * mdp.probability[s, a, k]
        now = later
    return total


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.9])
def test_kl_is_that_of_the_steps_taken_discounted(discount):
    mdp = random_mdp(3, discount=discount)
    policies, base = some_policies(mdp, 4), some_policies(mdp, 1, seed=9)[0]
    expected = [walked_kl(mdp, policy, base, 400) for policy in policies]
    np.testing.assert_allclose(kl_from_base(mdp, policies, base), expected, rtol=1e-11)
    together = kl_from_base(mdp, policies.reshape(2, 2, *base.shape), np.stack([base, policies[0]]))
    assert together.shape == (2, 2) and together[0, 0] == pytest.approx(expected[0], rel=1e-12)
    assert together[0, 1] == pytest.approx(walked_kl(mdp, policies[1], policies[0], 400), rel=1e-11)


def test_undiscounted_kl_is_that_of_whole_walks():
    """The sum over both ways to the goal of P(way) log(P(way) / P_base(way)), where every way is of two steps."""
    mdp = TabularMDP.from_map(("SF", "FG"), discount=1.0)
    base, policy = np.full((4, 4), 0.25), np.zeros((4, 4))
    policy[0, [1, 2]] = 0.3, 0.7  # down, right
    policy[[1, 2, 3], [1, 2, 0]] = 1.0
    expected = sum(p * np.log(p / 0.25**2) for p in (0.3, 0.7))
    assert kl_from_base(mdp, policy, base) == pytest.approx(expected, rel=1e-14)


def test_kl_of_a_policy_near_its_base_keeps_its_digits():
    """To second order KL = sum base gain^2 / 2, far below what p log p - p log b can tell."""
    base, gain = np.array([0.2, 0.3, 0.5]), 1e-9 * np.array([1.5, -1.0, 0.0])
    assert step_kl(base * (1 + gain), base) == pytest.approx((base * gain**2).sum() / 2, rel=1e-5, abs=0)
    assert step_kl(np.array([0.0, 1.0]), np.array([1e-300, 1.0])) == pytest.approx(1e-300, abs=0)


def test_what_the_base_never_does_is_infinitely_far_where_it_can_come_about():
    mdp = TabularMDP.from_map(("SFG", "FFH"))
    base, policy = np.full((6, 4), 0.25), np.full((6, 4), 0.25)
    base[4], policy[[0, 1]] = np.eye(4)[0], np.eye(4)[2]  # in 4 the base only goes left; the policy goes right twice
    assert kl_from_base(mdp, policy, base) == pytest.approx((1 + mdp.discount) * np.log(4))
    policy[0] = [0.0, 0.5, 0.5, 0.0]  # down, and then to the right, into 4
    assert kl_from_base(mdp, policy, base) == np.inf


def test_walking_for_ever_is_refused_where_nothing_is_discounted():
    left = np.eye(4)[[0, 0, 0]]
    with pytest.raises(ValueError, match=r"^visits are infinite: with discount 1 this policy can walk for ever"):
        frontier(TabularMDP.from_map(("SFG",), discount=1.0), left)


# ---- closed forms ----


def best_of_two(kl, share):
    """The larger p with p log(p / b) + (1 - p) log((1 - p) / (1 - b)) = kl."""
    return brentq(lambda p: p * np.log(p / share) + (1 - p) * np.log((1 - p) / (1 - share)) - kl, share, 1 - 1e-16, xtol=1e-15)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_two_arms(share):
    """With rewards 1 and 0 the return is p, and KL determines it: the frontier ends at p = 1, KL = log(1 / b)."""
    curve = frontier(bandit(1.0, 0.0), both([share, 1 - share]))
    assert curve.kl[-1] == pytest.approx(-np.log(share), rel=1e-14)
    assert (curve.value[0], curve.value[-1], curve.best) == pytest.approx((share, 1.0, 1.0), rel=1e-14)
    wanted = -np.log(share) * np.array([1e-8, 1e-4, 0.1, 0.5, 0.9, 0.999])
    np.testing.assert_allclose(curve.at(wanted), [best_of_two(kl, share) for kl in wanted], rtol=1e-9)
    price = curve.beta[1:-1]
    expected = share / (share + (1 - share) * np.exp(-1 / price))
    np.testing.assert_allclose(curve.value[1:-1], expected, rtol=1e-12)


def test_a_nearest_best_policy_shares_ties_as_the_base_does():
    """Of three arms two are best: log(1 / (b_0 + b_1)) nats are enough for all of the return, and no more is worth anything."""
    curve = frontier(bandit(1.0, 1.0, 0.0), both([0.1, 0.2, 0.7]))
    assert curve.kl[-1] == pytest.approx(-np.log(0.3), rel=1e-14)
    assert curve.at(-np.log(0.3)) == curve.at(50.0) == 1.0 and curve.at(0.0) == pytest.approx(0.3)


def test_ties_between_ways():
    """The nearest best policy maximises -K by the soft values V(s) = log sum base exp(d V(s')) over the best moves, where the
    second step of either way is worth log base, discounted by d."""
    discount = 0.5
    mdp = TabularMDP.from_map(("SF", "FG"), discount=discount)
    base = some_policies(mdp, 1, seed=4)[0]
    ways = base[0, 1] * base[2, 2] ** discount + base[0, 2] * base[1, 1] ** discount  # down and right, right and down
    curve = frontier(mdp, base)
    assert curve.kl[-1] == pytest.approx(-np.log(ways), rel=1e-12) and curve.value[-1] == pytest.approx(discount)


def test_two_steps_share_the_kl_by_their_discount():
    """Two equal choices in a row, the second discounted by d: each is worth its weight and charged its weight, so both are
    made alike, K = (1 + d) kl(p) and R = (1 + d) p."""
    discount, share = 0.5, 0.25
    next_state = np.array([[1, 1], [2, 2], [2, 2]])[..., None]
    reward = np.array([[1.0, 0], [1, 0], [0, 0]])[..., None]
    mdp = TabularMDP(next_state, np.ones((3, 2, 1)), reward, next_state == 2, np.eye(3)[0], discount)
    curve = frontier(mdp, np.array([[share, 1 - share]] * 3))
    for kl in (0.05, 0.4, 1.1):
        assert curve.at((1 + discount) * kl) == pytest.approx((1 + discount) * best_of_two(kl, share), rel=1e-9)


def test_where_sft_ends_is_a_point_with_a_gap_that_can_be_worked_out():
    """Humans take arms 0 and 1 equally often, of which 0 alone pays. SFT ends at (1/2, 1/2, 0): from a uniform base KL
    log(3/2), return 1/2. At that KL the best policy is (p, (1-p)/2, (1-p)/2) with log 3 - H(p) - (1 - p) log 2 = log(3/2),
    that is H(p) = p log 2, p = 0.7729: the gap is 0.2729."""
    p = brentq(lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p) - p * np.log(2), 0.6, 0.9, xtol=1e-15)
    mdp, base, sft = bandit(1.0, 0.0, 0.0), both([1 / 3] * 3), both([0.5, 0.5, 0.0])
    kl, value = point_of(mdp, sft, base)
    assert (kl, value) == pytest.approx((np.log(1.5), 0.5))
    assert frontier(mdp, base).gap(kl, value) == pytest.approx(p - 0.5, rel=1e-9)
    assert p - 0.5 == pytest.approx(0.2729, abs=5e-5)
    metrics = measure(mdp, sft, base=base, only=["frontier_gap", "kl_discounted"])
    assert list(metrics) == ["kl_discounted", "frontier_gap"]
    assert metrics["kl_discounted"] == pytest.approx(kl) and metrics["frontier_gap"] == pytest.approx(p - 0.5, abs=1e-6)


def test_arms_that_the_base_never_takes():
    """Arm 0 pays most and has no probability: finite KLs reach arm 1 only, an infinite one is compared with all."""
    mdp, base = bandit(2.0, 1.0, 0.0), both([0.0, 0.5, 0.5])
    curve = frontier(mdp, base)
    assert (curve.kl[-1], curve.value[-1], curve.best) == pytest.approx((np.log(2), 1.0, 2.0))
    assert curve.at(1e9) == 1.0 and curve.at(np.inf) == 2.0
    kl, value = point_of(mdp, both([0.5, 0.5, 0.0]), base)
    assert kl == np.inf and curve.gap(kl, value) == pytest.approx(0.5)
    assert np.isnan(curve.at(np.array([np.nan, 0.1]))).tolist() == [True, False]


def test_a_base_that_is_best_has_a_frontier_of_one_point():
    curve = frontier(bandit(1.0, 1.0), both([0.5, 0.5]))
    assert len(curve.kl) == 1 and curve.error == 0 and curve.at(np.array([0.0, 3.0])).tolist() == [1.0, 1.0]
    assert "0 nats, 1 points" in repr(curve)


# ---- any MDP ----


CASES = {
    "slippery lake": LAKE,
    "lake": TabularMDP.from_map(LAKES["two-paths"]),
    "undiscounted lake": TabularMDP.from_map(LAKES["two-paths"], discount=1.0),
    "cliff": CLIFF,
    **{f"random {seed}": random_mdp(seed, discount=discount) for seed, discount in enumerate((0.0, 0.5, 0.9, 0.99))},
}


@pytest.mark.parametrize("name", CASES)
def test_soft_optima_lie_on_it_and_nothing_above(name):
    mdp = CASES[name]
    base = some_policies(mdp, 1, seed=1, sharpness=3.0)[0]
    curve = frontier(mdp, base)
    assert isinstance(curve, Frontier) and curve.beta[0] == np.inf and curve.beta[-1] == 0
    to_gain = curve.value[-1] - curve.value[0]
    assert curve.value[0] == pytest.approx(evaluate_policy(mdp, base) @ mdp.start, abs=1e-12)
    assert curve.value[-1] == pytest.approx(optimal_values(mdp)[0] @ mdp.start, abs=1e-10 * max(1, abs(curve.best)))
    for share in (0.01, 0.1, 1.0):
        beta = share * to_gain
        _, policy = soft_value_iteration(mdp, base, beta)
        kl, value = point_of(mdp, policy, base)
        assert curve.gap(kl, value) == pytest.approx(0, abs=1e-9 * max(1, to_gain))
        step = 1e-2 * kl  # the slope of the curve is the price: steeper before, less steep after
        ahead, behind = curve.at(np.array([kl + step, kl - step]), 1e-13)
        assert ahead - value < beta * step < value - behind

    others = some_policies(mdp, 60, seed=2, sharpness=0.3)
    mixed = np.concatenate([base + share * (others - base) for share in (1e-3, 0.1, 0.9)])
    assert curve.gap(*point_of(mdp, mixed, base)).min() > -1e-9 * max(1, to_gain)
    assert np.diff(curve.kl).min() >= 0 and np.diff(curve.value).min() >= -1e-12 * max(1, to_gain)
    slopes = np.diff(curve.value) / np.diff(curve.kl)
    inner = curve.beta[1:-1]  # a chord is as steep as the curve somewhere between its ends
    assert (slopes[:-1] >= inner * (1 - 1e-6)).all() and (slopes[1:] <= inner * (1 + 1e-6)).all()


def test_the_error_of_the_points_is_told():
    base = some_policies(LAKE, 1, seed=1)[0]
    for mdp, start, tolerance in ((LAKE, base, 1e-2), (LAKE, base, 1e-4), (bandit(1.0, 0.0), both([0.5, 0.5]), 1e-3)):
        curve = frontier(mdp, start, tolerance=tolerance)
        assert 0 < curve.error <= tolerance * (curve.value[-1] - curve.value[0])
        middle, chord = (curve.kl[1:] + curve.kl[:-1]) / 2, (curve.value[1:] + curve.value[:-1]) / 2
        above = curve.at(middle) - chord
        assert above.min() > -1e-12 and curve.error / 10 < above.max() <= curve.error
    wanted = np.linspace(0, 10, 7)
    coarse, fine = (frontier(LAKE, base, tolerance=tolerance).at(wanted) for tolerance in (0.1, 1e-3))
    np.testing.assert_allclose(coarse, fine, atol=1e-10)


def test_members_are_judged_by_their_own_bases():
    bases, policies = some_policies(LAKE, 3, seed=5), some_policies(LAKE, 6, seed=6).reshape(2, 3, 16, 4)
    kl, value = point_of(LAKE, policies, bases)
    gaps = frontier_gap(LAKE, bases, kl, value)
    assert gaps.shape == (2, 3) and gaps.min() > 0
    for i in np.ndindex(2, 3):
        assert gaps[i] == pytest.approx(frontier(LAKE, bases[i[1]]).gap(kl[i], value[i]), abs=1e-6)
    np.testing.assert_allclose(measure(LAKE, policies, base=bases, only=["frontier_gap"])["frontier_gap"], gaps, atol=1e-12)


def test_a_time_limit_changes_nothing():
    """Return and KL have none, as the metric "return" has none."""
    base = some_policies(LAKE, 1)[0]
    limited, free = (frontier(LAKE.with_time_limit(limit), base) for limit in (3, None))
    assert np.array_equal(limited.kl, free.kl) and np.array_equal(limited.value, free.value)


def test_success_from_any_tile_is_the_mean_over_tiles():
    policy, mdp = some_policies(LAKE, 1)[0], LAKE.with_time_limit(4)
    expected = success_from(mdp, policy, 4)[~mdp.terminal].mean()
    assert measure(mdp, policy, only=["success_any_tile"]) == {"success_any_tile": pytest.approx(expected)}


def test_what_takes_long_is_measured_on_request_alone():
    assert not set(measure(LAKE, some_policies(LAKE, 1)[0], base=some_policies(LAKE, 1)[0])) & {*ON_REQUEST}
    assert set(ON_REQUEST) <= set(affordable_metrics(LAKE))
    assert not set(ON_REQUEST) & set(affordable_metrics(TabularMDP.make("64x64")))
    assert "frontier_gap" not in affordable_metrics(replace(LAKE, discount=1.0))


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_newtons_method_solves_what_sweeps_solve(discount):
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, discount=discount)
    base, beta = some_policies(mdp, 1, sharpness=3.0)[0], np.array([0.003, 0.1, 30.0])
    value, policy = soft_policy_iteration(mdp, base, beta)
    again, _ = soft_policy_iteration(mdp, base, beta, start=value + 0.1)
    for i, price in enumerate(beta):
        expected = soft_value_iteration(mdp, base, price)
        np.testing.assert_allclose(value[i], expected[0], atol=1e-10)
        np.testing.assert_allclose(policy[i], expected[1], atol=1e-8)
    np.testing.assert_allclose(again, value, atol=1e-10)


def test_values_to_begin_with_lead_nowhere_undiscounted():
    """They would have the first policy stay in state 0 for ever, and pay for it."""
    mdp, base, beta = TabularMDP.from_map(("SFG",), discount=1.0), np.full((3, 4), 0.25), np.array([1e-3])
    value, _ = soft_policy_iteration(mdp, base, beta, start=np.array([[100.0, 0.0, 0.0]]))
    np.testing.assert_allclose(value[0], soft_value_iteration(mdp, base, 1e-3)[0], atol=1e-10)


def test_an_action_that_is_nearly_impossible_can_be_best():
    """log of a sum of which all but 1e-30 cancels from 1 - 1."""
    value, policy = soft_policy_iteration(bandit(1.0, 0.0), both([1e-30, 1.0]), np.array([1e-3]))
    assert value[0, 0] == pytest.approx(1 + 1e-3 * np.log(1e-30), rel=1e-12) and policy[0, 0, 0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda base: frontier(LAKE, base, tolerance=0), "tolerance is 0"),
        (lambda base: frontier(LAKE, base[None]), r"base has shape \(1, 16, 4\); allowed: \(16, 4\), one policy"),
        (lambda base: frontier(LAKE, base[:3]), r"policy has shape \(3, 4\)"),
        (lambda base: frontier("lake", base), "allowed: a TabularMDP"),
        (lambda base: frontier(LAKE, base).at(-0.1), r"kl is -0.1; allowed: nats >= 0"),
        (lambda base: frontier(LAKE, base).at(0.1, tolerance=0.0), "tolerance is 0.0"),
    ],
)
def test_mistakes_are_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(np.full((16, 4), 0.25))
    assert "\n" not in str(error.value)
