"""An earlier version made live again: by a round, once, and for as long as the labels are the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.learning.rollback import ROLLBACK_OF
from backend.round_queue import ASKED_FOR
from label_config import render
from tests.backend.learning.deep_project import Project
from tests.backend.learning.fake_learners import Behaviour

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("short_turns")]


@pytest.fixture
def two(start: Callable[..., Project], instant: Behaviour) -> Project:
    """A project with versions 1 and 2, without a deep learner."""
    project = start(deep_learner="", holdout_percent=0)
    for right in (0.6, 1.0):
        instant.right = right
        project.label()
        project.round()
    assert project.live.number == 2
    return project


def test_the_earlier_version_is_live_by_a_new_number_and_its_predictions_are_pushed(two: Project) -> None:
    first = two.store.versions(two.id)[-1]
    two.store.want_version(two.id, 1)
    done = two.round("rollback to version 1")
    assert f"rolled back to {first.name}" in done.message
    assert two.live.number == 3
    assert two.live.metrics[ROLLBACK_OF] == first.name
    assert two.live.learner == first.learner
    assert two.store.wanted_version(two.id) is None
    served = two.fake.projects[two.id]["model_version"]
    assert served == two.live.name
    assert set(two.fake._versions(two.id)) == {served}
    folder = two.settings.versions_folder / two.live.folder
    assert (folder / "state.json").read_text() == (folder.parent / "1" / "state.json").read_text()


def test_the_same_labels_leave_it_live_and_other_ones_replace_it(two: Project) -> None:
    two.store.want_version(two.id, 1)
    two.round("rollback to version 1")
    again = two.round()
    assert "unchanged" in again.message
    assert two.live.number == 3
    two.label()
    two.round()
    assert two.live.number == 4
    assert ROLLBACK_OF not in two.live.metrics


def test_labels_that_came_with_it_are_known_to_it_too(two: Project) -> None:
    two.label()
    two.store.want_version(two.id, 1)
    two.round("rollback to version 1")
    assert "unchanged" in two.round().message
    assert two.live.number == 3


def test_a_person_who_asks_for_training_gets_a_new_version_in_the_next_round(two: Project) -> None:
    two.store.want_version(two.id, 1)
    two.round(ASKED_FOR)
    assert two.live.metrics[ROLLBACK_OF].startswith(f"clickpick-{two.id}-v1-")
    two.round(ASKED_FOR)
    assert two.live.number == 4
    assert ROLLBACK_OF not in two.live.metrics


def test_back_from_a_deep_version_no_instant_one_is_fitted_of_the_same_labels(
    start: Callable[..., Project], instant: Behaviour, deep: Behaviour
) -> None:
    project = start(deep_every=40, holdout_percent=0)
    project.label()
    project.train_after_round()
    project.waiting_round()
    assert project.live.learner == "fake-deep"
    project.store.want_version(project.id, 1)
    project.round()
    assert project.live.learner == "fake-instant"
    project.round()
    project.store.want_version(project.id, 2)
    project.round()
    assert project.live.learner == "fake-deep"
    assert project.live.number == 4
    assert "unchanged" in project.round().message
    assert project.live.number == 4


def test_a_process_that_dies_before_it_is_published_is_followed_by_one_that_does_it(
    two: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.store.want_version(two.id, 1)
    store = two._instant._store
    with monkeypatch.context() as patched:
        patched.setattr(store, "publish", lambda *_, **__: 1 / 0)
        assert two.try_round().state == "failed"
    assert two.live.number == 2
    two.round()
    assert two.live.metrics[ROLLBACK_OF].startswith(f"clickpick-{two.id}-v1-")


def test_a_wish_that_comes_while_a_round_publishes_is_kept(two: Project) -> None:
    two.label()
    original = two._instant._store.publish

    def publish(*arguments: object, **options: object) -> None:
        two.store.want_version(two.id, 1)
        original(*arguments, **options)  # type: ignore[arg-type]

    two._instant._store.publish = publish  # type: ignore[method-assign]
    two.round()
    two._instant._store.publish = original  # type: ignore[method-assign]
    assert two.live.number == 3
    two.round()
    assert two.live.metrics[ROLLBACK_OF].startswith(f"clickpick-{two.id}-v1-")


@pytest.mark.parametrize("damage", ["missing", "other classes"])
def test_a_version_that_cannot_be_live_is_given_up_and_the_round_goes_on(two: Project, damage: str) -> None:
    if damage == "missing":
        (two.settings.versions_folder / str(two.id) / "1" / "state.json").unlink()
    else:
        two.fake.projects[two.id]["label_config"] = render("pixel", ("sky", "grass", "road"))
    two.store.want_version(two.id, 1)
    done = two.round()
    assert f"no rollback to clickpick-{two.id}-v1" in done.message
    assert ("road" if damage == "other classes" else "state.json is missing") in done.message
    assert str(two.settings.data) not in done.message
    assert two.store.wanted_version(two.id) is None
    assert two.live.number == (2 if damage == "missing" else 3)
