"""Examples in docstrings: all run, and every public function of the lower rooms has one."""

import doctest
import inspect
from pathlib import Path

import pytest
from support import load

import ift_gridworld

ROOT = Path(ift_gridworld.__file__).parent


def module_of(file):
    return ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(file): file.read_text(encoding="utf-8") for file in sorted(ROOT.rglob("*.py"))}
# Rooms whose public functions must all have an example.
WITH_EXAMPLES = ("log_probs", "losses", "planning", "data", "testing", "evaluation", "envs.maps", "policies.residual")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", [name for name, text in FILES.items() if ">>> " in text])
def test_examples_give_what_they_show(name):
    result = doctest.testmod(load(name), optionflags=FLAGS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples in {name}; see the captured output"


@pytest.mark.parametrize("name", [name for name in FILES if name.removeprefix("ift_gridworld.").startswith(WITH_EXAMPLES)])
def test_every_public_function_has_an_example(name):
    module = load(name)
    assert module.__doc__
    public = [] if name.rpartition(".")[2].startswith("_") else module.__all__
    functions = {n: getattr(module, n) for n in public if inspect.isfunction(getattr(module, n))}
    without = [n for n, function in functions.items() if ">>>" not in (inspect.getdoc(function) or "")]
    assert not without, f"no example: {', '.join(without)}"


FACES = ("", ".envs", ".planning", ".losses", ".policies", ".data", ".methods", ".evaluation", ".training", ".testing")
FACES += (".rendering", ".language", ".vector")
# What writes files or needs a trained model shows how it is called in a block that is not run.
SHOWN = {
    "align", "draw_files", "draw_plane", "film_of", "latex_table", "load_model", "measure", "save_figure", "save_film",
    "save_page", "still_of",
}  # fmt: skip


@pytest.mark.parametrize("face", FACES)
def test_every_function_of_a_rooms_face_is_documented(face):
    """Its arguments, if it has several, and an example."""
    module = load(f"ift_gridworld{face}")
    for name in module.__all__:
        function = getattr(module, name)
        if not inspect.isfunction(function):
            continue
        text = inspect.getdoc(function) or ""
        assert ">>>" in text or (name in SHOWN and "::\n" in text), name
        assert len(inspect.signature(function).parameters) < 2 or "Args:" in text, name


def test_a_wrong_example_is_found():
    """The runner itself: an example that shows the wrong value fails."""
    module = type(ift_gridworld)("wrong", ">>> 1 + 1\n3\n")
    assert doctest.testmod(module, optionflags=FLAGS, report=False) == doctest.TestResults(failed=1, attempted=1)
