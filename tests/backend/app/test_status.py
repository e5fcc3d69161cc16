"""The status page over HTTP: what it shows, what its button does, and who may press it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from backend.doctor.finding import Finding
from backend.service import Service
from backend.settings import Settings
from backend.status.routes import Tokens
from label_config import render
from tests.backend.conftest import CLASSES, jpeg
from tests.backend.status.conftest import version
from tests.fakes.label_studio import FakeLabelStudio
from tests.waiting import wait_until

pytestmark = pytest.mark.unit


@pytest.fixture
def project(service: Service, monkeypatch: pytest.MonkeyPatch, pixel_project: tuple[int, list[int]]) -> int:
    """With three versions, the last one live."""
    monkeypatch.setattr("backend.doctor.diagnose", lambda *_: [])
    number, _ = pixel_project
    service.store.remember_project(number, "digest")
    for each in (1, 2, 3):
        service.store.publish(version(each, number))
    return number


def token(client: FlaskClient, project: int) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', client.get(f"/status/{project}").text)
    assert found is not None
    return found[1]


def press(client: FlaskClient, project: int, given: str, number: str = "1", **headers: str) -> TestResponse:
    form = {"version": number, "token": given}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/status/{project}/rollback", data=form, headers=named)


def test_the_page_and_what_protects_it(client: FlaskClient, project: int) -> None:
    answer = client.get(f"/status/{project}")
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert "v3" in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert f'href="{project}"' in client.get("/status/").text
    assert client.get("/status").status_code == 308


def test_pictures_are_served_and_kept_by_the_browser(
    client: FlaskClient, service: Service, project: int
) -> None:
    name = "0123456789abcdef.jpg"
    answer = client.get(f"/status/{project}/thumbnails/{name}")
    assert answer.status_code == 404
    assert "reload" in answer.json["error"]
    service.watch._thumbnails.put((project, name), b"\xff\xd8picture", 9)
    answer = client.get(f"/status/{project}/thumbnails/{name}")
    assert (answer.content_type, answer.data) == ("image/jpeg", b"\xff\xd8picture")
    assert "immutable" in answer.headers["Cache-Control"]


def test_a_press_of_the_button_asks_for_a_round(client: FlaskClient, service: Service, project: int) -> None:
    answer = press(client, project, token(client, project), Sec_Fetch_Site="same-origin")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"../{project}?done=rollback"
    wanted = service.store.wanted_version(project)
    assert wanted is not None
    assert wanted.number == 1
    assert service.store.rounds.history(project)[0].reason == "rollback to version 1"
    page = client.get(f"/status/{project}?done=rollback").text
    assert "A round is on its way" in page
    assert "coming back" in page


def test_a_form_of_one_process_is_good_for_another(
    client: FlaskClient, service: Service, project: int
) -> None:
    other = Tokens(service.settings.model_copy())
    assert other.make(project) == token(client, project)
    assert press(client, project, other.make(project)).status_code == 303


def test_the_key_of_forms_is_secret(make_settings: Callable[..., Settings]) -> None:
    def made(api: str, password: str = "") -> str:
        changes: dict[str, Any] = {"label_studio_api_key": SecretStr(api)}
        if password:
            changes |= {"basic_auth_user": "me", "webhook_secret": SecretStr("h" * 16)}
            changes |= {"basic_auth_pass": SecretStr(password * 2)}
        return Tokens(make_settings(**changes)).make(7)

    assert made("one") == made("one")
    assert made("", "word") == made("", "word")
    assert len({made("one"), made("two"), made("", "word"), made(""), made("")}) == 5, "random without any"


def test_a_picture_that_another_process_named_is_drawn(
    client: FlaskClient, service: Service, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(service.watch, "look", looks.append)
    assert client.get(f"/status/{project}/thumbnails/0123456789abcdef.jpg").status_code == 404
    assert client.get("/status/99/thumbnails/0123456789abcdef.jpg").status_code == 404
    assert looks == [project]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_another_site_cannot_press_it_even_with_the_token(
    client: FlaskClient, service: Service, project: int, site: str
) -> None:
    answer = press(client, project, token(client, project), Sec_Fetch_Site=site)
    assert answer.status_code == 403
    assert service.store.wanted_version(project) is None


def test_the_token_is_needed_and_is_the_projects_own(
    client: FlaskClient, service: Service, project: int
) -> None:
    service.store.remember_project(project + 1, "digest")
    service.store.publish(version(1, project + 1))
    service.store.publish(version(2, project + 1))
    for wrong in ("", "x", "\u00e4", "0" * 64, token(client, project + 1)):
        answer = press(client, project, wrong)
        assert answer.status_code == 403
        assert "reload the status page" in answer.json["error"]
    assert client.post(f"/status/{project}/rollback").status_code == 403
    assert client.get(f"/status/{project}/rollback").status_code == 405
    assert service.store.wanted_version(project) is None


@pytest.mark.parametrize(
    ("number", "said"),
    [("3", "is live already"), ("9", "has no version 9"), ("x", "expected the number"), ("", "expected the number"),
     ("\u0663", "expected the number"), ("9" * 30, "expected the number")],
)  # fmt: skip
def test_versions_that_cannot_come_back(
    client: FlaskClient, service: Service, project: int, number: str, said: str
) -> None:
    answer = press(client, project, token(client, project), number)
    assert answer.status_code == 400
    assert said in answer.json["error"]
    assert service.store.wanted_version(project) is None


def test_a_project_of_clicks_alone_has_a_page_of_its_speed_and_checks(
    client: FlaskClient, service: Service, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = Finding("sampling", "warning", "tasks come in order", "run `clickpick connect`")
    monkeypatch.setattr("backend.doctor.diagnose", lambda *_: [finding])
    config = render("click", CLASSES)
    project = fake.add_project(config)
    fake.upload(project, "a.jpg", jpeg(1))
    other = client.get(f"/status/{project}")
    assert other.status_code == 200, "it may have called another process"
    assert "A click, in all" not in other.text
    body = {"project": f"{project}.1", "schema": config, "hostname": "", "access_token": ""}
    assert client.post("/setup", json=body).status_code == 200
    assert f'href="{project}"' in client.get("/status/").text
    assert service.store.projects() == [], "nobody looks for labels there"
    service.metrics.observe("click", 0.035)
    client.get(f"/status/{project}")
    wait_until(lambda: service.watch.known(project).checked, "the doctor")
    wait_until(lambda: service.watch.known(project).tasks is not None, "Label Studio's side")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", client.get(f"/status/{project}").text))
    for said in ("0 of 1 tasks in Label Studio", "35 ms", "tasks come in order", "A click, in all"):
        assert said in text, said
    assert "mIoU" not in text


def test_unknown_projects(client: FlaskClient) -> None:
    for path in ("/status/99", "/status/x", "/status/-1"):
        assert client.get(path).status_code == 404
    assert "clickpick connect --project 99" in client.get("/status/99").json["error"]


def test_a_look_waits_for_nobody(client: FlaskClient, service: Service, project: int, fake: object) -> None:
    """Label Studio may be away or slow: the page comes from tables and memory."""
    service.settings.__dict__["label_studio_url"] = "http://127.0.0.1:9"
    started = time.perf_counter()
    for _ in range(5):
        assert client.get(f"/status/{project}").status_code == 200
    assert (time.perf_counter() - started) / 5 < 0.5
