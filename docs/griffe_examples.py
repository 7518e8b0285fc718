"""Extension of Griffe: doctests in docstrings are code, also where no heading says so."""

from __future__ import annotations

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^([ ]*)>>> .*(?:\n(?!\s*\n|\s*$)\1.*)*", re.MULTILINE)


def fenced(text: str) -> str:
    """Return a docstring whose doctests stand between fences."""
    return DOCTEST.sub(lambda match: f"{match[1]}```pycon\n{match[0]}\n{match[1]}```", text)


class FencedExamples(griffe.Extension):
    """Put fences around doctests before docstrings are parsed."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        """Change the docstring of everything that has one."""
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
