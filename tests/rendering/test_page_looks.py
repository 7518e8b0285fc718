"""What the page's colours, words and marks say, and whether everybody can see and reach them."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_page import board, cell, chart, data_of, hover, lake_record, number, parts, points, press, settle
from test_saved_runs import record
from test_theme import contrast

from ift_gridworld.envs.maps import random_map
from ift_gridworld.mdp import Origin
from ift_gridworld.planning import optimal_policy
from ift_gridworld.rendering import page as page_module
from ift_gridworld.rendering.lab_page import lab_page
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
    settle(page)
    told = page.locator("#tile").inner_text()
    assert "Cliff: back to the start, reward −100." in told
    assert "ends the episode" not in told
    assert "regret 326.4" in page.locator(".numbers").inner_text()  # every policy reaches the goal some day
    hover(page, 47)
    settle(page)
    assert "Goal: ends the episode, reward −1." in page.locator("#tile").inner_text()


def test_an_agent_that_falls_says_where(visit):
    falling = np.tile(np.eye(4)[1], (2, 16, 1))  # always down: from the start of this map into the hole below
    run = lake_record(rows=["SFFF", "HFFF", "FFFF", "FFFG"], snapshots=2, steps=np.array([0, 1]))
    object.__setattr__(run, "snapshots", falling)
    page = visit([run])
    cell(page, 0).click()
    page.wait_for_selector("text=agent: ended in the hole after 1 step, reward 0")


# ---- looks ----


@pytest.mark.parametrize("theme", THEMES)
def test_a_method_has_its_colour_dash_and_marker_everywhere(visit, theme):
    """In its button, on its board and in charts; two runs of one method are told apart."""
    runs = [lake_record(name, seed=i) for i, name in enumerate(("sft", "ift", "dpo", "dpo"))]
    page = visit(runs, color_scheme=theme)
    names = ["sft", "ift", "dpo", "dpo 2"]
    assert page.locator("#methods button").all_inner_texts() == ["SFT", "IFT", "DPO 1", "DPO 2"]
    settle(page)
    looks, picture = set(), chart(page)
    for i, (title, style) in enumerate(zip(("SFT", "IFT", "DPO 1", "DPO 2"), styles_of(names).values(), strict=True)):
        expected = style.colour(THEMES[theme])
        assert colour(page, f"#methods button:nth-child({i + 1}) polyline", "stroke") == expected
        assert colour(page, f".board:nth-child({i + 1}) .name", "color") == expected
        (line,), (dot,) = parts(picture, f"line {title}"), parts(picture, f"dot {title}")
        assert line.get("stroke") == dot.get("fill") == expected
        dash = line.get("stroke-dasharray")
        assert (dash is None) == isinstance(style.dash, str)
        shape = points(dot) - points(dot).mean(0)
        looks.add((expected, dash, str(shape.round(1))))
    assert len(looks) == 4


def test_visits_have_the_scale_of_all_pictures(visit):
    run = lake_record(slippery=True)
    scale = VisitScale.of([run.visits])
    assert scale.is_log
    page = visit([run])
    settle(page)
    ticks = [number(text.replace("≤", "")) for text in page.locator(".ticks i").all_inner_texts()]
    assert ticks == list(scale.ticks) and "visits an episode" in page.locator("#key").inner_text()
    shares = page.evaluate("() => Array.from(window.lab.display.scenes()[0].colour)")
    for tile in (0, 1, 4):
        np.testing.assert_allclose(shares[tile], float(scale.norm(run.visits[0, tile])), atol=0.002)


def test_change_since_the_base_is_a_colour_and_arrows(visit):
    """Total variation, and the difference of each move's probability; at the base there is none."""
    run = lake_record()
    page = visit([run])
    page.select_option("#set-colour", "change")
    page.select_option("#set-arrows", "change")
    settle(page)
    assert not parts(board(page), "arrow") and "total variation" in page.locator("#key").inner_text()
    page.locator("#step").fill("2")
    change = run.snapshots[2] - run.snapshots[0]
    shares = page.evaluate("() => Array.from(window.lab.display.scenes()[0].colour)")
    picture = board(page)
    for tile in (0, 1, 4):
        np.testing.assert_allclose(shares[tile], np.abs(change[tile]).sum() / 2, atol=0.002)
        for action in range(4):
            arrows = parts(picture, f"arrow {tile} {action}")
            assert len(arrows) == (abs(change[tile, action]) >= 0.02)
            for arrow in arrows:
                assert arrow.get("fill") == (THEMES["light"].more if change[tile, action] > 0 else THEMES["light"].less)
                tip = 100 * (0.06 + 0.38 * abs(change[tile, action]))  # from the middle of the tile
                middle = 50 + 100 * np.array([tile % 4, tile // 4])
                np.testing.assert_allclose(points(arrow)[3] - middle, tip * run.mdp.moves[action][::-1], atol=0.02)


def test_predictions_are_drawn_tied_and_explained(visit):
    """Without slip, step i's is where the likeliest move of step i - 1 leads; a method that mixes nothing in has none."""
    shown = np.array([[0, 2], [1, 2], [2, 2], [3, 1], [7, 1]])
    runs = [lake_record(demonstration=shown), lake_record("sft", demonstration=shown, assumed_prior="sft")]
    page, mdp = visit(runs), runs[0].mdp
    before = shown[:-1, 0]
    expected = mdp.next_state[before, runs[0].snapshots[0][before].argmax(-1), 0]
    settle(page)
    picture = board(page)
    diamonds = [points(element).mean(0) // 100 for element in parts(picture, "prediction")]
    assert [tuple(place) for place in diamonds] == [(s % 4, s // 4) for s in expected]
    assert len(parts(picture, "tie")) == np.count_nonzero(expected != shown[1:, 0]) > 0
    assert not parts(board(page, 1), "prediction")
    hover(page, 1)
    settle(page)
    words = "IFT, step 1 of the demonstration: it trains here on 0.8 of this tile and λ = 0.2 of its own prediction, row"
    assert words in page.locator("#tile").inner_text()
    page.uncheck("#set-predictions")
    settle(page)
    assert not parts(board(page), "prediction")
    assert "λ" not in page.locator("#tile").inner_text() + page.locator("#key").inner_text()


def test_the_preference_plane_is_what_was_measured(visit):
    """The mean change of both log-probabilities, on straight axes with the base at the ring."""
    random = np.random.default_rng(3)
    metrics = {name: random.random((5, 2)) for name in ("success", "regret", "distance")}
    metrics |= {name: -random.random((5, 2)) * 20 for name in ("chosen_logp", "rejected_logp")}
    run = lake_record("dpo", metrics=metrics)
    page = visit([run])
    page.click("[data-chart=preference]")
    settle(page)
    picture = chart(page)
    (line,), (ring,) = parts(picture, "line DPO"), parts(picture, "origin")
    for axis, name, sign in ((0, "chosen_logp", 1), (1, "rejected_logp", -1)):
        moved = (metrics[name] - metrics[name][0]).mean(-1)
        slope, start = np.polyfit(moved, points(line)[:, axis], 1)
        np.testing.assert_allclose(slope * moved + start, points(line)[:, axis], atol=0.06)
        assert slope * sign > 0
        np.testing.assert_allclose(float(ring.get(("cx", "cy")[axis])), start, atol=0.06)
    assert len(parts(picture, "margin")) > 2
    press(page, ".")
    (dot,) = parts(chart(page), "dot DPO")
    np.testing.assert_allclose(points(dot).mean(0), points(line)[1], atol=0.06)


# ---- for everyone ----

# What lies on what: the name of a mark on a board, how it is painted, and what it can lie on.
GROUNDS = ("ice", "visited", "value", "changed")
MARKS = [
    ("arrow", "fill", GROUNDS),
    ("start", "fill", GROUNDS),
    ("here", "stroke", (*GROUNDS, "background")),
    ("shown", "stroke", GROUNDS),
    ("rejected", "stroke", GROUNDS),
    ("goal", "fill", ("ice",)),
    ("hole", "stroke", ("background", "ice")),
]
# A mark and its edge, of which one stands out from each ground.
EDGED = [
    ("prediction", "fill", "prediction", "stroke"),
    ("walker", "fill", "walker", "stroke"),
    ("trail", "stroke", "trail edge", "stroke"),
]


@pytest.mark.parametrize("theme", THEMES)
def test_every_mark_stands_out(visit, theme):
    """By 3 to 1 from all that it can lie on, in the colours that are drawn; a mark with an edge by either."""
    runs = [lake_record("ift", rejected=np.array([[0, 1], [4, 1]]))]
    page = visit(runs, color_scheme=theme, reduced_motion="reduce")
    cell(page, 0).click()
    settle(page)
    grounds = page.evaluate("() => window.lab.display.theme")
    picture = board(page)
    for name, what, lies_on in MARKS:
        for ground in lies_on:
            mark = parts(picture, name)[0].get(what)
            assert contrast(mark, grounds[ground]) >= 3, (name, ground, mark)
    for name, what, edge, edge_what in EDGED:
        inner = next(e for e in parts(picture, name) if e.get("data-part") == name or name == "prediction").get(what)
        outer = parts(picture, edge)[0].get(edge_what)
        assert contrast(inner, outer) >= 3
        for ground in GROUNDS:
            assert max(contrast(inner, grounds[ground]), contrast(outer, grounds[ground])) >= 3, (name, ground)
    for selector, what in ((".look", "color"), (".chip", "borderTopColor"), ("#about", "color")):
        assert contrast(colour(page, selector, what), grounds["background"]) >= 3, selector


def test_a_map_is_a_grid_of_rows_of_cells(visit):
    """As assistive technology reads it: each cell in a row, each row in the grid, one cell a stop of the tab key."""
    page = visit([lake_record(rows=random_map((4, 6), seed=2)), lake_record("dpo", rows=random_map((4, 6), seed=2))])
    for grid in page.locator("[role=grid]").all():
        assert grid.locator("> [role=row]").count() == 4 == int(grid.get_attribute("aria-rowcount"))
        assert grid.locator("[role=row] > [role=gridcell]").count() == grid.locator("[role=gridcell]").count() == 24
        assert grid.locator('[role=gridcell][tabindex="0"]').count() == 1
        assert [grid.locator("[role=gridcell]").nth(i).get_attribute("aria-colindex") for i in (0, 5, 6)] == ["1", "6", "1"]
    controls = "[...document.querySelectorAll('button, select, input, canvas[role]')]"
    named = "x.getAttribute('aria-label') || x.textContent.trim() || x.labels?.length"
    assert page.evaluate(f"{controls}.every(x => {named})")


OVERLAPPING = """() => {
  const hasText = x => [...x.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const words = [...document.querySelectorAll("body *")].filter(
    x => hasText(x) && !x.closest("option, script, style, .unseen, .grid, details:not([open]) > div") &&
      x.getClientRects().length);
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


# Puts each chart, drawn by the page's own pen, over its canvas, so that its words are words of the page.
WRITTEN_CHARTS = """() => {
  document.querySelectorAll("figure > svg").forEach((x) => x.remove());
  window.lab.display.charts().forEach((chart, i) => {
    const figure = document.querySelectorAll("figure")[i], canvas = figure.querySelector("canvas");
    const pen = new modules.pen.SvgPen(canvas.clientWidth, canvas.clientHeight);
    chart.draw(pen, pen.width, pen.height);
    figure.style.position = "relative";
    figure.insertAdjacentHTML("beforeend", pen.toString());
    figure.lastChild.style = "position: absolute; inset: 0";
  });
}"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_no_words_overlap(visit, theme, size):
    random = np.random.default_rng(3)
    metrics = {name: random.random((5, 2)) for name in ("success", "regret", "distance")}
    metrics |= {name: -random.random((5, 2)) * 20 for name in ("chosen_logp", "rejected_logp")}
    runs = [lake_record(name, metrics=metrics, seed=i) for i, name in enumerate(("sft", "ift", "dpo", "ppo"))]
    page = visit(runs, viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    for colours, charts in (("visits", "curves"), ("value", "preference"), ("change", "curves")):
        page.select_option("#set-colour", colours)
        page.click(f"[data-chart={charts}]")
        settle(page)
        page.evaluate(WRITTEN_CHARTS)
        assert page.evaluate(OVERLAPPING) == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize(("seed", "count"), [(7, 60), pytest.param(8, 200, marks=pytest.mark.slow)])
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
            tile = page.locator(f'.grid [data-tile="{random.integers(30)}"]').first
            tile.evaluate("(x) => { x.focus(); x.click(); }")
        elif kind == 1:
            page.locator("#methods button").nth(int(random.integers(4))).click()
        elif kind == 2:
            page.locator("#step").fill(str(random.integers(int(page.locator("#step").get_attribute("max")) + 1)))
        elif kind == 3:
            page.select_option("#set-colour", str(random.choice(["visits", "value", "change"])))
        elif kind == 4:
            page.locator("#set-predictions").click()
        else:
            page.keyboard.press(str(random.choice(keys)))
    assert not re.search("NaN|undefined|Infinity", page.locator("main").evaluate("x => x.outerHTML"))


def test_methods_that_have_no_room_are_named(tmp_path, monkeypatch):
    runs = [lake_record(f"m{i}", random_map((20, 20), seed=1), snapshots=3, seed=i) for i in range(4)]
    whole = len(save_page(runs, tmp_path / "page.html").read_bytes())
    assert not data_of((tmp_path / "page.html").read_text())["leftOut"]
    empty = len(lab_page().encode())
    most = int(empty + 0.5 * (whole - empty))
    monkeypatch.setattr(page_module, "MAX_BYTES", most)
    text = save_page(runs, tmp_path / "page.html").read_text()
    assert len(text.encode()) <= most
    data = data_of(text)
    assert data["updates"] == [0, 2] and [m["name"] for m in data["methods"]] == ["m0", "m1", "m2"][: len(data["methods"])]
    missing = ", ".join(f"M{i}" for i in range(len(data["methods"]), 4))
    assert data["leftOut"].endswith(f"maps at 2 of 3 updates (the curves are complete); without {missing}.")


@pytest.mark.slow
def test_a_page_of_ten_thousand_tiles_stays_small_and_says_that_it_cannot_train(visit, tmp_path):
    rows = random_map((100, 100), seed=1)
    runs = [lake_record(name, rows, snapshots=4, seed=i) for i, name in enumerate(("sft", "ift", "dpo"))]
    page = visit(runs)
    assert (tmp_path / "page.html").stat().st_size <= MAX_BYTES
    assert "To keep this page below 1 MB: " in page.locator("#left-out").inner_text()
    assert page.locator("[data-tile]").count() <= 24000
    assert "up to 12 tiles each way" in page.inner_text("#not-live") and page.locator("button[data-view=live]").is_disabled()
