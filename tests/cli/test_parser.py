import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_saved_runs import record

from ift_gridworld.cli.parser import fail, parse
from ift_gridworld.rendering.tables import results
from ift_gridworld.runtime import progress

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("option", ["steps", "seeds", "beta", "rate"])
def test_what_is_no_number_is_told_as_such(option, capsys):
    @dataclass(frozen=True)
    class Numbers:
        """Of either kind, given or not."""

        steps: int | None = None
        seeds: int = 1
        beta: float | None = None
        rate: float = 0.1

    with pytest.raises(SystemExit):
        parse(Numbers, None, [f"--{option}", "1.5x"])
    kind = "whole number" if option in ("steps", "seeds") else "number"
    assert capsys.readouterr().err == f"error: --{option}: '1.5x' is no {kind}; --help lists what is allowed\n"


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


def test_results_fit_a_narrow_terminal():
    """Every number of the table stands whole on a line of 80 columns and of 120."""
    for width in (80, 120):
        screen = Console(width=width, file=io.StringIO())
        made = record(metrics={name: np.array([[0.0, 1.0], [0.25, 0.5]]) for name in ("success", "regret", "distance")})
        screen.print(results([made], screen.width))
        said = screen.file.getvalue()
        assert said.count("0.375") == 3 and said.count("[0.250, 0.500]") == 3 and said.count("0.500") == 6
        assert all(len(line) <= width for line in said.splitlines())


def loaded(program, *arguments):
    """What a fresh Python says that it has loaded, as the last line of what it prints."""
    told = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True).stdout
    return json.loads(told.splitlines()[-1])


def test_importing_the_package_loads_gymnasium_and_no_more():
    """Gymnasium's lake, the environments' own modules, and little of the standard library: the rest loads on first use."""
    before = loaded("import json, sys, gymnasium.envs.toy_text.frozen_lake; print(json.dumps(list(sys.modules)))")
    after = loaded("import json, sys, ift_gridworld; print(json.dumps(list(sys.modules)))")
    more = set(after) - set(before)
    assert {name for name in more if name.startswith("ift_gridworld")} == {
        "ift_gridworld",
        "ift_gridworld._lazy",
        "ift_gridworld.checks",
        "ift_gridworld.envs",
        "ift_gridworld.envs.maps",
        "ift_gridworld.envs.lake_env",
        "ift_gridworld.version",
    }
    assert {name.split(".")[0] for name in more} <= {"ift_gridworld", *sys.stdlib_module_names}


def test_help_is_answered_before_anything_large_is_loaded():
    """By every script, one after another in one process; what a script needs to compute or draw is not needed for its help."""
    scripts = sorted(path for path in (ROOT / "experiments").glob("*.py") if "__main__" in path.read_text())
    program = (
        "import json, runpy, sys\n"
        "found = {}\n"
        "for script in sys.argv[1:]:\n"
        "    sys.argv = [script, '--help']\n"
        "    sys.path.insert(0, script.rsplit('/', 1)[0])\n"
        "    try:\n"
        "        runpy.run_path(script, run_name='__main__')\n"
        "    except SystemExit as end:\n"
        "        found[script] = [end.code, list({name.split('.')[0] for name in sys.modules})]\n"
        "print(json.dumps(found))\n"
    )
    found = loaded(program, *map(str, scripts))
    assert len(found) == len(scripts) >= 7
    for script, (status, modules) in found.items():
        assert status == 0 and not {"torch", "matplotlib", "scipy", "PIL", "imageio", "transformers"} & set(modules), script
