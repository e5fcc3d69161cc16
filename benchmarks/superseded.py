"""What long projects cost a real Label Studio on SQLite: deleting superseded predictions, and reading tasks.

A pixel project whose tasks each have predictions of three versions, with 10 queries and 12 kB of other results. One
superseded version goes in one request, one in steps, each while somebody else asks for a task without a pause;
``other_*`` are that person's times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from backend.demo.label_studio import LabelStudioServer
from backend.learning.delivery import STEP_TASKS
from backend.studio import Studio
from benchmarks.aside import Aside
from benchmarks.common import ROOT, report, spread
from label_config import render

PROJECT_TITLE = "superseded"
QUERIES = 10
RLE_NUMBERS = 4000
"""Of one mask: about 12 kB."""
PUSH = 32
VERSIONS = ("bench-v1-a", "bench-v2-b", "bench-v3-c")


class Somebody(Aside):
    """Opens one task after another."""

    def __init__(self, studio: Studio, tasks: list[int]) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._studio = studio
        self._tasks = tasks

    def _run(self, _worker: int) -> None:
        turn = 0
        while not self._stop.wait(0.05):
            began = time.perf_counter()
            self._studio.task(self._tasks[turn % len(self._tasks)])
            self.seconds.append(time.perf_counter() - began)
            turn += 1


def prediction(task: int, version: str) -> dict[str, Any]:
    common = {"to_name": "image", "original_width": 480, "original_height": 360, "image_rotation": 0}
    queries = [
        {
            **common, "id": f"q{n}", "from_name": "query", "type": "keypointlabels",
            "value": {"x": 5.0 * n + 1, "y": 50.0, "width": 0.8, "keypointlabels": ["?"]},
        }
        for n in range(QUERIES)
    ]  # fmt: skip
    rle = [(7 * n + task) % 256 for n in range(RLE_NUMBERS)]
    mask = {
        **common, "id": "m", "from_name": "mask", "type": "brushlabels",
        "value": {"format": "rle", "rle": rle, "brushlabels": ["sky"]},
    }  # fmt: skip
    return {"task": task, "model_version": version, "score": (task % 100) / 100, "result": [*queries, mask]}


def fill(studio: Studio, url: str, count: int) -> tuple[int, list[int]]:
    """The project and its tasks."""
    headers = studio.auth_headers()
    body = {"title": PROJECT_TITLE, "label_config": render("pixel", ("sky", "grass"))}
    answer = requests.post(f"{url}/api/projects/", json=body, headers=headers, timeout=120)
    answer.raise_for_status()
    project = int(answer.json()["id"])
    tasks = [{"data": {"image": f"/data/upload/{project}/{n}.jpg"}} for n in range(count)]
    for start in range(0, count, 1000):
        requests.post(
            f"{url}/api/projects/{project}/import", json=tasks[start : start + 1000],
            headers=studio.auth_headers(), timeout=300,
        ).raise_for_status()  # fmt: skip
    return project, [task.id for task in studio.tasks(project)]


def timed(studio: Studio, tasks: list[int], what: str, work: Any, **figures: Any) -> None:
    with Somebody(studio, tasks) as other:
        time.sleep(0.5)
        other.seconds.clear()
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
    others = {f"other_{key}": value for key, value in spread(other.seconds).items()}
    report("superseded", what=what, tasks=len(tasks), seconds=round(seconds, 2), **others, **figures)


def run(executable: Path, count: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        LabelStudioServer(executable, Path(folder), port=8185) as server,
    ):
        studio = Studio(server.url, server.token())
        project, tasks = fill(studio, server.url, count)
        for version in VERSIONS:

            def push(version: str = version) -> None:
                for start in range(0, len(tasks), PUSH):
                    studio.import_predictions(
                        project, [prediction(task, version) for task in tasks[start : start + PUSH]]
                    )

            timed(studio, tasks, f"import in parts of {PUSH}", push)
        studio.update_project(project, model_version=VERSIONS[-1], sampling="Uncertainty sampling")
        timed(studio, tasks, "list all tasks", lambda: list(studio.task_pages(project)))

        def choose() -> None:
            for start in range(0, len(tasks), PUSH):
                found = studio.chosen_tasks(project, tasks[start : start + PUSH])
                assert [task.id for task in found] == tasks[start : start + PUSH]

        timed(studio, tasks, f"data of all tasks in parts of {PUSH}", choose)
        timed(studio, tasks, "the two tasks served next", lambda: studio.next_tasks(project, 2))
        assert studio.predicted(project, VERSIONS[0], tasks[:5]) == set(tasks[:5])
        assert studio.predicted(project, VERSIONS[2], [*tasks[:3], 10**9]) == set(tasks[:3])

        steps: list[float] = []

        def in_steps() -> None:
            deleted = 1
            while deleted:
                began = time.perf_counter()
                deleted = studio.delete_some_predictions(project, VERSIONS[0], STEP_TASKS)
                steps.append(time.perf_counter() - began)

        timed(studio, tasks, f"delete a version in steps of {STEP_TASKS}", in_steps)
        report("superseded", what="one step", tasks=len(tasks), **spread(steps))
        timed(
            studio, tasks, "delete a version in one request",
            lambda: studio.delete_model_version(project, VERSIONS[1]),
        )  # fmt: skip
        assert studio.model_versions(project) == {VERSIONS[2]: len(tasks)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / ".venv-labelstudio" / "bin" / "label-studio"
    parser.add_argument("--label-studio", type=Path, default=default)
    parser.add_argument("--tasks", type=int, default=2000)
    chosen = parser.parse_args()
    run(chosen.label_studio, chosen.tasks)
