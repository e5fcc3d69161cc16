"""The status page in a real browser while a project learns: what it shows, in both schemes and on a phone, by keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from label_config import render
from tests.e2e.conftest import SCREENSHOTS, Backend, Project
from tests.e2e.scenes import LAND, jpeg, land_scene
from tests.e2e.studio_api import Api

pytestmark = pytest.mark.e2e

CONFIG = render("pixel", LAND)
TASKS, ANSWERED = 14, 7
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
}
NewProject = Callable[..., Project]


@pytest.fixture
def pages(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """(look) -> a page of a browser that has that look; what its console says of mistakes fails the test."""
    opened: list[Page] = []
    said: list[str] = []

    def open_page(look: str) -> Page:
        page = browser.new_context(**LOOKS[look]).new_page()  # type: ignore[arg-type]
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.context.close()
    assert said == []


def answer(api: Api, project: int, task: int, seed: int) -> None:
    """Every query of a task, rightly, as the editor would store it."""
    scene = land_scene(seed)
    (prediction, *_) = api.predictions(task)
    result = []
    for region in prediction["result"]:
        if region["type"] != "keypointlabels":
            continue
        row = int(region["value"]["y"] / 100 * scene.truth.shape[0])
        col = int(region["value"]["x"] / 100 * scene.truth.shape[1])
        value = {**region["value"], "keypointlabels": [LAND[int(scene.truth[row, col])]]}
        result.append({**region, "value": value, "origin": "prediction-changed"})
    api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": result, "lead_time": 20.0})


def test_a_project_that_learns(
    new_project: NewProject, api: Api, backend: Backend, pages: Callable[[str], Page]
) -> None:
    files = {f"land{seed}.jpg": jpeg(land_scene(seed).image) for seed in range(TASKS)}
    project = new_project("Meadows and walls", CONFIG, files)
    last = backend.wait_for_rest(project.id)
    page = pages("light")
    address = f"{backend.server.url}/status/{project.id}"
    page.goto(address)
    expect(page.get_by_text("Too early to tell")).to_be_visible()
    for seed in range(ANSWERED):
        answer(api, project.id, project.tasks[seed], seed)
        if seed == ANSWERED - 1:
            _see_it_run(page)
        last = backend.wait_for_rest(project.id, after=last.id)

    # Without a reload: the new version, the next tasks with their pictures, and what the doctor found.
    expect(page.locator("#versions .tag.done")).to_have_text("live")
    expect(page.locator("#figures")).to_contain_text(f"{ANSWERED} of {TASKS}", timeout=30_000)
    expect(page.get_by_role("heading", name="Meadows and walls")).to_be_visible()
    expect(page.locator("#checks")).to_contain_text("checks by", timeout=60_000)
    pictures = page.locator("#pictures img")
    expect(pictures).to_have_count(6, timeout=30_000)
    pictures.first.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('#pictures img')].every(one => one.naturalWidth > 0)"
    )
    _take_pictures(pages, address)
    _roll_back_by_keys(page, backend, project.id, last.id)


def _see_it_run(page: Page) -> None:
    """The round shows while it runs, with its progress."""
    expect(page.locator("#rounds progress").first).to_be_visible(timeout=60_000)
    _shoot(page, "status-round")


def _take_pictures(pages: Callable[[str], Page], address: str) -> None:
    for look in LOOKS:
        page = pages(look)
        page.goto(address)
        expect(page.locator("#pictures img")).to_have_count(6, timeout=30_000)
        for image in page.locator("#pictures img").all():
            image.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => [...document.querySelectorAll('#pictures img')].every(one => one.naturalWidth > 0)"
        )
        page.evaluate("scrollTo(0, 0)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
        _shoot(page, f"status-{look}")


def _roll_back_by_keys(page: Page, backend: Backend, project: int, after: int) -> None:
    """Tab to the first button, open it, press it: nothing of it needs a mouse."""
    page.reload()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the figures")
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.locator(":focus")
        if (focus.get_attribute("aria-label") or "").startswith("Roll back to version "):
            break
    else:
        raise AssertionError("no way to the button by keys")
    wanted = (focus.get_attribute("aria-label") or "").rpartition(" ")[2]
    page.keyboard.press("Enter")
    page.wait_for_timeout(4000)  # the page goes on being refreshed, and what is open stays open
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text(f"Make v{wanted} live again")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "it is seen where the keyboard is"
    _shoot(page, "status-rollback")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="A round is on its way")).to_be_visible()
    done = backend.wait_for_rest(project, after=after)
    assert "rolled back to" in done.message
    expect(page.locator("#versions .version").first).to_contain_text("copy of", timeout=30_000)


def _shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
