"""Clicks while rounds run, and how soon a submit reaches the queue: a pixel project of 1,000 tasks, a click project.

A real Label Studio on SQLite and a ClickPick server, as users run them. Clicks are sent to ClickPick and, every second
one, through Label Studio as the editor sends them; all on cached images of 1280x960, with a pause between them. First
nobody does anything else; then tasks of the pixel project (480x360) are submitted one after another, and only clicks
during its rounds count. ``first_push_s``: from a submit until Label Studio serves predictions of the version that the
submit led to; the debounce of 1 s is part of it. Photographs repeat, image addresses do not.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray

from backend.connect import connect
from backend.demo.label_studio import LabelStudioServer
from backend.store import Store
from benchmarks.aside import Aside
from benchmarks.clicks import HEIGHT, WIDTH, click
from benchmarks.common import ROOT, clickpick, photographs, report, spread
from benchmarks.rounds import Project, wait_until
from label_config import render

DIFFERENT = 50
"""Photographs that repeat under many addresses: what they show matters little for the time."""
CLICKED = 4
CLICKS_EACH = 8
PAUSE = 0.2
"""Seconds between clicks: quicker than people."""


class Clicker(Aside):
    """An annotator who clicks without end on warm images, at ClickPick itself and through Label Studio in turns."""

    def __init__(self, server: str, studio: str, project: Project, counts: Callable[[], bool]) -> None:
        super().__init__()
        self.direct: list[float] = []
        self.through: list[float] = []
        self._counts = counts
        self._project = project
        self._session = requests.Session()
        backend = project.studio.backends(project.id)[0].id
        self._predict = f"{server}/predict"
        self._interactive = f"{studio}/api/ml/{backend}/interactive-annotating"

    def _run(self, _worker: int) -> None:
        for turn, (task, clicks) in enumerate(self._prompts()):
            if self._stop.wait(PAUSE):
                return
            before = self._counts()
            seconds = self._click(task, clicks, through=turn % 2 == 1)
            if before and self._counts():
                (self.through if turn % 2 else self.direct).append(seconds)

    def _prompts(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """(task, its clicks so far): each prompt is new, and each image has been clicked once before."""
        rng = np.random.default_rng(0)
        tasks = [self._project.studio.task(number) for number in self._project.tasks]
        for task in tasks:
            self._click(task, [click(HEIGHT / 2, WIDTH / 2, True)], through=False)
        for task in itertools.cycle(tasks):
            clicks = []
            for number in range(CLICKS_EACH):
                row, col = rng.uniform(0.2, 0.8) * HEIGHT, rng.uniform(0.2, 0.8) * WIDTH
                clicks.append(click(row, col, number % 3 != 2))
                yield task, clicks

    def _click(self, task: dict[str, Any], clicks: list[dict[str, Any]], *, through: bool) -> float:
        context = {"result": clicks}
        started = time.perf_counter()
        if through:
            body = {"task": task["id"], "context": context}
            headers = self._project.studio.auth_headers()
            answer = self._session.post(self._interactive, json=body, headers=headers, timeout=60)
        else:
            body = {"tasks": [task], "project": f"{self._project.id}.1", "params": {"context": context}}
            body["label_config"] = self._project.config
            answer = self._session.post(self._predict, json=body, timeout=60)
        seconds = time.perf_counter() - started
        answer.raise_for_status()
        said = answer.json()
        if not (said["data"] if through else said["results"][0])["result"]:
            raise RuntimeError("the answer holds no mask")
        return seconds


def repeated(count: int) -> list[NDArray[np.uint8]]:
    return list(itertools.islice(itertools.cycle(photographs(min(count, DIFFERENT), 360, 480)), count))


def serves(store: Store, project: Project) -> bool:
    """Whether Label Studio serves the live version."""
    live = store.live_version(project.id)
    return live is not None and project.studio.project(project.id).model_version == live.name


def first_pushes(store: Store, project: Project, submits: int, pixels: int, pause: float) -> list[float]:
    """Submit tasks from the end of the queue; seconds until each one's version is served."""
    seconds = []
    for number in range(submits):
        before = store.live_version(project.id)
        project.submit(len(project.tasks) - 1 - number, pixels, seed=1000 + number)
        submitted = time.perf_counter()
        wait_until(lambda b=before: store.live_version(project.id) != b)
        seconds.append(wait_until(lambda: serves(store, project)) - submitted)
        time.sleep(pause)
    return seconds


def run(executable: Path, *, tasks: int, labelled: int, submits: int, pixels: int, pause: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with LabelStudioServer(executable, home / "label-studio", port=8180) as studio:
            token = studio.token()
            pixel = Project(studio, token, repeated(tasks))
            for number in range(labelled):
                pixel.submit(number, pixels, seed=number)
            clicked = Project(
                studio, token, photographs(CLICKED, HEIGHT, WIDTH), render("click", ("object", "other"))
            )
            with clickpick(studio.url, token, home / "clickpick") as server:
                store = Store(f"sqlite:///{home / 'clickpick' / 'clickpick.db'}")
                connect(clicked.studio, clicked.id, server.url)
                with Clicker(server.url, studio.url, clicked, lambda: True) as idle:
                    wait_until(lambda: len(idle.through) >= 150)
                connect(pixel.studio, pixel.id, server.url)
                wait_until(lambda: serves(store, pixel), 1800)
                with Clicker(server.url, studio.url, clicked, store.rounds.has_work) as busy:
                    pushed = first_pushes(store, pixel, submits, pixels, pause)
                store.close()
    size = {"tasks": tasks, "labelled_before": labelled, "pixels_per_task": pixels}
    for way, quiet, loud in (
        ("ClickPick", idle.direct, busy.direct),
        ("Label Studio", idle.through, busy.through),
    ):
        ratio = round(float(np.percentile(loud, 95) / np.percentile(quiet, 95)), 2)
        figures = {"idle": spread(quiet), "busy": spread(loud), "p95_ratio": ratio}
        report("click while rounds run", through=way, image=f"{WIDTH}x{HEIGHT}", **size, **figures)
    figures = {"median_s": round(float(np.median(pushed)), 2), "max_s": round(max(pushed), 2)}
    report("submit to first push", **size, **figures, first_push_s=[round(s, 2) for s in pushed])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / ".venv-labelstudio" / "bin" / "label-studio"
    parser.add_argument("--label-studio", type=Path, default=default)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument(
        "--labelled", type=int, default=30, help="tasks answered before ClickPick is connected"
    )
    parser.add_argument("--submits", type=int, default=8)
    parser.add_argument("--pixels", type=int, default=10)
    parser.add_argument(
        "--pause", type=float, default=10.0, help="seconds between a first push and the next submit"
    )
    chosen = parser.parse_args()
    options = vars(chosen)
    run(options.pop("label_studio"), **options)
