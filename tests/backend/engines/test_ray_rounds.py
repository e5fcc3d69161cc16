"""Rounds on a real cluster of several nodes: done once, taken up again when a node dies, given back at the end."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from backend.engines.ray_rounds import RayRounds
from backend.round_queue import DEEP, INSTANT, SILENCE_LIMIT
from backend.settings import Settings
from backend.store import Store
from tests.backend.conftest import answers, jpeg
from tests.backend.engines.soak import SOAK_ONLY
from tests.fakes.http_server import Answer
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.ray_cluster import LocalCluster
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300), SOAK_ONLY]

POOL = 60


@pytest.fixture
def start(
    cluster: LocalCluster, make_settings: Callable[..., Settings]
) -> Iterator[Callable[..., tuple[RayRounds, Store]]]:
    """Rounds of one web process, with a store of its own."""
    opened: list[tuple[RayRounds, Store]] = []

    def make(**changes: object) -> tuple[RayRounds, Store]:
        settings = make_settings(engine="ray", ray_address=cluster.address, **changes)
        settings.data.mkdir(parents=True, exist_ok=True)
        store = Store(settings.store_url)
        opened.append((RayRounds(settings, store), store))
        return opened[-1]

    yield make
    for rounds, store in opened:
        rounds.stop()
        store.close()


def process_of(rounds: RayRounds) -> int:
    return int(rounds.workers[INSTANT].rsplit(":", 2)[1])


def state(store: Store, number: int) -> str:
    found = store.rounds.get(number)
    assert found is not None
    return found.state


def pushed(fake: FakeLabelStudio, version: str) -> Counter[int]:
    """How many predictions of a version each task has."""
    return Counter(p["task"] for p in fake.predictions.values() if p["model_version"] == version)


def test_rounds_are_run_one_after_another_by_one_warm_process(
    start: Callable[..., tuple[RayRounds, Store]],
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
) -> None:
    project, tasks = pixel_project
    rounds, store = start()
    rounds.start()
    rounds.start()
    processes = []
    for task in tasks[:2]:
        fake.annotate(task, answers(task))
        number = store.rounds.request(project, "labels")
        wait_until(lambda n=number: state(store, n) == "done", "a round")  # type: ignore[misc]
        live = store.live_version(project)
        assert live is not None
        waiting = {t for t in tasks if not fake.tasks[t]["is_labeled"]}
        assert {t: pushed(fake, live.name)[t] for t in waiting} == dict.fromkeys(waiting, 1)
        processes.append(process_of(rounds))
    assert processes[0] == processes[1] != os.getpid()
    rounds.stop()
    rounds.start()
    assert not rounds.workers, "once stopped, it stays so"


def test_at_the_end_a_round_under_way_goes_back_into_the_queue_at_once(
    start: Callable[..., tuple[RayRounds, Store]],
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
) -> None:
    project, _ = pixel_project
    fake.pages = Slow(0.2)
    rounds, store = start()
    number = store.rounds.request(project, "labels")
    rounds.start()
    wait_until(lambda: fake.predictions, "the first tasks to be pushed")
    rounds.stop()
    found = store.rounds.get(number)
    assert found is not None
    assert (found.state, found.message) == ("queued", "interrupted")


def test_a_node_killed_in_the_middle_of_a_round_delays_it_by_seconds_and_loses_nothing(
    postgres_url: str,
    start: Callable[..., tuple[RayRounds, Store]],
    cluster: LocalCluster,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    record_property: Callable[[str, object], None],
) -> None:
    project, tasks = pixel_project
    tasks += [fake.upload(project, f"more-{n}.jpg", jpeg(n)) for n in range(POOL - len(tasks))]
    for task in tasks[:2]:
        fake.annotate(task, answers(task))
    fake.pages = Slow(0.05)
    rounds, store = start(database_url=postgres_url, ray_shard_tasks=2)
    rounds.start()
    wait_until(lambda: rounds.workers, "the cluster's process")
    number = store.rounds.request(project, "labels")
    wait_until(lambda: len(fake.predictions) > 2, "a part of the queue to be pushed")
    assert len(fake.predictions) < POOL - 2
    process = process_of(rounds)
    killed = time.monotonic()
    cluster.kill_node(process)
    wait_until(lambda: is_gone(process), "its processes to end")
    wait_until(lambda: state(store, number) == "queued", "it to go back into the queue", SILENCE_LIMIT + 10)
    record_property("seconds_from_death_to_queued", round(time.monotonic() - killed, 1))
    wait_until(lambda: state(store, number) == "done", "it to be done by another node")
    record_property("seconds_from_death_to_done", round(time.monotonic() - killed, 1))
    found = store.rounds.get(number)
    assert found is not None
    assert found.attempts == 2
    live = store.live_version(project)
    assert live is not None
    assert pushed(fake, live.name) == dict.fromkeys(tasks[2:], 1), "each task once, none lost"
    assert fake.projects[project]["model_version"] == live.name
    cluster.add_node()


def test_the_deep_learner_has_a_task_of_its_own(
    start: Callable[..., tuple[RayRounds, Store]],
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
) -> None:
    project, tasks = pixel_project
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    rounds, store = start(deep_learner="probe-lite2", deep_every=30)
    rounds.start()
    store.rounds.request(project, "labels")
    wait_until(
        lambda: (
            {(r.kind, r.state) for r in store.rounds.history(project)} >= {(INSTANT, "done"), (DEEP, "done")}
        ),
        "both learners",
    )
    wait_until(lambda: DEEP not in rounds.workers, "its process to go")


def is_gone(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Slow(dict[str, Answer]):
    """Pages of a fake Label Studio that are looked up slowly where an image is asked for."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def __contains__(self, path: object) -> bool:
        if str(path).startswith("/data/upload"):
            time.sleep(self._seconds)
        return super().__contains__(path)
