"""Reading ends in time."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from backend.watchdog import Watchdog

pytestmark = pytest.mark.unit


def test_reading_of_what_is_overdue_ends_and_writing_does_not() -> None:
    watchdog = Watchdog(0.5)
    ours, theirs = socket.socketpair()
    with ours, theirs, watchdog.watching(ours):
        ours.settimeout(5)
        theirs.sendall(b"a")
        assert ours.recv(10) == b"a"
        started = time.monotonic()
        assert ours.recv(10) == b""
        assert 0.3 < time.monotonic() - started < 3
        ours.sendall(b"answer")
        assert theirs.recv(10) == b"answer"


def test_what_is_done_in_time_is_left_alone_and_no_thread_stays() -> None:
    watchdog = Watchdog(0.5)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with watchdog.watching(ours):
            pass
        time.sleep(1.5)
        assert not [thread for thread in threading.enumerate() if thread.name == "watchdog"]
        theirs.sendall(b"later")
        assert ours.recv(10) == b"later"
