"""Pictures for slides, squares and columns, without background, with a poster."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from test_isolation import HOSTILE
from test_rendering import lake_record

from ift_gridworld.rendering import ComparisonFilm, MethodFilm
from ift_gridworld.rendering.formats import PICTURE_SIZES, PictureOptions
from ift_gridworld.rendering.value_scale import ValueScale


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", PICTURE_SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_a_picture_has_the_size_that_is_asked_for(size, count, theme, tmp_path):
    runs = [lake_record(method=name) for name in ("sft", "ift", "dpo")[:count]]
    film = MethodFilm(runs[0], theme) if count == 1 else ComparisonFilm(runs, theme)
    before = film.frame(0)
    path = film.save(tmp_path / "x.png", size=size)
    width, height = PICTURE_SIZES[size]
    with Image.open(path) as picture:
        assert picture.width == width and picture.height == (height or picture.height)
        corner = np.array(picture.convert("RGB"))[1, 1] / 255
    np.testing.assert_allclose(corner, to_rgb(film.theme.background), atol=0.01)
    np.testing.assert_array_equal(np.asarray(film.frame(0)), np.asarray(before))  # the film itself is as it was


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_without_background_what_is_not_drawn_is_clear(kind, tmp_path):
    path = MethodFilm(lake_record()).save(tmp_path / f"x.{kind}", transparent=True)
    if kind == "svg":
        assert "fill: #ffffff" not in path.read_text(encoding="utf-8").split("axes_1")[0]
        return
    with Image.open(path) as picture:
        alpha = np.asarray(picture)[..., 3]
    assert alpha[2, 2] == 0 and (alpha == 255).mean() > 0.2


def test_a_poster_is_the_last_frame(tmp_path):
    film = MethodFilm(lake_record())
    film.save(tmp_path / "x.gif", poster=True)
    with Image.open(tmp_path / "x.poster.png") as poster:
        np.testing.assert_array_equal(np.asarray(poster.convert("RGB")), np.asarray(film.frame(len(film) - 1)))


@pytest.mark.parametrize(("kind", "options", "message"), [
    ("gif", {"transparent": True}, "transparent is given with format gif; allowed with: png, svg, webp"),
    ("png", {"poster": True}, "poster is given with format png; allowed with: gif, mp4, webp"),
    ("html", {"size": "slide"}, "picture_size slide is given with format html"),
    ("gif", {"size": "poster"}, "picture_size is 'poster'; allowed: slide, square, column"),
])  # fmt: skip
def test_what_a_file_cannot_have_is_told(kind, options, message):
    with pytest.raises(ValueError, match=message):
        PictureOptions(**options).check(kind)


def test_sized_pictures_do_not_obey_the_users_settings(tmp_path):
    import matplotlib as mpl

    film = MethodFilm(lake_record())
    one = film.save(tmp_path / "one.svg", size="slide").read_bytes()
    with mpl.rc_context(HOSTILE):
        assert MethodFilm(lake_record()).save(tmp_path / "two.svg", size="slide").read_bytes() == one


def test_a_scale_of_values_reaches_its_data_or_says_that_it_ends():
    lake = ValueScale.of(np.array([0.0, 0.4, 1.0]), np.array([0.9, 1.0]))
    assert lake.linear_to is None and lake.ticks == ((0.0, "0"), (1.0, "1"))
    values = -np.geomspace(1, 900, 400)
    cliff = ValueScale.of(values, -np.arange(1.0, 14.0))
    assert cliff.linear_to == 10 and cliff.ends[0].startswith("≤-8") and cliff.ends[1] == "-1"
    at = [place for place, _ in cliff.ticks]
    assert at == sorted(at) and at[0] == 0 and at[-1] == 1 and "-100" in [words for _, words in cliff.ticks]
    assert not any("e" in words for _, words in cliff.ticks)
