"""Claims about saved tables: held to tables that are made by hand."""

import io
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console
from scipy.special import stdtrit

from ift_gridworld.evaluation.metrics import MEASURES
from ift_gridworld.evaluation.statistics import Effect, paired_effect
from ift_gridworld.studies.claim_tables import table_of_claims, table_of_setting
from ift_gridworld.studies.claims import CLAIMS, DISTANCES, NEGLIGIBLE, ORDER, VIEWS, Claim, View, is_exploratory, is_tested
from ift_gridworld.studies.measures import OWN_MEASURES
from ift_gridworld.studies.results import SettingResults
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.verdicts import (
    Verdict,
    follows_published_order,
    judge_claims,
    row_of,
    summarise,
    verdict,
    words_among,
)

LAST, BEST_RATE, BEST = View("common", "last"), View("best", "last"), View("best", "best")


def table(values, measure="distance"):
    """values: {(method, rate, checkpoint) or (method, rate, checkpoint, beta): [[lake 0's seeds], [lake 1's seeds]]} as
    columns, rows shuffled. A point is on an edge if it has the largest rate."""
    largest = max(key[1] for key in values if key[0] != "base") if len(values) > 1 else ""
    rows = [
        (method, rate, beta[0] if beta else "", checkpoint, f"lake {i}", seed + 5, int(rate == largest), value)
        for (method, rate, checkpoint, *beta), lakes in values.items()
        for i, seeds in enumerate(lakes)
        for seed, value in enumerate(seeds)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    columns = zip(*(rows[i] for i in order), strict=True)
    names = ("method", "rate", "beta", "checkpoint", "lake", "seed", "on_edge", measure)
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


def test_the_claims_are_the_papers_order_of_each_measure():
    """DPO < IFT < ORPO < SFT in distance and regret, and IFT < SFT, skipping one; the reverse of success; DPO explores most
    tiles, then IFT, ORPO, SFT; IFT's estimation is less biased than SFT's, of the base and of the trained policy."""
    order = ["dpo", "ift", "orpo", "sft"]
    neighbours = {*pairwise(order)}
    nearer = {(*pair, name, -1) for pair in neighbours | {("ift", "sft")} for name in (*DISTANCES, "regret")}
    better = {(*pair, "success", 1) for pair in neighbours | {("ift", "sft")}}
    tiles = {(*pair, "tiles", 1) for pair in neighbours}
    estimation = {("ift", "sft", name, -1) for name in ("bias", "gap", "base_bias", "base_gap")}
    found = [(claim.first, claim.second, claim.measure, claim.sign) for claim in CLAIMS.values()]
    assert set(found) == nearer | better | tiles | estimation and len(found) == len(set(found))
    assert set(ORDER) == {("dpo", "ift"), ("ift", "orpo"), ("ift", "sft")}, "DPO < IFT < ORPO, SFT"
    assert (LAST, View("common", "best"), BEST_RATE, BEST) == VIEWS


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


def test_the_best_rate_is_chosen_at_the_checkpoint_of_the_view():
    """Nearest at the last checkpoint at 0.01, at its best one at 0.1."""
    distances = {(0.01, "last"): 0.2, (0.01, "best"): 0.2, (0.1, "last"): 0.5, (0.1, "best"): 0.1}
    made = results({("ift", *key): [[value, value]] for key, value in distances.items()})
    assert (made.rate("ift", BEST_RATE), made.rate("ift", BEST)) == ("0.01", "0.1")
    assert made.measure("distance", "ift", BEST).tolist() == [[0.1, 0.1]]
    assert made.rate("ift", View("common", "best")) == "0.01"


@pytest.mark.parametrize(
    ("chosen", "others"),
    [
        ([[0.1, 0.1], [0.5, 0.5]], [[0.4, 0.4], [0.4, 0.4]]),  # the worst lake and the last one would choose otherwise
        ([[0.3, 0.3], [0.3, 0.3]], [[0.1, 0.1], [0.7, 0.7]]),  # and so would the best lake and the first one
        ([[0.3, 0.3], [0.3, 0.3]], [[0.1, 0.7], [0.1, 0.7]]),  # and so would the best seed and the first one
        ([[0.6, 0.0], [0.6, 0.0]], [[0.4, 0.4], [0.4, 0.4]]),  # and so would the worst seed
        ([[0.3, 0.3], [0.3, 0.3]], [[0.1, np.nan], [0.1, 0.1]]),  # a rate at which one seed diverged
    ],
)
def test_the_best_rate_is_nearest_on_average_over_lakes_and_seeds(chosen, others):
    for rates in ((0.01, 0.1), (0.1, 0.01)):
        made = results({("ift", rates[0], "last"): chosen, ("ift", rates[1], "last"): others})
        assert made.rate("ift", BEST_RATE) == f"{rates[0]:g}"


def test_the_best_rate_is_chosen_by_distance_whatever_is_compared():
    """At 0.1 it plays better and is further away."""
    columns = table({("ift", 0.01, "last"): [[0.1]], ("ift", 0.1, "last"): [[0.9]], ("sft", 0.01, "last"): [[0.5]]})
    columns["success"] = columns["distance"].copy()
    made = SettingResults(columns, np.arange(3), 0.01)
    assert made.difference(CLAIMS["ift>sft:success"], BEST_RATE).tolist() == [[0.1 - 0.5]]


def test_beta_is_chosen_with_the_rate_and_its_default_is_the_common_one():
    """At beta 0.3, DPO is nearest at a rate that is worse with the default; a rate beyond the grid is tried with it alone."""
    values = {("dpo", 0.01, "last"): [[0.4]], ("dpo", 0.03, "last"): [[0.5]], ("dpo", 0.03, "last", 0.3): [[0.2]]}
    values |= {("dpo", 0.02, "last", 0.3): [[0.3]], ("sft", 0.01, "last"): [[0.3]]}
    made = results(values, common=0.02)
    assert made.rates("dpo") == [rate for rate, beta in made.tried("dpo") if not beta] and set(made.rates("dpo")) == {
        "0.01",
        "0.03",
    }
    assert made.chosen("dpo", BEST_RATE) == ("0.03", "0.3") and made.chosen("dpo", LAST) == ("0.03", "")
    assert made.difference(Claim("dpo", "sft", "distance", -1), BEST_RATE) == pytest.approx(0.2 - 0.3)
    assert made.is_on_edge("dpo", BEST_RATE) and not made.is_on_edge("dpo", LAST) and not made.is_on_edge("sft", BEST_RATE)


def test_a_point_is_on_an_edge_if_any_of_its_rows_says_so():
    """And a table that was written before edges were marked has none."""
    columns = table({("ift", 0.01, "last"): [[0.1, 0.1]], ("ift", 0.1, "last"): [[0.9, 0.9]]})
    columns["on_edge"] = ((columns["rate"] == 0.01) & (columns["seed"] == 5)).astype(int)
    assert SettingResults(columns, np.arange(4), 0.01).is_on_edge("ift", BEST_RATE)
    del columns["on_edge"]
    assert not SettingResults(columns, np.arange(4), 0.01).is_on_edge("ift", BEST_RATE)


def test_seeds_and_lakes_are_in_their_order():
    columns = table({("ift", 0.01, "last"): [[0.1, 0.2, 0.3]]})
    columns["seed"] = np.array([{5: 16, 6: 8, 7: 1}[seed] for seed in columns["seed"]])  # a set has another order
    made = SettingResults(columns, np.arange(3), 0.01)
    assert made.seeds == [1, 8, 16] and made.at("distance", "ift", "0.01", "last").tolist() == [[0.3, 0.2, 0.1]]


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
    assert opposite.holds is (word == "reversed")


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


# ---- many settings ----


def noisy(gap, spread, seeds=8):
    """One lake: IFT's distance less SFT's is `gap` on average over seeds, and differs between them by `spread`."""
    noise = spread * np.where(np.arange(seeds) % 2, 1.0, -1.0)
    return results({("ift", 0.01, "last"): [(0.5 + gap + noise).tolist()], ("sft", 0.01, "last"): [[0.5] * seeds]})


def test_what_is_clear_in_one_of_many_settings_is_corrected_for_their_number():
    """Alone, p = 0.04 is clear; as one of twenty it is not, and p = 0.0001 still is; twenty of p = 0.04 are, all of them."""
    claim = CLAIMS["ift<sft:distance"]

    def setting(p, sign=-1):
        """The mean of eight values 1 and -1 is t standard errors of sqrt(8 / 7) / sqrt(8) away."""
        return noisy(sign * -stdtrit(7, p / 2) / np.sqrt(7), 1.0)

    one, strong, none = setting(0.04), setting(0.0001, sign=1), noisy(0.0, 1.0)
    assert paired_effect(one.difference(claim, LAST)).p == pytest.approx(0.04)
    for each, clearly, against in (
        ([one], 1, 0),
        ([one, *[none] * 18, strong], 0, 1 / 20),
        ([one] * 20, 1, 0),
        ([one, flat(ift=np.nan, sft=0.1)], 1, 0),  # where nothing was compared, nothing was tested
    ):
        verdicts = [verdict(results, claim, LAST) for results in each]
        assert verdicts[0].word == "holds"
        total = summarise(claim, LAST, each, verdicts, ["a"] * len(each))
        assert (total.clearly, total.against) == (clearly, against)


def test_a_claim_may_hold_and_not_clearly():
    """On average IFT is nearer by a little, and seeds disagree by much."""
    claim, unclear = CLAIMS["ift<sft:distance"], noisy(-0.01, 1.0)
    total = summarise(claim, LAST, [unclear], [verdict(unclear, claim, LAST)], ["a"])
    assert (total.holds, total.clearly, total.against) == (1, 0, 0)


def test_a_row_is_found_by_claim_rate_and_checkpoint():
    names = [(claim, view.rate, view.checkpoint) for claim in ("a", "b") for view in VIEWS]
    pooled = {
        n: np.array(column, object) for n, column in zip(("claim", "rate", "checkpoint"), zip(*names, strict=True), strict=True)
    }
    assert [row_of(pooled, claim, view) for claim in ("a", "b") for view in VIEWS] == list(range(8))


def test_what_is_rounding_and_what_is_too_often_false_are_bounds_that_belong_to_it():
    def of(value):
        return Verdict(Effect(value, value / 2, 2 * value, 0.0, 1, 8, p=0.01), 1)

    assert (of(NEGLIGIBLE).holds, of(NEGLIGIBLE).word) == (False, "unclear")
    assert (of(1.01 * NEGLIGIBLE).holds, of(1.01 * NEGLIGIBLE).word) == (True, "holds")
    assert of(0.1).word_among(0.05) == "holds" and of(0.1).word_among(0.051) == of(0.1).word_among(np.nan) == "unclear"
    nothing = verdict(flat(ift=np.nan, sft=0.1), CLAIMS["ift<sft:distance"], LAST)
    assert words_among([of(0.1), nothing]) == ["holds", "none"]


def test_one_claim_at_one_view_in_one_setting_is_one_row():
    setting = Setting("4x4", "firm", "random", "tabular", "adam", 1)
    columns = table({(m, 0.03, "last"): [[b, b]] for m, b in (("ift", 0.1), ("sft", 0.3))}, "base_bias")
    settings = {setting.name: (setting, SettingResults(columns, np.arange(4), 0.03))}
    pooled, by_setting = judge_claims(settings, [CLAIMS["ift<sft:base_bias"]])
    assert by_setting["effect"] == pooled["effect"] == pytest.approx([-0.2]) and by_setting["verdict"].tolist() == ["holds"]
    assert by_setting["effect"].dtype == float and by_setting["claim"].dtype == object


def test_settings_are_pooled_within_their_kinds():
    """Four settings on firm ice and four on slippery, each kind with an effect of its own, which redrawing keeps."""
    settings = {}
    for ice, sft in (("firm", 0.2), ("slippery", 0.4)):
        for count in (1, 4, 16, 64):
            setting = Setting("4x4", ice, "random", "tabular", "adam", count)
            values = {(m, 0.03, at): [[d, d]] for m, d in (("ift", 0.1), ("sft", sft)) for at in ("last", "best")}
            settings[setting.name] = setting, results(values)
    pooled, _ = judge_claims(settings, [CLAIMS["ift<sft:distance"]])
    assert pooled["low"] == pytest.approx(-0.2) and pooled["high"] == pytest.approx(-0.2)


def test_tables_of_verdicts_say_what_is_corrected_exploratory_and_on_an_edge():
    """Two settings; in the second IFT's best rate is the largest that was tried."""
    noise = np.array([0.0, 0.01, 0.02])

    def setting(near, far):
        distances = {("ift", 0.01): near, ("ift", 0.1): far, ("sft", 0.01): 0.5, ("sft", 0.1): 0.6}
        return results(
            {
                (m, r, at): [(value + noise * (m == "ift")).tolist()]
                for (m, r), value in distances.items()
                for at in ("last", "best")
            }
        )

    parsed = [Setting("4x4", "firm", "random", "tabular", "adam", count) for count in (1, 4)]
    settings = {s.name: (s, each) for s, each in zip(parsed, (setting(0.2, 0.3), setting(0.3, 0.2)), strict=True)}
    pooled, by_setting = judge_claims(settings, [CLAIMS["ift<sft:distance"]])
    assert pooled["exploratory"].tolist() == ["no", "yes", "yes", "yes"]
    assert pooled["on_edge"].tolist() == [0, 0, 0.5, 0.5]
    assert by_setting["on_edge"].tolist() == ["", "", "", "", "", "ift", "", "ift"]
    assert by_setting["corrected"].tolist() == by_setting["verdict"].tolist() == ["holds"] * 8
    by_setting |= {"claim": np.full(8, "ift<orpo:distance", object), "measure": np.full(8, "distance_next_optimal", object)}
    by_setting["high"] = -by_setting["high"]  # what is longest: not clear, on the edges of both
    by_setting["on_edge"] = np.full(8, "ift orpo", object)
    pooled |= {"high": -pooled["high"], "measure": np.full(4, "distance_next_optimal", object)}
    page = io.StringIO()
    Console(width=120, file=page).print(table_of_claims(pooled), table_of_setting(by_setting))
    assert "ift<sft*" in page.getvalue() and page.getvalue().count("50%│") == 2 and "…" not in page.getvalue()
    assert page.getvalue().count("(not clear)│") == 12 and "ift orpo│" in page.getvalue()


def cells(table):
    """A table's title, and the cells of each column by its heading."""
    return table.title, {column.header: list(column.cells) for column in table.columns}


def test_tables_of_verdicts_hold_each_number_below_its_heading():
    labels = {
        "claim": ["ift<sft:distance_shown", "dpo>ift:tiles"], "measure": ["distance_shown", "tiles"],
        "rate": ["common", "best"], "checkpoint": ["last", "best"],
        "effect": [-0.25, 1.5], "low": [-0.5, -1.0], "high": [-0.1234567, 4.0],
    }  # fmt: skip
    pooled = {"holds": [0.9, 0.4], "clearly": [0.7, 0.1], "reversed": [0.02, 0.3], "on_edge": [0.0, 0.55]}
    pooled |= {"settings": [7, 12], "exploratory": ["yes", "no"]}
    title, found = cells(table_of_claims({name: np.array(each) for name, each in (labels | pooled).items()}))
    assert title.startswith("Claims over 12 settings")
    named = {name: labels[name] for name in ("measure", "rate", "checkpoint")}
    assert found == {
        "claim": ["ift<sft*", "dpo>ift"],
        **named,
        "effect [95 % interval]": ["-0.2500 [-0.5000, -0.1235]", "+1.5000 [-1.0000, +4.0000] (not clear)"],
        "holds": ["90%", "40%"],
        "clearly": ["70%", "10%"],
        "reversed": ["2%", "30%"],
        "†": ["0%", "55%"],
    }
    one = {"setting": ["4x4, firm", "another"], "verdict": ["holds", "unclear"], "on_edge": ["", "dpo"]}
    title, found = cells(table_of_setting({name: np.array(each) for name, each in (labels | one).items()}))
    assert title == "4x4, firm"
    assert found == {
        "claim": ["ift<sft", "dpo>ift"],
        **named,
        "effect [95 % interval]": [
            "-0.250000 [-0.500000, -0.123457]",
            "+1.500000 [-1.000000, +4.000000] (not clear)",
        ],
        "verdict": ["holds", "unclear"],
        "†": ["", "dpo"],
    }


@pytest.mark.parametrize(
    ("claim", "view", "exploratory"),
    [
        ("dpo<ift:distance", LAST, False),
        ("ift<sft:base_bias", LAST, False),
        ("ift>orpo:tiles", LAST, False),
        ("orpo<sft:distance", LAST, True),  # the paper does not order these two
        ("dpo<ift:distance", BEST, True),
        ("dpo<ift:distance_shown", LAST, True),
        ("ift<sft:gap", LAST, True),
    ],
)
def test_what_the_paper_does_not_claim_is_exploratory(claim, view, exploratory):
    assert is_exploratory(CLAIMS[claim], view) is exploratory
