"""Bytes of an image over HTTP, with the policy applied at every hop and limits on size and time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from backend.errors import ClickPickError, ImageProblem, ImageRefused
from backend.images.own_paths import needs_token, refuse_climbing
from backend.images.policy import HostPolicy, public_url
from backend.studio import Studio, origin_of
from backend.studio.http import open_session, unreachable
from backend.watchdog import Watchdog

MAX_REDIRECTS = 5
CHUNK_BYTES = 1 << 16
RESOLVE_PATH = re.compile(r"/(tasks|projects)/\d+/(resolve|presign)/?$")
"""Where Label Studio answers for cloud files; it redirects to a host that its administrator has set up."""


class Downloader:
    """Fetches URLs that are absolute already. Thread-safe."""

    def __init__(
        self,
        studio: Studio,
        policy: HostPolicy,
        *,
        max_bytes: int,
        timeout: tuple[float, float],
        deadline: float,
    ) -> None:
        self._studio = studio
        self._policy = policy
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._deadline = deadline
        self._own = open_session()
        self._foreign = open_session()
        watchdog = Watchdog(deadline)
        self._foreign.mount("http://", GuardedAdapter(policy, watchdog))
        self._foreign.mount("https://", GuardedAdapter(policy, watchdog))

    def close(self) -> None:
        self._own.close()
        self._foreign.close()

    def fetch(self, url: str, shown: str) -> bytes:
        """Body of the first answer that is no redirect; ``url`` itself and each redirect pass the policy.

        ``shown``: the address as the task has it, for messages.
        """
        until = time.monotonic() + self._deadline
        from_studio = False
        for _ in range(MAX_REDIRECTS + 1):
            with self._open(url, from_studio=from_studio) as response:
                target = response.headers.get("Location")
                if not (response.is_redirect and target):
                    self._check_status(response, url, shown)
                    return self._read(response, url, shown, until)
            from_studio = from_studio or (self._is_own(url) and bool(RESOLVE_PATH.search(urlsplit(url).path)))
            url = urljoin(url, target)
        raise ImageProblem(f"image at {shown} redirects more than {MAX_REDIRECTS} times; check its address")

    def _open(self, url: str, *, from_studio: bool) -> requests.Response:
        """GET without following. ``from_studio``: Label Studio sent us here, so any public host will do."""
        if urlsplit(url).scheme not in ("http", "https"):
            message = f"image address {public_url(url)} is not supported; expected http:// or https://"
            raise ImageRefused(message)
        own = self._is_own(url)
        _refuse_login(url)
        if own:
            refuse_climbing(url)
        else:
            if not from_studio:
                self._policy.check_host(url)
            self._policy.check_resolved(url)
        session = self._own if own else self._foreign
        auth: Callable[[Any], Any] = self._studio.credential if self._is_entitled(url) else _anonymous
        try:
            return session.get(
                url,
                auth=auth,
                timeout=self._timeout,
                stream=True,
                allow_redirects=False,
                headers={"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
            )
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise self._failure(url, error) from error

    def _read(self, response: requests.Response, url: str, shown: str, until: float) -> bytes:
        body = bytearray()
        try:
            # read1 returns what has come: a server that drips bytes cannot hold the thread past the deadline.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > self._max_bytes:
                    raise ImageProblem(
                        f"image at {shown} is larger than {self._max_bytes} bytes; make it smaller or raise "
                        "CLICKPICK_MAX_IMAGE_BYTES"
                    )
                if time.monotonic() > until:
                    raise ImageProblem(
                        f"image at {shown} took longer than {self._deadline:g} s; check the connection to "
                        "its host"
                    )
        except (requests.RequestException, HTTPError) as error:
            raise self._failure(url, error) from error
        return bytes(body)

    def _check_status(self, response: requests.Response, url: str, shown: str) -> None:
        status = response.status_code
        if status == 200:
            return
        own = self._is_own(url)
        if own and status in (502, 503, 504):
            raise unreachable(self._studio.url, requests.HTTPError(f"status {status}"))
        advice = _advice(status, urlsplit(url).path, own=own)
        if own and status in (401, 403) and not self._is_entitled(url):
            advice = "ClickPick shows its token only where Label Studio serves images, such as /data/upload/"
        elif own and status == 401:
            self._studio.credential.forget()
        raise ImageProblem(f"image at {shown}: the server answered {status}; {advice}")

    def _is_entitled(self, url: str) -> bool:
        return self._is_own(url) and needs_token(url, urlsplit(self._studio.url).path)

    def _failure(self, url: str, error: Exception) -> ClickPickError:
        """Our error for a transport error."""
        if self._is_own(url):
            return unreachable(self._studio.url, error)
        reason = "did not answer in time" if "timed out" in str(error).lower() else "cannot be fetched"
        return ImageProblem(
            f"image at {public_url(url)} {reason} ({type(error).__name__}); check that ClickPick can reach its host"
        )

    def _is_own(self, url: str) -> bool:
        try:
            return origin_of(url) == self._studio.origin
        except ValueError:
            return False


class GuardedAdapter(HTTPAdapter):
    """Checks the address of every connection it opens before a byte is sent.

    A name can resolve to a public address when it is checked and to a private one a moment later. Through a proxy
    the connection is the proxy's, and only the check of the name before is left.
    """

    def __init__(self, policy: HostPolicy, watchdog: Watchdog) -> None:
        self._policy = policy
        self._watchdog = watchdog
        super().__init__(pool_maxsize=32)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = guarded_pools(self._policy, self._watchdog)


def guarded_pools(policy: HostPolicy, watchdog: Watchdog) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose sockets are checked against the policy, and whose headers come in time."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), policy, self.host)

        def getresponse(self) -> Any:
            with watchdog.watching(self.sock):
                return super().getresponse()

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), policy, self.host)

        def getresponse(self) -> Any:
            with watchdog.watching(self.sock):
                return super().getresponse()

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


def _checked(connection: socket.socket, policy: HostPolicy, host: str) -> socket.socket:
    try:
        policy.check_address(str(connection.getpeername()[0]), host)
    except BaseException:
        connection.close()
        raise
    return connection


def _advice(status: int, path: str, *, own: bool) -> str:
    if own and status == 500 and "/data/upload/" in path:
        return "Label Studio does so when the uploaded file is missing; upload it again or delete the task"
    if own and status in (403, 404) and "/data/local-files" in path:
        return (
            "Label Studio needs LOCAL_FILES_SERVING_ENABLED=true and, in the project's settings, a Local Files "
            "storage that covers this path"
        )
    if own and status == 404 and RESOLVE_PATH.search(path):
        return "the project needs a cloud storage for this bucket, in its settings"
    if own and status in (401, 403):
        return "check LABEL_STUDIO_API_KEY and that its user may see the project"
    return "check that the image exists and may be read"


def _refuse_login(url: str) -> None:
    if "@" in urlsplit(url).netloc:
        raise ImageRefused(
            f"image address {public_url(url)} holds a user or password; expected none, for whoever sees the task sees "
            "them; serve the image through a storage of Label Studio"
        )


def _anonymous(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials, not even those that requests would find in a .netrc file or in the address."""
    return request
