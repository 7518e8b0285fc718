"""The lab with a saved run inside: replay and live training on one page, and the page for everyone."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from test_lab_page import use
from test_page import board, chart, lake_record, parts, points, press, settle, when
from test_page_looks import cliff_record

from ift_gridworld.envs.maps import random_map
from ift_gridworld.rendering.lab_page import lab_page
from ift_gridworld.training import make_base, train

MAX_BYTES = 350_000


@pytest.fixture(scope="module")
def trained():
    """Two methods from one base, a table, in two seeds."""
    mdp = lake_record().mdp
    return [train(name, mdp, make_base("mixture", mdp, policy="tabular", seeds=2), steps=20) for name in ("sft", "dpo")]


def live(page, expression):
    return page.evaluate(f"() => {{ const app = window.lab; return {expression}; }}")


def switch(page, view):
    page.click(f"button[data-view={view}]")
    settle(page)


def test_without_a_run_the_page_stays_small():
    assert len(lab_page().encode()) < MAX_BYTES


def test_the_live_view_trains_from_the_runs_base_and_paths(visit, trained):
    """A table has the base's probabilities to what the page's 16 bits hold; methods are those of the runs."""
    other = replace(trained[0], method="my_method", title="MINE · a loss of somebody's own")
    runs = [other, *(replace(run, settings={**run.settings, "policy": "tabular"}) for run in trained)]
    page = visit(runs)
    assert live(page, "[app.state.view, app.live]") == ["run", None]  # the live world is made when it is wanted
    assert page.locator("#boards .name").all_inner_texts() == ["MINE", "SFT", "DPO"]
    switch(page, "live")
    assert page.locator("#boards .name").all_inner_texts() == ["SFT", "DPO"]
    base = np.reshape(live(page, "Array.from(app.world.references.base)"), (16, 4))
    walkable = live(page, "app.world.lake.walkable")
    np.testing.assert_allclose(base[walkable], runs[0].snapshots[0][walkable], atol=2e-5)
    states = [live(page, f"app.world.data.{kind}[0].states") for kind in ("demonstrations", "rejected")]
    assert states == [runs[0].demonstration[:, 0].tolist(), runs[2].rejected[:, 0].tolist()]
    page.click("#ten")
    assert when(page) == "update 10"
    switch(page, "run")
    assert when(page) == "update 0"
    switch(page, "live")
    assert when(page) == "update 10"  # nothing is lost by looking


def test_a_network_is_fitted_to_the_runs_base(visit):
    run = lake_record()
    page = visit([run])
    switch(page, "live")
    base = np.reshape(live(page, "Array.from(app.world.references.base)"), (16, 4))
    walkable = live(page, "app.world.lake.walkable")
    np.testing.assert_allclose(base[walkable], run.snapshots[0][walkable], atol=0.01)


def test_the_address_brings_back_where_the_reader_was(visit, trained):
    page = visit(trained)
    page.select_option("#seed", index=1)
    press(page, ".", ".", ".", "m")
    fragment, shown = page.evaluate("() => location.hash"), [when(page), page.locator(".numbers").all_inner_texts()]
    other = visit(trained, fragment)
    assert [when(other), other.locator(".numbers").all_inner_texts()] == shown
    assert other.locator("#boards .name").count() == 1
    switch(other, "live")
    other.click("#one")
    assert when(visit(trained, other.evaluate("() => location.hash"))) == "update 1"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: lake_record(rows=random_map((13, 5), seed=1), snapshots=2), "this one has 13 by 5"),
        (cliff_record, "Only lakes can be trained on"),
        (lambda: replace(lake_record(), environment=replace(lake_record().environment, discount=0.9)), "discount of 0.99"),
    ],
)
def test_what_cannot_be_trained_on_is_replayed_and_the_page_says_why(visit, make, reason):
    page = visit([make()], "#view=live")
    assert reason in page.inner_text("#not-live")
    assert page.locator("button[data-view=live]").is_disabled() and page.locator("#tour").is_hidden()
    assert live(page, "app.state.view") == "run" and parts(board(page), "arrow")


def test_the_tour_and_the_run_do_not_disturb_each_other(visit, trained):
    page = visit(trained, "#speed=300")
    page.click("#tour")
    assert live(page, "app.state.view") == "live" and page.locator("#question").is_visible()
    page.click("#leave")
    switch(page, "run")
    assert page.locator("#boards .name").all_inner_texts() == ["SFT", "DPO"]


def taken(page, kind):
    with page.expect_download() as download:
        page.click(f"[data-share={kind}]")
    return download.value.path().read_bytes()


@pytest.mark.slow
def test_a_saved_run_can_be_filmed(visit, trained):
    page = visit(trained)
    page.click("summary")
    assert taken(page, "film").startswith(b"\x1aE\xdf\xa3")
    assert when(page) == "update 0"  # the reader stays where they were


def test_a_saved_run_can_be_taken_away(visit, trained):
    page = visit(trained)
    page.click("summary")
    contents = {}
    for kind, start in (("svg", b"<svg"), ("csv", b"method,update,success,success_low")):
        contents[kind] = taken(page, kind)
        assert contents[kind].startswith(start) and b"NaN" not in contents[kind]
    head, *rows = [line.split(",") for line in contents["csv"].decode().splitlines()]
    column = head.index("success")
    for run in trained:
        shown = [float(row[column]) for row in rows if row[0] == run.method]
        np.testing.assert_allclose(shown, run.metrics["success"].mean(-1), rtol=1e-4)
    assert page.locator("[data-share=map]").is_hidden() and page.locator("#command").is_hidden()


@pytest.mark.slow
def test_random_use_of_both_views_leaves_no_error_and_no_nan(visit, trained):
    """The fixture fails on any message of the console."""
    rng = np.random.default_rng(7)
    page = visit(trained)
    for i in range(60):
        use(page, rng)
        if i % 15 == 14:
            switch(page, ("live", "run")[i // 15 % 2])
            assert not re.search("NaN|undefined|Infinity", page.inner_text("body"))


# ---- for everyone ----


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_with_a_run_inside(visit, trained, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit(trained, color_scheme=scheme)
    for act in (lambda: None, lambda: page.click("[data-chart=preference]"), lambda: switch(page, "live")):
        act()
        settle(page)
        results = axe.Axe().run(page)
        assert [(v["id"], v["nodes"][0]["html"][:120]) for v in results.response["violations"]] == []


@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (720, 450)])
def test_small_and_zoomed_windows_hold_everything(visit, trained, width, height):
    """A window of 1440 by 900 at 200 % is one of 720 by 450: nothing sticks out, and no bar stays over what scrolls."""
    page = visit(trained, viewport={"width": width, "height": height})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    fixed = "[...document.querySelectorAll('body *')].filter((x) => ['fixed', 'sticky'].includes(getComputedStyle(x).position))"
    assert page.evaluate(f"() => {fixed}.filter((x) => x.offsetParent || x.getClientRects().length).length") == 0
    small = "[...document.querySelectorAll('button:not(.term):not(.small), select, summary, input[type=number]')]"
    large = "(x) => !x.getClientRects().length || x.getBoundingClientRect().height >= 43.9"
    assert page.evaluate(f"() => {small}.every({large})")


def test_forced_colours_keep_the_boards_and_mark_what_is_pressed(visit, trained):
    page = visit(trained, forced_colors="active")
    assert page.evaluate("() => matchMedia('(forced-colors: active)').matches")
    ground = "getComputedStyle(document.querySelector('button[data-view={}]')).backgroundColor"
    pressed, other = (page.evaluate(ground.format(view)) for view in ("run", "live"))
    assert pressed != other
    assert page.evaluate("() => getComputedStyle(document.querySelector('.stage canvas')).forcedColorAdjust") == "none"


def test_motion_stops_where_it_is_not_wanted_and_speech_comes_once_a_second(visit, trained):
    page = visit(trained, reduced_motion="reduce")
    page.locator('[data-tile="0"]').first.click()
    settle(page)
    assert "walking" not in page.locator(".look").first.inner_text()
    page.evaluate("""() => { window.said = []; new MutationObserver(() => said.push(performance.now()))
      .observe(document.getElementById("live"), { childList: true, characterData: true, subtree: true }); }""")
    page.click("#play")
    page.wait_for_function("() => !window.lab.playing")
    page.wait_for_timeout(1100)
    said = page.evaluate("() => said")
    assert said and all(later - sooner > 990 for sooner, later in pairwise(said))
    assert re.match(r"At update 20 of 20, success of seed \d: SFT [\d.]+, DPO [\d.]+\.$", page.locator("#live").inner_text())


def test_every_chart_says_its_numbers(visit, trained):
    page = visit(trained)
    press(page, ".")
    label = page.locator("#charts canvas").first.get_attribute("aria-label")
    for run, title in zip(trained, ("SFT", "DPO"), strict=True):
        assert f"success of {title} at update {run.steps[1]}: {run.metrics['success'][1].mean():.3f} [" in label
    page.click("[data-chart=preference]")
    settle(page)
    assert "log-probability has changed by" in page.locator("#charts canvas").get_attribute("aria-label")
    assert len(parts(chart(page), "whisker SFT")) == 1


def test_the_frontier_plane_is_the_shown_seeds(visit, trained):
    """KL and return of every update on straight axes, below the exact curve."""
    page = visit(trained)
    page.click("[data-chart=frontier]")
    for index, seed in enumerate(page.locator("#seed option").all_inner_texts()):
        page.select_option("#seed", index=index)
        settle(page)
        picture, which = chart(page), int(seed.removeprefix("seed "))
        (curve,) = parts(picture, "frontier")
        for run, title in zip(trained, ("SFT", "DPO"), strict=True):
            (line,) = parts(picture, f"line {title}")
            for axis, name in enumerate(("kl_discounted", "return")):
                numbers = run.metrics[name][:, which]
                slope, start = np.polyfit(numbers, points(line)[:, axis], 1)
                np.testing.assert_allclose(slope * numbers + start, points(line)[:, axis], atol=0.06)
            best = np.interp(points(line)[:, 0], *points(curve).T)
            assert (points(line)[:, 1] > best - 0.5).all()  # pixels grow downwards
        label = page.locator("#charts canvas").get_attribute("aria-label")
        assert f"return {trained[0].metrics['return'][0, which]:.3f}, " in label and "below the best possible" in label
