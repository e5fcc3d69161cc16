"""Scoring a pool on a Ray cluster: two workers against one, one torch thread each, and what the cluster costs an image.

Photographs of 480x360 at a stand-in for Label Studio, a probe that was fitted before, nodes of one processor on this
machine. Each turn scores the pool in this process, by one worker, by two, and, as the limit of what two can give here,
by two processes that know nothing of each other or of Ray; so whatever else the machine does meets all of them. Each
image is fetched and decoded anew. Scheduling alone: shards that do nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from pydantic import SecretStr

from backend.engines import ray_scoring
from backend.engines.ray_scoring import RayScoring, score
from backend.learning.pushing import Pusher, Queue
from backend.learning.scoring import Scoring, ScoringHere
from backend.learning.versions import Versions
from backend.services import open_images, open_studio
from backend.settings import Settings
from backend.store import Store
from backend.studio import TaskInfo
from benchmarks.common import jpeg, photographs, report
from label_config import read_schema, render
from model_zoo.learners.base import LabelledImage
from model_zoo.registry import create_learner
from tests.backend.ray_cluster import ray_nodes
from tests.fakes.label_studio import FakeLabelStudio

HEIGHT, WIDTH = 360, 480
CLASSES = ("dark", "middle", "bright")
LABELS = 200


def published(settings: Settings, photos: Sequence[Any]) -> Any:
    """A version that tells pixels apart by their brightness."""
    rng = np.random.default_rng(0)
    labelled = []
    for number, photo in enumerate(photos[:4]):
        rows, cols = rng.integers(0, HEIGHT, LABELS), rng.integers(0, WIDTH, LABELS)
        labels = np.minimum(2, photo[rows, cols].mean(axis=1) // 86).astype(np.int64)
        labelled.append(LabelledImage(str(number), lambda p=photo: p, rows, cols, labels))
    learner = create_learner(settings.learner, device="cpu")
    learner.fit(labelled, CLASSES)
    store = Store(settings.store_url)
    store.remember_project(1, "benchmark")
    found = Versions(store, settings.versions_folder).publish(
        1, learner, digest="aaaaaa", labels=800, metrics={}
    )
    store.close()
    return found


def make_queue(settings: Settings, version: Any) -> Queue:
    schema = read_schema(render("pixel", CLASSES))
    target = schema.pixel_image
    if target is None:
        raise RuntimeError("the template has no query control")
    store = Store(settings.store_url)
    learner = Versions(store, settings.versions_folder).load(version)
    store.close()
    return Queue(1, schema, target, version.name, learner, {}, published=version)


def seconds(scoring: Scoring, queue: Queue, tasks: Sequence[TaskInfo]) -> float:
    started = time.perf_counter()
    count = sum(1 for _ in scoring.proposals(queue, [tasks], lambda: None, lambda: False))
    if count != len(tasks):
        raise RuntimeError(f"{count} of {len(tasks)} tasks were scored")
    return time.perf_counter() - started


def here(settings: Settings) -> ScoringHere:
    studio = open_studio(settings)
    return ScoringHere(Pusher(settings, studio, open_images(settings, studio)).proposal)


class Processes:
    """Processes that score a part of the pool each, with nothing between them."""

    def __init__(self, settings: Settings, count: int, images: int) -> None:
        command = [sys.executable, "-m", "benchmarks.pool", "--part", settings.model_dump_json(), str(count)]
        secret = settings.token
        self._started = [
            subprocess.Popen(
                [*command, str(number), str(images), secret],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]

    def seconds(self) -> float:
        started = time.perf_counter()
        for process in self._started:
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        for process in self._started:
            process.stdout.readline()  # type: ignore[union-attr]
        return time.perf_counter() - started

    def __enter__(self) -> Processes:
        self.seconds()  # imports, images, learner
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.communicate()


def part_of_the_pool(text: str, count: int, number: int, images: int, token: str) -> None:
    """What each of `Processes` does whenever it is told to."""
    torch.set_num_threads(1)
    settings = Settings.model_validate_json(text).model_copy(
        update={"label_studio_api_key": SecretStr(token)}
    )
    store = Store(settings.store_url)
    queue, scoring = make_queue(settings, store.live_version(1)), here(settings)
    tasks = list_tasks(images)[number::count]
    for _ in sys.stdin:
        seconds(scoring, queue, tasks)
        print("done", flush=True)
    store.close()


def list_tasks(images: int) -> list[TaskInfo]:
    return [TaskInfo(n + 1, {"image": f"/data/upload/1/{n}.jpg"}, False) for n in range(images)]


@contextlib.contextmanager
def one_worker() -> Iterator[None]:
    """All but one of the processors are taken meanwhile."""

    def sleep() -> None:
        time.sleep(3600)

    taken = ray.remote(num_cpus=1, max_retries=0)(sleep).remote()
    while ray.available_resources().get("CPU", 0.0) > 1:
        time.sleep(0.05)
    yield
    ray.cancel(taken, force=True)
    while ray.available_resources().get("CPU", 0.0) < 2:
        time.sleep(0.05)


def nothing(_common: Any, tasks: Sequence[TaskInfo], *_: object) -> list[dict[str, Any]]:
    return [{} for _ in tasks]


def measure(settings: Settings, queue: Queue, tasks: list[TaskInfo], repeats: int) -> None:
    local, cluster = here(settings), RayScoring(settings)
    ray_scoring.score = nothing  # type: ignore[assignment]
    idle = RayScoring(settings)
    runs: dict[str, list[float]] = {"here": [], "one": [], "two": [], "processes": [], "scheduling": []}
    with Processes(settings, 2, len(tasks)) as processes:
        turn: dict[str, Callable[[], float]] = {
            "here": lambda: seconds(local, queue, tasks),
            "two": lambda: seconds(cluster, queue, tasks),
            "processes": processes.seconds,
            "scheduling": lambda: seconds(idle, queue, tasks),
        }
        ray_scoring.score = score
        seconds(cluster, queue, tasks)  # workers, imports, images, learner
        ray_scoring.score = nothing  # type: ignore[assignment]
        for repeat in range(repeats + 1):
            for name, run in turn.items():
                found = run()
                runs[name] += [found] if repeat else []  # the first turn fills caches
            with one_worker():
                found = seconds(cluster, queue, tasks)
                runs["one"] += [found] if repeat else []
    each = {name: 1000 * float(np.median(values)) / len(tasks) for name, values in runs.items()}
    report(
        "pool",
        images=len(tasks), image=f"{WIDTH}x{HEIGHT}", learner=settings.learner, turns=repeats,
        shard=settings.ray_shard_tasks,
        ms_an_image={name: round(value, 2) for name, value in each.items()},
        two_against_one=round(each["one"] / each["two"], 2),
        two_processes_against_here=round(each["here"] / each["processes"], 2),
        cluster_costs_ms_an_image=round(each["one"] - each["here"], 2),
        all_ms_an_image={n: [round(1000 * s / len(tasks), 1) for s in v] for n, v in runs.items()},
    )  # fmt: skip


def main(images: int, repeats: int, shard: int) -> None:
    torch.set_num_threads(1)
    photos = photographs(images, HEIGHT, WIDTH)
    with FakeLabelStudio() as studio, tempfile.TemporaryDirectory() as folder, ray_nodes(2):
        studio.uploads = {f"/data/upload/1/{n}.jpg": jpeg(photo) for n, photo in enumerate(photos)}
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]
            label_studio_url=studio.url,
            label_studio_api_key=SecretStr(studio.pat),
            data=Path(folder),
            device="cpu",
            log_level="ERROR",
            image_cache_mb=1,
            ray_shard_tasks=shard,
        )
        queue = make_queue(settings, published(settings, photos))
        measure(settings, queue, list_tasks(images), repeats)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shard", type=int, default=4)
    parser.add_argument("--part", nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        text, count, number, images, token = chosen.part
        part_of_the_pool(text, int(count), int(number), int(images), token)
    else:
        main(chosen.images, chosen.repeats, chosen.shard)
