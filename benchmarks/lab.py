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
FRAMES = 120
TRAIN = "() => { const app = window.lab; app.restart({}); app.world.advance(app.state, 300); }"
PLAY = f"""() => new Promise((resolve) => {{
  const app = window.lab;
  let frames = 0;
  app.restart({{}});
  app.play(true);
  const frame = () => (frames++ < {FRAMES} ? requestAnimationFrame(frame) : resolve());
  requestAnimationFrame(frame);
}})"""
# The paint is recorded some time after it happens.
PAINT = """() => new Promise((resolve) => new PerformanceObserver((list) => {
  const entry = list.getEntriesByName("first-contentful-paint")[0];
  if (entry) resolve(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


def lab(pairs: int) -> list[Callable[[], Comparison]]:
    """Measure slippery 8x8, four methods on networks: work of the page's main thread for 300 updates with an evaluation each
    tenth, its work for a frame while playing, both in milliseconds of processor time, and milliseconds until the page is seen.
    Asked: below 2000, 17 and 500."""

    def of(what: str, measure: Callable[[Any], float]) -> Callable[[], Comparison]:
        name = f"lab, {what}"
        if find_spec("playwright") is None or _chromium() is None:
            return lambda: Comparison(name, "", None, None, None, "ms", "needs playwright and a Chromium")
        return lambda: measure_alone(name, lambda: _measured(measure), "ms", pairs)

    return [
        of("300 updates of four methods", lambda page: _work(page, TRAIN)),
        of("a frame while playing", lambda page: _work(page, PLAY) / FRAMES),
        of("first paint", lambda page: float(page.evaluate(PAINT))),
    ]


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _measured(measure: Callable[[Any], float]) -> float:
    """Return what is measured on a fresh page."""
    from playwright.sync_api import sync_playwright

    driver: Any
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(save_lab(Path(folder) / "lab.html", LAKES["8x8"], slip=2 / 3, methods=METHODS).as_uri())
        value = measure(page)
        browser.close()
    return value


def _work(page: Any, script: str) -> float:
    """Return the milliseconds of processor time that the main thread spends on a script."""
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = client.send("Performance.getMetrics")["metrics"]
        return 1000 * float(next(entry["value"] for entry in metrics if entry["name"] == "TaskDuration"))

    before = spent()
    page.evaluate(script)
    return spent() - before
