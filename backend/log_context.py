"""Which request, project, task, version or round a line of the log belongs to.

Kept in a context variable, so that threads do not see each other's; `ModelQueue` takes it along to its threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

FIELDS = ("request", "project", "task", "version", "round")
NOTHING: Mapping[str, object] = MappingProxyType({})
_FIELDS: ContextVar[Mapping[str, object]] = ContextVar("clickpick_log_fields", default=NOTHING)


def bind(**fields: object) -> None:
    """Add fields of FIELDS to all later lines of this thread; None takes one away."""
    merged = {**_FIELDS.get(), **fields}
    _FIELDS.set({name: value for name, value in merged.items() if value is not None})


def clear() -> None:
    """Forget all fields: threads are used again."""
    _FIELDS.set(NOTHING)


def current() -> Mapping[str, object]:
    """The fields of this thread, in the order of FIELDS."""
    found = _FIELDS.get()
    return {name: found[name] for name in FIELDS if name in found}
