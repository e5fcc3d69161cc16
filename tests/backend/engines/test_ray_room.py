"""A cluster with room for fewer replicas than there are to be: the one that has room answers."""

from __future__ import annotations

import pytest

from backend.engines.ray import RayEngine
from backend.engines.ray_serve import count_running
from backend.metrics import Metrics
from backend.settings import Settings
from backend.store import Store
from tests.backend.engines.ray_scenes import Scene, Studio
from tests.backend.engines.soak import SOAK_ONLY
from tests.fakes.ray_cluster import LocalCluster

pytestmark = [pytest.mark.integration, pytest.mark.slow, SOAK_ONLY]


def test_one_replica_answers_while_the_other_waits_for_a_node(
    engine_settings: Settings, engine_store: Store, studio: Studio
) -> None:
    scene = Scene(studio)
    with LocalCluster(nodes=0, head_cores=1) as cluster:
        engine = RayEngine(
            engine_settings.model_copy(update={"engine": "ray", "ray_address": cluster.address}),
            engine_store,
            Metrics(),
        )
        engine.start()
        engine.connection.handle(240)
        assert engine.problems() == []
        assert engine.segment(scene.schema, scene.task(), scene.request((10, 30)))["result"]
        assert count_running() == 1
        engine.stop()
