"""The documentation's site in a real browser, opened from the disk: nothing is asked of any host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.e2e.conftest import ROOT, SCREENSHOTS

pytestmark = pytest.mark.e2e

BROKEN = "() => [...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def offline(browser: Browser) -> tuple[Page, list[str]]:
    """A page, and what it has asked other hosts for, which it did not get."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    context.route(
        "**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else refuse(route)
    )
    return context.new_page(), asked


def test_every_page_is_read_from_the_disk(offline: tuple[Page, list[str]], site: Path) -> None:
    page, asked = offline
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    names = sorted(path.name for path in site.glob("*.html") if path.name != "404.html")
    assert len(names) > 15
    for name in names:
        page.goto((site / name).as_uri())
        assert page.locator("h1").first.is_visible()
        assert page.locator("nav.md-nav--primary").count(), name
        page.evaluate("() => [...document.images].forEach(image => { image.loading = 'eager' })")
        page.wait_for_load_state("load")
        assert page.evaluate(BROKEN) == [], name
    assert asked == []
    assert errors == []
    page.context.close()


def test_the_first_page_leads_to_the_guides(offline: tuple[Page, list[str]], site: Path) -> None:
    page, _ = offline
    page.goto((site / "index.html").as_uri())
    page.get_by_role("article").get_by_role("link", name="click guide").click()
    page.wait_for_url("**/clicks.html")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "documentation.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((site / "troubleshooting.html").as_uri())
    page.screenshot(path=SCREENSHOTS / "documentation-phone.png")
    wide = page.evaluate("() => document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, "the page scrolls sideways on a phone"
    page.context.close()
