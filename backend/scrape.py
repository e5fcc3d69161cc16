"""What /metrics reads when it is asked: tables, queues, caches and the GPU's memory.

Counts of labels may be some time old where there are millions (`backend.overview`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backend.errors import StoreUnavailable
from backend.overview import Overview
from backend.round_queue import DEEP, INSTANT

LOG = logging.getLogger(__name__)
K = TypeVar("K", bound="tuple[str, ...]")
STATES = ("queued", "running", "done", "failed")


class Scrape(Collector):
    """``depth``: model calls that wait. ``caches``: bytes of each cache. ``problems``: why the service is not ready."""

    def __init__(
        self,
        overview: Overview,
        *,
        depth: Callable[[], int],
        caches: Callable[[], Mapping[str, int]],
        problems: Callable[[], list[str]],
    ) -> None:
        self._overview = overview
        self._depth = depth
        self._caches = caches
        self._problems = problems

    def describe(self) -> Iterable[Metric]:
        """Nothing: else the registry would ask the database when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("clickpick_model_queue_depth", "Model calls that wait", value=self._depth())
        yield _family(
            "clickpick_cache_bytes",
            "Bytes in caches",
            ["cache"],
            {(k,): v for k, v in self._caches().items()},
        )
        yield GaugeMetricFamily(
            "clickpick_ready", "Whether /ready says 200", value=float(not self._problems())
        )
        memory = gpu_memory()
        yield _family("clickpick_gpu_memory_bytes", "Memory of GPUs", ["device", "kind"], memory)
        try:
            tables = list(self._tables())
        except StoreUnavailable as problem:
            LOG.warning("/metrics goes without tables: %s", problem)
            tables = []
        yield GaugeMetricFamily(
            "clickpick_database_up", "Whether the database answers", value=float(bool(tables))
        )
        yield from tables

    def _tables(self) -> Iterator[Metric]:
        rounds = dict.fromkeys(((kind, state) for kind in (INSTANT, DEEP) for state in STATES), 0)
        rounds |= self._overview.rounds()
        yield _family("clickpick_rounds", "Rounds by state", ["kind", "state"], rounds)
        labels = {(str(project),): count for project, count in self._overview.labels().items()}
        yield _family("clickpick_labels", "Pixel labels of people", ["project"], labels)
        yield GaugeMetricFamily(
            "clickpick_outbox_parcels", "Bulks of predictions that wait", value=self._overview.parcels()
        )


def gpu_memory() -> dict[tuple[str, str], float]:
    """Bytes by (device, kind): used and total of the whole device, reserved by this process. Empty without a GPU.

    Where this process has not begun to use a GPU, it is not asked: that would take memory of it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    found: dict[tuple[str, str], float] = {}
    for device in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(device)
        name = f"cuda:{device}"
        found[name, "used"] = float(total - free)
        found[name, "total"] = float(total)
        found[name, "reserved"] = float(torch.cuda.memory_reserved(device))
    return found


def _family(name: str, documentation: str, labels: list[str], values: Mapping[K, float]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(list(key), float(value))
    return family
