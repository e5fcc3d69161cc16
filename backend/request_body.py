"""Bodies of requests: at most so many bytes, whatever length they declare, and no endless waiting for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

TOO_LARGE = (
    "the request is larger than {limit} bytes; send fewer tasks at once or raise CLICKPICK_MAX_REQUEST_BYTES"
)
CUT_OFF = (
    "the body broke off, or did not come within CLICKPICK_REQUEST_SECONDS; expected {length}; send it again"
)
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int = -1, /) -> bytes: ...


class BodyLimits:
    """WSGI middleware. Flask's own limit is newer than the Flask that label-studio-ml 1.0.9 asks for.

    Nothing is read before the application asks for it: strangers are answered without.
    """

    def __init__(self, application: Application, max_bytes: int) -> None:
        self._application = application
        self._max_bytes = max_bytes

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        declared = str(environ.get("CONTENT_LENGTH") or "")
        length = int(declared) if declared.isascii() and declared.isdigit() else None
        environ["wsgi.input"] = LimitedBody(environ["wsgi.input"], length, self._max_bytes)
        return self._application(environ, start_response)


class LimitedBody:
    """A body that raises 413 beyond ``max_bytes`` and 408 where less comes than ``length``, None for chunked bodies."""

    def __init__(self, source: _Source, length: int | None, max_bytes: int) -> None:
        self._source = source
        self._length = length
        self._max_bytes = max_bytes
        self._count = 0

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, all with -1 or None; fewer at the end."""
        return self._take(self._source.read, size, to_the_end=size is None or size < 0)

    def readline(self, size: int | None = -1) -> bytes:
        return self._take(self._source.readline, size)

    def __iter__(self) -> LimitedBody:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _take(self, read: Callable[[int], bytes], size: int | None, *, to_the_end: bool = False) -> bytes:
        if self._length is not None and self._length > self._max_bytes:
            raise self._too_large()
        most = self._max_bytes - self._count + 1  # one more than allowed, to see that there is more
        wanted = most if size is None or size < 0 else min(size, most)
        try:
            data = read(wanted)
        except OSError as error:  # gunicorn's NoMoreData is one
            raise self._cut_off() from error
        self._count += len(data)
        if self._count > self._max_bytes:
            raise self._too_large()
        if (to_the_end or not data) and wanted and self._length is not None and self._count < self._length:
            raise self._cut_off()
        return data

    def _too_large(self) -> RequestEntityTooLarge:
        return RequestEntityTooLarge(TOO_LARGE.format(limit=self._max_bytes))

    def _cut_off(self) -> RequestTimeout:
        expected = "its last chunk" if self._length is None else f"{self._length} bytes"
        return RequestTimeout(CUT_OFF.format(length=expected))
