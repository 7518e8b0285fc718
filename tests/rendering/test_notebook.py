"""In a notebook runs, comparisons, MDPs and explanations show a picture or a table, and training shows a bar."""

import base64

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

CELLS = (
    "from ift_gridworld import TabularMDP, compare, train\n"
    "from ift_gridworld.training import make_base\n"
    "mdp = TabularMDP.make('two-paths')\n"
    "mdp",
    "bases = [make_base('mixture', mdp, policy='tabular') for _ in range(2)]\n"
    "runs = [train(name, mdp, base, steps=20, progress=True) for name, base in zip(('sft', 'dpo'), bases)]\n"
    "runs[0]",
    "compare(runs)",
    "runs[1].table()",
    "from ift_gridworld.data import demonstrations, preference_pairs\n"
    "from ift_gridworld.explain import explain\n"
    "base = make_base('mixture', mdp, policy='tabular')\n"
    "explain('ift', mdp, base, demonstrations(mdp, 1), preference_pairs(mdp, 1))",
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The data of each cell's outputs, by MIME type."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    folder = str(tmp_path_factory.mktemp("notebook"))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}}).execute()
    return [[dict(output.get("data", {})) | {"is": output.output_type} for output in cell.outputs] for cell in notebook.cells]


def result(cell):
    (found,) = [data for data in cell if data["is"] == "execute_result"]
    return found


def test_an_mdp_is_its_map(outputs):
    assert base64.b64decode(result(outputs[0])["image/png"]).startswith(b"\x89PNG")
    assert result(outputs[0])["text/plain"].startswith("TabularMDP(two-paths: 16 states")


@pytest.mark.parametrize(("cell", "methods"), [(1, ["sft"]), (2, ["sft", "dpo"])])
def test_runs_are_a_picture_over_a_table(outputs, cell, methods):
    page = result(outputs[cell])["text/html"]
    assert "<img" in page and "data:image/png;base64," in page and "success within 100 steps" in page
    assert all(name in page for name in methods)


def test_a_table_is_shown_as_one(outputs):
    assert "success within" in str(result(outputs[3]))


def test_an_explanation_is_told_step_by_step(outputs):
    page = result(outputs[4])["text/html"]
    assert page.count("<p><b>") >= 4 and "<table>" in page


def test_training_shows_a_bar_that_goes_when_it_is_done(outputs):
    bars = [data for data in outputs[1] if data["is"] == "display_data"]
    assert len(bars) == 2 and all(data["text/html"] == "" for data in bars)
