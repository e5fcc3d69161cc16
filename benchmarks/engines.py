"""What the engine ray adds to a warm click: the same clicks by both engines in turn, on the same images at 1280x960.

A Ray cluster of one node is started on this machine with one replica of one core; one click at a time. Both answer from
cached images and embeddings, so that the difference is the way there and back: routing, pickling, two processes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from backend.engines.base import Engine
from backend.engines.local import LocalEngine
from backend.engines.ray import RayEngine
from backend.metrics import Metrics
from backend.services import Sources
from backend.settings import Settings
from backend.store import Store
from benchmarks.clicks import HEIGHT, WIDTH, click
from benchmarks.common import jpeg, photographs, report, spread
from label_config import read_prompt, read_schema, render
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.ray_cluster import LocalCluster


def measure(engines: dict[str, Engine], config: str, tasks: list[dict[str, Any]], clicks_each: int) -> None:
    schema, rng = read_schema(config), np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for task in tasks:
        clicks: list[dict[str, Any]] = []
        place = rng.uniform(0.2, 0.8, 2)
        for turn in range(clicks_each + 1):
            row, col = np.clip(rng.normal(place, 0.08 * (turn > 0)), 0.01, 0.99) * (HEIGHT, WIDTH)
            clicks.append(click(row, col, turn % 3 != 2))
            request = read_prompt(schema, {"result": clicks})
            if request is None:
                raise RuntimeError("no prompt was read from the clicks")
            answers = []
            for name in sorted(engines, reverse=bool(turn % 2)):  # the first one finds cold processor caches
                started = time.perf_counter()
                answers.append(engines[name].segment(schema, task, request))
                if turn:  # the first click fetches and encodes the image
                    seconds[name].append(time.perf_counter() - started)
            if answers[0] != answers[1]:
                raise RuntimeError("the engines answered a click differently")
    added = [there - here for here, there in zip(seconds["local"], seconds["ray"], strict=True)]
    figures = {name: spread(found) for name, found in seconds.items()}
    report("engines, warm clicks", image=f"{WIDTH}x{HEIGHT}", **figures, added=spread(added))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--clicks", type=int, default=16)
    chosen = parser.parse_args()
    labelling = render("click", ("object", "other"))
    with (
        FakeLabelStudio() as studio,
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(nodes=1) as cluster,
    ):
        number = studio.add_project(labelling)
        photos = photographs(chosen.images, HEIGHT, WIDTH)
        uploaded = [studio.upload(number, f"{n}.jpg", jpeg(photo)) for n, photo in enumerate(photos)]
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]
            label_studio_url=studio.url,
            label_studio_api_key=SecretStr(studio.pat),
            data=Path(folder),
            log_level="ERROR",
            model_threads=1,
            ray_address=cluster.address,
            ray_max_replicas=1,
        )
        store, sources = Store(f"sqlite:///{folder}/store.db"), Sources(settings)
        made: dict[str, Engine] = {
            "local": LocalEngine(settings, store, sources, Metrics()),
            "ray": RayEngine(settings, store, Metrics()),
        }
        try:
            for engine in made.values():
                engine.start()
            measure(made, labelling, [studio.task_json(task) for task in uploaded], chosen.clicks)
        finally:
            for engine in made.values():
                engine.stop()
            sources.close()
            store.close()
