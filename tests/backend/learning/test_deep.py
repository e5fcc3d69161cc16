"""The deep learner: when it trains, that rounds go on meanwhile, and whether what it learnt is published."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backend.engines.worker import Worker
from backend.errors import StudioUnavailable
from backend.learning.deep import Deep
from backend.learning.deep_candidates import MOST_TRIES, Candidates
from backend.learning.deep_training import TRAINED
from backend.learning.gate import Gate, Guesses, is_deep
from backend.learning.pushing import Pusher
from backend.round_queue import ASKED_FOR, DEEP, Round
from backend.settings import Settings
from backend.store import Store, Version
from label_config import render
from model_zoo.learners.base import Learner
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answer
from tests.backend.learning import fake_learners
from tests.backend.learning.fake_learners import Behaviour, FakeLearner
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


class Project:
    """A pixel project, the two workers around it, and what the two learners do."""

    def __init__(self, fake: FakeLabelStudio, project: int, tasks: list[int], settings: Settings) -> None:
        self.fake, self.id, self.tasks, self.settings = fake, project, tasks, settings
        self.store = Store(settings.store_url)
        self._instant = Worker(settings)
        self._trainer = Worker(settings, DEEP)

    def label(self, count: int = 40) -> None:
        """Answer so many pixels of the next task."""
        task = self.tasks.pop(0)
        places = np.random.default_rng(task).permutation(HEIGHT * WIDTH)[:count]
        rows = (places // WIDTH).tolist()
        cols = (places % WIDTH).tolist()
        found = [answer(row, col, CLASSES[row >= HEIGHT // 2]) for row, col in zip(rows, cols, strict=True)]
        self.fake.annotate(task, found)

    def round(self, reason: str = "labels") -> Round:
        self.store.rounds.request(self.id, reason)
        return self.waiting_round()

    def waiting_round(self) -> Round:
        done = self._instant.run_one()
        assert done is not None
        assert done.state == "done", done.message
        return done

    def try_round(self) -> Round:
        """Run the queued round now, or one more, however it ends."""
        self.store.rounds.request(self.id, "labels")
        ended = self._instant.run_one()
        assert ended is not None
        return ended

    def train_after_round(self) -> None:
        self.round()
        assert self.train() is not None

    def train(self) -> Round | None:
        return self._trainer.run_one()

    def is_asked_for(self) -> bool:
        return self.store.rounds.is_waiting(DEEP)

    @property
    def live(self) -> Version:
        found = self.store.live_version(self.id)
        assert found is not None
        return found


@pytest.fixture
def learners(monkeypatch: pytest.MonkeyPatch) -> tuple[Behaviour, Behaviour]:
    return fake_learners.register(monkeypatch)


@pytest.fixture
def instant(learners: tuple[Behaviour, Behaviour]) -> Behaviour:
    return learners[0]


@pytest.fixture
def deep(learners: tuple[Behaviour, Behaviour]) -> Behaviour:
    return learners[1]


@pytest.fixture
def start(
    fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], make_settings: Callable[..., Settings]
) -> Iterator[Callable[..., Project]]:
    opened: list[Project] = []

    def make(**changes: Any) -> Project:
        values = {"learner": fake_learners.INSTANT, "deep_learner": fake_learners.DEEP, "deep_every": 80}
        settings = make_settings(**{**values, "holdout_percent": 30, **changes})
        opened.append(Project(fake, *pixel_project, settings))
        return opened[-1]

    yield make
    for project in opened:
        project.store.close()


@pytest.fixture
def project(start: Callable[..., Project], deep: Behaviour) -> Project:
    return start()


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
    project.label(79)
    project.round()
    assert not project.is_asked_for()
    project.label(1)
    project.round()
    assert project.is_asked_for()


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


def test_a_training_that_fails_is_not_asked_for_at_every_round(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.label(80)
    project.round()
    with monkeypatch.context() as patched:
        patched.setattr(FakeLearner, "save", lambda *_: (_ for _ in ()).throw(RuntimeError("no memory")))
        failed = project.train()
    assert failed is not None
    assert failed.state == "failed"
    project.label(79)
    project.round()
    assert not project.is_asked_for()
    project.label(1)
    project.round()
    assert project.is_asked_for()


def test_a_process_that_dies_after_training_does_not_train_twice(project: Project, deep: Behaviour) -> None:
    project.label(80)
    project.round()
    project.train()
    fits = len(deep.warm_starts)
    project.store.rounds.cancel(project.id)  # as if the request for a round was what it did not come to
    project.store.rounds.request(project.id, "labels", kind=DEEP)
    project.train()
    assert len(deep.warm_starts) == fits
    project.waiting_round()
    assert is_deep(project.live)


def test_a_process_that_dies_after_judging_does_not_judge_twice(
    project: Project, deep: Behaviour, tmp_path: Any
) -> None:
    project.label(80)
    project.round()
    project.train()
    waiting = Candidates(project.settings.candidates_folder).newest(project.id)
    assert waiting is not None
    shutil.copytree(waiting.folder, tmp_path / "copy")
    project.waiting_round()
    count = len(project.store.versions(project.id))
    shutil.copytree(tmp_path / "copy", waiting.folder)
    project.round()
    assert len(project.store.versions(project.id)) == count
    assert Candidates(project.settings.candidates_folder).newest(project.id) is None


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


def failing(problem: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise problem

    return fail


def test_a_candidate_that_cannot_be_judged_is_dropped_and_the_round_goes_on(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project.label(80)
    project.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(Deep, "_decide", failing(RuntimeError("CUDA out of memory")))
        project.label(20)
        project.round()
    assert project.live.labels == 100, "the instant learner knows the new labels"
    assert "CUDA out of memory" in caplog.text
    assert Candidates(project.settings.candidates_folder).newest(project.id) is None


def test_a_candidate_waits_while_label_studio_is_away(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.label(80)
    project.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(Gate, "measure", failing(StudioUnavailable("away")))
        for _ in range(MOST_TRIES + 1):
            done = project.try_round()
            assert done.state == "queued"
    project.try_round()
    assert is_deep(project.live)


def test_a_candidate_that_kills_the_process_is_dropped(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.label(80)
    project.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(Gate, "measure", failing(SystemExit(1)))
        for _ in range(MOST_TRIES):
            with pytest.raises(SystemExit):
                project.try_round()
        assert project.try_round().state == "done"
    assert Candidates(project.settings.candidates_folder).newest(project.id) is None


@pytest.mark.parametrize("problem", [StudioUnavailable("away"), RuntimeError("CUDA out of memory")])
def test_a_training_is_kept_when_its_guesses_fail(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    project.label(80)
    project.round()
    with monkeypatch.context() as patched:
        patched.setattr(Guesses, "at", failing(problem))
        trained = project.train()
    assert trained is not None
    assert trained.state == "done", trained.message
    project.waiting_round()
    assert is_deep(project.live)


def test_a_round_that_is_tried_again_asks_for_one_training(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.label(10)
    with monkeypatch.context() as patched:
        patched.setattr(Pusher, "push", failing(StudioUnavailable("away")))
        project.store.rounds.request(project.id, ASKED_FOR)
        assert project.try_round().state == "queued"
        assert project.train() is not None
    assert project.try_round().state == "done"
    assert not project.is_asked_for()
    project.round(ASKED_FOR)
    assert project.is_asked_for(), "a person may ask again"


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
