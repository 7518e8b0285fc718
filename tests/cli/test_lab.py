"""The command `lab`: one page is written, with the lake that is asked for; what the page does not take is one line."""

import json
import re
from urllib.parse import parse_qs

import pytest

from ift_gridworld.cli.main import main


def run(*arguments):
    """The exit status of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["lab", *arguments])
    return ended.value.code


def start_of(path):
    """The state that a written page opens with."""
    fragment = re.search(r'id="start">(.*?)</script>', path.read_text(encoding="utf-8"))[1]
    return {name: values[0] for name, values in parse_qs(json.loads(fragment)).items()}


def test_it_writes_the_lake_that_is_asked_for(tmp_path, capsys):
    path = tmp_path / "new" / "lab.html"
    arguments = ["--map", "4x4", "--slippery", "--success-rate", "0.5", "--method", "sft, ift", "--no-open"]
    assert run(*arguments, "--out", str(path)) == 0
    assert start_of(path) == {"rows": "SFFF.FHFH.FFFH.HFFG", "slip": "0.5", "methods": "sft,ift"}
    assert capsys.readouterr().out == f"wrote {path}\n"


def test_it_takes_map_files_and_random_lakes(tmp_path):
    (tmp_path / "own.txt").write_text("S F F\nF H G\n", encoding="utf-8")
    path = tmp_path / "lab.html"
    run("--map", str(tmp_path / "own.txt"), "--no-open", "--out", str(path))
    assert start_of(path)["rows"] == "SFF.FHG"
    run("--map", "3x5", "--map-seed", "4", "--no-open", "--out", str(path))
    rows = start_of(path)["rows"].split(".")
    assert [len(row) for row in rows] == [5, 5, 5]


def test_it_opens_the_page(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert run("--out", str(tmp_path / "lab.html")) == 0
    assert opened == [(tmp_path / "lab.html").resolve().as_uri()]


def test_without_a_browser_it_says_what_to_open(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert run("--out", str(tmp_path / "lab.html")) == 0
    assert "no browser could be started" in caplog.text + capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--map", "20x20"], "error: the map has 20 by 20 tiles; allowed in the lab: up to 12 each way"),
        (["--map", "Taxi-v4"], "error: --map is 'Taxi-v4'; allowed in the lab: two-paths"),
        (["--method", "sft,what"], "error: method is 'what'; allowed: sft"),
        (["--success-rate", "0.5"], "error: --success-rate is 0.5, which only works with --slippery"),
        (["--slippery", "--success-rate", "0.2"], "error: --success-rate is 0.2; allowed"),
        (["--map", "4x4", "--size", "3"], "error: a size is given with map '4x4'"),
    ],
)
def test_what_it_does_not_take_is_one_line(tmp_path, capsys, arguments, message):
    assert run(*arguments, "--no-open", "--out", str(tmp_path / "lab.html")) == 2
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1
    assert not (tmp_path / "lab.html").exists()
