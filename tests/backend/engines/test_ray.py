"""The engine on a cluster of two nodes: images stay at one replica, and a replica that dies takes no click with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from backend.app import create_app
from backend.demo.clickpick import ClickPickServer
from backend.engines import ray as module
from backend.engines import ray_connection
from backend.engines.ray import RayEngine
from backend.engines.ray_connection import Connection
from backend.errors import ModelUnavailable, TooLate
from backend.settings import Settings
from tests.backend.app.bodies import body_of, click
from tests.backend.engines.ray_scenes import Scene, Studio
from tests.backend.engines.soak import SOAK_ONLY
from tests.fakes.ray_cluster import LocalCluster
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, SOAK_ONLY]

PLACE = (10, 30)
PATIENCE = 180.0
LAST_SECONDS = 5.0
"""Of a process that has been told to end; Ray's own handler of SIGTERM would abort it after three."""


def replicas(engine: RayEngine) -> dict[str, int]:
    """Process of each replica, by its name."""
    return {figures.replica: figures.pid for figures in engine.connection.figures()}


def keeper(engine: RayEngine, url: str) -> Any:
    """Figures of the replica that calls about an image go to."""
    handle = engine.connection.handle(1).options(session_id=engine._key(url, None), method_name="figures")
    return handle.remote().result(timeout_s=10)


def segment(engine: RayEngine, scene: Scene, number: int = 0) -> dict[str, Any]:
    return engine.segment(scene.schema, scene.task(number), scene.request(PLACE))


@pytest.fixture(autouse=True)
def _all_up(ray_engine: RayEngine) -> None:
    wait_until(lambda: len(replicas(ray_engine)) == 2, "both replicas")


def test_each_image_is_kept_by_one_of_the_replicas(ray_engine: RayEngine, studio: Studio) -> None:
    scene = Scene(studio, images=12)
    found = ray_engine._metrics._found
    hits, misses = found["embedding", True], found["embedding", False]
    for _ in range(3):
        for number in range(len(scene.tasks)):
            segment(ray_engine, scene, number)
    assert found["embedding", False] - misses == len(scene.tasks)
    assert found["embedding", True] - hits == 2 * len(scene.tasks)
    keepers = {keeper(ray_engine, scene.url(number)).pid for number in range(len(scene.tasks))}
    assert keepers == set(replicas(ray_engine).values()), "both of them have something to do"
    assert all(studio.asked.count(scene.url(number)) == 1 for number in range(len(scene.tasks)))


def test_the_application_answers_and_counts_what_replicas_did(
    ray_engine: RayEngine, ray_settings: Settings, studio: Studio
) -> None:
    scene = Scene(studio)
    config = studio.projects[scene.project]["label_config"]
    app = create_app(ray_settings)
    client = app.test_client()
    try:
        assert client.get("/health").status_code == 200
        wait_until(lambda: client.get("/ready").status_code == 200, "the web process to be ready")
        for col in (30, 31):
            body = body_of(studio, scene.project, scene.tasks, config, click(10, col))
            assert client.post("/predict", json=body).json["results"][0]["result"]
        text = client.get("/metrics").text
    finally:
        app.extensions["clickpick"].stop()
    for phase in ("image", "wait", "decode", "repair", "regions"):
        assert f'clickpick_phase_seconds_count{{phase="{phase}"}} 2.0' in text
    assert 'clickpick_answer_seconds_count{kind="click"} 2.0' in text
    assert 'clickpick_cache_lookups_total{cache="embedding",result="hit"} 1.0' in text
    assert not re.search(r'clickpick_cache_bytes{cache="image"} 0\.0', text)


def test_a_click_on_a_replica_that_dies_is_made_once_more(ray_engine: RayEngine, studio: Studio) -> None:
    scene = Scene(studio)
    url, release = scene.url(), threading.Event()
    studio.held[url] = release
    first = keeper(ray_engine, url)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(segment, ray_engine, scene)
        wait_until(lambda: url in studio.asked, "the click to arrive")
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: studio.asked.count(url) == 2, "the click to be made once more")
        release.set()
        assert answer.result(60)["result"]
    assert studio.asked.count(url) == 2
    wait_until(lambda: first.pid not in replicas(ray_engine).values(), "the figures to forget the replica")
    wait_until(lambda: len(replicas(ray_engine)) == 2, "another one in its place")


def test_a_click_that_loses_two_replicas_fails_with_advice(ray_engine: RayEngine, studio: Studio) -> None:
    scene = Scene(studio)
    url = scene.url()
    studio.held[url] = threading.Event()
    killed: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(segment, ray_engine, scene)
        for times in (1, 2):
            wait_until(lambda n=times: studio.asked.count(url) == n, "the click to arrive")
            killed.append(keeper(ray_engine, url).pid)
            os.kill(killed[-1], signal.SIGKILL)
        error = answer.exception(60)
    studio.held[url].set()
    assert isinstance(error, ModelUnavailable)
    assert str(error) == module.LOST
    wait_until(lambda: not {*killed} & {*replicas(ray_engine).values()}, "the figures to forget them")


def test_a_replica_that_never_answers_is_not_waited_for(
    ray_engine: RayEngine, studio: Studio, ray_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(studio)
    studio.held[scene.url()] = threading.Event()
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(ray_engine, "_settings", ray_settings.model_copy(update={"answer_seconds": 0.2}))
    begun = time.monotonic()
    with pytest.raises(TooLate, match="Label Studio has given up on it"):
        segment(ray_engine, scene)
    assert time.monotonic() - begun < 2
    studio.held[scene.url()].set()


def test_a_second_web_process_finds_the_replicas_as_they_are(
    ray_engine: RayEngine, ray_settings: Settings
) -> None:
    before = replicas(ray_engine)
    other = Connection(ray_settings.model_copy(update={"port": 9999, "database_url": "sqlite:///other.db"}))
    other.start()
    other.handle(PATIENCE)
    assert other.problems() == []
    assert {figures.replica: figures.pid for figures in other.figures()} == before
    other.stop()


def test_web_processes_that_start_together_deploy_once(ray_engine: RayEngine, ray_settings: Settings) -> None:
    changed = ray_settings.model_copy(update={"image_cache_mb": 64})
    before = set(replicas(ray_engine))
    connections = [Connection(changed) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Connection.start, connections))
        list(pool.map(lambda one: one.handle(PATIENCE), connections))
    wait_until(lambda: len(replicas(ray_engine)) == 2, "the new replicas")
    after = set(replicas(ray_engine))
    assert not before & after, "other settings, other replicas"
    for connection in connections:
        assert {figures.replica for figures in connection.figures()} == after
        connection.stop()


def test_a_node_that_dies_takes_no_click_with_it(
    ray_engine: RayEngine, studio: Studio, ray_cluster: LocalCluster
) -> None:
    scene = Scene(studio, images=40)
    killed = threading.Event()

    def click(number: int) -> dict[str, Any]:
        if number == 10:
            ray_cluster.kill_node()
            killed.set()
        return segment(ray_engine, scene, number)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(click, range(len(scene.tasks))))
    assert killed.is_set()
    assert all(answer["result"] for answer in answers)
    assert ray_engine.problems() == []
    ray_cluster.add_node()
    wait_until(lambda: len(replicas(ray_engine)) == 2, "a replica on the new node")


def test_replicas_that_somebody_has_ended_are_started_anew(
    ray_engine: RayEngine, studio: Studio, ray_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_connection, "LOOK_SECONDS", 1.0)
    before = set(replicas(ray_engine))
    end = f"import ray; from ray import serve; ray.init({ray_cluster.address!r}); serve.shutdown()"
    subprocess.run([sys.executable, "-c", end], check=True, timeout=120, capture_output=True)
    wait_until(lambda: len(set(replicas(ray_engine)) - before) == 2, "other replicas")
    assert ray_engine.problems() == []
    assert segment(ray_engine, Scene(studio))["result"]


def test_a_web_process_that_is_to_end_answers_what_it_has_begun(
    studio: Studio, ray_cluster: LocalCluster, tmp_path: Path
) -> None:
    scene, release = Scene(studio), threading.Event()
    environment = {
        "CLICKPICK_ENGINE": "ray",
        "CLICKPICK_RAY_ADDRESS": ray_cluster.address,
    }
    server = ClickPickServer(
        tmp_path, studio_url=studio.url, token=studio.pat, port=8147, settings=environment
    )
    del server.environment[
        "RAY_DISABLE_FAILURE_SIGNAL_HANDLER"
    ]  # of this process; `clickpick serve` sets its own
    with server, ThreadPoolExecutor(2) as pool:
        wait_until(lambda: requests.get(f"{server.url}/ready", timeout=20).ok, "replicas")
        studio.held[scene.url()] = release
        config = studio.projects[scene.project]["label_config"]
        body = body_of(studio, scene.project, scene.tasks, config, click(*PLACE))
        answer = pool.submit(requests.post, f"{server.url}/predict", json=body, timeout=60)
        wait_until(lambda: scene.url() in studio.asked, "the click to arrive")
        stopped = pool.submit(server.stop)
        time.sleep(LAST_SECONDS)
        release.set()
        assert answer.result(60).json()["results"][0]["result"]
        stopped.result(60)
