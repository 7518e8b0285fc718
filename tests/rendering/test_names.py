"""What the user names is text in every output: in tables, pictures, pages, LaTeX, notebooks and the words beside pictures.

Pictures are judged by the text that they hold: as matplotlib has it when it is drawn, and as SVG and PDF are read again.
"""

import json
import logging
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from rich.console import Console
from test_explain import TWO_PATHS, told
from test_page import lake_record

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.escape import latex_text, printable
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.rendering import fonts, text
from ift_gridworld.rendering.caption import latex_table
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.explain_film import ExplainFilm
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.optimal_still import OptimalPolicyStill
from ift_gridworld.rendering.paper import PaperFigure
from ift_gridworld.rendering.study_figures import Estimate, Heatmap, StudyFigure
from ift_gridworld.rendering.text import Number, shorten, text_width
from ift_gridworld.runtime import console
from ift_gridworld.training.run import Run

HOSTILE = [
    "a[/b] [red]x[/] :smile:",  # rich
    "<!-- <script>alert(1)</script> &amp; ' \"",  # HTML, SVG
    "]]> /*DATA*/ /*TITLE*/ </title>",
    "$x^$ $\\frac{ a_b 50% #1 ~ \\",  # mathematics, LaTeX
    "a\nb\r\\input{c}\u2028d",  # a line more
    "\x1b[31mred\x07\x00\x9b \u202e",  # a terminal
    "湖の名前 🦊",  # no glyph
    "\udcff.txt",  # the name of a file that is no UTF-8
    "x" * 300,
]
IDS = ["rich", "html", "template", "mathematics", "lines", "terminal", "glyphs", "surrogate", "long"]

DRAWN = ["$x^$ \\frac{ a_b", "<b>&]]> 湖の", "\x1b[3m\n\udcff", "x" * 300]  # the same, fewer: drawing takes its time


def hostile_record(name, method="ift", **changes):
    """A run whose environment, title and metric have the name."""
    plain = lake_record(method)
    metrics = {**plain.metrics, name: plain.metrics["success"]}
    changed = {"title": f"{name} · {name}", "environment": replace(plain.environment, name=name), "metrics": metrics}
    return replace(plain, **{**changed, **changes})


@pytest.fixture(params=HOSTILE, ids=IDS)
def name(request):
    return request.param


@pytest.fixture(params=DRAWN, ids=["mathematics", "SVG", "terminal", "long"])
def drawn(request):
    return request.param


@pytest.fixture(autouse=True)
def no_warnings(caplog):
    """Matplotlib warns of a glyph that is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert not [r for r in caplog.records if r.name.startswith("matplotlib")]


def as_seen(text):
    """The string of a text as a reader sees it."""
    return text.get_text().replace(r"\$", "$")


def texts(figure):
    """The strings that a figure shows."""
    return [as_seen(text) for text in figure.findobj(Text)]


def shown_as(name):
    """The first letters of a name in a picture."""
    return fonts.drawable(printable(name))[:12]


PICTURES = {
    "film": lambda name: MethodFilm(hostile_record(name)),
    "comparison": lambda name: ComparisonFilm([hostile_record(name), hostile_record(name, "sft")]),
    "still": lambda name: OptimalPolicyStill(name, {name: TabularMDP.from_map(["SF", "FG"], name=name)}),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_films_show_the_name_and_tell_it_in_words(picture, drawn, tmp_path):
    film = PICTURES[picture](drawn)
    path = film.save(tmp_path / "picture.svg")
    named = [text for text in film.figure.findobj(Text) if as_seen(text).startswith(shown_as(drawn))]
    assert named and all(text.get_window_extent().x1 <= film.figure.bbox.width for text in named)
    ElementTree.parse(path)
    words = (tmp_path / "picture.svg.txt").read_text(encoding="utf-8")
    assert printable(drawn) in words and words.count("\n") == 1


def test_figures_for_a_paper_take_the_name(drawn):
    runs = [hostile_record(drawn), hostile_record(drawn, "sft")]
    figure = PaperFigure(runs, "column", "light")
    figure.figure.canvas.draw()  # as PNG, PDF and SVG do
    assert any(text.startswith(shown_as(drawn)) for text in texts(figure.figure))
    assert printable(drawn) in figure.alt and "\n" not in figure.alt


def test_an_explained_update_takes_the_name(drawn):
    film = ExplainFilm(told("ift"), TWO_PATHS, f"{drawn} · table")
    film.frame(0)
    assert any(text.startswith(shown_as(drawn)) for text in texts(film.figure)) and "\n" not in film.alt


def test_figures_of_a_study_take_the_name(drawn, tmp_path):
    figure = StudyFigure(2.0, "light")
    figure.draw_heatmap(Heatmap("title", [drawn], ["a"], np.ones((1, 1))), 2, 0.5, 1, 1, limits=(0, 1))
    figure.draw_forest([drawn], {"a": [None]}, 4, 0.5, 1, 1, label="x")
    figure.save(tmp_path / "figure.pdf", drawn)
    for ax in figure.figure.axes:
        assert as_seen(ax.get_yticklabels()[0]).startswith(fonts.drawable(drawn)[:5])
    assert (tmp_path / "figure.png.txt").read_text(encoding="utf-8") == f"{printable(drawn)}\n"


def test_legends_name_what_begins_with_an_underscore():
    """Which matplotlib leaves out: a method of the user's, say."""
    study = StudyFigure(2.0, "light")
    ax = study.draw_forest(["row"], {name: [Estimate(0.1, 0.0, 0.2)] for name in ("_mine", "sft")}, 2, 0.5, 1, 1, label="x")
    study.add_legend(ax, 0.1, 1.8, 2)
    (legend,) = study.figure.legends
    assert [as_seen(text).strip() for text in legend.get_texts()] == ["_mine", "sft"]
    paper = PaperFigure([lake_record(method="_mine"), lake_record(method="sft")], "column", "light").figure
    assert any("_mine" in text.lower() for text in texts(paper))


def test_tables_show_the_name_in_any_console(name, capsys):
    """On the command line, in a string, and printed by a console of the reader's own, where strings are markup."""
    run = hostile_record(name)
    narrow = printable(name)[:10]
    console().print(run.table())
    own = Console(width=200, record=True)
    own.print(run.table())
    for printed in (capsys.readouterr().out, str(run.table()), own.export_text(), repr(run)):
        assert narrow in printed and not set(printed) & set("\x1b\x07\x00\x9b\u202e\udcff")


def test_latex_prints_the_name(name):
    lines = latex_table([hostile_record(name), hostile_record(name, method=name)]).splitlines()
    assert lines[0].startswith("%") and lines[1] == r"\begin{tabular}{lrrrr}" and len(lines) == 10
    assert latex_text(name.replace("_", " ")) in lines[3]  # the metric of that name
    assert lines[7].startswith(f"{latex_text(name)} 2 & $")  # of two runs with one title, the second


def test_notebooks_show_the_name(drawn):
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.text, self.alt = [], "", ""

        def handle_starttag(self, tag, attributes):
            self.tags.append(tag)
            self.alt += dict(attributes).get("alt") or ""

        def handle_data(self, data):
            self.text += data

    reader = Reader()
    reader.feed(hostile_record(drawn)._repr_html_())
    assert reader.tags == ["img", "pre"]
    assert printable(drawn)[:10] in reader.text and printable(drawn) in reader.alt


@pytest.mark.slow
def test_the_page_shows_the_name_as_text(name, visit):
    """In the title, in headings and among the methods; nothing of it is an element or runs."""
    page = visit([hostile_record(name), hostile_record(name, "sft")])
    title = page.title()
    assert page.locator("#boards .full").first.text_content().startswith(printable(name)[:40])
    assert " ".join(title.split()).startswith(" ".join(printable(name).split())[:40])
    assert page.locator("script").count() == 4 and page.locator("main").count() == 1
    label = page.locator("#charts canvas").nth(2).get_attribute("aria-label")
    assert label.startswith(printable(name.replace("_", " "))[:40])
    assert page.locator("#methods button").first.get_attribute("title").startswith(printable(name)[:40])


def test_states_and_actions_of_any_name_are_text(visit, tmp_path):
    """As a plugin may name them: in the page's inspector and legend, and on films."""
    names = ("<i>a</i>&amp;", "$x^$", "a\x1b[31m$y_$", "]]>")
    plain = TabularMDP.from_map(LAKES["two-paths"])
    grid = GridLayout.of(LAKES["two-paths"])
    grid = replace(grid, names=tuple(f"<b>{s}</b>$x^$" for s in range(16)), headings=((0, 0, "$x^$"),))
    mdp = replace(plain, actions=names, custom_grid=grid, check=True)
    run = lake_record(made_of=mdp)
    page = visit([run])
    assert page.locator("#tile h2").text_content() == "tile: <b>0</b>$x^$"
    assert page.locator("#tile th[scope=row]").all_text_contents()[:4] == list(names)
    for film in (MethodFilm(run), ComparisonFilm([run])):
        film.save(tmp_path / "film.svg")
        ElementTree.parse(tmp_path / "film.svg")
    explanation = replace(told("ift"), before=run.snapshots[0], after=run.snapshots[1])
    for index in range(0, len(film := ExplainFilm(explanation, mdp, "about")), 12):
        film.frame(index)


def test_a_saved_run_with_such_a_name_shows_it_the_same_way(name, tmp_path):
    """What a file holds is shown as what a program holds; ANSI escapes of a stranger's file do not reach the terminal."""
    path = lake_record().save(tmp_path / "run.json")
    entries = json.loads(path.read_text(encoding="utf-8"))
    entries["lake"]["name"] = entries["title"] = name
    path.write_text(json.dumps(entries), encoding="utf-8")
    run = Run.load(path)
    assert (run.environment.name, run.title) == (printable(name), printable(name))
    assert run.about.startswith(printable(name))


# ---- fonts ----


@pytest.fixture
def font(tmp_path, monkeypatch):
    """A font of one sign, as if it were installed, and matplotlib's fonts as they were afterwards."""
    square = TTGlyphPen(None)
    for start, *others in [((0, 0), (0, 900), (900, 900), (900, 0))]:
        square.moveTo(start)
        for corner in others:
            square.lineTo(corner)
        square.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "lake"])
    builder.setupCharacterMap({ord("湖"): "lake"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "lake": square.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "lake": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Lakes", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "lakes.ttf")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "lakes.ttf")
    caches = (fonts._face_with, fonts._escape, text._text_width, text._shorten)
    for cache in caches:
        cache.cache_clear()
    yield "Lakes"
    for cache in caches:
        cache.cache_clear()
    Number._glyphs.pop("湖", None)


def test_a_sign_is_drawn_in_an_installed_font_that_has_it(font):
    assert fonts.drawable("a湖") == "a湖" and fonts.font_for("a湖").get_family()[-1] == font
    figure = Figure(dpi=100)
    canvas = FigureCanvasAgg(figure)
    text = figure.text(0.5, 0.5, "湖", size=72)
    fonts.use_fonts(figure)
    canvas.draw()
    assert text.get_fontfamily()[-1] == font
    assert round(text_width("湖", 72.0), 2) == 0.9  # the square of the font: 0.9 of an inch
    pixels = np.asarray(canvas.buffer_rgba())[..., 0] < 128
    assert abs(pixels.sum() - 90**2) < 0.05 * 90**2


def test_bold_type_of_a_font_that_has_none_is_regular(font):
    assert [fonts.font_for(text, bold=True).get_weight() for text in ("a", "a湖")] == ["bold", "normal"]


def test_a_sign_of_no_font_is_its_escape_and_told_once(caplog):
    fonts._escape.cache_clear()
    with caplog.at_level(logging.WARNING):
        shown = [shorten("\U0001fac8", 9.0, size) for size in (8.0, 9.0)]
    assert shown == ["\\U0001fac8"] * 2
    assert [r.getMessage() for r in caplog.records] == ["no installed font has \U0001fac8; pictures show it as \\U0001fac8"]


def test_texts_in_the_usual_font_stay_as_they_are():
    figure = Figure()
    text = figure.text(0.5, 0.5, "π · θ", family="serif", weight="light")
    fonts.use_fonts(figure)
    assert (text.get_fontfamily(), text.get_fontweight()) == (["serif"], "light")


def test_origins_name_is_one_line():
    assert Origin("a\nb", ("SG",), None, False, None, 0.9, 9).name == r"a\nb"


@pytest.mark.parametrize("words", ["the policy walks", "IFT", "O", "D)", "θ(a|s) → 0.5…", "frozen_lake D"])
@pytest.mark.parametrize("bold", [False, True])
def test_the_width_of_text_is_that_of_its_outline(words, bold):
    """As matplotlib measures it, which evaluates every curve; O, D and ) end in the middle of one."""
    outline = TextPath((0, 0), words, size=9.0, prop=FontProperties(weight="bold" if bold else "normal"))
    assert text_width(words, 9.0, bold=bold) * 72 == pytest.approx(outline.get_extents().x1, abs=1e-9)
