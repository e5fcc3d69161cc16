"""Shape checks of what Label Studio sends, before label-studio-ml touches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import request

from backend.errors import BadRequest

MAX_TASKS = 10_000
MAX_REGIONS = 200
"""Clicks of one object are re-sent with each click, and what the cache has lost is computed again."""


def check_request() -> None:
    """Refuse bodies that are not Label Studio's with a 400 that says what is wrong (a Flask before_request hook)."""
    check = CHECKS.get(request.path.rstrip("/")) if request.method == "POST" else None
    if check is None:
        return
    body = request.get_json(silent=True) if request.is_json else None
    if not isinstance(body, dict):
        raise BadRequest(f"{request.path} needs a JSON object with Content-Type application/json")
    check(body)


def _check_predict(body: dict[str, Any]) -> None:
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise BadRequest(f"tasks is {_kind(tasks)}; expected a list of Label Studio tasks")
    if len(tasks) > MAX_TASKS:
        raise BadRequest(f"{len(tasks)} tasks were got; expected at most {MAX_TASKS}; select fewer at once")
    if not isinstance(body.get("label_config"), str):
        raise BadRequest(f"label_config is {_kind(body.get('label_config'))}; expected the project's XML")
    params = body.get("params") or {}
    if not isinstance(params, dict):
        raise BadRequest(f"params is {_kind(params)}; expected an object with a context")
    # label-studio-ml spreads params over a function's arguments: only what is ours may pass.
    context = params.get("context")
    regions = context.get("result") if isinstance(context, dict) else None
    if isinstance(regions, list) and len(regions) > MAX_REGIONS:
        raise BadRequest(
            f"a context with {len(regions)} regions was got; expected at most {MAX_REGIONS}; accept the mask "
            "or delete clicks"
        )
    body["params"] = {"context": context}
    _check_project(body)


def _check_setup(body: dict[str, Any]) -> None:
    _check_project(body)
    if not isinstance(body.get("schema"), str):
        raise BadRequest(f"schema is {_kind(body.get('schema'))}; expected the project's XML")
    body["extra_params"] = None
    body["project"] = str(body["project"])


def _check_webhook(body: dict[str, Any]) -> None:
    if not isinstance(body.get("action"), str):
        raise BadRequest(f"action is {_kind(body.get('action'))}; expected the name of an event")
    project = body.get("project")
    if not isinstance(project, dict) or "id" not in project:
        raise BadRequest(f"project is {_kind(project)}; expected an object with an id")
    if not isinstance(project.setdefault("label_config", None), (str, type(None))):
        raise BadRequest(f"project.label_config is {_kind(project['label_config'])}; expected XML")


def _check_project(body: dict[str, Any]) -> None:
    if not isinstance(body.get("project"), (str, int)) or isinstance(body["project"], bool):
        raise BadRequest(f"project is {_kind(body.get('project'))}; expected Label Studio's project number")


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"


def _refuse_train(_: dict[str, Any]) -> None:
    raise BadRequest("/train is not served; expected START_TRAINING at /webhook, as Label Studio sends it")


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "/predict": _check_predict,
    "/setup": _check_setup,
    "/webhook": _check_webhook,
    "/versions": _check_project,  # these two are label-studio-ml 1.0.9's; Label Studio does not call them
    "/train": _refuse_train,
}
