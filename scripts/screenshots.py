"""Make docs/pictures/clicks.png: the demo's clicks, in the real Label Studio, with the default segmenter.

Usage: CLICKPICK_LABEL_STUDIO=.venv-labelstudio/bin/label-studio python -m scripts.screenshots [--out FOLDER]
CLICKPICK_CHROMIUM names the browser where it is not on PATH. --data keeps Label Studio's database, whose creation
takes most of the time, for the next run.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from backend.connect import connect
from backend.demo.clickpick import ClickPickServer
from backend.demo.label_studio import LabelStudioServer
from backend.demo.photos import packaged_photos
from backend.demo.projects import DemoProjects
from backend.demo.run import CLICKS
from backend.studio import Studio
from label_config import render
from scripts.stage import read_options, stage
from tests.e2e.studio_api import Api
from tests.e2e.studio_page import StudioPage

PHOTO = "flower.jpg"
CLICKED = ((205, 300, False), (265, 330, False), (405, 365, True))
"""Row, column, with Alt: twice on the flower, once on another one."""
VIEWPORT = {"width": 1500, "height": 964}  # the photograph and the bar below it
SIZE = 1120, 720


def set_up(studio: LabelStudioServer, backend: ClickPickServer, photos: Path) -> tuple[int, int]:
    """Numbers of a new project like the demo's for clicks, and of its task with the photograph."""
    with closing(Studio(studio.url, studio.token())) as client, studio.session() as session:
        api = Api(studio.url, session)
        config = render(CLICKS.kind, CLICKS.classes)
        project = api.create_project(CLICKS.title, config, description=CLICKS.description)
        DemoProjects(studio.url, session).upload(project, packaged_photos(photos), lambda _done, _of: None)
        connect(client, project, backend.url)
        tasks = api.tasks(project)
    return project, next(int(task["id"]) for task in tasks if task["data"]["image"].endswith(f"-{PHOTO}"))


def picture(browser: Browser, studio: LabelStudioServer, project: int, task: int, out: Path) -> None:
    """Click the photograph and keep what is on the screen, in 256 colours: half a megabyte would be too much."""
    tab = browser.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]
    page = StudioPage(tab, studio.url, out)
    page.login(studio.username, studio.password)
    page.open_task(project, task)
    page.auto_annotation()
    page.press(str(len(CLICKS.classes)), "m")
    for number, (row, col, alt) in enumerate(CLICKED):
        page.smart_click(row, col, key=str(len(CLICKS.classes)) if number else None, alt=alt)
    tab.mouse.move(5, 400)  # away from the photograph
    tab.wait_for_timeout(1000)
    path = page.screenshot("clicks")
    with Image.open(path) as shown:
        few = (
            shown.convert("RGB")
            .resize(SIZE, Image.Resampling.LANCZOS)
            .quantize(256, dither=Image.Dither.NONE)
        )
    few.save(path, optimize=True)


def main() -> None:
    options = read_options(__doc__)
    with stage(options.data, port=8150) as here:
        project, task = set_up(here.studio, here.backend, here.home / "photos")
        picture(here.browser, here.studio, project, task, options.out)


if __name__ == "__main__":
    main()
