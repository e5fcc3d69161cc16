"""Label Studio's client against the in-process fake."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from backend.errors import StudioRefused, StudioUnavailable
from backend.studio import Studio, origin_of
from backend.studio import tasks as studio_tasks
from tests.fakes.http_server import Answer, serve
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.studio_tokens import LEGACY_TOKEN, make_token

pytestmark = pytest.mark.unit

CONFIG = """<View><Image name="image" value="$image"/><KeyPointLabels name="px" toName="image" smart="false">
<Label value="?"/><Label value="road"/></KeyPointLabels></View>"""


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as server:
        yield server


@pytest.fixture
def studio(fake: FakeLabelStudio) -> Studio:
    return Studio(fake.url + "/", fake.pat)


def query(task: int, *, label: str = "?", score: float = 0.5, version: str = "v1") -> dict[str, object]:
    value = {"x": 10.0, "y": 20.0, "width": 0.8, "keypointlabels": [label]}
    region = {"id": "q", "from_name": "px", "to_name": "image", "type": "keypointlabels", "value": value}
    return {"task": task, "result": [region], "score": score, "model_version": version}


def test_personal_token_is_exchanged_once_for_many_threads(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    threads = [threading.Thread(target=studio.model_versions, args=(project,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    paths = [call.path for call in fake.calls]
    assert paths.count("/api/token/refresh/") == 1
    assert len(paths) == 9
    assert all(fake.pat not in str(call.headers) for call in fake.calls)


@pytest.mark.parametrize("through_sdk", [False, True])
def test_refused_access_token_is_renewed_once(
    fake: FakeLabelStudio, studio: Studio, through_sdk: bool
) -> None:
    project = fake.add_project(CONFIG)
    studio.model_versions(project)
    fake.tokens.revoke()
    if through_sdk:
        assert studio.project(project).title == "A project"
    else:
        assert studio.model_versions(project) == {}
    assert [call.path for call in fake.calls].count("/api/token/refresh/") == 2


def test_access_token_is_renewed_before_its_end(
    fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("backend.studio.auth.time.monotonic", lambda: now[0])
    studio = Studio(fake.url, fake.pat)
    first = studio.auth_headers()
    now[0] += 269
    assert studio.auth_headers() == first
    now[0] += 2
    assert studio.auth_headers() != first


def test_legacy_token(fake: FakeLabelStudio) -> None:
    studio = Studio(fake.url, LEGACY_TOKEN)
    assert studio.credential.kind == "legacy"
    assert studio.credential.expires is None
    with pytest.raises(
        StudioRefused, match=r"legacy token authentication has been disabled.*personal access token"
    ):
        studio.whoami()
    fake.tokens.legacy_enabled = True
    assert studio.whoami() == "owner@example.com"


def test_kind_and_end_of_tokens() -> None:
    personal = Studio("http://studio", make_token("refresh", seconds=3600)).credential
    assert personal.kind == "personal"
    assert personal.expires is not None
    assert 3590 < (personal.expires - datetime.now(timezone.utc)).total_seconds() < 3610
    access = Studio("http://studio", make_token("access", seconds=300)).credential
    assert access.kind == "access"
    assert access.header().startswith("Bearer ey")


def test_wrong_token_is_not_in_the_message(fake: FakeLabelStudio) -> None:
    token = make_token("refresh", seconds=10)
    with pytest.raises(StudioRefused, match="Token is invalid") as caught:
        Studio(fake.url, token).project(1)
    assert caught.value.studio_status == 401
    assert token not in str(caught.value)


def test_project_and_update(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG, title="Roads")
    fake.add_task(project, {"image": "a"})
    studio.update_project(project, sampling="Uncertainty sampling", show_collab_predictions=False)
    found = studio.project(project)
    assert (found.id, found.title, found.label_config, found.task_number) == (project, "Roads", CONFIG, 1)
    assert (found.sampling, found.show_collab_predictions, found.model_version) == (
        "Uncertainty sampling",
        False,
        "",
    )
    with pytest.raises(StudioRefused, match="Model version doesn't exist") as caught:
        studio.update_project(project, model_version="nope")
    assert caught.value.studio_status == 400


def test_missing_project_is_refused_by_both_ways(studio: Studio) -> None:
    for call in (
        lambda: studio.project(99),
        lambda: list(studio.tasks(99)),
        lambda: studio.model_versions(99),
    ):
        with pytest.raises(StudioRefused, match=r"No Project matches.*may not see it") as caught:
            call()
        assert caught.value.studio_status == 404


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_tasks_are_paged_by_id(fake: FakeLabelStudio, studio: Studio, count: int) -> None:
    project = fake.add_project(CONFIG)
    other = fake.add_project(CONFIG)
    ids = [fake.add_task(project, {"image": f"s3://bucket/{n}.jpg"}) for n in range(count)]
    fake.add_task(other, {"image": "x"})
    found = list(studio.tasks(project, page_size=2))
    assert [task.id for task in found] == ids
    assert [task.data["image"] for task in found] == [f"s3://bucket/{n}.jpg" for n in range(count)]


def test_a_project_of_a_thousand_tasks_is_listed(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    wanted = [fake.add_task(project, {"image": f"/{n}.jpg"}) for n in range(1000)]
    assert [task.id for task in studio.tasks(project)] == wanted


def test_the_next_tasks_are_the_least_certain_that_nobody_has_annotated(
    fake: FakeLabelStudio, studio: Studio
) -> None:
    project = fake.add_project(CONFIG)
    tasks = [fake.add_task(project, {"image": f"/{n}.jpg"}) for n in range(5)]
    assert [task.id for task in studio.next_tasks(project, 2)] == tasks[:2]
    scores = dict(zip(tasks[:4], (0.9, 0.1, 0.3, 0.2), strict=True))
    studio.import_predictions(
        project, [{"task": t, "model_version": "v1", "score": s, "result": []} for t, s in scores.items()]
    )
    studio.update_project(project, model_version="v1")
    fake.annotate(tasks[3], [])
    assert [task.id for task in studio.next_tasks(project, 9)] == [tasks[1], tasks[2], tasks[0], tasks[4]]


def test_an_installation_may_cap_the_size_of_pages(fake: FakeLabelStudio, studio: Studio) -> None:
    fake.page_cap = 2
    project = fake.add_project(CONFIG)
    ids = [fake.add_task(project, {"image": "x"}) for _ in range(5)]
    assert [task.id for task in studio.tasks(project)] == ids


def test_a_deletion_between_pages_skips_no_task(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    ids = [fake.add_task(project, {"image": "x"}) for _ in range(6)]
    listed = studio.tasks(project, page_size=2)
    seen = [next(listed).id, next(listed).id]
    del fake.tasks[ids[0]], fake.tasks[ids[1]]
    assert seen + [task.id for task in listed] == ids


def test_annotated_tasks_have_results_and_no_predictions(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    done, skipped, untouched = (fake.add_task(project, {"image": "x"}) for _ in range(3))
    fake.annotate(done, [{"id": "r"}], user=7)
    fake.annotate(done, [], cancelled=True)
    fake.annotate(skipped, [], cancelled=True)
    studio.import_predictions(project, [query(untouched), query(done)])
    (task,) = studio.annotated_tasks(project)
    assert task["id"] == done
    assert "predictions" not in task
    assert [(a["result"], a["completed_by"], a["was_cancelled"]) for a in task["annotations"]] == [
        ([{"id": "r"}], 7, False),
        ([], 1, True),
    ]


def test_annotated_tasks_can_be_counted_and_the_changed_ones_asked_for(
    fake: FakeLabelStudio, studio: Studio
) -> None:
    project = fake.add_project(CONFIG)
    early, late, skipped = (fake.add_task(project, {"image": "x"}) for _ in range(3))
    for task, moment in ((early, "10:00:00.000001"), (late, "10:00:00.000003")):
        number = fake.annotate(task, [])
        for row in (fake.tasks[task], fake.annotations[number]):
            row["updated_at"] = f"2026-01-02T{moment}Z"
    fake.annotate(skipped, [], cancelled=True)
    assert studio.count_annotated(project) == 2
    since = datetime(2026, 1, 2, 11, 0, 0, 1, timezone(timedelta(hours=1)))
    assert [task["id"] for task in studio.annotated_tasks(project, since=since)] == [late]


def test_tasks_have_the_score_of_the_version_that_is_served(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    first, second = (fake.add_task(project, {"image": "x"}) for _ in range(2))
    assert [task.score for task in studio.tasks(project)] == [None, None]
    studio.import_predictions(project, [query(first, score=0.9), query(second, score=0.2, version="v2")])
    studio.update_project(project, model_version="v2")
    assert [task.score for task in studio.tasks(project)] == [None, 0.2]
    pages = list(studio.task_pages(project, page_size=1))
    assert [len(page) for page in pages] == [1, 1]
    assert [task.data for page in pages for task in page] == [{}, {}], "nobody needs them here"
    late = [task.id for page in studio.task_pages(project, after=pages[0][0].id) for task in page]
    assert late == [pages[1][0].id]


def test_import_counts_what_was_dropped(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    task = fake.add_task(project, {"image": "x"})
    assert studio.import_predictions(project, []) == 0
    assert studio.import_predictions(project, [query(task), query(task, score=1.0)]) == 2
    for bad in (query(task, label="boat"), query(task, score=1.5)):
        with pytest.raises(StudioRefused, match="stored 1 of 2 predictions"):
            studio.import_predictions(project, [query(task), bad])
    with pytest.raises(StudioRefused, match="invalid"):
        studio.import_predictions(project, [query(999)])


def test_scores_and_versions(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    first, second, third = (fake.add_task(project, {"image": "x"}) for _ in range(3))
    studio.import_predictions(project, [query(first, score=0.9), query(second, score=0.1)])
    studio.import_predictions(
        project, [query(first, score=0.0, version="v2"), query(third, score=0.4, version="v2")]
    )
    studio.update_project(project, model_version="v2")
    assert studio.predicted(project, "v2", [first, second, third, 999]) == {first, third}
    assert studio.predicted(project, "v1", [second, third]) == {second}
    assert studio.model_versions(project) == {"v1": 2, "v2": 2}
    assert studio.delete_model_version(project, "v1") == 2
    assert studio.model_versions(project) == {"v2": 2}
    assert studio.delete_model_version(project, "v1") == 0


def test_predictions_of_a_version_go_in_steps(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    tasks = [fake.add_task(project, {"image": "x"}) for _ in range(5)]
    for version in ("v1-a", "v10-a", "v1-a"):
        studio.import_predictions(project, [query(task, version=version) for task in tasks])
    assert studio.delete_some_predictions(project, "v10-a", 2) == 2
    assert studio.model_versions(project) == {"v1-a": 10, "v10-a": 3}
    assert studio.delete_some_predictions(project, "v1-a", 3) == 6, "two a task"
    assert studio.delete_some_predictions(project, "v10-a", 9) == 3
    assert studio.delete_some_predictions(project, "v10-a", 9) == 0


def test_chosen_tasks_come_in_the_order_asked_for(
    fake: FakeLabelStudio, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio_tasks, "CHOSEN_PAGE_SIZE", 2)
    project = fake.add_project(CONFIG)
    tasks = [fake.add_task(project, {"image": f"{n}"}) for n in range(6)]
    wanted = [tasks[4], tasks[0], 999_999, tasks[5], tasks[2], tasks[1]]
    found = studio.chosen_tasks(project, wanted)
    assert [(task.id, task.data) for task in found] == [
        (tasks[n], {"image": f"{n}"}) for n in (4, 0, 5, 2, 1)
    ]
    assert studio.chosen_tasks(project, []) == []


def test_backends_and_webhooks(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CONFIG)
    added = studio.add_backend(project, "http://click:9090", title="ClickPick", description="d")
    assert (added.title, added.is_interactive, added.state, added.description) == (
        "ClickPick",
        True,
        "CO",
        "d",
    )
    changed = studio.update_backend(added.id, project, "http://click:9091", is_interactive=False)
    assert (changed.url, changed.is_interactive) == ("http://click:9091", False)
    assert studio.backends(project) == [changed]
    (hook,) = studio.webhooks(project)
    assert (hook.url, hook.is_active, hook.send_for_all_actions) == ("http://click:9090/webhook", True, True)
    studio.delete_webhook(hook.id)
    studio.delete_backend(added.id)
    assert studio.backends(project) == []
    assert studio.add_webhook(project, "http://x/webhook").send_payload


def test_hotkeys_keep_unknown_fields(studio: Studio) -> None:
    hotkeys = {"regions:region:cycle": {"key": "space", "active": True, "note": [1]}}
    studio.set_hotkeys(hotkeys)
    assert studio.hotkeys() == hotkeys


@pytest.mark.parametrize("through_sdk", [False, True])
def test_broken_and_absent_label_studio(fake: FakeLabelStudio, studio: Studio, through_sdk: bool) -> None:
    def call(target: Studio) -> object:
        return target.project(1) if through_sdk else target.model_versions(1)

    fake.broken = 503
    with pytest.raises(StudioUnavailable, match="answered 503"):
        call(studio)
    with serve(lambda _: None) as gone:
        pass
    with pytest.raises(StudioUnavailable, match="cannot be reached"):
        call(Studio(gone, LEGACY_TOKEN))


@pytest.mark.parametrize("through_sdk", [False, True])
def test_slow_label_studio(through_sdk: bool) -> None:
    leave = threading.Event()
    with serve(lambda _: leave.wait(5)) as url:
        studio = Studio(url, LEGACY_TOKEN, timeout=0.2)
        with pytest.raises(StudioUnavailable, match="did not answer in time"):
            studio.project(1) if through_sdk else studio.task(1)
        leave.set()


@pytest.mark.parametrize("through_sdk", [False, True])
def test_some_other_server(through_sdk: bool) -> None:
    with serve(lambda _: Answer(b"<html>hello</html>")) as url:
        studio = Studio(url, LEGACY_TOKEN)
        with pytest.raises(StudioRefused, match="page of HTML"):
            studio.project(1) if through_sdk else studio.task(1)


def test_redirect_names_the_address_to_set() -> None:
    moved = Answer(status=301, headers={"Location": "https://studio.example.com/api/tasks/1/?secret=1"})
    with (
        serve(lambda _: moved) as url,
        pytest.raises(StudioRefused, match=r"https://studio\.example\.com") as caught,
    ):
        Studio(url, LEGACY_TOKEN).task(1)
    assert "secret" not in str(caught.value)


def test_path_prefix() -> None:
    with FakeLabelStudio(prefix="/annotate") as fake:
        project = fake.add_project(CONFIG)
        studio = Studio(fake.url, fake.pat)
        assert studio.project(project).id == project
        assert studio.model_versions(project) == {}


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a", "http://a:80"),
        ("https://A.example./x?y", "https://a.example:443"),
        ("http://u:p@a:8080/x", "http://a:8080"),
        ("http://[::1]:9/x", "http://::1:9"),
    ],
)
def test_origin(url: str, origin: str) -> None:
    assert origin_of(url) == origin
