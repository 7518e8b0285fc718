"""Equations in TeX as MathML, which browsers draw by themselves: what the explanations' equations use of TeX, and no more."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

__all__ = ["mathml"]

SYMBOLS = {  # commands that stand for a letter
    "pi": "π", "theta": "θ", "Theta": "Θ", "beta": "β", "gamma": "γ", "delta": "δ", "lambda": "λ", "sigma": "σ", "rho": "ρ",
    "epsilon": "ε", "partial": "∂",
}  # fmt: skip
OPERATORS = {"sum": "∑", "cdot": "·", "propto": "∝", "geq": "≥", "leq": "≤"}
FUNCTIONS = ("log", "min", "max")
SPACES = {",": "0.17em", " ": "0.33em", "quad": "1em"}
TOKEN = re.compile(r"\\(?:[A-Za-z]+|[, ])|[{}^_]|\d+(?:\.\d+)?|[A-Za-z]|[^\s]")


def mathml(tex: str) -> str:
    r"""Return an equation as a MathML element, as wide as a line.

    Args:
        tex: the equation between two dollars, in the part of TeX that both matplotlib and this function know: letters, numbers,
            signs, \dfrac, \sum, \log, \mathrm, \bar, superscripts and subscripts, and the Greek letters of `SYMBOLS`.

    Raises:
        ValueError: for another command, or braces that do not match.

    Example:
        >>> mathml("$e^x$")
        '<math display="block"><msup><mi>e</mi><mi>x</mi></msup></math>'
    """
    tokens = _Tokens(tex.strip().strip("$"))
    row = _row(tokens, "")
    return f'<math display="block">{row}</math>'


class _Tokens:
    """The tokens of an equation, read one by one."""

    def __init__(self, tex: str) -> None:
        self.tex, self._tokens = tex, TOKEN.findall(tex)
        self._place = 0

    def peek(self) -> str:
        """The next token, or nothing at the end."""
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def take(self) -> str:
        """Return the next token and go on.

        Raises:
            ValueError: at the end.
        """
        token = self.peek()
        if not token:
            raise ValueError(f"equation {self.tex!r} ends too early; allowed: matching braces")
        self._place += 1
        return token


def _row(tokens: _Tokens, until: str) -> str:
    """Elements up to a closing brace, or to the end."""
    return "".join(_elements(tokens, until))


def _elements(tokens: _Tokens, until: str) -> Iterator[str]:
    while tokens.peek() != until:
        if not tokens.peek():
            raise ValueError(f"equation {tokens.tex!r} has a brace that is not closed; allowed: matching braces")
        base = _atom(tokens)
        lower = upper = ""
        while tokens.peek() in ("^", "_"):
            if tokens.take() == "_":
                lower = _atom(tokens)
            else:
                upper = _atom(tokens)
        yield _with_scripts(base, lower, upper)


def _with_scripts(base: str, lower: str, upper: str) -> str:
    below = base == _operator("∑")  # whose index stands below the sign
    if lower and upper:
        return f"<msubsup>{base}{lower}{upper}</msubsup>"
    if lower:
        return f"<munder>{base}{lower}</munder>" if below else f"<msub>{base}{lower}</msub>"
    return f"<msup>{base}{upper}</msup>" if upper else base


def _atom(tokens: _Tokens) -> str:
    """One element: a letter, a number, a sign, a command with its arguments, or a group in braces."""
    token = tokens.take()
    if token == "{":
        row = _row(tokens, "}")
        tokens.take()
        return f"<mrow>{row}</mrow>"
    if token.startswith("\\"):
        return _command(token[1:], tokens)
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token.isalpha():
        return f"<mi>{token}</mi>"
    if token in "}^_":
        raise ValueError(f"equation {tokens.tex!r} has {token!r} where something must stand; allowed: matching braces")
    return _operator({"-": "−", "*": "∗"}.get(token, token))


def _command(name: str, tokens: _Tokens) -> str:
    if name in SYMBOLS:
        return f"<mi>{SYMBOLS[name]}</mi>"
    if name in OPERATORS:
        return _operator(OPERATORS[name])
    if name in FUNCTIONS:
        return (
            f'<mi>{name}</mi><mspace width="0.17em"></mspace>' if tokens.peek() not in ("(", "^", "_") else f"<mi>{name}</mi>"
        )
    if name in SPACES:
        return f'<mspace width="{SPACES[name]}"></mspace>'
    if name == "dfrac":
        top, bottom = _atom(tokens), _atom(tokens)
        return f'<mfrac displaystyle="true">{top}{bottom}</mfrac>'
    if name == "bar":
        return f'<mover accent="true">{_atom(tokens)}<mo stretchy="false">¯</mo></mover>'
    if name == "mathrm":
        return f'<mi mathvariant="normal">{html.escape(_word(tokens))}</mi>'
    allowed = ", ".join(("dfrac", "bar", "mathrm", *FUNCTIONS, *OPERATORS, *SYMBOLS))
    raise ValueError(f"equation {tokens.tex!r} has \\{name}; allowed: {allowed}")


def _word(tokens: _Tokens) -> str:
    """The letters of a group in braces."""
    if tokens.take() != "{":
        raise ValueError(f"equation {tokens.tex!r} has \\mathrm without braces; allowed: \\mathrm{{word}}")
    letters = ""
    while (token := tokens.take()) != "}":
        letters += token
    return letters


def _operator(sign: str) -> str:
    return f"<mo>{html.escape(sign)}</mo>"
