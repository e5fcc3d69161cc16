"""However many labels go at once, transactions are short, and statements find tasks by the index."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from backend import stored_labels
from backend.store import Store
from backend.stored_labels import Reading, StoredLabel

pytestmark = pytest.mark.unit

PART = 50
MANY = [StoredLabel(task, 0, n, n, "sky") for task in range(300) for n in range(4)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_labels, "PART", PART)
    monkeypatch.setattr(stored_labels, "TASKS", 7)


@pytest.fixture
def written(store: Store) -> Iterator[list[int]]:
    """Rows that each transaction of the store has written."""
    rows = [0]

    def wrote(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("DELETE", "INSERT")):
            rows[-1] += cursor.rowcount

    def committed(_connection: Any) -> None:
        rows.append(0)

    engine = store._database._readers
    event.listen(engine, "after_cursor_execute", wrote)
    event.listen(engine, "commit", committed)
    yield rows
    event.remove(engine, "after_cursor_execute", wrote)
    event.remove(engine, "commit", committed)


@pytest.fixture
def statements(store: Store) -> Iterator[list[str]]:
    """Statements of the store."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    event.listen(store._database._readers, "before_cursor_execute", note)
    yield found
    event.remove(store._database._readers, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "left", [MANY[:4], MANY[-4:], MANY[600:604], []], ids=["first", "last", "one", "none"]
)
def test_vanished_labels_go_in_short_transactions(
    store: Store, written: list[int], left: list[StoredLabel]
) -> None:
    store.replace_labels(1, MANY)
    del written[:-1]
    assert store.replace_labels(1, left) == len(MANY) - len(left)
    assert store.labels(1) == left
    assert sum(written) >= len(MANY) - len(left)
    assert max(written) <= PART + 8


def test_a_project_is_forgotten_in_short_transactions(store: Store, written: list[int]) -> None:
    store.remember_project(1, "a")
    store.replace_labels(1, MANY)
    del written[:-1]
    store.forget_project(1)
    assert store.labels(1) == []
    assert len(MANY) <= sum(written) <= len(MANY) + 1
    assert max(written) <= PART + 8


def test_sqlite_deletes_by_its_index(tmp_path: Path) -> None:
    deletes: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("DELETE"):
            deletes.append((statement, parameters))

    with closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        store.replace_labels(1, MANY)
        event.listen(store._database._readers, "before_cursor_execute", note)
        store.replace_labels(1, [*MANY[:10], *MANY[11:100]])
        assert deletes
        with store._database.read() as db:
            for statement, parameters in deletes:
                plan = db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                assert "(project=? AND task" in plan[0].detail, plan


def test_labels_become_the_wanted_ones_from_any_others(store: Store) -> None:
    random.seed(0)
    places = [(task, item, n, n) for task in range(40) for item in range(2) for n in range(4)]
    for _ in range(30):
        chosen = sorted(random.sample(places, random.choice([0, 5, 200, 320])))
        wanted = [StoredLabel(*place, label=random.choice(["sky", "tree"])) for place in chosen]
        before = set(store.labels(1))
        changed = store.replace_labels(1, wanted)
        assert store.labels(1) == wanted
        assert changed == len({label.key for label in before ^ set(wanted)})
        assert store.replace_labels(1, wanted) == 0


def test_after_a_reading_only_changed_tasks_are_compared(store: Store, statements: list[str]) -> None:
    store.remember_project(1, "a")
    first = Reading()
    store.replace_labels(1, MANY, first)
    statements.clear()
    left = [label for label in MANY if label.task != 299]
    assert store.replace_labels(1, left, Reading(before=first.mark, changed=frozenset({0, 299}))) == 4
    assert store.labels(1) == left
    read = [statement for statement in statements if "labels.label" in statement]
    assert len(read) == 2, "that of the changed ones, and of the test"


def some_other(store: Store) -> None:
    store.replace_labels(1, MANY[:8])


def some_other_that_changes_nothing(store: Store) -> None:
    store.replace_labels(1, MANY)


def one_that_breaks_off(store: Store) -> None:
    def labels() -> Iterator[StoredLabel]:
        yield from MANY[:200]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        store.replace_labels(1, labels())


def one_that_began_earlier(store: Store) -> None:
    """It goes on after a later one has ended."""

    def labels() -> Iterator[StoredLabel]:
        yield from MANY[:100]
        store.replace_labels(1, MANY)
        yield from MANY[500:600]

    store.replace_labels(1, labels())


def the_project_is_gone(store: Store) -> None:
    store.forget_project(1)
    store.remember_project(1, "a")


@pytest.mark.parametrize(
    "writes",
    [
        some_other,
        some_other_that_changes_nothing,
        one_that_breaks_off,
        one_that_began_earlier,
        the_project_is_gone,
    ],
)
def test_after_somebody_else_wrote_all_are_compared(store: Store, writes: Callable[[Store], None]) -> None:
    store.remember_project(1, "a")
    first = Reading()
    store.replace_labels(1, MANY, first)
    writes(store)
    second = Reading(before=first.mark, changed=frozenset({3}))
    wanted = [label for label in MANY if label.task != 3]
    store.replace_labels(1, wanted, second)
    assert store.labels(1) == wanted


def test_one_who_goes_on_takes_the_mark_of_a_later_one(store: Store) -> None:
    store.remember_project(1, "a")
    later = Reading()

    def labels() -> Iterator[StoredLabel]:
        yield from MANY[:100]
        store.replace_labels(1, MANY, later)

    store.replace_labels(1, labels())
    assert len(store.labels(1)) < len(MANY)
    store.replace_labels(1, MANY, Reading(before=later.mark))
    assert store.labels(1) == MANY
