"""The tables of the fake Label Studio, and what a test puts into them."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import Any

from tests.fakes.http_server import Refusal


class StudioTables:
    """Tables as dicts by id."""

    def __init__(self) -> None:
        self.projects: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.predictions: dict[int, dict[str, Any]] = {}
        self.backends: dict[int, dict[str, Any]] = {}
        self.hooks: dict[int, dict[str, Any]] = {}
        self.views: dict[int, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self._ids = 0
        self._lock = threading.RLock()

    def new_id(self) -> int:
        with self._lock:
            self._ids += 1
            return self._ids

    def add_project(self, label_config: str, **fields: Any) -> int:
        project = {
            "id": self.new_id(), "title": "A project", "label_config": label_config, "model_version": "",
            "sampling": "Sequential sampling", "show_collab_predictions": True, "created_at": timestamp(),
        }  # fmt: skip
        self.projects[project["id"]] = {**project, **fields}
        return int(project["id"])

    def add_task(self, project: int, data: dict[str, Any]) -> int:
        task = {
            "id": self.new_id(), "data": data, "meta": {}, "project": project, "created_at": timestamp(),
            "updated_at": timestamp(), "is_labeled": False, "overlap": 1, "inner_id": 1, "file_upload": None,
        }  # fmt: skip
        self.tasks[task["id"]] = task
        return int(task["id"])

    def upload(self, project: int, name: str, content: bytes, key: str = "image") -> int:
        """A task with an uploaded image; its id."""
        path = f"/data/upload/{project}/{name}"
        self.uploads[path] = content
        return self.add_task(project, {key: path})

    def annotate(
        self, task: int, result: list[dict[str, Any]], *, user: int = 1, cancelled: bool = False
    ) -> int:
        annotation = {
            "id": self.new_id(), "task": task, "project": self.tasks[task]["project"], "result": result,
            "completed_by": user, "was_cancelled": cancelled, "ground_truth": False, "created_at": timestamp(),
            "updated_at": timestamp(), "lead_time": 1.0, "parent_prediction": None,
        }  # fmt: skip
        self.annotations[annotation["id"]] = annotation
        self.tasks[task]["is_labeled"] = True
        return int(annotation["id"])

    def task_json(self, task: int) -> dict[str, Any]:
        """A task with annotations and predictions, as GET /api/tasks/<id>/ gives it."""
        own = [a for a in self.annotations.values() if a["task"] == task]
        predictions = [p for p in self.predictions.values() if p["task"] == task]
        return {
            **self.tasks[task],
            "updated_at": max([self.tasks[task]["updated_at"], *(a["updated_at"] for a in own)]),
            "annotations": own,
            "predictions": predictions,
            "total_annotations": sum(not a["was_cancelled"] for a in own),
            "cancelled_annotations": sum(a["was_cancelled"] for a in own),
            "total_predictions": len(predictions),
        }

    def _id(self, table: dict[int, dict[str, Any]], number: str, kind: str) -> int:
        if not number.isdigit() or int(number) not in table:
            raise Refusal(404, f"No {kind} matches the given query.")
        return int(number)


def timestamp() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
