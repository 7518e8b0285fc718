"""The frontier study's page: rankings written from findings, and the published page held to the published tables."""

import json
from pathlib import Path

import numpy as np
import pytest

from ift_gridworld.methods.registry import METHODS
from ift_gridworld.studies.frontier.conditions import Condition
from ift_gridworld.studies.frontier.page import with_numbers
from ift_gridworld.studies.frontier.questions import QUESTIONS, StudyTable, answer_questions
from ift_gridworld.studies.frontier.running import run_chosen
from ift_gridworld.studies.frontier.study import FrontierScope, chosen_trials, findings
from ift_gridworld.studies.tables import load_table

ROOT = Path(__file__).parents[2]
FOLDER, PAGE = ROOT / "figures" / "frontier", ROOT / "experiments" / "frontier.md"


def answer(place, value, low, high, **more):
    numbers = {"place": place, "mean": 0.5, "value": value, "low": low, "high": high, "share": 0.25, "conditions": 8}
    return numbers | {"diverged": 0, "clear": True, "on_edge": False} | more


def test_a_ranking_is_a_table_in_order():
    made_up = {
        "labels kto": answer(2, 0.25, -0.5, 1.0, clear=False, share=None),
        "labels dpo": answer(1, -0.125, -0.25, -0.0625, on_edge=True),
        "labels ipo": answer(3, None, None, None, mean=None, clear=False, share=None, diverged=2),
        "recovery dpo": answer(1, 1.0, 1.0, 1.0),
    }
    page = "By **0.0** <!-- labels dpo | value -->.\n\n<!-- ranking: labels -->\nold\n<!-- end -->\nrest"
    assert with_numbers(page, made_up) == (
        "By **-0.1** <!-- labels dpo | value -->.\n\n".replace("-0.1", "−0.1") + "<!-- ranking: labels -->\n\n"
        "| | method | mean | difference | conditions alike |\n| ---: | --- | ---: | ---: | ---: |\n"
        "| 1 | DPO † | 0.500 | −0.125 [−0.250, −0.062] | 25 % of 8 |\n"
        "| 2 | KTO | 0.500 | +0.250 [−0.500, +1.000] ○ |  |\n"
        "| 3 | IPO (2 diverged) | none | none [none, none] ○ |  |\n\n<!-- end -->\nrest"
    )
    with pytest.raises(ValueError, match=r"the page ranks 'speed'; allowed: a question of findings\.json"):
        with_numbers("<!-- ranking: speed -->\n<!-- end -->", made_up)


@pytest.fixture(scope="module")
def published():
    return json.loads((FOLDER / "findings.json").read_text(encoding="utf-8"))


def test_the_page_says_what_was_found(published):
    page = PAGE.read_text(encoding="utf-8")
    assert with_numbers(page, published["findings"] | published["choices"]) == page
    for question in QUESTIONS:
        assert f"<!-- ranking: {question.key} -->" in page
        assert question.title in page
    asked = {method for name in published["findings"] for method in [name.partition(" ")[2]]}
    assert asked == set(METHODS), "the study is one of all methods that there are"


def test_what_the_page_says_in_words_is_so(published):
    """Each sentence with an order or a sign in it."""
    found = published["findings"]

    def mean(question, *methods):
        return [found[f"{question} {method}"]["mean"] for method in methods]

    def is_clearly(sign, question, *methods):
        return all(found[f"{question} {m}"]["clear"] and found[f"{question} {m}"]["value"] * sign > 0 for m in methods)

    assert is_clearly(+1, "recovery", "distill", "dagger", "ppo", "dr_grpo", "reinforce", "hpt", "luffy")
    walks = {method for method in METHODS if METHODS[method].draws}
    assert not any(is_clearly(+1, "recovery", method) for method in METHODS if method not in {"sft", *walks})
    assert is_clearly(-1, "recovery", "ift", "dpo", "robust", "exo") and not found["recovery asft"]["clear"]
    assert is_clearly(+1, "likelihood", "orpo", "cpo", "cal_dpo", "kto", "dpo_online", "sft", "ift", "dpop")
    drained = mean("likelihood", "dpo", "tdpo", "exo", "robust")
    assert drained == sorted(drained, reverse=True) and is_clearly(-1, "likelihood", "dpo", "tdpo", "exo", "robust", "dft")
    ahead = ("dpo_online", "apo_zero", "kto", "nca", "sppo", "cpo", "orpo", "bco", "cal_dpo")
    assert mean("mislabelled", *ahead) == sorted(mean("mislabelled", *ahead)) and is_clearly(-1, "mislabelled", *ahead)
    assert is_clearly(+1, "mislabelled", "robust") and mean("labels", "exo")[0] < 0
    least = ("chi_po", "dpo_online", "apo_zero", "nca", "kto")
    assert mean("labels", *least) == sorted(mean("labels", *least)) and not any(found[f"labels {m}"]["clear"] for m in least)
    assert is_clearly(-1, "frontier", "distill", "dagger", "rloo", "dr_grpo", "ppo") and is_clearly(+1, "frontier", "ift")
    assert min(mean("frontier", "robust", "exo")) > 1 > mean("frontier", "dpo")[0]
    assert is_clearly(-1, "demonstrations", "asft") and is_clearly(+1, "demonstrations", "ift", "scheduled")
    assert [found[f"demonstrations {m}"]["place"] for m in ("asft", "scheduled", "ift")] == [1, 4, 5]
    walking = {name.partition(" ")[2]: each for name, each in found.items() if name.startswith("walking ")}
    assert is_clearly(-1, "walking", *(set(walking) - {"luffy"})) and is_clearly(+1, "walking", "luffy")
    beside_dpo = sorted((each["value"], method) for method, each in walking.items() if each["against"] == "dpo")
    assert (beside_dpo[0][1], beside_dpo[-1][1]) == ("rloo", "dapo")


@pytest.fixture(scope="module")
def tables():
    return {name: load_table(FOLDER / f"{name}.csv.gz")[0] for name in ("trials", "results")}


def test_the_findings_are_those_of_the_tables(published, tables):
    """Also: all conditions are there, the trials are those that were chosen, and no policy lies above the frontier."""
    table, choices = StudyTable(tables["results"]), chosen_trials(tables["trials"])
    on_edge = {m for (held_in, m), choice in choices.items() if choice.on_edge and not Condition.parse(held_in).flipped}
    again = findings(answer_questions(table), on_edge)
    assert again.keys() == published["findings"].keys()
    for name, numbers in again.items():
        for part, number in numbers.items():
            kept = published["findings"][name][part]
            assert number == (pytest.approx(kept, rel=1e-9) if isinstance(number, float) else kept), (name, part)
    scope = FrontierScope()
    assert set(table.conditions) == {condition.name for condition in scope.conditions}
    for condition in scope.conditions:
        if condition.is_centre:
            assert len({lake for lake, _ in table.values(condition.name, "base", "regret")}) == scope.lakes
    assert np.nanmin(tables["results"]["frontier_gap"]) > -1e-6


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ift", "dpo"])
def test_rows_come_out_of_training(method, tables):
    condition = Condition(lakes="two-paths")
    trial = chosen_trials(tables["trials"])[condition.held_in.name, method].trial
    table = StudyTable(tables["results"])
    again = StudyTable(run_chosen(condition.name, method, trial.factor, trial.knob, 1, FrontierScope().seeds, 0))
    for measure in ("regret", "frontier_gap", "chosen_logp"):
        kept, new = (each.values(condition.name, method, measure) for each in (table, again))
        assert new == pytest.approx(kept, rel=1e-3, abs=1e-4), measure
