"""The study's page: the numbers that it quotes and the rankings in it, written by code from the findings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.storage import write_atomically
from ift_gridworld.studies.frontier.figures import EDGE
from ift_gridworld.studies.quotes import quote_findings

__all__ = ["UNCLEAR", "publish", "with_numbers"]

UNCLEAR = "○"  # behind a difference that is not clear once corrected, as hollow markers are in the figure
RANKING = re.compile(r"(<!-- ranking: (?P<question>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NUMBERS = ("mean", "value", "low", "high")
DIGITS = {"likelihood": 1, "demonstrations": 4}  # decimals, of other questions 3


def publish(page: Path, findings: Mapping[str, Any]) -> Path:
    """Write a page's numbers and rankings anew; return its path."""
    return write_atomically(page, with_numbers(page.read_text(encoding="utf-8"), findings).encode())


def with_numbers(page: str, findings: Mapping[str, Any]) -> str:
    """Return a page with its quoted numbers and its rankings, from `<!-- ranking: QUESTION -->` to `<!-- end -->`, as found.

    Raises:
        ValueError: for a number or a question that is none of the findings.
    """
    page = quote_findings(page, findings)
    return RANKING.sub(lambda match: f"{match[1]}{_ranking(match['question'], findings)}{match[3]}", page)


def _ranking(question: str, findings: Mapping[str, Any]) -> str:
    answers = {name.partition(" ")[2]: each for name, each in findings.items() if name.partition(" ")[0] == question}
    if not answers:
        raise ValueError(f"the page ranks {question!r}; allowed: a question of findings.json")
    rows = ["", "| | method | mean | difference | conditions alike |", "| ---: | --- | ---: | ---: | ---: |"]
    for method, answer in sorted(answers.items(), key=lambda item: item[1]["place"]):
        digits = DIGITS.get(question, 3)
        mean, value, low, high = (_spelled(answer[name], digits, "" if name == "mean" else "+") for name in NUMBERS)
        name = method_name(method) + (f" {EDGE}" if answer["on_edge"] else "")
        name += f" ({answer['diverged']} diverged)" if answer["diverged"] else ""
        mark = "" if answer["clear"] else f" {UNCLEAR}"
        share = "" if answer["share"] is None else f"{answer['share']:.0%} of {answer['conditions']}".replace("%", " %")
        rows.append(f"| {answer['place']} | {name} | {mean} | {value} [{low}, {high}]{mark} | {share} |")
    return "\n".join([*rows, "", ""])


def _spelled(number: float | None, digits: int, sign: str) -> str:
    return "none" if number is None else f"{number:{sign}.{digits}f}".replace("-", "−")
