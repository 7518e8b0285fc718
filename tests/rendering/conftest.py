"""A browser, in which pages are opened."""

import os
import shutil
import subprocess

import pytest

from ift_gridworld.rendering.page import save_page


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser; in CI Debian's is installed if there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None and os.environ.get("CI") and shutil.which("apt-get"):
        install_chromium(tmp_path_factory.getbasetemp())
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def install_chromium(folder):
    """Install it once, whichever worker is the first to need it; the others wait, since apt-get refuses to run twice."""
    import fcntl  # not on Windows

    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with open(shared / "chromium.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
            if shutil.which("chromium") is None:
                subprocess.run(command, check=False, capture_output=True, timeout=600)


@pytest.fixture
def open_page(chromium):
    """Opens a page from disk; a complaint of the console, or a request beyond the file, fails the test."""
    complaints, pages = [], []

    def opened(path, fragment="", **options):
        page = chromium.new_page(**options)
        page.set_default_timeout(120_000)  # a busy machine takes its time
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("request", lambda r: None if r.url.startswith(("file:", "blob:", "data:")) else complaints.append(r.url))
        page.goto(f"{path.as_uri()}{fragment}")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not complaints


@pytest.fixture
def visit(open_page, tmp_path):
    """Opens the page of some runs."""

    def opened(records, fragment="", **options):
        page = open_page(save_page(records, tmp_path / "page.html"), fragment, **options)
        page.wait_for_selector("body[data-ready]")
        return page

    return opened
