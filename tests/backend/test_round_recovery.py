"""Rounds of processes that died or fell silent run again elsewhere, each by one process."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from backend import database
from backend.round_queue import MOST_DEATHS, SILENCE_LIMIT, Round
from backend.store import Store
from tests.backend.conftest import round_of

pytestmark = pytest.mark.unit


def test_a_round_of_a_dead_process_is_queued_again(store: Store, database_url: str) -> None:
    store.rounds.request(1, "a")
    code = f"from backend.store import Store; assert Store({database_url!r}).rounds.claim() is not None"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert store.rounds.claim() is None
    assert store.rounds.recover() == 1
    again = store.rounds.claim()
    assert again is not None
    assert again.attempts == 2


def test_a_round_of_a_living_process_is_left_alone(store: Store) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    assert store.rounds.recover() == 0


def test_retry_joins_a_newer_request(store: Store) -> None:
    first = store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "b")
    store.rounds.retry(first, "Label Studio is away", 30.0)
    assert round_of(store, first).state == "failed"
    waiting = round_of(store, second)
    assert waiting.state == "queued"
    assert waiting.due > time.time() + 25
    assert waiting.attempts == 1, "the pause goes on growing"
    assert waiting.deaths == 0


def test_a_process_that_got_the_number_of_a_dead_one_takes_its_rounds_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    monkeypatch.setattr(database, "_MARK", "another")
    assert store.rounds.recover() == 1


def test_a_silent_process_of_another_machine_counts_as_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    assert store.rounds.recover() == 0
    later = time.time() + SILENCE_LIMIT + 1
    monkeypatch.setattr("backend.round_queue.now", lambda _: later)
    assert store.rounds.recover() == 1


def die(store: Store, *, meanwhile: str = "") -> None:
    """Claim a round in a process that dies of it; ``meanwhile`` is the reason of a newer request, if there is one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "_MARK", "dead")
        assert store.rounds.claim() is not None
        if meanwhile:
            store.rounds.request(1, meanwhile)
    assert store.rounds.recover() == 1


def test_a_round_that_kills_its_process_every_time_is_given_up(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    number = store.rounds.request(1, "a")
    for deaths in range(1, MOST_DEATHS):
        die(store)
        assert (round_of(store, number).state, round_of(store, number).deaths) == ("queued", deaths)
    die(store)
    assert store.rounds.claim() is None
    assert round_of(store, number).state == "failed"
    assert f"died {MOST_DEATHS} times" in round_of(store, number).message
    assert "start a round" in round_of(store, number).message
    assert round_of(store, number).message in caplog.text


def test_a_round_that_was_put_off_often_outlives_a_death(store: Store) -> None:
    number = store.rounds.request(1, "a")
    for _ in range(MOST_DEATHS):
        assert store.rounds.claim() is not None
        store.rounds.retry(number, "Label Studio is away", 0.0)
    assert (round_of(store, number).attempts, round_of(store, number).deaths) == (MOST_DEATHS, 0)
    die(store)
    assert (round_of(store, number).state, round_of(store, number).deaths) == ("queued", 1)


def test_deaths_go_over_to_a_newer_request_which_stays_when_the_round_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.round_queue.MOST_DEATHS", 2)
    store.rounds.request(1, "first")
    die(store, meanwhile="second")
    waiting = store.rounds.history(1)[0]
    assert (waiting.reason, waiting.state, waiting.deaths) == ("second", "queued", 1)
    die(store, meanwhile="third")
    assert round_of(store, waiting.id).state == "failed"
    waiting = store.rounds.history(1)[0]
    assert (waiting.reason, waiting.state, waiting.deaths) == ("third", "queued", 0)


def test_a_round_that_two_processes_recover_is_queued_once(store: Store) -> None:
    number = store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    store.rounds.retry(number, "died", 0.0)
    store.rounds.retry(number, "died", 0.0)
    assert round_of(store, number).state == "queued"


@pytest.fixture
def lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> Round:
    """A round that was taken here, counted as lost, and is run by another server now."""
    store.rounds.request(1, "a")
    store.rounds.claim()
    with monkeypatch.context() as patched:
        patched.setattr(database, "_MARK", "another")
        assert store.rounds.recover() == 1
        taken = store.rounds.claim()
    assert taken is not None
    return taken


def test_who_has_lost_a_round_does_not_end_it(store: Store, lost: Round) -> None:
    store.rounds.finish(lost.id, "failed", "late")
    store.rounds.retry(lost.id, "late", 0.0)
    store.rounds.beat(lost.id, "late", 1.0)
    assert round_of(store, lost.id) == lost


def test_a_round_that_another_server_has_recovered_and_taken_is_left_alone(store: Store, lost: Round) -> None:
    store.rounds.retry(lost.id, "died", 0.0, worker=database.worker_name())
    store.rounds.finish(lost.id, "failed", "died", worker=database.worker_name())
    assert round_of(store, lost.id) == lost


def test_processes_of_containers_that_share_a_host_name_are_not_judged_by_their_numbers(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    namespace = tmp_path / "pid"
    namespace.symlink_to("pid:[1]")
    monkeypatch.setattr(database, "PID_NAMESPACE", namespace)
    monkeypatch.setattr(database, "_MARK", "another")
    database._place.cache_clear()
    try:
        assert store.rounds.recover() == 0, "here its number is another process's"
    finally:
        database._place.cache_clear()


def test_a_round_of_a_process_that_is_known_to_be_gone_is_queued_again_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
    number = store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    assert store.rounds.recover({"elsewhere:1:xyz"}) == 0
    assert store.rounds.recover({"elsewhere:1:abc"}) == 1
    assert round_of(store, number).state == "queued"


def test_who_beats_for_a_round_hears_when_it_is_lost(store: Store, lost: Round) -> None:
    assert not store.rounds.beat(lost.id, "fit", 0.5)
    store.rounds.request(2, "a")
    kept = store.rounds.claim()
    assert kept is not None
    assert store.rounds.beat(kept.id, "fit", 0.5)


@pytest.mark.integration
def test_a_machine_whose_clock_is_wrong_takes_no_round_away(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Store(postgres_url)) as store:
        monkeypatch.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
        store.rounds.request(1, "a")
        assert store.rounds.claim() is not None
        wrong = time.time() + 3600
        monkeypatch.setattr(time, "time", lambda: wrong)
        assert store.rounds.recover() == 0
        store.rounds.request(2, "a")
        assert store.rounds.is_claimable()
