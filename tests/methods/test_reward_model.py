"""Which pairs are enough to learn a reward from, lake by lake, and how it is learnt. `test_methods` has what is learnt."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_methods import SEEDS, SHORT

from ift_gridworld.data import generators
from ift_gridworld.data.trajectories import replay
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods import reward_model
from ift_gridworld.methods.reward_model import action_counts, train_reward_model
from ift_gridworld.policies.lake import TabularPolicy

SMALL, LARGE = TabularMDP.from_map(("SFG", "HHH")), TabularMDP.from_map(("SFF", "FFG"))  # 2 and 5 tiles to walk on


def base(*reaching):
    """A policy of which only these members' tables say that they reach the goal more often than once in twenty episodes."""
    tables = [0.05, 0.05, 0.05, 0.05]
    for member in reaching:
        tables[member] = 0.06
    return SimpleNamespace(probabilities=lambda: tables)


@pytest.fixture
def informative(monkeypatch):
    """Have each member's pairs differ so many times; `base` says how often it succeeds."""

    def differ(*counts):
        second = torch.stack([(torch.arange(8) < count).float() for count in counts])
        sides = [SimpleNamespace(returns=lambda discount, x=x: x) for x in (torch.zeros_like(second), second)]
        monkeypatch.setattr(reward_model, "compared_episodes", lambda *given: sides)
        monkeypatch.setattr(reward_model, "success_probability", lambda lake, table, horizon: table)

    return differ


def ask(policy, lakes=(SMALL, LARGE)):
    return reward_model._informative_episodes(lakes, policy, generators(0, 4), 8, "cpu")


@pytest.mark.parametrize("counts", [(2, 2, 5, 5), (8, 2, 5, 8)])
def test_each_lake_needs_a_pair_a_tile_of_its_own(informative, counts):
    informative(*counts)
    ask(base())


@pytest.mark.parametrize(
    ("counts", "reaching", "fewest", "needed", "hint"),
    [
        ((2, 1, 5, 5), (0,), 1, 2, False),
        ((1, 2, 5, 5), (1, 2, 3), 1, 2, True),  # the lake's first member says whether its base can be helped
        ((2, 2, 5, 4), (2,), 4, 5, False),
        ((8, 8, 4, 8), (0, 1, 3), 4, 5, True),
    ],
)
def test_the_member_with_fewest_pairs_decides(informative, counts, reaching, fewest, needed, hint):
    informative(*counts)
    with pytest.raises(ValueError, match=rf"pairs is 8, of which {fewest} have .* at least {needed}, .* more pairs") as error:
        ask(base(*reaching))
    assert str(error.value).endswith("or a base that reaches G") == hint


def test_counts_may_fill_the_memory_that_there_is_for_them(monkeypatch, informative):
    """Four bytes, 4 seeds, 8 pairs, 6 tiles, 4 actions."""
    informative(8, 8, 8, 8)
    monkeypatch.setattr(reward_model, "COUNTS_BYTES", 4 * 4 * 8 * 6 * 4)
    ask(base())
    monkeypatch.setattr(reward_model, "COUNTS_BYTES", 4 * 4 * 8 * 6 * 4 - 1)
    with pytest.raises(ValueError, match="allowed: at most"):
        ask(base())


def test_an_environment_without_a_map_has_its_states_to_walk_on():
    """All but the two where it is over."""
    assert reward_model._tiles_to_walk_on(SHORT) == reward_model._tiles_to_walk_on(replace(SHORT, layout=None)) == 4


def test_an_update_moves_each_reward_by_the_learning_rate():
    """Adam's first; by default 0.05. What no pair tells apart stays."""
    reward = train_reward_model(
        TabularMDP.from_map(("SFFG",), is_slippery=True), TabularPolicy(4, 4, SEEDS), generators(0, SEEDS), pairs=48, updates=1
    )
    assert torch.isclose(reward.abs(), torch.tensor(0.05), rtol=1e-3).any() and (reward.abs() < 0.0501).all()
    assert not reward.requires_grad


def test_actions_are_counted_where_they_were_taken():
    """Right twice, then the episode is over: steps that do not count are not counted."""
    lake = TabularMDP.from_map(("SFG",))
    counts = action_counts(replay(lake, [2, 2], count=1)[None], lake)
    assert counts.nonzero()[:, -1].tolist() == [2, 6] and counts.sum() == 2
