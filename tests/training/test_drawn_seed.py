"""Which seed is drawn: the rule on tables made by hand, and what runs, files and pictures make of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ift_gridworld import Run, TabularMDP, compare, train
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.numbers import percent
from ift_gridworld.rendering.paper import PaperFigure
from ift_gridworld.training import files, make_base
from ift_gridworld.training.drawn_seed import ranks_by_median, typical_seed
from ift_gridworld.training.together import about_seeds, drawn_together

ICE = TabularMDP.make("4x4", is_slippery=True)
SAME = np.zeros(5)


def arrays(rows):
    return [np.array(row, float) for row in rows]


# ---- the rule ----


def test_it_is_the_median_that_a_seed_is_near_to():
    """The mean of the second table is 2.12, to which 0.6 is nearest."""
    assert typical_seed([np.array([0.0, 0.1, 1.0, 0.7, 0.5])], [SAME]) == 4
    assert typical_seed([np.array([0.3, 0.4, 0.2, 0.6, 9.1])], [SAME]) == 1


def test_seeds_that_tie_are_told_apart_by_their_distance_and_then_by_their_index():
    """The median of four is between two, which are equally near to it; 0.7 - 0.6 and 0.6 - 0.5 differ in the last bit."""
    success = np.array([0.9, 0.5, 0.7, 0.1])
    assert typical_seed([success], [np.array([0.0, 0.4, 0.3, 0.2])]) == 2  # their median is 0.25
    assert typical_seed([success], [np.array([0.0, 0.3, 0.4, 0.2])]) == 1
    assert typical_seed([success], [np.array([0.0, 0.4, 0.4, 0.2])]) == 1
    np.testing.assert_array_equal(ranks_by_median(success, np.array([0.0, 0.3, 0.4, 0.2])), [2, 0, 1, 3])


def test_of_several_methods_the_sum_of_ranks_decides():
    """Seed 1 is the first method's median and seed 2 the second's; seed 3 is next to both.

    Ranks of the first: 3, 0, 4, 1, 2; of the second: 3, 4, 0, 1, 2; sums 6, 4, 4, 2, 4. A sum of gaps in place of ranks would
    let the second, whose unit is larger, decide for seed 2.
    """
    first, second = arrays([[0.9, 0.5, 0.05, 0.52, 0.45], [700.0, 100.0, 500.0, 510.0, 450.0]])
    np.testing.assert_array_equal(ranks_by_median(first, SAME), [3, 0, 4, 1, 2])
    np.testing.assert_array_equal(ranks_by_median(second, SAME), [3, 4, 0, 1, 2])
    assert [typical_seed([row], [SAME]) for row in (first, second)] == [1, 2]
    assert typical_seed([first, second], [SAME, SAME]) == 3


def test_of_some_seeds_the_medians_are_still_those_of_all():
    """Of 0, 1, 2, 8, 9 seed 2 is the median. To choose are seeds 0 and 3: 2 - 0 is less than 8 - 2."""
    chosen = np.array([0, 3])
    assert typical_seed([np.array([0.0, 1.0, 2.0, 8.0, 9.0])], [SAME], [chosen]) == 0
    assert typical_seed([np.array([0.0, 6.0, 7.0, 8.0, 9.0])], [SAME], [chosen]) == 1


def test_a_value_that_is_no_number_ranks_last():
    assert typical_seed([np.array([np.nan, 3.0, 1.0, 2.0, np.nan])], [SAME]) == 3
    assert typical_seed([np.full(5, np.nan)], [SAME]) == 0


# ---- runs ----


def trained(method="sft", *, seeds=5, seed=0, **options):
    base = make_base("random", ICE, policy="tabular", seeds=seeds, seed=seed)
    return train(method, ICE, base, steps=6, learning_rate=0.3, seed=seed, **options)


@pytest.fixture(scope="module")
def runs():
    return [trained(), trained("ift"), trained("ppo")]


def test_a_run_draws_its_typical_seed_and_names_it(runs):
    for run in (*runs, trained(seed=10)):
        expected = typical_seed([run.metrics["success"][-1]], [run.metrics["distance"][-1]])
        assert run.drawn == expected and run.drawn_seed == run.settings["seed"] + expected
        np.testing.assert_allclose(run.snapshots, run.policies[:, expected], atol=1e-7)
        np.testing.assert_array_equal(run.of_drawn("regret"), run.metrics["regret"][:, expected])
        assert run.about_seeds == f"drawn: seed {run.drawn_seed}; charts: mean and 95 % interval of 5 seeds"
        assert (
            f"from {run.metrics['success'][0, expected]:.3f} to {run.metrics['success'][-1, expected]:.3f} in seed"
            in run.course
        )
    assert len({run.drawn for run in runs}) > 1, "or the tests below show nothing"


def test_another_seed_can_be_drawn_before_and_after_a_run_is_saved(runs, tmp_path):
    run = runs[0]
    for seed in range(5):
        drawn = run.drawing(seed)
        again = Run.load(drawn.save(tmp_path / "drawn.json"))
        from_file = Run.load(run.save(tmp_path / "run.json")).drawing(seed)
        for other in (again, from_file):
            assert other.drawn == seed
            np.testing.assert_array_equal(other.snapshots, drawn.snapshots)
            np.testing.assert_array_equal(other.visits, drawn.visits)
            np.testing.assert_array_equal(other.values, drawn.values)
        assert MethodFilm(drawn).frame(6).tobytes() == MethodFilm(from_file).frame(6).tobytes()
    assert run.drawing(run.drawn_seed) is run
    late = trained(seed=10)
    np.testing.assert_allclose(late.drawing(13).snapshots, late.policies[:, 3], atol=1e-7)


@pytest.mark.parametrize("seed", [-1, 5, 1.0, True, None, "1"])
def test_a_seed_that_a_run_does_not_have_is_refused(seed, runs):
    with pytest.raises(ValueError) as error:
        runs[0].drawing(seed)
    assert str(error.value) == f"drawn_seed is {seed!r}; allowed: 0 to 4, the seeds of sft"


def test_several_methods_draw_one_seed(runs):
    together = drawn_together(runs)
    expected = typical_seed([run.metrics["success"][-1] for run in runs], [run.metrics["distance"][-1] for run in runs])
    assert {run.drawn for run in together} == {expected}
    assert drawn_together(together) == together
    assert {run.drawn for run in drawn_together(runs[:1])} == {runs[0].drawn}
    for seed in range(5):  # one that is chosen for all stays
        assert {run.drawn for run in drawn_together([run.drawing(seed) for run in runs])} == {seed}
        assert {run.drawn for run in compare(runs).drawing(seed)} == {seed}


def test_of_seeds_that_not_all_runs_have_one_that_they_share_is_drawn():
    early, late = trained(), trained("ift", seed=3)  # 0 to 4 and 3 to 7
    ranks = [ranks_by_median(run.metrics["success"][-1], run.metrics["distance"][-1]) for run in (early, late)]
    sums = {seed: ranks[0][seed] + ranks[1][seed - 3] for seed in (3, 4)}
    together = drawn_together([early.drawing(0), late])
    assert {run.drawn_seed for run in together} == {min(sums, key=sums.get)}


def test_runs_that_share_no_seed_keep_their_own_and_name_it(runs):
    one, other = (replace(run.drawing(seed), every_policy=None) for run, seed in zip(runs, (1, 4), strict=False))
    assert [run.drawn for run in drawn_together([one, other])] == [1, 4]
    assert about_seeds([one, other]) == "drawn: seed 1 of sft, 4 of ift; charts: mean and 95 % interval of 5 seeds"
    film = ComparisonFilm([one, other])
    for column, run, seed in zip(film.columns, (one, other), (1, 4), strict=True):
        ((_, notes),) = column.notes
        assert notes == [f"success {percent(x)}" for x in run.metrics["success"][:, seed]]
    assert "maps and title: seed 1 of SFT, 4 of IFT" in " ".join(text.get_text() for text in film.figure.texts)


def test_a_number_beside_a_map_is_of_that_map(runs):
    """Everywhere the mean of the seeds is another number."""
    together = drawn_together(runs)
    film, seed = ComparisonFilm(runs), together[0].drawn
    for column, run in zip(film.columns, runs, strict=True):
        ((_, notes),) = column.notes
        assert notes == [f"success {percent(x)}" for x in run.metrics["success"][:, seed]]
        np.testing.assert_array_equal(column.run.snapshots, run.drawing(seed).snapshots)
    assert f"Maps and title: seed {seed}." in film.alt and all(run.course in film.alt for run in together)
    figure = PaperFigure(runs, "page", "light")
    shown = [text.get_text() for text in figure.figure.texts]
    for run in runs:
        assert f"success {run.metrics['success'][-1, seed]:.3f} (seed {seed})" in shown
    assert f"drawn for seed {seed} of" in figure.alt


def test_a_picture_draws_the_seed_that_is_asked_for(runs, tmp_path):
    run = runs[0]
    film, figure, page = (tmp_path / name for name in ("film.png", "figure.png", "page.html"))
    for draw, path in ((run.film, film), (run.figure, figure), (run.page, page)):
        pictures = []
        for seed in (1, 3):
            draw(path, seed=seed)
            pictures.append(path.read_bytes())
        assert pictures[0] != pictures[1]
        with pytest.raises(ValueError, match=r"^drawn_seed is 5; allowed: 0 to 4, the seeds of sft$"):
            draw(path, seed=5)
    compare(runs).film(film, seed=4)
    assert "Maps and title: seed 4" in film.with_name("film.png.txt").read_text(encoding="utf-8")


# ---- files ----


def test_a_file_without_a_drawn_seed_draws_the_first(runs, tmp_path):
    """As those of earlier versions, which have the snapshots of one seed as text."""
    path = replace(runs[0].drawing(0), every_policy=None).save(tmp_path / "run.json")
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert entries.pop("drawn") == 0 and isinstance(entries["snapshots"], list) and "policies" not in entries
    path.write_text(json.dumps({**entries, "format": 2}), encoding="utf-8")
    old = Run.load(path)
    assert old.drawn == 0 and old.drawable == [0]
    np.testing.assert_allclose(old.snapshots, runs[0].policies[:, 0], atol=1e-7)


def test_a_run_of_one_seed_is_saved_as_text(tmp_path):
    run = trained(seeds=1)
    entries = json.loads(run.save(tmp_path / "run.json").read_text(encoding="utf-8"))
    assert isinstance(entries["snapshots"], list) and "policies" not in entries
    again = Run.load(tmp_path / "run.json")
    np.testing.assert_array_equal(again.policies[:, 0], again.snapshots)


def test_a_large_run_is_saved_with_the_drawn_seed_alone(runs, tmp_path, monkeypatch):
    full = runs[1].save(tmp_path / "full.json").stat().st_size
    monkeypatch.setattr(files, "MOST_POLICIES", runs[1].policies.size - 1)
    run = replace(runs[1])
    again = Run.load(run.save(tmp_path / "run.json"))
    assert again.drawable == [run.drawn_seed] and (tmp_path / "run.json").stat().st_size != full
    with pytest.raises(ValueError, match=f"was saved with the policies of seed {run.drawn_seed} alone.*or train it again"):
        again.drawing((run.drawn_seed + 1) % 5)


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("drawn", 5, "drawn is 5; allowed: 0 to 4, a seed of the metrics"),
        ("drawn", -1, "drawn is -1; allowed: 0 to 4"),
        ("drawn", 1.5, "drawn is 1.5; allowed: a whole number"),
        ("policies", {"shape": [7, 4, 16, 4], "data": ""}, "policies.shape is [7, 4, 16, 4]; allowed: [7, 5, 16, 4]"),
        ("policies", {"shape": [7, 5, 16, 4], "data": "AAAA"}, "policies.data is 'AAAA'"),
        ("policies", [], "policies is []; allowed: an object"),
    ],
)
def test_a_wrong_entry_of_a_file_is_named(entry, value, words, runs, tmp_path):
    entries = json.loads(runs[0].save(tmp_path / "run.json").read_text(encoding="utf-8"))
    (tmp_path / "run.json").write_text(json.dumps({**entries, entry: value}), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        Run.load(tmp_path / "run.json")
    assert words in str(error.value) and "\n" not in str(error.value)
