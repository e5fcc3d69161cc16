"""Scoring a pool on a Ray cluster: two workers against one, one torch thread each, and what Ray costs an image.

Photographs of 480x360 at a stand-in for Label Studio, a probe, nodes of one core on this machine.
Every turn scores the pool in each way, so that whatever else the machine does meets all of them: by one process without
Ray, by two such processes that know nothing of each other (the limit of what two workers can give here), by one worker
of the cluster, and by two. Each image is fetched and decoded anew, and whatever scores has scored before.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from pydantic import SecretStr

from backend.engines.ray_cluster import NAMESPACE
from backend.engines.ray_scoring import RayScoring
from backend.learning.queue import Proposer, Queue
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
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.ray_cluster import LocalCluster

HEIGHT, WIDTH = 360, 480
CLASSES = ("dark", "middle", "bright")
LABELS = 200
START_SECONDS = 120.0


def publish(settings: Settings, photos: Sequence[NDArray[np.uint8]]) -> None:
    """A version that tells pixels apart by their brightness."""
    rng = np.random.default_rng(0)
    labelled = []
    for number, photo in enumerate(photos):
        rows, cols = rng.integers(0, HEIGHT, LABELS), rng.integers(0, WIDTH, LABELS)
        labels = np.minimum(2, photo[rows, cols].mean(axis=1) // 86).astype(np.int64)
        labelled.append(LabelledImage(str(number), lambda p=photo: p, rows, cols, labels))
    learner = create_learner(settings.learner, device="cpu")
    learner.fit(labelled, CLASSES)
    with contextlib.closing(Store(settings.store_url)) as store:
        store.remember_project(1, "benchmark")
        Versions(store, settings.versions_folder).publish(
            1, learner, digest="aaaaaa", labels=LABELS * len(photos), metrics={}
        )


def make_queue(settings: Settings) -> Queue:
    schema = read_schema(render("pixel", CLASSES))
    target = schema.pixel_image
    with contextlib.closing(Store(settings.store_url)) as store:
        version = store.live_version(1)
        if target is None or version is None:
            raise RuntimeError("there is nothing to score with")
        learner = Versions(store, settings.versions_folder).load(version)
    return Queue(1, schema, target, version.name, learner, {}, published=version)


def seconds(scoring: Scoring, queue: Queue, tasks: Sequence[TaskInfo]) -> float:
    started = time.perf_counter()
    found = sum(one is not None for one in scoring.proposals(queue, [tasks], lambda: None, lambda: False))
    if found != len(tasks):
        raise RuntimeError(f"{found} of {len(tasks)} tasks were scored")
    return time.perf_counter() - started


def score_when_told(settings: Settings, tasks: Sequence[TaskInfo], told: Connection) -> None:
    """A process without Ray."""
    torch.set_num_threads(1)
    studio = open_studio(settings)
    queue = make_queue(settings)
    scoring = ScoringHere(Proposer(settings, open_images(settings, studio)).proposal)
    with contextlib.suppress(EOFError):
        while True:
            told.recv()
            told.send(seconds(scoring, queue, tasks))


@contextlib.contextmanager
def processes(settings: Settings, tasks: Sequence[TaskInfo], count: int) -> Iterator[list[Connection]]:
    """So many processes without Ray, each with its part of the tasks."""
    spawn = multiprocessing.get_context("spawn")
    ends, started = [], []
    for number in range(count):
        here, there = spawn.Pipe()
        started.append(spawn.Process(target=score_when_told, args=(settings, tasks[number::count], there)))
        started[-1].start()
        there.close()
        ends.append(here)
    try:
        yield ends
    finally:
        for process in started:
            process.terminate()
            process.join()


def all_of(ends: Sequence[Connection]) -> float:
    """Seconds until all of these processes have scored their parts."""
    started = time.perf_counter()
    for end in ends:
        end.send("score")
    for end in ends:
        end.recv()
    return time.perf_counter() - started


class Occupant:
    """Has a core, and does nothing."""

    def is_there(self) -> bool:
        return True


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """All but one of the cluster's two cores are taken meanwhile."""
    occupant: Any = ray.remote(num_cpus=1)(Occupant).remote()
    ray.get(occupant.is_there.remote(), timeout=START_SECONDS)
    yield
    ray.kill(occupant)


def measure(settings: Settings, tasks: list[TaskInfo], turns: int) -> None:
    queue, cluster = make_queue(settings), RayScoring(settings)
    found: dict[str, list[float]] = {"process": [], "processes": [], "worker": [], "workers": []}
    with processes(settings, tasks, 1) as one, processes(settings, tasks, 2) as two:
        for _ in range(turns):
            for name, ends in (("process", one), ("processes", two)):
                all_of(ends)  # to have scored before
                found[name].append(all_of(ends))
            with one_core():
                seconds(cluster, queue, tasks)
                found["worker"].append(seconds(cluster, queue, tasks))
            seconds(cluster, queue, tasks)
            found["workers"].append(seconds(cluster, queue, tasks))
    ms = {name: [1000 * value / len(tasks) for value in values] for name, values in found.items()}
    median = {name: float(np.median(values)) for name, values in ms.items()}
    report(
        "pool",
        images=len(tasks),
        image=f"{WIDTH}x{HEIGHT}",
        learner=settings.learner,
        shard=settings.ray_shard_tasks,
        ms_an_image={name: round(value, 2) for name, value in median.items()},
        two_workers_against_one=round(median["worker"] / median["workers"], 2),
        two_processes_against_one=round(median["process"] / median["processes"], 2),
        cluster_adds_ms_an_image=round(median["worker"] - median["process"], 2),
        turns_ms={name: [round(value, 1) for value in values] for name, values in ms.items()},
    )


def main(images: int, turns: int, shard: int) -> None:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that are started from here, as the cluster's have it
    photos = photographs(images, HEIGHT, WIDTH)
    tasks = [TaskInfo(n + 1, {"image": f"/data/upload/1/{n}.jpg"}, False) for n in range(images)]
    with FakeLabelStudio() as studio, tempfile.TemporaryDirectory() as folder, LocalCluster(2) as cluster:
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
        publish(settings, photos[:4])
        ray.init(cluster.address, namespace=NAMESPACE, configure_logging=False, log_to_driver=False)
        try:
            measure(settings, tasks, turns)
        finally:
            ray.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--shard", type=int, default=4)
    chosen = parser.parse_args()
    main(chosen.images, chosen.turns, chosen.shard)
