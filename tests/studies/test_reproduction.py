"""The reproduction: a design that is balanced, a study that goes on where it was, rows that can be run again, bad input.

One small study, of two lakes from a file, serves most tests; the quick one is run in CI.
"""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table
from test_paper import check

from ift_gridworld.cli.reproduction import Args, main
from ift_gridworld.evaluation.statistics import format_effect
from ift_gridworld.studies.claims import CLAIMS, VIEWS
from ift_gridworld.studies.parts import StudyPart, save_part
from ift_gridworld.studies.quotes import quote_findings
from ift_gridworld.studies.reproduction import catalogue, design
from ift_gridworld.studies.reproduction import study as reproduction
from ift_gridworld.studies.reproduction.appendix_figures import draw_rates
from ift_gridworld.studies.reproduction.catalogue import STUDIES, run_ablation, study_parts
from ift_gridworld.studies.reproduction.claim_figures import draw_claims, draw_phases
from ift_gridworld.studies.reproduction.design import HELD_IN, StudyScope, deal_settings, seeds_for, study_settings
from ift_gridworld.studies.reproduction.findings import saved_correlations
from ift_gridworld.studies.reproduction.method_figures import draw_ablation, draw_causes, draw_figure3, draw_variants
from ift_gridworld.studies.results import settings_table
from ift_gridworld.studies.running import run_setting
from ift_gridworld.studies.settings import ICE, Setting
from ift_gridworld.studies.tables import load_table
from ift_gridworld.studies.verdicts import row_of

TABLES = ("claims.csv.gz", "claims_pooled.csv", "claims_by_setting.csv.gz", "findings.json")


def told(capsys, *arguments, **options):
    """The one line that a mistake is told in."""
    with pytest.raises(SystemExit) as end:
        main(Args(*arguments, **options))
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and err.count("\n") == 1 and err.startswith("error: ")
    return err


# ---- the design ----


def test_every_level_comes_equally_often_and_every_map_on_every_ice():
    settings = study_settings(StudyScope())
    assert len(settings) == len({s.name for s in settings}) and settings == study_settings(StudyScope())
    assert study_settings(StudyScope(seed=1)) != settings
    places = Counter((s.map, s.ice) for s in settings)
    assert set(product(design.SINGLE_LAKES, ICE)) <= set(places)
    blocks = {m: {i for n, i in places if n == m} for m, _ in places if m.startswith("lakes")}
    assert len(blocks) == 20 and all("firm" in ices and len(ices) == 2 for ices in blocks.values())  # of ten lakes each: 200
    assert Counter(ice for ices in blocks.values() for ice in ices) == {"firm": 20, "slippery": 10, "slippery-0.8": 10}
    for group in ([s for s in settings if s.family in design.SINGLE_LAKES], [s for s in settings if s.map.startswith("lakes")]):
        for name, levels in design.LEVELS.items():
            counts = Counter(getattr(s, name) for s in group)
            assert set(counts) == set(levels) and max(counts.values()) - min(counts.values()) <= 1


def test_factors_are_dealt_out_independently_of_places():
    """With the place sorted first, no factor may follow it: rank correlations are those of shuffled cards."""
    settings = deal_settings([*product(("4x4", "8x8"), ICE)] * 100, seed=0)
    order = np.arange(len(settings))
    for name, levels in design.LEVELS.items():
        assert abs(np.corrcoef(order, [levels.index(getattr(s, name)) for s in settings])[0, 1]) < 0.2


def test_blocks_have_fewer_seeds():
    single, block = (Setting(m, "firm", "random", "tabular", "adam", 1) for m in ("8x8", "lakes-0.8-1"))
    assert [seeds_for(single, n) for n in (2, 8, 64)] == [2, 8, 64]
    assert [seeds_for(block, n) for n in (2, 8, 64)] == [2, 2, 16]


def test_variants_are_judged_on_lakes_that_no_other_study_has_seen():
    parts = study_parts(StudyScope())
    maps = {study: {u.arguments["setting"].map for u in parts if u.study == study} for study in {u.study for u in parts}}
    others = set().union(*(found for study, found in maps.items() if study != "variants"))
    assert HELD_IN in maps["variants"] and not maps["variants"] & others
    assert len({(u.study, u.name) for u in parts}) == len(parts)


# ---- parts ----


def part(**changes):
    arguments = {"setting": Setting("two-paths-3", "firm", "good-0.5", "tabular", "adam", 1), "seeds": 2, "methods": ["sft"]}
    return StudyPart("claims", "one", 1.0, run_setting, arguments | changes)


def test_a_saved_part_counts_if_it_is_of_the_same_settings_and_whole(tmp_path):
    (tmp_path / "parts").mkdir()
    assert not part().is_saved(tmp_path)
    save_part(part(), part().rows(), tmp_path)
    assert part().is_saved(tmp_path) and not part(seeds=3).is_saved(tmp_path)
    saved = part().path(tmp_path)
    saved.write_bytes(saved.read_bytes()[:-200])  # cut short
    assert not part().is_saved(tmp_path)
    save_part(part(), part().rows(), tmp_path)
    maps = tmp_path / "lakes.txt"
    maps.write_text("SFG\nFFF\n")
    of_file = part(setting=Setting(f"{maps}:0", "firm", "good-0.5", "tabular", "adam", 1))
    save_part(of_file, of_file.rows(), tmp_path)
    assert of_file.is_saved(tmp_path)
    maps.write_text("SFG\nFFH\n")
    assert not of_file.is_saved(tmp_path)  # other lakes
    assert part().path(tmp_path) != replace(part(), name="One").path(tmp_path)  # names that differ in case alone


@pytest.mark.slow
def test_the_ablation_without_mixing_and_propagation_is_sft():
    """To the last bit; and decay 0 is the authors' special case, all weights 1, while 0.01 is near its limit, l / sum(l)."""
    setting = Setting("two-paths-4", "firm", "good-0.5", "mlp-8", "adam", 1)
    options = {"prediction": "greedy", "embedding": "live", "seeds": 2, "seed": 0, "mixings": [0.0, 0.5]}
    sft, none, released = (run_ablation(setting, form, **options) for form in ("sft", "none", "released"))

    def distances(table, mixing, decay):
        kept = (table["mixing"] == mixing) & (table["decay"] == decay) & (table["checkpoint"] == "last")
        return table["distance"][kept]

    assert np.array_equal(distances(none, "0", "0"), distances(sft, "0", "0"))
    assert np.array_equal(distances(released, "0", "0"), distances(sft, "0", "0"))
    assert not np.allclose(distances(released, "0", "0.01"), distances(sft, "0", "0"), atol=1e-4)
    assert not np.allclose(distances(none, "0.5", "0"), distances(sft, "0", "0"), atol=1e-5)
    assert set(released["decay"][released["method"] != "base"]) == {"0", "0.01", "0.5", "0.95"}
    expected = run_ablation(setting, "none", **options | {"prediction": "expected"})
    assert set(expected["mixing"][expected["method"] != "base"]) == {"0.5"}  # without mixing nothing is predicted


# ---- a small study ----


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three settings of two little lakes, two seeds, in two processes."""
    folder = tmp_path_factory.mktemp("study")
    maps = folder / "lakes.txt"
    maps.write_text("SFF\nFHG\n\nSFFF\nHFFG\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "EXTENSIONS", 1)
        patch.setattr(design, "LEVELS", design.LEVELS | {"demonstrations": (1, 4), "policy": ("tabular", "mlp-8")})
        args = Args(quick=True, maps=maps, seeds=2, workers=2, out=folder / "out")
        assert main(args) == 0
        yield args


def contents(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_ends_the_same(study, capsys):
    """Some parts lost, one cut short, one of other settings: the tables come out to the last byte."""
    before, parts = contents(study.out), sorted((study.out / "parts").iterdir())
    assert len(parts) == 3
    parts[0].unlink()
    parts[1].write_bytes(b"")
    times = {part: part.stat().st_mtime_ns for part in parts[2:]}
    for name in TABLES:
        (study.out / name).unlink()
    assert main(study) == 0
    assert contents(study.out) == before
    assert {part: part.stat().st_mtime_ns for part in parts[2:]} == times  # what was there is not run again
    assert not list(study.out.rglob(".*"))


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(study, tmp_path, capsys, monkeypatch):
    """In another folder, by one process; the figures are left out, which are of the tables."""
    monkeypatch.setattr(reproduction, "draw_figures", lambda *_: [])
    assert main(replace(study, workers=1, out=tmp_path)) == 0
    assert contents(tmp_path) == contents(study.out)


@pytest.mark.slow
def test_a_redrawn_study_is_the_same_and_runs_nothing(study, capsys, monkeypatch):
    before = {path: path.read_bytes() for path in study.out.glob("*") if path.is_file()}
    monkeypatch.setattr(reproduction, "run_study", None)
    assert main(Args(redraw=True, out=study.out)) == 0
    assert {path: path.read_bytes() for path in before} == before
    out = capsys.readouterr().out
    assert "ift<sft" in out and f"wrote {study.out / 'claims.pdf'}" in out


@pytest.mark.slow
def test_a_row_run_alone_is_the_row_of_the_table(study, capsys):
    """The printed command's own arguments, on the first setting that says anything about two claims."""
    by_setting, _ = load_table(study.out / "claims_by_setting.csv.gz")
    for claim in ("ift<sft:distance_optimal", "dpo<ift:distance"):
        row = int(np.flatnonzero((by_setting["claim"] == claim) & (by_setting["verdict"] != "none"))[0])
        name = by_setting["setting"][row]
        assert f"--setting {name} --claim '{claim}'" in by_setting["command"][row]
        capsys.readouterr()
        assert main(replace(study, setting=name, claim=claim)) == 0
        line = next(x for x in capsys.readouterr().out.splitlines() if "distance" in x and "common" in x and "last" in x)
        interval = format_effect(*(by_setting[n][row] for n in ("effect", "low", "high")), digits=6)
        assert interval in line and by_setting["verdict"][row] in line


@pytest.mark.slow
def test_a_pooled_row_run_alone_is_the_row_of_the_table(study, capsys):
    pooled, _ = load_table(study.out / "claims_pooled.csv")
    capsys.readouterr()
    assert main(replace(study, claim="orpo<sft:distance")) == 0
    lines = [x for x in capsys.readouterr().out.splitlines() if "orpo<sft" in x]
    assert len(lines) == 4
    for view, line in zip(VIEWS, lines, strict=True):
        row = row_of(pooled, "orpo<sft:distance", view)
        assert f"{pooled['effect'][row]:+.4f} [{pooled['low'][row]:+.4f}, {pooled['high'][row]:+.4f}]" in line
        assert f"{pooled['holds'][row]:.0%}" in line


@pytest.mark.slow
def test_tables_say_what_made_them(study):
    for name in TABLES:
        path = study.out / name
        about = json.loads(path.read_text()) if name.endswith(".json") else load_table(path)[1]
        assert about["settings"]["seeds"] == 2 and about["settings"]["maps"] == str(study.maps)
        assert about["versions"]["torch"] and "out" not in about["settings"]


@pytest.mark.slow
def test_the_pooled_numbers_are_those_of_the_table(study):
    """Share of settings and mean differences, counted again from the rows by another way."""
    columns, _ = load_table(study.out / "claims.csv.gz")
    pooled, _ = load_table(study.out / "claims_pooled.csv")
    claim = CLAIMS["ift<orpo:distance_visited"]
    means = []
    keys = list(zip(*(columns[n] for n in ("ice", "base", "policy", "optimiser", "demonstrations")), strict=True))
    for key in dict.fromkeys(keys):
        rate = 0.03 if key[2] == "tabular" else 0.01
        kept = np.array([k == key for k in keys]) & (columns["rate"] == rate) & (columns["checkpoint"] == "last")
        kept &= np.isnan(columns["beta"])  # the method's default
        values = {
            method: {
                (lake, seed): value
                for lake, seed, value, m in zip(
                    *(columns[n][kept] for n in ("lake", "seed", claim.measure, "method")), strict=True
                )
                if m == method
            }
            for method in ("ift", "orpo")
        }
        means.append(np.mean([values["ift"][pair] - values["orpo"][pair] for pair in values["ift"]]))
    row = row_of(pooled, claim.name, VIEWS[0])
    assert pooled["settings"][row] == len(means)
    middle = np.sort(means)[len(means) // 4 : len(means) - len(means) // 4]
    assert pooled["effect"][row] == pytest.approx(np.mean(middle), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_in_the_figures_of_claims(study, theme):
    columns, _ = load_table(study.out / "claims.csv.gz")
    pooled, _ = load_table(study.out / "claims_pooled.csv")
    by_setting, _ = load_table(study.out / "claims_by_setting.csv.gz")
    settings = settings_table(columns)
    pages = draw_claims(by_setting, pooled, theme), draw_phases(by_setting, theme), draw_rates(settings, theme)
    for page, alt in pages:
        check(page.figure, least=6.5)
        assert len(alt) > 50


# ---- the quick study ----


@pytest.mark.slow
def test_the_quick_study(tmp_path, capsys):
    """All six tables, and every figure without a word over another or outside; the numbers of the findings are numbers."""
    out = tmp_path / "quick"
    assert main(Args(quick=True, out=out)) == 0
    tables = {study: load_table(out / f"{study}.csv.gz")[0] for study in STUDIES}
    settings = settings_table(tables["claims"])
    assert len(settings) == len(study_settings(StudyScope(quick=True))) == 9
    pages = [
        draw_figure3(tables["figure3"], tables["policies"], "light"),
        draw_ablation(tables["ablation"], "distance", "light"),
        draw_causes(
            saved_correlations(json.loads((out / "findings.json").read_text())["findings"]),
            tables["drain"],
            tables["rewards"],
            "dark",
        ),
        draw_variants(tables["variants"], "dark"),
    ]
    for page, _ in pages:
        check(page.figure, least=6.5)
    for name in (
        "claims",
        "phases",
        "appendix_views",
        "appendix_rates",
        "figure3",
        "ablation_distance",
        "ablation_success",
        "causes",
        "variants",
    ):
        assert (out / f"{name}.pdf").stat().st_size > 5000 and (out / f"{name}.png").stat().st_size > 5000
        assert (out / f"{name}.png.txt").read_text().strip()
    findings = json.loads((out / "findings.json").read_text())["findings"]
    assert findings["settings"] == 9
    # What training must bring: SFT makes the preferred answer likelier, offline DPO drains moves into unseen ones.
    assert findings["change since the base, sft: chosen_logp"]["low"] > 0
    assert findings["change since the base, dpo: unseen"]["low"] > 0
    paper = settings_table(tables["figure3"])["two-paths-4,firm,good-0.5,mlp-64,adam,1"][1]
    assert paper.measure("success", "ift", VIEWS[0]).min() > 0.99 and paper.base("success").max() < 0.8


# ---- what is kept ----


def test_every_figure_that_is_kept_is_on_the_page():
    """With its words beside it and as PDF; and the page shows no other. Those of an appendix are named, not shown."""
    root = Path(__file__).parents[2]
    page = (root / "experiments" / "README.md").read_text()
    kept = {path.name for path in (root / "figures" / "reproduction").glob("*.png")}
    appendix = {name for name in kept if name.startswith("appendix_")}
    assert set(re.findall(r"figures/reproduction/(\w+\.png)", page)) == kept - appendix and len(kept - appendix) == 7
    assert all(f"`{name.removesuffix('.png')}`" in page for name in appendix)
    for name in kept:
        assert (root / "figures" / "reproduction" / f"{name}.txt").read_text().strip()
        assert (root / "figures" / "reproduction" / name).with_suffix(".pdf").exists()


def test_every_number_on_the_page_is_one_of_the_findings():
    """A finding is quoted as **value** <!-- name -->; shares as whole per cent, others to the digits that are given."""
    root = Path(__file__).parents[2]
    page = (root / "experiments" / "README.md").read_text()
    findings = json.loads((root / "figures" / "reproduction" / "findings.json").read_text())["findings"]
    quoted = re.findall(r"\*\*([^*]+)\*\* ?<!-- (.+?) -->", page)
    assert len(quoted) > 20
    for value, name in quoted:
        key, _, part = name.partition(" | ")
        found = findings[key][part] if part else findings[key]
        text = value.replace("−", "-").replace(" %", "%")
        if text.endswith("%"):
            assert f"{found:.0%}" == text, name
        else:
            digits = len(text.partition(".")[2])
            assert float(text) == pytest.approx(found, abs=0.5 * 10**-digits + 1e-9), name
    assert quote_findings(page, findings) == page  # "(not clear)" stands where it belongs, and nowhere else


FINDINGS = {
    "a": {"effect": -0.1234, "low": -0.2, "high": -0.1, "holds": 0.256},
    "b": {"value": 0.05, "low": -0.1, "high": 0.2},
    "n": 7,
}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("**+0.50** <!-- a | effect -->", "**−0.12** <!-- a | effect -->"),
        ("**0.5000** <!-- a | effect --> (not clear)", "**−0.1234** <!-- a | effect -->"),
        (
            "**+0.5** <!-- b | value -->, **−1.0**<!-- b | low -->",
            "**+0.1** <!-- b | value --> (not clear), **−0.1**<!-- b | low -->",
        ),
        ("**+0.050** <!-- b | value --> (not clear)", "**+0.050** <!-- b | value --> (not clear)"),
        ("**1 %** <!-- a | holds --> of **112** <!-- n -->", "**26 %** <!-- a | holds --> of **7** <!-- n -->"),
        ("**bold**, <!-- a --> and (not clear)", "**bold**, <!-- a --> and (not clear)"),
    ],
)
def test_a_page_quotes_what_the_findings_say(old, new, tmp_path):
    assert quote_findings(old, FINDINGS) == new
    page = tmp_path / "page.md"
    page.write_text(old)
    (tmp_path / "findings.json").write_text(json.dumps({"findings": FINDINGS}))
    assert reproduction.quote(tmp_path, page).read_text() == new
    none = FINDINGS | {"b": {"value": 1.0, "low": None, "high": None}}  # a single number has no interval
    assert quote_findings("**0** <!-- b | value -->", none).endswith("(not clear)")
    with pytest.raises(ValueError, match="'a | more'"):
        quote_findings("**1** <!-- a | more -->", FINDINGS)


def test_publishing_writes_the_numbers_of_the_page(tmp_path, monkeypatch, capsys):
    """In the folder that the command is run from; where there is no page, nothing is quoted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduction, "run_study", lambda scope, settings, folder, workers: folder.mkdir(parents=True))

    def report(saved, folder, theme):
        (folder / "findings.json").write_text(json.dumps({"findings": FINDINGS}))
        return Table(), []

    monkeypatch.setattr(reproduction, "report", report)
    assert main(Args(publish=True)) == 0 and "README" not in capsys.readouterr().out
    page = tmp_path / "experiments" / "README.md"
    page.parent.mkdir()
    page.write_text("**0.00** <!-- b | value -->")
    assert main(Args(out=tmp_path / "elsewhere")) == 0 and page.read_text().startswith("**0.00**")
    (tmp_path / "figures" / "reproduction" / "findings.json").unlink()
    (tmp_path / "figures" / "reproduction").rmdir()
    assert main(Args(publish=True)) == 0 and page.read_text() == "**0.05** <!-- b | value --> (not clear)"
    assert "wrote experiments/README.md" in capsys.readouterr().out


# ---- bad input ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 1}, "--seeds is 1"),
        ({"workers": -1}, "--workers is -1"),
        ({"theme": "blue"}, "light, dark"),
        ({"claim": "ift<dpo"}, "ift<sft:distance"),
        ({"setting": "4x4"}, "4x4,firm,good-0.5,mlp-64,adam,1"),
        ({"setting": "nowhere.txt:0,firm,random,tabular,adam,1"}, "nowhere.txt"),
        ({"maps": Path("nowhere.txt")}, "nowhere.txt"),
        ({"seed": -1}, "--seed is -1"),
        ({"redraw": True, "claim": "ift<sft:distance"}, "--redraw"),
        ({"quick": True, "out": None, "publish": True}, "--publish is for the whole study"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(options, words, tmp_path, capsys):
    out = tmp_path / "out"
    assert words in told(capsys, **{"out": out} | options)
    assert not out.exists()


def test_nothing_to_redraw(tmp_path, capsys):
    assert "claims.csv.gz is not there" in told(capsys, redraw=True, out=tmp_path / "out")
    (tmp_path / "claims.csv.gz").write_bytes(b"broken")
    assert "not a saved table" in told(capsys, redraw=True, out=tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "--out is" in told(capsys, out=tmp_path / "file")
