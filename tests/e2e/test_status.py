"""The status page in a real browser while a project learns: what it shows, in both schemes and on a phone, by keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from label_config import render
from tests.e2e.conftest import SCREENSHOTS, Backend, Project
from tests.e2e.scenes import LAND, jpeg, land_scene, ring_scene
from tests.e2e.studio_api import Api

pytestmark = pytest.mark.e2e

CONFIG = render("pixel", LAND)
TASKS, ANSWERED = 14, 7
LOOKS: tuple[tuple[str, Literal["light", "dark"], int], ...] = (
    ("light", "light", 1280),
    ("dark", "dark", 1280),
    ("phone", "light", 390),
)
NewProject = Callable[..., Project]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """What its console says of mistakes fails the test."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    yield opened
    opened.context.close()
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


@pytest.mark.timeout(900)
def test_a_project_that_learns(new_project: NewProject, api: Api, backend: Backend, page: Page) -> None:
    files = {f"land{seed}.jpg": jpeg(land_scene(seed).image) for seed in range(TASKS)}
    project = new_project("Meadows and walls", CONFIG, files)
    last = backend.wait_for_rest(project.id)
    page.goto(f"{backend.server.url}/status/{project.id}")
    expect(page.get_by_text("Too early to tell")).to_be_visible()
    for seed in range(ANSWERED):
        answer(api, project.id, project.tasks[seed], seed)
        if seed == ANSWERED - 1:
            runs = page.locator("#rounds .round").filter(has_text=f"no. {last.id + 1}").locator("progress")
            expect(runs).to_be_visible(timeout=60_000)
            _look(page, "round")
        last = backend.wait_for_rest(project.id, after=last.id)

    # Without a reload: the name, the new version, the next tasks with their pictures, what the doctor found.
    expect(page.get_by_role("heading", name="Meadows and walls")).to_be_visible()
    expect(page.locator("#versions .tag.done")).to_have_text("live")
    expect(page.locator("#versions .version").first).to_contain_text(f"{10 * ANSWERED} labels")
    expect(page.locator("#figures")).to_contain_text(f"{ANSWERED} of {TASKS}", timeout=30_000)
    expect(page.locator("#curve .next")).to_have_count(1 + 1)  # in the chart, and in its key
    expect(page.locator("#checks")).to_contain_text("checks by", timeout=60_000)
    expect(page.locator("#pictures img")).to_have_count(6, timeout=30_000)
    _look(page, "learnt")
    _roll_back_by_keys(page, backend, project.id, last.id)


def test_a_project_of_clicks_alone(new_project: NewProject, api: Api, backend: Backend, page: Page) -> None:
    scene = ring_scene(300, 400)
    project = new_project("Rings", render("click", ["ring"]), {"ring.jpg": jpeg(scene.image)})
    page.goto(f"{backend.server.url}/status/")
    page.get_by_role("link", name=f"Project {project.id}").click()
    expect(page.get_by_role("heading", name="Rings")).to_be_visible()
    expect(page.locator("#figures")).to_contain_text("0 of 1", timeout=30_000)
    expect(page.locator("#checks")).to_contain_text("checks by", timeout=60_000)
    _look(page, "clicks")


def _look(page: Page, name: str) -> None:
    """Pictures in both schemes and on a phone; nothing scrolls sideways."""
    for look, scheme, width in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        for image in page.locator("#pictures img").all():
            image.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => [...document.querySelectorAll('#pictures img')].every(one => one.naturalWidth > 0)"
        )
        page.evaluate("scrollTo(0, 0)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        _shoot(page, f"status-{name}-{look}")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")


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
