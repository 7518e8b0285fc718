"""Verdicts as tables for the terminal."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from ift_gridworld.escape import printable
from ift_gridworld.studies.tables import Columns

__all__ = ["table_of_claims", "table_of_setting"]


def table_of_claims(pooled: Columns) -> Table:
    """Return a table of claims over all settings: one row a claim and view."""
    table = Table(
        title=f"Claims over {int(np.max(pooled['settings']))} settings: effect is first less second", title_justify="left",
        caption="interquartile mean over settings and 95 % interval; holds: share of settings with the claim's sign; clearly, "
        "reversed: with an interval that leaves out zero", caption_justify="left",
    )  # fmt: skip
    for heading in ("claim", "measure", "rate", "checkpoint"):
        table.add_column(heading, no_wrap=True)
    for heading in ("effect [95 % interval]", "holds", "clearly", "reversed"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = ("claim", "measure", "rate", "checkpoint", "effect", "low", "high", "holds", "clearly", "reversed")
    for claim, measure, rate, checkpoint, effect, low, high, holds, clearly, against in zip(
        *(pooled[n] for n in names), strict=True
    ):
        shares = (f"{share:.0%}" for share in (holds, clearly, against))
        interval = f"{effect:+.4f} [{low:+.4f}, {high:+.4f}]"
        table.add_row(claim.partition(":")[0], measure, rate, checkpoint, interval, *shares)
    return table


def table_of_setting(by_setting: Columns) -> Table:
    """Return a table of claims in one setting: one row a claim and view."""
    table = Table(title=printable(by_setting["setting"][0]), title_justify="left", caption="effect: first less second")
    for heading in ("claim", "measure", "rate", "checkpoint"):
        table.add_column(heading, no_wrap=True)
    for heading in ("effect [95 % interval]", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = ("claim", "measure", "rate", "checkpoint", "effect", "low", "high", "verdict")
    for claim, measure, rate, checkpoint, effect, low, high, word in zip(*(by_setting[n] for n in names), strict=True):
        interval = f"{effect:+.6f} [{low:+.6f}, {high:+.6f}]"
        table.add_row(claim.partition(":")[0], measure, rate, checkpoint, interval, word)
    return table
