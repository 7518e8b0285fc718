"""The drawing process: isolated from what lies around the caller, found wherever the package is, honest when it ends."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_rendering import lake_record

from ift_gridworld.rendering import worker as worker_module
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.worker import RenderWorker
from ift_gridworld.training.run import Run

PACKAGE = Path(worker_module.__file__).resolve().parents[1]
SHADOWED = ("random", "matplotlib", "numpy", "json", "ift_gridworld", "usercustomize")


@pytest.fixture
def strange(tmp_path):
    """A folder of modules named like those that drawing needs; each leaves a trace if it is executed."""
    folder, trace = tmp_path / "strange", tmp_path / "trace"
    folder.mkdir()
    for name in SHADOWED:
        (folder / f"{name}.py").write_text(
            f"open({str(trace)!r}, 'a').write({name!r})\nraise SystemExit('shadowed by {name}')\n"
        )
    return folder, trace


def draw_one(run, picture):
    with RenderWorker() as worker:
        worker.draw([run], picture)
        return list(worker.pictures())


@pytest.mark.parametrize(
    "where",
    [
        "current folder",
        *(pytest.param(where, marks=pytest.mark.slow) for where in ("PYTHONPATH", "import path", "script's folder")),
    ],
)
def test_modules_of_the_callers_own_are_not_executed(where, strange, tmp_path, monkeypatch):
    folder, trace = strange
    saved = lake_record().save(tmp_path / "ift.json")
    if where == "current folder":
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend("")
    elif where == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(folder))
    elif where == "import path":
        monkeypatch.syspath_prepend(str(folder))
    else:
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(folder / "script.py"), raising=False)
        assert str(folder) not in worker_module._import_path()
    assert draw_one(saved, tmp_path / "ift.png") == [tmp_path / "ift.png"]
    assert not trace.exists()
    expected = MethodFilm(Run.load(saved)).save(tmp_path / "again.png")
    assert (tmp_path / "ift.png").read_bytes() == expected.read_bytes()


def test_a_notebooks_backend_is_not_taken_over(tmp_path, monkeypatch):
    """Jupyter sets it to a module that the process may not have; matplotlib itself refuses what is no backend."""
    monkeypatch.setenv("MPLBACKEND", "no backend at all")
    draw_one(lake_record().save(tmp_path / "ift.json"), tmp_path / "ift.png")
    assert os.environ["MPLBACKEND"] == "no backend at all"


@pytest.mark.parametrize(
    "where",
    ["current folder", *(pytest.param(where, marks=pytest.mark.slow) for where in ("MATPLOTLIBRC", "configuration folder"))],
)
def test_a_matplotlibrc_of_the_callers_own_is_not_read(where, tmp_path, monkeypatch):
    """Neither what it sets, which would be drawn, nor what is wrong in it, which would be told."""
    saved = lake_record().save(tmp_path / "ift.json")
    folder = tmp_path / "own" / "matplotlib"
    folder.mkdir(parents=True)
    (folder / "matplotlibrc").write_text("font.size: 30\nno.such.parameter: 1\npatch.linewidth: 9\n")
    if where == "current folder":
        monkeypatch.chdir(folder)
    elif where == "MATPLOTLIBRC":
        monkeypatch.setenv("MATPLOTLIBRC", str(folder))
    else:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
    with RenderWorker() as worker:
        worker.draw([saved], tmp_path / "ift.png")
        assert list(worker.pictures()) == [tmp_path / "ift.png"]
        worker._stderr.seek(0)
        assert worker._stderr.read() == b""
    expected = MethodFilm(Run.load(saved)).save(tmp_path / "again.png")
    assert (tmp_path / "ift.png").read_bytes() == expected.read_bytes()


def test_a_block_that_fails_ends_the_process_and_what_it_has_half_written(tmp_path, monkeypatch):
    """It is told by SIGTERM and cleans up; one that does not is killed."""
    clean = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint(flush=True)\ntime.sleep(60)"
    deaf = clean.replace("lambda *_: sys.exit(7)", "signal.SIG_IGN")
    for program, grace, status in ((clean, 20.0, 7), (deaf, 0.1, -9)):
        monkeypatch.setattr(worker_module, "GRACE", grace)
        monkeypatch.setattr(worker_module, "_PROGRAM", program)
        with pytest.raises(KeyboardInterrupt), RenderWorker() as worker:
            worker._process.stdout.readline()
            raise KeyboardInterrupt
        assert worker._process.returncode == status


def test_relative_paths_start_at_the_callers_folder(tmp_path, monkeypatch):
    """At the folder of the moment in which the picture is ordered; they come back as they were given."""
    folders = [tmp_path / name for name in ("one", "two")]
    with RenderWorker() as worker:
        for folder in folders:
            folder.mkdir()
            monkeypatch.chdir(folder)
            lake_record().save("ift.json")
            worker.draw([Path("ift.json")], Path("ift.png"))
        monkeypatch.chdir(tmp_path)
        assert list(worker.pictures()) == [Path("ift.png")] * 2
    assert all((folder / "ift.png").exists() for folder in folders)


def test_the_last_words_of_a_process_that_ends_are_told(tmp_path, monkeypatch):
    """When it is asked for the pictures, and when it is given more to do; without words, its status."""
    program = "import sys\nsys.stderr.write('a warning\\nModuleNotFoundError: no such module\\n\\n')\nsys.exit(3)"
    monkeypatch.setattr(worker_module, "_PROGRAM", program)
    message = "^the drawing process ended early: ModuleNotFoundError: no such module$"
    with pytest.raises(ValueError, match=message), RenderWorker() as worker:
        worker._process.wait()
        worker.draw([tmp_path / "ift.json"], tmp_path / "ift.png")
        list(worker.pictures())
    monkeypatch.setattr(worker_module, "_PROGRAM", "import sys\nsys.stdin.readline()\nsys.exit('no memory is left')")
    with pytest.raises(ValueError, match="^the drawing process ended early: no memory is left$"), RenderWorker() as worker:
        worker.draw([tmp_path / "ift.json"], tmp_path / "ift.png")
        list(worker.pictures())
    with pytest.raises(ValueError, match="ended early: no message, exit status -9"), RenderWorker() as worker:
        worker._process.kill()
        worker._process.wait()
        worker.draw([tmp_path / "ift.json"], tmp_path / "ift.png")


def test_an_import_that_fails_is_told(tmp_path, monkeypatch):
    """What matters to a caller is the error, not the place: the last line of the traceback."""
    monkeypatch.setattr(worker_module, "_PROGRAM", "import no_such_module_at_all")
    with pytest.raises(ValueError, match="ended early: ModuleNotFoundError: No module named 'no_such_module_at_all'$"):
        draw_one(tmp_path / "ift.json", tmp_path / "ift.png")


def test_one_picture_that_fails_does_not_end_the_process(tmp_path):
    saved = lake_record().save(tmp_path / "ift.json")
    with RenderWorker() as worker:
        worker.draw([tmp_path / "missing.json"], tmp_path / "missing.png")
        worker.draw([saved], tmp_path / "ift.png")
        with pytest.raises(ValueError, match=r"missing\.json is not a saved run"):
            next(worker.pictures())
        assert list(worker.pictures()) == [tmp_path / "ift.png"]


def test_warnings_of_the_process_are_shown(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(worker_module, "_PROGRAM", "import sys\nprint('a glyph is missing', file=sys.stderr)")
    with RenderWorker():
        pass
    assert "a glyph is missing" in capfd.readouterr().err


@pytest.mark.parametrize(
    "how", ["installed", *(pytest.param(how, marks=pytest.mark.slow) for how in ("PYTHONPATH", "source tree"))]
)
def test_the_process_finds_the_package_where_the_caller_has_it(how, tmp_path):
    """A copy of the package in a folder of its own, which nothing but the caller knows of; it marks its pictures' words."""
    place = tmp_path / ("site-packages" if how == "installed" else "tree")
    copy = place / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    film = copy / "rendering" / "method_film.py"
    film.write_text(film.read_text().replace('f"matrix over the optimal one', 'f"MATRIX over the optimal one'))
    lake_record().save(tmp_path / "ift.json")
    script = tmp_path / "scripts" / "draw.py"
    script.parent.mkdir()
    lines = [
        "from pathlib import Path",
        "from ift_gridworld.rendering import RenderWorker",
        "with RenderWorker() as worker:",
        "    worker.draw([Path('ift.json')], Path('ift.png'))",
        "    print(*worker.pictures())",
    ]
    if how == "installed":  # as site does it, for folders that a virtual environment has
        lines = ["import site", f"site.addsitedir({str(place)!r})", "import sys", "sys.path.insert(0, sys.path.pop())", *lines]
    script.write_text("\n".join(lines))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if how == "PYTHONPATH":
        environment["PYTHONPATH"] = str(place)
    command = [sys.executable, str(script)]
    if how == "source tree":  # the script lies in the tree's root, from where the package is found
        script = Path(shutil.copy(script, place))
        command = [sys.executable, str(script)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("ift.png\n", "", 0)
    assert "MATRIX over the optimal one" in (tmp_path / "ift.png.txt").read_text()


def test_what_the_process_prints_is_no_answer(tmp_path):
    """Only its own lines are: a library that prints does not disturb it."""
    saved = lake_record().save(tmp_path / "ift.json")
    program = worker_module._PROGRAM.replace(
        "serve(int(parent))",
        "import ift_gridworld.rendering.__main__ as m\nold = m.draw_files\n"
        "m.draw_files = lambda *a, **k: (print('hello'), old(*a, **k))\nserve(int(parent))",
    )
    order = json.dumps([[str(saved)], str(tmp_path / "ift.png"), "light", {}, str(tmp_path), []])
    ended = subprocess.run(
        [sys.executable, "-I", "-c", program, str(os.getpid()), str(PACKAGE), *worker_module._import_path()],
        input=f"{order}\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout == "null\n" and "hello" in ended.stderr and (tmp_path / "ift.png").exists()
