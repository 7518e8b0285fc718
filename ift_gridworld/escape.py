"""Names and messages from outside as text: what a terminal, a LaTeX file or a picture would take for a command is escaped.

HTML has `html.escape`, a terminal's markup `rich.text.Text`, and a picture `rendering.text.shorten`.
"""

from __future__ import annotations

from unicodedata import category

__all__ = ["LONGEST", "latex_text", "one_line", "printable"]

LONGEST = 240  # characters of a message that another library or a file brings

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control and format characters, halves of surrogate pairs, line breaks
JOINERS = "\u200c\u200d"  # format characters that Persian and emoji are written with

_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "{}$&#%_"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)


def printable(text: object) -> str:
    r"""Return text in one line, with what would act on a terminal instead of being shown there written as an escape.

    Args:
        text: anything that `str` takes.

    Example:
        >>> print(printable("ice\x1b[31m\nlake"))
        ice\x1b[31m\nlake
    """
    return "".join(
        sign.encode("unicode_escape").decode("ascii") if category(sign) in HIDDEN and sign not in JOINERS else sign
        for sign in str(text)
    )


def one_line(text: object, longest: int = LONGEST) -> str:
    r"""Return text from outside as a message quotes it: printable, white space folded, and cut off where it is too long.

    Args:
        text: anything that `str` takes.
        longest: largest number of characters.

    Example:
        >>> print(one_line("a\x1b[31m\nb"))
        a\x1b[31m b
    """
    line = printable(" ".join(str(text)[: 4 * longest].split()))
    return line if len(line) <= longest else f"{line[:longest]}…"


def latex_text(text: object) -> str:
    r"""Return text that LaTeX prints as it stands, in one line.

    Args:
        text: anything that `str` takes.

    Example:
        >>> print(latex_text("50% of a_b"))
        50\% of a\_b
    """
    return printable(text).translate(_LATEX)
