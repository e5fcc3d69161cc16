"""Generated bodies over real HTTP: no 500, no hang, no memory that grows. ``make soak`` sends 10,000."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.conftest import PATHS, SOAK, Target
from tests.fuzz.near import as_json, near

QUICK, ALL, WARM_UP = 120, 9_000, 1_500
GROWTH = 0.05


def run(target: Target, count: int, number: int) -> None:
    """Send so many bodies, to all three paths in turn."""

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def send(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(PATHS))
        target.post(path, as_json(data.draw(near(target.bodies[path]))))

    send()


@pytest.mark.integration
def test_some_bodies(target: Target) -> None:
    if SOAK:
        pytest.skip("the long run follows")
    run(target, QUICK, number=1)
    assert target.slow == []


@pytest.mark.integration
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/json"),
        (b"{}", "text/plain"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        ('{"project": 1}'.encode("utf-16"), "application/json"),
        (b"{" * 1000, "application/json; charset=utf-7"),
    ],
)
def test_what_is_no_json_at_all(target: Target, path: str, content: bytes, content_type: str) -> None:
    assert target.post(path, content, content_type).status_code == 400


@pytest.mark.slow
@pytest.mark.integration
def test_ten_thousand_bodies_and_a_memory_that_stays(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    if not SOAK:
        pytest.skip("takes minutes: set CLICKPICK_SOAK=1 (make soak)")
    run(target, WARM_UP, number=2)
    before = after = target.memory()
    for part in range(6):
        run(target, ALL // 6, number=3 + part)
        after = target.memory()
        with capsys.disabled():
            print(json.dumps(figures(target, before, after)))  # noqa: T201
    assert len(target.seconds) >= 10_000
    assert target.slow == []
    assert after < before * (1 + GROWTH)


def figures(target: Target, before: float, after: float) -> dict[str, Any]:
    """What a run has shown so far."""
    return {
        "bodies": len(target.seconds),
        "statuses": {f"{path} {status}": count for (path, status), count in sorted(target.statuses.items())},
        "p50_ms": round(float(np.percentile(target.seconds, 50)) * 1000, 1),
        "p99_ms": round(float(np.percentile(target.seconds, 99)) * 1000, 1),
        "slowest_ms": round(max(target.seconds) * 1000, 1),
        "rss_after_warm_up_mb": round(before, 1),
        "rss_now_mb": round(after, 1),
    }
