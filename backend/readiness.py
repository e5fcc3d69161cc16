"""Whether this process can answer clicks now: the database answers, and so does the engine."""

from __future__ import annotations

from collections.abc import Callable

from backend.errors import StoreUnavailable
from backend.store import Store


class Readiness:
    """The reasons name no model, host or file: anybody may ask, as with /health. ``engine``: its own reasons."""

    def __init__(self, store: Store, engine: Callable[[], list[str]]) -> None:
        self._store = store
        self._engine = engine

    def problems(self) -> list[str]:
        """Why requests should go elsewhere for now; empty when they may come."""
        found = []
        try:
            self._store.overview.ping()
        except StoreUnavailable:
            found.append("the database does not answer; the log says why")
        return [*found, *self._engine()]
