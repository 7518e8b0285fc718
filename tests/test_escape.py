"""What the user names is text: no control character reaches a terminal, no sign is a command of LaTeX's."""

import re

import pytest

from ift_gridworld.escape import LONGEST, latex_text, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two-paths", "two-paths"),
        ("湖 é 🦊", "湖 é 🦊"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31m\x07\x9b", r"\x1b[31m\x07\x9b"),
        ("\u202eabc\u2028", r"\u202eabc\u2028"),  # right to left, and a line's end
        ("\udcff", r"\udcff"),  # of a file's name that is no UTF-8
    ],
)
def test_what_acts_on_a_terminal_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown == printable(shown)
    shown.encode()


def test_a_message_from_outside_is_one_printable_line_that_is_not_long():
    assert one_line("a\n\tb\x07\u202e") == r"a b\x07\u202e"
    assert one_line(f" {'x' * LONGEST}\n") == "x" * LONGEST and one_line("x" * 10**7) == f"{'x' * LONGEST}…"
    assert one_line("\x07" * 9, longest=6) == r"\x07\x…", "what is escaped is counted as it is written"


def test_latex_prints_every_sign_as_it_stands():
    """Every special sign follows a backslash or stands in the name of a command that prints it."""
    special = r"\{}$&#%_^~"
    text = latex_text(f"a{special}b\n%c")
    printed = re.sub(r"\\text(backslash|ascii(circum|tilde))\{\}", "", text)
    assert re.sub(r"\\[{}$&#%_]", "", printed) == "abnc"
