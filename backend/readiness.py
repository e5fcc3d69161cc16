"""Whether this process can answer clicks now: the database answers and the default segmenter was built."""

from __future__ import annotations

from collections.abc import Callable

from backend.embeddings import Decoder
from backend.errors import StoreUnavailable
from backend.store import Store


class Readiness:
    """The reasons name no model, host or file: anybody may ask, as with /health."""

    def __init__(self, store: Store, decoder: Decoder, segmenter: str) -> None:
        self._store = store
        self._decoder = decoder
        self._segmenter = segmenter
        self._warm_up_failed = False

    def warm_up(self, run: Callable[[], object]) -> None:
        """Run what builds the segmenter, and remember whether it failed; raises what it raises."""
        try:
            run()
        except Exception:
            self._warm_up_failed = True
            raise
        self._warm_up_failed = False

    def problems(self) -> list[str]:
        """Why requests should go elsewhere for now; empty when they may come."""
        found = []
        try:
            self._store.overview.ping()
        except StoreUnavailable:
            found.append("the database does not answer; the log says why")
        if not self._decoder.has_built(self._segmenter):
            found.append(
                "the default segmenter cannot be built; the log says why, and so does `clickpick doctor`"
                if self._warm_up_failed
                else "the default segmenter is being built; ask again in a few seconds"
            )
        return found
