"""Everything dies at random moments, and nothing is lost, doubled or left behind.

A few deaths in ``make test``; CLICKPICK_SOAK=1 (``make soak``) has 200 of them, and Label Studio away for five minutes.
A full disk: tests/backend/engines/test_disk_full.py. A damaged version: tests/backend/learning/test_rounds.py.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from backend.connect import connect
from backend.demo.clickpick import ClickPickServer
from backend.demo.label_studio import LabelStudioServer
from backend.learning.versions import Versions
from backend.store import Store
from backend.studio import Studio
from label_config.templates import render
from tests.e2e.conftest import ENGINE, SCREENSHOTS, Project, choice_of, nodes_of_engine, store_url
from tests.e2e.scenes import LAND, Scene, jpeg, land_scene
from tests.e2e.studio_api import Api
from tests.fakes.postgres import PostgresServer
from tests.fakes.ray_cluster import LocalCluster
from tests.people import People
from tests.waiting import wait_until

SOAK = os.environ.get("CLICKPICK_SOAK") == "1"
KILLS = 200 if SOAK else 6
TASKS = 40 if SOAK else 8
RESTARTS = 20 if SOAK else 2
NODES = 12 if SOAK else 2
AWAY_SECONDS = 300.0 if SOAK else 5.0
SEED = 20240501
PIXELS = 4
PATIENCE = 300.0
TRAINING = re.compile(r"^backend\.engines\.worker$|^ray::run_rounds")

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(4 * 3600 if SOAK else 900)]
Labels = dict[tuple[int, int, int], str]
"""(task, row, column) -> class."""


class Victim:
    """A ClickPick server of its own, whose processes may be killed, and what was answered in its project."""

    def __init__(self, server: ClickPickServer, data: Path, api: Api, nodes: LocalCluster | None) -> None:
        self.server = server
        self.data = data
        self.database_url = store_url(server)
        self.nodes = nodes
        self.project = Project(0, ())
        self.expected: Labels = {}
        self._api = api
        self._random = random.Random(SEED)
        self._scenes = [land_scene(seed) for seed in range(TASKS)]

    def fill(self, studio: Studio) -> None:
        """Make the project and connect it."""
        number = self._api.create_project("faults", render("pixel", LAND))
        files = {f"{place}.jpg": jpeg(scene.image) for place, scene in enumerate(self._scenes)}
        self.project = Project(number, tuple(self._api.upload(number, files)))
        connect(studio, number, self.server.url)

    def answer(self, turn: int) -> None:
        """Submit the next task, or change an answer where only the last two are left to predict."""
        place = turn % (TASKS - 2)
        task, scene = self.project.tasks[place], self._scenes[place]
        result = [self._region(scene) for _ in range(PIXELS)]
        known = self._api.annotations(task)
        if known:
            self._api.call("PATCH", f"/api/annotations/{known[0]['id']}/", json={"result": result})
            self.expected = {key: label for key, label in self.expected.items() if key[0] != task}
        else:
            self._api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": result})
        for region in result:
            value = region["value"]
            row, col = (
                int(value[axis] / 100 * side) for axis, side in zip("yx", scene.truth.shape, strict=True)
            )
            self.expected[task, row, col] = value["keypointlabels"][0]

    def _region(self, scene: Scene) -> dict[str, Any]:
        height, width = scene.truth.shape
        row, col = self._random.randrange(height), self._random.randrange(width)
        value = {"x": (col + 0.5) / width * 100, "y": (row + 0.5) / height * 100, "width": 0.8}
        return {
            "id": f"r{self._random.random()}", "type": "keypointlabels", "from_name": "query", "to_name": "image",
            "original_width": width, "original_height": height, "image_rotation": 0, "origin": "prediction-changed",
            "value": {**value, "keypointlabels": [LAND[scene.truth[row, col]]]},
        }  # fmt: skip

    def processes(self) -> dict[str, list[psutil.Process]]:
        """This server's processes by kind: "training", the web "worker", and "other", gunicorn's master among them."""
        found: dict[str, list[psutil.Process]] = {"training": [], "worker": [], "other": []}
        mine = [process for process in psutil.process_iter() if self.is_mine(process)]
        for process in [*mine, *(self.nodes.processes() if self.nodes else [])]:
            with suppress(psutil.Error):
                found[_kind(process)].append(process)
        return found

    def is_mine(self, process: psutil.Process) -> bool:
        """Whether a process is of this server, rather than of the cluster."""
        with suppress(psutil.Error):
            return process.environ().get("CLICKPICK_DATA") == str(self.data)
        return False

    def kill(self, what: str) -> None:
        """SIGKILL: to "training", to the web "worker", to "all" at once, or to the "node" where a round runs.

        What does not start again by itself is started.
        """
        processes = self.processes()
        if self.nodes and what == "node":
            self.nodes.kill_node(*(process.pid for process in processes["training"][:1]))
            self.nodes.add_node()
            return
        victims = [*chain.from_iterable(processes.values())] if what == "all" else processes[what]
        for process in victims:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        if what == "all":
            psutil.wait_procs(victims, timeout=PATIENCE)  # the last of them lets go of the port
            port = self.server.port
            self.server.stop()
            self.server.start()
            assert self.server.port == port, "Label Studio's webhook goes to the old one"

    def settle(self, within: float = PATIENCE) -> None:
        """Until nothing is queued or running, twice in a row."""
        deadline, quiet = time.monotonic() + within, 0
        while quiet < 4:
            with closing(Store(self.database_url)) as store:
                quiet = 0 if store.rounds.has_work() or not self._knows_all(store) else quiet + 1
                assert time.monotonic() < deadline, store.rounds.history(self.project.id)[:5]
            time.sleep(0.5)

    def _knows_all(self, store: Store) -> bool:
        return _stored(store, self.project.id) == self.expected

    def audit(self, studio: Studio) -> None:
        """Every label is stored, no prediction is there twice, one version is live and complete, no job is left."""
        number = self.project.id
        with closing(Store(self.database_url)) as store:
            assert _stored(store, number) == self.expected
            live = store.live_version(number)
            assert live is not None
            Versions(store, self.data / "versions").load(live)
            assert [version.name for version in store.versions(number)].count(live.name) == 1
            assert not store.rounds.has_work()
            assert store.parcels(number) == []
        assert studio.project(number).model_version == live.name
        stored = self._api.call("GET", "/api/predictions/", params={"project": number})
        counts = Counter((prediction["task"], prediction["model_version"]) for prediction in stored)
        assert set(counts.values()) == {1}
        waiting = {task.id for task in studio.tasks(number) if not task.is_labeled}
        assert waiting
        assert waiting <= {task for task, version in counts if version == live.name}
        assert [p.name for p in (self.data / "versions").rglob("*") if p.name.startswith(".")] == []


def _kind(process: psutil.Process) -> str:
    command, parent = process.cmdline(), process.parent()
    if any(TRAINING.search(word) for word in command):
        return "training"
    is_worker = "gunicorn" in command and parent is not None and parent.cmdline() == command
    return "worker" if is_worker else "other"


def _stored(store: Store, project: int) -> Labels:
    return {(label.task, label.row, label.col): label.label for label in store.labels(project)}


@contextmanager
def running(
    studio_server: LabelStudioServer, api: Api, studio: Studio, data: Path, database_url: str = ""
) -> Iterator[Victim]:
    with nodes_of_engine() as nodes:
        server = ClickPickServer(
            data,
            studio_url=studio_server.url,
            token=studio_server.token(),
            port=8141,
            log=SCREENSHOTS / "clickpick-faults.log",
            settings={"CLICKPICK_DATABASE_URL": database_url, **choice_of(nodes)},
        )
        found = Victim(server, data, api, nodes)
        try:
            server.start()
            found.fill(studio)
            yield found
        finally:
            server.stop()
        wait_until(lambda: not any(found.is_mine(each) for each in psutil.process_iter()), "its end", 30)


@pytest.fixture
def victim(
    studio_server: LabelStudioServer,
    api: Api,
    studio: Studio,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Victim]:
    database_url = request.getfixturevalue("postgres_url") if ENGINE == "ray" else ""
    with running(studio_server, api, studio, tmp_path, database_url) as found:
        yield found


def test_processes_killed_at_any_moment_lose_and_double_nothing(victim: Victim, studio: Studio) -> None:
    chance = random.Random(SEED)
    victims = ("training", "worker", "all", *(["node"] if victim.nodes else []))
    for turn in range(KILLS):
        victim.answer(turn)
        wait_until(lambda: victim.processes()["training"], "a training process")
        time.sleep(chance.uniform(0, 8))
        victim.kill(chance.choices(victims, (3, 1, 1, 1)[: len(victims)])[0])
    victim.answer(KILLS)
    victim.settle()
    victim.audit(studio)


@pytest.mark.skipif(ENGINE != "ray", reason="a node is one of a cluster: CLICKPICK_TEST_ENGINE=ray")
def test_nodes_that_die_in_rounds_take_no_click_with_them(victim: Victim, api: Api, studio: Studio) -> None:
    chance = random.Random(SEED)
    config = render("click", ("object", "other"))
    number = api.create_project("clicks meanwhile", config)
    images = {f"{seed}.jpg": jpeg(land_scene(seed).image) for seed in range(4)}
    tasks = [api.call("GET", f"/api/tasks/{task}/") for task in api.upload(number, images)]
    wait_until(lambda: requests.get(f"{victim.server.url}/ready", timeout=20).ok, "replicas")
    with People(victim.server.url, number, config, tasks, land_scene(0).truth.shape) as people:
        for turn in range(NODES):
            before = people.answered
            victim.answer(turn)
            wait_until(lambda: victim.processes()["training"], "a round")
            time.sleep(chance.uniform(0, 4))
            victim.kill("node")
            wait_until(lambda b=before: people.answered > b + 10, "clicks to go on")  # type: ignore[misc]
        victim.settle()
    assert people.failed == []
    victim.audit(studio)


def test_label_studio_away_is_waited_for(
    victim: Victim, studio: Studio, studio_server: LabelStudioServer
) -> None:
    victim.answer(0)
    victim.answer(1)
    victim.settle()
    victim.answer(2)
    port = studio_server.port
    studio_server.stop()
    time.sleep(AWAY_SECONDS)
    studio_server.start()
    assert studio_server.port == port
    victim.settle(PATIENCE + AWAY_SECONDS)
    victim.audit(studio)


def test_postgresql_restarted_while_rounds_run_loses_and_doubles_nothing(
    studio_server: LabelStudioServer,
    api: Api,
    studio: Studio,
    tmp_path: Path,
    postgres: PostgresServer,
    postgres_url: str,
) -> None:
    chance = random.Random(SEED)
    with running(studio_server, api, studio, tmp_path, postgres_url) as victim:
        for turn in range(RESTARTS):
            victim.answer(turn)
            time.sleep(chance.uniform(0, 8))
            postgres.stop(chance.choice((signal.SIGINT, signal.SIGQUIT)))
            time.sleep(chance.uniform(0, 3))
            postgres.start()
        victim.answer(RESTARTS)
        victim.settle()
        victim.audit(studio)
