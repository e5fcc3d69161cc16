"""Scoring of a queue on a Ray cluster: shards of a few tasks, several at once, taken in the order of the queue.

A shard is a function of what is sent along: who runs it, and how often, changes nothing. Ray runs it again where its
worker or node dies. Of finished shards only so many wait to be taken, in Ray's object store.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from backend import log_context
from backend.engines.ray_cluster import available, resources
from backend.engines.ray_process import BACKGROUND, become_background, for_workers
from backend.errors import ClickPickError, ClusterUnavailable
from backend.images import ImageFetcher
from backend.learning.labelled import image_urls
from backend.learning.queue import Answered, Proposer, Queue
from backend.learning.scoring import IsOver, Mean, Prediction, Proposals, ScoringHere
from backend.learning.versions import VersionLoader
from backend.services import open_images, open_shared, open_studio
from backend.settings import Settings
from backend.studio import TaskInfo
from model_zoo.errors import ModelZooError
from model_zoo.learners.base import Learner
from model_zoo.learners.features import FeatureCache

LOG = logging.getLogger(__name__)
RETRIES = 3
"""Of a shard whose worker or node died."""
A_WORKER = 2
"""Shards under way for each worker that there is room for: one that is run, and the next."""
LONG_WAIT = 60.0
LEAST_SHARDS = 4
"""Under way at once, so that a cluster that grows with its load sees some."""


NOTHING_KEPT = FeatureCache(max_bytes=0)


@dataclass(frozen=True)
class Common:
    """What all shards of a queue share, sent once to each node. ``queue`` has no learner and no labels."""

    settings: Settings
    queue: Queue
    log_fields: Mapping[str, object]


class RayScoring:
    """Scores for the rounds of this process, as `Scoring` says, on whatever nodes the cluster has."""

    def __init__(self, settings: Settings) -> None:
        self._settings = for_workers(settings, settings.ray_round_gpus)
        self._score: Any = None

    def proposals(
        self, queue: Queue, chunks: Iterable[Sequence[TaskInfo]], mean: Mean, is_over: IsOver
    ) -> Proposals:
        """See `Scoring`. Raises ClusterUnavailable where a shard's workers died again and again."""
        if not self._has_room():
            yield from self._here.proposals(queue, chunks, mean, is_over)
            return
        import ray  # noqa: PLC0415 - an extra

        bare = replace(queue, learner=None, answered={}, labelled={})
        common = ray.put(Common(self._settings, bare, log_context.current()))
        self._score = self._score or ray.remote(
            num_cpus=self._settings.ray_round_cpus,
            num_gpus=self._settings.ray_round_gpus,
            max_retries=RETRIES,
            max_calls=0,  # with a GPU, too, a worker keeps the learner for the next shard
            runtime_env=BACKGROUND,
        )(score)
        most, under_way = self._most_shards(), deque[Any]()
        told = self._settings.budget == "queue"
        try:
            for tasks in chunks:
                if told:  # what a chunk is told depends on all that come before it
                    yield from _taken(under_way, 0)
                of_queue = mean() if told else None
                for part in _shards(tasks, self._settings.ray_shard_tasks):
                    yield from _taken(under_way, most - 1)
                    if is_over():
                        yield from _taken(under_way, 0)
                        return
                    under_way.append(self._score.remote(common, part, _answered(queue, part), of_queue))
            yield from _taken(under_way, 0)
        finally:
            for left in under_way:
                ray.cancel(left)

    def _has_room(self) -> bool:
        """False where no GPU is left beside the round's own: its shards would wait for it, and it for them."""
        gpus = self._settings.ray_round_gpus
        return not gpus or available().get("GPU", 0.0) >= gpus

    @cached_property
    def _here(self) -> ScoringHere:
        images = open_images(self._settings, open_studio(self._settings))
        return ScoringHere(Proposer(self._settings, images).proposal)

    def _most_shards(self) -> int:
        """Under way at once."""
        if self._settings.ray_shards:
            return self._settings.ray_shards
        found = resources()
        places = found.get("CPU", 0.0) / self._settings.ray_round_cpus
        if self._settings.ray_round_gpus:
            places = min(places, found.get("GPU", 0.0) / self._settings.ray_round_gpus)
        return max(LEAST_SHARDS, A_WORKER * int(places))


def _taken(under_way: deque[Any], left: int) -> Iterator[Prediction | None]:
    """The predictions of the shards begun first, until only so many are left."""
    import ray  # noqa: PLC0415 - an extra
    from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415

    while len(under_way) > left:
        first = under_way.popleft()
        try:
            if not ray.wait([first], timeout=LONG_WAIT)[0]:
                LOG.warning(
                    "a part of the queue waits for %.0f s: are the cluster's places taken?",
                    LONG_WAIT,
                )
            predictions = ray.get(first)
        except RayTaskError as error:
            if not isinstance(error.cause, (ClickPickError, ModelZooError)):
                LOG.error("a shard failed: %s", error)  # with its traceback, which the cause has lost
            raise error.cause from None
        except RayError as error:
            raise ClusterUnavailable(
                f"a part of the queue could not be scored: its worker on the Ray cluster died {RETRIES + 1} times "
                f"({type(error).__name__}); see that workers have memory enough, or lower CLICKPICK_RAY_SHARD_TASKS"
            ) from error
        yield from predictions


def _shards(tasks: Sequence[TaskInfo], size: int) -> Iterator[Sequence[TaskInfo]]:
    for start in range(0, len(tasks), size):
        yield tasks[start : start + size]


def _answered(queue: Queue, tasks: Sequence[TaskInfo]) -> Answered:
    """Of these tasks alone; a project may have millions of labels."""
    keys = [(task.id, item) for task in tasks for item, _ in image_urls(queue.target, task.data)]
    return {key: queue.answered[key] for key in keys if key in queue.answered}


def score(
    common: Common, tasks: Sequence[TaskInfo], answered: Answered, of_queue: float | None
) -> list[Prediction | None]:
    """The predictions of a shard's tasks. Runs in a worker of the cluster."""
    log_context.clear()
    log_context.bind(**common.log_fields)
    scorer = _scorer(common.settings)
    queue = replace(common.queue, answered=answered, learner=scorer.learner(common.queue))
    return [scorer.proposer.proposal(queue, task, of_queue) for task in tasks]


class _Scorer:
    """What a worker keeps between shards: images and the learner of a version. It needs no database."""

    def __init__(self, settings: Settings) -> None:
        become_background(settings, gpus=settings.ray_round_gpus)
        studio = open_studio(settings)
        images: ImageFetcher = open_images(settings, studio)
        self.proposer = Proposer(settings, images)
        self._versions = VersionLoader(
            settings.versions_folder, lambda: settings.torch_device, storage=open_shared(settings)
        )

    def learner(self, queue: Queue) -> Learner | None:
        """That of the queue's version. Features at the queries are kept for the next fit only where that runs."""
        if queue.published is None:
            return None
        learner = self._versions.load(queue.published)
        learner.use_cache(NOTHING_KEPT)
        return learner


_scorer = cache(_Scorer)
