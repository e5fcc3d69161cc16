"""What happened in this process, counted where it happens: a few microseconds a record, read by /metrics and the page.

The registry is the service's own: a second service in a process, as in tests, counts for itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.process_collector import ProcessCollector

PHASES = ("image", "wait", "encode", "decode", "repair", "regions")
"""Of a click: fetch the image, wait for a model thread, encode the image, decode the prompt, repair the mask, write
regions."""
KINDS = ("click", "opening")
"""Answers to /predict: the mask of a prompt, and the queries and pre-annotation of an opened task."""
CACHES = ("image", "embedding", "state")
RECENT = 512
"""Durations of each kind that are kept for percentiles."""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0)


class Metrics:
    """Counters and histograms of one service. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        phases = Histogram(
            "clickpick_phase_seconds", "Phases of clicks", ["phase"], buckets=BUCKETS, registry=self.registry
        )
        answers = Histogram(
            "clickpick_answer_seconds",
            "Clicks and openings, from the parsed request to the answer",
            ["kind"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._seconds = {name: phases.labels(name) for name in PHASES}
        self._seconds |= {name: answers.labels(name) for name in KINDS}
        self._recent: dict[str, deque[float]] = {name: deque(maxlen=RECENT) for name in self._seconds}
        lookups = Counter(
            "clickpick_cache_lookups", "Lookups in caches", ["cache", "result"], registry=self.registry
        )
        self._lookups = {
            (cache, hit): lookups.labels(cache, "hit" if hit else "miss")
            for cache in CACHES
            for hit in (True, False)
        }
        self._found: dict[tuple[str, bool], int] = dict.fromkeys(self._lookups, 0)
        self.requests = Histogram(
            "clickpick_request_seconds",
            "Requests by route and status",
            ["route", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure what happens inside, whether it succeeds or not. ``name``: of PHASES or KINDS."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, time.perf_counter() - begun)

    def observe(self, name: str, seconds: float) -> None:
        self._seconds[name].observe(seconds)
        self._recent[name].append(seconds)

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """One lookup in a cache of CACHES."""
        self._lookups[cache, hit].inc()
        self._found[cache, hit] += 1  # for the page, where a lost count of a million does not matter

    def recent(self, name: str) -> list[float]:
        """The last durations in seconds, oldest first, at most RECENT."""
        return list(self._recent[name])

    def hit_share(self, cache: str) -> float | None:
        """Share of lookups that found something; None before the first."""
        hits, misses = self._found[cache, True], self._found[cache, False]
        return hits / (hits + misses) if hits + misses else None
