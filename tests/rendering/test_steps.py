"""The page to step through, in a real headless Chromium: by keyboard, mouse and touch, in light and dark, on a phone."""

import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from test_explain_film import made

from ift_gridworld.explain import EXPLAINED
from ift_gridworld.rendering import steps as steps_module
from ift_gridworld.rendering.explain_page import save_explanation
from ift_gridworld.rendering.pace import reading_seconds
from ift_gridworld.rendering.steps import EQUATION_SECONDS, MAX_BYTES, PageStep, StepPicture, save_steps

METHODS = [m if m in ("ift", "dpo") else pytest.param(m, marks=pytest.mark.slow) for m in EXPLAINED]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def picture(seed=0, size=(64, 48)):
    random = np.random.default_rng(seed)
    images = {
        theme: Image.fromarray(random.integers(low, low + 40, (*size[::-1], 3)).astype(np.uint8))
        for theme, low in (("light", 210), ("dark", 5))
    }
    return StepPicture("map", f"picture {seed}", images)


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """The page of an explanation, written once."""
    folder = tmp_path_factory.mktemp("pages")

    def write(method="dpo", name="two-paths"):
        path = folder / f"{method}-{name}.html"
        if not path.exists():
            save_explanation(*made(method, name), f"{name} · <a test>", path)
        return path

    return write


def title(page):
    (shown,) = page.locator("section h2:visible").all_inner_texts()
    return shown


def titles(page):
    return page.locator("section h2").all_text_contents()


@pytest.mark.parametrize("method", METHODS)
def test_a_page_holds_every_caption_and_equation_and_is_small(page_of, method):
    explanation, _ = made(method)
    page = page_of(method).read_text(encoding="utf-8")
    assert len(page.encode()) < MAX_BYTES
    for step in explanation.steps:
        assert html.escape(step.caption) in page and html.escape(step.title) in page
    assert page.count("<math") >= sum(bool(step.equation) for step in explanation.steps)
    assert "http" not in page and "<a test>" not in page


def test_every_picture_is_there_in_both_themes_with_words(page_of):
    class Pictures(HTMLParser):
        found = []

        def handle_starttag(self, tag, attributes):
            if tag == "img":
                self.found.append(dict(attributes))

    Pictures().feed(page_of().read_text(encoding="utf-8"))
    light, dark = ([p for p in Pictures.found if p["class"] == theme] for theme in ("light", "dark"))
    assert len(light) == len(dark) >= 8 and all(p["alt"] for p in Pictures.found)
    assert [p["alt"] for p in light] == [p["alt"] for p in dark] and {p["src"] for p in light} != {p["src"] for p in dark}
    values = next(step for step in made("dpo")[0].steps if step.kind == "pair").data["values"]
    assert any("minus log-probability" in p["alt"] and f"{-values[0]:.2f}" in p["alt"] for p in light)


def test_by_keyboard(page_of, open_page):
    page = open_page(page_of())
    every = titles(page)
    assert title(page) == every[0]
    for key, place in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", -1), ("ArrowRight", -1), ("Home", 0)):
        page.keyboard.press(key)
        assert title(page) == every[place], key
    assert every[0] in page.locator("#live").text_content()
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "pause"
    page.keyboard.press("Escape")
    assert page.locator("#play").inner_text() == "play"
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")  # who steps, takes over
    assert page.locator("#play").inner_text() == "play" and title(page) == every[1]


def test_by_mouse(page_of, open_page):
    page = open_page(page_of())
    every = titles(page)
    page.locator("#next").click()
    page.locator("#next").click()
    assert title(page) == every[2]
    page.locator("#previous").click()
    assert title(page) == every[1]
    page.locator("#dots button").nth(len(every) - 1).click()
    assert title(page) == every[-1] and page.locator("#next").get_attribute("aria-disabled") == "true"
    assert page.locator("#dots [aria-current=step]").count() == 1


def test_by_touch(page_of, open_page):
    page = open_page(page_of(), **PHONE)
    every = titles(page)
    swipe = """([from, to]) => {
      const at = x => [new Touch({identifier: 1, target: document.body, clientX: x, clientY: 300})];
      const send = (kind, touches, x) =>
        document.body.dispatchEvent(new TouchEvent(kind, {bubbles: true, touches, changedTouches: at(x)}));
      send("touchstart", at(from), from);
      send("touchend", [], to);
    }"""
    page.evaluate(swipe, [300, 100])
    assert title(page) == every[1]
    page.evaluate(swipe, [100, 300])
    assert title(page) == every[0]
    page.evaluate(swipe, [200, 180])  # a tap that slips
    assert title(page) == every[0]
    page.locator("#next").tap()
    assert title(page) == every[1]


def test_playing_gives_time_to_read(page_of, open_page):
    """Three words a second and a look, and more where there is an equation; it ends at the last step."""
    page = open_page(page_of())
    for section in page.locator("section").all():
        words = " ".join([section.locator("h2").text_content(), section.locator(".caption").text_content()])
        wanted = reading_seconds(words) + EQUATION_SECONDS * (section.locator("math").count() > 0)
        assert float(section.get_attribute("data-seconds")) == pytest.approx(wanted, abs=0.01)
    page.evaluate("sections.forEach(section => section.dataset.seconds = 0.05)")
    page.locator("#play").click()
    page.wait_for_function("document.getElementById('play').textContent === 'play'")
    assert title(page) == titles(page)[-1]
    page.locator("#play").click()  # from the start again
    page.wait_for_function("here > 0")


@pytest.mark.parametrize(("scheme", "theme"), [("light", "light"), ("dark", "dark")])
def test_light_and_dark_follow_the_system_and_the_button(page_of, open_page, scheme, theme):
    page = open_page(page_of(), color_scheme=scheme)

    def shown():
        return {page.locator("section.shown img").nth(i).get_attribute("class") for i in range(4)
                if page.locator("section.shown img").nth(i).is_visible()}  # fmt: skip

    assert shown() == {theme}
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.locator("#theme").click()
    assert shown() == {"light", "dark"} - {theme}
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    page.keyboard.press("t")
    assert shown() == {theme}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(page_of, open_page, method, width):
    """Neither of the page nor of an equation's own line; the pictures are large enough to be seen."""
    page = open_page(page_of(method), viewport={"width": width, "height": 844})
    for _ in titles(page):
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        cut = "all => all.filter(x => x.scrollWidth > x.clientWidth + 1).length"
        assert width == 390 or page.locator("section.shown .equation").evaluate_all(cut) == 0
        widths = "all => all.map(x => x.getBoundingClientRect().width)"
        assert min(page.locator("section.shown .map img:visible").evaluate_all(widths)) > 300
        page.keyboard.press("ArrowRight")


def test_equations_are_drawn_by_the_browser(page_of, open_page):
    """A fraction is higher than a letter: MathML is laid out, not read as text."""
    page = open_page(page_of())
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    heights = page.locator("section.shown").evaluate(
        "x => ['mfrac', 'mi'].map(name => x.querySelector(name).getBoundingClientRect().height)"
    )
    assert heights[0] > 1.6 * heights[1] > 0


def test_focus_is_seen_and_motion_can_be_reduced(page_of, open_page):
    page = open_page(page_of(), reduced_motion="reduce")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outline")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON" and "3px" in outline and "solid" in outline
    assert page.evaluate("getComputedStyle(document.querySelector('section.shown')).animationName") == "none"
    moving = open_page(page_of())
    assert moving.evaluate("getComputedStyle(document.querySelector('section.shown')).animationName") == "appear"
    targets = page.locator("nav > button").evaluate_all("all => all.map(x => x.getBoundingClientRect().height)")
    assert min(targets) >= 44


def test_without_scripts_all_steps_are_shown(page_of, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_of().as_uri())
    assert page.locator("section:visible").count() == page.locator("section").count() > 3
    assert page.locator("nav").is_hidden()
    context.close()


def test_a_wide_map_stands_across_the_page(page_of, open_page):
    page = open_page(page_of("dpo", "CliffWalking-v1"), viewport={"width": 1280, "height": 844})
    assert page.locator("section.shown .map img:visible").bounding_box()["width"] > 1000


def test_a_page_that_would_be_too_large_has_smaller_pictures(tmp_path, monkeypatch):
    """Noise does not compress: two pictures of 300 x 200 in either theme are more than 60,000 bytes."""
    monkeypatch.setattr(steps_module, "MAX_BYTES", 60_000)
    page = save_steps(tmp_path / "page.html", "noise", "", [PageStep("noise", "noise", [picture(0, (300, 200))])])
    assert 20_000 < page.stat().st_size <= 60_000
    assert "width='150' height='100'" in page.read_text(encoding="utf-8")  # shown at the same size


def test_a_page_that_cannot_be_made_small_enough_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(steps_module, "MAX_BYTES", 12_000)
    with pytest.raises(ValueError, match=r"^the page would have [\d,]+ bytes; allowed: at most 12,000"):
        save_steps(tmp_path / "page.html", "noise", "", [PageStep("noise", "noise", [picture(0, (300, 200))])])
    assert not list(tmp_path.iterdir())


def test_words_are_text(tmp_path, open_page):
    name = "/*STEPS*/ </style><script>alert(1)</script> \"'&\x1b"
    path = save_steps(tmp_path / "page.html", name, name, [PageStep(name, name, [picture()], more=[(name, name)])])
    page = open_page(path)
    assert page.locator("h1").text_content() == name.replace("\x1b", "\\x1b") == page.locator("h2").text_content()
    assert page.locator("script").count() == 1 and not re.search(r"\x1b", path.read_text(encoding="utf-8"))
