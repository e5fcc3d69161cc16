"""What the page says of a project, read from the tables and from memory.

Counts of labels may be some time old where there are millions (`backend.overview`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.metrics import CACHES, PHASES, Metrics
from backend.round_queue import Round
from backend.status.forecast import Forecast, Point, forecast, interval
from backend.store import Store, Version
from label_config import VOID
from label_config.colours import VOID_COLOUR, label_colour

ROUNDS = 12
VERSIONS = 60
"""Rows that are shown."""


@dataclass(frozen=True)
class ClassRow:
    """One class. ``iou``, ``low``, ``high``: on held-out labels, None where there are none of it."""

    name: str
    colour: str
    labels: int
    iou: float | None = None
    low: float | None = None
    high: float | None = None
    held_out: int = 0


@dataclass(frozen=True)
class VersionRow:
    """One version. ``remark``: why it is special, "" for most."""

    number: int
    name: str
    learner: str
    labels: int
    miou: float | None
    created: float
    live: bool
    wanted: bool
    remark: str


@dataclass(frozen=True)
class Speed:
    """Percentiles in seconds over the last ``count`` of one kind."""

    name: str
    count: int
    p50: float
    p95: float


@dataclass(frozen=True)
class ProjectFigures:
    """All that the page shows of a project's tables. ``wanted``: number of the version that is to be live again.

    ``seconds_per_pixel``: what a labelled pixel has cost people, None where that is not known.
    """

    project: int
    live: VersionRow | None
    wanted: int | None
    labels: int
    labelled_tasks: int
    classes: tuple[ClassRow, ...]
    points: tuple[Point, ...]
    forecast: Forecast | None
    rounds: tuple[Round, ...]
    versions: tuple[VersionRow, ...]
    held_out: int
    seconds_per_pixel: float | None = None

    @property
    def running(self) -> tuple[Round, ...]:
        return tuple(one for one in self.rounds if one.state == "running")


def read_figures(store: Store, project: int) -> ProjectFigures:
    """Everything of one project. Raises StoreUnavailable."""
    versions = store.versions(project)
    live, wanted = store.live_version(project), store.wanted_version(project)
    counts = store.overview.class_labels(project)
    points = curve(versions)
    rows = tuple(_row(version, live, wanted) for version in versions[:VERSIONS])
    return ProjectFigures(
        project=project,
        live=None if live is None else _row(live, live, wanted),
        wanted=None if wanted is None else wanted.number,
        labels=sum(counts.values()),
        labelled_tasks=store.overview.labelled_tasks(project),
        classes=class_rows(live, counts),
        points=points,
        forecast=forecast(points),
        rounds=tuple(store.rounds.history(project, ROUNDS)),
        versions=rows,
        held_out=0 if live is None else int(live.metrics.get("held_out_labels") or 0),
        seconds_per_pixel=store.overview.seconds_per_pixel(project),
    )


def curve(versions: Sequence[Version]) -> tuple[Point, ...]:
    """Versions that were live by their own merit and measured, oldest first, of the newest one's classes."""
    classes = versions[0].classes if versions else ()
    measured = [
        version
        for version in reversed(versions)
        if version.metrics.get("held_out_miou") is not None
        and version.classes == classes
        and not {"aside", "rollback_of"} & version.metrics.keys()
    ]
    return tuple(
        Point(
            one.labels,
            float(one.metrics["held_out_miou"]),
            one.number,
            int(one.metrics.get("held_out_labels") or 0),
        )
        for one in measured
    )


def class_rows(live: Version | None, counts: Mapping[str, int]) -> tuple[ClassRow, ...]:
    """The live version's classes in their order, then labels of no class, "cannot tell" last."""
    classes = () if live is None else live.classes
    iou: Mapping[str, float] = {} if live is None else live.metrics.get("held_out_iou") or {}
    parts: Mapping[str, Sequence[int]] = {} if live is None else live.metrics.get("held_out_counts") or {}
    others = sorted(counts.keys() - set(classes) - {VOID})
    rows = []
    for index, name in enumerate((*classes, *others)):
        intersection, union, held_out = parts.get(name, (0, 0, 0))
        low, high = interval(intersection, union) if union else (None, None)
        found = iou.get(name)
        rows.append(ClassRow(name, label_colour(index), counts.get(name, 0), found, low, high, held_out))
    if VOID in counts:
        rows.append(ClassRow(VOID, VOID_COLOUR, counts[VOID]))
    return tuple(rows)


def speeds(metrics: Metrics) -> tuple[Speed, ...]:
    """Of what this process has answered lately; kinds without any are left out."""
    found = []
    for name in ("click", *PHASES, "opening"):
        seconds = sorted(metrics.recent(name))
        if seconds:
            last = len(seconds) - 1
            found.append(Speed(name, len(seconds), seconds[last // 2], seconds[round(0.95 * last)]))
    return tuple(found)


def cache_shares(metrics: Metrics) -> dict[str, float | None]:
    """Share of lookups that found something, by cache."""
    return {cache: metrics.hit_share(cache) for cache in CACHES}


def ago(moment: float, now: float | None = None) -> str:
    """``moment`` in Unix seconds as people say it: "just now", "5 min ago"."""
    seconds = max(0.0, (time.time() if now is None else now) - moment)
    for unit, size, limit in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 86_400)):
        if seconds < limit:
            count = int(seconds / size)
            return "just now" if unit == "s" and count < 5 else f"{count} {unit} ago"
    return f"{int(seconds / 86_400)} d ago"


def _row(version: Version, live: Version | None, wanted: Version | None) -> VersionRow:
    metrics: Mapping[str, Any] = version.metrics
    remark = f"copy of {metrics['rollback_of']}" if "rollback_of" in metrics else ""
    remark = f"kept aside: {metrics['aside']}" if "aside" in metrics else remark
    miou = metrics.get("held_out_miou")
    return VersionRow(
        version.number,
        version.name,
        version.learner,
        version.labels,
        None if miou is None else float(miou),
        version.created,
        live is not None and live.number == version.number,
        wanted is not None and wanted.number == version.number,
        remark,
    )
