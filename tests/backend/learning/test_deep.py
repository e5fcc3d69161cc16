"""The deep learner: when it trains, that rounds go on meanwhile, and whether what it learnt is published."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from backend.learning.deep_training import TRAINED
from backend.learning.gate import is_deep
from backend.round_queue import ASKED_FOR, DEEP
from label_config import render
from model_zoo.learners.base import Learner
from tests.backend.conftest import CLASSES
from tests.backend.learning import fake_learners
from tests.backend.learning.deep_project import Project
from tests.backend.learning.fake_learners import Behaviour, FakeLearner
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


def test_it_trains_when_so_many_labels_have_come_since_its_last_version(project: Project) -> None:
    project.label(79)
    project.round()
    assert not project.is_asked_for()
    project.label(1)
    done = project.round()
    assert project.is_asked_for()
    assert "fake-deep trains on 80 labels" in done.message
    assert project.train() is not None
    project.waiting_round()
    assert is_deep(project.live)
    assert not project.is_asked_for()
    project.expect_asked_for_at(80)


def test_one_training_at_a_time(project: Project) -> None:
    project.label(80)
    project.round()
    project.label(80)
    project.round()
    assert len([r for r in project.store.rounds.history(project.id) if r.kind == DEEP]) == 1


def test_start_training_starts_it_too(project: Project) -> None:
    project.label(10)
    project.round(ASKED_FOR)
    assert project.is_asked_for()
    assert project.train() is not None
    project.waiting_round()
    assert is_deep(project.live)


@pytest.mark.parametrize("name", ["", fake_learners.INSTANT])
def test_without_a_deep_learner_of_its_own_nothing_trains(
    start: Callable[..., Project], deep: Behaviour, name: str
) -> None:
    project = start(deep_learner=name)
    project.label(80)
    project.round(ASKED_FOR)
    assert not project.is_asked_for()


def test_nothing_trains_before_two_classes_are_labelled(project: Project) -> None:
    project.round(ASKED_FOR)
    assert not project.is_asked_for()


def test_rounds_go_on_while_it_trains(project: Project, deep: Behaviour) -> None:
    project.label(80)
    project.round()
    deep.free.clear()
    training = threading.Thread(target=project.train)
    training.start()
    try:
        assert deep.fitting.wait(60)
        before = project.live
        project.label(20)
        project.round()
        assert project.live.number == before.number + 1
        assert project.live.learner == fake_learners.INSTANT
        states = {r.kind: r.state for r in reversed(project.store.rounds.history(project.id))}
        assert states[DEEP] == "running"
        assert project.fake.projects[project.id]["model_version"] == project.live.name
    finally:
        deep.free.set()
        training.join()
    done = project.waiting_round()
    assert done.reason == TRAINED
    assert is_deep(project.live)
    assert project.live.labels == 80, "what it was trained on"
    assert project.fake.projects[project.id]["model_version"] == project.live.name


def test_a_deep_version_is_replaced_only_by_a_better_one(
    project: Project, instant: Behaviour, deep: Behaviour
) -> None:
    instant.right, deep.right = 0.7, 0.9
    project.label(80)
    project.round()
    project.train()
    project.waiting_round()
    first = project.live
    assert is_deep(first)
    project.label(20)
    assert "not published" in project.round().message
    assert project.live == first
    instant.right = 1.0
    project.label(20)
    project.round()
    assert project.live.learner == fake_learners.INSTANT


def test_labels_that_both_kinds_know_are_not_fitted_again(
    project: Project, instant: Behaviour, deep: Behaviour
) -> None:
    instant.right = 0.7
    project.label(80)
    project.round()
    project.train()
    project.waiting_round()
    project.label(10)
    project.round()
    fits = len(instant.warm_starts)
    asked = deep.predicted
    again = project.round("rest of the queue")
    assert "not published" in again.message
    assert len(instant.warm_starts) == fits
    assert deep.predicted == asked, "nor is the live version measured again"


def test_a_worse_one_is_kept_aside(
    project: Project, instant: Behaviour, deep: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    instant.right, deep.right = 0.9, 0.7
    project.label(80)
    project.round()
    before = project.live
    project.train()
    assert "not published" in project.waiting_round().message
    assert project.live == before
    aside = project.store.versions(project.id)[0]
    assert is_deep(aside)
    assert aside.name != before.name
    assert f"kept aside as {aside.name}" in caplog.text
    assert (project.settings.versions_folder / aside.folder / "state.json").exists()
    project.label(79)
    project.round()
    assert not project.is_asked_for(), "its labels count from there"


def test_it_is_judged_on_the_labels_of_the_day_it_is_done(
    project: Project, instant: Behaviour, deep: Behaviour
) -> None:
    project.label(80)
    project.round()
    project.train()
    project.label(40)
    project.waiting_round()
    assert is_deep(project.live)
    assert project.live.metrics["held_out_labels"] > 1.2 * 0.3 * 80


def test_the_next_one_starts_warm(project: Project, deep: Behaviour) -> None:
    project.label(80)
    project.round()
    project.train()
    project.waiting_round()
    project.round(ASKED_FOR)
    project.train()
    assert deep.warm_starts[0] is None
    start: Learner | None = deep.warm_starts[1]
    assert isinstance(start, FakeLearner)
    assert (start.name, start.classes) == (fake_learners.DEEP, CLASSES)


def test_other_classes_start_cold_and_what_was_under_way_is_kept_aside(
    project: Project, fake: FakeLabelStudio, deep: Behaviour
) -> None:
    project.label(80)
    project.round()
    project.train()
    fake.projects[project.id]["label_config"] = render("pixel", ("sky", "grass", "water"))
    assert "classes have changed" in project.waiting_round().message
    assert project.live.classes == ("sky", "grass", "water")
    assert is_deep(project.store.versions(project.id)[1])
    assert project.is_asked_for(), "all labels are new to these classes"
    project.train()
    assert deep.warm_starts[-1] is None


def test_below_the_gates_number_of_labels_the_kinds_are_compared_all_the_same(
    start: Callable[..., Project], instant: Behaviour, deep: Behaviour
) -> None:
    project = start(gate_labels=10_000)
    deep.right = 0.6
    project.label(80)
    project.round()
    project.train()
    assert "not published" in project.waiting_round().message


def test_without_held_out_labels_the_newest_is_published(
    start: Callable[..., Project], instant: Behaviour, deep: Behaviour
) -> None:
    project = start(holdout_percent=0)
    deep.right = 0.1
    project.label(80)
    project.round()
    project.train()
    project.waiting_round()
    assert is_deep(project.live)
    project.label(10)
    project.round()
    assert not is_deep(project.live)


def test_a_changed_config_does_not_throw_a_better_deep_version_out(
    project: Project, fake: FakeLabelStudio, instant: Behaviour, deep: Behaviour
) -> None:
    instant.right = 0.7
    project.label(80)
    project.train_after_round()
    project.waiting_round()
    first = project.live
    assert is_deep(first)
    fake.projects[project.id]["label_config"] = render("pixel", CLASSES, output="polygon")
    assert "not published" in project.round().message
    second = project.live
    assert second.name != first.name, "all is pushed anew"
    assert (second.learner, second.labels, is_deep(second)) == (first.learner, first.labels, True)
    fits = len(instant.warm_starts)
    project.round()
    assert (project.live, len(instant.warm_starts)) == (second, fits)
    project.label(20)
    assert "not published" in project.round().message
    assert project.live == second
