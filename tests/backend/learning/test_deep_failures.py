"""The deep learner when things go wrong: nothing is learnt twice, lost, or waited for by the instant rounds."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from backend.errors import Overtaken, SharedUnavailable, StoreUnavailable, StudioUnavailable
from backend.learning.deep import Deep
from backend.learning.deep_candidates import MOST_TRIES, Candidates
from backend.learning.gate import Gate, Guesses, is_deep
from backend.learning.pushing import Pusher
from backend.learning.versions import Versions
from backend.round_queue import ASKED_FOR, DEEP
from backend.store import Store
from tests.backend.learning.deep_project import Project
from tests.backend.learning.fake_learners import Behaviour, FakeLearner

pytestmark = pytest.mark.unit


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
    project.expect_asked_for_at(80)


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


@pytest.mark.parametrize(
    ("where", "method", "problem"),
    [
        (Gate, "measure", StudioUnavailable("away")),
        (Versions, "publish", SharedUnavailable("away")),
        (Versions, "publish", Overtaken("by another process")),
        (Versions, "publish", OSError(errno.ENOSPC, "No space left on device")),
    ],
    ids=["Label Studio", "shared storage", "other process", "room on the disk"],
)
def test_a_candidate_waits_for_what_is_away(
    project: Project,
    deep: Behaviour,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    method: str,
    problem: Exception,
) -> None:
    project.label(80)
    project.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(where, method, failing(problem))
        for _ in range(MOST_TRIES + 1):
            assert project.try_round().state == "queued"
    project.try_round()
    assert is_deep(project.live)


def test_a_candidate_waits_while_the_database_is_away(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.label(80)
    project.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(Store, "publish", failing(StoreUnavailable("away")))
        for _ in range(MOST_TRIES + 1):
            with pytest.raises(StoreUnavailable):
                project.try_round()
            project.store.rounds.retry(project.store.rounds.history(project.id)[0].id, "database back", 0.0)
    project.try_round()
    assert is_deep(project.live)


def test_a_full_disk_does_not_hide_why_a_candidate_waits(
    project: Project, deep: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.label(80)
    project.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(Gate, "measure", failing(StudioUnavailable("away")))
        patched.setattr(Candidates, "begin_anew", failing(OSError(errno.ENOSPC, "full")))
        put_off = project.try_round()
        assert (put_off.state, put_off.message) == ("queued", "away")
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
