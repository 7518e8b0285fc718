"""Figures for a paper fit a page and say what they show: key, updates, seeds, numbers."""

import re
import shutil
import subprocess
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.lines import Line2D
from test_isolation import HOSTILE
from test_paper import METHODS, check, records, taxi_records, words
from test_rendering import lake_record
from test_saved_runs import MAPLESS, record

from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.mdp import Origin
from ift_gridworld.rendering import paper
from ift_gridworld.rendering.caption import latex_table
from ift_gridworld.rendering.method_style import styles_of
from ift_gridworld.rendering.paper import PaperFigure, save_figure
from ift_gridworld.rendering.paper_layout import MAX_HEIGHT, arrange_maps
from ift_gridworld.rendering.paper_options import WIDTHS, FigureOptions
from ift_gridworld.rendering.stages import stages_of_even_change
from ift_gridworld.rendering.text import short_title
from ift_gridworld.rendering.theme import THEMES

SHAPES = {
    "two-paths": LAKES["two-paths"],
    "8x8": LAKES["8x8"],
    "20x20": random_map((20, 20), seed=1),
    "tall": random_map((30, 4), seed=2),
    "wide": random_map((4, 30), seed=2),
    "taxi": None,
}


@pytest.fixture
def maps(monkeypatch):
    """Maps are not drawn, which takes long, but noted: run, index of the snapshot, scale of visits."""
    drawn = []

    def note(ax, run, snapshot, scale, theme):
        ax.axis("off")
        drawn.append((run, snapshot, scale))

    monkeypatch.setattr(paper, "draw_map", note)
    return drawn


def runs_on(shape, count):
    if shape == "taxi":
        return [taxi_records()[i % 2] for i in range(count)]
    return records(SHAPES[shape], count)


def said(figure):
    return [text.get_text() for text, _ in words(figure.figure)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [1, 3, 10])
def test_every_figure_fits_a_page_or_says_what_to_choose(shape, width, count, maps):
    """Its words are large enough, within it, and none over another; its maps can be read."""
    runs = runs_on(shape, count)
    if (count, shape) == (10, "taxi") or (count, shape, width) in [(3, "taxi", "column"), (10, "tall", "column")]:
        complaint = (
            f"^figure is '{width}', on which {count} methods .* cannot be read; allowed: fewer methods, panels without maps"
        )
        with pytest.raises(ValueError, match=complaint):
            PaperFigure(runs, width)
        return
    made = PaperFigure(runs, width)
    assert made.figure.get_size_inches()[1] <= MAX_HEIGHT
    assert made.layout.is_legible and len(maps) == count * len(made.updates)
    check(made.figure, least=7.0, margin=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_maps_lie_within_the_figure_and_apart(shape):
    made = PaperFigure(runs_on(shape, 3), "page", "dark")
    boxes = [ax.get_window_extent() for ax in made.figure.axes[: 3 * len(made.updates)]]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= made.figure.bbox.x1 and box.y1 <= made.figure.bbox.y1
        assert not any(box.shrunk(0.99, 0.99).overlaps(other) for other in boxes[:i])
    check(made.figure, least=7.0, margin=0.02)


@pytest.mark.parametrize("count", [1, 4, 10])
@pytest.mark.parametrize("width", WIDTHS)
def test_all_panels_together_fit_or_are_refused(count, width, maps):
    runs = records(LAKES["two-paths"], count)
    panels = ["maps", *["matrix"] * (count == 1), "seeds", "success", "distance"]
    panels += ["regret", "chosen_logp", "rejected_logp"] * (width == "page")
    if count == 10 and width == "column":
        with pytest.raises(
            ValueError, match="cannot be read; allowed: fewer methods, fewer panels, panels without maps, page$"
        ):
            PaperFigure(runs, width, panels=panels)
        return
    made = PaperFigure(runs, width, panels=panels)
    assert made.figure.get_size_inches()[1] <= MAX_HEIGHT
    check(made.figure, least=7.0, margin=0.02)


def test_all_rows_show_the_same_updates(maps):
    """Runs that keep different snapshots are shown where both have one."""
    one, other = lake_record(title="one"), lake_record(method="dpo", title="other", steps=np.array([0, 2, 4, 9, 16]))
    made = PaperFigure([one, other], "page")
    assert made.updates.tolist() == stages_of_even_change([one, other], len(made.updates)).tolist()
    for run in (one, other):
        assert [int(run.steps[i]) for of, i, _ in maps if of is run] == made.updates.tolist()
    assert set(made.updates) <= {0, 4, 9, 16}
    labels = [text for text in said(made) if text.startswith("update ") and "scale" not in text]
    assert labels == [f"update {update}" for update in made.updates]  # once, over all rows


def test_a_method_that_ended_early_says_so_on_its_map_and_below(maps):
    short = lake_record(title="short", steps=np.array([0, 1, 2, 3, 4]))
    long = lake_record(method="ppo", title="long", steps=np.array([0, 1, 2, 4, 16]))
    made = PaperFigure([short, long], "page", stages=[0, 4, 16])
    assert [int(run.steps[i]) for run, i, _ in maps] == [0, 4, 4, 0, 4, 16]
    assert [text for text in said(made) if re.match(r"(update )?\d+( \(|$)", text) and "update" in text] == [
        "update 0", "update 4", "update 4 (its last)", "update 0", "update 4", "update 16",
    ]  # fmt: skip
    assert "Trained for 4 updates (short) and 16 updates (long)." in " ".join(said(made)).replace("\n", " ")
    assert "Trained for 4 updates (short) and 16 updates (long)." in made.caption("x")


def test_a_method_that_diverged_says_so(maps):
    diverged = lake_record(title="DPO", method="dpo", steps=np.arange(5), diverged="update 5: the loss is nan")
    diverged.metrics["success"][-1] = np.nan
    made = PaperFigure([lake_record(title="IFT"), diverged], "page", stages=[0, 4, 16])
    assert said(made).count("update 4 (diverged)") == 2
    assert "DPO diverged; what is shown is from before." in made.alt
    assert "DPO: success not a number" in made.alt
    check(made.figure, least=7.0, margin=0.02)


def test_chosen_updates_are_shown_and_wrong_ones_refused_in_one_line(maps):
    runs = records(LAKES["4x4"], 2)
    assert PaperFigure(runs, "page", stages=[16, 0]).updates.tolist() == [0, 16]
    for stages, complaint in (
        ([0, 3], "stages has update 3, of which"),
        ([], "stages is empty"),
        ([0, -1], "stages is -1; allowed"),
    ):
        with pytest.raises(ValueError, match=complaint) as error:
            PaperFigure(runs, "page", stages=stages)
        assert "\n" not in str(error.value)


def test_a_number_beside_a_method_is_of_the_seed_that_is_drawn(maps):
    runs = records(LAKES["4x4"], 2)
    made = PaperFigure(runs, "page")
    for run in runs:
        own = run.metrics["success"][-1]
        assert f"success {own[0]:.3f} (seed 0)" in said(made)
        assert f"{own.mean():.3f}" != f"{own[0]:.3f}"
    assert any("seed 0" in text and "95 % interval of 2 seeds" in text for text in said(made))


def test_all_maps_share_one_scale_of_visits_that_none_exceeds(maps):
    runs = [lake_record(slippery=True, title="a"), lake_record(slippery=True, title="b", method="dpo")]
    made = PaperFigure(runs, "page")
    scales = {id(scale) for _, _, scale in maps}
    assert len(scales) == 1
    shown = max(run.visits[i].max() for run, i, _ in maps)
    assert shown > 1.05 and made.scale.end >= shown
    assert "visits an episode" in said(made) and f"{made.scale.end:g}" in said(made)


@pytest.mark.parametrize("theme", THEMES)
def test_the_key_names_marks_and_methods_in_their_styles(theme, maps):
    runs = records(LAKES["4x4"], 10)
    runs[2] = replace(runs[2], rejected=np.array([[0, 1], [1, 2]]), needs="pairs")
    made = PaperFigure(runs, "page", theme)
    names = [short_title(run.title) for run in runs]
    shown = said(made)
    for entry in ("start", "goal", "hole", "demonstrated or chosen path", "rejected path", "likeliest move", *names):
        assert entry in shown
    lines = [artist for artist in made.figure.get_children() if isinstance(artist, Line2D)]
    styles = styles_of(METHODS)
    assert [line.get_color() for line in lines] == [styles[name].colour(THEMES[theme]) for name in METHODS]
    assert [line.get_marker() for line in lines] == [styles[name].marker for name in METHODS]
    curves = made.figure.axes[-2].get_lines()
    assert [(line.get_color(), line.get_marker()) for line in curves] == [
        (line.get_color(), line.get_marker()) for line in lines
    ]


def test_curves_name_their_axis_and_its_scale(maps):
    figure = PaperFigure(records(LAKES["4x4"], 2), "page")
    assert said(figure).count("update (square-root scale)") == 2
    assert "update (√ scale)" in said(PaperFigure(records(LAKES["4x4"], 2), "column"))


def test_curves_lie_within_their_axes_whatever_their_sign(maps):
    made = lake_record(steps=np.array([0, 10, 50, 100, 1000]))
    made.metrics.update(mine=np.linspace(-4, 3, 10).reshape(5, 2), distance=np.full((5, 2), 0.149))
    figure = PaperFigure([made], "page", panels=["mine", "distance"])
    mine, distance = figure.figure.axes
    assert mine.get_ylim()[0] < -4 and mine.get_ylim()[1] > 3
    assert distance.get_ylim()[0] == 0 and 0.85 < 0.149 / distance.get_ylim()[1] < 0.95


def test_a_figure_of_one_seed_has_no_interval(maps):
    run = lake_record()
    alone = replace(
        run, metrics={name: values[:, :1] for name, values in run.metrics.items()}, base=run.base[:1], final=run.final[:1]
    )
    made = PaperFigure([alone], "page", panels=["maps", "success", "seeds"])
    assert "interval" not in " ".join(said(made)) and "without an interval" in made.alt
    assert "[" not in made.caption("x").split("After the last update")[1]
    assert not made.figure.axes[-3].collections  # no band around the curve


def test_a_figure_without_maps_needs_none():
    run = record(Origin(MAPLESS, None, MAPLESS, False, None, 0.99, 10), snapshots=np.full((3, 3, 2), 0.5),
                 base=np.full((2, 3, 2), 0.5), final=np.full((2, 3, 2), 0.5))  # fmt: skip
    assert "Maps" not in PaperFigure([run], "column", panels=["success", "seeds"]).alt
    with pytest.raises(ValueError, match="has no map to draw"):
        PaperFigure([run], "column")


# ---- caption and table ----


def test_the_captions_numbers_are_the_runs(tmp_path, maps):
    runs = records(LAKES["4x4"], 3)
    save_figure(runs, tmp_path / "a figure.pdf", "page", panels=["maps", "success", "chosen_logp", "seeds"])
    caption = (tmp_path / "a figure.caption.tex").read_text(encoding="utf-8")
    assert r"\caption{SFT, IFT and DPO on a frozen lake" in caption and r"\label{fig:a-figure}" in caption
    made = PaperFigure(runs, "page")
    updates = [str(update) for update in made.updates]
    assert f"after {', '.join(updates[:-1])} and {updates[-1]} updates, drawn for seed 0 of 2 seeds" in caption
    ends = caption.split("After the last update (mean over seeds and 95\\,\\% interval): ")[1].rstrip(".}").split("; ")
    for run, part in zip(runs, ends, strict=False):
        for name, title in (
            ("success", "success"),
            ("distance", "distance to optimal"),
            ("chosen_logp", "chosen answer (nats)"),
        ):
            expected = [f"{x:.3f}" if abs(x) < 10 else f"{x:.1f}" for x in metric_interval(name, run.metrics[name][-1])]
            found = re.search(re.escape(title) + r" (\S+) \[(\S+), (\S+)\]", part)
            assert [number.strip("$") for number in found.groups()] == expected


def test_the_caption_takes_any_name(maps):
    run = lake_record(title="50% of a_b & {more} · x")
    text = PaperFigure([run], "page").caption("odd #name%")
    assert r"50\% of a\_b \& \{more\}" in text and r"\label{fig:odd-name-}" in text


def test_a_latex_table_holds_the_same_numbers():
    """One row for the base and one a method; titles of methods; updates where they differ."""
    runs = records(LAKES["4x4"], 5)
    lines = latex_table(runs).splitlines()
    assert lines[5].startswith("base & ") and len([line for line in lines if line.endswith(r"\\")]) == 7
    mean, low, high = (f"{x:.3f}" for x in metric_interval("success", runs[4].metrics["success"][-1]))
    assert rf"DPO online & ${mean}$ {{\small [${low}$, ${high}$]}}" in lines[10]
    assert "updates" not in lines[3]
    longer = lake_record(method="ppo", title="RLHF · PPO", steps=np.array([0, 1, 2, 3, 600]))
    lines = latex_table([*runs, longer]).splitlines()
    assert lines[3].endswith(r"updates \\") and lines[11].endswith(r"$600$ \\") and lines[10].endswith(r"$16$ \\")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_takes_table_and_caption(tmp_path, maps):
    runs = records(LAKES["4x4"], 3)
    runs[0].metrics["success"][-1] = [3e-5, 0.0]
    picture = save_figure(runs, tmp_path / "figure.pdf")
    (tmp_path / "table.tex").write_text(latex_table(runs), encoding="utf-8")
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\begin{figure}"
        rf"\includegraphics{{{picture.name}}}\input{{figure.caption}}\end{{figure}}\input{{table}}\end{{document}}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


# ---- choices ----


@pytest.mark.parametrize(("name", "width", "named"), [("x.gif", "page", "png, pdf, svg"), ("x.png", "poster", "column, page")])
def test_what_cannot_be_drawn_is_refused(tmp_path, name, width, named):
    with pytest.raises(ValueError, match=named):
        save_figure(records(LAKES["4x4"], 1), tmp_path / name, width)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        (
            {"panels": ["maps", "sucess"]},
            "panels is 'sucess'; did you mean success\\? allowed: maps, matrix, seeds, frontier, success",
        ),
        ({"panels": ["maps", "maps"]}, "panels is 'maps,maps', which names 'maps' twice"),
        ({"panels": []}, "panels is empty; allowed: maps"),
        ({"panels": ["matrix"]}, "panels is 'matrix', which is drawn of one run, not of 2"),
        ({"font": "gothic"}, "font is 'gothic'; allowed: sans, serif"),
        ({"stages": [0, 1, 4, 9, 16] * 9, "width": "column"}, None),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(choices, complaint, maps):
    runs = records(LAKES["4x4"], 2)
    if complaint is None:
        assert PaperFigure(runs, **choices).updates.tolist() == [0, 1, 4, 9, 16]  # each once
        return
    with pytest.raises(ValueError, match=f"^{complaint}"):
        PaperFigure(runs, **choices)


def test_too_many_stages_name_what_to_choose():
    runs = records(LAKES["8x8"], 10)
    with pytest.raises(ValueError, match="allowed: fewer methods, fewer stages, panels without maps, page$"):
        PaperFigure(runs, "column", stages=[0, 1, 4, 9, 16])


def test_latex_is_asked_for_in_one_line_where_there_is_none(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(ValueError, match="^usetex is True, but this machine has no latex and no dvipng; allowed: font serif"):
        FigureOptions(usetex=True)


@pytest.mark.parametrize("font", ["sans", "serif"])
def test_every_word_is_in_the_chosen_font(font, maps):
    figure = PaperFigure(records(LAKES["4x4"], 2), "page", font=font).figure
    family = {"sans": "DejaVu Sans", "serif": "STIXGeneral"}[font]
    assert {text.get_fontfamily()[0] for text, _ in words(figure)} == {family}
    check(figure, least=7.0, margin=0.02)


@pytest.mark.parametrize("theme", THEMES)
def test_a_figure_without_background_shows_what_lies_behind_it(tmp_path, theme, maps):
    for transparent in (True, False):
        path = save_figure(
            records(LAKES["4x4"], 2), tmp_path / "x.png", theme=theme, panels=["distance"], transparent=transparent
        )
        pixels = imread(path)
        background = pixels[0, 0]
        assert (background[3] if len(background) == 4 else 1.0) == (0.0 if transparent else 1.0)
        assert pixels.shape[1] == round(600 * WIDTHS["column"])
        if transparent:  # within the chart as well
            assert (pixels[..., 3] == 0).mean() > 0.5


def test_a_figure_is_the_same_under_any_settings():
    """To the last bit, and the reader's own settings are as they were."""
    runs = records(LAKES["two-paths"], 2)

    def drawn():
        made = PaperFigure(runs, "column", font="serif", panels=["maps", "success", "seeds"])
        return made.written_as("svg") + made.written_as("pdf") + made.figure.canvas.get_supported_filetypes()["png"].encode()

    usual = drawn()
    with mpl.rc_context(HOSTILE):
        assert drawn() == usual
        assert mpl.rcParams["font.size"] == HOSTILE["font.size"]


def test_more_stages_are_shown_only_where_maps_stay_readable():
    """On a page: five maps of each of two methods, fewer of each of ten; and none is too small to read."""
    grid = lake_record(LAKES["8x8"]).mdp.grid
    few, many = (arrange_maps(grid, FigureOptions("page"), methods, 6.5, 9) for methods in (2, 10))
    assert few.stages == 5 > many.stages and few.is_good and many.is_good
    assert many.height <= 6.5
    with pytest.raises(ValueError, match="cannot be read"):
        arrange_maps(grid, FigureOptions("page"), 10, 1.0, 9)
