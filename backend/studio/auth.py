"""The credential for Label Studio: which kind of token it is, and the Authorization header it makes."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Literal, Protocol, TypeVar

TokenKind = Literal["personal", "access", "legacy"]

RENEW_BEFORE_SECONDS = 30.0
"""An access token with less life left than this is renewed first: a slow request must not outlive it."""


class _HasHeaders(Protocol):
    @property
    def headers(self) -> Any: ...


Request = TypeVar("Request", bound=_HasHeaders)


class Credential:
    """One token of either kind; callable, so that requests and httpx both take it as their ``auth``.

    A personal access token cannot be sent itself: it buys access tokens of five minutes. A legacy token is sent
    as it is, and Label Studio refuses it unless its organisation allows legacy tokens. ``exchange`` turns a
    personal access token into an access token; it is called under a lock, once for all threads that wait.
    """

    def __init__(self, token: str, exchange: Callable[[str], str]) -> None:
        self._token = token
        self._exchange = exchange
        self._claims = read_claims(token)
        self._lock = threading.Lock()
        self._access = ""
        self._valid_until = 0.0

    @property
    def kind(self) -> TokenKind:
        if not self._claims:
            return "legacy"
        return "access" if self._claims.get("token_type") == "access" else "personal"

    @property
    def expires(self) -> datetime | None:
        """When the token itself ends; None for legacy tokens, which do not."""
        seconds = self._claims.get("exp")
        if not isinstance(seconds, (int, float)):
            return None
        return datetime.fromtimestamp(seconds, timezone.utc)

    def __call__(self, request: Request) -> Request:
        request.headers["Authorization"] = self.header()
        return request

    def header(self) -> str:
        """Value of the Authorization header, from a fresh access token where the kind needs one."""
        if self.kind == "legacy":
            return f"Token {self._token}"
        if self.kind == "access":
            return f"Bearer {self._token}"
        with self._lock:
            if time.monotonic() >= self._valid_until:
                self._renew()
            return f"Bearer {self._access}"

    def forget(self) -> bool:
        """Drop the access token that Label Studio has just refused; whether asking again may help.

        The monotonic clock stands still while a machine sleeps, so a token can be older than it seems.
        """
        with self._lock:
            self._valid_until = 0.0
        return self.kind == "personal"

    def _renew(self) -> None:
        access = self._exchange(self._token)
        claims = read_claims(access)
        # The life comes from the token, counted on our own clock: the two machines' clocks may disagree.
        life = float(claims.get("exp", 0)) - float(claims.get("iat", 0))
        self._access = access
        self._valid_until = time.monotonic() + max(life - RENEW_BEFORE_SECONDS, 0.0)


def read_claims(token: str) -> dict[str, Any]:
    """Claims of a JSON web token, unverified (only Label Studio can verify them); empty for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
