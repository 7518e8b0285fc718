"""What is concluded from saved tables, held to tables made by hand in which a wrong rule concludes otherwise."""

import numpy as np
import pytest

from ift_gridworld.studies.claims import LAST, NEGLIGIBLE, VIEWS, Claim
from ift_gridworld.studies.reproduction import findings
from ift_gridworld.studies.reproduction.appendix_figures import differences_by_rate
from ift_gridworld.studies.reproduction.findings import ablation_effects, correlations, held_out_effects
from ift_gridworld.studies.results import settings_table, strata

PLACE = {"map": "4x4", "ice": "firm", "base": "random", "policy": "tabular", "optimiser": "adam", "demonstrations": 1}


def table(rows):
    """Rows as dictionaries, shuffled; what a row does not say is the default's."""
    defaults = {**PLACE, "lake": "a", "seed": 0, "rate": 0.03, "beta": "", "checkpoint": "last", "on_edge": 0}
    rows = [defaults | row for row in rows]
    order = np.random.default_rng(0).permutation(len(rows))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([rows[i].get(name, np.nan) for i in order], object) for name in names}


# ---- rank correlations ----


def lakes_of(place, predictor, change):
    """IFT's predictor and its distance less SFT's (0.5) on ten lakes of two seeds each, whose mean counts."""
    rows = []
    for i in range(10):
        for seed, off in ((0, -0.1), (1, 0.1)):
            common = {**place, "lake": f"lake {i}", "seed": seed}
            rows.append({**common, "method": "sft", "distance": 0.5, "right": np.nan})
            rows.append({**common, "method": "ift", "distance": 0.5 + change(i) + off, "right": predictor(i) - off / 2})
    return rows


def test_a_rank_correlation_has_the_sign_of_ift_less_sft_within_each_setting():
    """Where more is taught rightly IFT ends further away in tables, nearer in networks; between settings it is the reverse."""
    settings = settings_table(
        table(
            [
                *lakes_of({"policy": "tabular"}, lambda i: i, lambda i: i / 100),
                *lakes_of({"policy": "tabular", "base": "uniform"}, lambda i: i + 50, lambda i: i / 100 - 5),
                *lakes_of({"policy": "mlp-64"}, lambda i: i, lambda i: -i / 100),
                *lakes_of({"policy": "mlp-64", "ice": "slippery"}, lambda i: i**2, lambda i: -i / 100),
            ]
        )
    )
    found = correlations(settings, "right")
    assert {group: (effect.value, effect.lakes) for group, effect in found.items()} == {
        "all": (pytest.approx(0), 4),
        "firm, table": (pytest.approx(1), 2),
        "firm, network": (pytest.approx(-1), 1),
        "slippery, table": (pytest.approx(np.nan, nan_ok=True), 0),
        "slippery, network": (pytest.approx(-1), 1),
    }
    assert found["all"].share == 0.5 and found["firm, network"].share == 1


def test_what_mixing_teaches_is_told_to_four_digits_of_ift_alone():
    """In one of three settings IFT ends nearer the more is taught rightly."""
    rows = []
    for base, sign in (("random", -1), ("uniform", 1), ("good-0.5", 1)):
        rows += lakes_of({"base": base, "ice": "slippery"}, lambda i: i / 100, lambda i, sign=sign: sign * i / 100)
    rows = [row | {"missed": {"ift": 0.123456, "sft": 0.9}[row["method"]], "push": row["right"]} for row in rows]
    found = findings._mixing_findings(settings_table(table(rows)))
    assert found["missed, mean over lakes and seeds, slippery"] == 0.1235
    assert found["missed, mean over lakes and seeds, firm"] is None
    for predictor in ("right", "push"):
        pooled = found[f"rank correlation of {predictor} with IFT - SFT within a setting, all"]
        assert (pooled["settings"], pooled["negative"]) == (3, 0.3333) and pooled["low"] < pooled["value"] < pooled["high"]


def test_too_few_lakes_have_no_rank_correlation():
    settings = settings_table(table([r for r in lakes_of({}, float, float) if int(r["lake"][-1]) < findings.FEWEST_LAKES - 1]))
    assert findings.rank_correlations(settings, "right") == []
    alike = [row | {"right": 0.5} for row in lakes_of({}, float, float)]  # nothing to rank by
    assert findings.rank_correlations(settings_table(table(alike)), "right") == []


def test_lakes_without_a_number_are_left_out_and_eight_are_enough():
    """Ten lakes, on one of which nothing predicts, and on another one IFT has diverged."""
    rows = lakes_of({}, lambda i: i / 100, lambda i: -i / 100)
    rows = [row | {"right": np.nan} if row["lake"] == "lake 3" else row for row in rows]
    rows = [row | {"distance": np.nan} if (row["lake"], row["method"]) == ("lake 7", "ift") else row for row in rows]
    ((_, rank),) = findings.rank_correlations(settings_table(table(rows)), "right")
    assert rank == pytest.approx(-1)
    alike = lakes_of({}, lambda i: i / 100, lambda i: 0.0)
    assert findings.rank_correlations(settings_table(table(alike)), "right") == [], "no difference to rank"


# ---- the ablation ----


def test_the_ablation_is_paired_by_lake_and_seed():
    """IFT is SFT plus 0.1 on one lake and plus 0.3 on the other, whatever the seed: paired otherwise, nothing is clear. Where
    there is one lake alone, its seeds are what is compared."""
    rows = []
    for ice, gap, lakes in (("firm", 0.0, "ab"), ("slippery", 1.0, "ab"), ("slippery-0.8", 2.0, "a")):
        for i, lake in enumerate(lakes):
            for seed in (0, 1, 2):
                sft = (0.0, 7.0, 3.0)[seed] + (0.0, 50.0)[i] + 100 * gap
                common = {"ice": ice, "lake": lake, "seed": seed, "prediction": "greedy", "embedding": "live"}
                rows.append({**common, "method": "sft", "form": "sft", "mixing": 0, "decay": 0, "distance": sft})
                ift = {
                    **common,
                    "method": "ift",
                    "form": "none",
                    "mixing": 0.2,
                    "decay": 0,
                    "distance": sft + gap + 0.1 + 0.2 * i,
                }
                rows += [ift, {**ift, "checkpoint": "best", "distance": 99.0}]
                rows.append({**common, "method": "base", "form": "none", "mixing": "", "decay": "", "distance": 99.0})
    effects = ablation_effects(table(rows), "distance")
    ices = ("firm", "slippery", "slippery-0.8")
    firm, slippery, one = (effects[ice, "none", "greedy", "live", "0.2", "0"] for ice in ices)
    half = np.tan(0.95 * np.pi / 2) * 0.1  # Student's, of the two lakes
    assert (firm.value, firm.low, firm.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert slippery.value == pytest.approx(1.2) and (firm.lakes, firm.seeds) == (2, 3)
    assert (one.value, one.low, one.high) == pytest.approx((2.1, 2.1, 2.1)) and one.lakes == 1
    assert effects["firm", "sft", "greedy", "live", "0", "0"].value == 0


# ---- variants on held-out lakes ----


def test_variants_are_chosen_on_the_held_in_lakes_and_judged_on_the_others():
    """There λ 0.5 at rate 0.01 is nearest; others are on each held-out block, by success, and at the best checkpoint."""
    distances = {  # (row name, rate): on the held-in block, on the others
        ("sft", 0.01): (0.5, 0.4, 0.6), ("sft", 0.03): (0.6, 0.1, 0.1),
        ("ift 0.2", 0.01): (0.3, 0.1, 0.2), ("ift 0.2", 0.03): (0.4, 0.0, 0.0),
        ("ift 0.5", 0.01): (0.2, 0.3, 0.3), ("ift 0.5", 0.03): (0.9, 0.2, 0.1),
    }  # fmt: skip
    rows = []
    for (name, rate), values in distances.items():
        for block, value in zip((findings.HELD_IN, "lakes-0.7-6", "lakes-0.9-6"), values, strict=True):
            for seed, off in ((0, -0.05), (1, 0.05)):
                row = {"map": block, "policy": "mlp-64", "lake": f"{block}/0", "seed": seed, "method": name, "rate": rate}
                rows.append(row | {"distance": value + off, "success": value, "regret": 0.0})
                rows.append(row | {"distance": 1 - value, "success": 0.0, "regret": 0.0, "checkpoint": "best"})
    effects = {(e.method, e.against, e.measure): e for e in held_out_effects(table(rows))}
    chosen = effects["ift", "sft", "distance"]
    assert (chosen.mixing, chosen.rate) == ("0.5", 0.01) and effects["sft", "ift", "distance"].rate == 0.01
    assert chosen.effect.value == pytest.approx(np.mean([0.3 - 0.4, 0.3 - 0.6])) and chosen.effect.lakes == 2
    assert effects["sft", "ift", "success"].effect.value == pytest.approx(-effects["ift", "sft", "success"].effect.value)
    assert chosen.on_edge  # of two rates the lower


def test_a_variant_is_on_no_edge_where_its_neighbours_were_tried():
    rows = []
    for mixing, rate in ((0.2, 0.03), (0.5, 0.01), (0.5, 0.03), (0.5, 0.1), (1.0, 0.03)):
        for block in (findings.HELD_IN, "lakes-0.7-6"):
            far = abs(mixing - 0.5) + abs(np.log(rate / 0.03))
            for method, m in ((f"ift {mixing}", mixing), ("sft", 0)):
                row = {"map": block, "policy": "mlp-64", "lake": block, "method": method, "rate": rate}
                rows.append(row | {"distance": far if m else 0.0, "success": 0.0, "regret": 0.0})
    effects = {e.method: e for e in held_out_effects(table(rows)) if e.measure == "distance"}
    assert not effects["ift"].on_edge and effects["sft"].on_edge


def test_a_variant_is_on_an_edge_where_no_larger_mixing_was_tried():
    """The rate alone has neighbours on both sides."""
    rows = []
    for mixing, rate, distance in ((0.2, 0.03, 0.3), (0.5, 0.01, 0.3), (0.5, 0.03, 0.1), (0.5, 0.1, 0.3)):
        for block in (findings.HELD_IN, "lakes-0.7-6"):
            for method in (f"ift {mixing}", "sft"):
                row = {"map": block, "policy": "mlp-64", "lake": block, "method": method, "rate": rate}
                rows.append(row | {"distance": distance, "success": 0.0, "regret": 0.0})
    effects = {e.method: e for e in held_out_effects(table(rows)) if e.measure == "distance"}
    assert (effects["ift"].mixing, effects["ift"].rate, effects["ift"].on_edge) == ("0.5", 0.03, True)


# ---- counts, strata, differences ----


def test_groups_of_settings_are_counted_by_themselves():
    """IFT is further away in the table, equally near in one network and nearer in another, on two paths."""
    rows = []
    for place, gap in (({}, 0.2), ({"policy": "mlp-16"}, 0.0), ({"policy": "mlp-64", "map": "two-paths-4"}, -0.2)):
        rate = 0.03 if not place else 0.01
        for seed in range(4):
            for at in ("last", "best"):
                common = {**place, "seed": seed, "rate": rate, "checkpoint": at}
                rows.append({**common, "method": "sft", "distance": 0.5})
                rows.append({**common, "method": "ift", "distance": 0.5 + gap * (1 + seed / 100)})
    found = findings._group_findings(settings_table(table(rows)))
    name = f"ift<sft:distance, {LAST.name}"
    assert found[f"{name}, all"] == {"settings": 3, "holds": 1, "ties": 1, "clearly": 1, "reversed": 1}
    assert found[f"{name}, firm, table"] == {"settings": 1, "holds": 0, "ties": 0, "clearly": 0, "reversed": 1}
    assert found[f"{name}, firm, network"] == {"settings": 2, "holds": 1, "ties": 1, "clearly": 1, "reversed": 0}
    assert found[f"{name}, firm, two paths, network"] == {"settings": 1, "holds": 1, "ties": 0, "clearly": 1, "reversed": 0}
    assert f"{name}, slippery, table" not in found
    assert len(found) == 4 * len(VIEWS)


def test_settings_are_resampled_within_their_kind_of_lake_and_ice():
    places = ({"map": "lakes-0.8-0"}, {"map": "lakes-0.8-1"}, {"map": "lakes-0.8-1", "ice": "slippery"}, {"map": "4x4"})
    settings = settings_table(table([{**place, "method": "sft", "distance": 0.0} for place in places]))
    kinds = {name.split(",")[0] + name.split(",")[1]: kind for name, kind in zip(settings, strata(settings), strict=True)}
    assert kinds["lakes-0.8-0firm"] == kinds["lakes-0.8-1firm"]
    assert len(set(kinds.values())) == 3


def test_phase_diagrams_compare_at_one_rate_of_the_grid_and_at_the_last_checkpoint():
    """At 0.001, beyond the grid, only SFT was run."""
    rows = [{"method": "sft", "rate": 0.001, "distance": 0.9}]
    for method, at in (("sft", 0.1), ("ift", 0.2), ("dpo", 0.4), ("orpo", 0.8)):
        for rate in (0.01, 0.03):
            rows.append({"method": method, "rate": rate, "distance": at + rate})
            rows.append({"method": method, "rate": rate, "distance": 1 - at, "checkpoint": "best"})
    found = differences_by_rate(settings_table(table(rows)))
    assert sorted(row["rate"] for row in found) == ["0.01", "0.03"]
    for row in found:
        assert (row["IFT < SFT"], row["DPO < IFT"], row["ORPO < SFT"]) == pytest.approx((0.1, 0.2, 0.7))


def test_change_since_the_base_is_trained_less_base():
    rows = []
    for method, value in (("base", -3.0), ("sft", -1.0), ("dpo", -5.0)):
        for seed in (0, 1):
            labels = {"rate": "", "checkpoint": "base"} if method == "base" else {}
            measures = dict.fromkeys(("chosen_logp", "unseen", "distance", "success"), value)
            rows.append({"method": method, "seed": seed, **measures, **labels})
    found = findings._cure_findings(table(rows))
    assert found["change since the base, sft: chosen_logp"]["value"] == 2
    assert found["change since the base, dpo: unseen"]["value"] == -2
    rows += [{**row, "method": "orpo"} for row in rows if row["method"] == "dpo"]
    drained = findings._drain_findings(settings_table(table(rows)))
    assert drained["preferred answer less likely than in the base, dpo"] == 1
    assert drained["preferred answer less likely than in the base, sft"] == 0
    assert drained["unseen moves, change, sft, table"]["value"] == 2 and "unseen moves, change, sft, network" not in drained


def test_the_order_leaves_out_what_has_diverged_and_equal_is_not_nearer():
    order = {"dpo": 0.1, "ift": 0.2, "orpo": 0.3, "sft": 0.4}

    def follows(distances):
        rows = [{"method": m, "lake": i, "distance": d} for m, ds in distances.items() for i, d in enumerate(np.atleast_1d(ds))]
        (_, results), *_ = settings_table(table(rows)).values()
        return findings.follows_published_order(results, LAST)

    assert follows(order) and not follows(order | {"dpo": 0.2}) and not follows(order | {"sft": 0.2 + 1e-7})
    assert follows(order | {"dpo": [np.nan, 0.1], "ift": [0.2] * 2, "orpo": [0.3] * 2, "sft": [0.4] * 2})
    assert not follows(order | {"dpo": np.nan})


def test_a_claim_that_compares_two_methods_takes_the_first_less_the_second():
    rows = [{"method": "ift", "distance": 0.1}, {"method": "sft", "distance": 0.4}]
    (_, results), *_ = settings_table(table(rows)).values()
    assert results.difference(Claim("ift", "sft", "distance", -1), LAST) == pytest.approx(-0.3)


# ---- findings by name ----

NUMBERS = {"effect": -0.25, "low": -0.5, "high": 0.1234567, "holds": 0.75, "clearly": 0.5, "reversed": 0.25, "on_edge": np.nan}
POOLED = {"claim": ["ift<sft:distance"] * 2, "rate": ["common", "best"], "checkpoint": ["last", "best"]}
POOLED = {name: np.array(x, object) for name, x in POOLED.items()}
POOLED |= {name: np.array([value, -1.0]) for name, value in NUMBERS.items()}


def test_a_pooled_claim_is_told_with_all_its_numbers():
    """To six digits; what is no number is None. Without settings nothing else is known."""
    found = findings.findings({}, {}, POOLED)
    expected = NUMBERS | {"high": 0.123457, "on_edge": None, "clear": False}
    assert found["ift<sft:distance, common rate, last checkpoint"] == expected
    assert found["ift<sft:distance, best rate, best checkpoint"]["clear"] and found["settings"] == 0
    assert all(found[f"whole published order, {view.name}"] is None for view in VIEWS)
    assert found["missed, mean over lakes and seeds, firm"] is None
    assert found["rank correlation of push with IFT - SFT within a setting, all"]["value"] is None
    assert not any("change since the base" in name or "ppo" in name for name in found)


def test_the_whole_order_is_counted_at_each_view():
    """In two settings of three at the last checkpoint, in none at the best."""
    rows = []
    for base, ift in (("random", 0.2), ("uniform", 0.2), ("good-0.5", 0.9)):
        for method, distance in (("dpo", 0.1), ("ift", ift), ("orpo", 0.3), ("sft", 0.4)):
            rows.append({"base": base, "method": method, "distance": distance, "missed": 0.5, "right": 0.25})
            rows.append(rows[-1] | {"checkpoint": "best", "distance": 0.5})
    measures = {"push": 0.0, "chosen_logp": -1.0, "unseen": 0.1}
    rows = [row | measures for row in rows]
    rows += [
        {"base": row["base"], "method": "base", "rate": "", "checkpoint": "base", "distance": 0.5, **measures}
        for row in rows
        if (row["method"], row.get("checkpoint")) == ("sft", None)
    ]
    found = findings.findings({}, settings_table(table(rows)), POOLED)
    assert [found[f"whole published order, {view.name}"] for view in VIEWS] == [0.6667, 0.0, 0.6667, 0.0]
    assert found["missed, mean over lakes and seeds, firm"] == 0.5 and found["right, mean over lakes and seeds, firm"] == 0.25
    assert found["missed, mean over lakes and seeds, slippery"] is None and found["settings"] == 3
    assert found["preferred answer less likely than in the base, sft"] == 0, "as likely"
    game = findings.findings({"figure3": table(rows)}, {}, POOLED)
    name = "paper's game, {}:distance, common rate, last checkpoint"
    assert game[name.format("dpo<ift")] | {"clearly": 0} == {"settings": 3, "holds": 3, "ties": 0, "clearly": 0, "reversed": 0}
    equal = game["paper's game, dpo<ift:distance, common rate, best checkpoint"]
    assert equal == {"settings": 3, "holds": 0, "ties": 3, "clearly": 0, "reversed": 0}
    assert game[name.format("ift<sft")]["holds"] == 2 and game[name.format("ift<orpo")]["holds"] == 2


def test_two_paths_are_a_group_where_networks_learn_them():
    """A difference of just what is negligible is a tie."""
    rows = []
    for place in ({"policy": "tabular"}, {"policy": "mlp-16", "ice": "slippery"}, {"policy": "mlp-64"}):
        for method, distance in (("sft", 0.0), ("ift", NEGLIGIBLE)):
            rows += [
                {**place, "map": "two-paths-4", "method": method, "distance": distance, "rate": rate, "checkpoint": at}
                for rate in (0.01, 0.03)
                for at in ("last", "best")
            ]
    found = findings._group_findings(settings_table(table(rows)))
    assert found[f"ift<sft:distance, {LAST.name}, firm, two paths, network"]["settings"] == 1
    assert found[f"ift<sft:distance, {LAST.name}, all"]["ties"] == 3


def test_rewards_are_told_of_the_base_and_at_the_last_checkpoint():
    rows = [{"method": "base", "rate": "", "checkpoint": "base", "success": 0.1, "regret": 0.9, "distance": 0.5}]
    rows += [rows[0] | {"seed": 1, "success": 0.3}]
    for seed, success in ((0, 0.8), (1, 0.61234)):
        for rate in (0.001, 0.03):
            for at in ("last", "best"):
                value = success if (rate, at) == (0.03, "last") else 0.0
                rows.append({"method": "ppo", "seed": seed, "rate": rate, "checkpoint": at, "success": value})
                rows[-1] |= {"regret": 1 - value, "distance": 0.25}
    found = findings.findings({"rewards": table(rows)}, {}, POOLED)
    (name,) = settings_table(table(rows))
    assert found[f"{name} base: success"] == 0.2 and found[f"{name} base: regret"] == 0.9
    assert found[f"{name} ppo: success"] == 0.7062 and found[f"{name} ppo: distance"] == 0.25


def test_the_ablation_is_told_by_form():
    rows = [
        {
            "method": "ift", "form": form, "prediction": "greedy", "embedding": embedding, "mixing": mixing,
            "decay": 0.95 * mixing, "lake": lake, "distance": value, "success": -value,
        }
        for (form, embedding, mixing), value in {
            ("sft", "live", 0): 0.5, ("sft", "frozen", 0): 0.7, ("released", "live", 1): 0.4
        }.items()
        for lake in ("a", "b")
    ]  # fmt: skip
    found = findings._ablation_findings(table(rows))
    assert {name: each["value"] for name, each in found.items()} == pytest.approx(
        {
            "distance less SFT's, firm: released, greedy, live, mixing 1, decay 0.95": -0.1,
            "distance less SFT's, firm: sft, greedy, frozen, mixing 0, decay 0": 0.2,
            "success less SFT's, firm: released, greedy, live, mixing 1, decay 0.95": 0.1,
            "success less SFT's, firm: sft, greedy, frozen, mixing 0, decay 0": -0.2,
        }
    )


def test_a_variant_is_told_against_both_but_not_against_itself():
    rows = [
        {"map": block, "policy": "mlp-64", "lake": f"{block}/{i}", "method": method, "rate": 0.03}
        | {"distance": value, "success": value, "regret": value}
        for block in (findings.HELD_IN, "lakes-0.7-6")
        for i in range(2)
        for method, value in (("sft", 0.5), ("ift 0.5", 0.2), ("asking 0.2", 0.1))
    ]
    found = findings._variant_findings(table(rows))
    told = {
        f"held out, {measure} less {against}'s, firm, random: {method}": value
        for measure in ("distance", "success", "regret")
        for against, method, value in (
            ("sft", "ift", -0.3), ("sft", "asking", -0.4), ("ift", "sft", 0.3), ("ift", "asking", -0.1)
        )
    }  # fmt: skip
    assert {name: each["value"] for name, each in found.items()} == pytest.approx(told)
    mine = found["held out, distance less sft's, firm, random: asking"]
    assert (mine["mixing"], mine["rate"], mine["on_edge"]) == ("0.2", 0.03, True)


def test_saved_correlations_are_those_of_two_settings_or_more():
    """Value, interval, share below 0 and number of settings, each from its own entry; groups of one setting are left out."""

    def key(predictor, group):
        return f"rank correlation of {predictor} with IFT - SFT within a setting, {group}"

    first, second, *_ = findings.GROUPS
    number = {"value": 0.2, "low": -0.1, "high": 0.5, "negative": 0.25, "settings": 2}
    numbers = {key("right", first): number, key("right", second): {**number, "settings": 1}}
    numbers |= {key("push", second): {**number, "settings": 7}}
    found = findings.saved_correlations(numbers)
    assert {predictor: list(groups) for predictor, groups in found.items()} == {"right": [first], "push": [second]}
    effect = found["right"][first]
    assert (effect.value, effect.low, effect.high, effect.share) == (0.2, -0.1, 0.5, 0.25)
    assert (effect.lakes, effect.seeds, found["push"][second].lakes) == (2, 1, 7)
