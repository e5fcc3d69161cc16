"""A project of thousands of tasks: what a round holds of each is bounded, and what is served next comes first."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backend.learning import queue
from backend.settings import Settings
from benchmarks.simulated_studio import PROJECT, SimulatedStudio, serve
from tests.backend.learning.fake_learners import INSTANT, Behaviour
from tests.backend.learning.loop import Loop

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL, LARGE = 1000, 5000
ANNOTATED = 100
PUSH_CHUNK = 32
MOST_BYTES = 100
"""Of a task, the simulated Label Studio's own included, which runs in this process."""


@dataclass
class Traced:
    """Python's memory in bytes: what a round left, and the most that it had at once."""

    left: int
    peak: int


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task has a score of its own, and no queries."""

    def propose(pages: Any, *_: object, **__: object) -> dict[str, Any]:
        score = (pages[0].task * 7919 % 10_007) / 10_007
        return {"score": score, "result": [], "model_version": _[2]}

    monkeypatch.setattr(queue, "propose", propose)


def loop(url: str, studio: SimulatedStudio, folder: Path) -> Loop:
    settings = Settings(
        _env_file=None, label_studio_url=url, label_studio_api_key=SecretStr(studio.token), data=folder,
        device="cpu", learner=INSTANT, deep_learner="", initial="random", push_chunk=PUSH_CHUNK,
    )  # type: ignore[call-arg]  # fmt: skip
    folder.mkdir()
    return Loop(settings)


def traced(run: Callable[[], object]) -> Traced:
    gc.collect()
    tracemalloc.start()
    try:
        run()
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        return Traced(tracemalloc.get_traced_memory()[0], peak)
    finally:
        tracemalloc.stop()


def test_memory_of_a_round_hardly_grows_with_the_number_of_tasks(
    scored: None, instant: Behaviour, tmp_path: Path
) -> None:
    found = {}
    for size in (SMALL, SMALL, LARGE):  # the first one loads what is loaded once
        studio = SimulatedStudio(size, ANNOTATED)
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        with serve(studio) as url, closing(loop(url, studio, folder)) as project:
            found[size] = traced(lambda project=project: project.run(PROJECT))  # type: ignore[misc]
        (order,) = studio.order.values()
        assert sorted(order) == list(range(ANNOTATED + 1, size + 1)), "each once"
        assert studio.most_data == PUSH_CHUNK
    more = LARGE - SMALL
    assert (found[LARGE].left - found[SMALL].left) / more <= MOST_BYTES
    assert (found[LARGE].peak - found[SMALL].peak) / more <= MOST_BYTES


def test_of_a_long_queue_what_is_served_next_is_scored_first(
    scored: None, instant: Behaviour, tmp_path: Path
) -> None:
    studio = SimulatedStudio(LARGE, ANNOTATED)
    with serve(studio) as url, closing(loop(url, studio, tmp_path / "data")) as project:
        project.run(PROJECT)
        (first,) = studio.order
        scores = studio.scores[first]
        certain_last = sorted(range(ANNOTATED + 1, LARGE + 1), key=lambda task: scores[task - 1])
        studio.annotate(certain_last[0])
        listed = studio.calls["GET tasks"]
        outcome = project.run(PROJECT, superseded=lambda: True)
        assert studio.order[str(outcome.version)] == certain_last[1:5], "the window of two, and the next two"
        assert studio.calls["GET tasks"] - listed <= 5, "what changed, their number, the window, a chunk"
        again = Loop(project.settings)  # a training process that knows nothing yet
        studio.annotate(certain_last[1])
        listed = studio.calls["GET tasks"]
        with closing(again):
            outcome = again.run(PROJECT, superseded=lambda: True)
        assert studio.order[str(outcome.version)][:2] == certain_last[2:4]
        assert studio.calls["GET tasks"] - listed <= 5, "no list of all tasks before the window"
        assert not outcome.complete
