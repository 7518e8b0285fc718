"""Extension of Griffe: docstrings as they are written become Markdown.

Doctests are fenced as code, also where no heading announces them, and the star of s*_t or T*(a|s) is no emphasis.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

PART = re.compile(
    r"(?P<doctest>^(?P<indent>[ ]*)>>> .*(?:\n(?!\s*\n|\s*$)(?P=indent).*)*)|(?P<code>`[^`]*`)|(?<=\w)(?P<star>\*)(?=[_(])",
    re.MULTILINE,
)


def markdown(text: str) -> str:
    """Return a docstring as Markdown."""

    def replacement(match: re.Match[str]) -> str:
        if match["doctest"]:
            return f"{match['indent']}```pycon\n{match[0]}\n{match['indent']}```"
        return match[0] if match["code"] else r"\*"

    return PART.sub(replacement, text)


class DocstringMarkdown(griffe.Extension):
    """Change docstrings before they are parsed."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        """Change the docstring of everything that has one."""
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
