"""Who may call: basic auth for what Label Studio authenticates, a secret header for its webhooks.

Label Studio 1.23 sends a backend's basic auth with /health, /setup, /predict, /versions and START_TRAINING, but not
with the other events: those come from a webhook, which carries only the headers that it was given. A header outlives
what Label Studio does itself: when a backend is added, it makes a webhook unless one with the same address is there.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import request

from backend.errors import NotAllowed
from backend.settings import Settings

WEBHOOK_HEADER = "X-ClickPick-Secret"
OPEN = frozenset({"/health", "/ready"})
"""Answer anybody: checks of containers carry no credentials, and these tell nothing worth hiding."""
ADVICE = (
    "in Label Studio's form of this backend choose Basic authentication, with the user and password of "
    "CLICKPICK_BASIC_AUTH_USER and _PASS, or run `clickpick connect` again"
)
HOOK_ADVICE = (
    f"its webhook needs the header {WEBHOOK_HEADER} with CLICKPICK_WEBHOOK_SECRET; run `clickpick connect`"
)


@dataclass(frozen=True)
class Access:
    """The credentials that are asked for."""

    user: str
    password: str = field(repr=False)
    webhook_secret: str = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Access | None:
        """None where the settings ask for none."""
        if not settings.basic_auth_user:
            return None
        return cls(
            settings.basic_auth_user,
            settings.basic_auth_pass.get_secret_value(),
            settings.webhook_secret.get_secret_value(),
        )

    @property
    def basic(self) -> tuple[str, str]:
        return self.user, self.password

    @property
    def webhook_headers(self) -> dict[str, str]:
        return {WEBHOOK_HEADER: self.webhook_secret}

    def allows(self, path: str, authorization: str, secret: str) -> bool:
        """Whether a request with these two headers may pass; takes as long for a near miss as for any other."""
        if path in OPEN:
            return True
        known = hmac.compare_digest(_credentials(authorization), f"{self.user}:{self.password}".encode())
        # Not short-circuited; a header may hold anything, and compare_digest takes only ASCII as text.
        told = hmac.compare_digest(secret.encode("utf-8", "replace"), self.webhook_secret.encode())
        return known or (told and path == "/webhook")


def guard(access: Access) -> Callable[[], None]:
    """A Flask before_request hook that raises NotAllowed; it comes before anything that reads the body."""

    def check() -> None:
        path = request.path.rstrip("/") or "/"
        headers = request.headers
        if not access.allows(path, headers.get("Authorization", ""), headers.get(WEBHOOK_HEADER, "")):
            advice = HOOK_ADVICE if path == "/webhook" else ADVICE
            raise NotAllowed(f"this ClickPick asks for credentials, got none or wrong ones; {advice}")

    return check


def _credentials(authorization: str) -> bytes:
    """``user:password`` of a Basic header, else nothing."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(coded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
