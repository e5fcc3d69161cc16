"""What is said where no cluster can be joined."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from backend.engines.ray_cluster import ANSWER_SECONDS, connect
from backend.errors import ClusterUnavailable, ConfigProblem
from backend.settings import Settings

pytestmark = pytest.mark.unit


def test_ray_that_is_not_installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigProblem, match=r"install clickpick\[ray\]"):
        connect(settings, "test")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has not joined the cluster of other tests."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "local", "127.0.0.1", "127.0.0.1:head"])
def test_addresses_that_are_none(make_settings: Callable[..., Settings], address: str) -> None:
    with pytest.raises(ValidationError, match="ray_address"):
        make_settings(ray_address=address)


def test_nobody_at_the_address_is_said_at_once(alone: None, make_settings: Callable[..., Settings]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ClusterUnavailable, match=f"no Ray cluster answers at '{address}'"):
            connect(make_settings(ray_address=address), "test")
    assert time.monotonic() - started < ANSWER_SECONDS + 1
