"""The database file is lost; Label Studio and the data folder hold all that it held."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backend.doctor import Finding, rebuild_store
from backend.settings import Settings
from backend.store import Store, Version
from backend.stored_labels import StoredLabel
from tests.backend.learning.deep_project import Project
from tests.backend.learning.fake_learners import Behaviour
from tests.backend.learning.loop import Loop
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("short_turns")]


@pytest.fixture
def before(start: Callable[..., Project], instant: Behaviour) -> Project:
    """A project with versions 1 and 2, 3 which is 1 again, and its queue pushed."""
    project = start(deep_learner="")
    for right in (1.0, 0.5):
        instant.right = right
        project.label()
        project.round()
    project.store.want_version(project.id, 1)
    project.round()
    assert project.live.number == 3
    return project


def lose_database(project: Project) -> None:
    project.store.close()
    project._instant._store.close()
    project._trainer._store.close()
    for file in Path(project.settings.data).glob("clickpick.db*"):
        file.unlink()


def round_after(project: Project) -> set[int]:
    """Ids of the predictions that a round of a new process adds."""
    known = set(project.fake.predictions)
    with closing(Loop(project.settings)) as loop:
        loop.run(project.id)
    return set(project.fake.predictions) - known


def contents(settings: Settings, project: int) -> tuple[Version | None, list[Version], list[StoredLabel]]:
    with closing(Store(settings.store_url)) as store:
        return store.live_version(project), store.versions(project), store.labels(project)


def codes(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def test_all_that_counts_is_as_it_was_and_nothing_is_pushed_twice(before: Project) -> None:
    was = contents(before.settings, before.id)
    lose_database(before)
    assert codes(rebuild_store(before.settings, None)) == ["rebuild-labels", "rebuild-versions"]
    assert contents(before.settings, before.id) == was
    assert round_after(before) == set()
    assert contents(before.settings, before.id) == was


def test_without_it_the_queue_is_pushed_anew_and_no_folder_is_overwritten(before: Project) -> None:
    """What the test above would miss if it could not fail."""
    first = (before.settings.versions_folder / str(before.id) / "1" / "version.json").read_text()
    lose_database(before)
    assert len(round_after(before)) == len(before.tasks)
    live = contents(before.settings, before.id)[0]
    assert live is not None
    assert live.number == 4
    assert (before.settings.versions_folder / str(before.id) / "1" / "version.json").read_text() == first


def test_a_database_that_was_not_lost_stays_as_it_is(before: Project) -> None:
    was = contents(before.settings, before.id)
    for _ in range(2):
        findings = rebuild_store(before.settings, before.id)
        assert "0 versions added, 3 were known" in findings[-1].message
    assert contents(before.settings, before.id) == was


@pytest.mark.parametrize("damage", ["file", "card", "missing"])
def test_a_damaged_live_version_gives_way_to_the_one_before_it(before: Project, damage: str) -> None:
    lose_database(before)
    folder = before.settings.versions_folder / str(before.id) / "3"
    if damage == "missing":
        shutil.rmtree(folder)
    else:
        (folder / ("state.json" if damage == "file" else "version.json")).write_text("{}")
    findings = rebuild_store(before.settings, before.id)
    assert ("rebuild-damaged" in codes(findings)) == (damage != "missing")
    live, versions, labels = contents(before.settings, before.id)
    assert live is not None
    assert live.number == 2
    assert [version.number for version in versions] == [2, 1]
    assert len(labels) == 80


def test_a_version_that_was_kept_aside_does_not_become_live(
    start: Callable[..., Project], instant: Behaviour, deep: Behaviour
) -> None:
    deep.right = 0.5
    project = start(deep_every=40)
    project.label()
    project.train_after_round()
    project.waiting_round()
    was = contents(project.settings, project.id)
    assert "aside" in was[1][0].metrics
    lose_database(project)
    rebuild_store(project.settings, project.id)
    assert contents(project.settings, project.id) == was


def test_a_project_that_is_gone_is_said_and_the_others_are_rebuilt(
    before: Project, fake: FakeLabelStudio
) -> None:
    lose_database(before)
    shutil.copytree(before.settings.versions_folder / str(before.id), before.settings.versions_folder / "999")
    findings = rebuild_store(before.settings, None)
    assert codes(findings) == ["rebuild-labels", "rebuild-versions", "rebuild-refused"]
    assert findings[-1].severity == "warning"
    assert "999" in findings[-1].message


def test_label_studio_away_changes_nothing(before: Project, fake: FakeLabelStudio) -> None:
    was: Any = contents(before.settings, before.id)
    fake.broken = 503
    assert codes(rebuild_store(before.settings, before.id)) == ["rebuild-failed"]
    assert contents(before.settings, before.id) == was
