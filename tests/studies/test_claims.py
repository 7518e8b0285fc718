"""Claims about saved tables: held to tables that are made by hand."""

import numpy as np
import pytest

from ift_gridworld.evaluation.metrics import MEASURES
from ift_gridworld.studies.claims import CLAIMS, DISTANCES, NEGLIGIBLE, VIEWS, Claim, View, is_tested
from ift_gridworld.studies.measures import OWN_MEASURES
from ift_gridworld.studies.results import SettingResults
from ift_gridworld.studies.verdicts import follows_published_order, summarise, verdict

LAST, BEST_RATE = View("common", "last"), View("best", "last")


def table(values, measure="distance"):
    """values: {(method, rate, checkpoint): [[lake 0's seeds], [lake 1's seeds]]} as columns, rows shuffled."""
    rows = [
        (method, rate, checkpoint, f"lake {i}", seed + 5, value)
        for (method, rate, checkpoint), lakes in values.items()
        for i, seeds in enumerate(lakes)
        for seed, value in enumerate(seeds)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    columns = zip(*(rows[i] for i in order), strict=True)
    names = ("method", "rate", "checkpoint", "lake", "seed", measure)
    return {n: np.array(c, float if n == measure else object) for n, c in zip(names, columns, strict=True)}


def results(values, common=0.01, measure="distance"):
    columns = table(values, measure)
    return SettingResults(columns, np.arange(len(columns["lake"])), common)


def flat(**methods):
    """One lake, four seeds, one rate: each method's distance, nearly alike for all seeds."""
    noise = np.array([0.0, 0.001, 0.002, 0.003])
    return results({(m, 0.01, "last"): [(value + noise).tolist()] for m, value in methods.items()})


def test_every_measure_that_a_claim_names_is_measured():
    assert {claim.measure for claim in CLAIMS.values()} <= {*MEASURES, *OWN_MEASURES}
    assert len(DISTANCES) == 8 and set(DISTANCES) == {name for name in MEASURES if name.startswith("distance")}
    assert list(CLAIMS) == [claim.name for claim in CLAIMS.values()]
    assert CLAIMS["ift<sft:distance"] == Claim("ift", "sft", "distance", -1)
    assert CLAIMS["dpo>ift:tiles"].sign == 1 and CLAIMS["ift>sft:success"].sign == 1 and "ift<sft:regret" in CLAIMS


def test_a_difference_is_paired_by_lake_and_seed():
    ift, sft = [[1.0, 2.0], [3.0, 4.0]], [[0.5, 2.5], [1.0, 9.0]]
    made = results({("ift", 0.01, "last"): ift, ("sft", 0.01, "last"): sft})
    at = made.difference(CLAIMS["ift<sft:distance"], LAST)
    order = [made.lakes.index(f"lake {i}") for i in (0, 1)]
    assert at[order].tolist() == (np.array(ift) - sft).tolist() and made.seeds == [5, 6]
    some = {("ift", 0.01, "last"): ift, ("sft", 0.01, "last"): sft[:1]}
    missing = results(some).difference(CLAIMS["ift<sft:distance"], LAST)
    assert np.isnan(missing).sum() == 2  # the second lake has no SFT


def test_a_rate_is_the_common_one_or_each_methods_own_best():
    """SFT is nearest at 0.1, IFT at 0.001; the common rate is the one nearest to the policy's own, in ratio."""
    values = {
        (method, rate, "last"): [[distance, distance]]
        for method, distances in (("sft", (0.3, 0.2, 0.1)), ("ift", (0.1, 0.2, 0.4)))
        for rate, distance in zip((0.001, 0.01, 0.1), distances, strict=True)
    }
    made = results(values, common=0.02)
    assert made.rates("sft") and set(made.rates("ift")) == {"0.001", "0.01", "0.1"}
    assert (made.rate("sft", LAST), made.rate("ift", LAST)) == ("0.01", "0.01")
    assert (made.rate("sft", BEST_RATE), made.rate("ift", BEST_RATE)) == ("0.1", "0.001")
    assert made.difference(CLAIMS["ift<sft:distance"], BEST_RATE).tolist() == [[0.0, 0.0]]
    values["ift", 0.001, "last"] = [[np.nan, np.nan]]  # diverged there: the best of the others
    assert results(values).rate("ift", BEST_RATE) == "0.01"


def test_the_base_has_rows_of_its_own():
    made = results({("base", "", "base"): [[0.25, 0.5]], ("sft", 0.01, "last"): [[0.1, 0.2]]})
    assert made.base("distance").tolist() == [[0.25, 0.5]] and set(made.methods) == {"base", "sft"}
    assert results({("base", np.nan, "base"): [[1.0]]}).base("distance").tolist() == [[1.0]]  # as read from a file


@pytest.mark.parametrize(
    ("ift", "sft", "word", "holds"),
    [(0.1, 0.2, "holds", True), (0.2, 0.1, "reversed", False), (0.1, 0.1 + NEGLIGIBLE / 2, "unclear", False)],
)
def test_a_verdict_has_the_claims_sign(ift, sft, word, holds):
    found = verdict(flat(ift=ift, sft=sft), CLAIMS["ift<sft:distance"], LAST)
    assert (found.word, found.holds) == (word, holds)
    opposite = verdict(flat(ift=ift, sft=sft), Claim("ift", "sft", "distance", 1), LAST)
    assert opposite.word == {"holds": "reversed", "reversed": "holds"}.get(word, word)


def test_where_seeds_disagree_a_verdict_is_unclear_and_where_nothing_is_compared_there_is_none():
    mixed = results({("ift", 0.01, "last"): [[0.0, 1.0, 0.1, 0.8]], ("sft", 0.01, "last"): [[0.5, 0.4, 0.5, 0.4]]})
    assert verdict(mixed, CLAIMS["ift<sft:distance"], LAST).word == "unclear"
    empty = results({("ift", 0.01, "last"): [[np.nan, 1.0]], ("sft", 0.01, "last"): [[0.5, 0.4]]})
    assert verdict(empty, CLAIMS["ift<sft:distance"], LAST).word == "none"


def test_a_summary_counts_settings():
    """Three settings hold, one is reversed, one cannot be asked; the pooled effect is the interquartile mean of the means."""
    claim = CLAIMS["ift<sft:distance"]
    each = [flat(ift=0.1, sft=0.1 + gap) for gap in (0.1, 0.2, 0.3, -0.5)] + [flat(ift=np.nan, sft=0.1)]
    verdicts = [verdict(c, claim, LAST) for c in each]
    found = summarise(claim, LAST, each, verdicts, ["a"] * 5)
    assert (found.settings, found.holds, found.clearly, found.against) == (4, 0.75, 0.75, 0.25)
    assert found.effect.value == pytest.approx(-(0.1 + 0.2) / 2)


@pytest.mark.parametrize(
    ("distances", "holds"),
    [
        ({"dpo": 0.1, "ift": 0.2, "orpo": 0.3, "sft": 0.4}, True),
        ({"dpo": 0.1, "ift": 0.2, "orpo": 0.4, "sft": 0.3}, True),  # nothing is said of ORPO against SFT
        ({"dpo": 0.3, "ift": 0.2, "orpo": 0.3, "sft": 0.4}, False),
        ({"dpo": 0.1, "ift": 0.2, "orpo": 0.3, "sft": 0.15}, False),
        ({"dpo": 0.1, "ift": 0.35, "orpo": 0.3, "sft": 0.4}, False),
    ],
)
def test_the_whole_order(distances, holds):
    assert follows_published_order(flat(**distances), LAST) is holds


def test_preference_estimation_is_asked_once():
    """It is measured at the common rate and the last checkpoint; all else at every view."""
    assert [is_tested(CLAIMS["ift<sft:bias"], view) for view in VIEWS] == [True, False, False, False]
    assert all(is_tested(CLAIMS["dpo<ift:distance_next_shown"], view) for view in VIEWS)
    assert VIEWS[0].name == "common rate, last checkpoint"
