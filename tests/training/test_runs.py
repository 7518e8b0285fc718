"""A run is what training leaves: in a few words, in a file and back, in every kind of picture, beside others."""

import base64
import io
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image
from test_mdp import same_arrays
from test_saved_runs import MAPLESS

from ift_gridworld import Run, TabularMDP, compare, train
from ift_gridworld.data import demonstrations
from ift_gridworld.envs import GridLayout
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.evaluation.metrics import MEASURES
from ift_gridworld.planning import evaluate_policy, occupancy
from ift_gridworld.rendering.text import short_title
from ift_gridworld.training import files, make_base

TWO_PATHS = TabularMDP.make("two-paths")


def trained(method="ift", mdp=TWO_PATHS, *, seeds=2, steps=4, base="mixture", **options):
    return train(method, mdp, make_base(base, mdp, policy="tabular", seeds=seeds), steps=steps, **options)


@pytest.fixture(scope="module")
def runs():
    return {method: trained(method) for method in ("sft", "ift", "dpo")}


def same_runs(one, other):
    """All that a file holds."""
    for field in fields(Run):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("made_of", "every_policy"):
            continue
        if field.name in ("metrics", "estimation"):
            np.testing.assert_equal(ours, theirs)
        elif isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        else:
            assert ours == theirs, field.name


# ---- in words ----


def test_repr_is_a_few_lines_that_say_where_it_went():
    run = trained(seeds=3, steps=20)
    first, last = (run.metrics["success"][i].mean() for i in (0, -1))
    assert repr(run).splitlines() == [
        f"Run(ift on two-paths: 20 updates, {len(run.steps)} snapshots, 3 seeds)",
        f"  success {first:.3f} -> {last:.3f}, "
        f"distance {run.metrics['distance'][0].mean():.3f} -> {run.metrics['distance'][-1].mean():.3f} (means of 3 seeds)",
    ]
    assert first != last


def test_repr_of_any_run_is_at_most_four_lines(runs):
    """Of a large one, of one that diverged, of one without a time limit."""
    large = trained(mdp=TabularMDP.make("40x40", seed=1), seeds=1, steps=2)
    diverged = trained("ipo", steps=30, learning_rate=9e29)
    cliff = trained(mdp=TabularMDP.make("CliffWalking-v1"), steps=2)
    for run in (*runs.values(), large, diverged, cliff):
        assert len(repr(run).splitlines()) <= 4 and max(map(len, repr(run).splitlines())) < 160
    assert f"diverged: {diverged.diverged}" in repr(diverged) and "diverged" not in repr(cliff)
    assert "regret" in repr(cliff) and "success" not in repr(cliff)
    assert repr(compare([runs["sft"], runs["ift"]])).splitlines()[1].strip() == repr(runs["sft"]).splitlines()[0]


def test_what_is_computed_of_the_drawn_seed(runs):
    run = runs["ift"]
    np.testing.assert_allclose(run.values, evaluate_policy(TWO_PATHS, run.snapshots))
    np.testing.assert_allclose(run.visits, occupancy(TWO_PATHS, run.snapshots, discount=1.0, horizon=100))
    np.testing.assert_allclose(run.snapshots, run.policies[:, run.drawn], atol=1e-7)
    assert run.seeds == 2 and run.custom_metrics == [] and run.headline == "success"
    assert run.about == "two-paths · no slip · table"
    assert run.with_settings(base="mixture").about == "two-paths · no slip · table · base: mixture"


def test_settings_that_are_added_do_not_replace_its_own(runs):
    run = runs["ift"].with_settings(mixing=0.9, note="by hand")
    assert (run.settings["mixing"], run.settings["note"]) == (0.2, "by hand")
    assert "note" not in runs["ift"].settings and run.method == "ift"


# ---- in a file ----


@pytest.mark.parametrize("method", ["sft", "ift", "dpo"])
def test_a_run_comes_back_to_the_last_bit(method, runs, tmp_path):
    run = runs[method]
    again = Run.load(run.save(tmp_path / "run.json"))
    same_runs(run, again)
    same_arrays(again.mdp, run.mdp)
    assert set(again.metrics) == set(MEASURES)
    assert again.save(tmp_path / "again.json").read_bytes() == (tmp_path / "run.json").read_bytes()
    assert repr(again) == repr(run) and again.about == run.about


def test_a_loaded_run_has_the_policies_of_all_seeds_unless_it_is_too_large(runs, tmp_path, monkeypatch):
    run = runs["sft"]
    again = Run.load(run.save(tmp_path / "run.json"))
    np.testing.assert_array_equal(again.policies, run.policies.astype(np.float32))
    monkeypatch.setattr(files, "MOST_POLICIES", run.policies.size - 1)
    alone = Run.load(replace(run, seconds=1.0).save(tmp_path / "run.json"))
    with pytest.raises(ValueError, match="saved with the policies of the drawn seed alone; allowed: snapshots, base and"):
        _ = alone.policies
    assert run.policies.shape == (5, 2, 16, 4) and alone.snapshots.shape == (5, 16, 4)
    assert alone.drawable == [run.drawn_seed] and again.drawable == [0, 1]
    other = 1 - run.drawn_seed
    with pytest.raises(ValueError) as error:
        alone.drawing(other)
    assert str(error.value).startswith(f"drawn_seed is {other}, but sft was saved with the policies of seed {run.drawn_seed} ")
    assert "\n" not in str(error.value)


def doubled():
    """A lake whose rewards somebody has changed: no name makes it again."""
    mdp = TabularMDP.make("4x4", is_slippery=True, discount=0.9)
    return replace(mdp, reward=np.where(mdp.reward > 0, 2.0, mdp.reward - 0.25 * ~mdp.terminal[:, None, None]))


def scattered():
    """Five states in a row of arrays, drawn on a board of their own, with walls, marks, headings and names."""
    next_state = np.array([[[max(s - 1, 0)], [s + 1]] for s in range(4)] + [[[4], [4]]])
    grid = GridLayout(
        ("   SF", "G FF "),
        np.array([(0, 3), (0, 4), (1, 3), (1, 2), (1, 0)]),
        np.array([[(1, 3), (1, 4)]]),
        {"passenger": np.array([(0, 3)]), "destination": np.array([(1, 0)])},
        ((0, 0, "east"),),
        ("one", "two", "three", "four", "five"),
    )
    reward = np.zeros((5, 2, 1))
    reward[3, 1] = 1.0
    ends = (next_state == 4) & (np.arange(5)[:, None, None] >= 3)
    start = np.array([0.5, 0.5, 0.0, 0.0, 0.0])
    return TabularMDP(next_state, np.ones((5, 2, 1)), reward, ends, start, 0.95, 20, None, ("back", "on"), grid)


@pytest.mark.parametrize("make", [doubled, scattered])
def test_a_run_on_arrays_alone_is_saved_with_them(make, tmp_path):
    """Everything is drawn from the file as it is after training."""
    mdp = make()
    run = trained("sft", mdp, base="random")
    again = Run.load(run.save(tmp_path / "run.json"))
    assert mdp.origin is None and not run.environment.can_be_made
    same_runs(run, again)
    same_arrays(again.mdp, mdp)
    assert run.mdp is mdp and again.mdp is not mdp
    grid, drawn = mdp.grid, again.mdp.grid
    assert (drawn.rows, drawn.headings, drawn.names) == (grid.rows, grid.headings, grid.names)
    for name in ("place", "walls"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(grid, name))
    np.testing.assert_equal(dict(drawn.marks), dict(grid.marks))
    assert run.film(tmp_path / "one.png").read_bytes() == again.film(tmp_path / "two.png").read_bytes()
    assert again.save(tmp_path / "again.json").read_bytes() == (tmp_path / "run.json").read_bytes()
    with pytest.raises(ValueError, match="is known by name alone"):
        _ = run.environment.mdp


def test_a_file_names_things_as_files_of_earlier_versions_do(runs, tmp_path):
    """So that those are read too: the environment as "lake", the first demonstration as "shown"."""
    import json

    saved = json.loads(runs["dpo"].save(tmp_path / "dpo.json").read_text())
    assert {"lake", "shown", "rejected", "supposes", "settings", "versions", "metrics", "optimum", "format"} <= set(saved)
    assert saved["lake"]["rows"] == list(LAKES["two-paths"]) and saved["format"] == 3 and saved["supposes"] == "dpo"
    assert saved["shown"] == runs["dpo"].demonstration.tolist() and saved["rejected"] == runs["dpo"].rejected.tolist()
    assert not {"made_of", "every_policy", "mdp", "environment"} & set(saved)


# ---- in pictures ----

SIGNS = {"gif": b"GIF8", "png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml", "html": b"<!doctype html"}


@pytest.mark.parametrize("kind", SIGNS)
def test_film_writes_what_its_suffix_says(kind, runs, tmp_path):
    path = tmp_path / f"ift.{kind}"
    assert runs["ift"].film(path) == path and path.read_bytes().lower().startswith(SIGNS[kind].lower())
    if kind == "gif":
        assert Image.open(path).n_frames == len(runs["ift"].steps)
    if kind != "html":
        assert "IFT" in (tmp_path / f"ift.{kind}.txt").read_text()
    both = compare([runs["sft"], runs["ift"]]).film(tmp_path / f"both.{kind}", theme="dark")
    assert both.read_bytes().lower().startswith(SIGNS[kind].lower()) and both.stat().st_size != path.stat().st_size


def test_a_theme_changes_the_picture(runs, tmp_path):
    light, dark = (Image.open(runs["ift"].film(tmp_path / f"{t}.png", theme=t)).convert("L") for t in ("light", "dark"))
    assert np.mean(light) > 150 > 100 > np.mean(dark)


@pytest.mark.parametrize(("width", "inches"), [("column", 3.3), ("page", 6.9)])
def test_figure_is_as_wide_as_a_paper_wants_it(width, inches, runs, tmp_path):
    path = runs["ift"].figure(tmp_path / "ift.pdf", width=width)
    assert f"/MediaBox [ 0 0 {72 * inches:g} ".encode() in path.read_bytes()
    both = compare([runs["sft"], runs["dpo"]]).figure(tmp_path / "both.svg", width=width)
    assert f'width="{72 * inches:g}pt"' in both.read_text()
    assert f"/MediaBox [ 0 0 {72 * 3.3:g} ".encode() in runs["ift"].figure(tmp_path / "default.pdf").read_bytes()


def test_page_holds_every_run(runs, tmp_path):
    one = runs["ift"].page(tmp_path / "one.html").read_text()
    both = compare([runs["sft"], runs["dpo"]]).page(tmp_path / "both.html").read_text()
    names = [re.findall(r'"name":"(\w+)","title":"\w+","full"', page) for page in (one, both)]
    assert names == [["ift"], ["sft", "dpo"]]


def test_table_and_latex_hold_the_numbers(runs, tmp_path):
    comparison = compare(runs.values())
    text, latex = str(comparison.table()), comparison.latex(tmp_path / "table.tex").read_text()
    for name, run in runs.items():
        success = f"{run.metrics['success'][-1].mean():.3f}"
        assert f"│ {name} " in text and success in text
        assert f"{short_title(run.title)} & ${success}$" in latex
    assert f"{runs['sft'].metrics['success'][0].mean():.3f}" in text, "the base"
    assert "sft" in str(runs["sft"].table()) and "dpo" not in str(runs["sft"].table())
    assert max(map(len, str(comparison.table(80)).splitlines())) <= 120


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda run, folder: run.film(folder / "x.bmp"), ["format is 'bmp'", "gif", "html"]),
        (lambda run, folder: run.film(folder / "x"), ["format is ''"]),
        (lambda run, folder: run.film(folder / "x.gif", theme="pink"), ["theme is 'pink'", "light, dark"]),
        (lambda run, folder: run.figure(folder / "x.gif"), ["'gif'", "png, pdf, svg"]),
        (lambda run, folder: run.figure(folder / "x.pdf", width="poster"), ["'poster'", "column, page"]),
        (lambda run, folder: run.save(folder), ["is a folder"]),
    ],
)
def test_a_picture_that_there_is_not_is_told_in_one_line(draw, named, runs, tmp_path):
    with pytest.raises(ValueError) as error:
        draw(runs["ift"], tmp_path)
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value), str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_environment_without_a_map_has_a_table_but_no_picture(tmp_path):
    run = trained("sft", TabularMDP.make(MAPLESS), base="random")
    assert "sft" in str(run.table()) and run._repr_png_() is None
    assert "<img" not in run._repr_html_() and "sft" in run._repr_html_()
    for draw in (run.film, run.page, run.figure):
        with pytest.raises(ValueError, match="Corridor.* has no map to draw"):
            draw(tmp_path / ("x.html" if draw == run.page else "x.pdf"))
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_a_picture_over_a_table(runs):
    for shown, methods in ((runs["ift"], ["ift"]), (compare([runs["sft"], runs["dpo"]]), ["sft", "dpo"])):
        picture = Image.open(io.BytesIO(shown._repr_png_()))
        assert picture.format == "PNG" and picture.width > 500
        page = shown._repr_html_()
        inside = re.search(r'<img [^>]*src="data:image/png;base64,([^"]+)" alt="([^"]+)"', page)
        assert base64.b64decode(inside[1]) == shown._repr_png_() and len(inside[2]) > 50
        assert all(f"│ {name} " in page for name in methods) and "success within 100 steps" in page


# ---- beside others ----


def test_runs_of_one_environment_stand_beside_each_other_in_order(runs):
    comparison = compare([runs["dpo"], runs["sft"]])
    assert [run.method for run in comparison] == ["dpo", "sft"] and len(comparison) == 2
    assert comparison.runs == (runs["dpo"], runs["sft"])


def test_a_run_from_a_file_stands_beside_a_fresh_one(runs, tmp_path):
    compare([runs["sft"], Run.load(runs["ift"].save(tmp_path / "ift.json"))])
    mdp = doubled()
    fresh, saved = trained("sft", mdp), trained("ift", mdp)
    assert len(compare([fresh, Run.load(saved.save(tmp_path / "own.json"))])) == 2


@pytest.mark.parametrize(
    "other",
    [
        TabularMDP.make("4x4"),
        TabularMDP.make("two-paths", is_slippery=True),
        TabularMDP.make("two-paths", discount=0.9),
        TWO_PATHS.with_time_limit(50),
        replace(TWO_PATHS, reward=2 * TWO_PATHS.reward),
    ],
    ids=["another map", "slippery", "another discount", "another time limit", "other rewards"],
)
def test_runs_on_two_environments_are_refused(other, runs):
    with pytest.raises(ValueError, match="^the runs are on 2 environments; allowed side by side: runs on one$"):
        compare([runs["sft"], trained("sft", other), runs["ift"]])


def test_environments_of_arrays_are_told_apart_by_their_arrays():
    """Both are called custom 4x4."""
    one = doubled()
    other = replace(one, reward=one.reward + 0.5 * (one.reward == 2))
    assert one.where == other.where
    compare([trained("sft", one), trained("ift", replace(one))])
    with pytest.raises(ValueError, match="the runs are on 2 environments"):
        compare([trained("sft", one), trained("sft", other)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "^there are no runs; allowed: one or more$"),
        (["sft.json"], "^a run is 'sft.json'; allowed: what train or Run.load returns$"),
        ([demonstrations(TWO_PATHS, 1)], "^a run is .*allowed: what train or Run.load returns$"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(given, message):
    with pytest.raises(ValueError, match=message) as error:
        compare(given)
    assert "\n" not in str(error.value)


def test_what_is_saved_into_no_folder_names_the_folder(tmp_path):
    run = trained("sft")
    for write in (run.save, run.film, run.page, run.figure):
        with pytest.raises(FileNotFoundError) as error:
            write(tmp_path / "nowhere" / ("x.html" if write == run.page else "x.png"))
        assert error.value.filename == str(tmp_path / "nowhere")


def test_a_page_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match=r"the page's path is '.*x.gif'; allowed: one that ends in .html"):
        trained("sft").page(tmp_path / "x.gif")
    assert not list(tmp_path.iterdir())


def test_one_run_is_no_list_of_runs():
    with pytest.raises(ValueError, match="runs is one Run, of sft; allowed: a list of runs"):
        compare(trained("sft"))


@pytest.mark.parametrize(
    ("content", "words"), [(None, "there is no such file"), ("no json", "it is no JSON"), ('{"a": 1}', "it has no 'format'")]
)
def test_why_a_file_is_no_run_is_told_in_words(content, words, tmp_path):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=f"run.json is not a saved run that can be read: {words}"):
        Run.load(path)
