"""What Label Studio and ClickPick make people wait for, in a real browser: medians in seconds, one JSON line.

A key until the next ring is selected, a key until its class is shown, and submitting until the next task can be worked
on; a click until its mask is shown, and the tick until the mask is a region. In the label stream on images of CamVid's
size; presses and clicks are those of Playwright.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from backend.connect import connect
from backend.demo.label_studio import LabelStudioServer
from backend.store import Store
from backend.studio import Studio
from benchmarks.common import ROOT, clickpick, photographs, report
from benchmarks.rounds import CLASSES, Project, wait_until
from label_config import render
from tests.e2e.conftest import BROWSER_FLAGS
from tests.e2e.studio_page import StudioPage

HEIGHT, WIDTH = 360, 480
CLICKS = ((0.5, 0.5), (0.45, 0.5), (0.5, 0.42), (0.55, 0.55), (0.4, 0.6))
"""Of one mask, as shares of height and width."""
SELECTED = (
    "() => Htx.annotationStore.selected.regionStore.regions.find(region => region.inSelection)?.cleanId ?? ''"
)
LABEL = """() => Htx.annotationStore.selected.regionStore.regions.find(region => region.inSelection)
  ?.labeling?.selectedLabels?.[0]?.value ?? ''"""

MASK = "() => [...Htx.annotationStore.selected.suggestions.values()][0]"
CHOSEN = """() => [...Htx.annotationStore.selected.names.values()].some(
  control => control.type === "keypointlabels" && control.selectedLabels.length)"""
REGIONS = "() => Htx.annotationStore.selected.regionStore.regions.length"


class Watch:
    """Seconds by what was waited for."""

    def __init__(self, page: StudioPage) -> None:
        self.page = page
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def change(self, what: str, act: Callable[[], None], script: str) -> None:
        """From an act until the value of a script is another one; of objects another object, equal or not."""
        self.page.page.evaluate(f"() => {{ window.valueBefore = ({script})() }}")
        started = time.perf_counter()
        act()
        self.page.page.wait_for_function(f"() => ({script})() !== window.valueBefore", polling=5)
        self.seconds[what].append(time.perf_counter() - started)


def pixels(watch: Watch, project: int, tasks: int) -> None:
    page = watch.page
    page.open_stream(project)
    for _ in range(tasks):
        task = page.task_id
        for number in range(len([one for one in page.regions() if one.type == "keypointregion"])):
            watch.change("ring", lambda: page.page.keyboard.press("Space"), SELECTED)
            watch.change("label", lambda n=number: page.page.keyboard.press(str(n % 3 + 1)), LABEL)
        started = time.perf_counter()
        page.page.keyboard.press("Control+Enter")
        page.page.wait_for_function("task => Htx.task?.id !== task", arg=task, polling=5)
        page.page.wait_for_function(
            """() => Htx.annotationStore?.selected?.objects?.some(
                 object => object.type === "image" && object.currentImageEntity?.imageLoaded)""",
            polling=5,
        )
        watch.seconds["task"].append(time.perf_counter() - started)
        page.wait_until_ready()


def masks(watch: Watch, project: int, tasks: int) -> None:
    page = watch.page

    def press_the_mouse() -> None:
        page.page.mouse.down()
        page.page.mouse.up()

    page.open_stream(project)
    page.auto_annotation()
    page.press("1", "m")  # both stay for the next task, where M would take the tool for boxes
    for _ in range(tasks):
        task = page.task_id
        for row, col in CLICKS:
            if not page.page.evaluate(CHOSEN):
                page.press("1")
            x, y = page.bring_into_view(row * HEIGHT, col * WIDTH)
            watch.change("mask", lambda x=x, y=y: page.page.mouse.click(x, y), MASK)
            page.page.wait_for_timeout(300)  # a look
        # "Annotation saved", of the task before, lies over the tick for longer than people need until here
        page.page.get_by_test_id("bottombar-accept-suggestions-button").hover()
        watch.change("accept", press_the_mouse, REGIONS)
        page.submit("Control+Enter")
        page.wait_for_other_task(task)


def run(executable: Path, browser: str, tasks: int) -> None:
    photos = photographs(4 * tasks, HEIGHT, WIDTH)
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        LabelStudioServer(executable, Path(folder) / "label-studio", port=8180) as server,
    ):
        token = server.token()
        asked = Project(server, token, photos, render("pixel", CLASSES))
        clicked = Project(server, token, photos[: tasks + 1], render("click", CLASSES))
        data = Path(folder) / "clickpick"
        with clickpick(server.url, token, data) as running:
            store = Store(f"sqlite:///{data / 'clickpick.db'}")
            studio = Studio(server.url, token)
            connect(studio, asked.id, running.url)
            connect(studio, clicked.id, running.url)
            wait_until(lambda: store.rounds.history(asked.id) and not store.rounds.has_work(asked.id))
            chromium = playwright.chromium.launch(executable_path=browser, args=BROWSER_FLAGS)
            page = StudioPage(
                chromium.new_page(viewport={"width": 1400, "height": 1000}), server.url, Path(folder)
            )
            page.login(server.username, server.password)
            watch = Watch(page)
            pixels(watch, asked.id, tasks)
            masks(watch, clicked.id, tasks)
            chromium.close()
            studio.close()
            store.close()
    medians = {what: round(float(np.median(values)), 3) for what, values in watch.seconds.items()}
    counts = {what: len(values) for what, values in watch.seconds.items()}
    report("key times", seconds=medians, counts=counts, image=f"{WIDTH}x{HEIGHT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / ".venv-labelstudio" / "bin" / "label-studio"
    parser.add_argument("--label-studio", type=Path, default=default)
    parser.add_argument("--browser", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--tasks", type=int, default=12)
    chosen = parser.parse_args()
    run(chosen.label_studio, chosen.browser, chosen.tasks)
