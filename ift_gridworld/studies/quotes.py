"""Numbers of the findings that a page quotes, written by code: a quoted number is ``**value** <!-- finding | part -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ift_gridworld.evaluation.statistics import NOT_CLEAR, is_clear
from ift_gridworld.storage import write_atomically

__all__ = ["quote_findings", "quote_in"]

QUOTED = re.compile(rf"\*\*(?P<old>[^*\n]+)\*\*(?P<gap> ?)<!-- (?P<name>.+?) -->(?: {re.escape(NOT_CLEAR)})?")


def quote_findings(page: str, findings: Mapping[str, Any]) -> str:
    """Return a page with each quoted number as it is in the findings, to as many digits as stand there.

    Shares are whole per cent. "(not clear)" stands behind an effect whose interval does not exclude 0, and behind no other.

    Raises:
        ValueError: for a number that is none of the findings.

    Example:
        >>> quote_findings("by **+0.10** <!-- a | value -->.", {"a": {"value": -0.25, "low": -0.75, "high": 0.25}})
        'by **−0.25** <!-- a | value --> (not clear).'
    """

    def quoted(match: re.Match[str]) -> str:
        name, _, part = match["name"].partition(" | ")
        finding = findings.get(name)
        numbers = finding if isinstance(finding, dict) else {"": finding}
        number = numbers.get(part)
        if not isinstance(number, int | float):
            raise ValueError(f"the page quotes {match['name']!r}; allowed: a number of findings.json")
        low, high = (numbers.get(end) for end in ("low", "high"))
        is_doubtful = low is None or high is None or not is_clear(low, high)
        note = f" {NOT_CLEAR}" if part in ("value", "effect") and is_doubtful else ""
        return f"**{_spelled(number, match['old'])}**{match['gap']}<!-- {match['name']} -->{note}"

    return QUOTED.sub(quoted, page)


def quote_in(page: Path, findings: Mapping[str, Any]) -> Path:
    """Write the numbers that a page quotes anew, as `quote_findings` does; return the page's path."""
    return write_atomically(page, quote_findings(page.read_text(encoding="utf-8"), findings).encode())


def _spelled(number: float, old: str) -> str:
    """Spell a number as the old one is spelled: per cent or as many decimals, with a sign if it has one."""
    if old.endswith("%"):
        return f"{number:.0%}".replace("%", " %")
    sign = "+" if old[0] in "+−-" else ""
    return f"{number:{sign}.{len(old.partition('.')[2])}f}".replace("-", "−")
