"""The frontier study's questions on hand-made tables in which a wrong rule gives another answer."""

from dataclasses import replace

import numpy as np
import pytest

from ift_gridworld.studies.frontier import questions
from ift_gridworld.studies.frontier.conditions import Condition
from ift_gridworld.studies.frontier.figures import grouped, plane_points
from ift_gridworld.studies.frontier.questions import LEAST, LEAST_LIKELY, QUESTIONS, StudyTable, answer_question
from ift_gridworld.studies.frontier.study import findings

ASK = {question.key: question for question in QUESTIONS}
NAN = float("nan")
DETERMINISTIC, SLIPPERY = Condition(), Condition(dynamics="slippery")


def study_table(rows):
    """Rows (condition, method, {measure: a value a lake}) as a table."""
    columns = {name: [] for name in ("condition", "method", "lake", "seed")}
    measures = sorted({measure for _, _, values in rows for measure in values})
    columns |= {measure: [] for measure in measures}
    for condition, method, values in rows:
        count = len(next(iter(values.values())))
        for i in range(count):
            columns["condition"].append(condition.name)
            columns["method"].append(method)
            columns["lake"].append(f"lake {i}")
            columns["seed"].append(0)
            for measure in measures:
                columns[measure].append(values.get(measure, [NAN] * count)[i])
    return StudyTable({k: np.array(v, object if k in ("condition", "method", "lake") else float) for k, v in columns.items()})


def answers(key, rows):
    return {answer.method: answer for answer in answer_question(study_table(rows), ASK[key])}


def test_methods_are_compared_lake_by_lake():
    """Differences of 0.1 on lakes that differ by far more: clear if paired; the wrong pairing has a wide interval."""
    sft, ift = [0.1, 0.5, 0.9], [0.2, 0.6, 1.0]
    found = answers("recovery", [(DETERMINISTIC, m, {"success_any_tile": v}) for m, v in (("sft", sft), ("ift", ift))])
    effect = found["ift"].effect
    assert effect.value == pytest.approx(0.1) and effect.high - effect.low < 1e-6
    assert found["ift"].against == "sft" and found["ift"].is_clear and "sft" not in found


def test_the_headline_is_the_centre_of_both_dynamics_and_nothing_else():
    rows = []
    for condition, gain in ((DETERMINISTIC, 0.1), (SLIPPERY, 0.3), (Condition(base="random"), 0.9), (Condition(data=1), 0.8)):
        rows += [
            (condition, "sft", {"success_any_tile": [0.0, 0.1]}),
            (condition, "ift", {"success_any_tile": [gain, 0.1 + gain]}),
        ]
    answer = answers("recovery", rows)["ift"]
    assert answer.effect.value == pytest.approx(0.2) and answer.effect.lakes == 4
    assert answer.conditions == 4 and answer.share == 1


def test_the_share_counts_conditions_with_the_sign_of_the_headline():
    rows = []
    for condition, gain in (
        (DETERMINISTIC, 0.2),
        (Condition(base="random"), -0.1),
        (Condition(data=1), 0.1),
        (Condition(data=40), 0.0),
    ):
        rows += [
            (condition, "sft", {"success_any_tile": [0.3, 0.4]}),
            (condition, "dft", {"success_any_tile": [0.3 + gain, 0.4 + gain]}),
        ]
    assert answers("recovery", rows)["dft"].share == pytest.approx(2 / 4)


def test_likelihood_is_compared_with_the_base_and_ranked_from_the_top():
    rows = [
        (DETERMINISTIC, "base", {"chosen_logp": [-5.0, -7.0, -9.0]}),
        (DETERMINISTIC, "sft", {"chosen_logp": [-1.0, -3.1, -5.0]}),
        (DETERMINISTIC, "dpo", {"chosen_logp": [-50.0, -72.0, -90.0]}),
        (DETERMINISTIC, "simpo", {"chosen_logp": [-np.inf, -72.0, -90.0]}),
        (DETERMINISTIC, "nca", {"chosen_logp": [-0.5, -2.0, -3.0]}),
    ]
    found = answers("likelihood", rows)
    assert list(found) == ["nca", "sft", "dpo", "simpo"]
    assert found["sft"].effect.value == pytest.approx(np.mean([4, 3.9, 4])) and found["sft"].against == "base"
    assert found["simpo"].effect.lakes == 3, "a probability that rounds to 0 is no reason to leave a lake out"
    assert found["simpo"].mean[0] == pytest.approx((LEAST_LIKELY - 72 - 90) / 3)


def test_wrong_labels_cost_what_the_same_method_loses_by_them():
    """DPO 0.2 -> 0.5, robust DPO 0.4 -> 0.45: robust DPO loses less by 0.25 although its regret hardly differs."""
    wrong = Condition(flipped=0.3)
    rows = [
        (DETERMINISTIC, "dpo", {"regret": [0.2, 0.21, 0.2]}), (wrong, "dpo", {"regret": [0.5, 0.5, 0.51]}),
        (DETERMINISTIC, "robust", {"regret": [0.4, 0.4, 0.41]}), (wrong, "robust", {"regret": [0.45, 0.45, 0.46]}),
        (DETERMINISTIC, "sft", {"regret": [0.0, 0.0, 0.0]}),
        (Condition(flipped=0.1), "dpo", {"regret": [0.2, 0.2, 0.2]}),
        (Condition(flipped=0.1), "robust", {"regret": [0.9, 0.9, 0.9]}),
        (DETERMINISTIC, "kto", {"regret": [0.4, 0.4, 0.4]}), (wrong, "kto", {"regret": [0.8, 0.8, 0.8]}),
    ]  # fmt: skip
    found = answers("labels", rows)
    assert list(found) == ["robust", "kto"] and found["robust"].against == "dpo"
    assert found["robust"].effect.value == pytest.approx(0.05 - 0.3, abs=1e-9)
    assert found["robust"].conditions == 2 and found["robust"].share == 0.5


def test_wrong_labels_on_ice_are_compared_with_right_ones_on_ice():
    """Regret rises by 0.3 there, and would fall by 0.1 beside the other dynamics."""
    wrong = Condition(dynamics="slippery", flipped=0.3)
    rows = [
        (condition, method, {"regret": [value] * 2})
        for method, values in (("dpo", (0.5, 0.1, 0.1)), ("robust", (0.5, 0.1, 0.4)))
        for condition, value in zip((DETERMINISTIC, SLIPPERY, wrong), values, strict=True)
    ]
    assert answers("labels", rows)["robust"].mean[0] == pytest.approx(0.3)


def test_the_methods_of_a_condition_are_those_that_ran_under_it():
    rows = [(DETERMINISTIC, m, {"regret": [0.1]}) for m in ("base", "sft", "dpo")] + [(SLIPPERY, "ift", {"regret": [0.1]})]
    table = study_table(rows)
    assert [table.methods(condition.name) for condition in (DETERMINISTIC, SLIPPERY)] == [["sft", "dpo"], ["ift"]]


def test_the_frontier_gap_is_a_share_of_what_there_is_to_gain():
    """Gaps 0.1 and 0.1 where 0.2 and 1.0 are to gain: shares 0.5 and 0.1; on a lake where the base is best, 0."""
    rows = [
        (DETERMINISTIC, "base", {"regret": [0.2, 1.0, 0.0], "frontier_gap": [0.0] * 3}),
        (DETERMINISTIC, "sft", {"regret": [0.1] * 3, "frontier_gap": [0.0] * 3}),
        (DETERMINISTIC, "dpo", {"regret": [0.1] * 3, "frontier_gap": [0.1, 0.1, 0.1]}),
    ]
    found = answers("frontier", rows)
    assert found["dpo"].mean[0] == pytest.approx((0.5 + 0.1 + 0.0) / 3) == found["dpo"].effect.value
    rows[0][2]["regret"][2] = LEAST  # as good as nothing
    assert answers("frontier", rows)["dpo"].mean == found["dpo"].mean


def test_only_methods_with_the_data_of_sft_are_asked_whether_they_beat_it():
    methods = ("sft", "ift", "dft", "asft", "scheduled", "neftune", "dagger", "distill", "dpo", "ppo", "hpt")
    found = answers("demonstrations", [(DETERMINISTIC, m, {"regret": [0.1, 0.2]}) for m in methods])
    assert set(found) == {"ift", "dft", "asft", "scheduled", "neftune"}


def test_a_method_that_walks_is_compared_with_its_kin_that_does_not():
    methods = ("sft", "dpo", "dagger", "luffy", "dpo_online", "ppo", "ift")
    found = answers("walking", [(DETERMINISTIC, m, {"regret": [0.1, 0.2]}) for m in methods])
    assert {m: a.against for m, a in found.items()} == {"dagger": "sft", "luffy": "sft", "dpo_online": "dpo", "ppo": "dpo"}


def test_lower_is_better_for_regret_and_ranks_are_by_the_mean():
    values = {"sft": [0.5, 0.5], "ift": [0.3, 0.2], "dft": [0.1, 0.2], "neftune": [0.9, 0.7]}
    assert list(answers("demonstrations", [(DETERMINISTIC, m, {"regret": v}) for m, v in values.items()])) == [
        "dft", "ift", "neftune",
    ]  # fmt: skip


def test_clear_is_what_is_left_when_corrected_for_the_number_of_methods():
    """One method with p just below 0.05 beside four that show nothing is not clear."""
    noise = np.array([-1.0, 1.0, -2.0, 2.0, -1.5, 1.5, 0.3, -0.3])
    rows = [(DETERMINISTIC, "sft", {"regret": list(np.zeros(8))})]
    rows += [(DETERMINISTIC, m, {"regret": list(noise)}) for m in ("dft", "asft", "scheduled", "neftune")]
    rows += [(DETERMINISTIC, "ift", {"regret": list(noise + 1.22)})]
    answer = answers("demonstrations", rows)["ift"]
    assert answer.effect.p < 0.05 < answer.rate and not answer.is_clear


def test_policies_that_diverge_are_counted():
    rows = [
        (DETERMINISTIC, "sft", {"regret": [0.5, 0.5, 0.5]}), (SLIPPERY, "sft", {"regret": [0.5, 0.5]}),
        (DETERMINISTIC, "ift", {"regret": [NAN, 0.2, 0.2]}), (SLIPPERY, "ift", {"regret": [NAN, 0.2]}),
    ]  # fmt: skip
    answer = answers("demonstrations", rows)["ift"]
    assert (answer.diverged, answer.effect.lakes, answer.mean[0]) == (2, 3, pytest.approx(0.2))


def test_a_method_that_always_diverges_comes_last():
    values = {"sft": [0.5, 0.5], "asft": [NAN, NAN], "dft": [0.4, 0.3], "neftune": [0.1, NAN]}
    found = answers("demonstrations", [(DETERMINISTIC, m, {"regret": v}) for m, v in values.items()])
    assert list(found) == ["neftune", "dft", "asft"]
    assert np.isnan(found["asft"].mean).tolist() == [True] * 3 and np.isnan(found["asft"].share)


def test_ranks_are_by_the_mean_not_by_the_end_of_its_interval():
    values = {"sft": [0.5, 0.5], "ift": [0.0, 0.8], "dft": [0.3, 0.31]}
    found = answers("demonstrations", [(DETERMINISTIC, m, {"regret": v}) for m, v in values.items()])
    assert list(found) == ["dft", "ift"] and found["ift"].mean[1] < found["dft"].mean[1]


def test_a_condition_in_which_a_policy_diverged_has_no_sign():
    rows = []
    for condition, values in ((DETERMINISTIC, [0.2, 0.3]), (Condition(data=1), [NAN, 0.3]), (Condition(data=40), [0.9, 0.9])):
        rows += [(condition, "sft", {"regret": [0.5, 0.5]}), (condition, "ift", {"regret": values})]
    answer = answers("demonstrations", rows)["ift"]
    assert answer.conditions == 3 and answer.share == 1 / 2


def test_a_mean_difference_below_a_millionth_is_none():
    rows = []
    for condition, gain in ((DETERMINISTIC, -0.1), (Condition(data=1), -0.9e-6), (Condition(data=40), -1.1e-6)):
        rows += [(condition, "sft", {"regret": [0.5, 0.5]}), (condition, "ift", {"regret": [0.5 + gain, 0.5 + gain]})]
    assert answers("demonstrations", rows)["ift"].share == pytest.approx(2 / 3)
    assert questions._rounded(LEAST) == LEAST and questions._rounded(-LEAST / 2) == 0


def test_what_is_clear_lies_below_five_percent():
    rows = [(DETERMINISTIC, m, {"regret": v}) for m, v in (("sft", [0.5, 0.5]), ("ift", [0.3, 0.2]))]
    answer = answers("demonstrations", rows)["ift"]
    assert [replace(answer, rate=rate).is_clear for rate in (0.0499, 0.05, NAN)] == [True, False, False]


def test_findings_are_plain_numbers():
    rows = [(DETERMINISTIC, m, {"regret": v}) for m, v in (("sft", [0.5]), ("ift", [0.25]))]
    answers = {"demonstrations": answer_question(study_table(rows), ASK["demonstrations"])}
    found = findings(answers, {"ift"})["demonstrations ift"]
    assert found["value"] == -0.25 and found["low"] is None and found["place"] == 1
    assert found["clear"] is False and found["on_edge"] is True


def test_the_plane_has_means_over_lakes_of_one_dynamics():
    rows = [
        (DETERMINISTIC, "base", {"regret": [1.0, 1.0], "frontier_gap": [0.0, 0.0], "kl_discounted": [0.0, 0.0]}),
        (DETERMINISTIC, "sft", {"regret": [1.0, 1.0], "frontier_gap": [0.1, 0.3], "kl_discounted": [2.0, 4.0]}),
        (SLIPPERY, "sft", {"regret": [1.0, 1.0], "frontier_gap": [0.9, 0.9], "kl_discounted": [9.0, 9.0]}),
    ]
    ((point),) = plane_points(study_table(rows), "deterministic")
    assert (point.method, point.kl, point.gap) == ("sft", 3.0, pytest.approx(0.2))


def test_every_method_has_its_group():
    assert grouped(["kto", "hpt", "dagger", "ppo", "dpo"]) == {
        "Demonstrations": ["dagger"], "Pairs": ["dpo", "kto"], "Rollouts": ["ppo", "hpt"],
    }  # fmt: skip
