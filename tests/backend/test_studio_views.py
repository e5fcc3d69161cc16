"""The Data Manager's view of chosen tasks: one, exact, and no other is touched."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import StudioRefused
from backend.studio import Studio
from backend.studio.views import MOST_TASKS
from label_config import render
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

TITLE = "ClickPick: review"
COLUMNS = {"hiddenColumns": {"explore": ["tasks:inner_id"], "labeling": []}, "gridWidth": 4}


@pytest.fixture
def studio(fake: FakeLabelStudio) -> Studio:
    return Studio(fake.url, fake.pat)


@pytest.fixture
def project(fake: FakeLabelStudio) -> int:
    number = fake.add_project(render("pixel", ("sky", "grass")))
    for _ in range(4):
        fake.add_task(number, {"image": "x"})
    return number


def add_view(fake: FakeLabelStudio, project: int, title: str, **data: Any) -> int:
    row = {"id": fake.new_id(), "project": project, "user": 1, "data": {"title": title, **data}}
    fake.views[row["id"]] = row
    return int(row["id"])


def shown(fake: FakeLabelStudio, project: int, view: int) -> list[int]:
    return [task["id"] for task in fake._list_tasks({"project": str(project), "view": str(view)})["tasks"]]


def test_a_new_view_shows_these_tasks_with_the_columns_of_the_first_tab(
    fake: FakeLabelStudio, studio: Studio, project: int
) -> None:
    tasks = sorted(fake.tasks)
    filters = {"conjunction": "and", "items": []}
    mine = add_view(fake, project, "Mine", filters=filters, ordering=["-tasks:id"], **COLUMNS)
    before = dict(fake.views[mine])
    view = studio.show_tasks(project, TITLE, [tasks[3], tasks[1]])
    assert shown(fake, project, view.id) == [tasks[1], tasks[3]]
    assert set(view.data) == {"title", "filters", *COLUMNS}
    assert fake.views[mine] == before
    assert [v.title for v in studio.views(project)] == ["Mine", TITLE]


def test_repetition_updates_the_view_and_keeps_what_people_did_to_it(
    fake: FakeLabelStudio, studio: Studio, project: int
) -> None:
    tasks = sorted(fake.tasks)
    first = studio.show_tasks(project, TITLE, tasks[:2])
    fake.views[first.id]["data"] |= {"ordering": ["-tasks:updated_at"], "gridWidth": 7}
    again = studio.show_tasks(project, TITLE, tasks[2:])
    assert again.id == first.id
    assert shown(fake, project, again.id) == tasks[2:]
    assert (again.data["ordering"], again.data["gridWidth"]) == (["-tasks:updated_at"], 7)
    add_view(fake, project, TITLE)
    studio.show_tasks(project, TITLE, tasks[:1])
    assert [v.id for v in studio.views(project) if v.title == TITLE] == [first.id]


def test_where_there_is_no_tab_yet_all_tasks_keep_one(
    fake: FakeLabelStudio, studio: Studio, project: int
) -> None:
    studio.show_tasks(project, TITLE, sorted(fake.tasks)[:1])
    default, _ = studio.views(project)
    assert default.title == "Default"
    assert shown(fake, project, default.id) == sorted(fake.tasks)


def test_removing_takes_this_view_of_this_project_alone(
    fake: FakeLabelStudio, studio: Studio, project: int
) -> None:
    other = fake.add_project(render("pixel", ("sky", "grass")))
    kept = {add_view(fake, project, "Mine"), add_view(fake, other, TITLE)}
    add_view(fake, project, TITLE)
    assert studio.remove_view(project, TITLE)
    assert set(fake.views) == kept
    assert not studio.remove_view(project, TITLE)


@pytest.mark.parametrize("count", [0, MOST_TASKS + 1])
def test_none_and_too_many_are_no_view(
    fake: FakeLabelStudio, studio: Studio, project: int, count: int
) -> None:
    with pytest.raises(ValueError, match=f"{count} tasks"):
        studio.show_tasks(project, TITLE, range(1, count + 1))
    assert fake.views == {}


def test_a_refusal_names_the_view(fake: FakeLabelStudio, studio: Studio, project: int) -> None:
    view = studio.show_tasks(project, TITLE, [1])
    studio.views = lambda _: [view]  # type: ignore[method-assign]
    fake.views.clear()
    with pytest.raises(StudioRefused, match=TITLE):
        studio.show_tasks(project, TITLE, [1])
