"""Annotators who click all the time, while something happens that they should not notice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import requests

from benchmarks.aside import Aside
from benchmarks.clicks import click


class People(Aside):
    """Click while this is entered, each on a task of their own. ``failed``: what came instead of a mask.

    url: of ClickPick. config: of the project, with a smart keypoint control as `label_config.templates` writes it.
    size: (height, width) of the images.
    """

    def __init__(
        self,
        url: str,
        project: int,
        config: str,
        tasks: Sequence[Mapping[str, Any]],
        size: tuple[int, int],
    ) -> None:
        super().__init__(len(tasks))
        self.answered = 0
        self.failed: list[str] = []
        self._url = url
        self._body = {"project": f"{project}.1", "label_config": config}
        self._size = size
        self._tasks = tasks

    def _run(self, number: int) -> None:
        turn, task = 0, self._tasks[number]
        while not self._stop.wait(0.02):
            turn += 1
            clicks = [click(10 + turn % 30, 10 + turn % 40, True, *self._size)]
            body = {**self._body, "tasks": [task], "params": {"context": {"result": clicks}}}
            try:
                answer = requests.post(f"{self._url}/predict", json=body, timeout=60)
                good = answer.ok and bool(answer.json()["results"][0]["result"])
            except requests.RequestException as problem:
                self.failed.append(repr(problem))
                continue
            if good:
                self.answered += 1
            else:
                self.failed.append(f"{answer.status_code} {answer.text[:200]}")
