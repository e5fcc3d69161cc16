"""The real Label Studio and a ClickPick that asks for credentials; no secret is ever written down."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from backend.demo.clickpick import ClickPickServer
from backend.demo.label_studio import LabelStudioServer
from backend.settings import Settings
from label_config import render
from tests.backend.conftest import CLASSES, answers, jpeg
from tests.e2e.conftest import Backend
from tests.e2e.studio_api import Api
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

PORT = 8132
CREDENTIALS = {
    "CLICKPICK_BASIC_AUTH_USER": "label-studio",
    "CLICKPICK_BASIC_AUTH_PASS": "aPassword-7f3d",
    "CLICKPICK_WEBHOOK_SECRET": "aWebhookSecret-55e1",
}


@pytest.fixture(scope="module")
def guarded(studio_server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """ClickPick with credentials and all details in its log."""
    data = tmp_path_factory.mktemp("guarded")
    settings = {
        **CREDENTIALS,
        "CLICKPICK_LOG_LEVEL": "DEBUG",
        "GUNICORN_CMD_ARGS": "--access-logfile - --log-level debug",
    }
    token = studio_server.token()
    server = ClickPickServer(data, studio_url=studio_server.url, token=token, port=PORT, settings=settings)
    with server:
        yield Backend(server)


def command(environment: Mapping[str, str], *arguments: str) -> str:
    """What a command prints; it has to succeed."""
    run = subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_all_that_label_studio_does_comes_in_and_strangers_do_not(api: Api, guarded: Backend) -> None:
    backend, environment = guarded, guarded.server.environment
    url = backend.server.url
    project = api.create_project("guarded", render("both", CLASSES))
    tasks = api.upload(project, {f"photo-{n}.jpg": jpeg(n) for n in range(3)})
    said = [command(environment, "connect", "--project", str(project), "--url", url)]
    said.append(command(environment, "doctor", "--project", str(project), "--url", url))
    assert "takes those of label-studio" in said[1]
    said.append(command(environment, "connect", "--project", str(project), "--url", url))
    assert "nothing to change" in said[2]
    (model,) = api.call("GET", "/api/ml", params={"project": project})
    assert (model["state"], model["auth_method"]) == ("CO", "BASIC_AUTH")

    value = {"x": 50.0, "y": 20.0, "width": 0.2, "keypointlabels": ["sky"]}
    click = {"id": "c", "type": "keypointlabels", "from_name": "click", "to_name": "image", "is_positive": True,
             "original_width": 64, "original_height": 48, "image_rotation": 0, "value": value}  # fmt: skip
    body = {"task": tasks[0], "context": {"result": [click]}}
    found = api.call("POST", f"/api/ml/{model['id']}/interactive-annotating", json=body)
    assert found["data"]["result"], found

    submitted = {"result": answers(tasks[1])}
    api.call("POST", f"/api/tasks/{tasks[1]}/annotations/", json=submitted)
    reasons = "annotation_created"
    wait_until(lambda: any(r.reason == reasons for r in backend.rounds(project)), "the webhook came in")
    api.call("POST", f"/api/ml/{model['id']}/train", json={})
    wait_until(lambda: any(r.reason == "asked for" for r in backend.rounds(project)), "the button came in")
    backend.wait_for_rest(project)
    versions = api.call("GET", f"/api/ml/{model['id']}/versions")["versions"]
    assert any(f"clickpick-{project}-v1" in str(version) for version in versions)

    event = {"action": "START_TRAINING", "project": {"id": project}}
    before = len(backend.rounds(project))
    for headers in ({}, {"X-ClickPick-Secret": "wrong"}, {"Authorization": "Basic eDp5"}):
        assert requests.post(f"{url}/webhook", json=event, headers=headers, timeout=10).status_code == 401
    assert requests.get(f"{url}/versions", timeout=10).status_code == 401
    assert requests.get(f"{url}/health", timeout=10).status_code == 200
    assert len(backend.rounds(project)) == before
    said.append(command(environment, "connect", "--project", str(project), "--url", url, "--remove"))
    _no_secret_in(api, guarded, said)


def _no_secret_in(api: Api, backend: Backend, said: list[str]) -> None:
    """Neither in the log, written with all details, nor in what the commands said, nor in the settings' repr."""
    environment = backend.server.environment
    user, password, secret = CREDENTIALS.values()
    legacy = api.call("GET", "/api/current-user/token")["token"]  # each /setup carries it
    settings = repr(
        Settings(
            _env_file=None,  # type: ignore[call-arg]
            label_studio_api_key=environment["LABEL_STUDIO_API_KEY"],
            basic_auth_user=user,
            basic_auth_pass=password,
            webhook_secret=secret,
            database_url=f"postgresql://user:{password}@host/db",
        )
    )
    log = backend.server.process.log.read_text(errors="replace")
    assert "/predict" in log, "the log has details"
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    for name, hidden in {
        "password": password,
        "basic auth": login.rstrip("="),
        "webhook secret": secret,
        "personal token": environment["LABEL_STUDIO_API_KEY"],
        "legacy token": legacy,
        "access tokens": "eyJ",
    }.items():
        for place, text in {"log": log, "output": "\n".join(said), "settings": settings}.items():
            assert hidden not in text, f"{name} in the {place}"
