"""Saved studies, language runs and benchmarks that are damaged: read, or refused in one line within limits."""

import gzip
import json

import numpy as np
import pytest
from damage import CONTENTS, RED, changed, check_reading, damaged_bytes, damaged_values
from test_language_report import run_of

from benchmarks import command, report
from ift_gridworld.cli import language, reproduction
from ift_gridworld.studies.language_report import OTHERS, findings, load_runs
from ift_gridworld.studies.reproduction.study import load_study
from ift_gridworld.studies.tables import load_table, write_table

# ---- tables ----

SETTING = {"map": "4x4", "ice": "firm", "base": "random", "policy": "tabular", "optimiser": "adam", "demonstrations": "1"}
ROWS = [("base", "", "base", 0.5), ("sft", "0.03", "last", 0.25), ("ift", "0.03", "last", 0.125)]
COLUMNS = {name: np.full(3, value, object) for name, value in {**SETTING, "lake": "4x4", "seed": "0"}.items()}
COLUMNS |= dict(zip(("method", "rate", "checkpoint"), np.array([row[:3] for row in ROWS], object).T, strict=True))
COLUMNS["distance"] = np.array([row[3] for row in ROWS])
ABOUT = {"study": "claims", "settings": {"seed": 0}}


def table_file(folder, **changes):
    """A small table of claims; a column that is None is left out."""
    columns = {name: column for name, column in (COLUMNS | changes).items() if column is not None}
    return write_table(columns, folder / "claims.csv.gz", ABOUT)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
@pytest.mark.parametrize("damage", CONTENTS)
def test_whole_files_that_are_no_tables_are_refused(name, damage, tmp_path):
    content = CONTENTS[damage](gzip.decompress(table_file(tmp_path).read_bytes()))
    assert check_reading(load_table, tmp_path / name, gzip.compress(content) if name.endswith("gz") else content) is None
    if name.endswith("gz"):
        assert check_reading(load_table, tmp_path / name, CONTENTS[damage](table_file(tmp_path).read_bytes())) is None


def test_tables_damaged_at_random_are_read_or_refused(tmp_path):
    packed = table_file(tmp_path).read_bytes()
    read = [check_reading(load_table, tmp_path / "t.csv", content) for content in damaged_bytes(gzip.decompress(packed), 100)]
    assert any(table is None for table in read) and any(table is not None for table in read)
    assert not any(check_reading(load_table, tmp_path / "t.csv.gz", content) for content in damaged_bytes(packed[10:], 50))


@pytest.mark.parametrize("row", [b"\n", b"0,0,0\n", b'"\n"\n', b"0"], ids=["lines", "cells", "quoted", "one cell"])
@pytest.mark.parametrize("size", [4_000_000, 100_000_000])
def test_a_table_unpacks_to_a_multiple_of_its_size_at_most(row, size, tmp_path):
    """100 MB of one line over and over are 0.1 MB; and what is unpacked is read no further than to the first wrong line."""
    bomb = gzip.compress(b'# {}\n"a","b"\n' + row * (size // len(row)), 1)
    assert len(bomb) < 1_000_000
    assert check_reading(load_table, tmp_path / "t.csv.gz", bomb) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({name: column[:0] for name, column in COLUMNS.items()}, "it has no rows; run the study again"),
        ({"lake": None}, "it has no column 'lake'"),
        ({"ice": np.full(3, "wet", object)}, "ice is 'wet'; allowed: firm"),
        ({"optimiser": np.full(3, RED, object)}, r"optimiser is '\x1b[31mred"),
        ({"method": np.full(3, "1", object)}, "column method holds np.float64(1.0); allowed: names"),
        ({"distance": np.array(["0.5", "far", ""], object)}, "column distance holds 'far'; allowed: numbers"),
        ({"demonstrations": np.full(3, "", object)}, "column demonstrations has an empty cell"),
        ({"demonstrations": np.full(3, "inf", object)}, "column demonstrations has an empty cell"),
        ({"demonstrations": np.full(3, "-1", object)}, "setting is '4x4,firm,random,tabular,adam,-1'"),
    ],
    ids=str,
)
def test_a_table_of_a_study_has_its_columns_and_its_rows(changes, words, tmp_path, capsys):
    table_file(tmp_path, **changes)
    with pytest.raises(SystemExit) as end:
        reproduction.main(reproduction.Args(redraw=True, out=tmp_path))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and said[:-1].isprintable()
    assert f"{tmp_path / 'claims.csv.gz'} is not a table of the study that can be read: {words}" in said


def test_a_study_that_lacks_rows_is_not_redrawn(tmp_path, capsys):
    table_file(tmp_path)
    assert list(load_study(tmp_path)) == ["claims"]
    with pytest.raises(SystemExit) as end:
        reproduction.main(reproduction.Args(redraw=True, out=tmp_path))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and f"the tables in {tmp_path} are not whole" in said


# ---- language runs ----

LANGUAGE = {
    "method": "ift",
    "settings": {"size": 4, "learning_rates": [0.001]},
    "runs": [run_of("ift", seed, pull=[[1.0, 2.0]] * 3, pull_at=[0, 10, 20], validation={"0.001": None}) for seed in (0, 1)],
}


def load_language(path):
    return load_runs(path.parent)


@pytest.mark.parametrize("damage", CONTENTS)
def test_whole_files_that_are_no_language_runs_are_refused(damage, tmp_path):
    assert check_reading(load_language, tmp_path / "ift.json", CONTENTS[damage](json.dumps(LANGUAGE).encode())) is None


def test_language_runs_damaged_at_random_are_read_or_refused(tmp_path):
    cases = [json.dumps(one).encode() for one in damaged_values(LANGUAGE, 150)]
    cases += damaged_bytes(json.dumps(LANGUAGE).encode(), 50)
    read = [runs for content in cases if (runs := check_reading(load_language, tmp_path / "ift.json", content)) is not None]
    assert 0 < len(read) < len(cases) / 2
    for runs in read:
        assert findings(runs)


@pytest.mark.parametrize(
    ("path", "new", "words"),
    [
        (("runs",), [], "runs is empty; allowed: one run or more"),
        (("runs",), {}, "it.runs is {}; allowed: a list"),
        (("runs", 1, "method"), "sft", "runs[1].method is 'sft'; allowed: 'ift'"),
        (("runs", 0, "timed"), 0, "it.runs[0].timed is 0; allowed: a whole number >= 1"),
        (("runs", 0, "measured"), [], "runs[0].measured is []"),
        (("runs", 0, "measured", 1, "end"), "x", "it.runs[0].measured[1].end is 'x'; allowed: a finite number"),
        (("runs", 0, "pull_at"), [0, 1], "it.runs[0].pull_at has shape [2]; allowed: [M], M = 3"),
        (("runs", 0, "seed"), "delete", "it.runs[0] has no 'seed'"),
        (("settings",), 3, "it.settings is 3; allowed: an object"),
    ],
    ids=str,
)
def test_a_wrong_entry_of_a_language_run_is_named(path, new, words, tmp_path, capsys):
    (tmp_path / "ift.json").write_text(json.dumps(changed(LANGUAGE, path, new)))
    with pytest.raises(SystemExit) as end:
        language.main(language.Args(redraw=True, out=str(tmp_path)))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert f"{tmp_path / 'ift.json'} is not a file of language runs that can be read: {words}" in said


# ---- benchmarks ----

COMPARISON = {"name": "a", "peer": "b", "ours": 1.0, "theirs": None, "ratio": 2, "unit": "s", "note": "", "pairs": 5}
GROWTH = {"what": "solve", "along": "states", "sizes": [1, 10, 100], "seconds": [0.1, 0.2, 0.4]}
RESULTS = {"sections": {"solving": [COMPARISON]}, "machines": {"solving": "here"}, "growth": [GROWTH], "pairs": 5}


@pytest.mark.parametrize("damage", [name for name in CONTENTS if name != "an empty object"])
def test_whole_files_that_are_no_benchmark_are_refused(damage, tmp_path):
    content = CONTENTS[damage](json.dumps(RESULTS).encode())
    assert check_reading(report.load_results, tmp_path / "benchmark.json", content) is None


def test_benchmarks_damaged_at_random_are_read_or_refused(tmp_path):
    path, read = tmp_path / "benchmark.json", 0
    assert check_reading(report.load_results, path, json.dumps(RESULTS).encode()) == RESULTS
    assert check_reading(report.load_results, path, b"{}") == {"sections": {}, "machines": {}, "growth": []}
    for content in [json.dumps(one).encode() for one in damaged_values(RESULTS, 150)]:
        results = check_reading(report.load_results, path, content)
        if results is not None:
            read += 1
            assert all(report.Growth(**entry).slope == report.Growth(**entry).slope for entry in results["growth"])
    assert 0 < read < 75


def test_a_damaged_benchmark_is_one_line_and_a_way_on(tmp_path, capsys):
    (tmp_path / "benchmark.json").write_text(json.dumps(changed(RESULTS, ("growth", 0, "seconds", 1), 0)))
    with pytest.raises(SystemExit) as end:
        command.main(command.Args(redraw=True, out=tmp_path))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and "delete it to measure everything anew" in said


def test_the_published_results_are_read_as_they_are():
    """What was saved before, by this version or others, is still read, to the last entry."""
    root = report.Path(__file__).parents[2] / "figures"
    runs = load_runs(root / "language")
    saved = [json.loads(path.read_text()) for path in (root / "language").glob("*.json") if path.name not in OTHERS]
    assert len(runs) == sum(len(content["runs"]) for content in saved)
    assert all(run in content["runs"] for content in saved for run in runs if run["method"] == content["method"])
    path = root / "benchmark" / "benchmark.json"
    assert report.load_results(path) == json.loads(path.read_text())
    assert load_table(root / "reproduction" / "claims_pooled.csv")[1]
