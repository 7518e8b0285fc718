"""The oracle, held to published facts, to its own equations and to independent plain computations."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.envs.registry import make_env
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import chain as chain_module
from ift_gridworld.planning import (
    episodes_within,
    evaluate_policy,
    evaluation,
    greedy,
    occupancy,
    optimal_policy,
    optimal_success,
    soft_value_iteration,
    solve,
    state_matrix,
    success_probability,
    time_limited_values,
    value_iteration,
    walk_distribution,
)
from ift_gridworld.planning.chain import PolicyChain, visits_within

SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
OPEN = TabularMDP.from_map(("SFF", "FFF", "FFG"))  # no holes: every shortest way is as good as every other
UNIFORM = np.full((16, 4), 0.25)
LEFT = np.eye(4)[np.zeros(16, int)]  # never leaves the start of a lake without slip


@pytest.fixture(params=[True, False], ids=["dense", "sparse"])
def dense(request, monkeypatch):
    """Run a test along both ways of holding a state-state matrix."""
    monkeypatch.setattr(chain_module, "DENSE_STATES", 10**9 if request.param else 0)


def tiny(outcomes, *, reward=(), discount=1.0, ends=()):
    """A hand-made MDP without chance: outcomes[s][a] is the successor, reward {(s, a): r}, `ends` absorb."""
    next_state = np.array(outcomes)[..., None]
    amount = np.zeros(next_state.shape)
    for (s, a), r in dict(reward).items():
        amount[s, a, 0] = r
    start = np.eye(len(outcomes))[0]
    return TabularMDP(next_state, np.ones(next_state.shape), amount, np.isin(next_state, list(ends)), start, discount)


def policies(mdp, *leading, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(mdp.num_actions), (*leading, mdp.num_states))


def chain(mdp, policy):
    """P[s, s'] of going on (not ending), E[s, s'] of ending in s', and the expected reward: loops over outcomes."""
    on, end, reward = np.zeros((mdp.num_states,) * 2), np.zeros((mdp.num_states,) * 2), np.zeros(mdp.num_states)
    for s, a, k in np.ndindex(mdp.next_state.shape):
        p = policy[s, a] * mdp.probability[s, a, k]
        if not mdp.terminal[s]:
            (end if mdp.terminated[s, a, k] else on)[s, mdp.next_state[s, a, k]] += p
            reward[s] += p * mdp.reward[s, a, k]
    return on, end, reward


# ---- published facts ----


def test_published_optima():
    lake8 = TabularMDP.from_map(LAKES["8x8"], is_slippery=True, discount=0.99)
    undiscounted = replace(SLIPPERY, discount=1.0)
    assert optimal_success(SLIPPERY) == pytest.approx(14 / 17, abs=1e-12)
    assert value_iteration(undiscounted)[0] @ SLIPPERY.start == pytest.approx(14 / 17, abs=1e-11)
    # These three are published with as many digits as stand here.
    assert optimal_success(SLIPPERY, 100) == pytest.approx(0.74419, abs=5e-6)
    assert optimal_success(lake8, 200) == pytest.approx(0.91322, abs=5e-6)
    assert success_probability(lake8, optimal_policy(lake8), 200) == pytest.approx(0.863, abs=5e-4)


# ---- optimal values ----


@pytest.mark.parametrize(
    ("name", "is_slippery", "discount"),
    [
        ("8x8", True, 0.99),
        ("4x4", False, 0.9),
        ("CliffWalking-v1", False, 1.0),
        ("CliffWalking-v1", True, 0.95),
        ("Taxi-v4", False, 0.9),
    ],
)
def test_optimal_values_satisfy_bellmans_equations(name, is_slippery, discount):
    """Q(s,a) = sum_s' P (r + gamma V(s') if the episode goes on), from the environment's own table; V = max_a Q."""
    env = make_env(name, is_slippery=is_slippery)
    mdp = TabularMDP.from_env(env, discount)
    value, action_value = value_iteration(mdp)
    expected = np.zeros_like(action_value)
    for s, a in np.ndindex(expected.shape):
        if not mdp.terminal[s]:
            for p, successor, reward, ends in env.unwrapped.P[s][a]:
                expected[s, a] += p * (reward + (0 if ends else discount * value[successor]))
    scale = np.abs(value).max()  # sweeps stop at a change of 1e-13 of the largest value, so that its residual is no larger
    np.testing.assert_allclose(action_value, expected, rtol=0, atol=1e-12 * max(1, scale))
    np.testing.assert_allclose(value, action_value.max(-1), rtol=0, atol=1e-12 * max(1, scale))
    np.testing.assert_array_equal(value[mdp.terminal], 0)
    if discount < 1:
        # Stopped at a change of 1e-13, the value itself is off by at most that over 1 - gamma.
        best = evaluate_policy(mdp, optimal_policy(mdp))
        np.testing.assert_allclose(best, value, rtol=0, atol=1e-12 * scale / (1 - discount))


def test_no_policy_is_better_than_the_optimum():
    """All 4^4 deterministic policies of a lake with four tiles to walk on, at once."""
    mdp = TabularMDP.from_map(("SFH", "FFG"), is_slippery=True, discount=0.9)
    walkable = np.flatnonzero(~mdp.terminal)
    every = np.full((4 ** len(walkable), mdp.num_states, 4), 0.25)
    for i, actions in enumerate(product(range(4), repeat=len(walkable))):
        every[i, walkable] = np.eye(4)[list(actions)]
    np.testing.assert_allclose(evaluate_policy(mdp, every).max(0), value_iteration(mdp)[0], rtol=1e-11, atol=1e-12)
    assert success_probability(mdp, every).max() == pytest.approx(optimal_success(mdp), rel=1e-11)
    # Within a horizon a policy that knows the clock is at least as good as every one that does not.
    assert success_probability(mdp, every, 5).max() <= optimal_success(mdp, 5) + 1e-12


def test_ties_are_shared_evenly():
    policy = optimal_policy(OPEN)
    assert policy[0].tolist() == [0, 0.5, 0.5, 0]  # down and right are equally short
    assert policy[2].tolist() == [0, 1, 0, 0]  # in the last column only down is
    assert policy[8].tolist() == [0.25] * 4  # the goal: nothing follows


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_greedy_tells_rounding_from_a_difference(scale):
    rows = scale * np.array([[[1, 1 + 1e-12, 0], [1, 1 + 1e-6, 0], [-1, -1 - 1e-12, -2]]])
    assert greedy(rows).tolist() == [[[0.5, 0.5, 0], [0, 1, 0], [0.5, 0.5, 0]]]


def test_time_limited_values_are_the_best_of_all_clock_knowing_policies():
    """Every one of (2^2)^3 plans for three steps, on a chain with a small reward near and a large one far."""
    mdp = tiny([[0, 1], [0, 2], [2, 2]], reward={(0, 0): 0.3, (1, 1): 1.0, (1, 0): 0.1}, discount=0.9, ends=[2])
    best = np.full((4, 3), -np.inf)
    for plan in product(product(range(2), repeat=2), repeat=3):
        for steps, start in product(range(4), range(3)):
            state, total = start, 0.0
            for t in range(steps):
                if state == 2:
                    break
                total += 0.9**t * mdp.reward[state, plan[t][state], 0]
                state = mdp.next_state[state, plan[t][state], 0]
            best[steps, start] = max(best[steps, start], total)
    np.testing.assert_allclose(time_limited_values(mdp, 3), best, rtol=1e-14)


@pytest.mark.parametrize("horizon", [1, 6, 30])
def test_with_a_reward_of_one_at_the_goal_success_is_undiscounted_return(horizon):
    undiscounted = replace(SLIPPERY, discount=1.0)
    limited = time_limited_values(undiscounted, horizon)[horizon] @ SLIPPERY.start
    assert optimal_success(SLIPPERY, horizon) == pytest.approx(limited, rel=1e-12)
    value = evaluate_policy(undiscounted, UNIFORM) @ SLIPPERY.start
    assert success_probability(SLIPPERY, UNIFORM) == pytest.approx(value, rel=1e-12)


# ---- a policy's values and visits ----


@pytest.mark.parametrize("is_slippery", [False, True])
def test_evaluation_equals_a_truncated_simulation(is_slippery, dense):
    """V = sum_t gamma^t P^t r by matrix powers; what is cut off is below gamma^T / (1 - gamma) = 1e-17."""
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=is_slippery, discount=0.9)
    for policy in policies(mdp, 3):
        on, _, reward = chain(mdp, policy)
        expected, term = np.zeros(16), reward
        for t in range(400):
            expected += 0.9**t * term
            term = on @ term
        np.testing.assert_allclose(evaluate_policy(mdp, policy), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("discount", [1.0, 0.8])
@pytest.mark.parametrize("horizon", [0, 1, 7, 40, None])
def test_occupancy_and_success_equal_explicit_powers(horizon, discount, dense):
    """Step by step, an end counted once, on entry; no limit is 5000 steps, where the walking mass is below 1e-100."""
    for policy in policies(SLIPPERY, 2):
        on, end, _ = chain(SLIPPERY, policy)
        walking, visits, success = SLIPPERY.start, SLIPPERY.start.copy(), 0.0
        for t in range(5000 if horizon is None else horizon):
            success += (walking @ end)[15]
            visits += discount ** (t + 1) * (walking @ on + walking @ end)
            walking = walking @ on
        actual = occupancy(SLIPPERY, policy, discount=discount, horizon=horizon)
        np.testing.assert_allclose(actual, visits, rtol=1e-10, atol=1e-14)
        assert success_probability(SLIPPERY, policy, horizon) == pytest.approx(success, rel=1e-10, abs=1e-15)
        if discount == 1:
            assert actual[15] == pytest.approx(success, rel=1e-10, abs=1e-15)


def test_the_walks_distribution_by_explicit_powers(dense):
    """Row t is rho P^t over what has not ended, from the MDP's start or another; rows add up to the visits short of an end."""
    for policy in policies(SLIPPERY, 2):
        on, _, _ = chain(SLIPPERY, policy)
        for start in (None, np.full(16, 1 / 16)):
            walking = SLIPPERY.start if start is None else start
            rows = walk_distribution(SLIPPERY, policy, 7, start)
            for t in range(7):
                np.testing.assert_allclose(rows[t], walking, rtol=1e-12, atol=1e-16)
                walking = walking @ on
        visits = occupancy(SLIPPERY, policy, discount=1.0, horizon=6)
        walked = walk_distribution(SLIPPERY, policy, 7).sum(0)
        np.testing.assert_allclose(walked[~SLIPPERY.terminal], visits[~SLIPPERY.terminal], rtol=1e-12)


def test_return_is_occupancy_times_reward(dense):
    """sum_s d(s) sum_a pi(a|s) r(s,a) = V(start), and undiscounted visits of the goal are the probability of success."""
    for policy in policies(SLIPPERY, 3):
        visits = occupancy(SLIPPERY, policy)
        earned = np.sum(visits[:, None] * policy * SLIPPERY.expected_reward)
        assert earned == pytest.approx(evaluate_policy(SLIPPERY, policy) @ SLIPPERY.start, rel=1e-11)
        plain = occupancy(SLIPPERY, policy, discount=1.0)
        assert plain[15] == pytest.approx(success_probability(SLIPPERY, policy), rel=1e-11)
        assert plain[SLIPPERY.terminal].sum() == pytest.approx(1, rel=1e-11)  # every episode ends somewhere, once


def test_several_starts_and_long_horizons(dense):
    mdp = TabularMDP.from_map(("SFFS", "HGFF", "FFSG"), is_slippery=True)
    visits = occupancy(mdp, policies(mdp), discount=1.0, horizon=0)
    np.testing.assert_array_equal(visits, mdp.start)
    unlimited, long = (success_probability(mdp, policies(mdp), h) for h in (None, 10_000))
    assert long == pytest.approx(unlimited, rel=1e-12)


def test_an_episode_that_starts_where_it_ends_is_no_step(dense):
    """Half of the episodes start in a hole: they are seen there once, and the others end somewhere once."""
    mdp = replace(SLIPPERY, start=(np.eye(16)[0] + np.eye(16)[5]) / 2)
    assert occupancy(mdp, UNIFORM, discount=1.0, horizon=0)[5] == 0.5
    for horizon in (10_000, None):
        visits = occupancy(mdp, UNIFORM, discount=1.0, horizon=horizon)
        assert visits[mdp.terminal].sum() == pytest.approx(1, rel=1e-11)
        assert success_probability(mdp, UNIFORM, horizon) == pytest.approx(visits[15], rel=1e-11)


def test_nothing_follows_a_termination_even_in_a_state_that_others_pass_through(dense):
    """In 0 both actions lead to 1, action 0 ends there, action 1 goes on; from 1 the next step is paid 1 and ends in 2."""
    next_state = np.array([[[1], [1]], [[2], [2]], [[2], [2]]])
    ends = np.array([[[True], [False]], [[True], [True]], [[True], [True]]])
    reward = np.array([0.0, 1.0, 0.0])[:, None, None] * np.ones((3, 2, 1))
    mdp = TabularMDP(next_state, np.ones((3, 2, 1)), reward, ends, np.array([1.0, 0, 0]), 0.5)
    assert value_iteration(mdp)[1].tolist() == [[0, 0.5], [1, 1], [0, 0]]
    assert time_limited_values(mdp, 2)[2].tolist() == [0.5, 1, 0]
    assert optimal_success(mdp) == 1
    policy = np.array([[0.4, 0.6], [0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(evaluate_policy(mdp, policy), [0.3, 1, 0], rtol=1e-14)
    np.testing.assert_allclose(occupancy(mdp, policy, discount=1.0), [1, 1, 0.6], rtol=1e-14)
    assert success_probability(mdp, policy) == pytest.approx(0.6, rel=1e-14)
    # Soft: V(0) = beta log(1/2 + 1/2 exp(V(1) / (2 beta))), V(1) = 1
    soft = soft_value_iteration(mdp, np.full((3, 2), 0.5), 0.2)[0]
    np.testing.assert_allclose(soft, [0.2 * np.log(0.5 + 0.5 * np.exp(0.5 / 0.2)), 1, 0], rtol=1e-12, atol=0)


def test_leading_dimensions_are_policies_side_by_side(dense):
    many = policies(SLIPPERY, 2, 3)
    for function in (
        evaluate_policy,
        occupancy,
        success_probability,
        state_matrix,
        lambda mdp, p: occupancy(mdp, p, discount=1.0, horizon=9),
        lambda mdp, p: success_probability(mdp, p, 9),
    ):
        together = function(SLIPPERY, many)
        assert together.shape[:2] == (2, 3)
        for i in np.ndindex(2, 3):
            np.testing.assert_allclose(together[i], function(SLIPPERY, many[i]), rtol=1e-11, atol=1e-15)


def test_dense_equals_sparse(monkeypatch):
    """On lakes without slip random deterministic policies walk in circles, among other things."""
    for seed in range(10):
        mdp = TabularMDP.from_map(random_map((4, 5), seed=seed, frozen=0.7), is_slippery=bool(seed % 2), discount=1.0)
        rows = np.eye(4)[np.random.default_rng(seed).integers(0, 4, (6, mdp.num_states))]
        results = []
        for states in (10**9, 0):
            monkeypatch.setattr(chain_module, "DENSE_STATES", states)
            results.append(
                [
                    evaluate_policy(mdp, rows),
                    success_probability(mdp, rows),
                    success_probability(mdp, rows, 11),
                    occupancy(mdp, rows, discount=0.9),
                    occupancy(mdp, rows, discount=1.0, horizon=11),
                ]
            )
        for one, two in zip(*results, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-14)


def test_state_matrix_is_the_sum_over_actions():
    policy = policies(SLIPPERY)
    expected = np.zeros((16, 16))
    for s, a, k in np.ndindex(SLIPPERY.next_state.shape):
        expected[s, SLIPPERY.next_state[s, a, k]] += policy[s, a] * SLIPPERY.probability[s, a, k]
    np.testing.assert_allclose(state_matrix(SLIPPERY, policy), expected, rtol=1e-13, atol=1e-16)


# ---- undiscounted policies that walk for ever ----


def test_walking_for_ever_is_worth_nothing_where_it_is_free(dense):
    mdp = TabularMDP.from_map(LAKES["4x4"], discount=1.0)
    assert success_probability(mdp, LEFT) == 0
    assert not evaluate_policy(mdp, LEFT).any()
    assert occupancy(mdp, LEFT, horizon=9)[0] == 10
    with pytest.raises(ValueError, match="infinite"):
        occupancy(mdp, LEFT)
    assert occupancy(mdp, LEFT, discount=0.5)[0] == pytest.approx(2)  # 1 + 1/2 + 1/4 + …


def test_part_of_the_mass_walking_for_ever(dense):
    """0 goes to 1, which leads to itself alone, with probability 0.3, else to the goal 2."""
    mdp = tiny([[1, 2], [1, 1], [2, 2]], reward={(0, 1): 1.0}, ends=[2])
    policy = np.array([[0.3, 0.7], [0.5, 0.5], [0.5, 0.5]])
    assert success_probability(mdp, policy) == pytest.approx(0.7, rel=1e-14)
    np.testing.assert_allclose(evaluate_policy(mdp, policy), [0.7, 0, 0], rtol=1e-14)
    with pytest.raises(ValueError, match="infinite"):
        occupancy(mdp, policy)
    # A loop that cannot be reached does no harm: visits are finite.
    np.testing.assert_allclose(occupancy(mdp, np.array([[0, 1.0], [0.5, 0.5], [0.5, 0.5]])), [1, 0, 1], atol=1e-15)


def test_walking_for_ever_at_a_price_is_an_error(dense):
    mdp = TabularMDP.from_env(make_env("CliffWalking-v1"), 1.0)
    stay = np.eye(4)[np.full(mdp.num_states, mdp.actions.index("left"))]
    with pytest.raises(ValueError, match="infinite"):
        evaluate_policy(mdp, stay)
    np.testing.assert_allclose(evaluate_policy(replace(mdp, discount=0.9), stay)[36], -1 / (1 - 0.9))  # -1 a step
    # Where no policy ever ends, the best values fall for ever as well.
    endless = tiny([[0, 1], [1, 0]], reward={(0, 0): -1.0, (0, 1): -1.0, (1, 0): -1.0, (1, 1): -1.0})
    with pytest.raises(ValueError, match="100 sweeps with discount 1"):
        value_iteration(endless, max_sweeps=100)


# ---- the exact solution of RLHF ----


def regularised(mdp, policy, reference, beta):
    """E[sum gamma^t (r - beta KL(pi || reference))] from every state, by one linear solve."""
    on, _, reward = chain(mdp, policy)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(policy > 0, policy * np.log(policy / reference), 0).sum(-1)
    return np.linalg.solve(np.eye(mdp.num_states) - mdp.discount * on, reward - beta * np.where(mdp.terminal, 0, kl))


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("is_slippery", [False, True])
def test_soft_value_iteration_solves_the_rlhf_objective(is_slippery, beta):
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=is_slippery, discount=0.95)
    reference = policies(mdp, seed=1)
    value, policy = soft_value_iteration(mdp, reference, beta)
    # Stopped at a change of 1e-13, the value is off by at most 1e-13 / (1 - gamma).
    np.testing.assert_allclose(regularised(mdp, policy, reference, beta), value, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(value[mdp.terminal], 0)
    random = np.random.default_rng(0)
    for size in (1e-3, 0.03, 1.0):
        for _ in range(20):
            other = policy * np.exp(size * random.normal(size=policy.shape))
            other /= other.sum(-1, keepdims=True)
            worse = regularised(mdp, other, reference, beta)
            assert (worse <= value + 1e-11).all() and worse @ mdp.start < value @ mdp.start
    # The closed form: V(s) = beta log sum_a ref exp(Q / beta), pi = ref exp((Q - V) / beta).
    ahead = np.where(mdp.terminated, 0, value[mdp.next_state] * mdp.probability).sum(-1)
    action_value = mdp.expected_reward + mdp.discount * ahead
    walkable = ~mdp.terminal
    ratio = (action_value - value[:, None])[walkable] / beta
    np.testing.assert_allclose(policy[walkable], reference[walkable] * np.exp(ratio), rtol=1e-8)  # 1e-11 / beta, exponentiated
    np.testing.assert_allclose((reference[walkable] * np.exp(ratio)).sum(-1), 1, rtol=1e-8)


def test_soft_optimum_tends_to_the_hard_one():
    """V - beta log(A) / (1 - gamma) <= V_beta <= V: the best policy pays at most log A nats a step to the uniform one."""
    value, best = value_iteration(SLIPPERY)[0], optimal_policy(SLIPPERY) > 0
    for beta in (1e-3, 1e-5):
        soft, policy = soft_value_iteration(SLIPPERY, UNIFORM, beta)
        assert (soft <= value + 1e-11).all()
        assert (soft >= value - beta * np.log(4) / (1 - SLIPPERY.discount)).all()
    assert (policy[best].sum() - best.any(-1).sum()) == pytest.approx(0, abs=1e-9)


def test_soft_optimum_tends_to_the_reference():
    """0 <= Q, V <= 1 on a lake, so |log(pi / ref)| <= 1 / beta; by Hoeffding's lemma a step gains at most 1 / (8 beta)."""
    reference = policies(SLIPPERY, seed=2)
    plain = evaluate_policy(SLIPPERY, reference)
    for beta in (1e2, 1e5):
        soft, policy = soft_value_iteration(SLIPPERY, reference, beta)
        assert np.abs(np.log(policy / reference)).max() <= 1 / beta + 1e-13
        rounding = 1e-15 * beta / (1 - SLIPPERY.discount)  # V is beta times a logarithm that is tiny
        assert (soft >= plain - rounding).all()
        assert (soft <= plain + 1 / (8 * beta * (1 - SLIPPERY.discount)) + rounding).all()


def test_what_the_reference_never_does_stays_undone():
    reference = np.tile([0.0, 0.5, 0.5, 0.0], (16, 1))
    policy = soft_value_iteration(TabularMDP.from_map(LAKES["4x4"]), reference, 0.05)[1]
    assert not policy[:, [0, 3]].any()
    np.testing.assert_allclose(policy.sum(-1), 1, rtol=1e-14)


# ---- what has no meaning is refused ----


@pytest.mark.parametrize("beta", [0, -1.0])
def test_beta_must_be_positive(beta):
    with pytest.raises(ValueError, match=str(beta)):
        soft_value_iteration(SLIPPERY, UNIFORM, beta)


@pytest.mark.parametrize("function", [evaluate_policy, occupancy, success_probability])
def test_what_is_no_policy_is_refused(function):
    with pytest.raises(ValueError, match=r"\(4, 16\).*\(16, 4\)"):
        function(SLIPPERY, UNIFORM.T)
    for wrong in (2 * UNIFORM, UNIFORM + [0.5, -0.5, 0, 0]):
        with pytest.raises(ValueError, match="distributions"):
            function(SLIPPERY, wrong)


@pytest.mark.parametrize(("size", "seed"), [(5, 0), (5, 44), (6, 34), (8, 11), (8, 29), (8, 49)])
@pytest.mark.parametrize("success_rate", [0.9995, 0.999, 0.99])
def test_no_tie_waits_for_ever(size, seed, success_rate):
    """With discount 1, on lakes that hardly slip. Stepping against a wall until a slip leads past a hole loses the cube of the
    probability of a slip, 1e-10, at every step, and takes its square, a million steps: shared evenly, some lost 0.5 % of all
    episodes."""
    lake = TabularMDP.from_map(random_map(size, seed=seed), is_slippery=True, success_rate=success_rate, discount=1.0)
    best, policy = optimal_success(lake), optimal_policy(lake)
    np.testing.assert_allclose(evaluate_policy(lake, policy), solve(lake)[0], rtol=2e-9)
    assert success_probability(lake, policy) == pytest.approx(best, rel=2e-9)
    for discount in (0.999, 0.999999):  # policies that do not wait
        assert success_probability(lake, optimal_policy(replace(lake, discount=discount))) <= best * (1 + 1e-12)


@pytest.mark.parametrize("rows", [random_map(8, seed=11), ("SFF", "FFF", "FFG")])
@pytest.mark.parametrize("is_slippery", [False, True])
def test_ties_that_cost_nothing_are_kept_with_discount_1(rows, is_slippery):
    lake = TabularMDP.from_map(rows, is_slippery=is_slippery, discount=1.0)
    np.testing.assert_array_equal(optimal_policy(lake), greedy(solve(lake)[1]))
    if not is_slippery:  # every way that does not end in a hole is as good
        into_holes = (lake.probability * lake.terminated * ~lake.success).sum(-1)[~lake.terminal] > 0
        reachable = solve(lake)[0][~lake.terminal] > 0
        np.testing.assert_array_equal((optimal_policy(lake)[~lake.terminal] > 0)[reachable], ~into_holes[reachable])


def test_ties_are_told_apart_where_values_are_small():
    """Discount 0.1 makes a start 18 steps from the goal worth 1e-17; the way there is still the only optimal one."""
    mdp = TabularMDP.from_map(random_map(10, seed=0, frozen=0.95), discount=0.1)
    near = TabularMDP.from_map(mdp.layout, discount=0.99)
    np.testing.assert_array_equal(optimal_policy(mdp) > 0, optimal_policy(near) > 0)


# ---- many policies on a large lake ----


def test_policies_measured_some_at_a_time_are_measured_alike(monkeypatch):
    mdp = TabularMDP.from_map(random_map(12, seed=0), is_slippery=True)
    policy = np.random.default_rng(0).dirichlet(np.ones(4), (3, 2, mdp.num_states))
    measures = (
        lambda: evaluate_policy(mdp, policy),
        lambda: occupancy(mdp, policy),
        lambda: success_probability(mdp, policy, 50),
        lambda: walk_distribution(mdp, policy, 5),
        lambda: np.concatenate([x.reshape(3, 2, -1) for x in episodes_within(mdp, policy, 30)], -1),
    )
    whole = [measure() for measure in measures]
    monkeypatch.setattr(evaluation, "OUTCOMES_AT_ONCE", 4 * mdp.probability.size)  # four of the six, then two
    for together, measure in zip(whole, measures, strict=True):
        apart = measure()
        assert apart.shape == together.shape
        np.testing.assert_allclose(apart, together, rtol=1e-12, atol=1e-300)


def test_a_walk_that_is_over_is_not_walked_on():
    """A clock of a million steps costs no more than the episodes' own length, and changes nothing."""
    mdp = TabularMDP.from_map(random_map(8, seed=0), is_slippery=True)
    policy = np.full((mdp.num_states, 4), 0.25)
    assert success_probability(mdp, policy, 1_000_000) == pytest.approx(success_probability(mdp, policy), abs=1e-14)
    steps, visits, _ = episodes_within(mdp, policy, 1_000_000)
    np.testing.assert_allclose(visits, occupancy(mdp, policy, discount=1.0), rtol=1e-11, atol=1e-15)
    assert steps[~mdp.terminal].sum() == pytest.approx(visits[~mdp.terminal].sum(), rel=1e-12)


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of a few steps, so that a lake of 20 x 20 is large."""
    monkeypatch.setattr(chain_module, "REACH", 6)
    monkeypatch.setattr(chain_module, "CHECK_EVERY", 2)
    monkeypatch.setattr(chain_module, "WINDOW_STEPS", 20)


@pytest.mark.usefixtures("small_windows")
def test_a_walk_over_a_window_that_moves_is_the_same_walk():
    """Held to the sum of `walk_distribution`, which looks at all tiles, step by step."""
    firm, ice = TabularMDP.from_map(random_map(20, seed=2)), TabularMDP.from_map(random_map(20, seed=2), is_slippery=True)
    two_starts = replace(ice, start=np.where(np.isin(np.arange(400), (0, 399 - 45)), 0.5, 0.0))
    best, some = optimal_policy(firm), np.random.default_rng(0).dirichlet(np.ones(4), (3, 400))
    some[0] = 0.999 * np.eye(4)[2] + 0.001 * np.eye(4)[3]  # this one goes right and up only, the others everywhere
    for mdp, policy, steps in [
        (firm, best, 30),
        (firm, best, 60),
        (ice, some, 1),
        (ice, some, 9),
        (ice, some, 300),
        (two_starts, some, 80),
    ]:
        rows = walk_distribution(mdp, policy, steps + 1)
        taken, visits, reached = episodes_within(mdp, policy, steps)
        np.testing.assert_allclose(taken, rows[..., :-1, :].sum(-2), rtol=1e-12, atol=1e-17)
        ended = np.einsum("...s,...sa,sak->...k", taken, policy, mdp.probability * mdp.terminated).sum(-1)
        np.testing.assert_allclose(ended + rows[..., -1, :].sum(-1), 1.0, rtol=1e-12)
        np.testing.assert_allclose(visits.sum(-1), taken.sum(-1) + 1.0, rtol=1e-12)
        goal = (mdp.probability * mdp.success).sum(-1)
        np.testing.assert_allclose(reached, np.einsum("...s,...sa,sa->...", taken, policy, goal), rtol=1e-12, atol=1e-17)
    assert episodes_within(firm, best, 30)[2] == 0.0  # the gift is 38 steps away
    assert episodes_within(firm, best, 60)[2] == pytest.approx(1.0)


@pytest.mark.usefixtures("small_windows")
def test_a_window_is_what_can_be_reached_and_its_rim_what_leads_out():
    mdp = TabularMDP.from_map(random_map(20, seed=2), is_slippery=True)
    policy = np.random.default_rng(0).dirichlet(np.ones(4), (2, 400))
    policy[0] = np.eye(4)[2]  # the first member walks right
    mass = np.zeros((2, 400))
    mass[0, 0], mass[1, 399 - 45], mass[1, 5] = 1.0, 0.5, 1e-30  # the last is next to nothing
    window, rim = PolicyChain(mdp, policy).window(mass.ravel())
    reached = np.zeros((2, chain_module.REACH + 1, 400), bool)
    for member, start in enumerate((0, 399 - 45)):
        rows = walk_distribution(mdp, policy[member], chain_module.REACH + 1, np.eye(400)[start])
        reached[member] = np.logical_or.accumulate(rows > 0)
    np.testing.assert_array_equal(window, np.flatnonzero(reached[:, -1]))
    soon = reached[:, chain_module.REACH - chain_module.CHECK_EVERY]
    np.testing.assert_array_equal(window[rim], np.flatnonzero(reached[:, -1] & ~soon))


def test_along_a_corridor_the_window_moves_with_the_walker():
    """3,000 tiles in a row: every one is stood on once, and the window never holds more than a few of them."""
    mdp = replace(TabularMDP.from_map(["S" + "F" * 2998 + "G"]), horizon=4000)
    policy = np.broadcast_to(np.eye(4)[2], (3000, 4))
    window, rim = PolicyChain(mdp, policy[None]).window(mdp.start)
    np.testing.assert_array_equal(window, np.arange(chain_module.REACH + 1))
    np.testing.assert_array_equal(rim, np.arange(chain_module.REACH - chain_module.CHECK_EVERY + 1, chain_module.REACH + 1))
    np.testing.assert_array_equal(occupancy(mdp, policy, discount=1.0, horizon=4000), 1.0)
    np.testing.assert_allclose(
        occupancy(mdp, policy, discount=0.99, horizon=4000), 0.99 ** np.arange(3000.0), rtol=1e-11, atol=0
    )
    assert success_probability(mdp, policy, 2998) == 0.0
    assert success_probability(mdp, policy, 2999) == 1.0


@pytest.mark.usefixtures("small_windows")
def test_a_window_of_most_tiles_is_all_of_them():
    mdp = TabularMDP.from_map(random_map(20, seed=2), is_slippery=True)
    chain = PolicyChain(mdp, np.full((1, 400, 4), 0.25))
    window, rim = chain.window(~mdp.terminal / 400)
    np.testing.assert_array_equal(window, np.arange(400))
    assert not len(rim)


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 7, 37])
def test_visits_by_doubling_are_those_of_every_step(steps):
    """Of chains side by side, from starts of their own, with outcomes that end the episode."""
    random = np.random.default_rng(0)
    transition = random.dirichlet(np.ones(6), (3, 5))[..., :5]  # the sixth outcome ends
    standing = random.dirichlet(np.ones(5), 3)
    expected, now = np.zeros((3, 5)), standing
    for _ in range(steps):
        expected, now = expected + now, np.einsum("ms,mst->mt", now, transition)
    np.testing.assert_allclose(visits_within(transition, standing, steps), expected, rtol=1e-12)
