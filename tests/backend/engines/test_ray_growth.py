"""As many replicas as clicks need and nodes have room for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backend.engines.ray import RayEngine
from backend.engines.ray_serve import count_running
from backend.metrics import Metrics
from backend.settings import Settings
from backend.store import Store
from benchmarks.aside import Aside
from tests.backend.engines.ray_scenes import Scene, Studio
from tests.backend.engines.soak import SOAK_ONLY
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, SOAK_ONLY]

PEOPLE = 12
"""Three times as many calls under way as one replica is to have."""


class Clicking(Aside):
    """People who click without a pause, each on an image of their own."""

    def __init__(self, engine: RayEngine, scene: Scene) -> None:
        super().__init__(len(scene.tasks))
        self.errors: list[Exception] = []
        self._engine = engine
        self._scene = scene

    def _run(self, worker: int) -> None:
        scene, turn = self._scene, 0
        while not self._stop.is_set():
            turn += 1
            try:
                request = scene.request((10 + turn % 20, 30))
                assert self._engine.segment(scene.schema, scene.task(worker), request)["result"]
            except Exception as error:
                self.errors.append(error)
                return


@contextmanager
def engine(settings: Settings, store: Store, **changes: int) -> Iterator[RayEngine]:
    made = RayEngine(settings.model_copy(update=changes), store, Metrics())
    made.start()
    made.connection.handle(240)
    yield made
    made.stop()


def test_replicas_grow_with_the_clicks(ray_settings: Settings, engine_store: Store, studio: Studio) -> None:
    with engine(ray_settings, engine_store, ray_min_replicas=1) as growing:
        assert count_running() == 1
        with Clicking(growing, Scene(studio, images=PEOPLE)) as people:
            wait_until(lambda: count_running() == 2, "another replica", 240)
            wait_until(
                lambda: all(replica.caches["image"] for replica in growing.connection.figures()),
                "images at both",
            )
        assert people.errors == []


def test_one_replica_answers_while_others_wait_for_a_node(
    ray_settings: Settings, engine_store: Store, studio: Studio
) -> None:
    scene = Scene(studio)
    with engine(ray_settings, engine_store, ray_min_replicas=3, ray_max_replicas=3) as crowded:
        assert crowded.problems() == []
        assert crowded.segment(scene.schema, scene.task(), scene.request((10, 30)))["result"]
        assert count_running() < 3
