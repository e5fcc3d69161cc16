"""Simulated annotators who click at ClickPick as Label Studio does for them, with time to think in between.

Each annotator goes through all tasks in an order of its own. A task is opened (a request without clicks, which is what
lets ClickPick warm up), looked at, and one to three objects are clicked, 1 to 8 clicks each, every click with all those
before it. Times to think are log-normal: median 4 s and sigma 0.5 between two clicks of an object (mean 4.5 s), twice
the median before the first click of an object, when the mask before is accepted and the next object looked for. All of
them are divided by the acceleration. Numbers are drawn from seeds; what each does, not when, is the same in every run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests

from benchmarks.aside import Aside
from benchmarks.clicks import click

THINK_SECONDS, SIGMA, NEXT_OBJECT = 4.0, 0.5, 2.0
OBJECTS, CLICKS = 3, 8
TIMEOUT = 100.0
"""Seconds after which Label Studio gives up."""


@dataclass(frozen=True)
class Tasks:
    """What is annotated: tasks as Label Studio sends them, all of one click project and one image size."""

    project: int
    config: str
    tasks: Sequence[dict[str, Any]]
    height: int
    width: int


@dataclass(frozen=True)
class Request:
    """kind: "open", "cold" (the first click of this annotator on the task) or "warm"; error: empty where it succeeded.

    started: of time.perf_counter."""

    kind: str
    started: float
    seconds: float
    error: str


class Annotators(Aside):
    """So many threads, which work while the context is open; ``requests`` grows meanwhile."""

    def __init__(self, server: str, tasks: Tasks, *, count: int, acceleration: float = 1.0) -> None:
        super().__init__(count)
        self.requests: list[Request] = []
        self._server = server
        self._tasks = tasks
        self._acceleration = acceleration

    def _run(self, number: int) -> None:
        rng = np.random.default_rng((7, number))
        with requests.Session() as session:
            session.trust_env = False
            if self._thinks(rng, rng.uniform(0.0, 2.0 * NEXT_OBJECT)):  # they do not all begin at once
                return
            while True:
                for task in rng.permutation(len(self._tasks.tasks)):
                    if self._annotate(session, self._tasks.tasks[task], rng):
                        return

    def _annotate(self, session: requests.Session, task: dict[str, Any], rng: np.random.Generator) -> bool:
        """Whether work is over."""
        self._send(session, "open", task, None)
        kind = "cold"
        for _ in range(rng.integers(1, OBJECTS + 1)):
            height, width = self._tasks.height, self._tasks.width
            place = rng.uniform(0.2, 0.8, 2)
            clicks: list[dict[str, Any]] = []
            for turn in range(rng.integers(1, CLICKS + 1)):
                row, col = np.clip(rng.normal(place, 0.08 * (turn > 0)), 0.01, 0.99) * (height, width)
                clicks.append(click(row, col, turn % 3 != 2, height, width))
                if self._thinks(rng, 1.0 if turn else NEXT_OBJECT):
                    return True
                self._send(session, kind, task, clicks)
                kind = "warm"
        return False

    def _thinks(self, rng: np.random.Generator, times: float) -> bool:
        """Whether work is over."""
        seconds = THINK_SECONDS * times * rng.lognormal(0.0, SIGMA)
        return self._stop.wait(seconds / self._acceleration)

    def _send(
        self, session: requests.Session, kind: str, task: dict[str, Any], clicks: list[dict[str, Any]] | None
    ) -> None:
        context = None if clicks is None else {"result": clicks}
        body = {"tasks": [task], "project": f"{self._tasks.project}.1", "params": {"context": context}}
        body["label_config"] = self._tasks.config
        started = time.perf_counter()
        error = ""
        try:
            answer = session.post(f"{self._server}/predict", json=body, timeout=TIMEOUT)
            if answer.status_code != requests.codes.ok:
                error = f"{answer.status_code} {answer.text[:200]}"
            elif clicks is not None and not answer.json()["results"][0]["result"]:
                error = "no mask"
        except requests.RequestException as problem:
            error = type(problem).__name__
        self.requests.append(Request(kind, started, time.perf_counter() - started, error))
