"""What the watcher of rounds on a cluster makes of what it sees, with a queue and tasks that are told what to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from backend.engines import ray_rounds
from backend.engines.ray_rounds import CLAIM_SECONDS, RENEW_SECONDS, RayRounds
from backend.engines.ray_task import RoundTask
from backend.round_queue import DEEP, INSTANT
from backend.settings import Settings

pytestmark = pytest.mark.unit


class Queue:
    """Has a round to claim; ``busy``: who runs one."""

    def __init__(self) -> None:
        self.claimable = True
        self.busy: set[str] = set()

    def is_claimable(self, _kind: str) -> bool:
        return self.claimable

    def is_run_by(self, worker: str) -> bool:
        return worker in self.busy

    def recover(self, _gone: set[str]) -> int:
        return 0


class Task:
    """Always under way; ``abandoned``: how often it was given up."""

    def __init__(self) -> None:
        self.worker = "a"
        self.abandoned = 0

    def follow(self) -> set[str]:
        return set()

    def may_start(self) -> bool:
        return False

    def abandon(self) -> None:
        self.abandoned += 1
        self.worker = ""


class Watched:
    """A watcher whose looks are made one by one, at times that are given."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.queue, self.task = Queue(), Task()
        monkeypatch.setattr(ray_rounds.time, "monotonic", lambda: self.now)
        store = cast(Any, type("Store", (), {"rounds": self.queue}))
        self.rounds = RayRounds(settings, store)
        self.rounds._tasks = {INSTANT: cast(RoundTask, self.task)}
        self.rounds._renewed = float("inf")

    def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.rounds._look()


@pytest.fixture
def watched(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(settings, monkeypatch)


def test_a_process_without_a_round_that_could_have_one_is_given_up(watched: Watched) -> None:
    for _ in range(int(CLAIM_SECONDS)):
        watched.look()
    assert not watched.task.abandoned
    for _ in range(2):
        watched.look()
    assert watched.task.abandoned == 1


def test_a_look_between_two_rounds_is_no_silence(watched: Watched) -> None:
    """Rounds of several projects wait all the time; now and then a look falls between the end of one and the next."""
    for turn in range(60):
        watched.queue.busy = set() if turn % 4 == 3 else {"a"}
        watched.look(2.0)
    assert not watched.task.abandoned


def test_a_process_that_has_just_begun_is_given_its_time(watched: Watched) -> None:
    """A round waited while the process was made, which took longer than a claim."""
    watched.task.worker = ""
    for _ in range(int(3 * CLAIM_SECONDS)):
        watched.look()
    watched.task.worker = "b"
    watched.look()
    watched.look()
    assert not watched.task.abandoned
    watched.look(2 * CLAIM_SECONDS)
    assert watched.task.abandoned == 1


def test_what_was_silent_does_not_count_once_there_is_nothing_to_claim(watched: Watched) -> None:
    watched.look()
    watched.look(CLAIM_SECONDS - 1)
    watched.queue.claimable = False
    watched.look()
    watched.queue.claimable = True
    watched.look()
    watched.look(CLAIM_SECONDS - 1)
    assert not watched.task.abandoned


def test_the_deep_learner_gets_the_gpu_of_a_node_that_has_joined_later(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(make_settings(device="auto", deep_learner="auto"), monkeypatch)
    cluster = {"CPU": 8.0}
    monkeypatch.setattr(ray_rounds, "resources", lambda: cluster)
    watched.rounds._tasks = ray_rounds._round_tasks(watched.rounds._settings)
    watched.rounds._renewed = watched.now
    watched.queue.claimable = False
    cluster["GPU"] = 2.0
    watched.look()
    settings, gpus = watched.rounds._tasks[DEEP].gets
    assert (settings.deep_learner, gpus) == ("", 0.0), "looked at once in a while"
    watched.look(RENEW_SECONDS)
    settings, gpus = watched.rounds._tasks[DEEP].gets
    assert settings.deep_learner.startswith("finetune-")
    assert gpus == 1.0
    assert watched.rounds._tasks[INSTANT].gets[0].deep_learner == settings.deep_learner, "which asks for it"
    same = watched.rounds._tasks[DEEP]
    watched.look(2 * RENEW_SECONDS)
    assert watched.rounds._tasks[DEEP] is same
