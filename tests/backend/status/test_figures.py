"""What the page says is what the tables hold."""

from __future__ import annotations

import pytest

from backend.metrics import Metrics
from backend.status.figures import ago, cache_shares, class_rows, curve, read_figures, speeds
from backend.status.forecast import interval
from backend.store import Store
from tests.backend.status.conftest import version

pytestmark = pytest.mark.unit


def test_a_project_that_has_learnt(learnt: Store) -> None:
    round_id = learnt.rounds.request(7, "annotation_created")
    learnt.rounds.claim()
    learnt.rounds.beat(round_id, "fit", 0.4)
    learnt.note_pace(7, 2.5)
    found = read_figures(learnt, 7)
    assert found.seconds_per_pixel == 2.5
    assert (found.labels, found.labelled_tasks, found.held_out) == (24, 4, 1400)
    assert found.live is not None
    assert found.live.number == 5
    assert [point.labels for point in found.points] == [20, 40, 60, 80, 100]
    assert found.forecast is not None
    assert found.forecast.labels == 120
    assert [(row.name, row.labels) for row in found.classes] == [("sky", 12), ("grass", 11), ("void", 1)]
    sky = found.classes[0]
    assert (sky.iou, sky.low, sky.high) == (0.8, *interval(8, 10))
    assert found.classes[-1].iou is None
    assert [row.number for row in found.versions] == [5, 4, 3, 2, 1]
    (running,) = found.running
    assert (running.stage, running.progress) == ("fit", 0.4)


def test_a_project_that_has_nothing_yet(store: Store) -> None:
    store.remember_project(7, "digest")
    found = read_figures(store, 7)
    assert found.live is None
    assert found.seconds_per_pixel is None
    assert (found.labels, found.points, found.forecast, found.classes, found.versions) == (
        0,
        (),
        None,
        (),
        (),
    )


def test_versions_of_before_there_were_counts_have_no_interval() -> None:
    old = version(1)
    del old.metrics["held_out_counts"]
    (row, _) = class_rows(old, {"sky": 1})
    assert (row.iou, row.low, row.high) == (0.8, None, None)


def test_labels_of_classes_that_the_version_does_not_know_are_shown() -> None:
    rows = class_rows(version(1), {"bog": 2, "void": 1, "sky": 3})
    assert [(row.name, row.labels) for row in rows] == [("sky", 3), ("grass", 0), ("bog", 2), ("void", 1)]


def test_the_curve_has_only_versions_that_were_measured_live_and_of_these_classes() -> None:
    versions = [
        version(6),
        version(5, rollback_of="clickpick-7-v1-abc123"),
        version(4, aside="no better"),
        version(3, held_out_miou=None),
        version(2),
        version(1, classes=("sky", "sea")),
    ]
    assert [point.version for point in curve(versions)] == [2, 6]
    assert curve([]) == ()


def test_percentiles_are_of_what_was_recorded() -> None:
    metrics = Metrics()
    for number in range(1, 101):
        metrics.observe("click", number / 1000)
    (found,) = speeds(metrics)
    assert (found.name, found.count) == ("click", 100)
    assert found.p50 == pytest.approx(0.050, abs=0.001)
    assert found.p95 == pytest.approx(0.095, abs=0.001)
    metrics.looked_up("image", hit=True)
    assert cache_shares(metrics) == {"image": 1.0, "embedding": None, "state": None}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "just now"),
        (2, "just now"),
        (30, "30 s ago"),
        (60, "1 min ago"),
        (7300, "2 h ago"),
        (2e5, "2 d ago"),
    ],
)
def test_moments_are_said_as_people_do(seconds: float, said: str) -> None:
    assert ago(1e9 - seconds, now=1e9) == said
