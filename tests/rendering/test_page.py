"""The lab with saved runs inside, in a real headless Chromium: what it shows is what the runs hold."""

import base64
import json
import re
import zlib
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from test_saved_runs import MAPLESS, record

from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.mdp import Origin
from ift_gridworld.planning import evaluate_policy, optimal_policy
from ift_gridworld.rendering.page import MAX_BYTES, save_page

STEPS = np.array([0, 1, 4, 10, 30])


def lake_record(method="ift", rows=LAKES["two-paths"], snapshots=5, seed=0, slippery=False, **changes):
    lake = Origin("lake", tuple(rows), None, slippery, 1 / 3, 0.99, 100)
    random = np.random.default_rng(seed)
    policies = random.dirichlet(np.ones(4), (snapshots, lake.mdp.num_states))
    policies[-1] = optimal_policy(lake.mdp)
    entries = {
        "method": method,
        "title": f"{method.upper()} · a method",
        "steps": STEPS if snapshots == 5 else np.arange(snapshots),
        "metrics": {name: random.random((snapshots, 2)) for name in ("success", "regret", "distance")},
        "snapshots": policies,
        "final": policies[-2:],
        "base": policies[:2],
    }
    return record(lake, **{**entries, **changes})


def number(text):
    return float(text.replace("−", "-"))


def settle(page):
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def numbers(page, method="ift"):
    """What the panel says of the tile: probabilities of the moves, value, visits and the change since the base."""
    settle(page)
    return np.array([number(cell) for cell in page.locator(f'#tile td[data-method="{method}"]').all_inner_texts()])


def cell(page, tile, board=0):
    return page.locator(".grid").nth(board).locator(f'[data-tile="{tile}"]')


def hover(page, tile):
    cell(page, tile).hover()


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    settle(page)


def when(page):
    settle(page)
    return page.inner_text("#update")


def drawn(page, script):
    """What the page's own pen draws, as elements."""
    return ElementTree.fromstring(page.evaluate(f"() => {{ const app = window.lab; {script} return pen.toString(); }}"))


def board(page, which=0, tile=100):
    """What is drawn on a board, with tiles of so many pixels."""
    return drawn(
        page,
        f"const scene = app.display.scenes()[{which}], {{ width, height }} = app.world.layout;"
        f"const pen = new modules.pen.SvgPen(width * {tile}, height * {tile});"
        f"modules.board.drawBoard(pen, scene, {tile}, app.display.theme);",
    )


CHART = (374, 174)  # pixels: inside, 268 by 122 from (44, 22)


def chart(page, which=0):
    return drawn(
        page,
        f"const pen = new modules.pen.SvgPen({CHART[0]}, {CHART[1]});"
        f"app.display.charts()[{which}].draw(pen, {CHART[0]}, {CHART[1]});",
    )


def parts(picture, name):
    """Elements of that name, or whose name begins with it."""
    return [e for e in picture.iter() if re.match(rf"{re.escape(name)}( |$)", e.get("data-part", ""))]


def points(element):
    return np.array([[float(x) for x in point.split(",")] for point in element.get("points").split()])


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


def table_of(packed):
    """A packed table, read by the rule that `page_data` states: differences of whole numbers, lowest bytes first."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8).reshape(packed["size"], -1)
    steps = sum(plane.astype(int) << 8 * i for i, plane in enumerate(planes)).reshape(packed["rows"], -1)
    whole = np.cumsum(steps, 0) % 256 ** packed["size"]
    return packed["low"] + whole / (256 ** packed["size"] - 1) * (packed["high"] - packed["low"])


def test_the_numbers_on_hover_are_the_runs(visit):
    """Three digits are shown, of numbers kept to 1/131070 of their range."""
    made = lake_record()
    page, mdp = visit([made]), made.mdp
    values, visits = evaluate_policy(mdp, made.snapshots), made.visits
    for index in range(len(STEPS)):
        for tile in (0, 3, 12, 7):
            hover(page, tile)
            shown = numbers(page)
            np.testing.assert_allclose(shown[:4], made.snapshots[index, tile], atol=0.00051)
            np.testing.assert_allclose(shown[4], values[index, tile], atol=0.00051)
            np.testing.assert_allclose(shown[5], visits[index, tile], atol=0.00051 if visits[index, tile] < 10 else 0.0051)
            change = np.abs(made.snapshots[index, tile] - made.snapshots[0, tile]).sum() / 2
            np.testing.assert_allclose(shown[6], change, atol=0.00052)
        assert when(page) == f"update {STEPS[index]}"
        press(page, ".")
    optimal = [float(x) for x in page.locator("#tile tbody tr td:last-child").all_inner_texts()[:4]]
    np.testing.assert_allclose(optimal, optimal_policy(mdp)[7], atol=0.00051)


def test_values_far_from_zero_are_the_runs(visit):
    """On a cliff, where they range over hundreds."""
    cliff = Origin("CliffWalking-v1", None, "CliffWalking-v1", False, None, 0.99, None)
    policies = np.random.default_rng(0).dirichlet(np.ones(4), (2, 48))
    metrics = {name: np.ones((2, 2)) for name in ("success", "regret", "distance")}
    made = record(cliff, steps=STEPS[:2], metrics=metrics, snapshots=policies, base=policies, final=policies)
    page = visit([made])
    for tile in (0, 24, 36):
        hover(page, tile)
        value = evaluate_policy(made.mdp, policies[0])[tile]
        assert -6000 < value < -100 and abs(numbers(page)[4] - value) < (0.51 if value < -1000 else 0.051)


def test_boards_stand_at_one_update_whatever_snapshots_they_have(visit):
    """At each update that any method has a snapshot of, every board has its latest; one that has ended says so."""
    schedules = {"ift": np.array([0, 1, 4, 10, 30]), "dpo": np.array([0, 2, 4, 27, 50])}
    runs = [lake_record(name, seed=i, steps=steps) for i, (name, steps) in enumerate(schedules.items())]
    page = visit(runs)
    assert page.locator("[role=grid]").count() == 2
    updates = sorted({*schedules["ift"], *schedules["dpo"]})
    assert int(page.locator("#step").get_attribute("max")) == len(updates) - 1
    hover(page, 3)
    for update in updates:
        assert when(page) == f"update {update}"
        for shown, run in zip(page.locator(".board").all(), runs, strict=True):
            latest = int(np.flatnonzero(run.steps <= update)[-1])
            np.testing.assert_allclose(numbers(page, run.method)[:4], run.snapshots[latest, 3], atol=0.00051)
            age = "ended at 30" if update > run.steps[-1] else f"map of update {run.steps[latest]}"
            expected = "" if run.steps[latest] == update else age
            success, distance = (run.metrics[name][latest, 0] for name in ("success", "distance"))
            words = [f"seed 0: success {success:.3f}", f"distance to optimal {distance:.3f}", expected]
            assert shown.locator(".numbers").inner_text() == " · ".join(filter(None, words))
        press(page, ".")
    assert page.locator("main").inner_text().count("update 50") == 1  # written once, for all


def test_the_seed_is_chosen_and_all_that_stands_by_a_board_is_of_it(visit):
    """The drawn seed comes first; means over seeds in the charts stay."""
    random = np.random.default_rng(5)
    runs = []
    for i, name in enumerate(("sft", "ift")):
        policies = random.dirichlet(np.ones(4), (5, 2, 16))
        made = lake_record(name, seed=i, snapshots=5, base=policies[0], final=policies[-1])
        settings = {**made.settings, "seed": 3}
        runs.append(replace(made, settings=settings, snapshots=policies[:, 1], every_policy=policies, drawn=1))
    page = visit(runs)
    assert page.locator("#seed option").all_inner_texts() == ["seed 4", "seed 3"]
    charts = ElementTree.tostring(chart(page))
    hover(page, 4)
    for index, seed in ((1, "seed 4"), (0, "seed 3")):
        page.select_option("#seed", label=seed)
        for shown, run in zip(page.locator(".board").all(), runs, strict=True):
            np.testing.assert_allclose(numbers(page, run.method)[:4], run.policies[0, index, 4], atol=0.00051)
            value = evaluate_policy(run.mdp, run.policies[0, index])[4]
            np.testing.assert_allclose(numbers(page, run.method)[4], value, atol=0.00051)
            success = run.metrics["success"][0, index]
            assert f"{seed}: success {success:.3f}" in shown.locator(".numbers").inner_text()
        assert ElementTree.tostring(chart(page)) == charts


def test_scrubbing_moves_the_arrows_and_playing_ends_at_the_last_step(visit):
    page = visit([lake_record()])
    arrows = []
    for step in (0, 2, 4, 0):
        page.locator("#step").fill(str(step))
        arrows.append([element.get("points") for element in parts(board(page), "arrow")])
    assert arrows[0] == arrows[3] and len({str(positions) for positions in arrows}) == 3
    page.locator("#play").click()
    page.wait_for_function("document.getElementById('update').textContent === 'update 30'")
    page.wait_for_function("document.getElementById('play').textContent === 'Play'")


def test_everything_can_be_done_by_keyboard(visit):
    page = visit([lake_record("ift"), lake_record("dpo", seed=1)])
    cell(page, 0).focus()
    for key, tile in (
        ("ArrowRight", 1), ("ArrowDown", 5), ("ArrowUp", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("End", 3), ("Home", 0)
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.tile") == str(tile)
        settle(page)
        assert f"row {tile // 4 + 1}, column {tile % 4 + 1}" in page.locator("#tile h2").inner_text()
    label = cell(page, 0).get_attribute("aria-label")
    moves = r"(left|down|right|up) [\d.]+ %"
    assert re.fullmatch(rf"row 1, column 1: start\. {moves}(, {moves})* · visits [\d.]+ · value −?[\d.]+", label)
    for _ in range(4):
        press(page, ".")
    page.keyboard.press("Enter")  # the last policy is optimal, and nothing slips
    page.wait_for_selector("text=agent: reached the goal after 5 steps, reward 1")
    assert parts(board(page), "trail") and parts(board(page), "walker")
    page.keyboard.press("Escape")
    assert not parts(board(page), "walker")
    page.keyboard.press("m")
    assert page.locator("#boards .name").all_inner_texts() == ["IFT"]
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "Pause"


def test_methods_join_and_leave(visit):
    page = visit([lake_record(name, seed=i) for i, name in enumerate(("sft", "ift", "dpo"))])
    chips = page.locator("#methods button")
    assert chips.all_inner_texts() == ["SFT", "IFT", "DPO"] and page.locator(".board").count() == 3
    chips.nth(0).click()
    assert page.locator("#boards .name").all_inner_texts() == ["IFT", "DPO"]
    assert chips.nth(0).get_attribute("aria-pressed") == "false"
    chips.nth(1).click()
    chips.nth(2).click()  # the last one stays
    assert page.locator(".board").count() == 1 and chips.nth(2).get_attribute("aria-pressed") == "true"


def test_agents_on_two_identical_policies_take_the_same_walk(visit):
    """On slippery ice, by policies that are far from certain: without common random numbers they would part at once."""
    one = lake_record("sft", slippery=True)
    others = lake_record("ift", slippery=True), lake_record("dpo", seed=1, slippery=True)
    page = visit([one, *others], reduced_motion="reduce")  # all steps at once
    paths = []
    for _ in range(3):
        cell(page, 0).click()
        settle(page)
        told = page.locator(".look").all_inner_texts()
        assert len(told) == 3 and not any("walking" in words for words in told)
        walks = page.evaluate("() => window.lab.walks.walks.map((walk) => walk.path)")
        assert walks[0] == walks[1] and told[0] == told[1]
        trails = [[element.get("points") for element in parts(board(page, which), "trail")] for which in range(3)]
        assert trails[0] == trails[1]
        paths.append(walks)
    assert len({str(first) for first, _, _ in paths}) > 1  # each drop has numbers of its own
    assert any(first != other for first, _, other in paths)  # and another policy takes another way


@pytest.mark.parametrize("width", [320, 800, 1400])
def test_nothing_sticks_out_at_any_width(visit, width):
    page = visit([lake_record("ift"), lake_record("dpo")], viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = page.locator("[role=grid]").evaluate_all("all => all.map(x => x.getBoundingClientRect().width)")
    assert min(boxes) > 120


def test_where_stages_are_left_out_the_curves_are_whole_and_the_page_says_so(tmp_path):
    """Of 60 on 40x40, with 4 random numbers of 16 bits for each of 1600 tiles and others, there is room for fewer than 59."""
    made = lake_record(rows=random_map((40, 40), seed=1), snapshots=60)
    text = save_page([made], tmp_path / "page.html").read_text()
    assert len(text.encode()) <= MAX_BYTES
    data = data_of(text)["methods"][0]
    assert data["steps"] == made.steps.tolist()
    assert data["kept"][0] == 0 and data["kept"][-1] == 59 and len(data["kept"]) < MAX_BYTES / (1600 * 4 * 2 * 4 / 3)
    np.testing.assert_allclose(
        table_of(data["maps"][0]["policy"]).reshape(-1, 1600, 4), made.snapshots[data["kept"]], atol=1e-5
    )
    for name, curve in data["curves"].items():
        np.testing.assert_allclose(curve["mean"], made.metrics[name].mean(-1), rtol=1e-4)


def test_the_cursor_moves_along_the_whole_curve_from_stage_to_stage(visit):
    made = lake_record(rows=random_map((40, 40), seed=1), snapshots=60)
    page = visit([made])
    kept = page.evaluate("() => window.lab.replay.all[0].kept")
    assert f"maps at {len(kept)} of 60 updates" in page.locator("#left-out").inner_text()
    (line,) = parts(chart(page), "line IFT")
    assert len(points(line)) == 60
    press(page, ".")
    assert when(page) == f"update {made.steps[kept[1]]}"
    (dot,) = parts(chart(page), "dot IFT")
    place = points(dot).mean(0)
    np.testing.assert_allclose(place, points(line)[kept[1]], atol=0.06)
    # A square-root axis from 44 to 312 pixels; success from 0 at 144 to 1 at 22.
    expected = 44 + 268 * np.sqrt(kept[1] / 59), 144 - 122 * made.metrics["success"][kept[1]].mean()
    np.testing.assert_allclose(place, expected, atol=0.06)
    assert page.locator("#averaged").inner_text() == "Curves: mean of 2 seeds, 95 % interval."
    label = page.locator("#charts canvas").first.get_attribute("aria-label")
    assert f"success of IFT at update {made.steps[kept[1]]}: {made.metrics['success'][kept[1]].mean():.3f} [" in label
    assert f"success {made.metrics['success'][kept[1], 0]:.3f}" in page.locator(".numbers").inner_text()
    np.testing.assert_allclose(numbers(page)[:4], made.snapshots[kept[1], 0], atol=0.00051)


@pytest.mark.parametrize("side", [8, 60])
def test_start_and_goal_and_path_are_found_on_tiles_of_any_size(visit, side):
    """Where tiles are smaller than 13 pixels, as signs in their corners, and lines have a width of their own."""
    made = lake_record(rows=random_map((side, side), seed=1), snapshots=2, steps=np.array([0, 9]))
    page = visit([made], viewport={"width": 1280, "height": 860})
    tile = page.locator(".stage").evaluate("x => x.clientWidth") / side
    picture = board(page, tile=tile)
    signs = parts(picture, "sign")
    (shown,) = {element.get("stroke-width") for element in parts(picture, "shown")}
    if side == 8:
        assert tile > 13 and not signs and len(parts(picture, "start")) == 1
        return
    assert tile < 13 and len(signs) == 2 and shown == "1.6"
    for sign, state in zip(signs, (0, side * side - 1), strict=True):
        low, high = points(sign).min(0), points(sign).max(0)
        middle = (np.array([state % side, state // side]) + 0.5) * tile
        np.testing.assert_allclose(high - low, 18, atol=0.02)
        assert (low < middle).all() and (middle < high).all() and low.min() >= 0 and high.max() <= side * tile + 0.02
    assert len(parts(picture, "arrow")) == page.evaluate("() => window.lab.world.layout.open.reduce((sum, x) => sum + x)")


def test_the_screen_shows_what_the_pen_draws(visit):
    """The colour of a tile's corner on the canvas, where no mark lies, is the scale's."""
    made = lake_record()
    page = visit([made])
    settle(page)
    pixels = page.evaluate(
        """() => {
          const canvas = document.querySelector(".stage canvas"), { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          const at = (share, side) => Math.floor(share * side / 4);
          return [1, 4, 13].map((s) => at((s >> 2) + 0.94, height) * width + at((s & 3) + 0.94, width))
            .map((i) => [...data.slice(4 * i, 4 * i + 3)]);
        }"""
    )
    for state, (red, green, blue) in zip((1, 4, 13), pixels, strict=True):
        (tile,) = parts(board(page), f"tile {state}")
        assert tile.get("fill") == f"#{red:02x}{green:02x}{blue:02x}"


def taxi_record():
    lake = Origin("Taxi-v4", None, "Taxi-v4", False, None, 0.99, 200)
    random = np.random.default_rng(0)
    policies = random.dirichlet(np.ones(6), (5, 500))
    policies[-1] = optimal_policy(lake.mdp)
    metrics = {name: random.random((5, 2)) for name in ("success", "regret", "distance")}
    made = {"steps": STEPS, "metrics": metrics, "snapshots": policies, "final": policies[-2:], "base": policies[:2]}
    return record(lake, **made, demonstration=np.array([[21, 1], [1, 4]]))


@pytest.mark.slow
def test_a_taxis_states_are_found_on_small_maps_and_driven_through(visit):
    """By the last policy, which is optimal: one step north to the passenger, pick up, and so on to the end."""
    made = taxi_record()
    page, mdp = visit([made]), made.mdp
    assert page.locator("[data-tile]").count() == 404
    assert parts(board(page), "station")
    state = 121  # row 2, column 2, passenger at R, to G
    hover(page, state)
    assert page.locator("#tile h2").inner_text() == f"tile: {mdp.grid.name(state)}"
    np.testing.assert_allclose(numbers(page)[:6], made.snapshots[0, state], atol=0.00051)
    # Beyond the last column lies a blank, and beyond it the next small map: here the taxi with its passenger.
    cell(page, 93).focus()  # row 1, column 5, passenger at B, to G
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.tile") == "17"  # row 1, column 1, riding, to G
    for _ in STEPS:
        press(page, ".")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=reached the goal after 9 steps, reward 12")  # down, across, up: 8 moves, and drop off


def test_a_page_refers_to_nothing_outside_itself_and_stays_small(tmp_path):
    page = save_page([lake_record()], tmp_path / "page.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!#)|url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)""", page)
    many = [lake_record(f"m{i}", random_map((20, 20), seed=1), snapshots=60, seed=i) for i in range(6)]
    assert 0.5 * MAX_BYTES < save_page(many, tmp_path / "many.html").stat().st_size <= MAX_BYTES


def test_what_stands_in_a_name_cannot_end_the_script(tmp_path):
    made = lake_record(title="</script><b>")
    assert "</script><b>" not in save_page([made], tmp_path / "page.html").read_text()


def test_pages_are_of_one_lake_with_a_map(tmp_path):
    with pytest.raises(ValueError, match="the runs are on 2 environments"):
        save_page([lake_record(), lake_record(rows=LAKES["4x4"])], tmp_path / "page.html")
    own = record(Origin("own", None, MAPLESS, False, None, 0.99, 10))
    with pytest.raises(ValueError, match="no map to draw"):
        save_page([own], tmp_path / "page.html")
    with pytest.raises(ValueError, match="'html'.*10100 tiles"):
        save_page([lake_record(rows=random_map((100, 101), frozen=0.9, seed=0), snapshots=2)], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
