"""Many annotators at once: latency of clicks over HTTP, errors, and the server's memory over time.

A real ClickPick server, simulated annotators (see `benchmarks.annotators`), 200 different photographs, the default
segmenter. First the weights load and every annotator has begun (``--warm-up``, not counted). "cold": the first click of
an annotator on a task, which was opened some seconds before, as in Label Studio; "warm": all others, also where the
cache has lost the image. Without ``--round`` the images come from a stand-in for Label Studio. With it from a real one,
where a pixel project learns at the same time: a task of it is submitted whenever no round is under way, and only clicks
that begin and end during rounds count. Resident memory is of all processes that ``clickpick serve`` is, those of
training apart; its drift compares the last tenth of the samples with the tenth after the first third.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from backend.connect import connect
from backend.demo.label_studio import LabelStudioServer
from backend.store import Store
from benchmarks.annotators import Annotators, Request, Tasks
from benchmarks.aside import Aside
from benchmarks.common import ROOT, clickpick, jpeg, photographs, report, spread
from benchmarks.rounds import CLASSES, Project
from label_config import render
from tests.fakes.label_studio import FakeLabelStudio

TRAINING = "backend.engines.worker"
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Place:
    """A running ClickPick and what is annotated there. busy: whether clicks count, by the time when they are sent."""

    url: str
    tasks: Tasks
    busy: Callable[[], bool]


class Memory(Aside):
    """Resident memory of this process's servers, every second: seconds, serving and training bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[tuple[float, float, float]] = []

    def _run(self, _worker: int) -> None:
        started = time.perf_counter()
        while not self._stop.wait(1.0):
            serving = training = 0.0
            for process in psutil.Process().children(recursive=True):
                try:
                    words, resident = " ".join(process.cmdline()), process.memory_info().rss / MEGABYTE
                except psutil.Error:
                    continue
                if TRAINING in words:
                    training += resident
                elif "backend.app" in words:
                    serving += resident
            self.samples.append((time.perf_counter() - started, serving, training))

    def figures(self) -> dict[str, Any]:
        serving = np.array([sample[1] for sample in self.samples])
        tenth = max(1, len(serving) // 10)
        before, after = np.median(serving[len(serving) // 3 :][:tenth]), np.median(serving[-tenth:])
        steps = self.samples[:: max(1, len(self.samples) // 30)]
        return {
            "rss_mb": round(float(after)),
            "rss_max_mb": round(float(serving.max())),
            "rss_drift_percent": round(float(after / before - 1) * 100, 2),
            "training_rss_mb": round(max(sample[2] for sample in self.samples)),
            "rss_over_time": [(round(at), round(rss)) for at, rss, _ in steps],
        }


@contextmanager
def idle(images: int, size: tuple[int, int], settings: dict[str, Any]) -> Iterator[Place]:
    """Nobody learns."""
    config = render("click", ("object", "other"))
    with FakeLabelStudio() as studio, tempfile.TemporaryDirectory() as folder:
        project = studio.add_project(config)
        photos = photographs(images, *size)
        numbers = [studio.upload(project, f"{n}.jpg", jpeg(photo)) for n, photo in enumerate(photos)]
        tasks = Tasks(project, config, [studio.task_json(number) for number in numbers], *size)
        with clickpick(studio.url, studio.pat, Path(folder), **settings) as server:
            yield Place(server.url, tasks, lambda: True)


@contextmanager
def learning(
    images: int, size: tuple[int, int], settings: dict[str, Any], executable: Path
) -> Iterator[Place]:
    """Rounds run one after another."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with LabelStudioServer(executable, home / "label-studio", port=8180) as studio:
            token = studio.token()
            pixel = Project(studio, token, photographs(100, 360, 480), render("pixel", CLASSES))
            clicked = Project(studio, token, photographs(images, *size), render("click", ("object", "other")))
            tasks = [clicked.studio.task(number) for number in clicked.tasks]
            with clickpick(studio.url, token, home / "clickpick", **settings) as server:
                store = Store(f"sqlite:///{home / 'clickpick' / 'clickpick.db'}")
                connect(pixel.studio, pixel.id, server.url)
                with _submits(pixel, store):
                    place = Tasks(clicked.id, clicked.config, tasks, *size)
                    yield Place(server.url, place, store.rounds.has_work)
                store.close()


@contextmanager
def _submits(pixel: Project, store: Store) -> Iterator[None]:
    """Answers of 20 pixels whenever nothing is to be learnt."""
    stop = threading.Event()

    def work() -> None:
        for number in range(10_000):
            pixel.submit(number % len(pixel.tasks), 20, seed=number)
            while not stop.wait(2.0) and store.rounds.has_work():
                pass
            if stop.is_set():
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run(place: Place, options: argparse.Namespace) -> None:
    sides = {"count": options.annotators, "acceleration": options.acceleration}
    with Annotators(place.url, place.tasks, **sides) as crowd, Memory() as memory:
        time.sleep(options.warm_up)
        begun = time.perf_counter()
        busy: list[tuple[float, bool]] = []
        while time.perf_counter() < begun + options.seconds:
            busy.append((time.perf_counter(), place.busy()))
            time.sleep(0.25)
        counted = [one for one in crowd.requests if one.started >= begun and _while_busy(one, busy)]
        done = [one for one in crowd.requests if one.started >= begun]
    _report(counted, done, memory, options)


def _while_busy(request: Request, busy: Sequence[tuple[float, bool]]) -> bool:
    within = [
        is_busy
        for at, is_busy in busy
        if request.started - 0.3 <= at <= request.started + request.seconds + 0.3
    ]
    return bool(within) and all(within)


def _report(
    counted: Sequence[Request], done: Sequence[Request], memory: Memory, options: argparse.Namespace
) -> None:
    errors = [one.error for one in done if one.error]
    figures: dict[str, Any] = {
        kind: spread([one.seconds for one in counted if one.kind == kind and not one.error] or [0.0])
        for kind in ("warm", "cold", "open")
    }
    report(
        "load",
        segmenter="clicknet",
        during_rounds=options.round,
        annotators=options.annotators,
        acceleration=options.acceleration,
        seconds=options.seconds,
        images=options.images,
        image=options.size,
        settings=dict(pair.split("=", 1) for pair in options.set),
        **figures,
        requests=len(done),
        requests_per_second=round(len(done) / options.seconds, 2),
        errors=len(errors),
        kinds_of_errors=sorted(set(errors))[:5],
        **memory.figures(),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--warm-up", type=float, default=45.0)
    parser.add_argument("--annotators", type=int, default=64)
    parser.add_argument("--acceleration", type=float, default=1.0, help="divides the times to think")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", default="1280x960")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the server")
    parser.add_argument("--round", action="store_true", help="while a pixel project learns")
    default = ROOT / ".venv-labelstudio" / "bin" / "label-studio"
    parser.add_argument("--label-studio", type=Path, default=default)
    chosen = parser.parse_args()
    columns, rows = map(int, chosen.size.split("x"))
    how = dict(pair.split("=", 1) for pair in chosen.set)
    where = (
        learning(chosen.images, (rows, columns), how, chosen.label_studio)
        if chosen.round
        else idle(chosen.images, (rows, columns), how)
    )
    with where as found:
        run(found, chosen)
