"""Checks of the credentials that ClickPick asks for, and of those that Label Studio gives it."""

from __future__ import annotations

from collections.abc import Iterator

import requests

from backend.access import Access
from backend.connection import is_admitted, refuses_login
from backend.doctor.finding import Finding
from backend.doctor.installation import HEALTH_SECONDS, is_loopback
from backend.settings import Settings
from backend.studio import BackendInfo, WebhookInfo

RESTART = "restart `clickpick serve` with the settings that this command has"


def check_access(settings: Settings, url: str) -> Iterator[Finding]:
    """Whether the running ClickPick asks for the credentials of these settings, and takes them."""
    access = Access.of(settings)
    try:
        stranger = _status(url, None)
        known = _status(url, access.basic) if access else stranger
    except requests.RequestException as error:
        what = type(error).__name__
        yield Finding("access-unknown", "warning", f"{url}/versions does not answer ({what})", "try again")
        return
    if access is None:
        if stranger == 401:
            message = (
                f"ClickPick at {url} asks for credentials, and CLICKPICK_BASIC_AUTH_USER is not set here"
            )
            yield Finding("access-differs", "error", message, RESTART)
        elif not is_loopback(f"http://{settings.host}"):
            message = f"ClickPick listens on {settings.host} and asks for no credentials"
            advice = "set CLICKPICK_BASIC_AUTH_USER, CLICKPICK_BASIC_AUTH_PASS and CLICKPICK_WEBHOOK_SECRET"
            yield Finding("access-open", "warning", message, advice)
    elif stranger != 401:
        message = f"ClickPick at {url} lets strangers in, though CLICKPICK_BASIC_AUTH_USER is set here"
        yield Finding("access-off", "error", message, RESTART)
    elif known == 401:
        message = f"ClickPick at {url} does not take the credentials that are set here"
        yield Finding("access-differs", "error", message, RESTART)
    else:
        yield Finding("access-ok", "ok", f"ClickPick asks for credentials, and takes those of {access.user}")


def check_login(access: Access | None, backend: BackendInfo, connect: str) -> Iterator[Finding]:
    """Whether Label Studio has the user and password of a backend."""
    wanted = access.user if access else ""
    if wanted and backend.auth_user != wanted:
        message = f"Label Studio gives ClickPick {backend.auth_user or 'no user'!r}, not {wanted!r}"
        yield Finding("backend-login", "error", message, connect)
    elif refuses_login(backend):
        message = "ClickPick does not take the user and password that Label Studio gives it"
        yield Finding("backend-login", "error", message, connect)


def check_secret(access: Access | None, hooks: list[WebhookInfo], connect: str) -> Iterator[Finding]:
    """Whether one of the webhooks carries the secret."""
    if not any(is_admitted(hook, access) for hook in hooks):
        message = (
            f"the webhook to {hooks[0].url} does not carry CLICKPICK_WEBHOOK_SECRET; its events are refused"
        )
        yield Finding("webhook-secret", "error", message, connect)


def _status(url: str, auth: tuple[str, str] | None) -> int:
    def no_auth(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        return prepared  # nor what a .netrc file may hold

    return requests.get(
        url.rstrip("/") + "/versions",
        params={"project": 0},
        auth=auth or no_auth,
        timeout=HEALTH_SECONDS,
        allow_redirects=False,
    ).status_code
