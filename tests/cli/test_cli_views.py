"""Views, speeds and pages on the command line: what is drawn, and one clear line for what cannot be."""

import sys

import pytest
from PIL import Image

from ift_gridworld.cli.main import main

QUICK = ["--policy", "tabular", "--steps", "3", "--seeds", "1", "--snapshots", "3"]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder; returns its status, and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ift-gridworld"])

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def seconds(path):
    with Image.open(path) as gif:
        total = 0.0
        for index in range(gif.n_frames):
            gif.seek(index)
            total += gif.info["duration"] / 1000
    return total


def test_the_plane_is_one_picture_of_all_methods(command, tmp_path):
    """SFT learns from no pair, but is given one for the plane."""
    code, out, _ = command(
        "lake", "--method", "sft,dpo", *QUICK, "--render", "--view", "plane", "--format", "png", "--out", "x"
    )
    assert code == 0 and "wrote x/sft-dpo_plane.png" in out
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "dpo.json", "sft-dpo_plane.png", "sft-dpo_plane.png.txt", "sft.json",
    ]  # fmt: skip
    again, out, _ = command("redraw", "x/sft.json", "x/dpo.json", "--view", "plane", "--format", "png", "--out", "y")
    assert (
        again == 0
        and (tmp_path / "y" / "sft-dpo_plane.png").read_bytes() == (tmp_path / "x" / "sft-dpo_plane.png").read_bytes()
    )


def test_a_run_without_a_pair_is_told_in_a_line(command, tmp_path):
    """In a corridor, with discount 1, no way to the goal is worse than another."""
    (tmp_path / "corridor.txt").write_text("SFG\n", encoding="utf-8")
    corridor = ["--map", "corridor.txt", "--discount", "1", "--base", "uniform", "--method", "sft", *QUICK]
    assert command("lake", *corridor, "--out", "x")[0] == 0
    code, out, err = command("redraw", "x/sft.json", "--view", "plane", "--out", "y")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "the preference plane cannot show sft" in err and "allowed: runs that are given preferences" in err
    code, out, err = command("lake", *corridor, "--render", "--view", "plane", "--out", "z")
    assert (code, out) == (2, "") and err.count("\n") == 1


def test_speed_is_a_factor(command, tmp_path):
    lengths = {}
    for speed in ("1", "4"):
        assert command("lake", "--method", "sft", *QUICK, "--render", "--speed", speed, "--out", speed)[0] == 0
        lengths[speed] = seconds(tmp_path / speed / "sft.gif")
    assert lengths["4"] == pytest.approx(lengths["1"] / 4, abs=0.03)


def test_an_explanation_is_written_as_a_page(command, tmp_path):
    for arguments in (["explain", "--method", "dpo"], ["lake", "--explain", "dpo"]):
        code, out, _ = command(*arguments, "--policy", "tabular", "--format", "html", "--out", arguments[0])
        assert code == 0 and out.splitlines() == [f"wrote {arguments[0]}/explain_dpo.{kind}" for kind in ("json", "html")]
        assert (tmp_path / arguments[0] / "explain_dpo.html").read_text(encoding="utf-8").count("<math") >= 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["lake", "--render", "--view", "plan"], "did you mean plane? allowed: plane, frontier, flow, walks, seeds"),
        (["lake", "--render", "--view", "plane", "--format", "html"], "allowed with: gif, mp4, webp, png, pdf, svg"),
        (["lake", "--figure", "page", "--view", "plane"], "--view is 'plane'"),
        (["lake", "--render", "--speed", "0"], "allowed: a number in [0.1, 10]"),
        (["lake", "--render", "--speed", "nan"], "allowed: a number in [0.1, 10]"),
        (["lake", "--render", "--speed", "2", "--format", "png"], "allowed with: gif, mp4, webp"),
        (["lake", "--speed", "2"], "--speed is 2.0, which only works with films"),
        (["explain", "--speed", "100"], "allowed: a number in [0.1, 10]"),
        (["explain", "--speed", "2", "--format", "html"], "allowed with: gif, mp4, webp"),
        (["explain", "--format", "bmp"], "allowed: gif, mp4, webp, png, pdf, svg, html"),
        (["lake", "--explain", "ift", "--view", "plane"], "--view is 'plane'"),
    ],
)
def test_what_makes_no_sense_is_one_line(command, tmp_path, arguments, named):
    code, out, err = command(*arguments, "--out", "new")
    assert (code, out) == (2, "") and err.count("\n") == 1 and named in err
    assert not (tmp_path / "new").exists()
