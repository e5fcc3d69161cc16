"""Memory of the training process by the size of a project: a round over all tasks, then one after another label.

A simulated Label Studio makes the tasks as they are asked for; images are of 16 x 16 pixels and the learner does next
to nothing, so that what is measured is the round's own work. Each size has a process of its own, whose resident memory
is sampled ten times a second. ``--tree`` measures another checkout with this script.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.simulated_studio import SimulatedStudio

STATUS = Path("/proc/self/status")
ROOT = Path(__file__).resolve().parent.parent
PROJECT = 1
SECOND_ROUND_TASKS = 64
"""After the second label the round gives way when it has tried so many tasks."""


def measure(sizes: list[int], annotated: int, tree: Path, every: float) -> list[dict[str, Any]]:
    """One summary a size, and the memory over time as JSON lines."""
    from benchmarks.simulated_studio import SimulatedStudio, serve  # noqa: PLC0415 - another tree may lack it

    found = []
    for size in sizes:
        studio = SimulatedStudio(size, annotated)
        with serve(studio) as url, tempfile.TemporaryDirectory() as data:
            environment = {
                **os.environ, "PYTHONPATH": str(tree), "LABEL_STUDIO_URL": url,
                "LABEL_STUDIO_API_KEY": studio.token, "CLICKPICK_DATA": data,
            }  # fmt: skip
            command = [sys.executable, __file__, "--worker", str(every)]
            with subprocess.Popen(
                command, env=environment, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as worker:
                assert worker.stdin is not None
                assert worker.stdout is not None
                for line in worker.stdout:
                    said = json.loads(line)
                    if said["event"] == "one round is over":
                        studio.annotate(annotated + 1)
                        worker.stdin.write("go on\n")
                        worker.stdin.flush()
                    elif said["event"] == "summary":
                        found.append({**said, "tasks": size, "annotated": annotated, **_received(studio)})
                    else:
                        print(json.dumps({"benchmark": "project_size", "tasks": size, **said}), flush=True)
    return found


def _received(studio: SimulatedStudio) -> dict[str, Any]:
    """What the simulated Label Studio has got: requests by kind, and predictions by version."""
    orders = studio.order.values()
    return {
        "requests": studio.calls,
        "first_pushed": {name: order[:4] for name, order in studio.order.items()},
        "pushed": {name: len(order) for name, order in studio.order.items()},
        "twice": sum(len(order) - len(set(order)) for order in orders),
    }


def work(every: float) -> None:
    """The training process of one size: runs both rounds, and tells its memory."""
    from backend.learning.rounds import RoundRunner  # noqa: PLC0415
    from backend.learning.versions import Versions  # noqa: PLC0415
    from backend.memory import keep_freed_memory  # noqa: PLC0415
    from backend.services import open_images, open_studio  # noqa: PLC0415
    from backend.settings import Settings  # noqa: PLC0415
    from backend.store import Store  # noqa: PLC0415

    keep_freed_memory()
    settings = Settings(
        _env_file=None, learner=register(), deep_learner="", initial="random", image_cache_mb=1
    )  # type: ignore[call-arg]
    store, studio = Store(settings.store_url), open_studio(settings)
    images = open_images(settings, studio)
    runner = RoundRunner(settings, store, studio, images, Versions(store, settings.versions_folder))
    tried = 0

    def gives_way() -> bool:
        nonlocal tried
        tried += 1
        return tried > SECOND_ROUND_TASKS

    store.remember_project(PROJECT, "before the first round")
    with Memory(every) as memory:
        outcome = runner.run(PROJECT, "labels", memory.stage, lambda: False)
        first = memory.seconds()
        say(event="one round is over", message=outcome.message)
        sys.stdin.readline()
        outcome = runner.run(PROJECT, "labels", memory.stage, gives_way)
    say(
        event="summary", before_mb=memory.before, peak_mb=memory.peak, first_round_s=round(first, 1),
        second_round_s=round(memory.seconds() - first, 1), message=outcome.message,
    )  # fmt: skip


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def register() -> str:
    """A learner that knows the classes by the row, and costs nothing; its name."""
    from model_zoo.learners.base import FitReport, Learner  # noqa: PLC0415
    from model_zoo.registry import list_models, register_learner  # noqa: PLC0415

    class Halves(Learner):
        name = "halves"

        def fit(self, labelled: Any, classes: Any, **_: Any) -> FitReport:
            self.classes = tuple(classes)
            return FitReport(len(labelled), sum(len(image.labels) for image in labelled), 0.0, 0.0, 0.0)

        def predict_proba(self, image: Any, samples: int = 1) -> Any:
            height, width = image.shape[:2]
            upper = np.broadcast_to((np.arange(height) < height / 2)[:, None], (height, width))
            found = np.stack([0.5 + 0.4 * upper, 0.5 - 0.4 * upper]).astype(np.float32)
            return found if samples == 1 else np.stack([found] * samples)

        def save(self, directory: Path) -> None:
            (directory / "state.json").write_text(json.dumps(self.classes))

        def load(self, directory: Path) -> None:
            self.classes = tuple(json.loads((directory / "state.json").read_text()))

    list_models()  # all others first

    @register_learner(paper="", licence="", source="")
    def halves(device: str) -> Learner:  # noqa: ARG001
        """The upper half is the first class."""
        return Halves()

    return Halves.name


class Memory:
    """Resident memory of this process in MB, sampled while it is entered; a JSON line every few seconds.

    Only what is the process's own (RssAnon): pages of libraries come and go with what else the machine does.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._stage = ("", 0.0)
        self._stop = threading.Event()
        self._began = time.monotonic()
        self.before = self.peak = self.now()
        self._thread = threading.Thread(target=self._watch)

    def now(self) -> float:
        (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon:")]
        return round(int(line.split()[1]) * 1024 / 1e6, 1)

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def stage(self, name: str, share: float) -> None:
        self._stage = (name, share)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        told = -self._every
        while not self._stop.wait(0.1):
            self.peak = max(self.peak, self.now())
            if self.seconds() - told >= self._every:
                told = self.seconds()
                stage, share = self._stage
                say(
                    event="memory",
                    seconds=round(told, 1),
                    rss_mb=self.now(),
                    stage=stage,
                    done=round(share, 3),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--annotated", type=int, default=5000)
    parser.add_argument("--tree", type=Path, default=ROOT, help="checkout to measure")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between lines of memory")
    parser.add_argument("--worker", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker)
        return
    from benchmarks.common import report  # noqa: PLC0415

    found = measure(given.tasks, given.annotated, given.tree.resolve(), given.every)
    for summary in found:
        report("project_size", **{key: value for key, value in summary.items() if key != "event"})
    if len(found) > 1:
        small, large = min(found, key=_tasks), max(found, key=_tasks)
        grown = (_grown(large) - _grown(small)) * 1e6 / (large["tasks"] - small["tasks"])
        report("project_size", event="growth", bytes_a_task=round(grown, 1))


def _grown(summary: dict[str, Any]) -> float:
    return float(summary["peak_mb"] - summary["before_mb"])


def _tasks(summary: dict[str, Any]) -> int:
    return int(summary["tasks"])


if __name__ == "__main__":
    main()
