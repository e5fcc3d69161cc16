"""An in-process Label Studio for tests: the part of its API that ClickPick uses, with the manners of 1.23.2.

Each rule here was observed on the real server: predictions that are invalid are dropped with 201, an update of a
backend without its project fails with 500, the address guard may leave a saved backend behind, a missing upload
gives 500, access tokens come from ``/api/token/refresh/``, the legacy token is off at first.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from label_studio_sdk.label_interface import LabelInterface

from tests.fakes.filters import by_score, chosen, mean_score, passes
from tests.fakes.http_server import Answer, Call, Refusal, serve

LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"
ACCESS_SECONDS = 300
GUARD_DETAIL = "URL resolves to a reserved network address (block: 127.0.0.0/8)"
LEGACY_DETAIL = "Authentication token no longer valid: legacy token authentication has been disabled"


class FakeLabelStudio:
    """Tables as dicts by id; use it as a context manager. ``calls`` has all requests, oldest first.

    Switches: ``legacy_enabled``; ``guard`` ("" off, "all" refuses private backends, "webhooks" refuses only their
    webhook, after the backend was saved); ``refuse_backends`` refuses them with 403 and that text; ``reachable``
    decides which backends pass the health check; ``login`` is the (user, password) that backends ask for;
    ``broken`` (status) answers everything with that status; ``page_cap`` limits pages of tasks; ``files`` maps
    local-files paths, ``cloud`` maps cloud addresses to an Answer, ``pages`` maps other paths to one.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.legacy_enabled = False
        self.guard = ""
        self.broken = 0
        self.page_cap = 1000
        self.refuse_backends = ""
        self.reachable: Callable[[str], bool] = lambda _: True
        self.login: tuple[str, str] | None = None
        self.calls: list[Call] = []
        self.projects: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.predictions: dict[int, dict[str, Any]] = {}
        self.backends: dict[int, dict[str, Any]] = {}
        self.hooks: dict[int, dict[str, Any]] = {}
        self.views: dict[int, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.cloud: dict[str, Answer] = {}
        self.custom_hotkeys: dict[str, Any] = {}
        self.pages: dict[str, Answer] = {}
        self.pat = make_token("refresh", seconds=200 * 365 * 86400)
        self._access: dict[str, float] = {}
        self._ids = 0
        self._lock = threading.RLock()
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

    # What a test puts in

    def new_id(self) -> int:
        with self._lock:
            self._ids += 1
            return self._ids

    def add_project(self, label_config: str, **fields: Any) -> int:
        project = {
            "id": self.new_id(), "title": "A project", "label_config": label_config, "model_version": "",
            "sampling": "Sequential sampling", "show_collab_predictions": True, "created_at": _now(),
        }  # fmt: skip
        self.projects[project["id"]] = {**project, **fields}
        return int(project["id"])

    def add_task(self, project: int, data: dict[str, Any]) -> int:
        task = {
            "id": self.new_id(), "data": data, "meta": {}, "project": project, "created_at": _now(),
            "updated_at": _now(), "is_labeled": False, "overlap": 1, "inner_id": 1, "file_upload": None,
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
            "completed_by": user, "was_cancelled": cancelled, "ground_truth": False, "created_at": _now(),
            "updated_at": _now(), "lead_time": 1.0, "parent_prediction": None,
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

    # Requests

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
            return self._refresh(call)
        self._authorise(call)
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
                    annotation.update({**call.body, "updated_at": _now()})
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

    def _refresh(self, call: Call) -> dict[str, str]:
        if call.body.get("refresh") != self.pat:
            raise Refusal(401, "Token is invalid")
        access = make_token("access", seconds=ACCESS_SECONDS)
        self._access[access] = time.time() + ACCESS_SECONDS
        return {"access": access}

    def revoke_access_tokens(self) -> None:
        self._access.clear()

    def _authorise(self, call: Call) -> None:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme == "Token" and token == LEGACY_TOKEN:
            if not self.legacy_enabled:
                raise Refusal(401, LEGACY_DETAIL)
        elif scheme == "Token":
            raise Refusal(401, "Invalid token.")
        elif scheme != "Bearer" or self._access.get(token, 0) < time.time():
            raise Refusal(401, "Authentication credentials were not provided.")

    def _id(self, table: dict[int, dict[str, Any]], number: str, kind: str) -> int:
        if not number.isdigit() or int(number) not in table:
            raise Refusal(404, f"No {kind} matches the given query.")
        return int(number)

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
            row = {**prediction, "id": self.new_id(), "project": project["id"], "created_at": _now()}
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

    def _ml(self, call: Call, rest: list[str]) -> Any:
        if call.method == "GET" and not rest:
            project = self._id(self.projects, call.query.get("project", ""), "Project")
            return [self._shown(row) for row in self.backends.values() if row["project"] == project]
        if call.method == "POST":
            return self._add_backend(call.body)
        backend = self.backends[self._id(self.backends, rest[0], "MLBackend")]
        if call.method == "DELETE":
            del self.backends[backend["id"]]
            project = self.projects[backend["project"]]
            if project["model_version"] == backend["title"]:
                project["model_version"] = ""
            return Answer(status=204)
        if call.method == "PATCH":
            if not {"url", "project"} <= set(call.body):
                raise Refusal(500, "MLBackend.setup_() missing 1 required positional argument: 'project'")
            self._check_backend(call.body)
            backend.update(call.body)
        return self._shown(backend)

    def _shown(self, backend: dict[str, Any]) -> dict[str, Any]:
        """A backend as it is told: never with its password; listing it calls it with what it has."""
        refused = self._refuses(backend)
        told = {key: value for key, value in backend.items() if key != "basic_auth_pass"}
        told["basic_auth_pass_is_set"] = bool(backend.get("basic_auth_pass"))
        if refused:
            told |= {
                "state": "ER",
                "error_message": f"401 Client Error: UNAUTHORIZED for url: {backend['url']}/setup",
            }
        return told

    def _refuses(self, fields: dict[str, Any]) -> bool:
        given = (fields.get("basic_auth_user") or "", fields.get("basic_auth_pass") or "")
        return self.login is not None and given != self.login

    def _check_backend(self, body: dict[str, Any]) -> None:
        """With what the request holds alone, even where it changes a backend."""
        url = body["url"]
        if self.guard == "all" or self.refuse_backends:
            raise Refusal(403, self.refuse_backends or GUARD_DETAIL)
        if not self.reachable(url):
            text = f"Can't connect to ML backend {url}, health check failed. <a href='x'>Learn more</a>"
            raise Refusal(400, "Validation error", validation_errors={"non_field_errors": [text]})
        if self._refuses(body):
            text = (
                f"Successfully connected to {url} but it doesn't look like a valid ML backend. "
                f"Reason: 401 Client Error: UNAUTHORIZED for url: {url}/setup."
            )
            raise Refusal(400, "Validation error", validation_errors={"non_field_errors": [text]})

    def _add_backend(self, body: dict[str, Any]) -> dict[str, Any]:
        self._check_backend(body)
        row = {
            "id": self.new_id(), "state": "CO", "error_message": None, "is_interactive": False, "description": "",
            "title": "", "auto_update": True, "model_version": None, **body,
        }  # fmt: skip
        self.backends[row["id"]] = row
        project = self.projects[body["project"]]
        project["model_version"] = project["model_version"] or row["title"]
        url = body["url"].rstrip("/") + "/webhook"
        if not any(h["url"] == url and h["project"] == body["project"] for h in self.hooks.values()):
            self._add_hook(
                {"project": body["project"], "url": url, "send_for_all_actions": True, "send_payload": True}
            )
        return self._shown(row)

    def _webhook(self, call: Call, rest: list[str]) -> Any:
        if call.method == "GET":
            return [h for h in self.hooks.values() if h["project"] == int(call.query["project"])]
        if call.method == "POST":
            return self._add_hook(call.body)
        hook = self.hooks[self._id(self.hooks, rest[0], "Webhook")]
        if call.method == "DELETE":
            del self.hooks[hook["id"]]
            return Answer(status=204)
        hook.update(call.body)
        return hook

    def _add_hook(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.guard:
            raise Refusal(403, GUARD_DETAIL)
        hook = {"id": self.new_id(), "is_active": True, "actions": [], "headers": {}, **body}
        self.hooks[hook["id"]] = hook
        return hook


def make_token(kind: str, *, seconds: float) -> str:
    """An unsigned JSON web token that ends so many seconds from now."""
    now = int(time.time())
    claims = {"token_type": kind, "exp": now + int(seconds), "iat": now, "jti": str(time.monotonic_ns())}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, "c2ln"])


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


def _now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
