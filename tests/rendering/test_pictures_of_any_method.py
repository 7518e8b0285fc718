"""A method and a metric that somebody has added outside of the package are drawn like any other."""

import numpy as np
import pytest
from test_paper import check
from test_rendering import lake_record

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.rendering import ComparisonFilm, MethodFilm, RenderWorker, draw_files, latex_table, save_figure, save_page
from ift_gridworld.rendering.language_figures import draw_differences, draw_tokens
from ift_gridworld.rendering.paper import PaperFigure
from ift_gridworld.rendering.predictions import mixing_of
from ift_gridworld.training.run import Run

LONG = "my_very_own_method_of_aligning_policies"


def own_record(name="my_method", title="Mine · a method of my own", rows=LAKES["4x4"], **changes):
    """With a metric of its own beside those that every run has, and one of the package's left out."""
    record = lake_record(rows, **{"method": name, "title": title, "assumed_prior": "", **changes})
    record.metrics["falls_per_episode"] = np.random.default_rng(5).random((5, 2)) * 3
    record.settings.pop("mixing", None)
    return record


@pytest.fixture
def saved(tmp_path):
    return own_record().save(tmp_path / "my_method.json")


@pytest.mark.parametrize("kind", ["gif", "png", "pdf", "svg", "html"])
def test_it_is_drawn_by_itself_and_beside_others(kind, saved, tmp_path):
    assert "falls_per_episode" in Run.load(saved).metrics
    other = lake_record(method="dpo", rejected=np.array([[0, 1], [1, 2]])).save(tmp_path / "dpo.json")
    for runs in ([saved], [other, saved]):
        picture = draw_files(runs, tmp_path / f"{len(runs)}.{kind}", "dark")
        assert picture.stat().st_size > 5000
        words = picture if kind == "html" else tmp_path / f"{picture.name}.txt"
        assert ("my_method" if len(runs) > 1 or kind == "html" else "Mine, a method of my own") in words.read_text()


def test_the_drawing_process_draws_it(saved, tmp_path):
    with RenderWorker() as worker:
        worker.draw([saved], tmp_path / "one.png")
        (drawn,) = worker.pictures()
    assert drawn.read_bytes() == draw_files([saved], tmp_path / "again.png").read_bytes()


@pytest.mark.parametrize("width", ["column", "page"])
def test_it_is_in_figures_and_tables_for_a_paper(width, tmp_path):
    runs = [lake_record(method="sft"), own_record()]
    for records in (runs, runs[1:]):
        save_figure(records, tmp_path / "figure.pdf", width)
        assert "\nMine & $" in latex_table(records)
    assert ("falls per episode" in latex_table(records)) == (len(records) == 1)  # all runs must have it
    assert "Mine: success 0." in (tmp_path / "figure.pdf.txt").read_text()
    save_figure(runs[1:], tmp_path / "falls.pdf", width, panels=["maps", "falls_per_episode"])
    assert "falls per episode 1." in (tmp_path / "falls.caption.tex").read_text()
    with pytest.raises(ValueError, match="panels is 'falls_per_episode'; allowed: maps, matrix, seeds, frontier, success"):
        save_figure(runs, tmp_path / "falls.pdf", width, panels=["falls_per_episode"])


def test_it_is_on_a_page(tmp_path):
    page = save_page([own_record(), lake_record()], tmp_path / "page.html").read_text()
    assert '"name":"my_method","title":"Mine","full":"Mine \\u00b7 a method of my own"' in page


def test_it_is_in_figures_of_language(tmp_path):
    random = np.random.default_rng(0)
    names = ("sft", "my_method", "_mine")
    runs = {
        name: [
            {"measured": [{"step": s, "end": 0.5, "sampled": 0.4, "distance": 0.1} for s in (0, 10)]} for _ in range(2)
        ] for name in names
    }  # fmt: skip
    pulls = {name: random.random((2, 5)) for name in names}
    figure, words = draw_tokens(pulls, {name: [0, 10] for name in names}, runs, "light")
    figure.save(tmp_path / "tokens", words)
    assert "my_method 0.50" in words
    (legend,) = figure.figure.legends
    assert [text.get_text().strip() for text in legend.get_texts()] == ["SFT", "my_method", "_mine"]
    differences = {"my_method": {m: [0.1, 0.2, 0.12] for m in ("greedy", "sampled", "distance", "end")}}
    figure, words = draw_differences(differences, "dark")
    assert "greedy success clearly differs for my_method" in words
    assert [label.get_text() for label in figure.figure.axes[0].get_yticklabels()] == ["my_method"]


@pytest.mark.parametrize(("title", "name"), [(LONG.replace("_", " "), LONG), (f"Own · {LONG * 3}", LONG), ("X", "x")])
@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_long_name_does_not_run_over_its_neighbours(count, title, name):
    other, own = lake_record(method="dpo_online", title="DPO online · a long title"), own_record(name, title)
    if count == 1:
        check(MethodFilm(own).figure, least=8.0)
    check(ComparisonFilm([*[other] * 3, *[own] * count]).figure, least=8.0)
    check(PaperFigure([other, *[own] * count], "column", "light").figure, least=7.0, margin=0.02)


def test_predictions_are_drawn_of_whatever_mixes_them_in():
    """Whatever its name is; not of a method that stands on the human's own states, though settings beside its own say so."""
    mixing = own_record()
    mixing.settings["mixing"] = 0.35
    film = MethodFilm(mixing)
    assert mixing_of(mixing) == 0.35 and film.predictions is not None
    assert any("mixed in with λ = 0.35" in text.get_text() for ax in film.figure.axes for text in ax.texts)
    for record in (own_record(), lake_record(method="ift", settings={"mixing": 0.0}), lake_record(assumed_prior="sft")):
        assert mixing_of(record) == 0 and MethodFilm(record).predictions is None


def test_everything_that_can_be_explained_has_its_place_in_the_legend():
    """A method of pairs that mixes, with a cliff: more entries than there are rows on other maps, and none over another."""
    rows = ("SFFF", "FFFF", "FFFG", "FHFF")
    record = own_record(rows=rows, needs="pairs", rejected=np.array([[0, 2], [1, 2]]))
    record.settings["mixing"] = 0.2
    check(MethodFilm(record).figure, least=8.0)
