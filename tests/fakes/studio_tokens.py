"""Tokens of the fake Label Studio: personal ones by way of access tokens, the legacy one off at first."""

from __future__ import annotations

import base64
import json
import time

from tests.fakes.http_server import Call, Refusal

LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"
ACCESS_SECONDS = 300
LEGACY_DETAIL = "Authentication token no longer valid: legacy token authentication has been disabled"


class StudioTokens:
    """``pat`` is the personal token; ``legacy_enabled`` lets LEGACY_TOKEN in."""

    def __init__(self) -> None:
        self.legacy_enabled = False
        self.pat = make_token("refresh", seconds=200 * 365 * 86400)
        self._access: dict[str, float] = {}

    def refresh(self, call: Call) -> dict[str, str]:
        if call.body.get("refresh") != self.pat:
            raise Refusal(401, "Token is invalid")
        access = make_token("access", seconds=ACCESS_SECONDS)
        self._access[access] = time.time() + ACCESS_SECONDS
        return {"access": access}

    def revoke(self) -> None:
        self._access.clear()

    def authorise(self, call: Call) -> None:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme == "Token" and token == LEGACY_TOKEN:
            if not self.legacy_enabled:
                raise Refusal(401, LEGACY_DETAIL)
        elif scheme == "Token":
            raise Refusal(401, "Invalid token.")
        elif scheme != "Bearer" or self._access.get(token, 0) < time.time():
            raise Refusal(401, "Authentication credentials were not provided.")


def make_token(kind: str, *, seconds: float) -> str:
    """An unsigned JSON web token that ends so many seconds from now."""
    now = int(time.time())
    claims = {"token_type": kind, "exp": now + int(seconds), "iat": now, "jti": str(time.monotonic_ns())}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, "c2ln"])
