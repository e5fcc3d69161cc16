"""The loop of a training process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from backend.engines import worker
from backend.settings import Settings

pytestmark = pytest.mark.unit


class Enough(Exception):
    """Ends a loop that has no end."""


def test_torchs_compiler_is_imported_once_and_not_in_the_first_seconds(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, imported = [0.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 60:
            raise Enough

    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker.time, "sleep", sleep)
    monkeypatch.setattr(worker, "_import_compiler", lambda: imported.append(now[0]))
    with pytest.raises(Enough):
        worker.Worker(make_settings()).run_forever()
    (when,) = imported
    assert worker.PREPARE_SECONDS < when < worker.PREPARE_SECONDS + 1


def test_it_is_what_an_optimiser_needs() -> None:
    worker._import_compiler()
    assert "torch._dynamo" in sys.modules
