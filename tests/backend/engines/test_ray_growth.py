"""Replicas become more while more people click than one has room for."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.fixture
def growing(ray_settings: Settings, engine_store: Store) -> Iterator[RayEngine]:
    """One replica, which may become two."""
    made = RayEngine(ray_settings.model_copy(update={"ray_min_replicas": 1}), engine_store, Metrics())
    made.start()
    made.connection.handle(240)
    yield made
    made.stop()


def test_replicas_grow_with_the_clicks(growing: RayEngine, studio: Studio) -> None:
    assert count_running() == 1
    with Clicking(growing, Scene(studio, images=PEOPLE)) as people:
        wait_until(lambda: count_running() == 2, "another replica", 240)
        wait_until(
            lambda: all(replica.caches["image"] for replica in growing.connection.figures()),
            "images at both",
        )
    assert people.errors == []
