"""The smaller scripts: they start, they write where they are told to, and the gallery is what its page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import benchmarks.command
import ift_gridworld.cli.failures
import ift_gridworld.cli.frontier
import ift_gridworld.cli.reproduction
import ift_gridworld.cli.suite
from benchmarks.comparison import compare
from ift_gridworld.cli.folders import output_folder
from ift_gridworld.cli.gallery import Args, main
from ift_gridworld.studies import gallery

ROOT = Path(__file__).parents[2]


def test_every_picture_of_the_gallery_is_there_and_on_its_page():
    """With its words beside it, a few megabytes in all; and nothing else lies there."""
    page = (ROOT / "figures" / "README.md").read_text()
    assert page == gallery.readme()
    kept = {target for entry in gallery.ENTRIES for _, target, _ in entry.pictures}
    for target in kept:
        assert f"]({target})" in page
        if target.endswith(".gif"):
            with Image.open(ROOT / "figures" / target) as film:
                assert film.n_frames > 10
            assert (ROOT / "figures" / f"{target}.txt").read_text().strip()
    scripts = ("frozen_lake", "language", "benchmark", "reproduction", "frontier")  # have folders of their own
    there = {
        p for p in (ROOT / "figures").rglob("*") if p.is_file() and not set(scripts) & set(p.parts) and p.suffix != ".json"
    }
    named = {ROOT / "figures" / f"{target}{words}" for target in kept for words in ("", ".txt")}
    assert there <= named | {ROOT / "figures" / "README.md"}
    assert sum(p.stat().st_size for p in there) < 6_200_000


@pytest.mark.slow
def test_the_gallery_draws_what_is_asked_for(tmp_path, capsys):
    assert main(Args(out=tmp_path, only="--explain sft")) == 0
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"sft.gif", "sft.gif.txt", "README.md"}
    with pytest.raises(SystemExit):
        main(Args(out=tmp_path, only="--method nobody"))
    assert "'--method nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(("unit", "ratio"), [("frames/s", 2.0), ("s", 0.5)])
def test_ratios_are_medians_of_pairs_and_above_one_where_we_are_better(unit, ratio):
    """Ours is twice the peer's figure in four pairs of five, and an outlier in one."""
    theirs = iter([1.0, 3.0, 2.0, 50.0, 4.0])
    ours = iter([2.0, 6.0, 4.0, 1.0, 8.0])
    row = compare("x", "y", lambda: next(ours), lambda: next(theirs), unit, 5)
    assert row.ratio == ratio and (row.ours, row.theirs) == (4.0, 3.0)


LAUNCHERS = ("benchmark", "failures", "frontier", "gallery", "loss_walk", "reproduction", "suite")


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_starts_from_any_folder_and_defines_nothing(name, tmp_path):
    """Its help has the usage that the file opens with; all else is the package's."""
    script = ROOT / "experiments" / f"{name}.py"
    shown = subprocess.run(
        [sys.executable, str(script), "--help"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert f"python experiments/{name}.py" in shown
    assert not re.search(r"^\s*(def|class) ", script.read_text(), re.M)
    assert not list(tmp_path.iterdir())


def test_a_command_writes_to_runs_unless_it_is_told_to_publish():
    assert output_folder("suite", None, publish=False) == Path("runs/suite")
    assert output_folder("suite", None, publish=True) == Path("figures/suite")
    assert output_folder("suite", Path("here"), publish=False) == Path("here")
    assert output_folder("gallery", None, publish=True, published=Path("figures")) == Path("figures")


@pytest.mark.parametrize(
    "command",
    [
        ift_gridworld.cli.failures,
        ift_gridworld.cli.frontier,
        ift_gridworld.cli.gallery,
        ift_gridworld.cli.reproduction,
        ift_gridworld.cli.suite,
        benchmarks.command,
    ],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_publish_and_out_together_are_refused_in_one_line(command, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        command.main(command.Args(out=out, publish=True))
    complaint = capsys.readouterr().err
    assert end.value.code == 2 and complaint.count("\n") == 1 and "--publish writes to figures" in complaint
    assert not out.exists()
