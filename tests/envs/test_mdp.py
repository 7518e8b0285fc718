"""The arrays of an MDP agree with Gymnasium's table to the last entry, however they were made."""

import io
from collections import defaultdict
from dataclasses import fields, replace
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from PIL import Image

from ift_gridworld.envs.maps import LAKES, open_lake, random_map, time_limit, two_paths
from ift_gridworld.envs.registry import make_env
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.planning import value_iteration

SLIP = [{"is_slippery": False}, *({"is_slippery": True, "success_rate": p} for p in (1 / 3, 0.8, 0.05, 1.0))]
TABLES = {
    "4x4": lambda: make_env("4x4"),
    "8x8 slippery": lambda: make_env("8x8", is_slippery=True),
    "4x4 slippery 0.7": lambda: make_env("4x4", is_slippery=True, success_rate=0.7),
    "cliff": lambda: make_env("CliffWalking-v1"),
    "slippery cliff": lambda: make_env("CliffWalkingSlippery-v1"),
    "taxi": lambda: make_env("Taxi-v4"),
}


@pytest.fixture(params=TABLES, scope="module")
def env(request):
    return TABLES[request.param]()


def table(states):
    """An environment that is a table: {state: {action: [(probability, successor, reward, terminated)]}}, started in 0."""
    made = SimpleNamespace(P=states, initial_state_distrib=[1.0] + [0.0] * (len(states) - 1), spec=None)
    made.unwrapped = made
    return made


def same_arrays(one, two):
    for name in ("next_state", "probability", "reward", "terminated", "start"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in ("discount", "horizon", "layout", "actions"):
        assert getattr(one, name) == getattr(two, name)


def maps():
    sizes = np.random.default_rng(0).integers(2, 8, (30, 2))
    drawn = [random_map((int(r), int(c)), frozen=0.7, seed=seed) for seed, (r, c) in enumerate(sizes)]
    return [*LAKES.values(), two_paths((3, 6)), ("SFG",), ("SFFS", "HGFF", "FFSG"), *drawn]


@pytest.mark.parametrize("slip", SLIP, ids=str)
def test_from_map_equals_from_env(slip):
    for rows in maps():
        env = gymnasium.make("FrozenLake-v1", desc=rows, max_episode_steps=time_limit(rows), **slip)
        built, read = TabularMDP.from_map(rows, discount=0.9, **slip), TabularMDP.from_env(env, 0.9)
        for field in fields(TabularMDP):
            if field.name == "origin":  # one is of a map, the other of an environment; both make the same MDP again
                assert built.origin.rows == rows and read.origin.env == "FrozenLake-v1"
                same_arrays(built.origin.mdp, read.origin.mdp)
                continue
            one, two = getattr(built, field.name), getattr(read, field.name)
            if isinstance(one, np.ndarray):
                assert np.array_equal(one, two) and one.dtype == two.dtype, (rows, field.name)
            else:
                assert one == two, (rows, field.name)


def test_from_env_agrees_with_the_environments_own_table(env):
    """Entry by entry, outcomes added up by (successor, reward, terminated), wherever an episode can be."""
    mdp, own = TabularMDP.from_env(env), env.unwrapped.P
    for s in range(mdp.num_states):
        if mdp.terminal[s]:
            continue
        for a in range(mdp.num_actions):
            expected, actual = defaultdict(float), defaultdict(float)
            for p, *outcome in own[s][a]:
                expected[tuple(outcome)] += p
            for k in range(mdp.next_state.shape[-1]):
                outcome = tuple(x[s, a, k].item() for x in (mdp.next_state, mdp.reward, mdp.terminated))
                if mdp.probability[s, a, k] > 0:
                    assert outcome not in actual, "an outcome stands in two slots"
                    actual[outcome] = mdp.probability[s, a, k]
            expected = {outcome: p for outcome, p in expected.items() if p > 0}
            assert actual == pytest.approx(expected, rel=1e-15)

    # What was passed over is never left: no episode walks on from a terminal state.
    reached = set(np.flatnonzero(env.unwrapped.initial_state_distrib))
    frontier = list(reached)
    while frontier:
        here = frontier.pop()
        for a in own[here]:
            for p, successor, _, ends in own[here][a]:
                if p > 0 and not ends and successor not in reached:
                    reached.add(successor)
                    frontier.append(successor)
    assert not mdp.terminal[sorted(reached)].any()
    np.testing.assert_allclose(mdp.start, env.unwrapped.initial_state_distrib, rtol=1e-14)


def test_terminal_states_absorb_without_reward(env):
    mdp = TabularMDP.from_env(env)
    ends = np.flatnonzero(mdp.terminal)
    assert len(ends)
    assert (mdp.next_state[ends] == ends[:, None, None]).all()
    assert (mdp.probability[ends, :, 0] == 1).all() and (mdp.probability[ends, :, 1:] == 0).all()
    assert (mdp.reward[ends] == 0).all() and (mdp.expected_reward[ends] == 0).all()
    assert mdp.terminated[ends, :, 0].all()
    if mdp.layout is not None and set("".join(mdp.layout)) <= set("SFHG"):
        assert [letter in "HG" for letter in "".join(mdp.layout)] == mdp.terminal.tolist()


def test_unused_slots_stand_last_and_stay_without_reward(env):
    mdp = TabularMDP.from_env(env)
    unused = mdp.probability == 0
    assert not (unused[..., :-1] & ~unused[..., 1:]).any()
    assert not unused.all((0, 1)).any(), "a slot that nobody uses"
    itself = np.broadcast_to(np.arange(mdp.num_states)[:, None, None], unused.shape)
    assert (mdp.next_state[unused] == itself[unused]).all()
    assert not mdp.reward[unused].any() and not mdp.terminated[unused].any()


def test_hand_made_table():
    """0: the same outcome twice (added up) and one that differs in reward (kept). 1: may end in 2 or pass on through 3.
    2: an end that the table lets one leave, with a reward. 3: episodes both end in it and pass through it."""
    mdp = TabularMDP.from_env(
        table(
            {
                0: {0: [(0.25, 1, 0.0, False), (0.5, 1, 1.0, False), (0.25, 1, 0.0, False)]},
                1: {0: [(0.5, 2, 5.0, True), (0.25, 3, 0.0, True), (0.25, 3, 0.0, False)]},
                2: {0: [(1.0, 0, 7.0, False)]},
                3: {0: [(1.0, 2, 5.0, True)]},
            }
        )
    )
    assert mdp.next_state[0, 0].tolist() == [1, 1, 0]
    assert mdp.probability[0, 0].tolist() == [0.5, 0.5, 0.0]
    assert mdp.reward[0, 0].tolist() == [0.0, 1.0, 0.0]
    assert mdp.transition[0, 0].tolist() == [0, 1, 0, 0]  # added, not assigned
    assert mdp.expected_reward[:, 0].tolist() == [0.5, 2.5, 0.0, 5.0]
    assert mdp.terminal.tolist() == [False, False, True, False]
    assert mdp.transition[1, 0].tolist() == [0, 0, 0.5, 0.5]
    # A goal: the highest reward outside terminal states, 5 (not the 7 for leaving the end).
    assert np.argwhere(mdp.success).tolist() == [[1, 0, 0], [3, 0, 0]]
    assert (mdp.horizon, mdp.layout, mdp.actions, mdp.is_deterministic) == (None, None, ("0",), False)


def test_corner_of_slippery_ice_adds_up():
    """From tile 0, left: up and left both stay, down leads to tile 4."""
    p = 0.6
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=p)
    assert mdp.probability[0, 0].tolist() == pytest.approx([(1 - p) / 2 + p, (1 - p) / 2, 0])
    assert mdp.next_state[0, 0].tolist() == [0, 4, 0]


def test_dense_forms_are_sums_over_outcomes(env):
    mdp = TabularMDP.from_env(env)
    dense = np.zeros((mdp.num_states, mdp.num_actions, mdp.num_states))
    reward = np.zeros((mdp.num_states, mdp.num_actions))
    for s, a, k in np.ndindex(mdp.next_state.shape):
        dense[s, a, mdp.next_state[s, a, k]] += mdp.probability[s, a, k]
        reward[s, a] += mdp.probability[s, a, k] * mdp.reward[s, a, k]
    np.testing.assert_allclose(mdp.transition, dense, rtol=1e-15)
    np.testing.assert_allclose(mdp.expected_reward, reward, rtol=1e-14)


def test_horizon_comes_from_the_spec():
    assert TabularMDP.from_env(make_env("8x8")).horizon == gymnasium.spec("FrozenLake8x8-v1").max_episode_steps
    assert TabularMDP.from_env(make_env("4x4", max_episode_steps=7)).horizon == 7
    assert TabularMDP.from_env(make_env("CliffWalking-v1")).horizon is gymnasium.spec("CliffWalking-v1").max_episode_steps


@pytest.mark.parametrize("env", ["4x4", "cliff", "taxi"], indirect=True)
def test_moves_are_where_actions_lead(env):
    """Without slip each move shifts (row, column) by `moves`, held back by the edge; Taxi's also by walls."""
    mdp, inner = TabularMDP.from_env(env), env.unwrapped
    taxi = hasattr(inner, "decode")
    shape = (5, 5) if taxi else (len(mdp.layout), len(mdp.layout[0]))

    def place(state):
        return np.array(list(inner.decode(state))[:2] if taxi else divmod(state, shape[1]))

    movers, held_back = set(), 0
    for s, a in np.argwhere(mdp.reward[..., 0] > (-np.inf if taxi else -100)):  # a fall from the cliff leads to the start
        here, there = place(s), place(mdp.next_state[s, a, 0])
        if mdp.terminal[s]:
            continue
        if (there != here).any():
            movers.add(int(a))
        if (there != np.clip(here + mdp.moves[a], 0, np.array(shape) - 1)).any():
            assert taxi and (there == here).all() and mdp.moves[a][0] == 0, "held back, but no wall stands to that side"
            held_back += 1
    assert movers == set(np.flatnonzero(mdp.moves.any(1)))
    assert bool(held_back) == taxi


def test_actions_are_named_in_the_environments_order(env):
    mdp = TabularMDP.from_env(env)
    assert len(mdp.actions) == len(set(mdp.actions)) == mdp.num_actions
    assert mdp.moves.shape == (mdp.num_actions, 2)


def test_success_is_reaching_the_goal(env):
    """The goal of a lake is G, of the cliff walk the last tile, of the taxi the delivery, the only +20 of its table."""
    mdp = TabularMDP.from_env(env)
    if mdp.layout is not None:
        goals = np.flatnonzero(np.array(list("".join(mdp.layout))) == "G")
        expected = np.isin(mdp.next_state, goals) & mdp.terminated
    else:
        expected = mdp.reward == 20
    expected &= ~mdp.terminal[:, None, None] & (mdp.probability > 0)
    assert expected.any() and np.array_equal(mdp.success, expected)


@pytest.mark.parametrize(("schedule", "letters"), [((1, 0, 0), "G"), ((0, 0, 0), "GH"), ((1, 1, 0), "GH"), ((1, 0, 2), "")])
def test_rewards_tell_what_succeeds_and_not_the_map(schedule, letters):
    """What a gift, a hole and ice pay: where every end pays alike every end is a goal, where going on pays most nothing is."""
    mdp = TabularMDP.from_env(gymnasium.make("FrozenLake-v1", is_slippery=True, reward_schedule=schedule))
    entered = np.isin(mdp.next_state, [s for s, letter in enumerate("".join(mdp.layout)) if letter in letters])
    assert np.array_equal(mdp.success, entered & (mdp.probability > 0) & ~mdp.terminal[:, None, None])


def test_nothing_succeeds_where_all_is_over():
    over = TabularMDP(
        np.arange(2)[:, None, None], np.ones((2, 1, 1)), np.zeros((2, 1, 1)), np.ones((2, 1, 1), bool), np.array([1.0, 0.0])
    )
    assert over.terminal.all() and not over.success.any()


def test_layout_of_the_cliff():
    env = make_env("CliffWalking-v1")
    layout = TabularMDP.from_env(env).layout
    letters = np.array([list(row) for row in layout])
    assert np.array_equal(letters == "C", env.unwrapped._cliff)
    assert "".join(layout).index("S") == env.unwrapped.start_state_index and layout[-1][-1] == "G"


@pytest.mark.parametrize(
    ("slip", "expected"),
    [({}, True), ({"is_slippery": True}, False), ({"is_slippery": True, "success_rate": 1.0}, True)],
)
def test_is_deterministic(slip, expected):
    mdp = TabularMDP.from_map(LAKES["4x4"], **slip)
    assert mdp.is_deterministic is expected
    assert ((mdp.probability > 0).sum(-1).max() == 1) is np.bool_(expected)


def astray(successor):
    """Successors of a lake of 16 states, one of them out of range: state 3, action 2."""
    next_state = TabularMDP.from_map(LAKES["4x4"]).next_state.copy()
    next_state[3, 2] = successor
    return next_state


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"discount": 1.1}, "1.1"),
        ({"discount": -0.1}, "-0.1"),
        ({"discount": float("nan")}, "nan"),
        ({"reward": np.zeros((16, 4, 2))}, r"\(16, 4, 2\)"),
        ({"start": np.ones(3) / 3}, r"\(3,\)"),
        ({"start": np.full(16, 0.05)}, "start sums to 0.8"),
        ({"probability": np.full((16, 4, 1), 0.5)}, "probability sums to 0.5"),
        ({"start": np.eye(16)[0] * 1.5 - np.eye(16)[3] * 0.5}, "start holds -0.5; allowed: >= 0"),
        ({"next_state": np.full((16, 4, 1), 16)}, r"next_state holds 16; allowed: 0…15"),
        ({"next_state": np.zeros((16, 4, 1))}, "next_state is an array of float64; allowed: whole numbers"),
        ({"terminated": np.zeros((16, 4, 1), np.int8)}, "terminated is an array of int8; allowed: bool"),
        ({"reward": np.full((16, 4, 1), np.nan)}, "reward holds nan; allowed: finite numbers"),
        ({"reward": np.full((16, 4, 1), -np.inf)}, "reward holds -inf; allowed: finite numbers"),
        ({"reward": np.full((16, 4, 1), -1e307)}, r"^reward holds 1e\+307 or its negative; allowed: up to 1e\+150, or sums"),
        ({"probability": np.full((16, 4, 1), 1.0001, np.float32)}, "probability sums to 1.0001"),
        ({"discount": "0.9"}, "discount is '0.9'"),
        ({"horizon": -5}, "horizon is -5; allowed: a whole number >= 1"),
        ({"horizon": 2.5}, "horizon is 2.5; allowed: a whole number >= 1"),
        ({"actions": ("left", "right")}, "actions names 2; there are 4"),
        ({"next_state": np.full((16, 4, 1), -1)}, "next_state holds -1"),
        ({"next_state": astray(99)}, r"next_state holds 99; allowed: 0…15, the states \(at state 3, action 2\)$"),
        ({"next_state": astray(-2)}, r"next_state holds -2; allowed: 0…15, the states \(at state 3, action 2\)$"),
        ({"start": None}, r"^start is None; allowed: the probability of each of the S states to be the first, such as np.eye"),
        ({"reward": None}, r"^reward is None; allowed: an array \[S, A, K\] of numbers$"),
    ],
)
def test_bad_arrays_are_refused(change, named):
    with pytest.raises(ValueError, match=named):
        replace(TabularMDP.from_map(LAKES["4x4"]), **change)


def test_chances_that_only_add_up_to_one_are_refused():
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
    with pytest.raises(ValueError, match="probability holds -0.5; allowed: >= 0"):
        replace(mdp, probability=np.broadcast_to([1.5, 0.0, -0.5], mdp.probability.shape))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_probabilities_of_any_precision_are_made_to_sum_to_one(kind):
    """Three thirds are 1.00000003 in 32 bits: their rounding is no mistake, and no value sees it."""
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
    probability, start = mdp.probability.astype(kind), np.full(16, 1 / 16).astype(kind)
    given = replace(mdp, probability=probability, start=start)
    assert given.probability.dtype == given.start.dtype == np.float64
    np.testing.assert_allclose(given.probability.sum(-1), 1.0, rtol=1e-15)
    exact = probability.astype(float)
    np.testing.assert_allclose(given.probability, exact / exact.sum(-1, keepdims=True), rtol=1e-15)
    third = kind(1 / 3)
    read = TabularMDP.from_env(table({s: {0: [(third, t, 0.0, t == 2) for t in range(3)]} for s in range(3)}))
    np.testing.assert_allclose(read.probability[0, 0], 1 / 3, rtol=1e-15)


def test_whole_rewards_do_not_overflow():
    """100 steps of 10^18 each are more than 64 bits hold as a whole number."""
    reward = np.full((1, 1, 1), 10**18)
    mdp = TabularMDP(np.zeros((1, 1, 1), int), np.ones((1, 1, 1)), reward, np.zeros((1, 1, 1), bool), np.ones(1), 0.99)
    assert mdp.reward.dtype == np.float64
    assert value_iteration(mdp)[0][0] == pytest.approx(1e20)


def test_an_mdp_without_entries_is_refused():
    nothing = np.zeros((0, 4, 1))
    with pytest.raises(ValueError, match=r"\(0, 4, 1\).*none empty"):
        TabularMDP(nothing.astype(int), nothing, nothing, nothing.astype(bool), np.zeros(0))


@pytest.mark.parametrize("rate", [0, 1.5, float("nan")])
def test_bad_success_rate_is_refused(rate):
    with pytest.raises(ValueError, match=str(rate)):
        TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=rate)


def test_environment_without_a_table_is_refused():
    with pytest.raises(ValueError, match="CartPole"):
        TabularMDP.from_env(gymnasium.make("CartPole-v1"))


def test_an_environment_without_a_start_distribution_is_refused():
    env = gymnasium.make("FrozenLake-v1")
    for change in (
        lambda inner: setattr(inner, "initial_state_distrib", None),
        lambda inner: delattr(inner, "initial_state_distrib"),
    ):
        change(env.unwrapped)
        with pytest.raises(ValueError, match="has no initial_state_distrib; allowed: the probability of each of the S states"):
            TabularMDP.from_env(env)


def test_a_successor_out_of_range_in_an_environments_table_is_named():
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    env.unwrapped.P[6][1] = [(1.0, 16, 0.0, False)]
    with pytest.raises(ValueError, match=r"^next_state holds 16; allowed: 0…15, the states \(at state 6, action 1\)$"):
        TabularMDP.from_env(env)


@pytest.mark.parametrize("rows", ["SG", b"SG", "SFFFHHHG"])
def test_one_string_is_no_map(rows):
    with pytest.raises(ValueError, match="^the map is .*one string; allowed: a sequence of rows, such as") as error:
        TabularMDP.from_map(rows)
    assert repr(rows) in str(error.value) and "\n" not in str(error.value)


def test_a_passenger_whose_mind_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="fickle_passenger is True; allowed: False"):
        TabularMDP.from_env(gymnasium.make("Taxi-v4", fickle_passenger=True))


def test_arrays_may_be_lists():
    """One state that pays 1 and ends."""
    mdp = TabularMDP([[[0]]], [[[1.0]]], [[[1]]], [[[True]]], [1.0], 0.9)  # type: ignore[arg-type]
    assert value_iteration(mdp)[0] == [1.0]


@pytest.mark.parametrize(
    ("states", "named"),
    [
        ({}, "has 0 entries"),
        ({1: {0: [(1.0, 1, 0.0, True)]}}, "has 1 entries, and gaps"),  # numbered from 1
        ({0: {0: []}}, "one outcome or more"),
        ({0: {1: [(1.0, 0, 0.0, True)]}}, "gaps"),
        ({0: {0: [(1.0, 0, 0.0, True)]}, 1: {0: [(1.0, 1, 0.0, True)], 1: [(1.0, 1, 0.0, True)]}}, "the same actions"),
        ({0: {0: [(1.0, 7, 0.0, False)]}, 1: {0: [(1.0, 1, 0.0, True)]}}, "next_state holds 7; allowed: 0…1"),
        ({0: {0: [(1.0, -1, 0.0, False)]}, 1: {0: [(1.0, 1, 0.0, True)]}}, "next_state holds -1; allowed: 0…1"),
        ({0: {0: [(0.5, 0, 0.0, True)]}}, "probability sums to 0.5"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(states, named):
    with pytest.raises(ValueError, match=named) as error:
        TabularMDP.from_env(table(states))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"initial_state_distrib": [1.0, 0.0, 0.0]}, r"initial_state_distrib has shape \(3,\); allowed: \(1,\)"),
        ({"initial_state_distrib": 1.0}, r"initial_state_distrib has shape \(\)"),
        ({"P": None}, "has no transition table P"),
    ],
)
def test_what_says_not_where_episodes_start_is_refused(change, named):
    env = table({0: {0: [(1.0, 0, 0.0, True)]}})
    vars(env).update(change)
    with pytest.raises(ValueError, match=named):
        TabularMDP.from_env(env)
    del env.initial_state_distrib
    vars(env)["P"] = {0: {0: [(1.0, 0, 0.0, True)]}}
    with pytest.raises(ValueError, match="has no initial_state_distrib; allowed: the probability of each of the S states"):
        TabularMDP.from_env(env)


# ---- where an MDP comes from ----


@pytest.mark.parametrize(
    ("name", "options", "origin"),
    [
        ("two-paths", {}, Origin("two-paths", LAKES["two-paths"], None, False, 1 / 3, 0.99, 100)),
        ("open", {"size": (3, 5)}, Origin("open 3x5", open_lake((3, 5)), None, False, 1 / 3, 0.99, 100)),
        ("random", {"size": 5, "seed": 2}, Origin("random 5", random_map(5, seed=2), None, False, 1 / 3, 0.99, 125)),
        ("6x9", {"seed": 1, "label": "pond"}, Origin("pond", random_map((6, 9), seed=1), None, False, 1 / 3, 0.99, 187)),
        ("8x8", {"is_slippery": True}, Origin("8x8", LAKES["8x8"], None, True, 1 / 3, 0.99, 200)),
        (
            "4x4",
            {"is_slippery": True, "success_rate": 0.8, "discount": 0.9},
            Origin("4x4", LAKES["4x4"], None, True, 0.8, 0.9, 100),
        ),
        (
            "CliffWalking-v1",
            {},
            Origin("CliffWalking-v1", None, "CliffWalking-v1", False, None, 0.99, None, {"is_slippery": False}),
        ),
        (
            "Taxi-v4",
            {"is_slippery": True, "success_rate": 0.7, "discount": 0.95},
            Origin("Taxi-v4", None, "Taxi-v4", True, None, 0.95, 200, {"is_slippery": True, "success_rate": 0.7}),
        ),
    ],
)
def test_an_mdp_is_made_by_name_and_made_again_from_its_origin(name, options, origin):
    mdp = TabularMDP.make(name, **options)
    assert mdp.origin == mdp.where == replace(origin, horizon=mdp.horizon)
    assert mdp.horizon == (time_limit(origin.rows) if origin.rows else gymnasium.spec(name).max_episode_steps)
    env_options = {key: value for key, value in options.items() if key not in ("discount", "label")}
    same_arrays(mdp, TabularMDP.from_env(make_env(name, **env_options), discount=origin.discount))
    again = origin.mdp
    assert again is not mdp
    same_arrays(again, mdp)
    assert again.origin == origin and origin.mdp is again, "made once"


def test_every_environment_that_is_read_knows_how_to_be_made_again(env):
    mdp = TabularMDP.from_env(env, discount=0.9)
    same_arrays(mdp.origin.mdp, mdp)
    assert mdp.origin.mdp.is_deterministic == mdp.is_deterministic == (not mdp.origin.is_slippery)


def test_a_time_limit_of_ones_own_is_kept_with_the_origin():
    mdp = TabularMDP.make("4x4")
    short, endless = mdp.with_time_limit(7), mdp.with_time_limit(None)
    assert (mdp.horizon, short.horizon, endless.horizon) == (100, 7, None)
    for other in (short, endless):
        assert other.origin == replace(mdp.origin, horizon=other.horizon)
        same_arrays(other.origin.mdp, other)
        np.testing.assert_array_equal(other.next_state, mdp.next_state)
    with pytest.raises(ValueError, match="horizon is 0; allowed: a whole number >= 1"):
        mdp.with_time_limit(0)
    read = TabularMDP.from_env(make_env("4x4", max_episode_steps=7))
    assert read.origin.horizon == read.origin.mdp.horizon == 7


def test_a_changed_copy_has_no_origin():
    """What it came from would make another MDP."""
    mdp = TabularMDP.make("4x4")
    changed = replace(mdp, reward=2 * mdp.reward)
    assert changed.origin is None
    assert changed.where == Origin("custom 4x4", None, None, False, None, 0.99, 100) and not changed.where.can_be_made
    with pytest.raises(ValueError, match="'custom 4x4' is known by name alone"):
        _ = changed.where.mdp
    assert mdp.where.can_be_made


def test_repr_is_one_line():
    assert repr(TabularMDP.make("4x4", is_slippery=True)) == (
        "TabularMDP(4x4: 16 states, 4 actions, slippery, discount 0.99, time limit 100)"
    )
    assert repr(TabularMDP.make("CliffWalking-v1", discount=1)) == (
        "TabularMDP(CliffWalking-v1: 48 states, 4 actions, deterministic, discount 1, no time limit)"
    )
    one = np.ones((1, 1, 1))
    assert repr(TabularMDP(one.astype(int) - 1, one, one, one > 0, np.ones(1))) == (
        "TabularMDP(custom: 1 states, 1 actions, deterministic, discount 0.99, no time limit)"
    )


def test_a_notebook_shows_the_map_or_nothing():
    picture = Image.open(io.BytesIO(TabularMDP.make("4x4")._repr_png_()))
    assert picture.format == "PNG" and len(picture.convert("RGB").getcolors(10**6)) > 10
    assert TabularMDP([[[0]]], [[[1.0]]], [[[1]]], [[[True]]], [1.0], 0.9)._repr_png_() is None


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: TabularMDP.from_map("SG"), ["'SG'", "one string", "['SFF', 'HHG']"]),
        (lambda: TabularMDP.make("two-path"), ["'two-path'", "did you mean two-paths?"]),
        (
            lambda: TabularMDP.make("Taxi-v3"),
            ["'Taxi-v3'", gymnasium.__version__, "has Taxi-v4;"],
        ),
        (lambda: TabularMDP.make("4x4", size=5), ["size", "'4x4'"]),
        (lambda: TabularMDP.make("4x4", success_rate=0, is_slippery=True), ["success_rate is 0"]),
        (lambda: TabularMDP.make("4x4", discount=2), ["discount is 2"]),
        (lambda: TabularMDP.make("Blackjack-v1"), ["Blackjack", "no transition table P"]),
        (lambda: TabularMDP.make("CliffWalking-v1", success_rate=0.5), ["does not take success_rate"]),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value), str(error.value)
