"""Plain JSON requests to Label Studio, and the one place where its answers become our errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from backend.errors import ClickPickError, StudioRefused, StudioUnavailable
from backend.studio.auth import Credential

CONNECT_SECONDS = 5.0
DETAIL_LIMIT = 400
"""Characters of Label Studio's own words that a message repeats."""

ADVICE = {
    401: "create a personal access token in Label Studio under Account & Settings and set LABEL_STUDIO_API_KEY to it",
    403: "the token's user needs the right to do this",
    404: "it does not exist, or the token's user may not see it",
    413: "send less at once",
}


class StudioHttp:
    """One pooled session; safe to share between threads. Keeps no cookies, follows no redirects."""

    def __init__(self, url: str, token: str, *, timeout: float) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.credential = Credential(token, self._exchange)
        self._session = open_session()

    def close(self) -> None:
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
    ) -> Any:
        """Decoded JSON of the answer, None when it is empty. ``path`` starts with "/"."""
        what = f"{method} {path}"
        response = self._send(method, path, params, body, timeout)
        if response.status_code == 401 and self.credential.forget():
            response = self._send(method, path, params, body, timeout)
        return _decode(response, self.url, what)

    def _send(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: Any, timeout: float | None
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self.url + path,
                params=params,
                json=body,
                auth=self.credential,
                timeout=(CONNECT_SECONDS, timeout or self.timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise unreachable(self.url, error) from error

    def _exchange(self, token: str) -> str:
        try:
            response = self._session.post(
                f"{self.url}/api/token/refresh/",
                json={"refresh": token},
                auth=_no_auth,
                timeout=(CONNECT_SECONDS, self.timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise unreachable(self.url, error) from error
        answer = _decode(response, self.url, "POST /api/token/refresh/")
        return str(answer["access"]) if isinstance(answer, dict) and "access" in answer else ""


def open_session() -> requests.Session:
    """A session that keeps no cookies, with room for as many connections as the server has threads."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_maxsize=32)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def unreachable(url: str, error: Exception) -> StudioUnavailable:
    """The error for a Label Studio that cannot be reached or does not answer in time."""
    reason = "did not answer in time" if "timed out" in str(error).lower() else "cannot be reached"
    return StudioUnavailable(
        f"Label Studio at {url} {reason} ({type(error).__name__}); check that it runs and that LABEL_STUDIO_URL is "
        "its address as seen from ClickPick"
    )


def refusal(url: str, what: str, status: int, body: Any) -> ClickPickError:
    """The error for an answer that is no success. ``body``: decoded JSON or text of the answer."""
    said = f"Label Studio at {url} answered {status} to {what}: {detail(body)}"
    if status >= 500:
        return StudioUnavailable(f"{said}; its log has the reason")
    advice = ADVICE.get(status)
    return StudioRefused(f"{said}; {advice}" if advice else said, status)


def detail(body: Any) -> str:
    """Label Studio's own words in an error body, shortened; pages of HTML are not repeated."""
    if isinstance(body, dict):
        told = body.get("validation_errors") or body.get("detail") or body
        text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
    else:
        text = str(body or "").strip()
        if text.startswith("<"):
            text = "a page of HTML"
    return text if len(text) <= DETAIL_LIMIT else text[:DETAIL_LIMIT] + "…"


def _decode(response: requests.Response, url: str, what: str) -> Any:
    if 300 <= response.status_code < 400:
        target = response.headers.get("Location", "").split("?")[0]
        message = (
            f"Label Studio at {url} redirects {what} to {target}; set LABEL_STUDIO_URL to where it answers"
        )
        raise StudioRefused(message, response.status_code)
    try:
        body = response.json() if response.content else None
    except requests.JSONDecodeError:
        body = response.text
    if response.status_code >= 400:
        raise refusal(url, what, response.status_code, body)
    if isinstance(body, str):
        message = f"{url} answered {what} with {detail(body)}, not JSON; set LABEL_STUDIO_URL to Label Studio"
        raise StudioRefused(message, response.status_code)
    return body


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
