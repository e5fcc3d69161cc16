"""Credentials in Label Studio's settings: connect tells them, the doctor misses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from backend.access import WEBHOOK_HEADER, Access
from backend.connect import Change, connect, disconnect
from backend.doctor import Finding, diagnose
from backend.doctor.project import check_project
from backend.errors import StudioRefused
from backend.settings import Settings
from backend.studio import Studio
from label_config import render
from tests.fakes.http_server import Answer, Call, serve
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

URL = "http://click:9090"
ACCESS = Access("label-studio", "a password", "a-webhook-secret-1")
CREDENTIALS = {
    "basic_auth_user": "label-studio",
    "basic_auth_pass": "a-password",
    "webhook_secret": "a-webhook-secret",
}


@pytest.fixture
def project(fake: FakeLabelStudio) -> int:
    return fake.add_project(render("pixel", ["road", "car"]))


@pytest.fixture
def studio(fake: FakeLabelStudio) -> Iterator[Studio]:
    made = Studio(fake.url, fake.pat)
    yield made
    made.close()


def test_connect_tells_label_studio_both_and_a_second_time_nothing(
    fake: FakeLabelStudio, studio: Studio, project: int
) -> None:
    fake.login = ACCESS.basic
    changes = connect(studio, project, URL, access=ACCESS)
    (backend,) = fake.backends.values()
    assert (backend["auth_method"], backend["basic_auth_user"], backend["basic_auth_pass"]) == (
        "BASIC_AUTH",
        "label-studio",
        "a password",
    )
    (hook,) = fake.hooks.values()  # the one without headers, which Label Studio made itself, is gone
    assert hook["headers"] == {WEBHOOK_HEADER: "a-webhook-secret-1"}
    assert connect(studio, project, URL, access=ACCESS) == []
    told = repr(changes) + repr(studio.backends(project)) + repr(studio.webhooks(project))
    assert "a password" not in told
    assert "a-webhook-secret-1" not in told
    disconnect(studio, project, URL)
    assert fake.backends == fake.hooks == {}


def test_credentials_are_changed_and_taken_away_again(
    fake: FakeLabelStudio, studio: Studio, project: int
) -> None:
    connect(studio, project, URL)
    connect(studio, project, URL, access=ACCESS)
    fake.login = ("label-studio", "another one")
    other = Access("label-studio", "another one", "another-webhook-secret")
    assert connect(studio, project, URL, access=other) == [
        Change("basic auth password", "refused", "set"),
        Change("webhook", "", f"{URL}/webhook"),
        Change("webhook", f"{URL}/webhook", ""),
    ]
    fake.login = None
    connect(studio, project, URL)
    (backend,) = fake.backends.values()
    assert (backend["auth_method"], backend["basic_auth_user"]) == ("NONE", "")
    (hook,) = fake.hooks.values()
    assert hook["headers"] == {}


def test_a_backend_that_asks_for_other_credentials_is_told_apart(
    fake: FakeLabelStudio, studio: Studio, project: int
) -> None:
    fake.login = ("someone", "else entirely")
    with pytest.raises(StudioRefused, match="does not take the user and password") as caught:
        connect(studio, project, URL, access=ACCESS)
    assert "a password" not in str(caught.value)


@pytest.fixture
def backend() -> Iterator[tuple[str, list[str]]]:
    """A ClickPick, and the one Authorization header that it takes; an empty list takes all."""
    taken: list[str] = []

    def answer(call: Call) -> object:
        if call.path != "/health" and taken and call.headers.get("authorization") not in taken:
            return Answer(status=401)
        return {"status": "UP"}

    with serve(answer) as url:
        yield url, taken


BASIC = "Basic bGFiZWwtc3R1ZGlvOmEtcGFzc3dvcmQ="


@pytest.mark.parametrize(
    ("header", "changes", "code", "severity"),
    [
        ("", {}, None, ""),
        (BASIC, CREDENTIALS, "access-ok", "ok"),
        ("", CREDENTIALS, "access-off", "error"),
        ("Basic eA==", CREDENTIALS, "access-differs", "error"),
        (BASIC, {}, "access-differs", "error"),
        ("", {"host": "0.0.0.0"}, "access-open", "warning"),
        (BASIC, {**CREDENTIALS, "host": "0.0.0.0"}, "access-ok", "ok"),
    ],
)
def test_the_doctor_compares_the_server_with_the_settings(
    make_settings: Callable[..., Settings],
    backend: tuple[str, list[str]],
    header: str,
    changes: dict[str, str],
    code: str | None,
    severity: str,
) -> None:
    url, taken = backend
    taken += [header] if header else []
    found = diagnose(make_settings(label_studio_api_key="", **changes), None, url)
    about = [(f.code, f.severity) for f in found if f.code.startswith("access")]
    assert about == ([(code, severity)] if code else [])


def findings(settings: Settings, studio: Studio, project: int) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_project(settings, studio, project, URL)}


def test_the_doctor_misses_what_label_studio_does_not_give(
    fake: FakeLabelStudio, studio: Studio, project: int, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(**CREDENTIALS)
    access = Access.of(settings)
    assert access is not None
    connect(studio, project, URL)
    assert {"backend-login", "webhook-secret"} <= set(findings(settings, studio, project))
    connect(studio, project, URL, access=access)
    assert not {"backend-login", "webhook-secret"} & set(findings(settings, studio, project))
    fake.login = ("label-studio", "changed")
    refused = findings(settings, studio, project)
    assert "does not take the user and password" in refused["backend-login"].message
    assert "backend-unreachable" not in refused
