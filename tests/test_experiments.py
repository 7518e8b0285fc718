"""The smaller scripts: the gallery is what its page says, and comparisons compare what they say."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.comparison import compare
from ift_gridworld.cli.gallery import Args, main
from ift_gridworld.studies import gallery

ROOT = Path(__file__).parents[1]


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
    scripts = (
        "frozen_lake",
        "language",
        "benchmark",
        "reproduction",
        "reproduction_quick",
        "reproduction_maps",
    )  # have folders of their own
    there = {
        p for p in (ROOT / "figures").rglob("*") if p.is_file() and not set(scripts) & set(p.parts) and p.suffix != ".json"
    }
    named = {ROOT / "figures" / f"{target}{words}" for target in kept for words in ("", ".txt")}
    assert there <= named | {ROOT / "figures" / "README.md"}
    assert sum(p.stat().st_size for p in there) < 6_000_000


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
