"""Demonstrations and walks: they go where the tables and Gymnasium say, as often as they should, each on its own."""

from collections import Counter, deque
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from ift_gridworld.data import (
    SUBOPTIMAL_NOISE,
    Batch,
    Trajectories,
    Walkers,
    best_path,
    demonstrations,
    detour,
    enumerate_trajectories,
    generators,
    label_pairs,
    preference_pairs,
    rollouts,
    sample_episodes,
)
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.envs.registry import make_env
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import occupancy, optimal_policy, success_probability, value_iteration

TWO_PATHS = TabularMDP.from_map(LAKES["two-paths"])
SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)


def uniform(mdp):
    return torch.full((1, mdp.num_states, mdp.num_actions), 1 / mdp.num_actions, dtype=torch.float64)


def walked(mdp, actions):
    """The tiles that a path visits, by the table."""
    tiles = [int(mdp.start.argmax())]
    for action in actions:
        tiles.append(int(mdp.next_state[tiles[-1], action, 0]))
    return tiles


def alike(one, other):
    return all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Trajectories))


def episodes(*rewards):
    """Rows with these rewards, step by step, and junk after them; the first state is the row's number."""
    steps = max(map(len, rewards))
    shape = (len(rewards), steps)
    states = torch.arange(len(rewards))[:, None].expand(shape)
    mask = torch.tensor([[t < len(row) for t in range(steps)] for row in rewards])
    reward = torch.tensor([[*row, *[99.0] * (steps - len(row))] for row in rewards], dtype=torch.float64)
    ends = torch.tensor([[t == len(row) - 1 for t in range(steps)] for row in rewards])
    return Trajectories(states, states, mask, states, reward, ends, torch.zeros_like(ends))


def plausible(observed, expected, freedom):
    """Whether a chi-squared statistic as large as this comes up more often than once in ten thousand times."""
    assert expected.min() >= 5, "too few draws for the chi-squared distribution to apply"
    return chi2.sf(((observed - expected) ** 2 / expected).sum(), freedom) > 1e-4


# ---- paths of a lake without slip ----


def test_two_paths_are_shown():
    """Over the top in five steps; round the bottom in seven."""
    down, right = TWO_PATHS.actions.index("down"), TWO_PATHS.actions.index("right")
    assert best_path(TWO_PATHS) == [right, right, right, down, down]
    assert detour(TWO_PATHS) == [down, down, down, right, right, right, TWO_PATHS.actions.index("up")]
    for quality, path in (("optimal", best_path(TWO_PATHS)), ("suboptimal", detour(TWO_PATHS))):
        shown = demonstrations(TWO_PATHS, 3, quality=quality)
        tiles = walked(TWO_PATHS, path)
        assert shown.actions.tolist() == [path] * 3 and shown.mask.all()
        assert shown.states.tolist() == [tiles[:-1]] * 3 and shown.next_states.tolist() == [tiles[1:]] * 3
        assert LAKES["two-paths"][tiles[-1] // 4][tiles[-1] % 4] == "G"
        assert shown.terminated.tolist() == [[False] * (len(path) - 1) + [True]] * 3 and not shown.truncated.any()
        assert shown.returns(0.9).tolist() == pytest.approx([0.9 ** (len(path) - 1)] * 3)


def shortest(mdp, source, avoid):
    """Steps of the shortest way from `source` to a goal over tiles not in `avoid`, or None."""
    queue, seen = deque([(source, 0)]), {source}
    while queue:
        here, steps = queue.popleft()
        for a in range(4):
            there = int(mdp.next_state[here, a, 0])
            if mdp.success[here, a, 0]:
                return steps + 1
            if not mdp.terminated[here, a, 0] and there not in seen | avoid:
                seen.add(there)
                queue.append((there, steps + 1))
    return None


def shortest_detour(mdp, best):
    """Over ALL optimal ways to all states and all wrong turns there: the steps of the shortest path that never turns back,
    and after how many steps it turns off, the earliest of equals; or None."""
    found = []

    def search(state, seen):
        for a in range(4):
            there = int(mdp.next_state[state, a, 0])
            if best[state, a]:
                if not mdp.terminated[state, a, 0] and there not in seen:
                    search(there, seen | {there})
            elif not mdp.terminated[state, a, 0] and there not in seen:
                rest = shortest(mdp, there, seen)
                if rest is not None:
                    found.append((len(seen) + rest, len(seen) - 1))

    search(0, {0})
    return min(found, default=None)


def test_detour_is_the_shortest_path_with_a_wrong_turn_and_no_turning_back():
    fallbacks = 0
    for seed in range(60):
        size = np.random.default_rng(seed).integers(2, 6, 2)
        mdp = TabularMDP.from_map(random_map((int(size[0]), int(size[1])), seed=seed, frozen=0.8))
        best, path = optimal_policy(mdp) > 0, detour(mdp)
        tiles, expected = walked(mdp, path), shortest_detour(mdp, best)
        assert mdp.success[tiles[-2], path[-1], 0], "it reaches the goal"
        assert len(path) > len(best_path(mdp))
        if expected is None:  # a corridor: the first step is wasted, the optimal path follows
            fallbacks += 1
            assert tiles[:2] == [0, 0] and path[1:] == best_path(mdp)
        else:
            wrong = [not best[tile, action] for tile, action in zip(tiles, path, strict=False)]
            assert (len(path), wrong.index(True)) == expected and len(set(tiles)) == len(tiles)
    assert 0 < fallbacks < 30


def test_best_path_is_as_long_as_the_shortest_way():
    for seed in range(20):
        mdp = TabularMDP.from_map(random_map((4, 6), seed=seed, frozen=0.7))
        path = best_path(mdp)
        assert len(path) == shortest(mdp, 0, set())
        assert walked(mdp, path)[-1] == mdp.num_states - 1
        assert value_iteration(mdp)[0][0] == pytest.approx(mdp.discount ** (len(path) - 1))


def test_paths_on_a_large_lake():
    """Forty thousand tiles. No way is shorter than from corner to corner, and on a grid another is longer by an even number
    of steps; where there is so much room, these bounds are reached."""
    mdp = TabularMDP.from_map(random_map(200, seed=0))
    for way, steps in ((best_path(mdp), 2 * 199), (detour(mdp), 2 * 199 + 2)):
        tiles = walked(mdp, way)
        assert len(way) == steps and tiles[-1] == mdp.num_states - 1 and len(set(tiles)) == len(tiles)


def test_no_path_to_show_is_an_error():
    one = np.ones((2, 2, 1))  # in state 0, action 0 stays for a reward of 1, action 1 ends the episode for nothing
    ends = np.array([[[False], [True]], [[True], [True]]])
    stay = TabularMDP(np.array([[[0], [1]], [[1], [1]]]), one, one * ~ends, ends, np.array([1.0, 0.0]), 0.9)
    with pytest.raises(ValueError, match="never reaches a goal"):
        best_path(stay)
    with pytest.raises(ValueError, match="number of demonstrations is 0"):
        demonstrations(TWO_PATHS, 0)
    with pytest.raises(ValueError, match="'best'"):
        demonstrations(TWO_PATHS, quality="best")


# ---- episodes where chance has a say ----


def test_demonstrations_on_slippery_ice_come_from_the_optimal_policy():
    """Optimal: only optimal actions. Sub-optimal: action frequencies are (1 - noise) optimal + noise / A, tile by tile."""
    optimal = optimal_policy(SLIPPERY)
    shown = demonstrations(SLIPPERY, 50)
    assert (optimal[shown.states, shown.actions] > 0)[shown.mask].all()
    assert shown.states.shape[0] == 50 and (shown.states[:, 0] == 0).all()
    shown = demonstrations(SLIPPERY, 2000, quality="suboptimal")
    counts = np.zeros((16, 4))
    np.add.at(counts, (shown.states[shown.mask], shown.actions[shown.mask]), 1)
    seen = counts.sum(-1) > 100
    expected = (1 - SUBOPTIMAL_NOISE) * optimal[seen] + SUBOPTIMAL_NOISE / 4
    assert plausible(counts[seen], counts[seen].sum(-1, keepdims=True) * expected, 3 * seen.sum())


def test_who_arrives_steps_onto_a_gift():
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
    shown = demonstrations(mdp, 50)
    arrived = shown.reached_goal(mdp)
    assert arrived.shape == shown.mask.shape and 0 < arrived.sum() < 50
    assert torch.equal(arrived, (shown.next_states == 15) & shown.mask)


def test_several_starts_are_sampled_too():
    mdp = TabularMDP.from_map(("SFFS", "HGFF", "FFSG"))
    shown = demonstrations(mdp, 60)
    assert set(shown.states[:, 0].tolist()) == set(np.flatnonzero(mdp.start))
    assert (shown.returns(1.0) == 1).all()


def test_demonstrations_are_drawn_from_the_generator():
    one, same, other = (demonstrations(SLIPPERY, 8, generator=torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert alike(one, same) and not torch.equal(one.states[:, :3], other.states[:, :3])


# ---- walking ----


@pytest.mark.parametrize("seed", range(6))
def test_walks_agree_with_gymnasium_step_by_step(seed):
    """Each row's actions, replayed in the environment itself; a clock of 9 steps cuts many of them."""
    env = make_env("random", size=(4, 5), seed=seed, frozen=0.8, max_episode_steps=9)
    mdp = TabularMDP.from_env(env)
    walk = sample_episodes(mdp, uniform(mdp), 20, generators(seed, 1))[0]
    for row in range(20):
        state, _ = env.reset()
        ended = False
        for t in range(walk.mask.shape[-1]):
            assert bool(walk.mask[row, t]) is not ended, "every step up to the end counts, none after it"
            if ended:
                continue
            assert walk.states[row, t] == state
            state, reward, terminated, truncated, _ = env.step(int(walk.actions[row, t]))
            assert (walk.next_states[row, t], walk.reward[row, t]) == (state, reward)
            assert bool(walk.terminated[row, t]) is terminated
            # Gymnasium's clock also rings over an end that comes with the last step; here a cut is no end.
            assert bool(walk.truncated[row, t]) is (truncated and not terminated)
            ended = terminated or truncated
        assert ended


def test_the_clock_cuts_and_starts_anew():
    """With reset every step counts, the next episode follows the last, and the clock carries over between two walks."""
    mdp = replace(TabularMDP.from_map(LAKES["4x4"], is_slippery=True), horizon=7)
    walkers = Walkers(mdp, generators(0, 2), 50)
    first, second = walkers.walk(uniform(mdp), 24), walkers.walk(uniform(mdp), 16)
    both = [torch.cat([getattr(x, f.name) for x in (first, second)], -1) for f in fields(Trajectories)]
    walk = Trajectories(*both)
    assert walk.mask.all() and walk.mask.shape == (2, 50, 40)
    ended = walk.terminated | walk.truncated
    assert not (walk.terminated & walk.truncated).any()
    assert torch.equal(walk.states[..., 1:], torch.where(ended, 0, walk.next_states)[..., :-1])  # tile 0 is the start
    clock = torch.zeros(2, 50, dtype=torch.int64)
    for t in range(40):
        clock = clock + 1
        assert torch.equal(walk.truncated[..., t], (clock == 7) & ~walk.terminated[..., t])
        clock = torch.where(ended[..., t], 0, clock)
    assert walk.truncated.any() and walk.terminated.any()


def test_without_reset_one_episode_a_row():
    walk = sample_episodes(SLIPPERY, uniform(SLIPPERY), 100, generators(0, 1))
    assert (walk.mask.long().diff(dim=-1) <= 0).all()  # once over, always over
    last = walk.mask.sum(-1, keepdim=True) - 1
    assert (walk.terminated | walk.truncated).gather(-1, last).all()
    assert walk.mask.shape[-1] == walk.mask.sum(-1).max() <= SLIPPERY.horizon  # no step that nobody needs
    discounted = [sum(0.9**t * r for t, r in enumerate(row[m])) for row, m in zip(walk.reward[0], walk.mask[0], strict=True)]
    np.testing.assert_allclose(walk.returns(0.9)[0], discounted, rtol=1e-12)


def test_a_cut_by_the_clock_ends_a_row_too():
    """Against the edge for ever: asked for 20 steps of one episode, a clock of 7 gives 7."""
    mdp = replace(TWO_PATHS, horizon=7)
    stay = torch.eye(4, dtype=torch.float64)[torch.zeros(1, 16, dtype=torch.int64)]
    walk = Walkers(mdp, generators(0, 1), 3).walk(stay, 20, reset=False)
    assert walk.mask.shape == (1, 3, 7) and walk.mask.all()
    assert walk.truncated.tolist() == [[[False] * 6 + [True]] * 3] and not walk.terminated.any()


@pytest.mark.parametrize("success_rate", [1 / 3, 0.7])
def test_frequencies_of_actions_and_outcomes(success_rate):
    """120 000 steps by a lopsided policy, with an action never taken: chi-squared over every (tile, action), fixed seed."""
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=success_rate)
    chances = torch.tensor([0.4, 0.0, 0.35, 0.25], dtype=torch.float64)
    walk = Walkers(mdp, generators(11, 1), 400).walk(chances.expand(1, 16, 4), 300)
    counts = np.zeros((16, 4, 16))
    np.add.at(counts, (walk.states.flatten(), walk.actions.flatten(), walk.next_states.flatten()), 1)
    assert not counts[:, 1].any()

    taken = counts.sum(-1)
    visited = taken.sum(-1) > 100
    assert visited.sum() >= 8
    expected = taken[visited].sum(-1, keepdims=True) * chances.numpy()
    assert plausible(taken[visited][:, [0, 2, 3]], expected[:, [0, 2, 3]], 2 * visited.sum())

    expected = taken[..., None] * mdp.transition
    enough = taken.min(-1, where=chances.numpy() > 0, initial=np.inf) > 100
    observed, possible = counts[enough][:, [0, 2, 3]], mdp.transition[enough][:, [0, 2, 3]] > 0
    assert not observed[~possible].any(), "an outcome of probability 0 came up"
    freedom = possible.sum() - possible.any(-1).sum()
    assert plausible(observed[possible], expected[enough][:, [0, 2, 3]][possible], freedom)


def test_frequencies_of_starts():
    mdp = replace(SLIPPERY, start=np.eye(16)[[0, 2, 6]].T @ [0.2, 0.5, 0.3])
    counts = Counter(Walkers(mdp, generators(0, 1), 5000).states.flatten().tolist())
    observed = np.array([counts[s] for s in (0, 2, 6)])
    assert observed.sum() == 5000 and plausible(observed, 5000 * np.array([0.2, 0.5, 0.3]), 2)


def test_no_slot_of_probability_zero_is_drawn_even_at_the_edges():
    """Slots 0, 2 and 4 have no probability; draws lie in [0, 1). Chances that add up to less than 1 do not run over. However
    many draws there are: sums are made of all rows, or of those drawn from."""
    rows = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0], [0.333, 0.333, 0.333, 0.0, 0.0]], dtype=torch.float64)
    below = np.nextafter
    draws = torch.tensor([0.0, below(0.5, 0), 0.5, below(1, 0), below(1, 0)], dtype=torch.float64)
    for expected in (1, 1000):
        chances = rollouts.CategoricalRows(rows, draws=expected)
        assert chances.pick(torch.tensor([0, 0, 0, 0, 1]), draws).tolist() == [1, 1, 3, 3, 2]
        assert torch.equal(chances.rows, rows) == (expected == 1)


def test_a_walk_depends_on_its_own_seed_alone():
    policy = torch.softmax(torch.randn(4, 16, 4, generator=torch.Generator().manual_seed(0)), -1)
    many = sample_episodes(SLIPPERY, policy, 6, generators(20, 4))
    assert alike(many, sample_episodes(SLIPPERY, policy, 6, generators(20, 4)))
    for i in range(4):
        one = sample_episodes(SLIPPERY, policy[i : i + 1], 6, generators(20 + i, 1))
        steps = one.mask.shape[-1]  # a batch is as long as its longest episode
        assert alike(one[0], many[i, :, :steps])
        assert not many.mask[i, :, steps:].any()
    assert not torch.equal(many.states[0, :, :5], many.states[1, :, :5])


def test_numbers_for_long_walks_are_drawn_block_by_block(monkeypatch):
    policy, uniform = np.full((16, 4), 0.25), torch.full((1, 16, 4), 0.25)
    at_once = Walkers(SLIPPERY, generators(3, 2), 4).walk(uniform, 60), sample_episodes(SLIPPERY, policy, 4, generators(3, 2))
    monkeypatch.setattr(rollouts, "STEPS_AT_ONCE", 7)
    by_blocks = Walkers(SLIPPERY, generators(3, 2), 4).walk(uniform, 60), sample_episodes(SLIPPERY, policy, 4, generators(3, 2))
    for one, two in zip(at_once, by_blocks, strict=True):
        assert all(torch.equal(getattr(one, f), getattr(two, f)) for f in ("states", "actions", "next_states", "mask"))


def test_one_policy_may_be_shared_by_all_seeds():
    table = optimal_policy(SLIPPERY)
    shared = sample_episodes(SLIPPERY, table, 5, generators(0, 3))
    assert alike(shared, sample_episodes(SLIPPERY, torch.as_tensor(table).expand(3, -1, -1), 5, generators(0, 3)))


# ---- preferences ----


def test_pairs_are_labelled_by_return_and_ties_left_out():
    """Discounted by 0.5: rows return (1, 1/2), (1/2, 1/4), (0, 1/4), (1/2, 1/2): the third pair is turned, the last dropped."""
    first = episodes([1.0], [0, 1.0], [0.0], [0, 1.0])
    second = episodes([0, 1.0, 0], [0, 0, 1.0], [0, 0, 1.0], [0, 1.0, 0])
    chosen, rejected = label_pairs(first, second, 0.5)
    assert chosen.states[:, 0].tolist() == rejected.states[:, 0].tolist() == [0, 1, 2]
    assert chosen.returns(0.5).tolist() == [1, 0.5, 0.25]
    assert rejected.returns(0.5).tolist() == [0.5, 0.25, 0]
    assert chosen.mask.sum(-1).tolist() == [1, 2, 3] and rejected.mask.sum(-1).tolist() == [3, 3, 1]


def test_labelled_pairs_keep_their_order():
    """So that the first n of them are a fair sample: whoever cuts the list must not cut one kind of pair."""
    first, second = episodes([0.0], [1.0], [0.0], [1.0], [0.0]), episodes([1.0], [0.0], [1.0], [1.0], [1.0])
    chosen, rejected = label_pairs(first, second, 1.0)
    assert chosen.states[:, 0].tolist() == rejected.states[:, 0].tolist() == [0, 1, 2, 4]


def test_preference_pairs_on_a_lake_without_slip_are_the_two_paths():
    chosen, rejected = preference_pairs(TWO_PATHS, 2)
    assert alike(chosen, demonstrations(TWO_PATHS, 2))
    assert alike(rejected, demonstrations(TWO_PATHS, 2, quality="suboptimal"))


def test_preference_pairs_on_slippery_ice_say_something():
    chosen, rejected = preference_pairs(SLIPPERY, 25)
    assert len(chosen.states) == len(rejected.states) == 25
    assert (chosen.returns(SLIPPERY.discount) > rejected.returns(SLIPPERY.discount)).all()
    again = preference_pairs(SLIPPERY, 25)
    assert alike(chosen, again[0]) and alike(rejected, again[1])


def test_too_few_different_returns_are_an_error():
    """Undiscounted, every episode of a lake without holes returns 1."""
    mdp = TabularMDP.from_map(("SFG",), is_slippery=True, discount=1.0)
    with pytest.raises(ValueError, match="only 0 of 4 preference pairs.*allowed: a lake on which episodes do arrive") as error:
        preference_pairs(mdp, 4)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="number of preference pairs is 0"):
        preference_pairs(mdp, 0)


# ---- batches ----


def test_a_batch_is_validated_where_it_is_made():
    states, mask = torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)
    Batch(states, states, mask)
    with pytest.raises(ValueError, match="torch.int64"):
        Batch(states, states, states)
    with pytest.raises(ValueError, match=r"'actions': \(2, 2\)"):
        Batch(states, states[:, :2], mask)


def test_indexing_takes_every_field_along():
    shown = demonstrations(SLIPPERY, 6)
    part = shown[2:4]
    for field in fields(Trajectories):
        assert torch.equal(getattr(part, field.name), getattr(shown, field.name)[2:4])
    assert alike(part.to("cpu"), part)


def test_without_discount_the_shortest_way_is_shown_and_no_way_is_worse():
    """Every way to the goal returns 1: a path is still found, a sub-optimal one does not exist."""
    mdp = TabularMDP.from_map(LAKES["two-paths"], discount=1.0)
    assert best_path(mdp) == [2, 2, 2, 1, 1]
    with pytest.raises(ValueError, match="discount 1.*below 1"):
        detour(mdp)


def test_the_two_answers_of_a_pair_start_alike():
    """On a lake with two starts: else a pair would compare prompts, not answers."""
    mdp = TabularMDP.from_map(("SFS", "FFF", "FFG"))
    chosen, rejected = preference_pairs(mdp, 30)
    assert torch.equal(chosen.states[:, 0], rejected.states[:, 0])
    assert set(chosen.states[:, 0].tolist()) == {0, 2}


# ---- enumeration ----

# Action 0 ends a lottery in one place, with a prize three times in ten; action 1 stays: outcomes that differ in reward alone.
LOTTERY = TabularMDP(
    np.array([[[1, 1], [0, 0]], [[1, 1], [1, 1]]]),
    np.array([[[0.3, 0.7], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]),
    np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]),
    np.array([[[True, True], [False, False]], [[True, False], [True, False]]]),
    np.array([1.0, 0.0]),
    0.9,
)
SMALL = {
    "firm": TabularMDP.from_map(("SFG", "HFF"), discount=0.9),
    "slippery": TabularMDP.from_map(("SFG", "HFF"), is_slippery=True, success_rate=0.7, discount=0.9),
    "several starts": TabularMDP.from_map(("SFS", "HSG"), is_slippery=True, discount=0.9),
    "lottery": LOTTERY,
}


@pytest.fixture(params=SMALL, name="listed")
def listed_within_three_steps(request):
    """A small MDP, all its trajectories of at most three steps, a policy, and how likely that walks each."""
    mdp = SMALL[request.param]
    walks, chance = enumerate_trajectories(mdp, 3)
    policy = np.random.default_rng(0).dirichlet(np.ones(mdp.num_actions), mdp.num_states)
    taken = np.where(walks.mask, policy[walks.states, walks.actions], 1.0)
    return mdp, walks, policy, chance.numpy() * taken.prod(-1)


def test_nothing_that_can_be_walked_is_missing_or_listed_twice(listed):
    """Under any policy the probabilities add up to 1, each start's to its own; what differs from no other row in its actions,
    successors and rewards is listed once."""
    mdp, walks, _, likely = listed
    assert likely.sum() == pytest.approx(1, rel=1e-13)
    by_start = np.bincount(walks.states[:, 0], likely, mdp.num_states)
    np.testing.assert_allclose(by_start, mdp.start, rtol=1e-13)
    rows = torch.stack([walks.states, walks.actions, walks.next_states, walks.reward, walks.mask], -1).flatten(1)
    assert len(torch.unique(rows, dim=0)) == len(likely)


def test_enumerated_successes_visits_and_returns_are_the_oracles(listed):
    """Success and visits within three steps are `planning`'s; the return is V_t = sum_a pi(a|s) sum_k P (r + gamma V_(t-1)) by
    loops, no value following an end."""
    mdp, walks, policy, likely = listed
    reached = (walks.terminated & (walks.reward == 1)).any(-1).numpy()
    assert likely @ reached == pytest.approx(success_probability(mdp, policy, 3), rel=1e-12)

    visits = np.zeros(mdp.num_states)
    last = walks.next_states.gather(-1, walks.mask.sum(-1, keepdim=True) - 1)
    for states, mask, end, p in zip(walks.states, walks.mask, last, likely, strict=True):
        np.add.at(visits, [*states[mask], *end], p)
    np.testing.assert_allclose(visits, occupancy(mdp, policy, discount=1.0, horizon=3), rtol=1e-12)

    value = np.zeros(mdp.num_states)
    for _ in range(3):
        following, value = value, np.zeros(mdp.num_states)
        for s, a, k in np.ndindex(mdp.next_state.shape):
            ahead = 0.9 * following[mdp.next_state[s, a, k]] * ~mdp.terminated[s, a, k]
            value[s] += policy[s, a] * mdp.probability[s, a, k] * (mdp.reward[s, a, k] + ahead)
    assert likely @ walks.returns(0.9).numpy() == pytest.approx(value @ mdp.start, rel=1e-12)


def test_enumerated_steps_are_the_tables(listed):
    """Row by row: each step follows from the last, is an outcome of the table with that reward and end, its chance is theirs
    multiplied; the last one terminates or is cut by the clock, at three steps and not before; what comes after is 0."""
    mdp, walks, _, _ = listed
    chance = enumerate_trajectories(mdp, 3)[1]
    for row, p in enumerate(chance):
        steps = int(walks.mask[row].sum())
        assert walks.mask[row, :steps].all()
        expected = mdp.start[walks.states[row, 0]]
        for t in range(steps):
            s, a, there, reward, ends, cut = (
                getattr(walks, name)[row, t].item()
                for name in ("states", "actions", "next_states", "reward", "terminated", "truncated")
            )
            outcome = (mdp.next_state[s, a] == there) & (mdp.reward[s, a] == reward) & (mdp.terminated[s, a] == ends)
            expected *= mdp.probability[s, a][outcome].sum()
            assert (ends or cut) is (t == steps - 1) and cut is (t == 2 and not ends)
            assert t == steps - 1 or walks.states[row, t + 1] == there
        assert p.item() == pytest.approx(expected, rel=1e-13)
        assert not any(getattr(walks, field.name)[row, steps:].any() for field in fields(Trajectories))


def test_the_clock_of_an_enumeration_is_the_mdps_own_unless_told():
    short = replace(SMALL["firm"], horizon=3)
    own, told = enumerate_trajectories(short), enumerate_trajectories(SMALL["firm"], 3)
    assert alike(own[0], told[0]) and torch.equal(own[1], told[1])
    assert enumerate_trajectories(short, 2)[0].mask.shape[-1] == 2
    # Where every episode ends early a later clock changes nothing: from here each action ends within one step.
    once = TabularMDP.from_map(("HHH", "HSG", "HHH"), is_slippery=True)
    assert alike(enumerate_trajectories(once, 1)[0], enumerate_trajectories(once, 50)[0])


@pytest.mark.parametrize(
    ("horizon", "limit", "named"),
    [
        (0, 100, ["horizon is 0", "at least 1"]),
        (-2, 100, ["horizon is -2", "at least 1"]),
        (None, 100, ["horizon is None", "at least 1"]),
        (3, 39, ["within 3 steps", "more than 39", "shorter horizon"]),
    ],
)
def test_enumerations_without_an_end_or_too_long_are_refused_in_one_line(horizon, limit, named):
    mdp = replace(TabularMDP.from_map(("SF", "HG")), horizon=None)
    with pytest.raises(ValueError) as error:
        enumerate_trajectories(mdp, horizon, limit=limit)
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value)
    # From either tile one action of four ends, three go on: 1 + 3 (1 + 3 · 4) = 40.
    assert len(enumerate_trajectories(mdp, 3, limit=40)[1]) == 40
