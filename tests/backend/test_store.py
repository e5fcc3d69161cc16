"""Labels, versions and the outbox survive; the live version is a pointer."""

from __future__ import annotations

import pytest

from backend.errors import Overtaken
from backend.store import Store, Version
from backend.stored_labels import StoredLabel

pytestmark = pytest.mark.unit


def version(number: int, project: int = 1) -> Version:
    return Version(
        project=project,
        number=number,
        name=f"clickpick-{project}-v{number}",
        folder=f"{project}/{number}",
        learner="probe-lite0",
        classes=("sky", "tree"),
        digest="d" * 64,
        labels=30,
        metrics={"held_out_miou": 0.5},
        created=1.0,
    )


def test_a_project_is_new_once_and_changed_when_its_config_changes(store: Store) -> None:
    assert store.remember_project(1, "a")
    assert not store.remember_project(1, "a")
    assert store.remember_project(1, "b")
    assert store.projects() == [1]


def test_labels_become_what_label_studio_says(store: Store) -> None:
    first = [StoredLabel(1, 0, r, 2 * r, "sky") for r in range(400)]
    assert store.replace_labels(1, first) == 400
    assert store.replace_labels(1, first) == 0
    second = [*first[:-10], StoredLabel(1, 0, 0, 0, "tree")][1:]
    assert store.replace_labels(1, second) == 11
    kept = {(x.row, x.col): x.label for x in store.labels(1)}
    assert len(kept) == 390
    assert kept[(0, 0)] == "tree"
    assert (399, 798) not in kept


def test_labels_of_projects_and_tasks_do_not_mix(store: Store) -> None:
    store.replace_labels(1, [StoredLabel(1, 0, 5, 5, "sky"), StoredLabel(2, 0, 5, 5, "tree")])
    store.replace_labels(2, [StoredLabel(1, 0, 5, 5, "car")])
    assert [x.label for x in store.labels(1)] == ["sky", "tree"]
    assert [x.label for x in store.labels(1, task=2)] == ["tree"]
    store.replace_labels(2, [])
    assert len(store.labels(1)) == 2


def test_the_live_version_is_the_last_published_one(store: Store) -> None:
    store.remember_project(1, "a")
    assert store.live_version(1) is None
    assert store.next_version_number(1) == 1
    store.publish(version(1))
    store.publish(version(2))
    assert store.live_version(1) == version(2)
    assert [v.number for v in store.versions(1)] == [2, 1]
    assert store.next_version_number(1) == 3


def test_a_version_that_cannot_be_recorded_does_not_become_live(store: Store) -> None:
    store.remember_project(1, "a")
    store.publish(version(1))
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.publish(version(1), live=False)
    assert store.live_version(1) == version(1)


@pytest.mark.parametrize("number", [1, 2])
def test_who_was_overtaken_takes_nothing_back(store: Store, number: int) -> None:
    store.remember_project(1, "a")
    store.publish(version(2))
    store.want_version(1, 2)
    with pytest.raises(Overtaken):
        store.publish(version(number), fulfils_wish=True)
    assert store.versions(1) == [version(2)]
    assert store.live_version(1) == store.wanted_version(1) == version(2)


def test_the_outbox_keeps_order_and_counts_attempts(store: Store) -> None:
    store.post(1, "v1", [{"task": 1}])
    store.post(1, "v1", [{"task": 2}])
    store.post(2, "v9", [{"task": 3}])
    first, second = store.parcels(1)
    assert [first.predictions, second.predictions] == [[{"task": 1}], [{"task": 2}]]
    store.parcel_tried(first.id)
    assert store.parcels(1)[0].attempts == 1
    store.drop_parcel(first.id)
    assert [p.id for p in store.parcels(1)] == [second.id]


def test_a_second_process_sees_the_same_store(store: Store, database_url: str) -> None:
    store.remember_project(1, "a")
    other = Store(database_url)
    try:
        store.publish(version(1))
        assert other.live_version(1) == version(1)
    finally:
        other.close()


def test_forgetting_a_project_drops_its_labels_and_leaves_others(store: Store) -> None:
    for project in (1, 2):
        store.remember_project(project, "a")
        store.replace_labels(project, [StoredLabel(1, 0, 1, 1, "sky")])
        store.post(project, "v1", [{"task": 1}])
        store.rounds.request(project, "test")
    store.forget_project(1)
    assert store.projects() == [2]
    assert store.labels(1) == []
    assert store.parcels(1) == []
    assert store.rounds.history(1) == []
    assert store.labels(2)
    assert store.parcels(2)
    assert store.rounds.history(2)
