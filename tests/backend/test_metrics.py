"""What is counted, and what /metrics reads from tables, queues and caches."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from backend.errors import StoreUnavailable
from backend.metrics import CACHES, KINDS, PHASES, RECENT, Metrics
from backend.round_queue import DEEP
from backend.scrape import Scrape, gpu_memory
from backend.store import Store
from backend.stored_labels import StoredLabel

pytestmark = pytest.mark.unit

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "clickpick.json"


def scraped(metrics: Metrics) -> dict[str, float]:
    """Sample name with labels -> value."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def full(store: Store, problems: Callable[[], list[str]] = list) -> Metrics:
    metrics = Metrics()
    metrics.registry.register(
        Scrape(store.overview, depth=lambda: 3, caches=lambda: {"image": 17}, problems=problems)
    )
    return metrics


def test_durations_are_counted_and_the_last_ones_kept() -> None:
    metrics = Metrics()
    for number in range(RECENT + 5):
        metrics.observe("decode", number / 1000)
    with pytest.raises(ZeroDivisionError), metrics.timed("encode"):
        _ = 1 / 0
    found = scraped(metrics)
    assert found['clickpick_phase_seconds_count{phase="decode"}'] == RECENT + 5
    assert found['clickpick_phase_seconds_count{phase="encode"}'] == 1, "failures take time too"
    assert metrics.recent("decode") == [number / 1000 for number in range(5, RECENT + 5)]


def test_lookups_tell_hits_from_misses() -> None:
    metrics = Metrics()
    assert metrics.hit_share("image") is None
    for hit in (True, True, True, False):
        metrics.looked_up("image", hit=hit)
    assert metrics.hit_share("image") == 0.75
    assert scraped(metrics)['clickpick_cache_lookups_total{cache="image",result="hit"}'] == 3
    assert metrics.hit_share("state") is None


def test_two_services_of_a_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.observe("click", 1.0)
    assert other.recent("click") == []
    assert scraped(other)['clickpick_answer_seconds_count{kind="click"}'] == 0


def test_tables_queues_and_caches_are_read(store: Store) -> None:
    store.replace_labels(7, [StoredLabel(1, 0, n, n, "sky") for n in range(4)])
    store.replace_labels(8, [StoredLabel(2, 0, 1, 1, "void")])
    store.rounds.request(7, "labels", kind=DEEP, delay=60)
    store.post(7, "v", [{}])
    round_id = store.rounds.request(8, "labels")
    assert store.rounds.claim() is not None
    store.rounds.finish(round_id, "failed", "why")
    found = scraped(full(store))
    assert found['clickpick_labels{project="7"}'] == 4
    assert found['clickpick_labels{project="8"}'] == 1
    assert found['clickpick_rounds{kind="deep",state="queued"}'] == 1
    assert found['clickpick_rounds{kind="instant",state="failed"}'] == 1
    assert found['clickpick_rounds{kind="instant",state="running"}'] == 0
    assert found["clickpick_outbox_parcels"] == 1
    assert found["clickpick_model_queue_depth"] == 3
    assert found['clickpick_cache_bytes{cache="image"}'] == 17
    assert found["clickpick_ready"] == found["clickpick_database_up"] == 1
    assert scraped(full(store, lambda: ["no"]))["clickpick_ready"] == 0


def test_a_database_that_is_away_takes_only_its_own_figures(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store.overview, "labels", away)
    found = scraped(full(store))
    assert found["clickpick_model_queue_depth"] == 3
    assert found["clickpick_database_up"] == 0
    assert not [name for name in found if name.startswith("clickpick_labels")]


def test_no_gpu_is_woken_to_be_asked() -> None:
    import torch

    assert not torch.cuda.is_initialized()
    assert gpu_memory() == {}


def test_memory_of_a_gpu_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (30, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 20)
    assert gpu_memory() == {("cuda:0", "used"): 70, ("cuda:0", "total"): 100, ("cuda:0", "reserved"): 20}


def test_recording_costs_next_to_nothing() -> None:
    """A click records about ten durations; a hundredth of its 10 ms would be generous."""
    metrics = Metrics()
    started = time.perf_counter()
    for _ in range(1000):
        with metrics.timed("decode"):
            pass
        metrics.looked_up("state", hit=True)
    assert (time.perf_counter() - started) / 1000 < 0.001


def test_the_dashboard_asks_for_metrics_that_there_are(store: Store) -> None:
    metrics = full(store)
    metrics.requests.labels("/predict", "200").observe(0.1)
    store.replace_labels(7, [StoredLabel(1, 0, 0, 0, "sky")])
    known = {name.partition("{")[0] for name in scraped(metrics)} | {"clickpick_gpu_memory_bytes"}
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    names = {name for query in asked for name in re.findall(r"\b(?:clickpick|process)_\w+", query)}
    assert len(asked) >= 10
    assert names <= known, names - known
    values = {value for query in asked for value in re.findall(r'(?:phase|kind|cache)="(\w+)"', query)}
    assert values <= {*PHASES, *KINDS, *CACHES, "instant", "deep", "used", "total", "reserved"}
    families = {"clickpick_phase_seconds_bucket", "clickpick_cache_lookups_total", "clickpick_model_queue_depth",
                "clickpick_rounds", "clickpick_labels", "clickpick_gpu_memory_bytes"}  # fmt: skip
    assert families <= names
