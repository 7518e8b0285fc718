"""Saved runs that are damaged or made up: each is read, or refused in one line that names file, entry and what is allowed."""

import base64
import io
import json
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from damage import CONTENTS, RED, changed, check_reading, damaged_bytes, damaged_values
from test_saved_runs import large_record, record

from ift_gridworld.cli.redraw import RedrawArgs, main
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.training.files import FORMAT
from ift_gridworld.training.run import Run


def of_arrays():
    """A run on an MDP that nothing but its arrays can make again."""
    mdp = replace(TabularMDP.make("CliffWalking-v1"))
    base = np.full((1, mdp.num_states, mdp.num_actions), 0.25)
    metrics = {name: np.zeros((2, 1)) for name in ("success", "distance", "regret")}
    tables = {"snapshots": np.concatenate([base, base]), "base": base, "final": base}
    return record(
        mdp.where, made_of=mdp, steps=np.array([0, 1]), metrics=metrics, loss=np.zeros((1, 1)), estimation={}, **tables
    )


MADE = {"small": record, "packed": lambda: large_record(1, 96, 10)[0], "arrays": of_arrays}


@pytest.fixture(scope="module", params=MADE)
def saved(request, tmp_path_factory):
    """A sound file."""
    return MADE[request.param]().save(tmp_path_factory.mktemp(request.param) / "run.json").read_bytes()


@pytest.mark.parametrize("damage", CONTENTS)
def test_whole_files_that_are_no_runs_are_refused(damage, saved, tmp_path):
    content = CONTENTS[damage](saved)
    assert check_reading(Run.load, tmp_path / "damaged.json", content) is None


def test_a_byte_order_mark_is_no_damage(saved, tmp_path):
    assert check_reading(Run.load, tmp_path / "marked.json", b"\xef\xbb\xbf" + saved).method == "ift"


def test_runs_damaged_at_random_are_read_or_refused(saved, tmp_path):
    """What is read can be used: told, saved and tabulated."""
    value, read = json.loads(saved), []
    cases = [json.dumps(one).encode() for one in damaged_values(value, 60)] + list(damaged_bytes(saved, 20))
    for content in cases:
        run = check_reading(Run.load, tmp_path / "damaged.json", content)
        if run is not None:
            read.append(run)
            assert repr(run) and run.about and run.course and run.table()
            run.save(tmp_path / "again.json")
    assert 0 < len(read) < len(cases) / 2


WRONG = [  # path, value, what is said
    (("format",), FORMAT + 1, f"format is {FORMAT + 1}, and this version reads 1 to {FORMAT}; update the package"),
    (("format",), 0, f"format is 0; allowed: 1 to {FORMAT}"),
    (("format",), "2", f"format is '2'; allowed: 1 to {FORMAT}"),
    (("format",), "delete", "it has no 'format'; allowed: what Run.save has written"),
    (("shown",), [[999, 0]], "shown is [[999, 0]]; allowed: states below 16 with actions below 4"),
    (("shown",), [[0, -1]], "shown is [[0, -1]]; allowed: states below 16"),
    (("shown",), [[0, 0, 0]], "shown has shape [1, 3]; allowed: [T, 2]"),
    (("shown",), [[0, 10**400]], "shown holds a number that is too large"),
    (("shown",), [[0.5, 1]], "shown is [[0.5, 1]]; allowed: a list of numbers (whole) [T, 2]"),
    (("optimum", "success"), None, "optimum.success is None; allowed: a finite number"),
    (("optimum", "success"), float("nan"), "optimum.success is nan; allowed: a finite number"),
    (("optimum", "success"), 10**400, "optimum.success is 1000000000"),
    (("optimum",), {}, "optimum has no 'success'"),
    (("metrics", "success"), [[0.5, 0.5]], "metrics.success has shape [1, 2]; allowed: [M, N], M = 3"),
    (("metrics", "success"), [[0.5], [0.5, 0.5], [1]], "metrics.success is [[0.5], [0.5, 0.5], [1]]; allowed: a list"),
    (("metrics", "regret"), "delete", "metrics has no 'regret'"),
    (("steps",), [5, 0, 20], "steps is [5, 0, 20]; allowed: one update or more, none before the last"),
    (("steps",), [0, 5], "metrics.success has shape [3, 2]; allowed: [M, N], M = 2"),
    (("final", 0, 0, 0), 2.0, "final has rows that are no distributions"),
    (("base",), "delete", "it has no 'base'"),
    (("lake",), "delete", "it has no 'lake'"),
    (("lake", "rows"), ["SFFF", "FHF"], "row 2 ('FHF') has 3 tiles, row 1 has 4"),
    (("lake", "rows"), ["SF", "FG"], "snapshots has shape [3, 16, 4]; allowed: [M, S, A], M = 3, S = 4, A = 4"),
    (("lake", "rows"), ["S", 3], "lake.rows[1] is 3; allowed: text"),
    (("lake", "horizon"), 1e3, "lake.horizon is 1000.0; allowed: a whole number"),
    (("lake", "is_slippery"), 1, "lake.is_slippery is 1; allowed: true or false"),
    (("lake", "wind"), 1, "lake has 'wind'; allowed: name, rows, env"),
    (("method",), RED, r"method is '\x1b[31mred\x1b[0m\r\n\x07'; allowed: the name of a method"),
    (("settings", "mixing"), "much", "settings.mixing is 'much'; allowed: a finite number"),
    (("settings",), {"deep": json.loads("[" * 40 + "]" * 40)}, "settings.deep is nested more than 16 deep"),
    (("seconds",), True, "seconds is True; allowed: a finite number"),
    (("seconds",), "x" * 10**6, "seconds is 'xxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxx'; allowed: a finite number"),
    (("estimation", "base", "gap"), "delete", "estimation.base has no 'gap'"),
    (("extra",), 1, "it has 'extra'; allowed: method, title"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "new", "words"), WRONG, ids=[f"{'.'.join(map(str, p))}={str(v)[:12]}" for p, v, _ in WRONG])
def test_a_wrong_entry_is_named_with_its_value_and_what_is_allowed(path, new, words, tmp_path):
    value = json.loads(record().save(tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(changed(value, path, new)))
    with pytest.raises(ValueError) as error:
        Run.load(tmp_path / "run.json")
    assert str(error.value).startswith(f"{tmp_path / 'run.json'} is not a saved run that can be read: ")
    assert words in str(error.value) and str(error.value).isprintable()


@pytest.mark.parametrize("env", ["random", "4x4", "100000x100000", "os:path-v0", "a map.txt"])
def test_a_file_names_only_environments_that_are_registered(env, tmp_path, monkeypatch):
    """Nothing that it names is imported, opened or drawn at random."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a map.txt").write_text("SF\nFG\n")
    value = json.loads(record().save(tmp_path / "run.json").read_text())
    value["lake"] |= {"rows": None, "env": env}
    assert check_reading(Run.load, tmp_path / "run.json", json.dumps(value).encode()) is None


@pytest.mark.parametrize("options", [{"desc": 3}, {"map_name": []}, {"name": "x"}, {"render_mode": {}}, {"is_slippery": "x"}])
def test_options_that_an_environment_chokes_on_are_told_of_the_file(options, tmp_path):
    value = json.loads(record().save(tmp_path / "run.json").read_text())
    value["lake"] |= {"rows": None, "env": "FrozenLake-v1", "options": options}
    check_reading(Run.load, tmp_path / "run.json", json.dumps(value).encode())


# ---- what is packed ----


def test_tables_unpack_to_what_the_other_entries_say_and_no_more(tmp_path):
    """100 MB of zeros are 0.1 MB: their shape is another than the lake's, and of the data no more is unpacked than is due."""
    value = json.loads(large_record(1, 96, 10)[0].save(tmp_path / "run.json").read_text())
    bomb = base64.b64encode(zlib.compress(bytes(100_000_000))).decode()
    assert len(bomb) < 200_000
    for shape in (value["tables"]["shape"], [10**8, 1, 1], [12, 96 * 96, 900], [10**18, 10**18, 10**18], [-1, 4, 4], []):
        content = json.dumps({**value, "tables": {"shape": shape, "data": bomb}}).encode()
        assert check_reading(Run.load, tmp_path / "run.json", content, most=2**24) is None


def archive(packed, **arrays):
    """The arrays of a saved MDP, some exchanged for bytes; packed by a method of `zipfile`."""
    out, method = io.BytesIO(), arrays.get("method", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(io.BytesIO(packed)) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, arrays.get(name.removesuffix(".npy"), old.read(name)))
    return out.getvalue()


def npy(shape, dtype="<f8", data=b""):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "arrays",
    [
        {"probability": npy((10**6, 4, 2), data=bytes(68_000_000))},
        {"probability": npy((10**12,))},
        {"probability": npy((10**30,))},
        {"probability": npy((48, 4, 1), "|O", b"cos\nsystem\n")},
        {"probability": npy((48, 4, 1), "V8", bytes(48 * 4 * 8))},
        {"probability": b"no array"},
        {"probability": b""},
        {"next_state": npy((48, 4, 1), "<i8", bytes([255] * 48 * 4 * 8))},
        {"start": npy((), data=bytes(8))},
        {"method": zipfile.ZIP_LZMA},
    ],
    ids=lambda arrays: "-".join(arrays),
)
def test_arrays_are_read_within_limits_and_without_pickle(arrays, tmp_path):
    value = json.loads(of_arrays().save(tmp_path / "run.json").read_text())
    packed = archive(base64.b64decode(value["mdp"]["arrays"]), **arrays)
    value["mdp"]["arrays"] = base64.b64encode(packed).decode()
    assert check_reading(Run.load, tmp_path / "run.json", json.dumps(value).encode()) is None


# ---- the command ----


@pytest.mark.parametrize("kind", ["folder", "missing", "damaged"])
def test_redraw_leaves_with_status_2_and_one_line(kind, tmp_path, capsys):
    path = tmp_path / "run.json"
    if kind == "folder":
        path.mkdir()
    if kind == "damaged":
        path.write_text('{"format": 2, "lake": {"name": "' + "\\u001b[31m" * 1000 + '"}}')
    with pytest.raises(SystemExit) as end:
        main(RedrawArgs(runs=(path,), out=tmp_path / "out"))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1 and said[:-1].isprintable()
    assert "run.json" in said and not (tmp_path / "out").exists()
