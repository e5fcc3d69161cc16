"""A deep learner that is trained on one machine and judged on another, with a storage that both reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backend.errors import SharedUnavailable, StudioUnavailable
from backend.learning.deep_candidates import FACTS, MOST_TRIES, Candidates
from backend.learning.gate import Gate, Guesses, is_deep
from backend.round_queue import DEEP
from backend.shared import SharedStorage
from tests.backend.learning.deep_project import Project
from tests.backend.learning.fake_learners import INSTANT, Behaviour, FakeLearner
from tests.backend.learning.test_deep_failures import failing

pytestmark = pytest.mark.unit


@pytest.fixture
def storage(tmp_path: Path) -> SharedStorage:
    return SharedStorage(str(tmp_path / "shared"))


@pytest.fixture
def apart(start: Callable[..., Project], deep: Behaviour, tmp_path: Path, storage: SharedStorage) -> Project:
    """The deep learner's process has a data folder of its own."""
    database = f"sqlite:///{tmp_path / 'clickpick.db'}"
    return start(trainer={"data": tmp_path / "gpu"}, shared=storage.url, database_url=database)


@pytest.fixture
def machine(storage: SharedStorage, tmp_path: Path) -> Callable[[str], Candidates]:
    """The candidates as the process of a machine of that name has them."""
    return lambda name: Candidates(tmp_path / name, storage)


def write(candidates: Candidates, labels: int) -> None:
    learner = FakeLearner(INSTANT, Behaviour())
    learner.classes = ("sky", "grass")
    candidates.write(7, learner, Guesses(), digest="d" * 64, labels=labels, metrics={})


def test_what_one_machine_has_learnt_is_published_by_the_round_of_another(
    apart: Project, storage: SharedStorage, tmp_path: Path
) -> None:
    apart.label(80)
    apart.train_after_round()
    assert not list((tmp_path / "gpu" / "candidates").rglob(FACTS)), "no copy that nobody would remove"
    apart.waiting_round()
    assert is_deep(apart.live)
    assert storage.names(f"candidates/{apart.id}") == []
    assert not list((apart.settings.candidates_folder / str(apart.id)).iterdir())


def test_another_machine_does_not_train_on_labels_that_are_learnt(apart: Project, deep: Behaviour) -> None:
    apart.label(80)
    apart.train_after_round()
    fits = len(deep.warm_starts)
    apart.store.rounds.cancel(apart.id)
    apart.store.rounds.request(apart.id, "labels", kind=DEEP)
    apart.train()
    assert len(deep.warm_starts) == fits


@pytest.mark.parametrize("problem", [StudioUnavailable("away"), SharedUnavailable("away")])
def test_a_candidate_waits_for_what_is_away(
    apart: Project, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    apart.label(80)
    apart.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(Gate, "measure", failing(problem))
        for _ in range(MOST_TRIES + 1):
            assert apart.try_round().state == "queued"
    apart.try_round()
    assert is_deep(apart.live)


def test_why_a_candidate_waits_is_said_while_the_storage_is_away(
    apart: Project, storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.label(80)
    apart.train_after_round()
    with monkeypatch.context() as patched:
        patched.setattr(Gate, "measure", failing(StudioUnavailable("Label Studio is away")))
        patched.setattr(SharedStorage, "remove", failing(SharedUnavailable("the storage is away")))
        put_off = apart.try_round()
    assert (put_off.state, put_off.message) == ("queued", "Label Studio is away")


def test_the_newest_whole_candidate_counts_and_tries_are_those_of_all_machines(
    machine: Callable[[str], Candidates], storage: SharedStorage
) -> None:
    write(machine("a"), labels=1)
    write(machine("b"), labels=2)
    storage.write("candidates/7/9999999999999999999/weights", b"an upload that goes on")
    found = machine("c").newest(7)
    assert found is not None
    assert found.labels == 2
    assert machine("c").begin(found)
    again = machine("d").newest(7)
    assert again is not None
    assert machine("d").begin(again)
    assert not machine("c").begin(found)
    machine("c").begin_anew(found)
    assert machine("d").begin(again)


def test_a_copy_of_what_another_machine_has_judged_is_no_candidate(
    machine: Callable[[str], Candidates], tmp_path: Path
) -> None:
    write(machine("a"), labels=1)
    assert machine("b").newest(7) is not None
    judged = machine("c").newest(7)
    assert judged is not None
    machine("c").remove(7, judged)
    assert machine("b").newest(7) is None
    assert not list((tmp_path / "b" / "7").iterdir())


def test_what_cannot_be_removed_now_is_found_again(
    machine: Callable[[str], Candidates], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(machine("a"), labels=1)
    found = machine("b").newest(7)
    assert found is not None
    with monkeypatch.context() as patched:
        patched.setattr(SharedStorage, "names", failing(SharedUnavailable("away")))
        machine("b").remove(7, found)
    assert machine("b").newest(7) is not None
