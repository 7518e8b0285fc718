"""The lab in headless Chromium: how long it trains, how evenly it moves, and how soon it is seen."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.comparison import Comparison, measure_alone
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.rendering.lab_page import save_lab

__all__ = ["lab"]

METHODS = ("sft", "ift", "dpo", "ppo")
TRAIN = "() => { const app = window.lab; app.restart({}); const began = performance.now();"
TRAIN += " app.world.advance(app.state, 300); return performance.now() - began; }"
PLAY = """() => new Promise((resolve) => {
  const app = window.lab, times = [];
  app.restart({});
  app.play(true);
  const frame = (time) => (times.push(time) < 121 ? requestAnimationFrame(frame) : resolve((times.at(-1) - times[0]) / 120));
  requestAnimationFrame(frame);
})"""
# The paint is recorded some time after it happens.
PAINT = """() => new Promise((resolve) => new PerformanceObserver((list) => {
  const entry = list.getEntriesByName("first-contentful-paint")[0];
  if (entry) resolve(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


def lab(pairs: int) -> list[Callable[[], Comparison]]:
    """Measure slippery 8x8, four methods on networks: 300 updates with an evaluation each tenth, milliseconds between two
    frames while playing, and milliseconds until the page is seen. Asked: below 2000, 17 and 500."""

    def of(what: str, script: str) -> Callable[[], Comparison]:
        name = f"lab, {what}"
        if find_spec("playwright") is None or _chromium() is None:
            return lambda: Comparison(name, "", None, None, None, "ms", "needs playwright and a Chromium")
        return lambda: measure_alone(name, lambda: _measured(script), "ms", pairs)

    return [of("300 updates of four methods", TRAIN), of("between two frames", PLAY), of("first paint", PAINT)]


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _measured(script: str) -> float:
    """Return the result of a script in a fresh page."""
    from playwright.sync_api import sync_playwright

    driver: Any
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(save_lab(Path(folder) / "lab.html", LAKES["8x8"], slip=2 / 3, methods=METHODS).as_uri())
        value = float(page.evaluate(script))
        browser.close()
    return value
