"""Pictures do not obey the user's matplotlib settings, and leave them as they are."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from ift_gridworld.rendering.isolation import isolated, own_settings

HOSTILE = {
    "image.origin": "lower",
    "text.usetex": True,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "font.size": 31.0,
    "font.family": ["monospace"],
    "axes.titlelocation": "right",
    "axes.grid": True,
    "lines.linewidth": 9.0,
    "figure.dpi": 33.0,
    "axes.xmargin": 0.4,
    "legend.frameon": True,
    "path.simplify": False,
    "axes.unicode_minus": False,
    "axes.formatter.use_locale": True,
    "mathtext.fontset": "cm",
}


@pytest.fixture
def hostile():
    with mpl.rc_context(HOSTILE):
        yield


def test_own_settings_are_matplotlibs_and_the_users_come_back(hostile):
    with own_settings(**{"font.size": 8.0}):
        assert mpl.rcParams["image.origin"] == "upper"
        assert mpl.rcParams["font.size"] == 8.0
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert {name: mpl.rcParams[name] for name in HOSTILE} == HOSTILE


def test_settings_come_back_after_an_error(hostile):
    @isolated
    def fail():
        raise ValueError(mpl.rcParams["font.size"])

    with pytest.raises(ValueError, match="10.0"):
        fail()
    assert mpl.rcParams["font.size"] == 31.0


def test_the_backend_is_not_touched():
    before = dict.__getitem__(mpl.rcParams, "backend")
    with own_settings():
        assert dict.__getitem__(mpl.rcParams, "backend") is before


def test_a_drawing_is_the_same_to_the_last_bit(hostile):
    @isolated
    def draw():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure = Figure((2, 2))
        canvas = FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        ax.imshow(np.arange(6).reshape(2, 3))
        ax.set_title("T(a|s)")
        canvas.draw()
        return np.asarray(canvas.buffer_rgba()).copy()

    one = draw()
    with mpl.rc_context():
        mpl.rcdefaults()
        assert (draw() == one).all()


def test_a_block_within_another_keeps_the_outer_ones_settings(hostile):
    with own_settings(**{"font.size": 8.0}):
        with own_settings():
            assert mpl.rcParams["font.size"] == 8.0
        with own_settings(**{"font.size": 9.0}):
            assert mpl.rcParams["font.size"] == 9.0
        assert mpl.rcParams["font.size"] == 8.0
    assert mpl.rcParams["font.size"] == 31.0
    with pytest.raises(ValueError, match="stop"), own_settings():
        raise ValueError("stop")
    with own_settings():  # as if nothing had happened
        assert mpl.rcParams["font.size"] == 10.0
