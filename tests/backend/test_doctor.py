"""The doctor: each illness is found under its code, and a healthy installation has none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.connect import connect
from backend.doctor import Finding, diagnose
from backend.doctor.installation import is_loopback
from backend.settings import Settings
from backend.studio import Studio
from label_config.templates import render
from model_zoo.errors import WeightsMissing
from model_zoo.weights import WeightSpec
from tests.fakes.http_server import Answer, serve
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.studio_tokens import LEGACY_TOKEN, make_token

pytestmark = pytest.mark.unit

PIXEL = render("pixel", ["road", "car"])


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as server:
        yield server


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the weights that are not at hand; all of them are, whatever is installed here."""
    missing: set[str] = set()

    def locate(spec: WeightSpec, folder: Path | None = None) -> Path:
        if spec.name in missing:
            raise WeightsMissing(spec.advice)
        return Path(spec.file)

    monkeypatch.setattr("model_zoo.weights.locate", locate)
    return missing


@pytest.fixture
def backend() -> Iterator[str]:
    with serve(lambda _: {"status": "UP"}) as url:
        yield url


def settings(url: str, token: str, **values: Any) -> Settings:
    return Settings(_env_file=None, label_studio_url=url, label_studio_api_key=token, **values)


def healthy(fake: FakeLabelStudio, backend: str) -> int:
    """A connected project with a readable image."""
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5)).save(buffer, "PNG")
    project = fake.add_project(PIXEL)
    fake.upload(project, "a.png", buffer.getvalue())
    connect(Studio(fake.url, fake.pat), project, backend)
    return project


def examine(fake: FakeLabelStudio, project: int | None, backend: str) -> dict[str, Finding]:
    return {finding.code: finding for finding in diagnose(settings(fake.url, fake.pat), project, backend)}


def ill(found: dict[str, Finding]) -> set[str]:
    return {finding.code for finding in found.values() if finding.severity != "ok"}


def test_healthy(fake: FakeLabelStudio, backend: str) -> None:
    found = examine(fake, healthy(fake, backend), backend)
    assert ill(found) == set()
    assert list(found) == ["backend-ok", "models-ok", "studio-ok", "config-ok", "connection-ok", "image-ok"]
    assert "7x5" in found["image-ok"].message


def test_all_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.doctor.installation.inside_container", lambda: False)
    with serve(lambda _: None) as gone:
        pass
    found = {f.code: f for f in diagnose(settings(gone, make_token("refresh", seconds=9e8)), 1, gone)}
    assert ill(found) == {"backend-down", "studio-unreachable"}
    assert all(found[code].advice for code in ill(found))


@pytest.mark.parametrize(
    "answer", [Answer(b"<html></html>"), Answer(b"{}"), Answer(b"[]"), Answer(b'{"status": "DOWN"}', 500)]
)
def test_something_else_at_the_backends_address(fake: FakeLabelStudio, answer: Answer) -> None:
    with serve(lambda _: answer) as other:
        assert ill(examine(fake, None, other)) == {"backend-down"}


@pytest.mark.parametrize(
    ("token", "codes"),
    [
        ("", {"token-missing"}),
        ("no-such-token", {"token-legacy", "token-refused"}),
        (LEGACY_TOKEN, {"token-legacy", "token-refused"}),
        (make_token("access", seconds=300), {"token-short-lived"}),
        (make_token("refresh", seconds=-1), {"token-expired"}),
        (make_token("refresh", seconds=86400), {"token-expires-soon", "token-refused"}),
        (make_token("refresh", seconds=9e8), {"token-refused"}),
    ],
)
def test_tokens(fake: FakeLabelStudio, backend: str, token: str, codes: set[str]) -> None:
    found = {f.code: f for f in diagnose(settings(fake.url, token), healthy(fake, backend), backend)}
    assert ill(found) == codes
    assert all("personal access token" in found[code].advice for code in codes)
    assert token == "" or token not in str(found)


def test_legacy_token_that_works_is_only_a_warning(fake: FakeLabelStudio, backend: str) -> None:
    fake.tokens.legacy_enabled = True
    found = {f.code: f for f in diagnose(settings(fake.url, LEGACY_TOKEN), None, backend)}
    assert ill(found) == {"token-legacy"}
    assert found["token-legacy"].severity == "warning"


@pytest.mark.parametrize(("inside", "codes"), [(True, {"localhost-in-docker"}), (False, set())])
def test_localhost_in_docker(
    monkeypatch: pytest.MonkeyPatch, backend: str, inside: bool, codes: set[str]
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: inside and str(path) == "/.dockerenv")
    with serve(lambda _: None) as gone:
        pass
    found = {f.code: f for f in diagnose(settings(gone, LEGACY_TOKEN), None, backend)}
    assert ill(found) == {"studio-unreachable", "token-legacy"} | codes
    assert not inside or "host.docker.internal" in found["localhost-in-docker"].advice


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://localhost:1", True),
        ("http://127.1.2.3", True),
        ("http://[::1]/", True),
        ("http://studio:8080", False),
    ],
)
def test_is_loopback(url: str, answer: bool) -> None:
    assert is_loopback(url) is answer


def test_missing_project(fake: FakeLabelStudio, backend: str) -> None:
    assert ill(examine(fake, 99, backend)) == {"project-missing"}


def test_project_of_somebody_else(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    fake.pages[f"/api/projects/{project}/"] = Answer(b'{"detail": "no permission"}', 403)
    assert ill(examine(fake, project, backend)) == {"project-refused"}


def test_label_studio_that_breaks_midway(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    fake.pages[f"/api/projects/{project}/"] = Answer(b"{}", 500)
    assert ill(examine(fake, project, backend)) == {"studio-unreachable"}
    del fake.pages[f"/api/projects/{project}/"]
    fake.pages["/api/webhooks/"] = Answer(b"{}", 500)
    assert ill(examine(fake, project, backend)) == {"check-failed"}


def test_config_problems_with_a_repaired_config(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    fake.projects[project]["label_config"] = "<View><Image name='image' value='$image'/></View>"
    found = examine(fake, project, backend)
    assert any(code.startswith("config-") for code in ill(found))
    assert "<KeyPointLabels" in found["config-repaired"].advice
    fake.projects[project]["label_config"] = "no xml"
    assert "config-unreadable" in examine(fake, project, backend)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"segmenter": "gp-lite"},
            "CLICKPICK_SEGMENTER=gp-lite: this segmenter is not known; known are clicknet",
        ),
        ({"segmenter": "probe-lite0"}, "known are clicknet"),
        (
            {"learner": "gp-lite0"},
            "CLICKPICK_LEARNER=gp-lite0: this learner is not known; known are ",
        ),
        (
            {"deep_learner": "gp-lite0"},
            "CLICKPICK_DEEP_LEARNER=gp-lite0: this learner is not known; known are ",
        ),
    ],
)
def test_settings_with_unknown_models(
    fake: FakeLabelStudio, backend: str, values: dict[str, str], words: str
) -> None:
    (found,) = (
        finding
        for finding in diagnose(settings(fake.url, fake.pat, **values), None, backend)
        if finding.severity != "ok"
    )
    assert (found.code, found.severity) == ("model-unknown", "error")
    assert words in found.message
    assert "correct" in found.advice


def test_config_with_unknown_models(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    fake.projects[project]["label_config"] = render("both", ["road", "car"], segmenter="sam", learner="no")
    findings = diagnose(settings(fake.url, fake.pat), project, backend)
    unknown = [finding for finding in findings if finding.severity != "ok"]
    assert [(finding.code, finding.severity) for finding in unknown] == [("model-unknown", "error")] * 2
    assert f"project {project}, segmenter=\"sam\" on image 'image'" in unknown[0].message
    assert 'learner="no"' in unknown[1].message
    assert "config-ok" not in {finding.code for finding in findings}


def test_weights_that_are_not_at_hand(fake: FakeLabelStudio, backend: str, weights: set[str]) -> None:
    project = healthy(fake, backend)
    fake.projects[project]["label_config"] = render("pixel", ["road", "car"], learner="probe-lite0")
    weights.add("efficientnet-lite0")
    findings = diagnose(settings(fake.url, fake.pat, segmenter="grabcut"), project, backend)
    missing = [finding for finding in findings if finding.severity != "ok"]
    assert [(finding.code, finding.severity) for finding in missing] == [("weights-missing", "error")] * 2
    assert missing[0].message.startswith("CLICKPICK_LEARNER=probe-lite0")
    assert missing[1].message.startswith(f'project {project}, learner="probe-lite0"')
    assert all("pip install" in finding.advice for finding in missing)
    assert "models-ok" not in {finding.code for finding in findings}


def test_the_shared_storage_is_written_to(fake: FakeLabelStudio, backend: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for place, code in ((tmp_path / "folder", "shared-ok"), (tmp_path / "file", "shared-unusable")):
        findings = diagnose(settings(fake.url, fake.pat, shared=str(place)), None, backend)
        (found,) = [finding for finding in findings if finding.code.startswith("shared-")]
        assert found.code == code
        assert str(place) in found.message
    assert list((tmp_path / "folder").iterdir()) == [], "nothing is left behind"


def test_not_connected(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    fake.backends.clear()
    found = examine(fake, project, backend)
    assert ill(found) == {"backend-missing"}
    assert f"clickpick connect --project {project}" in found["backend-missing"].advice
    assert "USE_DEFAULT_BANNED_SUBNETS=false" in found["backend-missing"].advice


@pytest.mark.parametrize(
    ("row", "codes"),
    [
        ({"state": "DI", "error_message": "Connection refused"}, {"backend-unreachable"}),
        ({"state": "ER", "error_message": "500 Server Error"}, {"backend-unreachable"}),
        (
            {"state": "DI", "error_message": "URL resolves to a reserved network address (block)"},
            {"address-guard"},
        ),
        ({"is_interactive": False}, {"backend-not-interactive"}),
    ],
)
def test_backend_states(fake: FakeLabelStudio, backend: str, row: dict[str, Any], codes: set[str]) -> None:
    project = healthy(fake, backend)
    next(iter(fake.backends.values())).update(row)
    assert ill(examine(fake, project, backend)) == codes


def test_duplicate_and_older_backends(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    studio = Studio(fake.url, fake.pat)
    copy = studio.add_backend(project, backend, title="ClickPick")
    assert ill(examine(fake, project, backend)) == {"backend-duplicates"}
    studio.delete_backend(copy.id)
    fake.backends[0] = {**next(iter(fake.backends.values())), "id": 0, "title": "SAM", "url": "http://sam"}
    assert ill(examine(fake, project, backend)) == {"backend-shadowed"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (None, "webhook-missing"),
        ({"is_active": False}, "webhook-insufficient"),
        ({"send_payload": False}, "webhook-insufficient"),
    ],
)
def test_webhooks(fake: FakeLabelStudio, backend: str, change: dict[str, Any] | None, code: str) -> None:
    project = healthy(fake, backend)
    if change is None:
        fake.hooks.clear()
    else:
        next(iter(fake.hooks.values())).update(change)
    assert ill(examine(fake, project, backend)) == {code}


def test_two_webhooks(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    Studio(fake.url, fake.pat).add_webhook(project, f"{backend}/webhook")
    assert ill(examine(fake, project, backend)) == {"webhook-duplicates"}


def test_order_of_the_queue(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    fake.projects[project]["sampling"] = "Sequential sampling"
    assert ill(examine(fake, project, backend)) == {"sampling"}


@pytest.mark.parametrize(
    "data",
    [{"image": "/data/upload/1/gone.png"}, {"image": "http://10.0.0.1/a.png"}, {"other": "x"}, {"image": []}],
)
def test_unreadable_image(fake: FakeLabelStudio, backend: str, data: dict[str, Any]) -> None:
    project = healthy(fake, backend)
    fake.add_task(project, data)
    found = examine(fake, project, backend)
    assert ill(found) == {"image-unreadable"}
    assert "image-ok" in found


def test_no_tasks(fake: FakeLabelStudio, backend: str) -> None:
    project = healthy(fake, backend)
    fake.tasks.clear()
    assert ill(examine(fake, project, backend)) == {"no-tasks"}
