"""One colour, dash and marker a method, in every picture."""

import pytest

from ift_gridworld.language.controls import CONTROLS
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.rendering.method_names import CONTROL_NAMES, METHOD_NAMES, VARIANT_NAMES, in_order
from ift_gridworld.rendering.method_style import HUES, style_of, styles_of
from ift_gridworld.rendering.text import short_title
from ift_gridworld.rendering.theme import THEMES


def test_no_two_methods_look_alike():
    styles = styles_of(METHODS)
    assert len(set(styles.values())) == len(METHODS)
    assert styles == {name: style_of(name) for name in METHODS}  # no built-in one had to move on


def test_a_method_keeps_its_style_whoever_stands_beside_it():
    assert styles_of(["sft", "mine"])["mine"] == styles_of(["ift", "dpo", "mine"])["mine"] == style_of("mine")


def test_names_that_fall_on_one_style_move_on():
    names = [f"method_{i}" for i in range(60)]
    assert len(set(styles_of(names).values())) == 60
    assert len({style_of(name) for name in names}) < 60  # or nothing was tested


def test_more_methods_than_styles_end():
    assert len(styles_of(f"method_{i}" for i in range(400))) == 400


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_each_hue_has_a_colour(theme):
    assert len(theme.methods) == len(HUES) == len(set(theme.methods))
    assert style_of("ift").colour(theme) == theme.methods[HUES.index("ift")]


def test_a_control_has_its_methods_hue_and_a_mark_of_its_own():
    """Whatever the language study or the reproduction draws in one picture can be told apart."""
    named = {**METHOD_NAMES, **CONTROL_NAMES, **VARIANT_NAMES}
    styles = styles_of(named)
    assert len(set(styles.values())) == len(named) and styles == {name: style_of(name) for name in named}
    for name in (*CONTROL_NAMES, *VARIANT_NAMES):
        assert style_of(name).hue == style_of(name.partition("_")[0]).hue, name


def test_there_is_one_registry_of_names():
    """It says what a method's own title says; a control is named after its method."""
    assert {name: short_title(kind.full_title()) for name, kind in METHODS.items()} == METHOD_NAMES
    assert set(CONTROL_NAMES) == {*CONTROLS, "sft_tempered"}
    assert in_order(["mine", *METHODS, *CONTROLS]) == [n for n in in_order([*METHODS, *CONTROLS]) if n != "mine"] + ["mine"]
