"""What the drawing package offers: names that load when they are used, examples that run, errors that help."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
import time
from dataclasses import replace
from typing import get_origin

import numpy as np
import pytest
from test_rendering import lake_record
from test_saved_runs import MAPLESS

import ift_gridworld.rendering as rendering
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.rendering import ComparisonFilm, MethodFilm, OptimalPolicyStill, save_figure, save_page
from ift_gridworld.rendering.explain_film import ExplainFilm
from ift_gridworld.rendering.paper import PaperFigure
from ift_gridworld.rendering.study_figures import StudyFigure

MODULES = [module.name for module in pkgutil.iter_modules(rendering.__path__) if module.name not in ("__main__", "tables")]


def public():
    """(module, name, object) of all that the modules name in their __all__."""
    found = []
    for module in MODULES:
        loaded = importlib.import_module(f"ift_gridworld.rendering.{module}")
        found += [(module, name, getattr(loaded, name)) for name in loaded.__all__]
    return found


def test_importing_the_package_loads_nothing_heavy():
    program = "import sys, ift_gridworld.rendering as r; r.check_format('gif'); r.check_theme('dark'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "PIL", "torch", "scipy"} & set(loaded)


def test_drawing_loads_without_torch():
    program = (
        "import sys, ift_gridworld.rendering as r; [getattr(r, name) for name in r.__all__]; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


def test_every_public_name_is_there():
    assert dir(rendering) == sorted(rendering.__all__)
    homes = {name: module for module, name, _ in public()}
    for name in rendering.__all__:
        assert name in homes and getattr(rendering, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'draw_everything'"):
        rendering.draw_everything  # noqa: B018


@pytest.mark.parametrize(("module", "name", "thing"), public())
def test_every_public_function_and_class_is_described(module, name, thing):
    if not callable(thing) or get_origin(thing) is not None:  # nor an alias of a type
        return
    text = inspect.getdoc(thing) or ""
    assert text.split("\n")[0].endswith((".", ":", ",")) or "\n" in text, (module, name)
    parameters = [p for p in inspect.signature(thing).parameters if p != "self"] if inspect.isfunction(thing) else []
    assert len(parameters) < 3 or "Args:" in text, (module, name)
    for member, function in inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else ():
        if not member.startswith("_") and function.__module__ == thing.__module__:
            assert inspect.getdoc(function), (module, name, member)


@pytest.mark.parametrize("module", MODULES)
def test_examples_run_fast_and_write_nothing(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = importlib.import_module(f"ift_gridworld.rendering.{module}")
    start = time.perf_counter()
    assert doctest.testmod(loaded).failed == 0
    assert time.perf_counter() - start < 3.0  # tenths of a second each, on a machine that does nothing else
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [
    lambda: MethodFilm(lake_record(), "pink"),
    lambda: ComparisonFilm([lake_record()] * 2, "pink"),
    lambda: PaperFigure([lake_record()], "column", "pink"),
    lambda: OptimalPolicyStill("a lake", {"firm": TabularMDP.from_map(["SF", "FG"])}, "pink"),
    lambda: StudyFigure(1.0, "pink"),
])  # fmt: skip
def test_an_unknown_theme_is_told(draw):
    with pytest.raises(ValueError, match=r"^theme is 'pink'; allowed: light, dark$"):
        draw()


def test_a_step_that_the_film_does_not_know_is_told():
    from ift_gridworld.explain import Explanation, Step

    mdp = TabularMDP.from_map(["SF", "FG"])
    policy = np.full((4, 4), 0.25)
    made = Explanation("sft", "SFT · supervised fine-tuning", 1.0, policy, policy, [Step("dance", "A dance", "of no use")])
    with pytest.raises(ValueError, match=r"^step is of kind 'dance'; allowed: walk, predict, mix, "):
        ExplainFilm(made, mdp, "a lake")


def test_a_page_of_what_is_no_number_is_refused(tmp_path):
    """JSON has no NaN, and a browser would show nothing at all."""
    record = lake_record()
    record.metrics["success"][2, 1] = np.nan
    with pytest.raises(ValueError, match="ift: success is not a number at every update"):
        save_page([record], tmp_path / "ift.html")
    assert not list(tmp_path.iterdir())


def test_a_lakes_name_cannot_break_the_page(tmp_path):
    """Neither what stands for a part of the template, nor what would end a script or begin a comment in it."""
    name = "/*DATA*/ </script><!--<script> & more"
    record = lake_record()
    object.__setattr__(record, "environment", replace(record.environment, name=name))
    page = save_page([record], tmp_path / "ift.html").read_text()
    head, script = page.split('<script type="application/json" id="data">')
    assert "<title>/*DATA*/ &lt;/script&gt;&lt;!--&lt;script&gt; &amp; more · IFT</title>" in head
    assert "<" not in script[: script.index("</script>")] and r"\u003c/script>\u003c!--" in script


@pytest.mark.parametrize("save", [save_page, save_figure])
def test_what_has_no_map_is_refused_everywhere(save, tmp_path):
    from test_saved_runs import record

    with pytest.raises(ValueError, match="no map to draw"):
        save([record(Origin("own", None, MAPLESS, False, None, 0.99, 10))], tmp_path / "x.pdf")
