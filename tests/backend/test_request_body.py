"""Bodies over the limit, and bodies that break off."""

from __future__ import annotations

import io

import pytest
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from backend.request_body import LimitedBody

pytestmark = pytest.mark.unit


def body(content: bytes, length: int | None, limit: int = 10) -> LimitedBody:
    return LimitedBody(io.BytesIO(content), length, limit)


def read_all(stream: LimitedBody, size: int) -> None:
    while stream.read(size):
        pass


def test_a_body_within_the_limits_comes_through() -> None:
    assert body(b"0123456789", 10).read() == b"0123456789"
    chunked = body(b"0123456789", None)
    assert [chunked.read(6), chunked.read(6), chunked.read(6), chunked.read()] == [
        b"012345",
        b"6789",
        b"",
        b"",
    ]
    assert list(body(b"a\nb\n", 4)) == [b"a\n", b"b\n"]
    assert body(b"", 0).read() == b""
    assert body(b"", None).read(0) == b""


@pytest.mark.parametrize("length", [11, None, 5])
def test_more_than_the_limit_is_413_whatever_is_declared(length: int | None) -> None:
    with pytest.raises(RequestEntityTooLarge, match="larger than 10 bytes"):
        body(b"0123456789ab", length).read()


def test_no_more_is_read_than_is_needed_to_see_that_it_is_too_much() -> None:
    endless = io.BytesIO(b"x" * 1000)
    stream = LimitedBody(endless, None, 10)
    with pytest.raises(RequestEntityTooLarge):
        read_all(stream, 4)
    assert endless.tell() == 11


@pytest.mark.parametrize("size", [-1, 4])
def test_less_than_declared_is_408(size: int) -> None:
    stream = body(b"0123", 9)
    with pytest.raises(RequestTimeout, match="expected 9 bytes"):
        read_all(stream, size)


def test_a_connection_that_goes_is_408() -> None:
    class Gone(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise ConnectionResetError("gone")

    with pytest.raises(RequestTimeout, match="last chunk"):
        LimitedBody(Gone(), None, 10).read()
