"""The layout of the package: imports point one way, without a cycle; files and functions stay short enough to read."""

import ast
import re
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ift_gridworld"

# From the bottom up. A module may import modules of its own row and of rows before it; each name stands for what begins so.
ROWS = [
    ["_lazy", "_stop", "version", "checks", "choices", "escape", "reading"],
    ["children", "cluster", "storage", "runtime", "plugins", "log_probs", "losses", "optimisation"],
    ["envs.grid", "envs.maps", "envs.tables", "envs.adapters", "envs.registry", "envs", "mdp", "vector", "sb3"],
    ["planning"],
    ["policies"],
    ["data"],
    ["methods"],
    ["evaluation"],
    ["training"],
    ["explain"],
    ["testing"],
    ["rendering"],
    ["language"],
    ["studies"],
    ["cli"],
    ["__main__"],
]
# What a lower room names, by a string, and calls when a picture is asked for: training loads no matplotlib, drawing no torch.
# And what Gymnasium's registry names, by a string, for `gymnasium.make`.
NAMED = {
    "mdp": ["rendering.notebook"], "explain": ["rendering.notebook"], "training.run": ["rendering."],
    "envs.lake_env": ["language.environment"],
}  # fmt: skip


def modules():
    """Each module's dotted name below the package, and its file; a package's `__init__` has the package's name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(known):
    """(importer, imported) for every import of one module by another, wherever it stands in the file."""
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ift_gridworld":
                home = ".".join(node.module.split(".")[1:])
                for alias in node.names:
                    inner = f"{home}.{alias.name}".strip(".")
                    yield name, inner if inner in known else home
            elif isinstance(node, ast.Import):
                yield from ((name, ".".join(a.name.split(".")[1:])) for a in node.names if a.name.startswith("ift_gridworld."))


def row_of(name):
    fitting = [
        (len(prefix), number) for number, row in enumerate(ROWS) for prefix in row if f"{name}.".startswith(f"{prefix}.")
    ]
    return max(fitting)[1] if fitting else None


KNOWN = dict(modules())
ARROWS = {(a, b) for a, b in imports(KNOWN) if a and b and a != b}  # the package's own face hands on names of all rows


def test_every_module_has_its_row():
    assert [name for name in KNOWN if name and row_of(name) is None] == []


def test_imports_point_down():
    assert {(a, b) for a, b in ARROWS if row_of(b) > row_of(a)} == set()


def test_imports_have_no_cycle():
    """A face hands on its own modules; its modules do not import it."""
    graph = {name: set() for name in KNOWN}
    for a, b in ARROWS:
        graph[a].add(b)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")


def test_what_is_named_and_not_imported_is_only_what_draws_or_is_registered():
    """A string that names a module of a room above is an import that the graph does not see."""
    found = {}
    for name, path in KNOWN.items():
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if text.startswith("ift_gridworld.") and row_of(text.split(":")[0].removeprefix("ift_gridworld.")) > row_of(name):
                found.setdefault(name, set()).add(text.split(":")[0].removeprefix("ift_gridworld."))
    assert {name: sorted(targets) for name, targets in found.items()} == NAMED


@pytest.mark.parametrize("folder", ["ift_gridworld", "experiments", "benchmarks", "examples"])
def test_files_and_functions_stay_short(folder):
    """At most 450 lines a file and 60 a function, its documentation included."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        assert text.count("\n") <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 60, f"{path}: {node.name} has {lines} lines"


@pytest.mark.parametrize("folder", ["ift_gridworld", "experiments", "benchmarks", "examples"])
def test_text_files_have_an_encoding(folder):
    """Without one Windows reads and writes another one than UTF-8."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        for call in calls:
            binary = any("b" in str(getattr(argument, "value", "")) for argument in call.args[1:])
            is_open = getattr(call.func, "id", "") == "open" and not binary
            if is_open or getattr(call.func, "attr", "") in ("read_text", "write_text"):
                assert "encoding" in [word.arg for word in call.keywords], f"{path}:{call.lineno}"


def test_scripts_import_the_package_alone():
    """What another file imports lives in the package: no script imports a script."""
    scripts = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    for path in (ROOT / "experiments").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", [])]
            assert not {str(name).split(".")[0] for name in names} & scripts, path


def test_few_types_are_ignored():
    ignored = [
        path
        for path in (*PACKAGE.rglob("*.py"), *(ROOT / "experiments").glob("*.py"))
        for _ in range(path.read_text().count("type: ignore"))
    ]
    assert len(ignored) <= 10, ignored


def test_types_are_the_same_without_extras():
    """What only an extra brings is skipped by the type checker; else it would complain wherever the extra is missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = {re.match(r"[\w-]+", entry)[0].lower() for entry in project["project"]["dependencies"]}
    required |= {"PIL", "__future__", "ift_gridworld", "benchmarks", *sys.stdlib_module_names}
    overrides = [entry for entry in project["tool"]["mypy"]["overrides"] if entry.get("follow_imports") == "skip"]
    skipped = {name.removesuffix(".*") for entry in overrides for name in entry["module"]}
    for folder in project["tool"]["mypy"]["files"]:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for name in names:
                    top = name.partition(".")[0]
                    assert top in required | skipped | {"imageio_ffmpeg"}, f"{path}: {name} is neither required nor skipped"
