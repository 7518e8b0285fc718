"""How a setting is run: what is tried beyond a grid, whose data and bases a member gets, what is measured where.

Methods are stood in for by tables of distances, so that each rule is seen where another one would choose otherwise.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ift_gridworld.data import Trajectories, demonstrations
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.evaluation.metrics import MEASURES, ON_REQUEST
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.studies import measures, running
from ift_gridworld.studies.data import SeedData, draw_data, trim
from ift_gridworld.studies.measures import estimation_errors, measure_policies, mixing_effects
from ift_gridworld.studies.running import run_setting
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import select

FIRM = Setting("two-paths-4", "firm", "good-0.5", "tabular", "adam", 1)  # its common rate is 0.03
BLOCK = Setting("lakes-0.8-0", "firm", "uniform", "tabular", "adam", 1)
TWO_LAKES = replace(BLOCK).lakes[:2]  # of its own, because lakes are cached
SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=0.5)


def rows_of(table, **labels):
    return select(table, np.all([table[name] == value for name, value in labels.items()], axis=0))


# ---- beyond the grid ----


class Lakes:
    """Stands in for a group of lakes: a point's distances are those of a function of point and checkpoint."""

    def __init__(self, distance):
        self.distance, self.calls = distance, []

    def method_rows(self, candidate, points):
        self.calls.append(list(points))
        return [
            [
                {"method": np.array(["m"]), "checkpoint": np.array([at]), "distance": np.atleast_1d(self.distance(point, at))}
                for at in ("last", "best")
            ]
            for point in points
        ]


def search(groups, grid, extensions):
    """Return the points tried beyond the grid, and those of all points that are marked as on an edge."""
    candidate = running._Candidate("m", SimpleNamespace, {}, (), grid, grid[0])
    tables = running._search(groups, candidate, extensions)
    calls = [points for points in groups[0].calls if points[0] not in grid]
    points = [point for call in groups[0].calls for point in call]
    edges = [bool(table["on_edge"][0]) for table in tables[:: 2 * len(groups)]]
    assert len(points) == len(edges) == len(set(points))
    on_edge = {point for point, is_edge in zip(points, edges, strict=True) if is_edge}
    return [point for call in calls for point in call], on_edge


GRID = [(0.01,), (0.03,), (0.1,)]


def test_a_grid_is_extended_as_long_as_its_best_rate_lies_on_an_edge():
    """The nearest is 0.001: one extension leaves the best on the edge, two bracket it not, three do."""

    def distance(point, at):
        return abs(np.log(point[0] / 0.001))

    assert search([Lakes(distance)], GRID, 0) == ([], {(0.01,), (0.1,)})
    assert search([Lakes(distance)], GRID, 1) == ([(0.003,)], {(0.003,), (0.1,)})
    assert search([Lakes(distance)], GRID, 2) == ([(0.003,), (0.001,)], {(0.001,), (0.1,)})
    beyond, edges = search([Lakes(distance)], GRID, 5)
    assert beyond == [(0.003,), (0.001,), (0.0003,)] and (0.001,) not in edges


def test_a_grid_is_extended_by_the_mean_over_all_lakes_and_seeds():
    """In the first group of lakes the least rate is best, in the second, where it matters more, the middle one."""
    first = Lakes(lambda point, at: [point[0]] * 3)
    second = Lakes(lambda point, at: [abs(np.log(point[0] / 0.03))] * 3)
    assert search([first, second], GRID, 1)[0] == []
    assert search([Lakes(first.distance)], GRID, 1)[0] == [(0.003,)]


def test_either_checkpoint_extends_the_grid_and_no_number_does_not():
    assert search([Lakes(lambda point, at: {"last": 1, "best": -1}[at] * point[0])], GRID, 1)[0] == [(0.003,), (0.3,)]
    assert search([Lakes(lambda point, at: np.nan)], GRID, 3)[0] == []
    diverged = Lakes(lambda point, at: [np.nan, 0.0] if point == (0.01,) else [point[0]] * 2)
    assert search([diverged], GRID, 1)[0] == []  # 0.03 is the best that is sound, and is bracketed


def test_beta_belongs_to_the_grid_of_its_method():
    """Best at rate 0.03 and beta 0.3: tried are both neighbours of beta at the best rate, then those of the new best."""
    lakes = Lakes(lambda point, at: abs(np.log(point[0] / 0.03)) + abs(np.log(point[1] / 0.3)))
    beyond, edges = search([lakes], [(rate, 0.1) for (rate,) in GRID], 2)
    assert set(beyond) == {(0.03, 0.03), (0.03, 0.3), (0.01, 0.3), (0.1, 0.3), (0.03, 1.0)} and (0.03, 0.3) not in edges
    assert all(len({point[1:] for point in call}) == 1 for call in lakes.calls)  # a population shares its beta


def test_extended_rows_are_those_of_a_run_at_that_beta_and_rate():
    """DPO from a grid of one rate: its beta and rate are tried on both sides, and its rows are those of DPO run so."""
    table = run_setting(FIRM, methods=["sft", "dpo"], rates=(0.03,), seeds=2, keep=(0, 3), extensions=1)
    dpo, sft = (rows_of(table, method=method, checkpoint="last") for method in ("dpo", "sft"))
    points = set(zip(dpo["rate"], dpo["beta"], strict=True))
    assert points == {(0.03, ""), (0.1, ""), (0.01, ""), (0.03, 0.03), (0.03, 0.3)}
    assert set(sft["rate"]) == {0.01, 0.03, 0.1} and set(sft["beta"]) == {""}
    alone = run_setting(FIRM, methods=["dpo"], rates=(0.03,), seeds=2, keep=(0, 3), options={"dpo": {"beta": 0.3}})
    found = rows_of(dpo, rate=0.03, beta=0.3)["distance"]
    np.testing.assert_allclose(found, rows_of(alone, method="dpo", checkpoint="last")["distance"], rtol=1e-6)
    assert not np.allclose(found, rows_of(dpo, rate=0.03, beta="")["distance"], rtol=1e-5)
    assert np.isfinite(dpo["bias"][(dpo["rate"] == 0.03) & (dpo["beta"] == "")]).all() and np.isfinite(dpo["bias"]).sum() == 2
    assert rows_of(table, method="base")["on_edge"].tolist() == [0, 0]


# ---- members ----


def stand_in(monkeypatch, distance):
    """Training gives each member the number `distance(method, update, lake, rate, seed)`, which is measured as it is."""

    def train(kind, lakes, policy, *, keep, rates, seed, **others):
        each = policy.population // len(lakes)
        seeds = each // len(set(rates.tolist()))
        matrix = np.zeros((len(keep), len(lakes), each, policy.num_states, policy.num_actions))
        for m, (lake, member) in enumerate(np.ndindex(len(lakes), each)):
            rate = round(float(rates[m]), 6)
            for k in range(len(keep)):
                matrix[k, lake, member] = distance(kind.__name__, keep[k], lake, rate, member % seeds)
        return matrix

    monkeypatch.setattr(running, "train_lakes", train)
    monkeypatch.setattr(running, "measure_policies", lambda mdp, policies, *others: {"distance": policies[..., 0, 0]})
    monkeypatch.setattr(running, "estimation_errors", lambda kind, mdp, policy, data, changes: {})
    monkeypatch.setattr(running, "mixing_effects", lambda mdp, policies, shown: {})


def test_the_best_checkpoint_is_each_methods_own_at_each_rate_and_on_each_lake(monkeypatch):
    """SFT is nearest after 2 updates on one lake and after 5 on the other, at the second rate the reverse, IFT always last;
    each by its mean over seeds, of which seed 1 by itself is nearer elsewhere."""

    def distance(method, update, lake, rate, seed):
        nearest = 9 if method == "IFT" else (2, 5)[lake ^ (rate == 0.1)]
        return 0.0 if update == 0 else 0.5 + (-0.1 if update == nearest else 0) + (0.3 if seed else -0.3) * (update == nearest)

    stand_in(monkeypatch, distance)
    monkeypatch.setattr(Setting, "lakes", TWO_LAKES)
    table = run_setting(replace(BLOCK), methods=["sft", "ift"], rates=(0.01, 0.1), seeds=2, keep=(0, 2, 5, 9))
    best = {
        (method, rate): [
            set(rows_of(table, method=method, rate=rate, lake=lake, checkpoint="best")["update"]) for lake, _ in TWO_LAKES
        ]
        for method in ("sft", "ift")
        for rate in (0.01, 0.1)
    }
    assert best == {("sft", 0.01): [{2}, {5}], ("sft", 0.1): [{5}, {2}], ("ift", 0.01): [{9}, {9}], ("ift", 0.1): [{9}, {9}]}
    last = rows_of(table, method="sft", rate=0.01, checkpoint="last")
    assert set(last["update"]) == {9} and last["distance"].tolist() == [0.5] * 4


def test_rows_keep_lakes_rates_and_seeds_apart(monkeypatch):
    """Each member's number says which it is."""
    stand_in(monkeypatch, lambda method, update, lake, rate, seed: update / 1000 + lake / 10 + rate + seed / 100)
    table = run_setting(BLOCK, methods=["sft"], rates=(1.0, 2.0), seeds=3, seed=7, keep=(0, 1))
    for i, (lake, _) in enumerate(BLOCK.lakes):
        for rate in (1.0, 2.0):
            found = rows_of(table, method="sft", lake=lake, rate=rate, checkpoint="last")
            assert found["seed"].tolist() == [7, 8, 9]
            assert found["distance"] == pytest.approx(0.001 + i / 10 + rate + np.arange(3) / 100)


def test_a_member_starts_from_the_base_of_its_lake_and_seed():
    assert running.spread(lakes=2, points=3, seeds=2) == [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3]


def test_members_learn_from_the_data_of_their_lake_and_seed(monkeypatch):
    """Each lake's and seed's demonstrations and pairs, for every point."""
    monkeypatch.setattr(Setting, "lakes", TWO_LAKES)
    monkeypatch.setattr(running, "draw_data", lambda lake, count, seeds, seed: [SeedData(*of(lake, i)) for i in range(seeds)])
    monkeypatch.setattr(running, "measure_policies", lambda mdp, policies, *others: {"distance": policies[..., 0, 0]})
    given = {}

    def of(lake, i):
        name = next(name for name, each in TWO_LAKES if each is lake)
        return [(kind, name, i) for kind in ("demonstrations", "chosen", "rejected")]

    def train(kind, lakes, policy, *, keep, demonstrations, preferences, **others):
        given.update(demonstrations=demonstrations, preferences=preferences)
        return np.zeros((len(keep), len(lakes), policy.population // len(lakes), policy.num_states, policy.num_actions))

    monkeypatch.setattr(running, "train_lakes", train)
    run_setting(replace(BLOCK), methods=["dpo"], rates=(0.01, 0.1), seeds=2, keep=(0, 1), only=["distance"])
    members = [(name, i) for name, _ in TWO_LAKES for _ in range(2) for i in range(2)]
    assert given["demonstrations"] == [("demonstrations", *member) for member in members]
    assert given["preferences"] == [(("chosen", *member), ("rejected", *member)) for member in members]


def test_estimation_is_of_each_lakes_own_members(monkeypatch):
    """Each trained policy is marked with the number of its member, each base with -1, -2, ...: which ones are measured?"""
    stand_in(monkeypatch, lambda *member: 0.5)
    train = running.train_lakes
    monkeypatch.setattr(Setting, "lakes", TWO_LAKES)
    make_base = Setting.make_base

    def marked(policy, marks):
        with torch.no_grad():
            for member, mark in enumerate(marks):
                next(policy.parameters())[member] = mark
        return policy

    def train_and_mark(kind, lakes, policy, **others):
        marked(policy, range(policy.population))
        return train(kind, lakes, policy, **others)

    monkeypatch.setattr(running, "train_lakes", train_and_mark)
    monkeypatch.setattr(Setting, "make_base", lambda *arguments: marked(make_base(*arguments), (-1, -2, -3, -4)))

    def marks_of(kind, mdp, policy, *others):
        return {"bias": next(policy.parameters())[:, 0, 0].detach().numpy()}

    monkeypatch.setattr(running, "estimation_errors", marks_of)
    table = run_setting(replace(BLOCK), methods=["sft"], rates=(0.2, 0.03), seeds=2, keep=(0, 1))
    at_common = rows_of(table, method="sft", checkpoint="last", rate=0.03)
    assert at_common["bias"].tolist() == [2, 3, 6, 7]  # members are ordered by lake, rate, seed
    assert at_common["base_bias"].tolist() == [-1, -2, -3, -4]


def test_estimation_after_training_is_measured_at_the_common_rate():
    """Neither at the first rate nor at the last one, at which the policy is another."""
    table = run_setting(FIRM, methods=["sft"], rates=(0.2, 0.03, 0.001), seeds=2, keep=(0, 15))
    alone = rows_of(run_setting(FIRM, methods=["sft"], rates=(0.03,), seeds=2, keep=(0, 15)), method="sft", checkpoint="last")
    last = rows_of(table, method="sft", checkpoint="last")
    for name in ("bias", "gap", "base_bias", "base_gap"):
        assert np.isfinite(last[name]).tolist() == (last["rate"] == 0.03).tolist()
        np.testing.assert_allclose(last[name][last["rate"] == 0.03], alone[name], rtol=1e-5)
    assert not np.allclose(alone["bias"], alone["base_bias"], rtol=0.01)


# ---- what is run by default, and on request ----


def test_the_papers_methods_are_run_with_two_seeds_by_default():
    """From the base at update 0. Without extensions beta is on no grid, and so on no edge."""
    table = run_setting(FIRM, keep=(0, 1), rates=(0.01, 0.03, 0.1), only=["distance"])
    assert set(table["method"]) == {"base", "sft", "ift", "dpo", "orpo"} and set(table["seed"]) == {0, 1}
    assert set(rows_of(table, method="base")["update"]) == {0}
    for method in ("sft", "dpo"):
        rows = rows_of(table, method=method)
        assert set(zip(rows["rate"], rows["on_edge"], strict=True)) == {(0.01, 1), (0.03, 0), (0.1, 1)}


def test_what_mixing_teaches_is_measured_on_request_alone(monkeypatch):
    wanted = run_setting(FIRM, methods=["ift"], rates=(0.03,), keep=(0, 1), only=["missed"])
    assert np.isfinite(rows_of(wanted, method="ift", checkpoint="last")["missed"]).all() and "push" not in wanted
    monkeypatch.setattr(running, "mixing_effects", lambda *arguments: pytest.fail("nobody asked for it"))
    assert "missed" not in run_setting(FIRM, methods=["ift"], rates=(0.03,), keep=(0, 1), only=["distance"])


def test_bases_of_lakes_of_another_size_have_other_seeds(monkeypatch):
    """Two small lakes of three seeds, 5 to 10; then a large one, 11 to 13."""
    small, large = TabularMDP.from_map(LAKES["4x4"]), TabularMDP.from_map(LAKES["8x8"])
    monkeypatch.setattr(Setting, "lakes", [("a", small), ("b", large), ("c", small)])
    make_base, made = Setting.make_base, []

    def recorded(setting, lakes, seeds, seed):
        made.append((len(lakes), seeds, seed))
        return make_base(setting, lakes, seeds, seed)

    monkeypatch.setattr(Setting, "make_base", recorded)
    run_setting(replace(BLOCK), methods=["sft"], rates=(0.03,), seeds=3, seed=5, keep=(0, 1), only=["distance"])
    assert made == [(2, 3, 5), (1, 3, 11)]


# ---- data and measures ----


def test_each_seed_has_its_own_pairs_where_it_slips():
    """No two seeds' demonstrations, chosen or rejected answers are alike, nor are all of one seed's."""
    data = draw_data(SLIPPERY, 3, 4, seed=5)
    for name in ("demonstrations", "chosen", "rejected"):
        answers = [getattr(one, name).states.tolist() for one in data]
        assert len({str(each) for each in answers}) == 4 and all(len({str(row) for row in each}) > 1 for each in answers), name


def test_a_policy_that_has_diverged_has_no_measures():
    """Nor does its checkpoint count as any policy; other seeds and checkpoints keep theirs."""
    data = draw_data(SLIPPERY, 2, 2, seed=0)
    policies = np.full((2, 1, 2, 16, 4), 0.25)
    policies[1, 0, 1, 3] = np.nan
    for only in (None, ["success", "chosen_logp", "unseen"]):
        found = measure_policies(SLIPPERY, policies, policies[0, 0], data, only)
        assert set(found) == ({"distance", *only} if only else {*found, *MEASURES, "unseen"} - {*ON_REQUEST})
        for name, values in found.items():
            assert np.isfinite(values[:, 0]).tolist() == [[True, True], [True, False]], name
    for name, values in mixing_effects(SLIPPERY, policies, [seed.demonstrations for seed in data]).items():
        assert np.isfinite(values[0]).tolist() == [True, False], name


def test_a_diverged_model_has_no_estimation_errors():
    mdp = TabularMDP.from_map(LAKES["4x4"])
    policy = FIRM.make_base([mdp], 2, 0)
    with torch.no_grad():
        next(policy.parameters())[1] = torch.nan
    found = estimation_errors(running.find_method("sft"), mdp, policy, draw_data(mdp, 1, 2, 0), {})
    assert all(np.isfinite(values).tolist() == [True, False] for values in found.values())


def test_one_number_that_is_none_is_enough_to_have_diverged():
    """In one layer, on a tile that no answer visits."""
    mdp = TabularMDP.from_map(("SFF", "HFF", "FFG"))
    policy = replace(FIRM, base="random", policy="mlp-8").make_base([mdp], 2, 0)
    with torch.no_grad():
        policy.w1[1, 3, 0] = torch.nan
    found = estimation_errors(running.find_method("sft"), mdp, policy, draw_data(mdp, 1, 2, 0), {})
    assert all(np.isfinite(values).tolist() == [True, False] for values in found.values())


@pytest.mark.parametrize(("method", "of"), [("sft", "demonstrations"), ("ift", "demonstrations"), ("dpo", "chosen")])
def test_estimation_is_of_the_answers_that_the_method_learns_from(method, of, monkeypatch):
    """The first four of six, where it slips: pairs are then other episodes than the demonstrations."""
    data, asked = draw_data(SLIPPERY, 6, 2, seed=5), []

    def estimate(prior, mdp, policy, answers, *, stale, **options):
        asked.append((answers.states.tolist(), stale.states.tolist(), options))
        return SimpleNamespace(
            bias=np.array([[[-0.5, 0.25, 9.0]]]), gap=np.array([[[0.1, 0.3, 9.0]]]), mask=np.array([[True, True, False]])
        )

    monkeypatch.setattr(measures, "estimate", estimate)
    policy = replace(FIRM, base="random").make_base([SLIPPERY], 2, 0)
    found = estimation_errors(running.find_method(method), SLIPPERY, policy, data, {"mixing": 0.3, "decay": 0.9})
    assert asked == [
        (trim(getattr(seed, of)[:4]).states.tolist(), trim(seed.rejected[:4]).states.tolist(), {"mixing": 0.3}) for seed in data
    ]
    assert found["bias"].tolist() == [0.375] * 2 and found["gap"] == pytest.approx([0.2] * 2)


def test_points_and_seeds_are_measured_by_themselves():
    """Three points of two seeds, each with a policy and answers of its own, at two checkpoints."""
    policies = np.random.default_rng(1).dirichlet(np.ones(4), (2, 3, 2, 16))
    shown = [seed.demonstrations for seed in draw_data(SLIPPERY, 2, 2, seed=0)]
    found = mixing_effects(SLIPPERY, policies, shown)
    for p, n in np.ndindex(3, 2):
        alone = mixing_effects(SLIPPERY, policies[:, [p]][:, :, [n]], [shown[n]])
        assert {name: values[p, n] for name, values in found.items()} == pytest.approx(
            {name: values.item() for name, values in alone.items()}, nan_ok=True
        )


def test_an_answer_of_one_step_predicts_nothing():
    """For each of three points and two seeds, whatever the number of checkpoints."""
    mdp = TabularMDP.from_map(("SG",))
    found = mixing_effects(mdp, np.full((4, 3, 2, 2, 4), 0.25), [demonstrations(mdp, 1)] * 2)
    assert {name: values.tolist() for name, values in found.items() if name != "right"} == dict.fromkeys(
        ("missed", "push"), [[0.0, 0.0]] * 3
    )
    assert np.isnan(found["right"]).all() and found["right"].shape == (3, 2)


def test_a_policy_may_be_certain():
    """A probability of 0 has no logarithm, and is no reason to warn or stop."""
    mdp = TabularMDP.from_map(("SFG",))
    with np.errstate(all="raise"):
        found = mixing_effects(mdp, np.eye(4)[[2, 2, 2]][None, None, None], [demonstrations(mdp, 1)])
    assert found["missed"].item() == 0


def test_padding_teaches_nothing():
    """Two answers, one shorter: its padding is as if it were not there."""
    mdp = TabularMDP.from_map(("SFF", "FFF", "FFG"))
    policy = np.random.default_rng(0).dirichlet(np.ones(4), (2, 1, 1, 9))
    shown = demonstrations(mdp, 4)
    cut = replace(shown, mask=shown.mask & (torch.arange(4) < torch.tensor([[4], [3], [2], [4]])))
    found = mixing_effects(mdp, policy, [cut])
    alone = [mixing_effects(mdp, policy, [trim(cut[i : i + 1])]) for i in range(4)]
    steps = np.array([3, 2, 1, 3])  # that follow another
    for name in ("missed", "push"):
        each = np.array([one[name].item() for one in alone])
        assert found[name].item() == pytest.approx((each * steps).sum() / steps.sum())


def test_a_mixed_in_tile_is_taught_the_action_of_the_tile_that_it_stands_in_for():
    """S F / F F / G F: the human goes right on 0, down on 1, left on 3, down on 2. The policy walks down on 0, to 2, which
    stands in for 1 and is taught its action, down: a best one on 2, as neither right, the action before it, nor left, the one
    after it, is."""
    mdp = TabularMDP.from_map(("SF", "FF", "GF"))
    states, actions, following = (torch.tensor([x]) for x in ((0, 1, 3, 2), (2, 1, 0, 1), (1, 3, 2, 4)))
    nothing = torch.zeros(1, 4)
    shown = Trajectories(states, actions, torch.ones(1, 4).bool(), following, nothing, nothing.bool(), nothing.bool())
    policy = np.full((6, 4), 0.05)
    for tile, action in ((0, 1), (1, 1), (3, 0), (2, 2), (4, 0), (5, 0)):
        policy[tile, action] = 0.85
    found = {name: value.item() for name, value in mixing_effects(mdp, policy[None, None, None], [shown]).items()}
    assert found["missed"] == pytest.approx(1 / 3) and found["right"] == 1 and found["push"] < 0
    once = [found["missed"], found["right"], found["push"]]
    twice = mixing_effects(mdp, np.stack([policy, policy])[:, None, None], [shown])
    assert [twice[name].item() for name in ("missed", "right", "push")] == pytest.approx(once)
    right = policy.copy()
    right[0] = policy[0, [0, 2, 1, 3]]  # to the right on 0, as the human: nothing is missed
    mean = mixing_effects(mdp, np.stack([policy, right])[:, None, None], [shown])
    expected = [once[0] / 2, once[1], once[2] / 2]
    assert [mean[name].item() for name in ("missed", "right", "push")] == pytest.approx(expected)
