"""Run the notebooks and save their outputs in place.

    python docs/notebooks.py                                # all of notebooks/
    python docs/notebooks.py notebooks/quickstart.ipynb     # one
    python docs/notebooks.py --repository owner/name        # and put a badge that opens it in Colab at its top

Needs nbclient, nbformat and ipykernel, which the `test` extra has. A notebook that fails is left as it is.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from ift_gridworld.storage import write_atomically

ROOT = Path(__file__).resolve().parents[1]


def executed(path: Path) -> NotebookNode:
    """Return the notebook with its outputs, run in an empty folder by this Python; a cell that raises is an error."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = _own_cells(notebook)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", coalesce_streams=True, resources=where).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        outputs = [each for each in cell.get("outputs", ()) if each.get("name") != "stderr"]  # warnings of other packages
        for output in outputs:
            if "text/html" in output.get("data", {}):
                output.data.pop("image/png", None)  # the page holds the same picture
        if cell.cell_type == "code":
            cell.outputs = outputs
    notebook.metadata.pop("language_info", None)  # the version of Python that ran it
    return notebook


def with_badge(notebook: NotebookNode, path: Path, repository: str) -> NotebookNode:
    """Return the notebook with a first cell that opens it in Colab, and a second that installs the package there.

    Args:
        notebook: as it is.
        path: of its file.
        repository: owner and name on GitHub.
    """
    address = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{path.name}"
    badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"
    install = f'%pip install --quiet "ift-gridworld[language] @ git+https://github.com/{repository}"'
    cells = [nbformat.v4.new_markdown_cell(badge, id="badge"), nbformat.v4.new_code_cell(install, id="install")]
    notebook.cells = [*cells, *_own_cells(notebook)]
    return notebook


def _own_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells without those that `with_badge` adds."""
    return [cell for cell in notebook.cells if cell.id not in ("badge", "install")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=sorted((ROOT / "notebooks").glob("*.ipynb")))
    parser.add_argument("--repository", help="owner and name on GitHub, for the badge that opens a notebook in Colab")
    asked = parser.parse_args()
    if asked.repository is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", asked.repository):
        parser.error(f"--repository is {asked.repository!r}; allowed: owner/name")
    for path in asked.paths:
        notebook = executed(path)
        if asked.repository is not None:
            notebook = with_badge(notebook, path, asked.repository)
        write_atomically(path, nbformat.writes(notebook).encode())
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
