"""Four ways to the same values: they agree with one another, with closed forms, and keep what `tolerance` promises."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.sparse import csr_array

from ift_gridworld import TabularMDP, make_env
from ift_gridworld.envs import registry as envs
from ift_gridworld.envs.maps import open_lake, random_map, two_paths
from ift_gridworld.planning import (
    SOLVERS,
    evaluate_policy,
    greedy,
    occupancy,
    optimal_success,
    soft_value_iteration,
    solve,
    success_probability,
    value_iteration,
)
from ift_gridworld.planning.bellman import ROUNDING, backup
from ift_gridworld.planning.matrices import closed_classes
from ift_gridworld.planning.optimal import pick_solver
from ift_gridworld.planning.solvers import modified_policy_iteration, policy_iteration
from ift_gridworld.planning.sweeps import BlockGrid, best_success, neighbour_sweeps, success_rate


def garnet(states, actions, branches, seed, discount):
    """A random problem without any structure, rewards of both signs."""
    random = np.random.default_rng(seed)
    shape = (states, actions, branches)
    chance = random.dirichlet(np.ones(branches), shape[:2])
    reward, over = random.normal(size=shape), random.random(shape) < 0.05
    return TabularMDP(random.integers(0, states, shape), chance, reward, over, np.eye(1, states)[0], discount)


LAKES = {
    "4x4 slippery": TabularMDP.from_map(envs.LAKES["4x4"], is_slippery=True),
    "random": TabularMDP.from_map(random_map((21, 34), seed=2), is_slippery=True),
    "firm": TabularMDP.from_map(random_map((40, 25), seed=3)),
    "mostly as meant": TabularMDP.from_map(random_map(26, seed=4), is_slippery=True, success_rate=0.8, discount=0.9),
    "open": TabularMDP.from_map(open_lake(24), is_slippery=True, discount=0.97),
    "one row": TabularMDP.from_map(["SFFFFFFG"]),
    "two gifts": TabularMDP.from_map(["GFFS", "FHFF", "SFFG"], is_slippery=True),
    "ring": TabularMDP.from_map(two_paths(30)),
}


@pytest.mark.parametrize("name", LAKES)
def test_on_lakes_all_agree_to_rounding(name):
    mdp = LAKES[name]
    _, expected = value_iteration(mdp)
    for solver in SOLVERS:
        if solver == "neighbour_sweeps" and success_rate(mdp) is None:
            continue
        value, action_value = solve(mdp, solver=solver)
        # 1e-8 was asked for; that is far from rounding, and the best actions must be the same wherever one can arrive.
        np.testing.assert_allclose(action_value, expected, rtol=1e-9, atol=1e-12, err_msg=solver)
        np.testing.assert_allclose(value, action_value.max(-1), rtol=1e-12)
        apart = expected.max(-1) > 1e-9
        np.testing.assert_allclose(greedy(action_value)[apart], greedy(expected)[apart], err_msg=solver)


@pytest.mark.parametrize("name", ["CliffWalking-v1", "Taxi-v4", "garnet"])
def test_elsewhere_all_agree_to_rounding(name):
    mdp = garnet(300, 3, 4, 0, 0.98) if name == "garnet" else TabularMDP.from_env(make_env(name, is_slippery=True))
    _, expected = value_iteration(mdp)
    for solver in set(SOLVERS) - {"neighbour_sweeps"}:
        np.testing.assert_allclose(solve(mdp, solver=solver)[1], expected, rtol=0, atol=1e-9, err_msg=solver)
    with pytest.raises(ValueError, match="needs a lake"):
        solve(mdp, solver="neighbour_sweeps")


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
def test_no_value_is_further_off_than_tolerated(solver, tolerance):
    for mdp in (LAKES["random"], LAKES["open"], replace(LAKES["firm"], discount=0.999)):
        exact = solve(mdp)[0]
        assert np.abs(solve(mdp, solver=solver, tolerance=tolerance)[0] - exact).max() <= tolerance


def test_on_firm_ice_values_are_powers_of_the_discount():
    """An open lake: V(s) = gamma^(steps to the gift - 1), over several blocks, in one direction and in the other."""
    rows = open_lake((70, 150))
    steps = np.add.outer(np.arange(70)[::-1], np.arange(150)[::-1]).ravel()
    expected = np.where(steps == 0, 0.0, 0.99 ** (steps - 1.0))
    for grid in (rows, tuple(row[::-1] for row in rows[::-1])):
        value, _ = solve(TabularMDP.from_map(grid), solver="neighbour_sweeps")
        np.testing.assert_allclose(value if grid is rows else value[::-1], expected, rtol=1e-12)


@pytest.mark.parametrize("side", [7, 16, 64])
def test_the_size_of_blocks_makes_no_difference(side, monkeypatch):
    monkeypatch.setattr(BlockGrid, "SIDE", side)
    for name in ("random", "firm", "open"):
        np.testing.assert_allclose(neighbour_sweeps(LAKES[name])[1], value_iteration(LAKES[name])[1], rtol=1e-9, atol=1e-14)


def test_best_actions_are_known_where_values_are_tiny():
    """Far from the gift on slippery ice values are below 1e-9; relative to themselves they are exact all the same."""
    mdp = TabularMDP.from_map(random_map(40, frozen=0.7, seed=0), is_slippery=True)
    value, action_value = neighbour_sweeps(mdp)
    _, expected = value_iteration(mdp)
    assert value[0] < 1e-9
    np.testing.assert_allclose(action_value, expected, rtol=1e-8, atol=0)


def test_undiscounted_sweeps_end_at_the_least_solution():
    """With discount 1 the value is the chance of ever reaching the gift: 14 in 17 on the slippery 4x4 lake."""
    mdp = replace(LAKES["4x4 slippery"], discount=1.0)
    for solver in ("value_iteration", "neighbour_sweeps", "policy_iteration"):
        assert solve(mdp, solver=solver)[0][0] == pytest.approx(14 / 17, abs=1e-11)
    assert optimal_success(mdp) == pytest.approx(14 / 17, abs=1e-14)
    with pytest.raises(ValueError, match="discount 1"):
        solve(mdp, solver="modified_policy_iteration")
    with pytest.raises(ValueError, match="discount 1 with rewards below 0; allowed there: value_iteration"):
        solve(garnet(20, 2, 2, 0, 1.0), solver="policy_iteration")


def exactly(mdp, policy):
    """A deterministic policy's undiscounted values and action values, in rationals, of probabilities that sum to 1 exactly."""
    states = range(mdp.num_states)
    rows = [[Fraction(int(s == t)) for t in states] + [Fraction(0)] for s in states]
    outcomes = {
        (s, a): [
            (
                Fraction(mdp.probability[s, a, k]) / sum(map(Fraction, mdp.probability[s, a])),
                int(mdp.next_state[s, a, k]),
                Fraction(mdp.reward[s, a, k]),
                over,
            )
            for k, over in enumerate(mdp.terminated[s, a])
        ]
        for s, a in np.ndindex(mdp.num_states, mdp.num_actions)
    }
    for s in states:
        for chance, t, reward, over in outcomes[s, int(policy[s])]:
            rows[s][-1] += chance * reward
            if not over:
                rows[s][t] -= chance
    for column in states:  # Gauss and Jordan
        pivot = next(i for i in range(column, mdp.num_states) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [x / rows[column][column] for x in rows[column]]
        for i in states:
            if i != column and rows[i][column]:
                rows[i] = [x - rows[i][column] * y for x, y in zip(rows[i], rows[column], strict=True)]
    value = [row[-1] for row in rows]
    action_value = [
        [float(sum(p * (r + (0 if over else value[t])) for p, t, r, over in outcomes[s, a])) for a in range(mdp.num_actions)]
        for s in states
    ]
    return np.array([float(x) for x in value]), np.array(action_value)


def test_undiscounted_values_are_right_where_sweeps_take_for_ever():
    """Ice that slips once in a hundred steps: the best policies push against walls for ten thousand steps until it does. A
    policy is optimal where, in exact arithmetic, no action is better than its own."""
    mdp = TabularMDP.from_map(envs.LAKES["4x4"], is_slippery=True, success_rate=0.99, discount=1.0)
    value, action_value = solve(mdp)
    exact, better = exactly(mdp, action_value.argmax(-1))
    np.testing.assert_allclose(value, exact, rtol=1e-9)
    np.testing.assert_allclose(better.max(-1), exact, rtol=1e-9)
    assert optimal_success(mdp) == pytest.approx(exact @ mdp.start, rel=1e-9)


def test_undiscounted_ice_from_which_no_gift_is_reached_is_worth_nothing():
    """Two ponds: from the second one comes nowhere, for ever; a walk there is worth 0, and no matrix is singular for it."""
    mdp = TabularMDP.from_map(["SFFHF", "FGFHF"], is_slippery=True, discount=1.0)
    value, _ = solve(mdp, solver="policy_iteration")
    np.testing.assert_array_equal(value.reshape(2, 5)[:, 4], 0.0)
    np.testing.assert_allclose(value, value_iteration(mdp)[0], atol=1e-12)
    assert value[0] == pytest.approx(1.0)  # by the first column and up against the edge no slip need lead into the water


def test_states_that_an_episode_never_leaves():
    """0 -> 1 -> 2, which ends, or 3; 3 and 4 lead to one another; 5 leads to itself, 6 to 5."""
    leads = np.zeros((7, 7))
    leads[[0, 1, 1, 2, 3, 4, 5, 6], [1, 2, 3, 2, 4, 3, 5, 5]] = [1, 0.5, 0.5, 0.1, 1, 1, 1, 1]
    ends = np.array([0, 0, 0.9, 0, 0, 0, 0.0])
    np.testing.assert_array_equal(np.flatnonzero(closed_classes(csr_array(leads), ends)), [3, 4, 5])


def loop(discount):
    """One state that leads to itself and pays 1 a step: V = 1 / (1 - gamma)."""
    one = np.ones((1, 1, 1))
    return TabularMDP(np.zeros((1, 1, 1), int), one, one, np.zeros((1, 1, 1), bool), np.ones(1), discount)


@pytest.mark.parametrize("discount", [0.9, 0.999, 0.99999, 1 - 1e-9])
def test_walking_on_for_ever_is_worth_its_geometric_series(discount):
    expected = 1 / (1 - discount)
    assert solve(loop(discount), solver="policy_iteration")[0][0] == pytest.approx(expected, rel=1e-14)
    # Sweeps are as near as their last change allows.
    share = 1e-14 if discount > 0.999 else 1e-14 + 1e-13 * discount * expected
    assert solve(loop(discount))[0][0] == pytest.approx(expected, rel=share)


def test_near_discount_one_a_corridors_values_are_products():
    """A move along a slippery corridor succeeds with p, else one stays: V = p + (1 - p) gamma V beside the gift, and each tile
    further off is worth gamma p / (1 - gamma (1 - p)) times as much; the gift is further than a solver first looks."""
    gamma, p, rows = 0.99999, 1 / 3, ["S" + "F" * 1498 + "G"]
    steps = np.arange(1499, 0, -1)
    expected = (gamma * p / (1 - gamma * (1 - p))) ** steps / gamma
    value, action_value = solve(TabularMDP.from_map(rows, is_slippery=True, discount=gamma))
    np.testing.assert_allclose(value[:-1], expected, rtol=1e-11)
    assert (action_value[1:-1].argmax(-1) == 2).all()  # at the very start up and down lead right as often


@pytest.mark.parametrize("discount", [0.999, 0.9999])
def test_sweeps_are_as_exact_as_is_said(discount):
    """Policy iteration's values satisfy their equations to rounding; sweeps end within a few 1e-13 gamma / (1 - gamma)."""
    mdp = replace(LAKES["open"], discount=discount)
    exact = policy_iteration(mdp)[0]
    np.testing.assert_allclose(backup(mdp, exact).max(-1), exact, rtol=1e-13)
    for solver in ("value_iteration", "modified_policy_iteration", "neighbour_sweeps"):
        off = np.abs(solve(mdp, solver=solver)[0] - exact).max() / exact.max()
        assert off <= 4 * ROUNDING * discount / (1 - discount), solver


def test_with_discount_one_a_tolerance_changes_nothing():
    mdp = replace(LAKES["4x4 slippery"], discount=1.0)
    for solver in ("value_iteration", "neighbour_sweeps"):
        np.testing.assert_array_equal(solve(mdp, solver=solver, tolerance=0.1)[1], solve(mdp, solver=solver)[1])


def test_undiscounted_values_without_end_are_told_from_values_that_come_late():
    """Infinite: pay or cost at every step where no end is, or where it is better not to end. Not infinite: a walk that ends
    once in 200 steps, worth 200 steps' pay or cost, though that takes more sweeps than the others' proof."""
    stay_or_end = np.zeros((1, 2, 1), bool)
    stay_or_end[0, 1] = True
    earning = TabularMDP(np.zeros((1, 2, 1), int), np.ones((1, 2, 1)), np.ones((1, 2, 1)), stay_or_end, np.ones(1), 1.0)
    for endless in (loop(1.0), replace(loop(1.0), reward=-np.ones((1, 1, 1))), earning):
        with pytest.raises(ValueError, match="values are infinite: with discount 1"):
            solve(endless)
    for pay in (1.0, -1.0):
        next_state, ends = np.zeros((1, 1, 2), int), np.array([[[False, True]]])
        late = TabularMDP(next_state, np.array([[[0.995, 0.005]]]), np.full((1, 1, 2), pay), ends, np.ones(1), 1.0)
        assert solve(late)[0][0] == pytest.approx(200 * pay, rel=1e-10)
    assert solve(replace(earning, reward=-earning.reward))[0][0] == -1.0  # walking on costs, so one ends


@pytest.mark.parametrize("solver", [value_iteration, modified_policy_iteration])
def test_sweeps_have_a_limit(solver):
    """n sweeps that end too soon change the value by gamma^(n - 1), and the error names the way out."""
    with pytest.raises(ValueError, match="after 100 sweeps with discount 0.999; solver 'policy_iteration'"):
        solver(loop(0.999), max_sweeps=100)


def test_a_lake_is_known_by_its_arrays():
    assert success_rate(LAKES["random"]) == 1 / 3
    assert success_rate(LAKES["mostly as meant"]) == 0.8
    assert success_rate(LAKES["firm"]) == 1.0
    assert success_rate(TabularMDP.from_env(make_env("8x8", is_slippery=True, success_rate=0.6))) == 0.6
    assert success_rate(replace(LAKES["firm"], reward=2 * LAKES["firm"].reward)) is None
    for rows in (("SG",), ("GS",), ("S", "G"), ("G", "F", "S"), ("HGFS",)):  # none has a tile that a move leaves three ways
        lake = TabularMDP.from_map(rows, is_slippery=True, success_rate=0.7)
        assert success_rate(lake) == 0.7
        np.testing.assert_allclose(neighbour_sweeps(lake)[1], value_iteration(lake)[1], rtol=1e-12)
    wind = np.roll(LAKES["random"].probability, 1, -1)
    assert success_rate(replace(LAKES["random"], probability=wind)) is None
    with pytest.raises(ValueError, match=r"place for 4 states; there are 714"):  # a map of fewer tiles than there are states
        replace(LAKES["random"], layout=("SF", "FG"))
    assert success_rate(TabularMDP.from_env(make_env("CliffWalking-v1"))) is None
    assert success_rate(TabularMDP.from_env(make_env("Taxi-v4"))) is None


@pytest.mark.parametrize(
    ("mdp", "solver"),
    [
        (LAKES["4x4 slippery"], "value_iteration"),
        (LAKES["random"], "neighbour_sweeps"),
        (replace(LAKES["4x4 slippery"], discount=1.0), "policy_iteration"),
        (replace(LAKES["random"], discount=1.0), "policy_iteration"),
        (replace(LAKES["firm"], discount=1.0), "neighbour_sweeps"),
        (TabularMDP.from_map(open_lake(250), is_slippery=True, discount=1.0), "neighbour_sweeps"),
        (garnet(600, 2, 2, 0, 0.9), "policy_iteration"),
        (garnet(6000, 2, 2, 0, 0.9), "modified_policy_iteration"),
        # Near discount 1 sweeps are many, but on firm lakes.
        (replace(LAKES["4x4 slippery"], discount=0.9999), "policy_iteration"),
        (replace(LAKES["random"], discount=0.9999), "policy_iteration"),
        (TabularMDP.from_map(open_lake(80), is_slippery=True, discount=0.9999), "policy_iteration"),
        (replace(LAKES["firm"], discount=0.9999), "neighbour_sweeps"),
        (garnet(6000, 2, 2, 0, 0.9999), "modified_policy_iteration"),
        (garnet(600, 2, 2, 0, 1.0), "value_iteration"),
        (TabularMDP.from_env(make_env("CliffWalking-v1"), discount=1.0), "value_iteration"),
    ],
)
def test_what_is_picked(mdp, solver):
    assert pick_solver(mdp) == solver


def test_the_best_chance_within_a_time_limit():
    """As the tables have it, step by step; and on firm ice 1 as soon as there are steps enough."""
    mdp = LAKES["mostly as meant"]
    goal, reached = np.sum(mdp.probability * mdp.success, -1), np.zeros(mdp.num_states)
    onward = mdp.probability * ~mdp.terminated
    for _ in range(90):
        reached = (goal + (onward * reached[mdp.next_state]).sum(-1)).max(-1)
    assert best_success(mdp, 0.8, 90) == pytest.approx(reached @ mdp.start, abs=1e-13)
    assert optimal_success(mdp, 90) == pytest.approx(reached @ mdp.start, abs=1e-13)
    firm = TabularMDP.from_map(open_lake(24))
    assert optimal_success(firm, 45) == 0.0
    assert optimal_success(firm, 46) == 1.0


def test_an_optimal_policy_reaches_what_the_values_promise():
    mdp = replace(LAKES["open"], discount=0.999)
    policy = greedy(solve(mdp)[1])
    assert success_probability(mdp, policy) == pytest.approx(1.0, abs=1e-9)  # an open lake is never left but by its gift


@pytest.mark.parametrize(
    ("options", "words"), [({"solver": "magic"}, "'magic'; allowed: value_iteration"), ({"tolerance": 0.0}, "tolerance is 0.0")]
)
def test_what_makes_no_sense_is_told(options, words):
    with pytest.raises(ValueError, match=words):
        solve(LAKES["ring"], **options)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1, 0.0, "0.1"])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        *(("tolerance", lambda x, solver=solver: solver(LAKES["ring"], x)) for solver in SOLVERS.values()),
        ("tolerance", lambda x: solve(LAKES["ring"], tolerance=x)),
        ("tolerance", lambda x: soft_value_iteration(LAKES["one row"], np.full((8, 4), 0.25), 0.1, tolerance=x)),
        ("beta", lambda x: soft_value_iteration(LAKES["one row"], np.full((8, 4), 0.25), x)),
        ("rate", lambda x: neighbour_sweeps(LAKES["ring"], rate=x)),
        ("discount", lambda x: occupancy(LAKES["one row"], np.full((8, 4), 0.25), discount=x or -1.0)),  # 0 is one
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_the_first_sweep(name, call, wrong, monkeypatch):
    monkeypatch.setattr(TabularMDP, "expected_reward", property(lambda mdp: pytest.fail("a sweep began")))
    with pytest.raises(ValueError, match=rf"^{name} is .*; allowed: ") as error:
        call(wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_ends_at_its_limit(solver):
    """What is not done within two sweeps, or one policy, is an error that says what was reached."""
    mdp = replace(LAKES["random"], discount=0.999)
    limit, most, words = "max_sweeps", 2, "values still change by .* after"
    if solver == "policy_iteration":
        limit, most, words = "max_policies", 1, "did not converge .* within 1 policies"
    with pytest.raises(ValueError, match=words):
        SOLVERS[solver](mdp, None, **{limit: most})
    with pytest.raises(ValueError, match=f"^{limit} is 0; allowed: a whole number >= 1"):
        SOLVERS[solver](mdp, None, **{limit: 0})


@pytest.mark.parametrize(("discount", "length"), [(0.5, 1500), (0.9, 8000), (1e-3, 600)])
def test_sweeps_end_where_values_are_too_small_to_hold(discount, length):
    """At one end of a corridor values are below 1e-290 and count as 0; at the other they are powers of the discount."""
    value, _ = neighbour_sweeps(TabularMDP.from_map(["S" + "F" * length + "G"], discount=discount))
    expected = discount ** np.arange(length, -1, -1.0)
    np.testing.assert_allclose(value[:-1], np.where(expected < 1e-290, 0.0, expected), rtol=1e-10, atol=2e-290)


def test_an_endless_loop_that_pays_now_and_then_is_found_infinite():
    """Pay, or cost, at every third step: no single sweep shows that values go on changing."""
    for pay in (1.0, -1.0):
        reward = np.zeros((3, 1, 1))
        reward[2] = pay
        around = TabularMDP(np.array([[[1]], [[2]], [[0]]]), np.ones((3, 1, 1)), reward, reward > 2, np.eye(3)[0], 1.0)
        with pytest.raises(ValueError, match="values are infinite: with discount 1"):
            value_iteration(around, max_sweeps=5_000)
        with pytest.raises(ValueError, match="values are infinite: with discount 1"):
            soft_value_iteration(around, np.ones((3, 1)), 0.1, max_sweeps=5_000)


def test_a_reward_on_the_way_into_a_free_loop_is_finite():
    """From 0 one is paid 1 and comes to 1, which leads to itself for ever, for nothing."""
    reward = np.array([[[1.0]], [[0.0]]])
    mdp = TabularMDP(np.ones((2, 1, 1), int), np.ones((2, 1, 1)), reward, reward > 2, np.eye(2)[0], 1.0)
    for solver in ("value_iteration", "policy_iteration"):
        assert solve(mdp, solver=solver)[0].tolist() == [1.0, 0.0]
    assert evaluate_policy(mdp, np.ones((2, 1))).tolist() == [1.0, 0.0]
