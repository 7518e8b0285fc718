"""Solvers on random problems, held to plain computations that share nothing with them: each ends, with the right values or an
error in one line."""

from itertools import product

import numpy as np
import pytest
from test_solvers import exactly

from ift_gridworld import TabularMDP
from ift_gridworld.envs.maps import random_map
from ift_gridworld.planning import SOLVERS, evaluate_policy, occupancy, optimal_success, solve, success_probability

REWARDS = {
    "none": lambda random, shape: np.zeros(shape),
    "gains": lambda random, shape: random.integers(0, 3, shape),  # whole numbers, as users write them
    "rare gains": lambda random, shape: (random.random(shape) < 0.15).astype(float),
    "costs": lambda random, shape: -random.random(shape) * (random.random(shape) < 0.7),
    "both": lambda random, shape: random.normal(size=shape) * (random.random(shape) < 0.5),
}


def random_mdp(random, kind, discount):
    """At most five states: some absorb, some are never reached, some outcomes have probability 0."""
    states, actions, slots = (int(n) for n in (random.integers(1, 6), random.integers(1, 4), random.integers(1, 4)))
    shape = states, actions, slots
    chance = random.dirichlet(np.ones(slots), shape[:2]) * (random.random(shape) < 0.7)
    chance[..., 0] += chance.sum(-1) == 0
    chance /= chance.sum(-1, keepdims=True)
    successor, over = random.integers(0, states, shape), random.random(shape) < random.choice([0.0, 0.1, 0.4])
    if random.random() < 0.5:  # a state that leads to itself for ever
        successor[-1], over[-1] = states - 1, random.random() < 0.5
    start = np.eye(states)[int(random.integers(states))]
    return TabularMDP(successor, chance, REWARDS[kind](random, shape), over, start, discount)


def by_doubling(mdp, doublings=45):
    """The total reward of every deterministic policy [policies, S] within 2^45 steps and within twice as many:
    sums over 2n steps are those over n, and P^n times them."""
    policies = np.array(list(product(range(mdp.num_actions), repeat=mdp.num_states)))
    rows = np.arange(mdp.num_states)
    onward = np.zeros((mdp.num_states, mdp.num_actions, mdp.num_states))
    for s, a, k in np.ndindex(mdp.next_state.shape):
        onward[s, a, mdp.next_state[s, a, k]] += mdp.discount * mdp.probability[s, a, k] * (not mdp.terminated[s, a, k])
    power, total = onward[rows, policies], (mdp.probability * mdp.reward).sum(-1)[rows, policies]
    for _ in range(doublings):
        before, total = total, total + (power @ total[..., None])[..., 0]
        power = power @ power
    return policies, before, total


def takes(solver, mdp):
    """Whether a solver takes a problem at all."""
    if solver == "neighbour_sweeps" or mdp.discount < 1:
        return solver != "neighbour_sweeps"
    return solver == "value_iteration" or (solver == "policy_iteration" and mdp.expected_reward.min() >= 0)


@pytest.mark.parametrize("kind", REWARDS)
@pytest.mark.parametrize("discount", [0.0, 0.5, 0.9, 1 - 1e-6, 1.0])
def test_every_solver_gives_the_best_of_all_policies_or_an_error(kind, discount):
    """Values differ by rounding; infinite ones are an error, and so is what a solver cannot take."""
    random, solved = np.random.default_rng([len(kind), int(10 * discount)]), 0
    solvers = SOLVERS if discount != 1 - 1e-6 else ["policy_iteration"]  # sweeps would be a million
    for _ in range(20):
        mdp = random_mdp(random, kind, discount)
        _, before, total = by_doubling(mdp)
        settled = np.isclose(before, total, rtol=1e-9, atol=1e-9)
        if (~settled & (np.abs(total) < 1e9)).any():
            continue  # pay and cost take turns for ever, so that a policy has no value
        best = np.where(settled, total, -np.inf).max(0)
        infinite = bool((~settled & (total > before)).any() or np.isinf(best).any())
        for name in solvers:
            if infinite or not takes(name, mdp):
                with pytest.raises(ValueError, match="^.*(infinite|needs a lake|discount 1).*$"):
                    SOLVERS[name](mdp, None)
                continue
            value, action_value = SOLVERS[name](mdp, None)
            for result in (value, action_value.max(-1)):  # sweeps stop within 1e-13 / (1 - discount)
                np.testing.assert_allclose(result, best, rtol=0, atol=1e-10 * np.abs(best).max(), err_msg=name)
            solved += 1
    assert solved >= 10


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_every_policy_has_its_total_reward_or_an_error(discount):
    """Closed classes without reward are worth 0, others are infinite at discount 1; so are visits where one walks for ever."""
    random = np.random.default_rng(int(10 * discount))
    for kind in REWARDS:
        for _ in range(8):
            mdp = random_mdp(random, kind, discount)
            policies, before, total = by_doubling(mdp)
            for policy, one, two in zip(policies[:12], before, total, strict=False):
                taken = np.eye(mdp.num_actions)[policy]
                if np.allclose(one, two, rtol=1e-9, atol=1e-9):
                    walks = discount == 1 and _pays_for_ever(mdp, taken)
                    if not walks:
                        np.testing.assert_allclose(evaluate_policy(mdp, taken), two, rtol=1e-9, atol=1e-9)
                        continue
                with pytest.raises(ValueError, match="^a value is infinite: with discount 1"):
                    evaluate_policy(mdp, taken)
            assert 0 <= success_probability(mdp, np.eye(mdp.num_actions)[policies[0]]) <= 1


def _pays_for_ever(mdp, policy):
    """Whether pay and cost that cancel go on for ever: the mean squared reward after 2^45 steps."""
    onward = np.einsum("sa,sat->st", policy, mdp.scatter(mdp.probability * ~mdp.terminated))
    return bool((np.linalg.matrix_power(onward, 2**45) @ np.abs((policy * mdp.expected_reward).sum(-1)) > 1e-9).any())


@pytest.mark.parametrize("success_rate", [1 / 3, 0.9, 0.99, 0.999, 0.9999, 1e-3])
def test_undiscounted_slippery_lakes_are_solved_exactly(success_rate):
    """Where ice hardly slips, best policies push against walls for millions of steps, and rounding must not choose among them.
    The best actions that lead to the goal, valued in rationals, reach what the solver says; and no action is better."""
    random = np.random.default_rng(int(1e4 * success_rate))
    for _ in range(6):
        size = int(random.integers(2, 5)), int(random.integers(2, 4))
        rows = random_map(size, frozen=float(random.choice([0.6, 0.8, 1.0])), seed=int(random.integers(10**6)))
        mdp = TabularMDP.from_map(rows, is_slippery=True, success_rate=success_rate, discount=1.0)
        value, action_value = solve(mdp)
        exact, better = exactly(mdp, _proper(mdp, action_value))
        np.testing.assert_allclose(value, exact, rtol=1e-9, atol=1e-12, err_msg=str(rows))
        np.testing.assert_allclose(better.max(-1), exact, rtol=1e-9, atol=1e-12, err_msg=str(rows))
        assert optimal_success(mdp) == pytest.approx(min(1.0, exact @ mdp.start), rel=1e-9)


def _proper(mdp, action_value):
    """A best action in each state that can lead on to the goal, found backwards from it; any action where none does."""
    best = action_value >= action_value.max(-1, keepdims=True) * (1 - 1e-14)
    possible = mdp.probability > 0
    policy, arrives = np.zeros(mdp.num_states, int), mdp.terminal.copy()
    while True:
        leads = best & (possible & (mdp.terminated | arrives[mdp.next_state])).any(-1) & ~arrives[:, None]
        if not leads.any():
            return policy
        new = leads.any(-1)
        policy[new] = leads[new].argmax(-1)
        arrives |= new


@pytest.mark.parametrize("states", [2, 30, 60])
@pytest.mark.parametrize("leave", [1e-3, 1e-12, 1e-30, 1e-200])
def test_a_policy_that_hardly_ever_leaves_a_loop_is_valued_to_all_digits(states, leave):
    """A corridor walked to and fro: from the last state one goes on to the goal once in 1/leave times, so that success is
    certain, and 1 - leave is 1 in floating-point numbers. Each visit of the last state is a chance of `leave`."""
    successor = np.clip(np.arange(states)[:, None] + [-1, 1], 0, states - 1)
    over = np.zeros((states, 2), bool)
    over[-1, 1] = True
    mdp = TabularMDP(
        successor[..., None], np.ones((states, 2, 1)), over[..., None] * 1.0, over[..., None], np.eye(states)[0], 1.0
    )
    policy = np.full((states, 2), 0.5)
    policy[-1] = 1 - leave, leave
    assert success_probability(mdp, policy) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(evaluate_policy(mdp, policy), 1.0, rtol=1e-12)
    assert occupancy(mdp, policy)[-1] == pytest.approx(1 / leave + 1, rel=1e-6)  # and the end, on entry


@pytest.mark.parametrize("leave", [1e-12, 1e-30])
def test_on_large_problems_an_episode_of_ten_billion_steps_counts_as_endless(leave):
    """Beside it a policy whose episodes end, 600 squared steps in the mean, keeps its value."""
    states = 600
    successor = np.clip(np.arange(states)[:, None] + [-1, 1], 0, states - 1)
    over = np.zeros((states, 2), bool)
    over[-1, 1] = True
    mdp = TabularMDP(
        successor[..., None], np.ones((states, 2, 1)), over[..., None] * 1.0, over[..., None], np.eye(states)[0], 1.0
    )
    policy = np.full((2, states, 2), 0.5)
    policy[0, -1] = 1 - leave, leave
    endless, ends = success_probability(mdp, policy)
    # Of 10^10 steps 1 in 2 S - 1 is taken from the last state, which is entered half as often as the others.
    assert endless == pytest.approx(leave * 1e10 / (2 * states - 1), rel=0.01)
    assert ends == pytest.approx(1.0, rel=1e-9)
