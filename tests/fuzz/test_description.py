"""What schemathesis makes of docs/openapi.json: requests as described, and requests that are not, for every route."""

from __future__ import annotations

import time
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from tests.backend.app.described import DESCRIPTION, problems
from tests.fuzz.conftest import PATHS, SOAK, Target

pytestmark = [pytest.mark.integration]

OPERATIONS = [
    (path, method.upper())
    for path, found in DESCRIPTION["paths"].items()
    for method in found
    if method != "parameters"
]
CASES = [
    (path, method, mode)
    for path, method in OPERATIONS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE
    or path in (*PATHS, "/versions")  # the others take nothing that could be wrong
]
COUNT = 250 if SOAK else 5


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_answers_are_as_described(target: Target, path: str, method: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_dict(DESCRIPTION)[path][method]
    described = DESCRIPTION["paths"][path][method.lower()]["responses"]

    @seed(1)
    @settings(
        max_examples=COUNT if path in (*PATHS, "/versions") else 1,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        started = time.monotonic()
        answer = target.session.request(**case.as_transport_kwargs(base_url=target.server.url), timeout=30)
        target.judge(path, answer, time.monotonic() - started)
        body = described.get(str(answer.status_code), described["default"])
        if "$ref" in body:
            body = DESCRIPTION["components"]["responses"]["Failure"]
        (kind, content), *_ = body.get("content", {"": {}}).items()
        assert answer.headers["Content-Type"].startswith(kind)
        if kind != "application/json":
            return
        schema = {
            **content["schema"],
            "components": DESCRIPTION["components"],
        }
        assert problems(answer.json(), schema) == []

    send()
    assert target.slow == []
