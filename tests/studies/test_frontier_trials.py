"""The frontier study: what methods may try, which trial is chosen, and on which lakes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ift_gridworld.methods.registry import METHODS, method_options
from ift_gridworld.studies.data import draw_data
from ift_gridworld.studies.frontier import study, trials
from ift_gridworld.studies.frontier.conditions import (
    HELD_IN,
    SUITE,
    Condition,
    flip_labels,
    prepare,
    study_conditions,
)
from ift_gridworld.studies.frontier.running import MEASURED, run_base, run_chosen, run_trials
from ift_gridworld.studies.frontier.study import FrontierScope, chosen_parts, chosen_trials, concerns, trial_parts
from ift_gridworld.studies.frontier.trials import BUDGET, Trial, choose, trials_beyond, trials_of
from ift_gridworld.studies.lakes import DYNAMICS

NAN = float("nan")


def table(**columns):
    return {name: np.array(values, object if isinstance(values[0], str) else float) for name, values in columns.items()}


# ---- trials ----


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_same_number_of_trials_and_each_can_be_run(method):
    trials = trials_of(method)
    assert len(set(trials)) == len(trials) == BUDGET
    for trial in trials:
        method_options(method)(**trial.options(method))  # refuses what is out of range
    if trials[0].knob is not None:
        ((name, _),) = trials[0].options(method).items()
        default = getattr(method_options(method)().resolved(), name)
        assert any(trial.knob == pytest.approx(default) for trial in trials), "the default is among them"
        assert {trial.factor for trial in trials} == {0.3, 1.0, 3.0}
    assert any(trial.factor == 1.0 for trial in trials)


def test_the_best_trial_has_the_least_mean_regret_over_lakes():
    """By the best lake (0.0) or the worst (0.5) another trial would be taken; so would be the highest regret."""
    rows = table(
        factor=[0.3, 0.3, 1.0, 1.0, 3.0, 3.0], knob=[0.2] * 6, regret=[0.25, 0.25, 0.0, 0.52, 0.2, 0.28],
    )  # fmt: skip
    choice = choose(rows, "ift")
    assert choice.trial == Trial(3.0, 0.2) and choice.regret == pytest.approx(0.24) and choice.on_edge
    assert choose({name: values[:4] for name, values in rows.items()}, "ift").trial == Trial(0.3, 0.2)


def test_a_trial_that_diverges_on_one_lake_is_worse_than_any_that_does_not():
    rows = table(factor=[0.3, 0.3, 1.0, 1.0], knob=[NAN] * 4, regret=[0.0, NAN, 0.9, 0.9])
    assert choose(rows, "sft").trial == Trial(1.0, None)


def test_whole_numbers_stay_whole():
    rows = table(factor=[1.0, 1.0], knob=[10.0, 30.0], regret=[0.2, 0.1])
    trial = choose(rows, "dagger").trial
    assert trial == Trial(1.0, 30) and isinstance(trial.knob, int)


def test_what_lies_on_an_edge_is_tried_beyond_it():
    """Best at the highest rate and the least price: beyond are a higher rate and a lower price, and nothing on other sides."""
    rates, prices = (0.3, 1.0, 3.0), (0.01, 0.1, 1.0)
    rows = table(
        factor=[rate for rate in rates for _ in prices], knob=list(prices) * 3,
        regret=[0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.1, 0.2, 0.3],
    )  # fmt: skip
    assert trials_beyond(rows, "dpo") == [Trial(10.0, 0.01), Trial(3.0, 0.003)]
    assert choose(rows, "dpo").on_edge
    rows["regret"][4] = 0.0  # bracketed on both axes
    assert trials_beyond(rows, "dpo") == [] and not choose(rows, "dpo").on_edge


@pytest.mark.parametrize(
    ("method", "knobs", "best", "beyond"),
    [
        ("ift", (0.3, 0.5, 1.0), 1.0, []),  # no mixing above 1
        ("luffy", (1, 2, 4), 1, []),  # nor less than one guide
        ("dagger", (10, 30, 100), 10, [3]),
        ("dapo", (0.0, 0.01, 0.1), 0.0, []),  # nor a price below none
        ("dapo", (0.0, 0.01, 0.1), 0.1, [0.3]),
        ("robust", (0.1, 0.2, 0.3), 0.3, []),  # 0.9 of labels cannot be wrong
    ],
)
def test_nothing_is_tried_that_the_method_does_not_allow(method, knobs, best, beyond):
    rows = table(
        factor=[f for f in (0.3, 1.0, 3.0) for _ in knobs], knob=[float(knob) for knob in knobs] * 3,
        regret=[float(abs(f - 1) + abs(knob - best)) for f in (0.3, 1.0, 3.0) for knob in knobs],
    )  # fmt: skip
    found = trials_beyond(rows, method)
    assert [trial.knob for trial in found] == beyond and all(trial.factor == 1.0 for trial in found)
    assert choose(rows, method).on_edge == bool(beyond)


def test_nothing_is_tried_beyond_all_bounds():
    """Knobs from 1e-9 up, rates below 200 times the usual one."""
    tried = ((1.0, 1e-9), (1.0, 0.9e-9), (199.9, 0.1), (200.0, 0.1))
    assert [trials._is_allowed("dpo", Trial(*each)) for each in tried] == [True, False, True, False]
    assert trials._is_allowed("sft", Trial(199.9, None)) and not trials._is_allowed("sft", Trial(200.0, None))


# ---- conditions ----


def test_each_condition_changes_one_thing():
    conditions = study_conditions()
    names = [condition.name for condition in conditions]
    assert len(set(names)) == len(names) and [Condition.parse(name) for name in names] == conditions
    for condition in conditions:
        changed = [field for field in vars(condition) if getattr(condition, field) != getattr(Condition(), field)]
        assert len(set(changed) - {"dynamics"}) == (0 if condition.is_centre else 1)
    for dynamics in DYNAMICS:
        assert sum(condition.dynamics == dynamics and condition.is_centre for condition in conditions) == 1
    assert {condition.flipped for condition in conditions} == {0.0, 0.1, 0.2, 0.3}
    assert {condition.data for condition in conditions} == {1, 10, 40}


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_trials_are_judged_with_a_fifth_of_wrong_labels_where_there_are_any(dynamics):
    """All else is the centre's, whatever the condition changes."""
    clean = Condition(HELD_IN, dynamics)
    for changed in ({}, {"base": "random"}, {"data": 40}, {"start": "anywhere"}, {"lakes": "8x8"}):
        assert replace(Condition(dynamics=dynamics), **changed).held_in == clean
    for flipped in (0.1, 0.2, 0.3):
        assert Condition(dynamics=dynamics, flipped=flipped).held_in == replace(clean, flipped=0.2)


def test_effects_are_reported_of_the_centre_with_right_labels_and_with_most_wrong_ones():
    reported = [condition for condition in study_conditions() if condition.is_headline]
    assert {(condition.dynamics, condition.flipped) for condition in reported} == {(d, f) for d in DYNAMICS for f in (0.0, 0.3)}
    assert len(reported) == 4


def test_moves_slip_on_slippery_lakes_alone():
    for dynamics in DYNAMICS:
        prepared = prepare(Condition(dynamics=dynamics), 2, 1, 0)
        assert all(lake.is_deterministic == (dynamics == "deterministic") for lake in prepared.lakes)


def test_lakes_data_and_flips_are_drawn_by_the_studys_seed():
    """A study of another seed sees other maps, of trials, of reports, and of either dynamics."""
    first = [
        (Condition(), 0, 910_000), (Condition(), 2, 1_110_000), (Condition(dynamics="slippery"), 2, 1_115_000),
        (Condition(HELD_IN), 1, 1_020_000),
    ]  # fmt: skip
    for condition, seed, expected in first:
        assert prepare(condition, 2, 1, seed).names == [f"random/{expected + i}" for i in range(2)]
    prepared = prepare(Condition(flipped=0.3), 3, 4, 5)
    assert prepared.seeds == 1 and prepared.base.population == 3
    for i, lake in enumerate(prepared.lakes):
        (right,) = draw_data(lake, 10, 1, 5 + i)
        for name, found in (("data", flip_labels(right, 0.3, 5 + i)), ("judged", right)):
            for side in ("demonstrations", "chosen", "rejected"):
                assert torch.equal(getattr(getattr(prepared, name)[i], side).states, getattr(found, side).states)
    suite = prepare(Condition(lakes="two-paths"), 3, 4, 5)
    assert suite.seeds == suite.base.population == len(suite.data) == 4 and suite.names == ["two-paths"]


def test_trials_are_judged_on_lakes_that_are_not_reported():
    reported, judged = set(), set()
    for dynamics in DYNAMICS:
        for flipped in (0.0, 0.2):
            condition = Condition(dynamics=dynamics, flipped=flipped)
            reported |= {lake.layout for lake in prepare(condition, 8, 1, 0).lakes}
            judged |= {lake.layout for lake in prepare(condition.held_in, 8, 1, 0).lakes}
    assert len(judged) >= 14 and not judged & reported
    assert all(Condition.parse(part.arguments["condition"]).lakes == HELD_IN for part in trial_parts(FrontierScope()))
    assert not any(HELD_IN in condition.name for condition in FrontierScope().conditions)


def test_methods_share_lakes_data_and_bases_and_dynamics_do_not():
    condition = Condition(dynamics="slippery")
    first, again = prepare(condition, 3, 1, 0), prepare(replace(condition), 3, 1, 0)
    assert first is again
    other = prepare(Condition(), 3, 1, 0)
    assert not {lake.layout for lake in first.lakes} & {lake.layout for lake in other.lakes}
    assert {lake.layout for lake in prepare(condition, 3, 1, 1).lakes}.isdisjoint({lake.layout for lake in first.lakes})


def test_anywhere_moves_the_start_and_neither_base_nor_data():
    plain, moved = (prepare(Condition(start=start), 3, 1, 0) for start in ("S", "anywhere"))
    np.testing.assert_array_equal(plain.base.probabilities(), moved.base.probabilities())
    for lake, before, data, same in zip(moved.lakes, plain.lakes, moved.data, plain.data, strict=True):
        assert before.start[0] == 1 and (lake.start[~lake.terminal] == 1 / (~lake.terminal).sum()).all()
        assert torch.equal(data.demonstrations.states, same.demonstrations.states)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_labels_are_flipped_in_whole_pairs(share):
    (lake,) = prepare(Condition(lakes="two-paths", dynamics="slippery"), 1, 1, 0).lakes
    (data,) = draw_data(lake, 10, 1, 3)
    flipped = flip_labels(data, share, seed=5)
    counts = {True: 0, False: 0}
    for i in range(10):
        rows = [(side.states[i][side.mask[i]], side.actions[i][side.mask[i]]) for side in (data.chosen, data.rejected)]
        new = [(side.states[i][side.mask[i]], side.actions[i][side.mask[i]]) for side in (flipped.chosen, flipped.rejected)]
        same = all(torch.equal(a, b) for pair in zip(rows, new, strict=True) for a, b in zip(*pair, strict=True))
        swapped = all(torch.equal(a, b) for pair in zip(rows[::-1], new, strict=True) for a, b in zip(*pair, strict=True))
        assert same != swapped
        counts[swapped] += 1
    assert counts[True] == round(10 * share)
    assert torch.equal(flipped.demonstrations.states, data.demonstrations.states)


def test_which_condition_concerns_which_method():
    flips, few = Condition(flipped=0.3), Condition(data=1)
    assert [concerns(m, flips) for m in ("dpo", "kto", "orpo", "sft", "ppo", "dpo_judged", "spin", "luffy")] == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip
    assert [concerns(m, few) for m in ("dpo", "sft", "luffy", "hpt", "ppo", "rloo")] == [True] * 4 + [False] * 2
    assert all(concerns(m, Condition(base="random")) for m in METHODS)


# ---- running ----


@pytest.fixture(scope="module")
def tiny():
    condition = Condition()
    return condition, run_chosen(condition.name, "dpo", 1.0, 0.1, lakes=3, seeds=1, seed=0, updates=40)


def test_a_chosen_trial_has_a_row_for_each_lake(tiny):
    condition, rows = tiny
    assert len(rows["lake"]) == 3 and set(rows["method"]) == {"dpo"} and set(rows["condition"]) == {condition.name}
    assert all(np.isfinite(rows[name]).all() for name in MEASURED)
    alone = run_chosen(condition.name, "dpo", 1.0, 0.1, lakes=3, seeds=1, seed=0, updates=40)
    for name in MEASURED:
        np.testing.assert_array_equal(rows[name], alone[name])


def test_likelihoods_are_those_of_the_right_labels():
    """DPO on labels that are all wrong raises the answers that it is given as chosen, which are the rejected ones."""
    wrong = Condition(flipped=1.0)
    base = run_base(Condition().name, 3, 1, 0)
    after = run_chosen(wrong.name, "dpo", 1.0, 0.1, lakes=3, seeds=1, seed=0, updates=40)
    gain = {side: (after[f"{side}_logp"] - base[f"{side}_logp"]).mean() for side in ("chosen", "rejected")}
    assert gain["chosen"] < gain["rejected"]


def test_trials_differ_by_rate_and_knob_and_equal_chosen_runs():
    condition = Condition().held_in
    rows = run_trials(condition.name, "dpo", lakes=2, seed=0, updates=30)
    tried = set(zip(rows["factor"], rows["knob"], strict=True))
    assert len(rows["regret"]) == 2 * len(tried) and len(tried) >= BUDGET and len(set(rows["regret"])) > BUDGET
    if len(tried) == BUDGET:
        assert not trials_beyond(rows, "dpo")
    for factor, knob in ((0.3, 0.01), (3.0, 1.0)):
        alone = run_chosen(condition.name, "dpo", factor, knob, lakes=2, seeds=1, seed=0, updates=30)
        same = (rows["factor"] == factor) & (rows["knob"] == knob)
        np.testing.assert_allclose(rows["regret"][same].astype(float), alone["regret"], atol=2e-4)


def test_parts_run_the_trial_that_was_chosen_for_their_condition():
    """Two held-in conditions, with and without wrong labels, whose best trials differ."""
    scope = FrontierScope(
        ("dpo",), conditions=(Condition(), Condition(flipped=0.3), Condition(base="random")), lakes=7, fewer=3
    )
    trials = {"condition": [], "method": [], "lake": [], "factor": [], "knob": [], "regret": []}
    for flipped, best in ((0.0, Trial(0.3, 0.1)), (0.3, Trial(3.0, 1.0))):
        for trial in trials_of("dpo"):
            row = (Condition(flipped=flipped).held_in.name, "dpo", "a", trial.factor, trial.knob, float(trial != best))
            for name, value in zip(trials, row, strict=True):
                trials[name].append(value)
    choices = chosen_trials(table(**trials))
    parts = [part for part in chosen_parts(scope, choices) if "method" in part.arguments]
    found = [(part.arguments["factor"], part.arguments["knob"], part.arguments["lakes"]) for part in parts]
    assert found == [(0.3, 0.1, 7), (3.0, 1.0, 7), (0.3, 0.1, 3)]


def test_the_study_covers_all_methods_and_the_suite():
    scope = FrontierScope()
    assert tuple(scope.methods) == tuple(METHODS) and scope.lakes * len(DYNAMICS) == 200
    assert {condition.lakes for condition in scope.conditions} == {"random", *SUITE}
    assert study.FrontierScope.quick().lakes < 10
