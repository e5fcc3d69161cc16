"""A segmenter replica: one process of Ray Serve, with the same caches and model threads as a local engine.

It holds no database connection and none of the credentials that callers of the web processes give.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from typing import Any

from pydantic import SecretStr
from ray import serve

from backend import log_context
from backend.engines.answering import Answering
from backend.engines.model_threads import ModelThreads
from backend.engines.process import CREDENTIALS
from backend.engines.ray_messages import Call, Failure, Figures, Kind, Recorder, Reply
from backend.logs import configure_logging
from backend.memory import bound_freed_memory, keep_freed_memory
from backend.services import Sources
from backend.settings import Settings

ONGOING = 32
"""Calls at once in a replica, most of which wait for an image or the model; more than that go to another replica."""
WEB_ONLY = (
    *CREDENTIALS,
    "database_url",
    "engine",
    "host",
    "max_request_bytes",
    "port",
    "ray_address",
    "request_seconds",
    "threads",
)
"""Settings of web processes: replicas get the defaults, and are the same for web processes that differ in these."""


def replica_settings(settings: Settings) -> dict[str, Any]:
    """All settings by name, as replicas are made with them."""
    defaults = {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in WEB_ONLY}
    folders = {
        "data": settings.data.absolute(),
        "weights": settings.weights and settings.weights.absolute(),
    }  # replicas start in another folder than web processes
    return {**settings.model_dump(), **defaults, **folders}


def digest_of(values: Mapping[str, Any]) -> str:
    """The same for replicas that answer alike: of their settings and the release. Tells no secret."""
    shown = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
    }
    return hashlib.sha256(repr((version("clickpick"), sorted(shown.items()))).encode()).hexdigest()


class Replica:
    """Answers calls of web processes. values: as of `replica_settings`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Builds the default segmenter, against the rule: Ray Serve sends no call before this has returned."""
        settings = Settings(_env_file=None, **values)
        configure_logging(settings.log_level, settings.log_format)
        keep_freed_memory()
        bound_freed_memory()
        self._digest = digest_of(values)
        self._name = serve.get_replica_context().replica_id.unique_id
        self._recorder = Recorder()
        self._models = ModelThreads(settings, cores=max(1, int(settings.ray_cpus)))
        sources = Sources(settings, self._recorder)
        self._answering = Answering(settings, sources, self._models, self._recorder)
        self._methods: dict[Kind, Callable[..., dict[str, Any] | None]] = {
            "segment": self._answering.segment,
            "propose": self._answering.propose,
            "embed": self._answering.embed,
        }
        self._threads = ThreadPoolExecutor(ONGOING, thread_name_prefix="call")
        self._together = self._batches(settings.ray_batch) if settings.ray_batch > 1 else self._alone
        self._answering.warm_up()

    async def __call__(self, call: Call) -> Reply:
        """The answer of a call; failures are told in it, and nothing is raised."""
        return await self._together(partial(self._answer, call, time.monotonic()))

    async def figures(self) -> Figures:
        """What this replica is busy with."""
        return Figures(self._name, os.getpid(), self._models.waiting, self._answering.cache_bytes())

    async def digest(self) -> str:
        """Of the settings that it was made with, see `digest_of`."""
        return self._digest

    async def _alone(self, answer: Callable[[], Reply]) -> Reply:
        return await asyncio.get_running_loop().run_in_executor(self._threads, answer)

    def _batches(self, size: int) -> Any:
        """Ray Serve hands over what waits, up to ``size`` calls; the model threads share them, and all end together."""

        async def together(answers: Sequence[Callable[[], Reply]]) -> list[Reply]:
            return await asyncio.gather(*map(self._alone, answers))

        batches = max(1, ONGOING // size)
        decorate: Any = serve.batch(
            max_batch_size=size, batch_wait_timeout_s=0.0, max_concurrent_batches=batches
        )
        return decorate(together)

    def _answer(self, call: Call, arrived: float) -> Reply:
        log_context.clear()
        log_context.bind(**call.fields)
        arguments = list(call.arguments)
        if call.kind != "embed":
            arguments.append(arrived + call.seconds)
        value, failure = None, None
        with self._recorder.record() as record:
            try:
                value = self._methods[call.kind](*arguments)
            except Exception as error:
                failure = Failure.of(error)
        return Reply(self._name, value, failure, tuple(record.phases), tuple(record.lookups))
