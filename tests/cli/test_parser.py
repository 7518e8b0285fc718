import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from test_saved_runs import MAPLESS, record

import ift_gridworld
from ift_gridworld import plugins
from ift_gridworld.cli.main import COMMANDS, command_of, main
from ift_gridworld.cli.parser import fail, parse
from ift_gridworld.envs.registry import unregister_environment
from ift_gridworld.evaluation.metrics import unregister_metric
from ift_gridworld.mdp import Origin
from ift_gridworld.methods.registry import unregister_method
from ift_gridworld.rendering.tables import results
from ift_gridworld.runtime import progress
from ift_gridworld.training.run import Run

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
        made = record(metrics={name: np.array([[0.0, 1.0], [0.37, 0.38]]) for name in ("success", "regret", "distance")})
        screen.print(results([made], screen.width))
        said = screen.file.getvalue()
        assert said.count("0.375") == said.count("[0.311, 0.439]") == said.count("0.500") == 3  # 0.375 ± 12.706 · 0.005
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
        "ift_gridworld._stop",
        "ift_gridworld.checks",
        "ift_gridworld.envs",
        "ift_gridworld.envs.lookup",
        "ift_gridworld.envs.maps",
        "ift_gridworld.envs.lake_env",
        "ift_gridworld.escape",
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


# ---- the command as a whole ----


def command(*arguments, cwd=None):
    """Run it in a process of its own, with the package of this checkout."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parts = [sys.executable, "-m", "ift_gridworld", *map(str, arguments)]
    return subprocess.run(parts, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments, capsys):
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"ift-gridworld {ift_gridworld.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_they_are_listed(arguments, capsys):
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for name, (home, settings, about) in COMMANDS.items():
        assert f"  {name} " in said and about in said
        assert (ROOT / "ift_gridworld" / "cli" / f"{home}.py").is_file() and settings.endswith("Args")
    assert "version" in said and "usage: ift-gridworld COMMAND" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lakee"], "unknown command 'lakee'; did you mean lake? allowed: lake, explain, redraw,"),
        (["redarw"], "unknown command 'redarw'; did you mean redraw?"),
        (["--method"], "unknown command '--method'; "),
        (["lake", "--methd", "dpo"], "unknown option --methd; did you mean --method? --help lists what is allowed"),
        (["explain", "--mixng", "0.5"], "unknown option --mixng; did you mean --mixing?"),
        (["explain", "--method", "dpo", "--mixing", "0.5"], "--mixing is 0.5, which dpo does not use; it is an option of ift"),
        (["explain", "--method", "simpo"], "--method is 'simpo'; allowed: sft, ift, dpo, orpo, ppo"),
        (["explain", "--hidden", "16", "--policy", "tabular"], "--hidden is 16, which only works with --policy mlp"),
        (["explain", "--map-seed", "3"], "--map-seed is 3, which only works with a random map"),
        (["explain", "--seeds", "3"], "unknown option --seeds"),
        (["redraw"], "no saved run is named; allowed: one file or more"),
        (["redraw", "nothing.json"], "nothing.json is not a saved run"),
        (["redraw", "a.json", "a.json"], "which names a run twice; allowed: each once"),
        (["redraw", "a.json", "--format", "bmp"], "--format is 'bmp'; allowed: gif"),
        (["redraw", "a.json", "--figure", "column", "--format", "gif"], "--format is 'gif'; allowed: png, pdf, svg"),
        (["redraw", "a.json", "--out", ""], "--out is ''; allowed: a path"),
        (["redraw", "a.json", "--steps", "3"], "unknown option --steps"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_a_wrong_command_line_is_one_line_and_writes_nothing(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ift-gridworld"])
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr()
    assert end.value.code == 2 and not said.out
    assert said.err.count("\n") == 1 and said.err.startswith("error: ") and words in said.err, said.err
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_drawn_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tables = {name: np.full((count, 3, 2), 0.5) for name, count in (("snapshots", 3), ("base", 2), ("final", 2))}
    lake = Origin("own", None, MAPLESS, False, None, 0.99, 10)
    saved = record(lake, demonstration=np.array([[0, 1]]), **tables).save("run.json")
    monkeypatch.setattr("sys.argv", ["ift-gridworld"])
    with pytest.raises(SystemExit):
        main(["redraw", str(saved), "--out", "pictures"])
    assert "has no map to draw" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_the_module_trains_draws_and_redraws_in_an_empty_folder(tmp_path):
    """As a stranger does who has only the package: everything goes below the current folder."""
    done = command("lake", "--method", "sft", "--steps", 3, "--seeds", 1, "--render", "--format", "png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-3:] == [f"wrote runs/lake/{name}" for name in ("sft.json", "sft.png.txt", "sft.png")]
    again = command("redraw", "runs/lake/sft.json", "--format", "png", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0
    assert (tmp_path / "again" / "sft.png").read_bytes() == (tmp_path / "runs" / "lake" / "sft.png").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "again"}
    wrong = command("lake", "--methd", "ift", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "") and "did you mean --method?" in wrong.stderr
    assert command("version", cwd=tmp_path).stdout == f"ift-gridworld {ift_gridworld.__version__}\n"


def test_explain_films_one_update(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ift-gridworld"])
    with pytest.raises(SystemExit) as end:
        main(["explain", "--method", "ift", "--mixing", "0.5", "--policy", "tabular", "--format", "png", "--out", "told"])
    assert end.value.code == 0
    assert capsys.readouterr().out.splitlines() == [f"wrote told/explain_ift.{kind}" for kind in ("json", "png.txt", "png")]
    saved = json.loads((tmp_path / "told" / "explain_ift.json").read_text())
    assert saved["settings"]["mixing"] == 0.5 and saved["method"] == "ift"


# ---- plugins ----

PLUGIN = """
from dataclasses import dataclass
import gymnasium, numpy as np
from ift_gridworld import register_environment, register_method, register_metric
from ift_gridworld.methods import SFT, MethodOptions

@dataclass(frozen=True)
class Options(MethodOptions):
    strength: float = 1.0
    "Factor of the loss that only this method has."

@register_method("mine")
class Mine(SFT):
    title = "Mine · a method of a plugin"
    options_type = Options
    def loss(self, batch):
        return self.options.strength * super().loss(batch)

class Line(gymnasium.Env):
    P = {s: {a: [(1.0, max(s + m, 0), float(s + m == 2), s + m == 2)] for a, m in enumerate((-1, 1))} for s in (0, 1)}
    P[2] = {a: [(1.0, 2, 0.0, True)] for a in (0, 1)}
    initial_state_distrib = np.eye(3)[0]

register_environment("line", lambda **options: Line(), layout=["SFG"], actions=("left", "right"), max_episode_steps=5)
register_metric("rightward", lambda mdp, policy: policy[..., 1].mean(-1), "mean probability of going right")
"""


@pytest.mark.slow
def test_what_a_plugin_registers_goes_all_the_way(tmp_path):
    """Its option is listed and used; its environment is trained on, drawn in the drawing process and drawn again; its metric is
    saved and printed. By the name of a module in the current folder, or by the path of a file."""
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    shared = ("--steps", 3, "--seeds", 1, "--policy", "tabular")
    listed = command("lake", "--plugin", "my_plugin", "--help", cwd=tmp_path).stdout
    assert "--strength" in listed and "that only this method has" in " ".join(listed.split())
    assert "--strength" not in command("lake", "--help", cwd=tmp_path).stdout
    for number, plugin in enumerate(("my_plugin", "my_plugin.py")):
        out = ("--out", f"out{number}", "--plugin", plugin)
        arguments = ("--map", "line", "--method", "sft,mine", "--strength", 3, *shared, "--render", "--format", "png", *out)
        done = command("lake", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "rightward" in done.stdout and "│ mine " in done.stdout
        sft, mine = (json.loads((tmp_path / f"out{number}" / f"{name}.json").read_text()) for name in ("sft", "mine"))
        np.testing.assert_allclose(mine["loss"][0], 3 * np.array(sft["loss"][0]), rtol=1e-6)
        assert mine["settings"]["strength"] == 3.0 and "strength" not in sft["settings"]
        assert mine["lake"]["env"] == "line" and len(mine["metrics"]["rightward"]) == 4
        assert {p.name for p in (tmp_path / f"out{number}").glob("*.png")} == {"sft.png", "mine.png", "sft-mine.png"}
    again = command("redraw", "out0/mine.json", "--plugin", "my_plugin", "--format", "png", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0
    assert (tmp_path / "again" / "mine.png").read_bytes() == (tmp_path / "out0" / "mine.png").read_bytes()
    unknown = command("redraw", "out0/mine.json", "--format", "png", "--out", "nowhere", cwd=tmp_path)
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1
    assert "unknown map 'line'" in unknown.stderr and "--plugin" in unknown.stderr and not (tmp_path / "nowhere").exists()


FAILING = """
from ift_gridworld import register_method
from ift_gridworld.methods import SFT

@register_method("failing")
class Failing(SFT):
    title = "Failing · after an update"
    def loss(self, batch):
        raise {error}
"""


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ("ZeroDivisionError('of my own')", 1, ["ZeroDivisionError: of my own\n", "written before that: out/sft.json\n"]),
        ("ValueError('of my own')", 2, ["error: of my own; written before that: out/sft.json\n"]),
        (
            "MemoryError",
            2,
            [
                "error: out of memory; allowed: a smaller --hidden, --policy tabular, a smaller lake (--map, --size); "
                "written before that: out/sft.json\n"
            ],
        ),
        ("KeyboardInterrupt", 130, ["interrupted; written before that: out/sft.json\n"]),
    ],
)
def test_what_was_saved_before_a_method_failed_is_told_last(error, status, told, tmp_path):
    """Its author needs the traceback of a mistake; what only says what is wrong is one line."""
    (tmp_path / "failing.py").write_text(FAILING.format(error=error))
    ended = command(
        "lake", "--plugin", "failing", "--method", "sft,failing", "--steps", 3, "--seeds", 1, "--out", "out", cwd=tmp_path
    )
    lines = ended.stderr.splitlines(keepends=True)
    assert lines[-len(told) :] == told and ended.returncode == status
    assert (lines[0] == "Traceback (most recent call last):\n") == (status == 1) and (len(lines) == 1) == (status != 1)
    assert Run.load(tmp_path / "out" / "sft.json").method == "sft" and not (tmp_path / "out" / "failing.json").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "plugin 'broken' cannot be imported: ModuleNotFoundError: No module named 'broken'"),
        ("def", "plugin 'broken' cannot be imported: SyntaxError"),
        ("1 / 0", "plugin 'broken' cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "plugin 'broken' cannot be imported: it exits with 3"),
        (
            "from ift_gridworld import register_method\nfrom ift_gridworld.methods import SFT\nregister_method('dpo', SFT)",
            "plugin 'broken' cannot be imported: ValueError: a method named 'dpo' is registered already; allowed: another name",
        ),
        (
            "from ift_gridworld import register_metric\nfor _ in range(2): register_metric('twice_broken', print)",
            "a metric named 'twice_broken' is registered already",
        ),
        (
            "from ift_gridworld import register_environment\nregister_environment('two-paths', ['SG'])",
            "an environment named 'two-paths' is registered already",
        ),
    ],
)
@pytest.mark.parametrize("name", ["lake", "redraw"])
def test_a_plugin_that_cannot_be_used_is_one_line(name, content, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "broken.py").write_text(content)
    try:
        with pytest.raises(SystemExit) as end:
            command_of(name, ["--plugin", "broken"])
    finally:
        sys.modules.pop("broken", None)
        unregister_metric("twice_broken")
    said = capsys.readouterr()
    assert end.value.code == 2 and not said.out and said.err.count("\n") == 1
    assert said.err.startswith("error: ") and words in said.err


def test_a_methods_option_cannot_have_the_name_of_one_of_the_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clashing.py").write_text(
        "from dataclasses import dataclass\n"
        "from ift_gridworld.methods import SFT, MethodOptions, register_method\n"
        "@dataclass(frozen=True)\n"
        "class Options(MethodOptions):\n    map: int = 1\n"
        "@register_method('clashing')\n"
        "class Clashing(SFT):\n    options_type = Options\n"
    )
    try:
        with pytest.raises(SystemExit):
            command_of("lake", ["--plugin", "clashing"])
    finally:
        sys.modules.pop("clashing", None)
        plugins._loaded.pop("clashing", None)
        unregister_method("clashing")
    assert capsys.readouterr().err == (
        "error: method 'clashing' has an option 'map', but --map is the command's own; allowed: another name\n"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_no_default_where_there_is_none(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    printed = capsys.readouterr().out
    assert f"ift-gridworld {name}" in printed and "--help" in printed
    assert "None" not in printed and "(default: '')" not in printed


def test_a_reader_that_stops_early_gets_no_traceback():
    """As with `| head`: the pipe is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    code = "from ift_gridworld.cli.main import main; main(['lake', '--help'])"
    end = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (end.returncode, end.stderr) == (141, "")


@pytest.mark.parametrize(
    "how", [["--plugin", "missing.py"], ["--plugin=missing.py"], ["--steps", "3", "--plugin", "missing.py", "b.py"]]
)
def test_a_plugin_file_that_is_not_there_is_one_line(how, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command_of("lake", how)
    assert capsys.readouterr().err == (
        "error: plugin 'missing.py' cannot be imported: FileNotFoundError: there is no file missing.py\n"
    )


def test_plugins_of_installed_packages_are_loaded(monkeypatch, tmp_path):
    """By their entry points, once, for every command that needs them."""
    (tmp_path / "installed_plugin.py").write_text(
        "from ift_gridworld import register_environment\nregister_environment('installed', ['SG'])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    point = SimpleNamespace(value="installed_plugin")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == plugins.GROUP else [])
    try:
        for name in ("redraw", "lake"):
            command_of(name, [])
            assert ift_gridworld.TabularMDP.make("installed").num_states == 2
        assert "installed_plugin" in plugins.loaded_plugins()
    finally:
        unregister_environment("installed")
        plugins._loaded.pop("installed_plugin", None)
        sys.modules.pop("installed_plugin", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--setting 4x4,firm,good-0.5,tabular,adam,1 --theme dark", "--theme is 'dark', which --setting does not use"),
        ("--setting 4x4,firm,good-0.5,tabular,adam,1 --workers 3", "--workers is 3, which --setting does not use"),
        ("--claim ift<sft:distance --out x", "--out is 'x', which --claim does not use"),
        ("--redraw --seeds 4", "--seeds is 4, which --redraw does not use"),
    ],
)
def test_a_study_refuses_options_that_its_mode_does_not_use(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["reproduction", *arguments.split()])
    assert end.value.code == 2 and capsys.readouterr().err == f"error: {words}\n"
    assert not list(tmp_path.iterdir())


def test_two_flags_are_not_alike_for_their_dashes(capsys):
    with pytest.raises(SystemExit):
        main(["explain", "--steps", "4"])
    assert capsys.readouterr().err == "error: unknown option --steps; --help lists what is allowed\n"


def test_version_takes_nothing(capsys):
    with pytest.raises(SystemExit) as end:
        main(["version", "--foo"])
    assert end.value.code == 2 and capsys.readouterr().err == "error: unexpected '--foo'; allowed after version: nothing\n"
