"""What the tests set up and read back through Label Studio's REST interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

TIMEOUT = 60.0


@dataclass(frozen=True)
class Api:
    """``session``: of a user who is logged in."""

    url: str
    session: requests.Session

    def call(self, method: str, path: str, **options: Any) -> Any:
        """JSON of the answer; an AssertionError that quotes the answer when it is no success."""
        answer = self.session.request(method, self.url + path, timeout=TIMEOUT, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def create_project(self, title: str, label_config: str, **fields: Any) -> int:
        body = {"title": title, "label_config": label_config, **fields}
        return int(self.call("POST", "/api/projects", json=body)["id"])

    def upload(self, project: int, images: Mapping[str, bytes]) -> list[int]:
        """File name -> encoded image; the new tasks' numbers in the same order."""
        # of several parts with one field name, Label Studio keeps the last
        files = [(name, (name, data, "image/jpeg")) for name, data in images.items()]
        known = {task["id"] for task in self.tasks(project)}
        self.call("POST", f"/api/projects/{project}/import", files=files)
        new = [task for task in self.tasks(project) if task["id"] not in known]
        by_name = {task["data"]["image"].split("-", 1)[1]: task["id"] for task in new}
        return [by_name[name] for name in images]

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """All tasks with annotations and predictions, by number."""
        answer = self.call(
            "GET",
            "/api/tasks",
            params={"project": project, "fields": "all", "page_size": 1000},
        )
        return sorted(answer["tasks"], key=lambda task: int(task["id"]))

    def annotations(self, task: int) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/api/tasks/{task}/annotations/"))

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """Those of the version that the project serves; older ones stay for whoever has the task open."""
        found = list(self.call("GET", "/api/predictions/", params={"task": task}))
        served = {
            project: self.project(project)["model_version"] for project in {p["project"] for p in found}
        }
        return [p for p in found if p["model_version"] == served[p["project"]]]

    def project(self, project: int) -> dict[str, Any]:
        return dict(self.call("GET", f"/api/projects/{project}"))


def regions(annotation: Mapping[str, Any], kind: str) -> Sequence[Mapping[str, Any]]:
    """The annotation's results of one type, such as "brushlabels"."""
    return [region for region in annotation["result"] if region["type"] == kind]
