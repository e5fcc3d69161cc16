"""What web processes and replicas tell each other: plain data, and of failures no more than anybody may read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from backend import errors
from backend.errors import BadRequest, ClickPickError, ModelUnavailable, StudioRefused
from backend.metrics import PHASES, Metrics
from label_config import LabelConfigError
from model_zoo.errors import ModelZooError, WeightsMissing

LOG = logging.getLogger(__name__)
INTERNAL = "internal error; the log of the replica has the details"
Kind = Literal["segment", "propose", "embed"]


@dataclass(frozen=True)
class Call:
    """``kind``: method of Answering, with its arguments but for the deadline, which is in ``seconds`` from the arrival.

    ``fields``: which request, project and task the lines in the replica's log belong to.
    """

    kind: Kind
    arguments: tuple[Any, ...]
    seconds: float
    fields: Mapping[str, object]


@dataclass(frozen=True)
class Failure:
    """An error of `backend.errors`, by its name."""

    kind: str
    message: str
    studio_status: int = 0

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What the caller is told; the rest stays in this process's log."""
        if isinstance(error, WeightsMissing):
            LOG.error("%s", error)  # names files of this server
            to_do = error.advice or "its log says what is missing"
            error = ModelUnavailable(f"a model has no weights on this server; {to_do}")
        elif isinstance(error, (LabelConfigError, ModelZooError)):
            error = BadRequest(str(error))
        if not isinstance(error, ClickPickError):
            LOG.error("a call failed", exc_info=error)
            return cls(ClickPickError.__name__, INTERNAL)
        return cls(type(error).__name__, str(error), getattr(error, "studio_status", 0))

    def error(self) -> ClickPickError:
        """The error again, to be raised."""
        if self.kind == StudioRefused.__name__:
            return StudioRefused(self.message, self.studio_status)
        found = getattr(errors, self.kind, ClickPickError)
        made: ClickPickError = found(self.message)
        return made


@dataclass(frozen=True)
class Reply:
    """``value`` or ``failure``, and what a web process counts: phases in seconds, lookups in caches (cache, hit)."""

    replica: str
    value: dict[str, Any] | None = None
    failure: Failure | None = None
    phases: tuple[tuple[str, float], ...] = ()
    lookups: tuple[tuple[str, bool], ...] = ()

    def count(self, metrics: Metrics) -> None:
        """Add what the call did to the metrics of a web process."""
        for name, seconds in self.phases:
            metrics.observe(name, seconds)
        for cache, hit in self.lookups:
            metrics.looked_up(cache, hit=hit)


@dataclass(frozen=True)
class Figures:
    """A replica, its process, the model calls that wait there, and the bytes of its caches."""

    replica: str
    pid: int
    waiting: int
    caches: Mapping[str, int]


@dataclass
class Record:
    """What one call did. Threads that work for it add to it."""

    phases: list[tuple[str, float]] = field(default_factory=list)
    lookups: list[tuple[str, bool]] = field(default_factory=list)


_RECORD: ContextVar[Record | None] = ContextVar("clickpick_record", default=None)


class Recorder(Metrics):
    """Notes what happens on behalf of a call, for its reply; a replica has no /metrics of its own."""

    @contextmanager
    def record(self) -> Iterator[Record]:
        """All that this context does inside, also on model threads."""
        record = Record()
        token = _RECORD.set(record)
        try:
            yield record
        finally:
            _RECORD.reset(token)

    def observe(self, name: str, seconds: float) -> None:
        record = _RECORD.get()
        if record is not None and name in PHASES:
            record.phases.append((name, seconds))

    def looked_up(self, cache: str, *, hit: bool) -> None:
        record = _RECORD.get()
        if record is not None:
            record.lookups.append((cache, hit))
