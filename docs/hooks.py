"""Hooks of MkDocs: pages and pictures of the repository that the documentation links to, and equations as MathML.

Pages link to files outside docs/ as they stand in the repository, so that links work on a code host too. `on_files` adds
what is linked to the site, and `on_page_markdown` corrects the links. Equations become MathML when the site is built, so that
no page loads a script from another site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")  # the end of a link, or of a picture that is a link itself
CODE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1[ ]*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
EQUATION = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.DOTALL)


def links(text: str) -> Iterator[str]:
    """Yield the targets of a page's relative links and pictures, without anchors; links in code are none."""
    for match in LINK.finditer(CODE.sub("", text)):
        yield match[1]


def outside(page: str, target: str) -> str | None:
    """Return a link's target relative to the root, if it is a file of the repository outside docs/; else None.

    Args:
        page: path of the page relative to the root.
        target: of its link.
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    return path if not path.startswith("docs/") and (ROOT / path).is_file() else None


def linked(pages: list[str]) -> set[str]:
    """Return all files outside docs/ that pages link to, and that linked pages link to in turn."""
    found: set[str] = set()
    queue = list(pages)
    while queue:
        page = queue.pop()
        for target in links((ROOT / page).read_text(encoding="utf-8")):
            path = outside(page, target)
            if path is not None and path not in found and path != "README.md":
                found.add(path)
                queue += [path] if path.endswith(".md") else []
    return found


def on_files(files: Any, config: Any) -> Any:
    """Add what pages link to outside docs/."""
    from mkdocs.structure.files import File

    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for path in sorted(linked(pages)):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links out of docs/ lead to where the site has the files."""
    uri = page.file.src_uri
    if not (ROOT / "docs" / uri).is_file():
        return markdown  # a page outside docs/, whose links are right as they stand

    def corrected(match: re.Match[str]) -> str:
        path = outside(f"docs/{uri}", match[1])
        target = match[1] if path is None else posixpath.relpath(path, posixpath.dirname(uri) or ".")
        return f"]({target}{match[2] or ''})"

    return LINK.sub(corrected, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Write equations as MathML."""
    from html import unescape

    from latex2mathml.converter import convert

    def mathml(match: re.Match[str]) -> str:
        return str(convert(unescape(match[2]), display="block" if match[1] == "div" else "inline"))

    return EQUATION.sub(mathml, html)
