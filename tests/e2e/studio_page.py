"""Label Studio's editor as an annotator uses it: keys, clicks, and what there is to see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Response, expect

TIMEOUT = 30_000.0
"""Milliseconds, for a page on a busy machine."""
PREDICTION_TIMEOUT = 100_000.0
"""Milliseconds that Label Studio itself waits for a backend, which may just have been started."""

_IMAGE = """() => {
  const image = Htx.annotationStore.selected.objects.find(object => object.type === "image");
  const entity = image.currentImageEntity;
  const stage = image.stageRef.container().getBoundingClientRect();
  return {
    left: stage.left, top: stage.top, zoom: image.zoomScale, x: image.zoomingPositionX, y: image.zoomingPositionY,
    shownWidth: image.stageWidth, shownHeight: image.stageHeight,
    width: entity.naturalWidth, height: entity.naturalHeight,
  };
}"""
_READY = """() => {
  const annotation = window.Htx?.annotationStore?.selected;
  const image = annotation?.objects?.find(object => object.type === "image");
  return Boolean(image?.stageRef && image.currentImageEntity?.imageLoaded && image.stageWidth > 1);
}"""
_REGIONS = """() => Htx.annotationStore.selected.regionStore.regions.map(region => ({
  id: region.cleanId, type: region.type, labels: region.labeling?.selectedLabels?.map(label => label.value) ?? [],
  selected: Boolean(region.inSelection), readonly: region.isReadOnly(), origin: region.origin,
}))"""

_KEYPOINT = """id => {
  const region = Htx.annotationStore.selected.regionStore.regions.find(region => region.cleanId === id);
  const entity = region.parent.currentImageEntity;
  return [region.x / 100 * entity.naturalWidth, region.y / 100 * entity.naturalHeight];
}"""


@dataclass(frozen=True)
class Region:
    """One line of the region list."""

    id: str
    type: str
    labels: tuple[str, ...]
    selected: bool
    readonly: bool
    origin: str


class StudioPage:
    """The page of one browser tab; ``url``: Label Studio's address."""

    def __init__(self, page: Page, url: str, screenshots: Path) -> None:
        self.page = page
        self._url = url
        self._screenshots = screenshots
        page.set_default_timeout(TIMEOUT)

    def login(self, username: str, password: str) -> None:
        self.page.goto(f"{self._url}/user/login/")
        self.page.fill("input[name=email]", username)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/login" not in url)

    # -- where to go -------------------------------------------------------------------------------------------

    def open_stream(self, project: int) -> None:
        """The label stream: Label Studio decides which task comes."""
        self.page.goto(f"{self._url}/projects/{project}/data?labeling=1")
        self.wait_until_ready()

    def open_task(self, project: int, task: int) -> None:
        self.page.goto(f"{self._url}/projects/{project}/data?task={task}")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until the image is drawn and keys are heard."""
        self.page.wait_for_function(_READY)
        self.page.wait_for_timeout(300)  # the editor binds its keys a moment after the image is there

    def wait_for_other_task(self, task: int) -> None:
        """Until the stream shows another task than ``task``."""
        self.page.wait_for_function("task => Htx.task?.id !== task", arg=task)
        self.wait_until_ready()

    def start_training(self, project: int) -> None:
        """The button in the menu of the backend, in the project's settings."""
        self.page.goto(f"{self._url}/projects/{project}/settings/ml")
        self.page.get_by_role("button", name="Machine learning model options").click()
        self.page.locator("li").filter(has_text="Start Training").locator("visible=true").first.click()
        with self.page.expect_response(lambda answer: answer.url.endswith("/train")) as answer:
            self.page.get_by_role("button", name="Start Training").click()
        assert answer.value.ok, answer.value.text()

    @property
    def task_id(self) -> int:
        return int(self.page.evaluate("() => Htx.task.id"))

    # -- what the annotator does -------------------------------------------------------------------------------

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(30)

    def auto_annotation(self, on: bool = True) -> None:
        """The switch of the bottom bar; it keeps the keyboard to itself until something else is clicked."""
        switch = self.page.get_by_test_id("bottombar-auto-annotation-toggle")
        if switch.is_checked() != on:
            switch.locator("xpath=..").click()
        expect(switch).to_be_checked(checked=on)
        self._leave_switch()

    def point_of(self, row: float, col: float) -> tuple[float, float]:
        """Where (row, col) of the upright image is on the screen."""
        image = self.page.evaluate(_IMAGE)
        x = image["x"] + col / image["width"] * image["shownWidth"] * image["zoom"]
        y = image["y"] + row / image["height"] * image["shownHeight"] * image["zoom"]
        return image["left"] + x, image["top"] + y

    def click(self, row: float, col: float, *, alt: bool = False) -> None:
        """At a point of the upright image, which is scrolled into view before."""
        x, y = self.bring_into_view(row, col)
        if alt:
            self.page.keyboard.down("Alt")
        self.page.mouse.click(x, y)
        if alt:
            self.page.keyboard.up("Alt")

    def smart_click(self, row: float, col: float, *, key: str | None = None, alt: bool = False) -> Response:
        """A click with the smart tool, after the key of a class, and Label Studio's answer to it."""
        if key is not None:
            self.press(key)
        with self.prediction() as answer:
            self.click(row, col, alt=alt)
        self.page.wait_for_timeout(300)  # the suggestion is drawn
        return answer[0]

    def accept(self) -> None:
        """The tick of the bottom bar."""
        self.page.get_by_test_id("bottombar-accept-suggestions-button").click()
        self.page.wait_for_function("() => Htx.annotationStore.selected.suggestions.size === 0")

    def reject(self) -> None:
        """The cross of the bottom bar."""
        self.page.get_by_test_id("bottombar-reject-suggestions-button").click()
        self.page.wait_for_function("() => Htx.annotationStore.selected.suggestions.size === 0")

    def auto_accept(self) -> None:
        """The switch beside the first one, which is there while nothing waits to be accepted."""
        switch = self.page.get_by_test_id("bottombar-auto-accept-toggle")
        switch.locator("xpath=..").click()
        expect(switch).to_be_checked()
        self._leave_switch()

    def submit(self, keys: str | None = None) -> dict[str, Any]:
        """The annotation as it was stored; with ``keys`` by keyboard. In the stream the next task follows."""
        pattern = re.compile(r"/api/(tasks/\d+/annotations|annotations/\d+)")
        with self.page.expect_response(
            lambda answer: bool(pattern.search(answer.url)) and answer.request.method in ("POST", "PATCH")
        ) as answer:
            if keys:
                self.press(keys)
            else:
                self.page.get_by_test_id("bottombar-submit-button").or_(
                    self.page.get_by_test_id("bottombar-update-button")
                ).click()
        assert answer.value.ok, answer.value.text()
        return dict(answer.value.json())

    # -- what there is to see ----------------------------------------------------------------------------------

    @contextmanager
    def prediction(self) -> Iterator[list[Response]]:
        """Waits for the answer to the smart click that is made inside; the list then holds it."""
        answers: list[Response] = []
        with self.page.expect_response(
            lambda answer: "/interactive-annotating" in answer.url, timeout=PREDICTION_TIMEOUT
        ) as waiting:
            yield answers
        answers.append(waiting.value)

    def regions(self) -> list[Region]:
        return [
            Region(**{**region, "labels": tuple(region["labels"])}) for region in self.page.evaluate(_REGIONS)
        ]

    def pixel_of(self, region: str) -> tuple[int, int]:
        """The pixel, (row, col), that a keypoint is on."""
        col, row = self.page.evaluate(_KEYPOINT, region)
        return int(row), int(col)

    def suggestions(self) -> int:
        """Number of regions that are shown and wait to be accepted."""
        return int(self.page.evaluate("() => Htx.annotationStore.selected.suggestions.size"))

    def editor_error(self) -> str:
        """Text of the error page that replaces the editor after a malformed result; "" when all is well."""
        box = self.page.locator(".lsf-errors")
        return box.first.inner_text() if box.count() else ""

    def screenshot(self, name: str) -> Path:
        self._screenshots.mkdir(parents=True, exist_ok=True)
        path = self._screenshots / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def _leave_switch(self) -> None:
        """A click on the empty part of the bottom bar gives the keyboard back to the editor."""
        bar = self.page.locator(".lsf-bottombar").bounding_box()
        assert bar is not None
        self.page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] - 4)

    def bring_into_view(self, row: float, col: float) -> tuple[float, float]:
        """Where a point of the upright image is on the screen, after scrolling to it."""
        x, y = self.point_of(row, col)
        size = self.page.viewport_size or {"width": 0, "height": 0}
        if not 60 < y < size["height"] - 80:  # between the head and the bottom bar
            self.page.mouse.move(x, size["height"] / 2)
            self.page.mouse.wheel(0, y - size["height"] / 2)
            self.page.wait_for_timeout(200)
            x, y = self.point_of(row, col)
        return x, y
