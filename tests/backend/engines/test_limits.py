"""A training process has its own share of the memory, and its end is nobody else's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.engines import limits, process
from backend.engines.worker import OUT_OF_MEMORY, Worker
from backend.learning.rounds import Outcome
from backend.round_queue import INSTANT
from backend.settings import Settings

pytestmark = pytest.mark.unit

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are Linux's")

GREEDY = """
import numpy as np
import torch
from backend.engines.limits import cap_memory, is_out_of_memory

cap_memory(3000, "cpu")
kept = np.ones(200 << 20, dtype=np.uint8)
for greedy in (lambda: np.ones(4 << 30, dtype=np.uint8), lambda: torch.ones(4 << 30, dtype=torch.uint8)):
    try:
        greedy()
    except Exception as error:
        print(type(error).__name__, is_out_of_memory(error), kept.sum() == len(kept))
    else:
        print("got it")
"""


@linux
def test_what_goes_beyond_the_cap_fails_and_the_process_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", GREEDY], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.endswith("MemoryError True True")
    assert second == "RuntimeError True True"


def test_other_errors_are_not_for_want_of_memory() -> None:
    assert not limits.is_out_of_memory(RuntimeError("shapes do not match"))
    assert not limits.is_out_of_memory(ValueError("can't allocate memory"))


def test_a_container_has_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = limits.memory_of_the_machine()
    given, unlimited = tmp_path / "given", tmp_path / "unlimited"
    given.write_text("123456789\n")
    unlimited.write_text("max\n")
    monkeypatch.setattr(limits, "CGROUP_LIMITS", (unlimited, tmp_path / "none"))
    assert limits.memory_of_the_machine() >= whole
    monkeypatch.setattr(limits, "CGROUP_LIMITS", (unlimited, given))
    assert limits.memory_of_the_machine() == 123456789


@linux
def test_the_system_kills_a_training_process_first(settings: Settings) -> None:
    started = process.spawn(settings, INSTANT)
    try:
        score = int(Path(f"/proc/{started.pid}/oom_score_adj").read_text())
        assert score == limits.OOM_SCORE > int(Path("/proc/self/oom_score_adj").read_text())
    finally:
        process.end(started)


def test_a_round_without_memory_fails_with_advice_and_the_next_one_runs(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(make_settings())
    outcomes: list[Outcome | BaseException] = [MemoryError(), Outcome("v1", "fine")]

    def run(*_: object) -> Outcome:
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(worker._runner, "run", run)
    ended = []
    for _ in range(2):
        worker._store.rounds.request(1, "test")
        ended.append(worker.run_one())
    assert [(done.state, done.message) for done in ended if done] == [
        ("failed", OUT_OF_MEMORY),
        ("done", "fine"),
    ]
