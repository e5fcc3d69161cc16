"""The demo's projects in Label Studio: found or created by title, each photograph uploaded once."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import requests

from backend.demo.photos import Photo
from backend.errors import StudioRefused, StudioUnavailable

_TIMEOUT = 120.0
_BATCH_FILES = 20
_BATCH_BYTES = 100 << 20  # Label Studio takes 250 MB and 100 files in a request


class DemoProjects:
    """``session``: of a user who is logged in at ``url``."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url
        self._session = session

    def ensure(self, title: str, label_config: str, description: str) -> int:
        """Number of the project with that title; a new one when there is none."""
        found = self._call("GET", "/api/projects", params={"title": title, "page_size": 1000})
        numbers = [int(project["id"]) for project in found["results"] if project["title"] == title]
        if numbers:
            return min(numbers)
        body = {"title": title, "label_config": label_config, "description": description}
        return int(self._call("POST", "/api/projects", json=body)["id"])

    def upload(self, project: int, photos: Sequence[Photo], progress: Callable[[int, int], None]) -> int:
        """Uploads the photographs that the project does not have; how many. ``progress``: done, of how many."""
        known = {_uploaded_name(name) for name in self._uploads(project)}
        missing = [photo for photo in photos if photo.name not in known]
        done = 0
        for batch in _batches(missing):
            progress(done, len(missing))
            with ExitStack() as stack:
                # of several parts with one field name, Label Studio keeps the last
                parts = {
                    photo.name: (photo.name, stack.enter_context(photo.path.open("rb")), _type(photo))
                    for photo in batch
                }
                self._call("POST", f"/api/projects/{project}/import", files=parts)
            done += len(batch)
        return done

    def _uploads(self, project: int) -> Iterator[str]:
        for upload in self._call("GET", f"/api/projects/{project}/file-uploads", params={"all": "true"}):
            yield str(upload["file"])

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._session.request(method, self._url + path, timeout=_TIMEOUT, **options)
        except requests.RequestException as error:
            raise StudioUnavailable(f"Label Studio does not answer at {self._url}: {error}") from error
        if not answer.ok:
            raise StudioRefused(
                f"Label Studio answered {answer.status_code} to {method} {path}: {answer.text[:300]}",
                answer.status_code,
            )
        return answer.json()


def _uploaded_name(stored: str) -> str:
    """Label Studio stores ``name.jpg`` as ``upload/<project>/<8 characters>-name.jpg``."""
    return stored.rsplit("/", 1)[-1].partition("-")[2]


def _type(photo: Photo) -> str:
    return mimetypes.guess_type(photo.name)[0] or "application/octet-stream"


def _batches(photos: Sequence[Photo]) -> Iterator[list[Photo]]:
    batch: list[Photo] = []
    size = 0
    for photo in photos:
        bytes_ = photo.path.stat().st_size
        if batch and (len(batch) == _BATCH_FILES or size + bytes_ > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(photo)
        size += bytes_
    if batch:
        yield batch
