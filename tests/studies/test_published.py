"""The published findings, computed again: from the tables that are kept beside them, and rows of these from training."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import trim_mean

from ift_gridworld.evaluation.statistics import false_discovery_rates, mean_interval
from ift_gridworld.studies.claims import CLAIMS, NEGLIGIBLE, VIEWS
from ift_gridworld.studies.reproduction.catalogue import claims_arguments
from ift_gridworld.studies.reproduction.design import METHODS, StudyScope, seeds_for
from ift_gridworld.studies.results import settings_table
from ift_gridworld.studies.running import run_setting
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import load_table, select
from ift_gridworld.studies.verdicts import judge_claims

FOLDER = Path(__file__).parents[2] / "figures" / "reproduction"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def findings():
    return json.loads((FOLDER / "findings.json").read_text())["findings"]


def table(name):
    """A table that is kept; one that is missing is a failure, not a reason to skip."""
    return load_table(FOLDER / f"{name}.csv.gz")[0]


def rows_of(columns, **labels):
    return select(columns, np.all([columns[name] == value for name, value in labels.items()], axis=0))


@pytest.mark.parametrize(
    "claim", ["ift<sft:distance", "ift<orpo:distance", "dpo<ift:distance", "ift>sft:success", "dpo>ift:tiles"]
)
def test_a_claim_over_all_settings_is_that_of_its_settings(claim, findings):
    """Effect, shares, and shares that are clear after correction, from one effect and p-value a setting."""
    for view in VIEWS:
        rows = rows_of(table("claims_by_setting"), claim=claim, rate=view.rate, checkpoint=view.checkpoint)
        rows = select(rows, rows["verdict"] != "none")
        signed = rows["effect"] * CLAIMS[claim].sign
        is_clear = (false_discovery_rates(rows["p"]) <= 0.05) & (np.abs(signed) > NEGLIGIBLE)
        found = findings[f"{claim}, {view.name}"]
        assert len(signed) <= findings["settings"]
        assert found["effect"] == pytest.approx(trim_mean(rows["effect"], 0.25), abs=2e-6)
        assert found["holds"] == pytest.approx(np.mean(signed > NEGLIGIBLE), abs=1e-6)
        assert found["clearly"] == pytest.approx(np.mean(is_clear & (signed > 0)), abs=1e-6)
        assert found["reversed"] == pytest.approx(np.mean(is_clear & (signed < 0)), abs=1e-6)


@pytest.mark.parametrize(
    ("form", "mixing", "decay"),
    [("none", 0.2, 0.0), ("released", 0.0, 0.95), ("algorithm 1", 0.0, 0.95), ("equation 21", 0.0, 0.95)],
)
def test_the_ablation_is_that_of_its_rows(form, mixing, decay, findings):
    """IFT less SFT on the same lake and seed: the mean over seeds, and Student's interval over lakes."""
    columns = rows_of(table("ablation"), ice="firm", checkpoint="last", prediction="greedy", embedding="live")
    ift = rows_of(columns, form=form, mixing=mixing, decay=decay, method="ift")
    sft = rows_of(columns, form="sft", method="sft")
    difference = {}
    for lake, seed, distance in zip(ift["lake"], ift["seed"], ift["distance"], strict=True):
        (other,) = rows_of(sft, lake=lake, seed=seed)["distance"]
        difference.setdefault(lake, []).append(distance - other)
    found = findings[f"distance less SFT's, firm: {form}, greedy, live, mixing {mixing:g}, decay {decay:g}"]
    interval = mean_interval(np.array([np.mean(each) for each in difference.values()]))
    assert (found["value"], found["low"], found["high"]) == pytest.approx(interval, abs=2e-6)


@pytest.mark.parametrize("method", ["dpo", "ipo"])
def test_the_change_since_the_base_is_that_of_its_rows(method, findings):
    columns = table("drain")
    means = {}
    for name, checkpoint, sign in ((method, "last", 1), ("base", "base", -1)):
        rows = rows_of(columns, method=name, checkpoint=checkpoint)
        for place, unseen in zip(zip(rows["map"], rows["ice"], rows["policy"], strict=True), rows["unseen"], strict=True):
            means.setdefault(place, []).append(2 * sign * unseen)  # half of the rows are the method's
    expected = trim_mean([np.mean(each) for each in means.values()], 0.25)
    assert findings[f"change since the base, {method}: unseen"]["value"] == pytest.approx(expected, abs=2e-6)


def test_rows_of_a_setting_come_out_of_training(findings):
    """The first setting of two paths on firm ice is trained again, all four methods: every verdict, to four digits."""
    about = load_table(FOLDER / "claims_by_setting.csv.gz")[1]["settings"]
    columns = table("claims_by_setting")
    name = next(name for name in columns["setting"] if name.startswith("two-paths-3,firm"))
    setting, scope = Setting.parse(name), StudyScope(seeds=int(about["seeds"]), seed=int(about["seed"]))
    rows = run_setting(**claims_arguments(setting, METHODS, seeds_for(setting, scope.seeds), scope.seed))
    claims = [CLAIMS[claim] for claim in ("ift<sft:distance", "ift<orpo:distance", "dpo<ift:distance", "ift>sft:success")]
    _, again = judge_claims(settings_table(rows), claims)
    for claim in claims:
        for view in VIEWS:
            labels = {"setting": name, "claim": claim.name, "rate": view.rate, "checkpoint": view.checkpoint}
            kept, new = rows_of(columns, **labels), rows_of(again, **labels)
            for number in ("effect", "low", "high"):
                assert new[number] == pytest.approx(kept[number], rel=1e-4, abs=1e-5), (claim.name, view.name, number)
