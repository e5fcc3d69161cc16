"""ML backends and webhooks of the fake Label Studio: how it checks them, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes.http_server import Answer, Call, Refusal
from tests.fakes.studio_tables import StudioTables

GUARD_DETAIL = "URL resolves to a reserved network address (block: 127.0.0.0/8)"


class StudioBackends(StudioTables):
    """Switches: ``guard`` ("" off, "all" refuses private backends, "webhooks" refuses only their webhook, after the
    backend was saved); ``refuse_backends`` refuses them with 403 and that text; ``reachable`` decides which backends
    pass the health check; ``login`` is the (user, password) that backends ask for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.guard = ""
        self.refuse_backends = ""
        self.reachable: Callable[[str], bool] = lambda _: True
        self.login: tuple[str, str] | None = None

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
