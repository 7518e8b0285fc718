"""The page in a real headless Chromium: what it shows is what the saved run holds."""

import base64
import json
import re

import numpy as np
import pytest
from test_saved_runs import MAPLESS, record

from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.mdp import Origin
from ift_gridworld.planning import evaluate_policy, optimal_policy
from ift_gridworld.rendering.page import MAX_BYTES, save_page

STEPS = np.array([0, 1, 4, 10, 30])


def lake_record(method="ift", rows=LAKES["two-paths"], snapshots=5, seed=0, **changes):
    lake = Origin("lake", tuple(rows), None, False, 1 / 3, 0.99, 100)
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


def numbers(page, method="ift"):
    """What the inspector says of the tile: probabilities of the moves, value and visits."""
    cells = page.locator(f'#tile td[data-method="{method}"]').all_inner_texts()
    return np.array([float(cell) for cell in cells])


def test_the_numbers_on_hover_are_the_runs(visit):
    """Three digits are shown, of numbers kept to 1/131070 of their range."""
    made = lake_record()
    page, mdp = visit([made]), made.mdp
    values = evaluate_policy(mdp, made.snapshots)
    for index in range(len(STEPS)):
        for tile in (0, 3, 12, 7):
            page.locator(f'[data-tile="{tile}"]').hover()
            shown = numbers(page)
            np.testing.assert_allclose(shown[:4], made.snapshots[index, tile], atol=0.00051)
            np.testing.assert_allclose(shown[4], values[index, tile], atol=0.00052)
        assert page.locator("#when").inner_text() == f"update {STEPS[index]}"
        page.keyboard.press(".")
    optimal = [float(x) for x in page.locator("#tile tbody tr td:last-child").all_inner_texts()[:4]]
    np.testing.assert_allclose(optimal, optimal_policy(mdp)[7], atol=0.00051)


def test_scrubbing_moves_the_arrows_and_playing_ends_at_the_last_step(visit):
    page = visit([lake_record()])
    arrows = []
    for step in (0, 2, 4, 0):
        page.locator("#step").fill(str(step))
        arrows.append(page.locator("svg[role=grid] path.arrows").get_attribute("d"))
    assert arrows[0] == arrows[3] and len(set(arrows)) == 3
    page.locator("#play").click()
    page.wait_for_function("document.getElementById('when').textContent === 'update 30'", timeout=5000)
    page.wait_for_function("document.getElementById('play').textContent.includes('play')", timeout=5000)


def test_everything_can_be_done_by_keyboard(visit):
    page = visit([lake_record("ift"), lake_record("dpo", seed=1)])
    page.locator('[data-tile="0"]').focus()
    for key, tile in (("ArrowRight", 1), ("ArrowDown", 5), ("ArrowUp", 1), ("ArrowLeft", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.tile") == str(tile)
        assert f"row {tile // 4 + 1}, column {tile % 4 + 1}" in page.locator("#tile h2").inner_text()
    label = page.locator('[data-tile="0"]').get_attribute("aria-label")
    assert re.fullmatch(r"row 1, column 1, start: left 0\.\d\d, down 0\.\d\d, right 0\.\d\d, up 0\.\d\d", label)
    for _ in range(4):
        page.keyboard.press(".")
    page.keyboard.press("Enter")  # the last policy is optimal, and nothing slips
    page.wait_for_selector("text=reached the goal after 5 steps", timeout=5000)
    page.keyboard.press("m")
    assert page.locator("#boards h2").all_inner_texts() == ["DPO · a method"]
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    page.keyboard.press(" ")
    assert "pause" in page.locator("#play").inner_text()


def test_two_methods_stand_beside_each_other(visit):
    first, second = lake_record("ift"), lake_record("dpo", seed=1, steps=np.array([0, 2, 3, 4, 50]))
    page = visit([first, second])
    page.select_option("#other", "1")
    assert page.locator("svg[role=grid]").count() == 2
    page.locator('[data-tile="3"]').first.hover()
    np.testing.assert_allclose(numbers(page)[:4], first.snapshots[0, 3], atol=0.00051)
    np.testing.assert_allclose(numbers(page, "dpo")[:4], second.snapshots[0, 3], atol=0.00051)
    page.keyboard.press(".")
    assert page.locator("#when").inner_text() == "update 1 and 2"


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_sticks_out_at_any_width(visit, width):
    page = visit([lake_record("ift"), lake_record("dpo")], viewport={"width": width, "height": 800})
    page.select_option("#other", "1")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = page.locator("svg[role=grid]").evaluate_all("all => all.map(x => x.getBoundingClientRect().width)")
    assert min(boxes) > 150


def test_where_stages_are_left_out_the_curves_are_whole_and_the_page_says_so(tmp_path):
    """Of 60 stages on 40x40, of 1600 tiles, with 6 numbers of 16 bits each in base64, there is room for fewer than 40."""
    made = lake_record(rows=random_map((40, 40), seed=1), snapshots=60)
    text = save_page([made], tmp_path / "page.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["methods"][0]
    assert data["steps"] == made.steps.tolist()
    assert data["kept"][0] == 0 and data["kept"][-1] == 59 and len(data["kept"]) < MAX_BYTES / (1600 * 6 * 2 * 4 / 3)
    assert len(base64.b64decode(data["policy"]["data"])) == len(data["kept"]) * 1600 * 4 * 2
    for name, curve in data["curves"].items():
        np.testing.assert_allclose(curve["mean"], made.metrics[name].mean(-1), rtol=1e-4)


def test_the_cursor_moves_along_the_whole_curve_from_stage_to_stage(visit):
    made = lake_record(rows=random_map((40, 40), seed=1), snapshots=60)
    page = visit([made])
    kept = page.evaluate("run.methods[0].kept")
    assert f"maps of {len(kept)} of 60 stages" in page.locator("#about").inner_text()
    points = page.locator("#headline polyline").get_attribute("points").split()
    assert len(points) == 60
    page.keyboard.press(".")
    assert page.locator("#when").inner_text() == f"update {made.steps[kept[1]]}"
    dot = page.locator("#headline circle")
    place = [float(dot.get_attribute(name)) for name in ("cx", "cy")]
    np.testing.assert_allclose(place, [float(x) for x in points[kept[1]].split(",")], atol=0.051)
    assert f"seed 0: success {made.metrics['success'][kept[1], 0]:.3f}" in page.locator(".score").inner_text()
    np.testing.assert_allclose(numbers(page)[:4], made.snapshots[kept[1], 0], atol=0.00051)


@pytest.mark.parametrize("side", [8, 50])
def test_start_and_gift_and_path_are_found_on_tiles_of_any_size(visit, side):
    """Where tiles are smaller than 13 pixels, as signs in their corners, and lines have a width of their own."""
    made = lake_record(rows=random_map((side, side), seed=1), snapshots=2, steps=np.array([0, 9]))
    page = visit([made], viewport={"width": 1280, "height": 860})
    grid = page.locator("svg[role=grid]").evaluate("x => [x.getBoundingClientRect().height, x.classList.contains('tiny')]")
    tiny = grid[0] / side < 13
    assert tiny == grid[1] == (side == 50)
    signs = page.locator(".sign").evaluate_all("all => all.map(x => x.getBoundingClientRect().toJSON())")
    assert len(signs) == 2
    if not tiny:
        assert all(sign["width"] == 0 for sign in signs) and page.locator(".letter").is_visible()
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
    page.locator(f'[data-tile="{state}"]').hover()
    assert page.locator("#tile h2").inner_text() == f"tile: {mdp.grid.name(state)}"
    np.testing.assert_allclose(numbers(page)[:6], made.snapshots[0, state], atol=0.00051)
    # Beyond the last column lies a blank, and beyond it the next small map: here the taxi with its passenger.
    page.locator('[data-tile="93"]').focus()  # row 1, column 5, passenger at B, to G
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.tile") == "17"  # row 1, column 1, riding, to G
    for _ in STEPS:
        page.keyboard.press(".")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=reached the goal after 9 steps", timeout=8000)  # down, across, up: 8 moves, and drop off


def test_a_page_refers_to_nothing_outside_itself_and_stays_small(tmp_path):
    page = save_page([lake_record()], tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)
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
