"""A real ClickPick process around the default segmenter, real bodies, and how to judge its answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
import requests

from backend.demo.clickpick import ClickPickServer
from label_config import render
from tests.backend.app.bodies import body_of, click, webhook
from tests.backend.conftest import CLASSES, jpeg
from tests.fakes.label_studio import FakeLabelStudio

SOAK = os.environ.get("CLICKPICK_SOAK") == "1"
SLOWEST = 2.0 if SOAK else 10.0
"""Seconds; beside the other tests of a busy machine a limit would measure them."""
PATHS = ("/predict", "/setup", "/webhook")


@dataclass
class Target:
    """The server, and what became of the bodies that were sent to it."""

    server: ClickPickServer
    bodies: dict[str, list[dict[str, Any]]]
    session: requests.Session = field(default_factory=requests.Session)
    seconds: list[float] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    statuses: dict[tuple[str, int], int] = field(default_factory=dict)

    def post(self, path: str, content: bytes, content_type: str = "application/json") -> requests.Response:
        started = time.monotonic()
        answer = self.session.post(
            self.server.url + path, data=content, headers={"Content-Type": content_type}, timeout=30
        )
        self.judge(path, answer, time.monotonic() - started)
        return answer

    def warm_up(self) -> None:
        """Every real body twice: models are loaded meanwhile, which no limit of time is for."""
        for path, bodies in [*self.bodies.items()] * 2:
            for body in bodies:
                assert self.session.post(self.server.url + path, json=body, timeout=120).ok

    def judge(self, path: str, answer: requests.Response, seconds: float) -> None:
        """No bug, a reason for each refusal, and nothing of this machine in it."""
        self.seconds.append(seconds)
        key = (path, answer.status_code)
        self.statuses[key] = self.statuses.get(key, 0) + 1
        assert answer.status_code != 500, answer.text
        if seconds > SLOWEST:
            self.slow.append(f"{path}: {seconds:.1f} s for {answer.status_code} {answer.text[:200]}")
        if not answer.ok:
            assert answer.json()["error"]
        assert "Traceback" not in answer.text
        assert str(self.server.process.log.parent) not in answer.text

    def memory(self) -> float:
        """Resident megabytes of the process that answers; the training process is its child and not counted."""
        guard = self.server.process._process
        assert guard is not None
        (master,) = psutil.Process(guard.pid).children()
        (worker,) = master.children()
        return float(worker.memory_info().rss) / (1 << 20)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with FakeLabelStudio() as fake:
        bodies = _real_bodies(fake)
        settings = {"CLICKPICK_DEBOUNCE_SECONDS": "5", "CLICKPICK_LOG_LEVEL": "WARNING"}
        server = ClickPickServer(
            tmp_path_factory.mktemp("fuzz"), studio_url=fake.url, token=fake.pat, settings=settings
        )
        with server:
            made = Target(server, bodies)
            made.warm_up()
            yield made
            made.session.close()


def _real_bodies(fake: FakeLabelStudio) -> dict[str, list[dict[str, Any]]]:
    bodies: dict[str, list[dict[str, Any]]] = {path: [] for path in PATHS}
    for kind, output in (("click", "brush"), ("click", "polygon"), ("both", "brush"), ("pixel", "bitmask")):
        config = render(kind, CLASSES, output=output)
        project = fake.add_project(config)
        tasks = [fake.upload(project, f"{kind}-{n}.jpg", jpeg(n)) for n in range(2)]
        clicks = [click(8, 30), click(40, 20, "sky", False)] if kind != "pixel" else []
        bodies["/predict"] += [
            body_of(fake, project, tasks[:1], config, *clicks),
            body_of(fake, project, tasks, config),
        ]
        bodies["/setup"].append(
            {"project": f"{project}.1795263519", "schema": config, "hostname": fake.url, "access_token": "x",
             "extra_params": None}
        )  # fmt: skip
        for action in ("ANNOTATION_CREATED", "ANNOTATIONS_DELETED", "PROJECT_UPDATED", "START_TRAINING"):
            event = webhook(project, config, action)
            bodies["/webhook"].append(
                {**event, "task": fake.task_json(tasks[0]), "annotation": {"result": clicks}}
            )
    return bodies
