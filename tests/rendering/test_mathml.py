"""Equations of the explanations as MathML: well-formed, with every letter of the TeX."""

from xml.etree import ElementTree

import pytest
from test_explain_film import made

from ift_gridworld.explain import EXPLAINED
from ift_gridworld.rendering.mathml import mathml


def words(tex):
    return "".join(ElementTree.fromstring(mathml(tex)).itertext())


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        ("$x$", "<mi>x</mi>"),
        ("$12.5$", "<mn>12.5</mn>"),
        ("$a_b$", "<msub><mi>a</mi><mi>b</mi></msub>"),
        ("$a^*_{t+1}$", "<msubsup><mi>a</mi><mrow><mi>t</mi><mo>+</mo><mn>1</mn></mrow><mo>∗</mo></msubsup>"),
        (r"$\sum_t x$", "<munder><mo>∑</mo><mi>t</mi></munder><mi>x</mi>"),
        (r"$\dfrac{1}{N}$", '<mfrac displaystyle="true"><mrow><mn>1</mn></mrow><mrow><mi>N</mi></mrow></mfrac>'),
        (r"$-\bar c$", '<mo>−</mo><mover accent="true"><mi>c</mi><mo stretchy="false">¯</mo></mover>'),
        (r"$\mathrm{odds}$", '<mi mathvariant="normal">odds</mi>'),
        ("$a<b$", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
    ],
)
def test_each_construct(tex, expected):
    assert mathml(tex) == f'<math display="block">{expected}</math>'


@pytest.mark.parametrize("method", EXPLAINED)
def test_every_equation_of_an_explanation_is_well_formed(method):
    """And says every Greek letter that its TeX names."""
    explanation, _ = made(method)
    equations = [step.equation for step in explanation.steps if step.equation]
    assert equations
    for tex in equations:
        text = words(tex)
        for command, letter in {"beta": "β", "sigma": "σ", "theta": "θ", "gamma": "γ", "lambda": "λ", "pi": "π"}.items():
            assert (f"\\{command}" in tex) == (letter in text), tex
        assert text.count("(") == text.count(")") == tex.count("(")
        assert "\\" not in text and "{" not in text


@pytest.mark.parametrize(
    ("tex", "named"),
    [
        (r"$\frac{1}{2}$", r"has \\frac; allowed: dfrac, bar"),
        ("$a_{b$", "not closed"),
        ("$a}$", "'}' where"),
        ("$a_$", "too early"),
        (r"$\mathrm a$", "without braces"),
    ],
)
def test_what_it_does_not_know_is_told(tex, named):
    with pytest.raises(ValueError, match=named):
        mathml(tex)
