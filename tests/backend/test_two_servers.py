"""Two servers with folders of their own, one PostgreSQL and one shared storage between them.

A few hundred requests in ``make test``; CLICKPICK_SOAK=1 (``make soak``) has 10,000.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from backend.demo.clickpick import ClickPickServer
from backend.learning.versions import version_number
from backend.store import Store
from backend.tables import ROUNDS
from benchmarks.aside import Aside
from label_config import render
from tests.backend.app.bodies import body_of, click, webhook
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answers, jpeg
from tests.fakes.label_studio import FakeLabelStudio

SOAK = os.environ.get("CLICKPICK_SOAK") == "1"
REQUESTS = 10_000 if SOAK else 300
ANNOTATORS = 6
TASKS, ANNOTATED = 24, 12
STALE_SECONDS = 1.0
POLL_SECONDS = 0.02
PATIENCE = 120.0

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600 if SOAK else 300)]


@dataclass(frozen=True)
class Said:
    """One answer: what was asked, of which server, when it came, and the number of the version that it names."""

    what: str
    server: int
    began: float
    ended: float
    status: int
    version: int | None


class Published(Aside):
    """When each version was first seen to be live; watches while it is entered."""

    def __init__(self, store: Store, project: int) -> None:
        super().__init__()
        self.seen: dict[int, float] = {}
        self.most_running = 0
        self._store = store
        self._project = project

    def _run(self, _worker: int) -> None:
        running = select(ROUNDS.c.id).where(ROUNDS.c.project == self._project, ROUNDS.c.state == "running")
        while not self._stop.wait(POLL_SECONDS):
            live = self._store.live_version(self._project)
            if live is not None:
                self.seen.setdefault(live.number, time.time())
            with self._store._database.read() as db:
                self.most_running = max(self.most_running, len(db.execute(running).all()))

    def staleness(self, said: Said, at: float) -> float:
        """Seconds from the publication of a later version than an answer names to a moment; 0 where there is none."""
        if said.version is None:
            return 0.0
        later = [seen for number, seen in self.seen.items() if number > said.version]
        return max(0.0, at - min(later)) if later else 0.0


class Annotators:
    """People who open pages and tasks, click and submit, each request at one of the servers."""

    def __init__(self, fake: FakeLabelStudio, project: int, tasks: list[int], urls: list[str]) -> None:
        self._fake = fake
        self._project = project
        self._tasks = tasks
        self._urls = urls
        self._config = fake.projects[project]["label_config"]
        self._local = threading.local()

    def ask(self, number: int) -> Said:
        """The request of that number: the same one in every run."""
        chance = random.Random(number)
        server = chance.randrange(len(self._urls))
        what = chance.choices(["setup", "open", "click", "submit"], [2, 4, 4, 1])[0]
        return self.ask_for(what, server, chance)

    def ask_for(self, what: str, server: int, chance: random.Random) -> Said:
        path, body = self._request(what, chance)
        began = time.time()
        answer = self._session.post(self._urls[server] + path, json=body, timeout=60)
        return Said(what, server, began, time.time(), answer.status_code, self._version(what, answer))

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        session: requests.Session = self._local.session
        return session

    def _request(self, what: str, chance: random.Random) -> tuple[str, dict[str, Any]]:
        if what == "setup":
            name = f"{self._project}.1795263519"
            return "/setup", {"project": name, "schema": self._config, "hostname": "", "access_token": ""}
        task = chance.choice(self._tasks)
        with self._fake._lock:
            if what == "submit":
                task = chance.choice(self._tasks[:ANNOTATED])
                known = [a for a in self._fake.annotations.values() if a["task"] == task]
                for annotation in known:
                    del self._fake.annotations[annotation["id"]]
                self._fake.annotate(task, answers(chance.randrange(1 << 30), 4))
                return "/webhook", webhook(self._project, self._config, "ANNOTATION_CREATED")
            clicks = []
            if what == "click":
                clicks = [
                    click(chance.uniform(1, HEIGHT - 1), chance.uniform(1, WIDTH - 1)) for _ in range(2)
                ]
            return "/predict", body_of(self._fake, self._project, [task], self._config, *clicks)

    @staticmethod
    def _version(what: str, answer: requests.Response) -> int | None:
        if answer.status_code >= 400 or what in ("click", "submit"):
            return None
        said = answer.json()
        name = said.get("model_version") if what == "setup" else said["results"][0].get("model_version")
        return None if not name else version_number(name)


@pytest.fixture
def urls(fake: FakeLabelStudio, postgres_url: str, tmp_path: Path) -> Iterator[list[str]]:
    settings = {
        "CLICKPICK_DATABASE_URL": postgres_url,
        "CLICKPICK_SHARED": str(tmp_path / "shared"),
        "CLICKPICK_DEBOUNCE_SECONDS": "0.2",
        "CLICKPICK_INITIAL": "random",
        "CLICKPICK_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }
    with ExitStack() as stack:
        servers = []
        for name in "ab":
            folder = tmp_path / name
            folder.mkdir()
            server = ClickPickServer(
                folder, studio_url=fake.url, token=fake.pat, port=8140, settings=settings
            )
            servers.append(stack.enter_context(server))
        yield [server.url for server in servers]


def settle(store: Store, project: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while store.rounds.has_work(project):
        assert time.monotonic() < deadline, store.rounds.history(project)[:5]
        time.sleep(0.2)


def test_mixed_requests_of_two_servers(fake: FakeLabelStudio, postgres_url: str, urls: list[str]) -> None:
    project = fake.add_project(render("both", CLASSES))
    tasks = [fake.upload(project, f"{n}.jpg", jpeg(n)) for n in range(TASKS)]
    people = Annotators(fake, project, tasks, urls)
    with closing(Store(postgres_url)) as store:
        for server in range(2):  # both training processes are there when it begins
            people.ask_for("submit", server, random.Random(server))
        settle(store, project)
        with Published(store, project) as published, ThreadPoolExecutor(ANNOTATORS) as pool:
            began = time.time()
            said = list(pool.map(people.ask, range(REQUESTS)))
            seconds = time.time() - began
            settle(store, project)
            time.sleep(STALE_SECONDS)
        last = [people.ask_for(what, n, random.Random(0)) for what in ("setup", "open") for n in range(2)]
        with store._database.read() as db:
            rounds = db.execute(
                select(ROUNDS).where(ROUNDS.c.project == project).order_by(ROUNDS.c.started)
            ).all()
        versions = store.versions(project)

    assert Counter(one.status for one in said if one.status >= 400) == {}
    assert {one.what for one in said} == {"setup", "open", "click", "submit"}
    assert len({one.server for one in said}) == 2

    ran = [row for row in rounds if row.started is not None]
    assert {row.state for row in ran} == {"done"}, [(row.state, row.message) for row in ran]
    assert published.most_running == 1
    assert all(earlier.finished <= later.started for earlier, later in pairwise(ran)), "no two at once"
    assert len(published.seen) > 1, "versions were published meanwhile"
    pushed = Counter((p["task"], p["model_version"]) for p in fake.predictions.values())
    assert set(pushed.values()) == {1}, "each prediction once"

    began_late = [round(published.staleness(one, one.began), 3) for one in said]
    ended_late = [round(published.staleness(one, one.ended), 3) for one in said]
    late = [
        one
        for one, began, ended in zip(said, began_late, ended_late, strict=True)
        if began > 0 and ended > STALE_SECONDS
    ]
    figures = {
        "requests": len(said),
        "seconds": round(seconds, 1),
        "rounds": len(ran),
        "rounds_by_process": sorted(Counter(row.worker for row in ran).values()),
        "versions": len(versions),
        "asked_after_a_publication_and_told_an_older_version": sum(seconds > 0 for seconds in began_late),
        "most_stale_when_asked_s": max(began_late),
        "told_an_older_version": sum(seconds > 0 for seconds in ended_late),
        "most_stale_when_told_s": max(ended_late),
        "slowest_s": round(max(one.ended - one.began for one in said), 2),
    }
    print(figures)  # noqa: T201 - shown with -s, and where the test fails
    assert late == []
    assert {one.version for one in last} == {versions[0].number} == {max(published.seen)}
