"""Make the pictures of docs/clicks.md and docs/pixels.md in the real Label Studio, with the default models.

Usage: CLICKPICK_LABEL_STUDIO=.venv-labelstudio/bin/label-studio python -m scripts.guide_pictures [--out FOLDER]
CLICKPICK_CHROMIUM names the browser where it is not on PATH. --data keeps Label Studio's database, whose creation
takes most of the time, for the next run. Which pixels are flower is told by their colour: red exceeds
green by REDDER there.
"""

from __future__ import annotations

import io
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser

from backend.connect import connect
from backend.demo.clickpick import ClickPickServer
from backend.demo.label_studio import LabelStudioServer
from backend.demo.photos import packaged_photos
from backend.studio import Studio
from label_config import render
from scripts.stage import read_options, stage
from tests.e2e.studio_api import Api
from tests.e2e.studio_page import StudioPage

VIEWPORT = {"width": 1280, "height": 860}
SIZE = 960, 645
COLOURS = 128
CLICKED = (("2-first", 265, 320, False), ("3-more", 405, 365, False), ("4-less", 410, 350, True))
"""Picture, row, column, with Alt: the flower, another one, and a petal of that away again."""
CROPS = ((0, 0, 640, 427), (60, 0, 560, 427), (120, 40, 620, 427), (0, 30, 480, 427), (90, 0, 640, 380))
"""Left, top, right and bottom of the photographs of the pixel project."""
REDDER = 25
ROUND_SECONDS = 90.0
ANSWERED_IN_PICTURE = 4


@dataclass(frozen=True)
class Guide:
    """Where the pictures are taken, and where they go."""

    studio: LabelStudioServer
    backend: ClickPickServer
    api: Api
    client: Studio
    browser: Browser
    out: Path

    def page(self) -> StudioPage:
        tab = self.browser.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]
        page = StudioPage(tab, self.studio.url, self.out)
        page.login(self.studio.username, self.studio.password)
        return page

    def project(self, title: str, config: str, images: dict[str, bytes]) -> int:
        number = self.api.create_project(title, config)
        self.api.upload(number, images)
        connect(self.client, number, self.backend.url)
        return number

    def keep(self, page: StudioPage, name: str) -> None:
        """What is on the screen, smaller and in few colours."""
        page.page.mouse.move(5, 400)
        page.page.wait_for_timeout(1000)
        path = page.screenshot(name)
        with Image.open(path) as shown:
            smaller = shown.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
        smaller.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def click_pictures(guide: Guide, photo: bytes) -> None:
    """The switch, a click, one more, a negative one, the accepted mask."""
    project = guide.project("Clicks", render("click", ["flower", "leaf"]), {"flower.jpg": photo})
    page = guide.page()
    page.open_stream(project)
    page.auto_annotation()
    guide.keep(page, "clicks-1-switch")
    page.press("1", "m")
    for number, (name, row, col, alt) in enumerate(CLICKED):
        page.smart_click(row, col, key="1" if number else None, alt=alt)
        guide.keep(page, f"clicks-{name}")
    page.accept()
    guide.keep(page, "clicks-5-accepted")


def pixel_pictures(guide: Guide, photo: Image.Image) -> None:
    """The rings, some of them answered, and what comes after a few submits."""
    project = guide.project("Pixels", render("pixel", ["flower", "background"]), cropped(photo))
    wait_for_predictions(guide.api, project, after="")
    page = guide.page()
    page.open_stream(project)
    guide.keep(page, "pixels-1-rings")
    for number in range(3):
        task, version = page.task_id, guide.api.project(project)["model_version"]
        answer(page, photo, guide.api, picture=guide if number == 0 else None)
        page.submit("Control+Enter")
        wait_for_predictions(guide.api, project, after=version)
        if number < 2:
            page.wait_for_other_task(task)
    page.open_stream(project)
    guide.keep(page, "pixels-3-next")


def answer(page: StudioPage, photo: Image.Image, api: Api, picture: Guide | None) -> None:
    """Answer all rings of the open task by keys."""
    name = api.call("GET", f"/api/tasks/{page.task_id}")["data"]["image"]
    left, top, *_ = CROPS[int(name.rsplit("-", 1)[1].removesuffix(".jpg").removeprefix("flower"))]
    colours = np.asarray(photo).astype(int)
    queries = [region for region in page.regions() if region.labels == ("?",)]
    for number, query in enumerate(queries):
        page.press("Space")
        row, col = page.pixel_of(query.id)
        red, green, _blue = colours[row + top, col + left]
        page.press("1" if red > green + REDDER else "2")
        if picture is not None and number + 1 == ANSWERED_IN_PICTURE:
            page.press("Space")
            picture.keep(page, "pixels-2-answers")
            page.press("Shift+Space")


def cropped(photo: Image.Image) -> dict[str, bytes]:
    """File name -> JPEG, one for each of CROPS."""
    images = {}
    for number, box in enumerate(CROPS):
        buffer = io.BytesIO()
        photo.crop(box).save(buffer, "JPEG", quality=95)
        images[f"flower{number}.jpg"] = buffer.getvalue()
    return images


def wait_for_predictions(api: Api, project: int, after: str) -> None:
    """Until Label Studio serves another version than ``after``, and a little longer."""
    limit = time.monotonic() + ROUND_SECONDS
    while api.project(project)["model_version"] in ("", None, after):
        if time.monotonic() > limit:
            raise TimeoutError(f"no version after {after!r} was served in {ROUND_SECONDS} s")
        time.sleep(0.5)
    time.sleep(2)


def main() -> None:
    options = read_options(__doc__)
    with stage(options.data, port=8160) as here, ExitStack() as stack:
        flower = next(one for one in packaged_photos(here.home / "photos") if one.name == "flower.jpg")
        client = stack.enter_context(closing(Studio(here.studio.url, here.studio.token())))
        api = Api(here.studio.url, stack.enter_context(here.studio.session()))
        guide = Guide(here.studio, here.backend, api, client, here.browser, options.out)
        click_pictures(guide, flower.path.read_bytes())
        pixel_pictures(guide, Image.open(flower.path).convert("RGB"))


if __name__ == "__main__":
    main()
