"""What the engine ray adds to a warm click: the same clicks by both engines in turn, on the same images at 1280x960.

A Ray cluster of one node is started on this machine with one replica of one core; one click at a time. Both answer from
cached images and embeddings. ``beside``: the time of a click that is in none of its phases, which leaves the way there
and back: routing, pickling, another process. ``added``: by how much that is more with Ray, click by click.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
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
from label_config import ProjectSchema, PromptRequest, read_prompt, read_schema, render
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.ray_cluster import LocalCluster

PHASES = "clickpick_phase_seconds"


@dataclass
class Measured:
    """An engine, and seconds of each warm click: of all of it, and beside its phases."""

    engine: Engine
    metrics: Metrics
    whole: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    def segment(self, schema: ProjectSchema, task: dict[str, Any], request: PromptRequest) -> dict[str, Any]:
        before = self._phases()
        started = time.perf_counter()
        answer = self.engine.segment(schema, task, request)
        self.whole.append(time.perf_counter() - started)
        self.beside.append(self.whole[-1] - (self._phases() - before))
        return answer

    def _phases(self) -> float:
        """Seconds of all phases of all clicks so far."""
        families = (family for family in self.metrics.registry.collect() if family.name == PHASES)
        samples = (sample for family in families for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name == f"{PHASES}_sum")


def measure(
    local: Measured, there: Measured, config: str, tasks: list[dict[str, Any]], clicks_each: int
) -> None:
    schema, rng = read_schema(config), np.random.default_rng(0)
    for task in tasks:
        clicks: list[dict[str, Any]] = []
        place = rng.uniform(0.2, 0.8, 2)
        for turn in range(clicks_each + 1):
            row, col = np.clip(rng.normal(place, 0.08 * (turn > 0)), 0.01, 0.99) * (HEIGHT, WIDTH)
            clicks.append(click(row, col, turn % 3 != 2))
            request = read_prompt(schema, {"result": clicks})
            if request is None:
                raise RuntimeError("no prompt was read from the clicks")
            engines = [local, there] if turn % 2 else [there, local]
            first, second = (engine.segment(schema, task, request) for engine in engines)
            if first != second:
                raise RuntimeError("the engines answered a click differently")
            if not turn:  # it fetches and encodes the image
                for engine in engines:
                    engine.whole.pop()
                    engine.beside.pop()
    added = [b - a for a, b in zip(local.beside, there.beside, strict=True)]
    figures = {
        name: {"whole": spread(engine.whole), "beside": spread(engine.beside)}
        for name, engine in (("local", local), ("ray", there))
    }
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
        LocalCluster(nodes=0, head_cores=1) as cluster,
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
        counts = (Metrics(), Metrics())
        made: tuple[Engine, Engine] = (
            LocalEngine(settings, store, sources, counts[0]),
            RayEngine(settings, store, counts[1]),
        )
        try:
            for engine in made:
                engine.start()
            both = [Measured(engine, metrics) for engine, metrics in zip(made, counts, strict=True)]
            measure(*both, labelling, [studio.task_json(task) for task in uploaded], chosen.clicks)
        finally:
            for engine in made:
                engine.stop()
            sources.close()
            store.close()
