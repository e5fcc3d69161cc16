from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from backend.demo.photos import Photo
from backend.demo.projects import DemoProjects
from backend.errors import StudioRefused, StudioUnavailable

pytestmark = pytest.mark.unit


class FakeSession(requests.Session):
    """Label Studio's projects and uploads, as its session sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.projects: list[dict[str, Any]] = []
        self.uploads: list[str] = []
        self.batches: list[int] = []
        self.status = 200
        self.away = False

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        if self.away:
            raise requests.ConnectionError("refused")
        answer = requests.Response()
        answer.status_code = self.status
        answer._content = b"{}"
        said = self._say(method, url.removeprefix("http://studio"), options)
        answer.json = lambda **_: said  # type: ignore[method-assign]
        return answer

    def _say(self, method: str, path: str, options: dict[str, Any]) -> Any:
        if path == "/api/projects" and method == "GET":
            wanted = options["params"]["title"]
            return {"results": [project for project in self.projects if wanted in project["title"]]}
        if path == "/api/projects":
            self.projects.append({**options["json"], "id": len(self.projects) + 1})
            return self.projects[-1]
        if path.endswith("/import"):
            self.batches.append(len(options["files"]))
            self.uploads += [f"upload/1/0a1b2c3d-{name}" for name, _, _ in options["files"].values()]
            return {}
        return [{"file": name} for name in self.uploads]


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def projects(session: FakeSession) -> DemoProjects:
    return DemoProjects("http://studio", session)


def test_a_project_is_created_once(session: FakeSession, projects: DemoProjects) -> None:
    session.projects.append({"id": 9, "title": "Cats and dogs"})
    first = projects.ensure("Cats", "<View/>", "cats")
    assert projects.ensure("Cats", "<View/>", "cats") == first != 9
    assert len(session.projects) == 2


def test_only_new_photographs_are_uploaded(
    session: FakeSession, projects: DemoProjects, tmp_path: Path
) -> None:
    photos = _photos(tmp_path, 45)
    seen: list[tuple[int, int]] = []
    assert projects.upload(1, photos[:5], lambda *step: seen.append(step)) == 5
    assert projects.upload(1, photos, lambda *step: seen.append(step)) == 40
    assert projects.upload(1, photos, lambda *step: seen.append(step)) == 0
    assert session.batches == [5, 20, 20]
    assert seen == [(0, 5), (0, 40), (20, 40)]
    assert len(set(session.uploads)) == 45


def test_failures_are_typed(session: FakeSession, projects: DemoProjects) -> None:
    session.status = 403
    with pytest.raises(StudioRefused, match="answered 403 to GET /api/projects") as refusal:
        projects.ensure("Cats", "<View/>", "")
    assert refusal.value.studio_status == 403
    session.away = True
    with pytest.raises(StudioUnavailable, match="does not answer at http://studio"):
        projects.ensure("Cats", "<View/>", "")


def _photos(folder: Path, count: int) -> list[Photo]:
    photos = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        path.write_bytes(b"x")
        photos.append(Photo(path.name, path))
    return photos
