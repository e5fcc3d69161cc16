"""Two small tools for work that many requests share: a byte-capped LRU and one flight for equal requests."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Parts = Sequence[tuple[object, int]]


class ByteLRU(Generic[K, V]):
    """Thread-safe mapping that forgets the least recently used entries beyond ``capacity`` bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.nbytes = 0
        self._entries: OrderedDict[K, tuple[V, int, Parts]] = OrderedDict()
        self._holders: Counter[int] = Counter()  # of each part, by its identity
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V, nbytes: int, parts: Parts = ()) -> None:
        """Keep ``value``; one that is larger than the whole cache is not kept.

        parts: what ``value`` holds together with other entries, and its bytes, which count once and not in ``nbytes``.
        """
        with self._lock:
            if key in self._entries:
                self._forget(key)
            if nbytes + sum(size for _, size in parts) > self.capacity:
                return
            self._entries[key] = (value, nbytes, parts)
            self.nbytes += nbytes
            for part, size in parts:
                self._holders[id(part)] += 1
                self.nbytes += size if self._holders[id(part)] == 1 else 0
            while self.nbytes > self.capacity:
                self._forget(next(iter(self._entries)))

    def _forget(self, key: K) -> None:
        _, nbytes, parts = self._entries.pop(key)
        self.nbytes -= nbytes
        for part, size in parts:
            self._holders[id(part)] -= 1
            if not self._holders[id(part)]:
                del self._holders[id(part)]
                self.nbytes -= size

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._holders.clear()
            self.nbytes = 0

    def __len__(self) -> int:
        return len(self._entries)


class SingleFlight(Generic[K, V]):
    """Concurrent calls with one key run the function once and share its answer, or its error."""

    def __init__(self) -> None:
        self._flights: dict[K, Future[V]] = {}
        self._lock = threading.Lock()

    def do(self, key: K, function: Callable[[], V]) -> V:
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                mine: Future[V] = Future()
                self._flights[key] = mine
        if flight is not None:
            return flight.result()
        try:
            mine.set_result(function())
        except BaseException as error:
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._flights[key]
        return mine.result()
