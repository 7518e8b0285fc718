"""Many environments as one look-up: step for step Gymnasium's where nothing is left to chance, else alike in distribution."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from scipy.stats import chisquare

from ift_gridworld import TabularMDP, make_env
from ift_gridworld.envs.maps import bridge, time_limit
from ift_gridworld.envs.vector import TabularVectorEnv, _EqualDraws, equal_slots
from ift_gridworld.optimisation import Adam
from ift_gridworld.planning import evaluate_policy, optimal_policy, success_probability, value_iteration
from ift_gridworld.runtime import standard_settings

FIRM = ("FrozenLake-v1", {"is_slippery": False}), ("CliffWalking-v1", {}), ("ift_gridworld/TwoPaths-v0", {})


def of(name, **options):
    return TabularMDP.from_env(make_env(name, **options))


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
@pytest.mark.parametrize(("name", "options"), FIRM)
def test_without_chance_it_is_gymnasiums_own(name, options, mode):
    """Every observation, reward, ending, time limit and new beginning, of all or of those asked for, step for step."""
    mode = AutoresetMode[mode]
    peer = gymnasium.make_vec(
        name, num_envs=7, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, max_episode_steps=30, **options
    )
    ours = TabularVectorEnv(TabularMDP.from_env(gymnasium.make(name, **options)), 7, max_episode_steps=30, autoreset_mode=mode)
    np.testing.assert_array_equal(ours.reset(seed=0)[0], peer.reset(seed=0)[0])
    random, over, cut = np.random.default_rng(0), 0, 0
    for t in range(600):
        if t % 25 == 24:
            which = random.random(7) < 0.5
            which[t % 2] = True  # Gymnasium refuses to reset none
            mine, theirs = (env.reset(options={"reset_mask": which.copy()})[0] for env in (ours, peer))
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
        actions = random.integers(0, ours.single_action_space.n, 7)
        mine, theirs = ours.step(actions), peer.step(actions)
        for one, other in zip(mine[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        over, cut = over + mine[2].sum(), cut + mine[3].sum()
        assert set(mine[4]) == set(theirs[4]) - {"prob", "_prob"}
        if "final_obs" in mine[4]:
            np.testing.assert_array_equal(mine[4]["_final_info"], theirs[4]["_final_info"])
            shown = mine[4]["_final_obs"]
            np.testing.assert_array_equal(shown, theirs[4]["_final_obs"])
            np.testing.assert_array_equal(mine[4]["final_obs"][shown], theirs[4]["final_obs"][shown].astype(int))
    assert over + cut > 20 and cut > 0


@pytest.mark.parametrize(
    ("name", "options", "slots"),
    [
        ("4x4", {"is_slippery": True}, 3),
        ("4x4", {"is_slippery": True, "success_rate": 0.8}, 10),
        ("4x4", {"is_slippery": True, "success_rate": 0.77}, 0),  # no multiples of a small fraction
        ("CliffWalking-v1", {"is_slippery": True}, 3),
    ],
)
def test_outcomes_come_as_often_as_the_table_says(name, options, slots):
    """Chi-squared over the outcomes of every (state, action) that was tried often, at 99.99 % of its degrees of freedom."""
    mdp = of(name, **options)
    assert equal_slots(mdp.probability) == slots
    env = TabularVectorEnv(mdp, 500, seed=1, max_episode_steps=60)
    states, _ = env.reset()
    random, seen, resets = (
        np.random.default_rng(2),
        np.zeros((mdp.num_states, mdp.num_actions, mdp.num_states)),
        np.zeros(500, bool),
    )
    for _ in range(400):
        actions = random.integers(0, mdp.num_actions, 500)
        after, _, ended, cut, _ = env.step(actions)
        np.add.at(seen, (states[~resets], actions[~resets], after[~resets]), 1)
        assert (after[resets] == mdp.start.argmax()).all()
        states, resets = after, ended | cut
    count = seen.sum(-1, keepdims=True)
    expected = count * mdp.transition
    assert not seen[expected == 0].any()
    sound = expected > 5
    statistic = ((seen - expected)[sound] ** 2 / expected[sound]).sum()
    freedom = sound.sum() - (sound.any(-1)).sum()
    assert freedom > 30 and statistic < freedom + 3.8 * np.sqrt(2 * freedom) + 5


def test_trajectories_are_distributed_as_gymnasiums():
    """Where a random walk on slippery ice stands at its fifth step, beside Gymnasium's own: chi-squared of two samples."""
    count, peer = 3000, gymnasium.make("FrozenLake-v1", is_slippery=True)
    random, theirs = np.random.default_rng(0), np.zeros(16)
    peer.reset(seed=0)
    for _ in range(count):
        state, _ = peer.reset()
        for _ in range(5):
            state, _, ended, cut, _ = peer.step(int(random.integers(4)))
            if ended or cut:
                break
        theirs[state] += 1
    env = TabularVectorEnv(of("4x4", is_slippery=True), count, seed=3)
    states, _ = env.reset()
    final, going = states, np.ones(count, bool)
    for _ in range(5):
        states, _, ended, cut, _ = env.step(random.integers(0, 4, count))
        final = np.where(going, states, final)
        going &= ~(ended | cut)
    ours = np.bincount(final, minlength=16)
    both = ours + theirs > 10
    statistic = ((ours - theirs)[both] ** 2 / (ours + theirs)[both]).sum()
    assert statistic < 37, "of at most 15 degrees of freedom, 99.9 %"


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_a_policy_earns_what_it_is_worth(mode):
    """Share of successes of the optimal policy on slippery 8x8, and the clock that takes some away, against exact numbers."""
    mdp = of("8x8", is_slippery=True)
    policy, limit = optimal_policy(mdp).argmax(-1), 60
    env = TabularVectorEnv(mdp, 4000, seed=0, max_episode_steps=limit, autoreset_mode=AutoresetMode[mode])
    states, _ = env.reset()
    won, going = np.zeros(4000, bool), np.ones(4000, bool)
    for _ in range(limit):
        states, reward, ended, cut, _ = env.step(policy[states])
        won |= going & (reward > 0)
        going &= ~(ended | cut)
    assert not going.any(), "no episode is longer"
    expected = float(success_probability(mdp, optimal_policy(mdp), limit))
    assert 0.1 < expected < 0.6 and abs(won.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)


def test_several_starts_are_drawn_as_often_as_they_should():
    """Taxi has 300; a lake with two S begins on either."""
    mdp = TabularMDP.from_map(("SFS", "FHG"))
    for mode in AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP:
        env = TabularVectorEnv(mdp, 2000, seed=0, max_episode_steps=2, autoreset_mode=mode)
        found = [env.reset()[0]]
        for _ in range(2 if mode is AutoresetMode.SAME_STEP else 3):
            found.append(env.step(np.zeros(2000, int))[0])
        for states in (found[0], found[-1]):
            assert set(states) == {0, 2} and abs((states == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)
        assert (found[0] != found[-1]).any()
    taxi = of("Taxi-v4")
    assert len(set(TabularVectorEnv(taxi, 5000, seed=0).reset()[0])) == 300


@pytest.mark.parametrize(
    ("name", "options"), [("4x4", {"is_slippery": True}), ("Taxi-v4", {}), ("Taxi-v4", {"is_slippery": True})]
)
def test_a_seed_says_it_all(name, options):
    """Whether it is given to the constructor or to `reset`, and whatever has gone before; a mask changes nothing of that."""
    mdp, mask = of(name, **options), {"reset_mask": np.ones(50, bool)}

    def run(seed, again, options=None):
        env = TabularVectorEnv(mdp, 50, seed=None if again else seed, max_episode_steps=30)
        if again:
            env.step(np.zeros(50, int))
        states, _ = env.reset(seed=np.int64(seed) if again else None, options=options)
        assert env.np_random_seed == seed
        return np.stack([states, *(env.step(np.full(50, t % 4))[0] for t in range(100))])

    first = run(4, again=False)
    np.testing.assert_array_equal(first, run(4, again=True))
    np.testing.assert_array_equal(first, run(4, again=True, options=mask))
    assert (first != run(5, again=False)).any()


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2])
def test_before_the_first_reset_all_stand_on_starts(mode):
    """Here both hold one back on the left, so that a step shows them."""
    env = TabularVectorEnv(TabularMDP.from_map(("SFG", "SFH")), 2000, seed=0, autoreset_mode=mode)
    states = env.step(np.zeros(2000, int))[0]
    assert set(states) == {0, 3} and abs((states == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)


def test_what_was_returned_is_not_used_again():
    """Whoever keeps observations keeps them."""
    for mode in AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP:
        env = TabularVectorEnv(of("4x4"), 20, seed=0, autoreset_mode=mode, max_episode_steps=3)
        kept = [env.reset()[0]]
        copies = [kept[0].copy()]
        for t in range(20):
            result = env.step(np.full(20, t % 4))
            kept += result[:4]
            copies += [x.copy() for x in result[:4]]
        for one, other in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(one, other)


def test_gymnasium_makes_it_by_name():
    env = gymnasium.make_vec("ift_gridworld/TwoPaths-v0", num_envs=5, vectorization_mode="vector_entry_point")
    assert isinstance(env.unwrapped, TabularVectorEnv) and isinstance(env, VectorEnv) and env.num_envs == 5
    states, _ = env.reset(seed=0)
    assert env.observation_space.contains(states) and env.single_action_space.n == 4
    result = env.step(env.action_space.sample())
    assert env.observation_space.contains(result[0]) and [x.dtype for x in result[1:4]] == [np.float64, bool, bool]
    wrapped = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        gymnasium.make_vec("ift_gridworld/FrozenLake-v0", num_envs=3, map_name="8x8", is_slippery=True, max_episode_steps=9,
                           vectorization_mode="vector_entry_point")
    )  # fmt: skip
    wrapped.reset(seed=1)
    infos = [wrapped.step(wrapped.action_space.sample())[4] for _ in range(30)]
    lengths = np.concatenate([info["episode"]["l"][info["_episode"]] for info in infos if "episode" in info])
    assert len(lengths) and lengths.max() == 9
    assert wrapped.single_observation_space.n == 64


@pytest.mark.parametrize(
    ("lake", "options"),
    [
        ("FrozenLake", {}),
        ("FrozenLake", {"map_name": "8x8"}),
        ("FrozenLake", {"map_name": "8x8", "reward_schedule": (2, -1, 0)}),
        ("FrozenLake", {"desc": bridge(40)}),
        ("TwoPaths", {}),
        ("TwoPaths", {"desc": bridge((6, 30))}),
    ],
)
def test_by_name_a_lake_has_its_maps_own_time_limit(lake, options):
    def limit(**asked):
        env = gymnasium.make_vec(f"ift_gridworld/{lake}-v0", num_envs=2, **options, **asked)
        assert isinstance(env.unwrapped, TabularVectorEnv)
        env.reset()
        return next(t for t in range(1, 2000) if env.step(np.zeros(2, int))[3].any())  # left, where all have an edge

    single = gymnasium.make(f"ift_gridworld/{lake}-v0", **options)
    assert limit(is_slippery=False) == time_limit(single.unwrapped.desc)
    assert limit(is_slippery=False, max_episode_steps=7) == 7
    assert limit(is_slippery=False, max_episode_steps=100) == 100  # the id's own, asked for


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2])
def test_wrappers_wrap_it(mode):
    """Statistics of episodes and scaled rewards under either reset; states one-hot."""
    from gymnasium.wrappers import vector as wrappers

    def made():
        return gymnasium.make_vec(
            "ift_gridworld/FrozenLake-v0", num_envs=6, vectorization_mode="vector_entry_point", autoreset_mode=mode
        )

    bare, clipped = made(), wrappers.RecordEpisodeStatistics(wrappers.ClipReward(made(), 0.0, 0.5))
    one_hot = wrappers.FlattenObservation(made()) if mode is AutoresetMode.NEXT_STEP else None
    for env in filter(None, (bare, clipped, one_hot)):
        env.reset(seed=0)
    random, lengths, ended = np.random.default_rng(0), [], 0
    for _ in range(600):
        actions = random.integers(0, 4, 6)
        states, reward, over, cut, _ = bare.step(actions)
        *_, pay, _, _, info = clipped.step(actions)
        np.testing.assert_array_equal(pay, reward / 2)
        ended += (over | cut).sum()
        lengths += [*info["episode"]["l"][info["_episode"]]] if "episode" in info else []
        if one_hot:
            np.testing.assert_array_equal(one_hot.step(actions)[0], np.eye(16)[states])
    assert len(lengths) == ended > 100 and max(lengths) <= 100
    # before 1.4 Gymnasium's own wrapper miscounts the first step after a reset in the same step
    if mode is AutoresetMode.NEXT_STEP or gymnasium.__version__ >= "1.4":
        assert min(lengths) >= 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_envs": 0}, "num_envs is 0; allowed: a whole number >= 1"),
        *(({"num_envs": n}, "num_envs is .*; allowed: a whole number >= 1") for n in (2.5, "3", None, True)),
        *(
            ({"num_envs": 2, "max_episode_steps": limit}, "max_episode_steps is .*; allowed: a whole number >= 0")
            for limit in (-1, 2.5, True)
        ),
        *(
            ({"num_envs": 2, "autoreset_mode": mode}, "autoreset_mode is .*; allowed: NEXT_STEP, SAME_STEP")
            for mode in (AutoresetMode.DISABLED, "DISABLED", "next", None)
        ),
        ({"num_envs": 2, "seed": [1, 2]}, r"seed is \[1, 2\]; allowed: a whole number >= 0"),
    ],
)
def test_mistakes(options, words):
    with pytest.raises(ValueError, match=f"^{words}$"):
        TabularVectorEnv(of("4x4"), **options)


@pytest.mark.parametrize("mdp", ["4x4", gymnasium.make("FrozenLake-v1")], ids=["name", "environment"])
def test_what_is_no_mdp(mdp):
    with pytest.raises(ValueError, match="^mdp is .*; allowed: a TabularMDP, as TabularMDP.from_env"):
        TabularVectorEnv(mdp, 2)


@pytest.mark.parametrize("desc", [["S", "F", "G"], np.array([list("SFG")], "c"), [[b"S", b"F", b"G"]]], ids=repr)
@pytest.mark.parametrize("options", [{}, {"reward_schedule": (1, 0, 0)}])
def test_maps_come_as_rows_or_letter_by_letter(desc, options):
    envs = gymnasium.make_vec("ift_gridworld/FrozenLake-v0", num_envs=2, desc=desc, is_slippery=False, **options)
    envs.reset(seed=0)
    for seen in (1, 2):
        states, rewards, ended, _, _ = envs.step(np.full(2, 1 if len(desc) == 3 else 2))
        assert (states == seen).all() and (ended == (seen == 2)).all() and (rewards == (seen == 2)).all()


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937])
def test_a_generator_may_be_given(bits):
    """Of 32 bits as of 64; what was drawn ahead from another one is not used."""
    mdp, steps = of("4x4", is_slippery=True), []
    for used in (0, 3):
        envs = TabularVectorEnv(mdp, 6000, seed=0)
        for _ in range(used):
            envs.step(np.zeros(6000, int))
        envs.np_random = np.random.Generator(bits(7))
        envs.reset()
        steps.append(envs.step(np.full(6000, 2))[0])
    np.testing.assert_array_equal(*steps)
    counts = np.bincount(steps[0], minlength=5)[[0, 1, 4]]  # up, where the edge holds one back; right; down
    assert counts.sum() == 6000 and chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("seed", [[1, 2], (1, 2), np.arange(2), 1.5, -1, True], ids=repr)
def test_seeds_that_are_none(seed):
    with pytest.raises(ValueError, match="^seed is .*; allowed: a whole number >= 0$"):
        TabularVectorEnv(of("4x4"), 2).reset(seed=seed)


@pytest.mark.parametrize("mask", [np.ones(3, bool), np.ones(2, int), np.ones((1, 2), bool), True, None], ids=repr)
def test_masks_that_are_none(mask):
    with pytest.raises(ValueError, match=r"^reset_mask is .*; allowed: bool \(2,\)$"):
        TabularVectorEnv(of("4x4"), 2).reset(options={"reset_mask": mask})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"render_mode": "rgb_array"}, "render_mode is 'rgb_array'; allowed: None"),
        ({"success_rate": 2.0}, r"success_rate is 2.0; allowed: a probability in \(0, 1\]"),
        ({"success_rate": 2.0, "is_slippery": True}, "success_rate is 2.0"),
        ({"map_name": "9x9"}, "map_name is '9x9'; allowed: 4x4, 8x8"),
        ({"desc": ["SXG"]}, "row 1 has the letter 'X'"),
        ({"desc": ["SXG"], "reward_schedule": (2, -1, 0)}, "row 1 has the letter 'X'"),
        ({"desc": ["FFG"], "reward_schedule": (2, -1, 0)}, "the map has no S"),
        ({"desc": 5}, "the map is 5; allowed: rows of the letters S, F, H, G"),
    ],
)
@pytest.mark.parametrize("lake", ["FrozenLake", "TwoPaths"])
def test_options_that_no_lake_has(lake, options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        gymnasium.make_vec(f"ift_gridworld/{lake}-v0", num_envs=2, **options)


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2])
def test_a_mode_goes_by_name_or_value(mode):
    for spelled in (mode, mode.name, mode.value):
        assert TabularVectorEnv(of("4x4"), 2, autoreset_mode=spelled).metadata["autoreset_mode"] is mode


@pytest.mark.parametrize(("n", "scale"), [(2, 4), (3, 4), (5, 6), (10, 4), (32, 100)])
def test_equal_draws_are_equal_and_independent(n, scale):
    """Chi-squared of neighbours, most of which share a word, and of draws one call apart."""
    draws, random, count = _EqualDraws(n, scale, 5000), np.random.default_rng(0), 5000
    drawn = np.concatenate([draws.more(random) for _ in range(100)]).astype(int)
    assert not (drawn % scale).any()
    for apart in (1, count):
        pairs = np.bincount(drawn[:-apart] // scale * n + drawn[apart:] // scale, minlength=n * n)
        expected = (len(drawn) - apart) / n**2
        statistic, freedom = ((pairs - expected) ** 2 / expected).sum(), n * n - 1
        assert len(pairs) == n * n and statistic < freedom + 4 * np.sqrt(2 * freedom) + 5


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ([0, 4], "actions are from 0 to 4; allowed: 0 to 3"),
        ([-1, 3], "actions are from -1 to 3; allowed: 0 to 3"),
        ([0], r"allowed: whole numbers \(2,\)"),
        ([0.5, 1.0], "actions are float64"),
    ],
)
def test_actions_that_are_none(actions, words):
    """A table that is asked for what it does not have would answer for somebody else."""
    env = TabularVectorEnv(of("4x4"), 2)
    env.reset()
    with pytest.raises(ValueError, match=words):
        env.step(np.array(actions))
    for kind in (np.int32, np.uint8):
        assert (env.step(np.array([2, 1], kind))[0] == [1, 4]).all()
        env.reset()


def test_no_limit():
    env = TabularVectorEnv(of("4x4"), 2, max_episode_steps=0)
    env.reset()
    for _ in range(300):
        assert not env.step(np.zeros(2, int))[3].any()


@standard_settings()
def test_a_loop_as_people_write_them_learns_the_optimum():
    """A tabular actor and critic over `make_vec`, resets left out of what is learned from; judged by the exact oracle."""
    count, steps, discount = 64, 16, 0.99
    env = gymnasium.make_vec("ift_gridworld/TwoPaths-v0", num_envs=count, vectorization_mode="vector_entry_point")
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
    mdp = TabularMDP.from_env(make_env("two-paths"))
    torch.manual_seed(0)
    actor, critic = torch.zeros(16, 4, requires_grad=True), torch.zeros(16, requires_grad=True)
    optimiser = Adam([actor, critic], 0.15)
    states, _ = env.reset(seed=0)
    states, begins = torch.as_tensor(states), torch.zeros(count, dtype=torch.bool)
    for _ in range(60):
        logp, entropy, values, rewards, onward, counted = [], [], [], [], [], []
        for _ in range(steps):
            choice = torch.distributions.Categorical(logits=actor[states])
            actions = choice.sample()
            after, reward, ended, cut, _ = env.step(actions.numpy())
            logp.append(choice.log_prob(actions))
            entropy.append(choice.entropy())
            values.append(critic[states])
            rewards.append(torch.as_tensor(reward))
            onward.append(discount * ~torch.as_tensor(ended))
            counted.append(~begins)  # the step after an episode's last is a reset, and nobody's choice
            states, begins = torch.as_tensor(after), torch.as_tensor(ended | cut)
        target, targets = critic[states].detach(), []
        for t in reversed(range(steps)):
            # Nothing flows back over a reset: there the value of the state itself stands in.
            target = torch.where(counted[t], rewards[t] + onward[t] * target, values[t].detach())
            targets.insert(0, target)
        advantage, sound = torch.stack(targets) - torch.stack(values), torch.stack(counted)
        loss = -torch.stack(logp) * advantage.detach() + 0.5 * advantage**2 - 0.001 * torch.stack(entropy)
        loss[sound].mean().backward()
        optimiser.step()
    policy = torch.softmax(actor.detach().double(), -1).numpy()
    reached, best = evaluate_policy(mdp, policy) @ mdp.start, value_iteration(mdp)[0] @ mdp.start
    assert best == pytest.approx(discount**4) and reached > 0.99 * best
    assert success_probability(mdp, policy, mdp.horizon) > 0.99
