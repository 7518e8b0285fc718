from dataclasses import dataclass

import pytest

from ift_gridworld.command import fail, parse, progress


@dataclass(frozen=True)
class Settings:
    steps: int | None = None
    """Updates."""
    map: str = "4x4"


def test_parse_fills_the_dataclass():
    assert parse(Settings, None, ["--steps", "3"]) == Settings(steps=3)


@pytest.mark.parametrize("arguments", [["--steps", "abc"], ["--nope", "1"], ["stray"], ["--map"]])
def test_a_mistake_is_one_line_that_names_it(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        parse(Settings, "About.", arguments)
    said = capsys.readouterr()
    assert end.value.code == 2 and not said.out
    assert said.err.count("\n") == 1 and said.err.startswith("error: ") and arguments[0] in said.err
    assert "─" not in said.err and "│" not in said.err


def test_help_is_no_mistake(capsys):
    with pytest.raises(SystemExit) as end:
        parse(Settings, "About.", ["--help"])
    assert end.value.code == 0 and "Updates." in capsys.readouterr().out


def test_fail_folds_to_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        fail("first\n  second", status=1)
    assert end.value.code == 1 and capsys.readouterr().err == "error: first second\n"


def test_progress_is_silent_in_a_pipe(capsys):
    with progress("working") as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")
