"""The failure atlas: what is known of a pair by hand, each network on its own pair, exact points of small lakes, its files."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from ift_gridworld.cli.failures import Args, main
from ift_gridworld.data import stacked
from ift_gridworld.data.trajectories import replay
from ift_gridworld.evaluation.best_of_n import best_of_n_kl
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.policies.lake import MLPPolicy
from ift_gridworld.studies.failures import atlas_displacement as pairs
from ift_gridworld.studies.failures import atlas_optimisation as rewards
from ift_gridworld.studies.failures import catalogue
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.loop import train

LAKE = TabularMDP.from_map(("SFG",), discount=0.9)


def test_what_is_known_of_a_pair_by_hand():
    """Chosen: right, right from states 0, 1; rejected: left, right, right from 0, 0, 1. Two units."""
    network = MLPPolicy(3, 4, hidden=2)
    with torch.no_grad():
        network.w1.copy_(torch.tensor([[[0.5, -1.0], [2.0, 0.0], [9.0, 9.0]]]))
        network.b1.copy_(torch.tensor([[0.1, 0.2]]))
    sides = [stacked([replay(LAKE, actions, 1)]) for actions in ([2, 2], [0, 2, 2])]
    padded = stacked([replay(LAKE, [2, 2], 1), replay(LAKE, [0, 2, 2], 1)])[:1]  # a third step that does not count
    zero, one = np.tanh([0.6, -0.8]), np.tanh([2.1, 0.2])
    plus, minus = zero + one, 2 * zero + one
    for chosen in (sides[0], padded):
        known = {name: float(value[0]) for name, value in pairs.predict(network, chosen, sides[1]).items()}
        assert known["ches"] == pytest.approx(plus @ minus - plus @ plus, rel=1e-5)
        assert known["normalised ches"] == pytest.approx(plus @ minus / 6 - plus @ plus / 4, rel=1e-5)
        assert known["shared"] == 1  # {0, 1} both
        assert (known["length"], known["chosen length"]) == (1, 2)
        assert known["base"] == pytest.approx(2 * np.log(1 / 4))
    assert set(known) == set(pairs.PREDICTORS)


def test_each_network_learns_from_its_own_pair():
    """As if it were trained alone; trained on another's pair it would be another policy, and its margin need not grow."""
    lakes = [TabularMDP.from_map(rows).with_time_limit(12) for rows in (("SFF", "FFF", "FFG"), ("SFF", "FHF", "FFG"))]
    drawn = pairs.draw_pairs(lakes, 2, 0)
    base = make_base("mixture", lakes, seeds=2)
    policies = pairs.train_pairs("dpo", lakes, base, drawn, (3, 10), 0)
    start = base.probabilities()
    for i, (chosen, rejected) in enumerate(drawn):
        lake = lakes[i // 2]
        assert chosen.returns(lake.discount) > rejected.returns(lake.discount)
        own = train("dpo", lake, base.members([i]), steps=10, demonstrations=chosen, preferences=(chosen, rejected))
        np.testing.assert_allclose(policies[1, i], own.policies[-1, 0], atol=1e-5)
        margins = [
            float(np.subtract(*(pairs.answer_log_probs(tables[i : i + 1], [side]) for side in (chosen, rejected)))[0])
            for tables in (start, policies[0], policies[1])
        ]
        assert margins[0] < margins[1] < margins[2]


def test_displacement_is_measured_the_same_twice():
    measured = [
        pairs.measure_displacement(2, 0, lambda done, total: None, lakes=3, methods=("dpo", "dpop"), updates=(2, 5))
        for _ in range(2)
    ]
    first, second = measured
    for method in ("dpo", "dpop"):
        assert first.chosen[method].shape == (2, 3, 2)
        np.testing.assert_array_equal(first.chosen[method], second.chosen[method])
        np.testing.assert_array_equal(first.rejected[method], second.rejected[method])
    for name in pairs.PREDICTORS:
        np.testing.assert_array_equal(first.predictors[name], second.predictors[name])


def test_what_a_predictor_says_of_losses():
    """A larger predictor and a greater loss: a positive correlation; a pair that stays where it was has not fallen."""
    x = np.arange(8.0).reshape(4, 2)
    change = np.stack([x, -x])
    result = pairs.Displacement({"ches": x}, {"dpo": change}, {"dpo": change}, (1, 2))
    assert result.correlation("ches", "dpo")[0] == 1 and result.correlation("ches", "dpo", 0)[0] == -1
    assert result.fallen("dpo")[0] == 7 / 8
    # On none of four lakes: as likely as 2.5 % where a lake has such a pair with probability p, (1 - p)^4 = 0.025.
    share, low, high = result.fallen("dpo", 0)
    assert (share, low) == (0, 0) and (1 - high) ** 4 == pytest.approx(0.025)
    share, low, high = replace(result, chosen={"dpo": -1 - change}).fallen("dpo", 0)
    assert (share, high) == (1, 1) and low**4 == pytest.approx(0.025)


def test_every_episode_of_a_small_lake_is_listed():
    """Two steps on SFG: right, right alone arrives, with probability 1/16 under chance; its return is the discount."""
    episodes = rewards.Episodes.of(LAKE.with_time_limit(2))
    chance = np.exp(episodes.log_chances(np.full((3, 4), 0.25)))
    assert chance.sum() == pytest.approx(1) and chance @ episodes.gold == pytest.approx(0.9 / 16)
    reward = np.zeros((3, 4))
    reward[0, 2], reward[1, 2] = 0.1, 0.2
    assert sorted(set(episodes.scores(reward))) == pytest.approx([0, 0.1, 0.3])


def test_points_of_a_run_by_hand():
    """The learned reward pays for left at the start, 1 a step: best-of-n and a policy that goes left lose the goal."""
    episodes = rewards.Episodes.of(LAKE.with_time_limit(2))
    reward = np.zeros((3, 4))
    reward[0, 0] = 1.0
    base, left = np.full((3, 4), 0.25), np.eye(4)[[0, 0, 0]]
    points = rewards.measure_run(episodes, reward, {"ppo": np.stack([base, left])})
    # Left twice: KL 2 log 4, true return 0 of a base's 0.9/16 and a best 0.9, learned return 2 of 2.
    own = 0.9 / 16
    np.testing.assert_allclose(points["ppo"], [[0, 2 * np.log(4)], [0, -own / (0.9 - own)], [0, 1]], atol=1e-6)
    chance, score = np.exp(episodes.log_chances(base)), episodes.scores(reward)
    kl, gold, learned = points[rewards.BEST_OF_N]
    np.testing.assert_allclose(kl, [best_of_n_kl(chance, score, n) for n in rewards.NUMBERS], atol=1e-12)
    assert kl[0] == 0 and kl[-1] == pytest.approx(-np.log(1 / 16))  # the one best episode
    np.testing.assert_allclose([gold[-1], learned[-1]], points["ppo"][1:, -1], atol=1e-6)


def test_a_learned_return_without_the_time_limit():
    """To go left and be paid 1 for ever is the most, 1 / (1 - 0.9); a policy that does so half of the time has less."""
    reward = np.zeros((3, 4))
    reward[0, 0] = 1.0
    stay, leave = np.eye(4)[[0, 0, 0]], np.eye(4)[[2, 2, 2]]
    shares = rewards.unlimited_return(LAKE.with_time_limit(2), reward, np.stack([stay, (stay + leave) / 2, leave]))
    half = 0.5 / (1 - 0.45 - 0.45**2)  # v0 = 0.5 (1 + 0.9 v0) + 0.45 v1, v1 = 0.45 v0
    np.testing.assert_allclose(shares, [1, 0.1 * half, 0])


def test_the_reward_that_is_scored_is_the_one_that_was_trained_on(monkeypatch):
    lakes = [TabularMDP.from_map(rows).with_time_limit(6) for rows in (("SFF", "FFF", "FFG"), ("SFF", "FHF", "FFG"))]
    seen = {}

    class Spy(METHODS["rloo"]):
        def __init__(self, *rest):
            super().__init__(*rest)
            seen["reward"] = self.learned_reward.double().numpy()

    monkeypatch.setattr(rewards, "CHECKPOINTS", (0, 1))
    policies = rewards.train_on_learned(Spy, lakes, make_base("mixture", lakes, seeds=2), 3)
    np.testing.assert_array_equal(rewards.learned_rewards(lakes, make_base("mixture", lakes, seeds=2), 3), seen["reward"])
    start = make_base("mixture", lakes, seeds=2).probabilities().reshape(2, 2, 9, 4)
    np.testing.assert_array_equal(policies[0], start)


def test_the_table_tells_the_fit_and_where_runs_end():
    kl = np.tile(np.array([0.0, 1.0, 4.0, 9.0]), (1, 2, 1))
    d = np.sqrt(kl)
    gold = dict.fromkeys(rewards.OPTIMISERS, d * (0.5 - 0.2 * d))  # at d = 3: -0.3
    result = rewards.OverOptimisation(dict.fromkeys(gold, kl), gold, dict.fromkeys(gold, d), {})
    best, rloo, _ = result.table()
    assert (best["alpha"], best["beta"], best["error"]) == (pytest.approx(0.5), pytest.approx(0.2), pytest.approx(0, abs=1e-12))
    assert best["other_form_error"] == pytest.approx(rloo["error"]) and rloo["error"] > 0.01
    assert (best["highest_gain"], best["last_gain"], best["below_base"]) == (pytest.approx(0.3), pytest.approx(-0.3), 1)
    assert (best["kl"], best["last_learned"]) == (9, 3)


@pytest.mark.parametrize("name", catalogue.ATLAS)
def test_files_of_the_atlas(name, tmp_path, monkeypatch, capsys):
    """PNG, words and every number; what is printed stands in the words."""
    for constant, value in (("CHECKPOINTS", (0, 1, 4)), ("SIDE", 3), ("LIMIT", 5)):
        monkeypatch.setattr(rewards, constant, value)
    few = partial(pairs.measure_displacement, updates=(1, 2, 3), methods=("dpo", "dpop"))
    monkeypatch.setattr(pairs, "measure_displacement", few)
    made = partial(catalogue.ATLAS[name], lakes=2)
    monkeypatch.setitem(catalogue.ATLAS, name, made)
    assert main(Args(only=name, seeds=2, out=tmp_path, theme="dark")) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.png", f"{name}.png.txt", f"{name}.json"}
    entries = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    words = (tmp_path / f"{name}.png.txt").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    for text in (entries["title"], entries["why"], entries["often"], *(text for _, text in entries["cause"])):
        assert text in words and text in printed
    assert entries["settings"]["only"] == name and "versions" in entries
    values = entries["chosen_change"]["dpo"] if name == "displacement_predicted" else entries["gold"]["ppo"]
    assert np.shape(values) == ((3, 2, 2) if name == "displacement_predicted" else (2, 2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "overoptimisation", "format": "gif"}, "format is 'gif'; allowed: png, pdf, svg"),
        ({"only": "atlas", "format": "html"}, "format is 'html'"),
        ({"only": "atlas", "speed": 2.0}, "allowed: no --speed"),
        ({"only": "overoptimization"}, "overoptimisation"),
        ({"format": "bmp"}, "allowed: gif, mp4, webp, png, pdf, svg, html"),
    ],
)
def test_what_the_atlas_is_not_is_one_line(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(replace(Args(out=tmp_path), **options))
    assert left.value.code == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1 and not list(tmp_path.iterdir())
