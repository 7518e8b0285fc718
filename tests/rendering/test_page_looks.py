"""What the page's colours, words and marks say, and whether everybody can see and reach them."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_page import data_of, hover, lake_record, number
from test_saved_runs import record
from test_theme import contrast

from ift_gridworld.envs.maps import random_map
from ift_gridworld.mdp import Origin
from ift_gridworld.planning import optimal_policy
from ift_gridworld.rendering import page as page_module
from ift_gridworld.rendering.method_style import styles_of
from ift_gridworld.rendering.page import MAX_BYTES, save_page
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.rendering.visit_scale import VisitScale

SIZES = [(1440, 900), (1024, 768), (390, 844)]


def colour(page, selector, what):
    """A colour as it is computed, from `rgb(...)`."""
    text = page.locator(selector).first.evaluate(f"x => getComputedStyle(x).{what}")
    return to_hex([float(x) / 255 for x in re.findall(r"[\d.]+", text)[:3]])


# ---- words ----


def cliff_record(**changes):
    cliff = Origin("CliffWalking-v1", None, "CliffWalking-v1", False, None, 0.99, None)
    policies = np.random.default_rng(0).dirichlet(np.ones(4), (3, 48))
    policies[-1] = optimal_policy(cliff.mdp)
    metrics = {name: np.ones((3, 2)) * scale for name, scale in (("success", 1), ("regret", 326.4), ("distance", 0.1))}
    return record(cliff, metrics=metrics, snapshots=policies, base=policies[:2], final=policies[-2:], **changes)


def test_a_cliff_is_told_by_its_rewards_and_not_as_a_hole(visit):
    """The MDP: a step down from row 3, column 5 costs 100, leads to the start, and the episode goes on."""
    run = cliff_record()
    page, mdp, above = visit([run]), run.mdp, 28
    down = list(mdp.actions).index("down")
    assert (mdp.next_state[above, down, 0], mdp.reward[above, down, 0], mdp.terminated[above, down, 0]) == (36, -100, False)
    hover(page, above + 12)
    told = page.locator("#tile").inner_text()
    assert "Cliff: back to the start, reward −100." in told
    assert "ends the episode" not in told
    assert "regret 326.4" in page.locator(".score").inner_text()  # every policy reaches the goal some day
    hover(page, 47)
    assert "Goal: ends the episode, reward −1." in page.locator("#tile").inner_text()


def test_an_agent_that_falls_says_where(visit):
    falling = np.tile(np.eye(4)[1], (2, 16, 1))  # always down: from the start of this map into the hole below
    run = lake_record(rows=["SFFF", "HFFF", "FFFF", "FFFG"], snapshots=2, steps=np.array([0, 1]))
    object.__setattr__(run, "snapshots", falling)
    page = visit([run])
    page.locator('[data-tile="0"]').first.click()
    page.wait_for_selector("text=ended in the hole after 1 step, reward 0", timeout=3000)


# ---- looks ----


@pytest.mark.parametrize("theme", THEMES)
def test_a_method_has_its_colour_dash_and_marker_everywhere(visit, theme):
    """In its button, on its board and in charts; two runs of one method are told apart."""
    runs = [lake_record(name, seed=i) for i, name in enumerate(("sft", "ift", "dpo", "dpo"))]
    page = visit(runs, color_scheme=theme)
    names = ["sft", "ift", "dpo", "dpo 2"]
    assert page.locator("#methods button").all_inner_texts() == ["SFT", "IFT", "DPO 1", "DPO 2"]
    looks = set()
    for i, (name, style) in enumerate(styles_of(names).items()):
        expected = style.colour(THEMES[theme])
        for selector in (f"#methods button:nth-child({i + 1}) .line", f".board:nth-child({i + 1}) h2 .line"):
            assert colour(page, selector, "stroke") == expected
        curve = f'#chart-success [data-curve="{name}"] .line'
        assert colour(page, curve, "stroke") == expected
        assert colour(page, f'#chart-success [data-dot="{name}"]', "fill") == expected
        dash = page.locator(curve).evaluate("x => getComputedStyle(x).strokeDasharray")
        assert (dash == "none") == isinstance(style.dash, str)
        looks.add((expected, dash, page.locator(f'#chart-success [data-dot="{name}"]').get_attribute("d")))
    assert len(looks) == 4


def test_visits_have_the_scale_of_all_pictures(visit):
    run = lake_record(slippery=True)
    scale = VisitScale.of([run.visits])
    assert scale.is_log
    page = visit([run])
    ticks = [number(text.replace("≤", "")) for text in page.locator(".ticks i").all_inner_texts()]
    assert ticks == list(scale.ticks) and "visits an episode" in page.locator("#legend").inner_text()
    for tile in (0, 1, 4):
        opacity = page.locator(f'[data-tile="{tile}"]').evaluate("x => x.style.fillOpacity")
        np.testing.assert_allclose(float(opacity), float(scale.norm(run.visits[0, tile])), atol=0.002)


def test_change_since_the_base_is_a_colour_and_one_arrow(visit):
    """Total variation, and the difference of the mean moves; at the base there is none."""
    run = lake_record()
    page = visit([run])
    page.select_option("#colour", "change")
    assert page.locator(".arrows").first.get_attribute("d") == "" and "total variation" in page.locator("#legend").inner_text()
    page.locator("#step").fill("2")
    change = run.snapshots[2] - run.snapshots[0]
    for tile in (0, 1, 4):
        opacity = page.locator(f'[data-tile="{tile}"]').evaluate("x => x.style.fillOpacity")
        np.testing.assert_allclose(float(opacity), np.abs(change[tile]).sum() / 2, atol=0.002)
    first = [float(x) for x in re.findall(r"-?[\d.]+", page.locator(".board .arrows").get_attribute("d").split("Z")[0])]
    tip, tail = np.array(first[6:8]), (np.array(first[0:2]) + first[12:14]) / 2  # of seven corners
    move = (change[0] @ run.mdp.moves)[::-1]
    np.testing.assert_allclose((tip - tail) / np.linalg.norm(tip - tail), move / np.linalg.norm(move), atol=0.01)


def test_predictions_are_drawn_tied_and_explained(visit):
    """Without slip, step i's is where the likeliest move of step i - 1 leads; a method that mixes nothing in has none."""
    shown = np.array([[0, 2], [1, 2], [2, 2], [3, 1], [7, 1]])
    runs = [lake_record(demonstration=shown), lake_record("sft", demonstration=shown, assumed_prior="sft")]
    page, mdp = visit(runs), runs[0].mdp
    before = shown[:-1, 0]
    expected = mdp.next_state[before, runs[0].snapshots[0][before].argmax(-1), 0]
    diamonds, ties = (page.locator(f".board {kind}").first.get_attribute("d") for kind in (".prediction", ".tie"))
    tops = [tuple(map(float, top)) for top in re.findall(r"M(\S+) (\S+?)L", diamonds)]
    assert [(int(x // 100), int(y // 100)) for x, y in tops] == [(s % 4, s // 4) for s in expected]
    assert ties.count("M") == np.count_nonzero(expected != shown[1:, 0]) > 0
    assert not page.locator(".board .prediction").nth(1).get_attribute("d")
    hover(page, 1)
    words = "IFT, step 1 of the demonstration: it trains here on 0.8 of this tile and λ = 0.2 of its own prediction, row"
    assert words in page.locator("#tile").inner_text()
    page.uncheck("#predictions")
    assert not page.locator(".board .prediction").first.get_attribute("d")
    assert "λ" not in page.locator("#tile").inner_text() + page.locator("#legend").inner_text()


def test_the_preference_plane_is_what_was_measured(visit):
    """The mean change of both log-probabilities, on straight axes with the base at the ring."""
    random = np.random.default_rng(3)
    metrics = {name: random.random((5, 2)) for name in ("success", "regret", "distance")}
    metrics |= {name: -random.random((5, 2)) * 20 for name in ("chosen_logp", "rejected_logp")}
    run = lake_record("dpo", metrics=metrics)
    page = visit([run])
    points = page.locator("#chart-plane polyline").get_attribute("points")
    drawn = np.array([[float(x) for x in point.split(",")] for point in points.split()])
    for axis, name, sign in ((0, "chosen_logp", 1), (1, "rejected_logp", -1)):
        moved = (metrics[name] - metrics[name][0]).mean(-1)
        slope, start = np.polyfit(moved, drawn[:, axis], 1)
        np.testing.assert_allclose(slope * moved + start, drawn[:, axis], atol=0.06)
        assert slope * sign > 0
        ring = float(page.locator("#chart-plane .origin").get_attribute(("cx", "cy")[axis]))
        np.testing.assert_allclose(ring, start, atol=0.06)
    assert page.locator("#chart-plane .margin").get_attribute("d").count("M") > 2
    page.keyboard.press(".")
    place = page.locator("#chart-plane .dot").get_attribute("transform")
    np.testing.assert_allclose([float(x) for x in re.findall(r"-?[\d.]+", place)[:2]], drawn[1], atol=0.06)


# ---- for everyone ----

# What lies on what: a mark's selector and how it is painted, and what it can lie on.
MARKS = [
    (".arrows", "fill", ("ice", "visited", "changed")),
    (".letter", "fill", ("ice", "visited", "changed")),
    (".here .line", "stroke", ("ice", "visited", "changed", "background")),
    (".board .shown", "stroke", ("ice", "visited", "changed")),
    (".board .rejected", "stroke", ("ice", "visited", "changed")),
    (".tie", "stroke", ("ice", "visited", "changed")),
    (".goal", "fill", ("ice",)),
    (".hole", "stroke", ("background", "ice")),
    (".muted", "color", ("background",)),
    (".chip", "border-color", ("background",)),
    ("#chart-success .cursor", "stroke", ("background",)),
]
# A mark and its edge, of which one stands out from each ground.
EDGED = [(".prediction", "fill", "stroke"), (".walker", "fill", "stroke"), (".trail:not(.edge)", "stroke", None)]


@pytest.mark.parametrize("theme", THEMES)
def test_every_mark_stands_out(visit, theme):
    """By 3 to 1 from all that it can lie on, in the colours that the browser computes; a mark with an edge by either."""
    page = visit([lake_record("ift"), lake_record("dpo", rejected=np.array([[0, 1], [4, 1]]))], color_scheme=theme)
    names = ("ice", "visited", "changed", "background")
    grounds = {
        name: page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')") for name in names
    }
    for selector, what, lies_on in MARKS:
        for ground in lies_on:
            mark = colour(page, selector, re.sub("-c", "C", what).replace("borderColor", "borderTopColor"))
            assert contrast(mark, grounds[ground]) >= 3, (selector, ground, mark)
    for selector, what, edge in EDGED:
        inner = colour(page, selector, what)
        outer = colour(page, selector, edge) if edge else colour(page, ".trail.edge", "stroke")
        assert contrast(inner, outer) >= 3
        for ground in ("ice", "visited", "changed"):
            assert max(contrast(inner, grounds[ground]), contrast(outer, grounds[ground])) >= 3, (selector, ground)


def test_a_map_is_a_grid_of_rows_of_cells(visit):
    """As assistive technology reads it: each cell in a row, each row in the grid, one cell a stop of the tab key."""
    page = visit([lake_record(rows=random_map((4, 6), seed=2)), lake_record("dpo", rows=random_map((4, 6), seed=2))])
    for grid in page.locator("svg[role=grid]").all():
        assert grid.locator("> g[role=rowgroup] > g[role=row]").count() == 4 == int(grid.get_attribute("aria-rowcount"))
        assert grid.locator("g[role=row] > [role=gridcell]").count() == grid.locator("[role=gridcell]").count() == 24
        assert grid.locator('[role=gridcell][tabindex="0"]').count() == 1
        assert [grid.locator("[role=gridcell]").nth(i).get_attribute("aria-colindex") for i in (0, 5, 6)] == ["1", "6", "1"]
    controls = "[...document.querySelectorAll('button, select, input, svg[role]')]"
    named = "x.getAttribute('aria-label') || x.textContent.trim() || x.labels?.length"
    assert page.evaluate(f"{controls}.every(x => {named})")


OVERLAPPING = """() => {
  const hasText = x => [...x.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const words = [...document.querySelectorAll("body *")].filter(
    x => hasText(x) && !x.closest("option, script, .unseen") && x.getClientRects().length);
  const boxes = words.map(x => {
    const range = document.createRange();
    range.selectNodeContents(x);
    return [...range.getClientRects()];
  });
  const clash = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  return words.flatMap((x, i) => words.slice(i + 1).filter((y, j) =>
    !x.contains(y) && !y.contains(x) && boxes[i].some(a => boxes[i + 1 + j].some(b => clash(a, b)))
  ).map(y => [x.textContent, y.textContent]));
}"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_no_words_overlap(visit, theme, size):
    random = np.random.default_rng(3)
    metrics = {name: random.random((5, 2)) for name in ("success", "regret", "distance")}
    metrics |= {name: -random.random((5, 2)) * 20 for name in ("chosen_logp", "rejected_logp")}
    runs = [lake_record(name, metrics=metrics, seed=i) for i, name in enumerate(("sft", "ift", "dpo", "ppo"))]
    page = visit(runs, viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    page.add_style_tag(content=".transport { position: static !important }")  # which lies over others on purpose
    for colours in ("visits", "value", "change"):
        page.select_option("#colour", colours)
        assert page.evaluate(OVERLAPPING) == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize(("seed", "count"), [(7, 60), pytest.param(8, 400, marks=pytest.mark.slow)])
def test_no_sequence_of_clicks_and_keys_breaks_it(visit, seed, count):
    """Drawn at random; the fixture fails on any message of the console."""
    random = np.random.default_rng(seed)
    rows = random_map((5, 6), seed=4)
    runs = [lake_record(name, rows, seed=i, slippery=True) for i, name in enumerate(("sft", "ift", "dpo", "ppo"))]
    runs[2] = lake_record("dpo", rows, seed=2, slippery=True, steps=np.array([0, 3, 7, 20, 60]))
    page = visit(runs)
    keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "Enter", "Escape", " ", ",", ".", "m", "t", "x"]
    for _ in range(count):
        kind = random.integers(6)
        if kind == 0:
            page.locator(f'[data-tile="{random.integers(30)}"]').first.click(force=True)
        elif kind == 1:
            page.locator("#methods button").nth(int(random.integers(4))).click()
        elif kind == 2:
            page.locator("#step").fill(str(random.integers(int(page.locator("#step").get_attribute("max")) + 1)))
        elif kind == 3:
            page.select_option("#colour", str(random.choice(["visits", "value", "change"])))
        elif kind == 4:
            page.locator("#predictions").click()
        else:
            page.keyboard.press(str(random.choice(keys)))
    assert not re.search("NaN|undefined|Infinity", page.locator("main").evaluate("x => x.outerHTML"))


def test_methods_that_have_no_room_are_named(tmp_path, monkeypatch):
    runs = [lake_record(f"m{i}", random_map((20, 20), seed=1), snapshots=3, seed=i) for i in range(4)]
    whole = len(save_page(runs, tmp_path / "page.html").read_bytes())
    assert not data_of((tmp_path / "page.html").read_text())["leftOut"]
    monkeypatch.setattr(page_module, "MAX_BYTES", int(0.6 * whole))
    text = save_page(runs, tmp_path / "page.html").read_text()
    assert len(text.encode()) <= 0.6 * whole
    data = data_of(text)
    assert data["updates"] == [0, 2] and [m["name"] for m in data["methods"]] == ["m0", "m1", "m2"][: len(data["methods"])]
    missing = ", ".join(f"M{i}" for i in range(len(data["methods"]), 4))
    assert data["leftOut"].endswith(f"maps at 2 of 3 updates (the curves are complete); without {missing}.")


@pytest.mark.slow
def test_a_page_of_ten_thousand_tiles_stays_small(visit, tmp_path):
    rows = random_map((100, 100), seed=1)
    runs = [lake_record(name, rows, snapshots=4, seed=i) for i, name in enumerate(("sft", "ift", "dpo"))]
    page = visit(runs)
    assert (tmp_path / "page.html").stat().st_size <= MAX_BYTES
    assert "To keep this page below 1 MB: " in page.locator("#left-out").inner_text()
    assert page.locator("[data-tile]").count() <= 24000


def test_the_program_is_readable_modules(tmp_path):
    """Of at most 300 lines, each of which imports nothing that it does not use."""
    for path in Path(page_module.__file__).parent.glob("page_*.js"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, path
        for names in re.findall(r"import \{([^}]*)\}", text):
            assert all(len(re.findall(rf"\b{name.strip()}\b", text)) > 1 for name in names.split(",")), (path, names)
    page = save_page([lake_record()], tmp_path / "page.html").read_text()
    assert "import {" not in page and "\nexport " not in page
