"""What a lake hands to methods: members on several lakes as each lake alone, and the exact divergence at its edges."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from test_methods import SHORT

from ift_gridworld.data import Trajectories, demonstrations, generators, stacked
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods import source as source_module
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.policies.lake import TabularPolicy

# Of one size; the goal of one is the other's start of a way round a hole. Slip makes outcomes differ by lake, too.
LAKES = [
    TabularMDP.from_map(rows, is_slippery=True, success_rate=rate, discount=0.9).with_time_limit(9)
    for rows, rate in ((("SFG", "FFF"), 0.9), (("SHF", "FFG"), 0.8))
]
SEEDS = 2  # on each


def places(lakes=LAKES, first=0):
    """A source on lakes, and its policy; seeds are numbered over all of them."""
    count = SEEDS * len(lakes)
    policy = TabularPolicy(6, 4, SEEDS * len(LAKES)).initialise(generators(5, SEEDS * len(LAKES))).double()
    policy = policy.members(range(first, first + count))
    shown = stacked([demonstrations(lake, 3) for lake in lakes for _ in range(SEEDS)])
    random = generators(7, SEEDS * len(LAKES))[first : first + count]
    return LakeSource(lakes[0], shown, None, None, random, lakes=lakes if len(lakes) > 1 else ()), policy


def uniform(policy):
    return TabularPolicy(6, 4, policy.population).double()


ASKED = {
    "answers": lambda source, policy: source.answers(policy, source.demonstrations),
    "labelled answers": lambda source, policy: source.labelled_answers(policy, 5, "demonstrator"),
    "labelled demonstrations": lambda source, policy: source.labelled_demonstrations(0, "optimal"),
    "walker": lambda source, policy: source.walker(policy, 4, 12)(),
    "groups": lambda source, policy: source.groups(policy, 6, 3)[0],
    "guided groups": lambda source, policy: source.guided_groups(policy, 1, 4, 2)[1],
    "succeeded": lambda source, policy: source.succeeded(source.groups(policy, 12, 3)[0]),
    "KL": lambda source, policy: source.own_kl(policy, uniform(policy)),
    "learned reward": lambda source, policy: source.learn_reward(policy, 600),
    "successor": lambda source, policy: source.successor(policy, IFTOptions(prediction="expected"))(
        source.demonstrations.states, policy(source.demonstrations.states)
    ),
}


def tensors(answer):
    """All tensors of an answer, [N, ...]; those of steps without what is padded."""
    if isinstance(answer, torch.Tensor):
        return [answer]
    if isinstance(answer, Trajectories):
        return [torch.where(answer.mask, getattr(answer, field.name), 0) for field in fields(answer)]
    return [*tensors(answer.batch), torch.where(answer.batch.mask[..., None], answer.chances, 0.0)]


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_members_on_several_lakes_are_each_lake_alone(ask):
    together = tensors(ask(*places()))
    for i, lake in enumerate(LAKES):
        for ours, theirs in zip(together, tensors(ask(*places([lake], i * SEEDS))), strict=True):
            part = ours[i * SEEDS : (i + 1) * SEEDS]
            part = part[..., : theirs.shape[-1]] if theirs.dim() == 3 and theirs.dtype != torch.float64 else part
            torch.testing.assert_close(part[tuple(slice(0, n) for n in theirs.shape)], theirs, rtol=0, atol=1e-6)
    parts = [x.float() for x in together]
    assert any(not torch.equal(x[:SEEDS], x[SEEDS:]) for x in parts), "the lakes differ"


def test_an_episode_succeeds_where_it_reaches_the_goal_of_its_lake():
    source, policy = places()
    steps = source.groups(policy, 300, 3)[0]
    reached = source.succeeded(steps)
    for n in range(2 * SEEDS):
        goal = (2, 5)[n // SEEDS]
        assert reached[n].tolist() == ((steps.next_states[n] == goal) & steps.mask[n]).any(-1).tolist()
    assert reached.any(-1).all() and not reached.all(-1).any()


def test_a_lakes_own_rewards_say_what_its_goal_is():
    """Where the first lake pays twice as much, the second one's goal is still reached."""
    source, policy = places([replace(LAKES[0], reward=2 * LAKES[0].reward), LAKES[1]])
    reached = source.succeeded(source.groups(policy, 300, 3)[0])
    assert reached.any(-1).all()


def test_answers_begin_where_the_demonstrations_begin():
    source, policy = places()
    answers = source.answers(policy, source.demonstrations)
    assert torch.equal(answers.states[..., 0], source.demonstrations.states[..., 0].expand_as(answers.states[..., 0]))
    assert not torch.equal(source.demonstrations.states[..., 0], source.demonstrations.states[..., 1])


def test_episodes_of_a_group_start_alike_and_groups_do_not():
    walked = ~LAKES[0].terminal / (~LAKES[0].terminal).sum()
    source, policy = places([replace(LAKES[0], start=walked)])
    starts = source.groups(policy, 30, 3)[0].states[..., 0].reshape(SEEDS, 10, 3)
    assert (starts == starts[..., :1]).all()
    assert (starts[:, :, 0] != starts[:, :1, 0]).any()


def test_a_critic_has_one_value_a_state():
    source, policy = places()
    assert source.critic(policy).num_actions == 1


def test_the_longest_episode_is_the_time_limit_or_ten_steps_a_state():
    assert LakeSource(replace(SHORT, horizon=None), None, None, None, ()).longest == 60
    assert LakeSource(replace(SHORT, horizon=7), None, None, None, ()).longest == 7


# ---- the exact divergence ----

LINE = TabularMDP.from_map(("SFFG",)).with_time_limit(5)  # left, down, right, up


def divergence(ours, base, mdp=LINE):
    """KL of one table from another; `LakePolicy` cannot exclude an action exactly, so that both stand in for policies."""

    class Table:
        def __init__(self, table):
            self.table = np.array(table, float)[None]

        def probabilities(self):
            return self.table

    with np.errstate(divide="raise", invalid="raise"):
        return LakeSource(mdp, None, None, None, generators(0, 1)).own_kl(Table(ours), Table(base)).item()


def test_the_divergence_of_a_policy_that_is_certain():
    """Always right: three steps at log 4 each; actions never taken cost nothing, nor does where it never stands."""
    right, uniform = np.tile([0.0, 0, 1, 0], (4, 1)), np.full((4, 4), 0.25)
    assert divergence(right, uniform) == pytest.approx(3 * np.log(4), rel=1e-12)
    assert divergence(uniform, right) == np.inf
    turned = right.copy()
    turned[3] = [1, 0, 0, 0]  # the goal, where all is over
    assert divergence(turned, right) == 0.0
    stays = np.tile([1.0, 0, 0, 0], (4, 1))
    stays[1] = right[0]
    excludes = stays.copy()
    excludes[1] = stays[0]
    assert divergence(stays, excludes) == 0.0, "it never stands on the second tile"
    assert divergence(stays, uniform) == pytest.approx(5 * np.log(4), rel=1e-12)  # bumps until the time limit


def test_the_divergence_is_followed_up_to_a_size(monkeypatch):
    """2 members of 6 x 4 probabilities, 9 steps: 432 numbers."""
    source, policy = places(LAKES[:1])
    for most, known in ((432, True), (431, False)):
        monkeypatch.setattr(source_module, "FOLLOWED", most)
        assert (source.own_kl(policy, uniform(policy)) is not None) == known


@pytest.mark.parametrize("states", [5, 6])
def test_a_larger_lakes_divergence_is_that_of_dense_matrices(states, monkeypatch):
    """Of 6 tiles, on either side of the limit. Half of the episodes begin on the goal, where no step is taken."""
    lakes = [
        replace(lake, start=0.5 * lake.start + 0.5 * (np.arange(6) == goal)) for lake, goal in zip(LAKES, (2, 5), strict=True)
    ]
    source, policy = places(lakes)
    dense = source.own_kl(policy, uniform(policy))
    used = []
    monkeypatch.setattr(source_module, "DENSE_STATES", states)
    occupancy = source_module.occupancy
    monkeypatch.setattr(source_module, "occupancy", lambda *args, **named: used.append(1) or occupancy(*args, **named))
    torch.testing.assert_close(source.own_kl(policy, uniform(policy)), dense, rtol=1e-12, atol=0)
    assert bool(used) == (states == 5) and (dense > 0.01).all()


def test_a_divergence_counts_steps_and_does_not_discount_them():
    """The second of two steps counts as much as the first, on a lake with discount 0.5, whichever way visits are found."""
    lake = replace(TabularMDP.from_map(("SFG",), discount=0.5), horizon=5)
    right, even = np.tile([0.0, 0, 1, 0], (3, 1)), np.full((3, 4), 0.25)
    with pytest.MonkeyPatch.context() as patch:
        for states in (0, 40):
            patch.setattr(source_module, "DENSE_STATES", states)
            assert divergence(right, even, lake) == pytest.approx(2 * np.log(4), rel=1e-12)
