"""Engines to compare: a local one, and one on a Ray cluster of two nodes, around one Label Studio.

A process can be in one cluster at a time, so each module has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.engines.local import LocalEngine
from backend.metrics import Metrics
from backend.services import Sources
from backend.settings import Settings
from backend.store import Store
from tests.backend.engines.ray_scenes import Studio
from tests.fakes.ray_cluster import LocalCluster


@pytest.fixture(scope="session")
def studio() -> Iterator[Studio]:
    with Studio() as running:
        yield running


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[LocalCluster]:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with LocalCluster(nodes=1, head_cores=1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def engine_settings(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two replicas, which fill the cluster; as many threads a model call as a replica has cores."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        label_studio_url=studio.url,
        label_studio_api_key=SecretStr(studio.pat),
        data=tmp_path_factory.mktemp("engines"),
        device="cpu",
        initial="random",
        ray_min_replicas=2,
        ray_max_replicas=2,
    )


@pytest.fixture(scope="module")
def ray_settings(engine_settings: Settings, ray_cluster: LocalCluster) -> Settings:
    return engine_settings.model_copy(update={"engine": "ray", "ray_address": ray_cluster.address})


@pytest.fixture(scope="session")
def engine_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("store")
    made = Store(f"sqlite:///{folder / 'store.db'}")
    yield made
    made.close()


@pytest.fixture(scope="session")
def local_engine(engine_settings: Settings, engine_store: Store) -> Iterator[LocalEngine]:
    sources = Sources(engine_settings)
    made = LocalEngine(engine_settings, engine_store, sources, Metrics())
    made.start()
    yield made
    made.stop()
    sources.close()


@pytest.fixture(scope="module")
def ray_engine(ray_settings: Settings, engine_store: Store) -> Iterator[object]:
    from backend.engines.ray import RayEngine

    made = RayEngine(ray_settings, engine_store, Metrics())
    made.start()
    made.connection.handle(240)  # of a busy machine
    yield made
    made.stop()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Nodes that can be killed one by one, joined by this process. Whoever kills a node adds another one."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    import ray

    with LocalCluster(nodes=2) as nodes:
        ray.init(nodes.address, namespace="clickpick", configure_logging=False, log_to_driver=False)
        yield nodes
        ray.shutdown()
