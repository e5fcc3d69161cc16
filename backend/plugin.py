"""The Label Studio plugin: one class for label-studio-ml 1.0.9 and 2.x, and the server around it.

The only file that knows which generation of label-studio-ml is installed. 1.0.9 keeps one model for all
projects, starts a process for each webhook and drops START_TRAINING; 2.x keeps a SQLite file of its own and
trains inside the request. Both are led past all that to `backend.service`, which is keyed by project.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flask import Flask, Response, jsonify, request
from label_studio_ml.model import LabelStudioMLBase
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from backend.errors import BadRequest
from backend.service import LABEL_EVENTS, Service
from backend.settings import Settings

LOG = logging.getLogger(__name__)
EVENTS = (*sorted(LABEL_EVENTS), "PROJECT_UPDATED", "START_TRAINING")


class ClickPick(LabelStudioMLBase):  # type: ignore[misc]
    """Thin adapter; an object may live for one request (2.x) or for long (1.0.9), and holds no state."""

    TRAIN_EVENTS = EVENTS
    shared: ClassVar[Service | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes either generation's arguments: 2.x passes the project's id first, 1.0.9 the labelling config."""
        positional = list(args)
        first = positional.pop(0) if positional and "<" not in str(positional[0]) else None
        config = positional.pop(0) if positional else None
        self.project_id = str(kwargs.get("project_id") or first or "")
        self.config = str(kwargs.get("label_config") or config or "")

    @property
    def service(self) -> Service:
        if ClickPick.shared is None:
            ClickPick.shared = Service(Settings())
        return ClickPick.shared

    def setup(self) -> None:
        """2.x calls this after construction; there is nothing to do."""

    def predict(
        self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """One prediction a task, as Label Studio wants them."""
        project = project_number(self.project_id or kwargs.get("project"))
        config = self.config or str(kwargs.get("label_config") or "")
        return self.service.predict(project, config, tasks, context)

    def fit(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """A webhook event: (event, data) in 2.x, keywords in 1.0.9. Only asks for a round."""
        event = kwargs.get("event") or (args[0] if args and isinstance(args[0], str) else "")
        data = kwargs.get("data") or next((a for a in args if isinstance(a, Mapping)), {})
        return answer_webhook(self.service, str(event), data)

    # 2.x keeps these in a SQLite file; here the store answers, and nothing else is kept.
    def get(self, key: str) -> str | None:
        if key == "model_version" and self.project_id:
            return self.service.setup(project_number(self.project_id), self.config)
        return self.config if key == "label_config" else None

    def set(self, key: str, value: str) -> None:
        """Nothing: all state is the service's."""

    def has(self, key: str) -> bool:
        return self.get(key) is not None

    @property
    def model_version(self) -> str | None:
        return self.get("model_version")


@dataclass(frozen=True)
class _Served:
    """What the server of 1.0.9 reads from a model."""

    model_version: str | None


class Manager:
    """In place of 1.0.9's model manager: no model per /setup, no process per webhook."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.model_dir = ""

    def initialize(self, model_class: type, **_: Any) -> None:
        """Called by init_app; there is nothing to prepare."""

    def fetch(self, project: str, schema: str, *_: Any, **__: Any) -> _Served:
        """/setup."""
        return _Served(self._service.setup(project_number(project), schema or ""))

    def predict(
        self,
        tasks: list[dict[str, Any]],
        project: str,
        label_config: str,
        *_: Any,
        context: Any = None,
        **__: Any,
    ) -> tuple[list[dict[str, Any]], _Served]:
        """/predict."""
        model = ClickPick(project_number(project), label_config or "")
        return model.predict(tasks, context), _Served(None)

    def webhook(self, event: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """/webhook."""
        return answer_webhook(self._service, event, data)

    def is_training(self, _project: str) -> dict[str, Any]:
        """/is_training."""
        return {"is_training": self._service.store.rounds.has_work()}

    def _get_models_from_workdir(self, project: str) -> list[str]:
        return self._service.version_names(project_number(project))


def answer_webhook(service: Service, event: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Hand an event to the service; events without a project are none of ours."""
    project = data.get("project")
    if not isinstance(project, Mapping) or "id" not in project:
        raise BadRequest(f"event {event!r} came without a project; expected Label Studio's webhook payload")
    config = project.get("label_config")
    service.event(event, project_number(project["id"]), config if isinstance(config, str) else None)
    return {"status": "ok"}


def project_number(value: Any) -> int:
    """Label Studio's ``7.1795263519`` or ``7`` -> 7."""
    text = str(value).split(".", 1)[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadRequest(f"project is {str(value)[:40]!r}; expected a number such as 7 or 7.1795263519")
    return int(text)


def create_server(service: Service) -> Flask:
    """label-studio-ml's own server, fresh, around the plugin."""
    errors: Any = importlib.import_module("label_studio_ml.exceptions")
    errors.exception_handler = (
        _plain  # theirs answers with a traceback; our error handlers need the exception
    )
    sys.modules.pop(
        "label_studio_ml.api", None
    )  # it holds the Flask object: a second application needs a second
    api: Any = importlib.import_module("label_studio_ml.api")
    ClickPick.shared = service
    if hasattr(api, "_manager"):
        api._manager = Manager(service)
    else:
        api.TRAIN_EVENTS = EVENTS
    server: Flask = api.init_app(ClickPick)
    server.add_url_rule("/versions", "clickpick_versions", _versions(service), methods=["GET"])
    server.view_functions["metrics"] = _metrics(service)  # theirs answers with an empty object
    server.add_url_rule("/ready", "clickpick_ready", _ready(service), methods=["GET"])
    return server


def _plain(view: Any) -> Any:
    return view


def _versions(service: Service) -> Any:
    def versions() -> Any:
        project = request.args.get("project")
        numbers = [project_number(project)] if project else service.store.projects()
        return jsonify({"versions": [name for number in numbers for name in service.version_names(number)]})

    return versions


def _metrics(service: Service) -> Any:
    def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return metrics


def _ready(service: Service) -> Any:
    def ready() -> Any:
        if problems := service.readiness.problems():
            return jsonify({"error": "; ".join(problems), "reasons": problems}), 503
        warnings = service.readiness.warnings()
        return jsonify({"status": "READY", **({"warnings": warnings} if warnings else {})})

    return ready
