"""Figures of the claims: in how many settings each holds or is reversed, and in which kinds of settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ift_gridworld.evaluation.statistics import format_effect
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.rendering.study_figures import SMALL, TINY, StudyFigure
from ift_gridworld.rendering.verdict_bars import (
    VERDICTS,
    VerdictCounts,
    draw_swatch,
    draw_verdict_bars,
    draw_verdict_key,
    verdict_colours,
)
from ift_gridworld.studies.claims import CLAIMS, LAST, NEGLIGIBLE, PAIRS, Claim, View
from ift_gridworld.studies.reproduction.figure_words import pair_name
from ift_gridworld.studies.settings import ICE, Setting
from ift_gridworld.studies.tables import Columns
from ift_gridworld.studies.verdicts import row_of

__all__ = ["FACTORS", "CountedClaim", "claim_rows", "count_verdicts", "draw_claims", "draw_phases", "level_name"]

# What each claim says, by what is compared: {first}, {second} are the methods.
WORDS = {
    "distance": "{first} ends nearer to the optimal policy than {second}",
    "tiles": "{first} explores more tiles than {second}",
    "base_bias": "{first}'s estimate of the base is less biased than {second}'s",
    "bias": "… and that of the trained policy",
    "success": "{first} reaches the goal more often than {second}",
}
BLOCKS: dict[str, tuple[str, ...]] = {  # claims in the order of the figure
    "Distance to the optimal policy. The paper: DPO < IFT ≪ ORPO, SFT": (
        "ift<sft:distance", "ift<orpo:distance", "dpo<ift:distance",
    ),
    "Tiles explored. The paper: DPO > IFT > ORPO > SFT": ("dpo>ift:tiles", "ift>orpo:tiles", "orpo>sft:tiles"),
    "Preference estimation. The paper: IFT's is less biased than SFT's (so by construction)": (
        "ift<sft:base_bias", "ift<sft:bias",
    ),
    "Not claimed by the paper": ("orpo<sft:distance", "ift>sft:success", "ift>orpo:success", "dpo>ift:success"),
}  # fmt: skip


# ---- counting ----


@dataclass(frozen=True)
class CountedClaim:
    """One row of the figure of claims.

    Attributes:
        block: heading that it stands under.
        words: the claim in plain words.
        effect: the effect pooled over settings, with its interval, in words.
        counts: settings by verdict.
    """

    block: str
    words: str
    effect: str
    counts: VerdictCounts


def count_verdicts(by_setting: Columns, claim: Claim, view: View, among: Callable[[str], bool] | None = None) -> VerdictCounts:
    """Count settings by what they say of a claim.

    A claim holds where the effect has its sign by more than `NEGLIGIBLE`, and is reversed where it has the other; clearly
    where the verdict, corrected for the number of settings, says so.

    Args:
        by_setting: the table of `verdicts.judge_claims`.
        claim: the claim.
        view: the view.
        among: says by its name whether a setting counts (default: all do).
    """
    rows = np.flatnonzero(by_setting["claim"] == claim.name)
    for column, value in (("rate", view.rate), ("checkpoint", view.checkpoint)):
        rows = rows[by_setting[column][rows] == value]
    rows = rows[by_setting["verdict"][rows] != "none"]
    counts = [0] * len(VERDICTS)
    for index in rows:
        if among is None or among(by_setting["setting"][index]):
            effect, word = float(by_setting["effect"][index]) * claim.sign, by_setting["corrected"][index]
            side = int(effect > NEGLIGIBLE) - int(effect < -NEGLIGIBLE)
            counts[2 + side * (2 if word in ("holds", "reversed") else 1)] += 1
    return VerdictCounts(*counts)


def claim_rows(by_setting: Columns, pooled: Columns) -> list[CountedClaim]:
    """Return the rows of the figure of claims, in its order, at the common rate and the last checkpoint."""
    rows = []
    for block, names in BLOCKS.items():
        for claim in map(CLAIMS.get, names):
            assert claim is not None
            at = row_of(pooled, claim.name, LAST)
            words = WORDS[claim.measure].format(first=method_name(claim.first), second=method_name(claim.second))
            effect, low, high = (float(pooled[n][at]) for n in ("effect", "low", "high"))
            words_of_effect = format_effect(effect, low, high).replace("-", "−")
            rows.append(CountedClaim(block, words, words_of_effect, count_verdicts(by_setting, claim, LAST)))
    return rows


# ---- the claims ----

ROW, HEADING, LABEL = 0.285, 0.27, 2.72  # inches


def draw_claims(by_setting: Columns, pooled: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw a row a claim: what it says, in how many settings it holds and is reversed, clearly or not, and the numbers."""
    rows = claim_rows(by_setting, pooled)
    top = 0.98
    page = StudyFigure(top + len(BLOCKS) * HEADING + len(rows) * ROW + 0.72, theme)
    settings = max(row.counts.settings for row in rows)
    page.add_heading(0.1, 0.19, f"Does it hold? The paper's claims about the lake in {settings} settings, each counted once")
    draw_verdict_key(page, 0.1, 0.42)
    bars, table, right = 2.55, LABEL + 2.66, 6.78
    for x, side, words in ((-0.06, "right", "reversed ←"), (0.06, "left", "→ holds")):
        page.add_text(LABEL + bars / 2 + x, 0.74, words, size=SMALL, weight="bold", ha=side)
    page.add_text(table + 0.5, 0.66, "settings", size=TINY, ha="center", color=page.theme.muted)
    page.add_text(right, 0.74, "holds in", size=TINY, ha="right", color=page.theme.muted)
    for k, colour in enumerate(verdict_colours(page.theme)):
        draw_swatch(page, table + 0.21 * k + 0.02, 0.77, colour)
    for block in BLOCKS:
        own = [row for row in rows if row.block == block]
        page.add_heading(0.1, top, block)
        top += HEADING - 0.16
        ax = draw_verdict_bars(page, [row.counts for row in own], LABEL, top, bars, ROW)
        is_last = block == list(BLOCKS)[-1]
        ax.spines["bottom"].set_visible(is_last)
        ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["100 %", "50 %", "0", "50 %", "100 %"] if is_last else [""] * 5)
        ax.tick_params(axis="x", length=2 if is_last else 0)
        for k, row in enumerate(own):
            _write_row(page, row, top + (k + 0.5) * ROW, table, right)
        top += len(own) * ROW + 0.16
    page.add_text(LABEL + bars / 2, top + 0.15, "share of the settings", size=TINY, ha="center", color=page.theme.muted)
    page.add_note(
        0.1, top + 0.25,
        "Below each claim: its effect, first less second, pooled over settings, and the 95 % interval. Clearly: the setting's "
        "own 95 % interval excludes 0, after correction for the number of settings. Common learning rate, last checkpoint.",
    )  # fmt: skip
    page.resize(top + 0.6)
    words = "; ".join(f"{_claim_in_words(rows, k)} in {_in_words(row.counts)}" for k, row in enumerate(rows))
    return page, f"The paper's claims over {settings} settings, common rate, last checkpoint. {words}."


def _write_row(page: StudyFigure, row: CountedClaim, middle: float, table: float, right: float) -> None:
    """Write a claim to the left of its bar and its numbers to the right."""
    page.add_text(0.1, middle - 0.015, row.words, size=SMALL)
    page.add_text(0.1, middle + 0.095, row.effect, size=TINY, color=page.theme.muted)
    counts = (row.counts.clearly_reversed, row.counts.reversed, row.counts.ties, row.counts.holds, row.counts.clearly_holds)
    for k, count in enumerate(counts):
        page.add_text(table + 0.21 * k + 0.07, middle, str(count), size=TINY, ha="center", va="center_baseline")
    page.add_text(right, middle, f"{row.counts.share:.0%}", size=SMALL, weight="bold", ha="right", va="center_baseline")


def _claim_in_words(rows: Sequence[CountedClaim], index: int) -> str:
    """Return a claim's words; one that goes on from the claim above it follows that one's."""
    words = rows[index].words
    return f"{rows[index - 1].words} {words.removeprefix('… ')}" if words.startswith("… ") else words


def _in_words(counts: VerdictCounts) -> str:
    return (
        f"{counts.holds + counts.clearly_holds} of {counts.settings} ({counts.clearly_holds} clearly; reversed in "
        f"{counts.reversed + counts.clearly_reversed}, {counts.clearly_reversed} clearly)"
    )


# ---- where they hold ----

FACTORS: dict[str, tuple[str, Callable[[Any], Any]]] = {  # heading and order of the levels of each factor
    "family": ("lake", lambda x: (x.startswith("lakes"), x.startswith("two-paths"), x)),
    "ice": ("ice, moves as intended", list(ICE).index),
    "base": ("base policy", lambda x: (x != "random", x)),
    "policy": ("policy", lambda x: int(x.partition("-")[2] or 0)),
    "optimiser": ("optimiser", str),
    "demonstrations": ("demonstrations", int),
}
LINE = 0.158  # inches


def draw_phases(by_setting: Columns, theme: str) -> tuple[StudyFigure, str]:
    """Draw where each claim about the distance holds: its bar among the settings of each level of every factor."""
    settings = [Setting.parse(name) for name in dict.fromkeys(by_setting["setting"])]
    levels = {
        factor: sorted({getattr(setting, factor) for setting in settings}, key=order) for factor, (_, order) in FACTORS.items()
    }
    page = StudyFigure(1.4 + sum(0.27 + LINE * len(names) for names in levels.values()), theme)
    page.add_heading(0.1, 0.19, "Where do they hold? Settings in which the claim about the distance holds and is reversed")
    draw_verdict_key(page, 0.1, 0.42)
    left, gap = 1.3, 0.06
    width = (6.85 - left - gap * (len(PAIRS) - 1)) / len(PAIRS)
    for i, pair in enumerate(PAIRS):
        middle = left + i * (width + gap) + width / 2
        page.add_text(middle, 0.7, pair_name(*pair), size=TEXT_OF_CLAIM, weight="bold", ha="center")
        page.add_text(middle, 0.84, "reversed ← → holds", size=TINY, ha="center", color=page.theme.muted)
    top = 0.9
    for factor, (heading, _) in FACTORS.items():
        page.add_text(0.1, top + 0.15, heading, size=TINY, color=page.theme.muted)
        top += 0.22
        names = levels[factor]
        for k, level in enumerate(names):
            number = sum(getattr(setting, factor) == level for setting in settings)
            label = f"{level_name(level)} ({number})"
            page.add_text(left - 0.08, top + (k + 0.5) * LINE, label, size=TINY, ha="right", va="center_baseline")
        for i, pair in enumerate(PAIRS):
            counts = [
                count_verdicts(by_setting, Claim(*pair, "distance", -1), LAST, partial(_is_at, factor=factor, level=level))
                for level in names
            ]
            ax = draw_verdict_bars(page, counts, left + i * (width + gap), top, width, LINE, ends=True)
            ax.spines["bottom"].set_visible(False)
            ax.set_xticks([])
        top += LINE * len(names) + 0.05
    page.add_note(
        0.1, top + 0.06,
        "In brackets: settings of this kind. At the ends of a bar: settings in which the claim is reversed and holds, clear or "
        "not; dotted: half and all of the settings of this kind. Mean squared distance of T(a|s) to the optimal policy over "
        "all tiles, common rate, last checkpoint.",
    )  # fmt: skip
    page.resize(top + 0.42)
    return page, _phases_in_words(by_setting, levels)


TEXT_OF_CLAIM = 8.0  # points


def _is_at(name: str, *, factor: str, level: object) -> bool:
    """Return whether a setting is at this level of a factor."""
    return bool(getattr(Setting.parse(name), factor) == level)


def _phases_in_words(by_setting: Columns, levels: dict[str, list[Any]]) -> str:
    """Return, for each claim, the kinds of settings in which it holds most and least often."""
    sentences = []
    for pair in PAIRS:
        claim = Claim(*pair, "distance", -1)
        shares = {
            f"{FACTORS[factor][0].partition(',')[0]} {level_name(level)}": counts.share
            for factor, names in levels.items()
            for level in names
            if (counts := count_verdicts(by_setting, claim, LAST, partial(_is_at, factor=factor, level=level))).settings
        }
        if shares:
            most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
            sentences.append(
                f"{pair_name(*pair)}: most often with {most} ({shares[most]:.0%}), least with {least} ({shares[least]:.0%})"
            )
    return f"Where each claim about the distance holds, by six factors of the settings. {'; '.join(sentences)}."


def level_name(value: object) -> str:
    """Return a factor's level as short as a figure has room for.

    Example:
        >>> level_name("good-0.5"), level_name("mlp-64"), level_name("slippery"), level_name("lakes-0.6")
        ('50% good', 'net 64', '1/3', '6x6, 0.6 ice')
    """
    text = str(value)
    if text.startswith("good-"):
        return f"{float(text.removeprefix('good-')):.0%} good"
    if text.startswith("lakes-"):
        return f"6x6, {text.removeprefix('lakes-')} ice"
    names = {
        "slippery-0.8": "0.8",
        "slippery": "1/3",
        "firm": "always",
        "tabular": "table",
        "adam": "Adam",
        "rmsprop": "RMSprop",
    }
    return names.get(text, text.replace("mlp-", "net "))
