"""The view of seeds shows every seed where it is, and the mean of all with its interval."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from test_isolation import HOSTILE
from test_paper import check, records
from test_rendering import lake_record
from test_saved_runs import MAPLESS, record

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.mdp import Origin
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.pictures import film_of, save_film
from ift_gridworld.rendering.seeds_view import SeedsFilm, SeedStrip
from ift_gridworld.rendering.stages import latest_snapshots, shared_updates
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.rendering.views import VIEWS


def strip(name, values, drawn=None):
    ax, styles = Figure().add_subplot(), [style_of("ift"), style_of("dpo")][: len(values)]
    made = SeedStrip(ax, THEMES["light"], name, styles, [len(v) for v in values], drawn, values, None, 8.0)
    made.update(values)
    return made


def test_each_seed_has_a_dot_at_its_value_and_the_mean_its_interval():
    values = [np.array([0.2, 0.9, 1.0, 0.7]), np.array([0.1, 0.3])]
    made = strip("success", values, drawn=[1, 0])
    segments = made.intervals.get_segments()
    for row, own in enumerate(values):
        np.testing.assert_allclose(made.dots[row].get_xdata(), own)
        heights = made.dots[row].get_ydata()
        assert len(set(heights)) == len(own) and np.abs(heights - row).max() < 0.5  # apart, within the method's row
        mean, low, high = metric_interval("success", own)
        assert made.means[row].get_xdata() == [pytest.approx(mean)]
        np.testing.assert_allclose(segments[row], [(low, row), (high, row)])
    assert made.rims[0].get_xdata() == [0.9] and made.rims[1].get_xdata() == [0.1]


def test_a_dot_keeps_its_height_while_it_moves():
    values = [np.linspace(0, 1, 5)]
    made = strip("success", values)
    before = made.dots[0].get_ydata().copy()
    made.update([values[0][::-1]])
    np.testing.assert_array_equal(made.dots[0].get_ydata(), before)


def test_what_is_no_number_has_no_dot_and_one_seed_no_interval():
    made = strip("distance", [np.array([0.2, np.nan, 0.4]), np.array([0.3])])
    assert made.dots[0].get_xdata().tolist() == [0.2, 0.4]
    assert made.intervals.get_segments() == []


def test_log_probabilities_that_range_widely_have_a_scale_that_says_so():
    wide, narrow = strip("rejected_logp", [np.array([-90.0, -0.5])]), strip("rejected_logp", [np.array([-9.0, -0.5])])
    wide, narrow = (made.means[0].axes for made in (wide, narrow))
    assert (wide.get_xscale(), wide.get_xlabel()) == ("symlog", "log scale below −1")
    assert (narrow.get_xscale(), narrow.get_xlabel()) == ("linear", "")


def test_methods_move_at_the_same_updates():
    runs = [lake_record(title="one"), lake_record(method="dpo", title="other", steps=np.array([0, 2, 4, 9, 25]))]
    film = SeedsFilm(runs)
    steps = shared_updates(runs)
    assert film.steps.tolist() == steps.tolist() == [0, 1, 2, 4, 9, 16, 25]
    snapshots = latest_snapshots(runs, steps)
    for frame in (0, 3, 6):
        film.update(frame)
        for made in film.strips:
            for row, run in enumerate(runs):
                expected = run.metrics[made.name][snapshots[frame, row]]
                np.testing.assert_allclose(made.dots[row].get_xdata(), expected)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("count", [1, 4, 10])
def test_words_in_the_film_of_seeds(count, theme):
    film = SeedsFilm(records(LAKES["4x4"], count), theme)
    for artist in film.animated:
        artist.set_animated(False)
    check(film.figure, least=8.5, margin=0.02)


def test_words_tell_where_the_seeds_end():
    run = lake_record(title="IFT")
    mean, low, high = (f"{x:.3f}" for x in metric_interval("success", run.metrics["success"][-1]))
    least, most = (f"{x:.3g}" for x in sorted(run.metrics["success"][-1]))
    assert f"success {mean} [{low}, {high}], seeds from {least} to {most}" in SeedsFilm([run]).alt


def test_the_film_needs_no_map(tmp_path):
    run = record(Origin(MAPLESS, None, MAPLESS, False, None, 0.99, 10), snapshots=np.full((3, 3, 2), 0.5),
                 base=np.full((2, 3, 2), 0.5), final=np.full((2, 3, 2), 0.5))  # fmt: skip
    assert save_film([run], tmp_path / "seeds.png", "light", view="seeds").stat().st_size > 5000


def test_a_view_is_found_by_its_name(tmp_path):
    assert isinstance(film_of([lake_record()], "dark", "seeds"), SeedsFilm)
    for name, view in VIEWS.items():
        assert view.needs_pairs or len(film_of([lake_record()], "light", name)) == 5
    with pytest.raises(ValueError, match="^view is 'seds'; did you mean seeds"):
        film_of([lake_record()], "light", "seds")
    with pytest.raises(ValueError, match="^view seeds is given with format html; allowed with: gif"):
        save_film([lake_record()], tmp_path / "x.html", view="seeds")


def test_the_film_is_the_same_under_any_settings():
    def drawn():
        return SeedsFilm([lake_record(), lake_record(method="dpo", title="DPO")]).frame(2).tobytes()

    usual = drawn()
    with mpl.rc_context(HOSTILE):
        assert drawn() == usual


def test_one_seed_has_no_interval():
    run = lake_record()
    metrics = {name: values[:, :1] for name, values in run.metrics.items()}
    alone = SeedsFilm([replace(run, metrics=metrics, base=run.base[:1], final=run.final[:1])])
    assert all(text.get_text() != "95 % interval" for text in alone.figure.texts) and "[" not in alone.alt
