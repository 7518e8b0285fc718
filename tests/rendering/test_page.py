"""The page in a real headless Chromium: what it shows is what the saved run holds."""

import base64
import json
import re
import zlib
from dataclasses import replace

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


def numbers(page, method="ift"):
    """What the inspector says of the tile: probabilities of the moves, value, visits and the change since the base."""
    return np.array([number(cell) for cell in page.locator(f'#tile td[data-method="{method}"]').all_inner_texts()])


def hover(page, tile):
    page.locator(f'[data-tile="{tile}"]').first.hover()


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
        assert page.locator("#when").inner_text() == f"update {STEPS[index]}"
        page.keyboard.press(".")
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
    assert page.locator("svg[role=grid]").count() == 2
    updates = sorted({*schedules["ift"], *schedules["dpo"]})
    assert int(page.locator("#step").get_attribute("max")) == len(updates) - 1
    hover(page, 3)
    for update in updates:
        assert page.locator("#when").inner_text() == f"update {update}"
        for board, run in zip(page.locator(".board").all(), runs, strict=True):
            latest = int(np.flatnonzero(run.steps <= update)[-1])
            np.testing.assert_allclose(numbers(page, run.method)[:4], run.snapshots[latest, 3], atol=0.00051)
            age = "ended at 30" if update > run.steps[-1] else f"map of update {run.steps[latest]}"
            expected = "" if run.steps[latest] == update else age
            assert board.locator(".age").inner_text() == expected
            success, distance = (run.metrics[name][latest, 0] for name in ("success", "distance"))
            score = board.locator(".score").inner_text()
            assert f"seed 0: success {success:.3f}" in score and f"distance to optimal {distance:.3f}" in score
        page.keyboard.press(".")
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
    charts = page.locator("#charts").inner_html()
    hover(page, 4)
    for index, seed in ((1, "seed 4"), (0, "seed 3")):
        page.select_option("#seed", label=seed)
        for board, run in zip(page.locator(".board").all(), runs, strict=True):
            np.testing.assert_allclose(numbers(page, run.method)[:4], run.policies[0, index, 4], atol=0.00051)
            value = evaluate_policy(run.mdp, run.policies[0, index])[4]
            np.testing.assert_allclose(numbers(page, run.method)[4], value, atol=0.00051)
            success = run.metrics["success"][0, index]
            assert f"{seed}: success {success:.3f}" in board.locator(".score").inner_text()
        assert page.locator("#charts").inner_html() == charts


def test_scrubbing_moves_the_arrows_and_playing_ends_at_the_last_step(visit):
    page = visit([lake_record()])
    arrows = []
    for step in (0, 2, 4, 0):
        page.locator("#step").fill(str(step))
        arrows.append(page.locator("svg[role=grid] path.arrows").get_attribute("d"))
    assert arrows[0] == arrows[3] and len(set(arrows)) == 3
    page.locator("#play").click()
    page.wait_for_function("document.getElementById('when').textContent === 'update 30'")
    page.wait_for_function("document.getElementById('play').textContent.includes('play')")


def test_everything_can_be_done_by_keyboard(visit):
    page = visit([lake_record("ift"), lake_record("dpo", seed=1)])
    page.locator('[data-tile="0"]').first.focus()
    for key, tile in (
        ("ArrowRight", 1), ("ArrowDown", 5), ("ArrowUp", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("End", 3), ("Home", 0)
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.tile") == str(tile)
        assert f"row {tile // 4 + 1}, column {tile % 4 + 1}" in page.locator("#tile h2").inner_text()
    label = page.locator('[data-tile="0"]').first.get_attribute("aria-label")
    assert re.fullmatch(r"row 1, column 1, start: left 0\.\d\d, down 0\.\d\d, right 0\.\d\d, up 0\.\d\d", label)
    for _ in range(4):
        page.keyboard.press(".")
    page.keyboard.press("Enter")  # the last policy is optimal, and nothing slips
    page.wait_for_selector("text=reached the goal after 5 steps, reward 1")
    page.keyboard.press("Escape")
    assert page.locator(".walker").first.get_attribute("visibility") == "hidden"
    page.keyboard.press("m")
    assert page.locator("#boards h2 .sample + *").count() == 1 and page.locator("#boards h2").inner_text().startswith("IFT")
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    page.keyboard.press(" ")
    assert "pause" in page.locator("#play").inner_text()


def test_methods_join_and_leave(visit):
    page = visit([lake_record(name, seed=i) for i, name in enumerate(("sft", "ift", "dpo"))])
    chips = page.locator("#methods button")
    assert chips.all_inner_texts() == ["SFT", "IFT", "DPO"] and page.locator(".board").count() == 3
    chips.nth(0).click()
    assert [text.split("\n")[0] for text in page.locator("#boards h2").all_inner_texts()] == ["IFT", "DPO"]
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
        page.locator('[data-tile="0"]').first.click()
        page.wait_for_function("document.querySelectorAll('#walk [data-walk]').length === 3 && !/walking/.test(walk.innerText)")
        trails = [trail.get_attribute("d") for trail in page.locator(".trail:not(.edge)").all()]
        told = [page.locator(f'[data-walk="{name}"]').inner_text().split(": ")[1] for name in ("sft", "ift")]
        assert trails[0] == trails[1] and told[0] == told[1]
        paths.append(trails)
    assert len({first for first, _, _ in paths}) > 1  # each drop has numbers of its own
    assert any(first != other for first, _, other in paths)  # and another policy takes another way


@pytest.mark.parametrize("width", [320, 800, 1400])
def test_nothing_sticks_out_at_any_width(visit, width):
    page = visit([lake_record("ift"), lake_record("dpo")], viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = page.locator("svg[role=grid]").evaluate_all("all => all.map(x => x.getBoundingClientRect().width)")
    assert min(boxes) > 150


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
    kept = page.evaluate("page.run.methods[0].kept")
    assert f"maps at {len(kept)} of 60 updates" in page.locator("#left-out").inner_text()
    points = page.locator("#chart-success polyline").get_attribute("points").split()
    assert len(points) == 60
    page.keyboard.press(".")
    assert page.locator("#when").inner_text() == f"update {made.steps[kept[1]]}"
    place = page.locator("#chart-success .dot").get_attribute("transform")
    place = [float(x) for x in re.match(r"translate\((\S+) (\S+)\)", place).groups()]
    np.testing.assert_allclose(place, [float(x) for x in points[kept[1]].split(",")], atol=0.051)
    # A square-root axis from 44 to 310 pixels; success from 0 at 144 to 1 at 8.
    expected = 44 + 266 * np.sqrt(kept[1] / 59), 144 - 136 * made.metrics["success"][kept[1]].mean()
    np.testing.assert_allclose(place, expected, atol=0.06)
    assert page.locator("#averaged").inner_text() == "mean of 2 seeds, 95 % interval"
    assert f"success {made.metrics['success'][kept[1], 0]:.3f}" in page.locator(".score").inner_text()
    np.testing.assert_allclose(numbers(page)[:4], made.snapshots[kept[1], 0], atol=0.00051)


@pytest.mark.parametrize("side", [8, 50])
def test_start_and_goal_and_path_are_found_on_tiles_of_any_size(visit, side):
    """Where tiles are smaller than 13 pixels, as signs in their corners, and lines have a width of their own."""
    made = lake_record(rows=random_map((side, side), seed=1), snapshots=2, steps=np.array([0, 9]))
    page = visit([made], viewport={"width": 1280, "height": 860})
    grid = page.locator("svg[role=grid]").evaluate("x => [x.getBoundingClientRect().height, x.classList.contains('tiny')]")
    tiny = grid[0] / side < 13
    assert tiny == grid[1] == (side == 50)
    signs = page.locator(".sign").evaluate_all("all => all.map(x => x.getBoundingClientRect().toJSON())")
    assert len(signs) == 2
    if not tiny:
        assert all(sign["width"] == 0 for sign in signs) and page.locator(".letter:visible, .ring:visible").count() == 1
        return
    tiles = [page.locator(f'[data-tile="{tile}"]').bounding_box() for tile in (0, side * side - 1)]
    for sign, tile in zip(signs, tiles, strict=True):
        assert 18 <= sign["width"] < 21  # a little more with its frame
        assert sign["left"] < tile["x"] + tile["width"] / 2 < sign["right"]
        assert sign["top"] < tile["y"] + tile["height"] / 2 < sign["bottom"]
    style = page.locator("svg[role=grid] .shown").first.evaluate(
        "x => [getComputedStyle(x).strokeWidth, getComputedStyle(x).vectorEffect]"
    )
    assert style == ["1.6px", "non-scaling-stroke"]


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
    state = 121  # row 2, column 2, passenger at R, to G
    hover(page, state)
    assert page.locator("#tile h2").inner_text() == f"tile: {mdp.grid.name(state)}"
    np.testing.assert_allclose(numbers(page)[:6], made.snapshots[0, state], atol=0.00051)
    # Beyond the last column lies a blank, and beyond it the next small map: here the taxi with its passenger.
    page.locator('[data-tile="93"]').focus()  # row 1, column 5, passenger at B, to G
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.tile") == "17"  # row 1, column 1, riding, to G
    for _ in STEPS:
        page.keyboard.press(".")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=reached the goal after 9 steps, reward 12")  # down, across, up: 8 moves, and drop off


def test_a_page_refers_to_nothing_outside_itself_and_stays_small(tmp_path):
    page = save_page([lake_record()], tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)\s*=|url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", page)
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
