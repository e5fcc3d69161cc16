"""Labels are counted for a tenth of the time at most, and few labels are counted each time."""

from __future__ import annotations

import threading

import pytest

from backend import overview
from backend.overview import Overview
from backend.store import Store
from backend.stored_labels import StoredLabel

pytestmark = pytest.mark.unit


class Clock:
    """Stands still, but for queries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, counts: Overview) -> None:
        self.now = 0.0
        self.query_seconds = 2.0
        self.queries = 0
        real = counts._rows

        def slow(query: object) -> object:
            self.queries += 1
            self.now += self.query_seconds
            return real(query)

        monkeypatch.setattr(counts, "_rows", slow)
        monkeypatch.setattr(overview.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> Clock:
    store.replace_labels(1, [StoredLabel(1, 0, 1, 1, "sky"), StoredLabel(2, 0, 1, 1, "tree")])
    return Clock(monkeypatch, store.overview)


def counted(store: Store) -> tuple[dict[int, int], dict[str, int], int]:
    return store.overview.labels(), store.overview.class_labels(1), store.overview.labelled_tasks(1)


def test_a_slow_count_is_remembered_ten_times_as_long_as_it_took(store: Store, clock: Clock) -> None:
    before = counted(store)
    assert before == ({1: 2}, {"sky": 1, "tree": 1}, 2)
    store.replace_labels(1, [StoredLabel(1, 0, 1, 1, "sky")])
    assert counted(store) == before
    assert clock.queries == 3
    clock.now += 21.0
    assert counted(store) == ({1: 1}, {"sky": 1}, 1)
    assert clock.queries == 6


def test_projects_are_remembered_apart(store: Store, clock: Clock) -> None:
    assert store.overview.labelled_tasks(1) == 2
    assert store.overview.labelled_tasks(2) == 0
    assert store.overview.class_labels(2) == {}


def test_a_quick_count_is_made_each_time(store: Store, clock: Clock) -> None:
    clock.query_seconds = 0.01
    counted(store)
    store.replace_labels(1, [])
    assert counted(store) == ({}, {}, 0)


def test_while_one_counts_others_get_what_is_known(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.overview.labels()
    clock.now += 21.0
    begun, go_on = threading.Event(), threading.Event()
    real = store.overview._rows

    def waits(query: object) -> object:
        begun.set()
        assert go_on.wait(30)
        return real(query)

    monkeypatch.setattr(store.overview, "_rows", waits)
    one = threading.Thread(target=store.overview.labels)
    one.start()
    try:
        assert begun.wait(30)
        assert store.overview.labels() == before
    finally:
        go_on.set()
        one.join()
    assert clock.queries == 2
