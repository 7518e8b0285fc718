"""The lab in a browser: it does what is pressed, drawn and typed, says what cannot be, and comes back from its address."""

import re
from itertools import pairwise

import numpy as np
import pytest

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import success_probability
from ift_gridworld.rendering.lab_page import lab_page, save_lab

MAX_BYTES = 350_000


@pytest.fixture
def lab(open_page, tmp_path):
    """Opens the lab at an address's fragment."""

    def opened(fragment="", width=1280, height=900, **options):
        return open_page(save_lab(tmp_path / "lab.html"), fragment, viewport={"width": width, "height": height}, **options)

    return opened


def app(page, expression):
    """Return the value of an expression of the running app, which the page keeps as `window.lab`."""
    return page.evaluate(f"() => {{ const app = window.lab; return {expression}; }}")


def numbers(page):
    return app(page, "app.world.tracks.map((t) => [t.name, ...Array.from(app.world.policyOf(t))])")


def arrive(page, update):
    page.wait_for_function(f"() => window.lab.world.update >= {update}")


def test_the_page_is_one_small_file_without_a_network():
    page = lab_page()
    assert len(page.encode()) < MAX_BYTES
    assert not re.search(r"""(src|href)=["'](?!#)|https?://(?!www\.w3\.org)""", page)


def test_align_trains_all_methods_and_stops_on_pause(lab):
    page = lab()
    page.click("#play")
    arrive(page, 20)
    page.click("#play")
    update = app(page, "app.world.update")
    assert page.inner_text("#update") == f"update {update}"
    assert app(page, "app.world.tracks.map((t) => t.learner.updates)") == [update] * 4
    page.wait_for_timeout(100)
    assert app(page, "app.world.update") == update
    page.click("#one")
    page.click("#ten")
    assert app(page, "app.world.update") == update + 11
    page.click("#reset")
    assert app(page, "app.world.update") == 0


def test_what_stands_by_a_board_is_of_its_policy(lab):
    page = lab("#rows=SFFF.FHFH.FFFH.HFFG&slip=0.5&methods=sft,ift,ppo_exact&update=30")
    mdp = TabularMDP.from_map(["SFFF", "FHFH", "FFFH", "HFFG"], is_slippery=True, success_rate=0.5)
    texts = page.locator(".numbers").all_inner_texts()
    for (_, *policy), text in zip(numbers(page), texts, strict=True):
        success = success_probability(mdp, np.reshape(policy, (16, 4)), mdp.horizon)
        assert text.startswith(f"success {success:.3f}")


def test_opening_the_address_gives_the_same_numbers(lab):
    page = lab("#methods=sft,ift,dpo,ppo&seed=5")
    for _ in range(3):
        page.click("#ten")
    page.locator("#set-mixing").evaluate("(e) => { e.value = 0.7; e.oninput(); }")
    page.locator("#set-rate").evaluate("(e) => { e.value = -1; e.oninput(); }")
    page.click("#ten")
    fragment = page.evaluate("() => location.hash")
    assert "changes=30%3Amixing%3A0.7%3B30%3Arate%3A0.1" in fragment
    assert numbers(lab(fragment)) == numbers(page)


def test_the_skip_link_keeps_the_state_and_another_address_replaces_it(lab):
    page = lab("#methods=ift&update=10&stop=1")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert app(page, "[app.world.update, app.state.methods[0]]") == [10, "ift"]
    assert page.evaluate("() => document.activeElement.dataset.tile") == "0"
    page.evaluate("() => { location.hash = '#methods=sft&update=5'; }")
    arrive(page, 5)
    assert app(page, "[app.world.update, app.state.methods[0]]") == [5, "sft"]
    assert page.locator("#stop").is_hidden()


def test_a_change_while_it_runs_matters(lab):
    page, other = lab("#methods=ift&update=20"), lab("#methods=ift&update=20")
    other.locator("#set-mixing").evaluate("(e) => { e.value = 1; e.oninput(); }")
    page.click("#ten")
    other.click("#ten")
    assert numbers(page) != numbers(other)


@pytest.mark.parametrize(
    ("fragment", "problem"),
    [
        ("#rows=SF.FHG", "rows is SF.FHG; the rows of the map differ in length"),
        ("#rows=SH.HG", "no way leads from the start to the goal"),
        ("#methods=sft,nothing", "methods is sft,nothing; allowed: up to 6 of sft, ift"),
        ("#mixing=2", "mixing is 2; allowed: 0 to 1"),
        ("#seed=half", "seed is half; allowed: 0 to 9999"),
        ("#changes=3:rows:1", "allowed: update:setting:value"),
        ("#lambda=1", "the address has lambda, which is not a setting"),
        ("#demonstration=0,5", "a path goes from each tile to one beside it"),
    ],
)
def test_what_an_address_has_wrong_is_said(lab, fragment, problem):
    page = lab(fragment)
    assert problem in page.inner_text("#message")
    page.click("#one")
    assert app(page, "app.world.update") == 1


# ---- making a lake ----


def cell(page, tile, board=0):
    return page.locator(".grid").nth(board).locator("[role=gridcell]").nth(tile)


def test_a_click_changes_a_tile_and_what_cannot_be_is_said(lab):
    page = lab()
    page.check("#tool-tile")
    cell(page, 12).click()
    assert app(page, "app.state.rows") == ["SFFF", "FHHF", "FHHG", "HFFF"]
    cell(page, 1).click()  # the last way
    assert app(page, "app.state.rows") == ["SFFF", "FHHF", "FHHG", "HFFF"]
    assert page.inner_text("#message") == "no way leads from the start to the goal"
    cell(page, 3).focus()
    for _ in range(2):
        page.keyboard.press("Enter")
    assert app(page, "app.state.rows")[0][3] in "FHG"
    assert page.evaluate("() => document.activeElement.dataset.tile") == "3"


def test_there_is_one_start_however_often_it_is_made(lab):
    page = lab()
    page.check("#tool-tile")
    for _ in range(3):  # hole is refused nowhere on this tile: hole, goal, start
        cell(page, 13).click()
    rows = "".join(app(page, "app.state.rows"))
    assert rows.count("S") == 1 and rows[13] == "S"


def test_size_and_slip_make_another_lake(lab):
    page = lab()
    page.fill("[aria-label='number of rows']", "6")
    page.keyboard.press("Tab")
    assert app(page, "[app.world.lake.height, app.world.lake.width]") == [6, 4]
    page.locator("#set-slip").evaluate("(e) => { e.value = 0.5; e.oninput(); }")
    assert app(page, "app.world.lake.slip") == pytest.approx(0.5)
    page.select_option("#set-preset", "bridge")
    assert app(page, "app.state.rows.length") == 5


def drag(page, tiles, board=0):
    boxes = [cell(page, tile, board).bounding_box() for tile in tiles]
    middles = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
    page.mouse.move(*middles[0])
    page.mouse.down()
    for one, other in pairwise(middles):
        page.mouse.move((one[0] + other[0]) / 2, (one[1] + other[1]) / 2)
        page.mouse.move(*other)
    page.mouse.up()


def test_a_path_is_drawn_by_dragging(lab):
    page = lab()
    page.check("#tool-demonstration")
    drag(page, [0, 4, 8, 12, 13, 14, 15, 11])
    assert app(page, "app.world.data.demonstrations[0].actions") == [1, 1, 1, 2, 2, 2, 3]
    page.check("#tool-rejected")
    drag(page, [0, 1, 2, 3, 7, 11])
    assert app(page, "app.world.data.rejected[0].actions") == [2, 2, 2, 1, 1]
    drag(page, [5, 6])
    assert page.inner_text("#message") == "a path begins on a start"
    assert app(page, "app.world.data.rejected[0].actions") == [2, 2, 2, 1, 1]
    page.click("text=forget drawn paths")
    assert app(page, "app.world.data.demonstrations[0].actions") == [2, 2, 2, 1, 1]


def test_a_path_is_drawn_by_the_keyboard(lab):
    page = lab()
    page.check("#tool-demonstration")
    cell(page, 0).focus()
    page.keyboard.press("Enter")
    for key in ("s", "ArrowDown", "ArrowDown", "d", "ArrowRight", "ArrowRight", "w"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    assert app(page, "app.world.data.demonstrations[0].actions") == [1, 1, 1, 2, 2, 2, 3]
    cell(page, 0).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert app(page, "app.world.data.demonstrations[0].actions") == [1, 1, 1, 2, 2, 2, 3]


# ---- the tour, sharing ----


def test_every_stop_asks_plays_and_answers(lab):
    page = lab("#speed=300")
    page.click("#tour")
    stops = 0
    while True:
        stops += 1
        assert page.inner_text("#question").endswith("?")
        page.locator("#guesses button").first.click()
        page.wait_for_function(
            "() => !window.lab.playing && !document.querySelector('#answer').textContent.includes('…')", timeout=60_000
        )
        answer = page.inner_text("#answer")
        assert re.search(r"\d", answer) and "NaN" not in answer and "undefined" not in answer
        if page.inner_text("#next") != "Next":
            break
        page.click("#next")
    assert stops == 6
    page.click("#leave")
    assert page.locator("#stop").is_hidden()


def test_everything_can_be_taken_away(lab, tmp_path):
    page = lab("#update=20")
    page.click("summary")
    for kind, start in (
        ("svg", b"<svg"),
        ("png", b"\x89PNG"),
        ("csv", b"method,update,success"),
        ("film", b"\x1aE\xdf\xa3"),
        ("map", b"SFFF\n"),
    ):
        with page.expect_download(timeout=60_000) as download:
            page.click(f"[data-share={kind}]")
        content = download.value.path().read_bytes()
        assert content.startswith(start), kind
        assert b"NaN" not in content
    rows = [line.split(",") for line in _csv(page)]
    assert [row[:2] for row in rows[1:4]] == [["sft", "0"], ["sft", "10"], ["sft", "20"]]
    command = page.inner_text("#command")
    assert command.startswith("ift-gridworld lake --method sft,ift,dpo,ppo --map two-paths")


def _csv(page):
    return page.evaluate("() => modules.share.csvOf(window.lab.world)").splitlines()


# ---- for everyone ----


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("fragment", ["", "#chart=steps&update=10&stop=1", "#chart=frontier&arrows=push&colour=change"])
def test_axe_finds_nothing(lab, scheme, fragment):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    results = axe.Axe().run(lab(fragment, color_scheme=scheme))
    assert [(v["id"], v["impact"], v["nodes"][0]["html"][:120]) for v in results.response["violations"]] == []


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_nothing_sticks_out_sideways(lab, width):
    page = lab("#update=5&methods=sft,ift,dpo,ipo,orpo,ppo_exact", width=width)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_targets_are_large_enough(lab):
    page = lab(width=390, height=844)
    small = page.evaluate(
        "() => [...document.querySelectorAll('main button:not(.term):not(.small), header button, select, input[type=number]')]"
        ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).map((e) => e.outerHTML)"
    )
    assert small == []


def test_a_term_is_explained_and_escape_closes_it(lab):
    page = lab()
    page.locator("[data-term=lambda]").focus()
    assert "mixing" in page.inner_text("#tip")
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_embedded_it_has_boards_and_controls_alone(lab):
    page = lab("#embed&methods=sft")
    assert page.locator("header").is_hidden() and page.locator("#charts").is_hidden()
    assert page.locator("#boards").is_visible() and page.locator("#controls").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_random_use_leaves_no_error_and_no_nan(lab, seed):
    rng = np.random.default_rng(seed)
    page = lab("#methods=sft,dpo")
    for _ in range(200):
        use(page, rng)
    assert "NaN" not in page.inner_text("body") and "undefined" not in page.inner_text("body")
    page.reload()
    assert "NaN" not in page.inner_text("body")


SELECTORS = {
    "button": "main button, #tour, #guesses button, #next, #leave, #theme, #views button, #methods button",
    "check": "#controls input:not([type=range]):not([type=number])",
    "select": "select",
    "slider": "input[type=range]",
}


def use(page, rng):
    """One random click, drag, key press or slider move."""
    kind = rng.choice(["button", "slider", "select", "check", "cell", "drag", "key"])
    if kind in ("button", "check", "select", "slider"):
        selector = SELECTORS[kind]
        elements = [e for e in page.query_selector_all(selector) if e.is_visible() and e.is_enabled()]
        if not elements:
            return
        element = elements[rng.integers(len(elements))]
        if kind == "slider":
            element.evaluate(
                "(e, share) => { e.value = Number(e.min) + share * (e.max - e.min); e.oninput(); }", float(rng.random())
            )
        elif kind == "select":
            options = element.evaluate("(e) => [...e.options].filter((o) => !o.disabled).map((o) => o.value)")
            element.select_option(options[rng.integers(len(options))])
        else:
            element.evaluate("(e) => e.click()")
        return
    count = page.locator(".grid").first.locator("[role=gridcell]").count()
    tile = int(rng.integers(count))
    if kind == "cell":
        cell(page, tile).evaluate("(e) => e.focus()")
        page.keyboard.press(str(rng.choice(["Enter", "Escape", "a", "d", "ArrowUp", "s"])))
    elif kind == "key":
        page.keyboard.press(str(rng.choice([" ", "Escape", "Tab", "ArrowRight", "Enter"])))
    else:
        cell(page, tile).scroll_into_view_if_needed()
        drag(page, [tile, int(rng.integers(count))])


def test_the_start_of_a_written_page_is_its_own(chromium, tmp_path):
    path = save_lab(tmp_path / "lab.html", ["SFF", "FHF", "FFG"], slip=0.25, methods=["ift"])
    page = chromium.new_page()
    page.set_default_timeout(120_000)  # a busy machine takes its time
    page.goto(path.as_uri())
    state = page.evaluate("() => window.lab.state")
    page.close()
    assert (state["rows"], state["slip"], state["methods"]) == (["SFF", "FHF", "FFG"], 0.25, ["ift"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": ["S" + "F" * 12 + "G"]}, "the map has 1 by 14 tiles; allowed in the lab: up to 12 each way"),
        ({"slip": 0.9}, "slip is 0.9; allowed"),
        ({"methods": ["grpo"]}, "method is 'grpo'; "),
        ({"methods": ["sft"] * 7}, "method has 7 names; allowed in the lab: up to 6"),
    ],
)
def test_what_the_page_does_not_take_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        save_lab(tmp_path / "lab.html", **arguments)
    assert not (tmp_path / "lab.html").exists()
