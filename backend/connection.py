"""What a connection to ClickPick looks like in Label Studio: its backend and its webhook."""

from __future__ import annotations

from collections.abc import Sequence

from backend.access import WEBHOOK_HEADER, Access
from backend.studio import BackendInfo, WebhookInfo

TITLE = "ClickPick"
LOGIN_WORDS = "401 Client Error"
"""Label Studio repeats so, with the address after it, what a backend answered."""

NEEDED_ACTIONS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "PROJECT_UPDATED",
    }
)


def own_backends(backends: Sequence[BackendInfo], url: str, title: str = TITLE) -> list[BackendInfo]:
    """Those that are ours: by their title or by their address."""
    return [
        backend
        for backend in backends
        if backend.title == title or backend.url.rstrip("/") == url.rstrip("/")
    ]


def hook_url(backend_url: str) -> str:
    """Where Label Studio's webhooks reach a backend."""
    return backend_url.rstrip("/") + "/webhook"


def is_sufficient(hook: WebhookInfo) -> bool:
    """Whether a webhook tells all that ClickPick needs to hear."""
    all_actions = hook.send_for_all_actions or hook.actions >= NEEDED_ACTIONS
    return hook.is_active and hook.send_payload and all_actions


def is_admitted(hook: WebhookInfo, access: Access | None) -> bool:
    """Whether a webhook carries the secret that is asked for."""
    return access is None or dict(hook.headers).items() >= access.webhook_headers.items()


def refuses_login(backend: BackendInfo) -> bool:
    """Whether the backend, when Label Studio last called it, did not take its user and password."""
    return backend.state == "ER" and LOGIN_WORDS in backend.error_message


def auth_fields(access: Access | None, *, had: str) -> dict[str, str]:
    """How Label Studio shall authenticate. ``had``: its user so far; an empty one switches basic auth off."""
    if access is None:
        return {"auth_method": "NONE", "basic_auth_user": ""} if had else {}
    user, password = access.basic
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}


def is_good(hook: WebhookInfo, access: Access | None) -> bool:
    """Sufficient, with the secret that is asked for and none that is not."""
    stale = access is None and WEBHOOK_HEADER in hook.headers
    return is_sufficient(hook) and is_admitted(hook, access) and not stale
