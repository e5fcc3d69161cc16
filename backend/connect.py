"""Sets up one project of Label Studio for ClickPick, and undoes it.

What the project was like before is kept in Label Studio itself: its settings in the backend's description, the
projects that need the annotator's hotkey in the hotkey's entry. So any machine can undo what another one did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from backend.access import Access
from backend.connection import LOGIN_WORDS, TITLE, auth_fields, hook_url, is_good, own_backends, refuses_login
from backend.errors import ConfigProblem, StudioRefused
from backend.hotkey import ACTION, KEY, add_hotkey, remove_hotkey
from backend.model_check import refuse_unknown_models
from backend.studio import BackendInfo, ProjectInfo, Studio
from label_config.check import check, repair
from label_config.schema import read_schema

DESCRIPTION = "Clicks become masks, a few pixels become a model."
MEMORY_MARK = " Settings before it was connected: "
SAMPLING = "Uncertainty sampling"

GUARD_WORDS = "reserved network address"
GUARD_ADVICE = (
    "start Label Studio with USE_DEFAULT_BANNED_SUBNETS=false in its environment, or with both "
    "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false, and connect again"
)


@dataclass(frozen=True)
class Change:
    """One thing that was changed in Label Studio; "" where there was, or is, nothing."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class _Target:
    """The backend as it shall be."""

    project: int
    url: str
    title: str
    description: str
    access: Access | None


def connect(
    studio: Studio, project_id: int, backend_url: str, *, title: str = TITLE, access: Access | None = None
) -> list[Change]:
    """Make the project use the backend at ``backend_url``; what was changed, empty when all was so already.

    ``access``: the credentials that the backend asks for; Label Studio is told them. Raises ConfigProblem (labelling
    config, unknown model, address), StudioRefused (address guard, backend not reachable from Label Studio) or
    StudioUnavailable.
    """
    url = _checked_url(backend_url)
    project = studio.project(project_id)
    wanted = _wanted_settings(project)
    own = own_backends(studio.backends(project_id), url, title)
    memory = {name: getattr(project, name) for name in wanted if getattr(project, name) != wanted[name]}
    memory.update(_recall(own))
    target = _Target(project_id, url, title, _describe(memory), access)
    changes = _connect_backend(studio, target, own) + _connect_webhook(studio, target, own)
    changes += _change_settings(studio, project, wanted)
    if "sampling" in wanted and add_hotkey(studio, project_id):
        changes.append(Change(f"hotkey {ACTION}", "", KEY))
    return changes


def disconnect(studio: Studio, project_id: int, backend_url: str, *, title: str = TITLE) -> list[Change]:
    """Undo ``connect``: backend, webhook, settings and hotkey; predictions and annotations stay."""
    url = backend_url.rstrip("/")
    own = own_backends(studio.backends(project_id), url, title)
    changes = []
    for backend in own:
        studio.delete_backend(backend.id)
        changes.append(Change("backend", backend.url, ""))
    hooks = {hook_url(url), *(hook_url(backend.url) for backend in own)}
    for hook in studio.webhooks(project_id):
        if hook.url in hooks:
            studio.delete_webhook(hook.id)
            changes.append(Change("webhook", hook.url, ""))
    project = studio.project(project_id)
    before = _recall(own)
    if project.sampling != SAMPLING:  # somebody has chosen another order since
        before.pop("sampling", None)
    changes += _change_settings(studio, project, before)
    if remove_hotkey(studio, project_id):
        changes.append(Change(f"hotkey {ACTION}", KEY, ""))
    return changes


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigProblem(
            f"backend address is {url!r}; expected http://host:port as Label Studio reaches it"
        )
    if parts.hostname in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        raise ConfigProblem(
            f"backend address {url} is one to listen on; give the address at which Label Studio reaches ClickPick"
        )
    return url.rstrip("/")


def _wanted_settings(project: ProjectInfo) -> dict[str, Any]:
    """Settings that the project's labelling config asks for; ConfigProblem when the config cannot be used.

    Pixel projects serve the least certain task first and fill it with its prediction. In pure click projects a
    prediction would only delay the opening of a task.
    """
    errors = [problem for problem in check(project.label_config) if problem.severity == "error"]
    if errors:
        told = "\n".join(f"- {problem.message} {problem.advice}" for problem in errors)
        raise ConfigProblem(
            f"the labelling config of project {project.id} cannot be used:\n{told}\nPaste this repaired config in the "
            f"project's Labeling Interface settings and connect again:\n{repair(project.label_config)}"
        )
    schema = read_schema(project.label_config)
    refuse_unknown_models(project.id, schema)
    if schema.pixel_image is None:
        return {"show_collab_predictions": False}
    return {"sampling": SAMPLING, "show_collab_predictions": True}


def _connect_backend(studio: Studio, target: _Target, own: Sequence[BackendInfo]) -> list[Change]:
    """One backend of ours, the oldest: Label Studio sends clicks to a project's first interactive backend."""
    fields: dict[str, Any] = {
        "title": target.title,
        "is_interactive": True,
        "description": target.description,
        **auth_fields(target.access, had=own[0].auth_user if own else ""),
    }
    if not own:
        _guarded(studio, target, lambda: studio.add_backend(target.project, target.url, **fields))
        return [Change("backend", "", target.url)]
    first, *duplicates = own
    changes = []
    if first.url.rstrip("/") != target.url:
        changes.append(Change("backend", first.url, target.url))
    if not first.is_interactive:
        changes.append(Change("interactive", "off", "on"))
    if first.title != target.title:
        changes.append(Change("backend title", first.title, target.title))
    wanted_user = target.access.user if target.access else ""
    if first.auth_user != wanted_user:
        changes.append(Change("basic auth user", first.auth_user, wanted_user))
    elif refuses_login(first):
        changes.append(Change("basic auth password", "refused", "set"))
    # Label Studio keeps the password to itself: it is set again, whatever it was.
    if changes or first.description != target.description or target.access:
        _guarded(
            studio, target, lambda: studio.update_backend(first.id, target.project, target.url, **fields)
        )
    for duplicate in duplicates:
        studio.delete_backend(duplicate.id)
        changes.append(Change("duplicate backend", duplicate.url, ""))
    return changes


def _guarded(studio: Studio, target: _Target, call: Callable[[], object]) -> None:
    """Call Label Studio; when its address guard refuses, remove the backend that it may have saved all the same."""
    known = {backend.id for backend in studio.backends(target.project)}
    try:
        call()
    except StudioRefused as error:
        if error.studio_status == 400 and LOGIN_WORDS in str(error):
            message = (
                f"the backend at {target.url} does not take the user and password that Label Studio gave it; start "
                "`clickpick serve` with the same CLICKPICK_BASIC_AUTH_USER and _PASS as `clickpick connect`"
            )
            raise StudioRefused(message, 400) from error
        if error.studio_status == 400:
            fault = "does not reach" if "health check failed" in str(error) else "gets no valid answer from"
            message = (
                f"Label Studio {fault} the backend at {target.url}; start `clickpick serve`, and give an address that "
                "Label Studio can reach: inside Docker that is not localhost"
            )
            raise StudioRefused(message, 400) from error
        if error.studio_status != 403 or GUARD_WORDS not in str(error):
            raise
        for backend in studio.backends(target.project):
            if backend.id not in known and backend.url.rstrip("/") == target.url:
                studio.delete_backend(backend.id)
        message = f"Label Studio's address guard refuses the backend at {target.url} ({GUARD_WORDS}); {GUARD_ADVICE}"
        raise StudioRefused(message, 403) from error


def _connect_webhook(studio: Studio, target: _Target, own: Sequence[BackendInfo]) -> list[Change]:
    """One sufficient webhook of ours, and none to addresses that our backend has left."""
    wanted = hook_url(target.url)
    addresses = {wanted, *(hook_url(backend.url) for backend in own)}
    hooks = [hook for hook in studio.webhooks(target.project) if hook.url in addresses]
    good = next((hook for hook in hooks if hook.url == wanted and is_good(hook, target.access)), None)
    headers = target.access.webhook_headers if target.access else None
    if good is None:
        _guarded(studio, target, lambda: studio.add_webhook(target.project, wanted, headers))
    changes = [] if good else [Change("webhook", "", wanted)]
    for hook in hooks:
        if hook is not good:
            studio.delete_webhook(hook.id)
            changes.append(Change("webhook", hook.url, ""))
    return changes


def _change_settings(studio: Studio, project: ProjectInfo, wanted: Mapping[str, Any]) -> list[Change]:
    changed = {name: value for name, value in wanted.items() if getattr(project, name) != value}
    if changed:
        studio.update_project(project.id, **changed)
    return [Change(name, str(getattr(project, name)), str(value)) for name, value in changed.items()]


def _describe(memory: Mapping[str, Any]) -> str:
    """The backend's description, with the settings to go back to."""
    return DESCRIPTION + (MEMORY_MARK + json.dumps(memory, sort_keys=True) if memory else "")


def _recall(own: Sequence[BackendInfo]) -> dict[str, Any]:
    """Settings that ``_describe`` wrote; of several backends the oldest one's count."""
    memory: dict[str, Any] = {}
    for backend in reversed(own):
        _, _, written = backend.description.partition(MEMORY_MARK)
        try:
            found = json.loads(written or "{}")
        except ValueError:
            continue
        memory.update(
            {name: found[name] for name in ("sampling", "show_collab_predictions") if name in found}
        )
    return memory
