"""The figures of claims: what counts as clear, the order of rows, words that can be read; drawn from the published tables."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_paper import check

from ift_gridworld.rendering.study_figures import MAX_HEIGHT, StudyFigure
from ift_gridworld.rendering.verdict_bars import VERDICTS, VerdictCounts, draw_verdict_bars, verdict_colours
from ift_gridworld.studies.claims import CLAIMS, LAST, NEGLIGIBLE, VIEWS, is_exploratory, is_tested
from ift_gridworld.studies.reproduction.appendix_figures import draw_views
from ift_gridworld.studies.reproduction.claim_figures import (
    BLOCKS,
    claim_rows,
    count_verdicts,
    draw_claims,
    draw_phases,
    level_name,
)
from ift_gridworld.studies.reproduction.findings import saved_correlations
from ift_gridworld.studies.reproduction.method_figures import draw_ablation, draw_causes, draw_variants
from ift_gridworld.studies.reproduction.study import redraw
from ift_gridworld.studies.tables import load_table
from ift_gridworld.studies.verdicts import row_of

KEPT = Path(__file__).parents[2] / "figures" / "reproduction"
THEME = pytest.mark.parametrize("theme", ["light", "dark"])


@pytest.fixture(scope="module")
def kept():
    names = ("claims_by_setting", "ablation", "drain", "rewards", "variants")
    return {name: load_table(KEPT / f"{name}.csv.gz")[0] for name in names} | {
        "pooled": load_table(KEPT / "claims_pooled.csv")[0]
    }  # fmt: skip


def by_setting(rows):
    """A table of (setting, claim, effect, corrected) at LAST; the uncorrected verdict says clear wherever it can."""
    labels = {"rate": LAST.rate, "checkpoint": LAST.checkpoint}
    made = [
        {"setting": s, "claim": c, "effect": e, "corrected": w, "verdict": "none" if w == "none" else "holds", **labels}
        for s, c, e, w in rows
    ]
    made.append({**made[0], "checkpoint": "best"})  # of another view
    return {name: np.array([row[name] for row in made], float if name == "effect" else object) for name in made[0]}


def test_a_setting_counts_once_by_sign_and_by_the_corrected_verdict():
    """Less is meant by "ift<sft": an effect below 0 holds. An effect of rounding is no difference, whatever its sign."""
    tiny = 0.9 * NEGLIGIBLE
    claim = "ift<sft:distance"
    effects = {
        "a": (-0.1, "holds"), "b": (-0.1, "unclear"), "c": (-0.2, "unclear"), "d": (tiny, "unclear"), "e": (-tiny, "unclear"),
        "f": (0.1, "unclear"), "g": (0.1, "reversed"), "h": (0.2, "reversed"), "i": (0.3, "reversed"), "j": (np.nan, "none"),
    }  # fmt: skip
    rows = [(name, claim, effect, word) for name, (effect, word) in effects.items()]
    table = by_setting([*rows, ("a", "ift<orpo:distance", -1.0, "holds")])
    counts = count_verdicts(table, CLAIMS[claim], LAST)
    assert counts == VerdictCounts(clearly_reversed=3, reversed=1, ties=2, holds=2, clearly_holds=1)
    assert counts.settings == 9 and counts.share == pytest.approx(1 / 3)
    assert count_verdicts(table, CLAIMS[claim], LAST, lambda name: name in "fgh") == VerdictCounts(2, 1, 0, 0, 0)
    table["claim"][table["claim"] == claim] = "ift>sft:success"  # more is meant: it is the other way round
    assert count_verdicts(table, CLAIMS["ift>sft:success"], LAST) == VerdictCounts(1, 2, 2, 1, 3)


def test_the_counts_are_the_published_shares(kept):
    for claim in CLAIMS.values():
        for view in VIEWS:
            if is_tested(claim, view):
                at, counts = row_of(kept["pooled"], claim.name, view), count_verdicts(kept["claims_by_setting"], claim, view)
                names = {"holds": counts.share, "clearly": counts.clearly_holds / counts.settings}
                names |= {"reversed": counts.clearly_reversed / counts.settings, "settings": counts.settings}
                for name, value in names.items():
                    assert kept["pooled"][name][at] == pytest.approx(value, abs=1e-6), (claim.name, view, name)


def test_a_bar_begins_left_of_the_middle_by_what_speaks_against_the_claim():
    """3 against, 2 ties, 5 for, of 10: from -(3 + 1) / 10 to (5 + 1) / 10, the ties around the middle."""
    spans = VerdictCounts(1, 2, 2, 4, 1).spans
    np.testing.assert_allclose(spans, [(-0.4, 0.1), (-0.3, 0.2), (-0.1, 0.2), (0.1, 0.4), (0.5, 0.1)], atol=1e-12)
    page = StudyFigure(1.0, "light")
    ax = draw_verdict_bars(page, [VerdictCounts(0, 0, 0, 3, 1), VerdictCounts(0, 0, 0, 0, 0)], 1.0, 0.2, 3.0, 0.2, ends=True)
    drawn = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert drawn == [(0.0, 0.75), (0.75, 0.25)], "nothing is drawn of none"
    assert [text.get_text() for text in ax.texts] == ["0", "4"]


@THEME
def test_the_colours_of_verdicts_differ(theme):
    colours = verdict_colours(StudyFigure(1.0, theme).theme)
    assert len(set(colours)) == len(VERDICTS) == 5


def test_rows_stand_in_the_papers_order_and_what_it_does_not_claim_stands_last(kept):
    rows = claim_rows(kept["claims_by_setting"], kept["pooled"])
    words = [row.words for row in rows]
    assert words[:3] == [
        "IFT ends nearer to the optimal policy than SFT", "IFT ends nearer to the optimal policy than ORPO",
        "DPO ends nearer to the optimal policy than IFT",
    ]  # fmt: skip
    blocks = [row.block for row in rows]
    assert blocks == sorted(blocks, key=list(dict.fromkeys(blocks)).index), "each block in one piece"
    claimed = {c.name for c in CLAIMS.values() if not is_exploratory(c, LAST) and "gap" not in c.measure}
    *paper, rest = BLOCKS.values()
    assert {name for names in paper for name in names} <= claimed and not claimed & set(rest)


@THEME
def test_words_in_the_figures(theme, kept):
    """None over another or outside, on pages of at most nine inches."""
    numbers = saved_correlations(json.loads((KEPT / "findings.json").read_text())["findings"])
    pages = [
        draw_claims(kept["claims_by_setting"], kept["pooled"], theme),
        draw_phases(kept["claims_by_setting"], theme),
        draw_views(kept["pooled"], theme),
        draw_ablation(kept["ablation"], "distance", theme),
        draw_causes(numbers, kept["drain"], kept["rewards"], theme),
        draw_variants(kept["variants"], theme),
    ]
    for page, alt in pages:
        check(page.figure, least=6.5)
        assert page.height <= MAX_HEIGHT and len(alt) > 50


def test_the_words_are_of_the_numbers(kept):
    _, alt = draw_claims(kept["claims_by_setting"], kept["pooled"], "light")
    at = row_of(kept["pooled"], "ift<orpo:distance", LAST)
    share, clearly, settings = (float(kept["pooled"][name][at]) for name in ("holds", "clearly", "settings"))
    assert f"than ORPO in {share * settings:.0f} of {settings:.0f} ({clearly * settings:.0f} clearly" in alt


def test_a_published_study_is_drawn_without_the_rows_of_single_lakes(tmp_path):
    for name in ("claims_by_setting.csv.gz", "claims_pooled.csv", "findings.json", "variants.csv.gz"):
        (tmp_path / name).write_bytes((KEPT / name).read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    _, paths = redraw(tmp_path, "light")
    drawn = {path.name for path in paths if path.suffix == ".png"}
    assert drawn == {"claims.png", "phases.png", "appendix_views.png", "variants.png"}
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "findings.json").write_text("[]")
    with pytest.raises(ValueError, match=r"findings\.json is not findings of the study that can be read"):
        redraw(tmp_path, "light")


def test_names_of_levels():
    assert [level_name(x) for x in ("random", "good-0.3", "mlp-128", "firm", 4)] == [
        "random",
        "30% good",
        "net 128",
        "always",
        "4",
    ]
