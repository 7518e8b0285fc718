"""Verdicts as tables for the terminal."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from ift_gridworld.escape import printable
from ift_gridworld.evaluation.statistics import format_effect
from ift_gridworld.studies.tables import Columns

__all__ = ["table_of_claims", "table_of_setting"]


def table_of_claims(pooled: Columns) -> Table:
    """Return a table of claims over all settings: one row a claim and view."""
    table = Table(
        title=f"Claims over {int(np.max(pooled['settings']))} settings: effect is first less second", title_justify="left",
        caption="interquartile mean over settings and 95 % interval; holds: share of settings with the claim's sign; clearly, "
        "reversed: with an interval that leaves out zero and a false-discovery rate of at most 5 %; †: share of settings in "
        "which the best rate or beta of one of the two lies on an edge of what was tried; *: the paper does not claim it",
        caption_justify="left", padding=0,
    )  # fmt: skip
    for heading in ("claim", "measure", "rate", "checkpoint"):
        table.add_column(heading, no_wrap=True)
    for heading in ("effect [95 % interval]", "holds", "clearly", "reversed", "†"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = ("claim", "measure", "rate", "checkpoint", "effect", "low", "high", "holds", "clearly", "reversed", "on_edge")
    for claim, *labels, effect, low, high, holds, clearly, against, on_edge, exploratory in zip(
        *(pooled[n] for n in (*names, "exploratory")), strict=True
    ):
        shares = (f"{share:.0%}" for share in (holds, clearly, against, on_edge))
        name = claim.partition(":")[0] + "*" * (exploratory == "yes")
        table.add_row(name, *labels, format_effect(effect, low, high), *shares)
    return table


def table_of_setting(by_setting: Columns) -> Table:
    """Return a table of claims in one setting: one row a claim and view."""
    table = Table(
        title=printable(by_setting["setting"][0]), title_justify="left", caption_justify="left", padding=0,
        caption="effect: first less second; †: the best rate or beta of this method lies on an edge of what was tried",
    )  # fmt: skip
    for heading in ("claim", "measure", "rate", "checkpoint"):
        table.add_column(heading, no_wrap=True)
    for heading in ("effect [95 % interval]", "verdict", "†"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = ("claim", "measure", "rate", "checkpoint", "effect", "low", "high", "verdict", "on_edge")
    for claim, *labels, effect, low, high, word, on_edge in zip(*(by_setting[n] for n in names), strict=True):
        table.add_row(claim.partition(":")[0], *labels, format_effect(effect, low, high, digits=6), word, on_edge)
    return table
