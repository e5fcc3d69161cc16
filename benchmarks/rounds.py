"""Submit -> published -> pushed in a real Label Studio, and what /setup costs meanwhile.

A pixel project of 480x360 photographs, all but a queue of them labelled with 20 pixels; then three more tasks are
submitted through the API, as the editor does, and the store is watched. Times are seconds after the last submit;
the debounce of 1 s is part of them.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import requests

from backend.connect import connect
from backend.demo.label_studio import LabelStudioServer
from backend.store import Store
from backend.studio import Studio
from benchmarks.common import ROOT, clickpick, jpeg, photographs, report, spread
from label_config import render

HEIGHT, WIDTH = 360, 480
CLASSES = ("dark", "middle", "bright")


class Project:
    """A project in a running Label Studio, filled and answered through its API."""

    def __init__(
        self,
        server: LabelStudioServer,
        token: str,
        photos: list[np.ndarray],
        config: str | None = None,
    ) -> None:
        self.studio = Studio(server.url, token)
        self._url = server.url
        self._photos = photos
        self.config = config or render("pixel", CLASSES)
        body = {"title": "benchmark", "label_config": self.config}
        self.id = int(self._post("/api/projects/", json=body)["id"])
        for start in range(0, len(photos), 50):
            files = {
                f"f{n}": (f"{n:04}.jpg", jpeg(photos[n])) for n in range(start, min(start + 50, len(photos)))
            }
            self._post(f"/api/projects/{self.id}/import", files=files)
        self.tasks = sorted(task.id for task in self.studio.tasks(self.id))

    def _post(self, path: str, **body: Any) -> Any:
        answer = requests.post(f"{self._url}{path}", headers=self.studio.auth_headers(), timeout=120, **body)
        answer.raise_for_status()
        return answer.json()

    def submit(self, number: int, pixels: int, seed: int) -> None:
        """Answer ``pixels`` random pixels of a task by their brightness."""
        rng = np.random.default_rng(seed)
        result = []
        for i in range(pixels):
            row, col = int(rng.integers(HEIGHT)), int(rng.integers(WIDTH))
            label = CLASSES[min(2, int(self._photos[number][row, col].mean() // 86))]
            value = {"x": (col + 0.5) / WIDTH * 100, "y": (row + 0.5) / HEIGHT * 100, "width": 0.8}
            result.append({
                "id": f"a{seed}-{i}", "type": "keypointlabels", "from_name": "query", "to_name": "image",
                "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
                "origin": "prediction-changed", "value": {**value, "keypointlabels": [label]},
            })  # fmt: skip
        self._post(
            f"/api/tasks/{self.tasks[number]}/annotations/", json={"result": result, "lead_time": 20.0}
        )


def watch_setup(server: str, project: Project, seconds: list[float], stop: threading.Event) -> None:
    """What opening a page costs: /setup ten times a second."""
    body = {"project": f"{project.id}.1", "schema": project.config, "hostname": "", "access_token": ""}
    session = requests.Session()
    while not stop.wait(0.1):
        started = time.perf_counter()
        session.post(f"{server}/setup", json=body, timeout=30).raise_for_status()
        seconds.append(time.perf_counter() - started)


def wait_until(condition: Any, patience: float = 600) -> float:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the round did not come to an end")
        time.sleep(0.05)
    return time.perf_counter()


def run(executable: Path, images: int, pixels: int, queue: int, repeats: int) -> None:
    photos = photographs(images + queue, HEIGHT, WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with LabelStudioServer(executable, home / "label-studio", port=8180) as server:
            token = server.token()
            project = Project(server, token, photos)
            for number in range(images - 3 * repeats):
                project.submit(number, pixels, seed=number)
            with clickpick(server.url, token, home / "clickpick") as running:
                measure(running.url, home / "clickpick", project, (images, pixels, repeats))


def measure(address: str, data: Path, project: Project, size: tuple[int, int, int]) -> None:
    images, pixels, repeats = size
    store = Store(f"sqlite:///{data / 'clickpick.db'}")
    connect(project.studio, project.id, address)
    wait_until(lambda: store.live_version(project.id) and store.rounds.history(project.id)[0].state == "done")
    published, pushed, setups = [], [], []
    stop = threading.Event()
    watcher = threading.Thread(target=watch_setup, args=(address, project, setups, stop))
    watcher.start()
    for repeat in range(repeats):
        before = store.live_version(project.id)
        for number in range(3):
            project.submit(images - 3 * (repeat + 1) + number, pixels, seed=1000 + 3 * repeat + number)
        submitted = time.perf_counter()
        published.append(wait_until(lambda b=before: store.live_version(project.id) != b) - submitted)
        name = store.live_version(project.id).name  # type: ignore[union-attr]
        pushed.append(
            wait_until(lambda n=name: project.studio.project(project.id).model_version == n) - submitted
        )
        wait_until(lambda: store.rounds.history(project.id)[0].state == "done")
    stop.set()
    watcher.join()
    store.close()
    figures = {"published_s": [round(s, 2) for s in published], "first_push_s": [round(s, 2) for s in pushed]}
    medians = {
        "published_median_s": round(float(np.median(published)), 2),
        "first_push_median_s": round(float(np.median(pushed)), 2),
    }
    report("submit to published", images=images, pixels_per_image=pixels, **medians, **figures)
    report("setup during rounds", **spread(setups))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / ".venv-labelstudio" / "bin" / "label-studio"
    parser.add_argument("--label-studio", type=Path, default=default)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--pixels", type=int, default=20)
    parser.add_argument("--queue", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    run(chosen.label_studio, chosen.images, chosen.pixels, chosen.queue, chosen.repeats)
