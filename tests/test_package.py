"""What is built to be published works away from the sources: the sdist builds, and the wheel built from it runs."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ift_gridworld.version import __version__

pytest.importorskip("build")
ROOT = Path(__file__).parents[1]


def run(*command, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of sdist and wheel; `build` makes the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    sources = folder / "sources"
    shutil.copytree(ROOT / "ift_gridworld", sources / "ift_gridworld", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    run("-m", "build", "--outdir", folder / "out", sources, cwd=folder)
    return folder / "out"


@pytest.mark.slow
def test_both_hold_all_files_of_the_package(built):
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    assert sdist.name == f"ift_gridworld-{__version__}.tar.gz" and wheel.name.startswith(f"ift_gridworld-{__version__}-py3")
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ift_gridworld").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    assert package <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        assert package <= {name.partition("/")[2] for name in archive.getnames()}


@pytest.mark.slow
def test_the_wheel_runs_away_from_the_sources(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site, folder = tmp_path / "site", tmp_path / "elsewhere"
    folder.mkdir()
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel, cwd=folder)
    ours = {"cwd": folder, "PYTHONPATH": str(site)}
    where = run("-c", "import ift_gridworld; print(ift_gridworld.__file__)", **ours)
    assert where.strip() == str(site / "ift_gridworld" / "__init__.py")
    assert run("-m", "ift_gridworld", "version", **ours) == f"ift-gridworld {__version__}\n"
    asked = "lake --method sft --steps 2 --seeds 1 --render --format html"
    run("-m", "ift_gridworld", *asked.split(), **ours)
    runs = folder / "runs" / "lake"
    assert json.loads((runs / "sft.json").read_text(encoding="utf-8"))["method"] == "sft"
    assert "<script" in (runs / "sft.html").read_text(encoding="utf-8")
    run("-c", "from ift_gridworld.testing import check_loss; from ift_gridworld.losses import sft_loss", **ours)
