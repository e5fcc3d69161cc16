"""What tests of engines ask for: clicks in projects of a Label Studio that can be made to wait."""

from __future__ import annotations

import threading
from typing import Any

from label_config import ProjectSchema, PromptRequest, read_prompt, read_schema, render
from tests.backend.app.bodies import click
from tests.backend.conftest import CLASSES, jpeg
from tests.fakes.http_server import Call
from tests.fakes.label_studio import FakeLabelStudio


class Studio(FakeLabelStudio):
    """Images whose paths are in ``held`` come when their event is set; ``asked``: the path of each request for one."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, threading.Event] = {}
        self.asked: list[str] = []

    def answer(self, call: Call) -> Any:
        if call.path.startswith("/data/upload/"):
            self.asked.append(call.path)
            if call.path in self.held:
                self.held[call.path].wait(60)
        return super().answer(call)


class Scene:
    """A click project with images of its own; caches know none of them."""

    def __init__(self, studio: Studio, images: int = 1, *, kind: Any = "click", **options: Any) -> None:
        config = render(kind, CLASSES, **options)
        self.studio = studio
        self.project = studio.add_project(config)
        self.schema: ProjectSchema = read_schema(config)
        names = (f"{number}.jpg" for number in range(images))
        self.tasks = [
            studio.upload(self.project, name, jpeg(1000 * self.project + number))
            for number, name in enumerate(names)
        ]

    def task(self, number: int = 0) -> dict[str, Any]:
        return self.studio.task_json(self.tasks[number])

    def url(self, number: int = 0) -> str:
        return str(self.task(number)["data"]["image"])

    def request(self, *places: tuple[int, int]) -> PromptRequest:
        """One object: the first click is positive, then they alternate."""
        regions = [click(row, col, positive=not turn % 2) for turn, (row, col) in enumerate(places)]
        request = read_prompt(self.schema, {"result": regions})
        assert request is not None
        return request
