"""An in-process Label Studio for tests: the part of its API that ClickPick uses, with the manners of 1.23.2.

Each rule here was observed on the real server: predictions that are invalid are dropped with 201, an update of a
backend without its project fails with 500, the address guard may leave a saved backend behind, a missing upload
gives 500, access tokens come from ``/api/token/refresh/``, the legacy token is off at first.
"""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from label_studio_sdk.label_interface import LabelInterface

from tests.fakes.filters import by_score, chosen, mean_score, passes
from tests.fakes.http_server import Answer, Call, Refusal, serve
from tests.fakes.studio_backends import StudioBackends
from tests.fakes.studio_tables import timestamp
from tests.fakes.studio_tokens import StudioTokens


class FakeLabelStudio(StudioBackends):
    """Use it as a context manager. ``calls`` has all requests, oldest first; ``tokens`` are those it knows.

    Switches, besides those of `StudioBackends`: ``broken`` (status) answers everything with that status; ``page_cap``
    limits pages of tasks; ``files`` maps local-files paths, ``cloud`` maps cloud addresses to an Answer, ``pages`` maps
    other paths to one.
    """

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.tokens = StudioTokens()
        self.prefix = prefix
        self.broken = 0
        self.page_cap = 1000
        self.calls: list[Call] = []
        self.files: dict[str, bytes] = {}
        self.cloud: dict[str, Answer] = {}
        self.custom_hotkeys: dict[str, Any] = {}
        self.pages: dict[str, Answer] = {}
        self._stack = ExitStack()
        self._address = ""

    def __enter__(self) -> FakeLabelStudio:
        self._address = self._stack.enter_context(serve(self.answer))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return self._address + self.prefix

    @property
    def pat(self) -> str:
        return self.tokens.pat

    def answer(self, call: Call) -> Any:
        """JSON-able answer, an Answer, or a Refusal raised."""
        call = replace(call, path=call.path.removeprefix(self.prefix))
        with self._lock:
            self.calls.append(call)
        if self.broken:
            raise Refusal(self.broken, "broken by the test")
        if call.path in self.pages:
            return self.pages[call.path]
        if call.path == "/api/token/refresh/":
            return self.tokens.refresh(call)
        self.tokens.authorise(call)
        parts = [part for part in call.path.split("/") if part]
        with self._lock:
            return self._route(call, parts)

    def _route(self, call: Call, parts: list[str]) -> Any:  # noqa: PLR0911, PLR0912 - one line a route
        match (call.method, *parts):
            case ("GET", "api", "current-user", "whoami"):
                return {"id": 1, "email": "owner@example.com", "custom_hotkeys": self.custom_hotkeys}
            case (method, "api", "current-user", "hotkeys"):
                if method == "PATCH":
                    self.custom_hotkeys = call.body["custom_hotkeys"]
                return {"custom_hotkeys": self.custom_hotkeys}
            case (_, "api", "projects", number, *rest):
                return self._project(call, number, rest)
            case ("GET", "api", "tasks"):
                return self._list_tasks(call.query)
            case ("GET", "api", "tasks", number):
                return self.task_json(self._id(self.tasks, number, "Task"))
            case ("GET" | "PATCH", "api", "annotations", number):
                annotation = self.annotations[self._id(self.annotations, number, "Annotation")]
                if call.method == "PATCH":
                    annotation.update({**call.body, "updated_at": timestamp()})
                return annotation
            case ("GET", "api", "predictions"):
                return [p for p in self.predictions.values() if p["project"] == int(call.query["project"])]
            case ("DELETE", "api", "predictions", number):
                del self.predictions[self._id(self.predictions, number, "Prediction")]
                return Answer(status=204)
            case (_, "api", "ml", *rest):
                return self._ml(call, rest)
            case (_, "api", "webhooks", *rest):
                return self._webhook(call, rest)
            case (_, "api", "dm", "views", *rest):
                return self._view(call, rest)
            case ("GET", "data", "upload", *_) if call.path in self.uploads:
                return Answer(self.uploads[call.path])
            case ("GET", "data", "upload", *_):
                raise Refusal(500, "'NoneType' object has no attribute 'has_permission'")
            case ("GET", "data", "local-files") if call.query.get("d") in self.files:
                return Answer(self.files[call.query["d"]])
            case ("GET", "tasks", number, "resolve" | "presign"):
                self._id(self.tasks, number, "Task")
                uri = base64.urlsafe_b64decode(call.query["fileuri"]).decode()
                return self.cloud.get(uri, Answer(status=404))
        return Answer(b"<!doctype html><title>404 | Label Studio</title>", 404)

    def _project(self, call: Call, number: str, rest: list[str]) -> Any:
        project = self.projects[self._id(self.projects, number, "Project")]
        match (call.method, *rest):
            case ("GET",):
                return self._project_json(project)
            case ("PATCH",):
                self._check_version(project["id"], call.body.get("model_version"))
                project.update(call.body)
                return self._project_json(project)
            case ("POST", "import", "predictions"):
                return self._import_predictions(project, call.body)
            case ("GET", "model-versions"):
                return self._versions(project["id"])
            case ("DELETE", "model-versions"):
                version = call.body["model_version"]
                gone = [p["id"] for p in self._predictions(project["id"]) if p["model_version"] == version]
                for prediction in gone:
                    del self.predictions[prediction]
                return {"deleted_predictions": len(gone)}
        return Answer(b"<!doctype html><title>404 | Label Studio</title>", 404)

    def _project_json(self, project: dict[str, Any]) -> dict[str, Any]:
        count = sum(task["project"] == project["id"] for task in self.tasks.values())
        return {**project, "task_number": count}

    def _predictions(self, project: int) -> list[dict[str, Any]]:
        return [p for p in self.predictions.values() if p["project"] == project]

    def _versions(self, project: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for prediction in self._predictions(project):
            found[prediction["model_version"]] = found.get(prediction["model_version"], 0) + 1
        return found

    def _check_version(self, project: int, version: str | None) -> None:
        titles = [b["title"] for b in self.backends.values() if b["project"] == project]
        if version and version not in titles and version not in self._versions(project):
            errors = {
                "model_version": [
                    "Model version doesn't exist either as live model or as static predictions."
                ]
            }
            raise Refusal(400, "Validation error", validation_errors=errors)

    def _import_predictions(self, project: dict[str, Any], sent: list[dict[str, Any]]) -> dict[str, int]:
        known = {task["id"] for task in self.tasks.values() if task["project"] == project["id"]}
        for prediction in sent:
            if prediction["task"] not in known:
                text = f'{prediction} contains invalid "task" field'
                raise Refusal(400, "Validation error", validation_errors={"non_field_errors": [text]})
        config = LabelInterface(project["label_config"])
        valid = [prediction for prediction in sent if _is_valid(prediction, config)]
        for prediction in valid:
            row = {**prediction, "id": self.new_id(), "project": project["id"], "created_at": timestamp()}
            self.predictions[row["id"]] = row
        return {"created": len(valid)}

    def _list_tasks(self, query: dict[str, str]) -> dict[str, Any]:
        project = self._id(self.projects, query["project"], "Project")
        rows = [self.task_json(t["id"]) for t in self.tasks.values() if t["project"] == project]
        asked = json.loads(query.get("query", "{}"))
        if "view" in query:
            asked = self.views[self._id(self.views, query["view"], "View")]["data"]
        rows = [row for row in rows if passes(row, asked.get("filters") or {})]
        rows = [row for row in rows if chosen(row, asked.get("selectedItems") or {})]
        rows.sort(key=lambda row: row["id"])
        if asked.get("ordering") == ["tasks:predictions_score"]:
            rows.sort(key=lambda row: by_score(row, self.projects[row["project"]]["model_version"]))
        size = min(int(query.get("page_size", 100)), self.page_cap)
        start = (int(query.get("page", 1)) - 1) * size
        page = rows[start : start + size]
        if len(page) >= 1000:
            raise Refusal(500, "Expression tree is too large (maximum depth 1000)")  # as on SQLite
        return {"total": len(rows), "tasks": [self._listed(row, query) for row in page]}

    def _listed(self, row: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        if query.get("fields") == "all":
            served = self.projects[row["project"]]["model_version"]
            row = {**row, "predictions_score": mean_score(row, served)}
        else:
            row = {key: value for key, value in row.items() if key not in ("annotations", "predictions")}
        include = query.get("include", "").split(",") if query.get("include") else list(row)
        omit = query.get("omit", "").split(",")
        return {key: value for key, value in row.items() if key in include and key not in omit}

    def _view(self, call: Call, rest: list[str]) -> Any:
        if call.method == "GET":
            return [v for v in self.views.values() if v["project"] == int(call.query["project"])]
        if call.method == "POST":
            row = {"id": self.new_id(), "user": 1, **call.body}
            self.views[row["id"]] = row
            return row
        view = self.views[self._id(self.views, rest[0], "View")]
        if call.method == "DELETE":
            del self.views[view["id"]]
            return Answer(status=204)
        view.update(call.body)
        return view


def _is_valid(prediction: dict[str, Any], config: LabelInterface) -> bool:
    score = prediction.get("score")
    if score is not None and not (isinstance(score, (int, float)) and 0 <= score <= 1):
        return False
    for region in prediction["result"]:
        try:
            control = config.get_control(region["from_name"])
        except Exception:
            return False
        value = region.get("value", {})
        labels = value.get(region["type"])
        if labels is None or not set(labels) <= set(control.labels or ()):
            return False
        if not all(0 <= value.get(axis, 0) <= 100 for axis in ("x", "y")):
            return False
    return True
