"""The notebooks run, and their saved outputs are those of a run from top to bottom."""

import importlib.util
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def script():
    """docs/notebooks.py."""
    spec = importlib.util.spec_from_file_location("docs_notebooks", ROOT / "docs" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.id != "install"]


def shapes(notebook):
    """What each output is: its stream or its kinds of data."""
    return [[each.get("name") or sorted(each.get("data", ())) for each in cell.outputs] for cell in code_of(notebook)]


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["displacement", "language_model", "quickstart"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_saved_outputs_are_whole_and_of_one_run(path):
    """Cells were run in order, none failed, and neither a warning nor a folder of the machine was kept."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = code_of(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs and not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000 and not re.search(r"/(?:home|root|work|Users)/", text)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_run_again_they_give_the_same_kinds_of_outputs(path, script):
    assert shapes(script.executed(path)) == shapes(nbformat.read(path, as_version=4))


def test_a_badge_stands_at_the_top_once(script):
    path = NOTEBOOKS[0]
    notebook = nbformat.read(path, as_version=4)
    once = script.with_badge(notebook, path, "some/place")
    cells = [cell.source for cell in once.cells]
    twice = script.with_badge(once, path, "other/place")
    assert "github/some/place/blob/main/notebooks/displacement.ipynb" in cells[0]
    assert len(twice.cells) == len(cells) and "other/place" in twice.cells[0].source
