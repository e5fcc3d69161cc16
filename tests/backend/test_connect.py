"""Connecting a project, and undoing it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from backend.connect import Change, connect, disconnect
from backend.errors import ConfigProblem, StudioRefused
from backend.hotkey import NOTE
from backend.studio import Studio
from label_config.templates import render
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

URL = "http://click:9090"
PIXEL = render("pixel", ["road", "car"])
CLICK = render("click", ["road", "car"])
BOTH = render("both", ["road", "car"])
CYCLE = "regions:region:cycle"
SKIP = "annotation:annotation:skip"


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as server:
        yield server


@pytest.fixture
def studio(fake: FakeLabelStudio) -> Studio:
    return Studio(fake.url, fake.pat)


def state(fake: FakeLabelStudio) -> dict[str, Any]:
    return copy.deepcopy(
        {
            "projects": fake.projects,
            "backends": fake.backends,
            "hooks": fake.hooks,
            "hotkeys": fake.custom_hotkeys,
        }
    )


@pytest.mark.parametrize("config", [PIXEL, CLICK, BOTH])
def test_connect_once_twice_and_undo(fake: FakeLabelStudio, studio: Studio, config: str) -> None:
    fake.custom_hotkeys = {"annotation:annotation:submit": {"key": "enter", "active": True}}
    project = fake.add_project(config)
    before = state(fake)
    changes = connect(studio, project, URL + "/")
    (backend,) = fake.backends.values()
    assert (backend["url"], backend["title"], backend["is_interactive"]) == (URL, "ClickPick", True)
    (hook,) = fake.hooks.values()
    assert (hook["url"], hook["project"]) == (f"{URL}/webhook", project)
    asks = config != CLICK
    assert fake.projects[project]["sampling"] == ("Uncertainty sampling" if asks else "Sequential sampling")
    assert fake.projects[project]["show_collab_predictions"] is asks
    assert (CYCLE in fake.custom_hotkeys) is asks
    assert "annotation:annotation:submit" in fake.custom_hotkeys
    assert Change("backend", "", URL) in changes
    assert (Change("sampling", "Sequential sampling", "Uncertainty sampling") in changes) is asks
    connected = state(fake)

    assert connect(studio, project, URL) == []
    assert state(fake) == connected

    undone = disconnect(studio, project, URL)
    assert state(fake) == before
    assert {change.what for change in undone} >= {"backend", "webhook"}
    assert disconnect(studio, project, URL) == []


def test_a_new_address_moves_backend_and_webhook(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CLICK)
    connect(studio, project, URL)
    changes = connect(studio, project, "http://other:9090")
    (backend,) = fake.backends.values()
    assert backend["url"] == "http://other:9090"
    assert [hook["url"] for hook in fake.hooks.values()] == ["http://other:9090/webhook"]
    assert Change("backend", URL, "http://other:9090") in changes


def test_duplicates_are_removed_and_the_first_is_made_interactive(
    fake: FakeLabelStudio, studio: Studio
) -> None:
    project = fake.add_project(CLICK)
    for title in ("by hand", "ClickPick"):
        studio.add_backend(project, URL, title=title, is_interactive=False)
    foreign = studio.add_backend(project, "http://sam:9090", title="SAM")
    studio.add_webhook(project, f"{URL}/webhook")
    connect(studio, project, URL)
    assert [(b["url"], b["title"], b["is_interactive"]) for b in fake.backends.values()] == [
        (URL, "ClickPick", True),
        ("http://sam:9090", "SAM", True),
    ]
    assert sorted(hook["url"] for hook in fake.hooks.values()) == [
        f"{URL}/webhook",
        "http://sam:9090/webhook",
    ]
    disconnect(studio, project, URL)
    assert list(fake.backends) == [foreign.id]
    assert [hook["url"] for hook in fake.hooks.values()] == ["http://sam:9090/webhook"]


@pytest.mark.parametrize(
    ("hook", "kept"),
    [
        ({"is_active": False}, False),
        ({"send_payload": False}, False),
        ({"send_for_all_actions": False, "actions": ["ANNOTATION_CREATED"]}, False),
        ({"send_for_all_actions": True}, True),
        (
            {
                "send_for_all_actions": False,
                "actions": [
                    "ANNOTATION_CREATED",
                    "ANNOTATION_UPDATED",
                    "ANNOTATIONS_CREATED",
                    "ANNOTATIONS_DELETED",
                    "PROJECT_UPDATED",
                ],
            },
            True,
        ),
    ],
)
def test_webhook_is_replaced_unless_it_suffices(
    fake: FakeLabelStudio, studio: Studio, hook: dict[str, Any], kept: bool
) -> None:
    project = fake.add_project(CLICK)
    connect(studio, project, URL)
    (number,) = fake.hooks
    fake.hooks[number].update(hook)
    changes = connect(studio, project, URL)
    assert (list(fake.hooks) == [number]) is kept
    assert (changes == []) is kept
    (now,) = fake.hooks.values()
    assert kept or (now["is_active"] and now["send_for_all_actions"])


def test_missing_webhook_is_added(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CLICK)
    connect(studio, project, URL)
    fake.hooks.clear()
    assert connect(studio, project, URL) == [Change("webhook", "", f"{URL}/webhook")]


@pytest.mark.parametrize("guard", ["all", "webhooks"])
def test_address_guard_leaves_nothing_behind(fake: FakeLabelStudio, studio: Studio, guard: str) -> None:
    project = fake.add_project(PIXEL)
    before = state(fake)
    fake.guard = guard
    with pytest.raises(StudioRefused, match="USE_DEFAULT_BANNED_SUBNETS=false") as caught:
        connect(studio, project, URL)
    assert caught.value.studio_status == 403
    assert state(fake) == before


def test_unreachable_backend(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CLICK)
    before = state(fake)
    fake.reachable = lambda _: False
    with pytest.raises(StudioRefused, match="clickpick serve"):
        connect(studio, project, URL)
    assert state(fake) == before


def test_other_refusals_are_not_called_the_guard(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CLICK)
    fake.refuse_backends = "You do not have permission to perform this action."
    with pytest.raises(StudioRefused, match="do not have permission") as caught:
        connect(studio, project, URL)
    assert "BANNED" not in str(caught.value)


@pytest.mark.parametrize(
    "config", ["<View></View>", "<View><Image name='i' value='$image'/></View>", "no xml"]
)
def test_useless_config_is_refused_with_a_repaired_one(
    fake: FakeLabelStudio, studio: Studio, config: str
) -> None:
    project = fake.add_project(config)
    before = state(fake)
    with pytest.raises(ConfigProblem, match="<KeyPointLabels"):
        connect(studio, project, URL)
    assert state(fake) == before


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            render("click", ["road"], segmenter="gp-lite"),
            ['segmenter="gp-lite"', "gp-lite0, gpcis-resnet50, grabcut"],
        ),
        (render("pixel", ["road"], learner="gp-lite0"), ['learner="gp-lite0"', "probe-lite0"]),
        (render("both", ["road"], segmenter="grabcut", learner="no"), ['learner="no"', "probe-lite0"]),
    ],
)
def test_unknown_models_are_refused(
    fake: FakeLabelStudio, studio: Studio, config: str, words: list[str]
) -> None:
    project = fake.add_project(config)
    before = state(fake)
    with pytest.raises(ConfigProblem, match="Labeling Interface") as caught:
        connect(studio, project, URL)
    assert [word for word in words if word not in str(caught.value)] == []
    assert state(fake) == before


def test_known_models_are_accepted_with_or_without_weights(
    fake: FakeLabelStudio, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_zoo.weights.find_spec", lambda _: None)
    config = render("both", ["road"], segmenter="gp-lite0", learner="probe-lite0")
    assert connect(studio, fake.add_project(config), URL)


@pytest.mark.parametrize("url", ["click:9090", "ftp://click", "http://", "", "http://0.0.0.0:9090"])
def test_useless_backend_address(fake: FakeLabelStudio, studio: Studio, url: str) -> None:
    with pytest.raises(ConfigProblem, match="address"):
        connect(studio, fake.add_project(CLICK), url)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({CYCLE: {"key": "tab", "active": True}}, "'tab'"),
        ({CYCLE: {"key": "tab", "active": True, "description": "my own"}}, "'tab'"),
        ({CYCLE: {"key": "tab", "active": True, "description": NOTE + "1, 2"}}, "'tab'"),
        ({CYCLE: {"key": "space", "active": False, "description": NOTE + "1"}}, "switched off"),
        ({CYCLE: {"key": "space", "active": True}}, ""),
        ({CYCLE: {"key": "space", "active": True, "description": "for project 1"}}, ""),
        ({SKIP: {"key": "space"}}, SKIP),
        ({SKIP: {"key": "space"}, CYCLE: {"key": "tab"}}, SKIP),
    ],
)
def test_the_users_own_hotkeys_stay_and_are_told(
    fake: FakeLabelStudio,
    studio: Studio,
    caplog: pytest.LogCaptureFixture,
    own: dict[str, Any],
    told: str,
) -> None:
    fake.custom_hotkeys = copy.deepcopy(own)
    project = fake.add_project(PIXEL)
    for _ in range(2):
        caplog.clear()
        connect(studio, project, URL)
        assert fake.custom_hotkeys == own
        assert len(caplog.messages) == bool(told)
        assert all(told in message and "Cycle Regions = Space" in message for message in caplog.messages)
    assert connect(studio, project, URL) == []
    disconnect(studio, project, URL)
    assert fake.custom_hotkeys == own


def test_an_inactive_hotkey_on_space_is_not_in_the_way(fake: FakeLabelStudio, studio: Studio) -> None:
    fake.custom_hotkeys = {SKIP: {"key": "space", "active": False}}
    assert Change(f"hotkey {CYCLE}", "", "space") in connect(studio, fake.add_project(PIXEL), URL)


def test_click_projects_need_no_hotkey(
    fake: FakeLabelStudio, studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    fake.custom_hotkeys = {SKIP: {"key": "space"}}
    connect(studio, fake.add_project(CLICK), URL)
    assert caplog.messages == []


def test_hotkey_stays_until_the_last_project_is_disconnected(fake: FakeLabelStudio, studio: Studio) -> None:
    others = {SKIP: {"key": "s", "active": True, "description": "mine"}}
    fake.custom_hotkeys = copy.deepcopy(others)
    first, second = fake.add_project(PIXEL), fake.add_project(PIXEL)

    def entry(*projects: int) -> dict[str, Any]:
        """All of it: Label Studio's editor stays blank when an entry has a field that it does not know."""
        return {"key": "space", "active": True, "description": NOTE + ", ".join(map(str, projects))}

    connect(studio, first, URL)
    assert fake.custom_hotkeys == {**others, CYCLE: entry(first)}
    connect(studio, second, URL)
    assert fake.custom_hotkeys == {**others, CYCLE: entry(first, second)}
    assert connect(studio, second, URL) == []
    disconnect(studio, first, URL)
    assert fake.custom_hotkeys == {**others, CYCLE: entry(second)}
    disconnect(studio, second, URL)
    assert fake.custom_hotkeys == others


def test_our_hotkey_with_another_key_since_is_the_users(fake: FakeLabelStudio, studio: Studio) -> None:
    first, second = fake.add_project(PIXEL), fake.add_project(PIXEL)
    connect(studio, first, URL)
    fake.custom_hotkeys[CYCLE]["key"] = "n"
    chosen = copy.deepcopy(fake.custom_hotkeys)
    connect(studio, second, URL)
    disconnect(studio, first, URL)
    disconnect(studio, second, URL)
    assert fake.custom_hotkeys == chosen


def test_undo_keeps_what_somebody_chose_since(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(PIXEL, sampling="Sequential sampling", show_collab_predictions=False)
    connect(studio, project, URL)
    fake.projects[project]["sampling"] = "Uniform sampling"
    disconnect(studio, project, URL)
    assert fake.projects[project]["sampling"] == "Uniform sampling"
    assert fake.projects[project]["show_collab_predictions"] is False


def test_settings_before_survive_a_changed_config(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(CLICK, sampling="Uniform sampling", show_collab_predictions=True)
    connect(studio, project, URL)
    fake.projects[project]["label_config"] = PIXEL
    connect(studio, project, URL)
    disconnect(studio, project, URL)
    assert fake.projects[project]["sampling"] == "Uniform sampling"
    assert fake.projects[project]["show_collab_predictions"] is True


def test_a_description_of_the_users_own_is_no_memory(fake: FakeLabelStudio, studio: Studio) -> None:
    project = fake.add_project(PIXEL)
    connect(studio, project, URL)
    (backend,) = fake.backends.values()
    backend["description"] = "mine. Settings before it was connected: {broken"
    disconnect(studio, project, URL)
    assert fake.projects[project]["sampling"] == "Uncertainty sampling"
    assert fake.backends == {}
