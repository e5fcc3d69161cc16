"""Shards of a queue, scored by a real cluster, are what this process would make of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from backend.engines import ray_scoring
from backend.engines.ray_scoring import Common, RayScoring, score
from backend.errors import ClusterUnavailable, StudioRefused, StudioUnavailable
from backend.learning.queue import Answered, Proposer, Queue
from backend.learning.scoring import Prediction, ScoringHere
from backend.services import open_images, open_studio
from backend.settings import Settings
from backend.studio import TaskInfo
from label_config import read_schema
from tests.backend.conftest import answers
from tests.backend.engines.soak import SOAK_ONLY
from tests.backend.learning.loop import Loop
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.usefixtures("cluster"), SOAK_ONLY]


@pytest.fixture
def queue(settings: Settings, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]) -> Iterator[Queue]:
    """Of a version that was learnt from two tasks, with some more answered since."""
    project, tasks = pixel_project
    for task in tasks[:2]:
        fake.annotate(task, answers(task))
    loop = Loop(settings)
    loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    schema = read_schema(fake.projects[project]["label_config"])
    assert schema.pixel_image is not None
    made = loop.runner._queue(project, schema, schema.pixel_image, live)
    answered = {(task, None): [(4, number), (30, 2 * number)] for number, task in enumerate(tasks)}
    yield replace(made, answered=answered, labelled=dict.fromkeys(tasks[:2], True))
    loop.close()


@pytest.fixture
def chunks(fake: FakeLabelStudio, queue: Queue) -> list[list[TaskInfo]]:
    """Chunks of a queue of eight; the image of one has gone."""
    fake.upload(queue.project, "gone.jpg", b"no image")
    fake.add_task(queue.project, {"image": "/data/upload/none.jpg"})
    found = [TaskInfo(task["id"], task["data"], False) for task in fake.tasks.values()]
    return [found[:2], found[2:5], found[5:]]


def never() -> bool:
    return False


def here(settings: Settings, queue: Queue, chunks: Sequence[Sequence[TaskInfo]], mean: Any) -> list[Any]:
    studio = open_studio(settings)
    proposer = Proposer(settings, open_images(settings, studio))
    return list(ScoringHere(proposer.proposal).proposals(queue, chunks, mean, never))


@pytest.mark.parametrize(("shards", "size"), [(1, 1), (2, 4), (0, 3)])
def test_shards_give_what_this_process_gives_whatever_their_size_and_number(
    make_settings: Callable[..., Settings], queue: Queue, chunks: list[list[TaskInfo]], shards: int, size: int
) -> None:
    settings = make_settings(ray_shards=shards, ray_shard_tasks=size)
    found = list(RayScoring(settings).proposals(queue, chunks, lambda: 0.3, never))
    assert found == here(settings, queue, chunks, lambda: 0.3)
    assert [None if p is None else p["task"] for p in found[:6]] == [t.id for c in chunks for t in c][:6]
    assert found[6:] == [None, None]
    assert all(p is not None and p["result"] for p in found[:6])


def test_over_the_queue_each_chunk_is_told_what_is_known_when_those_before_were_taken(
    make_settings: Callable[..., Settings], queue: Queue, chunks: list[list[TaskInfo]]
) -> None:
    settings = make_settings(budget="queue", ray_shard_tasks=1)

    def taken(scoring: Any) -> tuple[list[Any], list[int]]:
        found: list[Any] = []
        known: list[int] = []

        def mean() -> float:
            known.append(len(found))
            return 0.02 * (1 + len(found))

        for prediction in scoring.proposals(queue, chunks, mean, never):
            found.append(prediction)
        return found, known

    studio = open_studio(settings)
    local = ScoringHere(Proposer(settings, open_images(settings, studio)).proposal)
    found, known = taken(RayScoring(settings))
    assert known == [0, 2, 5]
    assert (found, known) == taken(local)


def test_before_any_version_the_first_pixels_are_the_same_ones(
    make_settings: Callable[..., Settings], queue: Queue, chunks: list[list[TaskInfo]]
) -> None:
    settings = make_settings()
    first = replace(queue, learner=None, published=None, version="clickpick-1-v0-abc")
    found = list(RayScoring(settings).proposals(first, chunks, lambda: None, never))
    assert found == here(settings, first, chunks, lambda: None)
    assert found[0]["score"] == 0.0


def test_no_more_shards_are_under_way_than_the_settings_say(
    make_settings: Callable[..., Settings], queue: Queue, chunks: list[list[TaskInfo]]
) -> None:
    scoring = RayScoring(make_settings(ray_shards=2, ray_shard_tasks=1))
    read: list[int] = []

    def reading() -> Iterator[list[TaskInfo]]:
        for chunk in chunks:
            read.append(len(chunk))
            yield chunk

    proposals = scoring.proposals(queue, reading(), lambda: None, never)
    next(proposals)
    assert read == [2, 3], "the third task is begun when the first is taken"
    proposals.close()


def test_when_the_turn_is_over_shards_that_were_begun_are_taken_and_no_more_are_begun(
    make_settings: Callable[..., Settings], queue: Queue, chunks: list[list[TaskInfo]]
) -> None:
    scoring = RayScoring(make_settings(ray_shards=3, ray_shard_tasks=1))
    taken: list[Any] = []
    for prediction in scoring.proposals(queue, chunks, lambda: None, lambda: len(taken) >= 1):
        taken.append(prediction)
    assert [found["task"] for found in taken] == [task.id for chunk in chunks for task in chunk][:3]


def dies_once(common: Common, tasks: Sequence[TaskInfo], answered: Answered, mean: float | None) -> Any:
    mark = common.settings.data / f"died-{tasks[0].id}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return score(common, tasks, answered, mean)


def always_dies(*_: object) -> list[Prediction | None]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def test_a_shard_whose_worker_dies_is_run_again(
    settings: Settings, queue: Queue, chunks: list[list[TaskInfo]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_scoring, "score", dies_once)
    found = list(RayScoring(settings).proposals(queue, chunks[1:2], lambda: None, never))
    assert list(settings.data.glob("died-*"))
    assert found == here(settings, queue, chunks[1:2], lambda: None)


def test_a_shard_whose_workers_always_die_is_given_up_with_a_reason(
    settings: Settings, queue: Queue, chunks: list[list[TaskInfo]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_scoring, "score", always_dies)
    monkeypatch.setattr(ray_scoring, "RETRIES", 1)
    with pytest.raises(ClusterUnavailable, match=r"died 2 times.*memory"):
        list(RayScoring(settings).proposals(queue, chunks[:1], lambda: None, never))


def test_what_fails_there_fails_as_it_would_here(
    settings: Settings, fake: FakeLabelStudio, queue: Queue, chunks: list[list[TaskInfo]]
) -> None:
    fresh = settings.model_copy(update={"image_cache_mb": 1})  # another worker's caches
    fake.broken = 503
    with pytest.raises(StudioUnavailable) as caught:
        list(RayScoring(fresh).proposals(queue, chunks[:1], lambda: None, never))
    assert type(caught.value) is StudioUnavailable
    fake.broken = 403
    with pytest.raises(StudioRefused) as refused:
        list(RayScoring(fresh).proposals(queue, chunks[:1], lambda: None, never))
    assert refused.value.studio_status == 403
