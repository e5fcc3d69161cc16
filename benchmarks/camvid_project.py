"""CamVid's images in a real Label Studio, and a ClickPick that learns from what is said of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requests import Session

from backend.connect import connect
from backend.demo.label_studio import LabelStudioServer
from backend.learning.simulate import measure
from backend.learning.simulated_data import list_pairs, open_pair, read_classes
from backend.learning.simulated_queries import SimulatedImage
from backend.learning.versions import Versions
from backend.store import Store
from backend.studio import Studio
from benchmarks.common import clickpick
from benchmarks.simulated_people import Stream
from label_config import render
from label_config.templates import Kind
from model_zoo.evaluation.metrics import mean_iou

VOID_ID = 11
MOST_PIXELS = 100_000_000
PATIENCE = 1800.0


@dataclass(frozen=True)
class CamVid:
    """Images to label and images to measure on. files: of the former, by name."""

    classes: tuple[str, ...]
    train: list[SimulatedImage]
    files: dict[str, Path]
    test: list[SimulatedImage]


def read_camvid(folder: Path, thin: int = 1) -> CamVid:
    """Training and validation images, or every ``thin``-th of them."""
    classes = read_classes(folder / "classes.txt", (VOID_ID,))
    pairs = list_pairs(folder / "train", folder / "train_labels")[::thin]
    val = list_pairs(folder / "val", folder / "val_labels")[::thin]
    return CamVid(
        classes.names,
        [open_pair(pair, classes, MOST_PIXELS) for pair in pairs],
        {pair.image.stem: pair.image for pair in pairs},
        [open_pair(pair, classes, MOST_PIXELS) for pair in val],
    )


@dataclass(frozen=True)
class Place:
    """A running Label Studio and ClickPick with a filled project. test: images to measure the live version on."""

    stream: Stream
    store: Store
    versions: Versions
    test: list[SimulatedImage]

    @property
    def project(self) -> int:
        return self.stream.project

    def train(self) -> None:
        """Label Studio's button "Start training", and the end of the round that it starts."""
        asked = time.time()
        self.stream.call("POST", f"/api/ml/{self.stream.backend}/train", json={})
        self.wait_for_round(asked, whole=True)

    def wait_for_round(self, since: float, *, whole: bool = False) -> None:
        """Until a round that began later has pushed what is served next; ``whole``: until nothing is left to do."""
        deadline = time.monotonic() + PATIENCE
        while True:
            later = [
                one for one in self.store.rounds.history(self.project, 10) if (one.started or 0.0) >= since
            ]
            failed = [one.message for one in later if one.state == "failed"]
            if failed:
                raise RuntimeError(f"a round failed: {failed[0]}")
            if whole and later and not self.store.rounds.has_work(self.project):
                return
            if not whole and any(one.state == "done" or one.stage == "push" for one in later):
                return
            if time.monotonic() > deadline:
                raise TimeoutError("the round did not come to an end")
            time.sleep(0.1)

    def miou(self) -> float:
        """Of the live version, on the validation images."""
        live = self.store.live_version(self.project)
        if live is None:
            return 0.0
        return mean_iou(measure(self.versions.load(live), self.test, len(live.classes)))


@contextmanager
def labelling(
    kind: Kind, camvid: CamVid, executable: Path, settings: dict[str, Any], port: int
) -> Iterator[Place]:
    """Servers of their own, and a connected project with all training images. port: for Label Studio, if it is free."""
    config = render(kind, camvid.classes)
    with (
        tempfile.TemporaryDirectory() as folder,
        LabelStudioServer(executable, Path(folder) / "label-studio", port=port) as server,
    ):
        token, data = server.token(), Path(folder) / "clickpick"
        with server.session() as session, clickpick(server.url, token, data, **settings) as running:
            project = _project(server.url, session, camvid, config)
            studio = Studio(server.url, token)
            connect(studio, project, running.url)
            named = {one.name: one.truth() for one in camvid.train}
            truths = {task.id: named[_stem(task.data["image"])] for task in studio.tasks(project)}
            studio.close()
            store = Store(f"sqlite:///{data / 'clickpick.db'}")
            stream = Stream(server.url, session, project, truths)
            yield Place(stream, store, Versions(store, data / "versions"), camvid.test)
            store.close()


def _project(url: str, session: Session, camvid: CamVid, config: str) -> int:
    body = {"title": "CamVid", "label_config": config}
    project = int(_post(session, f"{url}/api/projects", json=body)["id"])
    names = list(camvid.files)
    for start in range(0, len(names), 50):
        files = [camvid.files[name] for name in names[start : start + 50]]
        parts = {file.stem: (file.name, file.read_bytes()) for file in files}
        _post(session, f"{url}/api/projects/{project}/import", files=parts)
    return project


def _post(session: Session, url: str, **body: Any) -> Any:
    answer = session.post(url, timeout=300, **body)
    answer.raise_for_status()
    return answer.json()


def _stem(url: str) -> str:
    """Of the file that was uploaded; Label Studio puts eight characters and a dash before its name."""
    return Path(url).stem.split("-", 1)[1]
