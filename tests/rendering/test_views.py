"""Every view can be asked for by name, and says what it shows."""

import subprocess
import sys

import pytest
from test_page import lake_record
from test_plane import run

from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.pictures import film_of, save_film
from ift_gridworld.rendering.plane import PlaneFilm
from ift_gridworld.rendering.views import VIEWS, film_of_view


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_makes_a_film_and_has_a_line_about_it(view):
    film = film_of_view(view, [run("sft"), run("dpo")])
    assert film.frame(0).size and film.alt
    assert VIEWS[view].doc and "\n" not in VIEWS[view].doc


def test_the_view_of_maps_is_the_usual_one():
    assert type(film_of([lake_record()])) is MethodFilm
    assert type(film_of([lake_record()] * 2)) is ComparisonFilm
    assert type(film_of([run()], "dark", "plane")) is PlaneFilm


def test_a_picture_is_saved_in_a_view(tmp_path):
    assert save_film([run()], tmp_path / "plane.png", view="plane").stat().st_size > 10_000
    assert "preference plane" in (tmp_path / "plane.png.txt").read_text(encoding="utf-8")


def test_an_unknown_view_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"^view is 'plan'; did you mean plane\? allowed: plane, frontier, flow, walks, seeds"):
        save_film([run()], tmp_path / "x.gif", view="plan")
    assert not list(tmp_path.iterdir())


def test_naming_the_views_loads_nothing_that_draws():
    program = "import sys, ift_gridworld.rendering.views; print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False False\n"
